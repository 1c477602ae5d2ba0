"""Signals are handled before anything heavy is imported, so that none kills a process that is still starting.

SIGTERM and SIGINT ask to stop; SIGHUP, SIGUSR1 and SIGUSR2 mean *emit what is due now*, as Telegraf's `signal` option
sends them. One that arrives before the stream runs is remembered. A signal that the platform does not have (Windows) is
not handled.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType

_STOP_SIGNALS = ("SIGTERM", "SIGINT", "SIGBREAK")
_EMIT_SIGNALS = ("SIGHUP", "SIGUSR1", "SIGUSR2")


class Signals:
    """Requests from outside the process.

    They work without signals of the operating system too: `request_stop` and `request_emit` do what those do.

    Attributes
    ----------
    should_stop : bool
        Whether a stop was requested; it stays true.
    fd : int
        A descriptor that becomes readable with each request; a loop waits for it.
    """

    def __init__(self) -> None:
        self.should_stop = False
        self.fd, self._write_fd = _nonblocking_pipe()

    def request_stop(self) -> None:
        """Ask the process to stop."""
        self.should_stop = True
        self._wake()

    def request_emit(self) -> None:
        """Ask a stream to emit what is due now."""
        self._wake()

    def clear(self) -> None:
        """Make `fd` unreadable until the next request."""
        with suppress(BlockingIOError):
            while os.read(self.fd, 4096):
                pass

    def close(self) -> None:
        """Close the descriptors; only for an object that `install_handlers` did not return."""
        os.close(self.fd)
        os.close(self._write_fd)

    def _wake(self) -> None:
        # A full pipe is readable anyway, and at the end of the process it may be closed.
        with suppress(OSError):
            os.write(self._write_fd, b"\0")

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.request_stop()

    def _on_emit(self, number: int, frame: FrameType | None) -> None:
        self.request_emit()


def install_handlers() -> Signals:
    """Handle the signals of this process from now on; to be called in the main thread, before heavy imports.

    Returns
    -------
    Signals
        Where the signals are seen. It is never closed.
    """
    signals = Signals()
    # Python runs a handler between two bytecodes only: without this, a signal just before `select` would not end it.
    signal.set_wakeup_fd(signals._write_fd, warn_on_full_buffer=False)
    for names, handler in ((_STOP_SIGNALS, signals._on_stop), (_EMIT_SIGNALS, signals._on_emit)):
        for name in names:
            number = getattr(signal, name, None)
            if number is not None:
                signal.signal(number, handler)
    return signals


def _nonblocking_pipe() -> tuple[int, int]:
    """Return a pipe above the standard descriptors, since a closed one of those must stay closed."""
    unwanted: list[int] = []
    pair = os.pipe()
    while min(pair) < 3:
        unwanted += pair
        pair = os.pipe()
    for fd in unwanted:
        os.close(fd)
    for fd in pair:
        os.set_blocking(fd, False)
    return pair
