"""A plant's export of control loops, read into arrays.

`read_record` detects the format by content: wide and long (Flux) CSV, annotated or not, and tab-separated PROCESSDATA;
comma, semicolon (with decimal comma) or tab; oldest or newest row first; gzip. It returns a Record or raises BadInput,
and never another exception. Every assumption is in the Record, one sentence each. Text is converted in chunks, so that
memory follows the numbers and not the size of the file.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clpm_execd.paths import list_compression_errors
from clpm_execd.plant.block import SECOND, Floats
from clpm_execd.problems import BadInput, Problem
from clpm_execd.records.alignment import Grid, align, fill_gaps
from clpm_execd.records.cells.text_columns import Integers
from clpm_execd.records.csv_source import record_error, timestamp_error
from clpm_execd.records.header.columns import COLUMNS_OPTION, Columns
from clpm_execd.records.header.search import Header
from clpm_execd.records.mode_inference import infer_modes
from clpm_execd.records.output_range import find_outliers
from clpm_execd.records.samples import LOOP_SIGNALS, Samples, read_samples

# An interval is irregular where more than one step in twenty differs from it by more than 1 %: a clock that drifts or a
# late sample now and then is worth no warning.
IRREGULAR_ONE_IN = 20
AUTO_DETECT = Columns()


@dataclass(frozen=True, slots=True)
class Record:
    """T samples of N loops.

    Parameters
    ----------
    loops : tuple of str, length N
        The loop ids.
    times : ndarray of int64, shape (T,)
        Instants in ns since 1970, strictly increasing.
    pv, sp : ndarray of float, shape (T, N)
        In engineering units; NaN where there is no value.
    op : ndarray of float, shape (T, N)
        As recorded, usually in %; NaN where there is no value.
    mode : ndarray of int8, shape (T, N)
        Indices into `plant.block.MODES`.
    interval : int
        The median step between samples, ns.
    assumptions : tuple of str
        What the record left open and how it was taken, a sentence each.
    op_units : tuple of str
        The unit of each loop's OP as the record gives it, such as "mA"; empty where it gives none.
    """

    loops: tuple[str, ...]
    times: Integers
    pv: Floats
    op: Floats
    sp: Floats
    mode: npt.NDArray[np.int8]
    interval: int
    assumptions: tuple[str, ...]
    op_units: tuple[str, ...] = ()

    def op_unit(self, column: int) -> str:
        """Return the unit of a loop's OP; empty where the record gives none."""
        return self.op_units[column] if self.op_units else ""


def _fill_set_points(samples: Samples, grid: Grid, assumptions: list[str]) -> None:
    sp, pv = grid.values["sp"], grid.values["pv"]
    for i, loop in enumerate(samples.loops):
        values = np.sort(pv[np.isfinite(pv[:, i]), i])
        if len(values) and not np.isfinite(sp[:, i]).any():
            sp[:, i] = values[len(values) // 2]
            assumptions.append(f"{loop} has no SP: the median of its PV, {values[len(values) // 2]:.6g}, is used")


def _median_interval(grid: Grid, assumptions: list[str]) -> int:
    """Return the median step, ns, of the loop that is sampled fastest."""
    if len(grid.times) < 2:
        assumptions.append("there is only one timestamp: an interval of 1 s assumed")
        return SECOND
    present = grid.present["pv"]
    times_of_loops = [grid.times] if present.all() else \
        [grid.times[column] for column in present.T if column.sum() > 1]
    dt = min((np.diff(times) for times in times_of_loops), key=lambda dt: float(np.median(dt)),
             default=np.diff(grid.times))
    interval = int(np.sort(dt)[len(dt) // 2])
    gaps = dt[dt > interval + interval // 2]
    if len(gaps):
        longest = int(gaps.max()) / SECOND
        assumptions.append(f"gaps: {len(gaps)}, the longest {longest:g} s")
    irregular = int((np.abs(dt - interval) > interval // 100).sum()) - len(gaps)
    if irregular * IRREGULAR_ONE_IN > len(dt):
        low, high = (float(q) / SECOND for q in np.quantile(dt, (0.1, 0.9)))
        assumptions.append(f"irregular interval, mostly {low:.4g} to {high:.4g} s: {interval / SECOND:.4g} s assumed")
    return interval


def _note_cells(samples: Samples, grid: Grid, assumptions: list[str]) -> None:
    """Note what was unusual about the cells of the file."""
    if samples.unreadable_times:
        assumptions.append(
            f"rows without a readable timestamp: {samples.unreadable_times} of {samples.rows}; ignored")
    notes = samples.notes
    examples = f" ({', '.join(notes.bad_texts)})" if notes.bad_texts else ""
    for signal in (signal for signal in LOOP_SIGNALS if signal in samples.signals):
        values = grid.values[signal][:, grid.present[signal].any(axis=0)]
        missing = int((~np.isfinite(values)).sum())
        if missing:
            assumptions.append(f"bad or missing {signal.upper()} values: {missing} of {values.size}{examples}; "
                               "marked as bad quality")
        for i, loop in enumerate(samples.loops):
            finite = grid.values[signal][np.isfinite(grid.values[signal][:, i]), i]
            outliers = finite[find_outliers(finite)]
            if len(outliers):
                assumptions.append(f"outliers in {signal.upper()} of {loop}: {len(outliers)}, such as "
                                   f"{outliers[0]:.6g}; not changed")
    if samples.bad_quality_rows:
        assumptions.append(f"rows marked bad in the quality column: {samples.bad_quality_rows}")
    if samples.has_useless_quality:
        assumptions.append("the quality column marks no value as good: it is ignored")
    if notes.thousands_example:
        assumptions.append(f"numbers such as {notes.thousands_example} have thousands separators")
    if notes.other_mark_example:
        assumptions.append(f"numbers such as {notes.other_mark_example} have another decimal mark than most")
    if "op" not in samples.signals:
        assumptions.append("there is no OP column")
    if samples.unknown_modes:
        examples = ", ".join(sorted(samples.unknown_modes)[:5])
        assumptions.append(f"unknown modes ({examples}): AUT assumed")


def read_record(path: Path, *, columns: Columns = AUTO_DETECT, zone: tzinfo | None = None,
                interval: int | None = None) -> Record:
    """Return the record in a file.

    Parameters
    ----------
    path : Path
        A CSV or PROCESSDATA file, or one of these compressed with gzip or Zstandard.
    columns : Columns
        The names of columns; those that are None are detected.
    zone : tzinfo, optional
        The zone of timestamps that have none; by default UTC.
    interval : int, optional
        The time between rows, ns, for a record that has no time column; it is not used for one that has.

    Raises
    ------
    BadInput
        The file cannot be read, or holds no record; the error says why, and what would be right.
    """
    samples, header, assumptions = _read_samples(path, columns, interval)
    _refuse_without_pv(path, samples, header)
    return _assemble(path, samples, zone, assumptions, header.place)


def read_records(paths: Iterable[Path], *, columns: Columns = AUTO_DETECT, zone: tzinfo | None = None,
                 interval: int | None = None) -> list[tuple[Record, Path]]:
    """Return the records of several files; those with signals of the same loops apart are one record.

    Parameters
    ----------
    paths : iterable of Path
        Files as `read_record` reads them. PV may be in one, OP or SP of the same loop in another.
    columns, zone, interval
        As `read_record` has them.

    Returns
    -------
    list of tuple of Record and Path
        Each record with its first file.

    Raises
    ------
    BadInput
        Files cannot be read, or hold no record; the error has a problem for each.
    """
    parts: list[_Part] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            parts.append(_Part(path, *_read_samples(path, columns, interval)))
        except BadInput as bad:
            problems += (problem for problem in bad.problems if problem not in problems)
    records = []
    for first, *others in [] if problems else _group_parts(parts):
        assumptions = [*first.assumptions]
        for part in others:
            first.samples.append(part.samples)
            assumptions += (line for line in part.assumptions if line not in assumptions)
        if others:
            assumptions.append(f"signals of the same loops are in {len(others) + 1} files, which are read as one")
        try:
            _refuse_without_pv(first.path, first.samples, first.header)
            records.append((_assemble(first.path, first.samples, zone, assumptions, first.header.place), first.path))
        except BadInput as bad:
            problems += bad.problems
    if problems:
        raise BadInput(problems)
    return records


class _Part(NamedTuple):
    """A file that is read, and that may lack signals."""

    path: Path
    samples: Samples
    header: Header
    assumptions: list[str]

    def belongs_to(self, other: _Part) -> bool:
        """Return whether the files share a loop, and both lack PV or OP, or what one has of them the other lacks."""
        own, others = (part.samples.signals & {"pv", "op"} for part in (self, other))
        return bool(self.samples.loops.keys() & other.samples.loops.keys()) and (
            (len(own) < 2 and len(others) < 2) or not own & others)


def _group_parts(parts: Sequence[_Part]) -> list[list[_Part]]:
    """Return the files in groups, of which each is read as one record, in the order of the first of each."""
    groups: list[list[_Part]] = []
    for part in parts:
        joined = [group for group in groups if any(part.belongs_to(other) for other in group)]
        if not joined:
            groups.append([part])
            continue
        first, *others = joined
        for group in others:
            first += group
            groups.remove(group)
        first.append(part)
    return groups


def _read_samples(path: Path, columns: Columns, interval: int | None
                  ) -> tuple[Samples, Header, list[str]]:
    """Return samples, header and assumptions of a file; raise BadInput where it cannot be read."""
    assumptions: list[str] = []
    try:
        samples, header = read_samples(path, columns, assumptions, interval)
    except IsADirectoryError:
        raise record_error(path, "this is a folder", "name one file") from None
    except FileNotFoundError:
        raise record_error(path, "there is no such file", "check the path") from None
    except list_compression_errors():
        raise record_error(path, "the compressed file is damaged", "copy or compress it again") from None
    except (OSError, UnicodeError) as error:
        raise record_error(path, f"cannot be read ({error})", "check the path and its permissions") from None
    except csv.Error as error:
        raise record_error(path, f"is not CSV ({error})", "export the record as CSV") from None
    if samples.rows < 2 * samples.unreadable_times:
        rows = "no row has a" if samples.rows == samples.unreadable_times else \
            f"only {samples.rows - samples.unreadable_times} of {samples.rows} rows have a"
        raise timestamp_error(path, samples.unreadable_time, header.place, rows)
    return samples, header, assumptions


def _refuse_without_pv(path: Path, samples: Samples, header: Header) -> None:
    """Raise BadInput where the samples have no number for PV."""
    if samples.loops and any(np.isfinite(part).any() for part in samples.values["pv"]):
        return
    if samples.loops and "pv" not in samples.signals and not samples.other_names:
        remedy = f"name it with {COLUMNS_OPTION} pv=NAME,op=NAME,sp=NAME; {header.place}"
        raise record_error(path, "no column is recognised as PV", remedy)
    cells = [f"values such as {text!r}" for text in list(samples.notes.bad_texts)[:1]]
    cells += [f"signals such as {', '.join(samples.other_names)}"] if samples.other_names else []
    clause = f", but {' and '.join(cells)}" if cells else ""
    remedy = f"check the columns, or name them with {COLUMNS_OPTION} pv=NAME; {header.place}"
    raise record_error(path, f"no row has a number for PV{clause}", remedy)


def _assemble(path: Path, samples: Samples, zone: tzinfo | None, assumptions: list[str], place: str) -> Record:
    grid = align(path, samples, zone or samples.zone, assumptions, place)
    fill_gaps(samples, grid, assumptions)
    _note_cells(samples, grid, assumptions)
    _fill_set_points(samples, grid, assumptions)
    interval = _median_interval(grid, assumptions)
    loops = tuple(samples.loops)
    pv, op, sp = (grid.values[signal] for signal in LOOP_SIGNALS)
    modes = grid.modes
    if "mode" not in samples.signals:
        modes = infer_modes(loops, pv, op, sp, assumptions)
    op_units = tuple(samples.op_units.get(code, "") for code in samples.loops.values())
    return Record(loops, grid.times, pv, op, sp, modes, interval, tuple(assumptions), op_units)


def loop_ids(records: Iterable[Record]) -> list[str]:
    """Return the loop ids of several records, in order."""
    return [loop for record in records for loop in record.loops]
