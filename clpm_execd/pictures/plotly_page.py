"""Trends as a page with zoom and hover, a figure a loop, by plotly; see `page` for what a page promises."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from clpm_execd.extras import require
from clpm_execd.pictures.page import Page, figure, legend
from clpm_execd.pictures.style import GROUPS, LIGHT, MODES, faded, fault_colour
from clpm_execd.pictures.trend import Bar, Lane, Line, ModeRun, Times, Trend, lanes
from clpm_execd.plant.block import Floats
from clpm_execd.plant.faults import FAULTS

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_ALL_POINTS = 60_000  # of one signal in all figures: what keeps a page within a few MB
_SHADES = {"visible": 0.20, "hidden": 0.08, "control": 0.13}
_FULL = {"visible": 1.0, "hidden": 0.38, "control": 1.0}
_SAID = {"visible": "visible", "hidden": "present, not visible", "control": "negative control"}
_PV, _OP, _LANE, _GAP, _TOP, _BOTTOM, _LEFT = 190, 95, 18, 10, 34, 42, 72  # px
_TICKS = [
    {"dtickrange": [None, 59_999], "value": "%H:%M:%S\n%Y-%m-%d"},
    {"dtickrange": [60_000, 86_399_999], "value": "%H:%M\n%Y-%m-%d"},
    {"dtickrange": [86_400_000, None], "value": "%m-%d\n%Y"},
]
_FELT = 300  # points along a level or a bar as long as the figure
_FEW = 12  # bars of one look
_LARGE = 1.35  # how much taller a loop is that has the page for itself


def points_of(loops: int) -> int:
    """How many points of a line a page of so many loops has room for."""
    return max(1200, min(8000, _ALL_POINTS // max(1, loops)))


def preview_page(trends: Sequence[Trend], lead: str, theme: str | None = None) -> Page:
    """The page of these trends."""
    ids = ", ".join(trend.loop for trend in trends[:3]) + (f" and {len(trends) - 3} more" if trends[3:] else "")
    columns = 1 if len(trends) < 3 else 2 if len(trends) < 9 else 3
    page = Page(ids, lead, columns=columns, theme=theme)
    scale = _LARGE if columns == 1 else 1.0
    longest = max((len(episode.fault) for trend in trends for episode in trend.episodes), default=0)
    for trend in trends:
        drawn, height = trend_figure(trend, scale, max(_LEFT, 10 + 7 * longest))
        kinds = {episode.fault for episode in trend.episodes}
        groups = [group for group in GROUPS if any(FAULTS[kind].group == group for kind in kinds)]
        modes = dict.fromkeys(run.mode for run in trend.modes)
        keys = {"PV": "var(--pv)", "SP, dashed": "var(--sp)", "OP": "var(--op)"}
        keys |= {mode: MODES[mode] for mode in modes}
        keys |= {group if group == "negative control" else f"{group} fault": GROUPS[group] for group in groups}
        page.add(trend.loop, figure(drawn, height), legend(keys))
    return page


def trend_figure(trend: Trend, scale: float = 1.0, left: int = 130) -> tuple[Figure, int]:
    """PV and SP, OP below, a lane of modes and one for each kind of fault; and its height, px.

    scale: of the heights. left: px for what stands beside the panels.
    """
    require("plots", "plotly")
    from plotly.graph_objects import Figure

    found = lanes(trend, (trend.end - trend.start) // 1000)
    heights = [round(_PV * scale), round(_OP * scale), _LANE * (1 + len(found))]
    whole = sum(heights) + 2 * _GAP
    top = [whole - sum(heights[:i]) - i * _GAP for i in range(3)]
    domains = [[(end - height) / whole, end / whole] for end, height in zip(top, heights, strict=True)]
    drawn = Figure()
    step = max(1, (trend.end - trend.start) // _FELT)
    pv = _line(trend.pv, step, "PV", "y", LIGHT.pv)
    sp = _line(trend.sp, step, "SP", "y", LIGHT.sp, dash="5px,3px", width=1.1)
    drawn.add_traces([sp, pv] if trend.sp_moves else [pv, sp])
    drawn.add_trace(_line(trend.op, step, "OP", "y2", LIGHT.op))
    _draw_modes(drawn, trend)
    for row, lane in enumerate(found, 1):
        _draw_lane(drawn, trend, row, lane, domains[1][0])
    drawn.update_layout(
        hovermode="x unified", hoversubplots="axis", dragmode="zoom", showlegend=False,
        margin={"t": _TOP, "b": _BOTTOM, "l": left, "r": 14},
        xaxis={"type": "date", "range": [_date(trend.start), _date(trend.end)], "anchor": "y3", "showline": True,
               "hoverformat": "%Y-%m-%d %H:%M:%S", "tickformatstops": _TICKS},
        yaxis={"domain": domains[0], "title": {"text": "PV, SP (eng. units)"}, "automargin": False},
        yaxis2={"domain": domains[1], "title": {"text": "OP (%)"}, "gridcolor": LIGHT.grid, "nticks": 5,
                "automargin": False},
        yaxis3={"domain": domains[2], "range": [len(found) + 0.5, -0.5], "fixedrange": True, "showgrid": False,
                "zeroline": False, "tickvals": list(range(1 + len(found))),
                "ticktext": ["Mode", *(lane.fault for lane in found)], "automargin": False})
    drawn.add_annotation(text="UTC", x=0.0, y=0.0, xref="paper", yref="paper", xanchor="right", yanchor="top",
                         xshift=-24, yshift=-3, showarrow=False, font={"color": LIGHT.muted})
    return drawn, whole + _TOP + _BOTTOM


def _line(line: Line, step: int, name: str, axis: str, colour: str, dash: str = "solid",
          width: float = 1.3) -> dict[str, Any]:
    times, values = (line.times, line.values) if line.sparse else levels_felt(line.times, line.values, step)
    return {"type": "scatter", "mode": "lines+markers" if line.sparse else "lines", "name": name, "yaxis": axis,
            "x": times / 1e6, "y": values.astype(np.float32), "marker": {"size": 4, "color": colour},
            "line": {"color": colour, "width": width, "dash": dash}, "connectgaps": False, "hovertemplate": "%{y}"}


def levels_felt(times: Times, values: Floats, step: int) -> tuple[Times, Floats]:
    """The same with points each `step` ns along its levels, for the pointer finds points only."""
    if len(times) < 2:
        return times, values
    between = np.arange(times[0] + step, times[-1], step)
    after = np.searchsorted(times, between, side="left")
    between, after = (each[(values[after - 1] == values[after]) & (times[after] != between)]
                      for each in (between, after))
    return np.insert(times, after, between), np.insert(values, after, values[after])


def _draw_modes(drawn: Figure, trend: Trend) -> None:
    for mode, colour in MODES.items():
        runs = [run for run in trend.modes if run.mode == mode]
        if runs:
            _draw_bars(drawn, trend, mode, 0, [(run.start, run.end, mode) for run in runs], colour)
    _name_modes(drawn, [run for run in trend.modes if run.end - run.start > (trend.end - trend.start) // 12])


def _name_modes(drawn: Figure, runs: Sequence[ModeRun]) -> None:
    drawn.add_trace({
        "type": "scatter", "mode": "text", "yaxis": "y3", "x": [(run.start + run.end) / 2e6 for run in runs],
        "y": [0.0] * len(runs), "text": [run.mode for run in runs], "textfont": {"color": "#1a1a1a", "size": 10},
        "hoverinfo": "skip", "showlegend": False})


def _draw_lane(drawn: Figure, trend: Trend, row: int, lane: Lane, floor: float) -> None:
    """The lane, and the shade behind PV and OP, whose lower end is at `floor` of the figure."""
    colour = fault_colour(lane.fault)
    for shown in _FULL:
        bars = [bar for bar in lane.bars if bar.shown == shown]
        if bars:
            said = [(bar.start, bar.end, f"{lane.fault}: {_SAID[shown]}, {_between(bar)}") for bar in bars]
            _draw_bars(drawn, trend, lane.fault, row, said, faded(colour, _FULL[shown]),
                       dash="3px,2px" if shown == "control" else "solid")
            for bar in bars:
                drawn.add_shape(type="rect", xref="x", yref="paper", x0=_date(bar.start), x1=_date(bar.end), y0=floor,
                                y1=1.0, fillcolor=faded(colour, _SHADES[shown]), line={"width": 0}, layer="below")


def _draw_bars(drawn: Figure, trend: Trend, name: str, row: int, bars: Sequence[tuple[int, int, str]], colour: str,
               dash: str = "solid") -> None:
    """Bars of a lane, as lines, whose width does not change with the zoom; of many each is short: its ends will do."""
    def points(start: int, end: int) -> int:
        return max(2, (end - start) * _FELT // (trend.end - trend.start)) if len(bars) <= _FEW else 2

    look = {"type": "scatter", "mode": "lines", "name": name, "yaxis": "y3", "showlegend": False,
            "line": {"color": colour, "width": _LANE - 5, "dash": dash}}
    lines = [np.linspace(start, end, points(start, end)) / 1e6 for start, end, _ in bars]
    if len(bars) <= _FEW:
        for line, (_, _, words) in zip(lines, bars, strict=True):
            drawn.add_trace({**look, "x": line, "y": np.full(len(line), row, np.float32),
                             "hovertemplate": f"{words}<extra></extra>"})
        return
    gap = np.array([np.nan])
    drawn.add_trace({**look, "x": np.concatenate([part for line in lines for part in (line, gap)]),
                     "y": np.full(3 * len(bars), row, np.float32), "hovertemplate": "%{text}<extra></extra>",
                     "text": [said for _, _, words in bars for said in (words, words, "")]})


def _between(bar: Bar) -> str:
    return f"{_clock(bar.start)} to {_clock(bar.end)}"


def _clock(time: int) -> str:
    return datetime.fromtimestamp(time / 1e9, timezone.utc).strftime("%H:%M:%S")


def _date(time: int) -> float:
    return time / 1e6
