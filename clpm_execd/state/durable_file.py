"""Files that are whole or not there, after any crash: written under another name, made durable, then named.

What `os.write` took is checked: a full disk takes a part. The file is readable by its owner only.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

UNFINISHED = ".tmp"  # ends the name of a file that is being written; one that is left over was never promised

_NO_WAY = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
_SYNC = getattr(os, "fdatasync", os.fsync)


def make_folder(path: Path) -> None:
    """The folder, its parents too, for its owner only; it is there after a power cut. OSError if it cannot be had."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    sync_folder(path.parent)


def write_whole(path: Path, *data: bytes) -> None:
    """Put the data at path, in place of what was there; after an OSError the old data or the new are there, whole."""
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        _write(unfinished, data)
        os.replace(unfinished, path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable, where there is a way to; some shared folders know none."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _NO_WAY:
            raise
    finally:
        os.close(fd)


def _write(path: Path, data: Iterable[bytes]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        for part in data:
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(fd, rest) :]
        _SYNC(fd)
    finally:
        os.close(fd)
