"""The ground truth as episodes: from when to when a fault was present, and when it was visible.

The same episodes result from Blocks of any length and from rows at each change. Time is half open: an interval contains
its start and not its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from clpm_execd.plant.block import Block

TimeInterval = tuple[int, int]  # start, end; ns since 1970, half open


@dataclass(frozen=True, slots=True, order=True)
class Episode:
    """A time in which a kind of fault was present in a loop without interruption.

    Parameters
    ----------
    loop : str
        The id of the loop.
    fault : str
        A key of FAULTS, or AFFECTED.
    start, end : int
        ns since 1970, half open.
    control : bool
        Whether it is a negative control, which is never present or visible.
    visible : tuple of (int, int)
        The intervals in which an observer of PV, OP and SP could detect it, within start and end, in order.
    severity : float
        The greatest, 0 to 1 of full.
    cause : str
        LOOP:KIND where it comes from another loop, the last one; else empty.
    """

    loop: str
    fault: str
    start: int
    end: int
    control: bool = False
    visible: tuple[TimeInterval, ...] = ()
    severity: float = 1.0
    cause: str = ""


@dataclass(slots=True)
class _OpenEpisode:
    """An episode that has not ended. visible_since: None while it is not visible."""

    start: int
    is_control: bool
    visible_since: int | None = None
    visible: list[TimeInterval] = field(default_factory=list)
    severity: float = 0.0
    cause: str = ""

    def set_visible(self, time: int, is_visible: bool) -> None:
        if is_visible and self.visible_since is None:
            self.visible_since = time
        elif not is_visible and self.visible_since is not None:
            self.visible.append((self.visible_since, time))
            self.visible_since = None


class EpisodeCollector:
    """Collects episodes of all loops from Blocks or single states; those of a loop and fault in order of time."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], _OpenEpisode] = {}
        self._ended: list[Episode] = []

    def update(self, time: int, loop: str, fault: str, *, is_control: bool, is_active: bool, is_visible: bool,
               severity: float, cause: str = "") -> None:
        """Add the state of a fault from a time on.

        Parameters
        ----------
        time : int
            ns since 1970.
        loop, fault : str
            The loop's id, and a key of FAULTS.
        is_control : bool
            Whether it is a negative control.
        is_active : bool
            Whether it is present or, of a negative control, in force.
        is_visible : bool
            Whether an observer could detect it.
        severity : float
            0 to 1 of full.
        cause : str
            LOOP:KIND where it comes from another loop.
        """
        episode = self._open.get((loop, fault))
        if not is_active:
            self.end(time, loop, fault)
            return
        if episode is None:
            episode = self._open[loop, fault] = _OpenEpisode(time, is_control)
        episode.set_visible(time, is_visible)
        episode.severity, episode.cause = max(episode.severity, severity), cause or episode.cause

    def end(self, time: int, loop: str, fault: str) -> None:
        """End the episode of a fault at `time`, ns, if there is one."""
        episode = self._open.pop((loop, fault), None)
        if episode is None or time <= episode.start:
            return
        episode.set_visible(time, False)
        self._ended.append(Episode(loop, fault, episode.start, time, episode.is_control, tuple(episode.visible),
                                   episode.severity, episode.cause))

    def add_block(self, block: Block) -> None:
        """Add the ground truth of a Block that follows the one before."""
        truth = None if block.truth is None else block.truth.merge_same_kinds()
        if truth is None or not len(block):
            return
        is_active = truth.severity > 0.0
        state = is_active + 2 * truth.visible + 4 * (truth.cause + 1)
        has_changed = np.ones(state.shape, dtype=bool)
        has_changed[1:] = state[1:] != state[:-1]
        ends = np.append(np.flatnonzero(has_changed.any(axis=1)), len(block))
        for first, after in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            greatest = truth.severity[first:after].max(axis=0)
            for i in np.flatnonzero(has_changed[first] | is_active[first]).tolist():
                self.update(int(block.times[first]), truth.loops[i], truth.kinds[i], is_control=truth.control[i],
                            is_active=bool(is_active[first, i]), is_visible=bool(truth.visible[first, i]),
                            severity=float(greatest[i]), cause=truth.cause_text(int(truth.cause[first, i])))

    def finish(self, end: int) -> list[Episode]:
        """End all open episodes at `end`, ns, and return all episodes in order of loop, fault and time."""
        for loop, fault in list(self._open):
            self.end(end, loop, fault)
        return sorted(self._ended)


def find_episodes(blocks: Iterable[Block], interval: int) -> list[Episode]:
    """Return the episodes of Blocks that follow each other.

    Parameters
    ----------
    blocks : iterable of Block
        Blocks with ground truth, in order of time.
    interval : int
        Time between samples, ns: an episode that lasts to the last sample ends one interval later.
    """
    collector = EpisodeCollector()
    end = 0
    for block in blocks:
        collector.add_block(block)
        end = int(block.times[-1]) + interval
    return collector.finish(end)
