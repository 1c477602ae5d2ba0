"""One process a state folder: whoever has it keeps a lock on it, which ends with the process, however that ends.

A successor waits some seconds before it complains, for at a reload Telegraf starts one process while the other is still
leaving. A folder that cannot be had (not writable, no such disk) is a warning, told once, and no end of a stream.
"""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress
from pathlib import Path

from clpm_execd.clock import Clock, StopRequest
from clpm_execd.plant.block import SECOND
from clpm_execd.problems import BadInput, Problem
from clpm_execd.state.durable_file import make_folder

PATIENCE = 12 * SECOND  # Telegraf kills what has not left 10 s after it closed its stdin
_LOOK = SECOND // 10
_TAKEN = {errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN}


class Claim:
    """The right to write in a state folder, once `take` has got it."""

    def __init__(self, folder: Path, log: logging.Logger) -> None:
        self.folder = folder
        self._log = log
        self._fd: int | None = None
        self._told = False

    @property
    def held(self) -> bool:
        return self._fd is not None

    def wait(self, clock: Clock, signals: StopRequest) -> None:
        """Take it, or go on without where the folder cannot be had. BadInput when another process keeps it."""
        deadline = clock.elapsed() + PATIENCE
        while not self.take() and not self._told and not signals.stop_asked:
            if clock.elapsed() >= deadline:
                owner = self._owner()
                what = f"is in use by another clpm-execd{owner and f', process {owner}'}"
                raise BadInput([Problem(f"--state {self.folder}", what, "give each stream a folder of its own")])
            clock.wait(_LOOK, [signals.fd])

    def take(self) -> bool:
        """Whether it is ours, now if not before."""
        if self._fd is not None:
            return True
        fd = -1
        try:
            make_folder(self.folder)
            fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
            _lock(fd)
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            if error.errno not in _TAKEN or fd < 0:
                self._tell(error)
            return False
        self._fd = fd
        return True

    def release(self) -> None:
        """Let go of it before the process ends."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            self._log.warning("cannot use the state folder %s: %s; the stream goes on without", self.folder,
                              error.strerror)

    def _owner(self) -> str:
        with suppress(OSError, ValueError):
            return str(int((self.folder / "lock").read_text()))
        return ""


def _lock(fd: int) -> None:
    """Where there is no such lock (Windows, some network disks) nobody is kept out."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
