"""Control valves: from the controller's output to the flow, by way of the stem.

The position is what the actuator makes of OP: it lags, and stays within its travel. Only the position moves the
process. The flow is scaled to slope 1 where the loop rests, so that a process gain is the gain there for every
characteristic.
"""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop import LoopSpec
from clpm_execd.plant.state import State, column

if TYPE_CHECKING:
    from clpm_execd.plant.faults.valve import ValveFaults


def _indices(loops: tuple[LoopSpec, ...], characteristic: str, led: set[str | None]) -> npt.NDArray[np.intp]:
    return np.flatnonzero(np.array(
        [loop.valve.characteristic == characteristic and loop.id not in led for loop in loops]))


class Valve:
    """The valves of N loops. A cascade's master has none: its process input is the slave's process variable."""

    def __init__(self, loops: tuple[LoopSpec, ...], state: State, scan: float) -> None:
        self._state = state
        self.faults: ValveFaults | None = None
        led = {loop.cascade for loop in loops}
        self._rest: Floats = state.op.copy()
        self.follow: Floats = column(
            1.0 - (exp(-scan / loop.valve.lag) if loop.valve.lag > 0 else 0.0) for loop in loops)
        self._prompt = self.follow >= 1.0
        self._some_prompt, self._lags = bool(self._prompt.any()), not self._prompt.all()
        self._equal = _indices(loops, "equal-percentage", led)
        self._quick = _indices(loops, "quick-opening", led)
        self._log_r: Floats = column(log(loops[i].valve.rangeability) / 100.0 for i in self._equal)
        self.flow: Floats = np.zeros(len(loops))

    def step(self) -> None:
        """Stage 6: stem position and flow, (N,) deviation from rest in per cent of travel."""
        state = self._state
        if self._lags:
            np.subtract(state.op, state.position, out=self.flow)
            self.flow *= self.follow
            state.position += self.flow
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
            # f = R^(x-1), so (f - f0) / f0' = (R^(x-x0) - 1) / ln R in units of travel.
            self.flow[self._equal] = np.expm1(self.flow[self._equal] * self._log_r) / self._log_r
        if self._quick.size:
            # f = sqrt(x), so (f - f0) / f0' = 2 sqrt(x0) (sqrt(x) - sqrt(x0)); below 1 % the slope is that at 1 %.
            rest = self._rest[self._quick]
            steepness = 2.0 * np.sqrt(np.maximum(rest, 1.0))
            self.flow[self._quick] = steepness * (np.sqrt(state.position[self._quick]) - np.sqrt(rest))
        if self.faults is not None:
            self.faults.flow(self.flow)

    def shut(self) -> Floats:
        """(N,) the flow from the closed valve to where the loop rests, in the same unit."""
        shut = self._rest.copy()
        shut[self._equal] = 1.0 / self._log_r
        rest = self._rest[self._quick]
        shut[self._quick] = 2.0 * np.sqrt(np.maximum(rest, 1.0) * rest)
        return shut
