"""The ways on which a fault reaches other loops: which loops it passes, and how long it takes.

A loop acts on another one where a coupling or a fault of that one says so, or in a cascade, where the master feels the
slave through its own process and the slave follows the master at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush
from math import fsum

import numpy as np

from clpm_execd.plant.block import Route
from clpm_execd.plant.faults.schedule import Schedule
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.specs import ProcessSpec
from clpm_execd.plant.stages.coupling import find_links

_LAGS_ON_THE_WAY = 2.0  # `lag` of a coupling or a fault is each of two time constants


def _process_delay(process: ProcessSpec) -> float:
    """Return the dead time and the time constants of a process together, s."""
    return process.dead_time + (0.0 if process.model == "integrator" else fsum(process.tau))


def find_links_of_loops(specs: LoopSet, schedule: Schedule) -> dict[int, dict[int, float]]:
    """Return for each of the plant's columns those that it acts on, and after how many seconds."""
    index = {loop: i for i, loop in enumerate(specs.ids)}
    acts_on: dict[int, dict[int, float]] = {}

    def add(cause: int, effect: int, delay: float) -> None:
        delays = acts_on.setdefault(cause, {})
        delays[effect] = min(delay, delays.get(effect, delay))

    for slave, name in enumerate(specs.masters):
        if name is not None:
            master = index[name]
            add(slave, master, _process_delay(specs[master].process))
            add(master, slave, 0.0)
    for link in find_links(specs):
        through_process = _process_delay(specs[link.other].process) if link.by_pv else 0.0
        add(link.other, link.owner, through_process + _LAGS_ON_THE_WAY * link.lag)
    for fault, column in zip(schedule.faults, schedule.column.tolist(), strict=True):
        for other in fault.other_loops():
            add(index[other], column, _LAGS_ON_THE_WAY * fault["lag"])
    return acts_on


def find_reachable(start: Iterable[int], find_next: Callable[[int], Iterable[int]]) -> set[int]:
    """Return what can be reached from these columns, themselves included. find_next: those one step from a column."""
    remaining = list(start)
    reached = set(remaining)
    while remaining:
        more = set(find_next(remaining.pop())) - reached
        reached |= more
        remaining += more
    return reached


class Routes:
    """The quickest ways from loop to loop along the links. ids: of the plant's columns.

    The links are in arrays, in the order of their causes: dictionaries of a large plant take ten times the memory.
    """

    def __init__(self, ids: tuple[str, ...], acts_on: Mapping[int, Mapping[int, float]]) -> None:
        links = sorted((cause, *link) for cause, delays in acts_on.items() for link in delays.items())
        self._ids = ids
        self._causes, self._effects = (np.array([link[k] for link in links], dtype=np.intp) for k in (0, 1))
        self._delays = np.array([delay for _, _, delay in links], dtype=np.float64)

    def find_sources(self, loops: Iterable[str], without: int) -> set[int]:
        """Return the columns of these loops, and of all that act on them without passing a column on the way."""
        return find_reachable(map(self._ids.index, loops),
                              lambda column: set(self._causes[self._effects == column].tolist()) - {without})

    def find(self, root: str) -> Mapping[str, Route]:
        """Return the quickest route from a loop to each that it can reach, itself included."""
        routes: dict[int, Route] = {}
        start = self._ids.index(root)
        waiting: list[tuple[float, int, tuple[int, ...]]] = [(0.0, start, (start,))]
        while waiting:
            delay, column, path = heappop(waiting)
            if column in routes:
                continue
            routes[column] = Route(tuple(self._ids[c] for c in path), delay)
            at = slice(*np.searchsorted(self._causes, [column, column + 1]).tolist())
            for effect, more in zip(self._effects[at].tolist(), self._delays[at].tolist(), strict=True):
                if effect not in routes:
                    heappush(waiting, (delay + more, effect, (*path, effect)))
        return {self._ids[column]: route for column, route in routes.items()}
