"""Blocks as Parquet: the columns of the CSV forms, with times in ns, and texts and loops as dictionaries.

Rows are those of the CSV forms in their order. Values are the doubles of the Block, without rounding to ten digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from clpm_execd.encoding.block_encoder import DEFAULT_FIELDS
from clpm_execd.extras import require
from clpm_execd.plant.block import MODES, Block

_ROWS_PER_GROUP = 1_000_000  # what readers load at once; larger groups compress hardly better


class ParquetWriter:
    """Writes Blocks into one file, whose footer `close` adds.

    Parameters
    ----------
    file : binary file
    loops : sequence of str
        The ids, in the order of the Blocks' columns.
    fields : mapping of str to str
        The signal of the Block by the name of the column.
    is_long : bool
        Whether each value has a row of its own, with the name of its field.

    Raises
    ------
    BadInput
        pyarrow is not installed.
    """

    def __init__(self, file: BinaryIO, loops: Sequence[str], *, fields: Mapping[str, str] = DEFAULT_FIELDS,
                 is_long: bool = False) -> None:
        require("parquet", "pyarrow")
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter as ArrowWriter

        self._arrow = pa
        self._loops, self._fields, self._is_long = tuple(loops), dict(fields), is_long
        text = pa.dictionary(pa.int32(), pa.string())
        columns: list[tuple[str, Any]] = [("time", pa.timestamp("ns", tz="UTC")), ("loop_id", text)]
        columns += [("field", text), ("value", pa.float64()), ("Mode", text)] if is_long else [
            ("Mode", text), *((name, pa.float64()) for name in fields)]
        self._schema = pa.schema(columns)
        self._writer = ArrowWriter(file, self._schema, compression="zstd")
        self._waiting: list[Any] = []
        self._waiting_rows = 0

    def write(self, block: Block) -> None:
        """Add the Block that follows the last one."""
        times, loop, mode, values = _rows_of(block, tuple(self._fields.values()))
        number_exists = np.isfinite(values)
        if self._is_long:
            row, field = np.nonzero(number_exists)
            columns = [self._times(times[row]), self._texts(loop[row], self._loops),
                       self._texts(field, tuple(self._fields)), self._arrow.array(values[row, field]),
                       self._texts(mode[row], MODES)]
        else:
            kept = number_exists.any(axis=1)
            columns = [self._times(times[kept]), self._texts(loop[kept], self._loops), self._texts(mode[kept], MODES),
                       *(self._arrow.array(column, mask=~np.isfinite(column)) for column in values[kept].T)]
        table = self._arrow.Table.from_arrays(columns, schema=self._schema)
        self._waiting.append(table)
        self._waiting_rows += len(table)
        if self._waiting_rows >= _ROWS_PER_GROUP:
            self._write_group()

    def close(self) -> None:
        """Write what waits, and the footer."""
        if self._waiting:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        self._writer.write_table(self._arrow.concat_tables(self._waiting), row_group_size=self._waiting_rows)
        self._waiting, self._waiting_rows = [], 0

    def _times(self, times: npt.NDArray[np.int64]) -> Any:
        return self._arrow.array(times).cast(self._arrow.timestamp("ns", tz="UTC"))

    def _texts(self, codes: npt.NDArray[Any], texts: Sequence[str]) -> Any:
        return self._arrow.DictionaryArray.from_arrays(self._arrow.array(codes.astype(np.int32)), list(texts))


def _rows_of(block: Block, signals: Sequence[str]) -> tuple[npt.NDArray[Any], ...]:
    """Return the samples of a Block in order: times, loops as indices, modes, and (R, signals) values."""
    n = len(block.loops)
    row, loop = np.divmod(np.arange(block.pv.size), n)
    columns = [block.times[row], loop, block.mode.ravel(), *(getattr(block, signal).ravel() for signal in signals)]
    if block.arrivals is not None:
        arrivals = block.arrivals
        on_grid = ~arrivals.has_data_path_fault[loop]
        order = np.argsort(np.concatenate([row[on_grid], arrivals.row]), kind="stable")
        arrived = [arrivals.times, arrivals.loop, arrivals.mode, *(getattr(arrivals, signal) for signal in signals)]
        columns = [np.concatenate([one[on_grid], other])[order] for one, other in zip(columns, arrived, strict=True)]
    return (*columns[:3], np.stack([column.astype(np.float64) for column in columns[3:]], axis=1))
