"""What leaves of samples whose data path is at fault, and what a historian keeps."""

from __future__ import annotations

import numpy as np
import pytest
from faulty import fault, loop, run
from hypothesis import given, settings
from hypothesis import strategies as st

from clpm_execd.plant.block import BAD, Arrivals, Block
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.faults.data_path import Compression, _dtype
from clpm_execd.plant.faults.kinds import Fault
from clpm_execd.plant.plant import SECOND
from clpm_execd.plant.specs import FaultSpec

SAMPLES = 4000


def sent(*faults: FaultSpec, samples: int = SAMPLES) -> tuple[Block, Arrivals]:
    block = run(loop(*faults), samples=samples)
    assert block.arrivals is not None
    return block, block.arrivals


def test_gaps_leave_out_their_share_in_runs() -> None:
    block, left = sent(fault("gaps", share=0.3, length=10.0))
    assert len(left) == pytest.approx(0.7 * SAMPLES, rel=0.1)
    missing = ~np.isin(block.times, left.times)
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], missing, [0]]))))[::2]
    assert runs.mean() > 9


def test_late_samples_come_after_later_ones_and_none_is_lost() -> None:
    block, left = sent(fault("late", share=0.2, delay=15.0, duration=SAMPLES - 20))
    assert np.array_equal(np.sort(left.times), block.times)
    late = block.times[left.row] - left.times
    assert set(late.tolist()) == {0, 15 * SECOND}
    assert (late > 0).mean() == pytest.approx(0.2, rel=0.2)


def test_a_late_sample_keeps_its_values() -> None:
    block, left = sent(fault("late", share=0.2, delay=15.0))
    measured = np.searchsorted(block.times, left.times)
    for signal in ("pv", "op", "sp", "true_pv", "valve_position"):
        assert np.array_equal(getattr(left, signal), getattr(block, signal)[measured, 0])


def test_duplicates_come_twice_at_the_same_time() -> None:
    block, left = sent(fault("duplicates", share=0.25))
    times, counts = np.unique(left.times, return_counts=True)
    assert np.array_equal(times, block.times)
    assert set(counts) == {1, 2}
    assert (counts == 2).mean() == pytest.approx(0.25, rel=0.2)


def test_a_bad_value_has_no_number() -> None:
    _, left = sent(fault("bad-quality", share=0.3))
    assert np.array_equal(np.isnan(left.pv), left.quality == BAD)
    assert (left.quality == BAD).any()
    assert not np.isnan(left.op).any()


def test_a_clock_is_off_by_its_offset_while_it_lasts() -> None:
    block, left = sent(fault("clock-skew", 100, 50, offset=-7.5))
    off = (left.times - block.times) / SECOND
    assert set(off[100:150]) == {-7.5}
    assert not off[:100].any()
    assert not off[150:].any()


def test_every_sample_tells_the_truth_of_when_it_was_measured() -> None:
    block, left = sent(fault("bias", 1000, 500), fault("late", share=0.5, delay=100.0))
    assert block.truth is not None
    measured = np.searchsorted(block.times, left.times)
    assert np.array_equal(left.present, block.truth.present[measured])


def test_samples_leave_in_order_of_rows() -> None:
    _, left = sent(*(fault(name) for name, kind in FAULTS.items() if kind.stage == 9))
    assert (np.diff(left.row) >= 0).all()


def compressed(values: list[float], exception: float, deviation: float, longest: float = 1e6) -> list[int]:
    """The values that a historian keeps of these, one a second."""
    spec = fault("compression", exception=exception, deviation=deviation, longest=longest)
    rows = np.zeros(len(values), dtype=_dtype(1))
    rows["pv"], rows["times"] = values, SECOND * np.arange(len(values))
    rows["leaves"] = np.arange(len(values))
    step = Compression(Fault(FAULTS["compression"], spec, loop(), 1.0), np.uint64(0), SECOND)
    left = step.pass_on(rows, np.ones(len(values)), len(values) - 1)
    assert (np.diff(left["leaves"]) >= 0).all()
    return [int(row) // SECOND for row in left["times"]]


def by_exception(values: list[float], band: float) -> list[int]:
    """The dead band of historian-data-compression (Vanhevel, 2022), without its last point."""
    kept, last = [0], 0
    for k in range(1, len(values)):
        if abs(values[k] - values[last]) > band:
            if k - 1 != last:
                kept.append(k - 1)
            kept.append(k)
            last = k
    return kept


def by_door(points: list[int], values: list[float], deviation: float) -> list[int]:
    """Each line as long as all points between stay within the deviation, tried one by one."""
    kept, begin = points[:1], 0
    for end in range(2, len(points)):
        t0, v0 = points[begin], values[points[begin]]
        slope = (values[points[end]] - v0) / (points[end] - t0)
        between = points[begin + 1 : end]
        if any(abs(v0 + slope * (t - t0) - values[t]) > deviation * (1 + 1e-12) for t in between):
            begin = end - 1
            kept.append(points[begin])
    return kept


# Whole numbers over odd deviations: no point lies on a limit, where rounding would decide.
records = st.lists(st.integers(0, 40), min_size=2, max_size=80).map(lambda whole: [float(v) for v in whole])


@settings(max_examples=150, deadline=None)
@given(records, st.sampled_from([0.0, 1.5, 4.5]), st.sampled_from([0.0137, 2.0137, 7.0137]))
def test_a_historian_keeps_what_the_exception_test_and_the_swinging_door_keep(
        values: list[float], exception: float, deviation: float) -> None:
    assert compressed(values, exception, deviation) == by_door(by_exception(values, exception), values, deviation)


def test_a_steady_value_is_kept_from_time_to_time() -> None:
    assert np.diff(compressed([5.0] * 400, 1.0, 2.0, longest=60.0)).max() <= 122


def test_what_a_historian_still_held_leaves_when_compression_ends() -> None:
    block, left = sent(fault("compression", 100, 1000))
    assert len(left) < SAMPLES - 300
    assert np.isin(block.times[1100:], left.times).all()
    assert len(np.unique(left.times)) == len(left)
