"""S and J of a valve that sticks, with their intervals.

Stems are simulated from OP for many pairs of S and J, and the one from which PV follows with the least errors, through
the process and with the load that go with it, is the valve's (Jelali, 2008): the prediction-error method that is used
for a valve that follows OP. A slip that is missed spoils a whole cycle, so that the likelihood has many peaks: it is
looked at on grids that become finer, and apart for valves that only trail, undershoot, and jump.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from clpm_execd.identification.loop_data import Signals, find_runs
from clpm_execd.identification.pid_regression import SCAN
from clpm_execd.identification.process.prediction_error import MIN_STRETCH_SAMPLES, Fit, PredictionErrorModel
from clpm_execd.identification.thresholds import STICTION as LIMITS
from clpm_execd.identification.valve.stiction import Stem, move_stems
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ProcessSpec

_MOST_JUMP = 1.25  # J, of S
# Grids: factor between sizes, how many on either side, distance between jumps, of S, and how many on either side.
_WIDE = (1.08, 6, 0.2, 6)
_DENSE = (1.012, 14, 0.1, 3)
_FINER = ((1.004, 8, 0.04, 3), (1.0015, 5, 0.02, 3))
_TURNS = 3  # of the dense grid, as long as it finds better valves
_ANY_JUMP = tuple(0.1 * k for k in range(13))  # J, of S
_STARTS = tuple(0.1 * k for k in range(-10, 11))  # of a stem, at the start of the record
_DELAYS = (0.4, 0.55, 0.7, 0.85, 1.0, 1.2, 1.5, 1.9, 2.5)  # of the dead time so far
_FAMILIES = (0.1, 0.35, 0.7, inf)  # of valves, by J up to these shares of S; the first do little but trail
_ROUGHLY = 1.0  # see `least_squares`
_PARTS = 2  # of an interval: when in it a stem slipped is not known
_MOST_SAMPLES = 7200  # two hours at 1 s: more hardly narrows an interval, and costs as much again
_AT_ONCE = 320  # stems: of 7,200 samples they take 18 MB


@dataclass(frozen=True, slots=True)
class StickyValve:
    """How a valve sticks: S and J, % of travel, each value, low, high; and (T,) where its stem was, %.

    J is zero where the record shows no jump, but deadband.
    """

    s: tuple[float, float, float]
    j: tuple[float, float, float]
    stem: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Valve:
    """How a valve might be, and the process that goes with it."""

    stem: Stem
    fit: Fit


def size_stiction(signals: Signals, prior: ProcessSpec, stem: Stem, gain: float) -> StickyValve | None:
    """Return S and J, looked for from a stem on; None where no process explains PV behind it.

    around: the typical process. gain: of the log-likelihood, doubled, by which the valve is known to stick.
    """
    search = _Search(signals, prior)
    families = search.find(stem)
    if not families:
        return None
    best = min(families.values(), key=_cost)
    trailing = families.get(0, best)
    has_jump = best.fit.cost < trailing.fit.cost - LIMITS.jump_gain
    s, j = search.intervals(best if has_jump else trailing, gain)
    positions = _positions(signals, [(best if has_jump else trailing).stem])[0]
    return StickyValve(s, j if has_jump else (0.0, 0.0, j[2]), positions)


def _family(stem: Stem) -> int:
    return next(k for k, most in enumerate(_FAMILIES) if stem[1] < most * stem[0])


def _cost(valve: _Valve) -> float:
    return valve.fit.cost


class _Search:
    """The best valve of each family so far, by its number."""

    def __init__(self, signals: Signals, prior: ProcessSpec) -> None:
        self._signals = signals.part(slice(0, _MOST_SAMPLES))
        self._prediction = PredictionErrorModel(self._signals, prior, parts=_PARTS)
        self._families: dict[int, _Valve] = {}

    def find(self, stem: Stem) -> dict[int, _Valve]:
        """Return the best valve of each family, looked for from a stem on; none where no process explains PV."""
        pem = self._prediction
        position = _positions(self._signals, [stem])[0]
        with_input = pem.with_input(position)
        fits = [fit for start in pem.initial_values
                if (fit := with_input.fit(pem.expected_dead_time, start)) is not None] if pem.stretches else []
        if not fits:
            return {}
        pem.scale = min(fits, key=lambda fit: fit.cost).sigma
        guesses = [self._refit(min(fits, key=lambda fit: fit.cost), position)]
        if (prior_mean := pem.evaluate(pem.expected_dead_time,
                                 pem.initial_values[1])) is not None:  # that may tell better which stem is right
            guesses.append(prior_mean)
        self._look(guesses, [(s, j, start) for s, j, _ in _around(stem, *_WIDE) for start in (-1.0, 0.0, 1.0)])
        for turn in range(_TURNS):
            before, others = self._best().fit.cost, guesses[1:] if turn == 0 else []
            for valve in [*self._families.values()]:
                self._look([valve.fit, *others], _around(valve.stem, *_DENSE))
            stem = self._best().stem
            initial_values = [(stem[0], jump * stem[0], start) for jump in _ANY_JUMP for start in _STARTS]
            self._look([self._best().fit, *others], initial_values)
            if self._best().fit.cost > before - LIMITS.likely:
                break
        for grid in _FINER:
            for valve in {self._best(), self._families.get(0, self._best())}:
                self._look([valve.fit], _around(valve.stem, *grid))
        return self._families

    def intervals(self, best: _Valve, gain: float) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Return S and J with intervals that hold all pairs that are about as likely.

        OP is rounded, so that a slip may come a sample late or early by any pair, the true one too: the more of PV
        sticking explains, the more of it that costs.
        """
        stems = [*_around(best.stem, *_DENSE), *_around(best.stem, *_FINER[0])]
        within = best.fit.cost + max(LIMITS.likely, LIMITS.likely_share * gain)
        costs = np.concatenate([self._prediction.costs(best.fit, part) for part in self._parts(stems)])
        likely = np.array([best.stem, *(stems[k] for k in np.flatnonzero(costs < within))])
        # OP turned somewhere between two samples of a record that does not have all scans.
        moves = np.diff(self._signals.op)
        unseen = float(np.sqrt(np.nanmean(moves**2))) if self._signals.interval > SCAN else 0.0
        s, j = ((value, max(min(float(pem.min()), value - least * best.stem[0]) - unseen, 0.0),
                 max(float(pem.max()), value + least * best.stem[0]) + unseen)
                for value, pem, least in zip(best.stem, likely.T, LIMITS.least_interval_shares, strict=False))
        return s, j

    def _best(self) -> _Valve:
        return min(self._families.values(), key=_cost)

    def _look(self, guesses: Sequence[Fit], stems: Sequence[Stem]) -> None:
        """Keep the best of each family of these stems, by each guess of the process, with its own process."""
        families = np.array([_family(stem) for stem in stems])
        positions = [*self._parts(stems)]
        for guess in guesses:
            costs = np.concatenate([self._prediction.costs(guess, part) for part in positions])
            for family in np.unique(families).tolist():
                k = int(np.where(families == family, costs, inf).argmin())
                valve = _Valve(stems[k], self._refit(guess, positions[k // _AT_ONCE][k % _AT_ONCE]))
                known = self._families.get(family)
                if np.isfinite(valve.fit.cost) and (known is None or valve.fit.cost < known.fit.cost):
                    self._families[family] = valve

    def _parts(self, stems: Sequence[Stem]) -> Iterator[Floats]:
        for at in range(0, len(stems), _AT_ONCE):
            yield _positions(self._signals, stems[at:at + _AT_ONCE])

    def _refit(self, fit: Fit, position: Floats) -> Fit:
        """Return the process that goes best with a stem there, (T,), looked for from this one on."""
        prediction = self._prediction.with_input(position)
        delays = fit.delay * np.array(_DELAYS)
        delay = min(delays.tolist(), key=lambda delay: float(np.sum(prediction.errors(delay, fit.parameters)**2)))
        return prediction.fit_with_dead_time(delay, fit.parameters, _ROUGHLY) or replace(fit, cost=inf)


def _positions(signals: Signals, stems: Sequence[Stem]) -> Floats:
    """Return (M, T) where the stems of M valves are that OP moves; after a gap where they were, or as near as can be.
    """
    positions, last = np.repeat(signals.op[None, :], len(stems), axis=0), None
    for stretch in find_runs(signals.complete, MIN_STRETCH_SAMPLES):
        positions[:, stretch] = move_stems(signals.op[stretch], stems, last).T
        last = positions[:, stretch.stop - 1]
    return positions


def _around(stem: Stem, factor: float, sizes: int, jump: float, jumps: int) -> list[Stem]:
    """Return the stems around one: S by factors, J by shares of S."""
    s, share, start = stem[0], stem[1] / stem[0], stem[2]
    shares = sorted({min(max(share + k * jump, 0.0), _MOST_JUMP) for k in range(-jumps, jumps + 1)})
    return [(size, part * size, start) for size in (s * factor**k for k in range(-sizes, sizes + 1))
            for part in shares]
