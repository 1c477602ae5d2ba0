"""Typical loops with faults, and plants of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from clpm_execd.plant.block import Block
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.plant import SECOND, Plant
from clpm_execd.plant.specs import FaultSpec, LoopSpec, RecordingSpec

START = 1_700_000_000 * SECOND
SIGNALS = ("pv", "op", "sp", "mode", "valve_position", "true_pv", "quality")


def fault(kind: str, start: float = 0.0, duration: float | None = None, repeat: float | None = None,
          ramp: float = 0.0, **parameters: float | str) -> FaultSpec:
    """Return a fault; times in s from the start of the plant."""
    return FaultSpec(
        kind=kind, parameters=parameters, start=round(start * SECOND), ramp=round(ramp * SECOND),
        duration=None if duration is None else round(duration * SECOND),
        repeat=None if repeat is None else round(repeat * SECOND))


def loop(*faults: FaultSpec, loop_id: str = "FIC101", kind: str = "flow", **parts: Any) -> LoopSpec:
    """Return a typical loop of range 0 to 100, recorded unrounded, with these faults."""
    typical = replace(template(kind, loop_id, (0.0, 100.0)), recording=RecordingSpec())
    return replace(typical, faults=faults, **parts)


def run(*loops: LoopSpec, samples: int, interval: float = 1.0, seed: int = 7) -> Block:
    """Return so many samples of these loops."""
    interval_ns = round(interval * SECOND)
    return Plant(loops, seed=seed, start=START, interval=interval_ns).advance(samples)
