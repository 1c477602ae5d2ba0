"""A fitted loop against the record it was fitted to: how similar its free-running simulation is.

The loop is simulated as it would stream, from a start of its own and for as long as the record lasts. The baseline is
how far two halves of the record itself differ: no simulation can be expected to be closer.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clpm_execd.evaluation.similarity import (
    WINDOW_SAMPLES,
    Distances,
    measure_distances,
    novelty_ratio,
    score_windows,
)
from clpm_execd.identification.learn import LearnedLoop
from clpm_execd.plant.block import Floats
from clpm_execd.plant.plant import Plant, choose_default_scan
from clpm_execd.records.forward_fill import fill_both_ways
from clpm_execd.records.record import Record

MIN_SAMPLES = 4 * WINDOW_SAMPLES  # each half of the record then has at least two windows
MAX_SAMPLES = 20_000  # of a longer record the first ones are compared: 300 windows, and two days at 10 s
MAX_WINDOWS = 4000  # for the forest, which takes a minute for ten times as many
MIN_WINDOWS_FOR_AUC = 60  # with fewer, an AUC near 0.5 has a standard error above 0.075 (Hanley and McNeil, 1982)
FOLDS_OF_ONE_LOOP = 5  # parts of its time, which are held out where there is no other loop
START_NS = 1_736_503_200_000_000_000  # 2025-01-10T10:00:00Z, an arbitrary instant


@dataclass(frozen=True, slots=True)
class Comparison:
    """A loop as recorded and as simulated.

    Parameters
    ----------
    recorded, simulated : ndarray, shape (T, 3)
        PV and SP in engineering units and OP, as the record has them; gaps are filled forward.
    interval : float
        Between samples, s.
    distances, baseline : Distances or None
        Between the record and the simulation, and between the two halves of the record. They are None where the record
        is shorter than MIN_SAMPLES or does not move.
    novelty : float
        See `similarity.novelty_ratio`; NaN where there are no distances.
    """

    recorded: Floats
    simulated: Floats
    interval: float
    distances: Distances | None
    baseline: Distances | None
    novelty: float


@dataclass(frozen=True, slots=True)
class LoopFit:
    """A fitted loop and how similar it is to its record.

    Parameters
    ----------
    source : str
        The file of the record.
    learned : LearnedLoop
        The fitted loop.
    comparison : Comparison
        The loop as recorded and as simulated.
    """

    source: str
    learned: LearnedLoop
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class DiscriminatorAuc:
    """How well a random forest distinguishes simulated from real windows it was not trained on: 0.5 is by chance.

    Parameters
    ----------
    overall : float
        Of all loops together.
    baseline : float
        The same between the second and the first halves of the records.
    per_loop : tuple of float
        Of each loop by itself.

    A value is NaN where there are too few windows.
    """

    overall: float
    baseline: float
    per_loop: tuple[float, ...]


def compare_with_record(record: Record, column: int, learned: LearnedLoop) -> Comparison:
    """Simulate the loop that was fitted to a column of a record, and return both.

    Parameters
    ----------
    record : Record
        The record.
    column : int
        The index of the loop in the record.
    learned : LearnedLoop
        The fitted loop.
    """
    recorded = fill_both_ways(
        np.stack([record.pv[:, column], record.op[:, column], record.sp[:, column]], axis=1)[:MAX_SAMPLES])
    simulated = simulate_free_run(learned, len(recorded))
    interval = learned.interval / 1e9
    pair, other = recorded[:, :2], simulated[:, :2]
    if len(pair) < MIN_SAMPLES or not np.ptp(pair[:, 0]):
        return Comparison(recorded, simulated, interval, None, None, float("nan"))
    half = len(pair) // 2
    return Comparison(recorded, simulated, interval, measure_distances(pair, other),
                      measure_distances(pair[:half], pair[half:]), novelty_ratio(pair[:half], other, pair[half:]))


def simulate_free_run(learned: LearnedLoop, samples: int, seed: int = 42) -> Floats:
    """Return (samples, 3) PV, OP and SP of the fitted loop, as they would be recorded."""
    loop = learned.loop if learned.loop.mode != "CAS" else replace(learned.loop, mode="AUT", cascade=None)
    # Difference equations have the record's interval; a loop of plain numbers has its controller scan as often.
    scan = learned.interval if loop.learned_model is not None else choose_default_scan(learned.interval)
    plant = Plant((loop,), seed=seed, start=START_NS, interval=learned.interval, scan=scan)
    block = plant.advance(samples)
    return fill_both_ways(np.stack([block.pv[:, 0], block.op[:, 0], block.sp[:, 0]], axis=1))


def evaluate_discriminator(comparisons: Sequence[Comparison], loops: Sequence[Hashable]) -> DiscriminatorAuc:
    """Return how well a random forest distinguishes simulated from recorded loops.

    Parameters
    ----------
    comparisons : sequence of Comparison
        The loops; those without distances are left out.
    loops : sequence of hashables, of the same length
        The loop that each record is of: its records are held out together. A single loop is held out in fifths of its
        time.
    """
    real, simulated, groups, number_of = [], [], [], []
    parts = FOLDS_OF_ONE_LOOP if len(set(loops)) == 1 else 1
    for i, (comparison, loop) in enumerate(zip(comparisons, loops, strict=True)):
        if comparison.distances is None:
            continue
        for part, (pair, other) in enumerate(zip(np.array_split(comparison.recorded[:, :2], parts),
                                                 np.array_split(comparison.simulated[:, :2], parts), strict=True)):
            real.append(pair)
            simulated.append(other)
            groups.append((loop, part))
            number_of.append(i)
    nan = float("nan")
    if not real:
        return DiscriminatorAuc(nan, nan, (nan,) * len(comparisons))
    max_windows = max(1, MAX_WINDOWS // (2 * len(real)))
    scores = score_windows(real, simulated, groups, max_windows=max_windows)
    halves = [(pair[:len(pair) // 2], pair[len(pair) // 2:]) for pair in real]
    baseline = score_windows([first for first, _ in halves], [second for _, second in halves], groups,
                             max_windows=max_windows)
    numbers = np.array(number_of, np.intp)[scores.record]
    per_loop = (scores.auc(numbers == i) if (numbers == i).sum() >= MIN_WINDOWS_FOR_AUC else nan
                for i in range(len(comparisons)))
    return DiscriminatorAuc(scores.auc(), baseline.auc(), tuple(per_loop))
