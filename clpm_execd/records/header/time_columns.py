"""Which columns hold the time: one for all signals, or one for each, by their names or their cells."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from clpm_execd.plant.block import SECOND
from clpm_execd.records.cells.text_columns import Row
from clpm_execd.records.cells.time_forms import (
    DAY_S,
    NO_CLOCK,
    WITH_HOURS,
    is_readable_time,
    parse_number,
    parse_time_text,
)
from clpm_execd.records.header.search import Header, is_data_cell, is_number
from clpm_execd.records.header.signal_names import NAMES, TIME_UNITS_NS, normalise_name, simplify_name, split_signal

MIN_TIMES_FRACTION = 0.9  # of the first cells: a column without a known name that has as many times is that of the time
# Names of a column that may be the time where its numbers rise: none, as an index is exported, or a kind of time.
_NUMERIC_TIME = re.compile(r"|t|tim\w*|unnamed: 0")
_TIME_OF_SIGNAL = re.compile(
    r"(?:t|time|timestamp|zeit)[\s_.:/-]+(.+)|(.+?)[\s_.:/-]+(?:t|time|timestamp|zeit)", re.DOTALL)


def choose_time(header: Header, time: tuple[int, ...]) -> tuple[int, ...]:
    """Return the time column by name; of several the first whose cells can be read as times."""
    if len(time) != 1 or not header.sample or _share_of_times(header.sample, time[0]) >= MIN_TIMES_FRACTION:
        return time
    names = [simplify_name(name) for name in header.names]
    others = [i for name in NAMES["time"] for i, other in enumerate(names) if other == name]
    return next(((i,) for i in others if _share_of_times(header.sample, i) >= MIN_TIMES_FRACTION), time)


def complete_time(header: Header, time: tuple[int, ...]) -> tuple[int, ...]:
    """Return a date and a clock time together, whatever their names, where one column has dates or clock times only."""
    kinds = [_kind_of_time(header, i) for i in range(len(header.names))] if len(time) == 1 else []
    kind = kinds[time[0]] if kinds else ""
    if kind == "date" and "clock" in kinds:
        return time[0], kinds.index("clock")
    if kind == "clock" and "date" in kinds:
        return kinds.index("date"), time[0]
    return time


def _kind_of_time(header: Header, column: int) -> str:
    """Return whether most cells are dates or clock times without the other; an empty text for others."""
    cells = [cell for cell in cells_of(header.sample, column) if not is_number(cell)]
    times = [one for cell in cells if (one := parse_time_text(cell)).is_readable()]
    if not times or len(times) < MIN_TIMES_FRACTION * len(cells_of(header.sample, column)):
        return ""
    if all(one.clock_form == WITH_HOURS for one in times):
        return "clock"
    return "date" if all(one.clock_form == NO_CLOCK and max(one.instants) % (DAY_S * SECOND) == 0 for one in times) \
        else ""


def _share_of_times(sample: Sequence[Row], column: int) -> float:
    cells = cells_of(sample, column)
    return sum(map(is_readable_time, cells)) / len(cells) if cells else 0.0


def find_time_by_content(header: Header, assumptions: list[str], *, has_interval: bool) -> tuple[int, ...]:
    """Return the first column whose cells are dates or, where its name allows it, rising numbers."""
    for i, name in enumerate(header.names):
        cells = cells_of(header.sample, i)
        times = [cell for cell in cells if is_data_cell(cell) and not is_number(cell)]
        if len(cells) > 1 and len(times) >= MIN_TIMES_FRACTION * len(cells):
            assumptions.append(f"time = {quote_column(name, i)}, whose cells are times")
            return (i,)
    if has_interval or header.is_missing:
        return ()
    for i, name in enumerate(header.names):
        if not _NUMERIC_TIME.fullmatch(normalise_name(name)) and not _is_time_name(name):
            continue
        numbers = [number for cell in cells_of(header.sample, i) if (number := parse_number(cell)) is not None]
        if len(numbers) > 1 and all(a < b for a, b in pairwise(numbers)):
            assumptions.append(f"time = {quote_column(name, i)}, whose numbers rise: taken as seconds")
            return (i,)
    return ()


def cells_of(sample: Sequence[Row], column: int) -> list[str]:
    return [row[column].strip() for row in sample if column < len(row) and row[column].strip()]


def quote_column(name: str, index: int) -> str:
    return name.strip() or f"column #{index + 1}, which has no name"


def time_unit(header: Header, time: tuple[int, ...]) -> int:
    """Return how many ns a number in the time column counts, by its unit; s without one."""
    if len(time) != 1:
        return SECOND
    unit = header.unit(time[0]).casefold()
    return TIME_UNITS_NS.get(unit, TIME_UNITS_NS.get(normalise_name(header.names[time[0]]), SECOND))


def find_times_of_signals(header: Header, signals: Collection[int]) -> Mapping[int, int]:
    """Return the time column of each signal's column, where several stand beside one; nothing where one is for all.

    Each holds for the signals that follow it or, where the first column is a signal's, for those before it.
    """
    times = [i for i, name in enumerate(header.names) if i not in signals and _is_time(header, i, name)]
    for side in (-1, 1):
        if sum(index + side in times for index in signals) > 1:
            chosen = times if side < 0 else times[::-1]
            return {index: next((time for time in reversed(chosen) if (time - index) * side > 0), chosen[0])
                    for index in signals}
    return {}


def _is_time(header: Header, column: int, name: str) -> bool:
    """Return whether the cells of a column are dates or, where its name is one of a time, times of any form."""
    cells = cells_of(header.sample, column)
    if not cells or _share_of_times(header.sample, column) < MIN_TIMES_FRACTION:
        return False
    return not all(map(is_number, cells)) or _is_time_name(name)


def _is_time_name(name: str) -> bool:
    """Return whether a name is one of a time, alone or with a signal's: `Time`, `t_PV [s]`, `FIC101.PV Time`."""
    match = _TIME_OF_SIGNAL.fullmatch(normalise_name(name))
    return simplify_name(name) in NAMES["time"] or \
        (match is not None and split_signal(match[1] or match[2])[1] is not None)
