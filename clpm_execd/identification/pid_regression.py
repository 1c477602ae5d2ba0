"""The controller's law from SP, PV and OP in automatic.

OP = Kc (b SP - PV + (1/Ti) integral e - Td dPV/dt) + noise is linear in its gains. They are found by generalised
least squares with first-order autoregressive noise (direct prediction-error method: Ljung, 1999, section 13.4), whose
pole runs from 0, OP is rounded, to 1, what happened between two samples adds up in the integral. The rounding of PV,
which would shrink the gain, is taken out of the normal equations (Stoica and Soderstrom, 1982). Intervals are those
of Newey and West (1987), whatever colour is left in the residual.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, log, sqrt

import numpy as np

from clpm_execd.identification.estimates import QUANTILE
from clpm_execd.identification.loop_data import Booleans, Signals, find_runs
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ControllerSpec

POLES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)
LEAST_SAMPLES = 60
_FILTERS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # derivative filters, intervals
_FILTER_APART = 0.002  # of a filter: nearer ones are the same
_PLAINLY = 0.5  # of what is not explained of OP's moves: what leaves less shows
_LIMIT = 0.05  # %: OP this near to an end of its travel is at its limit
_BANDWIDTH = 100
SCAN = 1.0  # s: of the controllers of plants, where a record does not tell
_AS_ROUNDING, _TO_ROUNDING = 2.0, 1.0 - 1e-7  # variances of what rounding leaves; share of OP's moves that is all
_PLAIN = 0.05  # of the gain: an integral of an interval that is plainly seen to be of one scan
_PARTLY = 0.65
_INSTRUMENT_LAG = 3  # samples: a controller's and a sensor's filters hardly remember noise for longer
_ROUNDING = 0.005  # of a value: what the rounding of OP leaves open at the least
_BESIDE, _OF_DERIVATIVE = 0.01, 0.05  # the same beside a derivative, and of that, whose filter the rounding of PV moves


@dataclass(frozen=True, slots=True)
class PidLaw:
    """gain: Kc, %/%, positive where OP rises as PV falls. reset: s, 0 where there is no integral action to be seen.

    derivative: s. weight: b. Each with its interval, (value, low, high). filter: N of the derivative.
    explained: which share of the variance of OP's moves the law explains, 0 to 1. exact: whether it explains OP to its
    last digit, as a law does all of whose scans are in the record. hidden: whether the record is so slow that an
    integral action which it does not show may be most of what moved OP.
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
    left: Floats  # the instruments, which are the inputs themselves in plain least squares
    rest: Floats
    cost: float
    r_squared: float  # as of `PidLaw`, of the best


def estimate_pid_law(signals: Signals, resolutions: tuple[float, float]) -> PidLaw | None:
    """The law of a loop whose PV and OP were recorded in these steps, %; None where OP does not tell any."""
    pv_step = resolutions[0]
    usable = find_controlled_samples(signals)
    stretches = find_runs(usable, 20)
    if sum(s.stop - s.start for s in stretches) < LEAST_SAMPLES:
        return None
    sp_moves = any(np.ptp(signals.sp[s]) > 1e-9 for s in stretches)
    best = _best(signals, stretches, pv_step, sp_moves, None)
    if best is None:
        return None
    found = _derivative(signals, stretches, pv_step, sp_moves, best)
    # Ten for a parameter and its filter: well above what chance gives (Schwarz, 1978, log n is about 8).
    if found.cost < best.cost - 20.0 and _derives(found, best, signals.interval):
        best = found
    if signals.interval <= SCAN and not _exact(best, resolutions):
        best = _instrumented(signals, stretches, pv_step, sp_moves, best)
    return _told(best, signals.interval, resolutions)


def _instrumented(signals: Signals, stretches: list[slice], pv_step: float, sp_moves: bool, plain: _Regression
                  ) -> _Regression:
    """Return the law with the integral's instrument some samples earlier, where that makes it plainly another.

    Of a controller that scans between the samples the record has one error of several. Their noise averages out in the
    controller's integral and not in the record's, which draws the integral gain towards zero. Noise of an earlier
    sample is independent of it (instrumental variables: Soderstrom and Stoica, 1983; whether they are needed:
    Hausman, 1978).
    """
    parts = [_regressors(signals, s, sp_moves, plain.filter) for s in stretches]
    found = _fit(parts, [signals.op[s] for s in stretches], plain.pole, pv_step, sp_moves, plain.filter,
                 _INSTRUMENT_LAG)
    if found is None:
        return plain
    deviation = sqrt(max(float(_covariance(found)[1, 1]), 0.0))
    is_needed = abs(found.values[1] - plain.values[1]) > 3.0 * deviation
    return replace(found, r_squared=plain.r_squared) if is_needed else plain


def explained_share(signals: Signals) -> float:
    """Return which share of the variance of OP's moves a PI law explains; 0 where there are too few samples."""
    stretches = find_runs(find_controlled_samples(signals), 20)
    if sum(s.stop - s.start for s in stretches) < LEAST_SAMPLES:
        return 0.0
    sp_moves = any(np.ptp(signals.sp[s]) > 1e-9 for s in stretches)
    best = _best(signals, stretches, 0.0, sp_moves, None)
    return 0.0 if best is None else best.r_squared


def controller_residuals(signals: Signals, controller: ControllerSpec) -> Floats:
    """(T,) what is in OP besides the controller's law, of the ideal form, around nought; NaN where OP is not its own.

    The law is that of the plant's controller at one scan an interval.
    """
    gain, h = (controller.gain or 0.0) * (-1.0 if controller.action == "direct" else 1.0), signals.interval
    derivative = controller.derivative or 0.0
    tf = derivative / controller.derivative_filter / h
    parts = [1.0, h / controller.reset if controller.reset else 0.0, controller.setpoint_weight, derivative / h]
    left = np.full(len(signals.op), np.nan)
    for s in find_runs(find_controlled_samples(signals), 20):
        seen = _regressors(signals, s, True, tf)
        seen[:, 1] -= _within(h) * (signals.sp[s] - signals.pv[s])  # what counts as gain, at one scan an interval
        rest = signals.op[s] - gain * (seen @ np.array(parts))
        left[s] = rest - rest.mean()
    return left


def _derives(found: _Regression, best: _Regression, interval: float) -> bool:
    """Whether it is a derivative: one shorter than an interval is what happened within that, unless that shows all.

    One longer than the reset is none that a loop is tuned with.
    """
    shows = interval <= SCAN and 1.0 - found.r_squared < _PLAINLY * (1.0 - best.r_squared)
    share, rate = found.values[-1] / found.values[0], found.values[1] / found.values[0]
    return bool(share > (0.0 if shows else 1.0) and share * rate < 1.0)


def _derivative(signals: Signals, stretches: list[slice], pv_step: float, sp_moves: bool, without: _Regression
                ) -> _Regression:
    """The best law with a derivative: a filter from the list, then between its neighbours (Brent, 1973)."""
    from scipy.optimize import minimize_scalar

    def tried(tf: float) -> _Regression:
        return _best(signals, stretches, pv_step, sp_moves, tf) or without

    costs = [tried(tf).cost for tf in _FILTERS]
    k = int(np.argmin(costs))
    ends = _FILTERS[max(k - 1, 0)], _FILTERS[min(k + 1, len(_FILTERS) - 1)]
    between = minimize_scalar(lambda tf: tried(tf).cost, bounds=ends, method="bounded",
                              options={"xatol": _FILTER_APART * ends[1]}).x
    return min((tried(tf) for tf in (_FILTERS[k], float(between))), key=lambda fit: fit.cost)


def find_controlled_samples(signals: Signals) -> Booleans:
    """Where the controller moves OP: in automatic, and not at a limit."""
    free = signals.complete & signals.automatic
    with np.errstate(invalid="ignore"):
        free &= (signals.op > _LIMIT) & (signals.op < 100.0 - _LIMIT)
    return free


def _best(signals: Signals, stretches: list[slice], pv_step: float, sp_moves: bool, derivative: float | None
          ) -> _Regression | None:
    parts = [_regressors(signals, s, sp_moves, derivative) for s in stretches]
    outputs = [signals.op[s] for s in stretches]
    fits = [_fit(parts, outputs, pole, pv_step, sp_moves, derivative) for pole in POLES]
    best = min((fit for fit in fits if fit is not None), key=lambda fit: fit.cost, default=None)
    return best and replace(best, r_squared=_r_squared(parts, outputs, best.values))


def _regressors(signals: Signals, s: slice, sp_moves: bool, derivative: float | None) -> Floats:
    """(T, K): -PV, the integral of e over intervals, then SP and the derivative where they are asked for."""
    pv, sp = signals.pv[s], signals.sp[s]
    columns = [-pv, np.cumsum(sp - pv)]
    if sp_moves:
        columns.append(sp - sp[0])
    if derivative is not None:
        columns.append(_derived(pv, derivative))
    return np.column_stack(columns)


def _derived(pv: Floats, tf: float) -> Floats:
    """The filtered fall of PV between samples; tf: filter, intervals."""
    from scipy.signal import lfilter

    fade = tf / (tf + 1.0)
    return np.asarray(lfilter([1.0 - fade], [1.0, -fade], -np.diff(pv, prepend=pv[0])))


def _fit(parts: list[Floats], outputs: list[Floats], pole: float, pv_step: float, sp_moves: bool,
         derivative: float | None, lag: int = 0) -> _Regression | None:
    """Generalised least squares; each stretch has a level of its own. lag: of the integral's instrument."""
    filtered = [(_whiten(part, pole), _whiten(_delay_integral(part, lag), pole), _whiten(output, pole))
                for part, output in zip(parts, outputs, strict=True)]
    inputs, left, right = (np.concatenate(column) for column in zip(*filtered, strict=True))
    n, k = left.shape
    normal = left.T @ inputs
    rounding = n * (1.0 + pole * pole) * pv_step**2 / 12.0
    normal[0, 0] -= min(rounding, 0.5 * normal[0, 0])
    scale = np.sqrt(np.maximum(np.diag(normal), 1e-300))
    normal /= np.outer(scale, scale)
    if not np.isfinite(normal).all() or np.linalg.cond(normal) > 1e12:
        return None
    inverse = np.linalg.inv(normal) / np.outer(scale, scale)
    values = inverse @ (left.T @ right)
    rest = right - inputs @ values
    names = ("p", "i") + (("b",) if sp_moves else ()) + (("d",) if derivative is not None else ())
    spread = float(rest @ rest) / max(n - k, 1)
    if spread <= 0.0:
        spread = 1e-300
    return _Regression(derivative, pole, names, values, inverse, left, rest, n * log(spread), 0.0)


def _whiten(x: Floats, pole: float) -> Floats:
    """Return what an autoregressive noise of this pole leaves white, around its mean where that has a level."""
    x = x[1:] - pole * x[:-1]
    return x - x.mean(axis=0) if pole < 1.0 else x


def _delay_integral(part: Floats, lag: int) -> Floats:
    if not lag:
        return part
    later = part.copy()
    later[lag:, 1] = part[:-lag, 1]
    later[:lag, 1] = part[0, 1]
    return later


def _covariance(fit: _Regression) -> Floats:
    return np.asarray(fit.inverse @ long_run_covariance(fit.left * fit.rest[:, None], _BANDWIDTH) @ fit.inverse.T
                      * _short(len(fit.rest)))


def _r_squared(parts: list[Floats], outputs: list[Floats], values: Floats) -> float:
    """Which share of the sum of squares of OP's moves the law makes."""
    moves = np.concatenate([np.diff(output) for output in outputs])
    left = [np.diff(output - part @ values) for part, output in zip(parts, outputs, strict=True)]
    return 1.0 - float(sum(rest @ rest for rest in left)) / max(float(moves @ moves), 1e-300)


def long_run_covariance(scores: Floats, band: int) -> Floats:
    """The covariance of the sum of scores, (T, K), that depend on each other over a band (Newey and West, 1987)."""
    total = scores.T @ scores
    for lag in range(1, min(band, len(scores) - 1) + 1):
        cross = scores[lag:].T @ scores[:-lag]
        total += (1.0 - lag / (band + 1.0)) * (cross + cross.T)
    return np.asarray(total)


def _short(samples: int) -> float:
    """By what the variances of a record not much longer than the band are too small (Kiefer and Vogelsang, 2005)."""
    b = min((_BANDWIDTH + 1.0) / samples, 1.0)
    return ((1.6449 + 2.1859 * b + 0.3142 * b**2 - 0.3427 * b**3) / 1.6449) ** 2


def _interval(value: float, deviation: float) -> tuple[float, float, float]:
    return value, value - QUANTILE * deviation, value + QUANTILE * deviation


def _within(interval: float) -> float:
    """Which part of an interval's integral counts as gain, of an error that is partly noise."""
    return _PARTLY * max(0.0, interval - SCAN) / interval


def _exact(fit: _Regression, resolutions: tuple[float, float]) -> bool:
    """Whether what is left is no more than rounding leaves."""
    p, i = np.abs(fit.values[:2])
    rounding = ((1.0 + fit.pole**2) * resolutions[1]**2 + ((p + i)**2 + (fit.pole * p)**2) * resolutions[0]**2) / 12.0
    return bool(np.mean(fit.rest**2) < _AS_ROUNDING * rounding or fit.r_squared > _TO_ROUNDING)


def _told(fit: _Regression, interval: float, resolutions: tuple[float, float]) -> PidLaw | None:
    found = dict(zip(fit.names, fit.values.tolist(), strict=True))
    covariance = _covariance(fit)
    deviation = dict(zip(fit.names, np.sqrt(np.maximum(np.diag(covariance), 0.0)).tolist(), strict=True))
    p, i = found["p"], found["i"]
    if p == 0.0 or abs(p) < 3.0 * deviation["p"]:
        return None
    is_exact = _exact(fit, resolutions)
    # What the scans between two samples integrate counts as gain, of an error that moves evenly half an interval's
    # integral, of one that is noise the whole.
    within, most = _within(interval), 1.0
    if p * i <= 0 or (is_exact and (interval <= SCAN or i / p > _PLAIN)):
        within = most = 0.0
    rounding = _BESIDE if "d" in found else _ROUNDING
    uncertain = max(deviation["p"], rounding / QUANTILE * abs(p))
    ends = sorted((p - QUANTILE * uncertain * np.sign(p), p + most * i + QUANTILE * uncertain * np.sign(p)))
    gain = (p + within * i, float(ends[0]), float(ends[1]))
    reset = (0.0, 0.0, 0.0)
    if p * i > 0 and abs(i) > 3.0 * deviation["i"]:
        # The logarithm of Ti = p h / i, whose errors are the two gains' relative ones, correlated.
        variance = (deviation["p"] / p) ** 2 + (deviation["i"] / i) ** 2 - 2.0 * covariance[0, 1] / (p * i)
        value, low, high = _ratio(p / i * interval, sqrt(max(float(variance), 0.0)), 2.0 * rounding)
        reset = (value + within * interval, low, high + most * interval)
    derivative, n = (0.0, 0.0, 0.0), 10.0
    if "d" in found:
        at = fit.names.index("d")
        variance = (deviation["d"] / found["d"]) ** 2 + (deviation["p"] / p) ** 2 - 2.0 * covariance[0, at] / (
            p * found["d"])
        derivative = _ratio(found["d"] / p * interval, sqrt(max(float(variance), 0.0)), _OF_DERIVATIVE)
        n = min(max(derivative[0] / max((fit.filter or 0.0) * interval, 1e-9), 1.0), 100.0)
    weight = (1.0, 1.0, 1.0)
    if "b" in found:
        weight = _interval(found["b"] / p, max(deviation["b"] / abs(p), _ROUNDING))
    return PidLaw(gain, reset, derivative, weight, n, max(0.0, fit.r_squared), is_exact,
                  is_hidden=reset[0] == 0.0 and interval > SCAN and not is_exact)


def _ratio(value: float, relative: float, least: float) -> tuple[float, float, float]:
    factor = exp(min(max(QUANTILE * relative, least), 50.0))
    return value, value / factor, value * factor
