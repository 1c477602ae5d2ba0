"""A VolatileDisk as a folder: the few requests of the kernel's FUSE protocol that the program needs, answered here.

Nothing is installed for it: root opens /dev/fuse and mounts. The kernel passes every write on at once, so that the log
of the disk holds the program's calls in their order. The process that answers must not touch the folder itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from power.volatile_disk import Inode, VolatileDisk

_MAX_WRITE = 1 << 20
_HEADER = struct.Struct("<IIQQIIIHH")  # length, operation, request, inode, uid, gid, pid, extensions, padding
_ANSWER = struct.Struct("<IiQ")  # length, -errno, request
_ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
_SET_SIZE, _SET_MODE = 8, 1  # which attributes a request sets
_NO_ANSWER = {2, 42}  # FORGET, BATCH_FORGET
_ACCESSES = struct.Struct("<QQIIQII")  # of READ, WRITE and READDIR: handle, offset, size, ...
_INIT_FLAGS = 1 << 5 | 1 << 22  # writes of more than a page, of up to max_pages


class FuseMount:
    """Answers the kernel's requests for one mounted folder until it is unmounted."""

    def __init__(self, disk: VolatileDisk, fd: int) -> None:
        self.disk, self._fd = disk, fd
        self._answers: dict[int, Callable[[int, bytes], bytes]] = {
            1: self._lookup, 3: self._get_attributes, 4: self._set_attributes, 8: self._make_node, 9: self._make_folder,
            10: self._remove, 11: self._remove, 12: self._rename, 14: self._open, 15: self._read, 16: self._write,
            17: self._describe_disk, 18: self._accept, 20: self._sync, 25: self._accept, 26: self._initialize,
            27: self._open, 28: self._list, 29: self._accept, 30: self._sync, 35: self._create, 38: self._accept,
            45: self._rename_with_flags}
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._fd, _MAX_WRITE + 4096)
            except InterruptedError:
                continue
            except OSError:  # unmounted
                return
            _, operation, unique, inode, *_ = _HEADER.unpack_from(request)
            if operation in _NO_ANSWER:
                continue
            try:
                answer = self._answers.get(operation, _refuse)(inode, request[_HEADER.size :])
                head = _ANSWER.pack(_ANSWER.size + len(answer), 0, unique)
            except OSError as error:
                head, answer = _ANSWER.pack(_ANSWER.size, -(error.errno or errno.EIO), unique), b""
            with contextlib.suppress(OSError):  # who asked has been killed meanwhile
                os.write(self._fd, head + answer)

    def _initialize(self, inode: int, body: bytes) -> bytes:
        return struct.pack("<IIIIHHIIHHI28x", 7, 31, 1 << 17, _INIT_FLAGS, 12, 9, _MAX_WRITE, 1, _MAX_WRITE >> 12, 0, 0)

    def _accept(self, inode: int, body: bytes) -> bytes:
        return b""

    def _lookup(self, inode: int, body: bytes) -> bytes:
        self.disk.check("lookup", inode, _name(body))
        return self._describe_entry(self.disk.lookup(inode, _name(body)))

    def _get_attributes(self, inode: int, body: bytes) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + _attributes(self.disk.inodes[inode])

    def _set_attributes(self, inode: int, body: bytes) -> bytes:
        valid, _, _, size = struct.unpack_from("<IIQQ", body)
        mode = struct.unpack_from("<I", body, 68)[0]
        if valid & _SET_SIZE:
            self.disk.truncate(inode, size)
        if valid & _SET_MODE:
            node = self.disk.inodes[inode]
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
        return self._get_attributes(inode, b"")

    def _make_node(self, inode: int, body: bytes) -> bytes:
        return self._describe_entry(self.disk.make(inode, _name(body[16:]), struct.unpack_from("<I", body)[0]))

    def _make_folder(self, inode: int, body: bytes) -> bytes:
        mode = stat.S_IFDIR | struct.unpack_from("<I", body)[0]
        return self._describe_entry(self.disk.make(inode, _name(body[8:]), mode))

    def _create(self, inode: int, body: bytes) -> bytes:
        mode = stat.S_IFREG | stat.S_IMODE(struct.unpack_from("<II", body)[1])
        return self._describe_entry(self.disk.make(inode, _name(body[16:]), mode)) + self._open(0, b"")

    def _remove(self, inode: int, body: bytes) -> bytes:
        self.disk.remove(inode, _name(body))
        return b""

    def _rename(self, inode: int, body: bytes, names_at: int = 8) -> bytes:
        old, new = body[names_at:].split(b"\0")[:2]
        self.disk.rename(inode, old.decode(), struct.unpack_from("<Q", body)[0], new.decode())
        return b""

    def _rename_with_flags(self, inode: int, body: bytes) -> bytes:
        return self._rename(inode, body, names_at=16)

    def _open(self, inode: int, body: bytes) -> bytes:
        return struct.pack("<QII", 0, 0, 0)

    def _read(self, inode: int, body: bytes) -> bytes:
        self.disk.check("read", inode)
        _, offset, size, *_ = _ACCESSES.unpack_from(body)
        return bytes(self.disk.inodes[inode].data[offset : offset + size])

    def _write(self, inode: int, body: bytes) -> bytes:
        _, offset, size, *_ = _ACCESSES.unpack_from(body)
        self.disk.write(inode, offset, body[_ACCESSES.size : _ACCESSES.size + size])
        return struct.pack("<II", size, 0)

    def _sync(self, inode: int, body: bytes) -> bytes:
        self.disk.sync(inode)
        return b""

    def _list(self, inode: int, body: bytes) -> bytes:
        self.disk.check("list", inode)
        _, offset, size, *_ = _ACCESSES.unpack_from(body)
        rows = b""
        with self.disk.lock:
            entries = list(self.disk.inodes[inode].entries.items())
        for place, (name, number) in enumerate(entries[offset:], offset + 1):
            raw = name.encode()
            kind = self.disk.inodes[number].mode >> 12
            row = struct.pack("<QQII", number, place, len(raw), kind) + raw + bytes(-len(raw) % 8)
            if len(rows) + len(row) > size:
                break
            rows += row
        return rows

    def _describe_disk(self, inode: int, body: bytes) -> bytes:
        return struct.pack("<QQQQQIIII24x", 1 << 20, 1 << 19, 1 << 19, 1 << 20, 1 << 19, 4096, 255, 4096, 0)

    def _describe_entry(self, number: int) -> bytes:
        return struct.pack("<QQQQII", number, 0, 0, 0, 0, 0) + _attributes(self.disk.inodes[number])


def _refuse(inode: int, body: bytes) -> bytes:
    raise OSError(errno.ENOSYS, "not needed")


def _name(body: bytes) -> str:
    return body.partition(b"\0")[0].decode()


def _attributes(inode: Inode) -> bytes:
    size = len(inode.data)
    return _ATTRIBUTES.pack(inode.number, size, -(-size // 512), 0, 0, 0, 0, 0, 0, inode.mode, 1, 0, 0, 0, 4096, 0)


@contextlib.contextmanager
def mounted(disk: VolatileDisk, folder: Path) -> Iterator[Path]:
    """The disk as this folder, which is made; where it cannot be mounted the test is skipped, with the reason."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root mounts a FUSE file system")
    try:
        fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        pytest.skip(f"/dev/fuse cannot be opened here: {error.strerror}")
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"volatile", os.fsencode(folder), b"fuse", 0, options):
        os.close(fd)
        pytest.skip(f"a FUSE file system cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    FuseMount(disk, fd)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        os.close(fd)
