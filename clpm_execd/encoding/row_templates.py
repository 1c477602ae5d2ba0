"""Frames: what each row of text says of its loop and its mode, around its numbers and its time.

A row is parts, and a part is stretches of text, each with one hole at most. What a stretch says without a number or a
time is a frame's own, and made once; a number that is what it was at the last time is not written again either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clpm_execd.encoding.byte_rows import Bytes, Piece, Rows, padded
from clpm_execd.encoding.float_format import LONGEST, PAD, Digits, Words, digits
from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop_set import Indices


class Hole(Enum):
    """What is not constant in a row."""

    NUMBER = 0
    TIME = 1
    LOOP = 2  # the text that is each loop's own


class Stretch(NamedTuple):
    """Text around a hole; behind a number comes another stretch."""

    before: bytes
    hole: Hole | None = None
    after: bytes = b""


Part = tuple[Stretch, ...]  # one with a number is left out together with it
Row = Sequence[Part]


@dataclass(slots=True)
class _Held:
    """A number of some rows as it was the last time: its bits, by which 0 is not -0, and its piece once they stay."""

    bits: Words
    piece: Piece | None = None
    odd: bool = False


class Frames:
    """Frames of one structure: `add` gives each an index, by which `rows` makes rows of them.

    parts: which of a row's pieces are the part of each number.
    """

    def __init__(self) -> None:
        self._stretches: list[Stretch] = []
        self._texts: dict[int, tuple[Bytes, Indices]] = {}  # of each stretch that is a frame's own: (F, W), (F,)
        self._held: dict[tuple[int, int], _Held] = {}
        self.parts: list[slice] = []

    def add(self, row: Row, loops: Sequence[bytes]) -> Indices:
        """The indices of the frames of a row, which is of the structure of the first there was, with each text."""
        self._stretches = [stretch for part in row for stretch in part]
        ends = accumulate(map(len, row), initial=0)
        self.parts = [slice(*both) for part, both in zip(row, pairwise(ends), strict=True)
                      if any(stretch.hole is Hole.NUMBER for stretch in part)]
        first = 0
        for i, (before, hole, after) in enumerate(self._stretches):
            if hole in (None, Hole.LOOP):
                texts = padded([before + loop + after for loop in loops] if hole else [before] * len(loops))
                had = self._texts.get(i)
                first = len(had[0]) if had else 0
                self._texts[i] = _after_one_another(had, texts) if had else texts
        return np.arange(first, first + len(loops))

    def rows(self, frames: Indices, times: Sequence[bytes], which: Indices, numbers: Sequence[Floats],
             key: int | None = None) -> tuple[Rows, bool]:
        """Rows, and whether all of their numbers are finite and of moderate size.

        frames: (T or 1, N). times: their texts, and which, (T, 1 or N), each row takes. numbers: (T, N) each. key: by
        which these rows of all are known from time to time.
        """
        shape, plain, left = numbers[0].shape, True, iter(enumerate(numbers))
        pieces = []
        for i, stretch in enumerate(self._stretches):
            if stretch.hole is Hole.NUMBER:
                number, values = next(left)
                piece, odd = self._number(stretch.before, values, None if key is None else (key, number))
                plain = plain and not odd
            elif stretch.hole is Hole.TIME:
                piece = _some(*padded([stretch.before + time + stretch.after for time in times]), which)
            else:
                piece = _some(*self._texts[i], frames)
            pieces.append(piece)
        return Rows((shape[0], shape[1]), pieces), plain

    def _number(self, before: bytes, values: Floats, key: tuple[int, int] | None) -> tuple[Piece, bool]:
        """A number of each row, and whether one of them is not finite, or not of moderate size."""
        values = np.array(values, order="C")
        held = _Held(values.view(np.uint64))
        if key is not None:
            had = self._held.get(key)
            if had and np.array_equal(had.bits, held.bits):
                if had.piece is None:
                    had.piece, had.odd = _written(before, values)
                return had.piece, had.odd
            self._held[key] = held
        return _written(before, values)


def _written(before: bytes, values: Floats) -> tuple[Piece, bool]:
    """Numbers as a piece, and whether any is odd."""
    made = digits(values.ravel())
    width = LONGEST if made.longer else 8 if made.high is None else 16
    texts: Bytes = np.empty((values.size, len(before) + width), dtype=np.uint8)
    _fill(texts, len(before), made)
    if before:
        _at(texts, 0, f"V{len(before)}")[:] = np.void(before)
    spare = np.subtract(width, made.lengths, dtype=np.intp)
    spare[list(made.longer)] = 0
    return Piece(texts.reshape(*values.shape, -1), spare.reshape(values.shape) if spare.any() else None), made.odd


def _fill(texts: Bytes, start: int, made: Digits) -> None:
    """Write the numbers, each from this byte on."""
    _at(texts, start, "<u8")[:] = made.low
    if made.high is not None:
        _at(texts, start + 8, "<u8")[:] = made.high
    if made.longer:
        texts[:, start + 16] = PAD[0]
        for row, text in made.longer.items():
            texts[row, start:] = np.frombuffer(text, np.uint8)


def _at(texts: Bytes, start: int, kind: str) -> npt.NDArray[Any]:
    """(R,) what stands in each row from a byte on."""
    return np.ndarray((len(texts),), kind, texts.data, start, (texts.shape[1],))


def _some(texts: Bytes, spare: Indices, which: Indices) -> Piece:
    """These of the texts; which: (T or 1, N or 1)."""
    first, last = int(which[0, 0]), int(which[-1, -1])
    if which.size == last - first + 1 and len(which) == 1 and (np.diff(which[0]) == 1).all():
        texts, spare = texts[np.newaxis, first : last + 1], spare[np.newaxis, first : last + 1]
    else:
        texts, spare = texts.take(which, axis=0), spare.take(which)
    return Piece(texts, spare if spare.any() else None)


def _after_one_another(*tables: tuple[Bytes, Indices]) -> tuple[Bytes, Indices]:
    """One table of all texts, of the widest's width."""
    width = max(texts.shape[1] for texts, _ in tables)
    wider = [np.pad(texts, ((0, 0), (0, width - texts.shape[1])), constant_values=PAD[0]) for texts, _ in tables]
    return np.concatenate(wider), np.concatenate([spare + width - texts.shape[1] for texts, spare in tables])
