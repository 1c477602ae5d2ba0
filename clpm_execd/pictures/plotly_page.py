"""Trends as an HTML page with zoom and hover, one figure per loop, by plotly; `page` says what a page guarantees."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from clpm_execd.extras import require
from clpm_execd.pictures.page import Page, render_figure, render_legend, render_paragraph
from clpm_execd.pictures.style import (
    FILL_TEXT,
    GROUP_COLOURS,
    LIGHT,
    MODE_COLOURS,
    add_alpha,
    choose_fault_colour,
    find_group_of_fault,
)
from clpm_execd.pictures.trend import (
    AxisLimits,
    Bar,
    Lane,
    Line,
    ModeRun,
    Times,
    Trend,
    build_lanes,
    choose_limits,
    choose_op_limits,
    thin_line,
)
from clpm_execd.plant.block import AFFECTED, Floats
from clpm_execd.plant.faults.kinds import NEGATIVE_CONTROL, OUT_OF_SERVICE

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_MAX_POINTS_OF_PAGE = 60_000  # of one signal in all figures together, so that a page has a few MB
# Points of one signal in one figure: from about one per pixel of a small figure up to four of a large one.
_MIN_POINTS, _MAX_POINTS = 1200, 8000
# The same for what a figure shows when it is zoomed in: a week of samples each 10 s in two loops, in 1 MB.
_MAX_DETAIL_POINTS_OF_PAGE, _MIN_DETAIL_POINTS = 240_000, 2400
_MAX_DETAIL_TICKS = 2**32 - 1  # times of details are 32 bits
_SHADE_ALPHA = {"visible": 0.20, "hidden": 0.08, "control": 0.13}  # behind the lines, which must stay readable
_BAR_ALPHA = {"visible": 1.0, "hidden": 0.38, "control": 1.0}  # in the lane
_BAR_NAMES = {"visible": "visible", "hidden": "present, not visible"}  # others have the name of their group
_PV_PX, _OP_PX, _LANE_PX, _GAP_PX, _TOP_PX, _BOTTOM_PX, _LEFT_PX, _RIGHT_PX = 190, 95, 18, 10, 34, 42, 72, 14
_LETTER_PX = 7  # of the width of the figure's font, on average
_TICK_FORMATS = [  # by the step between ticks, ms
    {"dtickrange": [None, 59_999], "value": "%H:%M:%S\n%Y-%m-%d"},
    {"dtickrange": [60_000, 86_399_999], "value": "%H:%M\n%Y-%m-%d"},
    {"dtickrange": [86_400_000, "M1"], "value": "%m-%d\n%Y"},
    {"dtickrange": ["M1", "M12"], "value": "%Y-%m"},
    {"dtickrange": ["M12", None], "value": "%Y"},
]
_HOVER_POINTS = 300  # along a level or a bar as wide as the figure: every few pixels
_MAX_HOVER_BARS = 12  # of one kind: more of them have points at their ends only, which keeps the page small
_SINGLE_COLUMN_SCALE = 1.35  # how much taller a loop is that has the width of the page


def choose_max_points(loops: int) -> int:
    """Return how many points of a line a page of so many loops has room for."""
    return max(_MIN_POINTS, min(_MAX_POINTS, _MAX_POINTS_OF_PAGE // max(1, loops)))


def choose_detail_points(loops: int) -> int:
    """Return how many points of a line a page of so many loops has room for when it is zoomed in."""
    return max(_MIN_DETAIL_POINTS, choose_max_points(loops), _MAX_DETAIL_POINTS_OF_PAGE // max(1, loops))


def build_preview_page(trends: Sequence[Trend], lead: str, theme: str | None = None) -> Page:
    """Return the page of some trends; lead: the line below its title. theme: by default the browser's."""
    ids = ", ".join(trend.loop for trend in trends[:3]) + (f" and {len(trends) - 3} more" if trends[3:] else "")
    columns = 1 if len(trends) < 3 else 2 if len(trends) < 9 else 3
    page = Page(ids, lead, columns=columns, theme=theme)
    page.has_common_time = True
    scale = _SINGLE_COLUMN_SCALE if columns == 1 else 1.0
    points = choose_max_points(len(trends))
    longest = max((len(episode.fault) for trend in trends for episode in trend.episodes), default=0)
    for trend in trends:
        figure, height = draw_trend(trend, scale, max(_LEFT_PX, 10 + _LETTER_PX * longest), points)
        details = pack_details(trend) if len(trend.pv.times) + len(trend.op.times) > 2 * points else None
        kinds = {episode.fault for episode in trend.episodes}
        groups = [group for group in GROUP_COLOURS if any(find_group_of_fault(kind) == group for kind in kinds)]
        modes = dict.fromkeys(run.mode for run in trend.modes)
        keys = {"PV": "var(--pv)", "SP, dashed": "var(--sp)", "OP": "var(--op)"}
        keys |= {mode: MODE_COLOURS[mode] for mode in modes}
        no_faults = (NEGATIVE_CONTROL, OUT_OF_SERVICE, AFFECTED)
        keys |= {group if group in no_faults else f"{group} fault": GROUP_COLOURS[group] for group in groups}
        description = [render_paragraph(trend.description, "muted")] if trend.description else []
        page.add(trend.loop, *description, render_figure(figure, height, details), render_legend(keys))
    return page


def pack_details(trend: Trend) -> bytes:
    """Return the first three traces of a figure, as `draw_trend` orders them, with all their points.

    A line of JSON says when the times begin, ms since 1970, their unit, ms, and how many points each trace has. Then
    come the times of each trace as differences (uint32), and its values (float32), all little-endian.
    """
    unit = -(-(trend.end - trend.start) // 1_000_000 // _MAX_DETAIL_TICKS) or 1
    lines = _order_lines(trend)
    head = {"start": trend.start / 1e6, "unit": unit, "points": [len(line.times) for line in lines]}
    parts = [json.dumps(head).encode() + b"\n"]
    for line in lines:
        ticks = np.maximum(0, (line.times - trend.start) // (1_000_000 * unit))
        parts += [np.diff(ticks, prepend=0).astype("<u4").tobytes(), line.values.astype("<f4").tobytes()]
    return b"".join(parts)


def _order_lines(trend: Trend) -> list[Line]:
    """Return PV, SP and OP, SP first where PV is drawn over it."""
    return [trend.sp, trend.pv, trend.op] if trend.has_moving_sp else [trend.pv, trend.sp, trend.op]


def draw_trend(trend: Trend, scale: float = 1.0, left_px: int = 130, points: int = _MAX_POINTS) -> tuple[Figure, int]:
    """Return the figure of a loop and its height in px: PV and SP, OP, the modes, and a lane for each kind of fault.

    scale: factor of the heights. left_px: the margin for numbers and names. points: how many a line has at most, about.
    """
    require("plots", "plotly")
    from plotly.graph_objects import Figure

    lanes = build_lanes(trend, (trend.end - trend.start) // 1000)  # about a pixel
    heights = [round(_PV_PX * scale), round(_OP_PX * scale), _LANE_PX * (1 + len(lanes))]
    inner_height = sum(heights) + 2 * _GAP_PX
    tops = [inner_height - sum(heights[:i]) - i * _GAP_PX for i in range(3)]
    domains = [[(top - height) / inner_height, top / inner_height] for top, height in zip(tops, heights, strict=True)]
    figure = Figure()
    step = max(1, (trend.end - trend.start) // _HOVER_POINTS)
    pv = _build_line(thin_line(trend.pv, points), step, "PV", "y", LIGHT.pv)
    sp = _build_line(thin_line(trend.sp, points), step, "SP", "y", LIGHT.sp, dash="5px,3px", width=1.1)
    figure.add_traces([sp, pv] if trend.has_moving_sp else [pv, sp])
    figure.add_trace(_build_line(thin_line(trend.op, points), step, "OP", "y2", LIGHT.op))
    for axis, name, colour, limits in (("yaxis", "PV", LIGHT.pv, choose_limits(trend)),
                                       ("yaxis2", "OP", LIGHT.op, choose_op_limits(trend))):
        if limits.spikes:
            _draw_spikes(figure, limits, axis.replace("axis", ""), name, colour)
            figure.update_layout({axis: {"range": [limits.low, limits.high]}})
    _draw_modes(figure, trend)
    for row, lane in enumerate(lanes, 1):
        _draw_lane(figure, trend, row, lane, domains[1][0])
    figure.update_layout(
        hovermode="x unified", hoversubplots="axis", dragmode="zoom", showlegend=False,
        margin={"t": _TOP_PX, "b": _BOTTOM_PX, "l": left_px, "r": _RIGHT_PX},
        xaxis={"type": "date", "range": [_convert_to_ms(trend.start), _convert_to_ms(trend.end)], "anchor": "y3",
               "showline": True, "hoverformat": "%Y-%m-%d %H:%M:%S", "tickformatstops": _TICK_FORMATS},
        yaxis={"domain": domains[0], "title": {"text": escape(trend.pv_title, quote=False)}, "automargin": False},
        yaxis2={"domain": domains[1], "title": {"text": "OP (%)"}, "gridcolor": LIGHT.grid, "nticks": 5,
                "automargin": False},
        yaxis3={"domain": domains[2], "range": [len(lanes) + 0.5, -0.5], "fixedrange": True, "showgrid": False,
                "zeroline": False, "tickvals": list(range(1 + len(lanes))),
                "ticktext": ["Mode", *(lane.fault for lane in lanes)], "automargin": False})
    figure.add_annotation(text="UTC", x=0.0, y=0.0, xref="paper", yref="paper", xanchor="right", yanchor="top",
                          xshift=-24, yshift=-3, showarrow=False, font={"color": LIGHT.muted})
    return figure, inner_height + _TOP_PX + _BOTTOM_PX


def _build_line(line: Line, step: int, name: str, axis: str, colour: str, dash: str = "solid",
          width: float = 1.3) -> dict[str, Any]:
    times, values = (line.times, line.values) if line.is_sparse else add_hover_points(line.times, line.values, step)
    return {"type": "scatter", "mode": "lines+markers" if line.is_sparse else "lines", "name": name, "yaxis": axis,
            "x": times / 1e6, "y": values.astype(np.float32), "marker": {"size": 4, "color": colour},
            "line": {"color": colour, "width": width, "dash": dash}, "connectgaps": False, "hovertemplate": "%{y}"}


def add_hover_points(times: Times, values: Floats, step: int) -> tuple[Times, Floats]:
    """Return the line with points every `step` ns along its levels, because hovering shows points only."""
    if len(times) < 2:
        return times, values
    between = np.arange(times[0] + step, times[-1], step)
    after = np.searchsorted(times, between, side="left")
    is_new = (values[after - 1] == values[after]) & (times[after] != between)
    between, after = between[is_new], after[is_new]
    return np.insert(times, after, between), np.insert(values, after, values[after])


def _draw_spikes(figure: Figure, limits: AxisLimits, axis: str, name: str, colour: str) -> None:
    """Draw an arrow at the end of the axis for each spike that lies beyond it; hovering shows its value."""
    figure.add_trace({
        "type": "scatter", "mode": "markers", "name": f"{name} beyond the axis", "yaxis": axis, "cliponaxis": False,
        "x": [_convert_to_ms(spike.time) for spike in limits.spikes],
        "y": [limits.high if spike.is_above else limits.low for spike in limits.spikes],
        "marker": {"color": colour, "size": 8,
                   "symbol": ["triangle-up" if spike.is_above else "triangle-down" for spike in limits.spikes]},
        "text": [f"{spike.value:.6g}" for spike in limits.spikes], "hovertemplate": "%{text}"})


def _draw_modes(figure: Figure, trend: Trend) -> None:
    for mode, colour in MODE_COLOURS.items():
        runs = [run for run in trend.modes if run.mode == mode]
        if runs:
            _draw_bars(figure, trend, mode, 0, [(run.start, run.end, mode) for run in runs], colour)
    # The name of a mode needs a twelfth of the width.
    _name_modes(figure, [run for run in trend.modes if run.end - run.start > (trend.end - trend.start) // 12])


def _name_modes(figure: Figure, runs: Sequence[ModeRun]) -> None:
    figure.add_trace({
        "type": "scatter", "mode": "text", "yaxis": "y3", "x": [(run.start + run.end) / 2e6 for run in runs],
        "y": [0.0] * len(runs), "text": [run.mode for run in runs], "textfont": {"color": FILL_TEXT, "size": 10},
        "hoverinfo": "skip", "showlegend": False})


def _draw_lane(figure: Figure, trend: Trend, row: int, lane: Lane, bottom: float) -> None:
    """Draw the lane, and the shade behind PV and OP; bottom: where OP's panel ends, as a fraction of the height."""
    colour = choose_fault_colour(lane.fault)
    for kind in _BAR_ALPHA:
        bars = [bar for bar in lane.bars if bar.kind == kind]
        if bars:
            name = _BAR_NAMES.get(kind) or find_group_of_fault(lane.fault)
            labels = [(bar.start, bar.end, f"{lane.fault}: {name}, {_format_times(bar)}") for bar in bars]
            _draw_bars(figure, trend, lane.fault, row, labels, add_alpha(colour, _BAR_ALPHA[kind]),
                       dash="3px,2px" if kind == "control" else "solid")
            for bar in bars:
                figure.add_shape(
                    type="rect", xref="x", yref="paper", x0=_convert_to_ms(bar.start), x1=_convert_to_ms(bar.end),
                    y0=bottom, y1=1.0, fillcolor=add_alpha(colour, _SHADE_ALPHA[kind]), line={"width": 0},
                    layer="below")


def _draw_bars(figure: Figure, trend: Trend, name: str, row: int, bars: Sequence[tuple[int, int, str]], colour: str,
               dash: str = "solid") -> None:
    """Draw the bars of a lane, (start, end, hover text), as lines, whose width does not change with the zoom."""
    def count_points(start: int, end: int) -> int:
        is_long = len(bars) <= _MAX_HOVER_BARS
        return max(2, (end - start) * _HOVER_POINTS // (trend.end - trend.start)) if is_long else 2

    style = {"type": "scatter", "mode": "lines", "name": name, "yaxis": "y3", "showlegend": False,
             "line": {"color": colour, "width": _LANE_PX - 5, "dash": dash}}
    lines = [np.linspace(start, end, count_points(start, end)) / 1e6 for start, end, _ in bars]
    if len(bars) <= _MAX_HOVER_BARS:
        for line, (_, _, text) in zip(lines, bars, strict=True):
            figure.add_trace({**style, "x": line, "y": np.full(len(line), row, np.float32),
                              "hovertemplate": f"{text}<extra></extra>"})
        return
    gap = np.array([np.nan])
    figure.add_trace({**style, "x": np.concatenate([part for line in lines for part in (line, gap)]),
                      "y": np.full(3 * len(bars), row, np.float32), "hovertemplate": "%{text}<extra></extra>",
                      "text": [each for _, _, text in bars for each in (text, text, "")]})


def _format_times(bar: Bar) -> str:
    return f"{_format_clock(bar.start)} to {_format_clock(bar.end)}"


def _format_clock(time: int) -> str:
    return datetime.fromtimestamp(time / 1e9, timezone.utc).strftime("%H:%M:%S")


def _convert_to_ms(time: int) -> float:
    """Return an instant, ns since 1970, in plotly's ms."""
    return time / 1e6
