"""A loop at its controller's scans, of which the record has some: a state-space model, and the Kalman filter for it.

Controller, process, load and the sensor's noise are one linear model. At a sample PV and OP are known, and with them
the controller's memory; at the scans between two samples PV is the process's with noise that is not in the record. The
likelihood of a record is that of the filter's innovations (Schweppe, 1965). Where the dead time has more scans than can
be handled, several make a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, expm1, floor

import numpy as np

from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ProcessSpec
from clpm_execd.plant.stages.process import discretize_with_dead_time

DERIVATIVE_FILTER = 10.0  # N of a derivative's filter: a slow record does not show it
MAX_DELAY_STEPS = 48
_DOUBLINGS = 40
_CONVERGED = 1e-7  # of the covariance, which doubling squares
_BLOCK_DOUBLINGS = 5
_BLOCK = 2**_BLOCK_DOUBLINGS  # samples that are filtered at once
_MEMORY_DOUBLINGS = 8  # 256 samples, over which a move of SP between two samples is followed
_DERIVATIVE_DOUBLINGS = 10  # beside a derivative, which hides the integral
PV, LOAD, INTEGRAL, MEMORY, PAST_OP = 1, 2, 3, 4, 5  # states: x1 and x2 of the process, .., OP of the last steps


@dataclass(frozen=True, slots=True)
class Grid:
    """step: s. parts: steps in an interval. scan: of the controller, s. is_even: SP moves all the time, and evenly.

    rounding: variance of what rounding leaves of PV, over that of the sensor's noise.
    """

    step: float
    parts: int
    scan: float
    is_even: bool
    rounding: float = 0.0


@dataclass(frozen=True, slots=True)
class Loop:
    """gain, reset (s), weight of SP and derivative (s) of a controller, its process, and what acts on them.

    correlation: of the load, s. load, output: sigma of the load and of OP's own noise, over that of the sensor's noise.
    """

    gain: float
    reset: float
    weight: float
    process: ProcessSpec
    correlation: float
    load: float
    output: float
    derivative: float = 0.0


@dataclass(frozen=True, slots=True)
class Model:
    """From sample to sample: z+ = onward z + inputs (PV, SP, next SP) + noise; PV and the controller's memory are seen.

    noise: (n, n) covariance. output: (2, 2) that of what is seen. sooner: (n, parts) what an SP that moved by one
    0, 1, .. steps before the next sample did to z by then. pv_share, sp_share: of PV and SP in OP at once; OP less
    these is the controller's memory.
    """

    onward: Floats
    inputs: Floats
    observation: Floats
    noise: Floats
    output: Floats
    sooner: Floats
    pv_share: float
    sp_share: float
    derives: bool


def make_model(loop: Loop, grid: Grid) -> Model:
    """Return the model of a loop. Raises ValueError where its dead time has too many steps."""
    h, scans = grid.step, grid.step / grid.scan
    # OP that holds for a step acts half a step late, that of each scan half a scan.
    delay = max(loop.process.dead_time - (h - grid.scan) / 2.0, 0.0)
    whole = floor(delay / h + 1e-9)
    if whole > MAX_DELAY_STEPS:
        raise ValueError("the dead time is too long")
    rate = loop.gain * h / loop.reset  # of the integral, a step
    at_once = (rate + rate / scans) / 2.0
    lag = loop.derivative / DERIVATIVE_FILTER
    fade, kick = lag / (lag + grid.scan), loop.gain * loop.derivative / (lag + grid.scan)
    # Of a step with several scans, over which PV moves evenly: what of the memory stays, and what PV at its end adds.
    later = (scans - 1.0 - fade * (1.0 - fade**(scans - 1.0)) / (1.0 - fade)) / scans
    fade **= scans
    pv_share, sp_share = -(loop.gain + at_once + kick), loop.gain * loop.weight + at_once

    p11, p21, p22, new1, new2, old1, old2 = discretize_with_dead_time(replace(loop.process, dead_time=delay), h)
    n = PAST_OP + whole + 1
    step, by = np.zeros((n, n)), np.zeros((n, 3))  # by PV, by SP and by what the load becomes
    step[PAST_OP, [INTEGRAL, MEMORY]], by[PAST_OP, :2] = 1.0, (pv_share, sp_share)
    step[range(PAST_OP + 1, n), range(PAST_OP, n - 1)] = 1.0
    step[0, 0], step[PV, 0], step[PV, PV] = p11, p21, p22
    for row, new, old in ((0, new1, old1), (PV, new2, old2)):
        if whole:
            step[row, PAST_OP + whole - 1] += new
        else:
            step[row], by[row] = step[row] + new * step[PAST_OP], new * by[PAST_OP]
        step[row, n - 1] += old
    decay = exp(-h / loop.correlation)
    step[[0, PV], LOAD], by[[0, PV], 2] = (new1 + old1) * decay, new1 + old1
    step[PV, LOAD], by[PV, 2] = (new2 + old2) * decay, new2 + old2
    step[LOAD, LOAD], by[LOAD, 2] = decay, 1.0
    step[INTEGRAL, INTEGRAL], by[INTEGRAL, :2] = 1.0, (-rate, rate)
    step[MEMORY], by[MEMORY] = kick * later * step[PV], kick * later * by[PV]
    step[MEMORY, MEMORY] += fade
    by[MEMORY, 0] += kick * (1.0 - fade - later)

    unseen = step.copy()
    unseen[:, PV] += by[:, 0]  # between two samples PV is the process's, and noise
    onward = [by * [scans**-0.5, 1.0, loop.load * (-expm1(-2.0 * h / loop.correlation))**0.5]]
    for _ in range(grid.parts - 1):  # the last step of an interval, the one before, ..
        onward.append(unseen @ onward[-1])
    by_pv, columns, by_load = np.moveaxis(np.array(onward), (2, 1), (0, 1))[..., :]  # (n, parts) each
    # At the sample PV is known; of a step with several scans, at its first.
    shocks = np.column_stack([by_pv[:, :-1], by_pv[:, -1] * (1.0 - 1.0 / scans)**0.5, by_load])
    first = step + np.outer((1.0 - 1.0 / scans) * by[:, 0], np.eye(n)[PV])
    last = np.linalg.matrix_power(unseen, grid.parts - 1)
    after = np.arange(grid.parts)[::-1] / grid.parts * grid.is_even
    observation = np.zeros((2, n))
    observation[0, PV] = observation[1, INTEGRAL] = observation[1, MEMORY] = 1.0
    # The rounding of PV is in both: OP was computed from what PV was before.
    rounded = np.array([1.0, -pv_share])
    output = np.diag([1.0, loop.output**2]) + grid.rounding * np.outer(rounded, rounded)
    return Model(
        onward=last @ first,
        inputs=np.column_stack([last @ by[:, 0] / scans, columns @ (1.0 - after), columns @ after]),
        observation=observation, noise=shocks @ shocks.T, output=output,
        sooner=np.cumsum(np.column_stack([np.zeros(n), columns[:, :-1]]), axis=1), pv_share=pv_share, sp_share=sp_share,
        derives=loop.derivative > 0.0)


class Filter:
    """The steady-state Kalman filters of K models of one size, many samples at once.

    spread: (K, 2, 2) covariance of the innovations, in variances of the sensor's noise. memory: (K, H, 2, n) what is
    seen of a state after 0, 1, .. samples.
    """

    def __init__(self, models: Sequence[Model]) -> None:
        onward, observation = np.array([one.onward for one in models]), models[0].observation
        output = np.array([one.output for one in models])
        state = _covariance(onward, observation, np.array([one.noise for one in models]), output)
        self.spread = observation @ state @ observation.T + output
        self.correction = onward @ state @ observation.T @ np.linalg.inv(self.spread)
        power, count = onward - self.correction @ observation, len(models)
        by_pv, by_sp, by_next = np.moveaxis(np.array([one.inputs for one in models]), 2, 0)
        by = np.stack([self.correction[:, :, 0] + by_pv, self.correction[:, :, 1], by_sp, by_next], axis=2)
        seen, self._carried = np.broadcast_to(observation, (count, *observation.shape)), by
        derives = any(one.derives for one in models)
        for doubling in range(_DERIVATIVE_DOUBLINGS if derives else _MEMORY_DOUBLINGS):
            if doubling < _BLOCK_DOUBLINGS:
                self._carried = np.concatenate([power @ self._carried, self._carried], axis=2)
            elif doubling == _BLOCK_DOUBLINGS:
                self._onward, self._seen = power, seen
            seen = np.concatenate([seen, seen @ power], axis=1)
            power = power @ power
        self.memory = seen.reshape(count, -1, 2, seen.shape[2])
        later = np.arange(_BLOCK)[None, :] - np.arange(_BLOCK)[:, None] - 1
        answers = (self.memory[:, :_BLOCK] @ by[:, None])[:, later.clip(0)] * (later >= 0)[:, :, None, None]
        self._answers = answers.transpose(0, 1, 4, 2, 3).reshape(count, 4 * _BLOCK, 2 * _BLOCK)

    def predict(self, inputs: Floats) -> Floats:
        """Return (K, T, 2) PV and memory from the samples before; inputs: (K, T, 4), with SP and next SP."""
        count, samples, _ = inputs.shape
        blocks = -(-samples // _BLOCK)
        padded = np.pad(inputs, ((0, 0), (0, blocks * _BLOCK - samples), (0, 0))).reshape(count, blocks, -1)
        carried = padded @ self._carried.transpose(0, 2, 1)
        states = np.zeros_like(carried)
        for k in range(1, blocks):
            states[:, k] = (self._onward @ states[:, k - 1, :, None])[..., 0] + carried[:, k - 1]
        seen = padded @ self._answers + states @ self._seen.transpose(0, 2, 1)
        return np.asarray(seen.reshape(count, -1, 2)[:, :samples])


def _covariance(onward: Floats, observation: Floats, noise: Floats, output: Floats) -> Floats:
    """Return (K, n, n) that of the state before a sample, by doubling (Anderson, 1978; Chu, Fan, Lin and Wang, 2004).

    Raises ValueError where there is none.
    """
    a, h = onward.transpose(0, 2, 1), noise
    g = observation.T @ np.linalg.inv(output) @ observation
    for _ in range(_DOUBLINGS):
        back, solved = a.transpose(0, 2, 1), np.linalg.inv(np.eye(a.shape[1]) + g @ h)
        forward = a @ solved
        more = back @ (h @ (solved @ a))
        g, a = g + forward @ g @ back, forward @ a
        h = h + (more + more.transpose(0, 2, 1)) / 2.0
        if (np.abs(more).max(axis=(1, 2)) <= _CONVERGED * np.abs(h).max(axis=(1, 2))).all():
            return h
    raise ValueError("the filter does not settle")
