"""Faults of the valve, stage 6, between actuator and flow."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import Floats
from clpm_execd.plant.faults.effects import StageEffects
from clpm_execd.plant.faults.kinds import Stage
from clpm_execd.plant.faults.schedule import FaultSeverities
from clpm_execd.plant.loop_set import Indices
from clpm_execd.plant.snapshot import LoopArrays
from clpm_execd.plant.stages.state import State


class Stiction(LoopArrays):
    """Sticky stems by the two-parameter model of Choudhury, Thornhill and Shah (2005).

    S is deadband + stickband and J the slip jump, % of travel. A stem that slides trails its actuator by (S - J)/2. It
    sticks where the actuator stops or reverses, and slips once the two differ by more than (S + J)/2 while the actuator
    moves: that is S after a reversal and J after a stop. With S and J of 0 the stem follows the actuator. Kano's model
    (2003) gives the same for J up to S.

    Parameters
    ----------
    position : array of float, shape (M,)
        Position of actuators and stems, % of travel.
    columns : array of int, shape (M,)
        The plant's columns of the valves, in rising order.

    References
    ----------
    M. A. A. S. Choudhury, N. F. Thornhill and S. L. Shah, "Modelling valve stiction", Control Engineering Practice 13
    (2005).
    """

    stored_arrays = stored_names.STICTION

    def __init__(self, position: Floats, columns: Indices) -> None:
        self.columns = columns
        self._last_actuator, self._stem = position.copy(), position.copy()
        self._direction: Floats = np.zeros(len(position))
        self._is_sliding = np.zeros(len(position), dtype=bool)
        self.set_parameters(np.zeros(len(position)), np.zeros(len(position)))

    def set_parameters(self, s: Floats, j: Floats) -> None:
        """Set S and J, each (M,), % of travel."""
        self._half_band, self._half_slack = (s + j) / 2.0, (s - j) / 2.0
        self._is_free = ~(self._half_band > 0)  # without stiction, as in the copies of the ground truth
        self._any_free, self._all_free = bool(self._is_free.any()), bool(self._is_free.all())

    def step(self, actuator: Floats) -> Floats:
        """Return the stems, (M,), with the actuators at these positions, % of travel.

        `actuator` may also be a single position of all, where no stem is without stiction.
        """
        direction = np.sign(actuator - self._last_actuator)
        self._last_actuator = actuator
        if self._all_free:
            self._stem[:] = actuator
            self._is_sliding[:] = False
            self._direction = direction
            return self._stem
        slides = np.abs(actuator - self._stem) > self._half_band
        slides |= self._is_sliding & (direction == self._direction)
        slides &= direction != 0
        np.copyto(self._stem, actuator - direction * self._half_slack, where=slides)
        if self._any_free:
            np.copyto(self._stem, actuator, where=self._is_free)
            slides[self._is_free] = False
        self._is_sliding = slides
        self._direction = direction
        return self._stem


class ValveFaults(LoopArrays):
    """Moves the stems, and changes the flow, of the loops with valve faults; the master of a cascade has no valve.

    travel_fraction: (N,) the fraction of its remaining way that an actuator moves in one scan. flow_from_closed: (N,)
    the flow between the closed valve and steady state, % of travel.
    """

    stored_arrays = stored_names.VALVE_FAULTS

    def __init__(self, schedule: FaultSeverities, state: State, travel_fraction: Floats,
                 flow_from_closed: Floats) -> None:
        self._state, self._schedule = state, schedule
        faulty = schedule.columns_of(schedule.faults_of_stage(Stage.VALVE))
        at: npt.NDArray[np.intp] = np.setdiff1d(faulty, state.cascades.masters)
        self.columns = at
        sticky_faults = [*schedule.faults_of_kind("stiction"), *schedule.faults_of_kind("deadband")]
        sticky = np.intersect1d(at, schedule.columns_of(sticky_faults))
        self._sticky = np.searchsorted(at, sticky)
        self._flow_from_closed = flow_from_closed[at]
        self._actuator = state.position[at]
        self._last_stem = state.position[at]
        self.stiction = Stiction(state.position[sticky], sticky)
        self._s, self._j, self._leak_flow, self._stuck = np.zeros((4, len(at)))
        self._capacity, self._fraction = np.ones(len(at)), travel_fraction[at]
        self._effects = StageEffects(schedule, {
            "S": self._s, "J": self._j, "leak": self._leak_flow, "stuck": self._stuck, "capacity": self._capacity,
            "travel_fraction": self._fraction}, at)
        self._select_parameters()

    def update(self) -> None:
        """Set the parameters to the severities of this scan."""
        if self._effects.apply(self._schedule.severity):
            self._select_parameters()

    def _select_parameters(self) -> None:
        self.stiction.set_parameters(self._s[self._sticky], self._j[self._sticky])
        self._extra_capacity, self._is_stuck = self._capacity - 1.0, self._stuck > 0
        self._any_stuck = bool(self._is_stuck.any())
        self._is_instant = self._fraction >= 1.0
        self._any_instant, self._all_instant = bool(self._is_instant.any()), bool(self._is_instant.all())
        self._leaking = np.flatnonzero(self._leak_flow > 0)
        self._changes_flow = bool(self._extra_capacity.any() or self._leaking.size)

    def move_stems(self) -> None:
        """Move actuators and stems of the faulty valves."""
        op, position = self._state.op[self.columns], self._state.position
        if self._all_instant:
            self._actuator = op
        else:
            self._actuator += self._fraction * (op - self._actuator)
            if self._any_instant:  # equal to OP to the last bit, whatever the lags of the other valves
                np.copyto(self._actuator, op, where=self._is_instant)
        stem = self._actuator.copy()
        if self._sticky.size:
            stem[self._sticky] = self.stiction.step(self._actuator[self._sticky])
        np.maximum(stem, 0.0, out=stem)
        np.minimum(stem, 100.0, out=stem)
        if self._any_stuck:
            np.copyto(stem, self._last_stem, where=self._is_stuck)
        self._last_stem = stem
        position[self.columns] = stem

    def change_flow(self, flow: Floats) -> None:
        """Change the flow of healthy valves at these stems, (N,), % of travel from steady state, in place."""
        if self._changes_flow:
            new_flow = flow[self.columns]
            new_flow += self._extra_capacity * (new_flow + self._flow_from_closed)
            # A leak adds nothing where the plug is open further than the seat leaks.
            leaking = self._leaking
            new_flow[leaking] = np.maximum(new_flow[leaking],
                                           self._leak_flow[leaking] - self._flow_from_closed[leaking])
            flow[self.columns] = new_flow
