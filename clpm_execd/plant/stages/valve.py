"""Control valves: from the controller's output to the flow, by way of the stem.

The position is what the actuator makes of OP: it lags, and stays within its travel. Only the position moves the
process. The flow is scaled to slope 1 at the loop's operating point, so that a process gain is the gain there for every
characteristic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clpm_execd.plant.block import Floats
from clpm_execd.plant.elementary import exp, log
from clpm_execd.plant.kernel.equations import actuator_lag, equal_percentage, quick_opening
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.stages.state import State

if TYPE_CHECKING:
    from clpm_execd.plant.faults.valve import ValveFaults

_MAX_VALVES_ONE_BY_ONE = 5  # an equation of twenty operations is quicker on up to so many numbers than on an array


class Valve:
    """The valves of N loops. A cascade's master has none: its process input is the slave's process variable.

    travel_fraction: (N,) of its way that an actuator goes in a scan. flow: (N,) deviation from the operating
    point, % of travel.
    """

    def __init__(self, loops: LoopSet, state: State, scan: float) -> None:
        self._state = state
        self.faults: ValveFaults | None = None
        self._nominal_op: Floats = state.op.copy()
        self.travel_fraction: Floats = loops.column(
            lambda loop: 1.0 - (exp(-scan / loop.valve.lag) if loop.valve.lag > 0 else 0.0))
        self._is_without_lag = self.travel_fraction >= 1.0
        self._some_without_lag, self._some_with_lag = bool(self._is_without_lag.any()), not self._is_without_lag.all()
        has_valve = np.ones(len(loops), dtype=bool)
        has_valve[state.cascades.masters] = False
        self._equal_percentage = np.flatnonzero(
            has_valve & loops.where(lambda loop: loop.valve.characteristic == "equal-percentage"))
        self._quick_opening = np.flatnonzero(
            has_valve & loops.where(lambda loop: loop.valve.characteristic == "quick-opening"))
        self._log_r: Floats = loops.column(lambda loop: log(loop.valve.rangeability) / 100.0)[self._equal_percentage]
        self._root_gain: Floats = 2.0 * np.sqrt(np.maximum(self._nominal_op[self._quick_opening], 1.0))
        self.flow: Floats = np.zeros(len(loops))

    def _compute_equal_percentage_flow(self, travel: Floats) -> Floats:
        if len(travel) > _MAX_VALVES_ONE_BY_ONE:
            return equal_percentage(travel, self._log_r)
        return np.array([equal_percentage(*pair) for pair in zip(travel.tolist(), self._log_r.tolist(), strict=True)])

    def loop_params(self, i: int) -> dict[str, float | bool]:
        """Return this stage's fields of `equations.LoopParams`, of one loop."""
        log_r, root_gain = np.zeros((2, len(self._nominal_op)))
        log_r[self._equal_percentage], root_gain[self._quick_opening] = self._log_r, self._root_gain
        return {"travel_fraction": float(self.travel_fraction[i]), "has_actuator_lag": not self._is_without_lag[i],
                "nominal_op": float(self._nominal_op[i]), "log_r": float(log_r[i]), "root_gain": float(root_gain[i])}

    def step(self) -> None:
        """Stage 6: stem position and flow."""
        state = self._state
        if self._some_with_lag:
            actuator_lag(state.position, state.op, self.travel_fraction)
            if self._some_without_lag:  # such a stem stands at OP to the last bit, whichever lags there are besides
                np.copyto(state.position, state.op, where=self._is_without_lag)
        else:
            state.position[:] = state.op
        if self.faults is not None:
            self.faults.move_stems()
        cascades = state.cascades
        if cascades.masters.size:
            state.position[cascades.masters] = state.true_pv[cascades.slaves]
        np.subtract(state.position, self._nominal_op, out=self.flow)
        if self._equal_percentage.size:
            self.flow[self._equal_percentage] = self._compute_equal_percentage_flow(self.flow[self._equal_percentage])
        if self._quick_opening.size:
            root = np.sqrt(state.position[self._quick_opening])
            self.flow[self._quick_opening] = quick_opening(
                root, np.sqrt(self._nominal_op[self._quick_opening]), self._root_gain)
        if self.faults is not None:
            self.faults.change_flow(self.flow)

    def flow_from_closed(self) -> Floats:
        """Return the flow from the closed valve to the operating point, (N,) in the same unit."""
        flow = self._nominal_op.copy()
        flow[self._equal_percentage] = 1.0 / self._log_r
        flow[self._quick_opening] = self._root_gain * np.sqrt(self._nominal_op[self._quick_opening])
        return flow
