"""Loads that faults bring to the process input: stage 2."""

from __future__ import annotations

import numpy as np

from clpm_execd import stored_names
from clpm_execd.plant.block import Floats
from clpm_execd.plant.faults.effects import Overlays
from clpm_execd.plant.faults.schedule import Schedule
from clpm_execd.plant.rng import BlockDraws, draw_normals, stream_keys
from clpm_execd.plant.snapshot import LoopArrays
from clpm_execd.plant.stages.state import State


class LoadFaults(LoopArrays):
    """Of the loops that have any. What they add stands beside the loop's own load, which goes on as without them."""

    stored_arrays = stored_names.LOAD_FAULTS

    def __init__(self, schedule: Schedule, state: State, seed: int) -> None:
        self._schedule, self._state = schedule, state
        self.columns = schedule.where(schedule.of_stage(2))
        self._own = state.load[self.columns]
        self._steps: Floats = np.zeros(len(state.load))
        self._overlays = Overlays(schedule, {"load": self._steps})
        self._rest = state.position.copy()
        self._waves, self._white, self._from = (
            schedule.of_kind(kind) for kind in ("external-oscillation", "white-noise", "interaction"))
        column = {loop.id: i for i, loop in enumerate(schedule.loops)}
        self._others = np.array([column[schedule.faults[k].text("with")] for k in self._from], dtype=np.intp)
        self._gain = schedule.numbers(self._from, "gain")
        self._sigma = schedule.numbers(self._white, "sigma")
        self._draws = BlockDraws(stream_keys(seed, schedule.names(self._white), stored_names.WHITE_LOAD), draw_normals)
        self._amplitude, self._period, phase, self._third = (
            schedule.numbers(self._waves, name) for name in ("amplitude", "period", "phase", "harmonic"))
        self._phase = phase * np.pi / 180.0
        slots = np.searchsorted(self.columns, schedule.column)
        self._of = [slots[which] for which in (self._waves, self._white, self._from)]

    def change(self) -> None:
        """The severities are others."""
        self._overlays.apply(self._schedule.level)

    def withdraw(self) -> None:
        """Before the loop's own load moves on."""
        self._state.load[self.columns] = self._own

    def disturb(self) -> None:
        """After it has moved on."""
        level, tick = self._schedule.level, self._schedule.tick
        load = self._own = self._state.load[self.columns]
        load = load + self._steps[self.columns]
        waves, white, felt = self._of
        if waves.size:
            # By absolute time, so that one oscillation reaches several loops in step.
            angle = 2.0 * np.pi * (tick * self._schedule.scan / self._period % 1.0) + self._phase
            wave = np.sin(angle) + self._third * np.sin(3.0 * angle)
            np.add.at(load, waves, level[self._waves] * self._amplitude * wave)
        if white.size:
            np.add.at(load, white, level[self._white] * self._sigma * self._draws.at(tick))
        if felt.size:
            moved = self._state.position[self._others] - self._rest[self._others]
            np.add.at(load, felt, level[self._from] * self._gain * moved)
        self._state.load[self.columns] = load
