"""Control valves: from the controller's output to the flow, by way of the stem.

The position is what the actuator makes of OP: it lags, and stays within its travel. Only the position moves the
process. The flow is scaled to slope 1 where the loop rests, so that a process gain is the gain there for every
characteristic.
"""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING

import numpy as np

from clpm_execd.plant.block import Floats
from clpm_execd.plant.kernel.equations import equal_percentage, quick_opening, travelled
from clpm_execd.plant.loop_set import Loops
from clpm_execd.plant.stages.state import State

if TYPE_CHECKING:
    from clpm_execd.plant.faults.valve import ValveFaults

_FEW = 5  # valves, up to which a law of twenty operations is quicker on numbers than on an array


class Valve:
    """The valves of N loops. A cascade's master has none: its process input is the slave's process variable."""

    def __init__(self, loops: Loops, state: State, scan: float) -> None:
        self._state = state
        self.faults: ValveFaults | None = None
        self._rest: Floats = state.op.copy()
        self.follow: Floats = loops.column(
            lambda loop: 1.0 - (exp(-scan / loop.valve.lag) if loop.valve.lag > 0 else 0.0))
        self._prompt = self.follow >= 1.0
        self._some_prompt, self._lags = bool(self._prompt.any()), not self._prompt.all()
        own = np.ones(len(loops), dtype=bool)
        own[state.cascades.masters] = False
        self._equal = np.flatnonzero(own & loops.where(lambda loop: loop.valve.characteristic == "equal-percentage"))
        self._quick = np.flatnonzero(own & loops.where(lambda loop: loop.valve.characteristic == "quick-opening"))
        self._log_r: Floats = loops.column(lambda loop: log(loop.valve.rangeability) / 100.0)[self._equal]
        self._steepness: Floats = 2.0 * np.sqrt(np.maximum(self._rest[self._quick], 1.0))
        self.flow: Floats = np.zeros(len(loops))

    def _of_equal_percentage(self, travel: Floats) -> Floats:
        if len(travel) > _FEW:
            return equal_percentage(travel, self._log_r)
        return np.array([equal_percentage(*of) for of in zip(travel.tolist(), self._log_r.tolist(), strict=True)])

    def constants(self, i: int) -> dict[str, float | bool]:
        """Those of `scan.Constants` that are this stage's, of one loop."""
        log_r, steepness = np.zeros((2, len(self._rest)))
        log_r[self._equal], steepness[self._quick] = self._log_r, self._steepness
        return {"share": float(self.follow[i]), "lags": not self._prompt[i], "rest_op": float(self._rest[i]),
                "log_r": float(log_r[i]), "steepness": float(steepness[i])}

    def step(self) -> None:
        """Stage 6: stem position and flow, (N,) deviation from rest in per cent of travel."""
        state = self._state
        if self._lags:
            travelled(state.position, state.op, self.follow)
            if self._some_prompt:  # without a lag the stem stands at OP to the last bit, whichever lag beside it
                np.copyto(state.position, state.op, where=self._prompt)
        else:
            state.position[:] = state.op
        if self.faults is not None:
            self.faults.move()
        cascades = state.cascades
        if cascades.masters.size:
            state.position[cascades.masters] = state.true_pv[cascades.slaves]
        np.subtract(state.position, self._rest, out=self.flow)
        if self._equal.size:
            self.flow[self._equal] = self._of_equal_percentage(self.flow[self._equal])
        if self._quick.size:
            root = np.sqrt(state.position[self._quick])
            self.flow[self._quick] = quick_opening(root, np.sqrt(self._rest[self._quick]), self._steepness)
        if self.faults is not None:
            self.faults.flow(self.flow)

    def shut(self) -> Floats:
        """(N,) the flow from the closed valve to where the loop rests, in the same unit."""
        shut = self._rest.copy()
        shut[self._equal] = 1.0 / self._log_r
        shut[self._quick] = self._steepness * np.sqrt(self._rest[self._quick])
        return shut
