"""Hovering over a page shows what the loop did, and a page sends nothing anywhere."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import replace
from datetime import datetime, timezone
from importlib.resources import files

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from clpm_execd.config.loops import parse_configuration
from clpm_execd.pictures.page import render_figure
from clpm_execd.pictures.plotly_page import add_hover_points, build_preview_page, draw_trend, pack_details
from clpm_execd.pictures.trend import Trend, build_trends
from clpm_execd.plant.plant import SECOND, Plant

START = 1_736_503_500 * SECOND
LOOP = {"id": "A", "fault": [{"kind": "stiction", "S": 6.0, "J": 3.0, "start": "1m", "duration": "3m", "ramp": "1m"},
                             {"kind": "grade-change", "start": "5m"}], "move": [{"at": "8m", "mode": "MAN"}]}


def trend_of(samples: int = 600) -> Trend:
    plant = Plant(parse_configuration({"loop": [LOOP]}).loops, seed=1, start=START)
    trend, = build_trends([plant.advance(samples)], ["A"], SECOND)
    return trend


@given(arrays.arrays(np.float64, st.integers(0, 60), elements=st.sampled_from([0.0, 1.0, float("nan")])),
       st.integers(1, 50))
def test_hover_points_are_added_along_levels_only(values: npt.NDArray[np.float64], step: int) -> None:
    times = np.cumsum(np.arange(len(values), dtype=np.int64) % 7 + 1)
    all_times, all_values = add_hover_points(times, values, step)
    assert np.all(np.diff(all_times) > 0)
    assert set(times.tolist()) <= set(all_times.tolist())
    last_sample = np.searchsorted(times, all_times, side="right") - 1
    assert np.array_equal(all_values, values[last_sample], equal_nan=True)
    is_added = ~np.isin(all_times, times)
    assert np.array_equal(all_values[is_added], values[last_sample[is_added] + 1])


def test_a_figure_names_every_fault_and_mode_with_its_times() -> None:
    trend = trend_of()
    figure, height = draw_trend(trend)
    stiction = next(episode for episode in trend.episodes if episode.fault == "stiction")
    [(visible_from, _)] = stiction.visible
    texts = {(trace.hovertemplate or "").removesuffix("<extra></extra>") for trace in figure.data}
    assert {"AUT", "MAN", "stiction: present, not visible, 10:06:00 to 10:09:00",
            "grade-change: negative control, 10:10:00 to 10:15:00"} <= texts
    since = datetime.fromtimestamp(visible_from / SECOND, timezone.utc)
    assert f"stiction: visible, {since:%H:%M:%S} to 10:09:00" in texts
    assert list(figure.layout.yaxis3.ticktext) == ["Mode", "stiction", "grade-change"]
    assert figure.layout.yaxis.title.text == "PV, SP"
    assert figure.layout.yaxis2.title.text == "OP (%)"
    assert height > 300


def test_the_lines_of_an_hour_are_drawn_from_its_start_to_its_end() -> None:
    trend = trend_of(3600)
    figure, _ = draw_trend(trend)
    pv = figure.data[0]
    assert np.array_equal(np.asarray(pv.x)[[0, -1]], trend.pv.times[[0, -1]] / 1e6)
    assert len(pv.x) >= len(trend.pv.times)


def test_a_page_has_no_button_that_uploads_its_data() -> None:
    script = files("clpm_execd.pictures").joinpath("page.js").read_text()
    assert 'showSendToCloud: false, plotlyServerURL: ""' in script
    assert build_preview_page([trend_of()], "lead").html().count('class="figure"') == 1


def test_a_figure_that_is_zoomed_in_has_every_point_of_a_line() -> None:
    trend = trend_of(4000)
    figure, _ = draw_trend(trend, points=400)
    assert len(figure.data[0].x) < 450
    packed = pack_details(trend)
    head, _, arrays_ = packed.partition(b"\n")
    described = json.loads(head)
    lines = (trend.pv, trend.sp, trend.op)
    assert described["points"] == [len(line.times) for line in lines]
    offset = 0
    for line in lines:
        n = len(line.times)
        steps, values_ = (np.frombuffer(arrays_, kind, n, offset + 4 * n * k) for k, kind in enumerate(("<u4", "<f4")))
        assert np.array_equal(described["start"] * 10**6 + np.cumsum(steps, dtype=np.int64) * described["unit"] * 10**6,
                              line.times)
        assert np.array_equal(values_, line.values.astype(np.float32), equal_nan=True)
        offset += 8 * n
    assert offset == len(arrays_)
    page = render_figure(figure, 300, packed)
    [text] = re.findall(r'class="details">([^<]+)<', page)
    assert gzip.decompress(base64.b64decode(text)) == packed


def test_figures_have_a_common_time_and_many_have_a_filter() -> None:
    trends = [replace(trend_of(60), loop=f"A{n}") for n in range(6)]
    few, many = (build_preview_page(trends[:n], "").html() for n in (5, 6))
    assert 'id="filter"' not in few
    assert 'id="filter"' in many
    assert '<main class="columns-2" data-common-time>' in many
    assert "class=\"details\"" not in many, "all points are drawn at once"


def test_an_arrow_has_the_value_of_a_spike_beyond_the_axis() -> None:
    plant = Plant(parse_configuration({"loop": [
        {"id": "A", "fault": [{"kind": "spikes", "size": 40.0, "rate": 10.0}]}]}).loops, seed=1, start=START)
    trend, = build_trends([plant.advance(3600)], ["A"], SECOND)
    figure, _ = draw_trend(trend)
    [arrows] = [trace for trace in figure.data if trace.name == "PV beyond the axis"]
    low, high = figure.layout.yaxis.range
    assert high < float(np.nanmax(trend.pv.values))
    assert f"{np.nanmax(trend.pv.values):.6g}" in arrows.text
    assert set(arrows.y) <= {low, high}
