"""Complete writes to a file descriptor: a pipe, a socket, a file or a terminal.

A write is only cut short where a stop is requested and the consumer does not read for 0.3 s. A disk that is full is
waited for. A consumer that has gone ends the stream, without an error.

A file is durable up to where it was synced last. What a crash left of a line behind that is cut off where the stream
resumes, since the line is emitted again.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import stat
import sys
from contextlib import suppress
from pathlib import Path

from clpm_execd.clock import Clock
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.state.durable_file import find_end_of_last_line, sync_folder
from clpm_execd.units import SECOND

_STOP_GRACE_NS = SECOND * 3 // 10  # for the tick being written, so that a stop takes less than a second in all
# At the end the consumer gets time to empty the pipe, and a moment more: Telegraf closes its end when the process
# exits, even while it is reading. Of 2,000 lines written just before an exit a slow Telegraf took 94.
_MAX_DRAIN_NS = 2 * SECOND
_EXIT_GRACE_NS = SECOND // 20
_MAX_DISK_FULL_NS = 5 * SECOND  # for a stream of limited length, which nobody may be watching
_POLL_NS = SECOND // 100  # between looks at a pipe: nothing says that it has been read
_FILE_OF_DESCRIPTOR = "/proc/self/fd/{}"  # a link to it, on Linux
_TERMINAL_WRITE_BYTES = 4096  # a terminal takes so much without blocking in the middle of a write

_CONSUMER_GONE = {errno.EPIPE, errno.EBADF, errno.EIO, errno.ECONNRESET, errno.ENXIO, errno.ESHUTDOWN}


class ConsumerGone(Exception):  # noqa: N818 - an event, no error
    """Nobody reads any more."""


class DiskFull(Exception):  # noqa: N818
    """The disk of a stream of limited length has stayed full, or takes nothing for another reason."""


class DescriptorWriter:
    """Writes to a descriptor, and can be interrupted by a stop.

    waits_for_disk: for ever, if the disk is full. has_checkpoints: whether a checkpoint says what a file has to hold.
    is_resumed: whether one said what to go on with, so that the last lines of a file are emitted again.
    """

    def __init__(
        self, fd: int, clock: Clock, signals: Signals, log: logging.Logger, *, waits_for_disk: bool,
        has_checkpoints: bool = False, is_resumed: bool = False,
    ) -> None:
        self.bytes_submitted = 0
        self._bytes_written = 0
        self._fd = fd
        self._clock = clock
        self._signals = signals
        self._log = log
        self._waits_for_disk = waits_for_disk
        self._has_checkpoints, self._is_resumed = has_checkpoints, is_resumed
        self._has_failed_to_sync = False
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
        if self._is_file and self._has_checkpoints:
            with suppress(OSError):
                sync_folder(Path(os.readlink(_FILE_OF_DESCRIPTOR.format(self._fd))).parent)
            if self._is_resumed:
                with suppress(OSError):
                    self._cut_incomplete_line()

    def write(self, data: bytes) -> None:
        """Write all of it; less only where a stop is requested and the consumer does not read."""
        remaining = memoryview(data)
        self.bytes_submitted += len(remaining)
        stop_deadline = _Deadline(self._clock, _STOP_GRACE_NS)
        disk_deadline = _Deadline(self._clock, _MAX_DISK_FULL_NS)
        while remaining:
            try:
                if self._is_pipe or self._fd in self._clock.wait(_STOP_GRACE_NS // 4, [], [self._fd]):
                    count = os.write(self._fd, remaining[: self._max_write_bytes])
                    self._bytes_written += count
                    remaining = remaining[count:]
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
        if self._is_file:
            return self._bytes_written >= offset and self._sync()
        if not self._is_pipe:
            return self._bytes_written >= offset
        return self._bytes_written - _count_unread_bytes(self._fd) >= offset and not _is_consumer_gone(self._fd)

    def drain(self) -> None:
        """Wait until the consumer has emptied the pipe, 2 s at most, and give it a moment more."""
        if not self._is_pipe:
            return
        deadline = _Deadline(self._clock, _STOP_GRACE_NS if self._signals.should_stop else _MAX_DRAIN_NS)
        while _count_unread_bytes(self._fd) and not deadline.is_over() and not _is_consumer_gone(self._fd):
            self._clock.wait(_POLL_NS)
            if self._signals.should_stop:
                deadline.shorten(_STOP_GRACE_NS)
        self._clock.wait(_EXIT_GRACE_NS)

    def close(self) -> None:
        """Leave the descriptor as it was before `open`: a shell may share it."""
        if self._is_pipe:
            with suppress(OSError):
                os.set_blocking(self._fd, self._was_blocking)

    def _cut_incomplete_line(self) -> None:
        """Cut off the part of a line that a crash has left at the end of the file; OSError."""
        size = os.fstat(self._fd).st_size
        with open(_FILE_OF_DESCRIPTOR.format(self._fd), "rb") as file:  # stdout itself may be open for writing only
            end = find_end_of_last_line(file.fileno())
        if end < size:
            os.ftruncate(self._fd, end)
            self._log.warning("removed %d bytes of an incomplete last line from the file that stdout is", size - end)

    def _sync(self) -> bool:
        """Return whether all of the file is durable; once a sync has failed nobody can say that any more."""
        if not self._has_failed_to_sync:
            try:
                os.fsync(self._fd)
            except OSError as error:
                self._has_failed_to_sync = True
                text = "cannot sync stdout: %s; the stream continues, and a restart would emit again what follows"
                self._log.error(text, error.strerror)
        return not self._has_failed_to_sync

    def _wait(self) -> None:
        """Wait until the consumer reads or a signal comes; only briefly once a stop is requested."""
        if self._signals.should_stop:
            self._clock.wait(_STOP_GRACE_NS // 10, [], [self._fd] if self._is_pipe else [])
            return
        self._clock.wait(SECOND, [self._signals.fd], [self._fd] if self._is_pipe else [])
        if not self._signals.should_stop:
            self._signals.clear()

    def _handle_error(self, error: OSError, disk_deadline: _Deadline) -> None:
        if error.errno in _CONSUMER_GONE and not (self._is_file and error.errno == errno.EIO):
            raise ConsumerGone from None
        if not self._error_logged:
            self._error_logged = True
            self._log.error("cannot write to stdout: %s; retrying until it succeeds", error.strerror)
        if not self._waits_for_disk and disk_deadline.is_over():
            raise DiskFull from None


def _count_unread_bytes(fd: int) -> int:
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
