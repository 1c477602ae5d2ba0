"""The cells of a record, column by column, by Python's csv module or, where it is installed, by Arrow.

Both give the same texts, and of the same cells the same numbers: what Arrow takes for a number Python takes for the
same one, and every other cell is handed to whoever asked as odd, to be read with more patience. A part of a file that
Arrow would tokenise otherwise (ragged rows, quotes inside of cells) goes to the csv module.
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

_COMMA = re.compile(r"[+-]?\d*,\d+", re.ASCII)
_DOUBLED_OR_INSIDE = re.compile(r'""|(?<![,;|\t\n])"(?![,;|\t\n])')


class Texts(Protocol):
    """T cells of a column."""

    def __len__(self) -> int: ...

    def at(self, rows: Integers) -> list[str]:
        """The texts of some rows."""

    def take(self, rows: Integers) -> Texts:
        """The cells of some rows."""

    def distinct(self) -> tuple[Integers, list[str]]:
        """(T,) which of the distinct texts each cell has, and those in the order of their first row."""

    def floats(self, comma: bool) -> tuple[Floats, Booleans]:
        """(T,) numbers, and which cells are odd: no plain number. comma: it stands for the decimal point."""

    def of_equal_length(self) -> Iterator[tuple[Integers, npt.NDArray[np.uint8]]]:
        """For each length of texts, the rows that have it and their characters, (n, length); `?` where not ASCII."""


class Table(Protocol):
    """A part of a file."""

    def __len__(self) -> int: ...

    def column(self, index: int) -> Texts:
        """A column's cells; empty where the rows are too short."""


# by the csv module


class Listed:
    """Texts as Python has them."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def at(self, rows: Integers) -> list[str]:
        return [self._texts[row] for row in rows.tolist()]

    def take(self, rows: Integers) -> Texts:
        return Listed(self.at(rows))

    def distinct(self) -> tuple[Integers, list[str]]:
        known: dict[str, int] = {}
        codes = np.fromiter((known.setdefault(text, len(known)) for text in self._texts), np.int64, len(self._texts))
        return codes, list(known)

    def floats(self, comma: bool) -> tuple[Floats, Booleans]:
        texts = self._texts
        odd = np.zeros(len(texts), np.bool_)
        if comma:
            odd |= np.fromiter(("." in text for text in texts), np.bool_, len(texts))
            texts = [text.replace(",", ".") if "," in text and _COMMA.fullmatch(text) else text for text in texts]
        try:
            values = np.fromiter(map(float, texts), np.float64, len(texts))
        except ValueError:
            values = np.fromiter(map(_float, texts), np.float64, len(texts))
            odd |= np.isnan(values)
        values[odd] = np.nan
        return values, odd

    def of_equal_length(self) -> Iterator[tuple[Integers, npt.NDArray[np.uint8]]]:
        lengths = np.fromiter(map(len, self._texts), np.int64, len(self._texts))
        for length in np.unique(lengths).tolist():
            rows = np.flatnonzero(lengths == length)
            texts = self._texts if len(rows) == len(self._texts) else self.at(rows)
            raw = "".join(texts).encode("ascii", "replace")
            yield rows, np.frombuffer(raw, np.uint8).reshape(len(rows), length)


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


class CsvTable:
    """A table as the csv module has it."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def column(self, index: int) -> Texts:
        return Listed([row[index] if index < len(row) else "" for row in self._rows])


# by Arrow


class ArrowTexts:
    """Texts as Arrow has them."""

    def __init__(self, texts: pa.StringArray) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def at(self, rows: Integers) -> list[str]:
        return list(self._texts.take(rows).to_pylist())

    def take(self, rows: Integers) -> Texts:
        return ArrowTexts(self._texts.take(rows))

    def distinct(self) -> tuple[Integers, list[str]]:
        found = self._texts.dictionary_encode()
        return found.indices.to_numpy().astype(np.int64), found.dictionary.to_pylist()

    def floats(self, comma: bool) -> tuple[Floats, Booleans]:
        import pyarrow as pa
        import pyarrow.compute as pc

        texts = self._texts
        odd = np.zeros(len(texts), np.bool_)
        if comma:
            odd |= pc.match_substring(texts, ".").to_numpy(zero_copy_only=False)
            texts = pc.if_else(pc.match_substring_regex(texts, f"^{_COMMA.pattern}$"),
                               pc.replace_substring(texts, ",", "."), texts)
        try:
            values = texts.cast(pa.float64())
        except pa.ArrowInvalid:
            plain = pc.match_substring_regex(texts, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
            values = pc.if_else(plain, texts, None).cast(pa.float64())
            odd |= ~plain.to_numpy(zero_copy_only=False)
        found = np.array(values.to_numpy(zero_copy_only=False))
        found[odd] = np.nan
        return found, odd

    def of_equal_length(self) -> Iterator[tuple[Integers, npt.NDArray[np.uint8]]]:
        offset, count = self._texts.offset, len(self._texts)
        _, places, raw = self._texts.buffers()
        ends = np.frombuffer(places, np.int32)[offset:offset + count + 1].astype(np.int64)
        letters = np.frombuffer(raw, np.uint8) if raw is not None else np.empty(0, np.uint8)
        lengths = np.diff(ends)
        for length in np.unique(lengths).tolist():
            rows = np.flatnonzero(lengths == length)
            yield rows, letters[ends[rows][:, None] + np.arange(length)]


class ArrowTable:
    """A table as Arrow has it."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def column(self, index: int) -> Texts:
        return ArrowTexts(self._table.column(index).combine_chunks())


def has_arrow() -> bool:
    return find_spec("pyarrow") is not None


def arrow_table(text: str, delimiter: str, width: int) -> ArrowTable | None:
    """Some lines of a file, of so many cells each; None where they are not as regular as Arrow takes them."""
    half = csv.field_size_limit() // 2  # a cell beyond the limit, which the csv module refuses, fills one of these
    endless = any(text.find("\n", i, i + half) < 0 for i in range(0, len(text) - half, half))
    table = None if endless or not _plainly_quoted(text) else _by_arrow(text, delimiter, width)
    return None if table is None else ArrowTable(table)


def _plainly_quoted(text: str) -> bool:
    """Whether quotes stand only around whole cells."""
    return '"' not in text or not (text.count('"') % 2 or _DOUBLED_OR_INSIDE.search(text))


def _by_arrow(text: str, delimiter: str, width: int) -> pa.Table | None:
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
