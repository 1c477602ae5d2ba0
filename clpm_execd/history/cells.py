"""What a cell of a record says, as a number: an instant, a value, a mode.

No text raises: what cannot be read is UNREADABLE as an instant, NaN as a value and UNKNOWN as a mode,
because a historian writes `Bad` or `I/O Timeout` where it has no value, and one such cell must not cost
the record.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from math import isfinite, nan

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import AUT, CAS, MAN, Floats

UNREADABLE = -1
UNKNOWN = -1

# Half of what int64 holds, so that sums and differences of two instants never overflow; it is the year 2116.
LATEST = 2**62

SECOND = 1_000_000_000

_DATE = r"(?P<date>\d{4}[-/]\d\d?[-/]\d\d?|\d\d?\.\d\d?\.\d{4})"
_CLOCK = r"(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9})\d*)?)?"
_ZONE = r"(?P<zone>[Zz]|[+-]\d\d:?\d\d)?"
_TIME = re.compile(rf"{_DATE}[Tt ]\s*{_CLOCK}\s*{_ZONE}", re.ASCII)
_EPOCH = re.compile(r"\d+(\.\d*)?(e\+?\d\d?)?", re.ASCII | re.IGNORECASE)

_MODES = dict.fromkeys(("AUT", "AUTO", "AUTOMATIC", "A", "1", "TRUE"), AUT)
_MODES |= dict.fromkeys(("MAN", "MANUAL", "M", "IMAN", "LO", "0", "FALSE"), MAN)
_MODES |= dict.fromkeys(("CAS", "CASCADE", "C", "2", "RCAS", "3"), CAS)


@lru_cache(maxsize=4096)
def _day(text: str) -> int | None:
    """Midnight of a date, s since 1970; year first, or, with points, day first."""
    parts = [int(part) for part in re.split(r"[-/.]", text)]
    if "." in text:
        parts.reverse()
    try:
        return (date(*parts).toordinal() - 719_163) * 86_400
    except ValueError:
        return None


def _epoch(text: str) -> int:
    """Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their size."""
    if len(text) > 40 or not _EPOCH.fullmatch(text):
        return UNREADABLE
    number = Decimal(text)
    unit = next((unit for limit, unit in ((1e11, SECOND), (1e14, 10**6), (1e17, 1000)) if number < limit), 1)
    return int(number * unit)


def _calendar(match: re.Match[str]) -> int:
    day_text, hour, minute, second, fraction, zone = match.groups()
    day = _day(day_text)
    seconds = int(second or 0)
    if day is None or int(hour) > 23 or int(minute) > 59 or seconds > 60:
        return UNREADABLE
    seconds += day + 3600 * int(hour) + 60 * int(minute)
    if zone and zone not in "Zz":
        offset = 3600 * int(zone[1:3]) + 60 * int(zone[-2:])
        seconds -= -offset if zone[0] == "-" else offset
    return seconds * SECOND + (int(fraction.ljust(9, "0")) if fraction else 0)


def instants(texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], bool]:
    """Each text as ns since 1970 or UNREADABLE; and whether any had no zone and was taken as UTC."""
    found = np.empty(len(texts), np.int64)
    zoneless = False
    for i, text in enumerate(texts):
        text = text.strip()
        match = _TIME.fullmatch(text)
        time = _epoch(text) if match is None else _calendar(match)
        zoneless = zoneless or (match is not None and not match["zone"])
        found[i] = time if 0 <= time < LATEST else UNREADABLE
    return found, zoneless


def _number(text: str, decimal_comma: bool) -> float:
    if decimal_comma and "," in text:
        text = text.replace(".", "").replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return nan


def numbers(texts: Sequence[str], *, decimal_comma: bool) -> Floats:
    """Each text as a finite number or NaN."""
    try:
        values = np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        values = np.fromiter((_number(text, decimal_comma) for text in texts), np.float64, len(texts))
    values[~np.isfinite(values)] = nan
    return values


def mode(text: str) -> int:
    """The mode a text means, as the index into MODES, or UNKNOWN."""
    text = text.strip().upper()
    if text in _MODES:
        return _MODES[text]
    number = _number(text, False)
    return _MODES.get(str(int(number)), UNKNOWN) if isfinite(number) and number == int(number) else UNKNOWN
