"""Trends as an image, PNG or SVG, by matplotlib: one loop large, many as small multiples.

Sizes are fixed, in inches, so that the pictures of a plant have the same layout whatever they show. The same trends
give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from clpm_execd.extras import require
from clpm_execd.pictures.style import FILL_TEXT, MODE_COLOURS, Theme, choose_fault_colour
from clpm_execd.pictures.trend import (
    AxisLimits,
    Bar,
    Line,
    Trend,
    build_lanes,
    choose_limits,
    choose_op_limits,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHADE_ALPHA = {"visible": 0.18, "hidden": 0.09, "control": 0.16}  # behind the lines, which must stay readable
_BAR_ALPHA = {"visible": 1.0, "hidden": 0.35, "control": 1.0}  # in the lane
_COLUMNS = ((1, 1), (8, 2), (18, 3), (32, 4))  # (most loops, columns)
_MAX_COLUMNS = 5  # of more loops than these
_DPI = 110.0  # letters of 9 points are 14 pixels high
_POINTS_PER_PIXEL = 4  # first, minimum, maximum and last of a run
_POINTS_PER_INCH = 72  # of letters
_MODE_NAME_INCHES = 0.4  # three letters and a margin; a bar that is narrower has no name
_LETTER_WIDTH = 0.57  # of the size of the font, on average
_TITLE_SCALE = 1.4  # of a letter of a title, which is large and bold, to one of a description
_LEGEND_LETTERS = 26  # as wide as the legend beside a title, with a space


@dataclass(frozen=True, slots=True)
class _Cell:
    """The measures of one loop's panels, in inches; the font size in points."""

    width: float
    pv_height: float
    op_height: float
    lane_height: float = 0.17
    top: float = 0.33
    gap: float = 0.07
    left: float = 0.78
    right: float = 0.26
    bottom: float = 0.44
    font_size: float = 9.0
    is_small: bool = False

    def height(self, lanes: int) -> float:
        return self.top + self.pv_height + self.op_height + 2 * self.gap + self.lane_height * lanes + self.bottom


_LARGE = _Cell(width=9.0, pv_height=2.4, op_height=1.25)
_MEDIUM = _Cell(width=6.0, pv_height=1.5, op_height=0.8, lane_height=0.15, font_size=8.0)
_SMALL = _Cell(width=3.8, pv_height=0.95, op_height=0.5, lane_height=0.13, top=0.27, gap=0.05, left=0.72, bottom=0.34,
               font_size=6.5, is_small=True)


def choose_loops_per_row(loops: int) -> int:
    """Return how many of so many loops are drawn next to each other."""
    return next((columns for most, columns in _COLUMNS if loops <= most), _MAX_COLUMNS)


def choose_max_points(loops: int) -> int:
    """Return how many points of a line an image of so many loops has room for."""
    cell = _choose_cell(choose_loops_per_row(loops))
    return round(_POINTS_PER_PIXEL * _DPI * (cell.width - cell.left - cell.right))


def _choose_cell(columns: int) -> _Cell:
    return {1: _LARGE, 2: _MEDIUM}.get(columns, _SMALL)


def render_image(trends: Sequence[Trend], theme: Theme, form: str) -> bytes:
    """Return the trends as a file, `form` png or svg."""
    require("plots", "matplotlib")
    from matplotlib import rc_context

    file = BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "clpm-execd"}):
        draw_trends(trends, theme).savefig(file, format=form, metadata={"Date": None} if form == "svg" else None)
    return _reduce_colours(file) if form == "png" else file.getvalue()


def _reduce_colours(file: BytesIO) -> bytes:
    """Return a PNG in 256 colours, which are enough for all lines and their edges, at a third of the size."""
    from PIL import Image

    reduced = BytesIO()
    with Image.open(file) as image:
        image.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(reduced, "PNG")
    return reduced.getvalue()


def _widen_for_names(cell: _Cell, trends: Sequence[Trend]) -> _Cell:
    """Return the cell with space at its left for the longest name of a fault."""
    longest = max((len(episode.fault) for trend in trends for episode in trend.episodes), default=0)
    name_width = 0.16 + longest * _LETTER_WIDTH * (cell.font_size - 1) / _POINTS_PER_INCH
    more = max(0.0, name_width - cell.left)
    return replace(cell, left=cell.left + more, width=cell.width + more)


def draw_trends(trends: Sequence[Trend], theme: Theme) -> Figure:
    """Return the trends as a figure, from left to right and then downwards."""
    require("plots", "matplotlib")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    columns = choose_loops_per_row(len(trends))
    cell = _widen_for_names(_choose_cell(columns), trends)
    min_gap = (trends[0].end - trends[0].start) // 1000  # about a pixel
    rows = [trends[i:i + columns] for i in range(0, len(trends), columns)]
    heights = [cell.height(1 + max(len(build_lanes(trend, min_gap)) for trend in row)) for row in rows]
    with rc_context(_build_style_settings(theme, cell)):
        figure = Figure(figsize=(cell.width * columns, sum(heights)), dpi=_DPI)
        top = sum(heights)
        for row, height in zip(rows, heights, strict=True):
            for i, trend in enumerate(row):
                _Panels(figure, cell, theme, i * cell.width, top).draw(trend, min_gap)
            top -= height
    return figure


def _build_style_settings(theme: Theme, cell: _Cell) -> dict[str, Any]:
    return {
        "figure.facecolor": theme.page, "axes.facecolor": theme.page, "savefig.facecolor": theme.page,
        "text.color": theme.text, "axes.labelcolor": theme.muted, "axes.edgecolor": theme.grid,
        "xtick.color": theme.muted, "ytick.color": theme.muted, "grid.color": theme.grid, "grid.linewidth": 0.6,
        "font.size": cell.font_size, "axes.grid": True, "axes.axisbelow": True, "hatch.linewidth": 0.6,
        "lines.linewidth": 0.6 if cell.is_small else 0.95,
        "xtick.major.size": 2.5, "ytick.major.size": 0.0, "axes.titlesize": cell.font_size + 1.5,
        "text.parse_math": False,  # a $ in an id, a description or a unit is a $
    }


class _Panels:
    """The panels of one loop: PV with SP, OP, and the lanes. left, top: of its cell, inches from the lower left."""

    def __init__(self, figure: Figure, cell: _Cell, theme: Theme, left: float, top: float) -> None:
        self._figure, self._cell, self._theme = figure, cell, theme
        self._left, self._top = left + cell.left, top - cell.top

    def _add_panel(self, height: float, *, sharex: Axes | None = None) -> Axes:
        """Return the axes of the next panel below, `height` inches high."""
        figure_width, figure_height = self._figure.get_size_inches()
        cell = self._cell
        self._top -= height
        box = (self._left / figure_width, self._top / figure_height,
               (cell.width - cell.left - cell.right) / figure_width, height / figure_height)
        self._top -= cell.gap
        axes = self._figure.add_axes(box, sharex=sharex)
        axes.tick_params(labelbottom=False, length=0)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        return axes

    def draw(self, trend: Trend, min_gap: int) -> None:
        """Draw a loop; min_gap: see `build_lanes`."""
        cell, theme = self._cell, self._theme
        pv_axes = self._add_panel(cell.pv_height)
        op_axes = self._add_panel(cell.op_height, sharex=pv_axes)
        lanes = build_lanes(trend, min_gap)
        lane_axes = self._add_panel(cell.lane_height * (1 + len(lanes)), sharex=pv_axes)
        self._add_title(pv_axes, trend, [
            _plot(pv_axes, trend.pv, color=theme.pv),
            _plot(pv_axes, trend.sp, color=theme.sp, dashes=(4, 2.2), alpha=0.85,
                  zorder=1.9 if trend.has_moving_sp else 2.1),
            _plot(op_axes, trend.op, color=theme.op)])
        pv_axes.set_ylabel(trend.pv_title)
        op_axes.set_ylabel("OP (%)")
        for axes, limits, colour in ((pv_axes, choose_limits(trend), theme.pv),
                                     (op_axes, choose_op_limits(trend), theme.op)):
            axes.margins(y=0.08)
            if limits.spikes:
                axes.set_ylim(limits.low, limits.high)
                self._draw_spikes(axes, limits, colour)
            axes.locator_params(axis="y", nbins=5 if axes is pv_axes and not cell.is_small else 3)
            axes.ticklabel_format(axis="y", useOffset=False, style="plain")
            for lane in lanes:
                for bar in lane.bars:
                    axes.axvspan(*_convert_to_date_range(bar), color=choose_fault_colour(lane.fault),
                                 alpha=_SHADE_ALPHA[bar.kind], linewidth=0)
        pv_axes.set_xlim(_convert_to_days(trend.start), _convert_to_days(trend.end))
        self._draw_modes(lane_axes, trend)
        for row, lane in enumerate(lanes, 1):
            self._draw_bars(lane_axes, row, lane.bars, choose_fault_colour(lane.fault))
        lane_axes.set_yticks(range(1 + len(lanes)), ["Mode", *(lane.fault for lane in lanes)],
                             fontsize=cell.font_size - (1 if len(lanes) else 0))
        lane_axes.set_ylim(0.5 + len(lanes), -0.5)
        lane_axes.grid(False)
        _draw_time_axis(lane_axes, cell.is_small)

    def _add_title(self, axes: Axes, trend: Trend, lines: Sequence[Any]) -> None:
        title = axes.set_title(trend.loop, loc="left", fontweight="bold", color=self._theme.text, pad=5)
        if trend.description:
            cell = self._cell
            letters = (cell.width - cell.left - cell.right) * _POINTS_PER_INCH / (cell.font_size * _LETTER_WIDTH)
            room = round(letters - _LEGEND_LETTERS - _TITLE_SCALE * len(trend.loop))
            axes.annotate(shorten(trend.description, room), (1.0, 0.0), (cell.font_size, 0.0), xycoords=title,
                          textcoords="offset points", va="bottom", color=self._theme.muted)
        axes.legend(lines, ("PV", "SP", "OP"), loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, frameon=False,
                    borderaxespad=0.1, borderpad=0.2, columnspacing=1.2, handlelength=1.8, handletextpad=0.4)

    def _draw_spikes(self, axes: Axes, limits: AxisLimits, colour: str) -> None:
        """Draw an arrow at the edge for each spike, and the value of the furthest one on each side."""
        for is_above, marker, edge in ((True, "^", limits.high), (False, "v", limits.low)):
            spikes = [spike for spike in limits.spikes if spike.is_above == is_above]
            if not spikes:
                continue
            axes.plot(np.array([spike.time for spike in spikes], dtype="datetime64[ns]"), [edge] * len(spikes), marker,
                      color=colour, markersize=4.0, clip_on=False, linestyle="")
            furthest = max(spikes, key=lambda spike: abs(spike.value - edge))
            axes.annotate(f"{furthest.value:.4g}", (_convert_to_days(furthest.time), edge),
                          (4.0, -2.0 if is_above else 2.0), textcoords="offset points",
                          va="top" if is_above else "bottom", color=colour, fontsize=self._cell.font_size - 1.0,
                          bbox={"facecolor": self._theme.page, "edgecolor": "none", "alpha": 0.8, "pad": 0.5})

    def _draw_modes(self, axes: Axes, trend: Trend) -> None:
        duration = trend.end - trend.start
        for run in trend.modes:
            start, end = _convert_to_days(run.start), _convert_to_days(run.end)
            axes.broken_barh([(start, end - start)], (-0.38, 0.76), facecolor=MODE_COLOURS[run.mode], linewidth=0)
            if run.end - run.start > duration * _MODE_NAME_INCHES / (self._cell.width - self._cell.left):
                axes.text((start + end) / 2, 0.04, run.mode, color=FILL_TEXT, ha="center", va="center",
                          fontsize=self._cell.font_size - 1.5)

    def _draw_bars(self, axes: Axes, row: int, bars: Sequence[Bar], colour: str) -> None:
        for bar in bars:
            start, end = _convert_to_date_range(bar)
            hatch: dict[str, Any] = {"hatch": "//////", "edgecolor": self._theme.page} if bar.kind == "control" else {}
            axes.broken_barh([(start, end - start)], (row - 0.32, 0.64), facecolor=colour, alpha=_BAR_ALPHA[bar.kind],
                             linewidth=0, **hatch)


def _plot(axes: Axes, line: Line, **style: Any) -> Any:
    artist, = axes.plot(line.times.astype("datetime64[ns]"), line.values, solid_joinstyle="round",
                        marker="." if line.is_sparse else "", markersize=2.5, **style)
    return artist


def _convert_to_days(time: int) -> float:
    """Return an instant, ns since 1970, in matplotlib's days."""
    from matplotlib.dates import date2num

    return float(date2num(np.datetime64(time, "ns")))


def _convert_to_date_range(bar: Bar) -> tuple[float, float]:
    return _convert_to_days(bar.start), _convert_to_days(bar.end)


def _draw_time_axis(axes: Axes, is_small: bool) -> None:
    """Draw ticks with clock times in UTC, and with the date where it changes."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=5 if is_small else 9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(
        locator, formats=["%Y", "%Y-%m", "%m-%d", "%H:%M", "%H:%M", "%H:%M:%S"],
        zero_formats=["", "%Y-%m", "%m-%d", "%m-%d", "%H:%M", "%H:%M:%S"],
        offset_formats=["", "", "%Y", "%Y-%m-%d", "%Y-%m-%d", "%Y-%m-%d"]))
    axes.tick_params(axis="x", labelbottom=True, length=2.5)
    axes.annotate("UTC", (0.0, 0.0), (-14.0 if is_small else -20.0, -4.5), xycoords="axes fraction",
                  textcoords="offset points", ha="right", va="top", color=axes.xaxis.label.get_color())
