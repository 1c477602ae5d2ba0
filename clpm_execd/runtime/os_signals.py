"""Signals taken charge of before anything heavy is imported: none kills a process that is still starting.

SIGTERM and SIGINT ask to stop; SIGHUP, SIGUSR1 and SIGUSR2 mean *emit what is due now*, as Telegraf's
`signal` option sends them. One that arrives before the stream runs is remembered. Where a signal does not
exist (Windows) it is not awaited.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType

_STOP = ("SIGTERM", "SIGINT", "SIGBREAK")
_EMIT = ("SIGHUP", "SIGUSR1", "SIGUSR2")


class Signals:
    """What was asked from outside, and `fd`, which becomes readable when something is.

    Usable without the operating system's signals: `ask_stop` and `ask_emit` do what they do.
    """

    def __init__(self) -> None:
        self.stop_asked = False
        self.fd, self._write_fd = _pipe()

    def ask_stop(self) -> None:
        self.stop_asked = True
        self._wake()

    def ask_emit(self) -> None:
        self._wake()

    def clear(self) -> None:
        """Make `fd` unreadable again; that a stop was asked stays."""
        with suppress(BlockingIOError):
            while os.read(self.fd, 4096):
                pass

    def close(self) -> None:
        """Give up the descriptors; for one that was not made by `hold`."""
        os.close(self.fd)
        os.close(self._write_fd)

    def _wake(self) -> None:
        # Full is as good as written, and at the end of the process it may be closed.
        with suppress(OSError):
            os.write(self._write_fd, b"\0")

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.ask_stop()

    def _on_emit(self, number: int, frame: FrameType | None) -> None:
        self.ask_emit()


def hold() -> Signals:
    """Take charge of the process's signals; to be called in the main thread, first thing."""
    signals = Signals()
    # Python runs a handler between bytecodes only: without this, a signal just before `select` is slept over.
    signal.set_wakeup_fd(signals._write_fd, warn_on_full_buffer=False)
    for names, handler in ((_STOP, signals._on_stop), (_EMIT, signals._on_emit)):
        for name in names:
            number = getattr(signal, name, None)
            if number is not None:
                signal.signal(number, handler)
    return signals


def _pipe() -> tuple[int, int]:
    """A pipe that never blocks, above the standard descriptors: a closed one of those must stay closed."""
    spare: list[int] = []
    pair = os.pipe()
    while min(pair) < 3:
        spare += pair
        pair = os.pipe()
    for fd in spare:
        os.close(fd)
    for fd in pair:
        os.set_blocking(fd, False)
    return pair
