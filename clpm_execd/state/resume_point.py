"""Where a stream starts: at the latest sample time, so far back as a backfill asks for, or where the last one ended.

Sample times are start + k * interval with a configured start, k * interval without. With a checkpoint the first sample
emitted is the first one that the stream before did not emit: none is missing, and none has two values. The source
resumes from its snapshot if it had the same start and its end is a sample time. If the last stream ended longer ago
than the longest gap that is filled, or is ahead of the clock by as much, the snapshot is not used, but nothing that was
emitted is emitted again. What a stream still had to backfill when its snapshot was taken does not count as a gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clpm_execd.units import DAY, describe_duration

if TYPE_CHECKING:
    from clpm_execd.plant.snapshot import Snapshot
    from clpm_execd.state.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a stream starts.

    Attributes
    ----------
    start : int
        The first time that the source simulates, ns since 1970.
    first_emit : int
        The first time that is emitted, ns since 1970.
    snapshot : Snapshot or None
        What the source resumes from; its next_time is `start`.
    """

    start: int
    first_emit: int
    snapshot: Snapshot | None = None


def find_resume_point(start: int | None, interval: int, now: int, *, backfill: int = 0,
                      checkpoint: Checkpoint | None = None, max_gap: int = DAY) -> ResumePoint:
    """Return where a stream starts.

    Parameters
    ----------
    start : int or None
        The configured start, ns since 1970; None for now.
    interval : int
        Time between two samples, ns.
    now : int
        The time, ns since 1970.
    backfill : int
        How long before now the first sample is emitted, ns; 0 for the latest sample time.
    checkpoint : Checkpoint, optional
        Checkpoint of the stream before.
    max_gap : int
        The longest time since its end that is filled, ns.
    """
    origin = start or 0

    def next_sample_time(time: int) -> int:
        return origin + -(-(time - origin) // interval) * interval

    first_emit = next_sample_time(now - backfill) if backfill else next_sample_time(now - interval + 1)
    if checkpoint is not None:
        end = next_sample_time(checkpoint.snapshot.next_time)
        if not describe_excessive_gap(checkpoint, now, max_gap):
            first_emit = end
            if start == checkpoint.start and end == checkpoint.snapshot.next_time:
                return ResumePoint(end, max(end, checkpoint.first_emit), checkpoint.snapshot)
        first_emit = max(first_emit, end) if end <= now else first_emit
    first_emit = max(origin, first_emit)
    return ResumePoint(first_emit if start is None else start, first_emit)


def describe_excessive_gap(checkpoint: Checkpoint, now: int, max_gap: int) -> str:
    """Return why a stream does not resume from a checkpoint at this time; an empty text if it does.

    Parameters
    ----------
    checkpoint : Checkpoint
        Checkpoint of the stream before.
    now : int
        The time, ns since 1970.
    max_gap : int
        The longest time since its end that is filled, ns.
    """
    gap, ahead = now - checkpoint.taken_at, checkpoint.snapshot.next_time - now
    if ahead > max_gap:
        return f"the checkpoint is {describe_duration(ahead)} ahead of the clock"
    if gap > max_gap:
        return f"the last stream ended {describe_duration(gap)} ago, more than --max-gap {describe_duration(max_gap)}"
    return ""
