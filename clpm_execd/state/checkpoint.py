"""The state of a stream in a file, from which the next process resumes as if there had been no end.

One file, `checkpoint`, in the state folder: snapshots of the source and of the encoder, and when they were taken. It is
written completely or not at all (see durable_file), and read completely or not at all: a file of another version, one
that is cut short or has any byte changed is moved to `corrupt/` with one warning, and the stream starts from scratch.

No checkpoint is newer than the last sample that is durable. Where that can be known (a queue on disk) a snapshot is
written at once. Where it cannot (a reader that may be killed before it has passed on what it read), it is written once
the reader has had the samples for READER_LAG_NS. So after a crash some samples are emitted again, with the same values
and times, and none is missing.

Taking a snapshot every few seconds is a matter of microseconds; a thread of its own writes it, if there can be one.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import stat
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
from clpm_execd.plant.snapshot import OwnedRows, Snapshot
from clpm_execd.plant.source import Source
from clpm_execd.state.durable_file import make_folder, write_atomically
from clpm_execd.state.folder_lock import FolderLock
from clpm_execd.stored_names import (
    CHECKPOINT_ENCODER,
    CHECKPOINT_FIELDS,
    CHECKPOINT_FILE,
    CHECKPOINT_SNAPSHOT,
    CHECKPOINT_TABLES,
    CHECKPOINT_TITLE,
    CORRUPT_FOLDER,
)
from clpm_execd.units import SECOND

# 2: values of a plant have the same bits on every platform, and differ in their last bits from those of version 1.
FORMAT_VERSION = 2
_READABLE_VERSIONS = (1, 2)
INTERVAL_NS = 5 * SECOND  # between two snapshots: what a kill costs is this much simulated again
# Telegraf passes on what it read every 10 s by default (flush_interval), and may be late.
READER_LAG_NS = 15 * SECOND
_MIN_INTERVAL_PER_COST = 20  # taking and writing snapshots takes at most a twentieth of the time
_FINAL_WRITE_TIMEOUT_S = 2.0  # Telegraf sends SIGTERM 5 s after it asked for the end
MAX_CORRUPT_CHECKPOINTS = 10  # that are kept for people to look at

_HEADER = re.compile(CHECKPOINT_TITLE.encode() + rb" (\d{1,9}): (\d{1,15}) bytes, blake2b [0-9a-f]{32}\n")

EncoderState = Mapping[str, npt.NDArray[Any]]
IsDurableFn = Callable[[int], bool]  # whether everything that was emitted up to an offset is durable


class HasSnapshot(Protocol):
    """An encoder, as a checkpoint needs it."""

    def snapshot(self) -> EncoderState:
        """Return the state between two Blocks, as arrays by the names they have in a checkpoint."""


class UnusableCheckpoint(Exception):  # noqa: N818 - what the file is, not what the program did wrong
    """A file from which this stream cannot resume."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a stream at one time.

    Attributes
    ----------
    source_kind : str
        "plant" or "record".
    start : int or None
        The configured start, ns since 1970; None for now.
    snapshot : Snapshot
        The state of the source.
    encoder_state : mapping of str to array
        The state of the encoder.
    first_emit : int
        The first sample that the stream was to emit, ns since 1970; what is before is simulated without output.
    taken_at : int
        When the snapshots were taken, ns since 1970.
    version : int
        Format version of the file from which it was read.
    """

    source_kind: str
    start: int | None
    snapshot: Snapshot
    encoder_state: EncoderState
    first_emit: int
    taken_at: int
    version: int = FORMAT_VERSION


def serialize(checkpoint: Checkpoint) -> bytes:
    """Return the contents of the file: a header with version, size and checksum, a line of JSON, and arrays.

    Parameters
    ----------
    checkpoint : Checkpoint
        The state to write.
    """
    snapshot = checkpoint.snapshot
    all_loops = np.arange(len(snapshot.loops))
    # A table with one row for each loop needs no list of their owners.
    has_row_per_loop = {name: np.array_equal(rows.owner, all_loops) for name, rows in snapshot.tables.items()}
    head = {key: getattr(checkpoint, attribute) for key, attribute in CHECKPOINT_FIELDS.items()}
    head |= {key: getattr(snapshot, attribute) for key, attribute in CHECKPOINT_SNAPSHOT.items()}
    head |= {CHECKPOINT_TABLES: has_row_per_loop, CHECKPOINT_ENCODER: list(checkpoint.encoder_state)}
    body = io.BytesIO()
    body.write(json.dumps(head).encode() + b"\n")
    arrays: list[npt.NDArray[Any]] = [snapshot.fingerprints, snapshot.starts]
    for name, rows in snapshot.tables.items():
        arrays += [] if has_row_per_loop[name] else [np.bincount(rows.owner, minlength=len(all_loops)).astype(np.int32)]
        arrays.append(rows.values)
    for array in (*arrays, *checkpoint.encoder_state.values()):
        np.lib.format.write_array(body, array, version=(3, 0), allow_pickle=False)
    contents = body.getbuffer()
    return _make_header(contents, FORMAT_VERSION) + contents


def parse(data: bytes) -> Checkpoint:
    """Return the checkpoint of a file with these contents.

    Parameters
    ----------
    data : bytes
        The contents.

    Raises
    ------
    UnusableCheckpoint
        If one bit is not as it was written.
    """
    header = _HEADER.match(data)
    if not header:
        raise UnusableCheckpoint("its header is incomplete")
    version = int(header[1])
    if version not in _READABLE_VERSIONS:
        raise UnusableCheckpoint(f"its format version is {version}, not {FORMAT_VERSION}")
    body = io.BytesIO(data[header.end():])
    if data[:header.end()] != _make_header(body.getbuffer(), version):
        raise UnusableCheckpoint("its checksum is wrong")
    head = json.loads(body.readline())

    def read_array() -> npt.NDArray[Any]:
        return np.asarray(np.lib.format.read_array(body, allow_pickle=False))

    fingerprints, starts = read_array(), read_array()
    of_snapshot = {attribute: head[key] for key, attribute in CHECKPOINT_SNAPSHOT.items()}
    loops = tuple(of_snapshot.pop("loops"))
    all_loops = np.arange(len(loops))
    tables = {name: OwnedRows(all_loops if has_row_per_loop else np.repeat(all_loops, read_array()), read_array())
              for name, has_row_per_loop in head[CHECKPOINT_TABLES].items()}
    snapshot = Snapshot(loops, fingerprints, starts, tables=tables, **of_snapshot)
    encoder_state = {name: read_array() for name in head[CHECKPOINT_ENCODER]}
    fields = {attribute: head[key] for key, attribute in CHECKPOINT_FIELDS.items()}
    return Checkpoint(snapshot=snapshot, encoder_state=encoder_state, version=version, **fields)


def _make_header(body: memoryview, version: int) -> bytes:
    check = hashlib.blake2b(body, digest_size=16).hexdigest()
    return f"{CHECKPOINT_TITLE} {version}: {len(body)} bytes, blake2b {check}\n".encode()


def read_checkpoint(folder: Path, source_kind: str, log: logging.Logger) -> tuple[Checkpoint | None, bool]:
    """Read the checkpoint of a state folder; an unusable one is moved away.

    Parameters
    ----------
    folder : Path
        The state folder.
    source_kind : str
        "plant" or "record"; the checkpoint of another kind of source is unusable.
    log : logging.Logger
        Where it is reported that the stream starts from scratch.

    Returns
    -------
    checkpoint : Checkpoint or None
        None if there is none that can be used.
    is_known : bool
        Whether it is known what was emitted before.
    """
    path = folder / CHECKPOINT_FILE
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnusableCheckpoint("it is not a file")
        checkpoint = parse(path.read_bytes())
        if checkpoint.source_kind != source_kind:
            raise UnusableCheckpoint(f"it is of a {checkpoint.source_kind}, and this stream is of a {source_kind}")
        if checkpoint.version < FORMAT_VERSION and source_kind == "plant":
            log.info("the checkpoint is of an older version: the stream goes on where it stopped, but its values "
                     "differ from those of that version in their last bits")
        return checkpoint, True
    except FileNotFoundError:
        return None, True
    except OSError as error:
        log.warning("cannot read %s: %s; starting from scratch", path, error.strerror)
    except UnusableCheckpoint as reason:
        reject_checkpoint(folder, log, str(reason))
    return None, False


def reject_checkpoint(folder: Path, log: logging.Logger, reason: str) -> None:
    """Move a checkpoint that this stream cannot use to `corrupt/`, for people to look at.

    Parameters
    ----------
    folder : Path
        The state folder.
    log : logging.Logger
        Where that is reported.
    reason : str
        Why it cannot be used.
    """
    path, corrupt = folder / CHECKPOINT_FILE, folder / CORRUPT_FOLDER
    log.warning("checkpoint moved to %s; starting from scratch: %s", corrupt, reason)
    with suppress(OSError):
        make_folder(corrupt)
        os.replace(path, corrupt / f"{CHECKPOINT_FILE}-{time.time_ns()}")
        for old in sorted(corrupt.glob(f"{CHECKPOINT_FILE}-*"))[:-MAX_CORRUPT_CHECKPOINTS]:
            old.unlink()


@dataclass(frozen=True, slots=True)
class _PendingCheckpoint:
    """A checkpoint that waits until `offset` is durable. taken_at: ns, of the monotonic clock."""

    checkpoint: Checkpoint
    offset: int
    taken_at: int


class CheckpointWriter:
    """Takes snapshots of a stream every few seconds, and writes each once everything emitted before it is durable.

    A stream calls `poll` whenever it has emitted something and while it waits, with an offset that says how much it has
    emitted, and a function that says of an offset whether everything up to it is durable.

    Parameters
    ----------
    lock : FolderLock
        The lock on the state folder; without it nothing is written.
    source, encoder : Source, HasSnapshot
        The source and the encoder whose state is written.
    clock : Clock
        The clock.
    log : logging.Logger
        Where it is reported, once, that the disk takes no checkpoint.
    source_kind : str
        "plant" or "record".
    start : int or None
        The configured start, ns since 1970; None for now.
    lag : int
        How old a snapshot must be at least when it is written, ns.
    """

    def __init__(self, lock: FolderLock, source: Source, encoder: HasSnapshot, clock: Clock, log: logging.Logger, *,
                 source_kind: str = "plant", start: int | None = None, lag: int = 0) -> None:
        self._lock, self._source, self._encoder, self._clock, self._log = lock, source, encoder, clock, log
        self._source_kind, self._start, self._lag = source_kind, start, lag
        self._pending: _PendingCheckpoint | None = None
        self._next_snapshot_at = 0  # of the monotonic clock, ns
        self._first_emit = source.next_time
        self._write_cost = 0  # of the last checkpoint, ns
        self._has_failed = self._is_thread_failure_logged = False
        self._thread: threading.Thread | None = None

    def write_first(self, first_emit: int) -> None:
        """Write a checkpoint before anything is emitted; first_emit: the first sample that will be, ns since 1970."""
        self._first_emit = first_emit
        self._write(self._take_snapshot(0).checkpoint)
        self._next_snapshot_at = self._clock.elapsed()  # so that a process that never lives for long makes progress too

    def poll(self, offset: int, is_durable: IsDurableFn) -> None:
        """Write the pending checkpoint if its time has come, and take the next snapshot if it is due."""
        now = self._clock.elapsed()
        pending = self._pending
        if pending is not None:
            if now - pending.taken_at < self._lag or self._is_writing() or not is_durable(pending.offset):
                return
            self._pending = None
            self._start_writing(pending.checkpoint)
        if now >= self._next_snapshot_at:
            self._pending = self._take_snapshot(offset)
            if not self._lag:
                self.poll(offset, is_durable)

    def finish(self, offset: int, is_durable: IsDurableFn) -> None:
        """Write the last checkpoint of a stream that ends, if everything is durable, and wait for it a little.

        If that does not succeed the log says so, because the next stream then emits some points a second time.
        """
        deadline = time.monotonic() + _FINAL_WRITE_TIMEOUT_S
        self._join(deadline)
        if is_durable(offset) and not self._is_writing():
            self._start_writing(self._take_snapshot(offset).checkpoint)
            self._join(deadline)
            if not self._is_writing():
                return
        self._log.info("stopped before the last points were in the checkpoint: the next start emits them again")

    def _join(self, deadline: float) -> None:
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))

    def _take_snapshot(self, offset: int) -> _PendingCheckpoint:
        start = self._clock.elapsed()
        checkpoint = Checkpoint(self._source_kind, self._start, self._source.snapshot(), self._encoder.snapshot(),
                                self._first_emit, self._clock.now())
        now = self._clock.elapsed()
        self._next_snapshot_at = now + max(INTERVAL_NS, _MIN_INTERVAL_PER_COST * (now - start + self._write_cost))
        return _PendingCheckpoint(checkpoint, offset, now)

    def _is_writing(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _start_writing(self, checkpoint: Checkpoint) -> None:
        thread = threading.Thread(target=self._write, args=(checkpoint,), name="checkpoint", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system's or the container's limit of threads
            if not self._is_thread_failure_logged:
                self._is_thread_failure_logged = True
                self._log.warning("no thread to write checkpoints: %s; the stream writes them itself", error)
            self._write(checkpoint)
            return
        self._thread = thread

    def _write(self, checkpoint: Checkpoint) -> None:
        path = self._lock.folder / CHECKPOINT_FILE
        try:
            if not self._lock.try_acquire():
                return
            start = time.monotonic_ns()
            write_atomically(path, serialize(checkpoint))
            self._write_cost = time.monotonic_ns() - start
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                text = "cannot write %s: %s; the stream continues, and a restart would resume from an older state"
                self._log.warning(text, path, error.strerror)
            return
        if self._has_failed:
            self._has_failed = False
            self._log.warning("writing checkpoints to %s resumed", self._lock.folder)
