"""What faults of the data path do to recorded samples, and which values a historian archives."""

from __future__ import annotations

import numpy as np
import pytest
from faulty_loops import fault, loop, run
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import examples

from clpm_execd.plant.block import BAD, Arrivals, Block
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.faults.data_path import Compression, _sample_dtype
from clpm_execd.plant.faults.kinds import Fault, Stage
from clpm_execd.plant.plant import SECOND
from clpm_execd.plant.specs import FaultSpec

SAMPLES = 4000


def transmit(*faults: FaultSpec, samples: int = SAMPLES) -> tuple[Block, Arrivals]:
    block = run(loop(*faults), samples=samples)
    assert block.arrivals is not None
    return block, block.arrivals


def test_gaps_remove_their_share_of_samples_in_runs() -> None:
    block, arrivals = transmit(fault("gaps", share=0.3, length=10.0))
    assert len(arrivals) == pytest.approx(0.7 * SAMPLES, rel=0.1)
    missing = ~np.isin(block.times, arrivals.times)
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], missing, [0]]))))[::2]
    assert runs.mean() > 9


def test_late_samples_arrive_after_later_ones_and_none_is_lost() -> None:
    block, arrivals = transmit(fault("late", share=0.2, delay=15.0, duration=SAMPLES - 20))
    assert np.array_equal(np.sort(arrivals.times), block.times)
    late = block.times[arrivals.row] - arrivals.times
    assert set(late.tolist()) == {0, 15 * SECOND}
    assert (late > 0).mean() == pytest.approx(0.2, rel=0.2)


def test_a_late_sample_keeps_its_values() -> None:
    block, arrivals = transmit(fault("late", share=0.2, delay=15.0))
    measured = np.searchsorted(block.times, arrivals.times)
    for signal in ("pv", "op", "sp", "true_pv", "valve_position"):
        assert np.array_equal(getattr(arrivals, signal), getattr(block, signal)[measured, 0])


@pytest.mark.parametrize("kind", ["late", "clock-skew", "duplicates", "gaps"])
def test_a_sample_keeps_the_sequence_number_of_its_measurement(kind: str) -> None:
    block, arrivals = transmit(fault(kind))
    assert (np.diff(block.seq[:, 0]) == 1).all()
    measured = np.searchsorted(block.seq[:, 0], arrivals.seq)
    assert np.array_equal(block.seq[measured, 0], arrivals.seq)
    assert np.array_equal(block.true_pv[measured, 0], arrivals.true_pv)


def test_duplicates_have_the_same_timestamp() -> None:
    block, arrivals = transmit(fault("duplicates", share=0.25))
    times, counts = np.unique(arrivals.times, return_counts=True)
    assert np.array_equal(times, block.times)
    assert set(counts) == {1, 2}
    assert (counts == 2).mean() == pytest.approx(0.25, rel=0.2)


def test_a_sample_of_bad_quality_has_no_value() -> None:
    _, arrivals = transmit(fault("bad-quality", share=0.3))
    assert np.array_equal(np.isnan(arrivals.pv), arrivals.quality == BAD)
    assert (arrivals.quality == BAD).any()
    assert not np.isnan(arrivals.op).any()


def test_timestamps_are_off_by_the_offset_while_the_fault_is_present() -> None:
    block, arrivals = transmit(fault("clock-skew", 100, 50, offset=-7.5))
    error = (arrivals.times - block.times) / SECOND
    assert set(error[100:150]) == {-7.5}
    assert not error[:100].any()
    assert not error[150:].any()


def test_a_late_sample_has_the_ground_truth_of_when_it_was_measured() -> None:
    block, arrivals = transmit(fault("bias", 1000, 500), fault("late", share=0.5, delay=100.0))
    assert block.truth is not None
    measured = np.searchsorted(block.times, arrivals.times)
    assert np.array_equal(arrivals.present, block.truth.present[measured])


def test_samples_leave_in_order_of_rows() -> None:
    _, arrivals = transmit(*(fault(name) for name, kind in FAULTS.items() if kind.stage is Stage.DATA_PATH))
    assert (np.diff(arrivals.row) >= 0).all()


def compress(values: list[float], exception: float, deviation: float, longest: float = 1e6) -> list[int]:
    """Return the seconds of the values that a historian archives of these, one per second."""
    spec = fault("compression", exception=exception, deviation=deviation, longest=longest)
    rows = np.zeros(len(values), dtype=_sample_dtype(1))
    rows["pv"], rows["times"] = values, SECOND * np.arange(len(values))
    rows["leaves"] = np.arange(len(values))
    stage = Compression(Fault(FAULTS["compression"], spec, loop(), 1.0), np.uint64(0), SECOND)
    archived = stage.transmit(rows, np.ones(len(values)), len(values) - 1)
    assert (np.diff(archived["leaves"]) >= 0).all()
    return [int(row) // SECOND for row in archived["times"]]


def apply_exception_test(values: list[float], band: float) -> list[int]:
    """Return what an exception test reports: the dead band of historian-data-compression (Vanhevel, 2022)."""
    reported, last = [0], 0
    for k in range(1, len(values)):
        if abs(values[k] - values[last]) > band:
            if k - 1 != last:
                reported.append(k - 1)
            reported.append(k)
            last = k
    return reported


def apply_swinging_door(points: list[int], values: list[float], deviation: float) -> list[int]:
    """Return what a swinging door archives: each line is as long as all points between stay within the deviation."""
    archived, begin = points[:1], 0
    for end in range(2, len(points)):
        t0, v0 = points[begin], values[points[begin]]
        slope = (values[points[end]] - v0) / (points[end] - t0)
        between = points[begin + 1 : end]
        if any(abs(v0 + slope * (t - t0) - values[t]) > deviation * (1 + 1e-12) for t in between):
            begin = end - 1
            archived.append(points[begin])
    return archived


# Whole numbers over odd deviations: no point lies on a limit, where rounding would decide.
records = st.lists(st.integers(0, 40), min_size=2, max_size=80).map(lambda integers: [float(v) for v in integers])


@settings(max_examples=examples(150))
@given(records, st.sampled_from([0.0, 1.5, 4.5]), st.sampled_from([0.0137, 2.0137, 7.0137]))
def test_compression_is_an_exception_test_and_then_a_swinging_door(
        values: list[float], exception: float, deviation: float) -> None:
    reported = apply_exception_test(values, exception)
    assert compress(values, exception, deviation) == apply_swinging_door(reported, values, deviation)


def test_a_constant_value_is_archived_from_time_to_time() -> None:
    assert np.diff(compress([5.0] * 400, 1.0, 2.0, longest=60.0)).max() <= 122


def test_pending_samples_leave_when_compression_ends() -> None:
    block, arrivals = transmit(fault("compression", 100, 1000))
    assert len(arrivals) < SAMPLES - 300
    assert np.isin(block.times[1100:], arrivals.times).all()
    assert len(np.unique(arrivals.times)) == len(arrivals)
