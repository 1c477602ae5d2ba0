"""Estimates the process and its confidence intervals from OP and PV, in closed loop or not.

The process is fitted at several dead times, which lie closer together where the likelihood changes more. Intervals
hold 90 % of the likelihood: a normal distribution at each dead time, weighted over all of them (Tierney and Kadane,
1986).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Protocol, TypeVar

import numpy as np

from clpm_execd.identification.loop_data import Signals
from clpm_execd.identification.process.prediction_error import NOISES, SETTLING_SAMPLES, Fit, PredictionErrorModel
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ProcessSpec

_MAX_DEAD_TIME_SHARE = 0.15  # of the record's length: the longest dead time of the search
_PROFILE_FACTORS = ((1.5, 2.2, 3.3, 5.0, 7.5), (0.7, 0.45, 0.3, 0.15, 0.0))  # of the first dead time, up and down
_COARSE_FACTORS = (0.0, *(0.1 * 1.6**k for k in range(13)))  # of the typical dead time
_LAG_SHIFTS = (0.0, -1.1, 1.1, -2.2, 2.2)  # of log tau1: from a ninth to nine times the typical value
_MAX_FITS = 18
_ABANDON_ABOVE_2LOGL = 15.0  # below the maximum, where a profile ends: e^-7.5 of the likelihood is negligible
_MIN_DISTANCE_SCANS, _MIN_DISTANCE_INTERVALS = 0.25, 0.1  # Dead times closer than this are not distinguished.
_DISTINCT_LOG_GAIN = 0.7  # a factor of 2 between gains: more than the profile of one maximum spans
_MIN_GAIN_2LOGL = 1.0  # by which the fit with exchanged time constants must be better
_REFINE_ABOVE_SHARE = 0.08  # of all likelihood: the grid of dead times is refined where two neighbours enclose more
_NEGLIGIBLE_SHARE = 1e-6  # of all likelihood: the covariance at such a dead time is not computed
_TIMING_STD_INTERVALS = 0.25  # standard deviation of the time at which OP moved between two samples


class DeadTimeFit(Protocol):
    """A fit at a dead time (`delay`, s) with its parameters and cost, minus twice the log-likelihood."""

    @property
    def delay(self) -> float: ...
    @property
    def parameters(self) -> Floats: ...
    @property
    def cost(self) -> float: ...


AnyFit = TypeVar("AnyFit", bound=DeadTimeFit)


@dataclass(frozen=True, slots=True)
class ProcessLaw:
    """A process estimate: signed gain, tau and dead_time (s), each as value, low and high end of its 90 % interval.

    gain_log_std: standard deviation of the log gain. slope_log_std: that of log(gain / tau1), which a loop shows where
    it moves faster than the lag, and on which its control depends there. bic: Schwarz's criterion, lower is better.
    """

    model: str
    gain: tuple[float, float, float]
    tau: tuple[tuple[float, float, float], ...]
    dead_time: tuple[float, float, float]
    gain_log_std: float
    bic: float
    log_likelihood: float
    slope_log_std: float = inf


def estimate_process(signals: Signals, prior: ProcessSpec, period: float | None = None, max_bic: float = inf
                     ) -> ProcessLaw | None:
    """Return the process estimate in the prior's model; None where OP has no effect or the BIC exceeds `max_bic`.

    period: of an external oscillation, s. max_bic: Schwarz's criterion of the best competing model and a margin.
    """
    pem = PredictionErrorModel(signals, prior, period)
    if not pem.stretches:
        return None
    max_delay = max(3.0 * pem.interval, _MAX_DEAD_TIME_SHARE * pem.samples * pem.interval)
    guess = _coarse_search(pem, max_delay)
    initial_values = [(min(pem.expected_dead_time, max_delay), start)
                      for start in pem.initial_values] + ([guess] if guess else [])
    first = _best([pem.fit(*start) for start in initial_values])
    if first is None:
        return None
    pem.scale = first.sigma
    first = pem.fit(first.delay, first.parameters) or first
    if _criterion(pem, first) > max_bic:
        return None

    def profile_from(first: Fit) -> list[Fit]:
        return profile_dead_time(pem.fit, first, max(pem.scan, first.delay), max_delay,
                                 max(_MIN_DISTANCE_SCANS * pem.scan, _MIN_DISTANCE_INTERVALS * pem.interval))

    fits = profile_from(first)
    best = min(fits, key=lambda fit: fit.cost)
    # Load and lag can be mistaken for each other: the likelihood has a second maximum with their times exchanged.
    other = _best([pem.fit(best.delay, pem.swap(best.parameters, lag)) for lag in range(len(pem.prior_mean))])
    if other is not None and other.cost < best.cost - _MIN_GAIN_2LOGL:
        fits, best = profile_from(other), other
    # A closed loop under a slow load has another one, with a process of much smaller or larger gain.
    slow_load = pem.fit(best.delay, np.append(pem.prior_mean, NOISES[-1]))
    if (slow_load is not None and slow_load.cost < best.cost + _ABANDON_ABOVE_2LOGL
            and abs(log(max(slow_load.gain / best.gain, 1e-9))) > _DISTINCT_LOG_GAIN):
        fits = min(fits, profile_from(slow_load), key=lambda fits: min(fit.cost for fit in fits))
    return _law(pem, fits)


def _best(fits: Sequence[Fit | None]) -> Fit | None:
    return min((fit for fit in fits if fit is not None), key=lambda fit: fit.cost, default=None)


def _coarse_search(pem: PredictionErrorModel, max_delay: float) -> tuple[float, Floats] | None:
    """Return the dead time and parameters of the smallest errors on a wide, coarse grid."""
    best, least_misfit = None, inf
    delays = sorted({min(max_delay, factor * max(pem.expected_dead_time, pem.scan)) for factor in _COARSE_FACTORS})
    for shift in _LAG_SHIFTS if len(pem.prior_mean) else (0.0,):
        start = pem.initial_values[1].copy()
        start[:min(len(pem.prior_mean), 1)] += shift
        for delay in delays:
            if pem.samples > 3 * (delay / pem.interval + SETTLING_SAMPLES):
                misfit = float(np.sum(pem.errors(delay, start)**2))
                if misfit < least_misfit:
                    best, least_misfit = (delay, start), misfit
    return best


def profile_dead_time(fit: Callable[[float, Floats], AnyFit | None], first: AnyFit, scale: float, max_delay: float,
                      min_distance: float) -> list[AnyFit]:
    """Return the fits over a grid of dead times in ascending order, each with the nearest fit's initial values.

    scale: s; the first dead times are multiples of it up to max_delay, s. min_distance: the finest spacing, s.
    """
    fits = {first.delay: first}

    def add(delay: float) -> AnyFit | None:
        nearest = min(fits.values(), key=lambda one: abs(one.delay - delay))
        one = fit(delay, nearest.parameters)
        if one is not None:
            fits[delay] = one
        return one

    for factors in _PROFILE_FACTORS:
        for factor in factors:
            delay = min(max_delay, factor * scale)
            one = fits.get(delay) or add(delay)
            if one is None or one.cost > min(other.cost for other in fits.values()) + _ABANDON_ABOVE_2LOGL:
                break
    while len(fits) < _MAX_FITS:
        halfway = next_profile_point({delay: one.cost for delay, one in fits.items()}, min_distance,
                                     _REFINE_ABOVE_SHARE)
        if halfway is None or add(halfway) is None:
            break
    return [fits[delay] for delay in sorted(fits)]


def _criterion(pem: PredictionErrorModel, fit: Fit) -> float:
    return fit.cost + (len(pem.prior_mean) + 5) * log(pem.samples)


def _law(pem: PredictionErrorModel, fits: Sequence[Fit]) -> ProcessLaw | None:
    best, k = min(fits, key=lambda fit: fit.cost), len(pem.prior_mean)
    fits = [fit for fit in fits if fit.gain * best.gain > 0]
    all_weights = profile_weights(np.array([fit.delay for fit in fits]), np.array([fit.cost for fit in fits]))
    covariances = [pem.covariance(fit) if weight > _NEGLIGIBLE_SHARE else np.full((k + 1, k + 1), inf)
                   for fit, weight in zip(fits, all_weights, strict=True)]
    usable = [i for i, covariance in enumerate(covariances) if np.isfinite(covariance).all()]
    if not usable or best.gain == 0.0:
        return None
    # The rows map log parameters to log lags, log gain, and log(gain / tau1).
    rows = np.zeros((k + 2, k + 1))
    rows[:k, :k], rows[k:, k], rows[k + 1, :min(k, 1)] = np.tril(np.ones((k, k))), 1.0, -1.0
    values = np.array([rows @ [*fits[i].parameters[:k], log(abs(fits[i].gain))] for i in usable])
    deviations = np.sqrt([np.maximum(np.diag(rows @ covariances[i] @ rows.T), 0.0) for i in usable])
    weights = all_weights[usable] / all_weights[usable].sum()
    value = np.exp(rows @ [*best.parameters[:k], log(abs(best.gain))])
    ends = np.exp([quantiles(values[:, j], deviations[:, j], weights) for j in range(k + 1)])
    gain_log_std = np.sqrt(weights @ (deviations**2 + (values - weights @ values)**2))
    delays = np.array([fits[i].delay for i in usable])
    early, late = quantiles(delays, np.full(len(delays), _TIMING_STD_INTERVALS * pem.interval), weights)
    sign = float(np.sign(best.gain))
    return ProcessLaw(
        model=pem.model, gain=(sign * float(value[k]), *(sign * ends[k]).tolist()),
        tau=tuple((float(value[j]), *ends[j].tolist()) for j in range(k)),
        dead_time=(best.delay, max(0.0, min(early, best.delay)), max(late, best.delay)),
        gain_log_std=float(gain_log_std[k]), bic=_criterion(pem, best),
        log_likelihood=-best.cost / 2.0, slope_log_std=float(gain_log_std[k + 1]) if k else inf)


def next_profile_point(costs: Mapping[float, float], min_distance: float, min_share: float) -> float | None:
    """Return the dead time, s, in the middle of the interval of the grid that holds the most likelihood.

    costs: by the dead times of the grid, s. None where every interval is shorter than min_distance, s, or holds less
    than min_share of the likelihood.
    """
    delays = np.array(sorted(costs))
    masses = _interval_masses(delays, np.array([costs[delay] for delay in delays]))
    needs_refinement = (np.diff(delays) > min_distance) & (masses > min_share)
    if not needs_refinement.any():
        return None
    k = int(np.argmax(np.where(needs_refinement, masses, 0.0)))
    return float(delays[k] + delays[k + 1]) / 2.0


def _interval_masses(delays: Floats, costs: Floats) -> Floats:
    """Return the shares of the likelihood (D - 1,) between neighbouring dead times, by the trapezoidal rule."""
    weights = np.exp(np.maximum((costs.min() - costs) / 2.0, -700.0))
    masses = np.diff(delays) * (weights[1:] + weights[:-1]) / 2.0
    return np.asarray(masses / max(float(masses.sum()), 1e-300))


def profile_weights(delays: Floats, costs: Floats) -> Floats:
    """Return the weights (D,) of the dead times: half of the likelihood in the intervals on both sides."""
    if len(delays) == 1:
        return np.ones(1)
    masses = _interval_masses(delays, costs)
    return np.asarray((np.append(masses, 0.0) + np.append(0.0, masses)) / 2.0)


def quantiles(centres: Floats, deviations: Floats, weights: Floats) -> tuple[float, float]:
    """Return the 5th and the 95th percentile of a mixture of normal distributions."""
    from scipy.special import ndtr

    deviations = np.maximum(deviations, 1e-9)
    low, high = float((centres - 6.0 * deviations).min()), float((centres + 6.0 * deviations).max())
    grid = np.linspace(low, high, 2001)
    cdf = ndtr((grid[:, None] - centres) / deviations) @ weights
    return float(np.interp(0.05, cdf, grid)), float(np.interp(0.95, cdf, grid))
