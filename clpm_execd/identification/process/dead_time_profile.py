"""The process from OP and PV, in closed loop or not.

The fits of a Prediction at the dead times in question, which are tried as close together as the likelihood between
them differs; at the best also with the load and a lag in each other's place, since one passes for the other. Intervals
hold 90 % of the likelihood: normal at each dead time and weighed over all of them (Tierney and Kadane, 1986).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, log, sqrt

import numpy as np

from clpm_execd.identification.loop_data import Signals
from clpm_execd.identification.process.prediction_error import SETTLE, Fit, Prediction
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ProcessSpec

_LONGEST_SHARE = 0.15  # of the record: a dead time beyond is not looked for
_AROUND = (1.0, 1.5, 0.7, 2.2, 0.45, 3.3, 0.3, 5.0, 0.15, 0.0)  # dead times, of the typical, that are tried at least
_GRID = tuple(0.1 * 1.6**k for k in range(13))  # the same, of a first look, to 28 times the typical
_LAG_SHIFTS = (0.0, -1.1, 1.1, -2.2, 2.2)  # of the logarithm of the first lag: to a ninth and to nine times the typical
_FARTHER = 1.5  # times the longest dead time that was tried, where that is the likeliest
_MOST_FITS = 28
_FAR = 25.0  # of the likelihood's logarithm, doubled: beyond a dead time that is less likely by more none is
_APART, _CLOSE = 0.25, 0.1  # of a scan, of an interval: nearer dead times are the same
_DOUBTFUL = 0.05  # a share of all likelihood that is not left between two dead times
_NONE = 1e-6  # a share of all likelihood that tells nothing
_BLUR = 0.25  # of a scan or an interval: when exactly OP moved between two of them is not in the record


@dataclass(frozen=True, slots=True)
class ProcessLaw:
    """model, and gain (signed), tau and dead time (s), each with its interval: value, low, high.

    relative: standard deviation of the gain's logarithm. criterion: Schwarz's, lower is better. faster: as relative, of
    the gain's ratio to the first lag: all that a loop tells that swings faster than that, and all that matters to it.
    """

    model: str
    gain: tuple[float, float, float]
    tau: tuple[tuple[float, float, float], ...]
    dead_time: tuple[float, float, float]
    relative: float
    criterion: float
    faster: float = inf


def process_law(signals: Signals, around: ProcessSpec, period: float | None = None, worst: float = inf
                ) -> ProcessLaw | None:
    """The process in the model of a typical one, looked for from its lags and its dead time on; None where OP tells
    nothing.

    period: as of a Prediction. worst: of the criterion, beyond which nobody asks how surely it is told.
    """
    prediction = Prediction(signals, around, period)
    return _Search(prediction).law(worst) if prediction.where else None


class _Search:
    """For the dead time: `_fits` has the best fit of each that was tried."""

    def __init__(self, prediction: Prediction) -> None:
        self._of, self._fits, self._lags = prediction, dict[float, Fit](), len(prediction.typical)

    def law(self, worst: float) -> ProcessLaw | None:
        """The best of all dead times near the typical one that the record could show."""
        of = self._of
        longest = max(3.0 * of.interval, _LONGEST_SHARE * of.samples * of.interval)
        first = min(longest, of.expected)
        self._try(first)
        guess = self._guess(longest)
        if guess is not None:
            first, start = guess
            self._best(first, [start])
        # Again, now that it is known how small the errors are, which is what priors are weighed against.
        likeliest = self._likeliest()
        self._fits, of.scale, first = {}, likeliest.sigma, likeliest.delay
        self._best(first, [likeliest.parameters])
        for factor in _AROUND:
            self._try(min(longest, factor * max(of.expected, of.scan)))
        while self._likeliest().delay == max(self._fits) < longest:
            self._try(min(longest, _FARTHER * max(self._fits)))
        if not any(np.isfinite(fit.cost) for fit in self._fits.values()):
            return None
        if min(map(self._criterion, self._fits.values())) < worst:
            self._closer()
            if self._swapped():
                self._closer()
        return self._told()

    def _guess(self, longest: float) -> tuple[float, Floats] | None:
        """Return the dead time and parameters of the least errors on a coarse grid, far from the typical ones too."""
        of, best, least = self._of, None, inf
        delays = sorted({min(longest, factor * max(of.expected, of.scan)) for factor in (0.0, *_GRID)})
        for shift in _LAG_SHIFTS if self._lags else (0.0,):
            start = of.starts[1].copy()
            start[:min(self._lags, 1)] += shift
            for delay in delays:
                if of.samples > 3 * (delay / of.interval + SETTLE) and (misfit := of.misfit(delay, start)) < least:
                    best, least = (delay, start), misfit
        return best

    def _closer(self) -> None:
        """Dead times between those that were tried, where the true one may be."""
        apart = max(_APART * self._of.scan, _CLOSE * self._of.interval)
        while len(self._fits) < _MOST_FITS:
            halfway = most_doubtful({delay: fit.cost for delay, fit in self._fits.items()}, apart, _DOUBTFUL)
            if halfway is None:
                break
            self._try(halfway)

    def _swapped(self) -> bool:
        """Whether a load as slow as a lag was taken for, and a lag as fast as the load, explain the record better.

        One passes for the other, and between the two all is less likely. Dead times around are then tried again.
        """
        best = self._likeliest()
        for lag in range(self._lags):
            self._best(best.delay, [self._of.swapped(best.parameters, lag)])
        better = self._fits[best.delay]
        if better is best:
            return False
        known = sorted(self._fits)
        k = known.index(best.delay)
        for side in (known[k + 1:], known[:k][::-1]):
            for delay in side:
                self._best(delay, [better.parameters])
                if self._fits[delay].cost > better.cost + _FAR:
                    break
        return True

    def _try(self, delay: float) -> None:
        """A fit at this dead time, started from the nearest or from the best; the first from several noises."""
        if delay in self._fits:
            return
        known = [fit for fit in self._fits.values() if np.isfinite(fit.cost)]
        starts = self._of.starts
        if known:
            near, best = (min(known, key=key) for key in (lambda fit: abs(fit.delay - delay), lambda fit: fit.cost))
            starts = [near.parameters if near is best else min(
                (near.parameters, best.parameters), key=lambda start: float(self._of.misfits([delay], start)[0]))]
        self._best(delay, starts)

    def _best(self, delay: float, starts: Sequence[Floats]) -> None:
        known = self._fits.get(delay, Fit(delay, starts[0], 0.0, self._of.scale, inf))
        fits = [fit for fit in (self._of.fit(delay, start) for start in starts) if fit is not None]
        self._fits[delay] = min([known, *fits], key=lambda fit: fit.cost)

    def _likeliest(self) -> Fit:
        return min(self._fits.values(), key=lambda fit: fit.cost)

    def _criterion(self, fit: Fit) -> float:
        return fit.cost + (self._lags + 5) * log(self._of.samples)

    def _told(self) -> ProcessLaw | None:
        fits = [fit for fit in self._fits.values() if np.isfinite(fit.cost) and fit.gain != 0.0]
        if not fits:
            return None
        sign = float(np.sign(min(fits, key=lambda fit: fit.cost).gain))
        fits = sorted((fit for fit in fits if fit.gain * sign > 0), key=lambda fit: fit.delay)
        delays = np.array([fit.delay for fit in fits])
        chances = halved(_chances(delays, np.array([fit.cost for fit in fits])))
        asked = [(fit, self._of.covariance(fit), share) for fit, share in zip(fits, chances, strict=True)
                 if share > _NONE]
        told = [one for one in asked if np.isfinite(one[1]).all()]
        if not told:
            return None
        known, chance = [(fit, spread) for fit, spread, _ in told], np.array([share for _, _, share in told])
        chance /= chance.sum()
        best = min((fit for fit, _ in known), key=lambda fit: fit.cost)
        k = self._lags
        logs = np.array([[*np.cumsum(fit.parameters[:k]), log(abs(fit.gain))] for fit, _ in known])
        own = np.array([self._deviations(fit, spread) for fit, spread in known])
        delays = np.array([fit.delay for fit, _ in known])
        value_of = np.array([*np.cumsum(best.parameters[:k]), log(abs(best.gain))])
        ends = np.exp([quantiles(logs[:, j], own[:, j], chance) for j in range(k + 1)])
        values = np.exp(value_of)
        lags = [(float(values[j]), *ends[j].tolist()) for j in range(k)]
        early, late = quantiles(delays, np.full(len(delays), _BLUR * self._of.interval), chance)
        return ProcessLaw(
            model=self._of.model, gain=(sign * float(values[-1]), *(sign * ends[-1]).tolist()), tau=tuple(lags),
            dead_time=(best.delay, max(0.0, min(early, best.delay)), max(late, best.delay)),
            relative=self._relative(known, chance, 0), criterion=self._criterion(best),
            faster=self._relative(known, chance, 1) if k else inf)

    def _relative(self, known: Sequence[tuple[Fit, Floats]], chance: Floats, lags: int) -> float:
        """Standard deviation of the logarithm of the gain over as many first lags, of fits and their covariances."""
        values, variances = np.empty(len(known)), np.empty(len(known))
        for i, (fit, covariance) in enumerate(known):
            values[i] = log(abs(fit.gain)) - float(fit.parameters[:lags].sum())
            slope = np.concatenate([-np.ones(lags), np.zeros(self._lags - lags), [1.0 / abs(fit.gain)]])
            variances[i] = slope @ covariance @ slope
        return sqrt(max(float(chance @ (variances + (values - chance @ values) ** 2)), 0.0))

    def _deviations(self, fit: Fit, covariance: Floats) -> list[float]:
        """Standard deviations of the logs of the lags and of the gain, at the fit's dead time."""
        k = self._lags
        sums = np.tril(np.ones((k, k)))
        lags = sums @ covariance[:k, :k] @ sums.T
        return [*np.sqrt(np.maximum(np.diag(lags), 0.0)), sqrt(max(covariance[-1, -1], 0.0)) / abs(fit.gain)]


def most_doubtful(costs: Mapping[float, float], apart: float, least: float) -> float | None:
    """Halfway between the two dead times, s, next to each other, between which the true one most likely lies.

    costs: of the dead times that were tried. None where all that are more than `apart`, s, from the next have less than
    `least` of all likelihood between them.
    """
    delays = np.array(sorted(costs))
    chance = _chances(delays, np.array([costs[delay] for delay in delays]))
    doubtful = (np.diff(delays) > apart) & (chance > least)
    if not doubtful.any():
        return None
    k = int(np.argmax(np.where(doubtful, chance, 0.0)))
    return float(delays[k] + delays[k + 1]) / 2.0


def _chances(delays: Floats, costs: Floats) -> Floats:
    """How likely the dead time lies between each two of these, D - 1 of D."""
    weights = np.exp(np.maximum((costs.min() - costs) / 2.0, -700.0))
    between = np.diff(delays) * (weights[1:] + weights[:-1]) / 2.0
    return np.asarray(between / max(float(between.sum()), 1e-300))


def halved(between: Floats) -> Floats:
    """(D,) for each dead time half of what lies to either side, (D - 1,); of a single one all."""
    return (np.append(between, 0.0) + np.append(0.0, between)) / 2.0 if len(between) else np.ones(1)


def quantiles(centres: Floats, deviations: Floats, weights: Floats) -> tuple[float, float]:
    """The 5th and the 95th percentile of a mixture of normal distributions."""
    from scipy.special import ndtr

    deviations = np.maximum(deviations, 1e-9)
    low, high = float((centres - 6.0 * deviations).min()), float((centres + 6.0 * deviations).max())
    at = np.linspace(low, high, 2001)
    below = ndtr((at[:, None] - centres) / deviations) @ weights
    return float(np.interp(0.05, below, at)), float(np.interp(0.95, below, at))
