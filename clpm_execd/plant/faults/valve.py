"""Valves that do not do what OP says: stage 6, between the actuator and the flow."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import Floats
from clpm_execd.plant.faults.effects import Overlays
from clpm_execd.plant.faults.schedule import Schedule
from clpm_execd.plant.loop_set import Indices
from clpm_execd.plant.snapshot import LoopArrays
from clpm_execd.plant.stages.state import State


class Stiction(LoopArrays):
    """Sticky stems (Choudhury, Thornhill and Shah, 2005): S is deadband and stickband, J the slip jump, % of travel.

    A stem that slides trails its actuator by (S - J)/2. It sticks where the actuator stops or turns back, and slips
    once the two are more than (S + J)/2 apart while the actuator moves: S after it turned, J after it stopped. With
    S and J nought it goes where the actuator goes. Kano's model (2003) gives the same.
    """

    stored_arrays = stored_names.STICTION

    def __init__(self, position: Floats, columns: Indices) -> None:
        self.columns = columns
        self._wanted, self._stem = position.copy(), position.copy()
        self._direction: Floats = np.zeros(len(position))
        self._slides = np.zeros(len(position), dtype=bool)
        self.become(np.zeros(len(position)), np.zeros(len(position)))

    def become(self, s: Floats, j: Floats) -> None:
        """Take S and J, (M,)."""
        self._apart, self._trail = (s + j) / 2.0, (s - j) / 2.0
        self._loose = np.flatnonzero(~(self._apart > 0))

    def step(self, wanted: Floats) -> Floats:
        """Where the stems are when the actuators are at `wanted`, (M,), or all at the same; none then is loose."""
        direction = np.sign(wanted - self._wanted)
        slips = np.abs(wanted - self._stem) > self._apart
        slips |= self._slides & (direction == self._direction)
        slips &= direction != 0
        np.copyto(self._stem, wanted - direction * self._trail, where=slips)
        if len(self._loose):
            self._stem[self._loose] = wanted[self._loose]
            slips[self._loose] = False
        self._slides = slips
        self._wanted, self._direction = wanted, direction
        return self._stem


class ValveFaults(LoopArrays):
    """Of the loops that have any, and a valve: a cascade's master has none.

    follow: (N,) the share of its way that an actuator goes in a scan, which a fault may change. shut: (N,) the flow
    from the closed valve to where the loop rests, % of travel.
    """

    stored_arrays = stored_names.VALVE_FAULTS

    def __init__(self, schedule: Schedule, state: State, follow: Floats, shut: Floats) -> None:
        n, self._state, self._schedule = len(follow), state, schedule
        self._follow = follow.copy()
        at: npt.NDArray[np.intp] = np.setdiff1d(schedule.where(schedule.of_stage(6)), state.cascades.masters)
        self.columns = at
        sticky = np.intersect1d(at, schedule.where([*schedule.of_kind("stiction"), *schedule.of_kind("deadband")]))
        self._sticky, self._slots = sticky, np.searchsorted(at, sticky)
        self._shut = shut[at]
        self._actuator = state.position[at]
        self._stuck_at = state.position[at]
        self.stiction = Stiction(state.position[sticky], sticky)
        self._s, self._j, self._leak, self._stuck, self._capacity = (np.zeros(n) for _ in range(5))
        self._capacity += 1.0
        self._overlays = Overlays(schedule, {
            "S": self._s, "J": self._j, "leak": self._leak, "stuck": self._stuck, "capacity": self._capacity,
            "follow": self._follow})
        self._gather()

    def change(self) -> None:
        """The severities are others."""
        if self._overlays.apply(self._schedule.level):
            self._gather()

    def _gather(self) -> None:
        at = self.columns
        self.stiction.become(self._s[self._sticky], self._j[self._sticky])
        self._further, self._leaks = self._capacity[at] - 1.0, self._leak[at]
        self._holds, self._share = self._stuck[at] > 0, self._follow[at]
        self._prompt = self._share >= 1.0
        self._some_prompt = bool(self._prompt.any())
        self._leaky = np.flatnonzero(self._leaks > 0)
        self._flows_apart = bool(self._further.any() or self._leaky.size)

    def move(self) -> None:
        """Where the stems are."""
        op, position = self._state.op[self.columns], self._state.position
        self._actuator += self._share * (op - self._actuator)
        if self._some_prompt:
            np.copyto(self._actuator, op, where=self._prompt)  # to the last bit, whichever lag is beside it
        stem = self._actuator.copy()
        if self._sticky.size:
            stem[self._slots] = self.stiction.step(self._actuator[self._slots])
        np.maximum(stem, 0.0, out=stem)
        np.minimum(stem, 100.0, out=stem)
        np.copyto(stem, self._stuck_at, where=self._holds)
        self._stuck_at = stem
        position[self.columns] = stem

    def flow(self, flow: Floats) -> None:
        """What flows: `flow` is (N,), deviation from rest in per cent of travel, of healthy valves at these stems."""
        if self._flows_apart:
            ours = flow[self.columns]
            ours += self._further * (ours + self._shut)
            # Past a plug that is further open than the seat leaks, the leak adds nothing.
            leaky = self._leaky
            ours[leaky] = np.maximum(ours[leaky], self._leaks[leaky] - self._shut[leaky])
            flow[self.columns] = ours
