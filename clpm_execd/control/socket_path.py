"""The path of the control socket, however long: the address of a Unix socket holds 107 bytes."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MAX_ADDRESS_BYTES = 103  # of macOS; Linux takes 107


def has_unix_sockets() -> bool:
    """Return whether Python has Unix sockets on this platform; on Windows it has none."""
    return hasattr(socket, "AF_UNIX")


@contextmanager
def short_address(path: Path) -> Iterator[str]:
    """Within it, yield an address of the socket at this path, which is valid until the end.

    Parameters
    ----------
    path : Path
        A path of any length.

    Raises
    ------
    OSError
        The folder does not exist, or the path is too long and the platform has no other way (only Linux has).
    """
    if len(os.fsencode(path)) <= _MAX_ADDRESS_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        address = f"/proc/self/fd/{folder}/{path.name}"
        if not os.path.isdir(os.path.dirname(address)) or len(os.fsencode(address)) > _MAX_ADDRESS_BYTES:
            raise OSError(errno.ENAMETOOLONG, f"longer than {_MAX_ADDRESS_BYTES} bytes, the limit of a socket's path")
        yield address
    finally:
        os.close(folder)
