"""Where the header of a file is, what stands around it, and the first rows under it.

Exports put titles, settings and units of any length around their header. It is the row with the most names that are
known or that the user gives; where none is known, the row above the first rows of data.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field

from clpm_execd.records.cells.text_columns import Row
from clpm_execd.records.cells.time_forms import CELL_MARKS, NUMBER, is_readable_time
from clpm_execd.records.header.columns import ROLES, Columns
from clpm_execd.records.header.signal_names import (
    CALENDAR_FORMS,
    CLOCK_NAMES,
    DATE_NAMES,
    ENGINEERING_UNITS,
    NAMES,
    TYPES,
    find_role,
    find_time_columns,
    normalise_name,
    simplify_name,
    split_signal,
    split_unit,
)

SAMPLE_ROWS = 200  # under the header, from which columns without a known name are judged
DATA_ROWS = 3  # in a row: the header lies above them
MAX_ROWS_BELOW = 6  # of units, types and second names between the header and the data
_KNOWN_NAMES = {name for names in NAMES.values() for name in names} | {*DATE_NAMES, *CLOCK_NAMES, *CALENDAR_FORMS}


@dataclass
class Header:
    """The names of columns.

    names: one per column. units: of each column, empty where there is none. line: of the file, from 1 on; 0 where it is
    not known. text: unchanged. rows: how many rows, from the first of the file, precede the data. sample: the
    first rows of data. is_missing: the file has no header, and columns are named by their numbers.
    """

    names: Row
    units: list[str] = field(default_factory=list)
    line: int = 0
    rows: int = 0
    sample: list[Row] = field(default_factory=list)
    is_missing: bool = False
    tags: frozenset[int] = frozenset()

    @property
    def text(self) -> str:
        """The header as a message quotes it."""
        return ", ".join(" ".join(name.split()) for name in self.names if name.strip())[:300]

    @property
    def place(self) -> str:
        """The header with its line, as a message quotes it."""
        if self.is_missing:
            return "the file has no header line; name columns by number, such as time=#1,pv=#2,op=#3"
        return f"the header (line {self.line}) is {self.text}" if self.line else f"the columns are {self.text}"

    def unit(self, column: int) -> str:
        """Return the unit of a column, by its name or by the row of units below; empty where there is none."""
        own = split_unit(self.names[column])[1]
        return own or (self.units[column] if column < len(self.units) else "")


def find_header(lines: Sequence[str], delimiter: str, columns: Columns) -> Header | None:
    """Return the header in the first lines of a file; None where there are no rows."""
    rows, line_numbers = _split_rows(lines, delimiter)
    if not rows:
        return None
    first_data, best = _find_named_header(rows, columns)
    if best is None:
        best = _row_above_data(rows, first_data)
    if best is None:
        width = len(rows[first_data]) if first_data is not None else 0
        if first_data is None:
            best = next((i for i, row in enumerate(rows) if any(row) and not row[0].startswith("#")), 0)
            return Header(rows[best], line=line_numbers[best], rows=best + 1)
        names = [f"#{i + 1}" for i in range(width)]
        return Header(names, line=line_numbers[first_data], rows=first_data, is_missing=True,
                      sample=rows[first_data:first_data + SAMPLE_ROWS])
    return _complete(rows, best, line_numbers[best])


def _split_rows(lines: Sequence[str], delimiter: str) -> tuple[list[Row], list[int]]:
    """Return the rows of the first lines and the line at which each begins."""
    reader = csv.reader(lines, delimiter=delimiter)
    rows, numbers = [], []
    try:
        while True:
            number = reader.line_num + 1
            rows.append(next(reader))
            numbers.append(number)
    except (StopIteration, csv.Error):
        return rows, numbers


def is_number(text: str) -> bool:
    """Return whether a cell is a number, in either notation and with or without a sign or unit."""
    text = text.strip(CELL_MARKS).lstrip("+-").removesuffix("%").rstrip()
    return any(map(NUMBER.fullmatch, (text, text.lstrip(".,"), text.replace(",", ""))))


def is_data_cell(text: str) -> bool:
    """Return whether a cell is a number or a time, and no name."""
    return is_number(text) or (any(c.isdigit() for c in text) and is_readable_time(text))


def _is_data(row: Row) -> bool:
    """Return whether at least half of a row's cells, and two of them, are numbers or times."""
    cells = [cell for cell in row if cell.strip()]
    others = [cell for cell in cells if not is_number(cell)]
    data = len(cells) - len(others) + sum(map(is_data_cell, others))
    return data >= 2 and 2 * data >= len(cells) and not find_time_columns(others)


def _find_named_header(rows: Sequence[Row], columns: Columns) -> tuple[int | None, int | None]:
    """Return the first row of data and the best named row above it; None for each that there is not.

    Data are several rows of numbers or times. A preamble may have such rows too: those under the first row that names a
    PV count, and the very first ones where no row does.
    """
    flags = [_is_data(row) for row in rows]
    starts = [i for i, flag in enumerate(flags) if flag and not (i and flags[i - 1])]
    runs = [i for i in starts if flags[i:i + DATA_ROWS] == [True] * DATA_ROWS] or starts[:1]
    if not runs:
        return None, _best_named_row(rows, columns, None)
    for first_data in runs:
        best = _best_named_row(rows, columns, first_data)
        if best is not None and has_pv(rows[best]):
            return first_data, best
    return runs[0], _best_named_row(rows, columns, runs[0])


def _best_named_row(rows: Sequence[Row], columns: Columns, first_data: int | None) -> int | None:
    """Return the row above the data with the most names that the user gives or that are known; None where none has any.

    It has a time, or PV and another signal. The user's names of signals stand in the cells of a long record, so that
    they count only above the data.
    """
    given_names = [name for role in ROLES if (name := getattr(columns, role)) is not None]
    own = {normalise_name(name) for name in given_names}
    best, best_score = None, 0
    for i, row in enumerate(rows):
        if first_data is not None and i >= first_data:
            break
        names = [normalise_name(cell) for cell in row]
        user_names = sum(name in own for name in set(names) if name)
        time = bool(find_time_columns(row)) or (columns.time is not None and normalise_name(columns.time) in names)
        signals = {split_signal(cell)[1] for cell in row} - {None}
        names_loop = "pv" in signals and len(signals) > 1
        if not time and not names_loop and user_names < max(1, len([name for name in own if not name.startswith("#")])):
            continue
        standard_names = sum(simplify_name(cell) in _KNOWN_NAMES or split_signal(cell)[1] is not None
                             for cell in row if cell)
        score = 4 * user_names + 2 * standard_names - 3 * sum(map(is_data_cell, row))
        score += min(len([n for n in names if n]), 3)
        if score > best_score:
            best, best_score = i, score
    return best


def _row_above_data(rows: Sequence[Row], first_data: int | None) -> int | None:
    """Return the first of the adjoining rows above the data that have as many cells; None where there is none."""
    if first_data is None:
        return None
    width = len(rows[first_data])
    best = None
    for i in range(first_data - 1, max(first_data - MAX_ROWS_BELOW, -1), -1):
        row = rows[i]
        cell_count = sum(bool(cell.strip()) for cell in row)
        if not cell_count or _is_data(row) or cell_count < min(2, width) or 2 * cell_count < width:
            break
        best = i
    return best


def _complete(rows: Sequence[Row], index: int, line: int) -> Header:
    """Return the header of a row with the tags above it, and the units, types and second names below it."""
    names = list(rows[index])
    below = []
    for row in rows[index + 1:index + 1 + MAX_ROWS_BELOW]:
        if _is_data(row) or not any(cell.strip() for cell in row) or row[0].startswith("#"):
            break
        below.append(row)
    else:
        below = []  # no data follows: these rows are not known to belong to the header
    if index + 1 + len(below) >= len(rows) or not _is_data(rows[index + 1 + len(below)]):
        below = []
    units = [""] * len(names)
    second_names = []
    used = 0
    for row in below:
        kind = _kind_below(row)
        if kind == "units":
            units = [cell.strip() for cell in row]
        elif kind == "names" and not has_pv(names):
            second_names.append(row)
        elif kind not in ("types", "names"):
            break  # a row of data whose values are texts
        used += 1
    above = rows[index - 1] if index and _names_tags(rows[index - 1], names) else None
    # Signals may stand over pairs of Timestamp and Value.
    if index and has_pv(rows[index - 1]) and not has_pv(names) and not find_title(rows[index - 1]):
        upper = [cell.strip() for cell in [*rows[index - 1], *[""] * len(names)]]
        names = [upper[i] or ("" if simplify_name(name) in NAMES["value"] else name) for i, name in enumerate(names)]
    for row in second_names:
        names = _join(names, row)
    if above is not None:
        names = _join(_fill_right(above, len(names)), names)
    sample = rows[index + 1 + used:index + 1 + used + DATA_ROWS]
    numbers = [row[0] for row in sample if len(row) == len(names) + 1]
    if len(numbers) == DATA_ROWS and numbers[0] in ("0", "1") and all(  # R writes no name over the numbers of rows
            number.isdecimal() and int(number) == int(numbers[0]) + i for i, number in enumerate(numbers)):
        names, units = ["", *names], ["", *units]
    titles = [row for row in rows[max(index - MAX_ROWS_BELOW, 0):index] if find_title(row)]
    names = name_by_title(names, titles[-1] if titles else [])
    data = index + 1 + used
    sample = list(rows[data:data + SAMPLE_ROWS])
    return Header(_name_values(names, sample), units, line, data, sample)


def find_title(row: Row) -> str:
    """Return the signal or loop of which a row is the title, as `Tag: FIC101.PV` and `Loop,FIC101` are; else ""."""
    *before, title = [cell.strip() for cell in row if cell.strip()] or [""]
    key, _, title = title.rpartition(": ") if not before else (before[0].rstrip(": "), "", title)
    is_loop = len(before) < 2 and simplify_name(key) in NAMES["loop"] and any(map(str.isdigit, title))
    return title if is_loop or (not before and split_signal(title)[0]) else ""


def name_by_title(names: Row, title: Row) -> Row:
    """Return the names with the signal of a title in the place of `Value`, or with its loop before each signal.

    They are unchanged where the names have tags, or a column has them.
    """
    signal, value = find_title(title), find_role(names, "value")
    if signal and not split_signal(signal)[1]:
        is_tagged = find_role(names, "loop") is not None or any(split_signal(name)[0] for name in names)
        return names if is_tagged else [f"{signal}.{name}" if split_signal(name)[1] else name for name in names]
    if not signal or value is None or any(find_role(names, role) is not None for role in ("loop", "name")) or \
            any(split_signal(name)[1] for name in names):
        return names
    return [*names[:value], signal, *names[value + 1:]]


def has_pv(names: Sequence[str]) -> bool:
    """Return whether a name is that of a PV."""
    return any(split_signal(name)[1] == "pv" for name in names)


def _name_values(names: Row, sample: Sequence[Row]) -> Row:
    """Return the names with that of a signal over its values, where it stands over its times, to the left of them."""
    names = list(names)
    for i in range(len(names) - 1):
        if split_signal(names[i])[1] is not None and not names[i + 1].strip():
            times, values = ([row[k] for row in sample if k < len(row) and row[k].strip()] for k in (i, i + 1))
            if times and values and all(map(is_number, values[:DATA_ROWS])) and not any(map(is_number, times)):
                names[i:i + 2] = ["", names[i]]
    return names


def _kind_below(row: Row) -> str:
    """Return what a row between header and data has: units, types, names or something else."""
    cells = [cell.strip().strip("[]()").casefold() for cell in row if cell.strip()]
    if not cells:
        return "types"
    if 2 * sum(cell in TYPES for cell in cells) > len(cells):
        return "types"
    if 2 * sum(cell in ENGINEERING_UNITS for cell in cells) >= len(cells):
        return "units"
    if any(split_signal(cell)[1] is not None for cell in row):
        return "names"
    if set("".join(cells)) <= set("-=_ "):
        return "types"  # a line of dashes
    # A word for each column and no time among them: descriptions.
    return "other" if any(map(is_data_cell, cells)) else "types"


def _names_tags(above: Row, names: Row) -> bool:
    """Return whether the row above has the tags of signals: of several that repeat in the header, or one over each."""
    signals = [normalise_name(name) for name in names if split_signal(name) == (None, split_signal(name)[1])
               and split_signal(name)[1] is not None]
    tags = [cell.strip() for cell in above if cell.strip()]
    has_one_tag = len(set(tags)) == 1 and len(tags) == len(signals) > 1
    return has_one_tag or (len(signals) > len(set(signals)) and len(set(tags)) > 1 and len(above) > 1)


def _fill_right(row: Row, width: int) -> Row:
    """Return a row in which an empty cell has what stands to its left, as merged cells are exported."""
    cells, last = [], ""
    for cell in [*row, *[""] * width][:width]:
        last = cell.strip() or last
        cells.append(last)
    return cells


def _join(upper: Row, lower: Row) -> Row:
    """Return the names of two rows, joined where the lower one is a signal, the time without its upper one."""
    names = []
    upper = _fill_right(upper, max(len(upper), len(lower)))
    for i, tag in enumerate(upper):
        name = lower[i].strip() if i < len(lower) else ""
        is_signal = split_signal(name)[1] is not None
        if not name:
            names.append(tag)
        elif is_signal and tag:
            names.append(f"{tag}.{name}")
        else:
            names.append(tag if simplify_name(tag) in _KNOWN_NAMES or not name else name)
    return names
