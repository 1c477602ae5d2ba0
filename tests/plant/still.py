"""Loops that nothing disturbs: no noise, no load, no rounding in recording. What moves them is the test alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from clpm_execd.plant.block import Block
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import DisturbanceSpec, LoopSpec, Move, ProcessSpec, SensorSpec

START = 1_700_000_000 * 10**9
QUIET: dict[str, Any] = {"sensor": SensorSpec(noise=0.0), "disturbance": DisturbanceSpec(sigma=0.0)}


def ns(seconds: float) -> int:
    return round(seconds * 1e9)


def still(loop_id: str = "LOOP", **parts: Any) -> LoopSpec:
    """Return a loop in balance at mid-range, OP 50."""
    return LoopSpec(id=loop_id, **{**QUIET, **parts})


def move(at: float, ramp: float = 0.0, **what: Any) -> Move:
    """Return an operator's move, `at` seconds from the start."""
    return Move(at=ns(at), ramp=ns(ramp), **what)


def run(loops: LoopSpec | Iterable[LoopSpec], samples: int, scan: float = 1.0, seed: int = 1) -> Block:
    """Simulate so many samples, one each scan."""
    each = (loops,) if isinstance(loops, LoopSpec) else tuple(loops)
    return Plant(each, seed=seed, start=START, interval=ns(scan), scan=ns(scan)).advance(samples)


def see_through(gain: float = 1.0) -> ProcessSpec:
    """Return a process without lag or dead time: the true PV of the next scan is the flow and the load of this one."""
    return ProcessSpec(model="fopdt", gain=gain, tau=(0.0,), dead_time=0.0)
