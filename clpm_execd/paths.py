"""Where a path that a user names leads to: through symbolic links, to a file, a special file or an open descriptor.

A file may be compressed with gzip or Zstandard, whatever its name says. Zstandard is part of Python from 3.14 on;
before, the extra `zstd` has it.
"""

from __future__ import annotations

import errno
import gzip
import os
import stat
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

from clpm_execd.extras import require

COMPRESSED_SUFFIXES = (".gz", ".zst")
_GZIP_START, _ZSTD_START = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # RFC 1952 and RFC 8878
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


def list_folder(path: Path) -> list[Path]:
    """Return what a folder holds, in the order of the names; nothing if there is no such folder.

    Raises
    ------
    OSError
        If the folder cannot be read.
    """
    try:
        return [path / name for name in sorted(os.listdir(path))]
    except FileNotFoundError:
        return []


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Return the contents of a file that ends: a device such as /dev/zero would fill the memory.

    Parameters
    ----------
    path : Path
        The file.
    max_bytes : int
        How much it may hold.

    Raises
    ------
    OSError
        It cannot be read, or holds more.
    """
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data


def open_decompressed(path: Path) -> BinaryIO:
    """Open a file for reading its content without compression.

    Parameters
    ----------
    path : Path
        A file, compressed or not.

    Raises
    ------
    OSError
        It cannot be read.
    BadInput
        It is compressed with Zstandard, and the extra `zstd` is not installed.
    """
    file = path.open("rb")
    start = file.peek(4)[:4]
    if not start.startswith((_GZIP_START, _ZSTD_START)):
        return file  # not opened again: a pipe gives its first bytes only once
    file.close()
    return cast(BinaryIO, gzip.open(path) if start.startswith(_GZIP_START) else load_zstd().open(path))


def list_compression_errors() -> tuple[type[Exception], ...]:
    """Return what reading a damaged file of `open_decompressed` raises."""
    errors = (gzip.BadGzipFile, EOFError, zlib.error)
    zstd = _import_zstd()
    return errors if zstd is None else (*errors, zstd.ZstdError)


def load_zstd() -> Any:
    """Return the module for Zstandard; raise BadInput where it is not installed."""
    module = _import_zstd()
    if module is None:
        require("zstd", "backports")
    return module


def _import_zstd() -> Any:
    try:
        from compression import zstd  # from Python 3.14 on
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            return None
    return zstd
