"""Residuals of PV for a given process, and the estimates of load and sensor noise from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, inf, log, sqrt

import numpy as np

from clpm_execd.identification.loop_data import Signals
from clpm_execd.identification.process.prediction_error import (
    DEAD_TIME_SIGMA,
    LAG_SIGMAS,
    NOISES,
    SETTLING_SAMPLES,
    PredictionErrorModel,
    jacobian,
    least_squares,
)
from clpm_execd.identification.process.transfer_functions import load_to_noise_ratio, noise_share, pole_of
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ProcessSpec
from clpm_execd.plant.stages.process import discretize

_GAIN_SIGMA = 0.7  # prior standard deviation of the log gain: a factor of two either way


@dataclass(frozen=True, slots=True)
class Innovations:
    """Innovations of PV for a given process, and the load and the sensor noise that they show.

    pole_and_gain: (4,) the pole of the load and the Kalman gains of the states x1 and x2 and of the load. errors: (T,)
    the innovations, % of span, NaN where there are none. load, correlation: standard deviation, % of travel, and time
    constant, s, of the load. noise: standard deviation of the sensor noise, % of span. log_std: (3,) standard
    deviations of the logarithms of these three, which include the uncertainty of the process. cost: n log variance of
    the n errors, which is minus twice the log-likelihood. oscillation_load: amplitude of an external oscillation as a
    load, % of travel, its standard deviation, and the third harmonic as a fraction of the amplitude.
    """

    pole_and_gain: Floats
    errors: Floats
    load: float
    correlation: float
    noise: float
    log_std: Floats
    cost: float
    oscillation_load: tuple[float, float, float] = (0.0, 0.0, 0.0)


def estimate_innovations(signals: Signals, process: ProcessSpec, period: float | None = None) -> Innovations | None:
    """Return the innovations of a Kalman filter for the process, a first-order load and white sensor noise.

    The load's time constant and its ratio to the noise minimise the errors. period: of an external oscillation, s,
    which is removed from the errors. None where the fit fails.
    """
    pem = PredictionErrorModel(signals, process, period)
    if not pem.stretches:
        return None

    def errors(noise: Floats) -> Floats:
        y, u = pem.filter_signals(process.dead_time, np.append(pem.prior_mean, noise))
        return y - process.gain * u

    noises = [noise for start in NOISES if (noise := least_squares(errors, np.array(start))) is not None]
    if not noises:
        return None
    noise = min(noises, key=lambda one: float(np.sum(errors(one)**2)))
    try:
        return _make_innovations(pem, process, noise, errors(noise), len(signals.pv))
    except (ValueError, np.linalg.LinAlgError):
        return None


def _make_innovations(pem: PredictionErrorModel, process: ProcessSpec, noise: Floats, errors: Floats,
                      samples: int) -> Innovations:
    interval, (pole, gain) = pem.interval, _load_filter(process, pem.interval, noise)
    noise_std = sqrt(float(np.mean(errors**2)) * noise_share(process, interval, noise))
    aligned = np.full(samples, np.nan)
    aligned[np.concatenate([np.arange(s.start + SETTLING_SAMPLES, s.stop) for s in pem.stretches])] = errors
    params = process.dead_time, np.append(pem.prior_mean, noise)
    return Innovations(
        np.array([pole, *gain]), aligned, load=noise_std * load_to_noise_ratio(process, interval, noise),
        correlation=-interval / log(max(pole, 1e-3)), noise=noise_std, log_std=_log_std(process, pem, noise, errors),
        cost=len(errors) * log(max(float(errors.var()), 1e-300)),
        oscillation_load=pem.estimate_oscillation_load(process.gain, *params) if pem.period else (0.0, 0.0, 0.0))


def _log_std(process: ProcessSpec, pem: PredictionErrorModel, noise: Floats, residuals: Floats) -> Floats:
    """Return `log_std` of Innovations by linear error propagation from all parameters; residuals: (n,)."""
    lags = len(pem.prior_mean)

    def split(log_params: Floats) -> tuple[float, float, Floats]:
        return process.gain * exp(log_params[0]), max(exp(log_params[1]) - pem.scan, 0.0), log_params[2:]

    def errors(log_params: Floats) -> Floats:
        gain, delay, parameters = split(log_params)
        y, u = pem.filter_signals(delay, parameters)
        return y - gain * u

    def logarithms(log_params: Floats) -> Floats:
        gain, delay, parameters = split(log_params)
        perturbed = replace(process, gain=gain, dead_time=delay,
                            tau=tuple(np.exp(np.cumsum(parameters[:lags])).tolist()))
        log_noise = log(noise_share(perturbed, pem.interval, parameters[lags:])) / 2.0
        return np.array([log_noise + log(load_to_noise_ratio(perturbed, pem.interval, parameters[lags:])),
                         -log(-log(pole_of(parameters[lags:]))), log_noise])

    log_params = np.array([0.0, log(process.dead_time + pem.scan), *pem.prior_mean, *noise])
    jacobian_matrix, log_jacobian = jacobian(errors, log_params), jacobian(logarithms, log_params)
    prior_std = np.array([_GAIN_SIGMA, DEAD_TIME_SIGMA, *LAG_SIGMAS[:lags], inf, inf])
    covariance = np.linalg.pinv(jacobian_matrix.T @ jacobian_matrix / float(np.mean(residuals**2))
                                + np.diag(prior_std**-2.0))
    return np.asarray(np.sqrt(np.diag(log_jacobian @ covariance @ log_jacobian.T)
                              + np.array([0.5, 0.0, 0.5]) / len(residuals)))


def _load_filter(process: ProcessSpec, h: float, noise: Floats) -> tuple[float, Floats]:
    """Return the load's pole, and the Kalman gain (3,) for x1, x2 and the load (Kalman, 1960).

    noise: as in `make_filters`.
    """
    from scipy.linalg import solve_discrete_are

    pole = pole_of(noise)
    p11, p21, p22, b1, b2 = discretize(process, h)
    f = np.array([[p11, 0.0, b1], [p21, p22, b2], [0.0, 0.0, pole]])
    q = np.zeros((3, 3))
    q[2, 2] = (1.0 - pole**2) * load_to_noise_ratio(process, h, noise) ** 2
    observation = np.array([[0.0, 1.0, 0.0]])
    with np.errstate(invalid="ignore"):  # SciPy scales by powers of 2, which overflow where a lag is far below h
        p = solve_discrete_are(f.T, observation.T, q, np.eye(1))
    return pole, np.asarray((f @ p[:, 1]) / (p[1, 1] + 1.0))
