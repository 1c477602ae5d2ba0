"""A disk in memory that keeps a log of everything done to it, so that it can be said what a power cut leaves.

The disk itself loses nothing: it is what a running program sees. `crash_states.py` makes of its log what is left where
the power is cut after any of its operations. `fuse_mount.py` makes a folder of it.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

READS = ("lookup", "list", "read")  # kinds of operations that change nothing, and stand in no log
ROOT = 1  # the number of the root folder, as FUSE has it


@dataclass(frozen=True, slots=True)
class Operation:
    """What was done to the disk, or an event outside that has its place among these (kind "event").

    kind: "enter" gives inode `number` a name in a folder, "rename", "remove", "write", "truncate", "sync" (fsync or
    fdatasync of a file), "sync folder", "event". data: what was written, or of an event. folder, name: where; of a
    write and a sync the name that the inode had last. mode: of a new inode.
    """

    kind: str
    number: int = 0
    folder: int = 0
    name: str = ""
    new_folder: int = 0
    new_name: str = ""
    offset: int = 0
    data: bytes = b""
    mode: int = 0


@dataclass(slots=True)
class Inode:
    """A file or a folder. name: the last that it had. entries: of a folder, numbers by name."""

    number: int
    mode: int
    name: str = ""
    data: bytearray = field(default_factory=bytearray)
    entries: dict[str, int] = field(default_factory=dict)

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)


Fault = Callable[[Operation], int]


class VolatileDisk:
    """Files and folders in memory, and the log of what was done to them.

    Parameters
    ----------
    files : dict of str to bytes, optional
        What is on the disk at the start, durably, by path; a folder's path ends with a slash.
    fault : callable, optional
        Is called before each operation, and returns the errno with which it fails; 0 lets it succeed.
    """

    def __init__(self, files: dict[str, bytes] | None = None, fault: Fault = lambda operation: 0) -> None:
        self.log: list[Operation] = []
        self.inodes = {ROOT: Inode(ROOT, stat.S_IFDIR | 0o755)}
        self.fault = fault
        self.lock = threading.RLock()
        self.calls = 0
        for path, data in sorted((files or {}).items()):
            folder = ROOT
            *parents, name = path.rstrip("/").split("/")
            for parent in parents:
                folder = self.inodes[folder].entries[parent]
            mode = stat.S_IFDIR | 0o700 if path.endswith("/") else stat.S_IFREG | 0o600
            number = self._new_inode(mode, name)
            self.inodes[number].data += data
            self.inodes[folder].entries[name] = number
        self.start = {number: Inode(number, inode.mode, inode.name, bytearray(inode.data), dict(inode.entries))
                      for number, inode in self.inodes.items()}

    def note(self, name: str, data: bytes) -> None:
        """Add an event outside the disk to the log."""
        with self.lock:
            self.log.append(Operation("event", name=name, data=data))

    def make(self, folder: int, name: str, mode: int) -> int:
        """Make a file or a folder; return its number."""
        with self.lock:
            if name in self.inodes[folder].entries:
                raise OSError(errno.EEXIST, "exists")
            number = max(self.inodes) + 1
            self._do(Operation("enter", number, folder, name, mode=mode))
            self._new_inode(mode, name)
            self.inodes[folder].entries[name] = number
            return number

    def write(self, number: int, offset: int, data: bytes) -> None:
        with self.lock:
            self._do(Operation("write", number, name=self.inodes[number].name, offset=offset, data=data))
            write_at(self.inodes[number].data, offset, data)

    def truncate(self, number: int, size: int) -> None:
        with self.lock:
            self._do(Operation("truncate", number, offset=size))
            resize(self.inodes[number].data, size)

    def sync(self, number: int) -> None:
        with self.lock:
            inode = self.inodes[number]
            self._do(Operation("sync folder" if inode.is_folder else "sync", number, name=inode.name))

    def remove(self, folder: int, name: str) -> None:
        with self.lock:
            number = self.lookup(folder, name)
            if self.inodes[number].entries:
                raise OSError(errno.ENOTEMPTY, "not empty")
            self._do(Operation("remove", number, folder, name))
            del self.inodes[folder].entries[name]

    def rename(self, folder: int, name: str, new_folder: int, new_name: str) -> None:
        with self.lock:
            number = self.lookup(folder, name)
            self._do(Operation("rename", number, folder, name, new_folder, new_name))
            del self.inodes[folder].entries[name]
            self.inodes[new_folder].entries[new_name] = number
            self.inodes[number].name = new_name

    def check(self, kind: str, number: int, name: str = "") -> None:
        """Fail if a call that changes nothing is to fail."""
        with self.lock:
            if error := self.fault(Operation(kind, number, name=name or self.inodes[number].name)):
                raise OSError(error, os.strerror(error))

    def files(self, folder: int = ROOT, prefix: str = "") -> dict[str, bytes]:
        """Return the contents of all files by path; a path of a folder ends with a slash."""
        files: dict[str, bytes] = {}
        for name, number in self.inodes[folder].entries.items():
            inode = self.inodes[number]
            if inode.is_folder:
                files |= {f"{prefix}{name}/": b"", **self.files(number, f"{prefix}{name}/")}
            elif stat.S_ISREG(inode.mode):
                files[prefix + name] = bytes(inode.data)
        return files

    def lookup(self, folder: int, name: str) -> int:
        try:
            return self.inodes[folder].entries[name]
        except KeyError:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT)) from None

    def _do(self, operation: Operation) -> None:
        self.calls += 1
        if error := self.fault(operation):
            raise OSError(error, os.strerror(error))
        self.log.append(operation)

    def _new_inode(self, mode: int, name: str) -> int:
        number = max(self.inodes) + 1
        self.inodes[number] = Inode(number, mode, name)
        return number


def write_at(data: bytearray, offset: int, new: bytes) -> None:
    """Write into the contents of a file, as pwrite does."""
    if len(data) < offset:
        data += bytes(offset - len(data))
    data[offset : offset + len(new)] = new


def resize(data: bytearray, size: int) -> None:
    """Change the length of the contents of a file, as ftruncate does."""
    del data[size:]
    data += bytes(size - len(data))
