"""The snapshot of a stream in a file, from which it goes on as if it had never stopped.

One file, `checkpoint`, in the state folder: what the source and the encoder remember, and when that was. It is written
whole or not at all (see whole_file), and read whole or not at all: a file of another version, cut short or with any
byte changed is set aside in `corrupt/` with one warning, and the stream begins anew.

No file is newer than what it speaks of is safe. Where that can be known (a spool), a snapshot is written at once; where
it cannot (a reader that may be killed before it has passed on what it read), once the reader has had it for LAG. So
after a crash some samples are handed over again, the same ones with the same times, and none is missing.

The stream takes a copy of its snapshot every few seconds, a matter of microseconds; a thread of its own writes it.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from clpm_execd.clock import Clock
from clpm_execd.plant.block import SECOND
from clpm_execd.plant.snapshot import OwnedRows, Snapshot
from clpm_execd.plant.source import Source
from clpm_execd.state.durable_file import make_folder, write_atomically
from clpm_execd.state.folder_lock import Claim

VERSION = 1
EVERY = 5 * SECOND  # between two memories
LAG = 15 * SECOND  # Telegraf passes on what it read every 10 s by default
_SHARE = 20  # a snapshot, written, costs at most one part in so many of the time
_LEAVE = 2.0  # s for the last one, when the stream ends
MOST_CORRUPT = 10

_HEADER = re.compile(rb"clpm-execd checkpoint (\d{1,9}): (\d{1,15}) bytes, blake2b [0-9a-f]{32}\n")

Told = Mapping[str, npt.NDArray[Any]]
Safe = Callable[[int], bool]


class HasState(Protocol):
    """An encoder, as a checkpoint knows it."""

    def snapshot(self) -> Told:
        """Return its state between two Blocks, as arrays by name."""


class Unfit(Exception):  # noqa: N818 - says what the file is
    """A checkpoint from which this stream cannot go on."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A stream at one instant.

    kind: of the source, "plant" or "record". start: ns, the start that was configured, None for now. snapshot: the
    source's. told: the encoder's. since: the first instant that the stream was to emit, ns; before it the source lives
    unseen. taken: when that was, ns since 1970.
    """

    kind: str
    start: int | None
    snapshot: Snapshot
    told: Told
    since: int
    taken: int


def packed(checkpoint: Checkpoint) -> bytes:
    """As its file holds it: a header with version, size and checksum, a line of JSON, and arrays."""
    snapshot = checkpoint.snapshot
    everybody = np.arange(len(snapshot.loops))
    whole = {name: np.array_equal(rows.owner, everybody) for name, rows in snapshot.tables.items()}
    head = {
        "kind": checkpoint.kind, "start": checkpoint.start, "since": checkpoint.since,
        "taken": checkpoint.taken, "loops": snapshot.loops,
        "next_time": snapshot.next_time, "next_tick": snapshot.next_tick, "tables": whole,
        "told": list(checkpoint.told),
    }  # fmt: skip
    body = io.BytesIO()
    body.write(json.dumps(head).encode() + b"\n")
    arrays: list[npt.NDArray[Any]] = [snapshot.fingerprints, snapshot.starts]
    for name, rows in snapshot.tables.items():
        arrays += [] if whole[name] else [np.bincount(rows.owner, minlength=len(everybody)).astype(np.int32)]
        arrays.append(rows.values)
    for array in (*arrays, *checkpoint.told.values()):
        np.lib.format.write_array(body, array, version=(3, 0), allow_pickle=False)
    text = body.getbuffer()
    return _header(text) + text


def _header(body: memoryview) -> bytes:
    check = hashlib.blake2b(body, digest_size=16).hexdigest()
    return f"clpm-execd checkpoint {VERSION}: {len(body)} bytes, blake2b {check}\n".encode()


def unpacked(data: bytes) -> Checkpoint:
    """What a file holds; Unfit if one bit is not what was written."""
    found = _HEADER.match(data)
    if not found:
        raise Unfit("it has no whole header")
    if int(found[1]) != VERSION:
        raise Unfit(f"it is of version {int(found[1])}, not {VERSION}")
    body = io.BytesIO(data[found.end():])
    if data[:found.end()] != _header(body.getbuffer()):
        raise Unfit("its checksum is wrong")
    head = json.loads(body.readline())

    def array() -> npt.NDArray[Any]:
        return np.asarray(np.lib.format.read_array(body, allow_pickle=False))

    marks, starts = array(), array()
    everybody = np.arange(len(head["loops"]))
    tables = {name: OwnedRows(everybody if whole else np.repeat(everybody, array()), array())
              for name, whole in head["tables"].items()}
    snapshot = Snapshot(tuple(head["loops"]), marks, starts, head["next_time"], head["next_tick"], tables)
    told = {name: array() for name in head["told"]}
    return Checkpoint(head["kind"], head["start"], snapshot, told, head["since"], head["taken"])


def read(folder: Path, kind: str, log: logging.Logger) -> tuple[Checkpoint | None, bool]:
    """The checkpoint of a state folder, None without one, and whether it is known what has been streamed.

    One that cannot be read, or is of another kind of source, is set aside.
    """
    path = folder / "checkpoint"
    try:
        found = unpacked(path.read_bytes())
        if found.kind != kind:
            raise Unfit(f"it is of a {found.kind}, and this is a {kind}")
        return found, True
    except FileNotFoundError:
        return None, True
    except OSError as error:
        log.warning("cannot read %s: %s; the stream begins anew", path, error.strerror)
    except Unfit as why:
        set_aside(folder, log, str(why))
    return None, False


def set_aside(folder: Path, log: logging.Logger, why: str) -> None:
    """A checkpoint that is of no use to this stream goes to corrupt/, for people to look at."""
    path, corrupt = folder / "checkpoint", folder / "corrupt"
    log.warning("the checkpoint is set aside in %s, and the stream begins anew: %s", corrupt, why)
    with suppress(OSError):
        make_folder(corrupt)
        os.replace(path, corrupt / f"checkpoint-{time.time_ns()}")
        for old in sorted(corrupt.glob("checkpoint-*"))[:-MOST_CORRUPT]:
            old.unlink()


@dataclass(frozen=True, slots=True)
class _Taken:
    """A snapshot that waits to be written. mark: see Keeper. at: by the clock that is never set."""

    checkpoint: Checkpoint
    mark: int
    at: int


class Keeper:
    """Takes the snapshot of a stream now and then, and has it written once what was emitted by then is safe.

    lag: ns that must have gone by since it was taken. A stream calls `look` when it has handed something over, and when
    it rests, with a mark of how far it is, and `safe`, which tells of a mark whether what was handed over by then is.
    """

    def __init__(self, claim: Claim, source: Source, encoder: HasState, clock: Clock, log: logging.Logger, *,
                 kind: str = "plant", start: int | None = None, lag: int = 0) -> None:
        self._claim, self._source, self._encoder, self._clock, self._log = claim, source, encoder, clock, log
        self._kind, self._start, self._lag = kind, start, lag
        self._waiting: _Taken | None = None
        self._due = 0
        self._since = source.next_time
        self._cost = 0  # ns that the last one took to write
        self._failed = False
        self._writing: threading.Thread | None = None

    def begin(self, since: int) -> None:
        """Write the first snapshot before anything is emitted; since: the first instant that will be."""
        self._since = since
        self._write(self._take(0).checkpoint)
        self._due = self._clock.elapsed()  # so that a process that never lives for long gets on nevertheless

    def look(self, mark: int, safe: Safe) -> None:
        """Write what is safe, take what is due."""
        now = self._clock.elapsed()
        waiting = self._waiting
        if waiting is not None:
            if now - waiting.at < self._lag or self._busy() or not safe(waiting.mark):
                return
            self._waiting = None
            self._start_writing(waiting.checkpoint)
        if now >= self._due:
            self._waiting = self._take(mark)
            if not self._lag:
                self.look(mark, safe)

    def leave(self, mark: int, safe: Safe) -> None:
        """The stream ends in order: write the last snapshot if what was handed over is safe, and wait for it.

        Where that does not happen in time a line of the log says so, for the next stream then emits points a second
        time.
        """
        deadline = time.monotonic() + _LEAVE
        self._join(deadline)
        if safe(mark) and not self._busy():
            self._start_writing(self._take(mark).checkpoint)
            self._join(deadline)
            if not self._busy():
                return
        self._log.info("stopped before the last points were in the checkpoint: the next start emits them again")

    def _join(self, deadline: float) -> None:
        if self._writing is not None:
            self._writing.join(max(0.0, deadline - time.monotonic()))

    def _take(self, mark: int) -> _Taken:
        began = self._clock.elapsed()
        checkpoint = Checkpoint(self._kind, self._start, self._source.snapshot(), self._encoder.snapshot(),
                                self._since, self._clock.now())
        now = self._clock.elapsed()
        self._due = now + max(EVERY, _SHARE * (now - began + self._cost))
        return _Taken(checkpoint, mark, now)

    def _busy(self) -> bool:
        return self._writing is not None and self._writing.is_alive()

    def _start_writing(self, checkpoint: Checkpoint) -> None:
        self._writing = threading.Thread(target=self._write, args=(checkpoint,), name="checkpoint", daemon=True)
        self._writing.start()

    def _write(self, checkpoint: Checkpoint) -> None:
        try:
            if not self._claim.take():
                return
            began = time.monotonic_ns()
            write_atomically(self._claim.folder / "checkpoint", packed(checkpoint))
            self._cost = time.monotonic_ns() - began
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._log.warning("cannot write %s: %s; the stream goes on, and would begin again from an older state",
                                  self._claim.folder / "checkpoint", error.strerror)
            return
        if self._failed:
            self._failed = False
            self._log.warning("the state is written again to %s", self._claim.folder)
