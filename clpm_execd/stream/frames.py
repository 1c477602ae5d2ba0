"""Rows of text as a table of bytes: their constant text in place, and places for the numbers and the time.

What is shorter than its place is followed by PAD, which is no byte of UTF-8, and text is the table without it. So a
row is made by copying its frame and writing its numbers, with no Python object for either, thousands of rows at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from clpm_execd.stream.digits import LONGEST, PAD, Words

Table = npt.NDArray[np.uint8]

_PAD = PAD[0]


class Hole(Enum):
    """What is not constant in a row."""

    NUMBER = 0
    TIME = 1
    LOOP = 2  # the text that is each loop's own


Part = tuple[bytes | Hole, ...]  # a stretch of a row; one with a number is left out together with it
Row = Sequence[Part]


class Frames:
    """Frames of one structure: `add` gives each an index, by which `rows` copies them, and the rest fills the copies.

    time_width: bytes that the longest time takes.
    parts: where in a row the part of each number stands.
    """

    def __init__(self, time_width: int) -> None:
        self._time_width = time_width
        self._widths: list[int] = []  # of each piece
        self._starts: list[int] = []
        self._table: Table = np.empty((0, 0), dtype=np.uint8)
        self._numbers: list[int] = []
        self._times: list[int] = []
        self.parts: list[slice] = []

    def add(self, row: Row, loops: Sequence[bytes]) -> npt.NDArray[np.intp]:
        """The indices of the frames of a row, which is of the structure of the first there was, with each text."""
        pieces = [piece for part in row for piece in part]
        holes = {Hole.NUMBER: LONGEST, Hole.TIME: self._time_width, Hole.LOOP: max(map(len, loops))}
        widths = [holes[piece] if isinstance(piece, Hole) else len(piece) for piece in pieces]
        if not self._widths or any(width > had for width, had in zip(widths, self._widths, strict=True)):
            self._lay_out(row, [max(both) for both in zip(widths, self._widths or widths, strict=True)])
        added: Table = np.full((len(loops), self._table.shape[1]), _PAD, dtype=np.uint8)
        for start, width, piece in zip(self._starts, widths, pieces, strict=True):
            if piece is Hole.LOOP:
                added[:, start : start + width] = _padded(loops, width)
            elif isinstance(piece, bytes):
                added[:, start : start + width] = np.frombuffer(piece, np.uint8)
        first = len(self._table)
        self._table = np.concatenate([self._table, added])
        return np.arange(first, len(self._table))

    def _lay_out(self, row: Row, widths: list[int]) -> None:
        """Give each piece its place, and move what is in the table there."""
        *starts, end = 0, *accumulate(widths)
        table: Table = np.full((len(self._table), end), _PAD, dtype=np.uint8)
        for start, was, width in zip(starts, self._starts, self._widths, strict=False):
            table[:, start : start + width] = self._table[:, was : was + width]
        self._table, self._starts, self._widths = table, starts, widths
        pieces = [piece for part in row for piece in part]
        self._numbers, self._times = ([start for start, piece in zip(starts, pieces, strict=False) if piece is hole]
                                      for hole in (Hole.NUMBER, Hole.TIME))
        ends = [0, *accumulate(len(part) for part in row)]
        starts = [*starts, end]
        self.parts = [slice(starts[ends[i]], starts[ends[i + 1]]) for i, part in enumerate(row) if Hole.NUMBER in part]

    def rows(self, frames: npt.NDArray[np.intp]) -> Table:
        """(R, W) a copy of each frame; frames is (R,)."""
        return self._table.take(frames, axis=0)

    def put_times(self, rows: Table, times: Sequence[bytes]) -> None:
        """Write the times: of T times, the first is that of the first R / T rows, and so on."""
        texts = _padded(times, self._time_width).view(f"V{self._time_width}")
        for start in self._times:
            self._at(rows, start, texts.dtype, len(times))[:] = texts

    def put_number(self, rows: Table, number: int, low: Words, high: Words) -> None:
        """Write a number of each row, as `digits` gives them; low and high are (T, N) with T N = R, or (N,)."""
        ticks = len(low) if low.ndim == 2 else len(rows) // max(1, len(low))
        start = self._numbers[number]
        self._at(rows, start, np.dtype("<u8"), ticks)[:] = low
        self._at(rows, start + 8, np.dtype("<u8"), ticks)[:] = high

    def put_text(self, rows: Table, number: int, row: int, text: bytes) -> None:
        """Write a number of one row that is LONGEST."""
        start = self._numbers[number]
        rows[row, start : start + LONGEST] = np.frombuffer(text, np.uint8)

    def _at(self, rows: Table, start: int, kind: np.dtype[Any], ticks: int) -> npt.NDArray[Any]:
        """(T, R / T) what stands in each row from a byte on."""
        n, width = rows.shape
        each = n // max(1, ticks)
        return np.ndarray((ticks, each), kind, rows.data, start, (each * width, width))


def _padded(texts: Sequence[bytes], width: int) -> Table:
    """(R, width) a text each."""
    return np.frombuffer(b"".join([text.ljust(width, PAD) for text in texts]), np.uint8).reshape(len(texts), width)


def blank(rows: Table, which: npt.NDArray[np.bool_], part: slice = slice(None)) -> None:
    """Leave out a part of these rows."""
    rows[which, part] = _PAD


def squeezed(rows: Table) -> bytes:
    """The text of the rows."""
    text: bytes = rows[rows != _PAD].tobytes()
    return text
