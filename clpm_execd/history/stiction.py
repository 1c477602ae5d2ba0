"""How a valve sticks, from OP and PV alone.

The stem is simulated from OP by Choudhury's model for a grid of S and J, and the one from which PV follows with the
least errors, by a linear law of its own and the stem's past, is the valve's (Jelali, 2008). What a valve that only has
play would explain as well is none that sticks: an oscillation from elsewhere is like that. Intervals are those of the
likelihood, the other parameter at its best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clpm_execd.history.signals import Signals, runs
from clpm_execd.plant.block import Floats
from clpm_execd.plant.faults.valve import Stiction

_SHARES = tuple(0.06 * 1.13**k for k in range(25))  # S, of the range in which OP moves
_JUMPS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)  # J, of S
_FINER = ((1.06, 0.1), (1.03, 0.05), (1.015, 0.03), (1.007, 0.015))  # then: factors of S, and shares of S that J is off
_BEST = 3  # pairs around which is looked closer
_LAGS = (*range(1, 11), 12, 14, 17, 20, 24, 29, 35, 42, 50, 60)
_LEAST = 400  # samples
_MOST = 4000
_PLAIN = 60.0  # by which the errors' log-likelihood, doubled, must be better than with a valve that follows OP
_JUMPS_TELL = 20.0  # by which it must be better than with play alone
_NEAR = 0.05  # of S: how far nine in ten of simulated loops are off, beyond the likely ones
_DOUBT = 16.0  # of the same, within which a value is in the interval: errors have a colour that chi-square has not


@dataclass(frozen=True, slots=True)
class Sticking:
    """s, j: % of travel, each value, low, high. stem: (T,) where the stem was, per cent; OP where that is not known."""

    s: tuple[float, float, float]
    j: tuple[float, float, float]
    stem: Floats


def sticking(signals: Signals) -> Sticking | None:
    """How the valve sticks; None where a valve that follows OP explains PV as well."""
    stretches = runs(signals.whole, _LEAST)
    if not stretches:
        return None
    longest = max(stretches, key=lambda s: s.stop - s.start)
    where = slice(longest.start, min(longest.stop, longest.start + _MOST))
    op, pv = signals.op[where], signals.pv[where]
    width = float(np.quantile(op, 0.98) - np.quantile(op, 0.02))
    if width < 0.05 or np.ptp(pv) < 1e-9:
        return None
    costs = _searched(pv, op, width)
    best = min(costs, key=lambda pair: costs[pair])
    gain = costs[0.0, 0.0] - costs[best]
    play = min(cost for (_, j), cost in costs.items() if j == 0.0)
    if best[0] == 0.0 or gain < _PLAIN or play - costs[best] < _JUMPS_TELL:
        return None
    likely = [pair for pair, cost in costs.items() if cost < costs[best] + _DOUBT]
    stem = signals.op.copy()
    stem[where] = _stems(op, [best])[:, 0]
    return Sticking(_interval(best[0], [s for s, _ in likely], _NEAR * best[0]),
                    _interval(best[1], [j for _, j in likely], _NEAR * best[0]), stem)


def _searched(pv: Floats, op: Floats, width: float) -> dict[tuple[float, float], float]:
    """The costs of pairs of S and J, the closer together the likelier."""
    pairs = [(0.0, 0.0)] + [(share * width, share * jump * width) for share in _SHARES for jump in _JUMPS]
    costs = dict(zip(pairs, _costs(pv, op, pairs), strict=True))
    for spread, apart in _FINER:
        near = {(s * a, min(max(j + s * b, 0.0), 1.2 * s * a))
                for s, j in sorted(costs, key=lambda pair: costs[pair])[:_BEST] if s > 0
                for a in (1.0 / spread, 1.0, spread) for b in (-apart, 0.0, apart)} - set(costs)
        if near:
            ordered = sorted(near)
            costs.update(zip(ordered, _costs(pv, op, ordered), strict=True))
    return costs


def _interval(value: float, likely: list[float], least: float) -> tuple[float, float, float]:
    """From the least to the largest likely value, half a step of the grid beyond."""
    return value, max(0.0, min(likely) - least), max(likely) + least


def _stems(op: Floats, pairs: list[tuple[float, float]]) -> Floats:
    """(T, M) the stems of M valves that OP moves."""
    s, j = np.array(pairs).T
    valves = Stiction(np.full(len(pairs), op[0]), np.arange(len(pairs)))
    valves.become(s, j)
    stems = np.empty((len(op), len(pairs)))
    for t, wanted in enumerate(op):
        stems[t] = valves.step(np.full(len(pairs), wanted))
    return stems


def _costs(pv: Floats, op: Floats, pairs: list[tuple[float, float]]) -> list[float]:
    """Of each pair twice the negative log-likelihood of the errors of PV, from its own past and the stem's."""
    stems = _stems(op, pairs)
    longest = _LAGS[-1]
    pasts = np.column_stack([pv[longest - k:len(pv) - k] for k in _LAGS])
    y = pv[longest:]
    return [_cost(y, np.column_stack([pasts, *(stem[longest - k:len(pv) - k] for k in _LAGS)])) for stem in stems.T]


def _cost(y: Floats, inputs: Floats) -> float:
    level = inputs - inputs.mean(axis=0)
    normal = level.T @ level
    normal[np.diag_indices_from(normal)] += 1e-6 * max(float(np.trace(normal)) / len(normal), 1e-12)
    rest = y - y.mean() - level @ np.linalg.solve(normal, level.T @ (y - y.mean()))
    return float(len(y) * np.log(max(float(rest @ rest) / len(y), 1e-18)))
