"""Loops that oscillate with one period for different causes: the process of one is slowed or sped up until they agree.

Periods are measured in the simulated plant, without noise, after a step of the load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clpm_execd.config.loops import parse_loop
from clpm_execd.config.plants.loop_parameters import FaultTable, LoopTable
from clpm_execd.plant.plant import Plant
from clpm_execd.units import SECOND

# These numbers are part of what a seed draws: changed, the same seed would give another plant.
_DURATION_S = 5400  # of the simulation: many periods of a pressure, and some of a temperature loop
_MAX_ATTEMPTS = 5  # a guard: of 36 pairs in twelve plants the 26 that oscillate all agree after one correction
_TOLERANCE = 0.03  # relative difference of the periods: well below the spread that is accepted within one
_MIN_RISES = 3  # fewer make no mean and spread
_MAX_SPREAD = 0.15  # of the periods, standard deviation over mean: what is less regular is no limit cycle
_MIN_AMPLITUDE = 0.005  # % of span, of the band below: less is rounding
# Where the period is read, s, and the band around the mean, a fraction of the largest deviation, that a cycle crosses.
_LASTING_CYCLE, _LASTING_BAND = slice(_DURATION_S // 3, None), 0.3
_DECAYING_CYCLE, _DECAYING_BAND = slice(600, _DURATION_S // 2), 0.1


@dataclass(slots=True)
class PeriodPair:
    """Two loops, each with a fault, whose periods shall agree: the process of the second is changed.

    period: s, once they agree; else None.
    """

    reference: LoopTable
    reference_fault: FaultTable
    adjusted: LoopTable
    adjusted_fault: FaultTable
    period: float | None = None


def match_periods(pairs: Sequence[PeriodPair]) -> None:
    """Change the process of each second loop until it oscillates with the period of the first, and set the period."""
    targets = dict(zip(map(id, pairs), measure_periods([(pair.reference, pair.reference_fault) for pair in pairs]),
                       strict=True))
    remaining = list(pairs)
    for _ in range(_MAX_ATTEMPTS):
        periods = measure_periods([(pair.adjusted, pair.adjusted_fault) for pair in remaining])
        attempts, remaining = remaining, []
        for pair, period in zip(attempts, periods, strict=True):
            target = targets[id(pair)]
            if target is None or period is None:
                continue
            if abs(period / target - 1) < _TOLERANCE:
                pair.period = target
                continue
            _slow_down(pair.adjusted["process"], target / period)
            remaining.append(pair)


def _slow_down(process: LoopTable, factor: float) -> None:
    """Multiply the time constants and the dead time of a process."""
    def multiply(seconds: float) -> float:
        return float(f"{seconds * factor:.4g}")

    tau = process["tau"]
    process["tau"] = [multiply(item) for item in tau] if isinstance(tau, list) else multiply(tau)
    process["dead_time"] = multiply(process["dead_time"])


def measure_periods(faulty_loops: Sequence[tuple[LoopTable, FaultTable]]) -> list[float | None]:
    """Return the period of each loop with its fault, s; None where it does not oscillate."""
    if not faulty_loops:
        return []
    without_noise = {"sensor": {"noise": 0.0}, "recording": {"resolution": {"pv": 0.0, "op": 0.0}},
                     "disturbance": {"sigma": 0.0}}
    load_step = {"kind": "load-step", "size": 4.0, "start": 60}
    loops = [parse_loop({**loop, **without_noise, "fault": [fault, load_step]}, "loop")
             for loop, fault in faulty_loops]
    pv = Plant(loops, start=0, interval=SECOND, measures_truth=False).advance(_DURATION_S).pv
    return [_find_period(column) for column in pv.T]


def _find_period(pv: np.ndarray[Any, np.dtype[np.float64]]) -> float | None:
    """Return the mean time between rises through the mean, s; None where there are few or they are irregular.

    It is that of the lasting cycle, in the last two thirds, or else that of a cycle that decays after the load step.
    """
    for window, band in ((_LASTING_CYCLE, _LASTING_BAND), (_DECAYING_CYCLE, _DECAYING_BAND)):
        values = pv[window]
        deviation = values - values.mean()
        limit = band * float(np.abs(deviation).max())
        # A rise counts once the value has come from below the band to above it.
        side = np.where(deviation > limit, 1, np.where(deviation < -limit, -1, 0))
        outside = np.flatnonzero(side)
        rises = outside[1:][(side[outside[1:]] > 0) & (side[outside[:-1]] < 0)][1:]
        if len(rises) > _MIN_RISES and limit > _MIN_AMPLITUDE:
            periods = np.diff(rises)
            if periods.std() < _MAX_SPREAD * periods.mean():
                return float(periods.mean())
    return None
