"""Fits the process that predicts PV from OP with the smallest errors.

This is a prediction-error method with a noise model (Ljung, 1999, chapters 7 and 13; Forssell and Ljung, 1999):
A D PV = K B D OP + C e. K B/A is one of the plant's process models with any dead time, D a first-order load at its
input, and C combines the load with white sensor noise. Nonlinear least squares estimate lags, dead time and noise, and
linear least squares the gain (Golub and Pereyra, 1973). Lags and dead time have wide priors around the typical values,
which decide where the record has little information on them; the gain has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from math import exp, inf, log, sqrt

import numpy as np

from clpm_execd.identification.loop_data import TINY, Signals, find_runs
from clpm_execd.identification.process.transfer_functions import Filters, make_filters, pole_logit, pole_of
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ProcessSpec

MIN_STRETCH_SAMPLES = 60
SETTLING_SAMPLES = 20  # at the start of a stretch, which the filters need to settle
NOISES = ((1.0, 0.0), (4.0, 2.0), (7.0, 3.0))  # logit of the load's pole, log of its ratio to the sensor noise
LAG_SIGMAS = (1.2, 0.5)  # prior standard deviations of log tau1 and of log(tau2 / tau1)
DEAD_TIME_SIGMA = 1.0  # prior standard deviation of log(dead time + one interval)
_MIN_LOG_SECONDS, MAX_LOG_SECONDS = -7.0, 16.0  # of a lag or dead time: from 1 ms to 100 days
FIXED_STD = 1e-3  # prior standard deviation of a parameter that is fixed
_MAX_SAMPLES, _MAX_STRETCHES = 20_000, 8
_MAX_DEAD_TIME_SHARE = 0.15  # of the record's length: the longest dead time of the search
_MAX_PARTS = 10
LOG_STEP = 1e-4  # step of a logarithm for finite differences
_MAX_EVALUATIONS = 30
_LEAST_GAIN = 0.01  # of twice the log-likelihood: a smaller improvement ends a search
_HARMONICS = (1.0, 3.0)  # of an external oscillation: a limit cycle is nearly symmetric, so it has odd harmonics


def jacobian(function: Callable[[Floats], Floats], log_params: Floats) -> Floats:
    """Return the (n, K) Jacobian of a function of K logarithms by finite differences."""
    here = function(log_params)
    return np.array([function(log_params + step) - here for step in LOG_STEP * np.eye(len(log_params))]).T / LOG_STEP


def least_squares(residual: Callable[[Floats], Floats], start: Floats,
                  jacobian_fn: Callable[[Floats], Floats] | None = None,
                  least_gain: float = _LEAST_GAIN, most: int = _MAX_EVALUATIONS) -> Floats | None:
    """Return the least-squares solution by the method of Levenberg and Marquardt (More, 1978); None where it fails.

    least_gain: the improvement of twice the log-likelihood below which the search ends. most: residual evaluations.
    """
    from scipy.optimize import leastsq

    try:
        first, ones = residual(start), np.ones(len(start))
        if len(first) <= len(start) or not np.isfinite(first).all():
            return None
        # Its tolerance and its first step are relative to its variables: logarithms would bring in units and seconds.
        origin = start - ones
        solution = leastsq(lambda one: residual(origin + one), ones, full_output=True, maxfev=most,
                           Dfun=lambda one: (jacobian_fn or partial(jacobian, residual))(origin + one),
                           ftol=least_gain / len(first), xtol=1e-4)[0]
        return np.asarray(origin + solution)
    except (ValueError, np.linalg.LinAlgError):
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The parameters of a process and its noise (see `PredictionErrorModel`) with the gain of the smallest errors.

    sigma: standard deviation of the errors. cost: n log variance plus the squared prior residuals, which is minus twice
    the log-posterior.
    """

    parameters: Floats
    gain: float
    sigma: float
    cost: float


class PredictionErrorModel:
    """The prediction-error model of PV with the input OP, with a prior around a typical process.

    The parameters are log tau1, log(tau2 / tau1), log(dead time + interval), and the two noise parameters. period: of
    an external oscillation, s; components of this period and of a third of it are removed from the errors. prior_mean:
    the parameters of the typical process, with lags of at least a fifth of an interval. stretches: the parts of the
    record in which PV and OP move. scale: standard deviation of the errors by which the prior is weighted. parts:
    the largest number of scans of 1 s in an interval. beside_sp: whether PV follows SP within a sample as well, as it
    does where the controller is much faster than the samples.
    """

    def __init__(self, signals: Signals, prior: ProcessSpec, period: float | None = None, *,
                 parts: int = _MAX_PARTS, beside_sp: bool = False) -> None:
        self.model, self.interval, self.period, self.scale = prior.model, signals.interval, period, 0.0
        self._is_held = False
        self._parts, self.lags = max(1, min(round(signals.interval), parts)), len(prior.tau)
        tau = [max(t, 0.2 * signals.interval) for t in prior.tau]
        self.prior_mean = np.log([*tau[:1], *(t / tau[0] for t in tau[1:]), prior.dead_time + self.interval])
        self._prior_std = np.array([*LAG_SIGMAS[:self.lags], DEAD_TIME_SIGMA])
        stretches = (slice(s.start, min(s.stop, s.start + _MAX_SAMPLES))
                     for s in find_runs(signals.complete, MIN_STRETCH_SAMPLES))
        self.stretches = [s for s in stretches if np.ptp(signals.op[s]) > 1e-6 and np.ptp(signals.pv[s]) > 1e-9
                          ][:_MAX_STRETCHES]
        self._pv = [signals.pv[s] - signals.pv[s.start] for s in self.stretches]
        self._op = self._deviations(signals.op)
        sp = self._deviations(signals.sp) if beside_sp else []
        self._sp = sp if any(part.any() for part in sp) else []
        # The controller has read PV before it sets OP between two samples: OP at a sample is no cause of PV there.
        self._min_dead_time = self.interval / 2.0 if beside_sp and self._parts > 1 else 0.0
        self.samples = sum(len(pv) for pv in self._pv)
        self.max_dead_time = max(3.0, _MAX_DEAD_TIME_SHARE * self.samples) * self.interval
        self._harmonic_basis = (np.linalg.qr(_concatenate_centred(self._deviations(self._harmonics())).T)[0]
                                if period and self.stretches else None)

    def _harmonics(self) -> Floats:
        """Return (4, T) sines and cosines of the oscillation's period and of a third of it."""
        angles = 2.0 * np.pi * self.interval / (self.period or inf) * np.arange(self.stretches[-1].stop)
        return np.array([wave(part * angles) for part in _HARMONICS for wave in (np.sin, np.cos)])

    def _deviations(self, op: Floats) -> list[Floats]:
        """Return the deviations (..., n) of OP, (..., T), from its value at the start of each stretch."""
        return [op[..., s] - op[..., s.start:s.start + 1] for s in self.stretches]

    @property
    def initial_values(self) -> list[Floats]:
        """The initial values of a fit: the typical process with several noise parameters."""
        return [np.concatenate([self.prior_mean, noise]) for noise in NOISES]

    def swap(self, parameters: Floats, lag: int) -> Floats:
        """Return the parameters with the time constants of the load and of this lag exchanged."""
        k, other = self.lags, parameters.copy()
        logs = np.cumsum(parameters[:k])
        other[k + 1], logs[lag] = (pole_logit(exp(-self.interval / exp(logs[lag]))),
                                   log(-self.interval / log(pole_of(parameters[k + 1:]))))
        other[:k] = np.diff(logs, prepend=0.0)
        return other

    def process_of(self, parameters: Floats, gain: float = 1.0) -> ProcessSpec:
        """Return the process with these parameters."""
        log_lags = np.clip(np.cumsum(parameters[:self.lags]), _MIN_LOG_SECONDS, MAX_LOG_SECONDS)
        lags = tuple(map(exp, log_lags.tolist()))
        dead_time = min(exp(min(parameters[self.lags], MAX_LOG_SECONDS)) - self.interval, self.max_dead_time)
        return ProcessSpec(model=self.model, gain=gain, tau=lags, dead_time=max(dead_time, self._min_dead_time))

    def _filters(self, parameters: Floats) -> Filters:
        return make_filters(self.process_of(parameters), self.interval, self._parts, parameters[self.lags + 1:],
                            self._is_held)

    def filter_signals(self, parameters: Floats) -> tuple[Floats, Floats]:
        """Return filtered PV, (n,), and OP, (..., n): the prediction errors are PV minus the gain times OP.

        Each stretch is without its mean, its start, the external oscillation, and SP where PV follows it.
        """
        filters = self._filters(parameters)
        y, u = (_concatenate_centred([filters.of_pv(pv) for pv in self._pv]),
                _concatenate_centred([filters.of_op(op) for op in self._op]))
        basis = self._harmonic_basis
        if self._sp:
            sp = _concatenate_centred([filters.of_pv(sp) for sp in self._sp])[:, None]
            basis = np.linalg.qr(sp if basis is None else np.hstack([basis, sp]))[0]
        return (y, u) if basis is None else (y - basis @ (basis.T @ y), u - (u @ basis) @ basis.T)

    def errors(self, parameters: Floats) -> Floats:
        """Return the prediction errors (n,) for the least-squares gain."""
        y, u = self.filter_signals(parameters)
        return y - _gain(y, u) * u

    def fit(self, start: Floats, least_gain: float = _LEAST_GAIN) -> Fit | None:
        """Return the process of the smallest errors from these initial values. least_gain: see `least_squares`."""
        if self.samples <= 3 * (self.process_of(start).dead_time / self.interval + SETTLING_SAMPLES):
            return None
        self.scale = self.scale or max(float(self.errors(start).std()), 1e-9)
        parameters = least_squares(lambda one: np.append(self.errors(one), self.scale * self._prior_residuals(one)),
                                   start, None, least_gain)
        return None if parameters is None else self.evaluate(parameters)

    def evaluate(self, parameters: Floats) -> Fit | None:
        """Return the fit with these parameters and their least-squares gain; None where OP has no effect."""
        y, u = self.filter_signals(parameters)
        gain, power = _gain(y, u), float(u @ u)
        error = y - gain * u
        variance = float(error @ error) / max(len(y) - len(parameters), 1)
        if not (power > 0 and 0 < variance < inf):
            return None
        prior_residuals = self._prior_residuals(parameters)
        return Fit(parameters, gain, sqrt(variance), len(y) * log(variance) + float(prior_residuals @ prior_residuals))

    def fit_at(self, fit: Fit, dead_time: float) -> Fit | None:
        """Return the fit with this dead-time parameter, from the other parameters of a fit."""
        start, other = fit.parameters.copy(), copy(self)
        other.prior_mean, other._prior_std = self.prior_mean.copy(), self._prior_std.copy()
        start[self.lags], other.prior_mean[-1], other._prior_std[-1] = dead_time, dead_time, FIXED_STD
        refit = other.fit(start)
        return refit and self.evaluate(refit.parameters)

    def _prior_residuals(self, parameters: Floats) -> Floats:
        """Return the deviations (L + 1,) of L lags and the dead time from the prior mean, in standard deviations."""
        return np.asarray((parameters[:self.lags + 1] - self.prior_mean) / self._prior_std)

    def held(self) -> PredictionErrorModel:
        """Return the same model for an input that is constant in the interval before each sample."""
        other = copy(self)
        other._parts, other._is_held = max(1, min(round(self.interval), _MAX_PARTS)), True
        return other

    def with_input(self, stem: Floats) -> PredictionErrorModel:
        """Return the same model with one or more stem positions, (..., T), as the input."""
        other = copy(self)
        other._op = self._deviations(stem)
        return other

    def costs(self, fit: Fit, stems: Floats) -> Floats:
        """Return the costs (M,) of a fit for each of M stem positions, (M, T), as the input, with the best gain."""
        y, u = self.with_input(stems).filter_signals(fit.parameters)
        residual_power = float(y @ y) - (u @ y) ** 2 / np.maximum(np.einsum("mn,mn->m", u, u), TINY)
        variance = np.maximum(residual_power, TINY) / max(len(y) - len(fit.parameters), 1)
        return np.asarray(fit.cost + len(y) * (np.log(variance) - 2.0 * log(fit.sigma)))

    def estimate_oscillation_load(self, fit: Fit) -> tuple[float, float, float]:
        """Return the external oscillation as a load on the fitted process; see `ProcessLaw`."""
        filters = self._filters(fit.parameters)
        response = fit.gain * _concatenate_centred([filters.of_op(load)
                                                    for load in self._deviations(self._harmonics())]).T
        error = _concatenate_centred([filters.of_pv(pv) - fit.gain * filters.of_op(op)
                                      for pv, op in zip(self._pv, self._op, strict=True)])
        parts = np.linalg.lstsq(response, error, rcond=None)[0]
        residuals = error - response @ parts
        variance = np.linalg.pinv(response.T @ response) * float(residuals @ residuals) / len(error)
        first, third = float(np.hypot(*parts[:2])), float(np.hypot(*parts[2:]))
        return first, sqrt(float(np.trace(variance[:2, :2])) / 2.0), third / max(first, 1e-12)

    def covariance(self, fit: Fit, gain_std: float = inf) -> Floats:
        """Return the covariance (P + 1, P + 1) of the parameters and of the log gain; it may be infinite.

        gain_std: prior standard deviation of the log gain.
        """
        def residuals(values: Floats) -> Floats:
            y, u = self.filter_signals(values[:-1])
            prior_residuals = np.append(self._prior_residuals(values[:-1]), values[-1] / gain_std)
            return np.append(y - fit.gain * exp(values[-1]) * u, fit.sigma * prior_residuals)

        jacobian_matrix = jacobian(residuals, np.append(fit.parameters, 0.0))
        if not np.isfinite(jacobian_matrix).all():
            return np.full((jacobian_matrix.shape[1],) * 2, np.inf)
        normal = jacobian_matrix.T @ jacobian_matrix
        normal[np.diag_indices_from(normal)] *= 1.0 + 1e-9
        return np.asarray(np.linalg.pinv(normal) * fit.sigma**2)

    def errors_of(self, fit: Fit, samples: int) -> Floats:
        """Return the prediction errors of a fit at all samples, (T,), NaN where there are none."""
        y, u = self.filter_signals(fit.parameters)
        aligned = np.full(samples, np.nan)
        aligned[np.concatenate([np.arange(s.start + SETTLING_SAMPLES, s.stop) for s in self.stretches])] = (
            y - fit.gain * u)
        return aligned


def _concatenate_centred(stretches: Sequence[Floats]) -> Floats:
    """Return the stretches in one array, (..., n), each without its start and its mean."""
    trimmed = [one[..., SETTLING_SAMPLES:] for one in stretches]
    return np.concatenate([one - one.mean(axis=-1, keepdims=True) for one in trimmed], axis=-1)


def _gain(y: Floats, u: Floats) -> float:
    power = float(u @ u)
    return float(u @ y) / power if power > 0 else 0.0
