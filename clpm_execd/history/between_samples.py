"""What a loop does between two samples of its record: written down at its scans, seen at the samples.

Controller, process, load and the sensor's noise are one state-space model, so that a sample's likelihood is that of
the innovation of a Kalman filter (Schweppe, 1965). Where the dead time has more scans than can be handled, several
make a step: PV is then taken to move evenly over it, OP is its mean, and so is the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, floor
from typing import NamedTuple

import numpy as np

from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop import ProcessSpec
from clpm_execd.plant.process import weights

MOST_DELAY = 24  # steps of a dead time
_BLOCK = 24  # samples that are filtered at once
_HEARD = 8  # blocks over which a move of SP between two samples is followed
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

    correlation (s) and load (% of travel): of the load. noise: sigma of the sensor's, output: of OP's own, %.
    """

    gain: float
    reset: float
    weight: float
    process: ProcessSpec
    correlation: float
    load: float
    noise: float
    output: float


class _Steps(NamedTuple):
    """A step: z+ = f z + what noise, load and SP add."""

    f: Floats
    noise: Floats
    load: Floats
    sp: Floats


class Seen(NamedTuple):
    """A loop from sample to sample: z+ = onward z + inputs (SP, next SP), of which PV and the integral are seen.

    load, cross, noise: covariances of what comes to z, of that and what is seen, and of the latter. pv_share,
    sp_share: of PV and SP in OP at once; what they leave is the integral. sooner: (n, scans) what an SP that moved 0,
    1, .. scans before the next sample has done to z by then.
    """

    onward: Floats
    inputs: Floats
    seen: Floats
    load: Floats
    cross: Floats
    noise: Floats
    pv_share: float
    sp_share: float
    sooner: Floats


def seen_at_samples(loop: Loop, grid: Grid) -> Seen:
    """Raises ValueError where the dead time is too long."""
    rate = loop.gain * grid.step / grid.scans / loop.reset  # of the integral, a scan
    pv_share, sp_share = -(loop.gain + rate), loop.gain * loop.weight + rate
    steps = _steps(loop, grid, rate, pv_share, sp_share)
    n = len(steps.f)
    kick = loop.load**2 * -np.expm1(-2.0 * grid.step / loop.correlation)
    noise = loop.noise**2 / grid.scans
    each = np.outer(steps.noise, steps.noise) * noise + np.outer(steps.load, steps.load) * kick
    power, total, inputs, sooner = np.eye(n), np.zeros((n, n)), np.zeros((n, 2)), np.zeros((n, grid.parts + 1))
    first = steps.noise
    for k in range(grid.parts):  # steps before the last of the interval
        total += power @ each @ power.T
        first, sp = power @ steps.noise, power @ steps.sp
        later = (grid.parts - 1 - k) / grid.parts if grid.wanders else 0.0
        inputs += np.outer(sp, (1.0 - later, later))
        sooner[:, k + 1:] += sp[:, None]
        power = power @ steps.f
    moments = np.arange(max(1, round(grid.parts * grid.scans))) / grid.scans
    seen = np.zeros((2, n))
    seen[0, 1] = seen[1, 3] = 1.0
    pv, op = (step**2 / 12.0 for step in grid.recorded)
    between = -pv_share * pv
    seen_noise = np.array([[loop.noise**2 + pv, between], [between, loop.output**2 + op + pv_share**2 * pv + 1e-12]])
    return Seen(power, inputs, seen, total, np.column_stack([first * noise, np.zeros(n)]), seen_noise, pv_share,
                sp_share, np.array([np.interp(moments, np.arange(grid.parts + 1), row) for row in sooner]))


def _steps(loop: Loop, grid: Grid, rate: float, pv_share: float, sp_share: float) -> _Steps:
    """The state is x1 and x2 of the process, the load, the integral, and OP of the last steps."""
    later = (grid.scans - 1.0) / 2.0
    # OP that holds for a step comes half a step late, that of each scan half a scan.
    delay = max(loop.process.dead_time - later * grid.step / grid.scans, 0.0)
    whole = floor(delay / grid.step + 1e-9)
    if whole > 3 * MOST_DELAY:
        raise ValueError("the dead time is too long")
    process = ProcessSpec(model=loop.process.model, gain=loop.process.gain, tau=loop.process.tau, dead_time=delay)
    p11, p21, p22, new1, new2, old1, old2 = weights(process, grid.step)
    fade, n = exp(-grid.step / loop.correlation), 5 + whole
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
    f[3, 3], f[3, 1] = 1.0, -rate * (1.0 + later)
    f[3] -= rate * later * f[1]
    by_noise[3], by_load[3], by_sp[3] = (rate * (share * grid.scans - later * by[1]) for share, by in (
        (-1.0, by_noise), (0.0, by_load), (1.0, by_sp)))
    f[4], by_noise[4], by_sp[4] = op, pv_share, sp_share
    f[range(5, n), range(4, n - 1)] = 1.0
    return _Steps(f, by_noise, by_load, by_sp)


class Filter:
    """The Kalman filter of a loop: z+ = m z + v, seen as c z, many samples at once."""

    def __init__(self, model: Seen) -> None:
        state = _covariance(model)
        self.spread = model.seen @ state @ model.seen.T + model.noise
        correction = (model.onward @ state @ model.seen.T + model.cross) @ np.linalg.inv(self.spread)
        self.whitening = np.linalg.inv(np.linalg.cholesky(self.spread)).T
        m, n, c = model.onward - correction @ model.seen, np.column_stack([correction, model.inputs]), model.seen
        powers = [np.eye(len(m))]
        for _ in range(_BLOCK):
            powers.append(m @ powers[-1])
        self._onward = powers[-1]
        self._seen = np.vstack([c @ power for power in powers[:-1]])
        self._carried = np.hstack([power @ n for power in powers[-2::-1]])
        width = n.shape[1]
        self._answer = np.zeros((len(c) * _BLOCK, width * _BLOCK))
        column = np.vstack([np.zeros((len(c), width)), self._seen[:-len(c)] @ n])
        for k in range(_BLOCK):
            self._answer[len(c) * k:, width * k:width * (k + 1)] = column[:len(column) - len(c) * k]

    def predicted(self, v: Floats) -> Floats:
        """(T, 2) of inputs (T, 4), PV, integral, SP and next SP, from rest."""
        blocks = -(-len(v) // _BLOCK)
        padded = np.vstack([v, np.zeros((blocks * _BLOCK - len(v), v.shape[1]))]).reshape(blocks, -1)
        carried, states = padded @ self._carried.T, np.zeros((blocks, len(self._onward)))
        for k in range(1, blocks):
            states[k] = self._onward @ states[k - 1] + carried[k - 1]
        return (padded @ self._answer.T + states @ self._seen.T).reshape(blocks * _BLOCK, -1)[:len(v)]

    def heard(self, states: Floats) -> Floats:
        """(H, 2, K) what is seen, from the next sample on, of states (n, K) that come to it."""
        parts = []
        for _ in range(_HEARD):
            parts.append(self._seen @ states)
            states = self._onward @ states
        return np.concatenate(parts).reshape(_HEARD * _BLOCK, -1, states.shape[1])


def _covariance(model: Seen) -> Floats:
    """That of the state before a sample, by doubling (Anderson, 1978; Chu, Fan, Lin and Wang, 2004).

    Raises ValueError where there is none.
    """
    inverse = np.linalg.inv(model.noise)
    a = (model.onward - model.cross @ inverse @ model.seen).T
    g, h = model.seen.T @ inverse @ model.seen, model.load - model.cross @ inverse @ model.cross.T
    n = len(a)
    for _ in range(_DOUBLINGS):
        solved = np.linalg.solve(np.eye(n) + g @ h, np.hstack([a, g]))
        more = a.T @ h @ solved[:, :n]
        g = g + a @ solved[:, n:] @ a.T
        a, h = a @ solved[:, :n], h + (more + more.T) / 2.0
        if np.abs(more).max() <= _SETTLED * np.abs(h).max():
            return h
    raise ValueError("the filter does not settle")
