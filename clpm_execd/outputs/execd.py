"""The contract of Telegraf's execd on standard output: each tick one write, and an exit that loses nothing.

The stream times itself. A newline on stdin, or a signal, only means *emit what is due now*; several mean it once. EOF
on stdin means emit what is due and exit. stdin is watched if it is a pipe, a socket or a file; a terminal or /dev/null
is not. Before it exits the process waits until the consumer has taken what is in the pipe (2 s at most), since Telegraf
stops reading when the process ends. A consumer that is gone is a normal end.

A backfill is limited to a rate, where one is given, because Telegraf drops what its output does not take in time. Lines
are consumed once the consumer has read them for a while, or up to the end when it asks for the end; a later stream
resumes after them.

SIGTERM and SIGINT end the stream in less than a second, even while a stalled consumer blocks it. The tick that is being
written then gets 0.3 s, so a line is torn only where the consumer does not read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Sequence
from dataclasses import replace

from clpm_execd.outputs import stream
from clpm_execd.outputs.descriptor_writer import ConsumerGone, DescriptorWriter, DiskFull
from clpm_execd.outputs.stream import StreamJob
from clpm_execd.plant.source import Source
from clpm_execd.runtime.pacing import MAX_LINES_PER_WRITE
from clpm_execd.units import SECOND

# points/s of a backfill, for a Telegraf with its default settings: it keeps 10,000 points and writes 1,000 at a time.
TELEGRAF_MAX_RATE = 2_000
_WRITES_PER_SECOND = 4  # of a backfill at a limited rate, so that its points come evenly
_MIN_BACKFILL_LAG_NS = 2 * SECOND  # less than this, or than an interval, is the ordinary lag of a live stream


def is_started_by_telegraf() -> bool:
    """Return whether the parent process is a Telegraf; False where there is no /proc to tell."""
    try:
        with open(f"/proc/{os.getppid()}/comm", encoding="utf-8", errors="replace") as name:
            return name.read().startswith("telegraf")
    except OSError:
        return False


def is_regular_file(fd: int) -> bool:
    """Return whether what is written to this descriptor is durable once the disk has it."""
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return False


def is_watchable(fd: int) -> bool:
    """Return whether a newline or EOF on this descriptor can be a request to the stream."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISREG(mode)


def run(job: StreamJob, *, stdin_fd: int | None = 0, stdout_fd: int = 1, after_reload: bool = False,
        max_rate: int | None = None) -> int:
    """Stream until a stop is requested, EOF, `count` instants, or a consumer that is gone.

    Parameters
    ----------
    job : StreamJob
        What is streamed.
    stdin_fd : int, optional
        Where newlines and EOF come from; None for nowhere.
    stdout_fd : int
        Where the lines go.
    after_reload : bool
        Whether another process may have emitted the latest instant. Then it is emitted only on request.
    max_rate : int, optional
        The limit of a backfill in points/s, by default none. With a limit an EOF does not wait for its end.

    Returns
    -------
    int
        The exit status: 0, or 1 if the disk takes nothing more under a stream of limited length.
    """
    stdin = _Stdin(stdin_fd) if stdin_fd is not None and is_watchable(stdin_fd) else None
    if stdin and after_reload:
        job = _wait_after_reload(job, stdin.fd)
    if max_rate:  # at less than twice the rate of the live stream, a backfill would never end
        max_rate = max(max_rate, 2 * len(job.source.loops) * SECOND // job.source.interval)
    max_lines = max(1, min(MAX_LINES_PER_WRITE, max_rate // _WRITES_PER_SECOND)) if max_rate else MAX_LINES_PER_WRITE
    writer = DescriptorWriter(stdout_fd, job.clock, job.signals, job.log, waits_for_disk=job.count is None,
                              has_checkpoints=job.checkpoints is not None,
                              is_resumed=job.checkpoints is not None and bool(job.source.resumed_loops))
    try:
        stream.run(job, _StdoutOutput(writer, stdin, job.source, max_rate), max_lines=max_lines)
    except ConsumerGone:
        job.log.debug("the consumer of stdout is gone")
    except DiskFull:
        job.log.error("stopped: the disk that stdout is written to takes nothing more")
        return 1
    return 0


def _wait_after_reload(job: StreamJob, stdin_fd: int) -> StreamJob:
    """Wait until the next instant is due or someone asks; return the job without the instants before that.

    On a reload Telegraf ends one process and starts the next one within the same second, and the first one has written
    the latest instant. The first newline comes at the next round interval then, and at once with `telegraf --once`.
    """
    first, interval, now = job.first_instant, job.source.interval, job.clock.now()
    if not first <= now < first + interval:
        return job
    job.clock.wait(first + interval - now, [job.signals.fd, stdin_fd])
    return replace(job, first_emit=first + max(0, job.clock.now() - first) // interval * interval)


class _Stdin:
    """The requests of the process that started the stream: any number of newlines is one, and EOF is the last."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.has_ended = False

    def read(self) -> None:
        try:
            self.has_ended = not os.read(self.fd, 65_536)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.has_ended = True


class _StdoutOutput:
    """The process that started this one: it reads stdout, and asks on stdin."""

    def __init__(self, writer: DescriptorWriter, stdin: _Stdin | None, source: Source, max_rate: int | None) -> None:
        self._writer, self._stdin, self._max_rate = writer, stdin, max_rate
        self._backfill_lag = max(source.interval, _MIN_BACKFILL_LAG_NS)
        self.wake_fds: Sequence[int] = [stdin.fd] if stdin else []
        self.open, self.drain, self.close = writer.open, writer.drain, writer.close
        self.is_consumed = writer.is_consumed

    @property
    def has_ended(self) -> bool:
        return self._stdin is not None and self._stdin.has_ended

    @property
    def bytes_submitted(self) -> int:
        return self._writer.bytes_submitted

    def write(self, lines: bytes, ticks: int = 0) -> None:
        self._writer.write(lines)

    def take_input(self, ready: Collection[int]) -> None:
        if self._stdin and self._stdin.fd in ready:
            self._stdin.read()

    def backpressure(self, lines: bytes, elapsed: int, lag: int) -> int:
        if self._max_rate is None or lag <= self._backfill_lag:
            return 0
        return lines.count(b"\n") * SECOND // self._max_rate - elapsed

    def abandons_backfill(self, lag: int) -> bool:
        return self.has_ended and self._max_rate is not None and lag > self._backfill_lag
