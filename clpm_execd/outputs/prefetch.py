"""Prefetched Blocks: a second process simulates the next ones while this one encodes and writes the last.

They are the same Blocks in the same order, with only the signals that are needed. The second process ends with this
one, however this one ends: it writes into a pipe, and a pipe without a reader ends it. With one processor, or without
fork (Windows), the Blocks are simulated in this process when they are needed.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, BinaryIO, NoReturn

import numpy as np

from clpm_execd.plant.block import SIGNALS, Block
from clpm_execd.problems import BadInput, Problem

_PIPE_BYTES = 1 << 20  # Linux's default limit for a user; it holds some Blocks of 5,000 samples, or the lines of two
_EMPTY = np.empty((0, 0))


def count_processors() -> int:
    """Return how many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def prefetch_blocks(blocks: Iterator[Block], loops: tuple[str, ...],
                    signals: Collection[str] = SIGNALS) -> Iterator[Iterator[Block]]:
    """Within it, yield the Blocks, all of these loops, with these signals; no other thread may run when it starts."""
    if count_processors() < 2 or not hasattr(os, "fork"):
        yield blocks
        return
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        _produce((_reduce(block, signals) for block in blocks), write)
    os.close(write)
    try:
        with open(read, "rb") as pipe:
            yield _receive(pipe, loops)
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)  # it has nothing to lose
        os.waitpid(child, 0)


def _reduce(block: Block, signals: Collection[str]) -> Block:
    """Return the Block without the signals that are not needed, and without the ids, which the receiver has."""
    empty_signals: dict[str, Any] = {name: _EMPTY for name in SIGNALS if name not in signals}
    return replace(block, loops=(), **empty_signals)


def _produce(blocks: Iterator[Block], pipe: int) -> NoReturn:
    """Run the second process: write all Blocks into the pipe, or the error that ended them."""
    with suppress(BaseException), open(pipe, "wb") as file:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the reader decides when it ends
        enlarge_pipe(file)
        try:
            for block in blocks:
                pickle.dump(block, file, protocol=5)
                file.flush()
            pickle.dump(None, file)
        except Exception as error:
            pickle.dump(error, file)
    os._exit(0)


def enlarge_pipe(pipe: BinaryIO) -> None:
    """Let a pipe hold as much as the system allows, so that its ends wait less for each other; others stay as is."""
    with suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _receive(pipe: BinaryIO, loops: tuple[str, ...]) -> Iterator[Block]:
    while True:
        try:
            message = pickle.load(pipe)
        except (EOFError, pickle.UnpicklingError):
            raise BadInput([
                Problem("the process that simulates", "was killed", "see whether memory ran out")]) from None
        if isinstance(message, Exception):
            raise message
        if message is None:
            return
        yield replace(message, loops=loops)
