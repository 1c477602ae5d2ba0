"""The unit for systemd: systemd accepts it, it may do little, and it sets what the program reads."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import parts
import pytest

from clpm_execd.config.settings import SETTING_NAMES

UNIT = (parts.ROOT / "telegraf" / "clpm-execd.service").read_text()
MOST_EXPOSED = 2.0  # of 10 on systemd's own scale; below 2 it says OK


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit with a program that is there."""
    if not shutil.which("systemd-analyze"):
        parts.missing("systemd")
    path = tmp_path / "clpm-execd.service"
    path.write_text(UNIT.replace("ExecStart=clpm-execd ", "ExecStart=/bin/true "))
    return path


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", "--no-pager", *words], capture_output=True, text=True, timeout=60,
                          check=False)


@pytest.mark.process
def test_systemd_accepts_it(installed: Path) -> None:
    result = analyze("verify", "--man=no", str(installed))
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.process
def test_it_may_do_little(installed: Path) -> None:
    output = analyze("security", "--offline=true", str(installed)).stdout
    match = re.search(r"Overall exposure level for \S+: ([0-9.]+)", output)
    assert match
    assert float(match[1]) < MOST_EXPOSED


def test_it_sets_only_what_the_program_knows() -> None:
    names = re.findall(r"^Environment=(\w+)=", UNIT, re.MULTILINE)
    assert names
    assert set(names) <= {*SETTING_NAMES, "CLPM_STATE"}


def test_what_ends_with_status_2_is_not_started_again() -> None:
    assert "Restart=on-failure" in UNIT
    assert "RestartPreventExitStatus=2" in UNIT
