"""Identifies controller and process together from a record slower than the controller's scan.

Between two samples the controller scans several times with a PV that is not in the record, so that the sum of the
recorded errors is not its integral. The loop is therefore modelled at its scans and observed at the samples. Its
likelihood is that of a Kalman filter's innovations (Ljung, 1999, section 13.5, joint input-output identification).
Intervals hold 90 % of a normal distribution of the logarithms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, log

import numpy as np

from clpm_execd.identification.closed_loop.likelihood import At, Likelihood, LoopFit
from clpm_execd.identification.closed_loop.pid_regression import DERIVATIVE_FILTER, SCAN, PidLaw
from clpm_execd.identification.estimates import MAX_LOG_HALF_WIDTH, QUANTILE, Interval
from clpm_execd.identification.loop_data import Signals
from clpm_execd.identification.oscillation import find_external_oscillation, find_oscillation
from clpm_execd.identification.process.dead_time_profile import profile_dead_time
from clpm_execd.identification.process.prediction_error import FIXED_STD
from clpm_execd.identification.process.process_law import ProcessLaw
from clpm_execd.identification.thresholds import LOOP as LIMITS
from clpm_execd.plant.specs import ProcessSpec

_SCANS_IN_INTERVAL = (1, 2, 5)  # the candidates where an interval is no longer than SCAN
_MAX_INTERVAL_SHARE = 0.05  # of the reset: in a shorter interval the integral changes too little to matter
_DERIVATIVE_SHARE = 0.1  # of the reset: the initial value of the derivative
_LEAST_DERIVATIVE_SCANS = 0.2  # Rounding and the scans between samples can look like a shorter one.
_WEIGHTS = ((1.0, FIXED_STD), (0.0, FIXED_STD), (0.5, 4.0))  # prior means and standard deviations of the weight


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """Estimates of the PID law and of the process with its load and sensor noise, of a loop at its scans.

    log_var_ratio: log ratio of the generalised variance of the `samples` innovations to that of a regression. period:
    of a periodic load, s, if there is one. cycle_gain: of twice the log-likelihood by it.
    """

    law: PidLaw
    process: ProcessLaw
    log_var_ratio: float
    samples: int
    period: Interval | None = None
    cycle_gain: float = 0.0


def estimate_closed_loop(signals: Signals, law: PidLaw, process: ProcessSpec, pv_step: float) -> ClosedLoop | None:
    """Return the estimates at the controller's scans, with initial values from `law` and `process`.

    law: the regression at the samples; if it is hidden, both controller actions are tried. pv_step: resolution of PV,
    % of span. None where the record has every scan, where the scans between samples matter little, where the record is
    too short or does not determine the gain, and where there is no integral action.
    """
    signs = (1.0, -1.0) if law.is_hidden else (float(np.sign(law.gain[0])),)
    candidates = [Likelihood(signals, process, (abs(law.gain[0]), law.reset[0]), scan, sign, pv_step)
                  for scan in _scans(signals.interval, law) for sign in signs]
    fits = [(likelihood, fit) for likelihood in candidates for fit in _first_fits(likelihood)]
    if not fits:
        return None
    likelihood, plain = min(fits, key=lambda one: one[1].cost)
    if likelihood.scan == signals.interval:
        return None
    likelihood.use_noise(plain)
    likelihood, plain, cycle_gain = _with_cycle(likelihood, plain, signals)
    derivative = _fit_derivative(likelihood, plain)
    likelihood, first = _with_located_moves(likelihood, plain)
    if derivative is not None:
        other, fit = _with_located_moves(likelihood, derivative)
        likelihood, first = (other, fit) if fit.cost < first.cost - LIMITS.derivative_gain else (likelihood, first)
    best, ends, likely_fits = profile_dead_time(likelihood.fit_at, first, float(first.parameters[At.DEAD_TIME]),
                                                log(likelihood.interval))
    is_determined = best.deviations[At.GAIN] < LIMITS.max_log_std
    return (replace(_make_estimates(likelihood, [best, *likely_fits], ends, law), cycle_gain=cycle_gain)
            if is_determined else None)


def _scans(interval: float, law: PidLaw) -> list[float]:
    """Return the candidate scan intervals, s, of a controller with this law at the samples."""
    if law.reset[0] <= 0:
        return []
    if interval > SCAN:
        return [SCAN, interval] if law.is_exact else [SCAN]
    return [] if law.is_exact or interval < _MAX_INTERVAL_SHARE * law.reset[0] else [interval / k
                                                                                     for k in _SCANS_IN_INTERVAL]


def _first_fits(likelihood: Likelihood) -> list[LoopFit]:
    """Return fits from the typical process, also with the time constants of lag and load exchanged."""
    one = likelihood.fit(likelihood.prior_mean)
    other = None
    if one is not None and one.parameters[likelihood.lags].size:
        other = likelihood.fit(likelihood.swap(one.parameters))
    return [fit for fit in (one, other) if fit is not None]


def _with_cycle(likelihood: Likelihood, fit: LoopFit, signals: Signals) -> tuple[Likelihood, LoopFit, float]:
    """Return the fit with a periodic load from outside, where it is clearly better, and its gain.

    A load without a period would be fitted to the wave instead, and in a closed loop a wrong model of the load biases
    the process (Ljung, 1999, section 13.4).
    """
    cycle = find_oscillation(signals)
    line = find_external_oscillation(likelihood.innovations_of(fit)[:, 0], signals.interval, cycle and cycle[0])
    if line is None:
        return likelihood, fit, 0.0
    cyclic = likelihood.with_cycle(line[0])
    other = cyclic.fit(np.insert(fit.parameters, likelihood.lags.stop, cyclic.prior_mean[cyclic.cycle]))
    if other is None or other.cost > fit.cost - LIMITS.period_gain:
        return likelihood, fit, 0.0
    return cyclic, other, fit.cost - other.cost


def _fit_derivative(likelihood: Likelihood, fit: LoopFit) -> LoopFit | None:
    """Return the fit with derivative action; None where it is not clearly better or the derivative is implausible."""
    other = likelihood.fit(np.insert(fit.parameters, At.WEIGHT, fit.parameters[At.RESET] + log(_DERIVATIVE_SHARE)))
    if other is None or other.cost > fit.cost - LIMITS.derivative_gain:
        return None
    reset, derivative = other.parameters[[At.RESET, At.DERIVATIVE]]
    is_plausible = log(_LEAST_DERIVATIVE_SCANS * likelihood.scan) < derivative < reset
    return other if is_plausible else None


def _with_located_moves(likelihood: Likelihood, fit: LoopFit) -> tuple[Likelihood, LoopFit]:
    """Return the fit with SP moves located between samples and the best set-point weight.

    Nearly all controllers have a weight of 1, and most others of 0: another one must be clearly better.
    """
    if not likelihood.has_sp_moves:
        return likelihood, fit

    best, best_fit = likelihood, replace(fit, cost=inf)
    for weight, std in _WEIGHTS:
        weighted = likelihood.with_weight(weight, std)
        other = weighted.fit(np.append(fit.parameters[:At.WEIGHT], weight))
        if other is not None and other.cost < best_fit.cost - LIMITS.weight_gain:
            best, best_fit = weighted, other
    return best, best_fit


def _make_estimates(likelihood: Likelihood, fits: Sequence[LoopFit], ends: tuple[float, float], law: PidLaw
                    ) -> ClosedLoop:
    """Return the estimates of the first fit, with intervals that hold those of all fits at likely dead times.

    ends: of the interval of the dead time, as its parameter.
    """
    fit = fits[0]
    values, half_widths = np.array([(one.values, QUANTILE * one.deviations) for one in fits]).transpose(1, 0, 2)
    low, high = np.clip([(values - half_widths).min(axis=0), (values + half_widths).max(axis=0)],
                        fit.values - MAX_LOG_HALF_WIDTH, fit.values + MAX_LOG_HALF_WIDTH)
    signs = np.where(np.isin(np.arange(len(low)), (At.GAIN, At.PROCESS_GAIN)), likelihood.sign, 1.0)  # of the gains
    estimates = [(value, one, other) for value, one, other in (signs * np.exp([fit.values, low, high])).T.tolist()]
    weight, least_weight, greatest_weight = (float(part[At.WEIGHT]) for part in (fit.values, low, high))
    r_squared, log_var_ratio = likelihood.r_squared_and_log_var_ratio(fit)
    dead_time, *ends_of_dead_time = (likelihood.dead_time_of(end) for end in (fit.values[At.DEAD_TIME], *ends))
    return ClosedLoop(
        replace(law, gain=estimates[At.GAIN], reset=estimates[At.RESET],
                weight=(weight, least_weight, greatest_weight), filter=DERIVATIVE_FILTER,
                is_hidden=False, r_squared=r_squared if law.is_hidden else law.r_squared,
                derivative=estimates[At.DERIVATIVE] if likelihood.has_derivative(fit.parameters) else (0.0, 0.0, 0.0)),
        ProcessLaw(model=likelihood.model, gain=estimates[At.PROCESS_GAIN], tau=tuple(estimates[likelihood.lags]),
                   gain_log_std=float(fit.deviations[At.PROCESS_GAIN]),
                   dead_time=(dead_time, min(dead_time, *ends_of_dead_time), max(dead_time, *ends_of_dead_time)),
                   bic=fit.cost + len(fit.values) * log(likelihood.samples), log_likelihood=-fit.cost / 2.0,
                   correlation=estimates[At.CORRELATION], load=estimates[At.LOAD], noise=estimates[At.NOISE]),
        log_var_ratio=log_var_ratio, samples=likelihood.samples, period=next(iter(estimates[likelihood.cycle]), None))
