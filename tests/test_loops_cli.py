"""`loops` lists what is known of each loop before its first sample, as the stream will have it."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from command import run_command

PLANT = """
start = "2025-01-10T10:00:00Z"
[output]
tags = { site = "x" }
[[loop]]
id = "TIC100"
type = "temperature"
area = "Unit 2"
unit = "degC"
description = 'Top, "cold" side'
range = [50.0, 250.0]
sp = 180.0
tags = { zone = "north" }
[[loop]]
id = "FIC101"
cascade = "TIC100"
recording.op_range = [0.0, 1.0]
[loop.controller]
form = "series"
action = "reverse"
gain = 0.5
derivative = 0.25
[[loop]]
id = "LIC102"
type = "level"
process.gain = -0.01
"""


def loops(folder: Path, *words: str, plant: str = PLANT) -> str:
    """What `loops` prints about the plant."""
    (folder / "loops.toml").write_text(plant)
    result = run_command("loops", "--config", "loops.toml", *words, folder=folder)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def sheet(folder: Path, *words: str, plant: str = PLANT) -> dict[str, dict[str, Any]]:
    """The rows of the sheet, by id."""
    return {row["loop_id"]: row for row in json.loads(loops(folder, "--format", "json", *words, plant=plant))}


def test_the_sheet_has_what_is_configured(tmp_path: Path) -> None:
    master, slave, level = sheet(tmp_path).values()
    assert {key: master[key] for key in ("description", "area", "type", "unit", "range_low", "range_high", "sp")} == {
        "description": 'Top, "cold" side', "area": "Unit 2", "type": "temperature", "unit": "degC",
        "range_low": 50.0, "range_high": 250.0, "sp": 180.0}
    assert (master["mode"], master["cascade"], slave["mode"], slave["cascade"]) == ("AUT", "", "CAS", "TIC100")
    assert (slave["form"], slave["action"], slave["gain"], slave["derivative"]) == ("series", "reverse", 0.5, 0.25)
    assert (slave["op_low"], slave["op_high"], master["op_low"], master["op_high"]) == (0.0, 1.0, 0.0, 100.0)
    assert level["action"] == "direct"  # its level falls when OP rises
    assert (master["tags"], slave["tags"]) == ({"zone": "north"}, {})
    assert (level["description"], level["area"], level["unit"]) == ("", "", "")


@pytest.mark.parametrize("form", ["ideal", "parallel"])
@pytest.mark.parametrize("interval", ["1s", "2500ms"])
def test_the_settings_of_the_sheet_are_those_in_force(form: str, interval: str, tmp_path: Path) -> None:
    """A plant with them in its file has the values of the plant that has them from the tuning rule."""
    plant = f'start = "2025-01-10T10:00:00Z"\ninterval = "{interval}"\n[[loop]]\nid = "A"\ncontroller.form = "{form}"\n'
    row = sheet(tmp_path, plant=plant)["A"]
    by_rule = run_command("generate", "--config", "loops.toml", "--duration", "5m", folder=tmp_path)
    settings = "".join(f"controller.{key} = {row[key]!r}\n" for key in ("gain", "reset", "derivative"))
    (tmp_path / "loops.toml").write_text(f'{plant}controller.action = "{row["action"]}"\n{settings}')
    configured = run_command("generate", "--config", "loops.toml", "--duration", "5m", folder=tmp_path)
    assert configured.stdout == by_rule.stdout
    assert len(by_rule.stdout.splitlines()) == 300 / row["interval"]


@pytest.mark.parametrize("modes", [("AUT", "CAS", "CAS"), ("AUT", "CAS", "AUT"), ("MAN", "CAS", "CAS"),
                                   ("AUT", "AUT", "CAS"), ("CAS", "MAN", "MAN")])
def test_the_mode_of_the_sheet_is_that_of_the_first_sample(modes: tuple[str, str, str], tmp_path: Path) -> None:
    top, middle, lowest = modes
    plant = (f'start = "2025-01-10T10:00:00Z"\n[[loop]]\nid = "LOW"\ncascade = "MID"\nmode = "{lowest}"\n'
             f'[[loop]]\nid = "TOP"\nmode = "{top.replace("CAS", "MAN")}"\n'
             f'[[loop]]\nid = "MID"\ncascade = "TOP"\nmode = "{middle}"\n')
    rows = sheet(tmp_path, plant=plant)
    first = run_command("generate", "--config", "loops.toml", "--duration", "1s", "--format", "wide", folder=tmp_path)
    assert {row["loop_id"]: row["Mode"] for row in csv.DictReader(io.StringIO(first.stdout))} == {
        loop: row["mode"] for loop, row in rows.items()}


def test_csv_has_the_columns_of_the_sheet_and_the_table_shows_them(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(loops(tmp_path, "--format", "csv"))))
    for row, expected in zip(rows, sheet(tmp_path).values(), strict=True):
        assert {key: type(expected[key])(value) for key, value in row.items()} == {
            key: value for key, value in expected.items() if key != "tags"}
    heading, master, slave, _ = loops(tmp_path).splitlines()
    assert heading.split()[:6] == ["loop", "type", "range", "SP", "mode", "cascade"]
    assert master.startswith("TIC100  temperature  50 to 250 degC  180  AUT")
    assert master.endswith('Unit 2  Top, "cold" side')
    assert slave.split()[:8] == ["FIC101", "flow", "0", "to", "100", "50", "CAS", "TIC100"]
    assert "area" not in loops(tmp_path, plant='[[loop]]\nid = "A"')  # a column without any text is left out


def test_line_protocol_has_a_point_for_each_loop_at_the_start_of_the_plant(tmp_path: Path) -> None:
    master, slave, _ = loops(tmp_path, "--format", "lp").splitlines()
    tags, rest = master.split(" action=")
    assert tags == "control_loops_info,area=Unit\\ 2,loop_id=TIC100,site=x,type=temperature,unit=degC,zone=north"
    assert r',description="Top, \"cold\" side",form="ideal",' in rest
    assert rest.endswith("range_high=250,range_low=50,reset=270,scan=1,sp=180 1736503200000000000")
    assert slave.startswith('control_loops_info,loop_id=FIC101,site=x,type=flow action="reverse",cascade="TIC100",')


def test_interval_and_shard_count(tmp_path: Path) -> None:
    row = sheet(tmp_path, "--interval", "2500ms")["LIC102"]
    assert (row["interval"], row["scan"]) == (2.5, 0.625)  # the longest divisor below 1 s
    plant = '[[loop]]\nid = "A{}"\ncount = 20\n'
    shards = [sheet(tmp_path, "--shard", f"{i}/2", plant=plant) for i in range(2)]
    assert {**shards[0], **shards[1]} == sheet(tmp_path, plant=plant)
    assert not set(shards[0]) & set(shards[1])


def test_the_suffix_of_the_file_selects_the_format(tmp_path: Path) -> None:
    assert loops(tmp_path, "--output", "sheet.csv.gz") == ""
    assert gzip.decompress((tmp_path / "sheet.csv.gz").read_bytes()).decode() == loops(tmp_path, "--format", "csv")
    for name, form in (("sheet.lp", "lp"), ("sheet.json", "json"), ("sheet.txt", "table")):
        loops(tmp_path, "--output", name)
        assert (tmp_path / name).read_text() == loops(tmp_path, "--format", form)


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    result = run_command("loops", "--output", "sheet.xml", folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("--output sheet.xml: unknown suffix .xml; name a file *.txt, *.csv, *.json or *.lp")


def test_a_tag_with_the_name_of_a_field_is_one_error_for_all_loops(tmp_path: Path) -> None:
    (tmp_path / "loops.toml").write_text('[[loop]]\nid = "A{}"\ncount = 3\ntags = { gain = "x" }\n')
    result = run_command("loops", "--config", "loops.toml", "--format", "lp", folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "tag 'gain': the loop sheet has a field of this name; choose another name\n"
