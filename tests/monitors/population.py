"""Loops by the dozen, alike but for their chance, and what a monitor computes of their records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from clpm_execd.monitors.cross_correlation import compute_odd_fraction
from clpm_execd.monitors.curve_fit import compute_curve_fit_index
from clpm_execd.monitors.oscillation_detection import compute_decay_ratio, measure_regularity
from clpm_execd.monitors.performance import compute_harris_index
from clpm_execd.monitors.signals import Floats
from clpm_execd.plant.block import Block
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import FaultSpec, LoopSpec

START = 1_700_000_000 * 10**9
WARM_UP = 1200  # s until the start no longer shows


def record(loops: Sequence[LoopSpec], seconds: int, seed: int = 42) -> Block:
    """The loops in one plant, at 1 s, after a warm-up."""
    plant = Plant(loops, seed=seed, start=START)
    plant.advance(WARM_UP)
    return plant.advance(seconds)


def with_fault(loops: Sequence[LoopSpec], kind: str,
               parameters: Callable[[int], dict[str, float]] = lambda i: {}) -> list[LoopSpec]:
    """The same loops, each with this fault from the first moment on."""
    return [replace(loop, faults=(FaultSpec(kind=kind, parameters=parameters(i)),)) for i, loop in enumerate(loops)]


def with_tuning(loops: Sequence[LoopSpec], rule: str) -> list[LoopSpec]:
    return [replace(loop, controller=replace(loop.controller, tuning=rule)) for loop in loops]


@dataclass(frozen=True)
class Indices:
    """What a monitor computes of N loops of a class, each (N,); visible: whether the truth has their faults as visible.

    effect: the mean effect of their faults; at 2 a fault adds four times the variance that its loop has without it.

    swings (Miao and Seborg), odd (Horch) and shape (He) are of loops that oscillate, and empty of others.
    """

    harris: Floats
    regularity: Floats
    period: Floats
    visible: npt.NDArray[np.bool_]
    effect: Floats
    swings: npt.NDArray[np.bool_]
    odd: Floats
    shape: Floats

    @property
    def regular(self) -> float:
        """The share of loops that Thornhill calls regular."""
        return float(np.mean(self.regularity > 1.0))


def compute_indices(loops: Sequence[LoopSpec], seconds: int, *, oscillating: bool = False) -> Indices:
    block = record(loops, seconds)
    pv, op = block.pv.T.copy(), block.op.T.copy()
    regularities = [measure_regularity(x) for x in pv]
    period = np.array([p for _, p in regularities])
    each = range(len(loops))
    those = each if oscillating else range(0)
    return Indices(
        harris=np.array([compute_harris_index(block.sp[:, i] - pv[i], loops[i].process.dead_time, 1.0) for i in each]),
        regularity=np.array([r for r, _ in regularities]),
        period=period,
        visible=np.ones(len(loops), dtype=bool) if block.truth is None else block.truth.visible.all(axis=0),
        effect=np.zeros(len(loops)) if block.truth is None else block.truth.effect.mean(axis=0),
        swings=np.array([compute_decay_ratio(pv[i]) > 0.5 for i in those]),
        odd=np.array([compute_odd_fraction(op[i], pv[i], period[i]) for i in those]),
        shape=np.array([compute_curve_fit_index(op[i], period[i]) for i in those]),
    )
