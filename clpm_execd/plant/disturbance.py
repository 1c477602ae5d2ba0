"""Load disturbances: what moves a process besides its valve.

An Ornstein-Uhlenbeck process a loop, exact between scans (Uhlenbeck and Ornstein, 1930), added to the process input
after the dead time. It begins at nought, so that a loop starts in balance.
"""

from __future__ import annotations

from math import exp, sqrt
from typing import TYPE_CHECKING

from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop import LoopSpec
from clpm_execd.plant.scan import drift
from clpm_execd.plant.state import State, column

if TYPE_CHECKING:
    from clpm_execd.plant.faults.load import LoadFaults


class Disturbance:
    """The loads of N loops."""

    def __init__(self, loops: tuple[LoopSpec, ...], state: State, scan: float) -> None:
        self._state = state
        self.faults: LoadFaults | None = None
        decays = [exp(-scan / loop.disturbance.correlation) for loop in loops]
        own = column(0.0 if loop.laws else 1.0 for loop in loops)  # a learned loop's load is in its laws
        self._decay: Floats = own * column(decays)
        self._kick: Floats = own * column(
            loop.disturbance.sigma * sqrt(1.0 - a * a) for loop, a in zip(loops, decays, strict=True))

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
