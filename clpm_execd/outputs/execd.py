"""The contract of Telegraf's execd on standard output: each tick one write, and a way out that loses nothing.

The stream times itself. A newline on stdin, or a signal, only means *emit what is due now*; several mean it
once. EOF on stdin means emit what is due and leave. stdin is watched when it is a pipe, a socket or a file;
a terminal or /dev/null is not. Leaving waits until the reader has taken what is in the pipe (2 s at most),
for Telegraf stops reading when the process ends. A reader that has left is a normal end.

A past that is filled in comes at a pace, where one is given, for Telegraf gives up what its output does not
take in time. What the reader has read for a while, or read to the end when it asks to leave, is handed over:
from there a later stream goes on.

SIGTERM and SIGINT end the stream in less than a second, also while a stalled reader blocks it; the tick
being written then gets a grace of 0.3 s, so that a line is torn only where the reader does not read.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clpm_execd.clock import Clock
from clpm_execd.encoding.encoder import Encoder
from clpm_execd.outputs.self_metrics import Metrics
from clpm_execd.plant.block import SECOND, Block
from clpm_execd.plant.source import Source
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.runtime.pacing import LINES_A_WRITE, Pacer
from clpm_execd.units import DAY

if TYPE_CHECKING:
    from clpm_execd.runtime.progress import Progress
    from clpm_execd.state.checkpoint import CheckpointWriter

PACE = 2_000  # points a second of a past, for a Telegraf that keeps 10,000 and writes 1,000 at a time
_PARTS = 4  # writes a second of it
_GRACE = SECOND * 3 // 10
_SETTLE = 2 * SECOND
_BREATH = SECOND // 20
_FULL_LIMIT = 5 * SECOND

_READER_LEFT = {errno.EPIPE, errno.EBADF, errno.EIO, errno.ECONNRESET, errno.ENXIO, errno.ESHUTDOWN}
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class _ReaderLeft(Exception):  # noqa: N818 - an event, no fault
    """Nobody reads any more."""


class _DiskFull(Exception):  # noqa: N818
    """What a stream of limited length is written to has stayed full."""


def started_by_telegraf() -> bool:
    """Whether the parent process is a Telegraf; unknown, and so false, where there is no /proc."""
    try:
        with open(f"/proc/{os.getppid()}/comm", encoding="utf-8", errors="replace") as name:
            return name.read().startswith("telegraf")
    except OSError:
        return False


def keeps_what_it_takes(fd: int) -> bool:
    """Whether what is written to this descriptor is safe once the disk has it: a file, that is, and no reader."""
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return False


def watchable(fd: int) -> bool:
    """Whether a newline or EOF on this descriptor can be someone's word to the stream."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISREG(mode)


def run(
    source: Source,
    encoder: Encoder,
    *,
    clock: Clock,
    signals: Signals,
    log: logging.Logger,
    stdin_fd: int | None = 0,
    stdout_fd: int = 1,
    count: int | None = None,
    since: int | None = None,
    catch_up: int = DAY,
    succeeds: bool = False,
    metrics: Metrics | None = None,
    keeper: CheckpointWriter | None = None,
    pace: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Stream until asked to stop, EOF, `count` ticks or a reader that leaves; the exit status.

    since: the first instant to emit (see pacing). succeeds: the latest instant may be a predecessor's, and is
    emitted only when somebody asks. metrics: what the stream says of itself. keeper: of the memory from which a
    later stream goes on. pace: points a second of a past that is filled in, at most, None for no limit; then an EOF
    does not wait for the rest of it. progress: is told of it. 0 is the status of every end, except 1 for a disk that
    stays full under a stream of limited length.
    """
    stdin = _Stdin(stdin_fd) if stdin_fd is not None and watchable(stdin_fd) else None
    if stdin and succeeds:
        since = _after_a_predecessor(source, clock, since, [signals.fd, stdin.fd])
    first = source.next_time if since is None else since
    if keeper:
        keeper.write_first(first)
    if progress:
        progress.reached(first)
    pace = pace and max(pace, 2 * len(source.loops) * SECOND // source.interval)  # else it would never be level
    lines = LINES_A_WRITE if pace is None else max(1, min(LINES_A_WRITE, pace // _PARTS))
    pacer = Pacer(source, clock, log, since=since, count=count, catch_up=catch_up, lines=lines)
    out = _Output(stdout_fd, clock, signals, log, patient=count is None)
    try:
        out.open()
        out.write(encoder.header())
        stream = _Stream(source, encoder, out, stdin, clock, signals, metrics, keeper, pace, progress)
        stream.run(pacer)
        out.settle()
        if keeper:
            keeper.finish(out.offered, out.has_taken)
    except _ReaderLeft:
        log.debug("the reader has left")
    except _DiskFull:
        log.error("no space left where the output goes: given up")
        return 1
    finally:
        out.restore()
    return 0


def _after_a_predecessor(source: Source, clock: Clock, since: int | None, fds: list[int]) -> int | None:
    """The first instant to emit, once it is due or somebody asks.

    On a reload Telegraf ends one process and starts the next within the same second, and the latest instant
    has been written by the first. Its first newline comes at the next round interval then, and at once with
    `telegraf --once`.
    """
    first, now = source.next_time if since is None else since, clock.now()
    if not first <= now < first + source.interval:
        return since
    clock.wait(first + source.interval - now, fds)
    return first + max(0, clock.now() - first) // source.interval * source.interval


@dataclass(frozen=True, slots=True)
class _Stream:
    """From the source to the output, and all that is told of it."""

    source: Source
    encoder: Encoder
    out: _Output
    stdin: _Stdin | None
    clock: Clock
    signals: Signals
    metrics: Metrics | None
    keeper: CheckpointWriter | None
    pace: int | None
    progress: Progress | None

    def run(self, pacer: Pacer) -> None:
        while True:
            for block in pacer.due(self._stop):
                self._hand_over(block)
                if self._left():
                    return
            if self.metrics:
                self.out.write(self.metrics.due(self.clock.now()))
            if self.keeper:
                self.keeper.poll(self.out.offered, self.out.has_taken)
            if self._stop() or pacer.done or self._ended():
                return
            self._wait(pacer.pause())

    def _hand_over(self, block: Block) -> None:
        began = self.clock.elapsed()
        lines = self.encoder.encode(block)
        self.out.write(lines)
        if self.metrics:
            self.metrics.add(block, lines, self.clock.now())
        if self.keeper:
            self.keeper.poll(self.out.offered, self.out.has_taken)
        if self.progress:
            self.progress.reached(self.source.next_time)
        if self.pace and self._behind():
            until = began + lines.count(b"\n") * SECOND // self.pace
            while (left := until - self.clock.elapsed()) > 0 and not self._stop() and not self._ended():
                self._wait(left)

    def _wait(self, ns: int) -> None:
        ready = self.clock.wait(ns, [self.signals.fd, *([self.stdin.fd] if self.stdin else [])])
        if self.signals.fd in ready:
            self.signals.clear()
        if self.stdin and self.stdin.fd in ready:
            self.stdin.take()

    def _behind(self) -> bool:
        return self.clock.now() - self.source.next_time > max(self.source.interval, 2 * SECOND)

    def _left(self) -> bool:
        """Whether who reads goes away before a past that is held back is over."""
        return self._ended() and self.pace is not None and self._behind()

    def _ended(self) -> bool:
        return self.stdin is not None and self.stdin.ended

    def _stop(self) -> bool:
        return self.signals.stop_asked


class _Stdin:
    """The words of whoever started the stream: any number of newlines is one, and the end is the last."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.ended = False

    def take(self) -> None:
        try:
            self.ended = not os.read(self.fd, 65_536)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.ended = True


class _Output:
    """Whole writes to a descriptor, interruptible by a stop."""

    def __init__(
        self, fd: int, clock: Clock, signals: Signals, log: logging.Logger, *, patient: bool
    ) -> None:
        self._fd = fd
        self._clock = clock
        self._signals = signals
        self._log = log
        self._patient = patient
        self._said_full = False
        self._pipe = False
        self._blocking = True
        self._at_once = 4096
        self._file = False
        self.offered = self._written = 0  # bytes

    def has_taken(self, offered: int) -> bool:
        """Whether the reader, which is there, has read all up to here, or the disk has it."""
        if not self._pipe:
            with suppress(OSError):
                if self._file:
                    os.fsync(self._fd)
                return self._written >= offered
            return False
        return self._written - _unread(self._fd) >= offered and not _reader_gone(self._fd)

    def open(self) -> None:
        try:
            mode = os.fstat(self._fd).st_mode
            self._blocking = os.get_blocking(self._fd)
            if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
                os.set_blocking(self._fd, False)
                self._pipe = True
        except OSError:
            raise _ReaderLeft from None
        # What may block in the middle of a write (a terminal) is given no more than it takes at once.
        self._file = stat.S_ISREG(mode)
        self._at_once = 1 << 30 if self._pipe or self._file else 4096

    def write(self, data: bytes) -> None:
        """All of it; less only when a stop is asked and the reader does not read."""
        rest = memoryview(data)
        self.offered += len(rest)
        give_up = _Deadline(self._clock, _GRACE)
        full = _Deadline(self._clock, _FULL_LIMIT)
        while rest:
            try:
                if self._pipe or self._fd in self._clock.wait(_GRACE // 4, [], [self._fd]):
                    written = os.write(self._fd, rest[: self._at_once])
                    self._written += written
                    rest = rest[written:]
                    continue
            except InterruptedError:
                continue
            except BlockingIOError:
                pass
            except OSError as error:
                self._refused(error, full)
            if self._signals.stop_asked and give_up.over():
                return
            self._wait()

    def _wait(self) -> None:
        """Until the reader reads, or a signal comes; briefly when one has come already."""
        if self._signals.stop_asked:
            self._clock.wait(_GRACE // 10, [], [self._fd] if self._pipe else [])
            return
        self._clock.wait(SECOND, [self._signals.fd], [self._fd] if self._pipe else [])
        if not self._signals.stop_asked:
            self._signals.clear()

    def _refused(self, error: OSError, full: _Deadline) -> None:
        if error.errno in _READER_LEFT:
            raise _ReaderLeft from None
        if not self._said_full:
            self._said_full = True
            self._log.error("cannot write: %s; trying again until it can be written", error.strerror)
        if not self._patient and full.over():
            raise _DiskFull from None

    def settle(self) -> None:
        """Give the reader a moment: until a pipe is empty, and a breath more to digest it."""
        if not self._pipe:
            return
        deadline = _Deadline(self._clock, _GRACE if self._signals.stop_asked else _SETTLE)
        while _unread(self._fd) and not deadline.over() and not _reader_gone(self._fd):
            self._clock.wait(SECOND // 100)
            if self._signals.stop_asked:
                deadline.shorten(_GRACE)
        self._clock.wait(_BREATH)

    def restore(self) -> None:
        """The descriptor may be shared with a shell: leave it as it was found."""
        if self._pipe:
            with suppress(OSError):
                os.set_blocking(self._fd, self._blocking)


def _unread(fd: int) -> int:
    """Bytes in the pipe that nobody has read yet; 0 where that cannot be known."""
    try:
        import fcntl
        import termios

        return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)
    except (ImportError, AttributeError, OSError):
        return 0


def _reader_gone(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, 0)
    return bool(poll.poll(0))


class _Deadline:
    """A time that starts when it is first asked for."""

    def __init__(self, clock: Clock, ns: int) -> None:
        self._clock = clock
        self._ns = ns
        self._end: int | None = None

    def over(self) -> bool:
        now = self._clock.elapsed()
        if self._end is None:
            self._end = now + self._ns
        return now >= self._end

    def shorten(self, ns: int) -> None:
        if self._end is None or self._end > self._clock.elapsed() + ns:
            self._end = self._clock.elapsed() + ns
            self._ns = min(self._ns, ns)
