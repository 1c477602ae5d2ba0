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

from clpm_execd.identification.estimates import MAX_LOG_HALF_WIDTH, QUANTILE
from clpm_execd.identification.loop_data import Booleans, Signals, find_runs
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ControllerSpec

_POLES = (0.0, 0.8, 0.98, 1.0)  # of the noise; five others between them change no estimate of 37 loops
MIN_SAMPLES = 60
_LONGEST_FILTER = 16.0  # of a derivative, intervals
_FILTER_ROOT_TOLERANCE = 0.004  # of the square root of the derivative filter in its search, a thousandth of the longest
_MAX_UNEXPLAINED_RATIO = 0.5  # A derivative shorter than an interval must halve the unexplained variance of OP's moves.
_LIMIT_PERCENT = 0.05  # of travel: OP this close to an end is saturated
_BANDWIDTH_SAMPLES = 100  # of the long-run covariance
SCAN = 1.0  # s: the usual scan interval of controllers, assumed where the record does not show it
_MAX_ROUNDING_RATIO = 2.0  # of the residual variance to that of rounding, up to which a law is exact
_EXACT_R_SQUARED = 1.0 - 1e-7  # R2 of an exact law in a record without rounding
_MIN_SCAN_INTEGRAL_RATIO = 0.05  # of integral to proportional gain per interval, where one scan per interval is visible
_PROPORTIONAL_SHARE = 0.65  # of an interval's integral: between 1/2 for a linear error and 1 for a white one
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

    gain: tuple[float, float, float]
    reset: tuple[float, float, float]
    derivative: tuple[float, float, float]
    weight: tuple[float, float, float]
    filter: float
    r_squared: float
    is_exact: bool
    is_hidden: bool = False


@dataclass(frozen=True, slots=True)
class _Regression:
    filter: float | None  # intervals
    pole: float  # of the noise
    names: tuple[str, ...]
    values: Floats
    inverse: Floats  # of the normal matrix
    instruments: Floats  # equal to the regressors in ordinary least squares
    residuals: Floats
    cost: float
    r_squared: float  # as in `PidLaw`


def estimate_pid_law(signals: Signals, resolutions: tuple[float, float]) -> PidLaw | None:
    """Return the PID law of a loop; None where OP shows none. resolutions: of PV and OP, %."""
    pv_step = resolutions[0]
    usable = find_controlled_samples(signals)
    stretches = find_runs(usable, 20)
    if sum(s.stop - s.start for s in stretches) < MIN_SAMPLES:
        return None
    sp_moves = any(np.ptp(signals.sp[s]) > 1e-9 for s in stretches)
    best = _fit_best_pole(signals, stretches, pv_step, sp_moves, None)
    if best is None:
        return None
    alternative = _fit_derivative(signals, stretches, pv_step, sp_moves, best)
    # A gain of 10 for each of derivative and filter is more than Schwarz's criterion (1978) asks, log n of about 8.
    if alternative.cost < best.cost - 20.0 and _is_plausible_derivative(alternative, best, signals.interval):
        best = alternative
    if signals.interval <= SCAN and not _is_exact(best, resolutions):
        best = _fit_with_instruments(signals, stretches, pv_step, sp_moves, best)
    return _make_law(best, signals.interval, resolutions)


def _fit_with_instruments(signals: Signals, stretches: list[slice], pv_step: float, sp_moves: bool, plain: _Regression
                          ) -> _Regression:
    """Return the law by instrumental variables where these change the integral gain significantly, else `plain`.

    The record has one of several errors of a controller that scans between the samples. Their noise averages out in the
    controller's integral, but not in that of the record, which biases the integral gain towards zero. The delayed
    integral is independent of that noise and serves as instrument (Soderstrom and Stoica, 1983); Hausman's test (1978)
    shows whether it is needed.
    """
    parts = [_regressors(signals, s, sp_moves, plain.filter) for s in stretches]
    alternative = _fit(parts, [signals.op[s] for s in stretches], plain.pole, pv_step, sp_moves, plain.filter,
                       _INSTRUMENT_LAG_SAMPLES)
    if alternative is None:
        return plain
    deviation = sqrt(max(float(_covariance(alternative)[1, 1]), 0.0))
    is_needed = abs(alternative.values[1] - plain.values[1]) > 3.0 * deviation
    return replace(alternative, r_squared=plain.r_squared) if is_needed else plain


def explained_share(signals: Signals) -> float:
    """Return the share of the variance of OP's moves that a PI law explains; 0 where there are too few samples."""
    stretches = find_runs(find_controlled_samples(signals), 20)
    if sum(s.stop - s.start for s in stretches) < MIN_SAMPLES:
        return 0.0
    sp_moves = any(np.ptp(signals.sp[s]) > 1e-9 for s in stretches)
    best = _fit_best_pole(signals, stretches, 0.0, sp_moves, None)
    return 0.0 if best is None else best.r_squared


def controller_residuals(signals: Signals, controller: ControllerSpec) -> Floats:
    """Return the residuals (T,) of OP, %, for a controller of the ideal form with one scan per interval.

    Each stretch has a mean of zero. The residuals are NaN where the controller does not set OP.
    """
    gain, h = (controller.gain or 0.0) * (-1.0 if controller.action == "direct" else 1.0), signals.interval
    derivative = controller.derivative or 0.0
    tf = derivative / controller.derivative_filter / h
    gains = [1.0, h / controller.reset if controller.reset else 0.0, controller.setpoint_weight, derivative / h]
    residuals = np.full(len(signals.op), np.nan)
    for s in find_runs(find_controlled_samples(signals), 20):
        regressors = _regressors(signals, s, True, tf)
        # The part of the integral that counts as gain where a controller scans faster than the samples.
        regressors[:, 1] -= _proportional_part(h) * (signals.sp[s] - signals.pv[s])
        residual = signals.op[s] - gain * (regressors @ np.array(gains))
        residuals[s] = residual - residual.mean()
    return residuals


def _is_plausible_derivative(with_derivative: _Regression, best: _Regression, interval: float) -> bool:
    """Return whether the derivative is plausible: longer than an interval, and shorter than the reset.

    A shorter one can be an artefact of the scans between samples. It counts where the record has every scan and the
    derivative explains most of the rest.
    """
    shows = interval <= SCAN and 1.0 - with_derivative.r_squared < _MAX_UNEXPLAINED_RATIO * (1.0 - best.r_squared)
    share, rate = (with_derivative.values[-1] / with_derivative.values[0],
                   with_derivative.values[1] / with_derivative.values[0])
    return bool(share > (0.0 if shows else 1.0) and share * rate < 1.0)


def _fit_derivative(signals: Signals, stretches: list[slice], pv_step: float, sp_moves: bool, without: _Regression
                    ) -> _Regression:
    """Return the best law with a derivative: the root of its filter is found by Brent's method (1973)."""
    from scipy.optimize import minimize_scalar

    def fit_root(root: float) -> _Regression:
        return _fit_best_pole(signals, stretches, pv_step, sp_moves, root**2) or without

    return fit_root(float(minimize_scalar(lambda root: fit_root(root).cost, bounds=(0.0, _LONGEST_FILTER**0.5),
                                          method="bounded", options={"xatol": _FILTER_ROOT_TOLERANCE}).x))


def find_controlled_samples(signals: Signals) -> Booleans:
    """Return the mask (T,) of samples in which the controller sets OP: in automatic and not saturated."""
    controlled = signals.complete & signals.automatic
    with np.errstate(invalid="ignore"):
        controlled &= (signals.op > _LIMIT_PERCENT) & (signals.op < 100.0 - _LIMIT_PERCENT)
    return controlled


def _fit_best_pole(signals: Signals, stretches: list[slice], pv_step: float, sp_moves: bool, derivative: float | None
                   ) -> _Regression | None:
    parts = [_regressors(signals, s, sp_moves, derivative) for s in stretches]
    outputs = [signals.op[s] for s in stretches]
    fits = [_fit(parts, outputs, pole, pv_step, sp_moves, derivative) for pole in _POLES]
    best = min((fit for fit in fits if fit is not None), key=lambda fit: fit.cost, default=None)
    return best and replace(best, r_squared=_r_squared(parts, outputs, best.values))


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


def _fit(parts: list[Floats], outputs: list[Floats], pole: float, pv_step: float, sp_moves: bool,
         derivative: float | None, lag: int = 0) -> _Regression | None:
    """Return the generalised least-squares fit, with a constant per stretch. lag: of the integral's instrument."""
    filtered = [(_whiten(part, pole), _whiten(_delay_integral(part, lag), pole), _whiten(output, pole))
                for part, output in zip(parts, outputs, strict=True)]
    inputs, instruments, target = (np.concatenate(column) for column in zip(*filtered, strict=True))
    n, k = instruments.shape
    normal = instruments.T @ inputs
    rounding = n * (1.0 + pole * pole) * pv_step**2 / 12.0
    normal[0, 0] -= min(rounding, 0.5 * normal[0, 0])
    scale = np.sqrt(np.maximum(np.diag(normal), 1e-300))
    normal /= np.outer(scale, scale)
    if not np.isfinite(normal).all() or np.linalg.cond(normal) > 1e12:
        return None
    inverse = np.linalg.inv(normal) / np.outer(scale, scale)
    values = inverse @ (instruments.T @ target)
    residuals = target - inputs @ values
    names = ("p", "i") + (("b",) if sp_moves else ()) + (("d",) if derivative is not None else ())
    variance = float(residuals @ residuals) / max(n - k, 1)
    if variance <= 0.0:
        variance = 1e-300
    return _Regression(derivative, pole, names, values, inverse, instruments, residuals, n * log(variance), 0.0)


def _whiten(x: Floats, pole: float) -> Floats:
    """Return x filtered so that autoregressive noise of this pole is white, without its mean unless the pole is 1."""
    x = x[1:] - pole * x[:-1]
    return x - x.mean(axis=0) if pole < 1.0 else x


def _delay_integral(part: Floats, lag: int) -> Floats:
    if not lag:
        return part
    delayed = part.copy()
    delayed[lag:, 1] = part[:-lag, 1]
    delayed[:lag, 1] = part[0, 1]
    return delayed


def _covariance(fit: _Regression) -> Floats:
    return np.asarray(fit.inverse @ long_run_covariance(fit.instruments * fit.residuals[:, None],
                                                        _BANDWIDTH_SAMPLES) @ fit.inverse.T)


def _r_squared(parts: list[Floats], outputs: list[Floats], values: Floats) -> float:
    """Return the share of the sum of squares of OP's moves that the law explains."""
    moves = np.concatenate([np.diff(output) for output in outputs])
    residuals = [np.diff(output - part @ values) for part, output in zip(parts, outputs, strict=True)]
    return 1.0 - float(sum(one @ one for one in residuals)) / max(float(moves @ moves), 1e-300)


def long_run_covariance(scores: Floats, band: int) -> Floats:
    """Return the covariance (K, K) of the sum of scores (T, K) that are correlated over a band of lags.

    See Newey and West (1987).
    """
    total = scores.T @ scores
    for lag in range(1, min(band, len(scores) - 1) + 1):
        cross = scores[lag:].T @ scores[:-lag]
        total += (1.0 - lag / (band + 1.0)) * (cross + cross.T)
    return np.asarray(total)


def _interval(value: float, deviation: float) -> tuple[float, float, float]:
    return value, value - QUANTILE * deviation, value + QUANTILE * deviation


def _proportional_part(interval: float) -> float:
    """Return the part of an interval's integral that acts like proportional gain in a faster controller."""
    return _PROPORTIONAL_SHARE * max(0.0, interval - SCAN) / interval


def _is_exact(fit: _Regression, resolutions: tuple[float, float]) -> bool:
    """Return whether rounding alone explains the residuals."""
    p, i = np.abs(fit.values[:2])
    rounding = ((1.0 + fit.pole**2) * resolutions[1]**2 + ((p + i)**2 + (fit.pole * p)**2) * resolutions[0]**2) / 12.0
    return bool(np.mean(fit.residuals**2) < _MAX_ROUNDING_RATIO * rounding or fit.r_squared > _EXACT_R_SQUARED)


def _make_law(fit: _Regression, interval: float, resolutions: tuple[float, float]) -> PidLaw | None:
    coefficients = dict(zip(fit.names, fit.values.tolist(), strict=True))
    covariance = _covariance(fit)
    deviation = dict(zip(fit.names, np.sqrt(np.maximum(np.diag(covariance), 0.0)).tolist(), strict=True))
    p, i = coefficients["p"], coefficients["i"]
    if p == 0.0 or abs(p) < 3.0 * deviation["p"]:
        return None
    is_exact = _is_exact(fit, resolutions)
    # The integral over the scans between two samples acts like gain: half an interval's integral for an error that
    # moves linearly, all of it for white noise.
    proportional_part, max_share = _proportional_part(interval), 1.0
    if p * i <= 0 or (is_exact and (interval <= SCAN or i / p > _MIN_SCAN_INTEGRAL_RATIO)):
        proportional_part = max_share = 0.0
    rounding = _MIN_LOG_HALF_WIDTH_WITH_DERIVATIVE if "d" in coefficients else _MIN_LOG_HALF_WIDTH
    gain_std = max(deviation["p"], rounding / QUANTILE * abs(p))
    gain_ends = sorted((p - QUANTILE * gain_std * np.sign(p), p + max_share * i + QUANTILE * gain_std * np.sign(p)))
    gain = (p + proportional_part * i, float(gain_ends[0]), float(gain_ends[1]))
    reset = (0.0, 0.0, 0.0)
    if p * i > 0 and abs(i) > 3.0 * deviation["i"]:
        # The variance of log Ti with Ti = p h / i is that of the difference of the two relative errors.
        variance = (deviation["p"] / p) ** 2 + (deviation["i"] / i) ** 2 - 2.0 * covariance[0, 1] / (p * i)
        value, low, high = _ratio(p / i * interval, sqrt(max(float(variance), 0.0)), 2.0 * rounding)
        reset = (value + proportional_part * interval, low, high + max_share * interval)
    derivative, n = (0.0, 0.0, 0.0), 10.0
    if "d" in coefficients:
        at = fit.names.index("d")
        variance = (deviation["d"] / coefficients["d"]) ** 2 + (deviation["p"] / p) ** 2 - 2.0 * covariance[0, at] / (
            p * coefficients["d"])
        derivative = _ratio(coefficients["d"] / p * interval, sqrt(max(float(variance), 0.0)),
                            _MIN_DERIVATIVE_LOG_HALF_WIDTH)
        n = min(max(derivative[0] / max((fit.filter or 0.0) * interval, 1e-9), 1.0), 100.0)
    weight = (1.0, 1.0, 1.0)
    if "b" in coefficients:
        weight = _interval(coefficients["b"] / p, max(deviation["b"] / abs(p), _MIN_LOG_HALF_WIDTH))
    return PidLaw(gain, reset, derivative, weight, n, max(0.0, fit.r_squared), is_exact,
                  is_hidden=reset[0] == 0.0 and interval > SCAN and not is_exact)


def _ratio(value: float, relative: float, least: float) -> tuple[float, float, float]:
    factor = exp(min(max(QUANTILE * relative, least), MAX_LOG_HALF_WIDTH))
    return value, value / factor, value * factor
