"""A file that a user asks for is there under its name once it is whole; what is cut short leaves what was there before.

Every room may import this module. What a stream keeps for itself is another matter: see stream.whole_file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from clpm_execd.problems import BadInput, Problem

_REMEDIES = {
    errno.ENOENT: "name a file in a folder that is there",
    errno.EISDIR: "name a file in it",
    errno.EACCES: "name a file in a folder where this user may write",
    errno.EROFS: "name a file where it may be written",
    errno.ENOSPC: "make room, or name a file on another disk",
}


@contextmanager
def whole(path: Path, finished: Callable[[], bool] = lambda: True) -> Iterator[BinaryIO]:
    """The file to write; it gets its name in the end, unless it is not `finished` by then. Raises OSError.

    What is not a regular file (a pipe, a device) is written as it stands.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if finished():
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()


def write_whole(files: Mapping[Path, bytes]) -> None:
    """Write files that belong together: none gets its name before all are written. Raises OSError."""
    with ExitStack() as stack:
        opened = [(stack.enter_context(whole(path)), data) for path, data in files.items()]
        for file, data in opened:
            file.write(data)
            file.flush()


def unwritable(where: str, error: OSError) -> BadInput:
    """What to raise for the user's eyes. where: the option, and the file."""
    remedy = _REMEDIES.get(error.errno or 0, "name a file that can be")
    return BadInput([Problem(where, f"cannot be written: {error.strerror}", remedy)])
