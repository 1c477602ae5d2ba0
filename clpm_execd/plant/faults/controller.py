"""Controllers that are tuned wrong: stage 5."""

from __future__ import annotations

from clpm_execd.plant.faults.effects import Overlays
from clpm_execd.plant.faults.schedule import Schedule
from clpm_execd.plant.stages.controller import Controller


class TuningFaults:
    """Of the controllers of one level of the cascades, the first of which is the plant's column `first`."""

    def __init__(self, schedule: Schedule, controller: Controller, first: int) -> None:
        self._schedule, self._controller = schedule, controller
        arrays = {"kp": controller.kp, "ki": controller.ki, "anti_windup_gain": controller.anti_windup_gain}
        self._overlays = Overlays(schedule, arrays, first)

    def change(self) -> None:
        """The severities are others; OP does not jump with the gain."""
        before = self._controller.kp.copy()
        if self._overlays.apply(self._schedule.level):
            self._controller.rescale_integral(before)
