"""Tables whose columns are separated by blanks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from clpm_execd.records.cells.time_forms import NUMBER, is_readable_time

MIN_LINES = 2  # of like width, below which nothing shows a table
CHECKED_LINES = 400  # of the beginning, preamble included: a table shows itself within these
_ONE, _TWO = re.compile("[ \t│┆]+"), re.compile(r"\s*[│┆]\s*| {2,}|\t+")  # or the lines of a box
_CLOCK = re.compile(r"\d\d?:\d\d(?::\d\d)?(?:[.,]\d+)?")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}[-/.]?[A-Za-z]{3}[-/.]?\d{2,4}")
_CLOCK_BEHIND_DATE = re.compile(rf"({_DATE.pattern})[ \t]+({_CLOCK.pattern})(?![^ \t\r\n])")


@dataclass(frozen=True, slots=True)
class BlankSeparator:
    """What separates columns. joins_clock: a date and the clock time behind it are one column. width: of a row."""

    blanks: re.Pattern[str]
    joins_clock: bool = False
    width: int = 0

    def split(self, line: str) -> list[str]:
        """Return the cells of a line; none of an empty one."""
        line = line.strip(" \t\r\n│┆")
        if not line:
            return []
        if self.joins_clock:
            line = _CLOCK_BEHIND_DATE.sub("\\1\x00\\2", line)
        cells = [cell.replace("\x00", " ") for cell in self.blanks.split(line)]
        return cells[1:] if len(cells) == self.width + 1 and cells[0] in ("#", "%") else cells


def find_blank_separator(lines: Sequence[str]) -> BlankSeparator | None:
    """Return what separates the columns of a table without another delimiter; None where blanks do not.

    The last lines are rows: they have the same number of cells, and numbers. Two blanks separate where they give a
    table, for a name or a date may have one.
    """
    rows = [line.strip() for line in lines[:CHECKED_LINES] if line.strip() and not line.startswith("#")]
    tail = rows[len(rows) // 2:]
    tail = tail[:-1] if len(tail) > 2 else tail  # the last one may be cut off
    if len(rows) < MIN_LINES or sum("," in re.sub(r"\d,\d", "", line) for line in tail) > len(tail) // 2:
        return None
    if any(line.count(",") == tail[0].count(",") > 0 and not any(map(NUMBER.fullmatch, line.split(",")))
           for line in rows[:len(rows) - len(tail)]):
        return None  # a header has the commas of the rows, so that they are no decimal commas
    tables = [separator for blanks in (_TWO, _ONE) for joins_clock in (False, True)
              if _is_table(tail, separator := BlankSeparator(blanks, joins_clock))]
    tables = [replace(separator, width=len(separator.split(tail[0]))) for separator in tables]
    return next((separator for separator in tables if _has_header(rows, separator)), next(iter(tables), None))


def _has_header(lines: Sequence[str], separator: BlankSeparator) -> bool:
    """Return whether the line above the first row has as many cells."""
    above: list[str] = []
    for line in lines:
        cells = separator.split(line)
        if len(cells) == separator.width and _has_numbers(cells):
            return len(above) == separator.width
        above = cells
    return False


def _is_table(lines: Sequence[str], separator: BlankSeparator) -> bool:
    cells = [separator.split(line) for line in lines]
    width = len(cells[0])
    return width > 1 and sum(len(row) == width and _has_numbers(row) for row in cells) >= 0.9 * len(cells)


def _has_numbers(cells: Sequence[str]) -> bool:
    """Return whether most cells but two, for a date and its clock time, are numbers or times, and one is a number."""
    numbers = [bool(NUMBER.fullmatch(cell.lstrip("+-"))) for cell in cells]
    times = sum(":" in cell and is_readable_time(cell) for cell in cells)
    return any(numbers) and sum(numbers) + times + 2 >= len(cells) / 2
