"""The ground truth as it was streamed, read from line protocol, from long CSV or from the answer to a query.

A row holds until the next row of its loop and fault, because the stream writes one at every change and each minute. If
there is no row of any loop for longer, the stream was off: that time is not observed, and no state lasts through it.
The loops are those with samples next to the ground truth; without samples, those with a row of the ground truth.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from statistics import median

from clpm_execd.paths import list_compression_errors, open_decompressed
from clpm_execd.plant.block import AFFECTED
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.truth.episodes import Episode, EpisodeCollector
from clpm_execd.problems import BadInput, Problem
from clpm_execd.score.time_intervals import TimeIntervals, intersection, union
from clpm_execd.score.truth_table import COLUMNS as TRUTH_TABLE_COLUMNS
from clpm_execd.score.truth_table import parse_truth_table
from clpm_execd.units import LAST_TIME, SECOND, parse_time

HEARTBEAT = 60 * SECOND  # ns between rows when nothing changes: that of encoding/truth_rows.py
_PRESENT, _VISIBLE, _CONTROL, _ACTIVE = 1, 2, 4, 8
_BITS = {"present": _PRESENT, "visible": _VISIBLE, "control": _CONTROL}
_FIELDS = {*_BITS, "severity", "cause"}
_TRUE, _FALSE = ("true", "t", "1"), ("false", "f", "0")
_QUOTED_FIELD = re.compile(r'([ ,])(cause|path)="((?:[^"\\]|\\.)*)"(,?)')
_MAX_QUOTED = 60  # characters of a wrong line that an error shows
_MAX_LINE = 1_000_000  # characters: a line of Telegraf or of a query has thousands at most
_CACHED_TIMES = 65_536  # a table repeats each time once per loop, fault and field
_REMEDY = "stream or generate with `truth = true` under [output], as line protocol or csv"


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """Which fault was in which loop, from when to when; `pandas.DataFrame(list(truth.episodes))` tabulates it.

    Attributes
    ----------
    episodes : tuple of Episode
        In order of loop, fault and time; those of negative controls are among them.
    observation : mapping of str to tuple of (int, int)
        For each loop the time that the ground truth covers, as half-open intervals, ns since 1970.
    has_samples : bool
        Whether samples came with the ground truth, so that loops without a fault are known too.
    """

    episodes: tuple[Episode, ...]
    observation: Mapping[str, TimeIntervals]
    has_samples: bool = True

    def clip(self, start: int | None, end: int | None) -> GroundTruth:
        """Return the ground truth of [start, end) only, ns since 1970; None leaves that side open."""
        if start is None and end is None:
            return self
        limits = ((start if start is not None else 0, end if end is not None else LAST_TIME),)
        observation = {loop: part for loop, parts in self.observation.items() if (part := intersection(parts, limits))}
        return GroundTruth(self.episodes, observation, self.has_samples)

    def with_healthy_loops(self, loops: Iterable[str]) -> GroundTruth:
        """Return the ground truth with further loops, without faults and observed whenever another loop is."""
        all_time = union(part for parts in self.observation.values() for part in parts)
        return GroundTruth(self.episodes, {**dict.fromkeys(loops, all_time), **self.observation}, self.has_samples)


def read_truth(source: str | Path | Iterable[str]) -> GroundTruth:
    """Return the ground truth in a file or in the lines of one.

    Parameters
    ----------
    source : str, Path or iterable of str
        A file, compressed with gzip, Zstandard or not at all, or lines: line protocol or long CSV as this program,
        Telegraf or a query in Flux writes it, or CSV with a column `_time` and a column per field as SQL gives it.

    Raises
    ------
    BadInput
        The file cannot be read, holds no ground truth, or has an invalid row.
    """
    if isinstance(source, str | Path):
        return _read_file(Path(source))
    return _read(source, "the ground truth")


def _read_file(path: Path) -> GroundTruth:
    try:
        if path.is_char_device():
            raise _bad_input(str(path), "is a device", "name a file with ground truth")
        with io.TextIOWrapper(open_decompressed(path), "utf-8-sig", errors="replace", newline="") as file:
            return _read(_read_lines(file, str(path)), str(path))
    except list_compression_errors():
        raise _bad_input(str(path), "the compressed file is damaged", "copy or compress it again") from None
    except OSError as error:
        raise _bad_input(str(path), f"cannot be read: {error.strerror}", "name a file with ground truth") from None


def _read_lines(file: io.TextIOWrapper, where: str) -> Iterator[str]:
    """Yield the lines of a file; one that does not end would fill the memory."""
    for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE), ""), 1):
        if len(line) == _MAX_LINE:
            raise _bad_input(f"{where}: line {number}", f"has {_MAX_LINE:,} characters or more", _REMEDY)
        yield line


def _bad_input(where: str, what: str, remedy: str) -> BadInput:
    return BadInput([Problem(where, what, remedy)])


def _read(lines: Iterable[str], where: str) -> GroundTruth:
    """Read CSV or line protocol, whichever the first line is that is neither empty nor a comment."""
    remainder = iter(lines)
    first = next((line for line in remainder if line.strip("\r\n") and not line.startswith("# ")), "")
    rows = _Rows(where)
    try:
        if re.match(r'#(datatype|group|default)|"?(,|_time|result|table)', first):
            rows.read_csv(first, remainder)
        elif first.startswith(",".join(TRUTH_TABLE_COLUMNS[:4])):
            return _read_table(first, remainder, where)
        elif re.match(r"time,loop_id,", first):
            rows.read_wide(first, remainder)
        else:
            rows.read_lines(first, remainder)
    except csv.Error as error:
        raise _bad_input(where, f"is not CSV ({error})", _REMEDY) from None
    return rows.ground_truth()


def _read_table(first: str, remainder: Iterator[str], where: str) -> GroundTruth:
    """Read a table of episodes."""
    reader = csv.DictReader(_chain(first, remainder))
    try:
        return GroundTruth(*parse_truth_table(reader))
    except (KeyError, TypeError, ValueError) as error:
        raise _bad_input(f"{where}: line {reader.line_num}", f"invalid row ({error})",
                         "give truth.csv as `clpm-execd benchmark data` writes it") from None


@dataclass(slots=True)
class _Rows:
    """What the rows say: states by loop and fault and time, greatest severities, and the first and last sample."""

    where: str
    states: dict[tuple[str, str], dict[int, int]] = field(default_factory=dict)
    severities: dict[tuple[str, str], float] = field(default_factory=dict)
    sampled: dict[str, tuple[int, int]] = field(default_factory=dict)
    sample_times: set[int] = field(default_factory=set)  # of wide CSV, in which every sample has the ground truth
    causes: dict[tuple[str, str, int], str] = field(default_factory=dict)

    def read_lines(self, first: str, remainder: Iterator[str]) -> None:
        """Read line protocol in any order. Of the samples only the first and last of each series is parsed."""
        extremes: dict[str, tuple[tuple[int, str], tuple[int, str]]] = {}  # by series: time and line, first and last
        for number, line in enumerate(_chain(first, remainder), 1):
            if "loop_id=" not in line:
                continue
            if ",fault=" in line:
                self._add_truth_line(line, f"{self.where}: line {number}")
                continue
            try:
                series, _, stamp = line.rstrip().rsplit(" ", 2)
                sample = int(stamp), line
            except ValueError:
                raise _invalid_line(line, f"{self.where}: line {number}") from None
            first_sample, last_sample = extremes.get(series, (sample, sample))
            extremes[series] = min(first_sample, sample), max(last_sample, sample)
        for samples in extremes.values():
            for _, line in samples:
                try:
                    tags, _, time = _parse_line(line)
                except ValueError:
                    raise _invalid_line(line, self.where) from None
                self._add_sample(tags.get("loop_id", ""), time)

    def _add_truth_line(self, line: str, where: str) -> None:
        try:
            tags, fields, time = _parse_line(line)
            for name, text in fields.items():
                self._add_value(tags["loop_id"], tags["fault"], time, name, text)
        except (KeyError, ValueError):
            raise _invalid_line(line, where) from None

    def read_wide(self, first: str, remainder: Iterator[str]) -> None:
        """Read wide CSV, whose rows name the faults that are present and say whether one is visible.

        It does not have the severity, nor negative controls. Where several faults are present and some are visible, it
        does not say which: that is an error.
        """
        cells_by_loop: dict[str, dict[int, tuple[str, str]]] = {}
        reader = csv.DictReader(_chain(first, remainder))
        if not {"fault", "visible"} <= set(reader.fieldnames or ()):
            raise _bad_input(self.where, "wide CSV does not say which fault is visible: no columns fault and visible",
                             _REMEDY)
        for row in reader:
            where = f"{self.where}: line {reader.line_num}"
            try:
                time, fault, visible = _parse_time(row["time"]), row["fault"], row["visible"].lower()
            except (AttributeError, TypeError, ValueError):
                raise _bad_input(where, "invalid row", "give wide CSV as `generate --format wide` writes it") from None
            if "+" in fault and visible in _TRUE:
                raise _bad_input(where, f"does not say which of {fault} is visible", _REMEDY)
            cells_by_loop.setdefault(row["loop_id"], {})[time] = fault, visible
            self._add_sample(row["loop_id"], time)
            self.sample_times.add(time)
        for loop, cells in cells_by_loop.items():
            self._add_wide_states(loop, cells)

    def _add_wide_states(self, loop: str, cells: Mapping[int, tuple[str, str]]) -> None:
        """Add the states of a loop where they change; cells: at each time the faults and whether one is visible."""
        previous, before = ("", ""), set[str]()
        for time in sorted(cells):
            if cells[time] == previous:
                continue
            fault, visible = previous = cells[time]
            present = set(fault.split("+")) - {""}
            state = _PRESENT | _ACTIVE | (_VISIBLE if visible in _TRUE else 0)
            for name in present | before:
                self.states.setdefault((loop, name), {})[time] = state if name in present else 0
            before = present

    def read_csv(self, first: str, remainder: Iterator[str]) -> None:
        """Read tables of one value or one point a row, each with its header; a row without a fault is a sample."""
        header: dict[str, int] | None = None
        is_table_start = True
        for number, row in enumerate(csv.reader(_chain(first, remainder)), 1):
            if not any(row) or row[0].startswith("#"):
                is_table_start = True
            elif is_table_start and "_time" in row:
                header, is_table_start = {name: i for i, name in enumerate(row)}, False
                if "loop_id" not in header:
                    raise _bad_input(self.where, "has no column loop_id", _REMEDY)
            elif header is not None:
                is_table_start = False
                self._add_row(header, row, number)

    def _add_row(self, header: Mapping[str, int], row: list[str], number: int) -> None:
        try:
            loop, time = row[header["loop_id"]], _parse_time(row[header["_time"]])
            fault = row[header["fault"]] if "fault" in header else ""
            if not fault:
                self._add_sample(loop, time)
            elif "_field" in header:
                self._add_value(loop, fault, time, row[header["_field"]], row[header["_value"]])
            else:
                for name in header.keys() & _FIELDS:
                    if row[header[name]]:
                        self._add_value(loop, fault, time, name, row[header[name]])
        except (KeyError, IndexError, ValueError):
            raise _bad_input(f"{self.where}: line {number}", f"invalid row {','.join(row)[:_MAX_QUOTED]!r}",
                             "give CSV with _time, loop_id, fault and either _field and _value or a column per field"
                             ) from None

    def _add_sample(self, loop: str, time: int) -> None:
        if loop:
            first, last = self.sampled.get(loop, (time, time))
            self.sampled[loop] = min(first, time), max(last, time)

    def _add_value(self, loop: str, fault: str, time: int, name: str, text: str) -> None:
        states = self.states.setdefault((loop, fault), {})
        state = states.get(time, 0)
        if name == "severity":
            severity = float(text)
            if not 0.0 <= severity <= 1.0:
                raise ValueError(f"a severity of {text}")
            self.severities[loop, fault] = max(self.severities.get((loop, fault), 0.0), severity)
            state |= _ACTIVE if severity > 0.0 else 0
        elif name == "cause":
            self.causes[loop, fault, time] = text
        elif name in _BITS:
            state |= _BITS[name] if _parse_boolean(text) else 0
        states[time] = state

    def ground_truth(self) -> GroundTruth:
        """Return the rows as episodes."""
        unknown = [fault for _, fault in self.states if fault not in FAULTS and fault != AFFECTED]
        if unknown:
            raise _bad_input(self.where, f"unknown fault {unknown[0]!r}", "read it with the version that wrote it")
        if not self.states and not self.sampled:
            raise _bad_input(self.where, "holds no ground truth", _REMEDY)
        times = sorted(self.sample_times.union(*self.states.values()) if self.states else ())
        if not times:
            raise _bad_input(self.where, "holds samples without ground truth", _REMEDY)
        spacing = max(HEARTBEAT, round(median([after - time for time, after in pairwise(times)] or [0])))
        streaming = _streaming_time(times, spacing)
        observation = {loop: intersection(((first, last),), streaming)
                       for loop, (first, last) in sorted(self.sampled.items())}
        for loop, _ in sorted(self.states):
            observation.setdefault(loop, intersection(((times[0], times[-1]),), streaming))
        episodes: list[Episode] = []
        for (loop, fault), states in sorted(self.states.items()):
            episodes += self._episodes(loop, fault, states, streaming, times[-1] + spacing)
        return GroundTruth(tuple(episodes), observation, bool(self.sampled))

    def _episodes(self, loop: str, fault: str, states: Mapping[int, int], streaming: TimeIntervals, end: int
                  ) -> list[Episode]:
        """Return the episodes of one loop and fault; when the stream stops, every state ends."""
        episodes = EpisodeCollector()
        severity = self.severities.get((loop, fault), 1.0)
        stops = iter([stop for _, stop in streaming])
        stop = next(stops)
        for time in sorted(states):
            while time >= stop:
                episodes.end(stop, loop, fault)
                stop = next(stops, end)
            state = states[time]
            is_control = bool(state & _CONTROL) or (fault in FAULTS and FAULTS[fault].is_control)
            # A negative control is never present: only its severity says that it is active.
            is_active = bool(state & (_ACTIVE if is_control else _PRESENT))
            episodes.update(time, loop, fault, is_control=is_control, is_active=is_active,
                            is_visible=bool(state & _VISIBLE), severity=severity,
                            cause=self.causes.get((loop, fault, time), ""))
        return episodes.finish(stop)


def _streaming_time(times: list[int], spacing: int) -> TimeIntervals:
    """Return when the stream wrote ground truth; a row accounts for twice the spacing of rows at most."""
    return union((time, after if after - time <= 2 * spacing else time + spacing)
                 for time, after in pairwise([*times, times[-1] + spacing]))


def _parse_boolean(text: str) -> bool:
    """Return a boolean of line protocol, or of a database that has numbers in place of booleans."""
    is_true = text.lower() in _TRUE
    if not is_true and text.lower() not in _FALSE:
        raise ValueError(f"{text!r} is not a boolean")
    return is_true


@lru_cache(maxsize=_CACHED_TIMES)
def _parse_time(text: str) -> int:
    return parse_time(text, 0)


def _parse_line(line: str) -> tuple[dict[str, str], dict[str, str], int]:
    """Return tags, fields and time of a line of line protocol; raise ValueError if it is not one."""
    line, texts = line.strip(), {}
    while match := _QUOTED_FIELD.search(line):  # the texts among the fields; they may hold blanks and commas
        texts[match[2]] = re.sub(r'\\(["\\])', r"\1", match[3])
        line = line[:match.start()] + (match[1] if match[1] == " " or match[4] else "") + line[match.end():]
    head, fields, stamp = re.split(r"(?<!\\) ", line)
    _, tags = re.split(r"(?<!\\),", head, maxsplit=1)
    return dict(_parse_pairs(tags)), {**dict(_parse_pairs(fields)), **texts}, int(stamp)


def _invalid_line(line: str, where: str) -> BadInput:
    return _bad_input(where, f"invalid line {line.strip()[:_MAX_QUOTED]!r}",
                      "give what this program or Telegraf wrote, complete lines with times in ns")


def _parse_pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield keys and values of tags or fields, unescaped."""
    if "\\" not in text:
        for pair in text.split(","):
            key, _, value = pair.partition("=")
            yield key, value
        return
    for pair in re.split(r"(?<!\\),", text):
        key, value = re.split(r"(?<!\\)=", pair, maxsplit=1)
        yield re.sub(r"\\([,= ])", r"\1", key), re.sub(r"\\([,= ])", r"\1", value)


def _chain(first: str, remainder: Iterator[str]) -> Iterator[str]:
    yield first
    yield from remainder
