"""Transmitters that do not tell the truth: stage 4, before the controller reads."""

from __future__ import annotations

import numpy as np

from clpm_execd import stored_names
from clpm_execd.plant.block import Floats
from clpm_execd.plant.faults.effects import Overlays
from clpm_execd.plant.faults.schedule import Schedule
from clpm_execd.plant.kernel.equations import SATURATION_HIGH_PERCENT, SATURATION_LOW_PERCENT
from clpm_execd.plant.rng import BlockDraws, draw_uniforms, stream_keys
from clpm_execd.plant.snapshot import LoopArrays
from clpm_execd.plant.stages.recording import MIN_RESOLUTION
from clpm_execd.plant.stages.state import State


class SensorFaults(LoopArrays):
    """Of the loops that have any: reading = signal (value + bias + noise), then spikes, steps and limits.

    sigma: (N,) the sensors' noise, % of span, which a fault may change.
    """

    stored_arrays = stored_names.SENSOR_FAULTS

    def __init__(self, schedule: Schedule, state: State, sigma: Floats, seed: int) -> None:
        self._schedule, self._state, self._sigma = schedule, state, sigma
        at = self.columns = schedule.where(schedule.of_stage(4))
        names = ("offset", "ceiling", "spike", "rate", "step", "frozen", "lost")
        self._all = {name: np.zeros(len(sigma)) for name in names}
        self._overlays = Overlays(schedule, {"sigma": sigma, **self._all})
        ids = tuple(schedule.loops[i].id for i in at)
        self._draws = BlockDraws(stream_keys(seed, ids, stored_names.SPIKES), draw_uniforms)
        self._last = state.pv[at]
        self._gather()

    def change(self) -> None:
        """The severities are others."""
        if self._overlays.apply(self._schedule.level):
            self._gather()

    def _gather(self) -> None:
        self._offset, ceiling, self._spike, rate, self._step, frozen, lost = (
            array[self.columns] for array in self._all.values())
        self._ceiling = np.maximum(SATURATION_HIGH_PERCENT + ceiling, SATURATION_LOW_PERCENT)
        self._chance = rate * self._schedule.scan / 3600.0
        self._spikes = bool(self._chance.any())
        self._frozen, self._silent = frozen > 0, self.columns[lost > 0]
        self._coarse = np.flatnonzero(self._step > MIN_RESOLUTION)

    def step(self, normal: Floats) -> None:
        """Read anew; `normal` is (N,), the chance with which the healthy sensor has read."""
        at, state = self.columns, self._state
        reading = self._sigma[at] * normal[at]
        reading += state.true_pv[at]
        reading += self._offset
        if self._spikes:
            chance = self._draws.at(self._schedule.tick)
            hit = chance < self._chance
            np.add(reading, np.where(chance < self._chance / 2, self._spike, -self._spike), out=reading, where=hit)
        np.minimum(reading, self._ceiling, out=reading)
        if self._coarse.size:
            step = self._step[self._coarse]
            reading[self._coarse] = np.rint(reading[self._coarse] / step) * step
        np.maximum(reading, SATURATION_LOW_PERCENT, out=reading)
        np.minimum(reading, SATURATION_HIGH_PERCENT, out=reading)
        np.copyto(reading, self._last, where=self._frozen)
        self._last = reading
        state.pv[at] = reading
        state.pv[self._silent] = SATURATION_LOW_PERCENT
