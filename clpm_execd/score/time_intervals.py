"""Sets of time as sorted, disjoint, half-open stretches of ns: union, intersection, difference, length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clpm_execd.plant.faults.episodes import Stretch

Stretches = tuple[Stretch, ...]


def union(stretches: Iterable[Stretch]) -> Stretches:
    """What any of them covers; those that touch become one, and empty ones nothing."""
    merged: list[Stretch] = []
    for start, end in sorted(stretches):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return tuple(merged)


def intersection(one: Sequence[Stretch], other: Sequence[Stretch]) -> Stretches:
    """What both cover; each sorted and disjoint."""
    both: list[Stretch] = []
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


def difference(one: Sequence[Stretch], other: Sequence[Stretch]) -> Stretches:
    """What the first covers and the other does not; each sorted and disjoint."""
    left: list[Stretch] = []
    for start, end in one:
        for begin, stop in other:
            if stop <= start or begin >= end:
                continue
            if begin > start:
                left.append((start, begin))
            start = max(start, stop)
        if start < end:
            left.append((start, end))
    return tuple(left)


def length(stretches: Iterable[Stretch]) -> int:
    """ns in all, of disjoint ones."""
    return sum(end - start for start, end in stretches)
