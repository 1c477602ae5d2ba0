"""Rows of text as a table of bytes: their constant text in place, and places for the numbers and the time.

What is shorter than its place is followed by PAD, which is no byte of UTF-8, and text is the table without it. So a
row is made by copying its frame and writing its numbers, with no Python object for either, thousands of rows at once.

Where nothing but the shorter ones is to be left out, the text is copied in runs, from one hole's end to the next: the
first run of all rows, then the second of all rows over what the first have copied beyond their own, and so on. That
takes half the time of looking at each byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Floats
from clpm_execd.stream.digits import LONGEST, PAD, Words, digits

Table = npt.NDArray[np.uint8]

Indices = npt.NDArray[np.intp]

_PAD = PAD[0]
_PADS = np.frombuffer(8 * PAD, "<u8")
_FEW = 1000  # rows, up to which to look at each byte takes less time than to begin with runs
_NEAR = 5000  # rows that are copied run by run: they and their text are still in the cache of a core at the last run


class Hole(Enum):
    """What is not constant in a row."""

    NUMBER = 0
    TIME = 1
    LOOP = 2  # the text that is each loop's own


Part = tuple[bytes | Hole, ...]  # a stretch of a row; one with a number is left out together with it
Row = Sequence[Part]
Places = Sequence[tuple[bytes | Hole, int, int]]  # the first byte of each piece, and the one behind its last


class Frames:
    """Frames of one structure: `add` gives each an index, by which `rows` copies them.

    parts: where in a row the part of each number stands.
    """

    def __init__(self) -> None:
        self._row: Row = ()
        self._pieces: Sequence[bytes | Hole] = ()
        self._widths: list[int] = []  # of each piece
        self._starts: list[int] = []
        self._places: Places = ()
        self._width = 0
        self._table: Table = np.empty((0, 0), dtype=np.uint8)
        self._texts: Indices = np.empty(0, dtype=np.intp)  # of each frame's loop
        self._kind: Indices = np.empty(0, dtype=np.intp)  # of each frame: which of
        self._kinds: list[list[int]] = []  # the widths that are filled of each piece
        self._time_width = 0  # of the longest there was: a place that is filled costs less than one that is not
        self.parts: list[slice] = []

    def add(self, row: Row, loops: Sequence[bytes]) -> Indices:
        """The indices of the frames of a row, which is of the structure of the first there was, with each text."""
        pieces = [piece for part in row for piece in part]
        holes = {Hole.NUMBER: LONGEST, Hole.TIME: self._time_width, Hole.LOOP: max(map(len, loops))}
        widths = [holes[piece] if isinstance(piece, Hole) else len(piece) for piece in pieces]
        if not self._widths or any(width > had for width, had in zip(widths, self._widths, strict=True)):
            self._row, self._pieces = row, pieces
            self._lay_out([max(both) for both in zip(widths, self._widths or widths, strict=True)])
        first = len(self._table)
        table: Table = np.empty((first + len(loops), self._width), dtype=np.uint8)
        table[:first], table[first:] = self._table, self._empty(pieces)
        self._table = table
        for start, width, piece in zip(self._starts, widths, pieces, strict=True):
            if piece is Hole.LOOP:
                self._table[first:, start : start + width] = _padded(loops, width)
        self._texts = np.concatenate([self._texts, np.fromiter(map(len, loops), np.intp, len(loops))])
        self._kind = np.concatenate([self._kind, np.full(len(loops), len(self._kinds))])
        self._kinds.append(widths)
        return np.arange(first, len(self._table))

    def _empty(self, pieces: Sequence[bytes | Hole]) -> Table:
        """(W,) a frame with all its holes empty."""
        frame: Table = np.full(self._width, _PAD, dtype=np.uint8)
        for start, piece in zip(self._starts, pieces, strict=True):
            if isinstance(piece, bytes):
                frame[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
        return frame

    def _lay_out(self, widths: list[int]) -> None:
        """Give each piece its place, and move what is in the table there."""
        *starts, end = 0, *accumulate(widths)
        table: Table = np.full((len(self._table), end), _PAD, dtype=np.uint8)
        for start, was, width in zip(starts, self._starts, self._widths, strict=False):
            table[:, start : start + width] = self._table[:, was : was + width]
        self._table, self._width, self._starts, self._widths = table, end, starts, widths
        starts = [*starts, end]
        self._places = list(zip(self._pieces, starts, starts[1:], strict=False))
        ends = [0, *accumulate(len(part) for part in self._row)]
        self.parts = [slice(starts[ends[i]], starts[ends[i + 1]]) for i, part in enumerate(self._row)
                      if Hole.NUMBER in part]

    def make_room(self, times: Sequence[bytes]) -> None:
        """Before rows are made that take these times."""
        longest = max(map(len, times), default=0)
        if longest > self._time_width:
            self._time_width = longest
            self._lay_out([longest if piece is Hole.TIME else width
                           for piece, width in zip(self._pieces, self._widths, strict=True)])

    def rows(self, frames: Indices, had: Rows | None = None) -> Rows:
        """A copy of each frame; frames is (R,). had: rows that may do, with what they hold, if they are of these."""
        if had and had.whole and had.places is self._places and np.array_equal(had.frames, frames):
            return had
        spare = {i: end - start - self._texts.take(frames)
                 for i, (piece, start, end) in enumerate(self._places) if piece is Hole.LOOP}
        for i, filled in enumerate(zip(*self._kinds, strict=True)):
            if isinstance(self._pieces[i], bytes) and min(filled) < self._widths[i]:
                spare[i] = self._widths[i] - np.array(filled).take(self._kind.take(frames))
        return Rows(self._table.take(frames, axis=0), frames, self._places, spare)


class Rows:
    """R copies of frames, to be filled. What they hold already is not written again.

    table: (R, W) their bytes. frames: (R,) of which they are. places: each piece with its first byte and the one
    behind its last. spare: by the index of a piece (R,) how many bytes of its place it leaves; of others none.
    whole: whether nothing was left out, nor was longer than a hole.
    """

    def __init__(self, table: Table, frames: Indices, places: Places, spare: dict[int, Indices]) -> None:
        self.table, self.frames, self.places = table, frames, places
        self.whole = True
        self._spare = spare
        self._numbers = [i for i, (piece, _, _) in enumerate(places) if piece is Hole.NUMBER]
        self._held: dict[int, Words] = {}  # the bits of each number
        self._long: dict[int, bool] = {}  # whether any text of a number has more than one word
        self._odd: dict[int, bool] = {}  # whether a number may be none that is written

    def put_times(self, times: Sequence[bytes]) -> None:
        """Write the times: of T times, the first is that of the first R / T rows, and so on."""
        lengths = np.fromiter(map(len, times), np.intp, len(times))
        for i, (piece, start, end) in enumerate(self.places):
            if piece is Hole.TIME:
                texts, spare = _padded(times, end - start).view(f"V{end - start}"), end - start - lengths
                self._at(start, texts.dtype, len(times))[:] = texts
                self._spare[i] = spare.repeat(len(self.table) // len(times)) if spare.any() else spare

    def put_number(self, number: int, values: Floats) -> None:
        """Write a number of each row; values is (T, N) with T N = R."""
        bits = np.ascontiguousarray(values).view(np.uint64)  # by which 0 is not -0
        if number in self._held and np.array_equal(self._held[number], bits):
            return
        self._held[number] = bits.copy()
        made = digits(values.ravel())
        hole = self._numbers[number]
        _, start, end = self.places[hole]
        self._at(start, np.dtype("<u8"), len(values))[:] = made.low.reshape(values.shape)
        if made.high is not None or self._long.get(number):
            high = np.full(values.shape, _PADS) if made.high is None else made.high.reshape(values.shape)
            self._at(start + 8, np.dtype("<u8"), len(values))[:] = high
        self._long[number] = made.high is not None
        self._spare[hole] = np.subtract(LONGEST, made.lengths, dtype=np.intp)
        self._odd[number] = made.odd
        for row, text in made.longer.items():
            self.table[row, start:end] = np.frombuffer(text, np.uint8)
            self.whole = False

    @property
    def plain(self) -> bool:
        """Whether all of the numbers are finite, and of moderate size."""
        return not any(self._odd.values())

    def blank(self, which: npt.NDArray[np.bool_], part: slice = slice(None)) -> None:
        """Leave out a part of these rows."""
        if which.any():
            self.table[which, part] = _PAD
            self.whole = False

    def text(self) -> bytes | memoryview:
        """What the rows say."""
        if not self.whole or len(self.table) <= _FEW:
            return squeezed(self.table)
        cuts = [(self.places[i][2], spare) for i, spare in sorted(self._spare.items()) if spare.any()]
        if not self._fit(cuts):
            return squeezed(self.table)
        r, width = self.table.shape
        lengths = width - sum(spare for _, spare in cuts)
        at = np.cumsum(lengths)
        size = int(at[-1])
        at -= lengths
        text: Table = np.empty(size + width, dtype=np.uint8)
        for first in range(0, r, _NEAR):
            rows = slice(first, first + _NEAR)
            self._copy(rows, at[rows], [(end, spare[rows]) for end, spare in cuts], text)
        return text[:size].data

    def _copy(self, rows: slice, at: Indices, cuts: Sequence[tuple[int, Indices]], text: Table) -> None:
        """Copy some rows in runs. at: where each begins in the text. cuts: as `text` has them, of these rows."""
        width, start = self.table.shape[1], 0
        for end, spare in [*cuts, (width, np.zeros_like(at))]:
            run = f"V{end - start}"
            to: npt.NDArray[Any] = np.ndarray((len(text) - (end - start) + 1,), run, text.data, 0, (1,))
            to[at] = np.ndarray((len(at),), run, self.table.data, rows.start * width + start, (width,))
            at += end - start - spare
            start = end

    def _fit(self, cuts: Sequence[tuple[int, Indices]]) -> bool:
        """Whether what a run has copied beyond its own lies within its row, even where that is at its shortest."""
        rest = self.table.shape[1]
        most = [int(spare.max()) for _, spare in cuts]
        left = [rest - end - sum(most[i + 1:]) for i, (end, _) in enumerate(cuts)]
        return all(spare <= there for spare, there in zip(most, left, strict=True))

    def _at(self, start: int, kind: np.dtype[Any], ticks: int) -> npt.NDArray[Any]:
        """(T, R / T) what stands in each row from a byte on."""
        n, width = self.table.shape
        each = n // max(1, ticks)
        return np.ndarray((ticks, each), kind, self.table.data, start, (each * width, width))


def _padded(texts: Sequence[bytes], width: int) -> Table:
    """(R, width) a text each."""
    if min(map(len, texts), default=width) < width:
        texts = [text.ljust(width, PAD) for text in texts]
    return np.frombuffer(b"".join(texts), np.uint8).reshape(len(texts), width)


def squeezed(rows: Table) -> bytes:
    """The text of the rows."""
    text: bytes = rows[rows != _PAD].tobytes()
    return text
