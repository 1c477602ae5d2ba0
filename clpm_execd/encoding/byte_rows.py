"""Rows of text that are put together from pieces, thousands at once, with no Python object for any of them.

A piece of all rows is an array of bytes; behind what is shorter than the longest stands PAD, which is no byte of
UTF-8. What many rows have alike is in it once.

The text is made piece after piece: the first of all rows, each where its row begins, then the second over what was
copied beyond the first, and so on. Only where the rest of a row may be shorter than what is copied beyond a piece, or
parts are left out, are the rows laid out with all their PAD, and each byte is looked at: that takes twice the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clpm_execd.encoding.float_format import PAD
from clpm_execd.plant.loop_set import Indices

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

_PAD = PAD[0]
_FEW = 1000  # rows, up to which to look at each byte takes less time than to begin with pieces
_NEAR = 5000  # rows that are copied piece by piece: their text is still in the cache of a core at the last one


class Piece(NamedTuple):
    """Of the rows of T instants and N loops each.

    texts: (T or 1, N or 1, W) bytes; 1 where all are alike. spare: how many of the W are PAD, by whole numbers of the
    same shape without the last axis; None: none anywhere.
    """

    texts: Bytes
    spare: Indices | None = None

    @property
    def width(self) -> int:
        return int(self.texts.shape[-1])


class Rows:
    """T x N rows of these pieces, those of an instant after each other. shape: (T, N)."""

    def __init__(self, shape: tuple[int, int], pieces: Sequence[Piece]) -> None:
        self._shape, self._pieces = shape, list(pieces)
        self._gone: list[tuple[slice, Flags]] = []

    def leave_out(self, which: Flags, pieces: slice = slice(None)) -> None:
        """Leave out some pieces of these rows; which is (T, N)."""
        if which.any():
            self._gone.append((pieces, which))

    def begin(self, which: Flags, piece: int, byte: int) -> None:
        """Let a piece of these rows begin with another byte; which is (T, N)."""
        texts, spare = self._pieces[piece]
        texts = np.array(np.broadcast_to(texts, (*self._shape, texts.shape[-1])))
        texts[which, 0] = byte
        self._pieces[piece] = Piece(texts, spare)

    def text(self) -> bytes | memoryview:
        """What the rows say."""
        if self._gone or self._shape[0] * self._shape[1] <= _FEW or not self._fit():
            return self._squeezed()
        width = sum(piece.width for piece in self._pieces)
        lengths: Indices = np.full(self._shape, width, dtype=np.intp)
        for piece in self._pieces:
            if piece.spare is not None:
                lengths -= piece.spare
        at = np.cumsum(lengths).reshape(self._shape)
        size = int(at[-1, -1])
        at -= lengths
        text: Bytes = np.empty(size + width, dtype=np.uint8)
        ways = [_Way.into(text, piece) for piece in self._pieces]
        for near in _tiles(self._shape):
            here = at[near]
            for way in ways:
                way.copy(here, near)
        return text[:size].data

    def _fit(self) -> bool:
        """Whether what is copied beyond a piece lies within its row, even where that is at its shortest."""
        rest = 0
        for piece in reversed(self._pieces):
            most = 0 if piece.spare is None else int(piece.spare.max(initial=0))
            if most > rest:
                return False
            rest += piece.width - most
        return True

    def _squeezed(self) -> bytes:
        """The same, of the rows with all their PAD."""
        table = np.concatenate(
            [np.broadcast_to(texts, (*self._shape, texts.shape[-1])) for texts, _ in self._pieces], axis=2)
        ends = np.cumsum([0, *(piece.width for piece in self._pieces)])
        for pieces, which in self._gone:
            first, last, _ = pieces.indices(len(self._pieces))
            table[which, ends[first] : ends[last]] = _PAD
        text: bytes = table[table != _PAD].tobytes()
        return text


class _Way(NamedTuple):
    """Of a piece into the text. to: the bytes from each byte on. texts, spare: as the piece has them, a text as one."""

    to: npt.NDArray[np.void]
    texts: npt.NDArray[np.void]
    width: int
    spare: Indices | None

    @classmethod
    def into(cls, text: Bytes, piece: Piece) -> _Way:
        width = piece.width
        to: npt.NDArray[np.void] = np.ndarray((len(text) - width + 1,), f"V{width}", text.data, 0, (1,))
        return cls(to, piece.texts.view(f"V{width}")[..., 0], width, piece.spare)

    def copy(self, at: Indices, near: tuple[slice, slice]) -> None:
        """Copy it of some rows; at: where each of them ends so far, and then ends with it."""
        self.to[at] = _part(self.texts, near)
        at += self.width
        if self.spare is not None:
            at -= _part(self.spare, near)


def padded(texts: Sequence[bytes]) -> tuple[Bytes, Indices]:
    """(R, W) the texts as bytes, of the longest's width, and (R,) how many of each are PAD."""
    lengths = np.fromiter(map(len, texts), np.intp, len(texts))
    width = int(lengths.max(initial=1))
    table = np.array(texts, dtype=f"S{width}").view(np.uint8).reshape(len(texts), width)
    spare = width - lengths
    if spare.any():
        table[np.arange(width) >= lengths[:, np.newaxis]] = _PAD
    return table, spare


def _tiles(shape: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    """The rows in parts that are near each other, in their order."""
    ticks, loops = max(1, _NEAR // shape[1]), min(_NEAR, shape[1])
    for t in range(0, shape[0], ticks):
        for n in range(0, shape[1], loops):
            yield slice(t, t + ticks), slice(n, n + loops)


def _part(of: npt.NDArray[Any], near: tuple[slice, slice]) -> npt.NDArray[Any]:
    """Of what is (T or 1, N or 1, ...) that of some rows."""
    ticks, loops = (part if length > 1 else slice(None) for part, length in zip(near, of.shape, strict=False))
    return of[ticks, loops]
