"""A learned loop beside the record it was learned from: the same loop run free, and how alike the two are.

The loop runs as it would stream, from a start of its own and for as long as the record lasts. What two halves of the
record itself differ by is the floor: no generator can be asked for less.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clpm_execd.evaluation.similarity import WINDOW, Distances, copy_ratio, distances, told_apart
from clpm_execd.identification.learn import Learned
from clpm_execd.plant.block import Floats
from clpm_execd.plant.plant import Plant, default_scan
from clpm_execd.records.forward_fill import forward_fill
from clpm_execd.records.record import Record

SHORTEST = 4 * WINDOW  # samples: each half of the record has a few windows
LONGEST = 20_000  # samples: enough to know a loop by
WINDOWS_AT_MOST = 4000  # for the forest, which takes a minute for ten times as many
FEWEST = 60  # windows: from so many on a loop has an AUC of its own
START = 1_736_503_200_000_000_000  # 2025-01-10T10:00:00Z; any instant would do


@dataclass(frozen=True, slots=True)
class Likeness:
    """Of one loop. real, synthetic: (T, 3) PV, OP, SP as recorded. interval: s.

    distances: between the two; floor: between the halves of the record. copy: see `copy_ratio`. They are None and NaN
    where the record is shorter than SHORTEST or does not move.
    """

    real: Floats
    synthetic: Floats
    interval: float
    distances: Distances | None
    floor: Distances | None
    copy: float


@dataclass(frozen=True, slots=True)
class Study:
    """A loop that was learned. source: the file of its record."""

    source: str
    learned: Learned
    likeness: Likeness


@dataclass(frozen=True, slots=True)
class Discrimination:
    """How well a forest tells synthetic windows from real ones it has not seen: 0.5 cannot, 1 always does.

    auc: of all loops together. floor: the same of the second halves of the records against the first. each: (R,) of
    every record by itself. NaN where there is too little to ask: a few windows tell nothing.
    """

    auc: float
    floor: float
    each: tuple[float, ...]


def likeness(record: Record, column: int, learned: Learned, seed: int = 42) -> Likeness:
    """Run the loop learned from a column of a record, and compare."""
    real = _held(np.stack([record.pv[:, column], record.op[:, column], record.sp[:, column]], axis=1)[:LONGEST])
    synthetic = run_free(learned, len(real), seed)
    interval = learned.interval / 1e9
    pair, other = real[:, :2], synthetic[:, :2]
    if len(pair) < SHORTEST or not np.ptp(pair[:, 0]):
        return Likeness(real, synthetic, interval, None, None, float("nan"))
    half = len(pair) // 2
    return Likeness(real, synthetic, interval, distances(pair, other), distances(pair[:half], pair[half:]),
                    copy_ratio(pair[:half], other, pair[half:]))


def run_free(learned: Learned, samples: int, seed: int = 42) -> Floats:
    """(samples, 3) PV, OP and SP of the learned loop, as they would be recorded."""
    loop = learned.loop if learned.loop.mode != "CAS" else replace(learned.loop, mode="AUT", cascade=None)
    # Laws have the record's own time; a loop of plain numbers needs its controller to run as often as it does.
    scan = learned.interval if loop.learned_model is not None else default_scan(learned.interval)
    plant = Plant((loop,), seed=seed, start=START, interval=learned.interval, scan=scan)
    block = plant.advance(samples)
    return _held(np.stack([block.pv[:, 0], block.op[:, 0], block.sp[:, 0]], axis=1))


def discrimination(likenesses: Sequence[Likeness], loops: Sequence[Hashable]) -> Discrimination:
    """Ask a forest of all loops at once; loops: of each its name, by which it is held out whole.

    A loop by itself is held out in fifths of its time.
    """
    pairs, others, groups, of = [], [], [], []
    alone = len(set(loops)) == 1
    for i, (one, loop) in enumerate(zip(likenesses, loops, strict=True)):
        if one.distances is None:
            continue
        parts = 5 if alone else 1
        for part, (pair, other) in enumerate(zip(np.array_split(one.real[:, :2], parts),
                                                 np.array_split(one.synthetic[:, :2], parts), strict=True)):
            pairs.append(pair)
            others.append(other)
            groups.append((loop, part))
            of.append(i)
    nothing = float("nan")
    if not pairs:
        return Discrimination(nothing, nothing, (nothing,) * len(likenesses))
    most = max(1, WINDOWS_AT_MOST // (2 * len(pairs)))
    whole = told_apart(pairs, others, groups, most=most)
    halves = [(pair[:len(pair) // 2], pair[len(pair) // 2:]) for pair in pairs]
    floor = told_apart([first for first, _ in halves], [second for _, second in halves], groups,
                       most=most)
    numbers = np.array(of, np.intp)[whole.record]
    each = (whole.auc(numbers == i) if (numbers == i).sum() >= FEWEST else nothing for i in range(len(likenesses)))
    return Discrimination(whole.auc(), floor.auc(), tuple(each))


def _held(signals: Floats) -> Floats:
    """Where there is no value the last one holds; before the first, that one; nought where there is none at all."""
    held = forward_fill(signals, np.isfinite(signals))
    for column in held.T:
        known = np.flatnonzero(np.isfinite(column))
        column[:known[0] if len(known) else len(column)] = column[known[0]] if len(known) else 0.0
    return held
