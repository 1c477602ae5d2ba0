"""Estimates of S and J of a sticking valve with their confidence intervals.

Stem positions are simulated from OP for many pairs of S and J. The estimate is the pair whose stem predicts PV with the
smallest errors, together with the process and the load that are fitted to it (Jelali, 2008), by the prediction-error
method that is used for a valve that follows OP. One missed slip changes a whole cycle, so that the likelihood has many
maxima: it is evaluated on successively finer grids, separately for families of valves by their ratio of J to S.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from clpm_execd.identification.closed_loop.pid_regression import SCAN
from clpm_execd.identification.loop_data import Signals, find_runs
from clpm_execd.identification.process.prediction_error import MIN_STRETCH_SAMPLES, Fit, PredictionErrorModel
from clpm_execd.identification.thresholds import STICTION as LIMITS
from clpm_execd.identification.valve.stiction import Stem, move_stems
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ProcessSpec

_MAX_JUMP = 1.25  # of J / S
# Grids: factor between values of S, their number on either side, step of J / S, and number of steps on either side.
_WIDE_GRID = (1.08, 6, 0.2, 6)
_DENSE_GRID = (1.012, 14, 0.1, 3)
_FINE_GRIDS = ((1.004, 8, 0.04, 3), (1.0015, 5, 0.02, 3))
_MAX_REFINEMENTS = 3  # of the dense grid, while it improves the estimate
_JUMPS = tuple(0.1 * k for k in range(13))  # J / S
_STARTS = tuple(0.1 * k for k in range(-10, 11))  # initial distance of a stem from OP, -1 to 1 of the largest
_DEAD_TIME_FACTORS = (0.4, 0.55, 0.7, 0.85, 1.0, 1.2, 1.5, 1.9, 2.5)  # of the current dead time
_FAMILY_BOUNDS = (0.1, 0.35, 0.7, inf)  # upper bounds of J / S; the first family is like deadband
_COARSE_GAIN_2LOGL = 1.0  # ends a search early; see `least_squares`
_MAX_SCANS = 2  # in an interval: the time of a slip within it is unknown anyway
_MAX_SAMPLES = 7200  # two hours at 1 s: more hardly narrows an interval, and costs as much again
_BATCH_STEMS = 320  # stems: of 7,200 samples they take 18 MB


@dataclass(frozen=True, slots=True)
class StickyValve:
    """A sticking valve: S and J, % of travel, each as value and interval, and the stem position (T,), %.

    J is zero where the record shows deadband without a slip jump.
    """

    s: tuple[float, float, float]
    j: tuple[float, float, float]
    stem: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """A candidate valve, and the process fitted to its stem."""

    stem: Stem
    fit: Fit


def size_stiction(signals: Signals, prior: ProcessSpec, stem: Stem, gain: float) -> StickyValve | None:
    """Return S and J from the initial values of `stem`; None where no process explains PV with that stem.

    prior: the typical process. gain: improvement of Schwarz's criterion by the detected stiction.
    """
    search = _Search(signals, prior)
    families = search.find(stem)
    if not families:
        return None
    best = min(families.values(), key=_cost)
    deadband_like = families.get(0, best)
    has_jump = best.fit.cost < deadband_like.fit.cost - LIMITS.jump_gain
    s, j = search.intervals(best if has_jump else deadband_like, gain)
    positions = _simulate_stems(signals, [(best if has_jump else deadband_like).stem])[0]
    return StickyValve(s, j if has_jump else (0.0, 0.0, j[2]), positions)


def _family(stem: Stem) -> int:
    return next(k for k, bound in enumerate(_FAMILY_BOUNDS) if stem[1] < bound * stem[0])


def _cost(candidate: _Candidate) -> float:
    return candidate.fit.cost


class _Search:
    """The search for the best valve of each family."""

    def __init__(self, signals: Signals, prior: ProcessSpec) -> None:
        self._signals = signals.part(slice(0, _MAX_SAMPLES))
        self._model = PredictionErrorModel(self._signals, prior, parts=_MAX_SCANS)
        self._families: dict[int, _Candidate] = {}

    def find(self, stem: Stem) -> dict[int, _Candidate]:
        """Return the best valve by family number, from the initial values of `stem`; none where no process fits PV."""
        pem = self._model
        position = _simulate_stems(self._signals, [stem])[0]
        driven_by_stem = pem.with_input(position)
        fits = [fit for start in pem.initial_values
                if (fit := driven_by_stem.fit(start)) is not None] if pem.stretches else []
        if not fits:
            return {}
        pem.scale = min(fits, key=lambda fit: fit.cost).sigma
        initial_fits = [self._refit(min(fits, key=lambda fit: fit.cost), position)]
        # The typical process may discriminate between stems better than one fitted to a wrong stem.
        if (typical_fit := pem.evaluate(pem.initial_values[1])) is not None:
            initial_fits.append(typical_fit)
        self._evaluate_grid(initial_fits,
                            [(s, j, start) for s, j, _ in _make_grid(stem, *_WIDE_GRID) for start in (-1.0, 0.0, 1.0)])
        for turn in range(_MAX_REFINEMENTS):
            before, other_fits = self._best().fit.cost, initial_fits[1:] if turn == 0 else []
            for candidate in [*self._families.values()]:
                self._evaluate_grid([candidate.fit, *other_fits], _make_grid(candidate.stem, *_DENSE_GRID))
            stem = self._best().stem
            initial_values = [(stem[0], jump * stem[0], start) for jump in _JUMPS for start in _STARTS]
            self._evaluate_grid([self._best().fit, *other_fits], initial_values)
            if self._best().fit.cost > before - LIMITS.likelihood_drop:
                break
        for grid in _FINE_GRIDS:
            for candidate in {self._best(), self._families.get(0, self._best())}:
                self._evaluate_grid([candidate.fit], _make_grid(candidate.stem, *grid))
        return self._families

    def intervals(self, best: _Candidate, gain: float) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Return S and J with intervals that contain all pairs of nearly the same likelihood.

        The rounding of OP can shift a slip by a sample even for the true pair, which costs the more likelihood the more
        of PV stiction explains: the permitted drop grows with `gain`.
        """
        stems = [*_make_grid(best.stem, *_DENSE_GRID), *_make_grid(best.stem, *_FINE_GRIDS[0])]
        max_cost = best.fit.cost + max(LIMITS.likelihood_drop, LIMITS.likelihood_drop_share * gain)
        costs = np.concatenate([self._model.costs(best.fit, part) for part in self._position_batches(stems)])
        likely_stems = np.array([best.stem, *(stems[k] for k in np.flatnonzero(costs < max_cost))])
        # OP reverses at an unknown time between two samples of a record that does not have every scan.
        moves = np.diff(self._signals.op)
        intersample_travel = float(np.sqrt(np.nanmean(moves**2))) if self._signals.interval > SCAN else 0.0
        s, j = ((value, max(min(float(values.min()), value - min_share * best.stem[0]) - intersample_travel, 0.0),
                 max(float(values.max()), value + min_share * best.stem[0]) + intersample_travel)
                for value, values,
                min_share in zip(best.stem, likely_stems.T, LIMITS.min_interval_shares, strict=False))
        return s, j

    def _best(self) -> _Candidate:
        return min(self._families.values(), key=_cost)

    def _evaluate_grid(self, initial_fits: Sequence[Fit], stems: Sequence[Stem]) -> None:
        """Keep the best valve of each family among these stems, with its process refitted from each initial fit."""
        families = np.array([_family(stem) for stem in stems])
        positions = [*self._position_batches(stems)]
        for initial_fit in initial_fits:
            costs = np.concatenate([self._model.costs(initial_fit, part) for part in positions])
            for family in np.unique(families).tolist():
                k = int(np.where(families == family, costs, inf).argmin())
                candidate = _Candidate(stems[k],
                                       self._refit(initial_fit, positions[k // _BATCH_STEMS][k % _BATCH_STEMS]))
                best_so_far = self._families.get(family)
                if np.isfinite(candidate.fit.cost) and (best_so_far is None
                                                        or candidate.fit.cost < best_so_far.fit.cost):
                    self._families[family] = candidate

    def _position_batches(self, stems: Sequence[Stem]) -> Iterator[Floats]:
        for at in range(0, len(stems), _BATCH_STEMS):
            yield _simulate_stems(self._signals, stems[at:at + _BATCH_STEMS])

    def _refit(self, fit: Fit, position: Floats) -> Fit:
        """Return the process refitted to a stem position, (T,), from the initial values of a fit."""
        model, starts = self._model.with_input(position), np.tile(fit.parameters, (len(_DEAD_TIME_FACTORS), 1))
        starts[:, model.lags] += np.log(_DEAD_TIME_FACTORS)
        start = min(starts, key=lambda start: float(np.sum(model.errors(start)**2)))
        return model.fit(start, _COARSE_GAIN_2LOGL) or replace(fit, cost=inf)


def _simulate_stems(signals: Signals, stems: Sequence[Stem]) -> Floats:
    """Return the stem positions (M, T) of M valves driven by OP, %; they are kept across gaps as far as OP permits."""
    positions, last = np.repeat(signals.op[None, :], len(stems), axis=0), None
    for stretch in find_runs(signals.complete, MIN_STRETCH_SAMPLES):
        positions[:, stretch] = move_stems(signals.op[stretch], stems, last).T
        last = positions[:, stretch.stop - 1]
    return positions


def _make_grid(stem: Stem, factor: float, sizes: int, jump: float, jumps: int) -> list[Stem]:
    """Return a grid of stems around one, geometric in S and linear in J / S."""
    s, share, start = stem[0], stem[1] / stem[0], stem[2]
    shares = sorted({min(max(share + k * jump, 0.0), _MAX_JUMP) for k in range(-jumps, jumps + 1)})
    return [(size, part * size, start) for size in (s * factor**k for k in range(-sizes, sizes + 1))
            for part in shares]
