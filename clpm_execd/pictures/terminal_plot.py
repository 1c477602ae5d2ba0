"""Trends as text, in braille dots by plotille, under each other and as wide as the terminal.

The lines are told apart without colour too: SP is dotted. Of a lane, a full bar is a fault that shows, a shaded one a
fault that is there and does not, and a dashed one a negative control.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import numpy as np

from clpm_execd.extras import require
from clpm_execd.pictures.style import INK, LIGHT, MODES, Theme, fault_colour
from clpm_execd.pictures.trend import Lane, Line, Trend, lanes
from clpm_execd.plant.block import SECOND, Floats

if TYPE_CHECKING:
    from plotille import Canvas
    from rich.table import Table
    from rich.text import Text

_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200,
          86400, 2 * 86400, 7 * 86400, 14 * 86400, 28 * 86400)  # s
_BARS = {"hidden": "░", "visible": "█", "control": "╌"}
_FULL_ROWS = (8, 5)  # of PV and OP
_SMALL_ROWS = (4, 2)
_SMALL_FROM = 4  # loops
_NARROWEST, _NARROW, _APART = 40, 76, 3  # characters: of a loop, of loops beside each other, between them
_LEFT = 11  # of what stands beside the panels


def points_of(width: int) -> int:
    """How many points of a line so many characters have room for: two dots in each, four points in a dot."""
    return 8 * width


def columns_of(loops: int, width: int) -> int:
    """How many loops stand beside each other."""
    return max(1, min(loops, width // _NARROW)) if loops >= _SMALL_FROM else 1


def terminal(trends: Sequence[Trend], width: int, theme: Theme | None = None) -> Table:
    """The trends, `width` characters wide in all; theme: of the terminal, None where nobody knows it."""
    require("plots", "plotille")
    from rich.table import Table

    columns = columns_of(len(trends), width)
    rows = _FULL_ROWS if len(trends) < _SMALL_FROM else _SMALL_ROWS
    each = max(_NARROWEST, (width - _APART * (columns - 1)) // columns)
    longest = max((len(episode.fault) for trend in trends for episode in trend.episodes), default=0)
    left = min(max(_LEFT, longest + 1), each // 3)
    grid = Table.grid(padding=(0, _APART, 0, 0), pad_edge=False)
    for _ in range(columns):
        grid.add_column(width=each, no_wrap=True, overflow="crop")
    for i in range(0, len(trends), columns):
        grid.add_row(*(_Panels(trend, each, left, theme or LIGHT, plain_sp=theme is None).text(rows)
                       for trend in trends[i:i + columns]), *[""] * (i + columns - len(trends)))
        if i + columns < len(trends):
            grid.add_row()
    return grid


class _Panels:
    """The panels of one loop, with what stands at their left."""

    def __init__(self, trend: Trend, width: int, left: int, theme: Theme, plain_sp: bool) -> None:
        self._trend, self._theme = trend, theme
        self._sp = None if plain_sp else theme.sp
        self._lanes = lanes(trend, (trend.end - trend.start) // width)
        self._left, self._width = left, width - left - 1
        self._text: list[Text] = []

    def text(self, rows: tuple[int, int]) -> Text:
        from rich.text import Text

        trend, theme = self._trend, self._theme
        self._head()
        self._panel("PV, SP", rows[0], ((trend.sp, self._sp, True), (trend.pv, theme.pv, False)))
        self._panel("OP %", rows[1], ((trend.op, theme.op, False),))
        self._mode_lane()
        for lane in self._lanes:
            self._lane(lane)
        self._clock()
        return Text("\n").join(self._text)

    def _head(self) -> None:
        from rich.text import Text

        trend, theme = self._trend, self._theme
        head = Text(trend.loop[:self._left + self._width - 22], "bold").append("  ")
        head.append("─ PV", f"not bold {theme.pv}").append("  ┈ SP", f"not bold {self._sp or 'default'}")
        head.append("  ─ OP", f"not bold {theme.op}")
        day = f"{_utc(trend.start):%Y-%m-%d} UTC"
        self._text.append(head.append(" " * max(1, self._left + self._width - head.cell_len - len(day)) + day,
                                      "not bold dim"))

    def _panel(self, name: str, rows: int, lines: Sequence[tuple[Line, str | None, bool]]) -> None:
        from plotille import Canvas
        from rich.text import Text

        low, high = _limits([line.values for line, _, _ in lines])
        start, end = self._trend.start / SECOND, self._trend.end / SECOND
        canvas = Canvas(self._width, rows, start, low, end, high, mode="rgb")
        for line, colour, dotted in lines:
            _draw(canvas, line, None if colour is None else _rgb(colour), dotted)
        labels = _labels(low, high, rows)
        for row, drawn in enumerate(canvas.plot().split("\n")):
            label = labels.get(row, "")
            if row == (rows // 2 if rows > 2 else 0):
                label = f"{name} {label}".rstrip()
            self._text.append(Text(f"{label:>{self._left - 1}} ", "dim").append("│")
                              .append_text(Text.from_ansi(drawn)))

    def _mode_lane(self) -> None:
        self._row("Mode", [(run.start, run.end, "─", run.mode, MODES[run.mode]) for run in self._trend.modes])

    def _lane(self, lane: Lane) -> None:
        colour = fault_colour(lane.fault)
        bars = sorted(lane.bars, key=lambda bar: bar.shown == "visible")
        self._row(lane.fault, [(bar.start, bar.end, _BARS[bar.shown], "",
                                self._theme.muted if bar.shown == "control" else colour) for bar in bars])

    def _row(self, name: str, bars: Sequence[tuple[int, int, str, str, str]]) -> None:
        """A lane of bars (start, end, character, name in it, colour); the later ones lie on the earlier."""
        from rich.text import Text

        cells: list[tuple[str, str]] = [(" ", "")] * self._width
        for start, end, character, inside, colour in bars:
            first = self._column(start)
            after = max(first + 1, self._column(end))
            word = inside if len(inside) < after - first else ""
            style = f"{INK} on {colour}" if inside else colour
            for i in range(first, min(after, self._width)):
                cells[i] = (word[i - first] if i - first < len(word) else character, style)
        lane = Text(f"{name[:self._left - 1]:>{self._left - 1}} ", "dim").append(" ")
        for character, style in cells:
            lane.append(character, f"not dim {style}" if style else "")
        self._text.append(lane)

    def _column(self, time: int) -> int:
        """Of the canvas, from 0 on."""
        return (time - self._trend.start) * self._width // (self._trend.end - self._trend.start)

    def _clock(self) -> None:
        from rich.text import Text

        step = next((step for step in _STEPS if self._ticks(step) * 9 <= self._width), _STEPS[-1])
        form = "%m-%d" if step >= 86400 else "%H:%M" if step >= 60 else "%H:%M:%S"
        line = [" "] * self._width
        first = -(-self._trend.start // (step * SECOND)) * step * SECOND
        for time in range(first, self._trend.end, step * SECOND):
            label = "╵" + f"{_utc(time):{form}}"
            column = self._column(time)
            if column + len(label) <= self._width:
                line[column:column + len(label)] = label
        self._text.append(Text(f"{'UTC':>{self._left - 1}}  {''.join(line).rstrip()}", "dim"))

    def _ticks(self, step: int) -> int:
        return (self._trend.end - self._trend.start) // (step * SECOND) + 1


def _draw(canvas: Canvas, line: Line, colour: tuple[int, int, int] | None, dotted: bool) -> None:
    x = (line.times / SECOND).tolist()
    y = line.values.tolist()
    if line.sparse or len(x) == 1:
        for point in zip(x, y, strict=True):
            if not np.isnan(point[1]):
                canvas.point(*point, color=colour)
    for i in range(len(x) - 1):
        if y[i] == y[i] and y[i + 1] == y[i + 1]:
            if dotted:
                _dots(canvas, x[i:i + 2], y[i:i + 2], colour)
            else:
                canvas.line(x[i], y[i], x[i + 1], y[i + 1], color=colour)


def _dots(canvas: Canvas, x: Sequence[float], y: Sequence[float], colour: tuple[int, int, int] | None) -> None:
    """Every other character's first dot along a level or a slope."""
    pitch = (canvas.xmax - canvas.xmin) / canvas.width
    first = canvas.xmin + np.ceil((x[0] - canvas.xmin) / pitch) * pitch
    for at in np.arange(first, x[1], pitch):
        canvas.point(at, y[0] + (y[1] - y[0]) * (at - x[0]) / (x[1] - x[0]), color=colour)


def _limits(values: Sequence[Floats]) -> tuple[float, float]:
    """The least and the greatest, a little apart where they are the same."""
    known = [array[np.isfinite(array)] for array in values]
    known = [array for array in known if len(array)]
    if not known:
        return 0.0, 1.0
    low, high = min(float(array.min()) for array in known), max(float(array.max()) for array in known)
    room = 0.04 * (high - low) or 0.01 * abs(high) or 1.0
    return low - room, high + room


def _labels(low: float, high: float, rows: int) -> dict[int, str]:
    """The highest and the lowest value, in the first and last row, with the digits that tell them apart."""
    decimals = max(0, min(6, 1 - int(np.floor(np.log10(high - low)))))
    room = (high - low) * 0.5 / rows
    return {0: f"{high - room:.{decimals}f}", rows - 1: f"{low + room:.{decimals}f}"}


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _utc(time: int) -> datetime:
    return datetime.fromtimestamp(time / SECOND, timezone.utc)
