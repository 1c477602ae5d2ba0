"""Durations and times as people write them, converted exactly to and from whole nanoseconds, without floats.

Invalid text raises ValueError, whose message says what is wrong and, after a semicolon, what would be right.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

MS = 1_000_000  # ns
SECOND = 1_000_000_000  # ns
DAY = 86_400 * SECOND  # ns
DURATION_UNITS_NS = {"d": DAY, "h": 3_600 * SECOND, "m": 60 * SECOND, "s": SECOND, "ms": MS}  # ns
_SYMBOLS = (("d", "d"), ("h", "h"), ("m", "min"))  # as in the SI brochure, where `m` is the metre

# A hundred years: today plus any duration still fits the signed 64 bits of a timestamp.
LONGEST = 36_500 * DURATION_UNITS_NS["d"]  # ns
LAST_TIME = 2**63 - 1  # ns since 1970: the greatest signed 64-bit timestamp, in the year 2262
LAST_INSTANT = "2262-04-11T23:47:16.854775807Z"  # the same

DURATION_EXAMPLES = "write '500ms', '1s', '15m', '24h', '7d' or a number of seconds"
TIME_EXAMPLE = "2025-01-10T09:11:40Z"
TIME_EXAMPLES = f"write it as {TIME_EXAMPLE} or 2025-01-10T10:11:40+01:00, with at most nine decimals"

_PART = re.compile(r"([0-9]+)(?:\.([0-9]+))?(ms|s|m|h|d)")
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))?)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def parse_duration(value: str | int | float, *, zero: bool = False) -> int:
    """Return the nanoseconds of a duration such as `500ms`, `1.5` (seconds), `24h` or `1h30m`.

    Parameters
    ----------
    value : str, int or float
        A number without a unit is seconds.
    zero : bool
        Whether a duration of 0 is allowed.

    Raises
    ------
    ValueError
        `value` is not a duration, is finer than a nanosecond, or is longer than a hundred years.
    """
    text = _to_text(value)
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        text += "s"
    parts = list(_PART.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text or len(text) > 60:
        raise ValueError(f"invalid duration {_quote(value)}; {DURATION_EXAMPLES}")
    total = sum(_to_nanoseconds(part, value) for part in parts)
    if total > LONGEST:
        raise ValueError(f"duration {_quote(value)} is too long; give at most {format_duration(LONGEST)}")
    if total == 0 and not zero:
        raise ValueError(f"invalid duration {_quote(value)}; it must be greater than 0")
    return total


def format_duration(ns: int) -> str:
    """Return the shortest text that `parse_duration` reads back as ns: `15m`, `1.5s`, `500ms`."""
    if ns == 0:
        return "0s"
    for unit in ("d", "h", "m", "s"):
        if ns % DURATION_UNITS_NS[unit] == 0:
            return f"{ns // DURATION_UNITS_NS[unit]}{unit}"
    unit, size, digits = ("s", SECOND, 9) if ns >= SECOND else ("ms", MS, 6)
    if ns % size == 0:
        return f"{ns // size}{unit}"
    return f"{ns // size}.{ns % size:0{digits}d}".rstrip("0") + unit


def describe_duration(ns: float) -> str:
    """Return a text for people, rounded to three significant digits: `1.5 h`, `10.4 s`."""
    size, symbol = choose_largest_unit(ns)
    return f"{ns / size:.3g} {symbol}"


def describe_count(count: int, noun: str) -> str:
    """Return a number of things for people: `1 loop`, `1,200 loops`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def choose_largest_unit(ns: float) -> tuple[int, str]:
    """Return the size in ns and the symbol of the largest unit, from s to d, of which ns has at least two."""
    sizes = ((DURATION_UNITS_NS[key], symbol) for key, symbol in _SYMBOLS)
    return next(((size, symbol) for size, symbol in sizes if ns >= 2 * size), (SECOND, "s"))


def parse_time(text: str, now_ns: int) -> int:
    """Return the ns since 1970 of an RFC 3339 time.

    Parameters
    ----------
    text : str
        A time with up to nine decimals, a date, which is its midnight, or `now`. Without an offset it is in UTC.
    now_ns : int
        What `now` stands for, ns since 1970.

    Raises
    ------
    ValueError
        `text` is not such a time, or lies outside 1970 to 2262.
    """
    content = text.strip()
    if content.lower() == "now":
        return now_ns
    match = _TIME.fullmatch(content)
    if match is None:
        raise ValueError(f"invalid time {_quote(text)}; {TIME_EXAMPLES}, or 'now'")
    day, clock, decimals, sign, hours, minutes = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock or '00:00:00'}+00:00")
        if sign:
            if int(hours) > 23 or int(minutes) > 59:
                raise ValueError("an offset is at most 23:59")
            offset = timezone(timedelta(hours=int(hours), minutes=int(minutes)) * (1 if sign == "+" else -1))
            moment = moment.replace(tzinfo=offset)
    except ValueError as error:
        raise ValueError(f"invalid time {_quote(text)} ({error}); {TIME_EXAMPLES}") from None
    return _to_ns(moment) + int((decimals or "").ljust(9, "0"))


def format_time(ns: int) -> str:
    """Return the RFC 3339 text of a time, ns since 1970, with as many decimals as it needs; `parse_time` reads it."""
    seconds, decimals = divmod(ns, SECOND)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{decimals:09d}".rstrip("0") if decimals else "") + "Z"


def _to_ns(moment: datetime) -> int:
    """Return the ns since 1970 of a datetime with an offset; raise ValueError where it lies outside 1970 to 2262."""
    ns = (moment - _EPOCH) // timedelta(microseconds=1) * 1000
    if not 0 <= ns <= LAST_TIME - SECOND:
        raise ValueError(f"time {moment.isoformat()} cannot be stored; give a time between 1970 and 2262")
    return ns


def _to_text(value: str | int | float) -> str:
    """Return the digits of value, without an exponent."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"invalid duration {_quote(value)}; {DURATION_EXAMPLES}")
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int):
        if abs(value) > LONGEST:  # before str(), which refuses integers of thousands of digits
            raise ValueError(f"duration is too long; give at most {format_duration(LONGEST)}")
        return str(value)
    text = repr(float(value))
    if "e" in text:
        from decimal import Decimal

        text = format(Decimal(text), "f")
    return text


def _to_nanoseconds(part: re.Match[str], value: object) -> int:
    integer, decimals, unit = part.groups()
    decimals = (decimals or "").rstrip("0")
    scale: int = 10 ** len(decimals)
    ns, remainder = divmod(int(integer + decimals) * DURATION_UNITS_NS[unit], scale)
    if remainder:
        raise ValueError(f"duration {_quote(value)} is finer than a nanosecond; {DURATION_EXAMPLES}")
    return ns


def _quote(value: object) -> str:
    """Return value as Python writes it, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
