"""Blocks made ahead: a process of its own makes the next ones while the last is encoded and written.

They are the same Blocks in the same order, with no more of the signals than are asked for. The process leaves with
whoever reads from it, however that one ends: what it makes goes into a pipe, and a pipe without a reader ends it. Where
there is one processor, or no fork (Windows), nothing works ahead and the Blocks are made when they are asked for.
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

_PIPE = 1 << 20  # bytes: room for some Blocks of 5,000 samples, or the lines of two
_NOTHING = np.empty((0, 0))


def processors() -> int:
    """How many this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def ahead(blocks: Iterator[Block], loops: tuple[str, ...],
          signals: Collection[str] = SIGNALS) -> Iterator[Iterator[Block]]:
    """Within it, the Blocks, which are of these loops, with these signals. To be called before there is any thread."""
    if processors() < 2 or not hasattr(os, "fork"):
        yield blocks
        return
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        _work((_with(signals, block) for block in blocks), write)
    os.close(write)
    try:
        with open(read, "rb") as pipe:
            yield _received(pipe, loops)
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)  # it has nothing to lose
        os.waitpid(child, 0)


def _with(signals: Collection[str], block: Block) -> Block:
    """What is to be sent of a Block; the ids are known."""
    unused: dict[str, Any] = {name: _NOTHING for name in SIGNALS if name not in signals}
    return replace(block, loops=(), **unused)


def _work(blocks: Iterator[Block], pipe: int) -> NoReturn:
    """The other process: all Blocks into the pipe, or what went wrong."""
    with suppress(BaseException), open(pipe, "wb") as file:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # whoever reads decides when it ends
        widen(file)
        try:
            for block in blocks:
                pickle.dump(block, file, protocol=5)
                file.flush()
            pickle.dump(None, file)
        except Exception as error:
            pickle.dump(error, file)
    os._exit(0)


def widen(pipe: BinaryIO) -> None:
    """Let the pipe hold as much as the system lets it, so that its two ends wait less for each other."""
    with suppress(ImportError, AttributeError, OSError):  # most of all what is no pipe
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)


def _received(pipe: BinaryIO, loops: tuple[str, ...]) -> Iterator[Block]:
    while True:
        try:
            what = pickle.load(pipe)
        except (EOFError, pickle.UnpicklingError):
            raise BadInput([
                Problem("the process that simulates", "was killed", "see whether memory ran out")]) from None
        if isinstance(what, Exception):
            raise what
        if what is None:
            return
        yield replace(what, loops=loops)
