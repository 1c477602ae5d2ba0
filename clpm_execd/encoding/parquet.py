"""Blocks as Parquet: the rows of the wide CSV, with times in ns, numbers as doubles and texts as dictionaries.

A number is the one of the Block, without rounding to ten digits. Where CSV has an empty cell, Parquet has a null. The
ground truth is two columns of the samples, and with `TruthWriter` a file with the rows that line protocol has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, BinaryIO
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from clpm_execd.encoding.block_encoder import DEFAULT_FIELDS
from clpm_execd.encoding.csv import join_faults
from clpm_execd.encoding.reference import LARGEST_WRITABLE
from clpm_execd.encoding.truth_rows import TruthRow, TruthRows
from clpm_execd.extras import require
from clpm_execd.plant.block import INTEGER_SIGNALS, MODES, Block, Truth
from clpm_execd.units import DAY

# Rows of one row group, which a reader loads at once; larger ones compress hardly better. Files of single loops divide
# more rows among them, since groups of a few hundred rows would be slow to write and to read.
_ROWS_PER_GROUP = 1_000_000
_ROWS_PER_GROUP_OF_LOOPS = 4_000_000
_NO_FAULT = -1

Column = tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]  # values, and which of them are null


class ParquetWriter:
    """Writes Blocks into one file, or into one for each part of a partition.

    Parameters
    ----------
    open_file : callable
        Returns the file of a part by the path that Hive gives it, such as `day=2025-01-10` or `loop_id=FIC101`; the
        path is empty if there is one file for all.
    loops : sequence of str
        The ids, in the order of the Blocks' columns.
    fields : mapping of str to str
        The signal of the Block by the name of the column.
    modes : sequence of str
        The text of each mode, in the order of MODES.
    has_truth : bool
        Whether there are the columns `fault` and `visible`.
    partition : str, optional
        "day", which is that of the sample's time in UTC, or "loop". The files of loops have no column `loop_id`.
    is_long : bool
        Whether each value has a row of its own, with the name of its field, as in the long CSV; without the truth.

    Raises
    ------
    BadInput
        pyarrow is not installed.
    """

    def __init__(self, open_file: Callable[[str], BinaryIO], loops: Sequence[str], *,
                 fields: Mapping[str, str] = DEFAULT_FIELDS, modes: Sequence[str] = MODES, has_truth: bool = False,
                 partition: str | None = None, is_long: bool = False) -> None:
        require("parquet", "pyarrow")
        import pyarrow as pa

        self.signals = tuple(fields.values())
        self._arrow, self._open_file, self._partition = pa, open_file, partition
        self._loops, self._modes, self._names, self._is_long = tuple(loops), tuple(modes), tuple(fields), is_long
        self._truth = _TruthColumns(len(loops)) if has_truth and not is_long else None
        text = pa.dictionary(pa.int32(), pa.string())
        columns = [("time", pa.timestamp("ns", tz="UTC"))]
        columns += [("loop_id", text)] if partition != "loop" else []
        columns += [("field", text), ("value", pa.float64()), ("Mode", text)] if is_long else [
            ("Mode", text), *((name, pa.int64() if signal in INTEGER_SIGNALS else pa.float64())
                              for name, signal in fields.items())]
        columns += [("fault", text), ("visible", pa.bool_())] if self._truth else []
        self._schema = pa.schema(columns)
        self._writers: dict[str, Any] = {}
        self._pending: list[list[Column]] = []
        self._pending_rows = 0
        if partition is None:
            self._open_writer("")  # a file without rows is a file of Parquet too

    def write(self, block: Block) -> None:
        """Add the Block that follows the last one.

        Parameters
        ----------
        block : Block
        """
        columns = self._build_columns(block)
        self._pending.append(columns)
        self._pending_rows += len(columns[0][0])
        if self._pending_rows >= (_ROWS_PER_GROUP_OF_LOOPS if self._partition == "loop" else _ROWS_PER_GROUP):
            self._write_pending()

    def __enter__(self) -> ParquetWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write what is pending, and the ends of the files; behind an error nothing more."""
        if kind is None and self._pending:
            self._write_pending()
        _end_files(self._writers.values(), is_complete=kind is None)

    def _build_columns(self, block: Block) -> list[Column]:
        """Return the rows of a Block in order: time, loop, mode, signals, and with the truth fault and visible.

        The long form has time, loop, field, value and mode.
        """
        columns = self._merge_arrivals(block)
        signals = columns[3 : 3 + len(self.signals)]
        is_missing = [~(np.abs(values) <= LARGEST_WRITABLE) for values in signals]  # a NaN is not
        if self._is_long:
            row, field = np.nonzero(~np.stack(is_missing, axis=1))
            values = np.stack(signals, axis=1)[row, field].astype(np.float64)
            time, loop, mode = (column[row] for column in columns[:3])
            return [(column, None) for column in (time, loop, field, values, mode)]
        nulls: list[npt.NDArray[np.bool_] | None] = [None, None, None, *is_missing]
        if self._truth:
            nulls += [columns[-2] == _NO_FAULT, None]
        has_value = ~np.logical_and.reduce(is_missing)
        if has_value.all():
            return list(zip(columns, nulls, strict=True))
        return [(values[has_value], None if null is None else null[has_value])
                for values, null in zip(columns, nulls, strict=True)]

    def _merge_arrivals(self, block: Block) -> list[npt.NDArray[Any]]:
        """Return the columns of the samples in the order in which they leave: those on the grid and arrivals."""
        row, loop = np.divmod(np.arange(block.mode.size), len(self._loops))
        columns = [block.times[row], loop.astype(np.int32), block.mode.ravel(),
                   *(getattr(block, signal).ravel() for signal in self.signals)]
        if self._truth:
            columns += [column.ravel() for column in self._truth.of_samples(block)]
        if block.arrivals is None:
            return columns
        arrivals = block.arrivals
        on_grid = ~arrivals.has_data_path_fault[loop]
        order = np.argsort(np.concatenate([row[on_grid], arrivals.row]), kind="stable")
        arrived = [arrivals.times, arrivals.loop.astype(np.int32), arrivals.mode,
                   *(getattr(arrivals, signal) for signal in self.signals)]
        if self._truth:
            arrived += self._truth.of_arrivals(block)
        return [np.concatenate([of_grid[on_grid], of_arrivals])[order]
                for of_grid, of_arrivals in zip(columns, arrived, strict=True)]

    def _write_pending(self) -> None:
        columns: list[Column] = []
        for parts in zip(*self._pending, strict=True):
            nulls = [null for _, null in parts if null is not None]
            columns.append((np.concatenate([values for values, _ in parts]), np.concatenate(nulls) if nulls else None))
        self._pending, self._pending_rows = [], 0
        if self._partition is None:
            self._write_rows("", columns)
        else:
            self._write_parts(columns)

    def _write_parts(self, columns: list[Column]) -> None:
        """Write each row into the file of its part, in the same order."""
        is_by_day = self._partition == "day"
        part_of_row = columns[0][0] // DAY if is_by_day else columns[1][0]
        order = np.argsort(part_of_row, kind="stable")
        parts, starts = np.unique(part_of_row[order], return_index=True)
        for part, start, end in zip(parts.tolist(), starts.tolist(), [*starts[1:].tolist(), len(order)], strict=True):
            rows = order[start:end]
            folder = f"day={np.datetime64(part, 'D')}" if is_by_day else f"loop_id={quote(self._loops[part], safe='')}"
            self._write_rows(folder, [(values[rows], None if null is None else null[rows]) for values, null in columns])

    def _write_rows(self, part: str, columns: list[Column]) -> None:
        texts: list[Sequence[str] | None] = [None, self._loops]
        texts += [self._names, None, self._modes] if self._is_long else [self._modes, *(None for _ in self.signals)]
        texts += [self._truth.texts, None] if self._truth else []
        arrays = [self._build_array(values, null, names) for (values, null), names in zip(columns, texts, strict=True)]
        arrays[0] = arrays[0].cast(self._schema.field("time").type)
        if self._partition == "loop":
            del arrays[1]
        self._open_writer(part).write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema),
                                          row_group_size=_ROWS_PER_GROUP)

    def _build_array(self, values: npt.NDArray[Any], null: npt.NDArray[np.bool_] | None,
                     texts: Sequence[str] | None) -> Any:
        """Return a column; texts: of its codes, where it is a dictionary."""
        if texts is not None:
            codes = self._arrow.array(values.astype(np.int32), mask=null)
            return self._arrow.DictionaryArray.from_arrays(codes, self._arrow.array(texts, self._arrow.string()))
        if values.dtype.kind == "i":
            values = values.astype(np.int64)
        return self._arrow.array(values, mask=null)

    def _open_writer(self, part: str) -> Any:
        if part not in self._writers:
            from pyarrow.parquet import ParquetWriter as ArrowWriter

            self._writers[part] = ArrowWriter(self._open_file(part), self._schema, compression="zstd")
        return self._writers[part]


class _TruthColumns:
    """The columns `fault` and `visible` of a stream's samples, Block after Block; a fault is a code of `texts`."""

    def __init__(self, loops: int) -> None:
        self.texts: list[str] = []
        self._codes: dict[str, int] = {"": _NO_FAULT}
        self._fault, self._visible = np.full(loops, _NO_FAULT, dtype=np.int32), np.zeros(loops, dtype=bool)

    def of_samples(self, block: Block) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """Return both columns for the samples of the grid, (T, N)."""
        shape = block.mode.shape
        fault, visible = np.empty(shape, dtype=np.int32), np.empty(shape, dtype=bool)
        truth = block.truth
        if truth is None or not truth.loops:
            fault[:], visible[:] = self._fault, self._visible
            return fault, visible
        state = truth.present + 2 * truth.visible
        faults_of = {loop: np.flatnonzero(truth.column == loop) for loop in np.unique(truth.column).tolist()}
        changes = (1 + np.flatnonzero((state[1:] != state[:-1]).any(axis=1))).tolist()
        for start, end in zip([0, *changes], [*changes, len(block)], strict=True):
            loops = np.unique(truth.column[state[start] != state[start - 1]]).tolist() if start else faults_of
            for loop in loops:
                self._update(loop, truth, faults_of[loop], start)
            fault[start:end], visible[start:end] = self._fault, self._visible
        return fault, visible

    def _update(self, loop: int, truth: Truth, faults: npt.NDArray[np.intp], t: int) -> None:
        present, visible = truth.present[t, faults].tolist(), truth.visible[t, faults].tolist()
        self._fault[loop], self._visible[loop] = self._encode(
            list(zip((truth.kinds[k] for k in faults.tolist()), present, visible, strict=True)))

    def of_arrivals(self, block: Block) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """Return both columns for what arrives of a faulty data path, (R,)."""
        arrivals, truth = block.arrivals, block.truth
        assert arrivals is not None
        if truth is None:
            return np.full(len(arrivals), _NO_FAULT, dtype=np.int32), np.zeros(len(arrivals), dtype=bool)
        kinds = truth.kinds_by_loop(arrivals.loop)
        rows = zip(arrivals.loop.tolist(), arrivals.present.tolist(), arrivals.visible.tolist(), strict=True)
        ends = [self._encode(list(zip(kinds[loop], present, visible, strict=False))) for loop, present, visible in rows]
        return np.array([code for code, _ in ends], dtype=np.int32), np.array([shows for _, shows in ends], dtype=bool)

    def _encode(self, faults: list[tuple[str, bool, bool]]) -> tuple[int, bool]:
        text, is_visible = join_faults(faults)
        if text not in self._codes:
            self._codes[text] = len(self.texts)
            self.texts.append(text)
        return self._codes[text], is_visible


class TruthWriter:
    """Writes the ground truth of Blocks into one file: a row at each change and each minute, as in line protocol.

    Parameters
    ----------
    file : binary file

    Raises
    ------
    BadInput
        pyarrow is not installed.
    """

    def __init__(self, file: BinaryIO) -> None:
        require("parquet", "pyarrow")
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter as ArrowWriter

        text = pa.dictionary(pa.int32(), pa.string())
        self._arrow = pa
        self._schema = pa.schema([
            ("time", pa.timestamp("ns", tz="UTC")), ("loop_id", text), ("fault", text), ("present", pa.bool_()),
            ("visible", pa.bool_()), ("severity", pa.float64()), ("effect", pa.float64()), ("cause", text),
            ("path", text), ("delay", pa.float64()), ("control", pa.bool_())])
        self._writer = ArrowWriter(file, self._schema, compression="zstd")
        self._rows, self._pending = TruthRows(), list[tuple[int, TruthRow]]()

    def write(self, block: Block) -> None:
        """Add the truth of the Block that follows the last one.

        Parameters
        ----------
        block : Block
        """
        for t, rows in self._rows.take_due(block):
            time = int(block.times[t])
            self._pending += [(time, row) for row in rows]
        if len(self._pending) >= _ROWS_PER_GROUP:
            self._write_pending()

    def __enter__(self) -> TruthWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write what is pending, and the end of the file; behind an error nothing more."""
        if kind is None and self._pending:
            self._write_pending()
        _end_files([self._writer], is_complete=kind is None)

    def _write_pending(self) -> None:
        rows = [(time, row.loop, row.fault, row.present, row.visible, row.severity, row.effect, row.cause or None,
                 row.path or None, row.delay if row.path else None, row.control) for time, row in self._pending]
        columns = dict(zip(self._schema.names, zip(*rows, strict=True), strict=True))
        self._writer.write_table(self._arrow.table(columns, schema=self._schema))
        self._pending = []


def _end_files(writers: Iterable[Any], is_complete: bool) -> None:
    for writer in writers:
        if is_complete:
            writer.close()
        writer.is_open = False  # its destructor would write to a file that is closed
