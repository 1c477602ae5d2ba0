"""The commands around the faults, as a user runs them."""

from __future__ import annotations

import csv
import io
import time
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from statistics import pstdev

import pytest
import tomli
from command import run_command

from clpm_execd.plant.faults import FAULTS

STICKY = """
[output]
truth = true
[[loop]]
id = "PIC101"
type = "pressure"
[[loop.fault]]
kind = "stiction"
start = "30s"
duration = "40s"
[[loop]]
id = "PIC102"
type = "pressure"
[[loop.fault]]
kind = "white-noise"
start = "10s"
"""
START = "2025-01-10T10:05:00Z"


def run_cli(folder: Path, *command: str, status: int = 0) -> str:
    result = run_command(*command, folder=folder)
    assert result.returncode == status, result.stderr
    return result.stdout if status == 0 else result.stderr


def generate(folder: Path, text: str, *options: str, duration: str = "100s") -> list[str]:
    (folder / "x.toml").write_text(text)
    return run_cli(folder, "generate", "--config", "x.toml", "--start", START, "--duration", duration,
                   *options).splitlines()


def test_faults_and_loop_types_are_printed(tmp_path: Path) -> None:
    lines = run_cli(tmp_path, "faults").splitlines()
    assert [line for line in lines if line in FAULTS] == list(FAULTS)
    assert run_cli(tmp_path, "faults", "stuck").startswith("stuck\n")
    assert "temperature\n" in run_cli(tmp_path, "loop-types")
    assert "did you mean 'stuck'?" in run_cli(tmp_path, "faults", "stucc", status=2)


def test_neighbouring_loops_of_a_plant_share_disturbances(tmp_path: Path) -> None:
    loops = tomli.loads(run_cli(tmp_path, "init", "--plant", "refinery", "--loops", "100"))["loop"]

    def most_alike(kind: str, *keys: str) -> int:
        faults = [fault for loop in loops for fault in loop.get("fault", []) if fault["kind"] == kind]
        return max(Counter(tuple(fault.get(key) for key in keys) for fault in faults if keys[0] in fault).values())

    reached = [fault for loop in loops for fault in loop.get("fault", []) if "from" in fault]
    assert len(reached) >= 5
    assert {fault["kind"] for fault in reached} == {"external-oscillation"}
    assert most_alike("load-step", "start", "duration") >= 3
    assert most_alike("grade-change", "start", "duration") >= 3
    assert not any("repeat" in fault for loop in loops for fault in loop.get("fault", [])), "nothing is periodic"
    assert sum("operator" in loop for loop in loops) > 40


@pytest.mark.slow
def test_what_init_writes_passes_check(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(run_cli(tmp_path, "init"))
    assert run_cli(tmp_path, "check", "--config", "a.toml") == "ok: 3 loops\n"
    run_cli(tmp_path, "init", "--plant", "refinery", "--loops", "60", "--output", "b.toml")
    assert run_cli(tmp_path, "check", "--config", "b.toml") == "ok: 60 loops\n"
    assert run_cli(tmp_path, "init", "--plant", "refinery", "--loops", "60") == (tmp_path / "b.toml").read_text()
    assert run_cli(tmp_path, "init", "--plant", "refinery", "--loops", "60", "--seed", "7") != \
        (tmp_path / "b.toml").read_text()


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("mine")
    assert "already exists; name a new file" in run_cli(tmp_path, "init", "--output", "a.toml", status=2)
    assert (tmp_path / "a.toml").read_text() == "mine"
    assert "is not between 1 and 100000" in run_cli(tmp_path, "init", "--loops", "0", status=2)


@pytest.mark.parametrize("options", [(), ("--format", "csv"), ("--format", "wide")])
def test_samples_are_the_same_with_and_without_ground_truth(tmp_path: Path, options: tuple[str, ...]) -> None:
    with_truth = [line for line in generate(tmp_path, STICKY, *options) if "_truth" not in line]
    without = generate(tmp_path, STICKY.replace("truth = true", ""), *options)
    cells = {(): 0, ("--format", "csv"): 1, ("--format", "wide"): 2}[options]
    assert [line.rsplit(",", cells)[0] if cells else line for line in with_truth] == without


def test_the_ground_truth_of_a_time_range_is_that_of_the_configuration(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO("\n".join(generate(tmp_path, STICKY, "--format", "wide")))))
    sticky = [row["fault"] for row in rows if row["loop_id"] == "PIC101"]
    assert sticky == [""] * 30 + ["stiction"] * 40 + [""] * 30
    assert {row["fault"] for row in rows if row["loop_id"] == "PIC102"} == {""}
    lines = [line for line in generate(tmp_path, STICKY) if line.startswith("control_loops_truth,")]
    first = 1_736_503_500
    mine = [(int(line.split()[2]) // 10**9 - first, "present=true" in line) for line in lines if "PIC101" in line]
    assert {(0, False), (30, True), (60, True), (70, False)} <= set(mine)
    assert all("control=true,effect=0,present=false" in line for line in lines if "fault=white-noise" in line)


@pytest.mark.slow
def test_a_stream_has_the_same_ground_truth_as_generate(tmp_path: Path) -> None:
    start = time.time_ns() // 10**9 - 50  # the fault is there from 20 s ago on
    text = f'start = "{datetime.fromtimestamp(start, timezone.utc).isoformat()}"\n' + STICKY
    (tmp_path / "x.toml").write_text(text)
    streamed = run_cli(tmp_path, "--config", "x.toml", "--count", "3").splitlines()
    truth_lines = [line for line in streamed if line.startswith("control_loops_truth,")]
    first = min(line.rsplit(" ", 1)[1] for line in streamed)
    assert [line.rsplit(" ", 1)[1] for line in truth_lines[:2]] == [first, first]
    assert truth_lines[0].startswith("control_loops_truth,fault=stiction,loop_id=PIC101 control=false,effect=")
    assert ",present=true," in truth_lines[0]
    at_once = run_cli(tmp_path, "generate", "--config", "x.toml", "--duration", "70s").splitlines()
    assert {line for line in streamed if line not in truth_lines} <= set(at_once)


def test_a_record_has_no_ground_truth(tmp_path: Path) -> None:
    run_cli(tmp_path, "generate", "--start", START, "--duration", "20s", "--output", "r.csv")
    (tmp_path / "t.toml").write_text("[output]\ntruth = true\n")
    for options in ((), ("--format", "wide"), ("--format", "csv")):
        command = ("generate", "--replay", "r.csv", "--config", "t.toml", "--duration", "5s")
        replayed = run_cli(tmp_path, *command, *options)
        assert "truth" not in replayed
        assert "fault" not in replayed


def test_the_demonstration_shows_a_sticking_valve(tmp_path: Path) -> None:
    command = ("generate", "--demo", "--start", START, "--duration", "1h", "--interval", "5s", "--format", "wide")
    rows = list(csv.DictReader(run_cli(tmp_path, *command).splitlines()))
    by_loop = {loop: [row for row in rows if row["loop_id"] == loop] for loop in {row["loop_id"] for row in rows}}
    assert len(by_loop) == 5
    healthy, sticky, frozen, other, neighbour = (by_loop[f"TIC20803{k}"] for k in range(5))

    def minutes(rows: list[dict[str, str]], first: int, last: int) -> list[dict[str, str]]:
        return rows[12 * first:12 * last]

    assert {row["fault"] for row in healthy + other} == {""}
    assert 1 < len({row["SP"] for row in healthy + other}) < 12
    assert {row["visible"] for row in minutes(sticky, 15, 36)} == {"true"}
    assert {row["Mode"] for row in minutes(sticky, 39, 54)} == {"MAN"}
    assert {row["fault"] for row in minutes(sticky, 56, 60)} == {""}
    assert {row["visible"] for row in minutes(neighbour, 20, 36)} == {"true"}
    assert {row["fault"] for row in minutes(frozen, 5, 8)} == {"freeze"}
    assert len({row["PV"] for row in minutes(frozen, 5, 8)}) == 1

    def deviation(rows: list[dict[str, str]]) -> float:
        return pstdev(float(row["PV"]) for row in rows)

    early, grown, repaired = (deviation(minutes(sticky, *span)) for span in ((0, 2), (20, 36), (57, 60)))
    assert grown > 3 * max(early, repaired)

