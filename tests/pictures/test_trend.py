"""What is drawn of a loop is what it did: no spike is lost, no gap is bridged, nothing is made up."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from clpm_execd.config.loops import parse_configuration
from clpm_execd.pictures.trend import Bar, Trend, lanes, run_of, thinned, trends
from clpm_execd.plant.block import Block
from clpm_execd.plant.plant import SECOND, Plant

START = 1_736_503_500 * SECOND


def block_of(text: dict[str, object], samples: int = 600) -> Block:
    configuration = parse_configuration({"loop": [text]})
    return Plant(configuration.loops, seed=1, start=START).advance(samples)


def drawn(samples: int = 600, run: int = 1, **loop: object) -> Trend:
    block = block_of({"id": "A", **loop}, samples)
    trend, = trends([block], ["A"], SECOND, run)
    return trend


values = arrays.arrays(np.float64, st.integers(1, 300), elements=st.one_of(
    st.floats(-1e6, 1e6), st.just(float("nan")), st.just(0.0)))


@given(values, st.integers(1, 50))
@settings(max_examples=200)
def test_a_thinned_line_keeps_the_extremes_of_every_run_and_invents_nothing(y: np.ndarray, run: int) -> None:
    t = np.arange(len(y), dtype=np.int64)
    times, kept = thinned(t, y, run)
    assert np.all(np.diff(times) > 0)
    assert np.array_equal(kept, y[times], equal_nan=True)
    assert times[0] == 0
    assert times[-1] == len(y) - 1
    broken = np.isnan(kept)
    for before, after in itertools.pairwise(times[~broken].tolist()):
        if np.isnan(y[before:after]).any():
            assert broken[(times > before) & (times < after)].any(), "a gap is bridged"
    for first in range(0, len(y), max(run, 1)):
        of_run = y[first:first + run]
        shown = kept[(times >= first) & (times < first + run)]
        if not np.isnan(of_run).all():
            assert np.nanmax(shown) == np.nanmax(of_run)
            assert np.nanmin(shown) == np.nanmin(of_run)
    assert len(times) <= 4 * (len(y) // max(run, 4) + 1) + np.isnan(y).sum() or run <= 4


def test_a_single_spike_in_a_day_is_drawn() -> None:
    y = np.zeros(86_400)
    y[54_321] = 7.0
    _, kept = thinned(np.arange(86_400), y, run_of(86_400, 2000))
    assert kept.max() == 7.0
    assert len(kept) <= 2000


def test_thinning_in_parts_is_thinning_at_once() -> None:
    whole = block_of({"id": "A"}, 600)
    plant = Plant(parse_configuration({"loop": [{"id": "A"}]}).loops, seed=1, start=START)
    parts = trends((plant.advance(n) for n in (240, 240, 120)), ["A"], SECOND, 24)
    once = trends([whole], ["A"], SECOND, 24)
    for signal in ("pv", "sp", "op"):
        assert np.array_equal(getattr(parts[0], signal).values, getattr(once[0], signal).values)
        assert np.array_equal(getattr(parts[0], signal).times, getattr(once[0], signal).times)


def test_of_a_level_only_the_ends_and_the_steps_are_kept() -> None:
    trend = drawn(move=[{"at": "5m", "sp": 60.0}])
    assert trend.sp.values.tolist() == [50.0, 50.0, 60.0, 60.0]
    assert ((trend.sp.times - START) // SECOND).tolist() == [0, 299, 300, 599]


def test_a_missing_sample_breaks_the_line() -> None:
    trend = drawn(fault=[{"kind": "gaps", "share": 0.3, "length": 20.0, "start": "2m"}])
    seconds = (trend.pv.times - START) // SECOND
    there = seconds[np.isfinite(trend.pv.values)]
    assert len(there) < 560
    for before, after in itertools.pairwise(there):
        if after - before > 1:
            assert np.isnan(trend.pv.values[(seconds > before) & (seconds < after)]).any()


def test_what_a_historian_left_out_is_joined_and_marked() -> None:
    trend = drawn(fault=[{"kind": "compression"}])
    assert trend.pv.sparse
    assert np.isfinite(trend.pv.values).all()


def test_late_samples_are_drawn_at_the_time_they_say() -> None:
    trend = drawn(fault=[{"kind": "late", "share": 0.5, "delay": 30.0}])
    assert np.all(np.diff(trend.pv.times) >= 0)
    healthy = drawn()
    known = dict(zip(healthy.pv.times.tolist(), healthy.pv.values.tolist(), strict=True))
    finite = np.isfinite(trend.pv.values)
    assert all(known[time] == value for time, value in
               zip(trend.pv.times[finite].tolist(), trend.pv.values[finite].tolist(), strict=True))


def test_pv_is_drawn_over_a_set_point_that_moves_all_the_time() -> None:
    pair = [{"id": "TIC1", "type": "temperature"}, {"id": "FIC1", "cascade": "TIC1"}]
    block = Plant(parse_configuration({"loop": pair}).loops, seed=1, start=START).advance(300)
    master, slave = trends([block], block.loops, SECOND)
    assert slave.sp_moves
    assert not master.sp_moves


def test_modes_follow_each_other_without_a_gap() -> None:
    trend = drawn(move=[{"at": "2m", "mode": "MAN"}, {"at": "4m", "mode": "AUT"}])
    assert [run.mode for run in trend.modes] == ["AUT", "MAN", "AUT"]
    assert [(run.start - START) // SECOND for run in trend.modes] == [0, 120, 240]
    assert [run.end for run in trend.modes] == [*(run.start for run in trend.modes[1:]), trend.end]
    assert trend.end == START + 600 * SECOND


def test_a_lane_tells_what_shows_from_what_does_not() -> None:
    trend = drawn(fault=[{"kind": "stiction", "S": 6.0, "J": 3.0, "start": "1m", "ramp": "3m"},
                         {"kind": "white-noise", "start": "5m", "duration": "1m"}])
    stiction, noise = lanes(trend, SECOND)
    hidden, visible = stiction.bars
    assert (stiction.fault, hidden.shown, visible.shown) == ("stiction", "hidden", "visible")
    assert hidden.start < visible.start
    assert hidden.end == visible.end == trend.end
    assert noise.bars == (Bar("control", START + 300 * SECOND, START + 360 * SECOND),)


@pytest.mark.parametrize(("samples", "points"), [(1, 1), (100, 100), (101, 100), (86_400, 3000), (7 * 86_400, 1200)])
def test_as_many_points_are_left_as_there_is_room_for(samples: int, points: int) -> None:
    t = np.arange(samples)
    times, _ = thinned(t, np.random.default_rng(1).normal(size=samples), run_of(samples, points))
    assert len(times) <= points + 4
