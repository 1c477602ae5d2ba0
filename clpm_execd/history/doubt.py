"""How surely S and J are known of a sticky valve, and what that leaves open of the process behind it.

The likelihood is profiled along S and along J: at each the stem is looked for anew (`Slips`), and the process with its
dead time, since a valve that slips sooner behind a longer dead time may explain PV as well. A better valve that is met
on the way is the one around which it goes on. An interval holds all that the ratio of likelihoods leaves at 90 %
(Wilks, 1938), and all that were tried on the way which one slip, that is left as it is where it tells little, would
bring there; and a step of OP more: by so little a threshold is not seen to be passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np

from clpm_execd.history.slips import MOST_JUMP, TELLS, Slipped, Slips
from clpm_execd.plant.block import Floats

_RATIO = 2.706  # of the likelihood's logarithm, doubled: 90 % of the chi-squared of one parameter
# Shares of S, by which S is moved, and J.
_S = (0.001, 0.002, 0.004, 0.007, 0.012, 0.016, 0.02, 0.028, 0.036, 0.044, 0.06, 0.08, 0.1)
_J = (0.01, 0.02, 0.04, 0.08, 0.16)
_BETTER = 1.0  # of the same: a smaller gain is none
_FAR = 25.0  # of the same: behind two that are less likely by more none is tried
_TURNS = 3


@dataclass(frozen=True, slots=True)
class Likely:
    """The likeliest valve. s, j: value, low, high.

    process: (K, 2) how far the logarithm of the gain, the dead time, s, and the logarithms of the lags may be below and
    above those of its process, for not knowing S and J.
    """

    best: Slipped
    s: tuple[float, float, float]
    j: tuple[float, float, float]
    process: Floats


def likely(slips: Slips, begun: Sequence[Slipped]) -> Likely:
    """Looked for from each of several on."""
    climbed = [_climbed(slips, one) for one in begun]
    lines = min(climbed, key=lambda one: one.best.fit.cost)
    best = lines.best
    tried = [one for other in climbed for one in other.tried]
    alike = [one for one in tried if one.fit.cost < best.fit.cost + _RATIO + TELLS]
    ends = []
    for which in (0, 1):
        low, high = _ends(lines.along[which], best, which)
        at = [one.stem[which] for one in alike]
        ends.append((best.stem[which], max(min(low, *at) - slips.step, 0.0), max(high, *at) + slips.step))
    told = np.array([_told(one) for one in [best, *alike] if one.fit.gain * best.fit.gain > 0])
    return Likely(best, ends[0], ends[1], np.stack([told[0] - told.min(axis=0), told.max(axis=0) - told[0]], axis=1))


@dataclass(frozen=True, slots=True)
class _Climbed:
    """The best there is near one, those along S and along J around it, and all that were tried."""

    best: Slipped
    along: list[list[Slipped]]
    tried: list[Slipped]


def _climbed(slips: Slips, begun: Slipped) -> _Climbed:
    best, lines = begun, [_line(slips, begun, which) for which in (0, 1)]
    tried = [one for line in lines for one in line]
    for _ in range(_TURNS):
        better = min(tried, key=lambda one: one.fit.cost)
        if better.fit.cost > best.fit.cost - _BETTER:
            break
        best, lines = better, [_line(slips, better, which) for which in (0, 1)]
        tried += [one for line in lines for one in line]
    return _Climbed(best, lines, tried)


def _line(slips: Slips, best: Slipped, which: int) -> list[Slipped]:
    """Valves of other S, or J, sorted: as far to either side as they may be likely."""
    line = [best]
    for side in (-1.0, 1.0):
        last, far = best, 0
        for share in (_S, _J)[which]:
            s, j, _ = best.stem
            by = side * share * s
            s, j = ((s + by, j), (s, j + by))[which]
            if not 0.0 <= j <= MOST_JUMP * s:
                break
            last = slips.likeliest(slips.moved(last, s, j), last.fit)
            line.append(last)
            far = far + 1 if last.fit.cost > best.fit.cost + _FAR else 0
            if far == 2:
                break
    return sorted(line, key=lambda one: one.stem[which])


def _ends(line: Sequence[Slipped], best: Slipped, which: int) -> tuple[float, float]:
    """Low, high: the root of the cost is straight from the last that is likely, to either side, to the next."""
    at = np.array([one.stem[which] for one in line])
    roots = np.sqrt(np.maximum(np.array([one.fit.cost for one in line]) - best.fit.cost, 0.0))
    most, within = sqrt(_RATIO), np.flatnonzero(roots <= sqrt(_RATIO))
    ends = []
    for last, beyond in ((int(within[0]), int(within[0]) - 1), (int(within[-1]), int(within[-1]) + 1)):
        end = float(at[last])
        if 0 <= beyond < len(at):
            end += float((at[beyond] - at[last]) * (most - roots[last]) / (roots[beyond] - roots[last]))
        ends.append(end)
    return ends[0], ends[1]


def _told(one: Slipped) -> list[float]:
    """Of the process behind a valve, as in `Likely`."""
    return [log(max(abs(one.fit.gain), 1e-300)), one.fit.delay, *np.cumsum(one.fit.parameters[:-2]).tolist()]
