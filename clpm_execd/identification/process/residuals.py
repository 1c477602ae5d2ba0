"""What a given process leaves unexplained of PV, and what that says of its load, its sensor and what swings it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, inf, log, sqrt

import numpy as np

from clpm_execd.identification.loop_data import Signals
from clpm_execd.identification.process.prediction_error import (
    LOOSE,
    LOOSE_DELAY,
    NOISES,
    SETTLE,
    STEP,
    Prediction,
    least,
    slope,
)
from clpm_execd.identification.process.prediction_error import steps as around
from clpm_execd.identification.process.transfer_functions import ONE, filtered, pole_of, ratio, sampled, share
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ProcessSpec
from clpm_execd.plant.stages.process import discretize

_MOST_STEPS, _ENOUGH = 100, 0.01  # of a search
_A_STEP = 2.0  # numbers of a step of the load: when and how large
_LOOSE_GAIN = 0.7  # sigma of the log of a gain of which the record tells nothing


@dataclass(frozen=True, slots=True)
class Innovations:
    """What a given process leaves unexplained of PV: errors e, (T,), NaN where there are none, and how they move it.

    correction: (4,) the pole of the load, and what e adds to the states x1 and x2 and to the load.
    load, correlation: sigma, % of travel, and time, s, of the load. noise: sigma of the sensor's, % of span. doubt:
    (3,) standard deviations of the logarithms of these three, the process being no surer than the record makes it.
    cost: n log of the variance of the n errors, twice the negative log-likelihood, and what Schwarz's criterion asks
    for steps of the load. swing: of a load that oscillates with the period that was told, the amplitude, % of travel,
    its standard deviation, and the third harmonic's share of it.
    """

    correction: Floats
    errors: Floats
    load: float
    correlation: float
    noise: float
    doubt: Floats
    cost: float
    swing: tuple[float, float, float] = (0.0, 0.0, 0.0)


def innovations(signals: Signals, process: ProcessSpec, period: float | None = None, steps: Sequence[int] = ()
                ) -> Innovations | None:
    """What a Kalman filter for the process, a load of first order and a sensor's noise makes of the record.

    The load's time and its size beside the noise are those of the least errors. period: as of a Prediction; the
    errors are without that oscillation. steps: samples from which on the load is another by whatever explains most;
    the errors are without that too. None where there is no fit.
    """
    left = Unexplained(signals, process, period)
    if not left.where:
        return None
    try:
        return left.told(left.noise(NOISES, steps), steps)
    except (ValueError, np.linalg.LinAlgError):
        return None


class Unexplained:
    """The errors of a given process, as `innovations` says, by the noise, (2,), of `filters`, and steps of the load.

    A PV - K B OP does not depend on the noise, nor does what steps add to it: the noise's own filter, D over C, makes
    errors of either. where: the stretches of the record that tell anything. samples: (n,) those that have an error.
    """

    def __init__(self, signals: Signals, process: ProcessSpec, period: float | None = None) -> None:
        self._of, self._process, self._length = Prediction(signals, process, period), process, len(signals.pv)
        self._period, self.where = period, self._of.where
        self.parts = list[slice]()  # of the errors, by stretch
        end = 0
        for s in self.where:
            self.parts.append(slice(end, end := end + s.stop - s.start - SETTLE))
        self.samples = np.concatenate([np.arange(s.start + SETTLE, s.stop) for s in self.where] or [np.empty(0, int)])
        self._last: tuple[tuple[object, ...], Floats] = (), np.empty((0, 0))  # columns, as they were asked for
        if self.where:
            self._known, self._left = self._of.without_noise()
            at_once = sampled(replace(self._of.around, dead_time=0.0), self._of.interval, self._of.parts)
            self._stepped = at_once.of_op(np.ones(self._length))

    def noise(self, starts: Sequence[Sequence[float] | Floats], steps: Sequence[int], enough: float = _ENOUGH,
              pole: float | None = None) -> Floats:
        """That of the least errors, looked for from these on. enough: as of `least`. pole: the load's, as its logit,
        where it is given.
        """
        def whole(noise: Floats) -> Floats:
            return noise if pole is None else np.append(pole, noise)

        def left(noise: Floats) -> Floats:
            return self.errors(whole(noise), steps)

        def slopes(noise: Floats) -> Floats:
            return self._slopes([whole(one) for one in around(noise)], steps)

        free = [np.array(start[-1:] if pole is not None else start) for start in starts]
        tried = [least(left, slopes, start, _MOST_STEPS, enough) for start in free]
        return whole(tried[0] if len(tried) == 1 else min(tried, key=lambda one: float(np.sum(left(one)**2))))

    def _at(self, noise: Floats) -> tuple[float, Floats]:
        return self._process.dead_time, np.append(self._of.typical, noise)

    def _coloured(self, noise: Floats) -> tuple[Floats, Floats]:
        """D, (2,), and C, (4,), in 1/z."""
        pole, colour = self._known.coloured(self._of.around, self._of.interval, noise)
        return np.array((1.0, -pole)), colour

    def errors(self, noise: Floats, steps: Sequence[int] = ()) -> Floats:
        """(n,) of PV, without what the steps explain."""
        load, colour = self._coloured(noise)
        errors = self._of.clear([filtered(load, colour, left) for left in self._left])
        return errors - (columns := self.columns(noise, steps)) @ _sizes(columns, errors)[0] if steps else errors

    def _slopes(self, near: Sequence[Floats], steps: Sequence[int]) -> Floats:
        """(n, K) of the errors, by noises at `steps` of a Prediction, with the steps' sizes as they are at the first.

        Of a variable projection (Golub and Pereyra, 1973) without what is small in it (Kaufman, 1975).
        """
        noise = near[0]
        (load, colour), *others = [self._coloured(one) for one in near]
        columns = self.columns(noise, steps)
        sizes = _sizes(columns, self.errors(noise))[0] if steps else ()
        found = []
        for s, left in zip(self.where, self._left, strict=True):
            for step, size in zip(steps, sizes, strict=True):
                if s.start < step < s.stop:
                    left = left.copy()
                    left[step - s.start:] -= size * self._stepped[:s.stop - step]
            error, moved = filtered(load, colour, left), np.zeros((len(others), len(left)))
            for row, (other, behind) in zip(moved, others, strict=True):
                row[1:] = (other[1] - load[1]) * left[:-1]
                for k in range(1, min(len(colour), len(left))):
                    row[k:] -= (behind[k] - colour[k]) * error[:-k]
            found.append(filtered(ONE, colour, moved))
        slopes = self._of.clear(found).T / STEP
        return slopes - columns @ _sizes(columns, slopes)[0] if steps else slopes

    def sizes(self, noise: Floats, steps: Sequence[int]) -> tuple[Floats, Floats]:
        """(S,) % of travel, and their standard deviations."""
        columns, errors = self.columns(noise, steps), self.errors(noise)
        found, inverse = _sizes(columns, errors)
        sigma = float(np.std(errors - columns @ found))
        return found, np.asarray(sigma * np.sqrt(np.diag(inverse)))

    def columns(self, noise: Floats, steps: Sequence[int]) -> Floats:
        """(n, S) what steps of 1 % of travel add to the errors, each until its stretch ends."""
        asked = noise.tobytes(), *steps
        if asked != self._last[0]:
            self._last = asked, self._columns(noise, steps)
        return self._last[1]

    def _columns(self, noise: Floats, steps: Sequence[int]) -> Floats:
        columns = np.zeros((len(steps), len(self.samples)))
        if steps:
            course = filtered(*self._coloured(noise), self._stepped)
            for s, part in zip(self.where, self.parts, strict=True):
                for column, step in zip(columns, steps, strict=True):
                    if s.start < step < s.stop:
                        added = np.zeros(s.stop - s.start)
                        added[step - s.start:] = course[:s.stop - step]
                        column[part] = added[SETTLE:] - np.add.reduce(added[SETTLE:]) / (len(added) - SETTLE)
        return columns.T

    def courses(self, noise: Floats, length: int) -> tuple[Floats, Floats]:
        """(length,) what a step of the load of 1 % of travel, and a PV too high by 1 % of span once, add to the errors.
        """
        load, colour = self._coloured(noise)
        once = np.zeros(length)
        once[0] = 1.0
        stepped = np.append(self._stepped, np.full(max(length - self._length, 0), self._stepped[-1]))[:length]
        return filtered(load, colour, stepped), filtered(np.convolve(self._known.pv, load), colour, once)

    def load(self, noise: Floats, errors: Floats) -> float:
        """Sigma of the load, % of travel."""
        return self._own(noise, errors) * ratio(self._process, self._of.interval, noise)

    def _own(self, noise: Floats, errors: Floats) -> float:
        """Sigma of the sensor's noise, % of span."""
        return sqrt(float(np.mean(errors**2)) * share(self._process, self._of.interval, noise))

    def told(self, noise: Floats, steps: Sequence[int]) -> Innovations:
        """Of this noise. Raises ValueError or LinAlgError where it has no filter."""
        process, interval, found = self._process, self._of.interval, self.errors(noise, steps)
        own, (pole, gain) = self._own(noise, found), _load_filter(process, interval, noise)
        errors = np.full(self._length, np.nan)
        errors[self.samples] = found
        swing = self._of.swing(process.gain, *self._at(noise)) if self._period else (0.0, 0.0, 0.0)
        return Innovations(
            np.array([pole, *gain]), errors, load=own * ratio(process, interval, noise),
            correlation=-interval / log(max(pole, 1e-3)), noise=own,
            doubt=_doubt(process, self._of, noise, found, self.columns(noise, steps)),
            cost=cost(found, steps), swing=swing)


def cost(errors: Floats, steps: Sequence[int]) -> float:
    """As of Innovations."""
    n = len(errors)
    return n * log(max(float(errors.var()), 1e-300)) + _A_STEP * len(steps) * log(n)


def _sizes(columns: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """Of the columns in the errors, and the inverse of their normal matrix."""
    normal = columns.T @ columns
    diagonal = normal.reshape(-1)[::len(normal) + 1]
    diagonal *= 1.0 + 1e-9
    diagonal += 1e-12
    inverse = np.linalg.inv(normal)
    return np.asarray(inverse @ (columns.T @ errors)), np.asarray(inverse)


def lasts(course: Floats, share: float) -> int:
    """How many samples hold this share of the power of a course."""
    return 1 + int(np.searchsorted(np.cumsum(course**2), share * float(course @ course)))


def _doubt(process: ProcessSpec, prediction: Prediction, noise: Floats, left: Floats, columns: Floats) -> Floats:
    """`doubt` of Innovations, by how all that may be otherwise, together, would move the errors.

    left: (n,) the errors. columns: (n, S) what steps of the load add to them.
    """
    lags = len(prediction.typical)
    begun = np.array([0.0, log(process.dead_time + prediction.scan), *prediction.typical, *noise])
    near = [(process.gain * exp(at[0]), max(exp(at[1]) - prediction.scan, 0.0), at[2:]) for at in around(begun)]
    y, u = prediction.beside([(delay, parameters) for _, delay, parameters in near])
    errors = y - np.array([[gain] for gain, _, _ in near]) * u
    slopes, variance, n = slope(errors), float(np.mean(left**2)), len(left)
    slopes -= columns @ _sizes(columns, slopes)[0]
    loose = np.array([_LOOSE_GAIN, LOOSE_DELAY, *LOOSE[:lags], inf, inf])
    spread = np.linalg.pinv(slopes.T @ slopes / variance + np.diag(loose**-2.0))
    told = slope(np.array([_logarithms(replace(
        process, gain=gain, dead_time=delay, tau=tuple(np.exp(np.cumsum(parameters[:lags])).tolist())),
        prediction.interval, parameters[lags:]) for gain, delay, parameters in near]))
    return np.asarray(np.sqrt(np.diag(told @ spread @ told.T) + np.array([0.5, 0.0, 0.5]) / n))


def _logarithms(process: ProcessSpec, h: float, noise: Floats) -> list[float]:
    """Those of the load, its correlation and the sensor's noise, behind errors of the same variance."""
    own = log(share(process, h, noise)) / 2.0
    return [own + log(ratio(process, h, noise)), -log(-log(pole_of(noise))), own]


def _load_filter(process: ProcessSpec, h: float, noise: Floats) -> tuple[float, Floats]:
    """The load's pole, the gain (3,) of the Kalman filter for x1, x2 and the load (Kalman, 1960).

    noise: as of `filters`.
    """
    from scipy.linalg import solve_discrete_are

    pole = pole_of(noise)
    p11, p21, p22, b1, b2 = discretize(process, h)
    f = np.array([[p11, 0.0, b1], [p21, p22, b2], [0.0, 0.0, pole]])
    q = np.zeros((3, 3))
    q[2, 2] = (1.0 - pole**2) * ratio(process, h, noise) ** 2
    seen = np.array([[0.0, 1.0, 0.0]])
    with np.errstate(invalid="ignore"):  # SciPy scales by powers of 2, which overflow where a lag is far below h
        p = solve_discrete_are(f.T, seen.T, q, np.eye(1))
    return pole, np.asarray((f @ p[:, 1]) / (p[1, 1] + 1.0))
