"""How likely a record is of a loop that is written down at its controller's scans.

Between two samples nobody saw when SP moved: the likeliest moment is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from math import exp, floor, log, sqrt
from typing import NamedTuple

import numpy as np

from clpm_execd.identification.closed_loop.state_space import INTEGRAL, Filter, Grid, Loop, make_model
from clpm_execd.identification.loop_data import Signals, find_runs
from clpm_execd.identification.pid_regression import find_controlled_samples, long_run_covariance
from clpm_execd.identification.process.prediction_error import DEAD_TIME_SIGMA, LAG_SIGMAS, least_squares
from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop_set import Indices
from clpm_execd.plant.specs import ProcessSpec

_MIN_STRETCH_SAMPLES, _MAX_SAMPLES = 60, 3000
_SETTLING_SAMPLES = 12  # that the filter needs
_FOLLOWED_SAMPLES = 24  # after a move of SP, that show when it was
_MAX_PARTS = 60  # steps in an interval
_DELAY_STEPS = 12  # of the expected dead time, at the most
_LOG_STEP = 1e-4  # of a logarithm, for a slope
_EVEN_SHARE = 0.05  # of samples in which an SP moves that a master moves
_REGRESSION_LAGS = 4  # samples, of the regression that a loop is compared with
_UNKNOWN_SIGMA = 4.0  # of logarithms of which nothing is known
_MOST_EVALUATIONS = 20
_LEAST_GAIN = 0.1  # of the likelihood's logarithm, doubled: a smaller one ends a search
_SCORE_BAND = 20  # samples over which scores may depend on each other
_ROUNDING_SIGMA = 0.003  # of a logarithm of the controller's, that rounding leaves


class _Stretch(NamedTuple):
    """seen: (T, 4) PV, OP, SP and the next SP. moves: after which samples SP moved."""

    seen: Floats
    moves: Indices


class _Errors(NamedTuple):
    """errors: innovations, (K, T, 2). spread: (K, 2, 2) their covariance, in variances of the sensor's noise."""

    errors: Floats
    spread: Floats

    def whitened(self) -> Floats:
        """Return (K, 2 T) innovations of the least sum of squares where the likelihood is highest."""
        whitening = np.linalg.inv(np.linalg.cholesky(self.spread)).transpose(0, 2, 1)
        white = (self.errors @ whitening).reshape(len(self.errors), -1)
        return np.asarray(white * np.linalg.det(self.spread)[:, None]**0.25)

    def losses(self, noise: float) -> Floats:
        """Return (K, T) twice the negative log-likelihood of each sample, but for what a sensor's noise of 1 adds."""
        whitening = np.linalg.inv(np.linalg.cholesky(self.spread)).transpose(0, 2, 1)
        white = self.errors @ whitening / noise
        return np.asarray((white**2).sum(axis=2) + np.linalg.slogdet(self.spread)[1][:, None])


@dataclass(frozen=True, slots=True)
class LoopFit:
    """The likeliest parameters at a dead time, s, as in `Likelihood`, and the likelihood's negative logarithm, doubled.

    values: the parameters with sigmas of load and noise in place of their ratios. deviations: of the values.
    """

    delay: float
    parameters: Floats
    cost: float
    values: Floats
    deviations: Floats


class Likelihood:
    """That of one model of a loop, whose controller scans each `scan` s, on one record.

    Parameters are logarithms: gain and reset of the controller, gain of the process, its first lag, the second's share
    of it, then the correlation of the load, its sigma and that of OP's noise over the sensor's; of a controller that
    derives, its derivative; at last the weight of SP. The dead time, s, goes beside them. typical, sigmas: where and
    how loosely they are held. follows_moves: of SP; while the loop is hardly known the sample after one counts for
    nothing.
    """

    def __init__(self, signals: Signals, process: ProcessSpec, start: tuple[float, float], scan: float, sign: float,
                 pv_step: float) -> None:
        self.model, self.scan, self.sign, self.expected = process.model, scan, sign, process.dead_time
        self.lags = len(process.tau)
        moves = np.diff(signals.sp[signals.complete])
        is_even = bool(len(moves) and np.mean(moves != 0) > _EVEN_SHARE)
        step = max(scan, signals.interval / _MAX_PARTS, process.dead_time / _DELAY_STEPS)
        parts = max(1, floor(signals.interval / step + 1e-9))
        self.interval, self._rounding = signals.interval, pv_step**2 / 12.0
        self.grid = Grid(max(signals.interval / parts, scan), parts, scan, is_even)
        self._data: list[_Stretch] = []
        left = _MAX_SAMPLES
        for s in sorted(find_runs(find_controlled_samples(signals), _MIN_STRETCH_SAMPLES),
                        key=lambda s: s.start - s.stop):
            s = slice(s.start, min(s.stop, s.start + left))
            if s.stop - s.start >= _MIN_STRETCH_SAMPLES:
                left -= s.stop - s.start
                self._data.append(self._stretch(signals, s))
        self.samples = sum(len(stretch.seen) - _SETTLING_SAMPLES for stretch in self._data)
        self.follows_moves = False
        self.has_moves = any(len(stretch.moves) for stretch in self._data)
        lags = [log(max(t, 0.1 * self.grid.step)) for t in process.tau]
        if len(lags) == 2:
            lags[1] -= lags[0]
        correlation = max(2.0 * sum(process.tau), 2.0 * signals.interval)
        self.typical = np.array([*np.log(start), log(abs(process.gain)), *lags, log(correlation), log(5.0), log(0.2),
                                 1.0])
        self.sigmas = np.array([_UNKNOWN_SIGMA] * 3 + [*LAG_SIGMAS[:self.lags]] + [_UNKNOWN_SIGMA] * 3 + [1e-3])

    def _stretch(self, signals: Signals, s: slice) -> _Stretch:
        pv, op, sp = signals.pv[s], self.sign * signals.op[s], signals.sp[s] - signals.sp[s.start]
        moves = np.empty(0, dtype=np.intp) if self.grid.is_even else np.flatnonzero(np.diff(sp))
        return _Stretch(np.column_stack([pv - signals.sp[s.start], op - op[0], sp, np.append(sp[1:], sp[-1])]), moves)

    def derives(self, parameters: Floats) -> bool:
        """Return whether the controller of these has a derivative."""
        return len(parameters) > len(self.typical)

    def _loop(self, delay: float, at: Floats) -> Loop:
        k = 3 + self.lags
        tau = tuple(np.exp(np.cumsum(at[3:k])).tolist())
        process = ProcessSpec(model=self.model, gain=exp(at[2]), tau=tau, dead_time=delay)
        gain, reset = np.exp(at[:2]).tolist()
        correlation, load, output = np.exp(at[k:k + 3]).tolist()
        return Loop(gain, reset, float(at[-1]), process, correlation, load, output,
                    exp(at[-2]) if self.derives(at) else 0.0)

    @np.errstate(over="ignore", invalid="ignore")
    def _errors(self, delay: float, at: Floats) -> _Errors:
        """Return the innovations of K sets of parameters, SP having moved when it is likeliest by the first of them.

        Raises ValueError or LinAlgError where these parameters have no filter.
        """
        models = [make_model(self._loop(delay, one), self.grid) for one in at]
        of = Filter(models)
        whitening = np.linalg.inv(np.linalg.cholesky(of.spread[0])).T
        shares = np.array([(one.pv_share, one.sp_share) for one in models])
        sooner = of.memory @ np.array([one.sooner for one in models])[:, None]  # (K, H, 2, parts)
        errors = []
        for stretch in self._data:
            inputs = np.repeat(stretch.seen[None], len(models), axis=0)
            # OP without what PV and SP make of it at once is the controller's memory.
            inputs[:, :, 1] -= shares @ stretch.seen[:, [0, 2]].T
            left = inputs[:, :, :2] - of.predict(inputs)
            if self.derives(at[0]):
                _take_out_start(left, of.memory[..., INTEGRAL], whitening)
            if self.follows_moves:
                _take_out_moves(left, stretch, sooner, whitening)
            late = left[:, _SETTLING_SAMPLES:] - left[:, _SETTLING_SAMPLES:].mean(axis=1, keepdims=True)
            if not self.follows_moves:
                late[:, [k for k in stretch.moves + 1 - _SETTLING_SAMPLES if k >= 0]] = 0.0
            errors.append(late)
        return _Errors(np.concatenate(errors, axis=1), of.spread)

    def _residuals(self, delay: float, at: Floats, scale: float) -> Floats:
        white = self._errors(delay, at[None]).whitened()[0]
        return np.append(white, (scale or float(white.std())) * self._unlike(delay, at))

    def _priors(self, at: Floats) -> tuple[Floats, Floats]:
        """Return the typical parameters and their sigmas; nothing is known of a derivative."""
        if not self.derives(at):
            return self.typical, self.sigmas
        return np.insert(self.typical, -1, at[-2]), np.insert(self.sigmas, -1, _UNKNOWN_SIGMA)

    def _unlike(self, delay: float, at: Floats) -> Floats:
        """Return how far parameters and dead time are from the typical, in standard deviations."""
        typical, sigmas = self._priors(at)
        late = log((delay + self.interval) / (self.expected + self.interval)) / DEAD_TIME_SIGMA
        return np.append((at - typical) / sigmas, late)

    def _slopes(self, delay: float, at: Floats, scale: float) -> Floats:
        near = _beside(at)
        white = self._errors(delay, near).whitened()
        unlike = scale * np.array([self._unlike(delay, one) for one in near])
        both = np.concatenate([white, unlike], axis=1)
        return np.asarray((both[1:] - both[0]).T / _LOG_STEP)

    def fit(self, delay: float, start: Floats) -> LoopFit | None:
        """Return the likeliest parameters at a dead time, searched for from a start on; None where there are none."""
        try:
            scale = float(self._errors(delay, start[None]).whitened().std())
            at = least_squares(lambda at: self._residuals(delay, at, scale), start,
                               lambda at: self._slopes(delay, at, scale), _LEAST_GAIN, _MOST_EVALUATIONS)
            return None if at is None else self._at(delay, np.asarray(at))
        except (ValueError, OverflowError, np.linalg.LinAlgError):
            return None

    def cost(self, delay: float, at: Floats) -> float:
        """Return what these parameters cost: infinitely much where they have no filter."""
        try:
            return self._cost(delay, at, self._errors(delay, at[None]))
        except (ValueError, OverflowError, np.linalg.LinAlgError):
            return np.inf

    def _cost(self, delay: float, at: Floats, errors: _Errors) -> float:
        white, unlike = errors.whitened()[0], self._unlike(delay, at)
        cost = white.size * log(max(float(np.mean(white**2)), 1e-300)) + float(unlike @ unlike)
        return cost if np.isfinite(cost) else np.inf

    def _at(self, delay: float, at: Floats) -> LoopFit | None:
        """Return the fit with deviations by Fisher's information or White's (1982), whichever are wider."""
        near = self._errors(delay, _beside(at))
        cost = self._cost(delay, at, near)
        if not np.isfinite(cost):
            return None
        (errors, others), (spread, spreads) = ((part[0], part[1:]) for part in (near.errors, near.spread))
        n, p, k = len(errors), len(at), 3 + self.lags
        inverse = np.linalg.inv(spread)
        half = np.linalg.cholesky(inverse)
        noise = sqrt(float(np.mean((errors @ half)**2)))
        along = ((others - errors) @ half).reshape(p, -1) / _LOG_STEP / noise
        across = np.concatenate([inverse @ (spreads - spread) / _LOG_STEP, 2.0 * np.eye(2)[None]])
        information = 0.5 * n * np.einsum("iab,jba->ij", across, across)
        information[:p, :p] += along @ along.T + np.diag(self._priors(at)[1]**-2.0)
        losses = near.losses(noise)
        scores = np.column_stack([(losses[1:] - losses[0]).T / (2.0 * _LOG_STEP),
                                  2.0 - losses[0] + np.linalg.slogdet(spread)[1]])
        covariance = np.linalg.inv(information)
        sandwich = covariance @ long_run_covariance(scores, _SCORE_BAND) @ covariance
        rows, values = np.eye(p + 1)[:p], at.copy()  # from ratios to the sigmas of load and noise
        rows[k + 1, p], rows[k + 2, k + 2], rows[k + 2, p] = 1.0, 0.0, 1.0
        values[k + 1], values[k + 2] = at[k + 1] + log(noise), log(noise)
        variances = np.maximum(np.diag(rows @ covariance @ rows.T), np.diag(rows @ sandwich @ rows.T))
        variances[:2] += _ROUNDING_SIGMA**2
        return LoopFit(delay, at, cost, values, np.sqrt(np.maximum(variances, 0.0)))

    def use_noise(self, fit: LoopFit) -> None:
        """Weigh the rounding of PV against the sensor's noise of a fit."""
        self.grid = replace(self.grid, rounding=self._rounding / exp(2.0 * fit.values[5 + self.lags]))

    def with_weight(self, weight: float, sigma: float) -> Likelihood:
        """Return the same, held to a weight of SP, whose moves are followed."""
        other = copy(self)
        other.follows_moves = True
        other.typical, other.sigmas = np.append(self.typical[:-1], weight), np.append(self.sigmas[:-1], sigma)
        return other

    def swap(self, at: Floats) -> Floats:
        """Return the parameters with the load as slow as the first lag, and the lag as fast as the load."""
        other, k = at.copy(), 3 + self.lags
        other[3], other[k] = at[k], at[3]
        return other

    def r_squared_and_log_var_ratio(self, fit: LoopFit) -> tuple[float, float]:
        """Return which share of OP's moves the loop explains, and by how much less it explains than a regression.

        That is the logarithm of the generalised variance of what the loop leaves of PV and OP over that of what a
        regression on the last samples and SP does (Ljung, 1999, section 4.2).
        """
        errors = self._errors(fit.delay, fit.parameters[None]).errors[0]
        pv_share = make_model(self._loop(fit.delay, fit.parameters), self.grid).pv_share
        rest = np.column_stack([errors[:, 0], errors[:, 1] + pv_share * errors[:, 0]])
        left = rest.T @ rest / len(rest)
        moves = np.concatenate([np.diff(stretch.seen[:, 1]) for stretch in self._data])
        own = float(left[1, 1] - left[0, 1]**2 / left[0, 0])
        least = max(float(np.linalg.det(_regression_errors(self._data))), 1e-300)  # 0 of a signal that never moves
        less = np.log(max(float(np.linalg.det(left)), 1e-300) / least)
        return 1.0 - own / max(float(np.mean(moves**2)), 1e-300), float(less)


def _beside(at: Floats) -> Floats:
    """Return (1 + P, P) these parameters, and those a little further along each of them."""
    return np.vstack([at, at + _LOG_STEP * np.eye(len(at))])


def _take_out_start(errors: Floats, integral: Floats, whitening: Floats) -> None:
    """Take from errors, (K, T, 2), what an integral did, (K, H, 2), that is not known at first.

    Without a derivative a sample or two show it.
    """
    n = min(errors.shape[1], integral.shape[1])
    answer, rest = integral[:, _SETTLING_SAMPLES:n] @ whitening, errors[:, _SETTLING_SAMPLES:n] @ whitening
    size = (answer * rest).sum(axis=(1, 2)) / (answer * answer).sum(axis=(1, 2))
    errors[:, :n] -= size[:, None, None] * integral[:, :n]


def _take_out_moves(errors: Floats, stretch: _Stretch, sooner: Floats, whitening: Floats) -> None:
    """Take from errors, (K, T, 2), what an SP did that moved before its sample, when that is likeliest.

    sooner: (K, H, 2, parts) of a move of 1 %, so many steps before.
    """
    steps = stretch.seen[stretch.moves, 3] - stretch.seen[stretch.moves, 2]
    white = np.einsum("hcp,cd->hdp", sooner[0, :_FOLLOWED_SAMPLES], whitening)
    for k, step in zip(stretch.moves.tolist(), steps.tolist(), strict=True):
        rest = errors[:, k + 1:k + 1 + sooner.shape[1]]
        near = rest[0, :len(white)] @ whitening
        left = near[:, :, None] - step * white[:len(near)]
        steps_before = int(np.argmin((left**2).sum(axis=(0, 1))))
        if steps_before:
            rest -= step * sooner[:, :rest.shape[1], :, steps_before]


def _regression_errors(data: Sequence[_Stretch]) -> Floats:
    """Return (2, 2) the covariance of what a regression of PV and OP on their last samples and SP leaves."""
    before, now, reach = [], [], _REGRESSION_LAGS
    for seen, _ in data:
        past = [seen[reach - lag:len(seen) - lag, :3] for lag in range(1, reach + 1)]
        lags = np.column_stack([seen[reach:, 2], *past])
        before.append(lags - lags.mean(axis=0))
        now.append(seen[reach:, :2] - seen[reach:, :2].mean(axis=0))
    x, y = np.concatenate(before), np.concatenate(now)
    left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return np.asarray(left.T @ left / len(left))
