"""Controller and process together, from a record slower than the controller's scan.

Between two samples the controller scanned several times, each time with a PV that is not in the record: no sum over
the recorded errors is the integral that it made. So the loop is written down at its scans and seen at the samples, and
its likelihood is that of a Kalman filter's innovations (Ljung, 1999, section 13.5, joint input-output identification),
the highest at each dead time. Intervals hold 90 % of the likelihood over all dead times (Tierney and Kadane, 1986).
A loop that explains its record worse than a plain regression does is none of these, and is not reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, inf, log

import numpy as np

from clpm_execd.identification.closed_loop.likelihood import Likelihood, LoopFit
from clpm_execd.identification.closed_loop.state_space import DERIVATIVE_FILTER
from clpm_execd.identification.loop_data import Signals
from clpm_execd.identification.pid_regression import SCAN, PidLaw
from clpm_execd.identification.process.dead_time_profile import (
    ProcessLaw,
    profile_dead_time,
    profile_weights,
    quantiles,
)
from clpm_execd.identification.thresholds import LOOP as LIMITS
from clpm_execd.plant.specs import ProcessSpec

_LEAST_SAMPLES = 200
_SCANS_IN_INTERVAL = (1, 2, 5)  # that are tried where an interval is no longer than SCAN
_LITTLE = 0.05  # of the reset: a shorter interval hides little
_DERIVATIVES = (0.15, 0.05)  # of the reset, from which a derivative is searched for
_LEAST_DERIVATIVE_SCANS = 0.2  # a shorter one is what rounding and scans between samples do
_PLAIN_WEIGHTS = (1.0, 0.0)  # of SP, that nearly all controllers have
_PLAIN_SIGMA, _ANY_SIGMA = 1e-3, 4.0  # of the weight
_BLUR_SCANS = 0.5
_MOST_FACTOR = 3.0  # of the expected dead time, up to which it is searched for


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """The controller's law, the process, the load and the sensor's noise of a loop at its scans.

    load, % of travel, correlation, s, and noise, % of span: sigma of the load, its time, and sigma of the noise, each
    with its interval: value, low, high.
    """

    law: PidLaw
    process: ProcessLaw
    load: tuple[float, float, float]
    correlation: tuple[float, float, float]
    noise: tuple[float, float, float]


def estimate_closed_loop(signals: Signals, law: PidLaw, process: ProcessSpec, pv_step: float) -> ClosedLoop | None:
    """Return the loop whose law, seen at the samples only, is `law`, searched for from this process on.

    pv_step: in which PV was recorded, %. A law that is hidden says where to begin, and not which way the controller
    acts. None where every scan is in the record or what is between two samples matters little, where there are too few
    of them or they do not show the gain, and where nothing integrates.
    """
    signs = (1.0, -1.0) if law.is_hidden else (float(np.sign(law.gain[0])),)
    candidates = [Likelihood(signals, process, (abs(law.gain[0]), law.reset[0]), scan, sign, pv_step)
                  for scan in _scans(signals.interval, law) for sign in signs]
    if not candidates or candidates[0].samples < _LEAST_SAMPLES:
        return None
    fits = [(of, fit) for of in candidates for fit in _first_fits(of)]
    if not fits:
        return None
    of, plain = min(fits, key=lambda one: one[1].cost)
    of.use_noise(plain)
    derivative = _with_derivative(of, plain)
    of, first = _follow_moves(of, plain)
    if derivative is not None:
        other, fit = _follow_moves(of, derivative)
        of, first = (other, fit) if fit.cost < first.cost - LIMITS.derivative_gain else (of, first)
    if of.r_squared_and_log_var_ratio(first)[1] > LIMITS.first_regression_gain:
        return None
    fits_at = profile_dead_time(of.fit, first, max(of.expected, of.grid.step),
                                _MOST_FACTOR * max(of.expected, of.grid.step),
                                _BLUR_SCANS * of.scan)
    best = min(fits_at, key=lambda fit: fit.cost)
    if best.deviations[0] > LIMITS.max_log_std or of.r_squared_and_log_var_ratio(best)[1] > LIMITS.regression_gain:
        return None
    return _loop(of, fits_at, law)


def _scans(interval: float, law: PidLaw) -> list[float]:
    """Return the scans of controllers whose law, at the samples, may be this one."""
    if law.reset[0] <= 0:
        return []
    if interval > SCAN:
        return [SCAN, interval] if law.is_exact else [SCAN]
    return [] if law.is_exact or interval < _LITTLE * law.reset[0] else [interval / k for k in _SCANS_IN_INTERVAL]


def _first_fits(of: Likelihood) -> list[LoopFit]:
    """Return fits at the expected dead time, with lag and load in each other's place too."""
    one = of.fit(of.expected, of.typical)
    other = of.fit(of.expected, of.swap(one.parameters)) if one is not None and of.lags else None
    return [fit for fit in (one, other) if fit is not None]


def _with_derivative(of: Likelihood, fit: LoopFit) -> LoopFit | None:
    """Return the fit with a derivative, where one is likelier and neither longer than the reset nor hardly any."""
    starts = [np.insert(fit.parameters, -1, fit.parameters[1] + log(share)) for share in _DERIVATIVES]
    other = of.fit(fit.delay, min(starts, key=lambda start: of.cost(fit.delay, start)))
    if other is None or other.cost > fit.cost - LIMITS.derivative_gain:
        return None
    is_plausible = log(_LEAST_DERIVATIVE_SCANS * of.scan) < other.parameters[-2] < other.parameters[1]
    return other if is_plausible else None


def _follow_moves(of: Likelihood, fit: LoopFit) -> tuple[Likelihood, LoopFit]:
    """Return the fit with the likeliest plain weight of SP; with another one where that is plainly likelier."""
    if not of.has_moves:
        return of, fit

    def follow(weight: float, sigma: float) -> tuple[Likelihood, LoopFit]:
        held = of.with_weight(weight, sigma)
        return held, held.fit(fit.delay, np.append(fit.parameters[:-1], weight)) or replace(fit, cost=inf)

    plain = min((follow(weight, _PLAIN_SIGMA) for weight in _PLAIN_WEIGHTS), key=lambda one: one[1].cost)
    other = follow(0.5, _ANY_SIGMA)
    return other if other[1].cost < plain[1].cost - LIMITS.weight_gain else plain


def _loop(of: Likelihood, fits: Sequence[LoopFit], law: PidLaw) -> ClosedLoop:
    """Return the loop of the fits at several dead times, weighed by their likelihood."""
    best = min(fits, key=lambda fit: fit.cost)
    values, deviations = np.array([fit.values for fit in fits]), np.array([fit.deviations for fit in fits])
    delays = np.array([fit.delay for fit in fits])
    chance = profile_weights(delays, np.array([fit.cost for fit in fits]))

    def ends(at: int) -> tuple[float, float, float]:
        low, high = quantiles(values[:, at], deviations[:, at], chance)
        value = float(best.values[at])
        return value, min(low, value), max(high, value)

    def exponential(at: int, sign: float = 1.0) -> tuple[float, float, float]:
        value, low, high = ends(at)
        return sign * exp(value), sign * exp(low), sign * exp(high)

    lags = of.lags
    taus = [exponential(3)] if lags else []
    if lags == 2:
        taus.append(tuple(a * b for a, b in zip(taus[0], exponential(4), strict=True)))  # type: ignore[arg-type]
    early, late = quantiles(delays, np.full(len(delays), _BLUR_SCANS * of.scan), chance)
    gain_log_std = float(np.sqrt(chance @ (deviations[:, 2]**2 + (values[:, 2] - chance @ values[:, 2])**2)))
    derivative = exponential(-2) if of.derives(best.parameters) else (0.0, 0.0, 0.0)
    r_squared = of.r_squared_and_log_var_ratio(best)[0] if law.is_hidden else law.r_squared
    return ClosedLoop(
        replace(law, gain=exponential(0, of.sign), reset=exponential(1), weight=ends(-1), filter=DERIVATIVE_FILTER,
                is_hidden=False, derivative=derivative, r_squared=r_squared),
        ProcessLaw(model=of.model, gain=exponential(2, of.sign), tau=tuple(taus), gain_log_std=gain_log_std,
                   dead_time=(best.delay, max(0.0, min(early, best.delay)), max(late, best.delay)),
                   bic=best.cost + (len(best.values) + 1) * log(of.samples), log_likelihood=-best.cost / 2.0),
        correlation=exponential(3 + lags), load=exponential(4 + lags), noise=exponential(5 + lags))
