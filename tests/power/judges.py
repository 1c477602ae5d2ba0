"""What has to hold of a state folder after a power cut: of its files, and of the stream that starts with it."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from command import environment
from parts import ROOT
from power.crash_states import DiskAfterCut, Tree
from power.recording import HttpServer, Stream, is_rejected, time_of
from power.volatile_disk import VolatileDisk

from clpm_execd.control.journal import read_journal_or_start_anew
from clpm_execd.delivery.disk_queue import DiskQueue
from clpm_execd.delivery.quarantine import read_incidents
from clpm_execd.delivery.queue import split_lines
from clpm_execd.state.checkpoint import read_checkpoint


@dataclass(slots=True)
class Promises:
    """What is known outside of the stream by then.

    requested: lines that a request had, so that they are durable. accepted: by the server. acknowledged: how many
    requests to change the stream.
    """

    requested: set[bytes] = field(default_factory=set)
    accepted: set[bytes] = field(default_factory=set)
    acknowledged: int = 0


def cuts(disk: VolatileDisk) -> Iterator[tuple[DiskAfterCut, Promises]]:
    """Yield the disk and the promises after each operation of the log; both are the same objects each time."""
    after, promises = DiskAfterCut(disk.start), Promises()
    yield after, promises
    for operation in disk.log:
        if operation.name == "acknowledged" and operation.kind == "event":
            promises.acknowledged += 1
        elif operation.kind == "event":
            lines = promises.requested if operation.name == "request" else promises.accepted
            lines.update(split_lines(operation.data))
        else:
            after.do(operation)
        yield after, promises


def write_tree(tree: Tree, folder: Path) -> Path:
    """Make a folder with these files, in place of what is there; return it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path, data in tree.items():
        if path.endswith("/"):
            (folder / path).mkdir(mode=0o700, parents=True, exist_ok=True)
        else:
            (folder / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
    return folder


class _Warnings(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def find_defects_of_files(tree: Tree, promises: Promises, generated: list[bytes], folder: Path) -> list[str]:
    """Return what is wrong with the files that a cut has left, as the program reads them; nothing is right.

    generated: the lines of the stream from its first instant on, in order of time. folder: where the files are written.
    """
    state = write_tree(tree, folder) / "state"
    log, warnings = logging.Logger("judge"), _Warnings()
    log.addHandler(warnings)
    checkpoint, _ = read_checkpoint(state, "plant", log)
    incidents = list(read_incidents(state))
    safe = promises.accepted | {line for incident in incidents for line in incident.lines}
    queue = DiskQueue(state, log)
    while batch := queue.peek():
        safe.update(split_lines(batch.body))
        queue.ack()
    defects = [f"the log says: {text}" for text in warnings.texts]
    if lost := promises.requested - safe:
        defects.append(f"{len(lost)} lines that were sent are lost")
    if invented := safe.difference(generated):
        defects.append(f"{len(invented)} lines that are not those of the plant: {min(invented)!r}")
    if checkpoint is None:
        if promises.requested:
            defects.append("lines were sent, and there is no checkpoint")
        return defects
    emitted = generated[: bisect_left(generated, checkpoint.snapshot.next_time, key=time_of)]
    if missing := [line for line in emitted if line not in safe]:
        defects.append(f"{len(missing)} lines from before the checkpoint are lost")
    return defects


RESTART_COUNT = 250  # samples of each loop after a restart: more than any checkpoint of these runs is old


class Restarts:
    """Starts `--direct` on state folders that a cut has left, and compares all that the server then has.

    A process that has imported everything forks one life after another.
    """

    def __init__(self, stream: Stream, server: HttpServer) -> None:
        self._stream, self._server = stream, server
        self._log = (stream.folder / "restarts.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/influx/forked_program.py"), "--direct", "--state", "state", "--count",
             str(RESTART_COUNT)],
            cwd=stream.folder, env=environment({"PYTHONPATH": str(stream.package)}), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
        )

    def find_defects(self, tree: Tree, promises: Promises, generated: list[bytes]) -> list[str]:
        """Return what is wrong with the stream after a cut; generated: as in `find_defects_of_files`."""
        stream, answers = self._stream, self._server.answers
        state = self._stream.folder / "state"
        write_tree({path.removeprefix("state/"): data for path, data in tree.items() if path.startswith("state/")
                    and path != "state/"}, state)
        answers.accepted, answers.requests = sorted(promises.accepted), []
        self._server.is_down = lambda: False
        log_size = len((stream.folder / "restarts.log").read_bytes())
        status = self._run()
        log = (stream.folder / "restarts.log").read_bytes()[log_size:].decode()
        defects = [f"the exit status is {status}"] if status else []
        defects += [f"the log says: {line}" for line in log.splitlines()
                    if "Traceback" in line or "corrupt" in line or "cannot" in line]
        got = set(answers.accepted)
        # A stream that had sent nothing starts where it is restarted.
        first = generated[0] if promises.requested else min(got, key=time_of, default=generated[0])
        last = max(map(time_of, got), default=0)
        expected = {line for line in generated if time_of(first) <= time_of(line) <= last}
        rejected = {line for line in expected if is_rejected(line)}
        if missing := expected - rejected - got:
            defects.append(f"{len(missing)} points are missing, the first {min(missing, key=time_of)!r}")
        if doubled := got - expected:
            defects.append(f"{len(doubled)} points have other values: {min(doubled)!r}")
        in_quarantine = {line for incident in read_incidents(state) for line in incident.lines}
        if rejected != in_quarantine:
            defects.append(f"{len(rejected)} lines were rejected, and {len(in_quarantine)} are in the quarantine")
        if (state / "corrupt").exists():
            defects.append("files were moved to corrupt/")
        return defects

    def _run(self) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._process.stdout.readline()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()


OUTPUT = "out/out.lp"


def find_defects_of_output(tree: Tree, promises: Promises, generated: list[bytes], folder: Path) -> list[str]:
    """Return what is wrong with the file and the checkpoint that a cut has left of a stream to a file."""
    log, warnings = logging.Logger("judge"), _Warnings()
    log.addHandler(warnings)
    checkpoint, _ = read_checkpoint(write_tree(tree, folder) / "state", "plant", log)
    text = tree.get(OUTPUT, b"")
    lines = set(split_lines(text[: text.rfind(b"\n") + 1])) - {b"\n"}
    defects = [f"the log says: {text}" for text in warnings.texts]
    if invented := lines.difference(generated):
        defects.append(f"{len(invented)} lines that are not those of the plant: {min(invented)!r}")
    if checkpoint is None:
        return [*defects, "there are lines, and no checkpoint"] if lines else defects
    emitted = generated[: bisect_left(generated, checkpoint.snapshot.next_time, key=time_of)]
    if missing := [line for line in emitted if line not in lines]:
        defects.append(f"{len(missing)} lines from before the checkpoint are lost")
    return defects


def find_defects_of_journal(tree: Tree, promises: Promises, generated: list[bytes], folder: Path) -> list[str]:
    """Return what is wrong with the journal of a stream that was changed while it ran."""
    log, warnings = logging.Logger("judge"), _Warnings()
    log.addHandler(warnings)
    state = write_tree(tree, folder) / "state"
    entries = read_journal_or_start_anew(state / "journal", state / "corrupt", log).entries
    if len(entries) < promises.acknowledged:
        return [f"{promises.acknowledged} changes were acknowledged, and {len(entries)} are in the journal"]
    return [f"the log says: {text}" for text in warnings.texts]


def find_defects_of_lines(text: bytes, generated: list[bytes]) -> list[str]:
    """Return what is wrong with the lines of a stream to a file; lines may come twice, the same."""
    lines = split_lines(text)
    defects = [f"not a line of the stream: {line!r}" for line in lines if line not in set(generated)][:1]
    if not defects and lines:
        last = max(map(time_of, lines))
        expected = {line for line in generated if time_of(lines[0]) <= time_of(line) <= last}
        if missing := expected - set(lines):
            defects.append(f"{len(missing)} lines are missing, the first {min(missing, key=time_of)!r}")
    return defects
