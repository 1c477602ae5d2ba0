"""The process from OP and PV, in closed loop or not.

A prediction-error method with a model of the noise (Ljung, 1999, chapters 7 and 13; Forssell and Ljung, 1999):
A D PV = K B D OP + C e, with the process K B/A of the plant's own models behind any dead time, and C that of a load of
first order (D) at its input and white noise of the sensor. For each dead time the lags and the noise are found by
nonlinear least squares and the gain by linear ones (Golub and Pereyra, 1973). The dead times in question are tried
as close together as the likelihood between them differs, and intervals hold 90 % of it: normal at each dead time and
weighed over all of them (Tierney and Kadane, 1986). Lags and dead time are held, loosely, to what is typical of the
loop's type, so that a record that tells little of them does not lead astray; the gain is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt

import numpy as np

from clpm_execd.history.signals import Signals, runs
from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop import ProcessSpec
from clpm_execd.plant.process import transition, weights

_SHORTEST = 60  # samples of a stretch
_MOST = 20_000  # samples, or scans
_MOST_PARTS = 10
_LONGEST_SHARE = 0.15  # of the record: a dead time beyond is not looked for
_SETTLE = 20  # samples at the start of a stretch that the filters need
_STEP = 1e-4  # of a logarithm, for a slope
_MOST_FITS = 28
_DOUBTFUL = 0.05  # a share of all likelihood that is not left between two dead times
_BLUR = 0.25  # of a scan or an interval: when exactly OP moved between two of them is not in the record
_MOST_POLE = 0.9995  # of the load, a sample
_PARTS = (1.0, 3.0)  # of an oscillation: itself and its third harmonic
_NOISES = ((1.0, 0.0), (4.0, 2.0), (7.0, 3.0))  # logit of the load's pole, log of its size beside the sensor's noise
_LOOSE = (1.2, 0.5)  # sigma of the log of the first lag, and of the second's share of it
_LOOSE_DELAY = 1.0  # sigma of the log of the dead time, a sample added


@dataclass(frozen=True, slots=True)
class ProcessLaw:
    """model, and gain (signed), tau and dead time (s), each with its interval: value, low, high.

    relative: standard deviation of the gain's logarithm. criterion: Schwarz's, lower is better. faster: as relative, of
    the gain's ratio to the first lag: all that a loop tells that swings faster than that, and all that matters to it.
    """

    model: str
    gain: tuple[float, float, float]
    tau: tuple[tuple[float, float, float], ...]
    dead_time: tuple[float, float, float]
    relative: float
    criterion: float
    faster: float = inf


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


def innovations(signals: Signals, process: ProcessSpec, period: float | None = None) -> Innovations | None:
    """What a Kalman filter for the process, a load of first order and a sensor's noise makes of the record.

    The load's time and its size beside the noise are those of the least errors. period: as for `process_law`; the
    errors are without that oscillation. None where there is no fit.
    """
    from scipy.optimize import least_squares

    search = _Search(signals, process.model, process.tau, period)
    if not search.stretches:
        return None

    def filters(parameters: Floats) -> tuple[float, Floats]:
        pole, gain, _ = _load_filter(process, signals.interval, parameters)
        return pole, _colour(process, signals.interval, pole, gain)

    def residual(parameters: Floats) -> Floats:
        y, u = search.errors(process.dead_time, search.typical, filters(parameters))
        return np.asarray(y - process.gain * u)

    try:
        found = min((least_squares(residual, start, method="lm", max_nfev=100) for start in _NOISES),
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
    swing = search.swing(process, filters(found.x)) if period else (0.0, 0.0, 0.0)
    return Innovations(np.array([pole, *gain]), errors, load=noise * _ratio(process, signals.interval, found.x),
                       correlation=-signals.interval / log(max(pole, 1e-3)), noise=noise, swing=swing)


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


def process_law(signals: Signals, model: str, tau: Sequence[float], dead_time: float,
                period: float | None = None) -> ProcessLaw | None:
    """The process in a model, looked for from these lags and this dead time (s) on; None where OP tells nothing.

    period: s, of an oscillation that comes from elsewhere; what has this period, or a third of it, tells nothing then.
    """
    search = _Search(signals, model, tau, period)
    if not search.stretches:
        return None
    return search.law(dead_time)


class _Search:
    def __init__(self, signals: Signals, model: str, tau: Sequence[float], period: float | None = None) -> None:
        self.model, self.interval = model, signals.interval
        self.parts = parts_of(signals)
        self.scan = signals.interval / self.parts
        lags = [max(t, 0.2 * signals.interval) for t in tau]
        self.typical = np.array([log(lag) for lag in lags[:1]] + [log(lag / lags[0]) for lag in lags[1:]])
        self.loose = np.array(_LOOSE[:len(lags)])
        self.scale = 0.0
        found = (slice(s.start, min(s.stop, s.start + _MOST)) for s in runs(signals.whole, _SHORTEST))
        self.where = [s for s in found if np.ptp(signals.op[s]) > 1e-6 and np.ptp(signals.pv[s]) > 1e-9][:8]
        self.stretches = [(signals.pv[s], self._held(signals.op[s])) for s in self.where]
        self.samples = sum(len(pv) for pv, _ in self.stretches)
        self.fits: dict[float, _Fit] = {}
        self.period = period
        self.waves = np.linalg.qr(self._waves())[0] if period else np.empty((0, 0))

    def _waves(self) -> Floats:
        """(n, 4) sines and cosines of the period, and of a third of it, at the instants of the errors."""
        columns = []
        for part in _PARTS:
            for wave in (np.sin, np.cos):
                parts = [wave(self._angles(s)[_SETTLE:] * part) for s in self.where]
                columns.append(np.concatenate([one - one.mean() for one in parts]))
        return np.column_stack(columns)

    def _angles(self, stretch: slice) -> Floats:
        """Of the oscillation, at the scans of a stretch's samples."""
        assert self.period is not None
        return 2.0 * np.pi * self.interval / self.period * np.arange(stretch.start, stretch.stop)

    def _held(self, op: Floats) -> Floats:
        """OP at the scans: between two samples it is taken to move evenly."""
        if self.parts == 1:
            return op
        at = np.arange((len(op) - 1) * self.parts + 1) / self.parts
        return np.interp(at, np.arange(len(op)), op)

    def law(self, expected: float) -> ProcessLaw | None:
        """The best of all dead times near the expected one, in s, that the record could show."""
        self.expected = expected
        longest = max(3.0 * self.interval, _LONGEST_SHARE * self.samples * self.interval)
        for _ in range(2):  # the first time to know how small the errors are, which is what priors are weighed against
            self._at(min(longest, expected))
            self.scale, self.fits = self.fits[min(longest, expected)].sigma, {}
        about = max(expected, self.scan)
        for factor in (1.0, 1.5, 0.7, 2.2, 0.45, 3.3, 0.3, 5.0, 0.15, 0.0):
            self._at(min(longest, factor * about))
        if not any(np.isfinite(fit.cost) for fit in self.fits.values()):
            return None
        while len(self.fits) < _MOST_FITS and (halfway := self._most_doubtful()) is not None:
            self._at(halfway)
        return self._told()

    def _most_doubtful(self) -> float | None:
        """Between which two dead times, next to each other, the true one most likely lies; None where all is plain."""
        delays = np.array(sorted(self.fits))
        chance = chances(delays, np.array([self.fits[delay].cost for delay in delays]))
        within = np.diff(delays) > 0.25 * self.scan
        within &= chance > _DOUBTFUL
        if not within.any():
            return None
        k = int(np.argmax(np.where(within, chance, 0.0)))
        return float(delays[k] + delays[k + 1]) / 2.0

    def _at(self, delay: float) -> None:
        """A fit at this dead time, begun from the nearest or from the best; the first from several noises."""
        if delay in self.fits:
            return
        known = [fit for fit in self.fits.values() if np.isfinite(fit.cost)]
        starts = [np.concatenate([self.typical, noise]) for noise in _NOISES]
        if known:
            near, best = (min(known, key=key) for key in (lambda fit: abs(fit.delay - delay), lambda fit: fit.cost))
            starts = [min((near.parameters, best.parameters), key=lambda start: self._misfit(delay, start))]
        fits = [fit for fit in (self._fit(delay, start) for start in starts) if fit is not None]
        nothing = _Fit(delay, starts[0], 0.0, np.full((1, 1), np.inf), self.scale, float("inf"))
        self.fits[delay] = min(fits, key=lambda fit: fit.cost, default=nothing)

    def _misfit(self, delay: float, parameters: Floats) -> float:
        y, u = self._errors(delay, parameters)
        return float(y @ y) - float(u @ y) ** 2 / max(float(u @ u), 1e-300)

    def errors(self, delay: float, lags: Floats, noise: tuple[float, Floats]) -> tuple[Floats, Floats]:
        """What the filters make of PV and of OP: the errors are the former less the gain times the latter.

        delay in s. lags: as in `typical`. noise: the load's pole, and C.
        """
        seen = [self._seen(delay, lags, noise, pv, op) for pv, op in self.stretches]
        y, u = (np.concatenate(parts) for parts in zip(*seen, strict=True))
        if self.period:
            y, u = (part - self.waves @ (self.waves.T @ part) for part in (y, u))
        return y, u

    def _seen(self, delay: float, lags: Floats, noise: tuple[float, Floats], pv: Floats, op: Floats
              ) -> tuple[Floats, Floats]:
        """Of one stretch."""
        from scipy.signal import lfilter

        process = ProcessSpec(model=self.model, gain=1.0, tau=tuple(self._lags(lags).tolist()), dead_time=delay)
        top, bottom = _unit(process, self.scan)
        p11, _, p22, _, _ = transition(process, self.interval)
        pole, colour = noise
        whitens = np.convolve(np.convolve([1.0, -p11], [1.0, -p22]), [1.0, -pole])
        late = int(delay / self.scan + 1e-9) + 1
        moved = np.concatenate([np.zeros(min(late, len(op))), op[:-late] - op[0]])
        flow = lfilter(top, bottom, moved)[::self.parts]
        y, u = (lfilter(whitens, colour, part)[_SETTLE:] for part in (pv - pv[0], flow))
        return y - y.mean(), u - u.mean()

    def swing(self, process: ProcessSpec, noise: tuple[float, Floats]) -> tuple[float, float, float]:
        """Of the oscillation as a load, as in `Innovations`."""
        left, felt = [], []
        for (pv, op), stretch in zip(self.stretches, self.where, strict=True):
            y, u = self._seen(process.dead_time, self.typical, noise, pv, op)
            left.append(y - process.gain * u)
            loads = (self._held(wave(part * self._angles(stretch))) for part in _PARTS for wave in (np.sin, np.cos))
            felt.append(process.gain * np.column_stack([
                self._seen(process.dead_time, self.typical, noise, pv, load)[1] for load in loads]))
        answer, error = np.concatenate(felt), np.concatenate(left)
        parts = np.linalg.lstsq(answer, error, rcond=None)[0]
        rest = error - answer @ parts
        spread = np.linalg.pinv(answer.T @ answer) * float(rest @ rest) / len(error)
        first, third = float(np.hypot(*parts[:2])), float(np.hypot(*parts[2:]))
        return first, sqrt(float(np.trace(spread[:2, :2])) / 2.0), third / max(first, 1e-12)

    def _errors(self, delay: float, parameters: Floats) -> tuple[Floats, Floats]:
        """Those of parameters as in `_Fit`."""
        k = len(self.typical)
        process = ProcessSpec(model=self.model, gain=1.0, tau=tuple(self._lags(parameters[:k]).tolist()))
        return self.errors(delay, parameters[:k], _coloured(process, self.interval, parameters[k:]))

    def _lags(self, logs: Floats) -> Floats:
        """In s, from the logs of the first and of the second's share of it."""
        return np.asarray(np.exp(np.clip(np.cumsum(logs), -7.0, 16.0)))

    def _fit(self, delay: float, start: Floats) -> _Fit | None:
        from scipy.optimize import least_squares

        if self.samples <= 3 * (delay / self.interval + _SETTLE):
            return None

        def residual(parameters: Floats) -> Floats:
            y, u = self._errors(delay, parameters)
            power = float(u @ u)
            error = y - (float(u @ y) / power if power > 0 else 0.0) * u
            self.scale = self.scale or max(float(error.std()), 1e-9)
            prior = (parameters[:len(self.typical)] - self.typical) / self.loose
            return np.concatenate([error, self.scale * prior])

        def slopes(parameters: Floats) -> Floats:
            at = residual(parameters)
            return np.column_stack([(residual(parameters + step) - at) / _STEP for step in _STEP * np.eye(len(start))])

        try:
            found = least_squares(residual, start, jac=slopes, method="lm", max_nfev=30, ftol=1e-7, xtol=1e-5)
        except (ValueError, np.linalg.LinAlgError):
            return None
        y, u = self._errors(delay, found.x)
        power = float(u @ u)
        gain = float(u @ y) / power if power > 0 else 0.0
        error = y - gain * u
        spread = float(error @ error) / max(len(y) - len(start) - 1, 1)
        if not (power > 0 and 0 < spread < inf):
            return None
        covariance = self._covariance(delay, found.x, gain, u, spread)
        if not np.isfinite(covariance).all():
            return None
        prior = found.fun[len(y):] / self.scale
        late = log((delay + self.interval) / (self.expected + self.interval)) / _LOOSE_DELAY
        return _Fit(delay, found.x, gain, covariance, sqrt(spread),
                    len(y) * log(spread) + float(prior @ prior) + late * late)

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

    def _told(self) -> ProcessLaw | None:
        fits = [fit for fit in self.fits.values() if np.isfinite(fit.cost) and fit.gain != 0.0]
        if not fits:
            return None
        best = min(fits, key=lambda fit: fit.cost)
        alike = sorted((fit for fit in fits if np.sign(fit.gain) == np.sign(best.gain)), key=lambda fit: fit.delay)
        k = len(self.typical)
        logs = np.array([[*np.cumsum(fit.parameters[:k]), log(abs(fit.gain))] for fit in alike])
        own = np.array([self._deviations(fit) for fit in alike])
        delays = np.array([fit.delay for fit in alike])
        between = chances(delays, np.array([fit.cost for fit in alike]))
        chance = (np.append(between, 0.0) + np.append(0.0, between)) / 2.0 if len(alike) > 1 else np.ones(1)
        value_of = np.array([*np.cumsum(best.parameters[:k]), log(abs(best.gain))])
        ends = np.exp([quantiles(logs[:, j], own[:, j], chance) for j in range(k + 1)])
        values, sign = np.exp(value_of), float(np.sign(best.gain))
        lags = [(float(values[j]), *ends[j].tolist()) for j in range(k)]
        early, late = quantiles(delays, np.full(len(delays), _BLUR * self.interval), chance)
        return ProcessLaw(
            model=self.model, gain=(sign * float(values[-1]), *(sign * ends[-1]).tolist()), tau=tuple(lags),
            dead_time=(best.delay, max(0.0, min(early, best.delay)), max(late, best.delay)),
            relative=self._relative(alike, chance, 0), criterion=best.cost + (len(values) + 4) * log(self.samples),
            faster=self._relative(alike, chance, 1) if k else inf)

    def _relative(self, fits: list[_Fit], chance: Floats, lags: int) -> float:
        """Standard deviation of the logarithm of the gain over as many first lags."""
        values, variances = np.empty(len(fits)), np.empty(len(fits))
        for i, fit in enumerate(fits):
            values[i] = log(abs(fit.gain)) - float(fit.parameters[:lags].sum())
            slope = np.concatenate([-np.ones(lags), np.zeros(len(self.typical) - lags), [1.0 / abs(fit.gain)]])
            variances[i] = slope @ fit.covariance @ slope
        return sqrt(max(float(chance @ (variances + (values - chance @ values) ** 2)), 0.0))

    def _deviations(self, fit: _Fit) -> list[float]:
        """Standard deviations of the logs of the lags and of the gain, at the fit's dead time."""
        k = len(self.typical)
        sums = np.tril(np.ones((k, k)))
        lags = sums @ fit.covariance[:k, :k] @ sums.T
        return [*np.sqrt(np.maximum(np.diag(lags), 0.0)), sqrt(max(fit.covariance[-1, -1], 0.0)) / abs(fit.gain)]


def chances(delays: Floats, costs: Floats) -> Floats:
    """How likely the dead time lies between each two of these, D - 1 of D."""
    weights = np.exp(np.maximum((costs.min() - costs) / 2.0, -700.0))
    between = np.diff(delays) * (weights[1:] + weights[:-1]) / 2.0
    return np.asarray(between / max(float(between.sum()), 1e-300))


def quantiles(centres: Floats, deviations: Floats, weights: Floats) -> tuple[float, float]:
    """The 5th and the 95th percentile of a mixture of normal distributions."""
    from scipy.special import ndtr

    deviations = np.maximum(deviations, 1e-9)
    low, high = float((centres - 6.0 * deviations).min()), float((centres + 6.0 * deviations).max())
    at = np.linspace(low, high, 2001)
    below = ndtr((at[:, None] - centres) / deviations) @ weights
    return float(np.interp(0.05, below, at)), float(np.interp(0.95, below, at))


def _coloured(process: ProcessSpec, h: float, parameters: Floats) -> tuple[float, Floats]:
    """The load's pole, and C of the load and the sensor's noise together; parameters as in `_load_filter`.

    C is the factor of their spectrum that has its zeros within the unit circle (Astrom, 1970, section 4.3).
    """
    p11, p21, p22, b1, b2 = transition(process, h)
    pole = _MOST_POLE / (1.0 + exp(-min(max(float(parameters[0]), -10.0), 10.0)))
    size = _ratio(process, h, parameters) * sqrt(1.0 - pole * pole)
    load = size * np.array([0.0, b2, p21 * b1 - p11 * b2, 0.0])
    noise = np.convolve(np.convolve([1.0, -p11], [1.0, -p22]), [1.0, -pole])
    spectrum = np.convolve(load, load[::-1]) + np.convolve(noise, noise[::-1])
    spectrum[np.abs(spectrum) < 1e-14 * np.abs(spectrum).max()] = 0.0
    roots = np.roots(spectrum)
    inside = roots[np.argsort(np.abs(roots))[:len(noise) - 1]]
    return pole, np.asarray(np.poly(inside).real)


def parts_of(signals: Signals) -> int:
    """How many scans of a controller are taken to lie in an interval: those of 1 s, fewer of a record that is long."""
    return max(1, min(round(signals.interval), _MOST_PARTS, _MOST // len(signals.pv)))


def _unit(process: ProcessSpec, scan: float) -> tuple[Floats, Floats]:
    """Numerator and denominator, in powers of 1/z, of a process without the whole scans of its dead time, and one."""
    p11, p21, p22, new1, new2, old1, old2 = weights(process, scan)
    top = np.convolve([new2, old2], [1.0, -p11])
    top[1:] += p21 * np.array([new1, old1])
    return top, np.convolve([1.0, -p11], [1.0, -p22])
