"""A file is complete under its name, or it is as it was before: the data goes to a temporary name that is then renamed.

Every file that the package writes and that must not be half there is written here. Files of a state folder can be made
durable as well, so that they survive a power cut, and are readable by their owner only. What a user names is written
where its symbolic links lead to. The links themselves, pipes, devices and open descriptors are never replaced.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from clpm_execd.paths import follow_links, is_folder, is_replaceable
from clpm_execd.problems import BadInput, Problem
from clpm_execd.stored_names import TEMPORARY_SUFFIX

PRIVATE_MODE = 0o600
DEFAULT_MODE = 0o666  # less the umask

# Errors of fsync for a folder on some network file systems, about which nothing can be done.
_FOLDER_SYNC_UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
_TAIL_BYTES = 1 << 20  # of a file, searched at a time for its last complete line
_sync_data = getattr(os, "fdatasync", os.fsync)

_REMEDIES = {
    errno.ENOENT: "name a file in a folder that exists",
    errno.EISDIR: "name a file in it",
    errno.EEXIST: "name a folder, or a name that is not in use",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EACCES: "name a file in a folder where this user may write",
    errno.EROFS: "name a file where it may be written",
    errno.ENOSPC: "free some space, or name a file on another disk",
}


def make_folder(path: Path) -> None:
    """Make a folder and its parents, for the owner only; they are there after a power cut.

    Raises
    ------
    OSError
        If the folder does not exist and cannot be made.
    """
    if is_folder(path):
        return
    if path.parent != path:
        make_folder(path.parent)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
        adopt_owner(path)
    sync_folder(path.parent)


def adopt_owner(path: Path) -> None:
    """Give a new file or folder of root to the owner of the folder that it is in, whom it would otherwise shut out.

    Parameters
    ----------
    path : Path
        In a state folder. A symbolic link is not followed.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    with suppress(OSError):  # a file system without owners
        owner = path.parent.stat()
        if owner.st_uid != 0:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def sync_path(folder: Path) -> None:
    """Make the names of a folder and of its parents durable, as far up as its file system reaches.

    The process that made them may have been killed before it synced them, or may never do so. Parents that this user
    may not read are left out.

    Parameters
    ----------
    folder : Path
        A folder that exists.
    """
    folder = Path(os.path.realpath(folder))
    with suppress(OSError):
        device = folder.stat().st_dev
        for parent in folder.parents:
            if parent.stat().st_dev != device:
                return
            with suppress(OSError):
                sync_folder(parent)


def write_atomically(path: Path, *data: bytes, durable: bool = True, mode: int = PRIVATE_MODE) -> None:
    """Replace the file at `path` by one with this data.

    Parameters
    ----------
    path : Path
        The file. While it is written there is a file `path` + ".tmp" next to it.
    data : bytes
        Contents of the file, in parts. A new file of root belongs to the owner of the folder.
    durable : bool
        Whether the new file must survive a power cut once this function has returned. Without it the call costs no
        wait for the disk.
    mode : int
        Permissions of a new file.

    Raises
    ------
    OSError
        If the disk does not take it. Then the old contents or the new are there, completely.
    """
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    with _temporary_file(path, temporary, mode=mode, sync=durable) as fd:
        adopt_owner(temporary)
        for part in data:
            remaining = memoryview(part)
            while remaining:  # a disk that becomes full takes a part of what it is given
                remaining = remaining[os.write(fd, remaining) :]
    if durable:
        sync_folder(path.parent)


@contextmanager
def open_atomically(path: Path, is_complete: Callable[[], bool] = lambda: True) -> Iterator[BinaryIO]:
    """Open a file for a user's output; it takes its name at the end, if nothing was raised.

    Parameters
    ----------
    path : Path
        The file, or a symbolic link to it. A pipe, a device or a descriptor of this process, such as /dev/stdout, is
        written directly.
    is_complete : callable
        Is asked at the end; if it answers False, what was there before stays.

    Yields
    ------
    BinaryIO
        The file to write to.

    Raises
    ------
    OSError
        If it cannot be written; `make_write_error` makes an error for the user of it.
    """
    target = follow_links(path)
    if isinstance(target, int):
        with os.fdopen(os.dup(target), "wb") as file:
            yield file
        return
    if not is_replaceable(target):
        with target.open("wb") as file:
            yield file
        return
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    with (
        _temporary_file(target, temporary, mode=DEFAULT_MODE, sync=True, is_complete=is_complete) as fd,
        os.fdopen(fd, "wb", closefd=False) as file,
    ):
        yield file


def write_all_atomically(files: Mapping[Path, bytes]) -> None:
    """Write files that belong together: none takes its name before all are written.

    Parameters
    ----------
    files : mapping of Path to bytes
        The contents of each file.

    Raises
    ------
    OSError
        If one of them cannot be written; `make_write_error` makes an error for the user of it.
    """
    with ExitStack() as stack:
        pairs = [(stack.enter_context(open_atomically(path)), data) for path, data in files.items()]
        for file, data in pairs:
            file.write(data)
            file.flush()


def make_write_error(where: str, error: OSError) -> BadInput:
    """Return the error for a file that the user named and that cannot be written.

    Parameters
    ----------
    where : str
        The option and the file.
    error : OSError
        What the system answered.
    """
    remedy = _REMEDIES.get(error.errno or 0, "name a file that can be")
    return BadInput([Problem(where, f"cannot be written: {error.strerror}", remedy)])


def sync_file(path: Path) -> None:
    """Make the contents of a file durable.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    OSError
        If the disk does not take them.
    """
    fd = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))  # Windows syncs what is open for writing only
    try:
        _sync_data(fd)
    finally:
        os.close(fd)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable, on file systems that can."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _FOLDER_SYNC_UNSUPPORTED:
            raise
    finally:
        os.close(fd)


def find_end_of_last_line(fd: int) -> int:
    """Return the size that a file of lines has without an incomplete last one, which a crash may leave.

    Parameters
    ----------
    fd : int
        A descriptor from which the file can be read.
    """
    end = os.fstat(fd).st_size
    while end:
        start = max(0, end - _TAIL_BYTES)
        if line_end := os.pread(fd, end - start, start).rfind(b"\n") + 1:
            return start + line_end
        end = start
    return 0


@contextmanager
def _temporary_file(path: Path, temporary: Path, *, mode: int, sync: bool,
                    is_complete: Callable[[], bool] = lambda: True) -> Iterator[int]:
    """The descriptor of a temporary file that takes the place of `path` at the end, or is removed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    fd = os.open(temporary, flags, mode)
    try:
        try:
            yield fd
            if sync:
                _sync_data(fd)
        finally:
            os.close(fd)
        if is_complete():
            os.replace(temporary, path)
        else:
            temporary.unlink()
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
