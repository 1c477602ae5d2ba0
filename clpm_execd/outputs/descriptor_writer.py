"""Complete writes to a file descriptor: a pipe, a socket, a file or a terminal.

A write is only cut short where a stop is requested and the consumer does not read for 0.3 s. A disk that is full is
waited for. A consumer that has gone ends the stream, without an error.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import stat
import sys
from contextlib import suppress

from clpm_execd.clock import Clock
from clpm_execd.plant.block import SECOND
from clpm_execd.runtime.os_signals import Signals

_STOP_GRACE_NS = SECOND * 3 // 10  # for the tick being written, so that a stop takes less than a second in all
# At the end the consumer gets time to empty the pipe, and a moment more: Telegraf closes its end when the process
# exits, even while it is reading. Of 2,000 lines written just before an exit a slow Telegraf took 94.
_MAX_DRAIN_NS = 2 * SECOND
_EXIT_GRACE_NS = SECOND // 20
_MAX_DISK_FULL_NS = 5 * SECOND  # for a stream of limited length, which nobody may be watching
_POLL_NS = SECOND // 100
_TERMINAL_WRITE_BYTES = 4096  # a terminal takes so much without blocking in the middle of a write

_CONSUMER_GONE = {errno.EPIPE, errno.EBADF, errno.EIO, errno.ECONNRESET, errno.ENXIO, errno.ESHUTDOWN}


class ConsumerGone(Exception):  # noqa: N818 - an event, no error
    """Nobody reads any more."""


class DiskFull(Exception):  # noqa: N818
    """The disk of a stream of limited length has stayed full."""


class DescriptorWriter:
    """Writes to a descriptor, and can be interrupted by a stop; waits_for_disk: for ever, if the disk is full."""

    def __init__(
        self, fd: int, clock: Clock, signals: Signals, log: logging.Logger, *, waits_for_disk: bool
    ) -> None:
        self.bytes_submitted = 0
        self._bytes_written = 0
        self._fd = fd
        self._clock = clock
        self._signals = signals
        self._log = log
        self._waits_for_disk = waits_for_disk
        self._error_logged = False
        self._is_pipe = self._is_file = False
        self._was_blocking = True
        self._max_write_bytes = _TERMINAL_WRITE_BYTES

    def open(self) -> None:
        """Look at what the descriptor is; raise ConsumerGone if it is closed."""
        try:
            mode = os.fstat(self._fd).st_mode
            self._was_blocking = os.get_blocking(self._fd)
            if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
                os.set_blocking(self._fd, False)
                self._is_pipe = True
        except OSError:
            raise ConsumerGone from None
        self._is_file = stat.S_ISREG(mode)
        if self._is_pipe or self._is_file:
            self._max_write_bytes = 1 << 30

    def write(self, data: bytes) -> None:
        """Write all of it; less only where a stop is requested and the consumer does not read."""
        remaining = memoryview(data)
        self.bytes_submitted += len(remaining)
        stop_deadline = _Deadline(self._clock, _STOP_GRACE_NS)
        disk_deadline = _Deadline(self._clock, _MAX_DISK_FULL_NS)
        while remaining:
            try:
                if self._is_pipe or self._fd in self._clock.wait(_STOP_GRACE_NS // 4, [], [self._fd]):
                    written = os.write(self._fd, remaining[: self._max_write_bytes])
                    self._bytes_written += written
                    remaining = remaining[written:]
                    continue
            except InterruptedError:
                continue
            except BlockingIOError:
                pass
            except OSError as error:
                self._handle_error(error, disk_deadline)
            if self._signals.should_stop and stop_deadline.is_over():
                return
            self._wait()

    def is_consumed(self, offset: int) -> bool:
        """Return whether the consumer, which is still there, has read up to here, or the disk has it."""
        if not self._is_pipe:
            with suppress(OSError):
                if self._is_file:
                    os.fsync(self._fd)
                return self._bytes_written >= offset
            return False
        return self._bytes_written - _unread_bytes(self._fd) >= offset and not _is_consumer_gone(self._fd)

    def drain(self) -> None:
        """Wait until the consumer has emptied the pipe, 2 s at most, and give it a moment more."""
        if not self._is_pipe:
            return
        deadline = _Deadline(self._clock, _STOP_GRACE_NS if self._signals.should_stop else _MAX_DRAIN_NS)
        while _unread_bytes(self._fd) and not deadline.is_over() and not _is_consumer_gone(self._fd):
            self._clock.wait(_POLL_NS)
            if self._signals.should_stop:
                deadline.shorten(_STOP_GRACE_NS)
        self._clock.wait(_EXIT_GRACE_NS)

    def close(self) -> None:
        """Leave the descriptor as it was before `open`: a shell may share it."""
        if self._is_pipe:
            with suppress(OSError):
                os.set_blocking(self._fd, self._was_blocking)

    def _wait(self) -> None:
        """Wait until the consumer reads or a signal comes; only briefly once a stop is requested."""
        if self._signals.should_stop:
            self._clock.wait(_STOP_GRACE_NS // 10, [], [self._fd] if self._is_pipe else [])
            return
        self._clock.wait(SECOND, [self._signals.fd], [self._fd] if self._is_pipe else [])
        if not self._signals.should_stop:
            self._signals.clear()

    def _handle_error(self, error: OSError, disk_deadline: _Deadline) -> None:
        if error.errno in _CONSUMER_GONE:
            raise ConsumerGone from None
        if not self._error_logged:
            self._error_logged = True
            self._log.error("cannot write to stdout: %s; retrying until it succeeds", error.strerror)
        if not self._waits_for_disk and disk_deadline.is_over():
            raise DiskFull from None


def _unread_bytes(fd: int) -> int:
    """Return how many bytes in the pipe have not been read yet; 0 where the platform does not say."""
    try:
        import fcntl
        import termios

        return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)
    except (ImportError, AttributeError, OSError):
        return 0


def _is_consumer_gone(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, 0)
    return bool(poll.poll(0))


class _Deadline:
    """A deadline whose time starts with the first question."""

    def __init__(self, clock: Clock, ns: int) -> None:
        self._clock = clock
        self._ns = ns
        self._end: int | None = None

    def is_over(self) -> bool:
        now = self._clock.elapsed()
        if self._end is None:
            self._end = now + self._ns
        return now >= self._end

    def shorten(self, ns: int) -> None:
        """Let it end after so many ns from now, or earlier."""
        if self._end is None or self._end > self._clock.elapsed() + ns:
            self._end = self._clock.elapsed() + ns
            self._ns = min(self._ns, ns)
