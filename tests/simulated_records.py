"""Records of a simulated plant, whose parameters are the ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from clpm_execd.plant.block import Block
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import LoopSpec, Move
from clpm_execd.records.record import Record

START = 1_700_000_000 * 10**9
SECOND = 10**9


def record_of(block: Block) -> Record:
    """Return a Block as a historian would export it."""
    interval = int(block.times[1] - block.times[0])
    return Record(block.loops, block.times, block.pv, block.op, block.sp, block.mode, interval, ())


def run(loops: LoopSpec | Sequence[LoopSpec], samples: int, *, interval: float = 1.0, scan: float | None = None,
        seed: int = 1) -> Block:
    """Return a simulation of one or more loops; interval and scan in s."""
    each = (loops,) if isinstance(loops, LoopSpec) else tuple(loops)
    return Plant(each, seed=seed, start=START, interval=round(interval * SECOND),
                 scan=None if scan is None else round(scan * SECOND)).advance(samples)


def copies(loop: LoopSpec, count: int) -> list[LoopSpec]:
    """Return loops that differ in their noise and load: in one plant they take hardly longer than one of them."""
    return [replace(loop, id=f"{loop.id}-{k}") for k in range(count)]


def add_sp_moves(loop: LoopSpec, *sizes: float) -> LoopSpec:
    """Return the loop with set-point moves of these sizes (engineering units), 25 minutes apart."""
    moves = tuple(Move(at=(1200 + 1500 * k) * SECOND, sp=loop.sp + size) for k, size in enumerate(sizes))
    return replace(loop, moves=moves)


def flow(loop_id: str = "FIC101") -> LoopSpec:
    return template("flow", loop_id, (0.0, 100.0))
