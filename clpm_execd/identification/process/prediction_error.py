"""The process that predicts PV from OP with the least errors at a dead time.

A prediction-error method with a model of the noise (Ljung, 1999, chapters 7 and 13; Forssell and Ljung, 1999):
A D PV = K B D OP + C e, with the process K B/A of the plant's own models behind any dead time, and C that of a load of
first order (D) at its input and white noise of the sensor. The lags and the noise are found by nonlinear least squares
and the gain by linear ones (Golub and Pereyra, 1973). Lags and dead time are held, loosely, to what is typical, so that
a record that tells little of them does not lead astray; the gain is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import accumulate
from math import exp, inf, log, sqrt

import numpy as np

from clpm_execd.identification.loop_data import Signals, find_runs
from clpm_execd.identification.process.transfer_functions import Filters, make_filters, pole_logit, pole_of
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ProcessSpec

MIN_STRETCH_SAMPLES = 60
SETTLING_SAMPLES = 20  # at the start of a stretch, that the filters need
NOISES = ((1.0, 0.0), (4.0, 2.0), (7.0, 3.0))  # logit of the load's pole, log of its size beside the sensor's noise
LAG_SIGMAS = (1.2, 0.5)  # of the log of the first lag, and of the second's share of it
DEAD_TIME_SIGMA = 1.0  # of the log of the dead time, a sample added
_MAX_SAMPLES, _MAX_STRETCHES = 20_000, 8
_MAX_PARTS = 10
_LOG_STEP = 1e-4  # of a logarithm, for a slope
_MAX_EVALUATIONS = 30
_LEAST_GAIN = 0.01  # of the likelihood's logarithm, doubled: a smaller one ends a search
_HARMONICS = (1.0, 3.0)  # of an oscillation


def jacobian(function: Callable[[Floats], Floats], at: Floats) -> Floats:
    """Return (n, K) the slopes of a function of K logarithms."""
    here = function(at)
    return np.array([function(at + step) - here for step in _LOG_STEP * np.eye(len(at))]).T / _LOG_STEP


def least_squares(residual: Callable[[Floats], Floats], start: Floats, slopes: Callable[[Floats], Floats] | None = None,
                  least_gain: float = _LEAST_GAIN, most: int = _MAX_EVALUATIONS) -> Floats | None:
    """Return where residuals are least, by the method of Levenberg and Marquardt (More, 1978); None where nowhere.

    least_gain: of the likelihood's logarithm, doubled; a smaller one ends the search.
    """
    from scipy.optimize import leastsq

    try:
        first = residual(start)
        if len(first) <= len(start) or not np.isfinite(first).all():
            return None
        return np.asarray(leastsq(residual, start, Dfun=slopes or (lambda at: jacobian(residual, at)), full_output=True,
                                  maxfev=most, ftol=least_gain / len(first), xtol=1e-4)[0])
    except (ValueError, np.linalg.LinAlgError):
        return None


@dataclass(frozen=True, slots=True)
class Fit:
    """At one dead time, s: logs of the first lag and of the second's share of it, then the noise.

    sigma: of the residuals. cost: n log of their variance, and what the priors add.
    """

    delay: float
    parameters: Floats
    gain: float
    sigma: float
    cost: float


class PredictionErrorModel:
    """Of PV by OP, for processes around a typical one.

    period: s, of an oscillation that comes from elsewhere; what has this period, or a third of it, counts for nothing.
    around: the typical process, no lag far below an interval. typical: logs of its lags, the second's as its share of
    the first. where: the stretches of the record in which PV and OP move. scale: sigma of the errors that priors are
    weighed against. parts: at most so many scans, of 1 s, are taken to lie in an interval.
    """

    def __init__(self, signals: Signals, around: ProcessSpec, period: float | None = None, *,
                 parts: int = _MAX_PARTS) -> None:
        self.model, self.expected, self.interval = around.model, around.dead_time, signals.interval
        self._parts = max(1, min(round(signals.interval), parts))
        self.scan = signals.interval / self._parts
        lags = [max(t, 0.2 * signals.interval) for t in around.tau]
        self.around = replace(around, tau=tuple(lags))
        self.typical = np.array([log(lag) for lag in lags[:1]] + [log(lag / lags[0]) for lag in lags[1:]])
        self.sigmas = np.array(LAG_SIGMAS[:len(lags)])
        self.scale = 0.0
        stretches = (slice(s.start, min(s.stop, s.start + _MAX_SAMPLES))
                     for s in find_runs(signals.complete, MIN_STRETCH_SAMPLES))
        self.where = [s for s in stretches if np.ptp(signals.op[s]) > 1e-6 and np.ptp(signals.pv[s]) > 1e-9
                      ][:_MAX_STRETCHES]
        self._pv = [signals.pv[s] - signals.pv[s.start] for s in self.where]
        self._op = self._moved(signals.op)
        self.samples = sum(len(pv) for pv in self._pv)
        self.period = period
        self._waves = np.linalg.qr(_level(self._moved(self._harmonics())).T)[0] if period and self.where else None

    def _harmonics(self) -> Floats:
        """Return (4, T) sines and cosines of the period of the oscillation, and of a third of it."""
        angles = 2.0 * np.pi * self.interval / (self.period or inf) * np.arange(self.where[-1].stop)
        return np.array([wave(part * angles) for part in _HARMONICS for wave in (np.sin, np.cos)])

    def _moved(self, op: Floats) -> list[Floats]:
        """Return what OP, (..., T), has moved since the start of each stretch, (..., n)."""
        return [op[..., s] - op[..., s.start:s.start + 1] for s in self.where]

    @property
    def starts(self) -> list[Floats]:
        """Where a fit may begin: the typical lags, with several noises."""
        return [np.concatenate([self.typical, noise]) for noise in NOISES]

    def swap(self, parameters: Floats, lag: int) -> Floats:
        """Return the parameters with the load as slow as this lag, and the lag as fast as the load."""
        k = len(self.typical)
        logs, noise = np.cumsum(parameters[:k]), parameters[k:].copy()
        noise[0], logs[lag] = (pole_logit(exp(-self.interval / exp(logs[lag]))),
                               log(-self.interval / log(pole_of(noise))))
        return np.concatenate([logs[:1], np.diff(logs), noise])

    def _filters(self, delay: float, parameters: Floats) -> Filters:
        k = len(self.typical)
        lags = tuple(exp(min(max(log_lag, -7.0), 16.0)) for log_lag in accumulate(parameters[:k].tolist()))
        process = ProcessSpec(model=self.model, gain=1.0, tau=lags, dead_time=delay)
        return make_filters(process, self.interval, self._parts, parameters[k:])

    def filtered(self, delay: float, parameters: Floats) -> tuple[Floats, Floats]:
        """Return (n,) filtered PV and (..., n) filtered OP: the errors are the former less the gain times the latter.

        delay in s. parameters: as in a Fit. Each stretch is around its mean, without its start and the oscillation.
        """
        of = self._filters(delay, parameters)
        y, u = _level([of.of_pv(pv) for pv in self._pv]), _level([of.of_op(op) for op in self._op])
        if self._waves is not None:
            y, u = y - self._waves @ (self._waves.T @ y), u - (u @ self._waves) @ self._waves.T
        return y, u

    def errors(self, delay: float, parameters: Floats) -> Floats:
        """Return (n,) the prediction errors with the gain that leaves the least."""
        y, u = self.filtered(delay, parameters)
        return y - _gain(y, u) * u

    def fit(self, delay: float, start: Floats) -> Fit | None:
        """Return the process that errs least at a dead time, s, searched for from these parameters on."""
        parameters = self._search(lambda at: (delay, at), start, _LEAST_GAIN)
        return None if parameters is None else self.at(delay, parameters)

    def fit_with_dead_time(self, delay: float, start: Floats, least_gain: float) -> Fit | None:
        """Return the same with the dead time, s, searched for as well. least_gain: see `least_squares`."""
        def split(at: Floats) -> tuple[float, Floats]:
            return max(exp(min(float(at[0]), 16.0)) - self.scan, 0.0), at[1:]

        at = self._search(split, np.array([log(delay + self.scan), *start]), least_gain)
        return None if at is None else self.at(*split(at))

    def _search(self, split: Callable[[Floats], tuple[float, Floats]], start: Floats, least_gain: float
                ) -> Floats | None:
        if self.samples <= 3 * (split(start)[0] / self.interval + SETTLING_SAMPLES):
            return None
        if not self.scale:
            self.scale = max(float(self.errors(*split(start)).std()), 1e-9)
        return least_squares(lambda at: np.append(self.errors(*split(at)), self.scale * self._unlike(*split(at))),
                             start, None, least_gain)

    def at(self, delay: float, parameters: Floats) -> Fit | None:
        """Return the process of these parameters and the gain that goes with them."""
        y, u = self.filtered(delay, parameters)
        gain, power = _gain(y, u), float(u @ u)
        error = y - gain * u
        spread = float(error @ error) / max(len(y) - len(parameters) - 1, 1)
        if not (power > 0 and 0 < spread < inf):
            return None
        unlike = self._unlike(delay, parameters)
        return Fit(delay, parameters, gain, sqrt(spread), len(y) * log(spread) + float(unlike @ unlike))

    def _unlike(self, delay: float, parameters: Floats) -> Floats:
        """Return (L + 1,) how far L lags and the dead time are from the typical, in standard deviations."""
        late = log((delay + self.interval) / (self.expected + self.interval)) / DEAD_TIME_SIGMA
        return np.append((parameters[:len(self.typical)] - self.typical) / self.sigmas, late)

    def behind(self, stem: Floats) -> PredictionErrorModel:
        """Return the same with a stem, or many, (..., T), in OP's place."""
        other = copy(self)
        other._op = self._moved(stem)
        return other

    def costs(self, fit: Fit, stems: Floats) -> Floats:
        """Return (M,) what a fit would cost with each of these stems, (M, T), in OP's place, the gain at its best."""
        y, u = self.behind(stems).filtered(fit.delay, fit.parameters)
        left = float(y @ y) - (u @ y) ** 2 / np.maximum(np.einsum("mn,mn->m", u, u), 1e-300)
        spread = np.maximum(left, 1e-300) / max(len(y) - len(fit.parameters) - 1, 1)
        return np.asarray(fit.cost + len(y) * (np.log(spread) - 2.0 * log(fit.sigma)))

    def estimate_oscillation_load(self, gain: float, delay: float, parameters: Floats) -> tuple[float, float, float]:
        """Return the oscillation as a load, as in `Innovations`, behind a process of this gain."""
        of = self._filters(delay, parameters)
        answer = gain * _level([of.of_op(load) for load in self._moved(self._harmonics())]).T
        error = _level([of.of_pv(pv) - gain * of.of_op(op) for pv, op in zip(self._pv, self._op, strict=True)])
        parts = np.linalg.lstsq(answer, error, rcond=None)[0]
        rest = error - answer @ parts
        spread = np.linalg.pinv(answer.T @ answer) * float(rest @ rest) / len(error)
        first, third = float(np.hypot(*parts[:2])), float(np.hypot(*parts[2:]))
        return first, sqrt(float(np.trace(spread[:2, :2])) / 2.0), third / max(first, 1e-12)

    def covariance(self, fit: Fit) -> Floats:
        """Return that of the fit's log lags and of the gain's logarithm; it may be infinite."""
        k, spread = len(self.typical), fit.sigma**2

        def errors(at: Floats) -> Floats:
            y, u = self.filtered(fit.delay, at[:-1])
            return y - fit.gain * exp(at[-1]) * u

        slopes = jacobian(errors, np.append(fit.parameters, 0.0))
        normal = slopes.T @ slopes
        normal[range(k), range(k)] += spread / self.sigmas**2
        normal[np.diag_indices_from(normal)] *= 1.0 + 1e-9
        if not np.isfinite(normal).all():
            return np.full((k + 1, k + 1), np.inf)
        keep = [*range(k), len(fit.parameters)]
        return np.asarray(np.linalg.pinv(normal)[np.ix_(keep, keep)] * spread)


def _level(stretches: Sequence[Floats]) -> Floats:
    """Return (..., n) one stretch after the other, without their starts, each around its mean."""
    later = [one[..., SETTLING_SAMPLES:] for one in stretches]
    return np.concatenate([one - one.mean(axis=-1, keepdims=True) for one in later], axis=-1)


def _gain(y: Floats, u: Floats) -> float:
    power = float(u @ u)
    return float(u @ y) / power if power > 0 else 0.0
