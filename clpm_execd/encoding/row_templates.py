"""Templates of rows: the constant text of a loop in a mode, with slots for its numbers and its time.

A row consists of fields, and a field of segments, each with one slot at most. The text of a segment without a number
or a time belongs to the template, and is made once. A number that is what it was at the last call is not formatted
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clpm_execd.encoding.byte_rows import ByteColumn, Bytes, RowBuffer, pad_texts
from clpm_execd.encoding.float_format import LONGEST_BYTES, PADDING, FloatTexts, Words, format_floats
from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop_set import Indices


class Slot(Enum):
    """What is not constant in a row."""

    NUMBER = 0
    TIME = 1
    LOOP = 2  # the text of the loop, such as its id


class Segment(NamedTuple):
    """Text around a slot; behind a number comes another segment."""

    before: bytes
    slot: Slot | None = None
    after: bytes = b""


Field = tuple[Segment, ...]  # one with a number is omitted together with it
RowFormat = Sequence[Field]


@dataclass(slots=True)
class _CachedColumn:
    """A number of some rows at the last call: its bits, by which 0 is not -0, and its column once the bits recur."""

    bits: Words
    column: ByteColumn | None = None
    has_irregular: bool = False


class RowTemplates:
    """Templates of one structure: `add` gives each an index, by which `fill` makes rows of them.

    number_columns: for each number, which columns of a row are its field.
    """

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self._texts: dict[int, tuple[Bytes, Indices]] = {}  # of each segment of the template: (F, W), (F,)
        self._cache: dict[tuple[int, int], _CachedColumn] = {}
        self.number_columns: list[slice] = []

    def add(self, row: RowFormat, loop_texts: Sequence[bytes]) -> Indices:
        """Return the indices of new templates, one a loop text; the row has the structure of the first one added."""
        self._segments = [segment for field in row for segment in field]
        ends = accumulate(map(len, row), initial=0)
        self.number_columns = [slice(*bounds) for field, bounds in zip(row, pairwise(ends), strict=True)
                               if any(segment.slot is Slot.NUMBER for segment in field)]
        first = 0
        for i, (before, slot, after) in enumerate(self._segments):
            if slot in (None, Slot.LOOP):
                texts = pad_texts([before + loop + after if slot else before for loop in loop_texts])
                earlier = self._texts.get(i)
                first = len(earlier[0]) if earlier else 0
                self._texts[i] = _concatenate_texts(earlier, texts) if earlier else texts
        return np.arange(first, first + len(loop_texts))

    def fill(self, templates: Indices, time_texts: Sequence[bytes], time_of: Indices, numbers: Sequence[Floats],
             cache_key: int | None = None) -> tuple[RowBuffer, bool]:
        """Return the rows, and whether a number is not finite, or not of moderate size.

        templates: (T or 1, N) indices. time_of: (T, 1 or N) the index of each row's time text. numbers: (T, N) each.
        cache_key: the same for the same rows of each call; None if no column is to be kept for the next call.
        """
        shape, any_irregular, remaining = numbers[0].shape, False, iter(enumerate(numbers))
        columns = []
        for i, segment in enumerate(self._segments):
            if segment.slot is Slot.NUMBER:
                number, values = next(remaining)
                key = None if cache_key is None else (cache_key, number)
                column, has_irregular = self._number_column(segment.before, values, key)
                any_irregular = any_irregular or has_irregular
            elif segment.slot is Slot.TIME:
                column = _take(*pad_texts([segment.before + time + segment.after for time in time_texts]), time_of)
            else:
                column = _take(*self._texts[i], templates)
            columns.append(column)
        return RowBuffer((shape[0], shape[1]), columns), any_irregular

    def _number_column(self, before: bytes, values: Floats, key: tuple[int, int] | None) -> tuple[ByteColumn, bool]:
        """Return a number of each row with the text before it, and whether one is irregular."""
        values = np.array(values, order="C")
        current = _CachedColumn(values.view(np.uint64))
        if key is not None:
            entry = self._cache.get(key)
            if entry and np.array_equal(entry.bits, current.bits):
                if entry.column is None:
                    entry.column, entry.has_irregular = _format_column(before, values)
                return entry.column, entry.has_irregular
            self._cache[key] = current
        return _format_column(before, values)


def _format_column(before: bytes, values: Floats) -> tuple[ByteColumn, bool]:
    """Return numbers as a column, and whether any is irregular."""
    formatted_values = format_floats(values.ravel())
    width = LONGEST_BYTES if formatted_values.overflow else 8 if formatted_values.high is None else 16
    texts: Bytes = np.empty((values.size, len(before) + width), dtype=np.uint8)
    _write_floats(texts, len(before), formatted_values)
    if before:
        _view_at(texts, 0, f"V{len(before)}")[:] = np.void(before)
    padding = np.subtract(width, formatted_values.lengths, dtype=np.intp)
    padding[list(formatted_values.overflow)] = 0
    column = ByteColumn(texts.reshape(*values.shape, -1), padding.reshape(values.shape) if padding.any() else None)
    return column, formatted_values.has_irregular


def _write_floats(texts: Bytes, start: int, formatted_values: FloatTexts) -> None:
    """Write each number into its row, from this byte on."""
    _view_at(texts, start, "<u8")[:] = formatted_values.low
    if formatted_values.high is not None:
        _view_at(texts, start + 8, "<u8")[:] = formatted_values.high
    if formatted_values.overflow:
        texts[:, start + 16] = PADDING[0]
        for row, text in formatted_values.overflow.items():
            texts[row, start:] = np.frombuffer(text, np.uint8)


def _view_at(texts: Bytes, start: int, dtype: str) -> npt.NDArray[Any]:
    """Return a view, (R,), of what stands in each row from a byte on."""
    return np.ndarray((len(texts),), dtype, texts.data, start, (texts.shape[1],))


def _take(texts: Bytes, padding: Indices, which: Indices) -> ByteColumn:
    """Return these of the texts as a column; which: (T or 1, N or 1)."""
    first, last = int(which[0, 0]), int(which[-1, -1])
    if which.size == last - first + 1 and len(which) == 1 and (np.diff(which[0]) == 1).all():
        texts, padding = texts[np.newaxis, first : last + 1], padding[np.newaxis, first : last + 1]
    else:
        texts, padding = texts.take(which, axis=0), padding.take(which)
    return ByteColumn(texts, padding if padding.any() else None)


def _concatenate_texts(*tables: tuple[Bytes, Indices]) -> tuple[Bytes, Indices]:
    """Return one table of all texts, as wide as the widest."""
    width = max(texts.shape[1] for texts, _ in tables)
    wide_texts = [np.pad(texts, ((0, 0), (0, width - texts.shape[1])), constant_values=PADDING[0])
                  for texts, _ in tables]
    return np.concatenate(wide_texts), np.concatenate([padding + width - texts.shape[1] for texts, padding in tables])
