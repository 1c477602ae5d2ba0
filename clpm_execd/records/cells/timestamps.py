"""Timestamps of a record as instants, in ns since 1970.

No text raises an error: what cannot be read is UNREADABLE. A date such as 01/02/2025 may have its day or its month
first, so it has two instants until the whole record decides between them. A timestamp without a time zone is in UTC, or
in a named zone whose clocks change: an hour that occurs twice is resolved by the order of the rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import SECOND
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.records.cells.text_columns import Booleans, Integers, ListColumn, TextColumn

UNREADABLE = -1
TIMEZONE_OPTION = "--timezone"

# Half of what int64 holds, so that sums and differences of two instants never overflow; it is the year 2116.
LATEST_NS = 2**62

QUARTER_HOUR_S = 900  # the clocks of every zone change at a whole quarter of an hour
DAY_S = 86_400
# Excel's 1900 date system counts days since 1899-12-30.
EXCEL_FIRST_DAY, EXCEL_LAST_DAY = 36_526.0, 73_050.0  # the years 2000 to 2099
EXCEL_DAY_OF_1970 = 25_569
EXCEL_DAY_MS = 86_400_000
ORDINAL_OF_1970 = 719_163  # of date.toordinal
MAX_EPOCH_CHARACTERS = 40  # nanoseconds have 19 digits; a longer text is not worth a big number

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = rf"(?:{'|'.join(_MONTHS)})[a-z]*\.?"
_DATE = (
    r"(?:(?P<y1>\d{4})[-/.](?P<m1>\d\d?)[-/.](?P<d1>\d\d?)"
    r"|(?P<d2>\d\d?)\.(?P<m2>\d\d?)\.(?P<y2>\d{4}|\d\d)"
    r"|(?P<a>\d\d?)(?P<by>[-/])(?P<b>\d\d?)(?P=by)(?P<y3>\d{4}|\d\d)"
    rf"|(?P<d4>\d\d?)[- ](?P<m4>{_MONTH})[- ](?P<y4>\d{{4}}|\d\d)"
    rf"|(?P<m5>{_MONTH}) (?P<d5>\d\d?),? (?P<y5>\d{{4}})"
    r"|(?P<y6>\d{4})(?P<m6>\d\d)(?P<d6>\d\d))"
)
_CLOCK = (
    r"(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9})\d*)?)?"
    r"(?:\s*(?P<half>[AP])\.?M\.?)?"
    r"|(?P<compact>\d{6})"
)
_ZONE = r"(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?"
_TIME = re.compile(rf"{_DATE}(?:(?:[T ]\s*|,\s*)?(?:{_CLOCK})\s*{_ZONE})?", re.ASCII | re.IGNORECASE)
_EPOCH = re.compile(r"\d+(\.\d*)?(e\+?\d\d?)?", re.ASCII | re.IGNORECASE)


@dataclass(slots=True)
class ParsedTimes:
    """T instants in ns since 1970, or UNREADABLE.

    day_first: (T,), where a date may be read in two ways with the day first. month_first: (T,), the same with the month
    first; the same array where there is no such date. has_no_zone: (T,), whether the text had no time zone, so that
    the instant is what the wall clock showed. has_excel_days: whether any text was a day of a spreadsheet.
    has_am_pm: whether any date that may be read in two ways had AM or PM.
    """

    day_first: Integers
    month_first: Integers
    has_no_zone: Booleans
    has_excel_days: bool = False
    has_am_pm: bool = False

    def __len__(self) -> int:
        return len(self.day_first)

    def is_readable(self) -> Booleans:
        """Return (T,) which can be read in one way or the other."""
        return np.asarray((self.day_first != UNREADABLE) | (self.month_first != UNREADABLE))

    def take(self, rows: Integers) -> ParsedTimes:
        """Return those of some rows."""
        day_first = self.day_first[rows]
        month_first = day_first if self.month_first is self.day_first else self.month_first[rows]
        return ParsedTimes(day_first, month_first, self.has_no_zone[rows], self.has_excel_days, self.has_am_pm)

    @classmethod
    def concatenate(cls, parts: list[ParsedTimes]) -> ParsedTimes:
        """Return all parts as one, and empty the list, which may need much memory."""
        day_first = np.concatenate([part.day_first for part in parts])
        is_unique = all(part.month_first is part.day_first for part in parts)
        month_first = day_first if is_unique else np.concatenate([part.month_first for part in parts])
        times = cls(day_first, month_first, np.concatenate([part.has_no_zone for part in parts]),
                    any(part.has_excel_days for part in parts), any(part.has_am_pm for part in parts))
        parts.clear()
        return times


def parse_times(texts: TextColumn) -> ParsedTimes:
    """Return the instants of some cells."""
    instants, has_no_zone, unparsed = _parse_iso_cells(texts)
    times = ParsedTimes(instants, instants, has_no_zone)
    if unparsed.any():
        _parse_other_forms(texts, np.flatnonzero(unparsed), times)
    return times


def join_date_and_clock(dates: TextColumn, clocks: TextColumn) -> TextColumn:
    """Return each date and its clock time as one text."""
    rows = np.arange(len(dates))
    return ListColumn([f"{day.strip()} {clock.strip()}"
                       for day, clock in zip(dates.texts_of(rows), clocks.texts_of(rows), strict=True)])


# 2025-01-10T09:11:40.25+01:00 and the like: all cells at once


def _parse_iso_cells(texts: TextColumn) -> tuple[Integers, Booleans, Booleans]:
    """Return instants, which have no zone, and which cells are unparsed because they are not of this form."""
    count = len(texts)
    instants = np.full(count, UNREADABLE, np.int64)
    has_no_zone = np.zeros(count, np.bool_)
    unparsed = np.ones(count, np.bool_)
    for rows, characters in texts.group_by_length():
        if 19 <= characters.shape[1] <= 35:
            is_iso, local, offset, lacks_zone = _parse_iso(characters)
            instants[rows[is_iso]] = (local - offset)[is_iso]
            has_no_zone[rows] = lacks_zone & is_iso
            unparsed[rows[is_iso]] = False
    instants[(instants < 0) | (instants >= LATEST_NS)] = UNREADABLE
    return instants, has_no_zone, unparsed


def _parse_iso(characters: npt.NDArray[np.uint8]) -> tuple[Booleans, Integers, Integers, Booleans]:
    """Return (n,) which of the (n, length) texts fit, their wall clocks and offsets in ns, and which have no zone."""
    digits = characters - np.uint8(ord("0"))  # what lies below wraps round to above 9
    is_digit = digits <= 9

    def number(start: int, stop: int) -> Integers:
        value = digits[:, start].astype(np.int64)
        for place in range(start + 1, stop):
            value = 10 * value + digits[:, place]
        return value

    marks = characters[:, [4, 7, 13, 16]] == np.frombuffer(b"--::", np.uint8)
    places = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18]
    fits = marks.all(axis=1) & is_digit[:, places].all(axis=1)
    fits &= (characters[:, 10] == ord("T")) | (characters[:, 10] == ord(" "))
    hour, minute, second = number(11, 13), number(14, 16), number(17, 19)
    fits &= (hour < 24) & (minute < 60) & (second < 60)
    day = _epoch_days(np.where(fits, number(0, 4) * 10_000 + number(5, 7) * 100 + number(8, 10), 0))
    fits &= day >= 0
    tail_fits, fraction, offset, lacks_zone = _parse_iso_tail(characters, digits, is_digit)
    local = (day * DAY_S + hour * 3600 + minute * 60 + second) * SECOND + fraction
    return fits & tail_fits, local, offset, lacks_zone


def _parse_iso_tail(characters: npt.NDArray[np.uint8], digits: npt.NDArray[np.uint8], is_digit: Booleans
                    ) -> tuple[Booleans, Integers, Integers, Booleans]:
    """Return of what follows the seconds: which fit, the fraction in ns, the offset in ns, and which have no zone."""
    count, length = characters.shape
    fits, lacks_zone = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    fraction, offset = np.zeros(count, np.int64), np.zeros(count, np.int64)
    signs = (characters == ord("+")) | (characters == ord("-"))
    for zone_length in (0, 1, 5, 6):  # of none, Z, +0100 and +01:00
        end = length - zone_length
        if end < 19 or end == 20 or end > 29:
            continue
        fits_zone = is_digit[:, 20:end].all(axis=1)
        if end > 19:
            fits_zone &= characters[:, 19] == ord(".")
        if zone_length == 1:
            fits_zone &= characters[:, -1] == ord("Z")
        elif zone_length:
            places = [end + 1, end + 2, -2, -1]
            fits_zone &= signs[:, end] & is_digit[:, places].all(axis=1)
            fits_zone &= (characters[:, end + 3] == ord(":")) if zone_length == 6 else True
            seconds = digits[:, places] @ np.array([36_000, 3600, 600, 60])
            offset = np.where(
                fits_zone, np.where(characters[:, end] == ord("-"), -seconds, seconds) * SECOND, offset)
        scale = 10 ** np.arange(8, 28 - end, -1)
        fraction = np.where(fits_zone, digits[:, 20:end] @ scale[:max(end - 20, 0)], fraction)
        fits |= fits_zone
        lacks_zone |= fits_zone & (zone_length == 0)
    return fits, fraction, offset, lacks_zone


def _epoch_days(dates: Integers) -> Integers:
    """Return the days since 1970 of dates as numbers such as 20250110; -1 where there is no such day."""
    distinct, code = np.unique(dates, return_inverse=True)
    days = [_epoch_day(number // 10_000, number // 100 % 100, number % 100) for number in distinct.tolist()]
    return np.array([-1 if day is None else day for day in days], np.int64)[code]


@lru_cache(maxsize=4096)
def _epoch_day(year: int, month: int, day: int) -> int | None:
    """Return the days since 1970 of a date; None where there is no such day."""
    try:
        return date(year, month, day).toordinal() - ORDINAL_OF_1970
    except ValueError:
        return None


# Any other form: each distinct text by itself


def _parse_other_forms(texts: TextColumn, rows: Integers, times: ParsedTimes) -> None:
    """Parse the cells of some rows in every form, into `times`."""
    cells = [text.strip() for text in texts.texts_of(rows)]
    parsed = {text: _parse_text(text) for text in set(cells)}
    if _are_excel_days(parsed):
        times.has_excel_days = True
        parsed |= {text: _parse_excel_day(text) for text, one in parsed.items() if one.day_first != UNREADABLE}
    day_first, month_first, has_no_zone, has_am_pm = (list(part) for part in zip(*parsed.values(), strict=True))
    code_of = {text: i for i, text in enumerate(parsed)}
    code = np.fromiter((code_of[text] for text in cells), np.int64, len(cells))
    times.day_first[rows] = np.array(day_first, np.int64)[code]
    times.has_no_zone[rows] = np.array(has_no_zone, np.bool_)[code]
    if day_first != month_first:
        times.month_first = times.day_first.copy()
        times.month_first[rows] = np.array(month_first, np.int64)[code]
        times.has_am_pm = any(has_am_pm)


class _ParsedText(NamedTuple):
    """One text as two instants, day first and month first, ns since 1970 or UNREADABLE."""

    day_first: int
    month_first: int
    has_no_zone: bool
    has_am_pm: bool


_NO_TIME = _ParsedText(UNREADABLE, UNREADABLE, False, False)


def _parse_text(text: str) -> _ParsedText:
    match = _TIME.fullmatch(text)
    if match is None or (match["y6"] and not match["hour"] and not match["compact"]):
        time = _parse_epoch(text)
        return _ParsedText(time, time, False, False)
    days = _parse_date(match)
    clock = _parse_clock(match)
    if clock is None:
        return _NO_TIME
    zone = match["zone"]
    day_first, month_first = (UNREADABLE if day is None else _check_range(day * DAY_S * SECOND + clock)
                              for day in days)
    return _ParsedText(day_first, month_first, not zone, bool(match["half"]))


def _check_range(time: int) -> int:
    """Return the instant, or UNREADABLE where it is before 1970 or after LATEST_NS."""
    return time if 0 <= time < LATEST_NS else UNREADABLE


def _parse_date(match: re.Match[str]) -> tuple[int | None, int | None]:
    """Return the days since 1970 of a date with the day first and with the month first."""
    if match["a"]:
        a, b, year = int(match["a"]), int(match["b"]), _full_year(match["y3"])
        return _epoch_day(year, b, a), _epoch_day(year, a, b)
    n = next(n for n in "12456" if match[f"y{n}"])
    month = match[f"m{n}"]
    number = int(month) if month.isdigit() else _MONTHS.index(month[:3].lower()) + 1
    day = _epoch_day(_full_year(match[f"y{n}"]), number, int(match[f"d{n}"]))
    return day, day


def _full_year(text: str) -> int:
    return int(text) + (2000 if len(text) == 2 else 0)


def _parse_clock(match: re.Match[str]) -> int | None:
    """Return ns since midnight, in UTC or of the wall clock, 0 for a date alone; None where there is no such time."""
    if match["compact"]:
        hour, minute, second = (int(match["compact"][i:i + 2]) for i in (0, 2, 4))
    else:
        hour, minute, second = (int(match[part] or 0) for part in ("hour", "minute", "second"))
    if match["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match["half"] in "Pp" else 0)
    if hour > 23 or minute > 59 or second > 60:
        return None
    seconds = 3600 * hour + 60 * minute + second
    zone = match["zone"] or ""
    if zone[:1] in ("+", "-"):
        offset = 3600 * int(zone[1:3]) + 60 * int(zone[3:].lstrip(":") or 0)
        seconds -= -offset if zone[0] == "-" else offset
    return seconds * SECOND + int((match["fraction"] or "").ljust(9, "0"))


def _parse_epoch(text: str) -> int:
    """Return the instant of s, ms, us or ns since 1970, whichever its size says: 1e11 s is the year 5138."""
    if len(text) > MAX_EPOCH_CHARACTERS or not _EPOCH.fullmatch(text):
        return UNREADABLE
    number = Decimal(text)
    unit = next((unit for limit, unit in ((1e11, SECOND), (1e14, 10**6), (1e17, 1000)) if number < limit), 1)
    return _check_range(int(number * unit))


def _are_excel_days(parsed: dict[str, _ParsedText]) -> bool:
    """Return whether all readable texts are numbers that, as Excel's days, lie in this century, and one has a decimal
    point."""
    numbers = [text for text, one in parsed.items() if one.day_first != UNREADABLE]
    if not numbers or not any("." in text for text in numbers):
        return False
    return all(_EPOCH.fullmatch(text) and EXCEL_FIRST_DAY <= float(text) <= EXCEL_LAST_DAY for text in numbers)


def _parse_excel_day(text: str) -> _ParsedText:
    """Return a spreadsheet's day to the millisecond: it keeps no more digits."""
    time = _check_range(round((Decimal(text) - EXCEL_DAY_OF_1970) * EXCEL_DAY_MS) * 10**6)
    return _ParsedText(time, time, True, False)


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
    order = np.argsort(series, kind="stable")
    differences = np.diff(clocks[order])
    is_same_series = np.diff(series[order]) == 0
    if int((differences[is_same_series] < 0).sum()) > int((differences[is_same_series] > 0).sum()):
        order = order[::-1]  # newest first
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


def _utc_offsets_s(quarters: Integers, zone: tzinfo, fold: int) -> Integers:
    """Return (n,) s ahead of UTC at wall clocks in quarters of an hour since 1970."""
    epoch = datetime(1970, 1, 1)
    offsets = []
    for quarter in quarters.tolist():
        moment = (epoch + timedelta(seconds=quarter * QUARTER_HOUR_S)).replace(tzinfo=zone, fold=fold)
        offset = moment.utcoffset()
        offsets.append(0 if offset is None else int(offset / timedelta(seconds=1)))
    return np.array(offsets, np.int64)


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
