"""Transmitters: what the controller measures of the process variable.

A measurement is the true value with white noise, within the limits at which the transmitter saturates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clpm_execd.plant.block import Floats
from clpm_execd.plant.kernel.equations import SATURATION_HIGH_PERCENT, SATURATION_LOW_PERCENT, measure
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.stages.state import State

if TYPE_CHECKING:
    from clpm_execd.plant.faults.sensor import SensorFaults


class Sensor:
    """The transmitters of N loops. sigma: (N,) of their noise, % of span."""

    def __init__(self, loops: LoopSet, state: State) -> None:
        self._state = state
        self.faults: SensorFaults | None = None
        self.sigma: Floats = loops.column(
            lambda loop: loop.learned_model.noise_sigma if loop.learned_model else loop.sensor.noise)

    def loop_params(self, i: int) -> dict[str, float]:
        """Return this stage's field of `equations.LoopParams`, of one loop."""
        return {"noise_sigma": float(self.sigma[i])}

    def step(self, normal: Floats) -> None:
        """Stage 4: the measured process variable; `normal` is (N,) standard normal."""
        pv = measure(self.sigma, normal, self._state.true_pv)
        np.maximum(pv, SATURATION_LOW_PERCENT, out=pv)
        np.minimum(pv, SATURATION_HIGH_PERCENT, out=self._state.pv)
        if self.faults is not None:
            self.faults.step(normal)
