"""Transmitters: what the controller sees of the process variable.

The reading is the truth with white noise, within the limits at which the transmitter saturates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clpm_execd.plant.block import Floats
from clpm_execd.plant.kernel.equations import HIGHEST, LOWEST, reading
from clpm_execd.plant.loop_set import Loops
from clpm_execd.plant.stages.state import State

if TYPE_CHECKING:
    from clpm_execd.plant.faults.sensor import SensorFaults


class Sensor:
    """The transmitters of N loops."""

    def __init__(self, loops: Loops, state: State) -> None:
        self._state = state
        self.faults: SensorFaults | None = None
        self.sigma: Floats = loops.column(lambda loop: loop.laws.noise if loop.laws else loop.sensor.noise)

    def constants(self, i: int) -> dict[str, float]:
        """Those of `scan.Constants` that are this stage's, of one loop."""
        return {"sigma": float(self.sigma[i])}

    def step(self, normal: Floats) -> None:
        """Stage 4: the measured process variable; `normal` is (N,) standard normal."""
        pv = reading(self.sigma, normal, self._state.true_pv)
        np.maximum(pv, LOWEST, out=pv)
        np.minimum(pv, HIGHEST, out=self._state.pv)
        if self.faults is not None:
            self.faults.step(normal)
