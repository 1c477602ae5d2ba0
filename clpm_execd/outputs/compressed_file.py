"""Files that compress what they take, with gzip or Zstandard, on all processors.

The same content is the same file: neither name nor time stands in it, and the parts have a fixed size. Python's own
gzip module uses one processor, and compressing takes three times as long as encoding. In parts it takes 5 % more CPU
time, and the file has 0.02 % more bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from clpm_execd.outputs.prefetch import count_processors
from clpm_execd.paths import load_zstd

_GZIP_LEVEL = 6  # gzip's own default
_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # deflate, no flags, no time, unknown system (RFC 1952)
_GZIP_WINDOW_BYTES = 32_768  # what deflate looks back
_GZIP_PART_BYTES = 1 << 20  # of a thread at a time; parts of 128 kB, as pigz has them, keep a thread of Python waiting
_ZSTD_LEVEL = 3  # Zstandard's own default
_QUEUE_PER_THREAD = 2  # parts that wait for a thread, so that memory stays flat


@contextmanager
def open_compressed(file: BinaryIO, suffix: str) -> Iterator[BinaryIO]:
    """Yield a file that compresses what it takes into another one, or that one where the suffix asks for nothing.

    Parameters
    ----------
    file : binary file
    suffix : str
        The last suffix of its name.

    Raises
    ------
    BadInput
        The extra `zstd` is not installed and needed.
    """
    if suffix == ".gz":
        with _GzipFile(file) as compressed:
            yield cast(BinaryIO, compressed)
    elif suffix == ".zst":
        with _open_zstd(file) as compressed:
            yield cast(BinaryIO, compressed)
    else:
        yield file


def _open_zstd(file: BinaryIO) -> Any:
    zstd = load_zstd()
    parameter = zstd.CompressionParameter
    return zstd.ZstdFile(file, "wb", options={  # with one worker the bytes are those of many, without they are others
        parameter.compression_level: _ZSTD_LEVEL, parameter.checksum_flag: 1, parameter.nb_workers: count_processors()})


class _GzipFile:
    """One gzip member, whose parts are compressed in threads: each knows the end of the one before."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._buffer, self._window = file, bytearray(), b""
        self._checksum, self._size = 0, 0
        self._threads = ThreadPoolExecutor(count_processors())
        self._max_pending = _QUEUE_PER_THREAD * count_processors()
        self._pending: deque[Future[bytes]] = deque()
        file.write(_GZIP_HEADER)

    def __enter__(self) -> _GzipFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._end()
        finally:
            self._threads.shutdown(cancel_futures=True)

    def write(self, data: bytes | memoryview) -> int:
        self._buffer += data
        while len(self._buffer) >= _GZIP_PART_BYTES:
            self._submit(bytes(self._buffer[:_GZIP_PART_BYTES]), zlib.Z_SYNC_FLUSH)
            del self._buffer[:_GZIP_PART_BYTES]
        return len(data)

    def writelines(self, lines: Iterator[bytes | memoryview]) -> None:
        for data in lines:
            self.write(data)

    def flush(self) -> None:
        """Do nothing: parts have a fixed size."""

    def _submit(self, part: bytes, flush: int) -> None:
        self._checksum, self._size = zlib.crc32(part, self._checksum), self._size + len(part)
        self._pending.append(self._threads.submit(_deflate, part, self._window, flush))
        self._window = part[-_GZIP_WINDOW_BYTES:]
        self._write_pending(self._max_pending)

    def _write_pending(self, keep: int) -> None:
        while len(self._pending) > keep:
            self._file.write(self._pending.popleft().result())

    def _end(self) -> None:
        self._submit(bytes(self._buffer), zlib.Z_FINISH)
        self._write_pending(0)
        self._file.write(struct.pack("<LL", self._checksum, self._size & 0xFFFFFFFF))


def _deflate(part: bytes, window: bytes, flush: int) -> bytes:
    compressor: Callable[..., Any] = zlib.compressobj
    deflate = compressor(_GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=window) if window else \
        compressor(_GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return bytes(deflate.compress(part) + deflate.flush(flush))
