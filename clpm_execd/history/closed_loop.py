"""Controller and process together, from a record slower than the controller's scan.

Between two samples the controller scanned several times, each time with a PV that is not in the record: no sum over
the recorded errors is the integral that it made. So the loop is written down at its scans, controller, process, load
and the sensor's noise in one state-space model, and seen at the samples; its likelihood is that of the innovations of
a Kalman filter (Schweppe, 1965; Ljung, 1999, section 13.5, joint input-output identification). Fisher's scoring
climbs it, from either of the lags that the process and the load may have taken from each other. Deviations are
Fisher's or White's (1982), which hold where the model is not quite the plant's, whichever are wider: the latter come
out too small of a short record (Kauermann and Carroll, 2001).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, floor, inf, log

import numpy as np

from clpm_execd.history.controller_law import SCAN, PidLaw, free, long_run
from clpm_execd.history.process_law import ProcessLaw, quantiles
from clpm_execd.history.signals import Booleans, Signals, runs
from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop import ProcessSpec
from clpm_execd.plant.process import weights

_SHORTEST = 60  # samples of a stretch
_LEAST, _MOST = 200, 3000  # samples
_SETTLE = 12  # samples that the filter needs
_BLOCK = 24  # samples that are filtered at once
_MOST_DELAY = 24  # scans of a dead time; a slower loop is written down at longer scans
_MOST_PARTS = 60  # scans in an interval
_STEP = 1e-4  # of a logarithm, for a slope
_CLIMBS, _TRIES = 20, 6
_ENOUGH = 0.05  # of the likelihood's logarithm, doubled: a smaller gain ends the climb
_ANY = 4.0  # sigma of the logarithms of which nothing is known
_LAG, _SHARE, _DELAY = 1.2, 0.5, 1.0  # of those that are typical of a type
_BAND = 20  # samples over which scores may depend on each other
_FASTER = (1, 2, 5)  # scans in an interval of no more than SCAN, that are tried
_PLAIN = 0.05  # of the reset: in a shorter interval little is hidden between two samples
_SOONER = 0.5  # of what comes sooner is in doubt: of an error that is noise it is not what it is of one that is not
_SURE = 0.35  # sigma of the logarithm of the gain: above this the record does not tell it
_ROUNDING = 0.003  # sigma of a logarithm that is left of rounding
_OFTEN = 0.2  # share of samples in which an SP moves that is never still

_Found = tuple[Floats, Floats, Floats]  # loss of each sample, (T,), innovations, (T, 2), and their covariance, (2, 2)


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """The controller's law, and the process, of a loop at its scans."""

    law: PidLaw
    process: ProcessLaw


def closed_loop(signals: Signals, law: PidLaw, process: ProcessSpec, steps: tuple[float, float]) -> ClosedLoop | None:
    """A loop whose law, seen at the samples only, is `law`; looked for from this process on.

    steps: of PV and OP, %. None where every scan is in the record or what is between two samples matters little, where
    there are too few of them or they do not tell the gain, and where nothing integrates, or derives.
    """
    if law.reset[0] <= 0 or law.derivative[0] > 0 or signals.interval < _PLAIN * law.reset[0]:
        return None
    if signals.interval > SCAN:
        scans = [SCAN, signals.interval] if law.exact else [SCAN]
    else:
        scans = [] if law.exact else [signals.interval / parts for parts in _FASTER]
    found: list[_Fit] = []
    search = None
    for scan in scans:
        written = max(scan, signals.interval / _MOST_PARTS, 2.0 * process.dead_time / _MOST_DELAY)
        search = _Search(signals, process.model, steps, max(1, floor(signals.interval / written + 1e-9)), law)
        if search.samples < _LEAST:
            return None
        found += search.found(law, process, scan)
    if search is None or not found or min(found, key=lambda fit: fit.cost).deviations[0] > _SURE:
        return None
    return search.told(law, found)


@dataclass(frozen=True, slots=True)
class _Fit:
    """Parameters as in `_Search`, their standard deviations, and twice the negative logarithm of their likelihood."""

    values: Floats
    deviations: Floats
    cost: float


class _Search:
    """The likelihood of one model of a loop on one record.

    Parameters are logarithms: gain and reset of the controller, gain of the process, its first lag, the second's share
    of it, its dead time, then correlation and sigma of the load, and sigma of the noise in PV and in OP.
    """

    def __init__(self, signals: Signals, model: str, steps: tuple[float, float], parts: int, law: PidLaw) -> None:
        self.model, self.steps, self.parts, self.weight = model, steps, parts, law.weight[0]
        self.interval, self.scan, self.sign = signals.interval, signals.interval / parts, np.sign(law.gain[0])
        self.lags = {"fopdt": 1, "sopdt": 2, "integrator": 0}[model]
        moves = np.diff(signals.sp[signals.whole])
        self.wanders = bool(len(moves) and np.mean(moves != 0) > _OFTEN)
        self.data: list[tuple[Floats, Booleans]] = []
        left = _MOST
        for s in sorted(runs(free(signals), _SHORTEST), key=lambda s: s.start - s.stop):
            s = slice(s.start, min(s.stop, s.start + left))
            if s.stop - s.start >= _SHORTEST:
                left -= s.stop - s.start
                self.data.append(self._stretch(signals, s))
        self.samples = sum(int(used.sum()) for _, used in self.data)

    def _stretch(self, signals: Signals, s: slice) -> tuple[Floats, Booleans]:
        """(T, 4) PV, OP, SP and the next SP; (T,) what counts: when SP moved between two samples is not known."""
        pv, op, sp = signals.pv[s], self.sign * signals.op[s], signals.sp[s] - signals.sp[s.start]
        used = np.arange(len(pv)) >= _SETTLE
        if not self.wanders:
            for k in np.flatnonzero(np.diff(sp)):
                used[k + 1:k + 3] = False
        return np.column_stack([pv - signals.sp[s.start], op - op[0], sp, np.append(sp[1:], sp[-1])]), used

    def found(self, law: PidLaw, process: ProcessSpec, scan: float) -> list[_Fit]:
        """The likeliest parameters from either side, of a controller that scans each `scan` s."""
        typical, loose = self._typical(law, process)
        fits: list[_Fit] = []
        start = typical
        for _ in range(2 if self.lags else 1):
            try:
                fits.append(self._climbed(start, typical, loose))
            except (ValueError, np.linalg.LinAlgError):
                break
            k = 4 + self.lags  # the load's correlation
            start = fits[0].values.copy()
            start[3], start[k] = start[k], start[3]
        for fit in fits:
            # A controller that scans oftener than it is written down here integrates what is written a little sooner.
            sooner = max(self.scan - scan, 0.0) / 2.0 / exp(float(fit.values[1]))
            fit.values[:2] += log(1.0 + sooner / 2.0)
            fit.deviations[:2] = np.hypot(np.hypot(fit.deviations[:2], _SOONER * sooner), _ROUNDING)
        return fits

    def told(self, law: PidLaw, fits: list[_Fit]) -> ClosedLoop:
        """What the fits are, weighed by their likelihood."""
        best = min(fits, key=lambda fit: fit.cost)
        chance = np.array([exp(max((best.cost - fit.cost) / 2.0, -700.0)) for fit in fits])
        chance /= chance.sum()
        values, deviations = np.array([fit.values for fit in fits]), np.array([fit.deviations for fit in fits])

        def ends(at: int) -> tuple[float, float, float]:
            value = float(best.values[at])
            low, high = quantiles(values[:, at], deviations[:, at], chance)
            return exp(value), exp(min(low, value)), exp(max(high, value))

        gain, process_gain = (sorted(self.sign * v for v in ends(at)) for at in (0, 2))
        gain_value, strength = self.sign * exp(float(best.values[0])), self.sign * exp(float(best.values[2]))
        taus = [ends(3)] if self.lags else []
        if self.lags == 2:
            taus.append(tuple(a * b for a, b in zip(taus[0], ends(4), strict=True)))  # type: ignore[arg-type]
        apart = values[:, 2] - chance @ values[:, 2]
        return ClosedLoop(
            replace(law, gain=(gain_value, gain[0], gain[-1]), reset=ends(1), hidden=False),
            ProcessLaw(model=self.model, gain=(strength, process_gain[0], process_gain[-1]), tau=tuple(taus),
                       dead_time=ends(3 + self.lags),
                       relative=float(np.sqrt(chance @ (deviations[:, 2]**2 + apart**2))),
                       criterion=best.cost + len(best.values) * log(self.samples)))

    def _typical(self, law: PidLaw, process: ProcessSpec) -> tuple[Floats, Floats]:
        """Where the climb begins, and how loosely the parameters are held to that."""
        lags = [log(max(t, 0.1 * self.scan)) for t in process.tau]
        if len(lags) == 2:
            lags[1] -= lags[0]
        correlation = max(2.0 * sum(process.tau), 2.0 * self.interval)
        noise = 0.3 * max(float(np.mean([data[:, 0].std() for data, _ in self.data])), 1e-3)
        begin = [log(abs(law.gain[0])), log(law.reset[0]), log(abs(process.gain)), *lags,
                 log(max(process.dead_time, 0.1 * self.scan)), log(correlation), log(0.5), log(noise), log(0.02)]
        loose = [_ANY] * 3 + [_LAG, _SHARE][:self.lags] + [_DELAY] + [_ANY] * 4
        return np.array(begin), np.array(loose)

    def _climbed(self, start: Floats, typical: Floats, loose: Floats) -> _Fit:
        """The likeliest parameters from a start on."""
        def total(found: _Found, at: Floats) -> float:
            cost = float(found[0].sum()) + float((((at - typical) / loose) ** 2).sum())
            return cost if np.isfinite(cost) else inf

        at, found, damp = start, self._losses(start), 1e-3
        cost = total(found, at)
        for _ in range(_CLIMBS):
            scores, information = self._slopes(at, found)
            uphill = scores.sum(axis=0) + (at - typical) / loose**2
            information += np.diag(1.0 / loose**2)
            before = cost
            for _ in range(_TRIES):
                step = np.linalg.solve(information + damp * np.diag(np.diag(information)), uphill)
                there = at - np.clip(step, -1.0, 1.0)
                try:
                    tried = self._losses(there)
                except (ValueError, np.linalg.LinAlgError):
                    tried = None
                if tried is not None and total(tried, there) < cost:
                    at, found, cost, damp = there, tried, total(tried, there), damp / 10.0
                    break
                damp *= 10.0
            if before - cost < _ENOUGH:
                break
        scores, information = self._slopes(at, found)
        inverse = np.linalg.inv(information + np.diag(1.0 / loose**2))
        robust = inverse @ (long_run(scores, _BAND) + np.diag(1.0 / loose**2)) @ inverse
        return _Fit(at, np.sqrt(np.maximum(np.diag(inverse), np.diag(robust))), cost)

    def _slopes(self, at: Floats, found: _Found) -> tuple[Floats, Floats]:
        """(T, K) the slopes of half the losses, and (K, K) Fisher's information."""
        losses, errors, spread = found
        inverse = np.linalg.inv(spread)
        scores, moved, widened = np.empty((len(losses), len(at))), [], []
        for k, step in enumerate(_STEP * np.eye(len(at))):
            other = self._losses(at + step)
            scores[:, k] = (other[0] - losses) / (2.0 * _STEP)
            moved.append((other[1] - errors) / _STEP)
            widened.append(inverse @ (other[2] - spread) / _STEP)
        along, across = np.array(moved), np.array(widened)
        information = np.einsum("itc,cd,jtd->ij", along, inverse, along, optimize=True)
        information += 0.5 * len(losses) * np.einsum("iab,jba->ij", across, across)
        return scores, information

    @np.errstate(over="ignore", invalid="ignore")
    def _losses(self, at: Floats) -> _Found:
        """Twice the negative log-likelihood of each sample that counts, its innovations, and their covariance.

        Raises ValueError or LinAlgError where these parameters have no filter.
        """
        from scipy.linalg import solve_discrete_are

        model = self._seen(self._scans(at), at)
        onward, inputs, seen, load, cross, noise, (pv_share, sp_share) = model
        state = solve_discrete_are(onward.T, seen.T, load, noise, s=cross)
        spread = seen @ state @ seen.T + noise
        correction = (onward @ state @ seen.T + cross) @ np.linalg.inv(spread)
        errors = []
        lifted = _Lifted(onward - correction @ seen, np.column_stack([correction, inputs]), seen)
        for data, used in self.data:
            # OP without what PV and SP make of it at once is the integral.
            integral = data[:, 1] - pv_share * data[:, 0] - sp_share * data[:, 2]
            outputs = np.column_stack([data[:, 0], integral])
            left = (outputs - lifted.predicted(np.column_stack([outputs, data[:, 2:]])))[used]
            errors.append(left - left.mean(axis=0))
        left = np.concatenate(errors)
        if not np.isfinite(left).all():
            raise ValueError("the filter is not stable")
        whitened = left @ np.linalg.inv(np.linalg.cholesky(spread)).T
        return (whitened**2).sum(axis=1) + log(np.linalg.det(spread)), left, spread

    def _scans(self, at: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """From scan to scan: F, and what noise, load and SP add to the state; and the shares of PV and SP in OP.

        The state is x1 and x2 of the process, the load, the integral, and OP of the last scans.
        """
        gain, reset, strength = np.exp(at[:3])
        taus = np.exp(np.cumsum(at[3:3 + self.lags]))
        delay, correlation = np.exp(at[3 + self.lags:5 + self.lags])
        whole = floor(delay / self.scan + 1e-9)
        if whole > 2 * _MOST_DELAY:
            raise ValueError("the dead time is too long")
        process = ProcessSpec(model=self.model, gain=float(strength), tau=tuple(taus.tolist()), dead_time=float(delay))
        p11, p21, p22, new1, new2, old1, old2 = weights(process, self.scan)
        rate, fade, n = gain * self.scan / reset, exp(-self.scan / correlation), 5 + whole
        pv_share, sp_share = -(gain + rate), gain * self.weight + rate
        f, op, (by_noise, by_load, by_sp) = np.zeros((n, n)), np.zeros(n), np.zeros((3, n))
        op[1], op[3] = pv_share, 1.0
        f[0, 0], f[1, 0], f[1, 1] = p11, p21, p22
        for row, new, old in ((0, new1, old1), (1, new2, old2)):
            if whole:
                f[row, 3 + whole] += new
            else:
                f[row] += new * op
                by_noise[row], by_sp[row] = new * pv_share, new * sp_share
            f[row, 4 + whole] += old
            f[row, 2] += (new + old) * fade
            by_load[row] = new + old
        f[2, 2], by_load[2] = fade, 1.0
        f[3, 3], f[3, 1], by_noise[3], by_sp[3] = 1.0, -rate, -rate, rate
        f[4], by_noise[4], by_sp[4] = op, pv_share, sp_share
        f[range(5, n), range(4, n - 1)] = 1.0
        return f, by_noise, by_load, by_sp, np.array([pv_share, sp_share])

    def _seen(self, scans: tuple[Floats, Floats, Floats, Floats, Floats], at: Floats
              ) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats, Floats]:
        """From sample to sample: the transition, the inputs, what is seen, covariances, and the shares of PV and SP."""
        f, by_noise, by_load, by_sp, shares = scans
        correlation, load, noise, output = np.exp(at[-4:])
        kick = load**2 * -np.expm1(-2.0 * self.scan / correlation)
        each = np.outer(by_noise, by_noise) * noise**2 + np.outer(by_load, by_load) * kick
        n = len(f)
        power, total, inputs, first = np.eye(n), np.zeros((n, n)), np.zeros((n, 2)), by_noise
        for k in range(self.parts):  # scans before the last of the interval
            total += power @ each @ power.T
            first, sp = power @ by_noise, power @ by_sp
            later = (self.parts - 1 - k) / self.parts if self.wanders else 0.0
            inputs += np.outer(sp, (1.0 - later, later))
            power = power @ f
        seen = np.zeros((2, n))
        seen[0, 1] = seen[1, 3] = 1.0
        pv, op = (step**2 / 12.0 for step in self.steps)
        between = -shares[0] * pv
        noises = np.array([[noise**2 + pv, between], [between, output**2 + op + shares[0]**2 * pv + 1e-12]])
        return power, inputs, seen, total, np.column_stack([first * noise**2, np.zeros(n)]), noises, shares


class _Lifted:
    """z+ = M z + N v, seen as C z: many samples at once."""

    def __init__(self, m: Floats, n: Floats, c: Floats) -> None:
        powers = [np.eye(len(m))]
        for _ in range(_BLOCK):
            powers.append(m @ powers[-1])
        self.onward = powers[-1]
        self.seen = np.vstack([c @ power for power in powers[:-1]])
        self.carried = np.hstack([power @ n for power in powers[-2::-1]])
        answers = [np.zeros((len(c), n.shape[1])), *(c @ power @ n for power in powers[:-2])]
        width = n.shape[1]
        self.answer = np.zeros((len(c) * _BLOCK, width * _BLOCK))
        column = np.vstack(answers)
        for k in range(_BLOCK):
            self.answer[len(c) * k:, width * k:width * (k + 1)] = column[:len(column) - len(c) * k]

    def predicted(self, v: Floats) -> Floats:
        """(T, 2) of inputs (T, 4), from rest."""
        blocks = -(-len(v) // _BLOCK)
        padded = np.vstack([v, np.zeros((blocks * _BLOCK - len(v), v.shape[1]))]).reshape(blocks, -1)
        carried, states = padded @ self.carried.T, np.zeros((blocks, len(self.onward)))
        for k in range(1, blocks):
            states[k] = self.onward @ states[k - 1] + carried[k - 1]
        return (padded @ self.answer.T + states @ self.seen.T).reshape(blocks * _BLOCK, -1)[:len(v)]
