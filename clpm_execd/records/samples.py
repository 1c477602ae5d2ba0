"""The cells of a record as samples: time, loop and signals of each, in the order of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import AUT, Floats
from clpm_execd.records.cells.cell_values import UNKNOWN_MODE, ParseNotes, parse_mode, parse_numbers, parse_quality
from clpm_execd.records.cells.text_columns import Booleans, Integers, Row, Table, TextColumn
from clpm_execd.records.cells.timestamps import ParsedTimes, join_date_and_clock, parse_times
from clpm_execd.records.csv_source import open_csv, record_error
from clpm_execd.records.header.column_roles import ROLES, Columns, Layout, detect_layout, split_field

SIGNALS = ("pv", "op", "sp")

Modes = npt.NDArray[np.int8]


@dataclass
class Samples:
    """Samples in the file's order, in parts of some rows each.

    loops: the code of each loop id. values: by signal, NaN where there is no number. present: by signal and mode, which
    rows have a cell for it, readable or not; in a long record that is one signal per row. signals: those that the
    record has at all. rows, unreadable_times, bad_quality_rows: counts of rows.
    """

    loops: dict[str, int] = field(default_factory=dict)
    times: list[ParsedTimes] = field(default_factory=list)
    loop_codes: list[Integers] = field(default_factory=list)
    values: dict[str, list[Floats]] = field(default_factory=lambda: {signal: [] for signal in SIGNALS})
    present: dict[str, list[Booleans]] = field(default_factory=lambda: {signal: [] for signal in (*SIGNALS, "mode")})
    modes: list[Modes] = field(default_factory=list)
    signals: set[str] = field(default_factory=set)
    unknown_modes: set[str] = field(default_factory=set)
    notes: ParseNotes = field(default_factory=ParseNotes)
    rows: int = 0
    unreadable_times: int = 0
    bad_quality_rows: int = 0
    has_useless_quality: bool = False  # a quality column in which no value is good
    has_decimal_comma: bool = False

    def code_of(self, loop: str) -> int:
        """Return the number of a loop, which is a new one for a new loop."""
        return self.loops.setdefault(loop, len(self.loops))

    def add(self, times: ParsedTimes, loop_codes: Integers, cells: Mapping[str, tuple[Floats, Booleans]],
            modes: Modes, has_mode: Booleans) -> None:
        """Add some rows of one or several loops; a signal that is not in `cells` has none."""
        self.times.append(times)
        self.loop_codes.append(loop_codes)
        for signal in SIGNALS:
            values, present = cells.get(
                signal, (np.full(len(loop_codes), np.nan), np.zeros(len(loop_codes), np.bool_)))
            self.values[signal].append(values)
            self.present[signal].append(present)
        self.modes.append(modes)
        self.present["mode"].append(has_mode)


def _parse_modes(texts: TextColumn, samples: Samples) -> Modes:
    codes, words = texts.factorize()
    modes = [parse_mode(word) for word in words]
    samples.unknown_modes |= {word.strip() or "an empty cell" for word, mode in zip(words, modes, strict=True)
                              if mode == UNKNOWN_MODE}
    return np.array([AUT if mode == UNKNOWN_MODE else mode for mode in modes], np.int8)[codes]


@dataclass(frozen=True, slots=True)
class _UsableRows:
    """The rows of a table that have a time and are of interest, as an index (None for all rows), and their times."""

    table: Table
    index: Integers | None
    times: ParsedTimes

    def __len__(self) -> int:
        return len(self.times)

    def column(self, index: int) -> TextColumn:
        column = self.table.column(index)
        return column if self.index is None else column.take(self.index)


def _select(table: Table, times: ParsedTimes, is_usable: Booleans) -> _UsableRows:
    if is_usable.all():
        return _UsableRows(table, None, times)
    index = np.flatnonzero(is_usable)
    return _UsableRows(table, index, times.take(index))


def _add_table(table: Table, layout: Layout, stem: str, columns: Columns, samples: Samples) -> None:
    """Convert some rows of a file and add them to the samples."""
    column = table.column(layout.time[0])
    times = parse_times(
        join_date_and_clock(column, table.column(layout.time[1])) if len(layout.time) > 1 else column)
    readable = times.is_readable()
    samples.rows += len(table)
    samples.unreadable_times += int(len(readable) - readable.sum())
    if not layout.field_and_value:
        _add_wide(_select(table, times, readable), layout, stem, samples)
        return
    codes, names = table.column(layout.field_and_value[0]).factorize()
    fields = [split_field(name, columns) for name in names] or [(None, None)]
    roles = np.array([ROLES.index(role) if role else -1 for _, role in fields])[codes]
    rows = _select(table, times, readable & (roles >= 0))
    if rows.index is not None:
        codes, roles = codes[rows.index], roles[rows.index]
    if layout.loop is not None or not any(tag for tag, _ in fields):
        loops = _code_loops(rows, layout, "", stem, samples)
    else:
        used = set(codes.tolist())
        loops = np.array(
            [samples.code_of(tag or stem) if i in used else 0 for i, (tag, _) in enumerate(fields)])[codes]
    _add_long(rows, layout, loops, roles, samples)


def _code_loops(rows: _UsableRows, layout: Layout, prefix: str, stem: str, samples: Samples) -> Integers:
    """Return (T,) the loop of each row: by the loop column, by the columns' own names, or by the file's."""
    if layout.loop is None:
        return np.full(len(rows), samples.code_of(prefix or stem) if len(rows) else 0, np.int64)
    codes, names = rows.column(layout.loop).factorize()
    joined = f"{prefix}." if prefix and len(layout.loops) > 1 else ""
    return np.array([samples.code_of(joined + (name.strip() or stem)) for name in names] or [0], np.int64)[codes]


def _mask_bad_quality(values: Floats, good: Booleans | None) -> Floats:
    if good is not None:
        values[~good] = np.nan
    return values


def _find_good_rows(rows: _UsableRows, layout: Layout, samples: Samples) -> Booleans | None:
    """Return (T,) which rows are of good quality; None where no column says so."""
    if layout.quality is None or not len(rows):
        return None
    good = parse_quality(rows.column(layout.quality))
    if good is None:
        samples.has_useless_quality = True
    else:
        samples.bad_quality_rows += int(len(good) - good.sum())
    return good


def _add_wide(rows: _UsableRows, layout: Layout, stem: str, samples: Samples) -> None:
    """Add rows that have all signals of an instant."""
    good = _find_good_rows(rows, layout, samples)
    all_rows = np.ones(len(rows), np.bool_)
    for loop in layout.loops:
        cells = {}
        for signal in SIGNALS:
            index = getattr(loop, signal)
            if index is not None:
                samples.signals.add(signal)
                values = parse_numbers(rows.column(index), decimal_comma=samples.has_decimal_comma,
                                       notes=samples.notes)
                cells[signal] = (_mask_bad_quality(values, good if signal == "pv" else None), all_rows)
        modes, has_mode = np.full(len(rows), AUT, np.int8), ~all_rows
        if loop.mode is not None:
            samples.signals.add("mode")
            modes, has_mode = _parse_modes(rows.column(loop.mode), samples), all_rows
        samples.add(rows.times, _code_loops(rows, layout, loop.name or "", stem, samples), cells, modes, has_mode)


def _add_long(rows: _UsableRows, layout: Layout, loops: Integers, roles: npt.NDArray[np.intp], samples: Samples
              ) -> None:
    """Add rows that have one value each; roles: (T,) what the value is, as an index into ROLES."""
    assert layout.field_and_value is not None
    texts = rows.column(layout.field_and_value[1])
    good = _find_good_rows(rows, layout, samples)
    cells = {}
    for signal in SIGNALS:
        present = roles == ROLES.index(signal)
        values = np.full(len(rows), np.nan)
        if present.any():
            samples.signals.add(signal)
            own_texts = texts.take(np.flatnonzero(present))
            values[present] = parse_numbers(own_texts, decimal_comma=samples.has_decimal_comma, notes=samples.notes)
        cells[signal] = (_mask_bad_quality(values, good), present)
    modes, has_mode = np.full(len(rows), AUT, np.int8), roles == ROLES.index("mode")
    column = layout.loops[0].mode
    if has_mode.any():
        samples.signals.add("mode")
        modes[has_mode] = _parse_modes(texts.take(np.flatnonzero(has_mode)), samples)
    elif column is not None:
        samples.signals.add("mode")
        modes, has_mode = _parse_modes(rows.column(column), samples), np.ones(len(rows), np.bool_)
    samples.add(rows.times, loops, cells, modes, has_mode)


def _file_stem(path: Path) -> str:
    """Return the file's name, for a loop without one; a name that is not UTF-8 must not break the stream."""
    name = path.name.removesuffix(".gz")
    stem = " ".join(name.removesuffix(Path(name).suffix).split()) or "loop"
    return stem.encode("utf-8", "replace").decode()


def read_samples(path: Path, columns: Columns, assumptions: list[str], arrow: bool | None) -> Samples:
    """Return all samples of a file; raise BadInput and what reading and decompressing raise."""
    source = open_csv(path, columns, arrow=arrow)
    with source.text:
        assumptions += source.assumptions
        samples = Samples(has_decimal_comma=source.has_decimal_comma)
        stem = _file_stem(path)
        layout: Layout | None = None
        layout_header: Row | None = None
        for header, table in source.tables():
            if layout is None or header is not layout_header:
                layout = detect_layout(header, columns, str(path), (0,) if source.is_process_data else ())
                if source.is_process_data:
                    layout = replace(layout, loop=None)
                layout_header = header
                assumptions.extend(line for line in layout.assumptions if line not in assumptions)
            if len(table):
                _add_table(table, layout, stem, columns, samples)
        if source.short_rows:
            assumptions.append(
                f"rows with fewer cells than the header: {source.short_rows}; their last cells are taken as empty")
        if source.long_rows:
            assumptions.append(
                f"rows with more cells than the header: {source.long_rows}; the cells beyond it are ignored")
    if layout is None:
        raise record_error(path, "there are no data rows", "begin with a header line such as time,PV,OP,SP")
    return samples
