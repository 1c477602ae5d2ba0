"""The truth about every fault at every sample: present, visible, and how severe."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import MAN, Floats, Truth
from clpm_execd.plant.faults.schedule import Schedule


class Witness:
    """What is true of the faults of a plant whose `column` in a Block each loop has."""

    def __init__(self, schedule: Schedule, columns: npt.NDArray[np.intp]) -> None:
        faults = schedule.faults
        self._schedule = schedule
        self._loops = tuple(fault.loop.id for fault in faults)
        self._kinds = tuple(fault.kind.name for fault in faults)
        self._control = tuple(fault.kind.control for fault in faults)
        self._fault = ~np.array(self._control, dtype=bool)
        self._column = np.argsort(columns)[schedule.column]
        self._from = np.array([fault.kind.seen_from(fault) for fault in faults])
        self._while = np.array([fault.kind.seen_while for fault in faults])
        self._limit = np.array([fault["limit"] if "limit" in fault.kind.defaults else np.inf for fault in faults])

    def tell(self, ticks: npt.NDArray[np.int64], op: Floats, mode: npt.NDArray[np.int8], true_pv: Floats) -> Truth:
        """At each of these scans; op, mode and true_pv are (T, N), per cent, in the plant's columns."""
        severity = self._schedule.levels(ticks)
        visible = (severity > 0) & (severity >= self._from) & self._fault
        at = self._schedule.column
        for state in np.unique(self._while[self._while != ""]):
            which = np.flatnonzero(self._while == state)
            seen = op[:, at[which]]
            visible[:, which] &= {
                "controlled": mode[:, at[which]] != MAN,
                "open": seen >= 100.0,
                "closed": seen <= 0.0,
                "saturated": (seen <= 0.0) | (seen >= 100.0),
                "clipped": true_pv[:, at[which]] > self._limit[which],
            }[str(state)]
        return Truth(self._loops, self._kinds, self._control, self._column, (severity > 0) & self._fault, visible,
                     severity)
