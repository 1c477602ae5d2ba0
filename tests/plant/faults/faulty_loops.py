"""Loops with faults, beside their healthy twins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from clpm_execd.plant.block import Block
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.plant import SECOND, Plant
from clpm_execd.plant.specs import FaultSpec, LoopSpec, RecordingSpec

START = 1_700_000_000 * SECOND
QUALITIES = ("pv", "op", "sp", "mode", "valve_position", "true_pv", "quality")


def fault(kind: str, start: float = 0.0, duration: float | None = None, repeat: float | None = None,
          ramp: float = 0.0, **parameters: float | str) -> FaultSpec:
    """A fault; times in s from the start of the plant."""
    return FaultSpec(
        kind=kind, parameters=parameters, start=round(start * SECOND), ramp=round(ramp * SECOND),
        duration=None if duration is None else round(duration * SECOND),
        repeat=None if repeat is None else round(repeat * SECOND))


def loop(*faults: FaultSpec, loop_id: str = "FIC101", kind: str = "flow", **parts: Any) -> LoopSpec:
    """A typical loop from 0 to 100, recorded as it is, with these faults."""
    whole = replace(template(kind, loop_id, (0.0, 100.0)), recording=RecordingSpec())
    return replace(whole, faults=faults, **parts)


def run(*loops: LoopSpec, samples: int, interval: float = 1.0, seed: int = 7) -> Block:
    """So many samples of these loops."""
    every = round(interval * SECOND)
    return Plant(loops, seed=seed, start=START, interval=every).advance(samples)
