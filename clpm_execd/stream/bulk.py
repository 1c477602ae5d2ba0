"""The same plant as fast as it goes: a stretch of time from a source, encoded, to a file or to stdout.

A file appears under its name only when it is whole: what is cut short leaves nothing that looks finished. The same
source gives the same bytes, compressed too.
"""

from __future__ import annotations

import errno
import gzip
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from clpm_execd.plant.block import Source
from clpm_execd.problems import BadInput, Problem
from clpm_execd.stream.line_protocol import Encoder
from clpm_execd.stream.pacing import at_once
from clpm_execd.stream.signals import Signals

_GZIP_LEVEL = 6


def run(source: Source, encoder: Encoder, samples: int, *, output: Path | None, signals: Signals) -> int:
    """Write `samples` samples of every loop; the exit status: 0, also when asked to stop or the reader has left.

    output: None for stdout; a name that ends in .gz is compressed. Raises BadInput where that cannot be
    written.
    """
    try:
        with stdout() if output is None else _whole(output, signals) as file:
            _write(source, encoder, samples, file, signals)
    except OSError as error:
        raise _unwritable(f"--output {output}", error) from None
    return 0


@contextmanager
def stdout() -> Iterator[BinaryIO]:
    """Standard output, flushed in the end; that it is closed, or its reader has left, is no fault.

    Raises BadInput where it cannot be written.
    """
    if sys.stdout is None:  # closed by whoever started us
        with open(os.devnull, "wb") as nowhere:
            yield nowhere
        return
    try:
        yield cast(BinaryIO, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except OSError as error:
        # Python flushes stdout once more as it ends, and would fail at it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise _unwritable("stdout", error) from None


def _unwritable(where: str, error: OSError) -> BadInput:
    remedies = {
        errno.ENOENT: "name a file in a folder that is there",
        errno.EISDIR: "name a file in it",
        errno.EACCES: "name a file in a folder where this user may write",
        errno.EROFS: "name a file where it may be written",
        errno.ENOSPC: "make room, or name a file on another disk",
    }
    remedy = remedies.get(error.errno or 0, "name a file that can be")
    return BadInput([Problem(where, f"cannot be written: {error.strerror}", remedy)])


def _write(source: Source, encoder: Encoder, samples: int, file: BinaryIO, signals: Signals) -> None:
    part = at_once(source)
    file.write(encoder.header())
    while samples > 0 and not signals.stop_asked:
        n = min(part, samples)
        file.write(encoder.encode(source.advance(n)))
        samples -= n


@contextmanager
def _whole(path: Path, signals: Signals) -> Iterator[BinaryIO]:
    """The file to write to; what is not a regular file (a pipe, a device) is written as it stands."""
    if path.exists() and not path.is_file():
        with path.open("wb") as file, _packed(file, path) as packed:
            yield packed
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            with _packed(file, path) as packed:
                yield packed
            os.fsync(file.fileno())
        if not signals.stop_asked:
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def _packed(file: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    if path.suffix != ".gz":
        yield file
        return
    # Without a name and a time in its header, the same content is the same file.
    with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, 0) as packed:
        yield cast(BinaryIO, packed)
