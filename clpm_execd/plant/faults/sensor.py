"""Faults of the sensor, stage 4, before the controller reads it."""

from __future__ import annotations

import numpy as np

from clpm_execd import stored_names
from clpm_execd.plant.block import Floats
from clpm_execd.plant.faults.effects import StageEffects
from clpm_execd.plant.faults.kinds import Stage
from clpm_execd.plant.faults.schedule import FaultSeverities
from clpm_execd.plant.kernel.equations import SATURATION_HIGH_PERCENT, SATURATION_LOW_PERCENT
from clpm_execd.plant.rng import BlockDraws, derive_stream_keys, draw_uniforms
from clpm_execd.plant.snapshot import LoopArrays
from clpm_execd.plant.stages.recording import MIN_RESOLUTION
from clpm_execd.plant.stages.state import State


class SensorFaults(LoopArrays):
    """Changes readings: reading = value + bias + noise, then spikes, clipping, rounding, freezing and drop-out.

    sigma: (N,) standard deviation of the noise of the healthy sensors, % of span.
    """

    stored_arrays = stored_names.SENSOR_FAULTS

    def __init__(self, schedule: FaultSeverities, state: State, sigma: Floats, seed: int) -> None:
        self._schedule, self._state = schedule, state
        self._faults = schedule.faults_of_stage(Stage.SENSOR)
        self.columns = schedule.columns_of(self._faults)
        self._sigma: Floats = sigma[self.columns]
        names = ("offset", "ceiling", "spike", "rate", "step", "frozen", "lost")
        self._parameters = {name: np.zeros(len(self.columns)) for name in names}
        self._effects = StageEffects(schedule, {"sigma": self._sigma, **self._parameters}, self.columns)
        ids = tuple(schedule.loops.ids[i] for i in self.columns.tolist())
        self._draws = BlockDraws(derive_stream_keys(seed, ids, stored_names.SPIKES), draw_uniforms)
        self._last_reading = state.pv[self.columns]
        self._select_parameters()

    def update(self) -> None:
        """Set the parameters to the severities of this scan."""
        if self._effects.apply(self._schedule.severity):
            self._select_parameters()

    def _select_parameters(self) -> None:
        self._offset, ceiling, self._spike, rate_per_hour, self._step, frozen, lost = (
            self._parameters.values())
        self._ceiling = np.maximum(SATURATION_HIGH_PERCENT + ceiling, SATURATION_LOW_PERCENT)
        self._spike_probability = rate_per_hour * self._schedule.scan / 3600.0
        self._has_spikes = bool(self._spike_probability.any())
        self._is_frozen, self._lost_columns = frozen > 0, self.columns[lost > 0]
        self._quantization_columns = np.flatnonzero(self._step > MIN_RESOLUTION)
        self._are_healthy = not self._schedule.severity[self._faults].any()

    def step(self, normal: Floats) -> None:
        """Replace the readings of healthy sensors; `normal` is (N,), the standard normals with which they were made."""
        at, state = self.columns, self._state
        if self._are_healthy:
            self._last_reading = state.pv[at]
            return
        reading = self._sigma * normal[at]
        reading += state.true_pv[at]
        reading += self._offset
        if self._has_spikes:
            uniform, probability = self._draws.at(self._schedule.tick), self._spike_probability
            spike = np.where(uniform < probability / 2, self._spike, -self._spike)
            np.add(reading, spike, out=reading, where=uniform < probability)
        np.minimum(reading, self._ceiling, out=reading)
        if self._quantization_columns.size:
            step = self._step[self._quantization_columns]
            reading[self._quantization_columns] = np.rint(reading[self._quantization_columns] / step) * step
        np.maximum(reading, SATURATION_LOW_PERCENT, out=reading)
        np.minimum(reading, SATURATION_HIGH_PERCENT, out=reading)
        np.copyto(reading, self._last_reading, where=self._is_frozen)
        self._last_reading = reading
        state.pv[at] = reading
        state.pv[self._lost_columns] = SATURATION_LOW_PERCENT
