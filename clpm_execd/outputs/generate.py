"""The same plant as fast as it goes: a stretch of time from a source, encoded, to a file or to stdout.

A file appears under its name only when it is whole: what is cut short leaves nothing that looks finished. The same
source gives the same bytes, compressed too.
"""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from clpm_execd.encoding.encoder import Encoder
from clpm_execd.outputs.prefetch import ahead, widen
from clpm_execd.plant.source import Source
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.runtime.pacing import samples_per_block
from clpm_execd.state.durable_file import open_atomically, unwritable

_GZIP_LEVEL = 6
_LINES = 20_000  # of a Block: what each costs by itself is a tenth of a smaller one, and larger ones are no quicker
_FEW = 4  # Blocks for which a second process is not worth its start
_LARGE = 1 << 24  # bytes; never written to, and so no memory


def run(source: Source, encoder: Encoder, samples: int, *, output: Path | None, signals: Signals) -> int:
    """Write `samples` samples of every loop; the exit status: 0, also when asked to stop or the reader has left.

    output: None for stdout; a name that ends in .gz is compressed. Raises BadInput where that cannot be
    written.
    """
    with opened(output, signals) as file:
        _write(source, encoder, samples, file, signals)
    return 0


@contextmanager
def opened(output: Path | None, signals: Signals) -> Iterator[BinaryIO]:
    """The file to write, there under its name once it is whole, or stdout; BadInput where it cannot be written."""
    try:
        if output is None:
            with stdout() as file:
                yield file
        else:
            with open_atomically(output, lambda: not signals.should_stop) as file, _packed(file, output) as packed:
                yield packed
    except OSError as error:
        raise unwritable(f"--output {output}", error) from None


@contextmanager
def stdout() -> Iterator[BinaryIO]:
    """Standard output, flushed in the end; that it is closed, or its reader has left, is no fault.

    Raises BadInput where it cannot be written.
    """
    if sys.stdout is None:  # closed by whoever started us
        with open(os.devnull, "wb") as nowhere:
            yield nowhere
        return
    out = cast(BinaryIO, sys.stdout.buffer)
    widen(out)
    try:
        yield out
        out.flush()
    except OSError as error:
        # Python flushes stdout once more as it ends, and would fail at it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise unwritable("stdout", error) from None


def _write(source: Source, encoder: Encoder, samples: int, file: BinaryIO, signals: Signals) -> None:
    _keep_freed_memory()
    part = samples_per_block(source, _LINES)
    made = (source.advance(min(part, samples - done)) for done in range(0, samples, part))
    file.write(encoder.header())
    with ahead(made, source.loops, encoder.signals) if samples > _FEW * part else nullcontext(made) as blocks:
        for block in blocks:
            if signals.should_stop:
                break
            file.writelines(encoder.encode_parts(block))


def _keep_freed_memory() -> None:
    """Let the C library keep what is freed for what comes next.

    Until something large was freed, glibc gives the top of its heap back each time, and the arrays of every Block
    would have their pages made anew.
    """
    np.empty(_LARGE, dtype=np.uint8)


@contextmanager
def _packed(file: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    if path.suffix != ".gz":
        yield file
        return
    # Without a name and a time in its header, the same content is the same file.
    with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, 0) as packed:
        yield cast(BinaryIO, packed)
