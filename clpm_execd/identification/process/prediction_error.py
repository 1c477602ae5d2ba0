"""Fits the process that predicts PV from OP with the smallest errors at a given dead time.

This is a prediction-error method with a noise model (Ljung, 1999, chapters 7 and 13; Forssell and Ljung, 1999):
A D PV = K B D OP + C e. K B/A is one of the plant's process models with any dead time, D a first-order load at its
input, and C combines the load with white sensor noise. Nonlinear least squares estimate the lags and the noise, and
linear least squares the gain (Golub and Pereyra, 1973). Lags and dead time have wide priors around the typical values,
which decide where the record has little information on them; the gain has none.
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
SETTLING_SAMPLES = 20  # at the start of a stretch, which the filters need to settle
NOISES = ((1.0, 0.0), (4.0, 2.0), (7.0, 3.0))  # logit of the load's pole, log of its ratio to the sensor noise
LAG_SIGMAS = (1.2, 0.5)  # prior standard deviations of log tau1 and of log(tau2 / tau1)
DEAD_TIME_SIGMA = 1.0  # prior standard deviation of log(dead time + one sample)
_MAX_SAMPLES, _MAX_STRETCHES = 20_000, 8
_MAX_PARTS = 10
_LOG_STEP = 1e-4  # step of a logarithm for finite differences
_MAX_EVALUATIONS = 30
_LEAST_GAIN = 0.01  # of twice the log-likelihood: a smaller improvement ends a search
_HARMONICS = (1.0, 3.0)  # of an external oscillation: a limit cycle is nearly symmetric, so it has odd harmonics


def jacobian(function: Callable[[Floats], Floats], log_params: Floats) -> Floats:
    """Return the (n, K) Jacobian of a function of K logarithms by finite differences."""
    here = function(log_params)
    return np.array([function(log_params + step) - here for step in _LOG_STEP * np.eye(len(log_params))]).T / _LOG_STEP


def least_squares(residual: Callable[[Floats], Floats], start: Floats,
                  jacobian_fn: Callable[[Floats], Floats] | None = None,
                  least_gain: float = _LEAST_GAIN, most: int = _MAX_EVALUATIONS) -> Floats | None:
    """Return the least-squares solution by the method of Levenberg and Marquardt (More, 1978); None where it fails.

    least_gain: the improvement of twice the log-likelihood below which the search ends. most: residual evaluations.
    """
    from scipy.optimize import leastsq

    try:
        first = residual(start)
        if len(first) <= len(start) or not np.isfinite(first).all():
            return None
        return np.asarray(leastsq(residual, start,
                                  Dfun=jacobian_fn or (lambda log_params: jacobian(residual, log_params)),
                                  full_output=True,
                                  maxfev=most, ftol=least_gain / len(first), xtol=1e-4)[0])
    except (ValueError, np.linalg.LinAlgError):
        return None


@dataclass(frozen=True, slots=True)
class Fit:
    """The estimate at one dead time (`delay`, s).

    parameters: log tau1, log(tau2 / tau1), and the two noise parameters. sigma: standard deviation of the residuals.
    cost: n log variance plus the squared prior residuals, which is minus twice the log-posterior.
    """

    delay: float
    parameters: Floats
    gain: float
    sigma: float
    cost: float


class PredictionErrorModel:
    """The prediction-error model of PV with the input OP, with a prior around a typical process.

    period: of an external oscillation, s; components of this period and of a third of it are removed from the errors.
    prior: the typical process, with lags of at least a fifth of an interval. prior_mean: log tau1 and log(tau2 / tau1)
    of it. stretches: the parts of the record in which PV and OP move. scale: standard deviation of the errors by which
    the prior is weighted. parts: the largest number of scans of 1 s in an interval.
    """

    def __init__(self, signals: Signals, prior: ProcessSpec, period: float | None = None, *,
                 parts: int = _MAX_PARTS) -> None:
        self.model, self.expected_dead_time, self.interval = prior.model, prior.dead_time, signals.interval
        self._parts = max(1, min(round(signals.interval), parts))
        self.scan = signals.interval / self._parts
        lags = [max(t, 0.2 * signals.interval) for t in prior.tau]
        self.prior = replace(prior, tau=tuple(lags))
        self.prior_mean = np.array([log(lag) for lag in lags[:1]] + [log(lag / lags[0]) for lag in lags[1:]])
        self.prior_std = np.array(LAG_SIGMAS[:len(lags)])
        self.scale = 0.0
        stretches = (slice(s.start, min(s.stop, s.start + _MAX_SAMPLES))
                     for s in find_runs(signals.complete, MIN_STRETCH_SAMPLES))
        self.stretches = [s for s in stretches if np.ptp(signals.op[s]) > 1e-6 and np.ptp(signals.pv[s]) > 1e-9
                          ][:_MAX_STRETCHES]
        self._pv = [signals.pv[s] - signals.pv[s.start] for s in self.stretches]
        self._op = self._deviations(signals.op)
        self.samples = sum(len(pv) for pv in self._pv)
        self.period = period
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
        """The initial values of a fit: the typical lags with several noise parameters."""
        return [np.concatenate([self.prior_mean, noise]) for noise in NOISES]

    def swap(self, parameters: Floats, lag: int) -> Floats:
        """Return the parameters with the time constants of the load and of this lag exchanged."""
        k = len(self.prior_mean)
        logs, noise = np.cumsum(parameters[:k]), parameters[k:].copy()
        noise[0], logs[lag] = (pole_logit(exp(-self.interval / exp(logs[lag]))),
                               log(-self.interval / log(pole_of(noise))))
        return np.concatenate([logs[:1], np.diff(logs), noise])

    def _filters(self, delay: float, parameters: Floats) -> Filters:
        k = len(self.prior_mean)
        lags = tuple(exp(min(max(log_lag, -7.0), 16.0)) for log_lag in accumulate(parameters[:k].tolist()))
        process = ProcessSpec(model=self.model, gain=1.0, tau=lags, dead_time=delay)
        return make_filters(process, self.interval, self._parts, parameters[k:])

    def filter_signals(self, delay: float, parameters: Floats) -> tuple[Floats, Floats]:
        """Return filtered PV, (n,), and OP, (..., n): the prediction errors are PV minus the gain times OP.

        delay: s. parameters: as in Fit. Each stretch is without its mean, its start and the external oscillation.
        """
        loop_filters = self._filters(delay, parameters)
        y, u = (_concatenate_centred([loop_filters.of_pv(pv) for pv in self._pv]),
                _concatenate_centred([loop_filters.of_op(op) for op in self._op]))
        if self._harmonic_basis is not None:
            y, u = (y - self._harmonic_basis @ (self._harmonic_basis.T @ y),
                    u - (u @ self._harmonic_basis) @ self._harmonic_basis.T)
        return y, u

    def errors(self, delay: float, parameters: Floats) -> Floats:
        """Return the prediction errors (n,) for the least-squares gain."""
        y, u = self.filter_signals(delay, parameters)
        return y - _gain(y, u) * u

    def fit(self, delay: float, start: Floats) -> Fit | None:
        """Return the process of the smallest errors at a dead time, s, from these initial values."""
        parameters = self._search(lambda log_params: (delay, log_params), start, _LEAST_GAIN)
        return None if parameters is None else self.evaluate(delay, parameters)

    def fit_with_dead_time(self, delay: float, start: Floats, least_gain: float) -> Fit | None:
        """Return the same with the dead time, s, as a further parameter. least_gain: see `least_squares`."""
        def split(log_params: Floats) -> tuple[float, Floats]:
            return max(exp(min(float(log_params[0]), 16.0)) - self.scan, 0.0), log_params[1:]

        log_params = self._search(split, np.array([log(delay + self.scan), *start]), least_gain)
        return None if log_params is None else self.evaluate(*split(log_params))

    def _search(self, split: Callable[[Floats], tuple[float, Floats]], start: Floats, least_gain: float
                ) -> Floats | None:
        if self.samples <= 3 * (split(start)[0] / self.interval + SETTLING_SAMPLES):
            return None
        if not self.scale:
            self.scale = max(float(self.errors(*split(start)).std()), 1e-9)
        return least_squares(lambda log_params: np.append(self.errors(*split(log_params)),
                                                          self.scale * self._prior_residuals(*split(log_params))),
                             start, None, least_gain)

    def evaluate(self, delay: float, parameters: Floats) -> Fit | None:
        """Return the fit with these parameters and their least-squares gain; None where OP has no effect."""
        y, u = self.filter_signals(delay, parameters)
        gain, power = _gain(y, u), float(u @ u)
        error = y - gain * u
        variance = float(error @ error) / max(len(y) - len(parameters) - 1, 1)
        if not (power > 0 and 0 < variance < inf):
            return None
        prior_residuals = self._prior_residuals(delay, parameters)
        return Fit(delay, parameters, gain, sqrt(variance),
                   len(y) * log(variance) + float(prior_residuals @ prior_residuals))

    def _prior_residuals(self, delay: float, parameters: Floats) -> Floats:
        """Return the deviations (L + 1,) of L lags and the dead time from the prior mean, in standard deviations."""
        dead_time_residual = log((delay + self.interval) / (self.expected_dead_time + self.interval)) / DEAD_TIME_SIGMA
        return np.append((parameters[:len(self.prior_mean)] - self.prior_mean) / self.prior_std, dead_time_residual)

    def with_input(self, stem: Floats) -> PredictionErrorModel:
        """Return the same model with one or more stem positions, (..., T), as the input."""
        other = copy(self)
        other._op = self._deviations(stem)
        return other

    def costs(self, fit: Fit, stems: Floats) -> Floats:
        """Return the costs (M,) of a fit for each of M stem positions, (M, T), as the input, with the best gain."""
        y, u = self.with_input(stems).filter_signals(fit.delay, fit.parameters)
        residual_power = float(y @ y) - (u @ y) ** 2 / np.maximum(np.einsum("mn,mn->m", u, u), 1e-300)
        variance = np.maximum(residual_power, 1e-300) / max(len(y) - len(fit.parameters) - 1, 1)
        return np.asarray(fit.cost + len(y) * (np.log(variance) - 2.0 * log(fit.sigma)))

    def estimate_oscillation_load(self, gain: float, delay: float, parameters: Floats) -> tuple[float, float, float]:
        """Return the external oscillation as a load on a process of this gain; see `Innovations`."""
        loop_filters = self._filters(delay, parameters)
        response = gain * _concatenate_centred([loop_filters.of_op(load)
                                                for load in self._deviations(self._harmonics())]).T
        error = _concatenate_centred([loop_filters.of_pv(pv) - gain * loop_filters.of_op(op)
                                      for pv, op in zip(self._pv, self._op, strict=True)])
        parts = np.linalg.lstsq(response, error, rcond=None)[0]
        residuals = error - response @ parts
        variance = np.linalg.pinv(response.T @ response) * float(residuals @ residuals) / len(error)
        first, third = float(np.hypot(*parts[:2])), float(np.hypot(*parts[2:]))
        return first, sqrt(float(np.trace(variance[:2, :2])) / 2.0), third / max(first, 1e-12)

    def covariance(self, fit: Fit) -> Floats:
        """Return the covariance (L + 1, L + 1) of the parameters of L lags and of the log gain; it may be infinite."""
        k, variance = len(self.prior_mean), fit.sigma**2

        def errors(log_params: Floats) -> Floats:
            y, u = self.filter_signals(fit.delay, log_params[:-1])
            return y - fit.gain * exp(log_params[-1]) * u

        jacobian_matrix = jacobian(errors, np.append(fit.parameters, 0.0))
        normal = jacobian_matrix.T @ jacobian_matrix
        normal[range(k), range(k)] += variance / self.prior_std**2
        normal[np.diag_indices_from(normal)] *= 1.0 + 1e-9
        if not np.isfinite(normal).all():
            return np.full((k + 1, k + 1), np.inf)
        keep = [*range(k), len(fit.parameters)]
        return np.asarray(np.linalg.pinv(normal)[np.ix_(keep, keep)] * variance)


def _concatenate_centred(stretches: Sequence[Floats]) -> Floats:
    """Return the stretches in one array, (..., n), each without its start and its mean."""
    trimmed = [one[..., SETTLING_SAMPLES:] for one in stretches]
    return np.concatenate([one - one.mean(axis=-1, keepdims=True) for one in trimmed], axis=-1)


def _gain(y: Floats, u: Floats) -> float:
    power = float(u @ u)
    return float(u @ y) / power if power > 0 else 0.0
