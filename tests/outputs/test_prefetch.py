"""Prefetched Blocks are the source's, in order, and the process that simulates never outlives its reader."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from inspect import ismethod

import numpy as np
import pytest
from parts import children, runs, until

from clpm_execd.outputs import prefetch as module
from clpm_execd.outputs.prefetch import prefetch_blocks
from clpm_execd.plant.block import Block
from clpm_execd.plant.defaults import default_loops
from clpm_execd.plant.plant import SECOND, Plant
from clpm_execd.plant.specs import FaultSpec
from clpm_execd.problems import BadInput

START = 1_736_503_500 * SECOND

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "count_processors", lambda: 2)


Helpers = Callable[[], "list[int]"]


@pytest.fixture
def helpers() -> Helpers:
    """The processes that work for this one and were not there before; a server of other tests may be."""
    before = set(children(os.getpid()))
    return lambda: [child for child in children(os.getpid()) if child not in before]


def plant() -> Plant:
    faults = tuple(FaultSpec(kind=kind) for kind in ("stiction", "gaps"))
    first, *others = default_loops()
    return Plant([replace(first, faults=faults), *others], start=START)


def blocks(source: Plant, n: int = 7, parts: int = 9) -> Iterator[Block]:
    return (source.advance(n) for _ in range(parts))


def alike(one: object, other: object) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if hasattr(one, "__dataclass_fields__"):
        return all(alike(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))  # type: ignore[arg-type]
    if ismethod(one) and ismethod(other):
        ours, theirs = vars(one.__self__), vars(other.__self__)
        return one.__func__ is other.__func__ and all(alike(ours[name], theirs[name]) for name in ours | theirs)
    return one == other


def test_the_blocks_are_those_of_the_source_in_order_and_with_their_truth(helpers: Helpers) -> None:
    source = plant()
    with prefetch_blocks(blocks(source), source.loops) as stream:
        assert helpers()
        received = list(stream)
    assert not helpers()
    assert source.next_time == START, "the plant was advanced in this process"
    assert all(alike(one, other) for one, other in zip(received, blocks(plant()), strict=True))


def test_signals_that_are_not_needed_are_not_sent() -> None:
    source = plant()
    with prefetch_blocks(blocks(source), source.loops, ("pv", "op")) as stream:
        for one, other in zip(stream, blocks(plant()), strict=True):
            assert one.loops == other.loops
            for name in ("times", "pv", "op", "mode", "truth"):
                assert alike(getattr(one, name), getattr(other, name))
            assert one.sp.size == one.quality.size == one.true_pv.size == 0


def test_with_one_processor_there_is_no_second_process(monkeypatch: pytest.MonkeyPatch, helpers: Helpers) -> None:
    monkeypatch.setattr(module, "count_processors", lambda: 1)
    source = plant()
    with prefetch_blocks(blocks(source), source.loops) as stream:
        next(stream)
        assert source.next_time == START + 7 * SECOND
        assert not helpers()


def test_blocks_that_are_not_read_are_dropped_at_once(helpers: Helpers) -> None:
    source = plant()
    with prefetch_blocks(blocks(source, 3600, 10**9), source.loops) as stream:
        next(stream)
        start = time.monotonic()
    assert not helpers()
    assert time.monotonic() - start < 5.0


def test_an_error_of_the_second_process_is_raised_here(helpers: Helpers) -> None:
    source = plant()

    def failing() -> Iterator[Block]:
        yield source.advance(1)
        raise ValueError("no further")

    with pytest.raises(ValueError, match="no further"), prefetch_blocks(failing(), source.loops) as stream:
        list(stream)
    assert not helpers()


def test_the_second_process_ends_by_itself_after_the_last_block(helpers: Helpers) -> None:
    source = plant()
    with prefetch_blocks(blocks(source), source.loops) as stream:
        [child] = helpers()
        deque(stream, maxlen=0)
        end = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert end
        assert (end.si_code, end.si_status) == (os.CLD_EXITED, 0)


def test_a_process_that_is_killed_is_one_clear_error(helpers: Helpers) -> None:
    source = plant()
    with prefetch_blocks(blocks(source, 10, 10**9), source.loops) as stream:
        next(stream)
        [child] = helpers()
        os.kill(child, signal.SIGKILL)
        with pytest.raises(BadInput, match="was killed"):
            deque(stream, maxlen=0)


def test_the_process_ends_with_one_that_is_killed() -> None:
    command = [sys.executable, "-m", "clpm_execd", "generate", "--duration", "3650d"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as generate:
        if len(os.sched_getaffinity(0)) < 2:
            generate.kill()
            pytest.skip("one processor: nothing works ahead")
        [child] = until(lambda: children(generate.pid), 20, "a process that works ahead")
        generate.kill()
    until(lambda: not runs(child), 5, "its end")
