"""A disk that fails once, at any call, or for good: nothing that was promised is lost, and the stream goes on."""

from __future__ import annotations

import errno
import itertools
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from power.judges import write_tree
from power.recording import HttpServer, Life, direct, is_rejected, record, time_of
from power.scenarios import SCENARIOS, CrashState, ScenarioRun
from power.volatile_disk import READS, Fault, Operation

from clpm_execd.delivery.quarantine import read_incidents

COUNT = 60  # samples of each loop in a life
# What the log says where the state at the start could not be read; then the stream starts at the present time.
STARTS_ANEW = ("starting from scratch", "cannot use the state folder")


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with closing(HttpServer()) as server:
        yield server


@pytest.fixture(scope="module")
def run(server: HttpServer, tmp_path_factory: pytest.TempPathFactory) -> ScenarioRun:
    return ScenarioRun(SCENARIOS["outage and kill"], server, tmp_path_factory.mktemp("errors") / "run")


@pytest.fixture(scope="module")
def start(run: ScenarioRun) -> CrashState:
    """A state folder with a checkpoint and a backlog, as a power cut left it."""
    return max(run.states(random.Random(1), 0.2), key=lambda state: sum("spool/" in path for path in state.tree))


def nth_call(number: int, error: int, kinds: tuple[str, ...], *, is_lasting: bool = False) -> Fault:
    """Fail at the n-th call of these kinds, all others if there are none; from then on, or once."""
    count = itertools.count(1)

    def fault(operation: Operation) -> int:
        if (operation.kind in READS) is not (kinds == READS):
            return 0
        at = next(count)
        return error if at == number or (is_lasting and at > number) else 0

    return fault


def find_defects(run: ScenarioRun, server: HttpServer, start: CrashState, fault: Fault, mount: Path) -> list[str]:
    """Return what is wrong after a life on a disk with this fault and one on a good disk."""
    stream, promises = run.stream, start.promises
    (stream.folder / "log").write_text("")
    server.answers.accepted = sorted(promises.accepted)
    lives = [Life(direct(COUNT), fault=fault), Life(direct(COUNT))]
    recording = record(stream, server, lives, mount, start.tree)
    mount.rmdir()
    log = stream.log
    defects = [f"exit statuses {recording.statuses}"] if any(recording.statuses) else []
    defects += [line for line in log.splitlines() if "Traceback" in line or "corrupt" in line]
    state = write_tree(recording.disk.files(), mount.with_name("after")) / "state"
    quarantined = {line for incident in read_incidents(state) for line in incident.lines}
    got = set(server.answers.accepted)
    if lost := promises.requested - got - quarantined:
        defects.append(f"{len(lost)} lines that had been promised are lost")
    end = time_of(run.generated[-1])
    if invented := {line for line in got if time_of(line) <= end}.difference(run.generated):
        defects.append(f"{len(invented)} points have other values: {min(invented)!r}")
    if not any(text in log for text in STARTS_ANEW):
        expected = {line for line in run.generated if time_of(line) <= max(map(time_of, got)) and not is_rejected(line)}
        if missing := expected - got:
            defects.append(f"{len(missing)} points are missing, the first {min(missing, key=time_of)!r}")
    return defects


@pytest.mark.campaign
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("error", "kinds"), [(errno.EIO, ()), (errno.ENOSPC, ()), (errno.EIO, READS)],
                         ids=["writes fail", "disk is full", "reads fail"])
@pytest.mark.parametrize("is_lasting", [False, True], ids=["once", "for good"])
def test_a_disk_that_fails_at_any_call_loses_nothing_that_was_promised(
        run: ScenarioRun, server: HttpServer, start: CrashState, error: int, kinds: tuple[str, ...], is_lasting: bool,
        tmp_path: Path) -> None:
    calls: list[str] = []

    def count_calls(operation: Operation) -> int:
        if (operation.kind in READS) is (kinds == READS):
            calls.append(f"{operation.kind} {operation.name}")
        return 0

    assert find_defects(run, server, start, count_calls, tmp_path / "disk") == []
    step = (4 if is_lasting else 1) * (10 if kinds == READS else 1)  # each file is looked up and read many times
    found = {}
    for number in range(1, len(calls) + 1, step):
        fault = nth_call(number, error, kinds, is_lasting=is_lasting)
        if defects := find_defects(run, server, start, fault, tmp_path / "disk"):
            found[f"{number}: {calls[number - 1]}"] = defects
    print(f"{len(calls)} calls, of which {len(range(0, len(calls), step))} failed")
    assert found == {}
