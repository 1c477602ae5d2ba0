"""Signals of the operating system are requests to the stream, from the start of the process on."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from select import select

import pytest

from clpm_execd.runtime import os_signals
from clpm_execd.runtime.os_signals import Signals, install_handlers


@contextmanager
def installed() -> Iterator[Signals]:
    """Handlers of the process, and afterwards those that were before."""
    names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM")
    before = {name: signal.getsignal(getattr(signal, name)) for name in names}
    signals = install_handlers()
    try:
        yield signals
    finally:
        signals.set_interruptible(False)
        signal.set_wakeup_fd(-1)
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
        signals.close()


def test_a_signal_is_a_request_and_does_not_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os_signals, "_is_pipe", lambda fd: True)  # as Telegraf starts the stream
    with installed() as signals:
        assert min(signals.fd, signals._write_fd) > 2
        for name in ("SIGHUP", "SIGUSR1", "SIGUSR2"):
            os.kill(os.getpid(), getattr(signal, name))
            assert select([signals.fd], [], [], 5)[0]
            signals.clear()
            assert not select([signals.fd], [], [], 0)[0]
        assert not signals.should_stop
        os.kill(os.getpid(), signal.SIGTERM)
        assert select([signals.fd], [], [], 5)[0]
        assert signals.should_stop


def test_a_terminal_that_closes_asks_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os_signals, "_is_pipe", lambda fd: False)
    with installed() as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        assert select([signals.fd], [], [], 5)[0]
        assert signals.should_stop


def test_a_terminal_that_closes_does_not_end_what_nohup_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os_signals, "_is_pipe", lambda fd: False)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with installed() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            select([signals.fd], [], [], 5)
            assert not signals.should_stop
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_stop_interrupts_what_does_not_look_for_it() -> None:
    with installed() as signals:
        signals.set_interruptible(True)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            select([], [], [], 5)
        assert signals.should_stop
        signals.set_interruptible(False)
        select([], [], [], 0.5)  # is not interrupted again


def test_thousands_of_requests_do_not_block() -> None:
    signals = Signals()
    fcntl.fcntl(signals._write_fd, getattr(fcntl, "F_SETPIPE_SZ", 1031), 4096)
    for _ in range(10_000):
        signals.request_emit()
    signals.clear()
    assert stat.S_ISFIFO(os.fstat(signals.fd).st_mode)
    with pytest.raises(OSError) as error:
        os.read(signals.fd, 1)
    assert error.value.errno == errno.EAGAIN
    signals.close()
