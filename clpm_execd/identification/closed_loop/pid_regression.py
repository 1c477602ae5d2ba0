"""Regression of the PID law from SP, PV and OP in automatic.

OP = Kc (b SP - PV + (1/Ti) integral e - Td dPV/dt) + noise is linear in its gains, which are estimated by generalised
least squares with first-order autoregressive noise (direct prediction-error method: Ljung, 1999, section 13.4). The
pole of the noise is between 0, for the rounding of OP, and 1, for the unobserved changes between two samples, which
accumulate in the integral. The rounding of PV would bias the gain towards zero and is removed from the normal equations
(Stoica and Soderstrom, 1982). Intervals use the covariance of Newey and West (1987), valid for coloured residuals.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, log, sqrt

import numpy as np

from clpm_execd.identification.estimates import MAX_LOG_HALF_WIDTH, QUANTILE, Interval
from clpm_execd.identification.loop_data import ROUNDING, TINY, Signals, find_runs, rounding_variance
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ControllerSpec

_POLES = (0.0, 0.8, 0.98, 1.0)  # of the noise; five others between them change no estimate of 37 loops
_MIN_SAMPLES, _MIN_STRETCH_SAMPLES = 60, 20
_MIN_GAIN_2LOGL = 20.0  # of derivative and filter: more than Schwarz's criterion (1978), log n of about 8 for each
_SIGNIFICANT_STDS = 3.0  # of an estimate from 0, or from another one: a chance of 1 in 400
_MAX_CONDITION = 1e12  # of the normal matrix: beyond it inversion leaves four digits of sixteen
_LONGEST_FILTER = 16.0  # of a derivative, intervals
_FILTER_ROOT_TOLERANCE = 0.004  # of the square root of the derivative filter in its search, a thousandth of the longest
_MAX_UNEXPLAINED_RATIO = 0.5  # A derivative shorter than an interval must halve the unexplained variance of OP's moves.
_MIN_INTEGRAL_RATIO = -0.1  # of integral to proportional gain per interval: -0.9 where PV answers within it, 0 of a P
_BANDWIDTH_SAMPLES = 100  # of the long-run covariance
DERIVATIVE_FILTER = 10.0  # N of the derivative filter, the usual value, assumed where the record does not show it
SCAN = 1.0  # s: the usual scan interval of controllers, assumed where the record does not show it
_MAX_ROUNDING_RATIO = 2.0  # of the residual variance to that of rounding, up to which a law is exact
_EXACT_R_SQUARED = 1.0 - 1e-7  # R2 of an exact law in a record without rounding
_INSTRUMENT_LAG_SAMPLES = 3  # The filters of controller and sensor hardly correlate noise over more samples.
_MIN_LOG_HALF_WIDTH = 0.005  # of the interval of the gain: the uncertainty due to the rounding of OP
_MIN_LOG_HALF_WIDTH_WITH_DERIVATIVE = 0.01  # the same for a law with a derivative
_MIN_DERIVATIVE_LOG_HALF_WIDTH = 0.05  # of the interval of the derivative, whose filter depends on the rounding of PV


@dataclass(frozen=True, slots=True)
class PidLaw:
    """Estimates of a PID law, each as value, low and high end of its 90 % interval.

    gain: Kc, %/%, positive for a reverse-acting controller. reset: s, 0 where no integral action is visible.
    derivative: s. weight: set-point weight b. filter: N of the derivative. r_squared: share of the variance of OP's
    moves that the law explains, 0 to 1. is_exact: whether it explains OP except for rounding, as it does where every
    scan is in the record. is_hidden: whether the record is so slow that invisible integral action may dominate OP.
    """

    gain: Interval
    reset: Interval
    derivative: Interval = (0.0, 0.0, 0.0)
    weight: Interval = (1.0, 1.0, 1.0)
    filter: float = DERIVATIVE_FILTER
    r_squared: float = 0.0
    is_exact: bool = False
    is_hidden: bool = False


@dataclass(frozen=True, slots=True)
class _Fit:
    """A fitted law. values: the coefficients of `_Regression.regressors`. instruments: equal to the regressors in
    ordinary least squares. derivative_filter: intervals; None without a derivative. r_squared: as in `PidLaw`.
    """

    derivative_filter: float | None
    pole: float
    values: Floats
    inverse: Floats  # of the normal matrix
    instruments: Floats
    residuals: Floats
    cost: float
    r_squared: float

    def covariance(self) -> Floats:
        """Return the covariance of the values."""
        scores = long_run_covariance(self.instruments * self.residuals[:, None], _BANDWIDTH_SAMPLES)
        return np.asarray(self.inverse @ scores @ self.inverse.T)


def estimate_pid_law(signals: Signals, resolutions: tuple[float, float]) -> PidLaw | None:
    """Return the PID law of a loop; None where OP shows none. resolutions: of PV and OP, %."""
    regression = _Regression(signals, resolutions[0])
    best = regression.fit_best_pole()
    if best is None:
        return None
    alternative = regression.fit_derivative(best)
    if alternative.cost < best.cost - _MIN_GAIN_2LOGL and _is_plausible_derivative(alternative, best, signals.interval):
        best = alternative
    if signals.interval <= SCAN and not _is_exact(best, resolutions):
        best = regression.fit_with_instruments(best)
    return _make_law(best, signals.interval, resolutions, regression.has_sp_moves)


def explained_share(signals: Signals) -> tuple[float, bool]:
    """Return the share of the variance of OP's moves that a PI law explains, and whether that may be a controller's.

    Where PV answers OP within an interval the inverse of the process explains the OP before, with an integral of the
    opposite sign. Without enough samples the share is 0.
    """
    best = _Regression(signals, 0.0).fit_best_pole()
    if best is None or best.values[0] == 0.0:
        return 0.0, False
    return best.r_squared, bool(best.values[1] / best.values[0] > _MIN_INTEGRAL_RATIO)


class _Regression:
    """The regression of OP in the stretches of a record in which the controller sets it. pv_step: resolution, %."""

    def __init__(self, signals: Signals, pv_step: float) -> None:
        self._signals, self._pv_step = signals, pv_step
        self._stretches = find_runs(signals.controlled, _MIN_STRETCH_SAMPLES)
        self._outputs = [signals.op[s] for s in self._stretches]
        self.has_sp_moves = any(np.ptp(signals.sp[s]) > ROUNDING for s in self._stretches)

    def fit_best_pole(self, derivative_filter: float | None = None) -> _Fit | None:
        """Return the fit with the pole of the noise that explains OP best; None where there are too few samples."""
        if sum(map(len, self._outputs)) < _MIN_SAMPLES:
            return None
        parts = self._regressors(derivative_filter)
        fits = [self._fit(parts, parts, pole, derivative_filter) for pole in _POLES]
        best = min((fit for fit in fits if fit is not None), key=lambda fit: fit.cost, default=None)
        return best and replace(best, r_squared=self._r_squared(parts, best.values))

    def fit_derivative(self, without: _Fit) -> _Fit:
        """Return the best law with a derivative: the root of its filter is found by Brent's method (1973)."""
        from scipy.optimize import minimize_scalar

        def fit_root(root: float) -> _Fit:
            return self.fit_best_pole(root**2) or without

        return fit_root(float(minimize_scalar(lambda root: fit_root(root).cost, bounds=(0.0, _LONGEST_FILTER**0.5),
                                              method="bounded", options={"xatol": _FILTER_ROOT_TOLERANCE}).x))

    def fit_with_instruments(self, plain: _Fit) -> _Fit:
        """Return the law by instrumental variables where these change the integral gain significantly, else `plain`.

        The record has one of several errors of a controller that scans between the samples. Their noise averages out in
        the controller's integral, but not in that of the record, which biases the integral gain towards zero. The
        delayed integral is independent of that noise and serves as instrument (Soderstrom and Stoica, 1983); Hausman's
        test (1978) shows whether it is needed.
        """
        parts = self._regressors(plain.derivative_filter)
        alternative = self._fit(parts, [_delay_integral(part) for part in parts], plain.pole, plain.derivative_filter)
        if alternative is None:
            return plain
        deviation = sqrt(max(float(alternative.covariance()[1, 1]), 0.0))
        is_needed = abs(alternative.values[1] - plain.values[1]) > _SIGNIFICANT_STDS * deviation
        return replace(alternative, r_squared=plain.r_squared) if is_needed else plain

    def _regressors(self, derivative_filter: float | None) -> list[Floats]:
        return [_regressors(self._signals, s, self.has_sp_moves, derivative_filter) for s in self._stretches]

    def _fit(self, parts: list[Floats], instruments: list[Floats], pole: float, derivative_filter: float | None
             ) -> _Fit | None:
        """Return the generalised least-squares fit, with a constant per stretch."""
        x, z, y = (np.concatenate([_whiten(one, pole) for one in series])
                   for series in (parts, instruments, self._outputs))
        n, k = z.shape
        normal = z.T @ x
        rounding = n * (1.0 + pole**2) * rounding_variance(self._pv_step)
        normal[0, 0] -= min(rounding, normal[0, 0] / 2.0)
        scale = np.sqrt(np.maximum(np.diag(normal), TINY))
        normal /= np.outer(scale, scale)
        if not np.isfinite(normal).all() or np.linalg.cond(normal) > _MAX_CONDITION:
            return None
        inverse = np.linalg.inv(normal) / np.outer(scale, scale)
        values = inverse @ (z.T @ y)
        residuals = y - x @ values
        variance = max(float(residuals @ residuals) / max(n - k, 1), TINY)
        return _Fit(derivative_filter, pole, values, inverse, z, residuals, n * log(variance), 0.0)

    def _r_squared(self, parts: list[Floats], values: Floats) -> float:
        """Return the share of the sum of squares of OP's moves that the law explains."""
        moves = np.concatenate([np.diff(output) for output in self._outputs])
        residuals = [np.diff(output - part @ values) for part, output in zip(parts, self._outputs, strict=True)]
        return 1.0 - float(sum(one @ one for one in residuals)) / max(float(moves @ moves), TINY)


def controller_residuals(signals: Signals, controller: ControllerSpec) -> Floats:
    """Return the residuals (T,) of OP, %, for a controller of the ideal form with one scan per interval.

    Each stretch has a mean of zero. The residuals are NaN where the controller does not set OP.
    """
    gain, h = (controller.gain or 0.0) * (-1.0 if controller.action == "direct" else 1.0), signals.interval
    derivative = controller.derivative or 0.0
    tf = derivative / controller.derivative_filter / h
    gains = [1.0, h / controller.reset if controller.reset else 0.0, controller.setpoint_weight, derivative / h]
    residuals = np.full(len(signals.op), np.nan)
    for s in find_runs(signals.controlled, _MIN_STRETCH_SAMPLES):
        regressors = _regressors(signals, s, True, tf)
        residual = signals.op[s] - gain * (regressors @ np.array(gains))
        residuals[s] = residual - residual.mean()
    return residuals


def _is_plausible_derivative(fit: _Fit, without: _Fit, interval: float) -> bool:
    """Return whether the derivative is plausible: longer than an interval, and shorter than the reset.

    A shorter one can be an artefact of the scans between samples. It counts where the record has every scan and the
    derivative explains most of the rest.
    """
    shows = interval <= SCAN and 1.0 - fit.r_squared < _MAX_UNEXPLAINED_RATIO * (1.0 - without.r_squared)
    derivative, rate = fit.values[-1] / fit.values[0], fit.values[1] / fit.values[0]
    return bool(derivative > (0.0 if shows else 1.0) and derivative * rate < 1.0)


def _regressors(signals: Signals, s: slice, sp_moves: bool, derivative: float | None) -> Floats:
    """Return the regressors (T, K): -PV, the integral of e in intervals, and optionally SP and the derivative."""
    pv, sp = signals.pv[s], signals.sp[s]
    columns = [-pv, np.cumsum(sp - pv)]
    if sp_moves:
        columns.append(sp - sp[0])
    if derivative is not None:
        columns.append(_filter_derivative(pv, derivative))
    return np.column_stack(columns)


def _filter_derivative(pv: Floats, tf: float) -> Floats:
    """Return the filtered derivative of -PV per interval. tf: time constant of the filter, intervals."""
    from scipy.signal import lfilter

    decay = tf / (tf + 1.0)
    return np.asarray(lfilter([1.0 - decay], [1.0, -decay], -np.diff(pv, prepend=pv[0])))


def _whiten(x: Floats, pole: float) -> Floats:
    """Return x filtered so that autoregressive noise of this pole is white, without its mean unless the pole is 1."""
    x = x[1:] - pole * x[:-1]
    return x - x.mean(axis=0) if pole < 1.0 else x


def _delay_integral(part: Floats) -> Floats:
    delayed, lag = part.copy(), _INSTRUMENT_LAG_SAMPLES
    delayed[lag:, 1], delayed[:lag, 1] = part[:-lag, 1], part[0, 1]
    return delayed


def long_run_covariance(scores: Floats, band: int) -> Floats:
    """Return the covariance (K, K) of the sum of scores (T, K) that are correlated over a band of lags.

    See Newey and West (1987).
    """
    total = scores.T @ scores
    for lag in range(1, min(band, len(scores) - 1) + 1):
        cross = scores[lag:].T @ scores[:-lag]
        total += (1.0 - lag / (band + 1.0)) * (cross + cross.T)
    return np.asarray(total)


def _is_exact(fit: _Fit, resolutions: tuple[float, float]) -> bool:
    """Return whether rounding alone explains the residuals."""
    p, i = np.abs(fit.values[:2])
    of_pv, of_op = map(rounding_variance, resolutions)
    rounding = (1.0 + fit.pole**2) * of_op + ((p + i)**2 + (fit.pole * p)**2) * of_pv
    return bool(np.mean(fit.residuals**2) < _MAX_ROUNDING_RATIO * rounding or fit.r_squared > _EXACT_R_SQUARED)


def _make_law(fit: _Fit, interval: float, resolutions: tuple[float, float], has_sp_moves: bool) -> PidLaw | None:
    covariance, has_derivative = fit.covariance(), fit.derivative_filter is not None
    p, i = fit.values[:2].tolist()
    deviations = np.sqrt(np.maximum(np.diag(covariance), 0.0)).tolist()
    if p == 0.0 or abs(p) < _SIGNIFICANT_STDS * deviations[0]:
        return None

    def ratio(over: int, under: int, least: float) -> Interval:
        """Return the ratio of two coefficients, intervals, in s. least: half width of the interval of its logarithm."""
        # The variance of the logarithm is that of the difference of the two relative errors.
        variance = ((deviations[over] / fit.values[over])**2 + (deviations[under] / fit.values[under])**2
                    - 2.0 * covariance[over, under] / (fit.values[over] * fit.values[under]))
        value = float(fit.values[over] / fit.values[under]) * interval
        factor = exp(min(max(QUANTILE * sqrt(max(float(variance), 0.0)), least), MAX_LOG_HALF_WIDTH))
        return value, value / factor, value * factor

    is_exact = _is_exact(fit, resolutions)
    # The integral over unknown scans between two samples acts like gain: half of it for an error that moves linearly,
    # all of it for white noise.
    largest_share = 0.0 if is_exact or p * i <= 0 else 1.0
    share = largest_share / 2.0 if interval > SCAN else 0.0
    rounding = _MIN_LOG_HALF_WIDTH_WITH_DERIVATIVE if has_derivative else _MIN_LOG_HALF_WIDTH
    half_width = float(np.sign(p)) * max(QUANTILE * deviations[0], rounding * abs(p))
    low, high = sorted((p - half_width, p + largest_share * i + half_width))
    reset = derivative = (0.0, 0.0, 0.0)
    if p * i > 0 and abs(i) > _SIGNIFICANT_STDS * deviations[1]:
        value, *ends = ratio(0, 1, 2.0 * rounding)
        reset = (value + share * interval, ends[0], ends[1] + largest_share * interval)
    n = DERIVATIVE_FILTER
    if has_derivative:
        derivative = ratio(-1, 0, _MIN_DERIVATIVE_LOG_HALF_WIDTH)
        n = derivative[0] / max((fit.derivative_filter or 0.0) * interval, TINY)
    weight = (1.0, 1.0, 1.0)
    if has_sp_moves:
        b, deviation = float(fit.values[2]) / p, max(deviations[2] / abs(p), _MIN_LOG_HALF_WIDTH)
        weight = (b, b - QUANTILE * deviation, b + QUANTILE * deviation)
    return PidLaw((p + share * i, low, high), reset, derivative, weight, n, max(0.0, fit.r_squared),
                  is_exact, is_hidden=reset[0] == 0.0 and interval > SCAN and not is_exact)
