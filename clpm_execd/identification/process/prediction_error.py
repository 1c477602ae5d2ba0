"""What a process and a load tell of PV, and the process that errs least at a dead time.

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

from clpm_execd.identification.loop_data import Signals, runs
from clpm_execd.identification.process.transfer_functions import (
    Filters,
    Sampled,
    filters,
    pole_of,
    sampled,
    slowness,
    turned,
)
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ProcessSpec

SHORTEST = 60  # samples of a stretch
_MOST = 20_000  # samples
_MOST_PARTS = 10
SETTLE = 20  # samples at the start of a stretch that the filters need
STEP = 1e-4  # of a logarithm, for a slope
_MOST_STEPS = 30  # of a fit
_ENOUGH = 0.01  # see `least`
_PARTS = (1.0, 3.0)  # of an oscillation: itself and its third harmonic
NOISES = ((1.0, 0.0), (4.0, 2.0), (7.0, 3.0))  # logit of the load's pole, log of its size beside the sensor's noise
LOOSE = (1.2, 0.5)  # sigma of the log of the first lag, and of the second's share of it
LOOSE_DELAY = 1.0  # sigma of the log of the dead time, a sample added


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


class Prediction:
    """Of PV by OP, for processes around a typical one.

    period: s, of an oscillation that comes from elsewhere; what has this period, or a third of it, tells nothing then.
    around: the typical process, no lag far below an interval. typical: logs of its lags, the second's as its share of
    the first. where: the stretches of the record that tell anything. scale: sigma of the errors that priors are weighed
    against, of the first errors until it is set. parts: at most so many scans, of 1 s, are taken to lie in an interval.
    """

    def __init__(self, signals: Signals, around: ProcessSpec, period: float | None = None, *,
                 parts: int = _MOST_PARTS) -> None:
        self.model, self.expected, self.interval = around.model, around.dead_time, signals.interval
        self.parts = max(1, min(round(signals.interval), parts))
        self.scan = signals.interval / self.parts
        lags = [max(t, 0.2 * signals.interval) for t in around.tau]
        self.around = replace(around, tau=tuple(lags))
        self.typical = np.array([log(lag) for lag in lags[:1]] + [log(lag / lags[0]) for lag in lags[1:]])
        self.loose = np.array(LOOSE[:len(lags)])
        self.scale = 0.0
        found = (slice(s.start, min(s.stop, s.start + _MOST)) for s in runs(signals.whole, SHORTEST))
        self.where = [s for s in found if np.ptp(signals.op[s]) > 1e-6 and np.ptp(signals.pv[s]) > 1e-9][:8]
        self._pv = [signals.pv[s] - signals.pv[s.start] for s in self.where]
        self._op = self._moved(signals.op)
        self.samples = sum(len(pv) for pv in self._pv)
        self.period = period
        self.waves = np.linalg.qr(_level(self._moved(self._waves())).T)[0] if period else np.empty((0, 0))

    @property
    def starts(self) -> list[Floats]:
        """Where a fit may begin that has none to go by: the typical lags, with several noises."""
        return [np.concatenate([self.typical, noise]) for noise in NOISES]

    def swapped(self, parameters: Floats, lag: int) -> Floats:
        """Those of a Fit with the load as slow as this lag, and the lag as fast as the load."""
        k = len(self.typical)
        logs, noise = np.cumsum(parameters[:k]), parameters[k:].copy()
        noise[0], logs[lag] = slowness(exp(-self.interval / exp(logs[lag]))), log(-self.interval / log(pole_of(noise)))
        return np.concatenate([logs[:1], np.diff(logs), noise])

    def _waves(self) -> Floats:
        """(4, T) sines and cosines of the period of the oscillation, and of a third of it."""
        assert self.period is not None
        angles = 2.0 * np.pi * self.interval / self.period * np.arange(self.where[-1].stop)
        return np.array([wave(part * angles) for part in _PARTS for wave in (np.sin, np.cos)])

    def _moved(self, op: Floats) -> list[Floats]:
        """What OP, (..., T), has moved since the start of each stretch, (..., n)."""
        return [op[..., s] - op[..., s.start:s.start + 1] for s in self.where]

    def errors(self, delay: float, parameters: Floats) -> tuple[Floats, Floats]:
        """What the filters make of PV and of OP: the errors are the former less the gain times the latter.

        delay in s. parameters: as in a Fit.
        """
        of = self._filters(delay, parameters)
        if self._op[0].ndim > 1:
            return self.clear([of.of_pv(pv) for pv in self._pv]), self.clear([of.of_op(op) for op in self._op])
        y, u = self.clear([of.of_both(pv, op) for pv, op in zip(self._pv, self._op, strict=True)])
        return y, u

    def beside(self, near: Sequence[tuple[float, Floats]]) -> tuple[Floats, Floats]:
        """(K, n) the same of several, (delay, parameters) each, that are all next to the first, to the first order."""
        of = [self._filters(*one) for one in near]
        seen = [turned(of, pv, moved) for pv, moved in zip(self._pv, self._op, strict=True)]
        return self.clear([y for y, _ in seen]), self.clear([u for _, u in seen])

    def without_noise(self) -> tuple[Sampled, list[Floats]]:
        """The typical process at the samples, and what it leaves of PV in each stretch, (n,), before the noise's
        filter.
        """
        of = sampled(self.around, self.interval, self.parts)
        return of, [np.convolve(pv, of.pv)[:len(pv)] - of.of_op(op)
                    for pv, op in zip(self._pv, self._op, strict=True)]

    def _filters(self, delay: float, parameters: Floats) -> Filters:
        k = len(self.typical)
        lags = tuple(exp(min(max(log_lag, -7.0), 16.0)) for log_lag in accumulate(parameters[:k].tolist()))
        process = ProcessSpec(model=self.model, gain=1.0, tau=lags, dead_time=delay)
        return filters(process, self.interval, self.parts, parameters[k:])

    def clear(self, stretches: Sequence[Floats]) -> Floats:
        """(..., n) one after the other, free of how they begin, of their means and of the oscillation."""
        seen = _level(stretches)
        return seen - (seen @ self.waves) @ self.waves.T if self.period else seen

    def costs(self, fits: Sequence[Fit], stems: Floats) -> Floats:
        """(F, M) what each fit would cost with each of these stems, (M, T), in OP's place, the gain at its best."""
        costs, behind = np.empty((len(fits), len(stems))), self.behind(stems)
        for row, fit in zip(costs, fits, strict=True):
            y, u = behind.errors(fit.delay, fit.parameters)
            left = float(y @ y) - (u @ y) ** 2 / np.maximum(np.einsum("mn,mn->m", u, u), 1e-300)
            spread = np.maximum(left, 1e-300) / max(len(y) - len(fit.parameters) - 1, 1)
            row[:] = fit.cost + len(y) * (np.log(spread) - 2.0 * log(fit.sigma))
        return costs

    def swing(self, gain: float, delay: float, parameters: Floats) -> tuple[float, float, float]:
        """Of the oscillation as a load, as in `Innovations`, behind a process of this gain."""
        of = self._filters(delay, parameters)
        answer = gain * _level([of.of_op(load) for load in self._moved(self._waves())]).T
        error = _level([of.of_pv(pv) - gain * of.of_op(op) for pv, op in zip(self._pv, self._op, strict=True)])
        parts = np.linalg.lstsq(answer, error, rcond=None)[0]
        rest = error - answer @ parts
        spread = np.linalg.pinv(answer.T @ answer) * float(rest @ rest) / len(error)
        first, third = float(np.hypot(*parts[:2])), float(np.hypot(*parts[2:]))
        return first, sqrt(float(np.trace(spread[:2, :2])) / 2.0), third / max(first, 1e-12)

    def misfits(self, delays: Sequence[float], parameters: Floats) -> Floats:
        """(K,) the sums of the squared errors at these dead times, s, the gain at its best."""
        return np.asarray((_unexplained(*self.beside([(delay, parameters) for delay in delays])) ** 2).sum(axis=1))

    def misfit(self, delay: float, parameters: Floats) -> float:
        """Return the sum of the squared errors, the gain at its best."""
        y, u = self.errors(delay, parameters)
        error = y - _gain(y, u) * u
        return float(error @ error)

    def fit(self, delay: float, start: Floats) -> Fit | None:
        """The process that errs least at a dead time, s, looked for from these parameters on."""
        found = self._least(lambda parameters: (delay, parameters), start)
        return None if found is None else self.at(delay, found)

    def free(self, delay: float, start: Floats, enough: float) -> Fit | None:
        """The process that errs least, its dead time too looked for from this one, s, on; enough: as of `least`."""
        def told(parameters: Floats) -> tuple[float, Floats]:
            return max(exp(min(float(parameters[0]), 16.0)) - self.scan, 0.0), parameters[1:]

        found = self._least(told, np.array([log(delay + self.scan), *start]), enough)
        return None if found is None else self.at(*told(found))

    def _least(self, told: Callable[[Floats], tuple[float, Floats]], start: Floats, enough: float = _ENOUGH
               ) -> Floats | None:
        """The parameters of the least errors; told: the dead time and those of a Fit that they stand for."""
        if self.samples <= 3 * (told(start)[0] / self.interval + SETTLE):
            return None

        def residual(at: Floats) -> Floats:
            y, u = self.errors(*told(at))
            error = y - _gain(y, u) * u
            self.scale = self.scale or max(float(error.std()), 1e-9)
            return np.append(error, self.scale * self._unlike(*told(at)))

        def slopes(at: Floats) -> Floats:
            near = [told(one) for one in steps(at)]
            error = _unexplained(*self.beside(near))
            unlike = self._unlike(np.array([delay for delay, _ in near]), np.array([one for _, one in near]))
            return slope(np.concatenate([error, self.scale * unlike], axis=1))

        try:
            return least(residual, slopes, start, _MOST_STEPS, enough)
        except (ValueError, np.linalg.LinAlgError):
            return None

    def at(self, delay: float, parameters: Floats) -> Fit | None:
        """The process of these parameters and the gain that goes with them."""
        y, u = self.errors(delay, parameters)
        gain, power = _gain(y, u), float(u @ u)
        error = y - gain * u
        spread = float(error @ error) / max(len(y) - len(parameters) - 1, 1)
        if not (power > 0 and 0 < spread < inf):
            return None
        unlike = self._unlike(delay, parameters)
        return Fit(delay, parameters, gain, sqrt(spread), len(y) * log(spread) + float(unlike @ unlike))

    def _unlike(self, delay: float | Floats, parameters: Floats) -> Floats:
        """(..., L + 1) how far L lags and the dead time are from the typical, in standard deviations."""
        k = len(self.typical)
        unlike = np.empty((*parameters.shape[:-1], k + 1))
        unlike[..., :k] = (parameters[..., :k] - self.typical) / self.loose
        unlike[..., k] = np.log((delay + self.interval) / (self.expected + self.interval)) / LOOSE_DELAY
        return unlike

    def behind(self, stem: Floats) -> Prediction:
        """The same with a stem, or many, (..., T), in OP's place."""
        other = copy(self)
        other._op = self._moved(stem)
        return other

    def covariance(self, fit: Fit) -> Floats:
        """That of the fit's (log lags, gain), from the Jacobian of the errors in all parameters; it may be infinite."""
        k, spread = len(self.typical), fit.sigma**2
        y, u = self.beside([(fit.delay, one) for one in steps(fit.parameters)])
        jacobian = np.column_stack([slope(y - fit.gain * u), -u[0]])
        keep = [*range(k), len(fit.parameters)]
        normal = jacobian.T @ jacobian
        normal[range(k), range(k)] += spread / self.loose**2
        normal[np.diag_indices_from(normal)] *= 1.0 + 1e-9
        if not np.isfinite(normal).all():
            return np.full((k + 1, k + 1), np.inf)
        return np.asarray(np.linalg.pinv(normal)[np.ix_(keep, keep)] * spread)


def _level(stretches: Sequence[Floats]) -> Floats:
    """One after the other, without their starts, each around its mean."""
    later = [one[..., SETTLE:] for one in stretches]
    level = [one - np.add.reduce(one, -1, keepdims=True) / one.shape[-1] for one in later]
    return np.concatenate(level, axis=-1) if len(level) > 1 else level[0]


def _gain(y: Floats, u: Floats) -> float:
    """That leaves the least of y, (n,), by u."""
    power = float(u @ u)
    return float(u @ y) / power if power > 0 else 0.0


def _unexplained(y: Floats, u: Floats) -> Floats:
    """(K, n) what is left of y by u, with the gain that leaves the least."""
    power, both = np.einsum("kn,kn->k", u, u), np.einsum("kn,kn->k", u, y)
    return np.asarray(y - (both / np.where(power > 0, power, 1.0))[:, None] * u)


def steps(at: Floats) -> Floats:
    """(1 + K, K) these parameters, and those a little further along each of them."""
    return np.vstack([at, at + STEP * np.eye(len(at))])


def slope(near: Floats) -> Floats:
    """(n, K) by what they are at `steps`, (1 + K, n)."""
    return np.asarray((near[1:] - near[0]).T / STEP)


def least(residual: Callable[[Floats], Floats], slopes: Callable[[Floats], Floats], start: Floats, most: int,
          enough: float = _ENOUGH) -> Floats:
    """Where the squares of residuals are least, looked for from a start on in at most so many steps.

    The method of Levenberg and Marquardt (More, 1978). enough: of the likelihood's logarithm, doubled: a smaller gain
    ends the search. Raises what `residual` does.
    """
    from scipy.optimize import leastsq

    residual = _remembered(residual)
    first = residual(start)
    if not np.isfinite(first).all():
        raise ValueError("the start has no residuals")
    return np.asarray(leastsq(residual, start, Dfun=_remembered(slopes), full_output=True, maxfev=most,
                              ftol=enough / len(first), xtol=1e-4)[0])


def _remembered(of: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
    """The same, which does not begin anew where it is asked for what it was asked for last."""
    last: list[tuple[Floats, Floats]] = []

    def asked(at: Floats) -> Floats:
        if not last or not np.array_equal(last[0][0], at):
            last[:] = [(at.copy(), of(at))]
        return last[0][1]

    return asked
