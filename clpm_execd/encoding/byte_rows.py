"""Rows of text that are assembled from columns of bytes, thousands at once, without a Python object for any of them.

A column holds the texts of all rows at one place. What is shorter than the longest text of its column is followed by
padding, a byte that does not occur in UTF-8. A text that many rows share is held once.

The rows are written column after column: the first text of each row goes where the row begins, the second one over
whatever was copied beyond the first, and so on. Only where the remainder of a row may be shorter than what is copied
beyond a text, or where texts are omitted, all rows are laid out with their padding, and each byte is looked at. That
takes twice the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clpm_execd.encoding.float_format import PADDING
from clpm_execd.plant.loop_set import Indices

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Tile = tuple[slice, slice]

_PADDING_BYTE = PADDING[0]
# Up to so many rows it takes less time to look at each byte than to set up the copying of columns: both took the same
# time for 750 to 2000 rows of the default fields.
_FEW_ROWS = 1000
# Rows that are copied column by column before the next ones: about 0.5 MB of text, which is still in the cache of a
# core at the last column.
_TILE_ROWS = 5000


class ByteColumn(NamedTuple):
    """The texts of T instants and N loops at one place of their rows.

    texts: (T or 1, N or 1, W) bytes; 1 where all are alike. padding: how many of the W bytes are padding, of the same
    shape without the last axis; None if no text has any.
    """

    texts: Bytes
    padding: Indices | None = None

    @property
    def width(self) -> int:
        return int(self.texts.shape[-1])


class RowBuffer:
    """T x N rows of these columns, the rows of an instant after each other. shape: (T, N)."""

    def __init__(self, shape: tuple[int, int], columns: Sequence[ByteColumn]) -> None:
        self._shape, self._columns = shape, list(columns)
        self._omissions: list[tuple[slice, Flags]] = []

    def omit(self, rows: Flags, columns: slice = slice(None)) -> None:
        """Leave these columns out of these rows; rows is (T, N)."""
        if rows.any():
            self._omissions.append((columns, rows))

    def set_first_byte(self, rows: Flags, column: int, byte: int) -> None:
        """Let the text of a column begin with another byte in these rows; rows is (T, N)."""
        texts, padding = self._columns[column]
        texts = np.array(np.broadcast_to(texts, (*self._shape, texts.shape[-1])))
        texts[rows, 0] = byte
        self._columns[column] = ByteColumn(texts, padding)

    def to_bytes(self) -> bytes | memoryview:
        """Return the text of all rows."""
        if self._omissions or self._shape[0] * self._shape[1] <= _FEW_ROWS or not self._can_overwrite():
            return self._remove_padding()
        width = sum(column.width for column in self._columns)
        lengths: Indices = np.full(self._shape, width, dtype=np.intp)
        for column in self._columns:
            if column.padding is not None:
                lengths -= column.padding
        positions = np.cumsum(lengths).reshape(self._shape)  # where each row ends,
        size = int(positions[-1, -1])
        positions -= lengths  # and now where it begins
        text: Bytes = np.empty(size + width, dtype=np.uint8)
        copiers = [ColumnCopier.into(text, column) for column in self._columns]
        for tile in _split_into_tiles(self._shape):
            for copier in copiers:
                copier.copy(positions[tile], tile)
        return text[:size].data

    def _can_overwrite(self) -> bool:
        """Return whether what is copied beyond a text lies within its row, even where that is at its shortest."""
        shortest_remainder = 0
        for column in reversed(self._columns):
            most_padding = 0 if column.padding is None else int(column.padding.max(initial=0))
            if most_padding > shortest_remainder:
                return False
            shortest_remainder += column.width - most_padding
        return True

    def _remove_padding(self) -> bytes:
        """Return the same text by laying out all rows with their padding, and removing it."""
        table = np.concatenate(
            [np.broadcast_to(texts, (*self._shape, texts.shape[-1])) for texts, _ in self._columns], axis=2)
        ends = np.cumsum([0, *(column.width for column in self._columns)])
        for columns, rows in self._omissions:
            first, last, _ = columns.indices(len(self._columns))
            table[rows, ends[first] : ends[last]] = _PADDING_BYTE
        text: bytes = table[table != _PADDING_BYTE].tobytes()
        return text


class ColumnCopier(NamedTuple):
    """Copies a column into a text. destination: the W bytes from each byte of the text on. texts: each as one item."""

    destination: npt.NDArray[np.void]
    texts: npt.NDArray[np.void]
    width: int
    padding: Indices | None

    @classmethod
    def into(cls, text: Bytes, column: ByteColumn) -> ColumnCopier:
        width = column.width
        destination: npt.NDArray[np.void] = np.ndarray((len(text) - width + 1,), f"V{width}", text.data, 0, (1,))
        return cls(destination, column.texts.view(f"V{width}")[..., 0], width, column.padding)

    def copy(self, positions: Indices, tile: Tile) -> None:
        """Copy the texts of some rows to these positions, and move the positions behind them."""
        self.destination[positions] = _take_tile(self.texts, tile)
        positions += self.width
        if self.padding is not None:
            positions -= _take_tile(self.padding, tile)


def pad_texts(texts: Sequence[bytes]) -> tuple[Bytes, Indices]:
    """Return the texts padded to the width of the longest, (R, W), and how many bytes of each are padding, (R,)."""
    lengths = np.fromiter(map(len, texts), np.intp, len(texts))
    width = int(lengths.max(initial=1))
    table = np.array(texts, dtype=f"S{width}").view(np.uint8).reshape(len(texts), width)
    padding = width - lengths
    if padding.any():
        table[np.arange(width) >= lengths[:, np.newaxis]] = _PADDING_BYTE
    return table, padding


def _split_into_tiles(shape: tuple[int, int]) -> Iterator[Tile]:
    """Yield runs of neighbouring rows, in their order."""
    ticks, loops = max(1, _TILE_ROWS // shape[1]), min(_TILE_ROWS, shape[1])
    for t in range(0, shape[0], ticks):
        for n in range(0, shape[1], loops):
            yield slice(t, t + ticks), slice(n, n + loops)


def _take_tile(array: npt.NDArray[Any], tile: Tile) -> npt.NDArray[Any]:
    """Return the items of some rows of an array (T or 1, N or 1, ...)."""
    ticks, loops = (part if length > 1 else slice(None) for part, length in zip(tile, array.shape, strict=False))
    return array[ticks, loops]
