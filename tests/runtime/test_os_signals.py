"""Signals of the operating system are requests to the stream, from the start of the process on."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
from select import select

import pytest

from clpm_execd.runtime.os_signals import Signals, install_handlers


def test_a_signal_is_a_request_and_does_not_kill() -> None:
    names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")
    before = {name: signal.getsignal(getattr(signal, name)) for name in names}
    try:
        signals = install_handlers()
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
    finally:
        signal.set_wakeup_fd(-1)
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
        signals.close()


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
