"""Where a path that a user names leads to: through symbolic links, to a file, a special file or an open descriptor."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_MAX_LINKS = 40  # as many as Linux follows


def follow_links(path: Path) -> Path | int:
    """Return what a path stands for once its symbolic links are followed.

    Parameters
    ----------
    path : Path
        A file, which need not exist, or links to it.

    Returns
    -------
    Path or int
        A path that is no link; or the number of a descriptor of this process, which /dev/stdout and its like stand for.

    Raises
    ------
    OSError
        If the links form a loop.
    """
    for _ in range(_MAX_LINKS):
        folder = os.path.realpath(path.parent)
        if folder in (f"/proc/{os.getpid()}/fd", "/dev/fd") and path.name.isdecimal():
            return int(path.name)
        path = Path(folder, path.name)
        if not path.is_symlink():
            return path
        path = path.parent / os.readlink(path)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def is_replaceable(path: Path) -> bool:
    """Return whether a file may take this name: there is none yet, or a regular one.

    Raises
    ------
    OSError
        If the system does not say, such as in a folder that this user may not enter.
    """
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return True


def is_folder(path: Path) -> bool:
    """Return whether there is a folder; unlike Path.is_dir it answers the same on every version of Python.

    Raises
    ------
    OSError
        If the system does not say, such as in a folder that this user may not enter.
    """
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
