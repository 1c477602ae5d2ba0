"""State-space model of a loop at its controller's scans, and the Kalman filter for a record of some of them.

Controller, process, load and sensor noise are one linear model. PV and OP are measured at the samples, and with them
the controller's memory. At the scans between two samples the controller acts on a PV whose noise is not in the record.
The likelihood of a record is that of the filter's innovations (Schweppe, 1965). Where the dead time has too many scans,
a step of the model combines several of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import cos, exp, expm1, floor, pi, sin
from typing import NamedTuple

import numpy as np

from clpm_execd.identification.closed_loop.pid_regression import DERIVATIVE_FILTER
from clpm_execd.identification.loop_data import ROUNDING
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ProcessSpec
from clpm_execd.plant.stages.process import discretize_with_dead_time

MAX_DELAY_STEPS = 48  # The state has one element for each.
_DOUBLINGS = 40
_TOLERANCE = 1e-7  # relative, of the covariance: the next doubling squares the error
_BLOCK_DOUBLINGS = 5
_BLOCK = 2**_BLOCK_DOUBLINGS  # samples in one matrix product of the filter
_RESPONSE_DOUBLINGS = 8  # 256 samples of the innovations' response to a move of SP
_DERIVATIVE_DOUBLINGS = 10  # the same with derivative action, which delays the observation of the integral
PV, LOAD, INTEGRAL, MEMORY, PAST_OP = 1, 2, 3, 4, 5  # states: 0 is x1 of the process; PAST_OP is the latest OP


@dataclass(frozen=True, slots=True)
class Grid:
    """The time grid of the model: step and controller scan, s, and the number of steps (`parts`) in an interval.

    rounding: variance of PV's rounding error relative to that of the sensor noise.
    """

    step: float
    parts: int
    scan: float
    rounding: float = 0.0


class Cycle(NamedTuple):
    """A load with a period that wanders, as a stochastic cycle (Harvey, 1989, section 2.3).

    memory: the time constant, s, with which it forgets its phase. load: standard deviation relative to that of the
    sensor noise.
    """

    period: float
    memory: float
    load: float


@dataclass(frozen=True, slots=True)
class LoopParameters:
    """Controller (gain, reset and derivative in s, set-point weight), process, and disturbances of a loop.

    correlation: time constant of the load, s. load, op_noise: standard deviations of the load and of the noise of OP,
    relative to that of the sensor noise. cycles: the harmonics of a periodic load.
    """

    gain: float
    reset: float
    weight: float
    process: ProcessSpec
    correlation: float
    load: float
    op_noise: float
    derivative: float = 0.0
    cycles: tuple[Cycle, ...] = ()


@dataclass(frozen=True, slots=True)
class StateSpace:
    """The model from sample to sample, z+ = transition z + input_matrix (PV, SP) + w, y = observation z + v.

    y is PV and the controller's memory, which is OP without the direct terms pv_share PV + sp_share SP. state_cov:
    (n, n) covariance of w. obs_cov: (2, 2) covariance of v. intersample_sp_response: (n, parts) the change of z at the
    next sample due to a unit move of SP 0, 1, .. steps before it.
    """

    transition: Floats
    input_matrix: Floats
    observation: Floats
    state_cov: Floats
    obs_cov: Floats
    intersample_sp_response: Floats
    pv_share: float
    sp_share: float
    has_derivative: bool


def make_models(loops: Sequence[LoopParameters], grid: Grid) -> list[StateSpace]:
    """Return the state-space models of loops, all of one size. Raises ValueError where a dead time is too long."""
    # The hold delays OP by half a step in the model, and by half a scan in the plant.
    delays = [max(loop.process.dead_time - (grid.step - grid.scan) / 2.0, 0.0) for loop in loops]
    steps = [floor(delay / grid.step + ROUNDING) for delay in delays]
    if max(steps) > MAX_DELAY_STEPS:
        raise ValueError("the dead time is too long")
    return [_make_model(loop, grid, delay, whole, PAST_OP + max(steps) + 1 + 2 * len(loop.cycles))
            for loop, delay, whole in zip(loops, delays, steps, strict=True)]


def _make_model(loop: LoopParameters, grid: Grid, delay: float, dead_time_steps: int, n: int) -> StateSpace:
    """Return the model of a loop with n states."""
    h, scans = grid.step, grid.step / grid.scan
    rate = loop.gain * h / loop.reset  # of the integral, a step
    immediate_gain = (rate + rate / scans) / 2.0
    lag = loop.derivative / DERIVATIVE_FILTER
    decay_memory, derivative_gain = lag / (lag + grid.scan), loop.gain * loop.derivative / (lag + grid.scan)
    # Over a step with several scans PV moves linearly: the decay of the memory, and the gain from PV at the step's end.
    memory_gain = (scans - 1.0 - sum(decay_memory**k for k in range(1, round(scans)))) / scans
    decay_memory **= scans
    pv_share, sp_share = -(loop.gain + immediate_gain + derivative_gain), loop.gain * loop.weight + immediate_gain

    p11, p21, p22, new1, new2, old1, old2 = discretize_with_dead_time(replace(loop.process, dead_time=delay), h)
    cycle_states = range(n - 2 * len(loop.cycles), n, 2)  # the first of the two states of each
    # Columns of the input: noise of PV, SP, and the innovations of the load and of the cycles.
    step, input_step = np.zeros((n, n)), np.zeros((n, 3 + len(loop.cycles)))
    step[PAST_OP, [INTEGRAL, MEMORY]], input_step[PAST_OP, :2] = 1.0, (pv_share, sp_share)
    last_op = n - 2 * len(loop.cycles) - 1
    step[range(PAST_OP + 1, last_op + 1), range(PAST_OP, last_op)] = 1.0
    step[0, 0], step[PV, 0], step[PV, PV] = p11, p21, p22
    for row, new, old in ((0, new1, old1), (PV, new2, old2)):
        if dead_time_steps:
            step[row, PAST_OP + dead_time_steps - 1] += new
        else:
            step[row], input_step[row] = step[row] + new * step[PAST_OP], new * input_step[PAST_OP]
        step[row, PAST_OP + dead_time_steps] += old
    step[LOAD, LOAD] = exp(-h / loop.correlation)
    innovations = [loop.load * (-expm1(-2.0 * h / loop.correlation))**0.5]
    for at, cycle in zip(cycle_states, loop.cycles, strict=True):
        angle = 2.0 * pi * h / cycle.period
        step[at:at + 2, at:at + 2] = exp(-h / cycle.memory) * np.array([[cos(angle), sin(angle)],
                                                                       [-sin(angle), cos(angle)]])
        # The innovation is one state's, of which the rotation makes both.
        innovations.append(cycle.load * (-2.0 * expm1(-2.0 * h / cycle.memory))**0.5)
    for column, at in enumerate((LOAD, *cycle_states), 2):
        input_step[at, column] = 1.0
        for row, gain in ((0, new1 + old1), (PV, new2 + old2)):
            step[row], input_step[row, column] = step[row] + gain * step[at], gain
    step[INTEGRAL, INTEGRAL], input_step[INTEGRAL, :2] = 1.0, (-rate, rate)
    step[MEMORY], input_step[MEMORY] = (derivative_gain * memory_gain * step[PV],
                                        derivative_gain * memory_gain * input_step[PV])
    step[MEMORY, MEMORY] += decay_memory
    input_step[MEMORY, 0] += derivative_gain * (1.0 - decay_memory - memory_gain)

    free_step = step.copy()
    free_step[:, PV] += input_step[:, 0]  # between two samples the controller acts on the process's PV
    step_inputs = [input_step * [scans**-0.5, 1.0, *innovations]]
    for _ in range(grid.parts - 1):  # the last step of an interval, the one before, ..
        step_inputs.append(free_step @ step_inputs[-1])
    by_pv, by_sp, *by_loads = np.moveaxis(np.array(step_inputs), (2, 1), (0, 1))[..., :]  # (n, parts) each
    # PV is measured at the sample, which is the first scan of a step that has several.
    noise_input = np.column_stack([by_pv[:, :-1], by_pv[:, -1] * (1.0 - 1.0 / scans)**0.5, *by_loads])
    first = step + np.outer((1.0 - 1.0 / scans) * input_step[:, 0], np.eye(n)[PV])
    last = np.linalg.matrix_power(free_step, grid.parts - 1)
    observation = np.zeros((2, n))
    observation[0, PV] = observation[1, INTEGRAL] = observation[1, MEMORY] = 1.0
    # The rounding error of PV enters both outputs, since OP was computed from PV before rounding.
    rounding_gain = np.array([1.0, -pv_share])
    obs_cov = np.diag([1.0, loop.op_noise**2]) + grid.rounding * np.outer(rounding_gain, rounding_gain)
    return StateSpace(
        transition=last @ first,
        input_matrix=np.column_stack([last @ input_step[:, 0] / scans, by_sp.sum(axis=1)]),
        observation=observation, state_cov=noise_input @ noise_input.T, obs_cov=obs_cov,
        intersample_sp_response=np.cumsum(np.column_stack([np.zeros(n), by_sp[:, :-1]]), axis=1), pv_share=pv_share,
        sp_share=sp_share, has_derivative=loop.derivative > 0.0)


class KalmanFilter:
    """The steady-state Kalman filters of K models of the same size, computed over blocks of samples.

    innovation_cov: (K, 2, 2) covariance of the innovations relative to the variance of the sensor noise.
    innovation_response: (K, H, 2, n) the innovations after 0, 1, .. samples due to a unit change of each state.
    """

    def __init__(self, models: Sequence[StateSpace]) -> None:
        transition, observation = np.array([one.transition for one in models]), models[0].observation
        obs_cov = np.array([one.obs_cov for one in models])
        state_cov = _solve_riccati(transition, observation, np.array([one.state_cov for one in models]), obs_cov)
        self.innovation_cov = observation @ state_cov @ observation.T + obs_cov
        self.kalman_gain = transition @ state_cov @ observation.T @ np.linalg.inv(self.innovation_cov)
        closed_transition, count = transition - self.kalman_gain @ observation, len(models)
        by_pv, by_sp = np.moveaxis(np.array([one.input_matrix for one in models]), 2, 0)
        input_step = np.stack([self.kalman_gain[:, :, 0] + by_pv, self.kalman_gain[:, :, 1], by_sp], axis=2)
        observability, self._block_input = np.broadcast_to(observation, (count, *observation.shape)), input_step
        has_derivative = any(one.has_derivative for one in models)
        for doubling in range(_DERIVATIVE_DOUBLINGS if has_derivative else _RESPONSE_DOUBLINGS):
            if doubling < _BLOCK_DOUBLINGS:
                self._block_input = np.concatenate([closed_transition @ self._block_input, self._block_input], axis=2)
            elif doubling == _BLOCK_DOUBLINGS:
                self._block_transition, self._block_observation = closed_transition, observability
            observability = np.concatenate([observability, observability @ closed_transition], axis=1)
            closed_transition = closed_transition @ closed_transition
        self.innovation_response = observability.reshape(count, -1, 2, observability.shape[2])
        lags = np.arange(_BLOCK)[None, :] - np.arange(_BLOCK)[:, None] - 1
        responses = ((self.innovation_response[:, :_BLOCK] @ input_step[:, None])[:, lags.clip(0)]
                     * (lags >= 0)[:, :, None, None])
        self._block_response = responses.transpose(0, 1, 4, 2, 3).reshape(count, 3 * _BLOCK, 2 * _BLOCK)

    def predict(self, inputs: Floats) -> Floats:
        """Return the one-step-ahead forecasts (K, T, 2) of PV and memory.

        inputs: (K, T, 3) PV, memory and SP, which is held until the next sample.
        """
        count, samples, _ = inputs.shape
        blocks = -(-samples // _BLOCK)
        padded = np.pad(inputs, ((0, 0), (0, blocks * _BLOCK - samples), (0, 0))).reshape(count, blocks, -1)
        state_inputs = padded @ self._block_input.transpose(0, 2, 1)
        states = np.zeros_like(state_inputs)
        for k in range(1, blocks):
            states[:, k] = (self._block_transition @ states[:, k - 1, :, None])[..., 0] + state_inputs[:, k - 1]
        predictions = padded @ self._block_response + states @ self._block_observation.transpose(0, 2, 1)
        return np.asarray(predictions.reshape(count, -1, 2)[:, :samples])


def _solve_riccati(transition: Floats, observation: Floats, state_cov: Floats, obs_cov: Floats) -> Floats:
    """Return the steady-state covariances (K, n, n) of the predicted state by the doubling algorithm.

    See Anderson (1978) and Chu, Fan, Lin and Wang (2004). Raises ValueError where it does not converge.
    """
    a, h = transition.transpose(0, 2, 1), state_cov
    g = observation.T @ np.linalg.inv(obs_cov) @ observation
    for _ in range(_DOUBLINGS):
        a_transposed, solved = a.transpose(0, 2, 1), np.linalg.inv(np.eye(a.shape[1]) + g @ h)
        forward = a @ solved
        increment = a_transposed @ (h @ (solved @ a))
        g, a = g + forward @ g @ a_transposed, forward @ a
        h = h + (increment + increment.transpose(0, 2, 1)) / 2.0
        if (np.abs(increment).max(axis=(1, 2)) <= _TOLERANCE * np.abs(h).max(axis=(1, 2))).all():
            return h
    raise ValueError("the Riccati equation has no steady-state solution")
