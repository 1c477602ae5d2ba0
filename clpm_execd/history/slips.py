"""Where the stem of a sticky valve was, though OP is recorded in steps.

A stem slips where OP crosses a threshold, and slides on while OP moves one way. What rounding hides of OP is a step at
most, yet it leaves open at which of two samples a stem slipped, and whether it stuck where OP seems to rest: and one
slip that is missed spoils a whole cycle. So wherever a stem may as well have done otherwise it is tried what PV says of
that, all such at once, each for as long as it makes a difference. Those that explain PV better, and do not touch each
other, are taken together, and the next are looked for behind the process that then errs least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
import numpy.typing as npt

from clpm_execd.history.prediction import Fit, Prediction
from clpm_execd.history.signals import Booleans
from clpm_execd.plant.block import Floats

# S and J, % of travel, and how far the stem is from OP at first, of as far as it can be.
Stem = tuple[float, float, float]
Integers = npt.NDArray[np.int64]

_HAIR = 1e-7  # %: by so much OP is beyond a threshold, or moves on
_TURNS = 12
_TELLS = 2.0  # of the errors' log-likelihood, doubled: what explains PV better by less is left as it is
_APART = 3  # samples between two that do not touch each other
_AT_ONCE = 256  # stems
_ROUGHLY = 1.0  # see `Prediction.free`
_STARTS: tuple[float, ...] = ()
_WAYS = 1  # from which it is looked for


@dataclass(frozen=True, slots=True)
class Slipped:
    """A valve, the process that goes with it, and (T,) where its stem was, %."""

    stem: Stem
    fit: Fit
    position: Floats


@dataclass(frozen=True, slots=True)
class _Way:
    """What a valve may have gone through: (T,) OP, within what rounding hides, the stem, and whether it slides."""

    op: Floats
    stem: Floats
    slides: Booleans

    @property
    def direction(self) -> Floats:
        """(T,) of OP; nought at first."""
        return np.append(0.0, np.nan_to_num(np.sign(np.diff(self.op))))

    def with_part(self, other: _Way, where: slice) -> _Way:
        """The same, but a part of it as of another."""
        op, stem, slides = self.op.copy(), self.stem.copy(), self.slides.copy()
        op[where], stem[where], slides[where] = other.op, other.stem, other.slides
        return _Way(op, stem, slides)

    def part(self, where: slice) -> _Way:
        """Of it."""
        return _Way(self.op[where], self.stem[where], self.slides[where])


@dataclass(frozen=True, slots=True)
class _Others:
    """What may as well have been of a way, M of it: (M,) from a sample on, until another, OP was higher by so much."""

    since: Integers
    until: Integers
    higher: Floats


class Slips:
    """For the stems of valves that OP, (T,), moves, recorded in steps of so many %."""

    def __init__(self, prediction: Prediction, op: Floats, step: float) -> None:
        self._of, self._op, self.step = prediction, op, step
        self._rests = np.append(False, op[1:] == op[:-1])
        ends = np.where(np.append(self._rests[1:], False), len(op), np.arange(1, len(op) + 1))
        self._until = np.minimum.accumulate(ends[::-1])[::-1]  # OP has the value of each sample

    def likeliest(self, stem: Stem, fit: Fit, anywhere: bool = False) -> Slipped:
        """The stem from which PV follows with the least errors, looked for behind this process, and the one behind it.

        anywhere: it may have been anywhere at first.
        """
        s, j, first = stem
        stems = [(s, j, start) for start in ({first, *_STARTS} if anywhere else {first})]
        ways = self._begun(sorted(stems))
        costs = np.array(self._costs(fit, ways)).reshape(-1, 2)
        found = []
        for k, cost in enumerate(costs.argmin(axis=0).tolist() if anywhere else (0, 0)):
            found.append(self._climbed(ways[2 * cost + k], (s, j, sorted(stems)[cost][2]), fit))
        return min(found, key=lambda one: one.fit.cost)

    def _begun(self, stems: Sequence[Stem]) -> list[_Way]:
        """As OP is recorded; and so that a stem that slides does not stick where OP rests."""
        return [self._way(stem, goes_on) for stem in stems for goes_on in (False, True)]

    def _way(self, stem: Stem, goes_on: bool) -> _Way:
        valve, further = _Valve(self._op[0] + stem[2] * (stem[0] + stem[1]) / 2.0, stem), 0.0
        op, moved, slides = [], [], []
        for wanted, rests in zip(self._op.tolist(), self._rests.tolist(), strict=True):
            further = further + _HAIR * valve.direction if rests and goes_on and valve.slides else further * rests
            op.append(wanted + further)
            moved.append(valve.step(op[-1]))
            slides.append(valve.slides)
        return _Way(np.array(op), np.array(moved), np.array(slides))

    def _climbed(self, way: _Way, stem: Stem, fit: Fit) -> Slipped:
        """From one way on to others that explain PV better, as long as there are any."""
        for _ in range(_TURNS):
            fit = self._of.behind(way.stem).free(fit.delay, fit.parameters, _ROUGHLY) or replace(fit, cost=inf)
            better = self._better(way, stem, fit) if np.isfinite(fit.cost) else None
            if better is None:
                break
            way = better
        return Slipped(stem, fit, way.stem)

    def _better(self, way: _Way, stem: Stem, fit: Fit) -> _Way | None:
        """With all that explains PV better; None where nothing does."""
        others = self._others(way, stem)
        if not len(others.since):
            return None
        tried, ends = self._tried(way, stem, others)
        cost, *costs = self._costs(fit, [way, *tried])
        gains = cost - np.array(costs)
        chosen = _chosen(gains, others.since, ends)
        while chosen:
            better = way
            for k in chosen:
                part = slice(int(others.since[k]), int(ends[k]))
                better = better.with_part(tried[k].part(part), part)
            if cost - self._costs(fit, [better])[0] >= gains[chosen[0]] / 2.0:
                return better
            chosen = chosen[:len(chosen) // 2]
        return None

    def _costs(self, fit: Fit, ways: Sequence[_Way]) -> list[float]:
        parts = (np.array([way.stem for way in ways[at:at + _AT_ONCE]]) for at in range(0, len(ways), _AT_ONCE))
        return [cost for part in parts for cost in self._of.costs([fit], part)[0].tolist()]

    def _others(self, way: _Way, stem: Stem) -> _Others:
        """Slips that came where the threshold is passed by less than a step, or did not where it is missed by less;
        slides on, or ends of them, where OP rests.
        """
        at = np.arange(1, len(way.op))
        op, before = way.op[at], way.stem[at - 1]
        direction = way.direction
        on, now, slid = direction[at - 1], direction[at], way.slides[at - 1]
        side = np.sign(op - before)
        beyond = np.abs(op - before) - (stem[0] + stem[1]) / 2.0
        slipped = way.slides[at] & ~(slid & (now == on)) & (beyond > 0) & (beyond < self.step)
        missed = ~way.slides[at] & (beyond <= 0) & (beyond > -self.step) & ((now == side) | self._rests[at])
        rests = slid & self._rests[at]
        found = [(at[slipped], -side[slipped] * (beyond[slipped] + _HAIR)),
                 (at[missed], side[missed] * (_HAIR - beyond[missed])),
                 (at[rests], np.where(now == 0, on * _HAIR, way.op[at - 1] - op)[rests])]
        since, higher = (np.concatenate(parts) for parts in zip(*found, strict=True))
        within = np.abs(way.op[since] + higher - self._op[since]) <= self.step
        return _Others(since[within], self._until[since[within]], higher[within])

    def _tried(self, way: _Way, stem: Stem, others: _Others) -> tuple[list[_Way], Integers]:
        """What comes of each, M of them, and (M,) from when on that is no longer another way."""
        op, moved, slides = way.op.tolist(), way.stem.tolist(), way.slides.tolist()
        direction, ends, tried = way.direction.tolist(), [], []
        for since, until, higher in zip(*(part.tolist() for part in (others.since, others.until, others.higher)),
                                        strict=True):
            valve = _Valve(moved[since - 1], stem)
            valve.wanted, valve.direction, valve.slides = op[since - 1], direction[since - 1], slides[since - 1]
            stems, slid = [], []
            for at in range(since, len(op)):
                stems.append(valve.step(op[at] + higher if at < until else op[at]))
                slid.append(valve.slides)
                if at >= until and valve.slides == slides[at] and abs(valve.stem - moved[at]) < 2.0 * self.step:
                    break
            ends.append(since + len(stems))
            part = slice(since, ends[-1])
            tried.append(way.with_part(_Way(way.op[part], np.array(stems), np.array(slid)), part))
            tried[-1].op[since:until] += higher
        return tried, np.array(ends)


class _Valve:
    """One that sticks, as the plant's (`Stiction`), in plain numbers: each way ends where it will."""

    __slots__ = ("_apart", "_trail", "direction", "slides", "stem", "wanted")

    def __init__(self, position: float, stem: Stem) -> None:
        self._apart, self._trail = (stem[0] + stem[1]) / 2.0, (stem[0] - stem[1]) / 2.0
        self.wanted, self.stem, self.direction, self.slides = position, position, 0.0, False

    def step(self, wanted: float) -> float:
        """Where the stem is when the actuator is at `wanted`."""
        way = 1.0 if wanted > self.wanted else -1.0 if wanted < self.wanted else 0.0
        self.slides = way != 0.0 and (abs(wanted - self.stem) > self._apart or (self.slides and way == self.direction))
        if self.slides:
            self.stem = wanted - way * self._trail
        self.wanted, self.direction = wanted, way
        return self.stem


def _chosen(gains: Floats, since: Integers, ends: Integers) -> list[int]:
    """Those that gain, best first, and do not touch each other."""
    chosen: list[int] = []
    for k in np.argsort(-gains).tolist():
        if gains[k] < _TELLS:
            break
        if all(since[k] > ends[other] + _APART or ends[k] + _APART < since[other] for other in chosen):
            chosen.append(k)
    return chosen
