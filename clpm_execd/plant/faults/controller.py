"""Faults of the controller, stage 5: wrong tuning."""

from __future__ import annotations

from clpm_execd.plant.faults.effects import StageEffects
from clpm_execd.plant.faults.schedule import Schedule
from clpm_execd.plant.stages.controller import Controller


class TuningFaults:
    """Changes the tuning of the controllers of one level of the cascades. first: the plant's column of the first."""

    def __init__(self, schedule: Schedule, controller: Controller, first: int) -> None:
        self._schedule, self._controller = schedule, controller
        arrays = {"kp": controller.kp, "ki": controller.ki, "anti_windup_gain": controller.anti_windup_gain}
        self._effects = StageEffects(schedule, arrays, first)

    def update(self) -> None:
        """Set the tuning to the severities of this scan, without a jump of OP."""
        kp_before = self._controller.kp.copy()
        if self._effects.apply(self._schedule.severity):
            self._controller.rescale_integral(kp_before)
