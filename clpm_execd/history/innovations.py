"""What a given process leaves unexplained of PV, and what that says of its load, its sensor and what swings it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, inf, log, sqrt

import numpy as np

from clpm_execd.history.filters import filters, pole_of, ratio
from clpm_execd.history.prediction import LOOSE, LOOSE_DELAY, NOISES, SETTLE, Prediction, least, slope, steps
from clpm_execd.history.signals import Signals
from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop import ProcessSpec
from clpm_execd.plant.process import transition

_MOST_STEPS = 100  # of a search
_LONGEST = 500  # samples of a step's course
_MATTERS = 0.99  # of its power
_LOOSE_GAIN = 0.7  # sigma of the log of a gain of which the record tells nothing


@dataclass(frozen=True, slots=True)
class Innovations:
    """What a given process leaves unexplained of PV: errors e, (T,), NaN where there are none, and how they move it.

    correction: (4,) the pole of the load, and what e adds to the states x1 and x2 and to the load.
    load, correlation: sigma, % of travel, and time, s, of the load. noise: sigma of the sensor's, % of span. doubt:
    (3,) standard deviations of the logarithms of these three, the process being no surer than the record makes it.
    swing: of a load that oscillates with the period that was told, the amplitude, % of travel, its standard deviation,
    and the third harmonic's share of it. step, spike: (K,) what a step of the load of 1 % of travel, and a PV that is
    too high by 1 % of span once, add to the errors from then on.
    """

    correction: Floats
    errors: Floats
    load: float
    correlation: float
    noise: float
    doubt: Floats
    step: Floats
    spike: Floats
    swing: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def cost(self) -> float:
        """n log of the variance of the n errors: twice the negative log-likelihood."""
        errors = self.errors[np.isfinite(self.errors)]
        return float(len(errors) * np.log(max(float(errors.var()), 1e-300)))


def innovations(signals: Signals, process: ProcessSpec, period: float | None = None) -> Innovations | None:
    """What a Kalman filter for the process, a load of first order and a sensor's noise makes of the record.

    The load's time and its size beside the noise are those of the least errors. period: as of a Prediction; the
    errors are without that oscillation. None where there is no fit.
    """
    prediction = Prediction(signals, process, period)
    if not prediction.where:
        return None

    def at(noise: Floats) -> tuple[float, Floats]:
        return process.dead_time, np.append(prediction.typical, noise)

    def left(noise: Floats) -> Floats:
        y, u = prediction.errors(*at(noise))
        return np.asarray(y - process.gain * u)

    def slopes(noise: Floats) -> Floats:
        y, u = prediction.beside([at(one) for one in steps(noise)])
        return slope(y - process.gain * u)

    try:
        tried = [least(left, slopes, np.array(start), _MOST_STEPS) for start in NOISES]
        noise = min(tried, key=lambda one: float(np.sum(left(one)**2)))
        pole, gain, share = _load_filter(process, signals.interval, noise)
        doubt = _doubt(process, prediction, noise)
    except (ValueError, np.linalg.LinAlgError):
        return None
    found, errors = left(noise), np.full(len(signals.pv), np.nan)
    errors[np.concatenate([np.arange(s.start + SETTLE, s.stop) for s in prediction.where])] = found
    sigma = sqrt(float(np.mean(found**2)) * share)
    swing = prediction.swing(process.gain, *at(noise)) if period else (0.0, 0.0, 0.0)
    step, spike = _courses(process, prediction, noise)
    return Innovations(np.array([pole, *gain]), errors, load=sigma * ratio(process, signals.interval, noise),
                       correlation=-signals.interval / log(max(pole, 1e-3)), noise=sigma, doubt=doubt, step=step,
                       spike=spike, swing=swing)


def lasts(course: Floats, share: float) -> int:
    """How many samples hold this share of the power of a course."""
    return 1 + int(np.searchsorted(np.cumsum(course**2), share * float(course @ course)))


def _courses(process: ProcessSpec, prediction: Prediction, noise: Floats) -> tuple[Floats, Floats]:
    """`step` and `spike` of Innovations, as long as they matter."""
    at_once = filters(replace(process, gain=1.0, dead_time=0.0), prediction.interval, prediction.parts, noise)
    once = np.zeros(_LONGEST)
    once[0] = 1.0
    courses = process.gain * at_once.of_op(np.ones(_LONGEST)), at_once.of_pv(once)
    step, spike = (course[:lasts(course, _MATTERS)] for course in courses)
    return step, spike


def _doubt(process: ProcessSpec, prediction: Prediction, noise: Floats) -> Floats:
    """`doubt` of Innovations, by how all that may be otherwise, together, would move the errors."""
    lags = len(prediction.typical)
    begun = np.array([0.0, log(process.dead_time + prediction.scan), *prediction.typical, *noise])
    near = [(process.gain * exp(at[0]), max(exp(at[1]) - prediction.scan, 0.0), at[2:]) for at in steps(begun)]
    y, u = prediction.beside([(delay, parameters) for _, delay, parameters in near])
    errors = y - np.array([[gain] for gain, _, _ in near]) * u
    slopes, variance, n = slope(errors), float(np.mean(errors[0]**2)), errors.shape[1]
    loose = np.array([_LOOSE_GAIN, LOOSE_DELAY, *LOOSE[:lags], inf, inf])
    spread = np.linalg.pinv(slopes.T @ slopes / variance + np.diag(loose**-2.0))
    told = slope(np.array([_logarithms(replace(
        process, gain=gain, dead_time=delay, tau=tuple(np.exp(np.cumsum(parameters[:lags])).tolist())),
        prediction.interval, parameters[lags:]) for gain, delay, parameters in near]))
    return np.asarray(np.sqrt(np.diag(told @ spread @ told.T) + np.array([0.5, 0.0, 0.5]) / n))


def _logarithms(process: ProcessSpec, h: float, noise: Floats) -> list[float]:
    """Those of the load, its correlation and the sensor's noise, behind errors of the same variance."""
    pole, _, share = _load_filter(process, h, noise)
    return [log(share) / 2.0 + log(ratio(process, h, noise)), -log(-log(pole)), log(share) / 2.0]


def _load_filter(process: ProcessSpec, h: float, noise: Floats) -> tuple[float, Floats, float]:
    """The load's pole, the gain (3,) of the Kalman filter for x1, x2 and the load (Kalman, 1960), the noise's share.

    noise: as of `filters`.
    """
    from scipy.linalg import solve_discrete_are

    pole = pole_of(noise)
    p11, p21, p22, b1, b2 = transition(process, h)
    f = np.array([[p11, 0.0, b1], [p21, p22, b2], [0.0, 0.0, pole]])
    q = np.zeros((3, 3))
    q[2, 2] = (1.0 - pole**2) * ratio(process, h, noise) ** 2
    seen = np.array([[0.0, 1.0, 0.0]])
    p = solve_discrete_are(f.T, seen.T, q, np.eye(1))
    return pole, np.asarray((f @ p[:, 1]) / (p[1, 1] + 1.0)), 1.0 / (float(p[1, 1]) + 1.0)
