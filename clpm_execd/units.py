"""Durations and times as people write them, in whole nanoseconds and exactly: no float is between.

What cannot be read raises ValueError with a message that says what is wrong and what would be right.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

MS = 1_000_000  # ns
SECOND = 1_000_000_000  # ns
DAY = 86_400 * SECOND
UNITS = {"d": DAY, "h": 3_600 * SECOND, "m": 60 * SECOND, "s": SECOND, "ms": MS}
_SYMBOLS = (("d", "d"), ("h", "h"), ("m", "min"))  # the SI brochure's; `m` is the meter there

# A hundred years: any instant of today plus any duration still fits the signed 64 bits of a timestamp.
LONGEST = 36_500 * UNITS["d"]
LAST_TIME = 2**63 - 1

EXAMPLES = "write '500ms', '1s', '15m', '24h', '7d' or a number of seconds"
TIME_EXAMPLE = "2025-01-10T09:11:40Z"
TIME_EXAMPLES = f"write it as {TIME_EXAMPLE}, with an offset and at most nine decimals"

_PART = re.compile(r"([0-9]+)(?:\.([0-9]+))?(ms|s|m|h|d)")
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def parse_duration(value: str | int | float, *, zero: bool = False) -> int:
    """ns of a duration such as `500ms`, `1.5` (seconds), `24h`, `1h30m`; more than 0, or also 0 where `zero`."""
    text = _plain(value)
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        text += "s"
    parts = list(_PART.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text or len(text) > 60:
        raise ValueError(f"{_shown(value)} is no duration; {EXAMPLES}")
    total = sum(_nanoseconds(part, value) for part in parts)
    if total > LONGEST:
        raise ValueError(f"{_shown(value)} is too long; the longest duration is {format_duration(LONGEST)}")
    if total == 0 and not zero:
        raise ValueError(f"{_shown(value)} is no time at all; a duration is more than 0")
    return total


def format_duration(ns: int) -> str:
    """Return the shortest text that `parse_duration` reads back as ns: `15m`, `1.5s`, `500ms`."""
    if ns == 0:
        return "0s"
    for unit in ("d", "h", "m", "s"):
        if ns % UNITS[unit] == 0:
            return f"{ns // UNITS[unit]}{unit}"
    unit, size, digits = ("s", SECOND, 9) if ns >= SECOND else ("ms", MS, 6)
    if ns % size == 0:
        return f"{ns // size}{unit}"
    return f"{ns // size}.{ns % size:0{digits}d}".rstrip("0") + unit


def human_duration(ns: float) -> str:
    """Return a text for people, rounded to three significant digits: `1.5 h`, `10.4 s`."""
    size, symbol = largest_unit(ns)
    return f"{ns / size:.3g} {symbol}"


def largest_unit(ns: float) -> tuple[int, str]:
    """Return the size in ns and the symbol of the largest unit, from s to d, of which ns has at least two."""
    return next(((UNITS[key], symbol) for key, symbol in _SYMBOLS if ns >= 2 * UNITS[key]), (SECOND, "s"))


def parse_time(text: str, now_ns: int) -> int:
    """ns since 1970 of an RFC 3339 time with up to nine decimals and an offset; `now` is now_ns."""
    stripped = text.strip()
    if stripped.lower() == "now":
        return now_ns
    match = _TIME.fullmatch(stripped)
    if match is None:
        raise ValueError(f"{_shown(text)} is no time; {TIME_EXAMPLES}, or 'now'")
    day, clock, decimals, _, sign, hours, minutes = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}+00:00")
        if sign:
            offset = timezone(timedelta(hours=int(hours), minutes=int(minutes)) * (1 if sign == "+" else -1))
            if int(minutes) > 59:
                raise ValueError("an offset has at most 59 minutes")
            moment = moment.replace(tzinfo=offset)
    except ValueError as error:
        raise ValueError(f"{_shown(text)} is no time ({error}); {TIME_EXAMPLES}") from None
    return time_of(moment) + int((decimals or "").ljust(9, "0"))


def time_of(moment: datetime) -> int:
    """ns since 1970 of a datetime with an offset."""
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError(f"{moment.isoformat()} has no offset; {TIME_EXAMPLES}")
    ns = (moment - _EPOCH) // timedelta(microseconds=1) * 1000
    if not 0 <= ns <= LAST_TIME - SECOND:
        raise ValueError(f"{moment.isoformat()} cannot be stored; times lie between 1970 and 2262")
    return ns


def _plain(value: str | int | float) -> str:
    """The digits of value, without an exponent."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{_shown(value)} is no duration; {EXAMPLES}")
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int):
        if abs(value) > LONGEST:  # before str(), which refuses integers of thousands of digits
            raise ValueError(f"the number is too large; {EXAMPLES}")
        return str(value)
    text = repr(float(value))
    if "e" in text:
        from decimal import Decimal

        text = format(Decimal(text), "f")
    return text


def _nanoseconds(part: re.Match[str], value: object) -> int:
    whole, decimals, unit = part.groups()
    decimals = (decimals or "").rstrip("0")
    scale: int = 10 ** len(decimals)
    ns, rest = divmod(int(whole + decimals) * UNITS[unit], scale)
    if rest:
        raise ValueError(f"{_shown(value)} is finer than a nanosecond; {EXAMPLES}")
    return ns


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
