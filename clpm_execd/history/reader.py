"""A record of control loops as a plant exported it, read into arrays.

`read_record` recognises the format by content: wide and long (Flux) CSV, annotated or not, and tab-
separated PROCESSDATA; comma, semicolon (with decimal comma) or tab; oldest or newest first; gzip. It
gives a Record or raises BadInput, never another exception, and what it had to assume is in the Record,
one sentence each. Text is converted in parts, so that memory follows the numbers and not the file.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt

from clpm_execd.history.cells import SECOND, UNKNOWN, UNREADABLE, instants, mode, numbers
from clpm_execd.history.columns import OPTION, Columns, Layout, field_role, layout, plain, time_columns
from clpm_execd.plant.block import AUT, Floats
from clpm_execd.problems import BadInput, Problem

ROWS_AT_ONCE = 50_000
CELLS_AT_MOST = 100_000_000
HEADER_WITHIN = 20
RECOGNISE = Columns()
ANNOTATIONS = ("#datatype", "#group", "#default")

SIGNALS = ("pv", "op", "sp")

Integers = npt.NDArray[np.int64]
Modes = npt.NDArray[np.int8]
Booleans = npt.NDArray[np.bool_]
Row = list[str]


@dataclass(frozen=True, slots=True)
class Record:
    """T instants of N loops.

    times: (T,) int64, ns since 1970, strictly increasing. pv, op, sp: (T, N), NaN where there is no value.
    mode: (T, N) int8, index into MODES. interval: the median step, ns.
    assumptions: what the record left open and how it was taken, a sentence each.
    """

    loops: tuple[str, ...]
    times: Integers
    pv: Floats
    op: Floats
    sp: Floats
    mode: npt.NDArray[np.int8]
    interval: int
    assumptions: tuple[str, ...]


def _bad(path: Path, what: str, remedy: str) -> BadInput:
    return BadInput([Problem(str(path), what, remedy)])


# from a file to rows


def _open(path: Path) -> tuple[TextIO, list[str]]:
    """The file as text, and its first lines. Bytes that are no UTF-8 are replaced."""
    with path.open("rb") as probe:
        zipped = probe.read(2) == b"\x1f\x8b"
    with gzip.open(path) if zipped else path.open("rb") as start:
        head = start.read(65_536)
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    encoding = "utf-16" if wide else "utf-8-sig"
    sample = head.decode(encoding, "replace")
    if not sample.strip():
        raise _bad(path, "the file is empty", "name a record with a header line and a row for each sample")
    odd = sum(c == "�" or (c < " " and c not in "\t\r\n\f") for c in sample)
    if "\0" in sample or odd > len(sample) // 4:
        raise _bad(path, "the file is not text", "export the record as CSV")
    lines = list(io.StringIO(sample, newline=None))
    if zipped:
        return gzip.open(path, "rt", encoding=encoding, errors="replace"), lines
    return path.open(encoding=encoding, errors="replace"), lines


def _delimiter(lines: Sequence[str]) -> str:
    """Tab before semicolon before comma: a decimal comma makes commas of no account beside the others."""
    told = [line for line in lines[:50] if line.strip() and not line.startswith("#")]
    return next((d for d in "\t;" if 2 * sum(d in line for line in told) > len(told)), ",")


@dataclass
class _Tables:
    """The rows of a file in parts, each with the header it stands under.

    rows: what follows the header, or, of PROCESSDATA, everything. A blank line or an annotation may begin another
    table of a Flux answer, with a header of its own.
    """

    rows: Iterator[Row]
    process_data: bool
    header: Row | None = None

    def parts(self) -> Iterator[tuple[Row, list[Row]]]:
        if self.process_data:
            self._process_data_header()
        if self.header is None:
            return
        part: list[Row] = []
        fresh = False
        for row in self.rows:
            if not any(row) or row[0] in ANNOTATIONS:
                fresh = not self.process_data
                continue
            if fresh and time_columns(row):
                yield self.header, part
                part, self.header = [], row
            else:
                part.append(row)
            fresh = False
            if len(part) == ROWS_AT_ONCE:
                yield self.header, part
                part = []
        yield self.header, part

    def _process_data_header(self) -> None:
        """The third line has the tags, two more lines describe them."""
        for row in self.rows:
            if row and plain(row[0]) == "tagname":
                self.header = row
                break
        for _ in range(2):
            next(self.rows, None)


def _tables(text: TextIO, lines: Sequence[str], delimiter: str, columns: Columns) -> _Tables:
    """The header is the first row that names a time; else the first row, so that a message can quote it."""
    rows = csv.reader(text, delimiter=delimiter)
    if lines[0].startswith("PROCESSDATA\t"):
        return _Tables(rows, True)
    found: tuple[int, Row] | None = None
    for skipped, row in enumerate(islice(csv.reader(lines, delimiter=delimiter), HEADER_WITHIN)):
        if time_columns(row) or (columns.time and plain(columns.time) in map(plain, row)):
            found = (skipped, row)
            break
        if found is None and any(row) and not row[0].startswith("#"):
            found = (skipped, row)
    if found is None:
        return _Tables(rows, False)
    for _ in range(found[0] + 1):
        next(rows, None)
    return _Tables(rows, False, header=found[1])


# from rows to numbers


@dataclass
class _Samples:
    """Samples in the file's order, in parts: when, of which loop, of which signals, in which mode."""

    loops: dict[str, int] = field(default_factory=dict)
    times: list[Integers] = field(default_factory=list)
    codes: list[Integers] = field(default_factory=list)
    values: dict[str, list[Floats]] = field(default_factory=lambda: {signal: [] for signal in SIGNALS})
    told: dict[str, list[Booleans]] = field(default_factory=lambda: {signal: [] for signal in SIGNALS})
    modes: list[npt.NDArray[np.int8]] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    unknown_modes: set[str] = field(default_factory=set)
    rows: int = 0
    unreadable: int = 0
    zoneless: bool = False
    decimal_comma: bool = False

    def code(self, name: str) -> int:
        return self.loops.setdefault(name, len(self.loops))


def _modes(texts: Sequence[str], samples: _Samples) -> npt.NDArray[np.int8]:
    known = {text: mode(text) for text in set(texts)}
    for text in known:
        if known[text] == UNKNOWN:
            known[text] = AUT
            samples.unknown_modes.add(text.strip() or "an empty cell")
    return np.fromiter((known[text] for text in texts), np.int8, len(texts))


def _take(header: Row, rows: list[Row], at: Layout, stem: str, columns: Columns, samples: _Samples) -> None:
    """Convert one part of a table and add it to the samples."""
    width = len(header)
    rows = [row if len(row) >= width else row + [""] * (width - len(row)) for row in rows]
    times, zoneless = instants([" ".join([row[i] for i in at.time]) for row in rows])
    good = times != UNREADABLE
    samples.rows += len(rows)
    samples.unreadable += int(len(rows) - good.sum())
    samples.zoneless |= zoneless
    roles = [field_role(row[at.long[0]], columns) for row in rows] if at.long else []
    if at.long:
        good &= np.array([role is not None for role in roles], bool)
    if not good.all():
        rows = [row for row, ok in zip(rows, good, strict=True) if ok]
        roles = [role for role, ok in zip(roles, good, strict=True) if ok] if at.long else roles
        times = times[good]
    samples.seen |= {role for role in roles if role}
    _take_loops(rows, times, roles, at, stem, samples)


def _take_loops(
    rows: list[Row], times: Integers, roles: Sequence[str | None], at: Layout, stem: str, samples: _Samples
) -> None:
    count = len(rows)
    comma = samples.decimal_comma
    for loop in at.loops:
        codes = np.full(count, samples.code(loop.name or stem) if at.loop is None and count else 0, np.int64)
        if at.loop is not None:
            prefix = f"{loop.name}." if loop.name and len(at.loops) > 1 else ""
            ids = (samples.code(prefix + (row[at.loop].strip() or stem)) for row in rows)
            codes = np.fromiter(ids, np.int64, count)
        samples.times.append(times)
        samples.codes.append(codes)
        for signal in SIGNALS:
            index = loop.pv if at.long else getattr(loop, signal)
            told = np.full(count, index is not None)
            if at.long:
                told = np.array([role == signal for role in roles], bool)
            elif index is not None:
                samples.seen.add(signal)
            values = np.full(count, np.nan)
            if index is not None and told.any():
                cells = [row[index] for row, ok in zip(rows, told, strict=True) if ok]
                values[told] = numbers(cells, decimal_comma=comma)
            samples.values[signal].append(values)
            samples.told[signal].append(told)
        if loop.mode is None:
            samples.modes.append(np.full(count, AUT, np.int8))
        else:
            samples.seen.add("mode")
            index = loop.mode
            samples.modes.append(_modes([row[index] for row in rows], samples))


def _stem(path: Path) -> str:
    """The file's name, for a loop without one; a name that is no UTF-8 must not break the stream."""
    name = path.name.removesuffix(".gz")
    stem = " ".join(name.removesuffix(Path(name).suffix).split()) or "loop"
    return stem.encode("utf-8", "replace").decode()


def _read(path: Path, columns: Columns, assumptions: list[str]) -> _Samples:
    text, lines = _open(path)
    with text:
        delimiter = _delimiter(lines)
        samples = _Samples(decimal_comma=delimiter != ",")
        tables = _tables(text, lines, delimiter, columns)
        stem = _stem(path)
        at: Layout | None = None
        under: Row | None = None
        for header, rows in tables.parts():
            if at is None or header is not under:
                at = layout(header, columns, str(path), (0,) if tables.process_data else ())
                if tables.process_data:
                    at = Layout(at.time, None, at.loops, at.long, at.assumptions)
                under = header
                assumptions.extend(said for said in at.assumptions if said not in assumptions)
            if rows:
                _take(header, rows, at, stem, columns, samples)
    if at is None:
        raise _bad(path, "there is no row of data", "begin with a line of names such as time,PV,OP,SP")
    return samples


# from samples to a grid


def _order(times: Integers, codes: Integers, assumptions: list[str]) -> None:
    """Say how the rows stood; each loop has its own order, for a file may hold one loop after the other."""
    order = np.argsort(codes, kind="stable")
    steps = np.diff(times[order])[np.diff(codes[order]) == 0]
    back, on = int((steps < 0).sum()), int((steps > 0).sum())
    if back and not on:
        assumptions.append("the newest row is first: turned round")
    elif back:
        assumptions.append(f"{back} rows stand before an older one: sorted by time")


def _hold_absent(grid: Floats | Modes, present: Booleans) -> None:
    """Where a loop has no row at an instant of the others, its last one holds."""
    rows = np.where(present, np.arange(len(present))[:, None], 0)
    np.maximum.accumulate(rows, axis=0, out=rows)
    grid[...] = np.take_along_axis(grid, rows, axis=0)


def _grids(
    path: Path, samples: _Samples, assumptions: list[str]
) -> tuple[Integers, dict[str, Floats], Modes]:
    times, codes = np.concatenate(samples.times), np.concatenate(samples.codes)
    _order(times, codes, assumptions)
    instants_, row = np.unique(times, return_inverse=True)
    shape = (len(instants_), len(samples.loops))
    if shape[0] * shape[1] > CELLS_AT_MOST:
        what = f"{shape[1]} loops share few of their {shape[0]} instants"
        raise _bad(path, what, "split the record into one file for each loop")
    cell = row.reshape(-1) * shape[1] + codes
    present = np.zeros(shape[0] * shape[1], bool)
    present[cell] = True
    grids: dict[str, Floats] = {}
    repeated = 0
    for signal, parts in samples.values.items():
        told = np.concatenate(samples.told[signal])
        # Assigned in the file's order: of two values for one cell the later one stays.
        grid = np.full(shape[0] * shape[1], np.nan)
        grid[cell[told]] = np.concatenate(parts)[told]
        grids[signal] = grid.reshape(shape)
        repeated = max(repeated, int(told.sum()) - len(np.unique(cell[told])))
    modes = np.full(shape[0] * shape[1], AUT, np.int8)
    modes[cell] = np.concatenate(samples.modes)
    if repeated:
        assumptions.append(f"{repeated} rows repeat an instant: the last one counts")
    modes = modes.reshape(shape)
    if not present.all():
        for grid in grids.values():
            _hold_absent(grid, present.reshape(shape))
        _hold_absent(modes, present.reshape(shape))
        assumptions.append("not every loop has a row at every instant: its last one holds")
    return instants_, grids, modes


def _fill_set_points(samples: _Samples, grids: dict[str, Floats], assumptions: list[str]) -> None:
    for i, loop in enumerate(samples.loops):
        if np.isfinite(grids["sp"][:, i]).any():
            continue
        pv = np.sort(grids["pv"][np.isfinite(grids["pv"][:, i]), i])
        if len(pv):
            grids["sp"][:, i] = pv[len(pv) // 2]
            assumptions.append(f"{loop} has no SP: the median of its PV, {pv[len(pv) // 2]:.6g}, stands in")


def _interval(times: Integers, assumptions: list[str]) -> int:
    if len(times) < 2:
        assumptions.append("there is only one instant: 1 s between samples")
        return SECOND
    steps = np.diff(times)
    interval = int(np.sort(steps)[len(steps) // 2])
    gaps = steps[steps > interval + interval // 2]
    if len(gaps):
        longest = int(gaps.max()) / SECOND
        assumptions.append(f"{len(gaps)} gaps, the longest of {longest:g} s: the last value holds")
    return interval


def _say(samples: _Samples, grids: dict[str, Floats], assumptions: list[str]) -> None:
    if samples.zoneless:
        assumptions.append("the times have no zone: taken as UTC")
    if samples.unreadable:
        assumptions.append(f"{samples.unreadable} of {samples.rows} rows have no readable time: left out")
    missing = int((~np.isfinite(grids["pv"])).sum())
    if missing:
        assumptions.append(f"{missing} of {grids['pv'].size} PV values are bad or missing: of bad quality")
    if "op" not in samples.seen:
        assumptions.append("there is no OP")
    if "mode" not in samples.seen:
        assumptions.append("there is no Mode: AUT")
    if samples.unknown_modes:
        listed = ", ".join(sorted(samples.unknown_modes)[:5])
        assumptions.append(f"modes that are not known ({listed}): AUT")


def read_record(path: Path, *, columns: Columns = RECOGNISE) -> Record:
    """The record in a file; raises BadInput when there is none."""
    assumptions: list[str] = []
    try:
        samples = _read(path, columns, assumptions)
    except IsADirectoryError:
        raise _bad(path, "this is a folder", "name one file") from None
    except FileNotFoundError:
        raise _bad(path, "there is no such file", "check the path") from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise _bad(path, "the gzip file is damaged", "copy or compress it again") from None
    except (OSError, UnicodeError) as error:
        raise _bad(path, f"cannot be read ({error})", "check the path and its permissions") from None
    except csv.Error as error:
        raise _bad(path, f"is no CSV ({error})", "export the record as CSV") from None
    if samples.rows and samples.rows == samples.unreadable:
        remedy = "write times as 2025-01-10T09:11:40Z, 2025-01-10 09:11:40 or s, ms or ns since 1970"
        raise _bad(path, "no row has a readable time", remedy)
    if not samples.loops or not any(np.isfinite(part).any() for part in samples.values["pv"]):
        remedy = f"check the columns, or name them with {OPTION} pv=NAME"
        raise _bad(path, "no row has a number for PV", remedy)
    times, grids, modes = _grids(path, samples, assumptions)
    _say(samples, grids, assumptions)
    _fill_set_points(samples, grids, assumptions)
    interval = _interval(times, assumptions)
    pv, op, sp = grids["pv"], grids["op"], grids["sp"]
    return Record(tuple(samples.loops), times, pv, op, sp, modes, interval, tuple(assumptions))


def names(records: Iterable[Record]) -> list[str]:
    """The loop ids of several records, in order."""
    return [loop for record in records for loop in record.loops]
