"""Faults of the process, stage 7: changed gains and time constants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clpm_execd.plant.faults.effects import StageEffects
from clpm_execd.plant.faults.kinds import Stage
from clpm_execd.plant.faults.schedule import FaultSeverities
from clpm_execd.plant.stages.process import Process, discretize_with_dead_time

# The time constants change in steps of 0.01 of the healthy ones: each step costs a discretization.
_STEPS_PER_LAG = 100.0


class ProcessFaults:
    """Changes gains and time constants; what has flowed into a process stays in its state.

    gain, lag: (N,) factors at the current scan.
    """

    def __init__(self, schedule: FaultSeverities, process: Process) -> None:
        self._schedule, self._process = schedule, process
        self._columns = schedule.columns_of(schedule.faults_of_stage(Stage.PROCESS))
        self.gain, self.lag = np.ones(len(schedule.loops)), np.ones(len(schedule.loops))
        self._effects = StageEffects(schedule, {"gain": self.gain, "lag": self.lag},
                                     np.arange(len(schedule.loops)))
        self._lags = np.ones(len(self._columns))
        self._coefficients = np.array([self._discretize(i, 1.0) for i in self._columns]).T

    def _discretize(self, column: int, factor: float) -> tuple[float, ...]:
        """Return the coefficients with changed time constants; an integrator has a changed hold-up, so another gain."""
        process = self._schedule.loops[column].process
        if process.model == "integrator":
            new_process = replace(process, gain=process.gain / factor)
        else:
            new_process = replace(process, tau=tuple(factor * tau for tau in process.tau))
        return discretize_with_dead_time(new_process, self._schedule.scan)

    def update(self) -> None:
        """Set the coefficients to the severities of this scan."""
        if not self._effects.apply(self._schedule.severity):
            return
        lags = np.rint(self.lag[self._columns] * _STEPS_PER_LAG) / _STEPS_PER_LAG
        for i in np.flatnonzero(lags != self._lags):
            self._coefficients[:, i] = self._discretize(int(self._columns[i]), float(lags[i]))
        self._lags = lags
        coefficients = self._coefficients.copy()
        coefficients[3:] *= self.gain[self._columns]  # those of the input; the first three are of the state
        self._process.set_coefficients(self._columns, coefficients)
