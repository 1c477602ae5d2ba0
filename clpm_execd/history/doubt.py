"""How surely S and J are known of a sticky valve, and what that leaves open of the process behind it.

The likelihood is profiled along S and along J: at each the stem is looked for anew (`Slips`), and the process with its
dead time, since a valve that slips sooner behind a longer dead time may explain PV as well. A better valve that is met
on the way is the one around which it goes on. An interval holds all that the ratio of likelihoods leaves at 90 %
(Wilks, 1938), and a step of OP more: by so little a threshold is not seen to be passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np

from clpm_execd.history.slips import Slipped, Slips
from clpm_execd.plant.block import Floats

_RATIO = 2.706  # of the likelihood's logarithm, doubled: 90 % of the chi-squared of one parameter
_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.03, 0.06, 0.1)  # shares of S, by which S is moved
_J = (0.01, 0.02, 0.04, 0.08, 0.16)  # and J
_BETTER = 1.0  # of the same: a smaller gain is none
_FAR = 40.0  # of the same: two that are less likely by more, and none beyond is tried
_TURNS = 4
_MOST_JUMP = 1.25  # J, of S


@dataclass(frozen=True, slots=True)
class Likely:
    """The likeliest valve. s, j: value, low, high.

    process: standard deviations that S and J leave of the logarithm of the gain, of the dead time, s, and of the
    logarithms of the lags.
    """

    best: Slipped
    s: tuple[float, float, float]
    j: tuple[float, float, float]
    process: Floats


def likely(slips: Slips, begun: Slipped) -> Likely:
    """Looked for from one on."""
    best, lines = begun, _lines(slips, begun)
    for _ in range(_TURNS):
        better = min((one for line in lines for one in line), key=lambda one: one.fit.cost)
        if better.fit.cost > best.fit.cost - _BETTER:
            break
        best, lines = better, _lines(slips, better)
    ends = [_ends(line, best, which, slips.step) for which, line in enumerate(lines)]
    variances = np.sum([_spread(line, which) for which, line in enumerate(lines)], axis=0)
    return Likely(best, ends[0], ends[1], np.sqrt(variances))


def _lines(slips: Slips, best: Slipped) -> list[list[Slipped]]:
    return [_line(slips, best, which) for which in (0, 1)]


def _line(slips: Slips, best: Slipped, which: int) -> list[Slipped]:
    """Valves of other S, or J, sorted: as far to either side as they may be likely."""
    line = [best]
    for side in (-1.0, 1.0):
        last, far = best, 0
        for share in (_S, _J)[which]:
            moved = list(best.stem)
            moved[which] = best.stem[which] + side * share * best.stem[0]
            if not 0.0 <= moved[1] <= _MOST_JUMP * moved[0]:
                break
            last = slips.likeliest((moved[0], moved[1], moved[2]), last.fit)
            line.append(last)
            far = far + 1 if last.fit.cost > best.fit.cost + _FAR else 0
            if far == 2:
                break
    return sorted(line, key=lambda one: one.stem[which])


def _ends(line: Sequence[Slipped], best: Slipped, which: int, step: float) -> tuple[float, float, float]:
    """Value, low, high: the root of the cost is straight from the last that is likely, to either side, to the next."""
    at = np.array([one.stem[which] for one in line])
    roots = np.sqrt(np.maximum(np.array([one.fit.cost for one in line]) - best.fit.cost, 0.0))
    most, within = sqrt(_RATIO), np.flatnonzero(roots <= sqrt(_RATIO))
    ends = []
    for last, beyond in ((int(within[0]), int(within[0]) - 1), (int(within[-1]), int(within[-1]) + 1)):
        end = float(at[last])
        if 0 <= beyond < len(at):
            end += float((at[beyond] - at[last]) * (most - roots[last]) / (roots[beyond] - roots[last]))
        ends.append(end)
    return best.stem[which], max(ends[0] - step, 0.0), ends[1] + step


def _spread(line: Sequence[Slipped], which: int) -> Floats:
    """Variances, as in `Likely`, of the processes along a line, weighed by their likelihood."""
    if len(line) < 2:
        return np.zeros(2 + max(len(line[0].fit.parameters) - 2, 0))
    costs = np.array([one.fit.cost for one in line])
    chance = np.exp(-(costs - costs.min()) / 2.0) * np.gradient(np.array([one.stem[which] for one in line]))
    told = np.array([[log(abs(one.fit.gain)), one.fit.delay, *np.cumsum(one.fit.parameters[:-2])] for one in line])
    chance /= chance.sum()
    return np.asarray(chance @ (told - chance @ told) ** 2)
