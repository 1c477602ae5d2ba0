"""Identifies controller and process together from a record slower than the controller's scan.

Between two samples the controller scans several times with a PV that is not in the record, so that the sum of the
recorded errors is not its integral. The loop is therefore modelled at its scans and observed at the samples. Its
likelihood is that of a Kalman filter's innovations (Ljung, 1999, section 13.5, joint input-output identification),
maximised at each dead time. Intervals hold 90 % of the likelihood over all dead times (Tierney and Kadane, 1986).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, inf, log

import numpy as np

from clpm_execd.identification.closed_loop.likelihood import Likelihood, LoopFit
from clpm_execd.identification.closed_loop.pid_regression import SCAN, PidLaw
from clpm_execd.identification.closed_loop.state_space import DERIVATIVE_FILTER
from clpm_execd.identification.loop_data import Signals
from clpm_execd.identification.process.dead_time_profile import (
    ProcessLaw,
    profile_dead_time,
    profile_weights,
    quantiles,
)
from clpm_execd.identification.thresholds import LOOP as LIMITS
from clpm_execd.plant.specs import ProcessSpec

_MIN_SAMPLES = 200
_SCANS_IN_INTERVAL = (1, 2, 5)  # the candidates where an interval is no longer than SCAN
_MAX_INTERVAL_SHARE = 0.05  # of the reset: in a shorter interval the integral changes too little to matter
_DERIVATIVE_SHARES = (0.15, 0.05)  # of the reset: initial values of the derivative
_LEAST_DERIVATIVE_SCANS = 0.2  # Rounding and the scans between samples can look like a shorter one.
_USUAL_WEIGHTS = (1.0, 0.0)  # set-point weights of nearly all controllers
_FIXED_WEIGHT_STD, _FREE_WEIGHT_STD = 1e-3, 4.0  # prior standard deviations of the weight
_TIMING_STD_SCANS = 0.5  # standard deviation of the dead time at each point of the profile
_MAX_DEAD_TIME_FACTOR = 3.0  # times the expected dead time: the end of the search


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """Estimates of the PID law, process, load and sensor noise of a loop at its scans.

    load: standard deviation of the load, % of travel. correlation: its time constant, s. noise: standard deviation of
    the sensor noise, % of span. Each is the value and the ends of its 90 % interval. log_var_ratio: log ratio of the
    generalised variance of the `samples` innovations to that of a regression.
    """

    law: PidLaw
    process: ProcessLaw
    load: tuple[float, float, float]
    correlation: tuple[float, float, float]
    noise: tuple[float, float, float]
    log_var_ratio: float
    samples: int


def estimate_closed_loop(signals: Signals, law: PidLaw, process: ProcessSpec, pv_step: float) -> ClosedLoop | None:
    """Return the estimates at the controller's scans, with initial values from `law` and `process`.

    law: the regression at the samples; if it is hidden, both controller actions are tried. pv_step: resolution of PV,
    % of span. None where the record has every scan, where the scans between samples matter little, where the record is
    too short or does not determine the gain, and where there is no integral action.
    """
    signs = (1.0, -1.0) if law.is_hidden else (float(np.sign(law.gain[0])),)
    candidates = [Likelihood(signals, process, (abs(law.gain[0]), law.reset[0]), scan, sign, pv_step)
                  for scan in _scans(signals.interval, law) for sign in signs]
    if not candidates or candidates[0].samples < _MIN_SAMPLES:
        return None
    fits = [(likelihood, fit) for likelihood in candidates for fit in _first_fits(likelihood)]
    if not fits:
        return None
    likelihood, plain = min(fits, key=lambda one: one[1].cost)
    if likelihood.scan == signals.interval:
        return None
    likelihood.use_noise(plain)
    derivative = _fit_derivative(likelihood, plain)
    likelihood, first = _with_located_moves(likelihood, plain)
    if derivative is not None:
        other, fit = _with_located_moves(likelihood, derivative)
        likelihood, first = (other, fit) if fit.cost < first.cost - LIMITS.derivative_gain else (likelihood, first)
    if likelihood.r_squared_and_log_var_ratio(first)[1] > LIMITS.first_regression_gain:
        return None
    profile_fits = profile_dead_time(likelihood.fit, first, max(likelihood.expected_dead_time, likelihood.grid.step),
                                     _MAX_DEAD_TIME_FACTOR * max(likelihood.expected_dead_time, likelihood.grid.step),
                                     _TIMING_STD_SCANS * likelihood.scan)
    best = min(profile_fits, key=lambda fit: fit.cost)
    return None if best.deviations[0] > LIMITS.max_log_std else _combine_fits(likelihood, profile_fits, law)


def _scans(interval: float, law: PidLaw) -> list[float]:
    """Return the candidate scan intervals, s, of a controller with this law at the samples."""
    if law.reset[0] <= 0:
        return []
    if interval > SCAN:
        return [SCAN, interval] if law.is_exact else [SCAN]
    return [] if law.is_exact or interval < _MAX_INTERVAL_SHARE * law.reset[0] else [interval / k
                                                                                     for k in _SCANS_IN_INTERVAL]


def _first_fits(likelihood: Likelihood) -> list[LoopFit]:
    """Return fits at the expected dead time, also with the time constants of lag and load exchanged."""
    one = likelihood.fit(likelihood.expected_dead_time, likelihood.prior_mean)
    other = likelihood.fit(likelihood.expected_dead_time,
                           likelihood.swap(one.parameters)) if one is not None and likelihood.lags else None
    return [fit for fit in (one, other) if fit is not None]


def _fit_derivative(likelihood: Likelihood, fit: LoopFit) -> LoopFit | None:
    """Return the fit with derivative action; None where it is not clearly better or the derivative is implausible."""
    starts = [np.insert(fit.parameters, -1, fit.parameters[1] + log(share)) for share in _DERIVATIVE_SHARES]
    other = likelihood.fit(fit.delay, min(starts, key=lambda start: likelihood.cost(fit.delay, start)))
    if other is None or other.cost > fit.cost - LIMITS.derivative_gain:
        return None
    is_plausible = log(_LEAST_DERIVATIVE_SCANS * likelihood.scan) < other.parameters[-2] < other.parameters[1]
    return other if is_plausible else None


def _with_located_moves(likelihood: Likelihood, fit: LoopFit) -> tuple[Likelihood, LoopFit]:
    """Return the fit with SP moves located between samples and the best set-point weight.

    A weight other than 0 or 1 is used only where it is clearly better.
    """
    if not likelihood.has_sp_moves:
        return likelihood, fit

    def fit_weight(weight: float, sigma: float) -> tuple[Likelihood, LoopFit]:
        weighted = likelihood.with_weight(weight, sigma)
        return weighted, weighted.fit(fit.delay, np.append(fit.parameters[:-1], weight)) or replace(fit, cost=inf)

    plain = min((fit_weight(weight, _FIXED_WEIGHT_STD) for weight in _USUAL_WEIGHTS),
                key=lambda one: one[1].cost)
    other = fit_weight(0.5, _FREE_WEIGHT_STD)
    return other if other[1].cost < plain[1].cost - LIMITS.weight_gain else plain


def _combine_fits(likelihood: Likelihood, fits: Sequence[LoopFit], law: PidLaw) -> ClosedLoop:
    """Return the estimates from fits at several dead times, weighted by their likelihood."""
    best = min(fits, key=lambda fit: fit.cost)
    values, deviations = np.array([fit.values for fit in fits]), np.array([fit.deviations for fit in fits])
    delays = np.array([fit.delay for fit in fits])
    weights = profile_weights(delays, np.array([fit.cost for fit in fits]))

    def interval(at: int) -> tuple[float, float, float]:
        low, high = quantiles(values[:, at], deviations[:, at], weights)
        value = float(best.values[at])
        return value, min(low, value), max(high, value)

    def exponential(at: int, sign: float = 1.0) -> tuple[float, float, float]:
        value, low, high = interval(at)
        return sign * exp(value), sign * exp(low), sign * exp(high)

    lags = likelihood.lags
    taus = [exponential(3)] if lags else []
    if lags == 2:
        taus.append(tuple(a * b for a, b in zip(taus[0], exponential(4), strict=True)))  # type: ignore[arg-type]
    early, late = quantiles(delays, np.full(len(delays), _TIMING_STD_SCANS * likelihood.scan), weights)
    gain_log_std = float(np.sqrt(weights @ (deviations[:, 2]**2 + (values[:, 2] - weights @ values[:, 2])**2)))
    derivative = exponential(-2) if likelihood.has_derivative(best.parameters) else (0.0, 0.0, 0.0)
    r_squared, log_var_ratio = likelihood.r_squared_and_log_var_ratio(best)
    return ClosedLoop(
        replace(law, gain=exponential(0, likelihood.sign), reset=exponential(1), weight=interval(-1),
                filter=DERIVATIVE_FILTER, is_hidden=False, derivative=derivative,
                r_squared=r_squared if law.is_hidden else law.r_squared),
        ProcessLaw(model=likelihood.model, gain=exponential(2, likelihood.sign), tau=tuple(taus),
                   gain_log_std=gain_log_std,
                   dead_time=(best.delay, max(0.0, min(early, best.delay)), max(late, best.delay)),
                   bic=best.cost + (len(best.values) + 1) * log(likelihood.samples), log_likelihood=-best.cost / 2.0),
        correlation=exponential(3 + lags), load=exponential(4 + lags), noise=exponential(5 + lags),
        log_var_ratio=log_var_ratio, samples=likelihood.samples)
