"""A picture shows what a loop did: no spike is lost, no gap is bridged, and no point is invented."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tiers import examples

from clpm_execd.config.loops import parse_configuration
from clpm_execd.pictures.matplotlib_image import render_image
from clpm_execd.pictures.style import LIGHT
from clpm_execd.pictures.trend import (
    Bar,
    Line,
    Trend,
    build_lanes,
    build_trends,
    choose_limits,
    choose_op_limits,
    choose_run,
    downsample,
)
from clpm_execd.plant.block import Block
from clpm_execd.plant.plant import SECOND, Plant

START = 1_736_503_500 * SECOND


def block_of(text: dict[str, object], samples: int = 600) -> Block:
    configuration = parse_configuration({"loop": [text]})
    return Plant(configuration.loops, seed=1, start=START).advance(samples)


def trend_of(samples: int = 600, run: int = 1, **loop: object) -> Trend:
    block = block_of({"id": "A", **loop}, samples)
    trend, = build_trends([block], ["A"], SECOND, run)
    return trend


values = arrays.arrays(np.float64, st.integers(1, 300), elements=st.one_of(
    st.floats(-1e6, 1e6), st.just(float("nan")), st.just(0.0)))


@given(values, st.integers(1, 50))
@settings(max_examples=examples(200))
def test_a_downsampled_line_has_the_extremes_of_every_run_and_no_other_points(y: np.ndarray, run: int) -> None:
    t = np.arange(len(y), dtype=np.int64)
    times, values = downsample(t, y, run)
    assert np.all(np.diff(times) > 0)
    assert np.array_equal(values, y[times], equal_nan=True)
    assert times[0] == 0
    assert times[-1] == len(y) - 1
    breaks = np.isnan(values)
    for before, after in itertools.pairwise(times[~breaks].tolist()):
        if np.isnan(y[before:after]).any():
            assert breaks[(times > before) & (times < after)].any(), "a gap is bridged"
    for first in range(0, len(y), max(run, 1)):
        of_run = y[first:first + run]
        values_of_run = values[(times >= first) & (times < first + run)]
        if not np.isnan(of_run).all():
            assert np.nanmax(values_of_run) == np.nanmax(of_run)
            assert np.nanmin(values_of_run) == np.nanmin(of_run)
    assert len(times) <= 4 * (len(y) // max(run, 4) + 1) + np.isnan(y).sum() or run <= 4


def test_a_single_spike_in_a_day_is_drawn() -> None:
    y = np.zeros(86_400)
    y[54_321] = 7.0
    _, values = downsample(np.arange(86_400), y, choose_run(86_400, 2000))
    assert values.max() == 7.0
    assert len(values) <= 2000


def test_downsampling_block_by_block_is_the_same_as_at_once() -> None:
    block = block_of({"id": "A"}, 600)
    plant = Plant(parse_configuration({"loop": [{"id": "A"}]}).loops, seed=1, start=START)
    in_parts = build_trends((plant.advance(n) for n in (240, 240, 120)), ["A"], SECOND, 24)
    at_once = build_trends([block], ["A"], SECOND, 24)
    for signal in ("pv", "sp", "op"):
        assert np.array_equal(getattr(in_parts[0], signal).values, getattr(at_once[0], signal).values)
        assert np.array_equal(getattr(in_parts[0], signal).times, getattr(at_once[0], signal).times)


def test_a_level_has_points_at_its_ends_only() -> None:
    trend = trend_of(move=[{"at": "5m", "sp": 60.0}])
    assert trend.sp.values.tolist() == [50.0, 50.0, 60.0, 60.0]
    assert ((trend.sp.times - START) // SECOND).tolist() == [0, 299, 300, 599]


def test_a_missing_sample_breaks_the_line() -> None:
    trend = trend_of(fault=[{"kind": "gaps", "share": 0.3, "length": 20.0, "start": "2m"}])
    seconds = (trend.pv.times - START) // SECOND
    present = seconds[np.isfinite(trend.pv.values)]
    assert len(present) < 560
    for before, after in itertools.pairwise(present):
        if after - before > 1:
            assert np.isnan(trend.pv.values[(seconds > before) & (seconds < after)]).any()


def test_samples_that_a_historian_compressed_are_joined_and_have_markers() -> None:
    trend = trend_of(fault=[{"kind": "compression"}])
    assert trend.pv.is_sparse
    assert np.isfinite(trend.pv.values).all()


def test_late_samples_are_drawn_at_the_time_that_they_carry() -> None:
    trend = trend_of(fault=[{"kind": "late", "share": 0.5, "delay": 30.0}])
    assert np.all(np.diff(trend.pv.times) >= 0)
    healthy = trend_of()
    value_at = dict(zip(healthy.pv.times.tolist(), healthy.pv.values.tolist(), strict=True))
    finite = np.isfinite(trend.pv.values)
    assert all(value_at[time] == value for time, value in
               zip(trend.pv.times[finite].tolist(), trend.pv.values[finite].tolist(), strict=True))


def test_pv_is_drawn_over_a_set_point_that_moves_all_the_time() -> None:
    pair = [{"id": "TIC1", "type": "temperature"}, {"id": "FIC1", "cascade": "TIC1"}]
    block = Plant(parse_configuration({"loop": pair}).loops, seed=1, start=START).advance(300)
    master, slave = build_trends([block], block.loops, SECOND)
    assert slave.has_moving_sp
    assert not master.has_moving_sp


def test_modes_follow_each_other_without_a_gap() -> None:
    trend = trend_of(move=[{"at": "2m", "mode": "MAN"}, {"at": "4m", "mode": "AUT"}])
    assert [run.mode for run in trend.modes] == ["AUT", "MAN", "AUT"]
    assert [(run.start - START) // SECOND for run in trend.modes] == [0, 120, 240]
    assert [run.end for run in trend.modes] == [*(run.start for run in trend.modes[1:]), trend.end]
    assert trend.end == START + 600 * SECOND


def test_a_lane_distinguishes_visible_hidden_and_control_bars() -> None:
    trend = trend_of(fault=[{"kind": "stiction", "S": 6.0, "J": 3.0, "start": "1m", "ramp": "3m"},
                            {"kind": "white-noise", "start": "5m", "duration": "1m"}])
    stiction, noise = build_lanes(trend, SECOND)
    hidden, visible = stiction.bars
    assert (stiction.fault, hidden.kind, visible.kind) == ("stiction", "hidden", "visible")
    assert hidden.start < visible.start
    assert hidden.end == visible.end == trend.end
    assert noise.bars == (Bar("control", START + 300 * SECOND, START + 360 * SECOND),)


@pytest.mark.parametrize(("samples", "points"), [(1, 1), (100, 100), (101, 100), (86_400, 3000), (7 * 86_400, 1200)])
def test_a_line_has_no_more_points_than_there_is_room_for(samples: int, points: int) -> None:
    t = np.arange(samples)
    times, _ = downsample(t, np.random.default_rng(1).normal(size=samples), choose_run(samples, points))
    assert len(times) <= points + 4


def test_an_axis_does_not_reach_single_spikes_and_marks_them() -> None:
    trend = trend_of(samples=7200, fault=[{"kind": "spikes", "size": 40.0, "rate": 10.0}])
    healthy, limits = choose_limits(trend_of(samples=7200)), choose_limits(trend)
    assert not healthy.spikes
    assert len(limits.spikes) > 5
    assert limits.high - limits.low < 4.0 * (healthy.high - healthy.low)
    assert all((spike.value > limits.high) == spike.is_above != (spike.value < limits.low) for spike in limits.spikes)
    furthest = max(limits.spikes, key=lambda spike: spike.value)
    assert furthest.value == np.nanmax(trend.pv.values)
    assert np.isin(furthest.time, trend.pv.times)


def test_the_axis_of_op_does_not_reach_the_kicks_after_single_spikes_of_pv() -> None:
    trend = trend_of(samples=7200, fault=[{"kind": "spikes", "size": 40.0, "rate": 10.0}])
    healthy, limits = choose_op_limits(trend_of(samples=7200)), choose_op_limits(trend)
    assert not healthy.spikes
    assert limits.high - limits.low < 4.0 * (healthy.high - healthy.low)
    assert max(spike.value for spike in limits.spikes) == np.nanmax(trend.op.values)


def test_the_axis_of_op_reaches_a_time_in_manual_at_another_output() -> None:
    moves = [{"at": "10m", "mode": "MAN"}, {"at": "10m", "op": 80.0}, {"at": "12m", "mode": "AUT"}]
    limits = choose_op_limits(trend_of(samples=3600, move=moves))
    assert limits.high > 80.0
    assert not limits.spikes


def test_an_axis_reaches_what_is_more_than_a_few_samples_and_every_set_point() -> None:
    step = trend_of(samples=3600, move=[{"at": "10m", "sp": 90.0}, {"at": "11m", "sp": 50.0}])
    bias = trend_of(samples=3600, mode="MAN",
                    fault=[{"kind": "bias", "size": 40.0, "start": "10m", "duration": "5m"}])
    for trend in (step, bias):
        limits = choose_limits(trend)
        assert limits.low < min(trend.pv.values.min(), trend.sp.values.min())
        assert limits.high > max(trend.pv.values.max(), trend.sp.values.max())
        assert not limits.spikes


@pytest.mark.parametrize(("duration", "labels"), [
    (20, ("10:05:05", "2025-01-10")), (600, ("10:10", "2025-01-10")), (2 * 86_400, ("12:00", "01-11", "2025-01-12")),
    (30 * 86_400, ("01-21", "02-01", "2025")), (900 * 86_400, ("2025-09", "2026-01")), (9000 * 86_400, ("2032",))])
def test_the_time_axis_of_an_image_can_be_read_at_any_span(duration: int, labels: tuple[str, ...]) -> None:
    times = START + np.array([0, duration]) * SECOND
    line = Line(times, np.array([1.0, 2.0]))
    trend = Trend("A", int(times[0]), int(times[1]), line, line, line, (), ())
    svg = render_image([trend], LIGHT, "svg").decode()
    texts = re.findall(r">([^<>\n]+)</text>", svg)
    assert set(labels) <= set(texts), texts
