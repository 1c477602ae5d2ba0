"""telegraf/loops.toml: as shipped it changes nothing, and each key it shows is one the program takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command import run_command
from parts import ROOT

SAMPLE = ROOT / "telegraf" / "loops.toml"


def uncommented(text: str) -> str:
    """The file with every `# key` in force; of a key shown twice in a table, the first."""
    lines: list[str] = []
    keys: set[str] = set()
    for commented in text.splitlines():
        line = re.sub(r"^# (?!#)", "", commented)
        if line.startswith("["):
            keys = set()
        key = re.match(r"(\w+) = ", line)
        # tuning stands in place of gain, reset and derivative.
        if key and (key[1] in keys or key[1] == "tuning"):
            continue
        keys |= {key[1]} if key else set()
        lines.append(line)
    return "\n".join(lines) + "\n"


def test_the_sample_as_shipped_is_the_default_plant(tmp_path: Path) -> None:
    words = ("generate", "--start", "2025-01-10T10:00:00Z", "--duration", "10s")
    default = run_command(*words, folder=tmp_path)
    with_sample = run_command(*words, "--config", str(SAMPLE), folder=tmp_path)
    assert default.returncode == with_sample.returncode == 0, with_sample.stderr
    assert with_sample.stdout == default.stdout
    assert len(default.stdout.splitlines()) == 50


def test_a_loop_added_to_the_sample_is_the_sixth(tmp_path: Path) -> None:
    loops = tmp_path / "loops.toml"
    loops.write_text(SAMPLE.read_text() + '[[loop]]\nid = "FIC101"\n')
    words = ("generate", "--start", "2025-01-10T10:00:00Z", "--duration", "1s")
    result = run_command(*words, "--config", str(loops), folder=tmp_path)
    ids = re.findall(r"loop_id=(\w+)", result.stdout)
    assert ids == ["TIC208030", "TIC208031", "TIC208032", "TIC208033", "TIC208034", "FIC101"]


def test_every_key_of_the_sample_is_accepted(tmp_path: Path) -> None:
    loops = tmp_path / "loops.toml"
    loops.write_text(uncommented(SAMPLE.read_text()))
    checked = run_command("check", "--config", str(loops), folder=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "509 loops" in checked.stdout + checked.stderr


def test_the_sample_has_every_key_of_the_reference() -> None:
    reference = (ROOT / "clpm_execd" / "docs" / "loops-file.md").read_text()
    keys = {key.rpartition(".")[2] for key in re.findall(r"^\| `([a-z_.]+)` \|", reference, re.MULTILINE)}
    assert len(keys) > 60
    assert sorted(keys - set(re.findall(r"\b([a-z_]+) = ", SAMPLE.read_text()))) == []


@pytest.mark.parametrize("name", ["INFLUXDB_URL", "INFLUXDB_TOKEN", "INFLUXDB_ORG", "INFLUXDB_BUCKET"])
def test_env_example_names_what_the_configuration_of_telegraf_needs(name: str) -> None:
    assert f"${{{name}}}" in (ROOT / "telegraf" / "telegraf.conf").read_text()
    assert re.search(rf"^{name}=", (ROOT / "env.example").read_text(), re.MULTILINE)
