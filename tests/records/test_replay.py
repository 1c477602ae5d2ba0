"""A replayed record is a source like the plant: a regular grid without end, however irregular its own times are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plant_records import plant_records

from clpm_execd.plant.block import AUT, BAD, GOOD
from clpm_execd.plant.source import Source
from clpm_execd.problems import BadInput
from clpm_execd.records import Record, Replay, read_record

SECOND = 10**9
NOW = 1_800_000_000 * SECOND


def record(*values: float, seconds: list[float] | None = None, step: float = 10.0, loop: str = "A") -> Record:
    instants = [step * k for k in range(len(values))] if seconds is None else seconds
    column = np.array(values, float)[:, None]
    mode = np.full(column.shape, AUT, np.int8)
    times = (np.array(instants) * SECOND).astype(np.int64)
    return Record((loop,), times, column, column + 100, column + 200, mode, int(step * SECOND), ())


def test_a_record_is_replayed_at_its_own_interval_and_looped():
    source: Source = Replay([record(1, 2, 3)], start=NOW, interval=None)
    assert (source.loops, source.interval, source.next_time) == (("A",), 10 * SECOND, NOW)
    block = source.advance(7)
    assert block.times.tolist() == [NOW + 10 * SECOND * k for k in range(7)]
    assert block.pv[:, 0].tolist() == [1, 2, 3, 1, 2, 3, 1]
    assert block.op[:, 0].tolist() == [101, 102, 103, 101, 102, 103, 101]
    assert source.next_time == NOW + 70 * SECOND


def test_a_faster_stream_holds_values_and_a_slower_one_skips_some():
    fast = Replay([record(1, 2)], start=NOW, interval=4 * SECOND).advance(7)
    assert fast.pv[:, 0].tolist() == [1, 1, 1, 2, 2, 1, 1]  # 0 4 8 12 16 20=0 24=4 s
    slow = Replay([record(1, 2, 3)], start=NOW, interval=20 * SECOND).advance(4)
    assert slow.pv[:, 0].tolist() == [1, 3, 2, 1]


def test_a_gap_holds_the_last_value():
    gap = record(1, 2, 3, seconds=[0, 10, 40])
    assert Replay([gap], start=NOW, interval=None).advance(6).pv[:, 0].tolist() == [1, 2, 2, 2, 3, 1]


def test_a_stopped_replay_resumes_and_one_of_another_record_starts_from_its_beginning():
    stopped = Replay([record(1, 2, 3)], start=NOW, interval=None)
    stopped.advance(5)
    snapshot = stopped.snapshot()
    resumed = Replay([record(1, 2, 3)], start=snapshot.next_time, interval=None, snapshot=snapshot)
    assert resumed.resumed_loops == {"A"}
    assert resumed.advance(4).pv[:, 0].tolist() == stopped.advance(4).pv[:, 0].tolist() == [3, 1, 2, 3]
    other = Replay([record(1, 2, 4)], start=snapshot.next_time, interval=None, snapshot=snapshot)
    assert (other.resumed_loops, other.next_time) == (frozenset(), snapshot.next_time)
    assert other.advance(1).pv[0, 0] == 1


def test_records_are_replayed_side_by_side_each_with_its_own_period():
    block = Replay([record(1, 2), record(5, 6, 7, loop="B", step=5.0)], start=NOW, interval=None).advance(5)
    assert block.loops == ("A", "B")
    assert np.diff(block.times).tolist() == [5 * SECOND] * 4
    assert block.pv.tolist() == [[1, 5], [1, 6], [2, 7], [2, 5], [1, 6]]


def test_a_duplicate_loop_a_zero_interval_and_no_record_are_refused():
    with pytest.raises(BadInput, match="loop A is in 2 records"):
        Replay([record(1), record(2)], start=NOW, interval=None)
    with pytest.raises(BadInput, match="an interval of 0 ns"):
        Replay([record(1)], start=NOW, interval=0)
    with pytest.raises(BadInput, match="there is no record"):
        Replay([], start=NOW, interval=None)


def test_missing_values_have_bad_quality_and_a_record_has_no_ground_truth():
    block = Replay([record(1, float("nan"))], start=NOW, interval=None).advance(2)
    assert block.quality[:, 0].tolist() == [GOOD, BAD]
    assert (block.quality.dtype, block.mode.dtype) == (np.int16, np.int8)
    assert np.isnan(block.valve_position).all()
    assert np.isnan(block.true_pv).all()


def test_advancing_by_no_samples_changes_nothing():
    source = Replay([record(1, 2)], start=NOW, interval=None)
    assert len(source.advance(0)) == 0
    assert source.next_time == NOW


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(1, 40), st.integers(0, 2**62))
def test_values_do_not_depend_on_the_sizes_of_the_blocks(sizes, interval, start):
    def source() -> Replay:
        records = [record(1, 2, 3, 4), record(5, 6, loop="B", step=7.0)]
        return Replay(records, start=start, interval=interval * SECOND)

    at_once = source().advance(sum(sizes))
    in_parts = source()
    blocks = [in_parts.advance(n) for n in sizes]
    for name in ("times", "pv", "op", "sp", "mode", "quality"):
        joined = np.concatenate([getattr(block, name) for block in blocks] or [getattr(at_once, name)])
        assert (joined == getattr(at_once, name)).all()


def test_a_record_of_a_century_does_not_overflow():
    long = record(1, 2, seconds=[0, 4e9], step=4e9)
    block = Replay([long], start=NOW, interval=3_000_000_000 * SECOND).advance(3)
    assert block.pv[:, 0].tolist() == [1, 1, 2]


@pytest.mark.parametrize("path", plant_records(), ids=lambda path: path.name)
def test_every_plant_record_is_replayed(path):
    record = read_record(path)
    block = Replay([record], start=NOW, interval=None).advance(2 * len(record.times))
    assert (np.diff(block.times) == record.interval).all()
    assert len(block.loops) == 1
    assert np.isfinite(block.pv).mean() > 0.99
    assert np.isfinite(block.op).all()
    assert np.isfinite(block.sp).all()
    assert (block.mode == AUT).all()
    if (np.diff(record.times) == record.interval).all():
        assert (block.op == np.concatenate([record.op, record.op])).all()


def test_a_gap_of_a_year_is_replayed_as_a_day(tmp_path):
    path = tmp_path / "FIC1.csv"
    day, year = 86_400, 365 * 86_400
    path.write_text("time,PV,OP\n" + "".join(f"{t},{t % 7},50\n" for t in (0, 60, 120, year, year + 60)))
    record = read_record(path)
    block = Replay([record], start=0, interval=60 * SECOND).advance(day // 60 + 6)
    assert block.pv[:3, 0].tolist() == record.pv[:3, 0].tolist()
    assert (block.pv[2:day // 60 + 2, 0] == record.pv[2, 0]).all()
    assert block.pv[day // 60 + 2:day // 60 + 4, 0].tolist() == record.pv[3:, 0].tolist()
    assert block.pv[-2:, 0].tolist() == record.pv[:2, 0].tolist()
