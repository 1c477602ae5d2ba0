"""Lines of pairs of name and value (`PV:49.8, OP:37.1`, `pv=49.8 op=37.1`, an object of JSON), rewritten as a table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

CHECKED_LINES = 50  # of the beginning
MIN_FRACTION = 0.9  # of them: the others are empty, cut off, or greet the user
MIN_NAME_FRACTION = 0.1  # of the lines of pairs that have a name: signals may have lines of their own
MIN_NUMBERS = 2  # of the values of a line: one of them is PV, another OP; an object of JSON may have one value only
# A name begins the line, or stands behind something that separates it from the value before.
_NAME = re.compile(r"(?:^|(?<=[\s,;|{]))\"?([^\W\d][\w.\-]*)\"?\s*[:=](?!=)")
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d*)?(?:[eE][+-]?\d+)?(?:\s*[^\d\s:\-][^\d\s:]*\d?(?:/\w+)?)?")  # and its unit
_AROUND = " \t\r\n,;|{}[]<>/\"'"
_TIME_BEHIND = re.compile(r"(?<=[\d\"iu])\s+(\d{10,19})\s*$")  # since 1970, as line protocol has it
# Of a log, whose words behind it are left out: 2025-01-10 09:11:40.2, Jan 10 09:11:40, 10/Jan/2025:09:11:40 +0100.
_TIME_BEFORE = re.compile(r"(?:[\d/]*\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*)?[\d\s.,:/T-]*\d"
                          r"(?:Z|\s?[+-]\d\d:?\d\d)?\b", re.IGNORECASE)
# A metric, its value and time, as Prometheus, OpenMetrics and Graphite write them: pv{loop="FIC101"} 49.8 1736500300.
_METRIC = re.compile(r"([A-Za-z_][\w:.\-]*(?:\{.*\})?)\s+(\S+)\s+(\d{9,19}(?:\.\d+)?)\s*")
_INTEGER = re.compile(r"([+-]?\d+)[iu]")  # of line protocol


@dataclass(frozen=True, slots=True)
class PairSeparator:
    """What separates pairs. names: in the order of the lines; one may be empty, for what precedes the pairs."""

    names: tuple[str, ...]

    def split(self, line: str) -> list[str]:
        """Return the values of a line in the order of the names; none of a line without pairs."""
        values = _split_pairs(line)
        return [values.get(name, "") for name in self.names] if len(values) > 1 else []


def _split_pairs(line: str) -> dict[str, str]:
    """Return the values by their names; what precedes the first name has an empty one, and a comment nothing."""
    if match := _METRIC.fullmatch(line):
        return {"name": match[1], "value": match[2], "time": match[3]}
    if line.startswith("#"):
        return {}
    names = list(_NAME.finditer(line))
    time = _TIME_BEHIND.search(line) if names else None
    starts = [match.start() for match in names] + [time.start() if time else len(line)]
    pairs = {match[1]: _INTEGER.sub(r"\1", line[match.end():end].strip(_AROUND))
             for match, end in zip(names, starts[1:], strict=True)}
    before = line[:starts[0]].strip(_AROUND + "-")
    before = time_before[0] if (time_before := _TIME_BEFORE.match(before)) else before
    return ({"": before} if before else {}) | pairs | ({"time": time[1]} if time else {})


def find_pair_separator(lines: Sequence[str]) -> PairSeparator | None:
    """Return the names where most lines are pairs, with numbers among them and names that return; else None."""
    rows = [line for line in lines if line.strip(_AROUND) and not line.startswith("#")]
    checked = rows[:CHECKED_LINES]
    pairs = [one for line in checked if _has_numbers(one := _split_pairs(line), 1 if line[0] == "{" else MIN_NUMBERS)]
    counts = Counter(name for one in pairs for name in one)
    if len(pairs) < MIN_FRACTION * len(checked) or min(counts.values(), default=0) < MIN_NAME_FRACTION * len(pairs):
        return None
    return PairSeparator(tuple(dict.fromkeys(name for line in rows for name in _split_pairs(line))))


def _has_numbers(pairs: dict[str, str], count: int) -> bool:
    return sum(bool(name) and _NUMBER.fullmatch(value) is not None for name, value in pairs.items()) >= count
