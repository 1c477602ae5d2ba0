"""Where a stream begins: at the latest instant, so far back as is asked for, or where the last one ended.

The grid is start + k * interval with a start that is configured, k * interval without. With a checkpoint the first
instant emitted is the first of the grid that the stream before did not hand over: none is missing, and none has two
values. It resumes from its snapshot if it had the same start and its end lies on the grid. A checkpoint of one that
ended longer ago than is to be caught up with, or of the future by as much, is left alone but for that: nothing that it
handed over is emitted again. What a stream owed when it was taken, of a backfill, counts as time away of nobody.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clpm_execd.units import DAY, human_duration

if TYPE_CHECKING:
    from clpm_execd.plant.snapshot import Snapshot
    from clpm_execd.state.checkpoint import Checkpoint

_LOG = logging.getLogger("clpm_execd")


@dataclass(frozen=True, slots=True)
class Beginning:
    """start: the first instant at which the source lives. since: the first emitted. Both ns since 1970.

    snapshot: what the source goes on from; its next_time is start then.
    """

    start: int
    since: int
    snapshot: Snapshot | None = None


def beginning(start: int | None, interval: int, now: int, *, backfill: int = 0, kept: Checkpoint | None = None,
              catch_up: int = DAY) -> Beginning:
    """start: as configured, None for now. backfill: ns before now from which on to emit, 0 for the latest instant."""
    origin = start or 0

    def on_grid(time: int) -> int:
        return origin + -(-(time - origin) // interval) * interval

    since = on_grid(now - backfill) if backfill else on_grid(now - interval + 1)
    if kept is not None:
        ended = on_grid(kept.snapshot.next_time)
        if not _too_long(kept, now, catch_up):
            since = ended
            if start == kept.start and ended == kept.snapshot.next_time:
                return Beginning(ended, max(ended, kept.since), kept.snapshot)
        since = max(since, ended) if ended <= now else since
    since = max(origin, since)
    return Beginning(since if start is None else start, since)


def _too_long(kept: Checkpoint, now: int, catch_up: int) -> bool:
    away, ahead = now - kept.taken, kept.snapshot.next_time - now
    if ahead > catch_up:
        _LOG.warning("the state is %s ahead of the clock; the stream begins anew", human_duration(ahead))
    elif away > catch_up:
        _LOG.warning("away for %s, more than the %s that are caught up with: the stream begins anew",
                     human_duration(away), human_duration(catch_up))
    return max(ahead, away) > catch_up
