"""What most faults do: they change parameters of a stage in proportion to their severity."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from clpm_execd.plant.block import Floats
from clpm_execd.plant.faults.schedule import FaultSeverities
from clpm_execd.plant.loop_set import Indices
from clpm_execd.plant.stages.controller import Controller


class ParameterEffects:
    """The effects of all faults on one parameter array, which is changed in place.

    Several faults on one loop compose: factors multiply, then amounts add up, so that the order of the faults does not
    matter. columns: the plant's columns of the elements of the array, in rising order; a fault of another loop has no
    effect.
    """

    def __init__(self, schedule: FaultSeverities, target: str, array: Floats, columns: Indices) -> None:
        is_ours = np.isin(schedule.column, columns).tolist()
        effects = [(k, effect) for k, fault in enumerate(schedule.faults) for effect in fault.kind.effects
                   if effect.target == target and is_ours[k]]
        self._array = array
        self._faults = np.array([k for k, _ in effects], dtype=np.intp)
        self._elements: Indices = np.searchsorted(columns, schedule.column[self._faults])
        self._healthy: Floats = array[self._elements]
        self._amount = np.array([effect.amount(schedule.faults[k]) for k, effect in effects], dtype=np.float64)
        self._is_factor = np.array([effect.is_factor for _, effect in effects], dtype=bool)
        self._severity: Floats = np.zeros(len(effects))

    def __len__(self) -> int:
        return len(self._faults)

    def apply(self, severity: Floats) -> bool:
        """Set the array to its values at these severities, (F,), and return whether anything changed."""
        severity = severity[self._faults]
        if np.array_equal(severity, self._severity):
            return False
        self._severity = severity
        self._array[self._elements] = self._healthy
        factors, amounts = self._is_factor, ~self._is_factor
        np.multiply.at(self._array, self._elements[factors], 1.0 + severity[factors] * (self._amount[factors] - 1.0))
        np.add.at(self._array, self._elements[amounts], severity[amounts] * self._amount[amounts])
        return True


class StageEffects:
    """The effects of all faults on the parameter arrays of a stage, which are given by their names.

    columns: the plant's columns of the elements of each array, in rising order.
    """

    def __init__(self, schedule: FaultSeverities, arrays: Mapping[str, Floats], columns: Indices) -> None:
        effects = (ParameterEffects(schedule, target, array, columns) for target, array in arrays.items())
        self._effects = [effect for effect in effects if len(effect)]

    def apply(self, severity: Floats) -> bool:
        """Set all arrays to their values at these severities, (F,), and return whether anything changed."""
        has_changed = [effect.apply(severity) for effect in self._effects]  # all of them, so no generator
        return any(has_changed)


class TuningFaults:
    """Changes the tuning of the controllers of one level of the cascades."""

    def __init__(self, schedule: FaultSeverities, controller: Controller) -> None:
        self._schedule, self._controller = schedule, controller
        arrays = {"kp": controller.kp, "ki": controller.ki, "anti_windup_gain": controller.anti_windup_gain}
        self._effects = StageEffects(schedule, arrays, controller.columns)

    def update(self) -> None:
        """Set the tuning to the severities of this scan, without a jump of OP."""
        kp_before = self._controller.kp.copy()
        if self._effects.apply(self._schedule.severity):
            self._controller.rescale_integral(kp_before)
