"""A canvas of braille characters: two by four dots each, and one colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clpm_execd.plant.block import Floats

if TYPE_CHECKING:
    from rich.text import Text

_DOT_COLUMNS, _DOT_ROWS = 2, 4  # of a character
_FIRST_PATTERN = 0x2800  # U+2800, the pattern without dots
# The bit of each dot by row and column, as Unicode numbers them.
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])


class BrailleCanvas:
    """Dots on a rectangle of characters. What is drawn later gives a character its colour.

    Parameters
    ----------
    width, height : int
        Characters.
    low_x, high_x, low_y, high_y : float
        The coordinates of the edges.
    """

    def __init__(self, width: int, height: int, low_x: float, high_x: float, low_y: float, high_y: float) -> None:
        self._dots = np.zeros((height * _DOT_ROWS, width * _DOT_COLUMNS), dtype=bool)
        self._colours = np.full((height, width), "", dtype=object)
        self._origin = np.array([low_x, low_y])
        self._dots_per_unit = (np.array(self._dots.shape[::-1]) - 1) / np.array([high_x - low_x, high_y - low_y])

    def draw_points(self, x: Floats, y: Floats, colour: str) -> None:
        """Draw dots; those beyond the edges and those without a number are left out. colour: empty for none."""
        self._set(self._to_dots(x, y), colour)

    def draw_line(self, x: Floats, y: Floats, colour: str) -> None:
        """Draw straight segments between the points, broken where one has no number."""
        points = self._to_dots(x, y)
        start, end = points[:-1], points[1:]
        is_whole = np.isfinite(start).all(axis=1) & np.isfinite(end).all(axis=1)
        start, end = start[is_whole], end[is_whole]
        # A dot for each step along the longer side, of all segments at once. Far beyond an edge no dots are needed.
        limits = np.array(self._dots.shape[::-1])
        start, end = (np.clip(part, -limits, 2 * limits) for part in (start, end))
        steps = np.ceil(np.abs(end - start).max(axis=1)).astype(int) + 1
        segment = np.repeat(np.arange(len(steps)), steps)
        number = np.arange(len(segment)) - np.repeat(np.cumsum(steps) - steps, steps)
        share = number / np.maximum(1, steps[segment] - 1)
        self._set(start[segment] + share[:, np.newaxis] * (end - start)[segment], colour)

    def draw_dots(self, x: Floats, y: Floats, colour: str) -> None:
        """Draw the line with one dot in the first column of each character, at the height that it has there."""
        has_number = np.isfinite(y)
        if np.count_nonzero(has_number) == 0:
            return
        first = self._to_dots(x, y)[:, 0]
        columns = np.arange(0, self._dots.shape[1], _DOT_COLUMNS)
        columns = columns[(columns >= np.floor(first[0])) & (columns <= np.ceil(first[-1]))]
        places = self._origin[0] + columns / self._dots_per_unit[0]
        before = np.clip(np.searchsorted(x, places, side="right") - 1, 0, len(x) - 1)
        after = np.minimum(before + 1, len(x) - 1)
        values = np.where(has_number[before] & has_number[after], np.interp(places, x, y), np.nan)
        self._set(self._to_dots(places, values), colour)

    def lines(self) -> list[Text]:
        """Return the rows of characters."""
        from rich.text import Text

        height, width = self._colours.shape
        blocks = self._dots.reshape(height, _DOT_ROWS, width, _DOT_COLUMNS).transpose(0, 2, 1, 3)
        patterns = _FIRST_PATTERN + (blocks * _BITS).sum(axis=(2, 3))
        rows = []
        for codes, colours in zip(patterns.tolist(), self._colours.tolist(), strict=True):
            row = Text()
            for code, colour in zip(codes, colours, strict=True):
                row.append(chr(code), colour or None)
            rows.append(row)
        return rows

    def _to_dots(self, x: Floats, y: Floats) -> Floats:
        """Return the places of points in dots from the lower left, (n, 2)."""
        return np.asarray((np.stack([x, y], axis=1) - self._origin) * self._dots_per_unit)

    def _set(self, places: Floats, colour: str) -> None:
        places = np.rint(places[np.isfinite(places).all(axis=1)]).astype(int)
        height, width = self._dots.shape
        column, row = places[:, 0], height - 1 - places[:, 1]
        is_inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        column, row = column[is_inside], row[is_inside]
        self._dots[row, column] = True
        self._colours[row // _DOT_ROWS, column // _DOT_COLUMNS] = colour
