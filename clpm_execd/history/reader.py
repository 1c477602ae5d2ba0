"""A record of control loops as a plant exported it, read into arrays.

`read_record` recognises the format by content: wide and long (Flux) CSV, annotated or not, and tab-
separated PROCESSDATA; comma, semicolon (with decimal comma) or tab; oldest or newest first; gzip. It
gives a Record or raises BadInput, never another exception, and what it had to assume is in the Record,
one sentence each. Text is converted in parts, so that memory follows the numbers and not the file.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from clpm_execd.history.cells import UNKNOWN, Found, good_quality, mode, numbers
from clpm_execd.history.columns import OPTION, ROLES, Columns, Layout, layout, tag_and_role
from clpm_execd.history.modes import inferred_modes
from clpm_execd.history.tables import bad, open_tables
from clpm_execd.history.texts import Booleans, Integers, Row, Table, Texts
from clpm_execd.history.times import LATEST, SECOND, UNREADABLE, Times, join, of_zone, read_times
from clpm_execd.plant.block import AUT, Floats
from clpm_execd.problems import BadInput

CELLS_AT_MOST = 100_000_000
FAR = 100.0
RECOGNISE = Columns()

SIGNALS = ("pv", "op", "sp")

Modes = npt.NDArray[np.int8]


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


# from cells to numbers


@dataclass
class _Samples:
    """Samples in the file's order, in parts: when, of which loop, of which signals, in which mode.

    told: which rows have a cell for the signal, be it readable or not; in a long record that is one signal a row.
    """

    loops: dict[str, int] = field(default_factory=dict)
    times: list[Times] = field(default_factory=list)
    codes: list[Integers] = field(default_factory=list)
    values: dict[str, list[Floats]] = field(default_factory=lambda: {signal: [] for signal in SIGNALS})
    told: dict[str, list[Booleans]] = field(default_factory=lambda: {signal: [] for signal in (*SIGNALS, "mode")})
    modes: list[Modes] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    unknown_modes: set[str] = field(default_factory=set)
    found: Found = field(default_factory=Found)
    rows: int = 0
    unreadable: int = 0
    bad_quality: int = 0
    no_good_quality: bool = False
    decimal_comma: bool = False

    def code(self, name: str) -> int:
        return self.loops.setdefault(name, len(self.loops))

    def add(self, times: Times, codes: Integers, cells: Mapping[str, tuple[Floats, Booleans]], modes: Modes,
            mode_told: Booleans) -> None:
        """Add the rows of one loop, or of several told apart by their codes; NaN for a signal that has no cells."""
        self.times.append(times)
        self.codes.append(codes)
        for signal in SIGNALS:
            values, told = cells.get(signal, (np.full(len(codes), np.nan), np.zeros(len(codes), np.bool_)))
            self.values[signal].append(values)
            self.told[signal].append(told)
        self.modes.append(modes)
        self.told["mode"].append(mode_told)


def _modes(texts: Texts, samples: _Samples) -> Modes:
    codes, words = texts.distinct()
    known = [mode(word) for word in words]
    samples.unknown_modes |= {word.strip() or "an empty cell" for word, code in zip(words, known, strict=True)
                              if code == UNKNOWN}
    return np.array([AUT if code == UNKNOWN else code for code in known], np.int8)[codes]


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of a table that count, None for all of them, and when they are."""

    table: Table
    rows: Integers | None
    times: Times

    def __len__(self) -> int:
        return len(self.times)

    def column(self, index: int) -> Texts:
        column = self.table.column(index)
        return column if self.rows is None else column.take(self.rows)


def _part(table: Table, times: Times, counts: Booleans) -> _Part:
    if counts.all():
        return _Part(table, None, times)
    rows = np.flatnonzero(counts)
    return _Part(table, rows, times.take(rows))


def _take(table: Table, at: Layout, stem: str, columns: Columns, samples: _Samples) -> None:
    """Convert one part of a file and add it to the samples."""
    column = table.column(at.time[0])
    times = read_times(join(column, table.column(at.time[1])) if len(at.time) > 1 else column)
    readable = times.readable()
    samples.rows += len(table)
    samples.unreadable += int(len(readable) - readable.sum())
    if not at.long:
        _take_wide(_part(table, times, readable), at, stem, samples)
        return
    codes, names = table.column(at.long[0]).distinct()
    fields = [tag_and_role(name, columns) for name in names] or [(None, None)]
    of_role = np.array([ROLES.index(role) if role else -1 for _, role in fields])[codes]
    part = _part(table, times, readable & (of_role >= 0))
    if part.rows is not None:
        codes, of_role = codes[part.rows], of_role[part.rows]
    if at.loop is not None or not any(tag for tag, _ in fields):
        loops = _loop_codes(part, at, "", stem, samples)
    else:
        used = set(codes.tolist())
        loops = np.array([samples.code(tag or stem) if i in used else 0 for i, (tag, _) in enumerate(fields)])[codes]
    _take_long(part, at, loops, of_role, samples)


def _loop_codes(part: _Part, at: Layout, prefix: str, stem: str, samples: _Samples) -> Integers:
    """(T,) the loop of each row: by the loop column, by the columns' own names, or the file's."""
    if at.loop is None:
        return np.full(len(part), samples.code(prefix or stem) if len(part) else 0, np.int64)
    codes, names = part.column(at.loop).distinct()
    joined = f"{prefix}." if prefix and len(at.loops) > 1 else ""
    return np.array([samples.code(joined + (name.strip() or stem)) for name in names] or [0], np.int64)[codes]


def _of_quality(values: Floats, good: Booleans | None) -> Floats:
    if good is not None:
        values[~good] = np.nan
    return values


def _good(part: _Part, at: Layout, samples: _Samples) -> Booleans | None:
    """(T,) which rows are of good quality; None where no column says so."""
    if at.quality is None or not len(part):
        return None
    good = good_quality(part.column(at.quality))
    if good is None:
        samples.no_good_quality = True
    else:
        samples.bad_quality += int(len(good) - good.sum())
    return good


def _take_wide(part: _Part, at: Layout, stem: str, samples: _Samples) -> None:
    good = _good(part, at, samples)
    whole = np.ones(len(part), np.bool_)
    for loop in at.loops:
        cells = {}
        for signal in SIGNALS:
            index = getattr(loop, signal)
            if index is not None:
                samples.seen.add(signal)
                values = numbers(part.column(index), decimal_comma=samples.decimal_comma, found=samples.found)
                cells[signal] = (_of_quality(values, good if signal == "pv" else None), whole)
        modes, told = np.full(len(part), AUT, np.int8), ~whole
        if loop.mode is not None:
            samples.seen.add("mode")
            modes, told = _modes(part.column(loop.mode), samples), whole
        samples.add(part.times, _loop_codes(part, at, loop.name or "", stem, samples), cells, modes, told)


def _take_long(part: _Part, at: Layout, loops: Integers, of_role: npt.NDArray[np.intp], samples: _Samples) -> None:
    """Add the rows of one value each; of_role: (T,) what that is, an index of ROLES."""
    assert at.long is not None
    texts = part.column(at.long[1])
    good = _good(part, at, samples)
    cells = {}
    for signal in SIGNALS:
        told = of_role == ROLES.index(signal)
        values = np.full(len(part), np.nan)
        if told.any():
            samples.seen.add(signal)
            own = texts.take(np.flatnonzero(told))
            values[told] = numbers(own, decimal_comma=samples.decimal_comma, found=samples.found)
        cells[signal] = (_of_quality(values, good), told)
    modes, told = np.full(len(part), AUT, np.int8), of_role == ROLES.index("mode")
    column = at.loops[0].mode
    if told.any():
        samples.seen.add("mode")
        modes[told] = _modes(texts.take(np.flatnonzero(told)), samples)
    elif column is not None:
        samples.seen.add("mode")
        modes, told = _modes(part.column(column), samples), np.ones(len(part), np.bool_)
    samples.add(part.times, loops, cells, modes, told)


def _stem(path: Path) -> str:
    """The file's name, for a loop without one; a name that is no UTF-8 must not break the stream."""
    name = path.name.removesuffix(".gz")
    stem = " ".join(name.removesuffix(Path(name).suffix).split()) or "loop"
    return stem.encode("utf-8", "replace").decode()


def _read(path: Path, columns: Columns, assumptions: list[str], arrow: bool | None) -> _Samples:
    tables = open_tables(path, columns, arrow=arrow)
    with tables.text:
        assumptions += tables.assumptions
        samples = _Samples(decimal_comma=tables.decimal_comma)
        stem = _stem(path)
        at: Layout | None = None
        under: Row | None = None
        for header, table in tables.parts():
            if at is None or header is not under:
                at = layout(header, columns, str(path), (0,) if tables.process_data else ())
                if tables.process_data:
                    at = replace(at, time=at.time, loop=None)
                under = header
                assumptions.extend(said for said in at.assumptions if said not in assumptions)
            if len(table):
                _take(table, at, stem, columns, samples)
        if tables.short:
            assumptions.append(f"{tables.short} rows have fewer cells than the header: the last ones are missing")
        if tables.long:
            assumptions.append(f"{tables.long} rows have more cells than the header: what is behind is left out")
    if at is None:
        raise bad(path, "there is no row of data", "begin with a line of names such as time,PV,OP,SP")
    return samples


# from samples to a grid


def _instants(samples: _Samples, zone: tzinfo | None, assumptions: list[str]) -> tuple[Integers, Integers, Booleans]:
    """(R,) instants and loops of all rows, in the file's order, and which rows count of those that were read."""
    times, codes = Times.concatenate(samples.times), np.concatenate(samples.codes)
    clocks = _right_way_round(times, assumptions)
    if zone is not None and times.zoneless.any():
        own = np.flatnonzero(times.zoneless & (clocks != UNREADABLE))
        zoned = of_zone(clocks[own], codes[own], zone)
        clocks[own] = zoned.instants
        if zoned.twice:
            assumptions.append(f"{zoned.twice} times fall into an hour that comes twice as the clocks go back: told "
                               "apart by their order")
        if zoned.never:
            assumptions.append(f"{zoned.never} times fall into an hour that the clocks leave out: taken as before it")
    elif times.zoneless.any():
        assumptions.append("the times have no zone: taken as UTC")
    if times.excel:
        assumptions.append("times are numbers that look like days of a spreadsheet, since 1899-12-30: taken as such")
    counts = (clocks >= 0) & (clocks < LATEST)
    samples.unreadable += int(len(counts) - counts.sum())
    return clocks[counts], codes[counts], counts


def _right_way_round(times: Times, assumptions: list[str]) -> Integers:
    """The dates, day or month first: as more of them can be read, else as they lie closer together, else day first."""
    if times.month_first is times.instants:
        return times.instants

    def oddness(instants: Integers) -> tuple[int, int]:
        read = instants[instants != UNREADABLE]
        return len(instants) - len(read), int(read.max() - read.min()) if len(read) else 0

    day, month = oddness(times.instants), oddness(times.month_first)
    month_first = month < day or (month == day and times.american)
    sure = day[0] != month[0]
    said = f"dates with strokes have the {'month' if month_first else 'day'} first"
    assumptions.append(said + ("" if sure else ", by how close together they then lie" if day != month else ""))
    return times.month_first if month_first else times.instants


def _order(times: Integers, codes: Integers, assumptions: list[str]) -> None:
    """Say how the rows stood; each loop has its own order, for a file may hold one loop after the other."""
    order = np.argsort(codes, kind="stable")
    steps = np.diff(times[order])[np.diff(codes[order]) == 0]
    back, on = int((steps < 0).sum()), int((steps > 0).sum())
    if back and not on:
        assumptions.append("the newest row is first: turned round")
    elif back:
        assumptions.append(f"{back} rows stand before an older one: sorted by time")


def _hold(grid: Floats | Modes, told: Booleans) -> None:
    """Where a loop has no cell at an instant of the others, its last one holds."""
    rows = np.where(told, np.arange(len(told), dtype=np.int32)[:, None], 0)
    np.maximum.accumulate(rows, axis=0, out=rows)
    grid[...] = np.take_along_axis(grid, rows, axis=0)


@dataclass
class _Grids:
    """T instants of N loops: values by signal and modes, (T, N), and where each has a cell of its own."""

    times: Integers
    values: dict[str, Floats]
    modes: Modes
    told: dict[str, Booleans]


def _grids(path: Path, samples: _Samples, zone: tzinfo | None, assumptions: list[str]) -> _Grids:
    times, codes, counts = _instants(samples, zone, assumptions)
    if not len(times):
        raise _no_time(path)
    _order(times, codes, assumptions)
    instants, row = np.unique(times, return_inverse=True)
    shape = (len(instants), len(samples.loops))
    if shape[0] * shape[1] > CELLS_AT_MOST:
        what = f"{shape[1]} loops share few of their {shape[0]} instants"
        raise bad(path, what, "split the record into one file for each loop")
    cell = row.reshape(-1) * shape[1] + codes

    def scatter(parts: list[npt.NDArray[Any]], told: Booleans, blank: float, kind: type) -> npt.NDArray[Any]:
        # Assigned in the file's order: of two values for one cell the later one stays.
        grid: npt.NDArray[Any] = np.full(shape[0] * shape[1], blank, kind)
        whole = np.concatenate(parts)[counts]
        parts.clear()
        grid[cell[told]] = whole[told]
        return grid.reshape(shape)

    grids: dict[str, npt.NDArray[Any]] = {}
    where: dict[str, Booleans] = {}
    repeated = 0
    for signal, parts in samples.told.items():
        told = np.concatenate(parts)[counts]
        where[signal] = np.zeros(shape, np.bool_)
        where[signal].reshape(-1)[cell[told]] = True
        of, blank, kind = (samples.modes, AUT, np.int8) if signal == "mode" else (samples.values[signal], np.nan, float)
        grids[signal] = scatter(cast("list[npt.NDArray[Any]]", of), told, blank, kind)
        if signal != "mode":
            repeated = max(repeated, int(told.sum()) - int(where[signal].sum()))
    if repeated:
        assumptions.append(f"{repeated} rows repeat an instant: the last one counts")
    modes = grids.pop("mode")
    return _Grids(instants, grids, modes, where)


def _hold_what_is_absent(samples: _Samples, grids: _Grids, assumptions: list[str]) -> None:
    """Let values hold: all of a loop where it has no row, each signal where the signals have times of their own."""
    own = [signal for signal in SIGNALS if signal in samples.seen]
    row = np.logical_or.reduce([*(grids.told[signal] for signal in own), grids.told["mode"]])
    together = np.logical_and.reduce([grids.told[signal] for signal in own])
    apart = bool(together.sum() * 2 < row.sum())
    if apart:
        assumptions.append(f"{', '.join(own).upper()} have times of their own: each holds until its next value")
    elif not row.all():
        assumptions.append("not every loop has a row at every instant: its last one holds")
    for signal in own:
        told = grids.told[signal] if apart else row
        if not told.all():
            _hold(grids.values[signal], told)
    if not grids.told["mode"].all() and "mode" in samples.seen:
        _hold(grids.modes, grids.told["mode"])


def _fill_set_points(samples: _Samples, grids: _Grids, assumptions: list[str]) -> None:
    sp, pv = grids.values["sp"], grids.values["pv"]
    for i, loop in enumerate(samples.loops):
        known = np.sort(pv[np.isfinite(pv[:, i]), i])
        if len(known) and not np.isfinite(sp[:, i]).any():
            sp[:, i] = known[len(known) // 2]
            assumptions.append(f"{loop} has no SP: the median of its PV, {known[len(known) // 2]:.6g}, stands in")


def _interval(grids: _Grids, assumptions: list[str]) -> int:
    """The median step of the loop that is sampled fastest."""
    if len(grids.times) < 2:
        assumptions.append("there is only one instant: 1 s between samples")
        return SECOND
    told = grids.told["pv"]
    same = [grids.times] if told.all() else [grids.times[column] for column in told.T if column.sum() > 1]
    steps = min((np.diff(times) for times in same), key=lambda steps: float(np.median(steps)),
                default=np.diff(grids.times))
    interval = int(np.sort(steps)[len(steps) // 2])
    gaps = steps[steps > interval + interval // 2]
    if len(gaps):
        longest = int(gaps.max()) / SECOND
        assumptions.append(f"{len(gaps)} gaps, the longest of {longest:g} s: the last value holds")
    uneven = int((np.abs(steps - interval) > interval // 100).sum()) - len(gaps)
    if uneven * 20 > len(steps):
        low, high = (float(q) / SECOND for q in np.quantile(steps, (0.1, 0.9)))
        assumptions.append(f"samples are {low:.4g} to {high:.4g} s apart: taken as {interval / SECOND:.4g} s")
    return interval


def _say(samples: _Samples, grids: _Grids, assumptions: list[str]) -> None:
    if samples.unreadable:
        assumptions.append(f"{samples.unreadable} of {samples.rows} rows have no readable time: left out")
    found = samples.found
    words = f" ({', '.join(found.words)})" if found.words else ""
    for signal in (signal for signal in SIGNALS if signal in samples.seen):
        values = grids.values[signal][:, grids.told[signal].any(axis=0)]
        missing = int((~np.isfinite(values)).sum())
        if missing:
            what = f"{missing} of {values.size} {signal.upper()} values are bad or missing"
            assumptions.append(f"{what}{words}: of bad quality")
        for i, loop in enumerate(samples.loops):
            far = _far_off(grids.values[signal][:, i])
            if len(far):
                what = f"{len(far)} {signal.upper()} values of {loop} are far off the rest, such as {far[0]:.6g}"
                assumptions.append(f"{what}: kept as they are")
    if samples.bad_quality:
        assumptions.append(f"{samples.bad_quality} rows are of bad quality by their own word")
    if samples.no_good_quality:
        assumptions.append("the quality column calls nothing good: not regarded")
    if found.grouped:
        assumptions.append(f"numbers such as {found.grouped} have thousands set apart")
    if found.marked:
        assumptions.append(f"numbers such as {found.marked} have another decimal mark than the rest")
    if "op" not in samples.seen:
        assumptions.append("there is no OP")
    if samples.unknown_modes:
        listed = ", ".join(sorted(samples.unknown_modes)[:5])
        assumptions.append(f"modes that are not known ({listed}): AUT")


def _far_off(values: Floats) -> Floats:
    """The values that lie further from the middle than a hundred times what most of them span: a lost decimal mark, or
    a number that stands for none."""
    known = values[np.isfinite(values)]
    if not len(known):
        return known
    low, middle, high = (float(q) for q in np.quantile(known, (0.05, 0.5, 0.95)))
    reach = FAR * (high - low)
    return known[(known > middle + reach) | (known < middle - reach)] if high > low else known[:0]


def read_record(path: Path, *, columns: Columns = RECOGNISE, zone: tzinfo | None = None,
                arrow: bool | None = None) -> Record:
    """The record in a file; raises BadInput when there is none.

    zone: of times that have none; UTC where it is None. arrow: whether Arrow reads the cells; None: where it is
    installed and the file is large. The Record is the same.
    """
    assumptions: list[str] = []
    try:
        samples = _read(path, columns, assumptions, arrow)
    except IsADirectoryError:
        raise bad(path, "this is a folder", "name one file") from None
    except FileNotFoundError:
        raise bad(path, "there is no such file", "check the path") from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise bad(path, "the gzip file is damaged", "copy or compress it again") from None
    except (OSError, UnicodeError) as error:
        raise bad(path, f"cannot be read ({error})", "check the path and its permissions") from None
    except csv.Error as error:
        raise bad(path, f"is no CSV ({error})", "export the record as CSV") from None
    if samples.rows and samples.rows == samples.unreadable:
        raise _no_time(path)
    if not samples.loops or not any(np.isfinite(part).any() for part in samples.values["pv"]):
        remedy = f"check the columns, or name them with {OPTION} pv=NAME"
        raise bad(path, "no row has a number for PV", remedy)
    return _record(path, samples, zone, assumptions)


def _no_time(path: Path) -> BadInput:
    remedy = "write times as 2025-01-10T09:11:40Z, 2025-01-10 09:11:40 or s, ms or ns since 1970"
    return bad(path, "no row has a readable time", remedy)


def _record(path: Path, samples: _Samples, zone: tzinfo | None, assumptions: list[str]) -> Record:
    grids = _grids(path, samples, zone, assumptions)
    _hold_what_is_absent(samples, grids, assumptions)
    _say(samples, grids, assumptions)
    _fill_set_points(samples, grids, assumptions)
    interval = _interval(grids, assumptions)
    loops = tuple(samples.loops)
    pv, op, sp = (grids.values[signal] for signal in SIGNALS)
    modes = grids.modes
    if "mode" not in samples.seen:
        modes = inferred_modes(loops, pv, op, sp, assumptions)
    return Record(loops, grids.times, pv, op, sp, modes, interval, tuple(assumptions))


def names(records: Iterable[Record]) -> list[str]:
    """The loop ids of several records, in order."""
    return [loop for record in records for loop in record.loops]
