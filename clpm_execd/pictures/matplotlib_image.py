"""Trends as a still picture, PNG or SVG, by matplotlib: one loop large, many as small multiples.

Sizes are inches and fixed, so that the pictures of a plant are alike whatever is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from clpm_execd.extras import require
from clpm_execd.pictures.style import INK, MODES, Theme, fault_colour
from clpm_execd.pictures.trend import Bar, Line, Trend, lanes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHADES = {"visible": 0.18, "hidden": 0.09, "control": 0.16}  # behind the lines
_FULL = {"visible": 1.0, "hidden": 0.35, "control": 1.0}  # in the lane
_COLUMNS = ((1, 1), (8, 2), (18, 3), (32, 4))  # up to so many loops, so many beside each other; beyond, five
_DPI = 110.0


@dataclass(frozen=True, slots=True)
class _Cell:
    """The measures of one loop's panels, inches."""

    width: float
    pv: float
    op: float
    lane: float = 0.17
    top: float = 0.33
    between: float = 0.07
    left: float = 0.78
    right: float = 0.26
    bottom: float = 0.44
    letters: float = 9.0  # points
    small: bool = False

    def height(self, rows: int) -> float:
        return self.top + self.pv + self.op + 2 * self.between + self.lane * rows + self.bottom


_LARGE = _Cell(width=9.0, pv=2.4, op=1.25)
_MEDIUM = _Cell(width=6.0, pv=1.5, op=0.8, lane=0.15, letters=8.0)
_SMALL = _Cell(width=3.8, pv=0.95, op=0.5, lane=0.13, top=0.27, between=0.05, left=0.72, bottom=0.34, letters=6.5,
               small=True)


def columns_of(loops: int) -> int:
    return next((columns for most, columns in _COLUMNS if loops <= most), 5)


def points_of(loops: int) -> int:
    """How many points of a line such a picture has room for."""
    cell = _cell(columns_of(loops))
    return round(4 * _DPI * (cell.width - cell.left - cell.right))


def _cell(columns: int) -> _Cell:
    return {1: _LARGE, 2: _MEDIUM}.get(columns, _SMALL)


def image(trends: Sequence[Trend], theme: Theme, form: str) -> bytes:
    """The picture as a file, `form` png or svg; the same trends give the same bytes."""
    require("plots", "matplotlib")
    from matplotlib import rc_context

    file = BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "clpm-execd"}):
        still(trends, theme).savefig(file, format=form, metadata={"Date": None} if form == "svg" else None)
    return _indexed(file) if form == "png" else file.getvalue()


def _indexed(file: BytesIO) -> bytes:
    """A PNG in 256 colours, which hold all that is drawn here and its edges: a third of the size."""
    from PIL import Image

    smaller = BytesIO()
    with Image.open(file) as whole:
        whole.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(smaller, "PNG")
    return smaller.getvalue()


def _fitted(cell: _Cell, trends: Sequence[Trend]) -> _Cell:
    """The cell with room at its left for the longest name of a fault."""
    longest = max((len(episode.fault) for trend in trends for episode in trend.episodes), default=0)
    more = max(0.0, 0.16 + longest * 0.57 * (cell.letters - 1) / 72 - cell.left)
    return replace(cell, left=cell.left + more, width=cell.width + more)


def still(trends: Sequence[Trend], theme: Theme) -> Figure:
    """The trends, from left to right and then downwards."""
    require("plots", "matplotlib")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    columns = columns_of(len(trends))
    cell = _fitted(_cell(columns), trends)
    grain = (trends[0].end - trends[0].start) // 1000
    rows = [trends[i:i + columns] for i in range(0, len(trends), columns)]
    heights = [cell.height(1 + max(len(lanes(trend, grain)) for trend in row)) for row in rows]
    with rc_context(_settings(theme, cell)):
        figure = Figure(figsize=(cell.width * columns, sum(heights)), dpi=_DPI)
        top = sum(heights)
        for row, height in zip(rows, heights, strict=True):
            for i, trend in enumerate(row):
                _Panels(figure, cell, theme, i * cell.width, top).draw(trend, grain)
            top -= height
    return figure


def _settings(theme: Theme, cell: _Cell) -> dict[str, Any]:
    return {
        "figure.facecolor": theme.page, "axes.facecolor": theme.page, "savefig.facecolor": theme.page,
        "text.color": theme.text, "axes.labelcolor": theme.muted, "axes.edgecolor": theme.grid,
        "xtick.color": theme.muted, "ytick.color": theme.muted, "grid.color": theme.grid, "grid.linewidth": 0.6,
        "font.size": cell.letters, "axes.grid": True, "axes.axisbelow": True, "hatch.linewidth": 0.6,
        "lines.linewidth": 0.6 if cell.small else 0.95,
        "xtick.major.size": 2.5, "ytick.major.size": 0.0, "axes.titlesize": cell.letters + 1.5,
    }


class _Panels:
    """PV with SP, OP and the lanes of one loop, its upper left corner at (left, top) inches from the lower left."""

    def __init__(self, figure: Figure, cell: _Cell, theme: Theme, left: float, top: float) -> None:
        self._figure, self._cell, self._theme = figure, cell, theme
        self._left, self._top = left + cell.left, top - cell.top

    def _axes(self, height: float, *, under: Axes | None = None) -> Axes:
        """The next panel below."""
        width, whole = self._figure.get_size_inches()
        cell = self._cell
        self._top -= height
        box = (self._left / width, self._top / whole, (cell.width - cell.left - cell.right) / width, height / whole)
        self._top -= cell.between
        axes = self._figure.add_axes(box, sharex=under)
        axes.tick_params(labelbottom=False, length=0)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        return axes

    def draw(self, trend: Trend, grain: int) -> None:
        cell, theme = self._cell, self._theme
        above = self._axes(cell.pv)
        below = self._axes(cell.op, under=above)
        found = lanes(trend, grain)
        lane = self._axes(cell.lane * (1 + len(found)), under=above)
        self._title(above, trend, [
            _plot(above, trend.pv, color=theme.pv),
            _plot(above, trend.sp, color=theme.sp, dashes=(4, 2.2), alpha=0.85,
                  zorder=1.9 if trend.sp_moves else 2.1),
            _plot(below, trend.op, color=theme.op)])
        above.set_ylabel("PV, SP (eng. units)" if not cell.small else "PV, SP")
        below.set_ylabel("OP (%)")
        for axes in (above, below):
            axes.margins(y=0.08)
            axes.locator_params(axis="y", nbins=5 if axes is above and not cell.small else 3)
            axes.ticklabel_format(axis="y", useOffset=False, style="plain")
            for kind in found:
                for bar in kind.bars:
                    axes.axvspan(*_span(bar), color=fault_colour(kind.fault), alpha=SHADES[bar.shown], linewidth=0)
        above.set_xlim(_number(trend.start), _number(trend.end))
        self._modes(lane, trend)
        for row, kind in enumerate(found, 1):
            self._bars(lane, row, kind.bars, fault_colour(kind.fault))
        lane.set_yticks(range(1 + len(found)), ["Mode", *(kind.fault for kind in found)],
                        fontsize=cell.letters - (1 if len(found) else 0))
        lane.set_ylim(0.5 + len(found), -0.5)
        lane.grid(False)
        _clock(lane, cell.small)

    def _title(self, axes: Axes, trend: Trend, lines: Sequence[Any]) -> None:
        axes.set_title(trend.loop, loc="left", fontweight="bold", color=self._theme.text, pad=5)
        axes.legend(lines, ("PV", "SP", "OP"), loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, frameon=False,
                    borderaxespad=0.1, borderpad=0.2, columnspacing=1.2, handlelength=1.8, handletextpad=0.4)

    def _modes(self, axes: Axes, trend: Trend) -> None:
        whole = trend.end - trend.start
        for run in trend.modes:
            start, end = _number(run.start), _number(run.end)
            axes.broken_barh([(start, end - start)], (-0.38, 0.76), facecolor=MODES[run.mode], linewidth=0)
            if run.end - run.start > whole * 0.6 / (self._cell.width - self._cell.left):
                axes.text((start + end) / 2, 0.04, run.mode, color=INK, ha="center", va="center",
                          fontsize=self._cell.letters - 1.5)

    def _bars(self, axes: Axes, row: int, bars: Sequence[Bar], colour: str) -> None:
        for bar in bars:
            start, end = _span(bar)
            hatch: dict[str, Any] = {"hatch": "//////", "edgecolor": self._theme.page} if bar.shown == "control" else {}
            axes.broken_barh([(start, end - start)], (row - 0.32, 0.64), facecolor=colour, alpha=_FULL[bar.shown],
                             linewidth=0, **hatch)


def _plot(axes: Axes, line: Line, **look: Any) -> Any:
    drawn, = axes.plot(line.times.astype("datetime64[ns]"), line.values, solid_joinstyle="round",
                       marker="." if line.sparse else "", markersize=2.5, **look)
    return drawn


def _number(time: int) -> float:
    from matplotlib.dates import date2num

    return float(date2num(np.datetime64(time, "ns")))


def _span(bar: Bar) -> tuple[float, float]:
    return _number(bar.start), _number(bar.end)


def _clock(axes: Axes, small: bool) -> None:
    """Ticks of the clock in UTC, with the day where it belongs."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=5 if small else 9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(
        locator, offset_formats=["", "%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%d", "%Y-%m-%d %H:%M"]))
    axes.tick_params(axis="x", labelbottom=True, length=2.5)
    axes.annotate("UTC", (0.0, 0.0), (-14.0 if small else -20.0, -4.5), xycoords="axes fraction",
                  textcoords="offset points", ha="right", va="top", color=axes.xaxis.label.get_color())
