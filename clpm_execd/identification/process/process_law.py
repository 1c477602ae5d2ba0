"""Estimates process, load and sensor noise from OP and PV, in closed loop or not.

The process is fitted from several initial values and over a profile of dead times. Intervals hold 90 % of a normal
distribution of the logarithms with the covariance of the fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import exp, inf, log

import numpy as np

from clpm_execd.identification.estimates import MAX_LOG_HALF_WIDTH, QUANTILE, Interval
from clpm_execd.identification.loop_data import TINY, Signals
from clpm_execd.identification.process.dead_time_profile import profile_dead_time
from clpm_execd.identification.process.prediction_error import (
    NOISES,
    SETTLING_SAMPLES,
    Fit,
    PredictionErrorModel,
    jacobian,
    least_squares,
)
from clpm_execd.identification.process.transfer_functions import load_to_noise_ratio, noise_share, pole_of
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ProcessSpec
from clpm_execd.plant.stages.process import discretize

_COARSE_FACTORS = (0.0, *(0.1 * 1.6**k for k in range(13)))  # of the typical dead time
_LAG_SHIFTS = (0.0, -1.1, 1.1, -2.2, 2.2)  # of log tau1: from a ninth to nine times the typical value
_MIN_GAIN_2LOGL = 1.0  # by which the fit with exchanged time constants must be better
_DEFAULT_GAIN_STD = 0.7  # of the log gain of a default process: a factor of two either way
_TIMING_STD_INTERVALS = 0.25  # standard deviation of the time at which OP moved between two samples
_HARMONIC_PARAMETERS = 5  # of an external oscillation: its period, and a sine and a cosine of two harmonics


@dataclass(frozen=True, slots=True)
class ProcessLaw:
    """A process with its load and sensor noise: each estimate as value, low and high end of its 90 % interval.

    gain: signed. tau, dead_time: s. load: standard deviation, % of travel. correlation: its time constant, s. noise:
    standard deviation of the sensor noise, % of span. gain_log_std: standard deviation of the log gain. slope_log_std:
    that of log(gain / tau1), which a loop shows where it moves faster than the lag, and on which its control depends
    there. bic: Schwarz's criterion, lower is better. errors: (T,) innovations of PV, % of span, NaN where there are
    none. pole_and_gain: (4,) the pole of the load and the Kalman gains of the states x1 and x2 and of the load.
    oscillation_load: amplitude of an external oscillation as a load, % of travel, its standard deviation, and the third
    harmonic as a fraction of the amplitude.
    """

    model: str
    gain: Interval
    tau: tuple[Interval, ...]
    dead_time: Interval
    load: Interval
    correlation: Interval
    noise: Interval
    gain_log_std: float
    bic: float
    log_likelihood: float
    slope_log_std: float = inf
    errors: Floats = field(default_factory=lambda: np.empty(0))
    pole_and_gain: Floats = field(default_factory=lambda: np.empty(0))
    oscillation_load: Interval = (0.0, 0.0, 0.0)


def estimate_process(signals: Signals, prior: ProcessSpec, period: float | None = None, max_bic: float = inf
                     ) -> ProcessLaw | None:
    """Return the process estimate in the prior's model; None where OP has no effect or the BIC exceeds `max_bic`.

    period: of an external oscillation, s.
    """
    pem = PredictionErrorModel(signals, prior, period)
    if not pem.stretches:
        return None
    fit = find_fit(pem, max_bic)
    if fit is None:
        return None
    best, ends, likely_fits = profile_dead_time(pem.fit_at, fit, float(fit.parameters[pem.lags]), log(pem.interval))
    return _make_law(pem, pem.fit(best.parameters) or best, len(signals.pv), ends, likely_fits)


def find_fit(pem: PredictionErrorModel, max_bic: float = inf) -> Fit | None:
    """Return the best fit from all initial values; None where OP has no effect or the BIC exceeds `max_bic`."""
    # The coarse search comes first: its errors are the scale by which the prior is weighted.
    fit = best_fit([pem.fit(start) for start in [*coarse_search(pem), *pem.initial_values]])
    if fit is None:
        return None
    pem.scale = fit.sigma
    fit = pem.fit(fit.parameters) or fit
    if criterion(pem, fit) > max_bic:
        return None
    # Load and lag can be mistaken for each other: the likelihood has a second maximum with their times exchanged.
    other = best_fit([pem.fit(pem.swap(fit.parameters, lag)) for lag in range(pem.lags)])
    return other if other is not None and other.cost < fit.cost - _MIN_GAIN_2LOGL else fit


def estimate_noise(signals: Signals, process: ProcessSpec, period: float | None = None) -> ProcessLaw | None:
    """Return the load and the sensor noise for a process that is not estimated; None where the fit fails.

    period: of an external oscillation, s.
    """
    pem = PredictionErrorModel(signals, process, period)
    if not pem.stretches:
        return None

    def errors(noise: Floats) -> Floats:
        y, u = pem.filter_signals(np.append(pem.prior_mean, noise))
        return y - process.gain * u

    noises = [noise for start in NOISES if (noise := least_squares(errors, np.array(start))) is not None]
    if not noises:
        return None
    noise = min(noises, key=lambda one: float(np.sum(errors(one)**2)))
    sigma = max(float(errors(noise).std()), 1e-12)
    fit = Fit(np.append(pem.prior_mean, noise), process.gain, sigma, 2.0 * pem.samples * log(sigma))
    return _make_law(pem, fit, len(signals.pv))


def best_fit(fits: Iterable[Fit | None]) -> Fit | None:
    """Return the fit of the lowest cost; None where there is none."""
    return min((fit for fit in fits if fit is not None), key=lambda fit: fit.cost, default=None)


def criterion(pem: PredictionErrorModel, fit: Fit) -> float:
    """Return Schwarz's criterion (1978) of a fit: lower is better."""
    parameters = len(fit.parameters) + 2 + (_HARMONIC_PARAMETERS if pem.period else 0)
    return fit.cost + parameters * log(pem.samples)


def coarse_search(pem: PredictionErrorModel) -> list[Floats]:
    """Return the initial values of the smallest errors on a wide, coarse grid; none where the record is too short."""
    starts, expected = [], float(np.exp(pem.prior_mean[-1])) - pem.interval
    for shift in _LAG_SHIFTS if pem.lags else (0.0,):
        for factor in _COARSE_FACTORS:
            start = pem.initial_values[1].copy()
            start[:min(pem.lags, 1)] += shift
            start[pem.lags] = log(factor * max(expected, pem.interval) + pem.interval)
            if pem.samples > 3 * (pem.process_of(start).dead_time / pem.interval + SETTLING_SAMPLES):
                starts.append(start)
    return [min(starts, key=lambda start: float(np.sum(pem.errors(start)**2)))] if starts else []


def _make_law(pem: PredictionErrorModel, fit: Fit, samples: int, ends: tuple[float, float] | None = None,
              likely_fits: Sequence[Fit] = ()) -> ProcessLaw | None:
    """Return the estimates with the covariance of a fit; None where it has none.

    ends: of the interval of the dead time, as its parameter; None for a default process. likely_fits: those at dead
    times in this interval, for which the interval of the gain holds as well.
    """
    k, interval, sign = pem.lags, pem.interval, float(np.sign(fit.gain))
    covariance = pem.covariance(fit, inf if ends else _DEFAULT_GAIN_STD)
    if fit.gain == 0.0 or not np.isfinite(covariance).all():
        return None

    def logarithms(values: Floats) -> Floats:
        """Return the logarithms of the lags, gain, slope, dead time and an interval, load, correlation, and noise."""
        process, noise = pem.process_of(values[:-1], abs(fit.gain) * np.exp(values[-1])), values[k + 1:k + 3]
        log_noise = log(fit.sigma) + log(noise_share(process, interval, noise)) / 2.0
        log_lags, log_gain = np.cumsum(values[:k]), log(process.gain)
        return np.array([*log_lags, log_gain, log_gain - (log_lags[0] if k else 0.0), values[k],
                         log_noise + log(load_to_noise_ratio(process, interval, noise)),
                         log(interval) - log(-log(pole_of(noise))), log_noise])

    try:
        best = np.append(fit.parameters, 0.0)
        values, rows = logarithms(best), jacobian(logarithms, best)
        pole_and_gain = _load_filter(pem.process_of(fit.parameters, fit.gain), interval, fit.parameters[k + 1:])
    except (ValueError, np.linalg.LinAlgError):
        return None
    covariance = rows @ covariance @ rows.T
    variances = np.maximum(np.diag(covariance), 0.0)
    variances[[-3, -1]] += 0.5 / pem.samples  # of log sigma
    deviations = np.sqrt(variances)
    factors = np.exp(np.minimum(QUANTILE * deviations, MAX_LOG_HALF_WIDTH))
    intervals = [(value, value / factor, value * factor)
                 for value, factor in zip(np.exp(values).tolist(), factors.tolist(), strict=True)]
    timing = QUANTILE * _TIMING_STD_INTERVALS * interval
    dead_time, early, late = (float(np.exp(end)) - interval
                              for end in (fit.parameters[k], *(ends or np.log(intervals[k + 2][1:]))))
    _, low, high = intervals[k]
    if likely_fits:  # with the standard deviation of the log gain for a given dead time
        deviation = max(variances[k] - covariance[k, k + 2]**2 / max(variances[k + 2], TINY), 0.0)**0.5
        gains, factor = [sign * one.gain for one in likely_fits], exp(min(QUANTILE * deviation, MAX_LOG_HALF_WIDTH))
        low, high = max(min(low, min(gains) / factor), 0.0), max(high, max(gains) * factor)
    return ProcessLaw(
        pem.model, (fit.gain, sign * low, sign * high), tuple(intervals[:k]),
        (max(dead_time, 0.0), max(min(early, dead_time - timing), 0.0), max(late, dead_time + timing, 0.0)),
        intervals[k + 3], intervals[k + 4], intervals[k + 5],
        gain_log_std=float(deviations[k]), slope_log_std=float(deviations[k + 1]) if k else inf,
        bic=criterion(pem, fit), log_likelihood=-fit.cost / 2.0, errors=pem.errors_of(fit, samples),
        pole_and_gain=pole_and_gain,
        oscillation_load=pem.estimate_oscillation_load(fit) if pem.period else (0.0, 0.0, 0.0))


def _load_filter(process: ProcessSpec, h: float, noise: Floats) -> Floats:
    """Return the load's pole, and the Kalman gain for x1, x2 and the load, (4,); see Kalman (1960).

    noise: as in `make_filters`.
    """
    from scipy.linalg import solve_discrete_are

    pole = pole_of(noise)
    p11, p21, p22, b1, b2 = discretize(process, h)
    f = np.array([[p11, 0.0, b1], [p21, p22, b2], [0.0, 0.0, pole]])
    q = np.zeros((3, 3))
    q[2, 2] = (1.0 - pole**2) * load_to_noise_ratio(process, h, noise) ** 2
    observation = np.array([[0.0, 1.0, 0.0]])
    with np.errstate(invalid="ignore"):  # SciPy scales by powers of 2, which overflow where a lag is far below h
        p = solve_discrete_are(f.T, observation.T, q, np.eye(1))
    return np.array([pole, *(f @ p[:, 1]) / (p[1, 1] + 1.0)])
