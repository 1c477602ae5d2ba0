"""Timestamps of a record as instants, in ns since 1970.

No text raises an error: what cannot be read is UNREADABLE. A date such as 01/02/03 may have its day, its month or its
year first, so it has an instant for each until the whole record decides between them. A timestamp without a time zone
is in UTC, or in a named zone whose clocks change: an hour that occurs twice is resolved by the order of the rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import partial

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import SECOND
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.records.cells.text_columns import Booleans, Integers, TextColumn
from clpm_execd.records.cells.time_forms import (
    CELL_MARKS,
    DATE_ORDERS,
    DAY_FRACTIONS,
    DAY_S,
    LATEST_NS,
    NO_TIME,
    NUMBER,
    UNREADABLE,
    YEAR_1980_S,
    ZONE,
    NumberSystem,
    ParsedText,
    count_ns,
    find_number_system,
    offset_seconds,
    parse_number,
    parse_time_text,
)

TIMEZONE_OPTION = "--timezone"
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?", re.ASCII)
_ISO = re.compile(r"((?:19[7-9]|20\d|21[01])\d-\d\d-\d\d[T ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?)"
                  r"(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_PLACE_IN_NAME = re.compile(r"\b[A-Z][a-z]+/[A-Z][A-Za-z_]+(?:/[A-Z][a-z_]+)?")
_ZONE_IN_NAME = re.compile(rf"[\s,(\[]{ZONE}[)\]]?$", re.ASCII | re.IGNORECASE)
# Zones of the world's rules by which clocks change by an hour (IANA time zone database), those of most plants first.
CHANGING_ZONES = ("Europe/Berlin", "America/Chicago", "Europe/London", "Europe/Athens", "Australia/Sydney",
                  "Pacific/Auckland", "America/Santiago")
# After these a clock or a counter starts again: an hour, half a day, a day; 16 and 32 bits of us, ms and s.
PERIODS_NS = (3600 * SECOND, DAY_S // 2 * SECOND, DAY_S * SECOND,
              *(2**bits * unit for bits in (16, 32) for unit in (1000, 10**6, SECOND)))
MIN_RUN_ROWS = 10  # fewer rows before a step back are rows out of order
PAUSE_STEPS = 10  # between runs of which nothing says how far apart they are
QUARTER_HOUR_S = 900  # the clocks of every zone change at a whole quarter of an hour


@dataclass(slots=True)
class ParsedTimes:
    """T times.

    instants: (T,) for each of DATE_ORDERS, in ns since 1970, or UNREADABLE; one array for all where no date can be read
    in several ways. has_no_zone: (T,), whether the text had no time zone, so that the instant is what the wall clock
    showed. clock_forms: (T,), what a text without a date has, which counts from midnight; NO_CLOCK where there is a
    date. number_system: that of numbers that do not count from 1970; None where there are none. has_am_pm: whether any
    date that can be read in several ways had AM or PM.
    """

    instants: tuple[Integers, ...]
    has_no_zone: Booleans
    clock_forms: npt.NDArray[np.int8]
    number_system: NumberSystem | None = None
    has_am_pm: bool = False

    @classmethod
    def of(cls, instants: Integers, has_no_zone: Booleans) -> ParsedTimes:
        """Return times that can be read in one way only."""
        return cls((instants,) * len(DATE_ORDERS), has_no_zone, np.zeros(len(instants), np.int8))

    def __len__(self) -> int:
        return len(self.instants[0])

    def is_unique(self) -> bool:
        """Return whether no date can be read in several ways."""
        return self.instants[-1] is self.instants[0]

    def is_readable(self) -> Booleans:
        """Return (T,) which can be read in any way."""
        return np.asarray(np.max(self.instants[:1 if self.is_unique() else None], axis=0) != UNREADABLE)

    def take(self, rows: Integers) -> ParsedTimes:
        """Return those of some rows."""
        first, *others = (instants[rows] for instants in (self.instants[:1] if self.is_unique() else self.instants))
        return ParsedTimes((first, *(others or [first] * (len(DATE_ORDERS) - 1))), self.has_no_zone[rows],
                           self.clock_forms[rows], self.number_system, self.has_am_pm)

    @classmethod
    def concatenate(cls, parts: list[ParsedTimes]) -> ParsedTimes:
        """Return all parts as one, and empty the list, which may need much memory."""
        orders = range(1 if all(part.is_unique() for part in parts) else len(DATE_ORDERS))
        instants = tuple(np.concatenate([part.instants[order] for part in parts]) for order in orders)
        times = cls(instants * (len(DATE_ORDERS) // len(instants)),
                    np.concatenate([part.has_no_zone for part in parts]),
                    np.concatenate([part.clock_forms for part in parts]),
                    next((part.number_system for part in parts if part.number_system), None),
                    any(part.has_am_pm for part in parts))
        parts.clear()
        return times


def parse_times(texts: TextColumn, unit: int = SECOND, *, decimal_comma: bool = True) -> ParsedTimes:
    """Return the instants of some cells.

    unit: ns that a number counts, where its size does not say otherwise. decimal_comma: False where a comma between
    digits separates thousands.
    """
    instants, has_no_zone, unparsed = _parse_iso_cells(texts)
    times = ParsedTimes.of(instants, has_no_zone)
    if unparsed.any():
        _parse_other_forms(texts, np.flatnonzero(unparsed), times, unit, decimal_comma)
    return times


def join_time_columns(columns: Sequence[TextColumn], form: str) -> TextColumn:
    """Return one text per row of the cells of several columns; form: how they are put together, for str.format."""
    rows = np.arange(len(columns[0]))
    return TextColumn([_join_cells(cells, form) for cells in zip(
        *([text.strip() for text in column.texts_of(rows)] for column in columns), strict=True)])


def _join_cells(cells: tuple[str, ...], form: str) -> str:
    """Return a date and its clock time as one text, or the day of a spreadsheet and the part of it that has passed."""
    if len(cells) == 2 and (day := parse_number(cells[0])) is not None and \
            (part := parse_number(cells[1])) is not None and 0 <= part < 1:
        return str(day + part)
    return form.format(*(cell.partition(".")[0] if len(cells) > 2 and NUMBER.fullmatch(cell) else cell
                         for cell in cells))


# 2025-01-10T09:11:40.25+01:00 and the like: all cells at once


def _parse_iso_cells(texts: TextColumn) -> tuple[Integers, Booleans, Booleans]:
    """Return instants, which have no zone, and which cells are unparsed because they are not of this form."""
    codes, distinct = texts.factorize()
    instants = np.full(len(distinct), UNREADABLE, np.int64)
    has_no_zone, unparsed = np.zeros(len(distinct), np.bool_), np.ones(len(distinct), np.bool_)
    parts = [match.groups() if (match := _ISO.fullmatch(text)) else () for text in distinct]
    rows, parts = [row for row, part in enumerate(parts) if part], list(filter(None, parts))
    with suppress(ValueError):  # a day that there is not: each text by itself
        clocks = np.array([clock for clock, _ in parts], "datetime64[ns]").astype(np.int64)
        instants[rows] = clocks - SECOND * np.array([offset_seconds(zone or "") for _, zone in parts], np.int64)
        instants[(instants < 0) | (instants >= LATEST_NS)] = UNREADABLE
        has_no_zone[rows] = [zone is None for _, zone in parts]
        unparsed[rows] = False
    return instants[codes], has_no_zone[codes], unparsed[codes]


# Any other form: each distinct text by itself


def _parse_other_forms(texts: TextColumn, rows: Integers, times: ParsedTimes, unit: int, decimal_comma: bool) -> None:
    """Parse the cells of some rows in every form, into `times`."""
    cells = [text.strip(CELL_MARKS) for text in texts.texts_of(rows)]
    if not decimal_comma and all(_THOUSANDS.fullmatch(text) for text in set(cells) if "," in text):
        cells = [text.replace(",", "") for text in cells]
    readings = {text: parse_time_text(text) for text in set(cells)}
    readable = [text for text, one in readings.items() if one.is_readable() or
                (text[:1] == "-" and NUMBER.fullmatch(text))]
    has_dates = len(rows) < len(texts) or not all(map(NUMBER.fullmatch, readable))
    for text in readable if has_dates else ():  # a footer may begin with the number of rows
        if NUMBER.fullmatch(text) and (text[0] == "-" or max(readings[text].instants) < YEAR_1980_S * SECOND):
            readings[text] = NO_TIME
    numbers = [text for text in readable if NUMBER.fullmatch(text)]
    # A number in the midst of dates is one of its own, and no day of a spreadsheet.
    are_all_numbers = len(numbers) == len(readable)
    system = find_number_system(numbers) if are_all_numbers else None
    if system is DAY_FRACTIONS and unit != SECOND:
        system = None
    if system is not None:
        times.number_system = system
        readings |= {text: _from_number(text, system.instant, has_no_zone=not system.has_zone) for text in numbers}
    elif unit != SECOND:
        readings |= {text: _from_number(text, partial(count_ns, unit=unit)) for text in numbers}
    instants, has_no_zone, has_am_pm, forms = (list(part) for part in zip(*readings.values(), strict=True))
    code_of = {text: i for i, text in enumerate(readings)}
    code = np.fromiter((code_of[text] for text in cells), np.int64, len(cells))
    by_order = np.array(instants, np.int64)
    times.instants[0][rows] = by_order[code, 0]
    times.has_no_zone[rows] = np.array(has_no_zone, np.bool_)[code]
    times.clock_forms[rows] = np.array(forms, np.int8)[code]
    if (by_order != by_order[:, :1]).any():
        times.instants = (times.instants[0], *(times.instants[0].copy() for _ in DATE_ORDERS[1:]))
        for order, of_order in enumerate(times.instants):
            of_order[rows] = by_order[code, order]
        times.has_am_pm = any(has_am_pm)


def _from_number(text: str, instant: Callable[[Decimal], int], *, has_no_zone: bool = False) -> ParsedText:
    number = parse_number(text)
    return ParsedText.of(UNREADABLE if number is None else instant(number), has_no_zone=has_no_zone)


def order_rows(times: Integers, series: Integers, longest: int = LATEST_NS) -> tuple[Integers, Booleans]:
    """Return the rows one series after the other, oldest first, and (T - 1,) whether the next row is of the same one.

    The rows of a file are in the order of time, or newest first where more steps, up to the longest, go back than on.
    """
    order = np.argsort(series, kind="stable")
    is_same_series = np.diff(series[order]) == 0
    steps = np.diff(times[order])[is_same_series]
    steps = steps[np.abs(steps) < longest]
    if int((steps < 0).sum()) > int((steps > 0).sum()):
        return order[::-1], is_same_series[::-1]
    return order, is_same_series


# Clocks and counters without a date


def continue_runs(times: Integers, rows: Integers, series: Integers) -> int:
    """Make times without a date, ns, of some rows go on where those of a series start again; return how often they do.

    They start again where, after a run of rows, they go back by a usual period, which leaves no gap, or to the start of
    the run or before, which is taken for a pause.
    """
    order, is_same_series = order_rows(times[rows], series[rows])
    order = rows[order]
    ordered = times[order]
    steps = np.diff(ordered)
    forward, backward = (int((is_same_series & (sign * steps > 0)).sum()) for sign in (1, -1))
    if not forward or backward > len(rows) // MIN_RUN_ROWS:
        return 0
    typical = int(np.median(steps[is_same_series & (steps > 0)]))
    added = np.zeros_like(ordered)
    start = total = count = 0
    for row in (np.flatnonzero(~is_same_series | (steps < 0)) + 1).tolist():
        period = next((period for period in PERIODS_NS if 0 < period + steps[row - 1] < 3 * typical), 0)
        if not is_same_series[row - 1]:
            added[row], total, start = -total, 0, row
        elif row - start >= MIN_RUN_ROWS and (period or ordered[row] <= ordered[start]) and total < LATEST_NS:
            jump = min(period or PAUSE_STEPS * typical - int(steps[row - 1]), LATEST_NS)
            added[row], total, start, count = jump, total + jump, row, count + 1
    times[order] += np.cumsum(added)
    return count


def count_periods(clocks: Integers, series: Integers, period: int = DAY_S * SECOND) -> Integers:
    """Return (T,) clock times, ns, with a period added wherever those of a series go back by more than half of it."""
    order, is_same_series = order_rows(clocks, series, period // 2)
    steps = np.diff(clocks[order])
    periods = np.cumsum(is_same_series & (steps < -period // 2))
    starts = np.flatnonzero(np.concatenate([[True], ~is_same_series]))
    periods = np.concatenate([[0], periods])
    run = np.searchsorted(starts, np.arange(len(clocks)), side="right") - 1
    instants = np.empty_like(clocks)
    instants[order] = clocks[order] + (periods - periods[starts][run]) * period
    return instants


# Wall clocks of a named zone


@dataclass(frozen=True, slots=True)
class LocalisedTimes:
    """(T,) instants of wall clocks, ns since 1970.

    ambiguous: how many of them lie in an hour that occurs twice, as the clocks go back. nonexistent: how many lie in an
    hour that the clocks skip.
    """

    instants: Integers
    ambiguous: int
    nonexistent: int


def localise_times(clocks: Integers, series: Integers, zone: tzinfo) -> LocalisedTimes:
    """Return the instants at which wall clocks in a zone showed (T,) times, ns, in the order of the file.

    series: (T,) which rows belong to the same run of time, such as a loop. Within an hour that occurs twice, a row is
    in the second one after the clocks of its series have gone back.
    """
    order, _ = order_rows(clocks, series)
    clock = clocks[order]
    quarters, code = np.unique(clock // (QUARTER_HOUR_S * SECOND), return_inverse=True)
    first, second = (_utc_offsets_s(quarters, zone, fold)[code] for fold in (0, 1))
    ambiguous, nonexistent = first > second, first < second
    goes_back = np.diff(clock, prepend=clock[:1]) < 0
    continues = np.concatenate([[False], ambiguous[1:] & ambiguous[:-1]])
    # Within each run of rows in such an hour, how often the clocks have gone back since its start.
    times_back = np.cumsum(goes_back & continues)
    run_start = np.maximum.accumulate(np.where(continues, 0, np.arange(len(clock))))
    is_second = ambiguous & (times_back - times_back[run_start] > 0)
    instants = np.empty_like(clocks)
    instants[order] = clock - np.where(is_second, second, first) * SECOND
    return LocalisedTimes(instants, int(ambiguous.sum()), int(nonexistent.sum()))


def load_changing_zones() -> list[tzinfo]:
    """Return zones whose clocks change as most of the world's do; none where there is no time zone database."""
    from zoneinfo import ZoneInfo

    zones: list[tzinfo] = []
    with suppress(LookupError, OSError):
        zones += map(ZoneInfo, CHANGING_ZONES)
    return zones


def changes_between(start: int, end: int, zone: tzinfo) -> bool:
    """Return whether the clocks of a zone change between two of their times, ns, in the first day after `start`."""
    quarters = np.arange(start, min(end, start + DAY_S * SECOND) + 1, QUARTER_HOUR_S * SECOND)
    quarters = np.unique(np.concatenate([quarters, [end]]) // (QUARTER_HOUR_S * SECOND))
    first, second = (_utc_offsets_s(quarters, zone, fold) for fold in (0, 1))
    return bool((first != second).any())


def _utc_offsets_s(quarters: Integers, zone: tzinfo, fold: int) -> Integers:
    """Return (n,) s ahead of UTC at wall clocks in quarters of an hour since 1970."""
    epoch = datetime(1970, 1, 1)
    offsets = []
    for quarter in quarters.tolist():
        moment = (epoch + timedelta(seconds=quarter * QUARTER_HOUR_S)).replace(tzinfo=zone, fold=fold)
        offset = moment.utcoffset()
        offsets.append(0 if offset is None else int(offset / timedelta(seconds=1)))
    return np.array(offsets, np.int64)


def find_zone(name: str) -> tzinfo | None:
    """Return the zone that a column's name has: `Time [UTC+01:00]`, `Date Time, GMT-06:00`, `Time (Europe/Berlin)`."""
    from zoneinfo import ZoneInfo

    if place := _PLACE_IN_NAME.search(name):
        with suppress(LookupError, ValueError, OSError):
            return ZoneInfo(place[0])
    match = _ZONE_IN_NAME.search(name)
    return timezone(timedelta(seconds=offset_seconds(match["zone"].upper()))) if match and match["zone"] else None


def parse_zone(name: str) -> tzinfo:
    """Return a time zone by its name.

    Parameters
    ----------
    name : str
        A name of the IANA time zone database, such as `Europe/Berlin`.

    Raises
    ------
    BadInput
        There is no such zone; the error names the closest one.
    """
    from zoneinfo import ZoneInfo, available_timezones

    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        available = sorted(available_timezones())
    remedy = did_you_mean(name, available) if available else \
        "pip install tzdata: this system has no time zone database"
    if len(remedy) > 200:
        remedy = "name one such as Europe/Berlin, America/Chicago or UTC"
    raise BadInput([Problem(TIMEZONE_OPTION, f"unknown time zone {name!r}", remedy)])
