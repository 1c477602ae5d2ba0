"""What a given process leaves unexplained of PV, and what that says of its load and its sensor."""

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

_GAIN_SIGMA = 0.7  # of the log of a gain of which the record tells nothing


@dataclass(frozen=True, slots=True)
class Innovations:
    """What a given process leaves unexplained of PV: errors e, (T,), NaN where there are none, and how they move it.

    correction: (4,) the pole of the load, and what e adds to the states x1 and x2 and to the load.
    load, correlation: sigma, % of travel, and time, s, of the load. noise: sigma of the sensor's, % of span. doubt:
    (3,) standard deviations of the logarithms of these three, the process being no surer than the record makes it.
    cost: n log of the variance of the n errors, twice the negative log-likelihood. swing: of a load that oscillates,
    the amplitude, % of travel, its standard deviation, and the third harmonic's share of it.
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
    """Return what a Kalman filter for the process, a load of first order and a sensor's noise makes of the record.

    The load's time and its size beside the noise are those of the least errors. period: as of a
    PredictionErrorModel; the errors are without that oscillation. None where there is no fit.
    """
    of = PredictionErrorModel(signals, process, period)
    if not of.where:
        return None

    def errors(noise: Floats) -> Floats:
        y, u = of.filtered(process.dead_time, np.append(of.typical, noise))
        return y - process.gain * u

    noises = [noise for start in NOISES if (noise := least_squares(errors, np.array(start))) is not None]
    if not noises:
        return None
    noise = min(noises, key=lambda one: float(np.sum(errors(one)**2)))
    try:
        return _innovations(of, process, noise, errors(noise), len(signals.pv))
    except (ValueError, np.linalg.LinAlgError):
        return None


def _innovations(of: PredictionErrorModel, process: ProcessSpec, noise: Floats, errors: Floats,
                 samples: int) -> Innovations:
    interval, (pole, gain) = of.interval, _load_filter(process, of.interval, noise)
    own = sqrt(float(np.mean(errors**2)) * noise_share(process, interval, noise))
    placed = np.full(samples, np.nan)
    placed[np.concatenate([np.arange(s.start + SETTLING_SAMPLES, s.stop) for s in of.where])] = errors
    at = process.dead_time, np.append(of.typical, noise)
    return Innovations(
        np.array([pole, *gain]), placed, load=own * load_to_noise_ratio(process, interval, noise),
        correlation=-interval / log(max(pole, 1e-3)), noise=own, log_std=_log_std(process, of, noise, errors),
        cost=len(errors) * log(max(float(errors.var()), 1e-300)),
        oscillation_load=of.estimate_oscillation_load(process.gain, *at) if of.period else (0.0, 0.0, 0.0))


def _log_std(process: ProcessSpec, of: PredictionErrorModel, noise: Floats, left: Floats) -> Floats:
    """Return `doubt` of Innovations, by how all that may be otherwise, together, would move the errors, (n,)."""
    lags = len(of.typical)

    def split(at: Floats) -> tuple[float, float, Floats]:
        return process.gain * exp(at[0]), max(exp(at[1]) - of.scan, 0.0), at[2:]

    def errors(at: Floats) -> Floats:
        gain, delay, parameters = split(at)
        y, u = of.filtered(delay, parameters)
        return y - gain * u

    def logarithms(at: Floats) -> Floats:
        gain, delay, parameters = split(at)
        near = replace(process, gain=gain, dead_time=delay, tau=tuple(np.exp(np.cumsum(parameters[:lags])).tolist()))
        own = log(noise_share(near, of.interval, parameters[lags:])) / 2.0
        return np.array([own + log(load_to_noise_ratio(near, of.interval, parameters[lags:])),
                         -log(-log(pole_of(parameters[lags:]))),
                         own])

    at = np.array([0.0, log(process.dead_time + of.scan), *of.typical, *noise])
    slopes, by = jacobian(errors, at), jacobian(logarithms, at)
    sigmas = np.array([_GAIN_SIGMA, DEAD_TIME_SIGMA, *LAG_SIGMAS[:lags], inf, inf])
    spread = np.linalg.pinv(slopes.T @ slopes / float(np.mean(left**2)) + np.diag(sigmas**-2.0))
    return np.asarray(np.sqrt(np.diag(by @ spread @ by.T) + np.array([0.5, 0.0, 0.5]) / len(left)))


def _load_filter(process: ProcessSpec, h: float, noise: Floats) -> tuple[float, Floats]:
    """Return the load's pole, and the gain (3,) of the Kalman filter for x1, x2 and the load (Kalman, 1960).

    noise: as of `filters`.
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
