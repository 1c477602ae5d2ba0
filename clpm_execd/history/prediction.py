"""What a process and a load tell of PV, and the process that errs least at a dead time.

A prediction-error method with a model of the noise (Ljung, 1999, chapters 7 and 13; Forssell and Ljung, 1999):
A D PV = K B D OP + C e, with the process K B/A of the plant's own models behind any dead time, and C that of a load of
first order (D) at its input and white noise of the sensor. The lags and the noise are found by nonlinear least squares
and the gain by linear ones (Golub and Pereyra, 1973). Lags and dead time are held, loosely, to what is typical, so that
a record that tells little of them does not lead astray; the gain is not.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from math import exp, inf, log, sqrt

import numpy as np

from clpm_execd.history.signals import Signals, runs
from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop import ProcessSpec
from clpm_execd.plant.process import transition, weights

SHORTEST = 60  # samples of a stretch
_MOST = 20_000  # samples, or scans
_MOST_PARTS = 10
SETTLE = 20  # samples at the start of a stretch that the filters need
_STEP = 1e-4  # of a logarithm, for a slope
_MOST_POLE = 0.9995  # of the load, a sample
_PARTS = (1.0, 3.0)  # of an oscillation: itself and its third harmonic
NOISES = ((1.0, 0.0), (4.0, 2.0), (7.0, 3.0))  # logit of the load's pole, log of its size beside the sensor's noise
LOOSE = (1.2, 0.5)  # sigma of the log of the first lag, and of the second's share of it
LOOSE_DELAY = 1.0  # sigma of the log of the dead time, a sample added


@dataclass(frozen=True, slots=True)
class Fit:
    """At one dead time, s: logs of the first lag and of the second's share of it, then the noise.

    covariance: of those logs and the gain. sigma: of the residuals. cost: n log of their variance, and what the priors
    add.
    """

    delay: float
    parameters: Floats
    gain: float
    covariance: Floats
    sigma: float
    cost: float


class Prediction:
    """Of PV by OP, for processes around a typical one.

    period: s, of an oscillation that comes from elsewhere; what has this period, or a third of it, tells nothing then.
    typical: logs of the typical lags, the second's as its share of the first. where: the stretches of the record that
    tell anything. scale: sigma of the errors that priors are weighed against, of the first errors until it is set.
    parts: at most so many scans are taken to lie in an interval.
    """

    def __init__(self, signals: Signals, around: ProcessSpec, period: float | None = None, *,
                 parts: int = _MOST_PARTS) -> None:
        self.model, self.expected, self.interval = around.model, around.dead_time, signals.interval
        self.parts = min(parts, parts_of(signals))
        self.scan = signals.interval / self.parts
        lags = [max(t, 0.2 * signals.interval) for t in around.tau]
        self.typical = np.array([log(lag) for lag in lags[:1]] + [log(lag / lags[0]) for lag in lags[1:]])
        self.loose = np.array(LOOSE[:len(lags)])
        self.scale = 0.0
        found = (slice(s.start, min(s.stop, s.start + _MOST)) for s in runs(signals.whole, SHORTEST))
        self.where = [s for s in found if np.ptp(signals.op[s]) > 1e-6 and np.ptp(signals.pv[s]) > 1e-9][:8]
        self.stretches = [(signals.pv[s], self._held(signals.op[s])) for s in self.where]
        self.samples = sum(len(pv) for pv, _ in self.stretches)
        self.period = period
        self.waves = np.linalg.qr(self._waves())[0] if period else np.empty((0, 0))

    @property
    def starts(self) -> list[Floats]:
        """Where a fit may begin that has none to go by: the typical lags, with several noises."""
        return [np.concatenate([self.typical, noise]) for noise in NOISES]

    def _waves(self) -> Floats:
        """(n, 4) sines and cosines of the period, and of a third of it, at the instants of the errors."""
        columns = []
        for part in _PARTS:
            for wave in (np.sin, np.cos):
                parts = [wave(self._angles(s)[SETTLE:] * part) for s in self.where]
                columns.append(np.concatenate([one - one.mean() for one in parts]))
        return np.column_stack(columns)

    def _angles(self, stretch: slice) -> Floats:
        """Of the oscillation, at the scans of a stretch's samples."""
        assert self.period is not None
        return 2.0 * np.pi * self.interval / self.period * np.arange(stretch.start, stretch.stop)

    def _held(self, op: Floats) -> Floats:
        """OP, (..., n), at the scans: between two samples it is taken to move evenly."""
        if self.parts == 1:
            return op
        share = np.arange(1, self.parts + 1) / self.parts
        between = op[..., :-1, None] + np.diff(op)[..., None] * share
        return np.concatenate([op[..., :1], between.reshape(*op.shape[:-1], -1)], axis=-1)

    def errors(self, delay: float, lags: Floats, noise: tuple[float, Floats], op: Floats | None = None
               ) -> tuple[Floats, Floats]:
        """What the filters make of PV and of OP: the errors are the former less the gain times the latter.

        delay in s. lags: as in `typical`. noise: the load's pole, and C. op: (..., T) in the place of OP.
        """
        inputs = (held if op is None else self._held(op[..., stretch])
                  for (_, held), stretch in zip(self.stretches, self.where, strict=True))
        seen = [self._seen(delay, lags, noise, pv, felt)
                for (pv, _), felt in zip(self.stretches, inputs, strict=True)]
        y, u = (np.concatenate(parts, axis=-1) for parts in zip(*seen, strict=True))
        if self.period:
            y, u = (part - (part @ self.waves) @ self.waves.T for part in (y, u))
        return y, u

    def _seen(self, delay: float, lags: Floats, noise: tuple[float, Floats], pv: Floats, op: Floats
              ) -> tuple[Floats, Floats]:
        """Of one stretch; op is (..., n)."""
        from scipy.signal import lfilter

        process = ProcessSpec(model=self.model, gain=1.0, tau=tuple(self._lags(lags).tolist()), dead_time=delay)
        top, bottom = _unit(process, self.scan)
        p11, _, p22, _, _ = transition(process, self.interval)
        pole, colour = noise
        whitens = np.convolve(np.convolve([1.0, -p11], [1.0, -p22]), [1.0, -pole])
        late = min(int(delay / self.scan + 1e-9) + 1, op.shape[-1])
        moved = np.zeros_like(op)
        moved[..., late:] = op[..., :-late] - op[..., :1]
        flow = lfilter(top, bottom, moved)[..., ::self.parts]
        y, u = (lfilter(whitens, colour, part)[..., SETTLE:] for part in (pv - pv[0], flow))
        return y - y.mean(), u - u.mean(axis=-1, keepdims=True)

    def costs(self, fit: Fit, stems: Floats) -> Floats:
        """(M,) what the fit would cost with each of these stems, (M, T), in OP's place, the gain at its best."""
        y, u = self._errors(fit.delay, fit.parameters, stems)
        left = float(y @ y) - (u @ y) ** 2 / np.maximum(np.einsum("mn,mn->m", u, u), 1e-300)
        spread = np.maximum(left, 1e-300) / max(len(y) - len(fit.parameters) - 1, 1)
        return np.asarray(fit.cost + len(y) * (np.log(spread) - 2.0 * log(fit.sigma)))

    def swing(self, process: ProcessSpec, noise: tuple[float, Floats]) -> tuple[float, float, float]:
        """Of the oscillation as a load, as in `Innovations`."""
        left, felt = [], []
        for (pv, op), stretch in zip(self.stretches, self.where, strict=True):
            y, u = self._seen(process.dead_time, self.typical, noise, pv, op)
            left.append(y - process.gain * u)
            loads = (self._held(wave(part * self._angles(stretch))) for part in _PARTS for wave in (np.sin, np.cos))
            felt.append(process.gain * self._seen(process.dead_time, self.typical, noise, pv, np.array([*loads]))[1].T)
        answer, error = np.concatenate(felt), np.concatenate(left)
        parts = np.linalg.lstsq(answer, error, rcond=None)[0]
        rest = error - answer @ parts
        spread = np.linalg.pinv(answer.T @ answer) * float(rest @ rest) / len(error)
        first, third = float(np.hypot(*parts[:2])), float(np.hypot(*parts[2:]))
        return first, sqrt(float(np.trace(spread[:2, :2])) / 2.0), third / max(first, 1e-12)

    def misfit(self, delay: float, parameters: Floats) -> float:
        y, u = self._errors(delay, parameters)
        return float(y @ y) - float(u @ y) ** 2 / max(float(u @ u), 1e-300)

    def _errors(self, delay: float, parameters: Floats, op: Floats | None = None) -> tuple[Floats, Floats]:
        """Those of parameters as in `Fit`."""
        k = len(self.typical)
        process = ProcessSpec(model=self.model, gain=1.0, tau=tuple(self._lags(parameters[:k]).tolist()))
        return self.errors(delay, parameters[:k], _coloured(process, self.interval, parameters[k:]), op)

    def _lags(self, logs: Floats) -> Floats:
        """In s, from the logs of the first and of the second's share of it."""
        return np.asarray(np.exp(np.clip(np.cumsum(logs), -7.0, 16.0)))

    def fit(self, delay: float, start: Floats) -> Fit | None:
        """The process that errs least at a dead time, s, looked for from these parameters on."""
        found = self._least(lambda parameters: (delay, parameters), start)
        return None if found is None else self.at(delay, found)

    def free(self, delay: float, start: Floats) -> Fit | None:
        """The process that errs least, its dead time too looked for from this one, s, on."""
        def told(parameters: Floats) -> tuple[float, Floats]:
            return max(exp(min(float(parameters[0]), 16.0)) - self.scan, 0.0), parameters[1:]

        found = self._least(told, np.array([log(delay + self.scan), *start]))
        return None if found is None else self.at(*told(found))

    def _least(self, told: Callable[[Floats], tuple[float, Floats]], start: Floats) -> Floats | None:
        """The parameters of the least errors; told: the dead time and those of a Fit that they stand for."""
        from scipy.optimize import least_squares

        if self.samples <= 3 * (told(start)[0] / self.interval + SETTLE):
            return None

        def residual(parameters: Floats) -> Floats:
            delay, parameters = told(parameters)
            y, u = self._errors(delay, parameters)
            power = float(u @ u)
            error = y - (float(u @ y) / power if power > 0 else 0.0) * u
            self.scale = self.scale or max(float(error.std()), 1e-9)
            return np.concatenate([error, self.scale * self._unlike(delay, parameters)])

        def slopes(parameters: Floats) -> Floats:
            at = residual(parameters)
            return np.column_stack([(residual(parameters + step) - at) / _STEP for step in _STEP * np.eye(len(start))])

        try:
            found = least_squares(residual, start, jac=slopes, method="lm", max_nfev=30, ftol=1e-7, xtol=1e-5)
        except (ValueError, np.linalg.LinAlgError):
            return None
        return np.asarray(found.x)

    def at(self, delay: float, parameters: Floats) -> Fit | None:
        """The process of these parameters and the gain that goes with them."""
        y, u = self._errors(delay, parameters)
        power = float(u @ u)
        gain = float(u @ y) / power if power > 0 else 0.0
        error = y - gain * u
        spread = float(error @ error) / max(len(y) - len(parameters) - 1, 1)
        if not (power > 0 and 0 < spread < inf):
            return None
        covariance = self._covariance(delay, parameters, gain, u, spread)
        if not np.isfinite(covariance).all():
            return None
        unlike = self._unlike(delay, parameters)
        return Fit(delay, parameters, gain, covariance, sqrt(spread), len(y) * log(spread) + float(unlike @ unlike))

    def _unlike(self, delay: float, parameters: Floats) -> Floats:
        """How far lags and dead time are from the typical, in standard deviations."""
        late = log((delay + self.interval) / (self.expected + self.interval)) / LOOSE_DELAY
        return np.array([*((parameters[:len(self.typical)] - self.typical) / self.loose), late])

    def behind(self, stem: Floats) -> Prediction:
        """The same with a stem, (T,), in OP's place."""
        other = copy(self)
        other.stretches = [(pv, self._held(stem[stretch]))
                           for (pv, _), stretch in zip(self.stretches, self.where, strict=True)]
        return other

    def _covariance(self, delay: float, parameters: Floats, gain: float, u: Floats, spread: float) -> Floats:
        """That of (log lags, gain), from the Jacobian of the errors in all parameters."""
        columns = []
        for k in range(len(parameters)):
            step = np.zeros(len(parameters))
            step[k] = _STEP
            (y2, u2), (y1, u1) = self._errors(delay, parameters + step), self._errors(delay, parameters - step)
            columns.append(((y2 - gain * u2) - (y1 - gain * u1)) / (2.0 * _STEP))
        jacobian = np.column_stack([*columns, -u])
        k = len(self.typical)
        keep = [*range(k), len(parameters)]
        normal = jacobian.T @ jacobian
        normal[range(k), range(k)] += spread / self.loose**2
        normal[np.diag_indices_from(normal)] *= 1.0 + 1e-9
        if not np.isfinite(normal).all():
            return np.full((k + 1, k + 1), np.inf)
        return np.asarray(np.linalg.pinv(normal)[np.ix_(keep, keep)] * spread)


def _coloured(process: ProcessSpec, h: float, parameters: Floats) -> tuple[float, Floats]:
    """The load's pole, and C of the load and the sensor's noise together; parameters as in `_load_filter`.

    C is the factor of their spectrum that has its zeros within the unit circle (Astrom, 1970, section 4.3).
    """
    p11, p21, p22, b1, b2 = transition(process, h)
    pole = pole_of(parameters)
    size = ratio(process, h, parameters) * sqrt(1.0 - pole * pole)
    load = size * np.array([0.0, b2, p21 * b1 - p11 * b2, 0.0])
    noise = np.convolve(np.convolve([1.0, -p11], [1.0, -p22]), [1.0, -pole])
    spectrum = np.convolve(load, load[::-1]) + np.convolve(noise, noise[::-1])
    spectrum[np.abs(spectrum) < 1e-14 * np.abs(spectrum).max()] = 0.0
    roots = np.roots(spectrum)
    inside = roots[np.argsort(np.abs(roots))[:len(noise) - 1]]
    return pole, np.asarray(np.poly(inside).real)


def pole_of(parameters: Floats) -> float:
    """That of the load, a sample, from its logit."""
    return _MOST_POLE / (1.0 + exp(-min(max(float(parameters[0]), -10.0), 10.0)))


def ratio(process: ProcessSpec, h: float, parameters: Floats) -> float:
    """Sigma of the load over that of the noise."""
    lasting = abs(process.gain) * (100.0 * h if process.model == "integrator" else 1.0)
    return exp(min(max(float(parameters[1]), -10.0), 10.0)) / max(lasting, 1e-9)


def parts_of(signals: Signals) -> int:
    """How many scans of a controller are taken to lie in an interval: those of 1 s, fewer of a record that is long."""
    return max(1, min(round(signals.interval), _MOST_PARTS, _MOST // len(signals.pv)))


def _unit(process: ProcessSpec, scan: float) -> tuple[Floats, Floats]:
    """Numerator and denominator, in powers of 1/z, of a process without the whole scans of its dead time, and one."""
    p11, p21, p22, new1, new2, old1, old2 = weights(process, scan)
    top = np.convolve([new2, old2], [1.0, -p11])
    top[1:] += p21 * np.array([new1, old1])
    return top, np.convolve([1.0, -p11], [1.0, -p22])
