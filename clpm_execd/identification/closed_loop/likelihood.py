"""The likelihood of a record under the state-space model of a loop at its controller's scans.

The record does not show when SP moved between two samples, so the most likely time is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from math import exp, floor, log, sqrt
from typing import NamedTuple

import numpy as np

from clpm_execd.identification.closed_loop.state_space import (
    INTEGRAL,
    Cycle,
    Grid,
    KalmanFilter,
    LoopParameters,
    make_models,
)
from clpm_execd.identification.loop_data import ROUNDING, TINY, Signals, find_runs, rounding_variance
from clpm_execd.identification.process.prediction_error import (
    DEAD_TIME_SIGMA,
    FIXED_STD,
    LAG_SIGMAS,
    LOG_STEP,
    MAX_LOG_SECONDS,
    MIN_STRETCH_SAMPLES,
    least_squares,
)
from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop_set import Indices
from clpm_execd.plant.specs import ProcessSpec

_MAX_SAMPLES = 3000
_SETTLING_SAMPLES = 12  # at the start of a stretch, which the filter needs to settle
_SP_RESPONSE_SAMPLES = 24  # after a move of SP, from which its time is estimated
_MAX_PARTS = 60  # steps in an interval
_MIN_LAG_STEPS = 0.1  # of a typical lag: the search hardly moves from a shorter one
_DELAY_STEPS = 12  # the largest number of steps in the expected dead time
_REGRESSION_LAGS = 4  # samples, of the vector autoregression that is the baseline for the fit
_PRIOR_LOAD, _PRIOR_OP_NOISE = 5.0, 0.2  # prior means, relative to what the gain makes of the sensor noise
_WIDE_PRIOR_STD = 4.0  # of a logarithm without prior information: a factor of 50 either way
_MEMORY_PERIODS = 5.0  # prior mean of the time in which a periodic load forgets its phase, which the record shows
_THIRD_HARMONIC = 0.25  # prior mean of that of a periodic load: a square wave has a third, a filtered one less
# Prior standard deviations of a periodic load's logarithms: a spectral line shows the period within a few per cent.
_CYCLE_STDS = (0.1, 1.5, _WIDE_PRIOR_STD, 1.0)
_MAX_EVALUATIONS = 20
_FAILED_RESIDUAL = 1e3  # standard deviations: far above any residual of a filter
_LEAST_GAIN = 0.1  # of twice the log-likelihood: a smaller improvement ends a search
_ROUNDING_LOG_STD = 0.003  # of log gain and log reset: the uncertainty due to the rounding of PV and OP


class At:
    """The places of the parameters; a derivative is the last but one, and the set-point weight the last."""

    GAIN, RESET, PROCESS_GAIN, DEAD_TIME, CORRELATION, LOAD, NOISE, LAGS = range(8)
    DERIVATIVE, WEIGHT = -2, -1


class _Stretch(NamedTuple):
    """A stretch of the record. data: (T, 3) PV, OP, SP. moves: the samples after which an operator moved SP."""

    data: Floats
    moves: Indices


class _Innovations(NamedTuple):
    """innovations: (K, T, 2). innovation_cov: (K, 2, 2), relative to the variance of the sensor noise."""

    innovations: Floats
    innovation_cov: Floats

    def whitened(self) -> Floats:
        """Return whitened innovations (K, 2 T), whose sum of squares is smallest where the likelihood is highest.

        LinAlgError is raised where a covariance is not positive definite, or not finite.
        """
        if not np.isfinite(self.innovation_cov).all():
            raise np.linalg.LinAlgError
        whitening = np.linalg.inv(np.linalg.cholesky(self.innovation_cov)).transpose(0, 2, 1)
        white = (self.innovations @ whitening).reshape(len(self.innovations), -1)
        return np.asarray(white * np.linalg.det(self.innovation_cov)[:, None]**0.25)


@dataclass(frozen=True, slots=True)
class LoopFit:
    """The maximum-likelihood parameters (see `Likelihood`).

    cost: minus twice the log-likelihood. values: the parameters with the logarithm of tau2 instead of its ratio, that
    of the standard deviation of the load instead of its ratio, and that of the sensor noise. deviations: standard
    deviations of the values.
    """

    parameters: Floats
    cost: float
    values: Floats
    deviations: Floats


class Likelihood:
    """The likelihood of a record for one model of a loop, whose controller scans every `scan` s.

    The parameters are the logarithms of controller gain and reset, process gain, dead time plus an interval, the time
    constant of the load, and the standard deviations of the load and of the noise of OP relative to the sensor noise;
    of tau1 and tau2 / tau1, as far as the process has lags; then, where there is a periodic load, of its period, the
    time constant with which it forgets its phase, its standard deviation relative to the sensor noise, and that of its
    third harmonic relative to the first; then of the derivative, where there is one; and last the set-point weight
    itself.
    prior_mean, prior_std: the normal prior of the parameters. locates_sp_moves: whether the time of a move of SP
    between two samples is estimated; otherwise the sample after a move is ignored.
    """

    def __init__(self, signals: Signals, process: ProcessSpec, start: tuple[float, float], scan: float, sign: float,
                 pv_step: float) -> None:
        self.model, self.scan, self.sign = process.model, scan, sign
        self.lags = slice(At.LAGS, At.LAGS + len(process.tau))
        self.cycle = slice(self.lags.stop, self.lags.stop)
        has_operator = not signals.has_continuous_sp
        step = max(scan, signals.interval / _MAX_PARTS, process.dead_time / _DELAY_STEPS)
        parts = max(1, floor(signals.interval / step + ROUNDING))
        self.interval, self._rounding = signals.interval, rounding_variance(pv_step)
        self.grid = Grid(max(signals.interval / parts, scan), parts, scan)
        self._data: list[_Stretch] = []
        remaining = _MAX_SAMPLES
        for s in sorted(find_runs(signals.controlled, MIN_STRETCH_SAMPLES), key=lambda s: s.start - s.stop):
            s = slice(s.start, min(s.stop, s.start + remaining))
            if s.stop - s.start >= MIN_STRETCH_SAMPLES:
                remaining -= s.stop - s.start
                pv, op, sp = signals.pv[s], self.sign * signals.op[s], signals.sp[s] - signals.sp[s.start]
                self._data.append(_Stretch(np.column_stack([pv - signals.sp[s.start], op - op[0], sp]),
                                           np.flatnonzero(np.diff(sp) * has_operator)))
        self.samples = sum(len(stretch.data) - _SETTLING_SAMPLES for stretch in self._data)
        self.locates_sp_moves = False
        self.has_sp_moves = any(len(stretch.moves) for stretch in self._data)
        lags = np.diff(np.log([max(t, _MIN_LAG_STEPS * self.grid.step) for t in process.tau]), prepend=0.0)
        correlation = max(2.0 * sum(process.tau), 2.0 * signals.interval)
        log_noises = log(_PRIOR_LOAD * start[0]), log(_PRIOR_OP_NOISE * start[0])
        self.prior_mean = np.array([*np.log(start), log(abs(process.gain)), log(process.dead_time + self.interval),
                                    log(correlation), *log_noises, *lags, 1.0])
        self.prior_std = np.array([_WIDE_PRIOR_STD] * At.LAGS + [*LAG_SIGMAS[:len(lags)], FIXED_STD])
        self.prior_std[At.DEAD_TIME] = DEAD_TIME_SIGMA

    def has_derivative(self, parameters: Floats) -> bool:
        """Return whether the parameters include derivative action."""
        return len(parameters) > len(self.prior_mean)

    def _loop(self, params: Floats) -> LoopParameters:
        gain, reset, process_gain, _, correlation, load, noise = np.exp(params[:At.LAGS]).tolist()
        process = ProcessSpec(model=self.model, gain=process_gain, dead_time=self.dead_time_of(params[At.DEAD_TIME]),
                              tau=tuple(np.exp(np.cumsum(params[self.lags])).tolist()))
        return LoopParameters(gain, reset, float(params[At.WEIGHT]), process, correlation, load, noise,
                              exp(params[At.DERIVATIVE]) if self.has_derivative(params) else 0.0,
                              _harmonics(params[self.cycle]))

    def dead_time_of(self, parameter: float) -> float:
        """Return the dead time, s, of its parameter."""
        return max(exp(min(parameter, MAX_LOG_SECONDS)) - self.interval, 0.0)

    @np.errstate(over="ignore", invalid="ignore")
    def _compute_innovations(self, params: Floats) -> _Innovations:
        """Return the innovations of K sets of parameters, with the most likely times of SP moves for the first set.

        Raises ValueError or LinAlgError where a set has no steady-state filter.
        """
        models = make_models([self._loop(one) for one in params], self.grid)
        kalman_filter = KalmanFilter(models)
        whitening = np.linalg.inv(np.linalg.cholesky(kalman_filter.innovation_cov[0])).T
        shares = np.array([(one.pv_share, one.sp_share) for one in models])
        sp_responses = np.array([one.intersample_sp_response for one in models])[:, None]
        sp_responses = kalman_filter.innovation_response @ sp_responses
        all_innovations = []
        for stretch in self._data:
            inputs = np.repeat(stretch.data[None], len(models), axis=0)
            # OP without the direct terms of PV and SP is the controller's memory.
            inputs[:, :, 1] -= shares @ stretch.data[:, [0, 2]].T
            innovations = inputs[:, :, :2] - kalman_filter.predict(inputs)
            if self.has_derivative(params[0]):
                _remove_initial_integral(innovations, kalman_filter.innovation_response[..., INTEGRAL], whitening)
            if self.locates_sp_moves:
                _remove_sp_moves(innovations, stretch, sp_responses, whitening)
            settled = innovations[:, _SETTLING_SAMPLES:]
            settled = settled - settled.mean(axis=1, keepdims=True)
            if not self.locates_sp_moves:
                settled[:, [k for k in stretch.moves + 1 - _SETTLING_SAMPLES if k >= 0]] = 0.0
            all_innovations.append(settled)
        return _Innovations(np.concatenate(all_innovations, axis=1), kalman_filter.innovation_cov)

    def _residuals(self, params: Floats, scale: float) -> Floats:
        """Return the residuals: large ones at parameters without a filter, from which the search turns back."""
        try:
            return np.append(self._compute_innovations(params[None]).whitened()[0],
                             scale * self._prior_residuals(params))
        except (ValueError, OverflowError, np.linalg.LinAlgError):
            return np.full(2 * self.samples + len(params), _FAILED_RESIDUAL * scale)

    def _prior_residuals(self, params: Floats) -> Floats:
        """Return the deviations of the parameters from the prior means, in standard deviations; 0 for a derivative."""
        mean, std = self.prior_mean, self.prior_std
        if self.has_derivative(params):
            mean, std = np.insert(mean, At.WEIGHT, params[At.DERIVATIVE]), np.insert(std, At.WEIGHT, 1.0)
        return np.asarray((params - mean) / std)

    def _jacobian(self, white: Floats, perturbed: Floats, scale: float) -> Floats:
        """Return the Jacobian of the residuals from whitened innovations at the parameters and their perturbations."""
        prior_residuals = scale * np.array([self._prior_residuals(one) for one in perturbed])
        both = np.concatenate([white, prior_residuals], axis=1)
        return np.asarray((both[1:] - both[0]).T / LOG_STEP)

    def fit(self, start: Floats) -> LoopFit | None:
        """Return the maximum-likelihood fit from initial values; None where the search fails."""
        def jacobian(params: Floats) -> Floats:
            perturbed = _perturb(params)
            return self._jacobian(self._compute_innovations(perturbed).whitened(), perturbed, scale)

        try:
            scale = float(self._compute_innovations(start[None]).whitened().std())
            params = least_squares(lambda params: self._residuals(params, scale), start, jacobian, _LEAST_GAIN,
                                   _MAX_EVALUATIONS)
            return None if params is None else self._evaluate(params)
        except (ValueError, OverflowError, np.linalg.LinAlgError):
            return None

    def _cost(self, params: Floats, white: Floats) -> float:
        """Return minus twice the log-likelihood of the parameters with these whitened innovations."""
        prior_residuals = self._prior_residuals(params)
        cost = white.size * log(max(float(np.mean(white**2)), TINY)) + float(prior_residuals @ prior_residuals)
        return cost if np.isfinite(cost) else np.inf

    def _evaluate(self, params: Floats) -> LoopFit | None:
        """Return the fit with standard deviations by the Jacobian of the whitened innovations."""
        perturbed = _perturb(params)
        innovations = self._compute_innovations(perturbed)
        white = innovations.whitened()
        cost, sigma = self._cost(params, white[0]), sqrt(float(np.mean(white[0]**2)))
        if not np.isfinite(cost):
            return None
        jacobian = self._jacobian(white, perturbed, sigma)
        covariance = np.linalg.pinv(jacobian.T @ jacobian) * sigma**2
        # Whitened innovations have the geometric mean of both variances, of which the ratio to the noise is known.
        log_noise = log(sigma) - np.linalg.slogdet(innovations.innovation_cov)[1] / 4.0
        rows = np.eye(len(params))
        rows[self.lags, self.lags] = np.tri(self.lags.stop - At.LAGS)
        rows[At.NOISE] = (log_noise[1:] - log_noise[0]) / LOG_STEP
        rows[At.LOAD] += rows[At.NOISE]
        values = rows @ params
        values[[At.LOAD, At.NOISE]] = params[At.LOAD] + log_noise[0], log_noise[0]
        variances = np.diag(rows @ covariance @ rows.T).copy()
        variances[[At.GAIN, At.RESET]] += _ROUNDING_LOG_STD**2
        variances[[At.LOAD, At.NOISE]] += 1.0 / (2.0 * white[0].size)  # of log sigma
        return LoopFit(params, cost, values, np.sqrt(np.maximum(variances, 0.0)))

    def use_noise(self, fit: LoopFit) -> None:
        """Set the variance of PV's rounding error relative to the sensor noise of a fit."""
        self.grid = replace(self.grid, rounding=self._rounding / exp(2.0 * fit.values[At.NOISE]))

    def with_cycle(self, period: float) -> Likelihood:
        """Return the same with a periodic load of about this period, s."""
        other, at = copy(self), self.lags.stop
        other.cycle = slice(at, at + len(_CYCLE_STDS))
        log_cycle = log(period), log(_MEMORY_PERIODS * period), self.prior_mean[At.LOAD], log(_THIRD_HARMONIC)
        other.prior_mean = np.insert(self.prior_mean, at, log_cycle)
        other.prior_std = np.insert(self.prior_std, at, _CYCLE_STDS)
        return other

    def innovations_of(self, fit: LoopFit) -> Floats:
        """Return the innovations (T, 2) of PV and of the controller's memory for a fit."""
        return np.asarray(self._compute_innovations(fit.parameters[None]).innovations[0])

    def with_weight(self, weight: float, sigma: float) -> Likelihood:
        """Return the same with a normal prior of the set-point weight, and with SP moves located between samples."""
        other = self._with_prior(At.WEIGHT, weight, sigma)
        other.locates_sp_moves = True
        return other

    def fit_at(self, fit: LoopFit, dead_time: float) -> LoopFit | None:
        """Return the fit with this dead-time parameter, from the other parameters of a fit."""
        start = fit.parameters.copy()
        start[At.DEAD_TIME] = dead_time
        other = self._with_prior(At.DEAD_TIME, dead_time, FIXED_STD).fit(start)
        if other is None:
            return None
        white = self._compute_innovations(other.parameters[None]).whitened()[0]
        return replace(other, cost=self._cost(other.parameters, white))

    def _with_prior(self, at: int, mean: float, std: float) -> Likelihood:
        other = copy(self)
        other.prior_mean, other.prior_std = self.prior_mean.copy(), self.prior_std.copy()
        other.prior_mean[at], other.prior_std[at] = mean, std
        return other

    def swap(self, params: Floats) -> Floats:
        """Return the parameters with the time constants of the load and of the first lag exchanged."""
        other = params.copy()
        other[At.LAGS], other[At.CORRELATION] = params[At.CORRELATION], params[At.LAGS]
        return other

    def r_squared_and_log_var_ratio(self, fit: LoopFit) -> tuple[float, float]:
        """Return R2 of OP's moves, and the log ratio of generalised residual variances to those of a regression.

        The regression is a vector autoregression of PV and OP with the input SP (Ljung, 1999, section 4.2).
        """
        innovations = self.innovations_of(fit)
        variance = _generalized_variance(innovations, 0)  # that of PV and OP: the memory is OP less a multiple of PV
        moves = np.concatenate([np.diff(stretch.data[:, 1]) for stretch in self._data])
        r_squared = 1.0 - variance / float(np.mean(innovations[:, 0]**2)) / max(float(np.mean(moves**2)), TINY)
        return r_squared, log(variance / _regression_variance([stretch.data for stretch in self._data]))


def _harmonics(log_cycle: Floats) -> tuple[Cycle, ...]:
    """Return the first and the third harmonic of a periodic load, which has no others as far as it is symmetric.

    Where the phase is a random walk, that of the nth harmonic is n times it, and is forgotten n^2 times as fast.
    """
    if not log_cycle.size:
        return ()
    period, memory, load, third = np.exp(log_cycle).tolist()
    return Cycle(period, memory, load), Cycle(period / 3.0, memory / 9.0, load * third)


def _perturb(params: Floats) -> Floats:
    """Return the parameters and P copies with a step in one of them each, (1 + P, P)."""
    return np.vstack([params, params + LOG_STEP * np.eye(len(params))])


def _remove_initial_integral(innovations: Floats, integral: Floats, whitening: Floats) -> None:
    """Subtract from the innovations (K, T, 2) the least-squares response (K, H, 2) to the unknown initial integral.

    This is needed with derivative action only: without it one or two samples determine the integral.
    """
    n = min(innovations.shape[1], integral.shape[1])
    response, residuals = integral[:, _SETTLING_SAMPLES:n] @ whitening, innovations[:, _SETTLING_SAMPLES:n] @ whitening
    size = (response * residuals).sum(axis=(1, 2)) / (response * response).sum(axis=(1, 2))
    innovations[:, :n] -= size[:, None, None] * integral[:, :n]


def _remove_sp_moves(innovations: Floats, stretch: _Stretch, intersample_sp_response: Floats,
                     whitening: Floats) -> None:
    """Subtract from the innovations (K, T, 2) the responses to SP moves at their most likely times between samples.

    intersample_sp_response: (K, H, 2, parts) for a move of 1 %, 0, 1, .. steps before the sample.
    """
    steps = np.diff(stretch.data[:, 2])[stretch.moves]
    white_response = np.einsum("hcp,cd->hdp", intersample_sp_response[0, :_SP_RESPONSE_SAMPLES], whitening)
    for k, step in zip(stretch.moves.tolist(), steps.tolist(), strict=True):
        following = innovations[:, k + 1:k + 1 + intersample_sp_response.shape[1]]
        white_innovations = following[0, :len(white_response)] @ whitening
        candidates = white_innovations[:, :, None] - step * white_response[:len(white_innovations)]
        steps_before = int(np.argmin((candidates**2).sum(axis=(0, 1))))
        if steps_before:
            following -= step * intersample_sp_response[:, :following.shape[1], :, steps_before]


def _regression_variance(stretches: Sequence[Floats]) -> float:
    """Return the generalised residual variance of a regression of PV and OP on their last samples and SP."""
    order, regressors, outputs = _REGRESSION_LAGS, [], []
    for data in stretches:
        both = np.column_stack([data[order - lag:len(data) - lag] for lag in range(order + 1)])
        both -= both.mean(axis=0)
        outputs.append(both[:, :2])
        regressors.append(both[:, 2:])
    x, y = np.concatenate(regressors), np.concatenate(outputs)
    return _generalized_variance(y - x @ np.linalg.lstsq(x, y, rcond=None)[0], x.shape[1])


def _generalized_variance(residuals: Floats, parameters: int) -> float:
    """Return the determinant of the covariance of residuals (T, 2) of a fit with so many parameters each."""
    return max(float(np.linalg.det(residuals.T @ residuals / (len(residuals) - parameters))), TINY)
