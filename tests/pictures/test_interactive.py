"""What the pointer finds on a page is what the loop did, and where nothing was asked for nothing is sent."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from clpm_execd.config.loops import parse_configuration
from clpm_execd.pictures.plotly_page import levels_felt, preview_page, trend_figure
from clpm_execd.pictures.trend import Trend, trends
from clpm_execd.plant.plant import SECOND, Plant

START = 1_736_503_500 * SECOND
LOOP = {"id": "A", "fault": [{"kind": "stiction", "S": 6.0, "J": 3.0, "start": "1m", "duration": "3m", "ramp": "1m"},
                             {"kind": "grade-change", "start": "5m"}], "move": [{"at": "8m", "mode": "MAN"}]}


def trend(samples: int = 600) -> Trend:
    plant = Plant(parse_configuration({"loop": [LOOP]}).loops, seed=1, start=START)
    found, = trends([plant.advance(samples)], ["A"], SECOND)
    return found


@given(arrays.arrays(np.float64, st.integers(0, 60), elements=st.sampled_from([0.0, 1.0, float("nan")])),
       st.integers(1, 50))
def test_points_are_added_along_levels_only(values: npt.NDArray[np.float64], step: int) -> None:
    times = np.cumsum(np.arange(len(values), dtype=np.int64) % 7 + 1)
    more, felt = levels_felt(times, values, step)
    assert np.all(np.diff(more) > 0)
    assert set(times.tolist()) <= set(more.tolist())
    held = np.searchsorted(times, more, side="right") - 1
    assert np.array_equal(felt, values[held], equal_nan=True)
    added = ~np.isin(more, times)
    assert np.array_equal(felt[added], values[held[added] + 1])


def test_a_figure_names_every_fault_and_mode_with_its_times() -> None:
    drawn, height = trend_figure(trend())
    said = {(trace.hovertemplate or "").removesuffix("<extra></extra>") for trace in drawn.data}
    assert {"AUT", "MAN", "stiction: present, not visible, 10:06:00 to 10:09:00",
            "grade-change: negative control, 10:10:00 to 10:15:00"} <= said
    assert any(words.startswith("stiction: visible, 10:06:") for words in said)
    assert list(drawn.layout.yaxis3.ticktext) == ["Mode", "stiction", "grade-change"]
    assert drawn.layout.yaxis.title.text == "PV, SP (eng. units)"
    assert drawn.layout.yaxis2.title.text == "OP (%)"
    assert height > 300


def test_the_lines_of_an_hour_are_whole() -> None:
    shown = trend(3600)
    drawn, _ = trend_figure(shown)
    pv = drawn.data[0]
    assert np.array_equal(np.asarray(pv.x)[[0, -1]], shown.pv.times[[0, -1]] / 1e6)
    assert len(pv.x) >= len(shown.pv.times)


def test_a_page_offers_no_way_to_send_a_plant_elsewhere() -> None:
    script = files("clpm_execd.pictures").joinpath("page.js").read_text()
    assert 'showSendToCloud: false, plotlyServerURL: ""' in script
    assert preview_page([trend()], "lead").html().count('class="figure"') == 1
