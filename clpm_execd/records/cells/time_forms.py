"""One timestamp in any form that plants write: dates of many countries, clocks, durations, and numbers of many systems.

No text raises an error: what cannot be read is UNREADABLE. A date such as 01/02/03 may have its day, its month or its
year first, so it has an instant for each. A clock time or a duration without a date counts from 1970-01-01T00:00:00Z.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from clpm_execd.plant.block import SECOND

UNREADABLE = -1
DATE_ORDERS = ("day", "month", "year")  # what may stand first in a date such as 01/02/03
# What a text without a whole date has: hours, `a:b` (hours and minutes, or minutes and seconds), minutes first, or no
# year.
NO_CLOCK, WITH_HOURS, TWO_PARTS, MINUTES_FIRST, NO_YEAR = range(5)
LEAP_YEAR = 1972  # of dates without a year: it has all days, and lies before all records
# Half of what int64 holds, so that sums and differences of two instants never overflow; it is the year 2116.
LATEST_NS = 2**62
DAY_S = 86_400
YEAR_1980_S = 315_532_800  # s since 1970: before it are no records, but counters and clocks without a date
ORDINAL_OF_1970 = 719_163  # of date.toordinal
MAX_TIME_CHARACTERS = 64  # the longest form, with names of weekday and zone, has fewer
MAX_EPOCH_CHARACTERS = 40  # nanoseconds have 19 digits; a longer text is not worth a big number

# By three letters without accents, of English, German, French, Spanish, Italian, Portuguese, Dutch, the Scandinavian
# languages, Polish and Turkish.
_MONTH_OF_LETTERS = {
    letters: number
    for number, names in enumerate((
        "jan gen ene sty oca", "feb fev lut sub", "mar mrz maa", "apr avr abr kwi nis", "may mai maj mag mei",
        "jun giu cze haz", "jul lug lip tem", "aug aou ago sie agu", "sep set wrz eyl", "oct okt ott out paz eki",
        "nov lis kas", "dec dez dic des gru ara"), 1)
    for letters in names.split()
}
# Abbreviations whose offset is the same in all countries that use them, in hours (IANA time zone database).
_ZONE_HOURS = {"CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "WET": 0, "WEST": 1, "MSK": 3, "JST": 9, "EST": -5, "EDT": -4,
               "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7}
# Spaces of typography, which spreadsheets and browsers write, and dates and halves of the day of East Asia.
_CHARACTERS = {**dict.fromkeys(map(ord, "\u00a0\u202f\u2009"), " "),
               **dict.fromkeys(map(ord, "\u5e74\u6708\ub144\uc6d4"), "-"),  # year and month
               **dict.fromkeys(map(ord, "\u65e5\uc77c"), " "),  # day
               ord("\u65f6"): ":", ord("\u6642"): ":", ord("\u5206"): ":", ord("\u79d2"): ""}
# Morning and afternoon of Chinese, Japanese and Korean, which stand before the clock time, Greek and Turkish.
_MORNING = "上午|午前|오전|π\\.?μ\\.?|öö"
_HALF_OF_DAY = re.compile(rf"\s*(?:(?P<morning>{_MORNING})|下午|午後|오후|μ\.?μ\.?|ös)\s*", re.IGNORECASE)
_MONTH = r"[A-Za-z\u00C0-\u017F]{3,10}\.?"
_DATE = (
    r"(?:(?P<y1>\d{4})(?P<by1>[-/ ]|\. ?)(?P<m1>\d\d?)(?P=by1)(?P<d1>\d\d?)"
    r"|(?P<d2>\d\d?)\. ?(?P<m2>\d\d?)\.(?P<y2> ?\d{4}|\d\d)?"
    r"|(?P<a>\d\d?)(?P<by>[-/ ])(?P<b>\d\d?)(?:(?P=by)(?P<y3>\d{4}|\d\d(?!:)))?"
    rf"|(?P<d4>\d\d?)[-/ .]\s?(?P<m4>{_MONTH})(?:[-/ .](?P<y4>\d{{4}}|\d\d(?!:)))?"
    rf"|(?P<m5>{_MONTH})\s+(?P<d5>\d\d?)(?:,? (?P<y5>\d{{4}}))?"
    r"|(?P<y6>\d{4})(?P<m6>\d\d)(?P<d6>\d\d)"
    r"|(?P<y7>\d{4})[-/:](?P<day_of_year>\d{3}))"
)
_HALF = r"(?:\s*(?P<half{}>[AP])\.?\s?M\.?)?"
_CLOCK = (
    r"(?P<hour>\d\d?)(?P<colon>[:.]|-(?=\d\d-))(?P<minute>\d\d)(?:(?P=colon)(?P<second>\d\d)(?:[.,:;](?P<fraction>\d{1,9})\d*)?)?"
    + _HALF.format("") + r"|(?P<compact>\d{4}(?:\d\d)?)(?:[.,](?P<fraction2>\d{1,9})\d*)?"
)
ZONE = rf"(?P<zone>Z|UTC|GMT|{'|'.join(_ZONE_HOURS)}|(?:UTC|GMT)?[+-]\d\d(?::?\d\d)?|(?:UTC|GMT)[+-]\d)?"
_HOUR_ALONE = rf"(?P<alone>\d\d?){_HALF.format('2')}\s*{ZONE.replace('zone', 'zone2')}"
_TIME = re.compile(rf"{_DATE}(?:(?:\s*[T _@.,]\s*|[-:/])?(?:{_CLOCK})\s*{ZONE}|(?:[T _]\s*|,\s*){_HOUR_ALONE})?",
                   re.ASCII | re.IGNORECASE)
_DURATION = re.compile(
    r"(?:(?P<days>\d{1,5})(?:\.|\s*d(?:ays?)?,?\s*))?(?P<hour>\d{1,6}):(?P<minute>\d\d)"
    r"(?:(?::(?P<second>\d\d)(?:[.,:](?P<fraction>\d{1,9})\d*)?)?" + _HALF.format("")
    + r"|[.,](?P<of_minutes>\d{1,9})\d*)", re.ASCII | re.IGNORECASE)
# Numbers with units, from days to milliseconds, as ISO 8601 writes them (PT1M1.5S) and as texts do (1 min 1.5 s).
_UNITS_NS = {"d": DAY_S * SECOND, "h": 3600 * SECOND, "m": 60 * SECOND, "s": SECOND, "ms": 10**6}
_UNIT_WORDS = {"d": "d(?:ays?)?", "h": "h(?:rs?|ours?)?", "m": "m(?:in(?:ute)?s?)?", "s": "s(?:ec(?:ond)?s?)?",
               "ms": "ms"}
_UNITS = re.compile("P?" + r"[T,\s]*".join(rf"(?:(?P<{unit}>\d{{1,12}}(?:[.,]\d{{1,9}})?)\s*{word})?"
                                           for unit, word in _UNIT_WORDS.items()), re.ASCII | re.IGNORECASE)
# Constants of IEC 61131 (DT#2025-01-10-09:11:40, T#1m5s) and dates of .NET in JSON.
_LITERAL = re.compile(r"[A-Z_]{1,13}#(.+)|/?Date\((\d+)(?:[+-]\d{4})?\)/?", re.ASCII | re.IGNORECASE)
NUMBER = re.compile(r"-?\d+(?:[.,]\d*)?(?:[ed][+-]?\d\d?)?", re.ASCII | re.IGNORECASE)
CELL_MARKS = " \t\r\n=\"'"  # around a cell: blanks, and what keeps a spreadsheet from converting it, as in ="49.8"

_WEEKDAY = re.compile(r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*|[^\W\d]{2,10}(?=\.?,?\s+\d{1,4}[-/.]\d))\.?,?\s+",
                      re.IGNORECASE)
_ZONE_NAME = re.compile(r"\s*(?:\[[A-Za-z_/+-]+\]|\([A-Za-z_/+ -]+\))$")
# Jan 10 09:11:40 CET 2025, as C and Unix write it, and 09:11:40 10.01.2025.
_YEAR_LAST = re.compile(r"(?P<day>[A-Za-z]{3,9}\.?\s+\d\d?)\s+(?P<clock>\d\d?:\d\d(?::\d\d)?)\s+"
                        r"(?P<zone>[A-Z]{3,4}\s+)?(?P<year>\d{4})", re.ASCII)
_CLOCK_FIRST = re.compile(r"(?P<clock>\d\d?:\d\d(?::\d\d(?:[.,]\d+)?)?(?:\s*[AP]\.?M\.?)?),?\s+(?P<date>\d+[-/.].*\d)",
                          re.ASCII | re.IGNORECASE)


class ParsedText(NamedTuple):
    """One text as an instant for each of DATE_ORDERS, ns since 1970 or UNREADABLE.

    clock_form: what a text without a date has; NO_CLOCK where there is a date.
    """

    instants: tuple[int, ...]
    has_no_zone: bool = False
    has_am_pm: bool = False
    clock_form: int = NO_CLOCK

    @classmethod
    def of(cls, instant: int, *, has_no_zone: bool = False, clock_form: int = NO_CLOCK) -> ParsedText:
        """Return a text that can be read in one way only."""
        return cls((instant,) * len(DATE_ORDERS), has_no_zone, clock_form=clock_form)

    def is_readable(self) -> bool:
        """Return whether it can be read in any way."""
        return any(instant != UNREADABLE for instant in self.instants)


NO_TIME = ParsedText.of(UNREADABLE)


def parse_time_text(text: str) -> ParsedText:
    """Return the instants of a text; a number counts s, ms, us or ns since 1970, whichever its size says."""
    text = text.strip(CELL_MARKS)
    if not text.isascii():
        text = " ".join(text.translate(_CHARACTERS).split())
        if half := _HALF_OF_DAY.search(text):
            text = f"{text[:half.start()]} {text[half.end():]}".strip() + (" AM" if half["morning"] else " PM")
    if literal := _LITERAL.fullmatch(text):
        text = literal[1] or literal[2]
    if len(text) > MAX_TIME_CHARACTERS:
        return NO_TIME
    match = _TIME.fullmatch(_reorder(text))
    # Eight digits and a fraction are a number, unless a clock time with colons follows them.
    is_number = match is not None and match["y6"] and match["colon"] != ":" and not (match["compact"] or match["alone"])
    if match is not None and not is_number:
        one = _parse_date_and_clock(match)
        if one.is_readable():
            return one
    clock, form = _parse_duration(text)
    if form != NO_CLOCK:
        return ParsedText.of(clock, clock_form=form)
    number = parse_number(text)
    return NO_TIME if number is None else ParsedText.of(count_ns(number))


def is_readable_time(text: str) -> bool:
    """Return whether a text is a time: a date, a clock time, or a number."""
    return parse_time_text(text).is_readable()


def _reorder(text: str) -> str:
    """Return a text without weekday and name of the zone, and with the date before the clock."""
    if text[:1].isalpha():
        text = _WEEKDAY.sub("", text, count=1) if _WEEKDAY.match(text) else text
        if match := _YEAR_LAST.fullmatch(text):
            return f"{match['day']}, {match['year']} {match['clock']} {match['zone'] or ''}".strip()
    elif match := _CLOCK_FIRST.fullmatch(text):
        return f"{match['date']} {match['clock']}"
    return _ZONE_NAME.sub("", text) if text[-1:] in ("]", ")") else text


def _parse_date_and_clock(match: re.Match[str]) -> ParsedText:
    days = _parse_date(match)
    clock = _parse_clock(match)
    has_no_year = not any(match[f"y{n}"] for n in "1234567")
    if clock is None or (has_no_year and (match["colon"] != ":" or match["by"] == " ")):
        return NO_TIME
    instants = tuple(UNREADABLE if day is None else check_range(day * DAY_S * SECOND + clock) for day in days)
    return ParsedText(instants, not (match["zone"] or match["zone2"]), bool(match["half"] or match["half2"]),
                      NO_YEAR if has_no_year else NO_CLOCK)


def check_range(time: int) -> int:
    """Return the instant, or UNREADABLE where it is before 1970 or after LATEST_NS."""
    return time if 0 <= time < LATEST_NS else UNREADABLE


def _parse_date(match: re.Match[str]) -> tuple[int | None, ...]:
    """Return the days since 1970 of a date for each of DATE_ORDERS."""
    if match["a"]:
        a, b, year = int(match["a"]), int(match["b"]), _full_year(match["y3"])
        begins_with_year = len(match["a"]) == len(match["y3"] or "") == 2
        return (epoch_day(year, b, a), epoch_day(year, a, b),
                epoch_day(_full_year(match["a"]), b, int(match["y3"])) if begins_with_year else None)
    if match["day_of_year"]:
        first, ordinal = epoch_day(int(match["y7"]), 1, 1), int(match["day_of_year"])
        day = first + ordinal - 1 if first is not None and 1 <= ordinal <= 366 else None
        return (day,) * len(DATE_ORDERS)
    n = next(n for n in "12456" if match[f"d{n}"])
    number = _month_number(match[f"m{n}"])
    day = None if number is None else epoch_day(_full_year(match[f"y{n}"]), number, int(match[f"d{n}"]))
    return (day,) * len(DATE_ORDERS)


def _month_number(text: str) -> int | None:
    if text.isdigit():
        return int(text)
    letters = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if "a" <= c <= "z")
    if letters.startswith("jui"):  # French juin and juillet
        return 7 if letters.startswith("juil") else 6
    return _MONTH_OF_LETTERS.get(letters[:3])


def _full_year(text: str | None) -> int:
    return int(text) + (2000 if len(text) == 2 else 0) if text else LEAP_YEAR


@lru_cache(maxsize=4096)
def epoch_day(year: int, month: int, day: int) -> int | None:
    """Return the days since 1970 of a date; None where there is no such day."""
    try:
        return date(year, month, day).toordinal() - ORDINAL_OF_1970
    except ValueError:
        return None


def _parse_clock(match: re.Match[str]) -> int | None:
    """Return ns since midnight, in UTC or of the wall clock, 0 for a date alone; None where there is no such time."""
    half, zone = match["half"] or match["half2"], (match["zone"] or match["zone2"] or "").upper()
    if match["compact"]:
        hour, minute, second = (int(match["compact"][i:i + 2] or 0) for i in (0, 2, 4))
    else:
        hour, minute, second = (int(part or 0) for part in (match["hour"] or match["alone"], match["minute"],
                                                            match["second"]))
    seconds = _clock_seconds(hour, minute, second, half)
    if seconds is None:
        return None
    fraction = (match["fraction"] or match["fraction2"] or "").ljust(9, "0")
    return (seconds - offset_seconds(zone)) * SECOND + int(fraction)


def _clock_seconds(hour: int, minute: int, second: int, half: str | None) -> int | None:
    """Return the seconds since midnight; None where there is no such time of day."""
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half in "Pp" else 0)
    if hour > 24 or minute > 59 or second > 60 or (hour == 24 and minute + second):  # 24:00:00 ends a day
        return None
    return 3600 * hour + 60 * minute + second


@lru_cache(maxsize=4096)
def offset_seconds(zone: str) -> int:
    """Return how many seconds a zone such as CET, UTC+1 or -06:00 is ahead of UTC."""
    if zone in _ZONE_HOURS:
        return 3600 * _ZONE_HOURS[zone]
    zone = zone.removeprefix("UTC").removeprefix("GMT")
    if zone[:1] not in ("+", "-"):
        return 0
    digits = zone[1:].replace(":", "")
    offset = 3600 * int(digits[:2]) + 60 * int(digits[2:] or 0)
    return -offset if zone[0] == "-" else offset


def _parse_duration(text: str) -> tuple[int, int]:
    """Return ns and form of a clock time without a date, or of a duration.

    They are 07:12, which counts as hours and minutes, 26:00:00, 1.02:00:00, 12:10.5, 12 sec or PT1.5S.
    """
    if match := _UNITS.fullmatch(text):
        parts = {unit: Decimal(number.replace(",", ".")) for unit, number in match.groupdict().items() if number}
        is_length = list(parts) == ["m"] and text[-1] == "m"  # 3 m is a length
        time = check_range(int(sum(number * _UNITS_NS[unit] for unit, number in parts.items())))
        return (time, WITH_HOURS) if parts and not is_length and time != UNREADABLE else (UNREADABLE, NO_CLOCK)
    match = _DURATION.fullmatch(text)
    if match is None:
        return UNREADABLE, NO_CLOCK
    days, hour, minute, second = (int(match[part] or 0) for part in ("days", "hour", "minute", "second"))
    half, fraction, form = match["half"], match["fraction"] or match["of_minutes"] or "", WITH_HOURS
    if match["of_minutes"]:
        hour, minute, second, form = 0, hour, minute, MINUTES_FIRST
    elif not (half or days or match["second"]):
        form = TWO_PARTS
    if second > 60 or (days if form == MINUTES_FIRST else minute > 59):
        return UNREADABLE, NO_CLOCK
    seconds = _clock_seconds(hour, minute, second, half) if half else DAY_S * days + 3600 * hour + 60 * minute + second
    time = UNREADABLE if seconds is None else check_range(seconds * SECOND + int(fraction.ljust(9, "0")))
    return time, NO_CLOCK if time == UNREADABLE else form


def parse_number(text: str) -> Decimal | None:
    """Return a number with a decimal point or comma; None for other texts."""
    text = text.strip(CELL_MARKS)
    if len(text) > MAX_EPOCH_CHARACTERS or not NUMBER.fullmatch(text):
        return None
    return Decimal(text.upper().replace(",", ".").replace("D", "E"))


def count_ns(number: Decimal, unit: int = SECOND) -> int:
    """Return the instant of a number of units of so many ns, or of the ms, us or ns that it counts by its size.

    1e11 s is the year 5138. A negative number precedes the turn of a counter of 32 bits, of ms at most.
    """
    own = check_range(int(number * unit) + (2**32 * min(unit, 10**6) if number < 0 else 0))
    unit_by_size = next((ns for limit, ns in ((1e17, 1), (1e14, 1000), (1e11, 10**6)) if number >= limit), unit)
    return own if own != UNREADABLE else check_range(int(number * unit_by_size))


@dataclass(frozen=True, slots=True)
class NumberSystem:
    """A way to count time: what it counts in words, first and last number of the years that it is believed for.

    zero: the number at 1970. unit: ns of one. has_fraction: only numbers with decimals are believed. digits: of a
    second, that it keeps; None for all.
    """

    words: str
    first: Decimal
    last: Decimal
    zero: Decimal
    unit: int
    has_fraction: bool = False
    is_rounded_to_ms: bool = False
    has_zone: bool = False

    def instant(self, number: Decimal) -> int:
        """Return the instant of a number, ns since 1970."""
        ns = (number - self.zero) * self.unit
        return check_range(round(ns / 10**6) * 10**6 if self.is_rounded_to_ms else int(ns))


EXCEL_DAYS = NumberSystem(  # the 1900 date system counts days since 1899-12-30; the years 2000 to 2099
    "timestamps look like Excel dates (days since 1899-12-30) and are read as such", Decimal(36_526), Decimal(73_050),
    Decimal(25_569), DAY_S * SECOND, has_fraction=True, is_rounded_to_ms=True)
DAY_FRACTIONS = NumberSystem(
    "timestamps look like clock times of a spreadsheet (parts of a day) and are read as such", Decimal(0), Decimal(1),
    Decimal(0), DAY_S * SECOND, has_fraction=True, is_rounded_to_ms=True, has_zone=True)
# Systems that a number alone gives away, each for years in which s or ns since 1970 make no record of a plant.
NUMBER_SYSTEMS = (
    EXCEL_DAYS,
    NumberSystem("timestamps look like MATLAB's serial date numbers (days since year 0) and are read as such",
                 Decimal(730_486), Decimal(767_010), Decimal(719_529), DAY_S * SECOND, has_fraction=True,
                 is_rounded_to_ms=True),
    NumberSystem("timestamps look like Julian dates (days since 4713 BC) and are read as such", Decimal(2_451_545),
                 Decimal(2_488_069), Decimal("2440587.5"), DAY_S * SECOND, has_fraction=True, is_rounded_to_ms=True,
                 has_zone=True),
    NumberSystem("timestamps look like LabVIEW's (seconds since 1904) and are read as such",  # 2018 to 2034
                 Decimal(3_597_523_200), Decimal(4_102_444_800), Decimal(2_082_844_800), SECOND, has_zone=True),
    NumberSystem("timestamps look like .NET ticks (100 ns since year 1) and are read as such",  # 2000 to 2099
                 Decimal(630_822_816_000_000_000), Decimal(662_380_416_000_000_000),
                 Decimal(621_355_968_000_000_000), 100),
    NumberSystem("timestamps look like Windows file times (100 ns since 1601) and are read as such",  # 2000 to 2099
                 Decimal(125_911_584_000_000_000), Decimal(157_469_184_000_000_000),
                 Decimal(116_444_736_000_000_000), 100, has_zone=True),
)


_DAY_FRACTION = re.compile(r"[.,]\d{4}", re.ASCII)  # fewer digits of a day are minutes


def find_number_system(texts: Iterable[str]) -> NumberSystem | None:
    """Return the system in which all readable texts are numbers of believable years; None for s, ms, us or ns."""
    numbers = [text for text in texts if NUMBER.fullmatch(text)]
    values = [value for text in numbers if (value := parse_number(text)) is not None]
    if not values:
        return None
    least, most = min(values), max(values)
    has_fraction = any(_DAY_FRACTION.search(text) for text in numbers)
    if least >= 0 and most < 1 and _are_parts_of_a_day(values):
        return DAY_FRACTIONS
    return next((system for system in NUMBER_SYSTEMS if system.first <= least and most <= system.last
                 and (has_fraction or not system.has_fraction)), None)


def _are_parts_of_a_day(values: Sequence[Decimal]) -> bool:
    """Return whether the mean step is whole seconds as a part of a day, and no round number by itself."""
    step = float(max(values) - min(values)) / max(len(set(values)) - 1, 1)
    seconds = step * DAY_S
    return round(seconds) >= 1 and abs(seconds - round(seconds)) < 1e-3 * seconds and \
        abs(step - float(f"{step:.3g}")) > 1e-4 * step
