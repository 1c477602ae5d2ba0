"""The cells of a record as samples: when, of which loop, of which signals, in the order of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import AUT, Floats
from clpm_execd.records.cell_values import UNKNOWN, Found, good_quality, mode, numbers
from clpm_execd.records.column_roles import ROLES, Columns, Layout, layout, tag_and_role
from clpm_execd.records.csv_source import bad, open_tables
from clpm_execd.records.text_columns import Booleans, Integers, Row, Table, Texts
from clpm_execd.records.timestamps import Times, join, read_times

SIGNALS = ("pv", "op", "sp")

Modes = npt.NDArray[np.int8]


@dataclass
class Samples:
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


def _modes(texts: Texts, samples: Samples) -> Modes:
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


def _take(table: Table, at: Layout, stem: str, columns: Columns, samples: Samples) -> None:
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


def _loop_codes(part: _Part, at: Layout, prefix: str, stem: str, samples: Samples) -> Integers:
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


def _good(part: _Part, at: Layout, samples: Samples) -> Booleans | None:
    """(T,) which rows are of good quality; None where no column says so."""
    if at.quality is None or not len(part):
        return None
    good = good_quality(part.column(at.quality))
    if good is None:
        samples.no_good_quality = True
    else:
        samples.bad_quality += int(len(good) - good.sum())
    return good


def _take_wide(part: _Part, at: Layout, stem: str, samples: Samples) -> None:
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


def _take_long(part: _Part, at: Layout, loops: Integers, of_role: npt.NDArray[np.intp], samples: Samples) -> None:
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


def read_samples(path: Path, columns: Columns, assumptions: list[str], arrow: bool | None) -> Samples:
    """All samples of a file; raises BadInput, and what reading and unpacking raise."""
    tables = open_tables(path, columns, arrow=arrow)
    with tables.text:
        assumptions += tables.assumptions
        samples = Samples(decimal_comma=tables.decimal_comma)
        stem = _stem(path)
        at: Layout | None = None
        under: Row | None = None
        for header, table in tables.parts():
            if at is None or header is not under:
                at = layout(header, columns, str(path), (0,) if tables.process_data else ())
                if tables.process_data:
                    at = replace(at, loop=None)
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
