"""The process from OP and PV, in closed loop or not.

A prediction-error method with a model of the noise (Ljung, 1999, chapters 7 and 13; Forssell and Ljung, 1999):
A D PV = K B D OP + C e, with the process K B/A of the plant's own models behind a dead time, a load of first order
(D) at its input and white noise of the sensor (C). For each dead time the lags and the noise are found by nonlinear
least squares and the gain by linear ones (Golub and Pereyra, 1973); what the dead times in question disagree on goes
into the intervals, weighted by their likelihood. Lags and dead time are held, loosely, to what is typical of the
loop's type, so that a record that tells little of them does not lead astray; the gain is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np

from clpm_execd.history.signals import Signals, runs
from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop import ProcessSpec
from clpm_execd.plant.process import transition

QUANTILE = 1.645
_SHORTEST = 60  # samples of a stretch
_MOST = 20_000  # samples
_LONGEST_SHARE = 0.05  # of the record: a dead time beyond is not looked for
_SETTLE = 20  # samples at the start of a stretch that the filters need
_DOUBT = 1.3  # by which intervals are wider than the likelihood's: no load is exactly of first order
_MOST_POLE = 0.9995  # of the load, a sample
_COLOURS = {"fopdt": 2, "sopdt": 3, "integrator": 2}  # order of C
_LOOSE = (1.2, 0.5)  # sigma of the log of the first lag, and of the second's share of it
_LOOSE_DELAY = 1.0  # sigma of the log of the dead time, a sample added


@dataclass(frozen=True, slots=True)
class ProcessLaw:
    """model, and gain (signed), tau and dead time (s), each with its interval: value, low, high.

    relative: standard deviation of the gain's logarithm. criterion: Schwarz's, lower is better.
    """

    model: str
    gain: tuple[float, float, float]
    tau: tuple[tuple[float, float, float], ...]
    dead_time: tuple[float, float, float]
    relative: float
    criterion: float


@dataclass(frozen=True, slots=True)
class Innovations:
    """What a given process leaves unexplained of PV: errors e, (T,), NaN where there are none, and how they move it.

    correction: (4,) the pole of the load, and what e adds to the states x1 and x2 and to the load.
    load, correlation: sigma, % of travel, and time, s, of the load. noise: sigma of the sensor's, % of span.
    """

    correction: Floats
    errors: Floats
    load: float
    correlation: float
    noise: float


def innovations(signals: Signals, process: ProcessSpec) -> Innovations | None:
    """What a Kalman filter for the process, a load of first order and a sensor's noise makes of the record.

    The load's time and its size beside the noise are those of the least errors. None where there is no fit.
    """
    from scipy.optimize import least_squares

    search = _Search(signals, process.model, process.tau)
    if not search.stretches:
        return None
    delay = round(process.dead_time / signals.interval)

    def residual(parameters: Floats) -> Floats:
        pole, gain, _ = _load_filter(process, signals.interval, parameters)
        y, u = search.errors(delay, search.typical, (pole, _colour(process, signals.interval, pole, gain)))
        return np.asarray(y - process.gain * u)

    starts = [np.array([time, size]) for time, size in ((1.0, 0.0), (4.0, 2.0), (7.0, 3.0))]
    try:
        found = min((least_squares(residual, start, method="lm", max_nfev=100) for start in starts),
                    key=lambda fit: float(fit.cost))
        pole, gain, share = _load_filter(process, signals.interval, found.x)
    except (ValueError, np.linalg.LinAlgError):
        return None
    errors = np.full(len(signals.pv), np.nan)
    at = 0
    for s in search.where:
        length = s.stop - s.start - _SETTLE
        errors[s.start + _SETTLE:s.stop] = found.fun[at:at + length]
        at += length
    noise = sqrt(float(np.mean(found.fun**2)) * share)
    return Innovations(np.array([pole, *gain]), errors, load=noise * _ratio(process, signals.interval, found.x),
                       correlation=-signals.interval / log(max(pole, 1e-3)), noise=noise)


def _ratio(process: ProcessSpec, h: float, parameters: Floats) -> float:
    """Sigma of the load over that of the noise."""
    lasting = abs(process.gain) * (100.0 * h if process.model == "integrator" else 1.0)
    return exp(min(max(float(parameters[1]), -10.0), 10.0)) / max(lasting, 1e-9)


def _load_filter(process: ProcessSpec, h: float, parameters: Floats) -> tuple[float, Floats, float]:
    """The load's pole, the gain (3,) of the Kalman filter for x1, x2 and the load (Kalman, 1960), the noise's share.

    parameters: the logit of the pole, and the log of the load's sigma, by what it would lastingly do to PV (of an
    integrator in a hundred samples), over that of the noise.
    """
    from scipy.linalg import solve_discrete_are

    pole = _MOST_POLE / (1.0 + exp(-min(max(float(parameters[0]), -10.0), 10.0)))
    f = _states(process, h, pole)
    q = np.zeros((3, 3))
    q[2, 2] = (1.0 - pole**2) * _ratio(process, h, parameters) ** 2
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


@dataclass(frozen=True, slots=True)
class _Fit:
    """At one dead time, in samples: logs of the first lag and of the second's share of it, then the noise.

    covariance: of those logs and the gain. cost: n log of the residuals' variance, and what the priors add.
    """

    delay: int
    parameters: Floats
    gain: float
    covariance: Floats
    cost: float


def process_law(signals: Signals, model: str, tau: Sequence[float], dead_time: float) -> ProcessLaw | None:
    """The process in a model, looked for from these lags and this dead time (s) on; None where OP tells nothing."""
    search = _Search(signals, model, tau)
    if not search.stretches:
        return None
    return search.law(dead_time / signals.interval)


class _Search:
    def __init__(self, signals: Signals, model: str, tau: Sequence[float]) -> None:
        self.model, self.interval = model, signals.interval
        lags = [max(t, 0.2 * signals.interval) for t in tau]
        self.typical = np.array([log(lag) for lag in lags[:1]] + [log(lag / lags[0]) for lag in lags[1:]])
        self.loose = np.array(_LOOSE[:len(lags)])
        self.noise = np.array([2.0] + [0.0] * _COLOURS[model])
        self.scale = 0.0
        found = (slice(s.start, min(s.stop, s.start + _MOST)) for s in runs(signals.whole, _SHORTEST))
        self.where = [s for s in found if np.ptp(signals.op[s]) > 1e-6 and np.ptp(signals.pv[s]) > 1e-9][:8]
        self.stretches = [(signals.pv[s], signals.op[s]) for s in self.where]
        self.samples = sum(len(pv) for pv, _ in self.stretches)
        self.fits: dict[int, _Fit] = {}

    def law(self, expected: float) -> ProcessLaw | None:
        """The best of all dead times near the expected one, in samples, that the record could show."""
        self.expected = expected
        longest = max(3, int(_LONGEST_SHARE * self.samples))
        tried = sorted({min(longest, d) for d in (0, 1, 2, 4, 8, round(expected / 2), round(expected),
                                                  round(2 * expected))})
        for delay in tried:
            self._at(delay)
        for _ in range(12):
            best = min(self.fits.values(), key=lambda fit: fit.cost)
            known = sorted(self.fits)
            k = known.index(best.delay)
            left = known[k - 1] if k else best.delay
            right = known[k + 1] if k + 1 < len(known) else min(longest, best.delay + max(2, best.delay))
            between = {(left + best.delay) // 2, (right + best.delay + 1) // 2} - set(known)
            if not between:
                break
            for delay in between:
                self._at(delay)
        return self._told()

    def _at(self, delay: int) -> None:
        near = min(self.fits.values(), key=lambda fit: abs(fit.delay - delay), default=None)
        starts = [np.concatenate([self.typical, self.noise])]
        if near is not None and np.isfinite(near.cost):
            starts.append(near.parameters)
        fits = [fit for fit in (self._fit(delay, start) for start in starts) if fit is not None]
        nothing = _Fit(delay, starts[0], 0.0, np.full((1, 1), np.inf), float("inf"))
        self.fits[delay] = min(fits, key=lambda fit: fit.cost, default=nothing)

    def errors(self, delay: int, lags: Floats, noise: tuple[float, Floats]) -> tuple[Floats, Floats]:
        """What the filters make of PV and of OP: the errors are the former less the gain times the latter.

        lags: as in `typical`. noise: the load's pole, and C.
        """
        from scipy.signal import lfilter

        top, bottom = _unit(self.model, self._lags(lags), self.interval)
        pole, colour = noise
        whitens = np.array([1.0, -pole])
        y, u = [], []
        for pv, op in self.stretches:
            late = np.concatenate([np.full(delay + 1, op[0]), op[:-delay - 1]])
            a = lfilter(np.convolve(bottom, whitens), colour, pv - pv[0])[_SETTLE:]
            b = lfilter(np.convolve(top, whitens), colour, late - op[0])[_SETTLE:]
            y.append(a - a.mean())
            u.append(b - b.mean())
        return np.concatenate(y), np.concatenate(u)

    def _errors(self, delay: int, parameters: Floats) -> tuple[Floats, Floats]:
        """Those of parameters as in `_Fit`; C is stable whatever they are."""
        k = len(self.typical)
        pole = _MOST_POLE / (1.0 + exp(-min(max(float(parameters[k]), -30.0), 30.0)))
        first, second, *third = 0.999 * np.tanh(parameters[k + 1:])
        colour = np.convolve([1.0, first * (1.0 + second), second], [1.0, *(-c for c in third)])
        return self.errors(delay, parameters[:k], (pole, colour))

    def _lags(self, logs: Floats) -> Floats:
        """In s, from the logs of the first and of the second's share of it."""
        return np.asarray(np.exp(np.clip(np.cumsum(logs), -7.0, 16.0)))

    def _fit(self, delay: int, start: Floats) -> _Fit | None:
        from scipy.optimize import least_squares

        if self.samples <= 3 * (delay + _SETTLE):
            return None

        def residual(parameters: Floats) -> Floats:
            y, u = self._errors(delay, parameters)
            power = float(u @ u)
            error = y - (float(u @ y) / power if power > 0 else 0.0) * u
            if self.scale == 0.0:
                self.scale = max(float(error.std()), 1e-9)
            prior = (parameters[:len(self.typical)] - self.typical) / self.loose
            return np.concatenate([error, self.scale * prior])

        try:
            found = least_squares(residual, start, method="lm", max_nfev=60 * len(start))
        except (ValueError, np.linalg.LinAlgError):
            return None
        y, u = self._errors(delay, found.x)
        power = float(u @ u)
        gain = float(u @ y) / power if power > 0 else 0.0
        error = y - gain * u
        spread = float(error @ error) / max(len(y) - len(start) - 1, 1)
        if not power > 0 or not spread > 0:
            return None
        prior = found.fun[len(y):] / self.scale
        late = log((delay + 1.0) / (self.expected + 1.0)) / _LOOSE_DELAY
        return _Fit(delay, found.x, gain, self._covariance(delay, found.x, gain, u, spread),
                    len(y) * log(spread) + float(prior @ prior) + late * late)

    def _covariance(self, delay: int, parameters: Floats, gain: float, u: Floats, spread: float) -> Floats:
        """That of (log lags, gain), from the Jacobian of the errors in all parameters."""
        columns = []
        for k in range(len(parameters)):
            step = np.zeros(len(parameters))
            step[k] = 1e-4
            (y2, u2), (y1, u1) = self._errors(delay, parameters + step), self._errors(delay, parameters - step)
            columns.append(((y2 - gain * u2) - (y1 - gain * u1)) / 2e-4)
        jacobian = np.column_stack([*columns, -u])
        k = len(self.typical)
        keep = [*range(k), len(parameters)]
        normal = jacobian.T @ jacobian
        normal[range(k), range(k)] += spread / self.loose**2
        normal[np.diag_indices_from(normal)] *= 1.0 + 1e-9
        return np.asarray(np.linalg.pinv(normal)[np.ix_(keep, keep)] * spread)

    def _told(self) -> ProcessLaw | None:
        fits = [fit for fit in self.fits.values() if np.isfinite(fit.cost) and fit.gain != 0.0]
        if not fits:
            return None
        best = min(fits, key=lambda fit: fit.cost)
        alike = [fit for fit in fits if np.sign(fit.gain) == np.sign(best.gain)]
        weights = np.array([exp(max((best.cost - fit.cost) / 2.0, -700.0)) for fit in alike])
        weights /= weights.sum()
        k = len(self.typical)
        logs = np.array([[*fit.parameters[:k], log(abs(fit.gain))] for fit in alike])
        own = np.array([[*np.diag(fit.covariance)[:-1], fit.covariance[-1, -1] / fit.gain**2] for fit in alike])
        value_of = np.array([*best.parameters[:k], log(abs(best.gain))])
        deviation = _DOUBT * np.sqrt(weights @ own + weights @ (logs - value_of) ** 2)
        delays = np.array([fit.delay for fit in alike], dtype=np.float64)
        delay = float(weights @ delays)
        apart = sqrt(float(weights @ (delays - delay) ** 2) + 1.0 / 12.0 + 0.25)
        h, sign = self.interval, float(np.sign(best.gain))
        lags = self._lags(value_of[:-1])
        spread = np.sqrt(np.cumsum(deviation[:-1] ** 2))
        value, low, high = _around(exp(value_of[-1]), float(deviation[-1]))
        return ProcessLaw(
            model=self.model, gain=(sign * value, sign * low, sign * high),
            tau=tuple(_around(float(lag), float(d)) for lag, d in zip(lags, spread, strict=True)),
            dead_time=(best.delay * h, max(0.0, (delay - QUANTILE * apart) * h), (delay + QUANTILE * apart) * h),
            relative=float(deviation[-1]), criterion=best.cost + (len(logs[0]) + 4) * log(self.samples))


def _around(value: float, relative: float) -> tuple[float, float, float]:
    """The interval of a value whose logarithm has this standard deviation."""
    factor = exp(min(QUANTILE * relative, 20.0))
    return value, value / factor, value * factor


def _unit(model: str, lags: Floats, h: float) -> tuple[Floats, Floats]:
    """Numerator and denominator, in powers of 1/z, of the process of gain 1 without its dead time and first delay."""
    process = ProcessSpec(model=model, gain=1.0, tau=tuple(lags.tolist()))
    p11, p21, p22, b1, b2 = transition(process, h)
    return np.array([b2, p21 * b1 - p11 * b2]), np.convolve([1.0, -p11], [1.0, -p22])
