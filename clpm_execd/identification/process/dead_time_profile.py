"""The process from OP and PV, in closed loop or not, with intervals.

Fits at several dead times, as close together as the likelihood between them differs. Intervals hold 90 % of the
likelihood: normal at each dead time and weighed over all of them (Tierney and Kadane, 1986).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Protocol, TypeVar

import numpy as np

from clpm_execd.identification.loop_data import Signals
from clpm_execd.identification.process.prediction_error import SETTLING_SAMPLES, Fit, PredictionErrorModel
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ProcessSpec

_MAX_SHARE = 0.15  # of the record: a dead time beyond is not searched for
_FACTORS = ((1.5, 2.2, 3.3, 5.0, 7.5), (0.7, 0.45, 0.3, 0.15, 0.0))  # of the first dead time, to either side
_FIRST_LOOK = (0.0, *(0.1 * 1.6**k for k in range(13)))  # dead times, of the typical
_LAG_SHIFTS = (0.0, -1.1, 1.1, -2.2, 2.2)  # of the log of the first lag: to a ninth and to nine times the typical
_MAX_FITS = 18
_FAR = 15.0  # of the likelihood's logarithm, doubled: beyond a dead time that is less likely by more none is tried
_SAME_SCANS, _SAME_INTERVALS = 0.25, 0.1  # nearer dead times are the same
_CLEARLY = 1.0  # of the likelihood's logarithm, doubled
_DOUBTFUL_SHARE = 0.08  # of all likelihood, that is not left between two dead times
_NEGLIGIBLE_SHARE = 1e-6  # of all likelihood
_BLUR_INTERVALS = 0.25  # when exactly OP moved between two samples is not in the record


class DeadTimeFit(Protocol):
    """A fit at a dead time, s: parameters, and the likelihood's negative logarithm, doubled."""

    @property
    def delay(self) -> float: ...
    @property
    def parameters(self) -> Floats: ...
    @property
    def cost(self) -> float: ...


AnyFit = TypeVar("AnyFit", bound=DeadTimeFit)


@dataclass(frozen=True, slots=True)
class ProcessLaw:
    """model, and gain (signed), tau and dead time (s), each with its interval: value, low, high.

    relative: standard deviation of the gain's logarithm. criterion: Schwarz's, lower is better; log_likelihood: what it
    is of. faster: as relative, of
    the gain's ratio to the first lag: all that a loop tells that swings faster than that, and all that matters to it.
    """

    model: str
    gain: tuple[float, float, float]
    tau: tuple[tuple[float, float, float], ...]
    dead_time: tuple[float, float, float]
    gain_log_std: float
    bic: float
    log_likelihood: float
    slope_log_std: float = inf


def estimate_process(signals: Signals, around: ProcessSpec, period: float | None = None, worst: float = inf
                     ) -> ProcessLaw | None:
    """Return the process in the model of a typical one; None where OP tells nothing, or it is worse than `worst`.

    period: as of a PredictionErrorModel. worst: of Schwarz's criterion.
    """
    of = PredictionErrorModel(signals, around, period)
    if not of.where:
        return None
    longest = max(3.0 * of.interval, _MAX_SHARE * of.samples * of.interval)
    guess = _first_look(of, longest)
    starts = [(min(of.expected, longest), start) for start in of.starts] + ([guess] if guess else [])
    first = _best([of.fit(*start) for start in starts])
    if first is None:
        return None
    of.scale = first.sigma
    first = of.fit(first.delay, first.parameters) or first
    if _criterion(of, first) > worst:
        return None

    def profile_from(first: Fit) -> list[Fit]:
        return profile_dead_time(of.fit, first, max(of.scan, first.delay), longest,
                                 max(_SAME_SCANS * of.scan, _SAME_INTERVALS * of.interval))

    fits = profile_from(first)
    best = min(fits, key=lambda fit: fit.cost)
    # A load as slow as a lag, and a lag as fast as the load, pass for each other.
    other = _best([of.fit(best.delay, of.swap(best.parameters, lag)) for lag in range(len(of.typical))])
    return _law(of, profile_from(other) if other is not None and other.cost < best.cost - _CLEARLY else fits)


def _best(fits: Sequence[Fit | None]) -> Fit | None:
    return min((fit for fit in fits if fit is not None), key=lambda fit: fit.cost, default=None)


def _first_look(of: PredictionErrorModel, longest: float) -> tuple[float, Floats] | None:
    """Return the dead time and parameters of the least errors on a coarse grid, far from the typical ones too."""
    best, least = None, inf
    delays = sorted({min(longest, factor * max(of.expected, of.scan)) for factor in _FIRST_LOOK})
    for shift in _LAG_SHIFTS if len(of.typical) else (0.0,):
        start = of.starts[1].copy()
        start[:min(len(of.typical), 1)] += shift
        for delay in delays:
            if of.samples > 3 * (delay / of.interval + SETTLING_SAMPLES):
                misfit = float(np.sum(of.errors(delay, start)**2))
                if misfit < least:
                    best, least = (delay, start), misfit
    return best


def profile_dead_time(fit: Callable[[float, Floats], AnyFit | None], first: AnyFit, about: float, longest: float,
                      apart: float
                      ) -> list[AnyFit]:
    """Return the fits at dead times around the first fit's, in their order, each started from the nearest.

    about: s, of which the dead times are multiples at first, up to the longest. apart: s; nearer ones are the same.
    """
    fits = {first.delay: first}

    def add(delay: float) -> AnyFit | None:
        nearest = min(fits.values(), key=lambda one: abs(one.delay - delay))
        one = fit(delay, nearest.parameters)
        if one is not None:
            fits[delay] = one
        return one

    for factors in _FACTORS:
        for factor in factors:
            delay = min(longest, factor * about)
            one = fits.get(delay) or add(delay)
            if one is None or one.cost > min(known.cost for known in fits.values()) + _FAR:
                break
    while len(fits) < _MAX_FITS:
        halfway = next_profile_point({delay: one.cost for delay, one in fits.items()}, apart, _DOUBTFUL_SHARE)
        if halfway is None or add(halfway) is None:
            break
    return [fits[delay] for delay in sorted(fits)]


def _criterion(of: PredictionErrorModel, fit: Fit) -> float:
    return fit.cost + (len(of.typical) + 5) * log(of.samples)


def _law(of: PredictionErrorModel, fits: Sequence[Fit]) -> ProcessLaw | None:
    best, k = min(fits, key=lambda fit: fit.cost), len(of.typical)
    fits = [fit for fit in fits if fit.gain * best.gain > 0]
    chances = profile_weights(np.array([fit.delay for fit in fits]), np.array([fit.cost for fit in fits]))
    spreads = [of.covariance(fit) if chance > _NEGLIGIBLE_SHARE else np.full((k + 1, k + 1), inf)
               for fit, chance in zip(fits, chances, strict=True)]
    usable = [i for i, spread in enumerate(spreads) if np.isfinite(spread).all()]
    if not usable or best.gain == 0.0:
        return None
    # Logarithms of the lags, of the gain, and of the gain over the first lag.
    rows = np.zeros((k + 2, k + 1))
    rows[:k, :k], rows[k:, k], rows[k + 1, :min(k, 1)] = np.tril(np.ones((k, k))), 1.0, -1.0
    values = np.array([rows @ [*fits[i].parameters[:k], log(abs(fits[i].gain))] for i in usable])
    deviations = np.sqrt([np.maximum(np.diag(rows @ spreads[i] @ rows.T), 0.0) for i in usable])
    chance = chances[usable] / chances[usable].sum()
    value = np.exp(rows @ [*best.parameters[:k], log(abs(best.gain))])
    ends = np.exp([quantiles(values[:, j], deviations[:, j], chance) for j in range(k + 1)])
    gain_log_std = np.sqrt(chance @ (deviations**2 + (values - chance @ values)**2))
    delays = np.array([fits[i].delay for i in usable])
    early, late = quantiles(delays, np.full(len(delays), _BLUR_INTERVALS * of.interval), chance)
    sign = float(np.sign(best.gain))
    return ProcessLaw(
        model=of.model, gain=(sign * float(value[k]), *(sign * ends[k]).tolist()),
        tau=tuple((float(value[j]), *ends[j].tolist()) for j in range(k)),
        dead_time=(best.delay, max(0.0, min(early, best.delay)), max(late, best.delay)),
        gain_log_std=float(gain_log_std[k]), bic=_criterion(of, best),
        log_likelihood=-best.cost / 2.0, slope_log_std=float(gain_log_std[k + 1]) if k else inf)


def next_profile_point(costs: Mapping[float, float], apart: float, least: float) -> float | None:
    """Return the dead time, s, halfway between the two neighbours between which the true one most likely lies.

    costs: of the dead times that were tried. None where all that are more than `apart`, s, from the next have less than
    `least` of all likelihood between them.
    """
    delays = np.array(sorted(costs))
    chance = _between(delays, np.array([costs[delay] for delay in delays]))
    doubtful = (np.diff(delays) > apart) & (chance > least)
    if not doubtful.any():
        return None
    k = int(np.argmax(np.where(doubtful, chance, 0.0)))
    return float(delays[k] + delays[k + 1]) / 2.0


def _between(delays: Floats, costs: Floats) -> Floats:
    """Return (D - 1,) how likely the dead time lies between each two of these."""
    weights = np.exp(np.maximum((costs.min() - costs) / 2.0, -700.0))
    between = np.diff(delays) * (weights[1:] + weights[:-1]) / 2.0
    return np.asarray(between / max(float(between.sum()), 1e-300))


def profile_weights(delays: Floats, costs: Floats) -> Floats:
    """Return (D,) for each dead time half of the likelihood that lies to either side; of a single one all."""
    if len(delays) == 1:
        return np.ones(1)
    between = _between(delays, costs)
    return np.asarray((np.append(between, 0.0) + np.append(0.0, between)) / 2.0)


def quantiles(centres: Floats, deviations: Floats, weights: Floats) -> tuple[float, float]:
    """Return the 5th and the 95th percentile of a mixture of normal distributions."""
    from scipy.special import ndtr

    deviations = np.maximum(deviations, 1e-9)
    low, high = float((centres - 6.0 * deviations).min()), float((centres + 6.0 * deviations).max())
    at = np.linspace(low, high, 2001)
    below = ndtr((at[:, None] - centres) / deviations) @ weights
    return float(np.interp(0.05, below, at)), float(np.interp(0.95, below, at))
