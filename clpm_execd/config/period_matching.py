"""Oscillations of one period from different causes: the same process, slowed or quickened until the periods meet.

Periods are measured on the plant itself, without noise, after a change of load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clpm_execd.config.loops import parse_loop
from clpm_execd.plant.block import SECOND
from clpm_execd.plant.plant import Plant

Table = dict[str, Any]

_LONGEST = 5400  # s that a loop is watched
_TRIES = 5
_CLOSE = 0.03
_FEWEST, _EVEN = 3, 0.15  # rises, and their spread
_STILL = 0.005  # % of span


@dataclass(slots=True)
class Match:
    """Two loops, each with a fault, whose periods are to meet. period: s, once they have."""

    first: Table
    fault: Table
    second: Table
    other: Table
    period: float | None = None


def match(pairs: Sequence[Match]) -> None:
    """Change the process of each second loop until it oscillates with the period of the first, which is noted."""
    wanted = dict(zip(map(id, pairs), periods([(pair.first, pair.fault) for pair in pairs]), strict=True))
    unmatched = list(pairs)
    for _ in range(_TRIES):
        found = periods([(pair.second, pair.other) for pair in unmatched])
        left = []
        for pair, period in zip(unmatched, found, strict=True):
            goal = wanted[id(pair)]
            if goal is None or period is None:
                continue
            if abs(period / goal - 1) < _CLOSE:
                pair.period = goal
                continue
            _pace(pair.second["process"], goal / period)
            left.append(pair)
        unmatched = left


def _pace(process: Table, factor: float) -> None:
    """Let a process take so many times as long."""
    def longer(seconds: float) -> float:
        return float(f"{seconds * factor:.4g}")

    tau = process["tau"]
    process["tau"] = [longer(item) for item in tau] if isinstance(tau, list) else longer(tau)
    process["dead_time"] = longer(process["dead_time"])


def periods(faulty: Sequence[tuple[Table, Table]]) -> list[float | None]:
    """The period of each loop with its fault, s; None where there is none."""
    if not faulty:
        return []
    quiet = {"sensor": {"noise": 0.0}, "recording": {"resolution": {"pv": 0.0, "op": 0.0}}}
    upset = {"kind": "load-step", "size": 4.0, "start": 60}
    loops = [parse_loop({**table, **quiet, "disturbance": {"sigma": 0.0}, "fault": [fault, upset]}, "loop")
             for table, fault in faulty]
    pv = Plant(loops, start=0, interval=SECOND).advance(_LONGEST).pv
    return [_period(column) for column in pv.T]


def _period(pv: np.ndarray[Any, np.dtype[np.float64]]) -> float | None:
    """The mean time between rises through the mean; None where they are few or uneven.

    Of the cycle that stays, in the last two thirds; where none does, of one that dies away after the load has changed.
    """
    for values, band in ((pv[_LONGEST // 3:], 0.3), (pv[600:_LONGEST // 2], 0.1)):
        off = values - values.mean()
        limit = band * float(np.abs(off).max())
        # A rise counts once it has come from below the band to above it.
        side = np.where(off > limit, 1, np.where(off < -limit, -1, 0))
        seen = np.flatnonzero(side)
        rises = seen[1:][(side[seen[1:]] > 0) & (side[seen[:-1]] < 0)][1:]
        if len(rises) > _FEWEST and limit > _STILL:
            lengths = np.diff(rises)
            if lengths.std() < _EVEN * lengths.mean():
                return float(lengths.mean())
    return None
