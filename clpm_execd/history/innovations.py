"""What a given process leaves unexplained of PV, and what that says of its load, its sensor and what swings it."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt

import numpy as np

from clpm_execd.history.prediction import NOISES, SETTLE, Prediction, pole_of, ratio
from clpm_execd.history.signals import Signals
from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop import ProcessSpec
from clpm_execd.plant.process import transition


@dataclass(frozen=True, slots=True)
class Innovations:
    """What a given process leaves unexplained of PV: errors e, (T,), NaN where there are none, and how they move it.

    correction: (4,) the pole of the load, and what e adds to the states x1 and x2 and to the load.
    load, correlation: sigma, % of travel, and time, s, of the load. noise: sigma of the sensor's, % of span. swing: of
    a load that oscillates with the period that was told, the amplitude, % of travel, its standard deviation, and the
    third harmonic's share of it.
    """

    correction: Floats
    errors: Floats
    load: float
    correlation: float
    noise: float
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
    from scipy.optimize import least_squares

    prediction = Prediction(signals, process, period)
    if not prediction.stretches:
        return None

    def filters(parameters: Floats) -> tuple[float, Floats]:
        pole, gain, _ = _load_filter(process, signals.interval, parameters)
        return pole, _colour(process, signals.interval, pole, gain)

    def residual(parameters: Floats) -> Floats:
        y, u = prediction.errors(process.dead_time, prediction.typical, filters(parameters))
        return np.asarray(y - process.gain * u)

    try:
        found = min((least_squares(residual, start, method="lm", max_nfev=100) for start in NOISES),
                    key=lambda fit: float(fit.cost))
        pole, gain, share = _load_filter(process, signals.interval, found.x)
    except (ValueError, np.linalg.LinAlgError):
        return None
    errors = np.full(len(signals.pv), np.nan)
    at = 0
    for s in prediction.where:
        length = s.stop - s.start - SETTLE
        errors[s.start + SETTLE:s.stop] = found.fun[at:at + length]
        at += length
    noise = sqrt(float(np.mean(found.fun**2)) * share)
    swing = prediction.swing(process, filters(found.x)) if period else (0.0, 0.0, 0.0)
    return Innovations(np.array([pole, *gain]), errors, load=noise * ratio(process, signals.interval, found.x),
                       correlation=-signals.interval / log(max(pole, 1e-3)), noise=noise, swing=swing)


def _load_filter(process: ProcessSpec, h: float, parameters: Floats) -> tuple[float, Floats, float]:
    """The load's pole, the gain (3,) of the Kalman filter for x1, x2 and the load (Kalman, 1960), the noise's share.

    parameters: the logit of the pole, and the log of the load's sigma, by what it would lastingly do to PV (of an
    integrator in a hundred samples), over that of the noise.
    """
    from scipy.linalg import solve_discrete_are

    pole = pole_of(parameters)
    f = _states(process, h, pole)
    q = np.zeros((3, 3))
    q[2, 2] = (1.0 - pole**2) * ratio(process, h, parameters) ** 2
    seen = np.array([[0.0, 1.0, 0.0]])
    p = solve_discrete_are(f.T, seen.T, q, np.eye(1))
    return pole, np.asarray((f @ p[:, 1]) / (p[1, 1] + 1.0)), 1.0 / (float(p[1, 1]) + 1.0)


def _states(process: ProcessSpec, h: float, pole: float) -> Floats:
    """The transition of x1, x2 and the load over an interval."""
    p11, p21, p22, b1, b2 = transition(process, h)
    return np.array([[p11, 0.0, b1], [p21, p22, b2], [0.0, 0.0, pole]])


def _colour(process: ProcessSpec, h: float, pole: float, gain: Floats) -> Floats:
    """C, the characteristic polynomial of the filter."""
    closed = _states(process, h, pole)
    closed[:, 1] -= gain
    return np.asarray(np.poly(closed).real)
