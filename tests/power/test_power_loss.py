"""The power is cut: nothing that was durable is lost, and nothing comes twice with another value.

The real program runs on a disk of the tests' own that records every write, sync and rename (FUSE). After each of them
the power may be cut, and each state that may be left then is tried: its files are read as the program reads them, and
the program itself is started on some of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from power.crash_states import DiskAfterCut, Tree
from power.judges import OUTPUT, Restarts, find_defects_of_lines, write_tree
from power.mutants import MUTANTS, Mutant
from power.recording import HttpServer
from power.scenarios import SCENARIOS, CrashState, ScenarioRun
from power.volatile_disk import VolatileDisk
from tiers import CAMPAIGNS

FILE_STATES = 5000 if CAMPAIGNS else 120  # whose files are read; all of a scenario if it has no more
RESTARTS = 1000 if CAMPAIGNS else 4  # of the program, of --direct
OUTPUT_RESTARTS = 50


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with closing(HttpServer()) as server:
        yield server


def states_left(disk: VolatileDisk) -> list[Tree]:
    after = DiskAfterCut(disk.start)
    for operation in disk.log:
        after.do(operation)
    return list(after.states(random.Random(1)))


def contents_left(disk: VolatileDisk, name: str) -> set[bytes | None]:
    return {tree.get(name) for tree in states_left(disk)}


def test_any_part_of_a_file_that_is_not_synced_may_survive() -> None:
    disk = VolatileDisk()
    disk.write(disk.make(1, "a", 0o100600), 0, b"four")
    assert contents_left(disk, "a") == {None, b"", b"fo", bytes(4), b"four"}


def test_a_file_and_its_name_are_durable_once_both_are_synced() -> None:
    disk = VolatileDisk()
    number = disk.make(1, "a", 0o100600)
    disk.write(number, 0, b"four")
    disk.sync(number)
    assert contents_left(disk, "a") == {None, b"four"}
    disk.sync(1)
    assert contents_left(disk, "a") == {b"four"}


def test_a_rename_may_come_before_the_contents_and_happens_to_both_names_or_to_none() -> None:
    disk = VolatileDisk({"new": b""})
    number = disk.make(1, "old", 0o100600)
    disk.sync(1)
    disk.write(number, 0, b"four")
    disk.rename(1, "old", 1, "new")
    states = states_left(disk)
    assert all(("old" in tree) == (tree["new"] == b"") or "old" not in tree for tree in states)
    assert {"new": b""} in states
    assert {"new": b"four"} in states
    assert {"new": b"", "old": b"four"} in states
    assert not [tree for tree in states if "old" in tree and tree["new"]]


def test_a_folder_that_is_lost_takes_its_files_with_it() -> None:
    disk = VolatileDisk()
    folder = disk.make(1, "folder", 0o40700)
    disk.make(folder, "file", 0o100600)
    disk.sync(folder)
    assert {"folder/", "folder/file"} in map(set, states_left(disk))
    assert set() in map(set, states_left(disk))


def choose(states: Iterator[CrashState], number: int, rng: random.Random) -> list[CrashState]:
    """Return all states, or so many by chance."""
    every = list(states)
    return every if number >= len(every) else rng.sample(every, number)


def find_all_defects(run: ScenarioRun, states: list[CrashState]) -> list[str]:
    return [f"after {state.operations} operations, the last {state.last}: {defect}"
            for state in states for defect in run.find_defects(state)]


@pytest.mark.process
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", [
    name if name == "outage and kill" else pytest.param(name, marks=pytest.mark.campaign) for name in SCENARIOS])
def test_after_a_power_cut_no_file_that_was_promised_is_lost_or_damaged(
        name: str, server: HttpServer, tmp_path: Path) -> None:
    run, rng = ScenarioRun(SCENARIOS[name], server, tmp_path / "run"), random.Random(1)
    states = choose(run.states(rng, 1.0 if CAMPAIGNS else 0.1), FILE_STATES, rng)
    assert find_all_defects(run, states) == []
    if not SCENARIOS[name].is_direct:
        return
    with closing(Restarts(run.stream, server)) as restarts:
        chosen = rng.sample(states, min(len(states), RESTARTS))
        found = [(state.operations, state.last, defects) for state in chosen
                 if (defects := restarts.find_defects(state.tree, state.promises, run.generated))]
    print(f"{name}: {len(run.recording.disk.log)} operations, {len(states)} crash states, {len(chosen)} restarts")
    assert found == []


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_a_stream_to_a_file_continues_with_complete_lines_after_a_power_cut(server: HttpServer, tmp_path: Path) -> None:
    run, rng = ScenarioRun(SCENARIOS["output to a file"], server, tmp_path / "run"), random.Random(1)
    for state in choose(run.states(rng), OUTPUT_RESTARTS, rng):
        disk = write_tree({"out/": b"", **state.tree}, run.stream.folder / "disk")
        with (disk / OUTPUT).open("ab") as out, run.stream.life(
                "--state", "disk/state", "--count", "200", stdout=out.fileno()) as process:
            assert process.wait(60) == 0
        assert find_defects_of_lines((disk / OUTPUT).read_bytes(), run.generated) == [], state.last


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.what for mutant in MUTANTS])
def test_a_program_without_one_sync_or_rename_is_noticed(mutant: Mutant, server: HttpServer, tmp_path: Path) -> None:
    run = ScenarioRun(SCENARIOS[mutant.scenario], server, tmp_path / "run", mutant.make(tmp_path / "package"))
    assert any(run.find_defects(state) for state in run.states(random.Random(1)))
