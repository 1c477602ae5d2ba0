"""Load disturbances: what moves a process besides its valve.

An Ornstein-Uhlenbeck process a loop, exact between scans (Uhlenbeck and Ornstein, 1930), added to the process input
after the dead time. It begins at nought, so that a loop starts in balance.
"""

from __future__ import annotations

from math import exp, sqrt
from typing import TYPE_CHECKING

from clpm_execd.plant.block import Floats
from clpm_execd.plant.kernel.equations import drift
from clpm_execd.plant.loop_set import Loops
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.plant.stages.state import State

if TYPE_CHECKING:
    from clpm_execd.plant.faults.load import LoadFaults


def _weights(loop: LoopSpec, scan: float) -> tuple[float, float]:
    """What is left of a load after a scan, and of a normal what comes to it; a learned loop's load is in its laws."""
    if loop.laws:
        return 0.0, 0.0
    decay = exp(-scan / loop.disturbance.correlation)
    return decay, loop.disturbance.sigma * sqrt(1.0 - decay * decay)


class Disturbance:
    """The loads of N loops."""

    def __init__(self, loops: Loops, state: State, scan: float) -> None:
        self._state = state
        self.faults: LoadFaults | None = None
        self._decay, self._kick = loops.columns(lambda loop: _weights(loop, scan))

    def constants(self, i: int) -> dict[str, float]:
        """Those of `scan.Constants` that are this stage's, of one loop."""
        return {"decay": float(self._decay[i]), "kick": float(self._kick[i])}

    def step(self, normal: Floats) -> None:
        """Stage 2: the load of this scan; `normal` is (N,) standard normal."""
        if self.faults is not None:
            self.faults.withdraw()
        drift(self._state.load, self._decay, self._kick, normal)
        if self.faults is not None:
            self.faults.disturb()
