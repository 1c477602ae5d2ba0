"""The ways on which a fault reaches other loops: which loops it passes, and how long it takes.

A loop acts on another one where a coupling or a fault of that one says so, or in a cascade, where the master feels the
slave through its own process and the slave follows the master at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heappop, heappush
from math import fsum

from clpm_execd.plant.block import Route
from clpm_execd.plant.faults.schedule import Schedule
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.specs import ProcessSpec
from clpm_execd.plant.stages.coupling import find_links

_LAGS_ON_THE_WAY = 2.0  # `lag` of a coupling or a fault is each of two time constants


def _process_delay(process: ProcessSpec) -> float:
    """Return the dead time and the time constants of a process together, s."""
    return process.dead_time + (0.0 if process.model == "integrator" else fsum(process.tau))


class Links:
    """Which loops act on which, by the plant's columns. delays: for each column those that it acts on, each in s."""

    def __init__(self, specs: LoopSet, schedule: Schedule) -> None:
        index = {loop: i for i, loop in enumerate(specs.ids)}
        self.delays: dict[int, dict[int, float]] = {}
        for slave, name in enumerate(specs.masters):
            if name is not None:
                master = index[name]
                self._add(slave, master, _process_delay(specs[master].process))
                self._add(master, slave, 0.0)
        for link in find_links(specs):
            through_process = _process_delay(specs[link.other].process) if link.by_pv else 0.0
            self._add(link.other, link.owner, through_process + _LAGS_ON_THE_WAY * link.lag)
        for fault, column in zip(schedule.faults, schedule.column.tolist(), strict=True):
            for other in fault.other_loops():
                self._add(index[other], column, _LAGS_ON_THE_WAY * fault["lag"])
        linked = {*self.delays, *(effect for delays in self.delays.values() for effect in delays)}
        self._ids = {column: specs.ids[column] for column in linked}
        self._columns = {name: column for column, name in self._ids.items()}

    def _add(self, cause: int, effect: int, delay: float) -> None:
        delays = self.delays.setdefault(cause, {})
        delays[effect] = min(delay, delays.get(effect, delay))

    def find_routes(self, root: str) -> Mapping[str, Route]:
        """Return the quickest route from a loop with a link to each that it can reach, itself included."""
        routes: dict[int, Route] = {}
        start = self._columns[root]
        waiting: list[tuple[float, int, tuple[int, ...]]] = [(0.0, start, (start,))]
        while waiting:
            delay, column, path = heappop(waiting)
            if column in routes:
                continue
            routes[column] = Route(tuple(self._ids[c] for c in path), delay)
            for effect, more in self.delays.get(column, {}).items():
                if effect not in routes:
                    heappush(waiting, (delay + more, effect, (*path, effect)))
        return {self._ids[column]: route for column, route in routes.items()}
