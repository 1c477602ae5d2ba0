"""What the times of a record say: instants in ns since 1970.

No text raises: what cannot be read is UNREADABLE. A date such as 01/02/2025 may be either way round, so it has two
instants until the whole record is known. A time without a zone is UTC, or of a named zone whose clocks change: an hour
that comes twice is told apart by the order of the rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import SECOND
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.records.text_columns import Booleans, Integers, Listed, Texts

UNREADABLE = -1
ZONE_OPTION = "--timezone"

# Half of what int64 holds, so that sums and differences of two instants never overflow; it is the year 2116.
LATEST = 2**62

QUARTER = 900  # s: clocks change at whole quarters of an hour
EXCEL_FROM, EXCEL_TO = 36_526.0, 73_050.0  # days since 1899-12-30: the years 2000 to 2099
EXCEL_EPOCH = 25_569  # 1970-01-01 in Excel's days

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
    r"(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9})\d*)?)?(?:\s*(?P<half>[AP])\.?M\.?)?"
    r"|(?P<compact>\d{6})"
)
_ZONE = r"(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?"
_TIME = re.compile(rf"{_DATE}(?:(?:[T ]\s*|,\s*)?(?:{_CLOCK})\s*{_ZONE})?", re.ASCII | re.IGNORECASE)
_EPOCH = re.compile(r"\d+(\.\d*)?(e\+?\d\d?)?", re.ASCII | re.IGNORECASE)


@dataclass(slots=True)
class Times:
    """T instants, ns since 1970 or UNREADABLE.

    instants: (T,), a date with strokes day first. month_first: (T,) the same, month first; the same array where there
    is no such date. zoneless: (T,) whether there was no zone, so that the instant is what the wall clock showed.
    excel: whether any was a day of a spreadsheet. american: whether any such date had AM or PM.
    """

    instants: Integers
    month_first: Integers
    zoneless: Booleans
    excel: bool = False
    american: bool = False

    def __len__(self) -> int:
        return len(self.instants)

    def readable(self) -> Booleans:
        """(T,) which can be read one way or the other."""
        return np.asarray((self.instants != UNREADABLE) | (self.month_first != UNREADABLE))

    def take(self, rows: Integers) -> Times:
        """Those of some rows."""
        first = self.instants[rows]
        second = first if self.month_first is self.instants else self.month_first[rows]
        return Times(first, second, self.zoneless[rows], self.excel, self.american)

    @classmethod
    def concatenate(cls, parts: list[Times]) -> Times:
        """All of them; the parts are given up, for there may be many."""
        first = np.concatenate([part.instants for part in parts])
        plain = all(part.month_first is part.instants for part in parts)
        second = first if plain else np.concatenate([part.month_first for part in parts])
        told = cls(first, second, np.concatenate([part.zoneless for part in parts]),
                   any(part.excel for part in parts), any(part.american for part in parts))
        parts.clear()
        return told


def read_times(texts: Texts) -> Times:
    """The times of some cells."""
    instants, zoneless, odd = _plain(texts)
    found = Times(instants, instants, zoneless)
    if odd.any():
        _read_odd(texts, np.flatnonzero(odd), found)
    return found


def join(first: Texts, second: Texts) -> Texts:
    """A date and a clock time as one text."""
    rows = np.arange(len(first))
    return Listed([f"{a.strip()} {b.strip()}" for a, b in zip(first.at(rows), second.at(rows), strict=True)])


# 2025-01-10T09:11:40.25+01:00 and its like: all cells at once


def _plain(texts: Texts) -> tuple[Integers, Booleans, Booleans]:
    """Instants, zoneless, and which cells are none of this form."""
    count = len(texts)
    instants = np.full(count, UNREADABLE, np.int64)
    zoneless = np.zeros(count, np.bool_)
    odd = np.ones(count, np.bool_)
    for rows, letters in texts.of_equal_length():
        if 19 <= letters.shape[1] <= 35:
            fit, local, offset, without = _iso(letters)
            instants[rows[fit]] = (local - offset)[fit]
            zoneless[rows] = without & fit
            odd[rows[fit]] = False
    instants[(instants < 0) | (instants >= LATEST)] = UNREADABLE
    return instants, zoneless, odd


def _iso(letters: npt.NDArray[np.uint8]) -> tuple[Booleans, Integers, Integers, Booleans]:
    """(n,) which of the (n, length) texts fit, their wall clocks and offsets in ns, and which have no zone."""
    digits = letters - np.uint8(ord("0"))  # what lies below wraps round to above 9
    numeric = digits <= 9

    def number(start: int, stop: int) -> Integers:
        value = digits[:, start].astype(np.int64)
        for place in range(start + 1, stop):
            value = 10 * value + digits[:, place]
        return value

    marks = letters[:, [4, 7, 13, 16]] == np.frombuffer(b"--::", np.uint8)
    places = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18]
    fit = marks.all(axis=1) & numeric[:, places].all(axis=1)
    fit &= (letters[:, 10] == ord("T")) | (letters[:, 10] == ord(" "))
    hour, minute, second = number(11, 13), number(14, 16), number(17, 19)
    fit &= (hour < 24) & (minute < 60) & (second < 60)
    day = _days(np.where(fit, number(0, 4) * 10_000 + number(5, 7) * 100 + number(8, 10), 0))
    fit &= day >= 0
    tail_fit, fraction, offset, without = _tail(letters, digits, numeric)
    local = (day * 86_400 + hour * 3600 + minute * 60 + second) * SECOND + fraction
    return fit & tail_fit, local, offset, without


def _tail(letters: npt.NDArray[np.uint8], digits: npt.NDArray[np.uint8], numeric: Booleans
          ) -> tuple[Booleans, Integers, Integers, Booleans]:
    """What follows the seconds: fit, fraction in ns, offset in ns, no zone."""
    count, length = letters.shape
    fit, without = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    fraction, offset = np.zeros(count, np.int64), np.zeros(count, np.int64)
    signs = (letters == ord("+")) | (letters == ord("-"))
    for zone in (0, 1, 5, 6):  # letters of none, Z, +0100 and +01:00
        end = length - zone
        if end < 19 or end == 20 or end > 29:
            continue
        fits = numeric[:, 20:end].all(axis=1)
        if end > 19:
            fits &= letters[:, 19] == ord(".")
        if zone == 1:
            fits &= letters[:, -1] == ord("Z")
        elif zone:
            places = [end + 1, end + 2, -2, -1]
            fits &= signs[:, end] & numeric[:, places].all(axis=1)
            fits &= (letters[:, end + 3] == ord(":")) if zone == 6 else True
            seconds = digits[:, places] @ np.array([36_000, 3600, 600, 60])
            offset = np.where(fits, np.where(letters[:, end] == ord("-"), -seconds, seconds) * SECOND, offset)
        scale = 10 ** np.arange(8, 28 - end, -1)
        fraction = np.where(fits, digits[:, 20:end] @ scale[:max(end - 20, 0)], fraction)
        fit |= fits
        without |= fits & (zone == 0)
    return fit, fraction, offset, without


def _days(dates: Integers) -> Integers:
    """Days since 1970 of dates as numbers such as 20250110; -1 where there is no such day."""
    known, code = np.unique(dates, return_inverse=True)
    found = [_day(number // 10_000, number // 100 % 100, number % 100) for number in known.tolist()]
    return np.array([-1 if day is None else day for day in found], np.int64)[code]


@lru_cache(maxsize=4096)
def _day(year: int, month: int, day: int) -> int | None:
    """Days since 1970 of a date; None where there is no such day."""
    try:
        return date(year, month, day).toordinal() - 719_163
    except ValueError:
        return None


# any other form: each distinct text by itself


def _read_odd(texts: Texts, rows: Integers, found: Times) -> None:
    """Read the cells of some rows in all forms that are known."""
    cells = [text.strip() for text in texts.at(rows)]
    known = {text: _read(text) for text in set(cells)}
    if _are_excel(known):
        found.excel = True
        known |= {text: _excel(text) for text, (first, *_) in known.items() if first != UNREADABLE}
    first, second, zoneless, american = (list(part) for part in zip(*known.values(), strict=True))
    place = {text: i for i, text in enumerate(known)}
    code = np.fromiter((place[text] for text in cells), np.int64, len(cells))
    found.instants[rows] = np.array(first, np.int64)[code]
    found.zoneless[rows] = np.array(zoneless, np.bool_)[code]
    if first != second:
        found.month_first = found.instants.copy()
        found.month_first[rows] = np.array(second, np.int64)[code]
        found.american = any(american)


_Read = tuple[int, int, bool, bool]  # day first, month first, no zone, with AM or PM
_NOTHING: _Read = (UNREADABLE, UNREADABLE, False, False)


def _read(text: str) -> _Read:
    match = _TIME.fullmatch(text)
    if match is None or (match["y6"] and not match["hour"] and not match["compact"]):
        time = _epoch(text)
        return time, time, False, False
    days = _dates(match)
    clock = _clock(match)
    if clock is None:
        return _NOTHING
    zone = match["zone"]
    first, second = (UNREADABLE if day is None else _in_range(day * 86_400 * SECOND + clock) for day in days)
    return first, second, not zone, bool(match["half"])


def _in_range(time: int) -> int:
    return time if 0 <= time < LATEST else UNREADABLE


def _dates(match: re.Match[str]) -> tuple[int | None, int | None]:
    """Days since 1970, a date with strokes day first and month first."""
    if match["a"]:
        a, b, year = int(match["a"]), int(match["b"]), _year(match["y3"])
        return _day(year, b, a), _day(year, a, b)
    n = next(n for n in "12456" if match[f"y{n}"])
    month = match[f"m{n}"]
    number = int(month) if month.isdigit() else _MONTHS.index(month[:3].lower()) + 1
    day = _day(_year(match[f"y{n}"]), number, int(match[f"d{n}"]))
    return day, day


def _year(text: str) -> int:
    return int(text) + (2000 if len(text) == 2 else 0)


def _clock(match: re.Match[str]) -> int | None:
    """ns since midnight in UTC, or of the wall clock; a date alone is midnight. None where there is no such time."""
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


def _epoch(text: str) -> int:
    """Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their size."""
    if len(text) > 40 or not _EPOCH.fullmatch(text):
        return UNREADABLE
    number = Decimal(text)
    unit = next((unit for limit, unit in ((1e11, SECOND), (1e14, 10**6), (1e17, 1000)) if number < limit), 1)
    return _in_range(int(number * unit))


def _are_excel(known: dict[str, _Read]) -> bool:
    """Whether all readable ones are numbers that, as days of a spreadsheet, lie in this century; and not whole ones."""
    numbers = [text for text, (first, *_) in known.items() if first != UNREADABLE]
    if not numbers or not any("." in text for text in numbers):
        return False
    return all(_EPOCH.fullmatch(text) and EXCEL_FROM <= float(text) <= EXCEL_TO for text in numbers)


def _excel(text: str) -> _Read:
    """A spreadsheet's days to the millisecond: it keeps no more digits."""
    time = _in_range(round((Decimal(text) - EXCEL_EPOCH) * 86_400_000) * 10**6)
    return time, time, True, False


# wall clocks of a named zone


@dataclass(frozen=True, slots=True)
class Zoned:
    """(T,) instants of wall clocks; of how many the hour came twice, of how many it never came."""

    instants: Integers
    twice: int
    never: int


def of_zone(clocks: Integers, series: Integers, zone: tzinfo) -> Zoned:
    """The instants at which wall clocks showed (T,) times, ns, in the order of the file.

    series: (T,) which rows are of the same run of time. An hour that comes twice is the second one once its clocks
    have gone back within it.
    """
    order = np.argsort(series, kind="stable")
    steps = np.diff(clocks[order])
    inside = np.diff(series[order]) == 0
    if int((steps[inside] < 0).sum()) > int((steps[inside] > 0).sum()):
        order = order[::-1]  # newest first
    clock = clocks[order]
    quarters, code = np.unique(clock // (QUARTER * SECOND), return_inverse=True)
    first, second = (_offsets(quarters, zone, fold)[code] for fold in (0, 1))
    twice, never = first > second, first < second
    back = np.diff(clock, prepend=clock[:1]) < 0
    goes_on = np.concatenate([[False], twice[1:] & twice[:-1]])
    # Within each stretch of rows in such an hour, how often the clocks have gone back since its beginning.
    backs = np.cumsum(back & goes_on)
    begins = np.maximum.accumulate(np.where(goes_on, 0, np.arange(len(clock))))
    later = twice & (backs - backs[begins] > 0)
    found = np.empty_like(clocks)
    found[order] = clock - np.where(later, second, first) * SECOND
    return Zoned(found, int(twice.sum()), int(never.sum()))


def _offsets(quarters: Integers, zone: tzinfo, fold: int) -> Integers:
    """(n,) s ahead of UTC at wall clocks in quarters of an hour since 1970."""
    epoch = datetime(1970, 1, 1)
    found = []
    for quarter in quarters.tolist():
        moment = (epoch + timedelta(seconds=quarter * QUARTER)).replace(tzinfo=zone, fold=fold)
        offset = moment.utcoffset()
        found.append(0 if offset is None else int(offset / timedelta(seconds=1)))
    return np.array(found, np.int64)


def parse_zone(name: str) -> tzinfo:
    """A zone of the IANA database by its name; raises BadInput with the closest one."""
    from zoneinfo import ZoneInfo, available_timezones

    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        known = sorted(available_timezones())
    remedy = did_you_mean(name, known) if known else "pip install tzdata: this system has no zones"
    if len(remedy) > 200:
        remedy = "name one such as Europe/Berlin, America/Chicago or UTC"
    raise BadInput([Problem(ZONE_OPTION, f"there is no time zone {name!r}", remedy)])
