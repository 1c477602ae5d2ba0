"""How surely S and J are known of a sticky valve, and what that leaves open of the process behind it.

The likelihood is profiled along S and along J: at each the stem is looked for anew (`Slips`), and the process with its
dead time, since a valve that slips sooner behind a longer dead time may explain PV as well. Such a one may be better by
far, with much less likely ones between: S is moved past these. A better valve that is met on the way is the one around
which it goes on. Where few slips leave much open, S, J and dead time trade with each other along a curved ridge, which
lines along S and J leave: then J is looked for anew at the ends of S, and S at those of J. An interval holds all that
the ratio of likelihoods leaves at 90 % (Wilks, 1938), and all that were tried on the way which two slips, that are left
as they are where they tell little, would bring there; and a step of OP more: by so little a threshold is not seen to be
passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np

from clpm_execd.identification.valve.slip_refinement import MOST_JUMP, TELLS, Slipped, Slips
from clpm_execd.plant.block import Floats

_RATIO = 2.706  # of the likelihood's logarithm, doubled: 90 % of the chi-squared of one parameter
# Shares of S, by which S is moved, and J.
_S = (0.001, 0.002, 0.004, 0.007, 0.012, 0.016, 0.02, 0.028, 0.036, 0.044, 0.06, 0.08, 0.1)
_J = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64)
_REACH = 0.028  # of S: so far other dead times are looked for, however unlikely what lies between
_LEFT = 2  # slips that are left as they are
_BETTER = 1.0  # of the same: a smaller gain is none
_FAR = 25.0  # of the same: behind two that are less likely by more none is tried
_TURNS = 3
_WIDE = 0.01  # of S: what is known as well as that is not looked at across


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
    lines = list[_Line]()
    for one in begun:
        if not _within(one, lines):
            lines += _climbed(slips, one)
    lines += _across(slips, lines)
    tried = [one for line in lines for one in line.tried]
    best = min(tried, key=_cost)
    alike = [one for one in tried if one.fit.cost < best.fit.cost + _RATIO + _LEFT * TELLS]
    ends = []
    for which in (0, 1):
        at = [one.stem[which] for one in alike]
        at += [end for line in lines if line.which == which for end in _ends(line, best)]
        ends.append((best.stem[which], max(min(at) - slips.step, 0.0), max(at) + slips.step))
    told = np.array([_told(one) for one in [best, *alike] if one.fit.gain * best.fit.gain > 0])
    return Likely(best, ends[0], ends[1], np.stack([told[0] - told.min(axis=0), told.max(axis=0) - told[0]], axis=1))


@dataclass(frozen=True, slots=True)
class _Line:
    """Valves of other S, or J, by which of the two, sorted."""

    which: int
    tried: list[Slipped]


def _cost(one: Slipped) -> float:
    return one.fit.cost


def _within(one: Slipped, lines: Sequence[_Line]) -> bool:
    """Whether valves of more and of less S and J were tried that are as likely."""
    stems = np.array([other.stem[:2] for line in lines for other in line.tried if other.fit.cost <= one.fit.cost])
    return len(stems) > 0 and bool(((stems.min(axis=0) <= one.stem[:2]) & (stems.max(axis=0) >= one.stem[:2])).all())


def _climbed(slips: Slips, begun: Slipped) -> list[_Line]:
    """Those along S and along J around the best there is near one, and around all that led there."""
    best, lines, reach = begun, list[_Line](), _REACH
    for _ in range(1 + _TURNS):
        lines += [_line(slips, best, which, best.fit.cost, reach * (1 - which)) for which in (0, 1)]
        better = min((one for line in lines for one in line.tried), key=_cost)
        if better.fit.cost > best.fit.cost - _BETTER:
            break
        best, reach = better, 0.0
    return lines


def _across(slips: Slips, lines: Sequence[_Line]) -> list[_Line]:
    """Where S is little known those of other J at its ends, and where J is those of other S."""
    tried = [one for line in lines for one in line.tried]
    best, across = min(tried, key=_cost), list[_Line]()
    alike = [one for one in tried if one.fit.cost < best.fit.cost + _RATIO]
    for which in (0, 1):
        for end in (min, max):
            last = end(alike, key=lambda one: one.stem[which])
            if abs(last.stem[which] - best.stem[which]) > _WIDE * best.stem[0]:
                across.append(_line(slips, last, 1 - which, best.fit.cost, 0.0))
    return across


def _line(slips: Slips, known: Slipped, which: int, least: float, reach: float) -> _Line:
    """Of other S, or J, than one that is known: to either side so far, and as far as they may be likely.

    Where the cost hardly changes, by steps twice as long.
    """
    line = [known]
    for side in (-1.0, 1.0):
        last, far, flat = known, 0, False
        for share in (_S, _J)[which]:
            if flat:
                flat = False
                continue
            s, j, _ = known.stem
            by = side * share * s
            s, j = ((s + by, j), (s, j + by))[which]
            if not 0.0 <= j <= MOST_JUMP * s:
                break
            before, last = last, slips.likeliest(slips.moved(last, s, j), last.fit)
            line.append(last)
            flat = abs(last.fit.cost - before.fit.cost) < _BETTER
            far = far + 1 if last.fit.cost > least + _FAR else 0
            if far >= 2 and share >= reach:
                break
    return _Line(which, sorted(line, key=lambda one: one.stem[which]))


def _ends(line: _Line, best: Slipped) -> list[float]:
    """Low, high: the root of the cost is straight from the last that is likely, to either side, to the next."""
    at = np.array([one.stem[line.which] for one in line.tried])
    roots = np.sqrt(np.maximum(np.array([one.fit.cost for one in line.tried]) - best.fit.cost, 0.0))
    most, within = sqrt(_RATIO), np.flatnonzero(roots <= sqrt(_RATIO))
    ends = []
    for last, beyond in ((within[0], within[0] - 1), (within[-1], within[-1] + 1)) if len(within) else ():
        end = float(at[last])
        if 0 <= beyond < len(at):
            end += float((at[beyond] - at[last]) * (most - roots[last]) / (roots[beyond] - roots[last]))
        ends.append(end)
    return ends


def _told(one: Slipped) -> list[float]:
    """Of the process behind a valve, as in `Likely`."""
    return [log(max(abs(one.fit.gain), 1e-300)), one.fit.delay, *np.cumsum(one.fit.parameters[:-2]).tolist()]
