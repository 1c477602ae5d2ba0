"""Faults of the load at the process input, stage 2."""

from __future__ import annotations

import numpy as np

from clpm_execd import stored_names
from clpm_execd.plant.block import Floats
from clpm_execd.plant.faults.effects import StageEffects
from clpm_execd.plant.faults.external_oscillation import DistantCycles
from clpm_execd.plant.faults.kinds import Stage
from clpm_execd.plant.faults.schedule import FaultSeverities
from clpm_execd.plant.rng import BlockDraws, derive_stream_keys, draw_normals
from clpm_execd.plant.snapshot import LoopArrays
from clpm_execd.plant.stages.coupling import CoupledLoads, Link
from clpm_execd.plant.stages.state import State


class LoadFaults(LoopArrays):
    """Adds the loads of faults to the loops' own load disturbance, which goes on as without them.

    empty_load: (N,) the load in a unit that is shut down, at which PV rests at zero behind a closed valve, and a level
    where it is. The loads of a unit die away as it is shut down.
    """

    stored_arrays = stored_names.LOAD_FAULTS

    def __init__(self, schedule: FaultSeverities, state: State, seed: int, empty_load: Floats) -> None:
        self._schedule, self._state = schedule, state
        self._shutdowns = schedule.faults_of_kind("shutdown")
        self.columns = schedule.columns_of([*schedule.faults_of_stage(Stage.LOAD), *self._shutdowns.tolist()])
        self._empty_load = empty_load[self.columns]
        self._healthy_load = state.load[self.columns]
        self._load_step: Floats = np.zeros(len(self.columns))
        self._effects = StageEffects(schedule, {"load": self._load_step}, self.columns)
        oscillations, self._white_noises, interactions = (
            schedule.faults_of_kind(kind) for kind in ("external-oscillation", "white-noise", "interaction"))
        is_from_here = np.array([bool(schedule.faults[k].other_loops()) for k in oscillations], dtype=bool)
        self._distant = oscillations[~is_from_here]
        self._coupling_faults = np.sort(np.append(interactions, oscillations[is_from_here]), kind="stable")
        self._cycles = DistantCycles(schedule, self._distant, seed)
        find = schedule.loops.make_finder()
        self.couplings = CoupledLoads([
            Link(column, find(column, other), fault["gain"], fault["lag"])
            for k in self._coupling_faults.tolist() for fault in [schedule.faults[k]]
            for column in [int(schedule.column[k])] for other in fault.other_loops()],
            state, state.sp, schedule.scan)
        self._sigma = schedule.parameter_values(self._white_noises, "sigma")
        keys = derive_stream_keys(seed, schedule.stream_names(self._white_noises), stored_names.WHITE_LOAD)
        self._draws = BlockDraws(keys, draw_normals)
        elements = np.searchsorted(self.columns, schedule.column)
        self._elements = [elements[which] for which in (self._distant, self._white_noises, self._coupling_faults)]
        self._shut_down = elements[self._shutdowns]

    def update(self) -> None:
        """Set the load steps to the severities of this scan."""
        self._effects.apply(self._schedule.severity)

    def remove_loads(self) -> None:
        """Set the load to the loops' own, before that is updated."""
        self._state.load[self.columns] = self._healthy_load

    def add_loads(self) -> None:
        """Add the loads of the faults, after the loops' own load is updated."""
        severity, tick = self._schedule.severity, self._schedule.tick
        load = self._healthy_load = self._state.load[self.columns]
        load = load + self._load_step
        oscillating, noisy, coupling_columns = self._elements
        if oscillating.size:
            np.add.at(load, oscillating, severity[self._distant] * self._cycles.at(tick))
        if noisy.size:
            np.add.at(load, noisy, severity[self._white_noises] * self._sigma * self._draws.at(tick))
        if coupling_columns.size:
            np.add.at(load, coupling_columns, severity[self._coupling_faults] * self.couplings.step())
        if self._shut_down.size:
            fraction = np.zeros(len(load))
            np.maximum.at(fraction, self._shut_down, severity[self._shutdowns])
            load += fraction * (self._empty_load - load)
        self._state.load[self.columns] = load
