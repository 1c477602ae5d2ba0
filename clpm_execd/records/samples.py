"""The cells of a record as samples: time, loop and signals of each, in the order of the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import AUT, Floats
from clpm_execd.records.cells.cell_values import UNKNOWN_MODE, ParseNotes, parse_modes, parse_numbers, parse_quality
from clpm_execd.records.cells.text_columns import Booleans, Integers, Table, TextColumn
from clpm_execd.records.cells.timestamps import ParsedTimes, find_zone, join_time_columns, parse_times
from clpm_execd.records.csv_source import open_csv, record_error
from clpm_execd.records.header.columns import ROLES, Columns
from clpm_execd.records.header.layout import Layout, detect_layouts, split_field
from clpm_execd.records.header.search import Header
from clpm_execd.records.header.signal_names import normalise_name, split_signal, strip_date
from clpm_execd.units import describe_duration

LOOP_SIGNALS = ("pv", "op", "sp")

Modes = npt.NDArray[np.int8]
Series = tuple[str, tuple[tuple[str, str], ...]]  # a loop, and tags with their values
MIN_ROWS_OF_PATTERN = 40  # fewer do not show that signals have rows of their own
SEMICOLONS = "separate columns by semicolons where numbers have decimal commas"  # what would be right
MAX_OTHER_NAMES = 5  # in a message


def find_distinguishing_tags(series: Sequence[tuple[Mapping[str, str], set[str]]]) -> list[str]:
    """Return the tags that keep series of the same signal apart; each series has its tags and signals.

    A tag is dropped where, without it, no two series of the same signal have the same tags.
    """
    names = list(dict.fromkeys(name for tags, _ in series for name in tags))
    # What names the source rather than the loop is dropped first.
    names.sort(key=lambda name: name.casefold() not in ("_measurement", "host", "server", "source"))
    for name in list(names):
        rest = [other for other in names if other != name]
        keys = [(signal, *(tags.get(other, "") for other in rest)) for tags, signals in series for signal in signals]
        if len(set(keys)) == len(keys):
            names = rest
    return names


@dataclass
class Samples:
    """Samples in the file's order, in parts of some rows each.

    loops: the code of each loop id, once `name_loops` has made them of the series. values: by signal, NaN where there
    is no number. present: by signal and mode, which rows have a cell for it, readable or not; in a long record that is
    one signal per row. signals: those that the record has at all. op_units: of OP, by the code. rows,
    unreadable_times, bad_quality_rows: counts.
    """

    loops: dict[str, int] = field(default_factory=dict)
    times: list[ParsedTimes] = field(default_factory=list)
    loop_codes: list[Integers] = field(default_factory=list)
    values: dict[str, list[Floats]] = field(default_factory=lambda: {signal: [] for signal in LOOP_SIGNALS})
    present: dict[str, list[Booleans]] = field(
        default_factory=lambda: {signal: [] for signal in (*LOOP_SIGNALS, "mode")})
    modes: list[Modes] = field(default_factory=list)
    signals: set[str] = field(default_factory=set)
    unknown_modes: set[str] = field(default_factory=set)
    notes: ParseNotes = field(default_factory=ParseNotes)
    rows: int = 0
    unreadable_times: int = 0
    bad_quality_rows: int = 0
    has_useless_quality: bool = False  # a quality column in which no value is good
    has_decimal_comma: bool = False
    op_units: dict[int, str] = field(default_factory=dict)
    zone: tzinfo | None = None  # that the name of the time column has
    file_name: str = ""  # without its suffix: the loop of rows that name none
    unreadable_time: str = ""  # the first one
    other_names: dict[str, None] = field(default_factory=dict)  # names of a long record that are no signal's, as keys
    series: dict[Series, int] = field(default_factory=dict)
    signals_of_series: dict[int, set[str]] = field(default_factory=dict)

    def code_of(self, loop: str, tags: tuple[tuple[str, str], ...] = ()) -> int:
        """Return the number of a series, which is a new one for a new loop or other tags."""
        return self.series.setdefault((loop, tags), len(self.series))

    def note_signals(self, codes: Integers, signals: Iterable[str]) -> None:
        """Note that rows with these codes have some signals."""
        for code in np.unique(codes).tolist():
            self.signals_of_series.setdefault(code, set()).update(signals)

    def name_loops(self, assumptions: list[str]) -> None:
        """Make the loops of the series: those that differ in a tag are several, where they have the same signals."""
        tags_of_loop: dict[str, list[tuple[dict[str, str], int]]] = {}
        for (loop, tags), code in self.series.items():
            tags_of_loop.setdefault(loop, []).append((dict(tags), code))
        new_code = np.zeros(len(self.series), np.int64)
        for loop, series in tags_of_loop.items():
            names = find_distinguishing_tags([(tags, self.signals_of_series.get(code, set())) for tags, code in series])
            ids = []
            for values_of_tags, code in series:
                values = ".".join(values_of_tags.get(name, "") for name in names)
                ids.append(values if loop == self.file_name and values else ".".join(filter(None, (loop, values))))
                new_code[code] = self.loops.setdefault(ids[-1], len(self.loops))
            if names:
                examples = ", ".join(sorted(set(ids))[:5])
                assumptions.append(f"series that differ in {', '.join(names)} are several loops: {examples}")
        self.op_units = {int(new_code[code]): unit for code, unit in self.op_units.items()}
        if len(self.loops) < len(self.series) or any(new_code != np.arange(len(new_code))):
            self.loop_codes = [new_code[codes] for codes in self.loop_codes]

    def note_op_unit(self, codes: Integers, unit: str) -> None:
        """Note the unit of OP in rows with these codes, where there is one."""
        for code in np.unique(codes).tolist() if unit.strip() else []:
            self.op_units.setdefault(code, unit.strip())

    def append(self, other: Samples) -> None:
        """Add the samples of another file, whose loops have names already, to the loops of the same names."""
        new_code = np.array([self.loops.setdefault(loop, len(self.loops)) for loop in other.loops])
        self.op_units |= {int(new_code[code]): unit for code, unit in other.op_units.items()}
        self.loop_codes += [new_code[codes] for codes in other.loop_codes]
        self.times += other.times
        self.modes += other.modes
        for signal in self.values:
            self.values[signal] += other.values[signal]
        for signal in self.present:
            self.present[signal] += other.present[signal]
        self.signals |= other.signals
        self.unknown_modes |= other.unknown_modes
        self.notes.bad_texts |= other.notes.bad_texts
        self.rows += other.rows
        self.unreadable_times += other.unreadable_times
        self.bad_quality_rows += other.bad_quality_rows

    def add(self, times: ParsedTimes, loop_codes: Integers, cells: Mapping[str, tuple[Floats, Booleans]],
            modes: Modes, has_mode: Booleans) -> None:
        """Add some rows of one or several loops; a signal that is not in `cells` has none."""
        self.times.append(times)
        self.loop_codes.append(loop_codes)
        for signal in LOOP_SIGNALS:
            values, present = cells.get(
                signal, (np.full(len(loop_codes), np.nan), np.zeros(len(loop_codes), np.bool_)))
            self.values[signal].append(values)
            self.present[signal].append(present)
        self.modes.append(modes)
        self.present["mode"].append(has_mode)


def _parse_modes(texts: TextColumn, samples: Samples) -> Modes:
    codes, words = texts.factorize()
    modes = parse_modes(words)
    samples.unknown_modes |= {word.strip() or "an empty cell" for word, mode in zip(words, modes, strict=True)
                              if mode == UNKNOWN_MODE}
    return np.array([AUT if mode == UNKNOWN_MODE else mode for mode in modes], np.int8)[codes]


def _parse_table_times(table: Table, layout: Layout, samples: Samples) -> ParsedTimes:
    """Return the instants of the rows; where they have no time column, their numbers, which become instants later."""
    if not layout.time:
        numbers = np.arange(samples.rows, samples.rows + len(table), dtype=np.int64)
        return ParsedTimes.of(numbers, np.zeros(len(table), np.bool_))
    column = table.column(layout.time[0])
    if len(layout.time) > 1:
        column = join_time_columns([table.column(index) for index in layout.time], layout.time_form)
    times = parse_times(column, layout.time_unit, decimal_comma=samples.has_decimal_comma)
    if not samples.unreadable_time:
        unreadable = np.flatnonzero(~times.is_readable())
        texts = column.texts_of(unreadable[:20])
        samples.unreadable_time = next((text.strip() for text in texts if text.strip()), "")[:60]
    return times


def _add_table(table: Table, layout: Layout, stem: str, columns: Columns, samples: Samples, *, is_ragged: bool
               ) -> None:
    """Convert some rows of a file and add them to the samples. is_ragged: columns end where their signals do."""
    times = _parse_table_times(table, layout, samples)
    readable = times.is_readable()
    count = len(table)
    if is_ragged:
        column = table.column(layout.time[0])
        count -= sum(not text.strip() for text in column.texts_of(np.flatnonzero(~readable)))
    samples.rows += count
    samples.unreadable_times += int(count - readable.sum())
    if not layout.field_and_value:
        rows = np.flatnonzero(readable)
        _add_wide(table.take(rows), times.take(rows), layout, stem, samples)
        return
    codes, names = table.column(layout.field_and_value[0]).factorize()
    fields = [split_field(name, columns) for name in names] or [(None, None)]
    others = [name.strip() for name, (_, role) in zip(names, fields, strict=False) if role is None]
    samples.other_names |= dict.fromkeys(others[:MAX_OTHER_NAMES - len(samples.other_names)])
    roles = np.array([ROLES.index(role) if role else -1 for _, role in fields])[codes]
    rows = np.flatnonzero(readable & (roles >= 0))
    table, codes, roles = table.take(rows), codes[rows], roles[rows]
    if layout.loop is not None or not any(tag for tag, _ in fields):
        loops = _code_loops(table, layout, "", stem, samples)
    else:
        tags = [tag or stem for tag, _ in fields]
        loops = _code_series(table, layout, np.array(codes), tags, samples)
    _add_long(table, times.take(rows), layout, loops, roles, samples)


def _code_loops(rows: Table, layout: Layout, prefix: str, stem: str, samples: Samples) -> Integers:
    """Return (T,) the series of each row: by the loop column, by the columns' own names, or by the file's."""
    if layout.loop is None:
        return _code_series(rows, layout, np.zeros(len(rows), np.int64), [prefix or stem], samples)
    codes, names = rows.column(layout.loop).factorize()
    stem_prefix = f"{prefix}." if prefix and len(layout.loops) > 1 else ""
    return _code_series(rows, layout, codes, [stem_prefix + (name.strip() or stem) for name in names], samples)


def _code_series(rows: Table, layout: Layout, codes: Integers, loops: Sequence[str], samples: Samples
                 ) -> Integers:
    """Return (T,) the series of each row, by the number of its loop and the values of its tags."""
    if len(loops) == 1 and not layout.tags:
        return np.full(len(rows), samples.code_of(loops[0]), np.int64)
    parts = [codes]
    texts: list[Sequence[str]] = [loops]
    for _, column in layout.tags:
        tag_codes, tag_texts = rows.column(column).factorize()
        parts.append(tag_codes)
        texts.append([text.strip() for text in tag_texts])
    names = [name for name, _ in layout.tags]
    distinct, index = np.unique(np.stack(parts), axis=1, return_inverse=True)
    numbers = [samples.code_of(texts[0][loop], tuple((name, texts[k][value]) for k, (name, value) in
                                                     enumerate(zip(names, values, strict=True), 1)))
               for loop, *values in distinct.T.tolist()]
    return np.array(numbers or [0], np.int64)[index.reshape(-1)]


def _find_good_rows(rows: Table, quality: int | None, samples: Samples) -> Booleans:
    """Return (T,) which rows are of good quality by a column; all where there is none, or it says nothing."""
    all_rows = np.ones(len(rows), np.bool_)
    if quality is None or not len(rows):
        return all_rows
    good = parse_quality(rows.column(quality))
    if good is None:
        samples.has_useless_quality = True
    else:
        samples.bad_quality_rows += int(len(good) - good.sum())
    return all_rows if good is None else good


def _find_texts(texts: TextColumn, values: Floats) -> Booleans:
    """Return (T,) which cells have a text; values: their numbers."""
    has_text = np.ones(len(values), np.bool_)
    missing = np.flatnonzero(np.isnan(values))
    has_text[missing] = [bool(text.strip()) for text in texts.texts_of(missing)]
    return has_text


def _find_logged(has_text: Mapping[str, Booleans]) -> dict[str, Booleans]:
    """Return (T,) where each signal has a sample, by where its column has a text.

    A historian that logs by exception leaves SP empty until it changes. An empty PV or OP is a missing value, except in
    a table of signals that have rows of their own, where most rows have one of them only, or where it is logged more
    rarely than the others, so that most of its cells stand alone.
    """
    logged = {signal: texts if signal == "sp" else np.ones_like(texts) for signal, texts in has_text.items()}
    if {"pv", "op"} <= set(has_text):
        pv, op = has_text["pv"], has_text["op"]
        if len(pv) >= MIN_ROWS_OF_PATTERN and 2 * int((pv & op).sum()) < min(int(pv.sum()), int(op.sum())):
            logged |= {"pv": pv, "op": op}
    for signal in ("pv", "op"):
        texts = has_text.get(signal, np.ones(1, np.bool_))
        if len(texts) >= MIN_ROWS_OF_PATTERN and 0 < 2 * int(texts.sum()) < len(texts):
            has_neighbour = int((texts[1:] & texts[:-1]).sum())
            logged[signal] = texts if 2 * has_neighbour < int(texts.sum()) else logged[signal]
    return logged


def _add_wide(rows: Table, times: ParsedTimes, layout: Layout, stem: str, samples: Samples) -> None:
    """Add rows that have all signals of an instant."""
    all_rows = np.ones(len(rows), np.bool_)
    good_rows = _find_good_rows(rows, layout.quality, samples)
    for loop in layout.loops:
        cells, has_text = {}, {}
        for signal in LOOP_SIGNALS:
            index = getattr(loop, signal)
            if index is not None:
                samples.signals.add(signal)
                texts = rows.column(index)
                values = parse_numbers(texts, decimal_comma=samples.has_decimal_comma, notes=samples.notes)
                has_text[signal] = _find_texts(texts, values)
                good = _find_good_rows(rows, loop.qualities[signal], samples) if signal in loop.qualities else \
                    good_rows if signal == "pv" else all_rows
                cells[signal] = np.where(good, values, np.nan)
        logged = _find_logged(has_text)
        modes, has_mode = np.full(len(rows), AUT, np.int8), ~all_rows
        if loop.mode is not None:
            texts = rows.column(loop.mode)
            codes, words = texts.factorize()
            has_mode = np.array([bool(word.strip()) for word in words] or [False], np.bool_)[codes]
            if has_mode.any():
                samples.signals.add("mode")
                modes[has_mode] = _parse_modes(texts.take(np.flatnonzero(has_mode)), samples)
        codes = _code_loops(rows, layout, loop.name or "", stem, samples)
        samples.note_signals(codes, cells)
        samples.note_op_unit(codes, loop.op_unit)
        samples.add(times, codes, {signal: (values, logged[signal]) for signal, values in cells.items()}, modes,
                    has_mode)


def _add_long(rows: Table, times: ParsedTimes, layout: Layout, loops: Integers, roles: npt.NDArray[np.intp],
              samples: Samples) -> None:
    """Add rows that have one value each; roles: (T,) what the value is, as an index into ROLES."""
    assert layout.field_and_value is not None
    texts = rows.column(layout.field_and_value[1])
    good = _find_good_rows(rows, layout.quality, samples)
    if layout.unit is not None:
        codes, units = rows.column(layout.unit).factorize()
        is_op = roles == ROLES.index("op")
        for code, unit in enumerate(units):
            samples.note_op_unit(loops[is_op & (codes == code)], unit)
    cells = {}
    for signal in LOOP_SIGNALS:
        present = roles == ROLES.index(signal)
        values = np.full(len(rows), np.nan)
        if present.any():
            samples.signals.add(signal)
            samples.note_signals(loops[present], [signal])
            own_texts = texts.take(np.flatnonzero(present))
            values[present] = parse_numbers(own_texts, decimal_comma=samples.has_decimal_comma, notes=samples.notes)
        cells[signal] = (np.where(good, values, np.nan), present)
    modes, has_mode = np.full(len(rows), AUT, np.int8), roles == ROLES.index("mode")
    column = layout.loops[0].mode
    if has_mode.any():
        samples.signals.add("mode")
        modes[has_mode] = _parse_modes(texts.take(np.flatnonzero(has_mode)), samples)
    elif column is not None:
        samples.signals.add("mode")
        modes, has_mode = _parse_modes(rows.column(column), samples), np.ones(len(rows), np.bool_)
    samples.add(times, loops, cells, modes, has_mode)


def _file_stem(path: Path) -> str:
    """Return the file's name, for a loop without one; a name that is not UTF-8 must not break the stream."""
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    stem = " ".join(name.removesuffix(Path(name).suffix).split()) or "loop"
    return stem.encode("utf-8", "replace").decode()


def read_samples(path: Path, columns: Columns, assumptions: list[str],
                 interval: int | None = None) -> tuple[Samples, Header]:
    """Return all samples of a file and its header; raise BadInput and what reading and decompressing raise.

    interval: between rows that have no time, ns. The samples may lack PV, which another file may have.
    """
    source = open_csv(path, columns)
    with source.text:
        assumptions += source.assumptions
        if source.start is not None and (cell := source.find_cut_decimal()):
            what = f"cells such as {cell!r} look like digits behind a decimal comma"
            raise record_error(path, what, f"{SEMICOLONS}; {source.start.place}")
        samples = Samples(has_decimal_comma=source.has_decimal_comma)
        stem = samples.file_name = _file_stem(path)
        layouts: tuple[Layout, ...] = ()
        layout_header: Header | None = None
        for header, table in source.tables():
            if header is not layout_header:
                if layout_header and header.names != layout_header.names and \
                        [*map(normalise_name, header.names)] == [*map(normalise_name, layout_header.names)]:
                    what = f"a second header has other units: {header.text}"
                    raise record_error(path, what, f"split the record there; {layout_header.place}")
                time_columns = (0,) if source.is_process_data else ()
                layouts = detect_layouts(header, columns, str(path), time_columns, interval=interval, file_name=stem)
                if source.is_process_data:
                    layouts = tuple(replace(layout, loop=None) for layout in layouts)
                layout_header = header
                samples.zone = find_zone(header.names[layouts[0].time[0]]) if layouts[0].time else None
                assumptions.extend(line for line in layouts[0].assumptions if line not in assumptions)
                # A file of one signal is named after it, and its loop is the rest of the name.
                own_tag = split_signal(strip_date(stem))[0]
                is_part = not any(layout.field_and_value or (loop.pv is not None and loop.op is not None)
                                  for layout in layouts for loop in layout.loops)
                loop_name = own_tag if own_tag and is_part and len(layouts) == 1 else stem
            for layout in layouts if len(table) else ():
                _add_table(table, layout, loop_name, columns, samples, is_ragged=len(layouts) > 1)
        if source.short_rows:
            assumptions.append(
                f"rows with fewer cells than the header: {source.short_rows}; their last cells are taken as empty")
        if 2 * source.long_rows > samples.rows and source.start is not None:
            what = f"rows with more cells than the header: {source.long_rows}"
            raise record_error(path, what, f"{SEMICOLONS}; {source.start.place}")
        if source.long_rows:
            assumptions.append(
                f"rows with more cells than the header: {source.long_rows}; ignored where the cells beyond "
                "it are numbers, else these cells are")
    if source.start is None:
        raise record_error(path, "there are no data rows", "begin with a header line such as time,PV,OP,SP")
    samples.name_loops(assumptions)
    if not layouts[0].time and interval is not None:
        _number_rows(samples, interval)
        assumptions.append(f"there is no time column: rows are {describe_duration(interval)} apart")
    return samples, source.start


def _number_rows(samples: Samples, interval: int) -> None:
    """Put the rows of each loop so many ns apart, in the order of the file."""
    for loop in range(len(samples.loops)):
        count = 0
        for part, codes in zip(samples.times, samples.loop_codes, strict=True):
            rows = np.flatnonzero(codes == loop)
            if len(rows):
                part.instants[0][rows] = (count + np.arange(len(rows))) * interval
                count += len(rows)
