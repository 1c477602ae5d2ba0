"""Set algebra on time: sets as sorted, disjoint, half-open intervals of ns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clpm_execd.plant.truth.episodes import TimeInterval

TimeIntervals = tuple[TimeInterval, ...]


def union(intervals: Iterable[TimeInterval]) -> TimeIntervals:
    """Return what any of the intervals covers. Intervals that touch are joined; empty ones are dropped."""
    result: list[TimeInterval] = []
    for start, end in sorted(intervals):
        if start >= end:
            continue
        if result and start <= result[-1][1]:
            result[-1] = result[-1][0], max(end, result[-1][1])
        else:
            result.append((start, end))
    return tuple(result)


def intersection(one: Sequence[TimeInterval], other: Sequence[TimeInterval]) -> TimeIntervals:
    """Return what both sets cover."""
    both: list[TimeInterval] = []
    i = j = 0
    while i < len(one) and j < len(other):
        start, end = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if start < end:
            both.append((start, end))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return tuple(both)


def difference(one: Sequence[TimeInterval], other: Sequence[TimeInterval]) -> TimeIntervals:
    """Return what the first set covers and the other does not."""
    remainder: list[TimeInterval] = []
    for start, end in one:
        for cut_start, cut_end in other:
            if cut_end <= start or cut_start >= end:
                continue
            if cut_start > start:
                remainder.append((start, cut_start))
            start = max(start, cut_end)
        if start < end:
            remainder.append((start, end))
    return tuple(remainder)


def sum_durations(intervals: Iterable[TimeInterval]) -> int:
    """Return the length of a set in ns."""
    return sum(end - start for start, end in intervals)
