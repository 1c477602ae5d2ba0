"""How likely a record is of a loop that is written down at its controller's scans, and which moves of SP it had.

Between two samples nobody saw when SP moved: the likeliest moment is taken, or, while the loop itself is hardly known
yet, whatever the move may have done to the integral is taken out. A load that steps is another input, of a size that
explains most.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from math import floor
from typing import NamedTuple

import numpy as np

from clpm_execd.identification.closed_loop.state_space import MOST_DELAY, Filter, Grid, Loop, Seen, seen_at_samples
from clpm_execd.identification.loop_data import Booleans, Signals, runs
from clpm_execd.identification.pid_regression import free
from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop_set import Indices
from clpm_execd.plant.specs import ProcessSpec

_SHORTEST = 60  # samples of a stretch
_MOST = 3000  # samples
_SETTLE = 12  # samples that the filter needs
_FOLLOWED = 24  # samples after a move of SP that tell when it was
_MOST_PARTS = 60  # steps in an interval
_STEP = 1e-4  # of a logarithm, for a slope
_OFTEN = 0.05  # share of samples in which an SP moves that is never still
_AROUND = (-1, 0, 1)  # samples, of a step of the load, at which it may have moved
_RIDGE = 1e-9  # of the power of what is taken out, by which two such are told apart
_LAGS = 4  # samples, of the regression that a loop is held against


class _Steps(NamedTuple):
    """What steps of the load do to a stretch: columns of whitened innovations, (2 T, P), the inverse of their normal
    matrix, and their sizes, % of travel. whitening: (2, 2).
    """

    columns: Floats
    inverse: Floats
    sizes: Floats
    whitening: Floats

    def without(self, errors: Floats) -> Floats:
        """Of errors, (K, T, 2), what steps of any other size cannot explain."""
        white = (errors @ self.whitening).reshape(len(errors), -1)
        white -= (white @ self.columns) @ self.inverse @ self.columns.T
        return np.asarray(white.reshape(errors.shape) @ np.linalg.inv(self.whitening))


class Found(NamedTuple):
    """losses: (..., T). errors: innovations, (..., T, 2). spread: their covariance. correction: as of the Filter.

    moments: of SP's moves, and stepped: what steps of the load did, a stretch each.
    """

    losses: Floats
    errors: Floats
    spread: Floats
    correction: Floats
    moments: list[Indices]
    stepped: list[_Steps | None]


@dataclass(frozen=True, slots=True)
class Stretch:
    """seen: (T, 4) PV, OP, SP and the next SP. moves: after which samples SP moved. spoilt: (T,) what counts not.

    steps: samples from which on the load may be another.
    """

    seen: Floats
    moves: Indices
    steps: Indices
    spoilt: Booleans


class Likelihood:
    """That of one model of a loop, whose controller scans each `scan` s, on one record.

    Parameters are logarithms: gain and reset of the controller, gain of the process, its first lag, the second's share
    of it, then correlation and sigma of the load, and sigma of the noise in PV and in OP; of a controller
    that derives, its derivative; at last the weight of SP. The dead time, s, goes beside them. stepped: samples at
    which the load steps.
    """

    def __init__(self, signals: Signals, process: ProcessSpec, steps: tuple[float, float], scan: float, sign: float,
                 stepped: Sequence[int] = ()) -> None:
        self.model, self.lags, self.scan, self.sign = process.model, len(process.tau), scan, sign
        moves = np.diff(signals.sp[signals.whole])
        wanders = bool(len(moves) and np.mean(moves != 0) > _OFTEN)
        written = max(scan, signals.interval / _MOST_PARTS, 2.0 * process.dead_time / MOST_DELAY)
        parts = max(1, floor(signals.interval / written + 1e-9))
        self.interval, step = signals.interval, signals.interval / parts
        self.grid = Grid(step, parts, max(step / scan, 1.0), wanders, steps)
        self.anywhen = False  # whether what a move of SP does to the integral is left open
        self.data: list[Stretch] = []
        left = _MOST
        for s in sorted(runs(free(signals), _SHORTEST), key=lambda s: s.start - s.stop):
            s = slice(s.start, min(s.stop, s.start + left))
            if s.stop - s.start >= _SHORTEST:
                left -= s.stop - s.start
                self.data.append(self._stretch(signals, s, stepped))
        self.longest = max((len(stretch.seen) for stretch in self.data), default=0)
        self.moves = sum(len(stretch.moves) for stretch in self.data)
        self.samples = sum(len(stretch.seen) - _SETTLE for stretch in self.data)

    def _stretch(self, signals: Signals, s: slice, stepped: Sequence[int]) -> Stretch:
        pv, op, sp = signals.pv[s], self.sign * signals.op[s], signals.sp[s] - signals.sp[s.start]
        moves = np.empty(0, dtype=np.intp) if self.grid.wanders else np.flatnonzero(np.diff(sp))
        seen = np.column_stack([pv - signals.sp[s.start], op - op[0], sp, np.append(sp[1:], sp[-1])])
        steps = np.unique([step + late - s.start for step in stepped for late in _AROUND]).astype(np.intp)
        return Stretch(seen, moves, steps[(steps > _SETTLE) & (steps < len(pv) - 1)], np.zeros(len(pv), dtype=bool))

    def anew(self) -> Likelihood:
        """The same of a record of which all counts."""
        other = copy(self)
        other.data = [replace(stretch, spoilt=np.zeros_like(stretch.spoilt)) for stretch in self.data]
        return other

    def loops(self, delay: float, at: Floats) -> list[Loop]:
        """Those of parameters (K, P)."""
        later, lags = 3 + self.lags, np.exp(np.cumsum(at[:, 3:3 + self.lags], axis=1)).tolist()
        return [Loop(gain, reset, weight, ProcessSpec(model=self.model, gain=strength, tau=tuple(tau), dead_time=delay),
                     *rest) for (gain, reset, strength), tau, rest, weight in zip(
                         np.exp(at[:, :3]).tolist(), lags, np.exp(at[:, later:-1]).tolist(), at[:, -1].tolist(),
                         strict=True)]

    def losses(self, delay: float, at: Floats) -> Found:
        """Twice the negative log-likelihood of each sample, SP having moved when that is likeliest.

        Raises ValueError or LinAlgError where these parameters have no filter.
        """
        found = self._losses(delay, at[None], None)
        return Found(found.losses[0], found.errors[0], found.spread[0], found.correction[0], found.moments,
                     found.stepped)

    @np.errstate(over="ignore", invalid="ignore")
    def _losses(self, delay: float, at: Floats, near: Found | None) -> Found:
        """The same of parameters (K, P); SP moved when it did by what was found near them, where that is known."""
        model = seen_at_samples(self.loops(delay, at), self.grid)
        filtered = Filter(model, None if near is None else near.correction)
        integral = np.broadcast_to(np.eye(model.onward.shape[1])[3], model.sooner.shape[:2])[:, :, None]
        heard = np.empty((len(at), 0, 2, 1))
        if self.moves:
            heard = filtered.heard(model.sooner if not self.anywhen else np.concatenate(
                [integral, model.sooner[:, :, -1:]], axis=2), self.longest)
        begun = filtered.heard(integral, self.longest) if model.derives else None
        errors, chosen, stepped = [], [], list[_Steps | None]()
        steps = any(len(stretch.steps) for stretch in self.data)
        course = filtered.lasting(model.stepped, self.longest) if steps else heard[..., 0]
        for k, stretch in enumerate(self.data):
            left = _innovations(stretch.seen, model, filtered)
            if begun is not None:
                _begin(left, begun, filtered.whitening)
            if self.anywhen:
                chosen.append(stretch.moves)
                _any_moves(left, stretch, heard, filtered.whitening, _FOLLOWED if begun is None else heard.shape[1])
            else:
                moments = None if near is None else near.moments[k]
                chosen.append(_moved(left, stretch, heard, filtered.whitening, moments))
            known = None if near is None else near.stepped[k]
            stepped.append(_steps_out(left, stretch, course, filtered.whitening[0], known))
            left = _level(left, stretch)
            errors.append(left if known is None else known.without(left))
        left = np.concatenate(errors, axis=1)
        white = np.moveaxis(left @ filtered.whitening, 2, 0)
        losses = white[0]**2 + white[1]**2 + np.log(np.linalg.det(filtered.spread))[:, None]
        if not np.isfinite(losses).all():
            raise ValueError("the filter is not stable")
        return Found(losses, left, filtered.spread, filtered.correction, chosen, stepped)

    def slopes(self, delay: float, at: Floats, found: Found) -> tuple[Floats, Floats]:
        """(T, K) the slopes of half the losses, and (K, K) Fisher's information."""
        inverse = np.linalg.inv(found.spread)
        others = self._losses(delay, at + _STEP * np.eye(len(at)), found)
        scores = (others.losses - found.losses).T / (2.0 * _STEP)
        along, across = (others.errors - found.errors) / _STEP, inverse @ (others.spread - found.spread) / _STEP
        white = (along @ np.linalg.cholesky(inverse)).reshape(len(at), -1)
        return scores, white @ white.T + 0.5 * len(scores) * np.einsum("iab,jba->ij", across, across)

    def at_moves(self, delay: float, at: Floats) -> Floats:
        """(moves,) squares of the whitened innovations of the two samples after each, on average 4 in all."""
        found = self.losses(delay, at)
        squares = ((found.errors @ np.linalg.inv(np.linalg.cholesky(found.spread)).T)**2).sum(axis=1)
        lost, begin = [], 0
        for stretch in self.data:
            end = begin + len(stretch.seen) - _SETTLE
            each = np.concatenate([np.zeros(_SETTLE), squares[begin:end], np.zeros(2)])
            lost.append(each[stretch.moves + 1] + each[stretch.moves + 2])
            begin = end
        return np.concatenate(lost)

    def spoil(self, which: Booleans) -> None:
        """The two samples after these moves, (moves,), count no more."""
        for stretch in self.data:
            for k in stretch.moves[which[:len(stretch.moves)]].tolist():
                stretch.spoilt[k + 1:k + 3] = True
            which = which[len(stretch.moves):]

    def explained(self, delay: float, at: Floats) -> tuple[float, float]:
        """Which share of OP's moves the loop explains, and by how much less it does so of PV and OP than a regression.

        That is the logarithm of the generalised variance of what the loop leaves over that of what a regression on
        the last samples and SP does (Ljung, 1999, section 4.2).
        """
        model, errors = seen_at_samples(self.loops(delay, at[None]), self.grid), self.losses(delay, at).errors
        rest = np.column_stack([errors[:, 0], errors[:, 1] + model.pv_share[0] * errors[:, 0]])
        left = rest.T @ rest / len(rest)
        moves = np.concatenate([np.diff(stretch.seen[:, 1]) for stretch in self.data])
        own = float(left[1, 1] - left[0, 1]**2 / left[0, 0])
        least = max(float(np.linalg.det(_regressed(self.data))), 1e-300)  # 0 of a signal that never moves
        less = np.log(max(float(np.linalg.det(left)), 1e-300) / least)
        return 1.0 - own / max(float(np.mean(moves**2)), 1e-300), float(less)


def _innovations(seen: Floats, model: Seen, filtered: Filter) -> Floats:
    """(K, T, 2) of what is seen, (T, 4), SP having moved at the samples."""
    inputs = np.empty((len(model.pv_share), len(seen), 4))
    inputs[:] = seen
    # OP without what PV and SP make of it at once is the integral.
    inputs[:, :, 1] -= np.column_stack([model.pv_share, model.sp_share]) @ seen[:, [0, 2]].T
    return np.asarray(inputs[:, :, :2] - filtered.predicted(inputs))


def _moved(errors: Floats, stretch: Stretch, heard: Floats, whitening: Floats, moments: Indices | None) -> Indices:
    """Take from errors, (K, T, 2), in place, what SP did that moved before its sample; the moments, else the likeliest.

    heard: (K, H, 2, scans) of a move of 1 %.
    """
    chosen = np.zeros(len(stretch.moves), dtype=np.intp) if moments is None else moments
    steps = stretch.seen[stretch.moves, 3] - stretch.seen[stretch.moves, 2]
    white = np.einsum("hcp,cd->hdp", heard[0, :_FOLLOWED], whitening[0])
    for i, (k, step) in enumerate(zip(stretch.moves.tolist(), steps.tolist(), strict=True)):
        rest = errors[:, k + 1:k + 1 + heard.shape[1]]
        if moments is None:
            near = rest[0, :_FOLLOWED] @ whitening[0]
            left = near[:, :, None] - step * white[:len(near)]
            chosen[i] = int(np.argmin((left**2).sum(axis=(0, 1))))
        rest -= step * heard[:, :rest.shape[1], :, chosen[i]]
    return chosen


def _begin(errors: Floats, heard: Floats, whitening: Floats) -> None:
    """Take from errors, (K, T, 2), in place, what an integral, (K, H, 2, 1), did that is not known at first.

    Without a derivative a sample or two tell it.
    """
    n = min(errors.shape[1], heard.shape[1])
    seen, rest = heard[:, _SETTLE:n, :, 0] @ whitening, errors[:, _SETTLE:n] @ whitening
    size = (seen * rest).sum(axis=(1, 2)) / (seen * seen).sum(axis=(1, 2))
    errors[:, :n] -= size[:, None, None] * heard[:, :n, :, 0]


def _any_moves(errors: Floats, stretch: Stretch, heard: Floats, whitening: Floats, followed: int) -> None:
    """Take from errors, (K, T, 2), in place, whatever of these, (K, H, 2, P), came to the state as SP moved.

    followed: samples that tell how much of each.
    """
    pv, integral = heard[:, :followed, :1], heard[:, :followed, 1:]
    white = pv * whitening[:, None, 0, :, None] + integral * whitening[:, None, 1, :, None]
    answers = _answers(white)
    for k in stretch.moves.tolist():
        rest = errors[:, k + 1:k + 1 + heard.shape[1]]
        near = rest[:, :followed] @ whitening
        answer = answers if near.shape[1] == white.shape[1] else _answers(white[:, :near.shape[1]])
        moved = answer @ near.reshape(len(near), -1, 1)
        rest -= (heard[:, :rest.shape[1]] @ moved[:, None])[..., 0]


def _answers(white: Floats) -> Floats:
    """(K, P, 2 H) of whitened innovations, how much of each that was heard, (K, H, 2, P), is in them."""
    columns = white.reshape(len(white), -1, white.shape[3])
    turned = columns.transpose(0, 2, 1)
    normal = turned @ columns
    normal *= 1.0 + _RIDGE * np.eye(normal.shape[1])
    return np.asarray(np.linalg.inv(normal) @ turned)


def _level(errors: Floats, stretch: Stretch) -> Floats:
    """Those of (..., T, 2) that count, around their mean."""
    late = errors[..., _SETTLE:, :]
    count = late.shape[-2]
    left = late - np.ones((1, count)) @ late / count
    if stretch.spoilt.any():
        left[..., stretch.spoilt[_SETTLE:], :] = 0.0
    return np.asarray(left)


def _steps_out(errors: Floats, stretch: Stretch, course: Floats, whitening: Floats, known: _Steps | None
               ) -> _Steps | None:
    """Take from errors, (K, T, 2), in place, the steps of the load, of known sizes or of those that explain most.

    course: (K, H, 2) of a step of 1 %, which is at its last value from then on.
    """
    if not len(stretch.steps):
        return None
    length, samples = course.shape[1], errors.shape[1]
    if known is None:
        added, white = np.zeros((len(stretch.steps), samples, 2)), course[0] @ whitening
        for column, k in zip(added, stretch.steps.tolist(), strict=True):
            column[k:k + length] = white[:samples - k]
            column[k + length:] = white[-1]
        columns = _level(added, stretch).reshape(len(added), -1).T
        normal = columns.T @ columns
        inverse = np.asarray(np.linalg.inv(normal + 1e-9 * np.diag(np.diag(normal))))
        sizes = inverse @ (columns.T @ (_level(errors[0], stretch) @ whitening).ravel())
        known = _Steps(columns, inverse, sizes, whitening)
    last = np.zeros(samples)
    for k, size in zip(stretch.steps.tolist(), known.sizes.tolist(), strict=True):
        errors[:, k:k + length] -= size * course[:, :samples - k]
        last[k + length:] += size
    errors -= last[:, None] * course[:, -1:]
    return known


def _regressed(data: Sequence[Stretch]) -> Floats:
    """(2, 2) covariance of what a regression of PV and OP on their last samples and SP leaves."""
    before, now = [], []
    for stretch in data:
        seen, n = stretch.seen, len(stretch.seen)
        counts = ~stretch.spoilt[_LAGS:]
        lags = np.column_stack([seen[_LAGS:, 2], *(seen[_LAGS - lag:n - lag, :3] for lag in range(1, _LAGS + 1))])
        before.append(lags[counts] - lags[counts].mean(axis=0))
        now.append(seen[_LAGS:, :2][counts] - seen[_LAGS:, :2][counts].mean(axis=0))
    x, y = np.concatenate(before), np.concatenate(now)
    left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return np.asarray(left.T @ left / len(left))
