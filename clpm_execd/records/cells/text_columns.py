"""The columns of a record as text, parsed by Python's csv module or, where it is installed, by Arrow.

Both parsers give the same texts and, for the same cells, the same numbers. A cell that is not a plain number is
reported as unparsed, and the caller interprets it. A part of a file that Arrow would split in another way (ragged rows,
quotes inside cells) goes to the csv module.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Floats

if TYPE_CHECKING:
    import pyarrow as pa

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
Row = list[str]

_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+", re.ASCII)
_QUOTE_DOUBLED_OR_INSIDE = re.compile(r'""|(?<![,;|\t\n])"(?![,;|\t\n])')


class TextColumn(Protocol):
    """The T cells of a column."""

    def __len__(self) -> int: ...

    def texts_of(self, rows: Integers) -> list[str]:
        """Return the texts of some rows."""

    def take(self, rows: Integers) -> TextColumn:
        """Return the cells of some rows as a column."""

    def factorize(self) -> tuple[Integers, list[str]]:
        """Return (T,) codes of the cells, and the distinct texts that they number, in the order of their first row."""

    def parse_floats(self, decimal_comma: bool) -> tuple[Floats, Booleans]:
        """Return (T,) numbers, NaN where unparsed, and (T,) which cells are unparsed because they are no plain number.

        decimal_comma: whether a comma stands for the decimal point.
        """

    def group_by_length(self) -> Iterator[tuple[Integers, npt.NDArray[np.uint8]]]:
        """Yield, for each length of text, its rows and their characters, (n, length); `?` for what is not ASCII."""


class Table(Protocol):
    """Some rows of a file."""

    def __len__(self) -> int: ...

    def column(self, index: int) -> TextColumn:
        """Return a column's cells; a cell is empty where its row is too short."""


# The csv module


class ListColumn:
    """A column that is a list of Python strings."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def texts_of(self, rows: Integers) -> list[str]:
        return [self._texts[row] for row in rows.tolist()]

    def take(self, rows: Integers) -> TextColumn:
        return ListColumn(self.texts_of(rows))

    def factorize(self) -> tuple[Integers, list[str]]:
        code_of: dict[str, int] = {}
        codes = np.fromiter((code_of.setdefault(text, len(code_of)) for text in self._texts), np.int64,
                            len(self._texts))
        return codes, list(code_of)

    def parse_floats(self, decimal_comma: bool) -> tuple[Floats, Booleans]:
        texts = self._texts
        unparsed = np.zeros(len(texts), np.bool_)
        if decimal_comma:
            unparsed |= np.fromiter(("." in text for text in texts), np.bool_, len(texts))
            texts = [text.replace(",", ".") if "," in text and _DECIMAL_COMMA.fullmatch(text) else text
                     for text in texts]
        try:
            values = np.fromiter(map(float, texts), np.float64, len(texts))
        except ValueError:
            values = np.fromiter(map(_float_or_nan, texts), np.float64, len(texts))
            unparsed |= np.isnan(values)
        values[unparsed] = np.nan
        return values, unparsed

    def group_by_length(self) -> Iterator[tuple[Integers, npt.NDArray[np.uint8]]]:
        lengths = np.fromiter(map(len, self._texts), np.int64, len(self._texts))
        for length in np.unique(lengths).tolist():
            rows = np.flatnonzero(lengths == length)
            texts = self._texts if len(rows) == len(self._texts) else self.texts_of(rows)
            raw = "".join(texts).encode("ascii", "replace")
            yield rows, np.frombuffer(raw, np.uint8).reshape(len(rows), length)


def _float_or_nan(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


class CsvTable:
    """Some rows as the csv module gives them."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def column(self, index: int) -> TextColumn:
        return ListColumn([row[index] if index < len(row) else "" for row in self._rows])


# Arrow


class ArrowColumn:
    """A column that is an array of Arrow."""

    def __init__(self, texts: pa.StringArray) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def texts_of(self, rows: Integers) -> list[str]:
        return list(self._texts.take(rows).to_pylist())

    def take(self, rows: Integers) -> TextColumn:
        return ArrowColumn(self._texts.take(rows))

    def factorize(self) -> tuple[Integers, list[str]]:
        encoded = self._texts.dictionary_encode()
        return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()

    def parse_floats(self, decimal_comma: bool) -> tuple[Floats, Booleans]:
        import pyarrow as pa
        import pyarrow.compute as pc

        texts = self._texts
        unparsed = np.zeros(len(texts), np.bool_)
        if decimal_comma:
            unparsed |= pc.match_substring(texts, ".").to_numpy(zero_copy_only=False)
            texts = pc.if_else(pc.match_substring_regex(texts, f"^{_DECIMAL_COMMA.pattern}$"),
                               pc.replace_substring(texts, ",", "."), texts)
        try:
            numbers = texts.cast(pa.float64())
        except pa.ArrowInvalid:
            is_number = pc.match_substring_regex(texts, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
            numbers = pc.if_else(is_number, texts, None).cast(pa.float64())
            unparsed |= ~is_number.to_numpy(zero_copy_only=False)
        values = np.array(numbers.to_numpy(zero_copy_only=False))
        values[unparsed] = np.nan
        return values, unparsed

    def group_by_length(self) -> Iterator[tuple[Integers, npt.NDArray[np.uint8]]]:
        offset, count = self._texts.offset, len(self._texts)
        _, offsets, raw = self._texts.buffers()
        ends = np.frombuffer(offsets, np.int32)[offset:offset + count + 1].astype(np.int64)
        characters = np.frombuffer(raw, np.uint8) if raw is not None else np.empty(0, np.uint8)
        lengths = np.diff(ends)
        for length in np.unique(lengths).tolist():
            rows = np.flatnonzero(lengths == length)
            yield rows, characters[ends[rows][:, None] + np.arange(length)]


class ArrowTable:
    """Some rows as a table of Arrow."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def column(self, index: int) -> TextColumn:
        return ArrowColumn(self._table.column(index).combine_chunks())


def has_arrow() -> bool:
    """Return whether Arrow is installed."""
    return find_spec("pyarrow") is not None


def parse_with_arrow(text: str, delimiter: str, width: int) -> ArrowTable | None:
    """Return some lines of a file, of `width` cells each; None where they are less regular than Arrow needs."""
    # A cell beyond the csv module's limit, which that module refuses, fills one of these halves.
    half = csv.field_size_limit() // 2
    has_huge_cell = any(text.find("\n", i, i + half) < 0 for i in range(0, len(text) - half, half))
    table = None if has_huge_cell or not _has_simple_quotes(text) else _read_with_arrow(text, delimiter, width)
    return None if table is None else ArrowTable(table)


def _has_simple_quotes(text: str) -> bool:
    """Return whether quotes enclose complete cells only."""
    return '"' not in text or not (text.count('"') % 2 or _QUOTE_DOUBLED_OR_INSIDE.search(text))


def _read_with_arrow(text: str, delimiter: str, width: int) -> pa.Table | None:
    import pyarrow as pa
    import pyarrow.csv as arrow

    raw = text.encode("utf-8", "replace")
    names = [str(i) for i in range(width)]
    try:
        return arrow.read_csv(
            pa.py_buffer(raw),
            read_options=arrow.ReadOptions(column_names=names, use_threads=False, block_size=max(len(raw), 1)),
            parse_options=arrow.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=arrow.ConvertOptions(column_types=dict.fromkeys(names, pa.string()),
                                                 strings_can_be_null=False))
    except pa.ArrowInvalid:  # ragged
        return None
