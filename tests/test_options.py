"""An option means the same in every command that has it, and a command takes no option that it does not use."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clpm_execd import cli
from clpm_execd.cli.parser import parser
from clpm_execd.cli.slips import parsers
from clpm_execd.stream.signals import Signals
from clpm_execd.stream.spool import Spool

Call = Callable[..., tuple[int, str, str]]

START = "2025-01-10T10:00:00Z"
PLANT = """
start = "2025-01-10T10:00:00Z"
[output]
truth = true
[[loop]]
id = "FIC101"
[[loop.fault]]
kind = "stiction"
"""
VERDICTS = f"loop,start,end,fault\nFIC101,{START},2025-01-10T10:10:00Z,stiction\n"

# What each command with an --output writes to stdout.
WRITES = {
    "generate": ["generate", "--start", START, "--duration", "3s"],
    "preview": ["preview", "TIC208030", "--start", START, "--duration", "1m"],
    "init": ["init"],
    "score": ["score", "verdicts.csv", "--truth", "plant.lp"],
    "spool": ["spool", "export", "--state", "state"],
}


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Runs a command line in this process and an empty folder: status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    signals = Signals()

    def call(*words: str) -> tuple[int, str, str]:
        try:
            status = cli.run(signals, words)
        except SystemExit as end:
            status = int(end.code or 0)
        return status, *capfd.readouterr()

    yield call
    signals.close()


@pytest.mark.parametrize("command", WRITES)
def test_an_output_of_minus_is_stdout(command: str, call: Call, tmp_path: Path) -> None:
    if command == "score":
        (tmp_path / "plant.toml").write_text(PLANT)
        (tmp_path / "verdicts.csv").write_text(VERDICTS)
        assert call("generate", "--config", "plant.toml", "--duration", "10m", "--output", "plant.lp")[0] == 0
    elif command == "spool":
        Spool(tmp_path / "state", logging.getLogger("clpm_execd")).put(b"m,loop_id=A PV=1 1\n")
    status, out, _ = call(*WRITES[command], "--output", "-")
    assert status == 0
    assert out
    assert out == call(*WRITES[command])[1]
    assert not (tmp_path / "-").exists()


def test_a_file_named_minus_is_written_by_its_path(call: Call, tmp_path: Path) -> None:
    assert call("init", "--output", "./-")[:2] == (0, "")
    assert (tmp_path / "-").read_text().startswith("# ")


def test_learn_writes_two_files_and_takes_no_stdout(call: Call, tmp_path: Path) -> None:
    status, out, err = call("learn", "record.csv", "--output", "-")
    assert (status, out) == (2, "")
    assert err.startswith("--output -: stdout cannot hold both")
    assert list(tmp_path.iterdir()) == []


def test_every_command_with_an_output_was_tried() -> None:
    with_output = {name for name, command in parsers(parser()).items() if "--output" in command._option_string_actions}
    assert with_output == {*WRITES, "learn"}
