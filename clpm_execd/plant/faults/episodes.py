"""The truth as stretches of time: from when to when a fault was there, and when it showed.

However the truth is told (in Blocks of any length, or by rows at its changes), the same stretches come of it. Time
is half open: a stretch lasts from its start up to, and without, its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from clpm_execd.plant.block import Block

Stretch = tuple[int, int]  # start, end; ns since 1970


@dataclass(frozen=True, slots=True, order=True)
class Episode:
    """One time that a kind of fault was there in a loop without a break.

    fault: a key of FAULTS. start, end: ns since 1970, half open. control: whether it is a negative control, which is
    never present nor visible. visible: the stretches in which an observer of PV, OP and SP could tell, within start and
    end, in order. severity: the greatest, 0 to 1 of full.
    """

    loop: str
    fault: str
    start: int
    end: int
    control: bool = False
    visible: tuple[Stretch, ...] = ()
    severity: float = 1.0


@dataclass(slots=True)
class _Running:
    """An episode that is not over; seen: since when it shows, None while it does not."""

    start: int
    control: bool
    seen: int | None = None
    visible: list[Stretch] = field(default_factory=list)
    severity: float = 0.0

    def show(self, time: int, visible: bool) -> None:
        if visible and self.seen is None:
            self.seen = time
        elif not visible and self.seen is not None:
            self.visible.append((self.seen, time))
            self.seen = None


class Episodes:
    """What has been told so far, of all loops; each loop and fault in order of time."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, str], _Running] = {}
        self._over: list[Episode] = []

    def tell(self, time: int, loop: str, fault: str, *, control: bool, there: bool, visible: bool,
             severity: float) -> None:
        """From `time` (ns) on this holds of the fault; there: present, or of a negative control in force."""
        running = self._running.get((loop, fault))
        if not there:
            self.end(time, loop, fault)
            return
        if running is None:
            running = self._running[loop, fault] = _Running(time, control)
        running.show(time, visible)
        running.severity = max(running.severity, severity)

    def end(self, time: int, loop: str, fault: str) -> None:
        """The fault is over at `time`, if it was there."""
        running = self._running.pop((loop, fault), None)
        if running is None or time <= running.start:
            return
        running.show(time, False)
        self._over.append(Episode(loop, fault, running.start, time, running.control, tuple(running.visible),
                                  running.severity))

    def take(self, block: Block) -> None:
        """Blocks that follow each other."""
        truth = None if block.truth is None else block.truth.merge_same_kinds()
        if truth is None or not len(block):
            return
        there = truth.severity > 0.0
        state = there + 2 * truth.visible
        changed = np.ones(state.shape, dtype=bool)
        changed[1:] = state[1:] != state[:-1]
        ends = np.append(np.flatnonzero(changed.any(axis=1)), len(block))
        for first, after in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            severest = truth.severity[first:after].max(axis=0)
            for i in np.flatnonzero(changed[first] | there[first]).tolist():
                self.tell(int(block.times[first]), truth.loops[i], truth.kinds[i], control=truth.control[i],
                          there=bool(there[first, i]), visible=bool(truth.visible[first, i]),
                          severity=float(severest[i]))

    def until(self, end: int) -> list[Episode]:
        """All of them, in order of loop, fault and time, as the stretch of time ends at `end` (ns)."""
        for loop, fault in list(self._running):
            self.end(end, loop, fault)
        return sorted(self._over)


def episodes(blocks: Iterable[Block], interval: int) -> list[Episode]:
    """Of Blocks that follow each other, `interval` ns between samples."""
    told = Episodes()
    end = 0
    for block in blocks:
        told.take(block)
        end = int(block.times[-1]) + interval
    return told.until(end)
