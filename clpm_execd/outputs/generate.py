"""Batch generation: a time range from a source, written as fast as possible to files or to stdout.

A file appears under its name only when it is complete: what is cut short leaves nothing that looks finished. The same
source gives the same bytes, compressed too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import numpy as np

from clpm_execd.encoding.encoder import Encoder
from clpm_execd.outputs.compressed_file import open_compressed
from clpm_execd.outputs.prefetch import enlarge_pipe, prefetch_blocks
from clpm_execd.plant.block import Block
from clpm_execd.plant.source import Source
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.runtime.pacing import count_samples_per_block
from clpm_execd.state.durable_file import make_write_error, open_atomically

# Lines of one Block: what a Block costs by itself is a tenth of its time then, and larger ones are not faster.
_BLOCK_LINES = 20_000
_MIN_BLOCKS_TO_PREFETCH = 5  # for fewer a second process is not worth its start
_TRIM_BYTES = 1 << 24  # 16 MB, more than the arrays of a Block; never written to, and so no memory


class Destination(Protocol):
    """What takes the Blocks of a time range."""

    @property
    def signals(self) -> Collection[str]:
        """Return the signals of a Block that are written; the others need not exist."""

    def open(self, signals: Signals) -> AbstractContextManager[Callable[[Block], None]]:
        """Return a context that gives the function that writes a Block; after a request to stop it leaves no file."""


@dataclass(frozen=True, slots=True)
class TextFile:
    """Lines of text.

    Attributes
    ----------
    encoder : Encoder
        The form of the lines.
    path : Path or None
        The file; one whose name ends in .gz or .zst is compressed. None for stdout.
    """

    encoder: Encoder
    path: Path | None

    @property
    def signals(self) -> Collection[str]:
        return self.encoder.signals

    @contextmanager
    def open(self, signals: Signals) -> Iterator[Callable[[Block], None]]:
        with open_output(self.path, signals) as file:
            file.write(self.encoder.header())
            yield lambda block: file.writelines(self.encoder.encode_parts(block))


def run(source: Source, destination: Destination, samples: int, *, signals: Signals, is_split: bool = True,
        show: Callable[[int], None] | None = None) -> int:
    """Write a time range.

    Parameters
    ----------
    source : Source
        It is advanced from its next instant on.
    destination : Destination
        What is written, and where.
    samples : int
        How many samples of every loop are written.
    signals : Signals
        A request to stop leaves no file.
    is_split : bool
        Whether a second process may advance the source; not where the destination looks at the source too.
    show : callable, optional
        Is called after each Block with the number of samples of every loop that are written.

    Returns
    -------
    int
        How many samples have been written, of all loops; those that a faulty data path lost do not count.

    Raises
    ------
    BadInput
        The output cannot be written.
    """
    _keep_freed_memory()
    size = count_samples_per_block(source, _BLOCK_LINES)
    simulation = _simulate(source, samples, size)
    is_long = is_split and samples > (_MIN_BLOCKS_TO_PREFETCH - 1) * size
    instants = samples_written = 0
    source_blocks = (prefetch_blocks(simulation, source.loops, destination.signals) if is_long
                     else nullcontext(simulation))
    # The second process is forked before the destination is opened, which may start threads.
    with source_blocks as blocks, destination.open(signals) as write:
        for block in blocks:
            if signals.should_stop:
                break
            write(block)
            instants, samples_written = instants + len(block), samples_written + block.count_samples()
            if show:
                show(instants)
    return samples_written


@contextmanager
def open_output(output: Path | None, signals: Signals) -> Iterator[BinaryIO]:
    """Open a file that gets its name once it is complete, or stdout.

    Parameters
    ----------
    output : Path or None
        The file; one whose name ends in .gz or .zst is compressed. None for stdout.
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
                  open_compressed(file, output.suffix) as compressed_file):
                yield compressed_file
    except BrokenPipeError:
        pass  # the consumer of a named pipe is gone, as that of stdout may be
    except OSError as error:
        raise make_write_error(f"--output {output}", error) from None


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
            raise make_write_error("stdout", error) from None


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
