"""Transmitters: what the controller measures of the process variable.

A measurement is the true value with white noise, within the limits at which the transmitter saturates. An analyser has
a new one once per cycle, and holds it until the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clpm_execd import stored_names
from clpm_execd.plant.block import Floats
from clpm_execd.plant.kernel.equations import SATURATION_HIGH_PERCENT, SATURATION_LOW_PERCENT, measure
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.snapshot import LoopArrays
from clpm_execd.plant.stages.state import State

if TYPE_CHECKING:
    from clpm_execd.plant.faults.sensor import SensorFaults


class Analysers(LoopArrays):
    """Those of N sensors that have a value once per cycle: the cycles are counted since 1970. scan: s."""

    stored_arrays = stored_names.ANALYSERS

    def __init__(self, loops: LoopSet, state: State, scan: float) -> None:
        self._state = state
        self.columns = np.flatnonzero(loops.where(lambda loop: loop.sensor.cycle > 0.0))
        cycle: Floats = loops.column(lambda loop: loop.sensor.cycle)[self.columns]
        self._scans = np.maximum(np.rint(cycle / scan), 1.0).astype(np.int64)  # of a cycle
        self._value: Floats = state.pv[self.columns]

    def step(self, tick: int) -> None:
        """Replace the measurements of this scan by the last ones that were due."""
        pv = self._state.pv
        np.copyto(self._value, pv[self.columns], where=tick % self._scans == 0)
        pv[self.columns] = self._value


class Sensor:
    """The transmitters of N loops. sigma: (N,) of their noise, % of span."""

    def __init__(self, loops: LoopSet, state: State, scan: float) -> None:
        self._state = state
        self.faults: SensorFaults | None = None
        analysers = Analysers(loops, state, scan)
        self.analysers = analysers if analysers.columns.size else None
        self.sigma: Floats = loops.column(
            lambda loop: loop.learned_model.noise_sigma if loop.learned_model else loop.sensor.noise)

    def loop_params(self, i: int) -> dict[str, float]:
        """Return this stage's field of `equations.LoopParams`, of one loop."""
        return {"noise_sigma": float(self.sigma[i])}

    def step(self, tick: int, normal: Floats) -> None:
        """Stage 4: the measured process variable; `normal` is (N,) standard normal."""
        pv = measure(self.sigma, normal, self._state.true_pv)
        np.maximum(pv, SATURATION_LOW_PERCENT, out=pv)
        np.minimum(pv, SATURATION_HIGH_PERCENT, out=self._state.pv)
        if self.faults is not None:
            self.faults.step(normal)
        if self.analysers is not None:
            self.analysers.step(tick)
