"""Runs of the program that are cut off from power after each operation, with what has to hold of each state left."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from parts import ROOT
from power.crash_states import Tree
from power.judges import (
    OUTPUT,
    RESTART_COUNT,
    Promises,
    cuts,
    find_defects_of_files,
    find_defects_of_journal,
    find_defects_of_output,
    time_of,
    write_tree,
)
from power.recording import INTERVAL, HttpServer, Life, Recording, Stream, direct, nth, record

from clpm_execd.delivery.inspection import read_pending_lines
from clpm_execd.delivery.queue import split_lines

Judge = Callable[[Tree, Promises, list[bytes], Path], list[str]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Lives one after another on one disk, and what has to hold of each state that a cut may leave."""

    lives: Callable[[], list[Life]]
    judge: Judge = find_defects_of_files
    start: Tree | None = None
    output: str = ""

    @property
    def is_direct(self) -> bool:
        """Whether the program can be started on its crash states as `--direct`."""
        return self.judge is find_defects_of_files


def _killed_at(number: int, kind: str, name: str = "", second: int = 8) -> Callable[[], list[Life]]:
    """Two lives, of which the first is killed; second: how many samples of each loop the second emits."""
    return lambda: [Life(direct(8), killed_at=nth(number, kind, name)), Life(direct(second))]


REJECTED = b"control_loops,Mode=AUT,loop_id=A PV=%d 1764034839000000000\n"
_INCIDENT = b"# 2026-01-01T00:00:00+00:00 unable to parse\n" + b"".join(REJECTED % value for value in range(5))
_OLD_OUTPUT = b"what was there before\n"


def _judge_retry(tree: Tree, promises: Promises, generated: list[bytes], folder: Path) -> list[str]:
    state = write_tree(tree, folder) / "state"
    lines = b"".join([*read_pending_lines(state), *(path.read_bytes() for path in state.glob("quarantine/*"))])
    lost = {REJECTED % value for value in range(5)} - set(split_lines(lines))
    return [f"{len(lost)} rejected lines are neither in the queue nor in the quarantine"] if lost else []


def _judge_generate(tree: Tree, promises: Promises, generated: list[bytes], folder: Path) -> list[str]:
    data = tree["out.lp"]
    is_new = data.startswith(b"control_loops,") and data.count(b"\n") == 500 and data.endswith(b"\n")
    return [] if data == _OLD_OUTPUT or is_new else [f"{len(data)} bytes are neither the old file nor the new one"]


SCENARIOS = {
    "outage and kill": Scenario(lambda: [Life(direct(110), outage=(0.2, 1.8), killed_at=nth(430)), Life(direct(30))]),
    "kill before the state folder is durable": Scenario(_killed_at(1, "sync folder")),
    "kill before the queue folder is durable": Scenario(_killed_at(2, "sync folder", "state")),
    "kill before a queue file is durable": Scenario(_killed_at(1, "sync", ".lp.tmp")),
    "kill before a queue file's name is durable": Scenario(_killed_at(1, "sync folder", "spool", second=0)),
    "output to a file": Scenario(
        lambda: [Life(["--count", "60"], killed_at=nth(60)), Life(["--count", "40"])],
        find_defects_of_output, {"out/": b""}, OUTPUT),
    "live control": Scenario(
        lambda: [Life(["--direct"], requests=[("inject", "TIC208031", "stiction", "S=5"), ("clear", "TIC208031")])],
        find_defects_of_journal),
    "retry of rejected lines": Scenario(
        lambda: [Life(["spool", "retry"])], _judge_retry,
        {"state/": b"", "state/quarantine/": b"", "state/quarantine/2026-01-01T000000.000000Z.lp": _INCIDENT}),
    "generate to a file": Scenario(
        lambda: [Life(["generate", "--output", "{disk}/out.lp", "--duration", "2s"])], _judge_generate,
        {"out.lp": _OLD_OUTPUT}),
}


@dataclass(frozen=True, slots=True)
class CrashState:
    """What a cut has left: after so many operations, with what was promised by then."""

    operations: int
    last: str
    tree: Tree
    promises: Promises


class ScenarioRun:
    """A scenario that was recorded; its crash states can be tried.

    Parameters
    ----------
    scenario : Scenario
        What runs.
    server : HttpServer
        Where it writes.
    folder : Path
        A folder for the run, which is made.
    package : Path
        Where the program's package is.
    """

    def __init__(self, scenario: Scenario, server: HttpServer, folder: Path, package: Path = ROOT) -> None:
        folder.mkdir()
        self._judge, self._folder = scenario.judge, folder / "judge"
        self.stream = Stream(folder / "stream", server.url, package)
        self.stream.prepare()
        self.recording: Recording = record(self.stream, server, scenario.lives(), folder / "disk", scenario.start,
                                           scenario.output)
        times = self._emitted_times()
        self.first, self.last = min(times, default=0), max(times, default=0)
        self.generated = self.stream.generate(self.first, self.last + RESTART_COUNT * INTERVAL) if times else []

    def _emitted_times(self) -> set[int]:
        """Return the times of the lines that were emitted, ns since 1970."""
        disk = self.recording.disk
        bodies = [event.data for event in disk.log if (event.kind, event.name) == ("event", "request")]
        bodies += [bytes(inode.data) for inode in disk.inodes.values() if inode.name == Path(OUTPUT).name]
        return {time_of(line) for body in bodies for line in split_lines(body) if line.startswith(b"control_loops,")}

    def states(self, rng: random.Random, fraction: float = 1.0) -> Iterator[CrashState]:
        """Yield the crash states after each operation, or this fraction of them by chance."""
        log = self.recording.disk.log
        for count, (disk, promises) in enumerate(cuts(self.recording.disk)):
            last = f"{log[count - 1].kind} {log[count - 1].name}" if count else "nothing"
            now: Promises | None = None
            for tree in disk.states(rng, fraction):
                now = now or Promises(set(promises.requested), set(promises.accepted), promises.acknowledged)
                yield CrashState(count, last, tree, now)

    def find_defects(self, state: CrashState) -> list[str]:
        """Return what is wrong with the files of a crash state."""
        return self._judge(state.tree, state.promises, self.generated, self._folder)
