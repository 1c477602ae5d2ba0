"""What most faults do: parameters of a stage that are other than they were, in proportion to the severity."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Floats
from clpm_execd.plant.faults.schedule import Schedule


class Overlay:
    """The effects of all faults on one parameter array, written in place; several on one loop compose.

    Factors multiply, then amounts add up, so that the order of the faults does not matter. first: the plant's column
    of the array's first element.
    """

    def __init__(self, schedule: Schedule, target: str, array: Floats, first: int = 0) -> None:
        found = [(k, effect) for k, fault in enumerate(schedule.faults) for effect in fault.kind.effects
                 if effect.target == target and first <= schedule.column[k] < first + len(array)]
        self._array, self._healthy = array, array.copy()
        self._which = np.array([k for k, _ in found], dtype=np.intp)
        self._at: npt.NDArray[np.intp] = schedule.column[self._which] - first
        self._amount = np.array([effect.amount(schedule.faults[k]) for k, effect in found], dtype=np.float64)
        self._scales = np.array([effect.is_factor for _, effect in found], dtype=bool)
        self._level: Floats = np.zeros(len(found))

    def __len__(self) -> int:
        return len(self._which)

    def apply(self, level: Floats) -> bool:
        """Make the array what it is at these severities, (F,). Whether anything changed."""
        level = level[self._which]
        if np.array_equal(level, self._level):
            return False
        self._level = level
        self._array[self._at] = self._healthy[self._at]
        scales, adds = self._scales, ~self._scales
        np.multiply.at(self._array, self._at[scales], 1.0 + level[scales] * (self._amount[scales] - 1.0))
        np.add.at(self._array, self._at[adds], level[adds] * self._amount[adds])
        return True


class Overlays:
    """The overlays of a stage, by target."""

    def __init__(self, schedule: Schedule, arrays: Mapping[str, Floats], first: int = 0) -> None:
        overlays = (Overlay(schedule, target, array, first) for target, array in arrays.items())
        self._overlays = [overlay for overlay in overlays if len(overlay)]

    def apply(self, level: Floats) -> bool:
        """Make every array what it is at these severities. Whether anything changed."""
        return sum(overlay.apply(level) for overlay in self._overlays) > 0
