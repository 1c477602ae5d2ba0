"""Trends as text, in braille dots, as wide as the terminal, without any extra.

Lines and bars can be distinguished without colour: SP is dotted, and in the lanes a detectable fault is a solid bar, an
undetectable one a shaded bar and a negative control a dashed one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import numpy as np

from clpm_execd.pictures.braille import BrailleCanvas
from clpm_execd.pictures.style import FILL_TEXT, LIGHT, MODE_COLOURS, Theme, choose_fault_colour
from clpm_execd.pictures.trend import (
    AxisLimits,
    Lane,
    Line,
    Trend,
    build_lanes,
    choose_limits,
    choose_op_limits,
    shorten,
)
from clpm_execd.units import SECOND

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_TICK_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200,
                 86400, 2 * 86400, 7 * 86400, 14 * 86400, 28 * 86400)
_TICK_WIDTH = 9  # characters: the longest label, 10:05:00, and a space
_BARS = {"hidden": "░", "visible": "█", "control": "╌"}
_LARGE_ROWS = (8, 5)  # lines of text of PV and of OP
_SMALL_ROWS = (4, 2)
_MIN_LOOPS_FOR_SMALL = 4  # with fewer, the large panels fit on a screen
_POINTS_PER_CHARACTER = 8  # two dots of a braille character, four points for each
# The least width of a loop, the least of one that has others next to it, and the gap between two, characters.
_MIN_WIDTH, _MIN_WIDTH_OF_COLUMN, _COLUMN_GAP = 40, 76, 3
_MIN_MARGIN = 11  # characters to the left of the panels, for their numbers and names


def choose_max_points(width: int) -> int:
    """Return how many points of a line a plot of so many characters has room for."""
    return _POINTS_PER_CHARACTER * width


def choose_loops_per_row(loops: int, width: int) -> int:
    """Return how many loops are drawn next to each other on so many characters.

    Parameters
    ----------
    loops : int
        Loops in all.
    width : int
        Characters of a line.
    """
    return max(1, min(loops, width // _MIN_WIDTH_OF_COLUMN)) if loops >= _MIN_LOOPS_FOR_SMALL else 1


def draw_trends(trends: Sequence[Trend], width: int, theme: Theme | None = None) -> Table:
    """Return the trends as text.

    Parameters
    ----------
    trends : sequence of Trend
        The loops.
    width : int
        Width of all columns together, characters.
    theme : Theme, optional
        The colours; by default those that can be read on a light and a dark background.
    """
    from rich.table import Table

    columns = choose_loops_per_row(len(trends), width)
    rows = _LARGE_ROWS if len(trends) < _MIN_LOOPS_FOR_SMALL else _SMALL_ROWS
    column_width = max(_MIN_WIDTH, (width - _COLUMN_GAP * (columns - 1)) // columns)
    longest = max((len(episode.fault) for trend in trends for episode in trend.episodes), default=0)
    margin = min(max(_MIN_MARGIN, longest + 1), column_width // 3)
    grid = Table.grid(padding=(0, _COLUMN_GAP, 0, 0), pad_edge=False)
    for _ in range(columns):
        grid.add_column(width=column_width, no_wrap=True, overflow="crop")
    for i in range(0, len(trends), columns):
        grid.add_row(*(_Panels(trend, column_width, margin, theme or LIGHT, has_plain_sp=theme is None).text(rows)
                       for trend in trends[i:i + columns]), *[""] * (i + columns - len(trends)))
        if i + columns < len(trends):
            grid.add_row()
    return grid


class _Panels:
    """The panels of one loop with their margin. has_plain_sp: whether SP has the terminal's own text colour."""

    def __init__(self, trend: Trend, width: int, margin: int, theme: Theme, has_plain_sp: bool) -> None:
        self._trend, self._theme = trend, theme
        self._sp = None if has_plain_sp else theme.sp
        self._lanes = build_lanes(trend, (trend.end - trend.start) // width)
        self._margin, self._width = margin, width - margin - 1
        self._text: list[Text] = []

    def text(self, rows: tuple[int, int]) -> Text:
        """Return the text; rows: lines of text of PV and of OP."""
        from rich.text import Text

        trend, theme = self._trend, self._theme
        self._add_heading()
        self._add_panel("PV, SP", trend.unit, rows[0], choose_limits(trend),
                        ((trend.sp, self._sp, True), (trend.pv, theme.pv, False)))
        self._add_panel("OP %", "", rows[1], choose_op_limits(trend), ((trend.op, theme.op, False),))
        self._add_modes()
        for lane in self._lanes:
            self._add_lane(lane)
        self._add_time_axis()
        return Text("\n").join(self._text)

    def _add_heading(self) -> None:
        from rich.text import Text

        trend, theme = self._trend, self._theme
        heading = Text(trend.loop[:self._margin + self._width - 22], "bold").append("  ")
        heading.append("─ PV", f"not bold {theme.pv}").append("  ┈ SP", f"not bold {self._sp or 'default'}")
        heading.append("  ─ OP", f"not bold {theme.op}")
        day = f"{_convert_to_utc(trend.start):%Y-%m-%d} UTC"
        room = self._margin + self._width - heading.cell_len - len(day) - 4
        if trend.description and room > 1:
            heading.append(f"  {shorten(trend.description, room)}", "not bold")
        space = " " * max(1, self._margin + self._width - heading.cell_len - len(day))
        self._text.append(heading.append(space + day, "not bold dim"))

    def _add_panel(self, name: str, unit: str, rows: int, limits: AxisLimits,
                   lines: Sequence[tuple[Line, str | None, bool]]) -> None:
        """Add a panel of lines, each with its colour, None for the terminal's, and whether it is dotted.

        unit: written below the name, in a panel of four rows or more. limits: with the spikes of the last line.
        """
        from rich.text import Text

        start, end = self._trend.start / SECOND, self._trend.end / SECOND
        canvas = BrailleCanvas(self._width, rows, start, end, limits.low, limits.high)
        for line, colour, is_dotted in lines:
            _draw_line(canvas, line, colour or "", is_dotted)
        labels = _label_limits(limits.low, limits.high, rows)
        name_row = rows // 2 - bool(unit) if rows > 2 else 0
        labels[name_row] = f"{name} {labels.get(name_row, '')}".rstrip()
        if unit:
            labels[name_row + 1] = shorten(unit, self._margin - 1)
        text = canvas.lines()
        for spike in limits.spikes:
            row, column = 0 if spike.is_above else rows - 1, min(self._width - 1, self._find_column(spike.time))
            arrow = Text("▲" if spike.is_above else "▼", lines[-1][1] or "default")
            text[row] = Text.assemble(text[row][:column], arrow, text[row][column + 1:])
        for row, line_text in enumerate(text):
            label = labels.get(row, "")
            self._text.append(Text(f"{label:>{self._margin - 1}} ", "dim").append("│", "not dim")
                              .append_text(line_text))

    def _add_modes(self) -> None:
        self._add_bars("Mode", [(run.start, run.end, "─", run.mode, MODE_COLOURS[run.mode])
                                for run in self._trend.modes])

    def _add_lane(self, lane: Lane) -> None:
        colour = choose_fault_colour(lane.fault)
        bars = sorted(lane.bars, key=lambda bar: bar.kind == "visible")
        self._add_bars(lane.fault, [(bar.start, bar.end, _BARS[bar.kind], "",
                                     self._theme.muted if bar.kind == "control" else colour) for bar in bars])

    def _add_bars(self, name: str, bars: Sequence[tuple[int, int, str, str, str]]) -> None:
        """Add a lane of bars (start, end, character, label, colour), later ones over earlier ones."""
        from rich.text import Text

        cells: list[tuple[str, str]] = [(" ", "")] * self._width
        for start, end, character, label, colour in bars:
            first = self._find_column(start)
            after = max(first + 1, self._find_column(end))
            text = label if len(label) < after - first else ""
            style = f"{FILL_TEXT} on {colour}" if label else colour
            for i in range(first, min(after, self._width)):
                cells[i] = (text[i - first] if i - first < len(text) else character, style)
        lane = Text(f"{name[:self._margin - 1]:>{self._margin - 1}} ", "dim").append(" ")
        for character, style in cells:
            lane.append(character, f"not dim {style}" if style else "")
        self._text.append(lane)

    def _find_column(self, time: int) -> int:
        """Return the character of the canvas, from 0 on, that shows an instant."""
        return (time - self._trend.start) * self._width // (self._trend.end - self._trend.start)

    def _add_time_axis(self) -> None:
        from rich.text import Text

        step = next((step for step in _TICK_STEPS_S if self._count_ticks(step) * _TICK_WIDTH <= self._width),
                    _TICK_STEPS_S[-1])
        label_format = "%m-%d" if step >= 86400 else "%H:%M" if step >= 60 else "%H:%M:%S"
        line = [" "] * self._width
        first = -(-self._trend.start // (step * SECOND)) * step * SECOND
        for time in range(first, self._trend.end, step * SECOND):
            label = "╵" + f"{_convert_to_utc(time):{label_format}}"
            column = self._find_column(time)
            if column + len(label) <= self._width:
                line[column:column + len(label)] = label
        self._text.append(Text(f"{'UTC':>{self._margin - 1}}  {''.join(line).rstrip()}", "dim"))

    def _count_ticks(self, step: int) -> int:
        return (self._trend.end - self._trend.start) // (step * SECOND) + 1


def _draw_line(canvas: BrailleCanvas, line: Line, colour: str, is_dotted: bool) -> None:
    x = line.times / SECOND
    if line.is_sparse or len(x) == 1:
        canvas.draw_points(x, line.values, colour)
    (canvas.draw_dots if is_dotted else canvas.draw_line)(x, line.values, colour)


def _label_limits(low: float, high: float, rows: int) -> dict[int, str]:
    """Return the values at the first and the last row, by row, with as many decimals as they need to differ."""
    decimals = max(0, min(6, 1 - int(np.floor(np.log10(high - low)))))
    half_row = (high - low) * 0.5 / rows
    return {0: f"{high - half_row:.{decimals}f}", rows - 1: f"{low + half_row:.{decimals}f}"}


def _convert_to_utc(time: int) -> datetime:
    return datetime.fromtimestamp(time / SECOND, timezone.utc)
