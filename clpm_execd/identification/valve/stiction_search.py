"""How a valve sticks, from OP and PV alone.

The stem is simulated from OP by Choudhury's model for many pairs of S and J, and the one from which PV follows with
the least errors, through the process and with the load that go with it, is the valve's (Jelali, 2008): the
prediction-error method that is used for a valve that follows OP, judged by the same likelihood. That is steep and has
many peaks, since one slip that is missed spoils a whole cycle: it is looked at on grids that become finer, and apart
for valves that do little more than trail, undershoot, and jump. What a valve that only trails would explain as well is
play, without a jump. Of a record that has all scans the best of each kind are then taken with the slips that the
rounding of OP hides, which tells them apart, and how surely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np

from clpm_execd.identification.loop_data import Signals, runs
from clpm_execd.identification.pid_regression import SCAN
from clpm_execd.identification.process.prediction_error import SHORTEST, Fit, Prediction
from clpm_execd.identification.valve.profile_likelihood import likely
from clpm_execd.identification.valve.slip_refinement import MOST_JUMP, Slips, Stem
from clpm_execd.plant.block import Floats
from clpm_execd.plant.faults.valve import Stiction
from clpm_execd.plant.specs import ProcessSpec

_LEAST = 400  # samples
_COARSE = tuple(0.06 * 1.08**k for k in range(38))  # S, of the range in which OP moves
_JUMPS = (0.0, 0.15, 0.3, 0.5, 0.7, 0.9, 1.1)  # J, of S
_DENSE = (0.01, 32, 0.1, 13)  # around a pair: steps of S, and of J, shares of S, and how many on either side
_FINER = ((0.004, 8, 0.04, 3), (0.0015, 5, 0.02, 3), (0.0007, 3, 0.01, 3))  # then
_TURNS = 4  # of a dense grid
_FOLLOWS = (0.0, 0.0, 0.0)
_UNSEEN = 8.0  # of OP's moves from sample to sample, root mean square
_PARTS = 2  # of an interval: when in it a stem slipped is not known
_FIRST = 0.25  # part of a record
_ANY_JUMP = tuple(0.1 * k for k in range(13))  # J, of S
_STARTS = tuple(0.05 * k for k in range(-20, 21))  # of a stem, at the start of the record
_AROUND = (0.4, 0.55, 0.7, 0.85, 1.0, 1.2, 1.5, 1.9, 2.5)  # dead times, of the one so far
_FAMILIES = (0.1, 0.35, 0.7, inf)  # of valves, by J up to these shares of S; the first do little but trail
_BEST = 2  # of a family that are kept
_APART = 0.05  # of S: nearer ones are the same
_HINTS = 10.0  # by which the errors' log-likelihood, doubled, must be better than with a valve that follows OP
_HOPES = 20.0  # by dense grids: finer ones hardly add as much again
_TELLS = 40.0  # and in the end
_HIDES = 0.5  # of all that sticking tells: so much rounding may hide
_OTHERWISE = (0.15, 0.3, 0.45, 0.6, 0.75, 1.4)  # dead times, of that of the best so far
_ALIKE = 0.01  # of S: nearer ones lead to the same
_OPEN = 0.25  # of all that sticking tells: so much a closer look may still gain
_WORTH = 20.0  # of the errors' log-likelihood, doubled: so much may the right process gain
_MODES = 2  # of the likelihood, that are looked at closely
_MOST = 20_000  # samples
_ROUGHLY = 1.0  # of the same: a smaller gain by another process is none
_JUMPS_TELL = 15.0  # by which it must be better than with play alone, or play is what is told
_DOUBT, _DOUBT_SHARE = 10.0, 0.1  # of the same, and of all that sticking tells: within is likely; see `_sticking`
_NEAR = (0.05, 0.1)  # of S: how far off S and J may be in any case


@dataclass(frozen=True, slots=True)
class Sticking:
    """s, j: % of travel, each value, low, high; j is nought where the record shows no jump, but play.

    stem: (T,) where the stem was, per cent; OP where that is not known. process: as of `Likely`, where that is known.
    """

    s: tuple[float, float, float]
    j: tuple[float, float, float]
    stem: Floats
    process: Floats = field(default_factory=lambda: np.empty((0, 2)))


@dataclass(frozen=True, slots=True)
class _Valve:
    """How one might be, and the process that goes with it."""

    stem: Stem
    fit: Fit


def sticking(signals: Signals, around: ProcessSpec, healthy: float = inf, step: float = 0.0) -> Sticking | None:
    """How the valve sticks; None where a valve that follows OP explains PV as well.

    around: the process that is typical of the loop. healthy: n log of the variance of the n errors, by the best that is
    known of a valve that follows OP. step: in which OP is recorded, %.
    """
    prediction = Prediction(signals, around, parts=_PARTS)
    coarse = _coarse(signals, _width(signals))
    if not coarse or not prediction.where:
        return None
    return _Search(signals, prediction, step).told(coarse, healthy, around.gain)


def _width(signals: Signals) -> float:
    """The range in which OP moves, %; 0 where the record is too short to tell."""
    op, pv = signals.op[signals.whole], signals.pv[signals.whole]
    if len(op) < _LEAST or np.ptp(pv) < 1e-9:
        return 0.0
    width = float(np.quantile(op, 0.98) - np.quantile(op, 0.02))
    return width if width >= 0.05 else 0.0


def stems_of(signals: Signals, stems: Sequence[Stem]) -> Floats:
    """(M, T) where the stems of M valves are that OP moves; after a gap where they were, or as near as can be."""
    s, j, first = np.array(stems).T
    apart = (s + j) / 2.0
    positions = np.repeat(signals.op[None, :], len(stems), axis=0)
    last = None
    for stretch in runs(signals.whole, SHORTEST):
        op = signals.op[stretch]
        last = op[0] + first * apart if last is None else np.clip(last, op[0] - apart, op[0] + apart)
        valves = Stiction(last, np.arange(len(stems)))
        valves.set_parameters(s, j)
        moved = np.empty((len(op), len(stems)))
        for row, wanted in zip(moved, op, strict=True):
            row[:] = valves.step(wanted)
        last = moved[-1].copy()
        positions[:, stretch] = moved.T
    return positions


def _coarse(signals: Signals, width: float) -> list[Stem]:
    """All that may be, each at first where OP is, or so that it slips at OP's largest or smallest value before long.

    Of a record slower than the scan only those that what OP does between two samples does not move.
    """
    if width == 0.0:
        return []
    op = signals.op[signals.whole]
    least = _UNSEEN * float(np.sqrt(np.mean(np.diff(op) ** 2))) if signals.interval > SCAN else 0.0
    early = op[:int(_FIRST * len(op))]
    far = (0.0, float(early.max() - op[0]), float(early.min() - op[0]))
    found = []
    for s in (share * width for share in _COARSE if share * width >= least):
        for j in (jump * s for jump in _JUMPS):
            apart = (s + j) / 2.0
            starts = {min(max(way / apart - float(np.sign(way)), -1.0), 1.0) for way in far}
            found += [(s, j, start) for start in sorted(starts)]
    return found


class _Search:
    """For the pair. Valves that are known are of several families, best first."""

    def __init__(self, signals: Signals, prediction: Prediction, step: float) -> None:
        self._signals, self._prediction = signals, prediction
        # Between two samples of a slower record OP moves by far more than a step.
        every_scan = signals.interval <= SCAN and len(signals.op) <= _MOST
        self._slips = Slips(prediction, signals.op, step) if every_scan else None
        self._hidden = _HIDES if every_scan else _OPEN

    def told(self, coarse: Sequence[Stem], healthy: float, sign: float) -> Sticking | None:
        """coarse: the stems that may be. sign: of the process gain."""
        guesses = self._guesses()
        if not guesses:
            return None
        healthy = min(healthy, *(valve.fit.cost for valve in guesses))
        known = self._likeliest([(guesses, coarse)], inf)
        if known[0].fit.cost > healthy - _HINTS:
            return None
        known = self._nearer(known, guesses[1:], healthy)
        if known[0].fit.cost > healthy - _HOPES:
            return None
        known = self._closer(known)
        best = known[0]
        trails = next((valve for valve in known if _family(valve.stem) == 0), best)
        jumps = best.fit.cost < trails.fit.cost - _JUMPS_TELL
        found = best if jumps else trails
        if found.fit.cost > healthy - _TELLS or found.fit.gain * sign < 0 or found.stem[0] < coarse[0][0]:
            return None
        if self._slips is not None:
            return self._surely(self._slips, known, healthy, sign)
        told = self._sticking(found, healthy)
        return told if jumps else replace(told, j=(0.0, 0.0, told.j[2]))

    def _surely(self, slips: Slips, known: Sequence[_Valve], healthy: float, sign: float) -> Sticking | None:
        """Of those that may be, each with what rounding hides of its slips, the likeliest."""
        tells = healthy - known[0].fit.cost
        worth = self._worth(known, known[0].fit.cost + _HIDES * tells)
        begun = [((*valve.stem[:2], first), valve.fit) for valve in worth for first in sorted({valve.stem[2], 0.0})]
        slipped = [slips.likeliest(stem, fit) for stem, fit in begun]
        slipped = [one for one in slipped if one.fit.gain * sign > 0 and np.isfinite(one.fit.cost)]
        if not slipped:
            return None
        slipped.sort(key=lambda one: one.fit.cost)
        most = slipped[0].fit.cost + max(_DOUBT, _OPEN * tells)
        apart = list({one.stem[:2]: one for one in reversed(slipped) if one.fit.cost < most}.values())[::-1]
        told = likely(slips, apart[:_MODES])
        trails = next((one for one in slipped if _family(one.stem) == 0), told.best)
        if told.best.fit.cost < trails.fit.cost - _JUMPS_TELL:
            return Sticking(told.s, told.j, told.best.position, told.process)
        told = likely(slips, [trails])
        return Sticking(told.s, (0.0, 0.0, told.j[2]), told.best.position, told.process)

    def _worth(self, known: Sequence[_Valve], most: float) -> list[_Valve]:
        """The best of each family, and behind other dead times, that cost no more; one that only trails in any case.

        A valve that slips too soon behind a dead time too long explains nearly as much, and its process leads to none
        but such.
        """
        firsts = {_family(valve.stem): valve for valve in reversed(known)}
        worth = [valve for family, valve in firsts.items() if valve.fit.cost < most or family == 0]
        best = known[0]
        guesses = [replace(best, fit=replace(best.fit, delay=factor * best.fit.delay)) for factor in _OTHERWISE]
        stems = _around(best.stem, *_DENSE)
        positions = stems_of(self._signals, stems)
        others = [_Valve(stems[k], self._fitted(guess.fit, positions[k]))
                  for guess, k in zip(guesses, self._costs(guesses, positions).argmin(axis=1).tolist(), strict=True)]
        for one in sorted(others, key=lambda one: one.fit.cost):
            if one.fit.cost < most and all(abs(one.stem[0] / other.stem[0] - 1.0) > _ALIKE for other in worth):
                worth.append(self._likeliest([([one], _around(one.stem, *_FINER[0]))], 0.0)[0])
        return worth

    def _guesses(self) -> list[_Valve]:
        """A valve that follows OP, with the process that errs least, and with the typical one."""
        of = self._prediction
        starts = of.starts
        fits = [fit for start in starts if (fit := of.fit(of.expected, start)) is not None]
        if not fits:
            return []
        best = min(fits, key=lambda fit: fit.cost)
        of.scale = best.sigma
        typical = of.at(of.expected, starts[1])
        return [_Valve(_FOLLOWS, fit) for fit in (self._fitted(best, self._signals.op), typical) if fit is not None]

    def _nearer(self, known: Sequence[_Valve], guesses: Sequence[_Valve], healthy: float) -> list[_Valve]:
        """By dense grids around the best, as long as they find better ones: the process is then another.

        The guesses have their say the first time; later on the best one's process is nearer than theirs.
        """
        looks, looked = (lambda stem: _around(stem, *_DENSE), _begun), dict[int, _Valve]()
        for turn in range(_TURNS):
            before = known[0].fit.cost
            for k, look in enumerate(looks):
                best = known[0]
                if looked.get(k) is not best:
                    by = [best, *guesses] if turn == 0 else [best]
                    most = max(_WORTH, self._hidden * (healthy - best.fit.cost))
                    looked[k], known = best, _merged(known, self._likeliest([(by, look(best.stem))], most))
            if known[0].fit.cost > before - _HINTS:
                break
        return [*known]

    def _closer(self, known: Sequence[_Valve]) -> list[_Valve]:
        """By finer grids around the best, and around the best of those that only trail."""
        for steps in _FINER:
            trailing = [valve for valve in known[_BEST:] if _family(valve.stem) == 0]
            known = _merged(known, self._likeliest(
                [([valve], _around(valve.stem, *steps)) for valve in [*known[:_BEST], *trailing[:1]]], _WORTH))
        return [*known]

    def _likeliest(self, looks: Sequence[tuple[Sequence[_Valve], Sequence[Stem]]], most: float) -> list[_Valve]:
        """Of stems the likeliest of each family by each guess of the process, all then with their own; together.

        Each guess has a say, however unlikely it is: the process of a valve that follows OP is not that of one that
        sticks, and a typical one may tell better which stem is right. most: by which one may cost more than the best,
        whichever guess tells; one that only trails may in any case.
        """
        stems = [stem for _, some in looks for stem in some]
        positions, families = stems_of(self._signals, stems), np.array([_family(stem) for stem in stems])
        found, first = list[_Valve](), 0
        for guesses, some in looks:
            of = slice(first, first := first + len(some))
            costs = self._costs(guesses, positions[of])
            least = costs.min(axis=0)
            for guess, row in zip(guesses, costs, strict=True):
                for family in np.unique(families[of]).tolist():
                    k = int(np.where(families[of] == family, row, inf).argmin())
                    if family == 0 or least[k] <= least.min() + most:
                        found.append(_Valve(some[k], self._fitted(guess.fit, positions[of][k])))
        return _merged(found)

    def _costs(self, guesses: Sequence[_Valve], positions: Floats) -> Floats:
        """(G, M) of the stems that are there, (M, T), by each guess."""
        return self._prediction.costs([guess.fit for guess in guesses], positions)

    def _fitted(self, fit: Fit, stem: Floats) -> Fit:
        """The process that goes best with a stem, (T,), looked for from this one on."""
        prediction = self._prediction.behind(stem)
        delays = fit.delay * np.array(_AROUND)
        delay = float(delays[prediction.misfits(delays.tolist(), fit.parameters).argmin()])
        return prediction.free(delay, fit.parameters, _ROUGHLY) or replace(fit, cost=inf)

    def _sticking(self, best: _Valve, healthy: float) -> Sticking:
        """With intervals that hold all pairs that are about as likely.

        OP is rounded, so that a slip may come a sample late or early by any pair, the true one too: the more of PV
        sticking explains, the more of it that costs.
        """
        stems = [*_around(best.stem, *_DENSE), *_around(best.stem, *_FINER[0])]
        within = best.fit.cost + max(_DOUBT, _DOUBT_SHARE * (healthy - best.fit.cost))
        costs = self._costs([best], stems_of(self._signals, stems))[0]
        likely = [best.stem, *(stems[k] for k in np.flatnonzero(costs < within))]
        lows, highs = np.min(likely, axis=0).tolist(), np.max(likely, axis=0).tolist()
        s, j = ((value, max(min(low, value - near * best.stem[0]), 0.0), max(high, value + near * best.stem[0]))
                for value, low, high, near in zip(best.stem[:2], lows, highs, _NEAR, strict=False))
        return Sticking(s, j, stems_of(self._signals, [best.stem])[0])


def _around(stem: Stem, step: float, steps: int, jump: float, jumps: int) -> list[Stem]:
    """Those around one: S by factors, J by shares of S."""
    s, share, start = stem[0], stem[1] / stem[0], stem[2]
    shares = sorted({min(max(share + b * jump, 0.0), MOST_JUMP) for b in range(-jumps, jumps + 1)})
    sizes = [s * (1.0 + step) ** a for a in range(-steps, steps + 1)]
    return [(size, part * size, start) for size in sizes for part in shares]


def _begun(stem: Stem) -> list[Stem]:
    """Those that turn where this one does, by any jump and from wherever they may have been at first."""
    return [(stem[0], share * stem[0], start) for share in _ANY_JUMP for start in _STARTS]


def _merged(known: Sequence[_Valve], new: Sequence[_Valve] = ()) -> list[_Valve]:
    """The likeliest of each family, best first."""
    chosen: list[_Valve] = []
    for valve in sorted([*known, *new], key=lambda valve: valve.fit.cost):
        family = [one.stem for one in chosen if _family(one.stem) == _family(valve.stem)]
        s, j, _ = valve.stem
        if len(family) < _BEST and all(abs(s - other[0]) > _APART * s or abs(j - other[1]) > 2.0 * _APART * s
                                       for other in family):
            chosen.append(valve)
    return chosen


def _family(stem: Stem) -> int:
    return next(k for k, most in enumerate(_FAMILIES) if stem[1] < most * stem[0])
