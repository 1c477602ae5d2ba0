"""What a loop does between two samples of its record: written down at its scans, seen at the samples.

Controller, process, load and the sensor's noise are one state-space model, so that a sample's likelihood is that of
the innovation of a Kalman filter (Schweppe, 1965). Where the dead time has more scans than can be handled, several
make a step: PV is then taken to move evenly over it, OP is its mean, and so is the noise, but for the scan that is a
sample's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import floor
from typing import NamedTuple

import numpy as np

from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ProcessSpec
from clpm_execd.plant.stages.process import discretize_with_dead_time

MOST_DELAY = 24  # steps of a dead time
FILTER = 10.0  # N of a derivative's filter: a slow record does not tell it
_DOUBLED = 5  # times, a sample to
_BLOCK = 2**_DOUBLED  # of them that are filtered at once
_HEARD, _LONGER = 6, 40  # blocks over which a move of SP between two samples is followed; where a derivative hides it
_DOUBLINGS = 30
_SETTLED = 1e-10  # of the covariance


@dataclass(frozen=True, slots=True)
class Grid:
    """step: s. parts: steps an interval. scans: of the controller, a step. wanders: SP moves all the time, and evenly.

    recorded: steps in which PV and OP were, %.
    """

    step: float
    parts: int
    scans: float
    wanders: bool
    recorded: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop as it is looked for: gain, reset (s) and weight of SP of its controller, then the rest of it.

    derivative: of the controller, s, behind the filter that most have. correlation (s) and load (% of travel): of the
    load. noise: sigma of the sensor's, output: of OP's own, %.
    """

    gain: float
    reset: float
    weight: float
    process: ProcessSpec
    correlation: float
    load: float
    noise: float
    output: float
    derivative: float = 0.0


class _Steps(NamedTuple):
    """Of K loops a step: z+ = f z + what noise, load, SP and a load that stepped add: the columns of added, (K, n, 4).
    """

    f: Floats
    added: Floats


class Seen(NamedTuple):
    """K loops from sample to sample: z+ = onward z + inputs (SP, next SP), of which PV and the integral are seen, that
    together with what is left of a derivative.

    load, cross, noise: covariances of what comes to z, of that and what is seen, and of the latter. pv_share,
    sp_share: (K,) of PV and SP in OP at once; what they leave is the integral. sooner: (K, n, scans) what an SP that
    moved 0, 1, .. scans before the next sample has done to z by then. stepped: (K, n) what a load that is 1 % higher
    does to z from sample to sample.
    """

    onward: Floats
    inputs: Floats
    seen: Floats
    load: Floats
    cross: Floats
    noise: Floats
    pv_share: Floats
    sp_share: Floats
    sooner: Floats
    stepped: Floats

    @property
    def derives(self) -> bool:
        """Whether the controllers do."""
        return bool(self.seen[1].sum() > 1.0)


def seen_at_samples(loops: Sequence[Loop], grid: Grid) -> Seen:
    """Loops of one model and one dead time. Raises ValueError where that is too long."""
    gain, reset, weight, correlation, load, noise, output = np.array(
        [(one.gain, one.reset, one.weight, one.correlation, one.load, one.noise, one.output) for one in loops]).T
    rate = gain * grid.step / grid.scans / reset  # of the integral, a scan
    derived = _derived(loops, grid)
    pv_share, sp_share = -(gain + rate + derived.share), gain * weight + rate
    steps = _steps(loops, grid, rate, derived, pv_share, sp_share)
    added = [steps.added]  # in the last step of an interval, in the one before, ..
    for _ in range(grid.parts - 1):
        added.append(steps.f @ added[-1])
    by_first, by_rest, by_load, by_sp, by_step = np.moveaxis(np.array(added), (0, 3), (3, 0))  # (K, n, parts)
    kick = load * np.sqrt(-np.expm1(-2.0 * grid.step / correlation))
    later_noise = noise / max(grid.scans - 1.0, 1.0)**0.5
    arrived = np.concatenate([by * sigma[:, None, None] for by, sigma in (
        (by_first, noise), (by_rest, later_noise), (by_load, kick))], axis=2)
    n = steps.f.shape[1]
    seen = np.zeros((2, n))
    seen[0, 1] = seen[1, 3] = 1.0
    seen[1, n - derived.states:] = 1.0
    cross = np.zeros((len(loops), n, 2))
    cross[:, :, 0] = by_first[:, :, -1] * noise[:, None]**2
    later = (np.arange(grid.parts)[::-1] / grid.parts) * grid.wanders
    return Seen(np.linalg.matrix_power(steps.f, grid.parts), by_sp @ np.column_stack([1.0 - later, later]), seen,
                arrived @ arrived.transpose(0, 2, 1), cross, _noise(noise, output, pv_share, grid), pv_share, sp_share,
                np.cumsum(by_sp, axis=2) @ _moments(grid), by_step.sum(axis=2))


def _noise(noise: Floats, output: Floats, pv_share: Floats, grid: Grid) -> Floats:
    """(K, 2, 2) in PV and in the integral."""
    pv, op = (step**2 / 12.0 for step in grid.recorded)
    between = -pv_share * pv
    return np.moveaxis(np.array([[noise**2 + pv, between], [between, output**2 + op + pv_share**2 * pv + 1e-12]]), 2, 0)


@lru_cache
def _moments(grid: Grid) -> Floats:
    """(parts, scans) what whole steps, 1, 2, .. of them, tell of a move of SP 0, 1, .. scans before a sample."""
    moments = np.arange(max(1, round(grid.parts * grid.scans))) / grid.scans
    return np.array([np.interp(moments, np.arange(grid.parts + 1), row) for row in np.eye(grid.parts + 1)[1:]])


class _Derived(NamedTuple):
    """The derivatives of K controllers: `share` of PV less what is left of the last PVs, of which there are `states`.

    fade: of that in a step. early, late: how much of it PV at a step's start is, and PV at its end. first, rest: how
    much of it the noise of a step's first scan is, and that of the others.
    """

    states: int
    share: Floats
    fade: Floats
    early: Floats
    late: Floats
    first: Floats
    rest: Floats


def _derived(loops: Sequence[Loop], grid: Grid) -> _Derived:
    scan, m = grid.step / grid.scans, grid.scans
    derivative, gain = np.array([(one.derivative, one.gain) for one in loops]).T
    share, a = gain * derivative / (derivative / FILTER + scan), derivative / (derivative + FILTER * scan)
    late = ((m - 1.0) - a * (1.0 - a**(m - 1.0)) / (1.0 - a)) / m  # PV moves evenly over a step
    last = a**(m - 1.0)
    return _Derived(int(derivative.any()), share, a * last, share * (1.0 - a * last - late), share * late,
                    share * (1.0 - a) * last, share * (1.0 - last))


def _steps(loops: Sequence[Loop], grid: Grid, rate: Floats, derived: _Derived, pv_share: Floats, sp_share: Floats
           ) -> _Steps:
    """The state is x1 and x2 of the process, the load, the integral, OP of the last steps, what the derivative left."""
    later = (grid.scans - 1.0) / 2.0
    # OP that holds for a step comes half a step late, that of each scan half a scan.
    delay = max(loops[0].process.dead_time - later * grid.step / grid.scans, 0.0)
    whole = floor(delay / grid.step + 1e-9)
    if whole > 3 * MOST_DELAY:
        raise ValueError("the dead time is too long")
    p11, p21, p22, new1, new2, old1, old2 = np.array(
        [discretize_with_dead_time(replace(one.process, dead_time=delay), grid.step) for one in loops]).T
    fade, n = np.exp([-grid.step / one.correlation for one in loops]), 5 + whole + derived.states
    f, op, added = np.zeros((len(loops), n, n)), np.zeros((len(loops), n)), np.zeros((len(loops), n, 5))
    by_first, by_rest, by_load, by_sp, by_step = np.moveaxis(added, 2, 0)
    first, rest = pv_share / grid.scans, pv_share * (1.0 - 1.0 / grid.scans)  # of the noise of one scan, of the others
    op[:, 1], op[:, 3], op[:, n - derived.states:] = pv_share, 1.0, 1.0
    f[:, 0, 0], f[:, 1, 0], f[:, 1, 1] = p11, p21, p22
    for row, new, old in ((0, new1, old1), (1, new2, old2)):
        if whole:
            f[:, row, 3 + whole] += new
        else:
            f[:, row] += new[:, None] * op
            by_first[:, row], by_rest[:, row], by_sp[:, row] = new * first, new * rest, new * sp_share
        f[:, row, 4 + whole] += old
        f[:, row, 2] += (new + old) * fade
        by_load[:, row] = new + old
    f[:, 2, 2], by_load[:, 2] = fade, 1.0
    f[:, 3, 3], f[:, 3, 1] = 1.0, -rate * (1.0 + later)
    f[:, 3] -= (rate * later)[:, None] * f[:, 1]
    for scans, by in ((-1.0, by_first), (1.0 - grid.scans, by_rest), (0.0, by_load), (grid.scans, by_sp)):
        by[:, 3] = rate * (scans - later * by[:, 1])
    if derived.states:
        f[:, -1] = derived.late[:, None] * f[:, 1]
        f[:, -1, 1] += derived.early
        f[:, -1, -1] += derived.fade
        for by in (by_first, by_rest, by_load, by_sp):
            by[:, -1] = derived.late * by[:, 1]
        by_first[:, -1] += derived.first
        by_rest[:, -1] += derived.rest
    f[:, 4], by_first[:, 4], by_rest[:, 4], by_sp[:, 4] = op, first, rest, sp_share
    by_step[:] = by_load  # not the load that wanders
    by_step[:, 2] = 0.0
    f[:, range(5, 5 + whole), range(4, 4 + whole)] = 1.0
    return _Steps(f, added)


class Filter:
    """The Kalman filters of K loops: z+ = m z + v, seen as c z, many samples at once.

    correction: (K, n, 2) what innovations do to z. near: of a loop that they are all next to.
    """

    def __init__(self, model: Seen, near: Floats | None = None) -> None:
        self._heard = _LONGER if model.derives else _HEARD
        state, c = _covariance(model) if near is None else _beside(model, near), model.seen
        self.spread = c @ state @ c.T + model.noise
        self.correction = correction = (model.onward @ state @ c.T + model.cross) @ np.linalg.inv(self.spread)
        self.whitening = np.linalg.inv(np.linalg.cholesky(self.spread)).transpose(0, 2, 1)
        power, n = model.onward - correction @ c, np.concatenate([correction, model.inputs], axis=2)
        self._seen, self._carried = np.broadcast_to(c, (len(power), *c.shape)), n
        for _ in range(_DOUBLED):
            self._seen = np.concatenate([self._seen, self._seen @ power], axis=1)
            self._carried = np.concatenate([power @ self._carried, self._carried], axis=2)
            power = power @ power
        self._onward = power
        self._answer = self._answers(self._seen[:, :-len(c)] @ n, len(c))

    def _answers(self, column: Floats, seen: int) -> Floats:
        """(K, seen B, width B) what the inputs of the B samples of a block do within it; column: those of the first."""
        count, rows, width = column.shape
        answer = np.zeros((count, rows + seen, width * _BLOCK))
        for k in range(_BLOCK - 1):
            answer[:, seen * (k + 1):, width * k:width * (k + 1)] = column[:, :rows - seen * k]
        return answer

    def predicted(self, v: Floats) -> Floats:
        """(K, T, 2) of inputs (K, T, 4), PV, integral, SP and next SP, from rest."""
        count, samples, width = v.shape
        blocks = -(-samples // _BLOCK)
        padded = np.zeros((count, blocks * _BLOCK, width))
        padded[:, :samples] = v
        padded = padded.reshape(count, blocks, -1)
        carried = padded @ self._carried.transpose(0, 2, 1)
        states, onward, apart = np.zeros_like(carried), self._onward.transpose(0, 2, 1), 1
        states[:, 1:] = carried[:, :-1]
        while apart < blocks:  # what came 1, 2, 4, .. blocks before
            states[:, apart:] += states[:, :-apart] @ onward
            onward, apart = onward @ onward, 2 * apart
        seen = padded @ self._answer.transpose(0, 2, 1) + states @ self._seen.transpose(0, 2, 1)
        return np.asarray(seen.reshape(count, blocks * _BLOCK, -1)[:, :samples])

    def heard(self, states: Floats, samples: int) -> Floats:
        """(K, H, 2, P) what is seen, from the next sample on, of states (K, n, P) that come to it.

        samples: after which nobody listens.
        """
        parts = []
        for _ in range(min(self._heard, -(-samples // _BLOCK))):
            parts.append(self._seen @ states)
            states = self._onward @ states
        return np.concatenate(parts, axis=1).reshape(len(states), len(parts) * _BLOCK, -1, states.shape[2])

    def lasting(self, states: Floats, samples: int) -> Floats:
        """(K, H, 2) the same of states (K, n) that come again to each sample."""
        return np.cumsum(self.heard(states[:, :, None], samples)[..., 0], axis=1)


def _covariance(model: Seen) -> Floats:
    """(K, n, n) that of the state before a sample, by doubling (Anderson, 1978; Chu, Fan, Lin and Wang, 2004).

    Raises ValueError where there is none.
    """
    inverse = np.linalg.inv(model.noise)
    a = (model.onward - model.cross @ inverse @ model.seen).transpose(0, 2, 1)
    g, h = model.seen.T @ inverse @ model.seen, model.load - model.cross @ inverse @ model.cross.transpose(0, 2, 1)
    for _ in range(_DOUBLINGS):
        # One inverse: products are much cheaper than solving for A and G.
        back, solved = a.transpose(0, 2, 1), np.linalg.inv(np.eye(a.shape[1]) + g @ h)
        onward = a @ solved
        more = back @ (h @ (solved @ a))
        g, a = g + onward @ g @ back, onward @ a
        h = h + (more + more.transpose(0, 2, 1)) / 2.0
        if (np.abs(more).max(axis=(1, 2)) <= _SETTLED * np.abs(h).max(axis=(1, 2))).all():
            return h
    raise ValueError("the filter does not settle")


def _beside(model: Seen, correction: Floats) -> Floats:
    """(K, n, n) the same to the first order, by one step of Newton's from the correction of a loop that is near.

    That is the covariance under this correction, also by doubling (Kleinman, 1968).
    """
    turned = correction.T
    m = model.onward - correction @ model.seen
    both = model.cross @ turned
    h = model.load + correction @ model.noise @ turned - both - both.transpose(0, 2, 1)
    for _ in range(_DOUBLINGS):
        more = m @ h @ m.transpose(0, 2, 1)
        h, m = h + more, m @ m
        if (np.abs(more).max(axis=(1, 2)) <= _SETTLED * np.abs(h).max(axis=(1, 2))).all():
            return h
    raise ValueError("the filter does not settle")
