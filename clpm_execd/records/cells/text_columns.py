"""The columns of a record as text, and what is parsed of all cells at once: plain numbers and distinct texts.

A cell that is not a plain number is reported as unparsed, and the caller interprets it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Floats

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
Row = list[str]

_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+", re.ASCII)


class TextColumn:
    """The T cells of a column."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def texts_of(self, rows: Integers) -> list[str]:
        """Return the texts of some rows."""
        return [self._texts[row] for row in rows.tolist()]

    def take(self, rows: Integers) -> TextColumn:
        """Return the cells of some rows as a column."""
        return TextColumn(self.texts_of(rows))

    def factorize(self) -> tuple[Integers, list[str]]:
        """Return (T,) codes of the cells, and the distinct texts that they number, in the order of their first row."""
        code_of: dict[str, int] = {}
        codes = np.fromiter((code_of.setdefault(text, len(code_of)) for text in self._texts), np.int64,
                            len(self._texts))
        return codes, list(code_of)

    def parse_floats(self, decimal_comma: bool) -> tuple[Floats, Booleans]:
        """Return (T,) numbers, NaN where unparsed, and (T,) which cells are unparsed because they are no plain number.

        decimal_comma: whether a comma stands for the decimal point.
        """
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


def _float_or_nan(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


class Table:
    """Some rows of a file."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, rows: Integers) -> Table:
        """Return some rows, increasing, as a table."""
        return self if len(rows) == len(self) else Table([self._rows[row] for row in rows.tolist()])

    def column(self, index: int) -> TextColumn:
        """Return a column's cells; a cell is empty where its row is too short."""
        try:
            return TextColumn([row[index] for row in self._rows])
        except IndexError:
            return TextColumn([row[index] if index < len(row) else "" for row in self._rows])
