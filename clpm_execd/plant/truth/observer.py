"""The ground truth about every fault at every sample: whether it is present and visible, and how severe it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import MAN, Floats, Truth
from clpm_execd.plant.faults.schedule import Schedule


class TruthObserver:
    """Computes the ground truth of a plant. columns: (N,) the plant's column of each loop of a Block."""

    def __init__(self, schedule: Schedule, columns: npt.NDArray[np.intp]) -> None:
        faults = schedule.faults
        self._schedule = schedule
        self._loops = tuple(fault.loop.id for fault in faults)
        self._kinds = tuple(fault.kind.name for fault in faults)
        self._is_control = tuple(fault.kind.is_control for fault in faults)
        self._is_fault = ~np.array(self._is_control, dtype=bool)
        self._column_in_block = np.argsort(columns, kind="stable")[schedule.column]
        self._visible_from = np.array([fault.kind.visible_from(fault) for fault in faults])
        self._visible_while = np.array([fault.kind.visible_while for fault in faults])
        self._limit = np.array([fault["limit"] if "limit" in fault.kind.defaults else np.inf for fault in faults])

    def observe(self, ticks: npt.NDArray[np.int64], op: Floats, mode: npt.NDArray[np.int8], true_pv: Floats) -> Truth:
        """Return the ground truth at these scans; op, mode and true_pv are (T, N), per cent, in the plant's columns."""
        severity = self._schedule.severities(ticks)
        visible = (severity > 0) & (severity >= self._visible_from) & self._is_fault
        columns = self._schedule.column
        for state in np.unique(self._visible_while[self._visible_while != ""]):
            which = np.flatnonzero(self._visible_while == state)
            op_of_loop = op[:, columns[which]]
            visible[:, which] &= {
                "controlled": mode[:, columns[which]] != MAN,
                "open": op_of_loop >= 100.0,
                "closed": op_of_loop <= 0.0,
                "saturated": (op_of_loop <= 0.0) | (op_of_loop >= 100.0),
                "clipped": true_pv[:, columns[which]] > self._limit[which],
            }[str(state)]
        return Truth(self._loops, self._kinds, self._is_control, self._column_in_block,
                     (severity > 0) & self._is_fault, visible, severity)
