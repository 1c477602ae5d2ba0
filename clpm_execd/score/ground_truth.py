"""The truth as it was streamed, read again: from line protocol, from long CSV, from what a query of the bucket answers.

A row holds until the loop's and fault's next, for there is one at every change and each minute. Where the rows of the
whole stream stop for longer, nobody watched: that time is left out, and no state lasts through it. The loops are those
whose samples are beside the truth; where there are none, those with a row of the truth.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from statistics import median

from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.faults.episodes import Episode, Episodes
from clpm_execd.problems import BadInput, Problem
from clpm_execd.score.time_intervals import Stretches, intersection, union
from clpm_execd.units import parse_time

HEARTBEAT = 60 * 10**9  # ns between rows where nothing changes
_PRESENT, _VISIBLE, _CONTROL, _IN_FORCE = 1, 2, 4, 8
_BITS = {"present": _PRESENT, "visible": _VISIBLE, "control": _CONTROL}
_TRUE = ("true", "t", "1")
_REMEDY = "stream or generate with `truth = true` under [output], as line protocol or csv"


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """What was the matter with which loop, from when to when; `pandas.DataFrame(list(truth.episodes))` tabulates it.

    episodes: in order of loop, fault and time, those of negative controls among them. watched: of each loop the time
    that is known of, ns. whole: whether the loops without a fault are known too.
    """

    episodes: tuple[Episode, ...]
    watched: Mapping[str, Stretches]
    whole: bool = True

    def within(self, start: int | None, end: int | None) -> GroundTruth:
        """The same of [start, end) only, ns; None leaves that side open."""
        if start is None and end is None:
            return self
        limits = ((start if start is not None else 0, end if end is not None else 2**63),)
        cut = {loop: kept for loop, parts in self.watched.items() if (kept := intersection(parts, limits))}
        return GroundTruth(self.episodes, cut, self.whole)

    def joined(self, loops: Iterable[str]) -> GroundTruth:
        """The same with further loops, healthy ones, watched whenever another was."""
        ever = union(part for parts in self.watched.values() for part in parts)
        return GroundTruth(self.episodes, {**dict.fromkeys(loops, ever), **self.watched}, self.whole)


def read_truth(source: str | Path | Iterable[str]) -> GroundTruth:
    """The truth in a file (`.gz` or not), or in the lines of one.

    Line protocol or long CSV as this program, Telegraf or a Flux query write it. Raises BadInput where the file cannot
    be read, or holds no truth, or a row that is none.
    """
    if isinstance(source, str | Path):
        return _read_file(Path(source))
    return _read(source, "the truth")


def _read_file(path: Path) -> GroundTruth:
    try:
        with path.open("rb") as probe:
            zipped = probe.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="") if zipped else \
                path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
            return _read(lines, str(path))
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise _bad(str(path), "the gzip file is damaged", "copy or compress it again") from None
    except OSError as error:
        raise _bad(str(path), f"cannot be read: {error.strerror}", "name a file that holds the truth") from None


def _bad(where: str, what: str, remedy: str) -> BadInput:
    return BadInput([Problem(where, what, remedy)])


def _read(lines: Iterable[str], where: str) -> GroundTruth:
    """By the first line that says anything: a table's header, or a point."""
    rest = iter(lines)
    first = next((line for line in rest if line.strip("\r\n") and not line.startswith("# ")), "")
    told = _Told(where)
    if re.match(r'#(datatype|group|default)|"?(,|_time|result|table)', first):
        told.take_csv(first, rest)
    elif re.match(r"time,loop_id,", first):
        raise _bad(where, "wide CSV does not tell which fault is visible", _REMEDY)
    else:
        told.take_lines(first, rest)
    return told.truth()


@dataclass(slots=True)
class _Told:
    """Rows as they come: states by loop and fault and time, and where samples begin and end."""

    where: str
    states: dict[tuple[str, str], dict[int, int]] = field(default_factory=dict)
    severities: dict[tuple[str, str], float] = field(default_factory=dict)
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)

    def take_lines(self, first: str, rest: Iterator[str]) -> None:
        """Line protocol. Of samples only the first and last line of each series is looked into."""
        firsts: dict[str, str] = {}
        lasts: dict[str, str] = {}
        for number, line in enumerate(_chain(first, rest), 1):
            if "loop_id=" not in line:
                continue
            if ",fault=" in line:
                self._take_point(line, f"{self.where}: line {number}")
            else:
                series = line[:line.index(" ")] if " " in line else line
                lasts[series] = line
                firsts.setdefault(series, line)
        for line in (*firsts.values(), *lasts.values()):
            try:
                tags, _, time = _point(line)
            except ValueError:
                raise _strange(line, self.where) from None
            self._see(tags.get("loop_id", ""), time)

    def _take_point(self, line: str, where: str) -> None:
        try:
            tags, fields, time = _point(line)
            for name, text in fields.items():
                self._tell(tags["loop_id"], tags["fault"], time, name, text)
        except (KeyError, ValueError):
            raise _strange(line, where) from None

    def take_csv(self, first: str, rest: Iterator[str]) -> None:
        """Tables of one value a row, each with a header of its own; a row without a fault is a sample."""
        try:
            self._take_rows(csv.reader(_chain(first, rest)))
        except csv.Error as error:
            raise _bad(self.where, f"is no CSV ({error})", _REMEDY) from None

    def _take_rows(self, rows: Iterable[list[str]]) -> None:
        header: dict[str, int] | None = None
        fresh = True
        for number, row in enumerate(rows, 1):
            if not any(row) or row[0].startswith("#"):
                fresh = True
            elif fresh and "_time" in row:
                header, fresh = {name: i for i, name in enumerate(row)}, False
                if "loop_id" not in header:
                    raise _bad(self.where, "has no column loop_id", _REMEDY)
            elif header is not None:
                fresh = False
                self._take_row(header, row, number)

    def _take_row(self, header: Mapping[str, int], row: list[str], number: int) -> None:
        try:
            loop, time = row[header["loop_id"]], _time(row[header["_time"]])
            fault = row[header["fault"]] if "fault" in header else ""
            if fault:
                self._tell(loop, fault, time, row[header["_field"]], row[header["_value"]])
            else:
                self._see(loop, time)
        except (KeyError, IndexError, ValueError):
            raise _bad(f"{self.where}: line {number}", f"{','.join(row)[:60]!r} is no row of the stream",
                       "give long CSV with _time, loop_id, fault, _field and _value") from None

    def _see(self, loop: str, time: int) -> None:
        if loop:
            first, last = self.seen.get(loop, (time, time))
            self.seen[loop] = min(first, time), max(last, time)

    def _tell(self, loop: str, fault: str, time: int, name: str, text: str) -> None:
        states = self.states.setdefault((loop, fault), {})
        state = states.get(time, 0)
        if name == "severity":
            severity = float(text)
            self.severities[loop, fault] = max(self.severities.get((loop, fault), 0.0), severity)
            state |= _IN_FORCE if severity > 0.0 else 0
        elif name in _BITS and text.lower() in _TRUE:
            state |= _BITS[name]
        states[time] = state

    def truth(self) -> GroundTruth:
        """All that was told, as episodes."""
        strange = [fault for _, fault in self.states if fault not in FAULTS]
        if strange:
            raise _bad(self.where, f"{strange[0]!r} is no fault that this program knows", "read it with the version "
                                                                                          "that wrote it")
        if not self.states and not self.seen:
            raise _bad(self.where, "holds no truth", _REMEDY)
        times = sorted({time for states in self.states.values() for time in states})
        if not times:
            raise _bad(self.where, "holds samples and no truth about them", _REMEDY)
        beat = max(HEARTBEAT, round(median([after - time for time, after in pairwise(times)] or [0])))
        alive = _alive(times, beat)
        whole = bool(self.seen)
        watched = {loop: intersection(((first, last),), alive) for loop, (first, last) in sorted(self.seen.items())}
        for loop, _ in sorted(self.states):
            watched.setdefault(loop, intersection(((times[0], times[-1]),), alive))
        found: list[Episode] = []
        for (loop, fault), states in sorted(self.states.items()):
            found += self._episodes(loop, fault, states, alive, times[-1] + beat)
        return GroundTruth(tuple(found), watched, whole)

    def _episodes(self, loop: str, fault: str, states: Mapping[int, int], alive: Stretches, end: int) -> list[Episode]:
        """Of one loop and fault; where the stream was not alive, every state ends."""
        told = Episodes()
        severity = self.severities.get((loop, fault), 1.0)
        gaps = iter([stop for _, stop in alive])
        stop = next(gaps)
        for time in sorted(states):
            while time >= stop:
                told.end(stop, loop, fault)
                stop = next(gaps, end)
            state = states[time]
            control = bool(state & _CONTROL) or FAULTS[fault].is_control
            # A negative control is never present: that it is in force shows in its severity only.
            told.tell(time, loop, fault, control=control, there=bool(state & (_IN_FORCE if control else _PRESENT)),
                      visible=bool(state & _VISIBLE), severity=severity)
        return told.until(stop)


def _alive(times: list[int], beat: int) -> Stretches:
    """When the stream told the truth; a row speaks for two beats at most."""
    return union((time, after if after - time <= 2 * beat else time + beat)
                 for time, after in pairwise([*times, times[-1] + beat]))


@lru_cache(maxsize=65_536)
def _time(text: str) -> int:
    """ns since 1970; a table tells each instant many times."""
    return parse_time(text, 0)


def _point(line: str) -> tuple[dict[str, str], dict[str, str], int]:
    """Tags, fields and time of a line; ValueError where it is none."""
    head, fields, stamp = re.split(r"(?<!\\) ", line.strip())
    _, tags = re.split(r"(?<!\\),", head, maxsplit=1)
    return dict(_pairs(tags)), dict(_pairs(fields)), int(stamp)


def _strange(line: str, where: str) -> BadInput:
    return _bad(where, f"{line.strip()[:60]!r} is no line of the stream",
                "give what this program or Telegraf wrote, whole lines with times in ns")


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Keys and values of tags or fields, unescaped."""
    if "\\" not in text:
        for pair in text.split(","):
            key, _, value = pair.partition("=")
            yield key, value
        return
    for pair in re.split(r"(?<!\\),", text):
        key, value = re.split(r"(?<!\\)=", pair, maxsplit=1)
        yield re.sub(r"\\([,= ])", r"\1", key), re.sub(r"\\([,= ])", r"\1", value)


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest
