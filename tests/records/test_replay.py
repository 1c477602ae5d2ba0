"""A replayed record is a source like the plant: one grid without end, whatever its own instants are."""

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
    at = [step * k for k in range(len(values))] if seconds is None else seconds
    column = np.array(values, float)[:, None]
    mode = np.full(column.shape, AUT, np.int8)
    times = (np.array(at) * SECOND).astype(np.int64)
    return Record((loop,), times, column, column + 100, column + 200, mode, int(step * SECOND), ())


def test_the_records_own_interval_is_kept_and_it_begins_anew():
    source: Source = Replay([record(1, 2, 3)], start=NOW, interval=None)
    assert (source.loops, source.interval, source.next_time) == (("A",), 10 * SECOND, NOW)
    block = source.advance(7)
    assert block.times.tolist() == [NOW + 10 * SECOND * k for k in range(7)]
    assert block.pv[:, 0].tolist() == [1, 2, 3, 1, 2, 3, 1]
    assert block.op[:, 0].tolist() == [101, 102, 103, 101, 102, 103, 101]
    assert source.next_time == NOW + 70 * SECOND


def test_a_faster_stream_holds_and_a_slower_one_skips():
    fast = Replay([record(1, 2)], start=NOW, interval=4 * SECOND).advance(7)
    assert fast.pv[:, 0].tolist() == [1, 1, 1, 2, 2, 1, 1]  # 0 4 8 12 16 20=0 24=4 s
    slow = Replay([record(1, 2, 3)], start=NOW, interval=20 * SECOND).advance(4)
    assert slow.pv[:, 0].tolist() == [1, 3, 2, 1]


def test_a_gap_holds_the_last_value():
    gap = record(1, 2, 3, seconds=[0, 10, 40])
    assert Replay([gap], start=NOW, interval=None).advance(6).pv[:, 0].tolist() == [1, 2, 2, 2, 3, 1]


def test_a_replay_that_was_cut_goes_on_from_its_snapshot_and_another_record_begins():
    cut = Replay([record(1, 2, 3)], start=NOW, interval=None)
    cut.advance(5)
    snapshot = cut.snapshot()
    again = Replay([record(1, 2, 3)], start=snapshot.next_time, interval=None, snapshot=snapshot)
    assert again.resumed_loops == {"A"}
    assert again.advance(4).pv[:, 0].tolist() == cut.advance(4).pv[:, 0].tolist() == [3, 1, 2, 3]
    other = Replay([record(1, 2, 4)], start=snapshot.next_time, interval=None, snapshot=snapshot)
    assert (other.resumed_loops, other.next_time) == (frozenset(), snapshot.next_time)
    assert other.advance(1).pv[0, 0] == 1


def test_records_stand_side_by_side_each_with_its_own_period():
    block = Replay([record(1, 2), record(5, 6, 7, loop="B", step=5.0)], start=NOW, interval=None).advance(5)
    assert block.loops == ("A", "B")
    assert np.diff(block.times).tolist() == [5 * SECOND] * 4
    assert block.pv.tolist() == [[1, 5], [1, 6], [2, 7], [2, 5], [1, 6]]


def test_a_loop_twice_an_interval_of_nothing_and_no_record_are_problems():
    with pytest.raises(BadInput, match="the loop A is in 2 records"):
        Replay([record(1), record(2)], start=NOW, interval=None)
    with pytest.raises(BadInput, match="0 ns is no interval"):
        Replay([record(1)], start=NOW, interval=0)
    with pytest.raises(BadInput, match="there is no record"):
        Replay([], start=NOW, interval=None)


def test_bad_values_have_bad_quality_and_there_is_no_truth():
    block = Replay([record(1, float("nan"))], start=NOW, interval=None).advance(2)
    assert block.quality[:, 0].tolist() == [GOOD, BAD]
    assert (block.quality.dtype, block.mode.dtype) == (np.int16, np.int8)
    assert np.isnan(block.valve_position).all()
    assert np.isnan(block.true_pv).all()


def test_nothing_asked_is_nothing_given():
    source = Replay([record(1, 2)], start=NOW, interval=None)
    assert len(source.advance(0)) == 0
    assert source.next_time == NOW


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(1, 40), st.integers(0, 2**62))
def test_in_parts_or_at_once_is_the_same(parts, interval, start):
    def source() -> Replay:
        records = [record(1, 2, 3, 4), record(5, 6, loop="B", step=7.0)]
        return Replay(records, start=start, interval=interval * SECOND)

    whole = source().advance(sum(parts))
    piecewise = source()
    blocks = [piecewise.advance(n) for n in parts]
    for name in ("times", "pv", "op", "sp", "mode", "quality"):
        told = np.concatenate([getattr(block, name) for block in blocks] or [getattr(whole, name)])
        assert (told == getattr(whole, name)).all()


def test_a_record_of_a_century_does_not_overflow():
    long = record(1, 2, seconds=[0, 4e9], step=4e9)
    block = Replay([long], start=NOW, interval=3_000_000_000 * SECOND).advance(3)
    assert block.pv[:, 0].tolist() == [1, 1, 2]


@pytest.mark.parametrize("path", plant_records(), ids=lambda path: path.name)
def test_every_plant_record_is_replayed(path):
    read = read_record(path)
    block = Replay([read], start=NOW, interval=None).advance(2 * len(read.times))
    assert (np.diff(block.times) == read.interval).all()
    assert len(block.loops) == 1
    assert np.isfinite(block.pv).mean() > 0.99
    assert np.isfinite(block.op).all()
    assert np.isfinite(block.sp).all()
    assert (block.mode == AUT).all()
    if (np.diff(read.times) == read.interval).all():
        assert (block.op == np.concatenate([read.op, read.op])).all()
