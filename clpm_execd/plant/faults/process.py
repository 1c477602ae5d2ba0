"""Processes that are others than they were: stage 7."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clpm_execd.plant.faults.effects import Overlays
from clpm_execd.plant.faults.schedule import Schedule
from clpm_execd.plant.stages.process import Process, discretize_with_dead_time


class ProcessFaults:
    """Gains and lags of the loops whose process changes; what has flowed in stays where it is.

    gain, lag: (N,) the factors at this scan, written in place.
    """

    def __init__(self, schedule: Schedule, process: Process) -> None:
        self._schedule, self._process = schedule, process
        self._at = schedule.where(schedule.of_stage(7))
        self.gain, self.lag = np.ones(len(schedule.loops)), np.ones(len(schedule.loops))
        self._overlays = Overlays(schedule, {"gain": self.gain, "lag": self.lag})
        self._lags = np.ones(len(self._at))
        self._weights = np.array([self._slowed(i, 1.0) for i in self._at]).T

    def _slowed(self, column: int, factor: float) -> tuple[float, ...]:
        """The weights of a process with other lags; an integrator's lag is its hold-up, so that its gain falls."""
        process = self._schedule.loops[column].process
        if process.model == "integrator":
            slowed = replace(process, gain=process.gain / factor)
        else:
            slowed = replace(process, tau=tuple(factor * tau for tau in process.tau))
        return discretize_with_dead_time(slowed, self._schedule.scan)

    def change(self) -> None:
        """The severities are others. Lags move in hundredths, since they cost more than gains."""
        if not self._overlays.apply(self._schedule.level):
            return
        lags = np.round(self.lag[self._at], 2)
        for slot in np.flatnonzero(lags != self._lags):
            self._weights[:, slot] = self._slowed(int(self._at[slot]), float(lags[slot]))
        self._lags = lags
        changed = self._weights.copy()
        changed[3:] *= self.gain[self._at]
        self._process.set_coefficients(self._at, changed)
