"""Signals are handled before anything heavy is imported, so that none kills a process that is still starting.

SIGTERM and SIGINT ask to stop; SIGUSR1 and SIGUSR2 mean *emit what is due now*, as Telegraf's `signal` option sends
them. SIGHUP means that too for a stream whose stdin is a pipe. A service, without a terminal, may take it as a request
to reload its configuration. Anywhere else it says that the terminal has closed, and asks to stop. One that arrives
before the stream runs is remembered. A signal that the platform does not have (Windows) is not handled.

A loop that waits looks at `should_stop`. Code that cannot, such as a library that waits for a server, is interrupted
by a KeyboardInterrupt 0.3 s later.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

_STOP_SIGNALS = ("SIGTERM", "SIGINT", "SIGBREAK")
_EMIT_SIGNALS = ("SIGUSR1", "SIGUSR2")
_INTERRUPT_AFTER_SECONDS = 0.3  # so that a stop takes less than a second in all, the end of a long call included
_INTERRUPT_AGAIN_SECONDS = 0.2  # an exception in a destructor is lost


class Signals:
    """Requests from outside the process.

    They work without signals of the operating system too: `request_stop` and `request_emit` do what those do.

    Attributes
    ----------
    should_stop : bool
        Whether a stop was requested; it stays true.
    fd : int
        A descriptor that becomes readable with each request; a loop waits for it.
    emits_on_hangup : bool
        Whether SIGHUP asks a stream to emit, not to stop.
    reloads_on_hangup : bool
        Whether SIGHUP asks to reload the configuration, not to stop.
    should_reload : bool
        Whether that was requested; who reloads sets it back.
    """

    def __init__(self) -> None:
        self.should_stop = False
        self.emits_on_hangup = False
        self.reloads_on_hangup = self.should_reload = False
        self._ignores_hangup = False
        self._is_installed = self._is_interruptible = False
        self.fd, self._write_fd = _open_nonblocking_pipe()

    def request_stop(self) -> None:
        """Ask the process to stop."""
        self.should_stop = True
        self._wake()

    def request_emit(self) -> None:
        """Ask a stream to emit what is due now."""
        self._wake()

    def set_interruptible(self, is_interruptible: bool) -> None:
        """Say whether a request to stop that is not followed soon raises KeyboardInterrupt in the main thread."""
        self._is_interruptible = is_interruptible
        if self._is_installed and (self.should_stop or not is_interruptible):
            self._set_timer()

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

    def _set_timer(self) -> None:
        """Interrupt the main thread again and again, from 0.3 s on, or not any more."""
        if hasattr(signal, "setitimer"):
            delay = _INTERRUPT_AFTER_SECONDS if self._is_interruptible else 0.0
            signal.setitimer(signal.ITIMER_REAL, delay, _INTERRUPT_AGAIN_SECONDS)
        elif self._is_interruptible:
            raise KeyboardInterrupt

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        is_first = not self.should_stop
        self.request_stop()
        if is_first and self._is_interruptible:
            self._set_timer()

    def _on_hangup(self, number: int, frame: FrameType | None) -> None:
        if self.emits_on_hangup:
            self.request_emit()
        elif self.reloads_on_hangup:
            self.should_reload = True
            self._wake()
        elif not self._ignores_hangup:
            self._on_stop(number, frame)

    def _on_timer(self, number: int, frame: FrameType | None) -> None:
        if self._is_interruptible:
            raise KeyboardInterrupt

    def _on_emit(self, number: int, frame: FrameType | None) -> None:
        self.request_emit()


def install_handlers() -> Signals:
    """Handle the signals of this process from now on; to be called in the main thread, before heavy imports.

    Returns
    -------
    Signals
        The requests that the signals make. It is never closed.
    """
    signals = Signals()
    # Python runs a handler between two bytecodes only: without this, a signal just before `select` would not end it.
    signal.set_wakeup_fd(signals._write_fd, warn_on_full_buffer=False)
    signals._is_installed = True
    signals.emits_on_hangup = _is_pipe(0)
    if hasattr(signal, "SIGHUP"):
        signals._ignores_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # started by nohup
    for names, handler in ((_STOP_SIGNALS, signals._on_stop), (_EMIT_SIGNALS, signals._on_emit),
                           (("SIGHUP",), signals._on_hangup), (("SIGALRM",), signals._on_timer)):
        for name in names:
            number = getattr(signal, name, None)
            if number is not None:
                signal.signal(number, handler)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _read_blocked_signals())
    return signals


def restart_process() -> NoReturn:
    """Replace this process by a new one with the same arguments; a signal meanwhile waits for the new one's handlers.

    Raises
    ------
    OSError
        The program is not there any more.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _read_blocked_signals())
    try:
        os.execv(sys.executable, sys.orig_argv)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _read_blocked_signals())


def has_terminal() -> bool:
    """Whether the process was started at a terminal, which sends SIGHUP when it closes."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | getattr(os, "O_NOCTTY", 0)))
    except OSError:
        return False
    return True


def _read_blocked_signals() -> set[int]:
    names = (*_STOP_SIGNALS, *_EMIT_SIGNALS, "SIGHUP")
    return {getattr(signal, name) for name in names if hasattr(signal, name)}


def _is_pipe(fd: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        return False


def _open_nonblocking_pipe() -> tuple[int, int]:
    """Return a pipe above the standard descriptors, since a closed one of those must stay closed."""
    pipe_ends: list[int] = []
    pair = os.pipe()
    while min(pair) < 3:
        pipe_ends += pair
        pair = os.pipe()
    for fd in pipe_ends:
        os.close(fd)
    for fd in pair:
        os.set_blocking(fd, False)
    return pair
