"""One process per state folder: it holds a lock, which ends with the process, however that ends.

The next process waits some seconds before it gives up, because Telegraf starts one at a reload while the other is still
leaving. If the folder cannot be used (not writable, no such disk) the stream goes on without it, after one warning.
"""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress
from pathlib import Path

from clpm_execd.clock import Clock, StopRequest
from clpm_execd.problems import BadInput, Problem
from clpm_execd.state.durable_file import adopt_owner, make_folder, sync_path
from clpm_execd.stored_names import LOCK_FILE
from clpm_execd.units import SECOND

# Telegraf kills a process that has not left 10 s after it closed its stdin.
ACQUIRE_TIMEOUT_NS = 12 * SECOND
_RETRY_INTERVAL_NS = SECOND // 10
_LOCKED_ERRORS = {errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN}


class FolderLock:
    """The lock on a state folder; only the process that holds it may write there.

    Parameters
    ----------
    folder : Path
        The state folder; it is made if it does not exist.
    log : logging.Logger
        Where it is reported, once, that the folder cannot be used.
    """

    def __init__(self, folder: Path, log: logging.Logger) -> None:
        self.folder = folder
        self._log = log
        self._fd: int | None = None
        self._is_failure_logged = False

    @property
    def is_held(self) -> bool:
        return self._fd is not None

    def acquire(self, clock: Clock, stop: StopRequest) -> None:
        """Wait for the lock; return without it if the folder cannot be used, or a stop is requested.

        Parameters
        ----------
        clock : Clock
            The clock to wait by.
        stop : StopRequest
            Ends the wait.

        Raises
        ------
        BadInput
            If another process holds it for ACQUIRE_TIMEOUT_NS.
        """
        deadline = clock.elapsed() + ACQUIRE_TIMEOUT_NS
        while not self.try_acquire() and not self._is_failure_logged and not stop.should_stop:
            if clock.elapsed() >= deadline:
                owner = self._read_owner()
                what = f"is in use by another clpm-execd{owner and f', process {owner}'}"
                raise BadInput([Problem(f"--state {self.folder}", what, "give each stream a folder of its own")])
            clock.wait(_RETRY_INTERVAL_NS, [stop.fd])

    def try_acquire(self) -> bool:
        """Return whether the lock is held, if possible after acquiring it now."""
        if self._fd is not None:
            if os.fstat(self._fd).st_nlink:
                return True
            self.release()  # somebody has deleted the file, so that the lock keeps nobody out
        fd = -1
        try:
            make_folder(self.folder)
            fd = os.open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
            adopt_owner(self.folder / LOCK_FILE)
            _lock(fd)
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
            sync_path(self.folder)
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            if error.errno not in _LOCKED_ERRORS or fd < 0:
                self._log_failure(error)
            return False
        self._fd = fd
        if self._is_failure_logged:
            self._is_failure_logged = False
            self._log.warning("the state folder %s can be used again", self.folder)
        return True

    def release(self) -> None:
        """Release the lock before the process ends."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _log_failure(self, error: OSError) -> None:
        if not self._is_failure_logged:
            self._is_failure_logged = True
            self._log.warning("cannot use the state folder %s: %s; continuing without it", self.folder, error.strerror)

    def _read_owner(self) -> str:
        with suppress(OSError, ValueError):
            return str(int((self.folder / LOCK_FILE).read_text()))
        return ""


def _lock(fd: int) -> None:
    """Lock a file; where there are no such locks (Windows, some network file systems) nobody is kept out."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
