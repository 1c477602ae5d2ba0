"""Batch generation: a time range from a source, encoded as fast as possible, to a file or to stdout.

A file appears under its name only when it is complete: what is cut short leaves nothing that looks finished. The same
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
from clpm_execd.outputs.prefetch import enlarge_pipe, prefetch_blocks
from clpm_execd.plant.block import Block
from clpm_execd.plant.source import Source
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.runtime.pacing import samples_per_block
from clpm_execd.state.durable_file import open_atomically, unwritable

_GZIP_LEVEL = 6  # gzip's own default
# Lines of one Block: what a Block costs by itself is a tenth of its time then, and larger ones are not faster.
_BLOCK_LINES = 20_000
_MIN_BLOCKS_TO_PREFETCH = 5  # for fewer a second process is not worth its start
_TRIM_BYTES = 1 << 24  # 16 MB, more than the arrays of a Block; never written to, and so no memory


def run(source: Source, encoder: Encoder, samples: int, *, output: Path | None, signals: Signals) -> int:
    """Write a time range.

    Parameters
    ----------
    source : Source
        It is advanced from its next instant on.
    encoder : Encoder
        The form of the output.
    samples : int
        How many samples of every loop are written.
    output : Path or None
        The file; one whose name ends in .gz is compressed. None for stdout.
    signals : Signals
        A request to stop leaves no file.

    Returns
    -------
    int
        The exit status, 0, also after a request to stop or if the consumer of stdout is gone.

    Raises
    ------
    BadInput
        The output cannot be written.
    """
    with open_output(output, signals) as file:
        _write(source, encoder, samples, file, signals)
    return 0


@contextmanager
def open_output(output: Path | None, signals: Signals) -> Iterator[BinaryIO]:
    """Open a file that gets its name once it is complete, or stdout.

    Parameters
    ----------
    output : Path or None
        The file; one whose name ends in .gz is compressed. None for stdout.
    signals : Signals
        After a request to stop the file does not get its name.

    Yields
    ------
    file
        It takes bytes.

    Raises
    ------
    BadInput
        The output cannot be written.
    """
    try:
        if output is None:
            with open_stdout() as file:
                yield file
        else:
            with (open_atomically(output, lambda: not signals.should_stop) as file,
                  _compress(file, output) as compressed):
                yield compressed
    except BrokenPipeError:
        pass  # the consumer of a named pipe is gone, as that of stdout may be
    except OSError as error:
        raise unwritable(f"--output {output}", error) from None


@contextmanager
def open_stdout() -> Iterator[BinaryIO]:
    """Open standard output, and flush it at the end; a closed one, or a consumer that is gone, is no error.

    Yields
    ------
    file
        It takes bytes.

    Raises
    ------
    BadInput
        Standard output cannot be written, such as to a full disk.
    """
    if sys.stdout is None:  # the process was started with a closed one
        with open(os.devnull, "wb") as null:
            yield null
        return
    out = cast(BinaryIO, sys.stdout.buffer)
    enlarge_pipe(out)
    try:
        yield out
        out.flush()
    except (OSError, KeyboardInterrupt) as error:
        # Python flushes stdout once more at exit, and would fail again, or wait for a consumer that does not read.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, KeyboardInterrupt):
            raise
        if not isinstance(error, BrokenPipeError):
            raise unwritable("stdout", error) from None


def _write(source: Source, encoder: Encoder, samples: int, file: BinaryIO, signals: Signals) -> None:
    _keep_freed_memory()
    size = samples_per_block(source, _BLOCK_LINES)
    simulated = _simulate(source, samples, size)
    file.write(encoder.header())
    is_long = samples > (_MIN_BLOCKS_TO_PREFETCH - 1) * size
    with prefetch_blocks(simulated, source.loops, encoder.signals) if is_long else nullcontext(simulated) as blocks:
        for block in blocks:
            if signals.should_stop:
                break
            file.writelines(encoder.encode_parts(block))


def _simulate(source: Source, samples: int, most: int) -> Iterator[Block]:
    """Yield so many samples, in Blocks of at most `most`."""
    while samples > 0:
        block = source.advance(min(most, samples))
        samples -= len(block)
        yield block


def _keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next allocation.

    Until something large was freed, glibc returns the top of its heap to the system each time, and the arrays of every
    Block would get new pages.
    """
    np.empty(_TRIM_BYTES, dtype=np.uint8)


@contextmanager
def _compress(file: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    """Yield the file, or one that compresses what it takes if the name of the file asks for it."""
    if path.suffix != ".gz":
        yield file
        return
    # Without a name and a time in its header, the same content is the same file.
    with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, 0) as compressed:
        yield cast(BinaryIO, compressed)
