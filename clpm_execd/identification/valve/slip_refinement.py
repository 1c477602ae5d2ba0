"""Where the stem of a sticky valve was, though OP is recorded in steps.

A stem slips where OP crosses a threshold, and slides on while OP moves one way. What rounding hides of OP is a step at
most, yet it leaves open at which of two samples a stem slipped, and whether it stuck where OP seems to rest: and one
slip that is missed spoils a whole cycle. So wherever a stem may as well have done otherwise it is tried what PV says of
that, all such at once, each for as long as it makes a difference; and so are other places where it may have been at
first, which nothing records. Those that explain PV better, and do not touch each other, are taken together, and the
next are looked for behind the process that then errs least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
import numpy.typing as npt

from clpm_execd.identification.loop_data import Booleans
from clpm_execd.identification.process.prediction_error import Fit, Prediction
from clpm_execd.plant.block import Floats

# S and J, % of travel, and how far the stem is from OP at first, of as far as it can be.
Stem = tuple[float, float, float]
Integers = npt.NDArray[np.int64]
_Listed = tuple[list[float], list[float], list[bool]]

MOST_JUMP = 1.25  # J, of S
_HAIR = 1e-7  # %: by so much OP is beyond a threshold, or moves on
_TURNS = 12
TELLS = 2.0  # of the errors' log-likelihood, doubled: what explains PV better by less is left as it is
_APART = 3  # samples between two that do not touch each other
_AT_ONCE = 256  # stems
_STUCK = 256  # samples that are looked at together of a stem that has not moved for a while
_STILL = 40  # such a while
_MOST = 400  # ways that are tried at a turn
_ROUGHLY = 1.0  # see `Prediction.free`
_BESIDE = tuple(side * 0.001 * 2.0**k for k in range(10) for side in (-1.0, 1.0))  # starts of a stem, see `Stem`


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
        return np.append(0.0, np.sign(np.diff(self.op)))

    def with_part(self, other: _Other) -> _Way:
        """The same, but for a while another."""
        way = _Way(self.op.copy(), self.stem.copy(), self.slides.copy())
        where = slice(other.since, other.end)
        way.op[where], way.stem[where], way.slides[where] = other.way.op, other.way.stem, other.way.slides
        return way

    def listed(self) -> _Listed:
        """Plain numbers, which are read one by one."""
        return self.op.tolist(), self.stem.tolist(), self.slides.tolist()


@dataclass(frozen=True, slots=True)
class _Other:
    """Another way for a while: from a sample on, until it makes no difference any more."""

    since: int
    way: _Way

    @property
    def end(self) -> int:
        return self.since + len(self.way.op)


class Slips:
    """For the stems of valves that OP, (T,), moves, recorded in steps of so many %."""

    def __init__(self, prediction: Prediction, op: Floats, step: float) -> None:
        self._of, self.step = prediction, step
        known = np.flatnonzero(np.isfinite(op))
        op = op[known[np.maximum(np.searchsorted(known, np.arange(len(op)), side="right") - 1, 0)]]  # it holds in a gap
        self._op = op
        self._rests = np.append(False, op[1:] == op[:-1])
        ends = np.where(np.append(self._rests[1:], False), len(op), np.arange(1, len(op) + 1))
        self._until = np.minimum.accumulate(ends[::-1])[::-1]  # OP has the value of each sample

    def likeliest(self, stem: Stem, fit: Fit) -> Slipped:
        """The stem from which PV follows with the least errors, looked for behind this process, and the one behind it.

        It is begun with OP as recorded, or so that a stem that slides does not stick where OP rests, whichever explains
        PV better.
        """
        ways = [self._way(stem, goes_on) for goes_on in (False, True)]
        return self._climbed(min(ways, key=lambda way: self._cost(fit, way)), stem, fit)

    def moved(self, known: Slipped, s: float, j: float) -> Stem:
        """Another S and J, and at first so far from OP that its first slip comes as that of the one that is known."""
        apart, further = (known.stem[0] + known.stem[1]) / 2.0, (s + j - known.stem[0] - known.stem[1]) / 2.0
        moves = np.diff(known.position)
        way = float(np.sign(moves[np.argmax(np.abs(moves) > _HAIR)]))
        return s, j, min(max((known.stem[2] * apart - way * further) / ((s + j) / 2.0), -1.0), 1.0)

    def _way(self, stem: Stem, goes_on: bool) -> _Way:
        valve, further, at = _Valve(self._op[0] + stem[2] * (stem[0] + stem[1]) / 2.0, stem), 0.0, 0
        op, moved, slides = list[float](), list[float](), list[bool]()
        recorded, rests = self._op.tolist(), self._rests.tolist()
        while at < len(recorded):
            if valve.still >= _STILL:
                stays = _stays(np.abs(self._op[at:at + _STUCK] - valve.stem) > valve.apart)
                if stays:
                    op += recorded[at:at + stays]
                    moved += [valve.stem] * stays
                    slides += [False] * stays
                    at, valve.wanted, further = at + stays, op[-1], 0.0
                    continue
            goes = rests[at] and goes_on and valve.slides
            further = further + _HAIR * valve.direction if goes else further * rests[at]
            op.append(recorded[at] + further)
            moved.append(valve.step(op[-1]))
            slides.append(valve.slides)
            at += 1
        return _Way(np.array(op), np.array(moved), np.array(slides))

    def _climbed(self, way: _Way, stem: Stem, fit: Fit) -> Slipped:
        """From one way on to others that explain PV better, as long as there are any."""
        for _ in range(_TURNS):
            fit = self._of.behind(way.stem).free(fit.delay, fit.parameters, _ROUGHLY) or replace(fit, cost=inf)
            if not np.isfinite(fit.cost):
                break
            better = self._better(way, fit, self._tried(way, stem))
            if better is None:
                break
            way = better
        return Slipped((*stem[:2], self._start(way, stem)), fit, way.stem)

    def _better(self, way: _Way, fit: Fit, others: Sequence[_Other]) -> _Way | None:
        """With all of the others that explain PV better; None where none does."""
        if not others:
            return None
        cost = self._cost(fit, way)
        gains = np.concatenate([cost - self._costs(fit, way, others[at:at + _AT_ONCE])
                                for at in range(0, len(others), _AT_ONCE)])
        chosen = _chosen(gains, others)
        while chosen:
            better = way
            for k in chosen:
                better = better.with_part(others[k])
            if cost - self._cost(fit, better) >= gains[chosen[0]] / 2.0:
                return better
            chosen = chosen[:len(chosen) // 2]
        return None

    def _cost(self, fit: Fit, way: _Way) -> float:
        return float(self._of.costs([fit], way.stem[None])[0, 0])

    def _costs(self, fit: Fit, way: _Way, others: Sequence[_Other]) -> Floats:
        stems = np.repeat(way.stem[None], len(others), axis=0)
        for stem, other in zip(stems, others, strict=True):
            stem[other.since:other.end] = other.way.stem
        return np.asarray(self._of.costs([fit], stems)[0])

    def _hidden(self, way: _Way, stem: Stem) -> tuple[Integers, Floats]:
        """From when on OP may as well have been higher, and by how much, so that the stem does otherwise; the least.

        Slips that came where the threshold is passed by less than a step, or did not where it is missed by less; slides
        on, or ends of them, where OP rests.
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
        within = np.flatnonzero(np.abs(way.op[since] + higher - self._op[since]) <= self.step)
        least = within[np.argsort(np.abs(higher[within]), kind="stable")[:_MOST]]
        return since[least], higher[least]

    def _start(self, way: _Way, stem: Stem) -> float:
        return float(way.stem[0] - way.op[0]) / max((stem[0] + stem[1]) / 2.0, _HAIR)

    def _begun(self, way: _Way, stem: Stem, listed: _Listed) -> list[_Other]:
        """What comes of other starts of the stem: its first slip is larger or smaller, sooner or later."""
        apart, start, gone = (stem[0] + stem[1]) / 2.0, self._start(way, stem), dict[int, _Way]()
        tried = []
        for begun in sorted({min(max(start + by, -1.0), 1.0) for by in _BESIDE}):
            first = float(way.op[0]) + begun * apart
            since = int((np.abs(way.op - first) > apart + _HAIR).argmax())
            if since < 1:
                continue
            if since not in gone:
                valve = self._valve(way, stem, since)
                valve.stem, valve.slides = first, False
                gone[since] = self._gone(way, listed, valve, since, 0.0).way
            later = gone[since]
            tried.append(_Other(0, _Way(np.concatenate([way.op[:since], later.op]),
                                        np.concatenate([np.full(since, first), later.stem]),
                                        np.concatenate([np.zeros(since, dtype=bool), later.slides]))))
        return tried

    def _valve(self, way: _Way, stem: Stem, at: int) -> _Valve:
        """One as it was just before a sample."""
        valve = _Valve(float(way.stem[at - 1]), stem)
        valve.wanted, valve.slides = float(way.op[at - 1]), bool(way.slides[at - 1])
        valve.direction = float(np.sign(way.op[at - 1] - way.op[at - 2])) if at > 1 else 0.0
        return valve

    def _tried(self, way: _Way, stem: Stem) -> list[_Other]:
        """What comes of each that rounding may hide, and of other starts."""
        since, higher = self._hidden(way, stem)
        listed = way.listed()
        tried = self._begun(way, stem, listed)
        for at, by in zip(since.tolist(), higher.tolist(), strict=True):
            tried.append(self._gone(way, listed, self._valve(way, stem, at), at, by))
        return tried

    def _gone(self, known: _Way, listed: _Listed, valve: _Valve, since: int, higher: float) -> _Other:
        """What a valve goes through until it is where it is known to be."""
        op, moved, slid = listed
        until, near, at = int(self._until[since]), 2.0 * self.step, since
        wanted, stems, slides = list[float](), list[float](), list[bool]()
        while at < len(op):
            if at >= until and valve.still >= _STILL:
                some = slice(at, at + _STUCK)
                there = np.abs(known.op[some] - valve.stem) > valve.apart
                there |= ~known.slides[some] & (np.abs(known.stem[some] - valve.stem) <= near)
                stays = _stays(there)
                if stays:
                    wanted += op[at:at + stays]
                    stems += [valve.stem] * stays
                    slides += [False] * stays
                    at, valve.wanted = at + stays, wanted[-1]
                    continue
            wanted.append(op[at] + higher if at < until else op[at])
            stems.append(valve.step(wanted[-1]))
            slides.append(valve.slides)
            if at >= until and slides[-1] == slid[at] and abs(stems[-1] - moved[at]) <= near:
                break
            at += 1
        return _Other(since, _Way(np.array(wanted), np.array(stems), np.array(slides)))


class _Valve:
    """One that sticks, as the plant's (`Stiction`), in plain numbers: each way ends where it will."""

    __slots__ = ("_trail", "apart", "direction", "slides", "stem", "still", "wanted")

    def __init__(self, position: float, stem: Stem) -> None:
        self.apart, self._trail = (stem[0] + stem[1]) / 2.0, (stem[0] - stem[1]) / 2.0
        self.wanted, self.stem, self.direction, self.slides = position, position, 0.0, False
        self.still = 0  # samples for which it has not moved

    def step(self, wanted: float) -> float:
        """Where the stem is when the actuator is at `wanted`."""
        way = 1.0 if wanted > self.wanted else -1.0 if wanted < self.wanted else 0.0
        self.slides = way != 0.0 and (abs(wanted - self.stem) > self.apart or (self.slides and way == self.direction))
        self.still += 1
        if self.slides:
            self.stem, self.still = wanted - way * self._trail, 0
        self.wanted, self.direction = wanted, way
        return self.stem


def _stays(ends: Booleans) -> int:
    """For how many samples nothing ends that a stem does not move."""
    first = int(ends.argmax()) if len(ends) else 0
    return first if len(ends) and ends[first] else len(ends)


def _chosen(gains: Floats, others: Sequence[_Other]) -> list[int]:
    """Those that gain, best first, and do not touch each other."""
    chosen: list[int] = []
    for k in np.argsort(-gains).tolist():
        if gains[k] < TELLS:
            break
        if all(others[k].since > others[one].end + _APART or others[k].end + _APART < others[one].since
               for one in chosen):
            chosen.append(k)
    return chosen
