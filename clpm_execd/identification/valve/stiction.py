"""Detection of valve stiction from OP and PV, its distinction from an external oscillation, and estimates of S and J.

Three hypotheses are compared by one likelihood, that of the process fit: PV follows OP; PV follows OP, with a periodic
load; PV follows a stem that OP moves by Choudhury's stiction model (Choudhury, Thornhill and Shah, 2005), as in the
Hammerstein methods of Srinivasan et al. (2005) and Jelali (2008). Each has the process model that suits it best: with a
process of first order, the slips of a valve in front of a level are hidden. In each PV follows SP as well: a controller
that is faster than the samples moves PV with SP, which a stem that slips by chance at that time would explain
otherwise. Schwarz's criterion (1978) compares them over the whole wave, and Vuong's test (1989) whether the gain is
beyond chance.

The fit of a sticking valve is the pair of S and J whose stem predicts PV with the smallest errors, together with the
process and the load that are fitted to it. One missed slip changes a whole cycle, so that the likelihood has many
maxima: it is evaluated on successively finer grids, separately for valves with and without a slip jump.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf, log

import numpy as np

from clpm_execd.identification.closed_loop.pid_regression import SCAN, long_run_covariance
from clpm_execd.identification.loop_data import Signals, find_runs
from clpm_execd.identification.oscillation import refine_frequency
from clpm_execd.identification.process.prediction_error import MIN_STRETCH_SAMPLES, Fit, PredictionErrorModel
from clpm_execd.identification.process.process_law import best_fit, criterion, find_fit
from clpm_execd.identification.thresholds import STICTION as LIMITS
from clpm_execd.plant.block import Floats
from clpm_execd.plant.faults.valve import Stiction
from clpm_execd.plant.specs import ProcessSpec

Stem = tuple[float, float, float]  # S and J, % of travel, and initial distance from OP, -1 to 1 of the largest
Steps = tuple[float, int]  # of a grid: their size, and their number on either side

_SIZES = tuple(0.2 * 1.15**k for k in range(12))  # S / range of OP, from a following to a resting stem
_COARSE_JUMPS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.2)  # J / S
_MAX_JUMP = 1.25  # of J / S
# Grids: the factor between values of S, the step of J / S and that of the start, each with the number on either side.
_WIDE_GRID = (1.08, 6), (0.2, 6), (0.0, 0)
_SEARCH_GRID = (1.01, 24), (0.1, 12), (0.0, 0)  # The likelihood is a valley of S that may be 0.2 % wide.
_JUMP_GRID = (1.004, 2), (0.1, 12), (0.2, 5)  # Where J is about S another start shifts all slips.
_FINE_GRIDS = ((1.004, 8), (0.04, 3), (0.0, 0)), ((1.0015, 5), (0.02, 3), (0.1, 1))
# Along the valley of S the likelihood may hardly depend on J, as a larger process gain makes up for a smaller jump.
_INTERVAL_GRIDS = ((1.012, 14), (0.1, 3), (0.0, 0)), ((1.004, 4), (0.1, 12), (0.0, 0)), _FINE_GRIDS[0]
_MAX_REFINEMENTS = 3
_DEAD_TIME_FACTORS = (0.4, 0.55, 0.7, 0.85, 1.0, 1.2, 1.5, 1.9, 2.5)  # of the current dead time
_COARSE_GAIN_2LOGL = 1.0  # ends a search early; see `least_squares`
# Several S and J can move a stem alike. Their costs differ in the last digits, which the unit of OP changes: the first,
# of the smallest S, is taken.
_SAME_2LOGL = 1e-6
_WITHIN_BAND = 1.0 - 1e-9  # of the band in which a stem rests: at its edge the last digits decide whether it slips
_STEM_PARAMETERS = 3  # S, J and the initial distance
_MAX_SCANS = 2  # in an interval: the time of a slip within it is unknown anyway
# Scans in an interval, at which slips are located: with 1 or 3 of them J is within 25 % of S in 15
# and 19 of 28 loops, with 5 in 22.
_MAX_SLIP_SCANS = 5
_MAX_SAMPLES = 7200  # two hours at 1 s: more hardly narrows an interval, and costs as much again
_BATCH_STEMS = 320  # stems: of 7,200 samples they take 18 MB


@dataclass(frozen=True, slots=True, eq=False)
class Valve:
    """A candidate valve, and the process fitted to its stem."""

    stem: Stem
    fit: Fit


@dataclass(frozen=True, slots=True)
class StictionTest:
    """The comparison of three hypotheses: PV follows OP, OP with a periodic load, or a sticking valve.

    log_likelihoods, bics: of the three. z: Vuong's statistic of the third against the better of the others. rest: S /
    range of OP. sense: sign of the response of PV to the stem. search: the valves that were fitted.
    """

    log_likelihoods: tuple[float, float, float]
    bics: tuple[float, float, float]
    z: float
    rest: float
    sense: float
    search: ValveSearch

    @property
    def gain(self) -> float:
        """The improvement of Schwarz's criterion by stiction."""
        return min(self.bics[:2]) - self.bics[2]

    def shows_stiction(self, sense: float) -> bool:
        """Return whether no other hypothesis explains PV as well. sense: sign of the process gain, 0 if unknown."""
        is_significant = self.z > LIMITS.min_z or LIMITS.rest_shares[0] <= self.rest <= LIMITS.rest_shares[1]
        return self.gain > LIMITS.gain and is_significant and self.sense * sense >= 0.0


@dataclass(frozen=True, slots=True)
class StickyValve:
    """A sticking valve: S and J, % of travel, each as value and interval, and the stem position (T,), %.

    J is zero where the record shows deadband without a slip jump.
    """

    s: tuple[float, float, float]
    j: tuple[float, float, float]
    stem: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Stems of valves, and their positions in a record in batches, (M, T) each, %."""

    stems: list[Stem]
    batches: list[Floats]

    @classmethod
    def of(cls, signals: Signals, stems: list[Stem], scans: int = 1) -> _Grid:
        return cls(stems, [*_simulate_batches(signals, stems, scans)])


@dataclass(frozen=True, slots=True, eq=False)
class _Explanation:
    """A hypothesis with the process that suits it best: the cost of the fit, Schwarz's criterion, and the errors (n,).

    search: the valves that were fitted, where one sticks.
    """

    cost: float
    bic: float
    errors: Floats
    search: ValveSearch | None = None


def find_stiction(signals: Signals, priors: Iterable[ProcessSpec]) -> StictionTest | None:
    """Return the comparison of the hypotheses; None where PV or OP rest.

    priors: typical processes of different models, of which each hypothesis has the one that suits it best.
    """
    part = signals.part(slice(0, _MAX_SAMPLES))
    op = part.op[part.complete]
    width = float(np.quantile(op, 0.98) - np.quantile(op, 0.02)) if len(op) else 0.0
    if width <= LIMITS.min_range_percent:
        return None
    coarse = _Grid.of(part, [(size * width, jump * size * width, start) for size in _SIZES for jump in _COARSE_JUMPS
                             for start in (-1.0, 0.0, 1.0)])
    of_models = [explanations for prior in priors if (explanations := _explain(part, prior, coarse)) is not None]
    if not of_models:
        return None
    follows, driven, sticks = (min(rivals, key=lambda one: one.bic) for rivals in zip(*of_models, strict=True))
    rival, search = min((follows, driven), key=lambda one: one.bic), sticks.search
    if search is None:
        return None
    return StictionTest((-follows.cost / 2.0, -driven.cost / 2.0, -sticks.cost / 2.0),
                        (follows.bic, driven.bic, sticks.bic), _vuong(rival.errors, sticks.errors),
                        search.best.stem[0] / width, float(np.sign(search.best.fit.gain)), search)


def _explain(signals: Signals, prior: ProcessSpec, coarse: _Grid
             ) -> tuple[_Explanation, _Explanation, _Explanation] | None:
    """Return the three hypotheses with the process model of the prior; None where PV or OP rest. coarse: see `find`."""
    model = PredictionErrorModel(signals, prior, parts=_MAX_SCANS, beside_sp=True)
    fit = find_fit(model) if model.stretches else None
    if fit is None:
        return None
    follows = _Explanation(fit.cost, criterion(model, fit), model.errors(fit.parameters))
    driven_model = PredictionErrorModel(signals, prior, signals.interval / _find_line(follows.errors),
                                        parts=_MAX_SCANS, beside_sp=True)
    driven_model.scale = model.scale
    best = best_fit(driven_model.fit(start) for start in (fit.parameters, model.initial_values[1]))
    driven = (_Explanation(inf, inf, follows.errors) if best is None else
              _Explanation(best.cost, criterion(driven_model, best), driven_model.errors(best.parameters)))
    search = ValveSearch(signals, model)
    if not search.find(fit, coarse):
        return None
    stem = _simulate_stems(signals, [search.best.stem], 1)[0, :, 0]
    errors = model.with_input(stem).errors(search.best.fit.parameters)
    bic = criterion(model, search.best.fit) + _STEM_PARAMETERS * log(model.samples)
    return follows, driven, _Explanation(search.best.fit.cost, bic, errors, search)


def _find_line(errors: Floats) -> float:
    """Return the frequency of the tallest line in residuals, cycles per sample."""
    power = np.abs(np.fft.rfft(errors)) ** 2
    power[:LIMITS.min_periods] = 0.0
    return refine_frequency(errors, int(np.argmax(power)) / len(errors))


class ValveSearch:
    """The search for the valves with and without a slip jump whose stems explain PV best."""

    def __init__(self, signals: Signals, model: PredictionErrorModel, scans: int = 1) -> None:
        self._signals, self._model, self._scans = signals, model, scans
        self._valves: dict[bool, Valve] = {}  # by whether they have a slip jump

    @property
    def best(self) -> Valve:
        """The best of all valves."""
        return min(self._valves.values(), key=lambda valve: valve.fit.cost)

    def find(self, follows: Fit, coarse: _Grid) -> bool:
        """Search, and return whether there is a valve. coarse: the stems with which it begins, the smallest S first.

        It starts from the process of a valve that follows OP, and from the typical one, which no wrong stem deforms.
        """
        typical = self._model.evaluate(self._model.initial_values[1])
        self._evaluate_grid([follows] if typical is None else [follows, typical], coarse)
        if not self._valves:
            return False
        self._evaluate_grid([self.best.fit], coarse)
        # A stem that follows OP more closely than the smallest S would explain any error of the model.
        self._evaluate([self.best.fit], [stem for stem in _make_grid(self.best.stem, *_WIDE_GRID)
                                         if stem[0] >= coarse.stems[0][0]])
        return True

    def size(self, signals: Signals, gain: float, has_limit_cycle: bool) -> StickyValve:
        """Return S and J of the best valve, and its stem in the whole record.

        gain: of Schwarz's criterion by stiction.
        """
        scans = min(round(signals.interval / SCAN), _MAX_SLIP_SCANS)
        search = ValveSearch(self._signals, self._model.held(), scans) if scans > 1 else self
        search._refine(self.best)
        jumping, trailing = (search._valves.get(has_jump, search.best) for has_jump in (True, False))
        # Around a process without integration a deadband sustains no limit cycle (Haegglund, 2007).
        needs_jump = has_limit_cycle and self._model.model != "integrator"
        has_jump = needs_jump or jumping.fit.cost < trailing.fit.cost - LIMITS.jump_gain
        valve = jumping if has_jump else trailing
        s, j = search._intervals(valve, gain)
        stem = _simulate_stems(signals, [valve.stem], search._scans)[0, :, -1]
        return StickyValve(s, j if has_jump else (0.0, 0.0, j[2]), stem)

    def _refine(self, first: Valve) -> None:
        """Search around a valve on a wide grid, and then on finer and finer ones while this improves it.

        A process that was fitted to a wrong stem makes up for it: the typical one has to find a better stem.
        """
        typical = self._model.evaluate(self._model.initial_values[1])
        others = [] if typical is None else [typical]
        self._evaluate([first.fit, *others], _make_grid((first.stem[0], 0.0, first.stem[2]), *_SEARCH_GRID))
        for _ in range(_MAX_REFINEMENTS):
            before = self.best.fit.cost
            self._evaluate([self.best.fit, *others], _make_grid((self.best.stem[0], 0.0, 0.0), *_JUMP_GRID))
            for grid in _FINE_GRIDS:
                for valve in [*self._valves.values()]:
                    self._evaluate([valve.fit], _make_grid(valve.stem, *grid))
            if self.best.fit.cost > before - LIMITS.likelihood_drop:
                break

    def _intervals(self, best: Valve, gain: float) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Return S and J with intervals that contain all pairs of nearly the same likelihood.

        The rounding of OP can shift a slip by a sample even for the true pair, which costs the more likelihood the more
        of PV stiction explains: the permitted drop grows with the gain.
        """
        stems = [stem for grid in _INTERVAL_GRIDS for stem in _make_grid(best.stem, *grid)]
        max_cost = best.fit.cost + max(LIMITS.likelihood_drop, LIMITS.likelihood_drop_share * gain)
        costs = np.concatenate([self._model.costs(best.fit, part)
                                for part in _simulate_batches(self._signals, stems, self._scans)])
        likely_stems = np.array([best.stem, *(stems[k] for k in np.flatnonzero(costs < max_cost))])
        # OP reverses at an unknown time between two samples of a record that does not have every scan.
        moves = np.diff(self._signals.op)
        intersample_travel = float(np.sqrt(np.nanmean(moves**2))) if self._signals.interval > SCAN else 0.0
        s, j = ((value, max(min(float(values.min()), value - min_share * best.stem[0]) - intersample_travel, 0.0),
                 max(float(values.max()), value + min_share * best.stem[0]) + intersample_travel)
                for value, values, min_share in zip(best.stem, likely_stems.T, LIMITS.min_interval_shares,
                                                    strict=False))
        return s, j

    def _evaluate(self, fits: Sequence[Fit], stems: list[Stem]) -> None:
        self._evaluate_grid(fits, _Grid.of(self._signals, stems, self._scans))

    def _evaluate_grid(self, fits: Sequence[Fit], grid: _Grid) -> None:
        """Keep the best valve with and without a slip jump among these, with its process refitted from each fit."""
        have_jump = np.array([stem[1] >= LIMITS.jump_share * stem[0] for stem in grid.stems])
        for fit in fits:
            costs = np.concatenate([self._model.costs(fit, batch) for batch in grid.batches])
            for has_jump in np.unique(have_jump).tolist():
                eligible = np.where(have_jump == has_jump, costs, inf)
                k = int(np.argmax(eligible <= eligible.min() + _SAME_2LOGL))
                valve = Valve(grid.stems[k], self._refit(fit, grid.batches[k // _BATCH_STEMS][k % _BATCH_STEMS]))
                best = self._valves.get(has_jump)
                if np.isfinite(valve.fit.cost) and (best is None or valve.fit.cost < best.fit.cost - _SAME_2LOGL):
                    self._valves[has_jump] = valve

    def _refit(self, fit: Fit, position: Floats) -> Fit:
        """Return the process refitted to a stem position, (T,), from the initial values of a fit."""
        model, starts = self._model.with_input(position), np.tile(fit.parameters, (len(_DEAD_TIME_FACTORS), 1))
        starts[:, model.lags] += np.log(_DEAD_TIME_FACTORS)
        start = min(starts, key=lambda start: float(np.sum(model.errors(start)**2)))
        return model.fit(start, _COARSE_GAIN_2LOGL) or replace(fit, cost=inf)


def _simulate_batches(signals: Signals, stems: Sequence[Stem], scans: int) -> Iterator[Floats]:
    """Yield the mean positions (M, T) of M stems in the intervals up to the samples, %."""
    for at in range(0, len(stems), _BATCH_STEMS):
        yield _simulate_stems(signals, stems[at:at + _BATCH_STEMS], scans).mean(axis=-1)


def _simulate_stems(signals: Signals, stems: Sequence[Stem], scans: int) -> Floats:
    """Return the positions (M, T, scans) of M stems driven by OP, %, at this many scans up to each sample.

    They are kept across gaps as far as OP permits.
    """
    positions, last = np.tile(signals.op[:, None], (len(stems), 1, scans)), None
    for stretch in find_runs(signals.complete, MIN_STRETCH_SAMPLES):
        moved = move_stems(interpolate(signals.op[stretch], scans), stems, last)
        positions[:, stretch] = moved.T.reshape(len(stems), -1, scans)
        last = moved[-1]
    return positions


def interpolate(op: Floats, parts: int) -> Floats:
    """Return OP (n * parts,) at this many times in each interval up to its sample: the middle one of three lines.

    They are the chord and those through the samples before and after it. Where OP reverses between two samples the
    latter meet at the peak, which decides whether a stem slips; where OP is noisy the chord is between them.
    """
    slopes, share = np.diff(op)[:, None], np.arange(1, parts + 1) / parts
    before, after = np.vstack([slopes[:1], slopes[:-1]]), np.vstack([slopes[1:], slopes[-1:]])
    start, end = op[:-1, None], op[1:, None]
    rest = 1.0 - share
    between = np.median([start + share * before, end - rest * slopes, end - rest * after], axis=0)
    return np.concatenate([np.repeat(op[:1], parts), between.ravel()])


def move_stems(op: Floats, stems: Sequence[Stem], last: Floats | None = None) -> Floats:
    """Return the stem positions (T, M) of M valves driven by OP, (T,), %. last: (M,) positions before a gap."""
    s, j, start = np.array(stems).T
    largest = _WITHIN_BAND * (s + j) / 2.0
    initial = op[0] + start * largest if last is None else np.clip(last, op[0] - largest, op[0] + largest)
    valves = Stiction(initial, np.arange(len(stems)))
    valves.set_parameters(s, j)
    # While OP is constant a stem rests from the second sample on, so that later samples need not be simulated.
    changes = np.append(True, op[1:] != op[:-1])
    changes[1:] |= changes[:-1]
    positions = np.empty((int(changes.sum()), len(stems)))
    for row, target in zip(positions, op[changes].tolist(), strict=True):
        row[:] = valves.step(target)
    return np.asarray(positions[np.cumsum(changes) - 1])


def _make_grid(stem: Stem, sizes: Steps, jumps: Steps, starts: Steps) -> list[Stem]:
    """Return a grid of stems around one, geometric in S, and linear in J / S and in the initial distance."""
    def around(value: float, steps: Steps, low: float, high: float) -> list[float]:
        step, count = steps
        return sorted({min(max(value + k * step, low), high) for k in range(-count, count + 1)})

    s, j, start = stem
    factor, count = sizes
    shares, distances = around(j / s, jumps, 0.0, _MAX_JUMP), around(start, starts, -1.0, 1.0)
    return [(size, share * size, distance) for size in (s * factor**k for k in range(-count, count + 1))
            for share in shares for distance in distances]


def _vuong(one: Floats, other: Floats) -> float:
    """Return Vuong's statistic: standard normal where both models are equally good, positive where the other is better.

    It is the sum of the differences of the log-likelihoods over its standard deviation (by Newey and West, 1987), so
    that a single disturbance which one of them happens to follow does not decide.
    """
    one_variance, other_variance = max(float(one.var()), 1e-12), max(float(other.var()), 1e-12)
    gain = (np.log(one_variance / other_variance) + one**2 / one_variance - other**2 / other_variance) / 2.0
    spread = long_run_covariance((gain - gain.mean())[:, None], LIMITS.vuong_band)
    return float(gain.sum() / np.sqrt(max(float(spread[0, 0]), 1e-12)))
