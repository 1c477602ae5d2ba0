"""Blocks as rows of text: what line protocol and the two forms of CSV have in common.

A row is the constant text of a loop in a mode, around the numbers of a sample, each as `%.10g`, and its time. Rows are
made thousands at a time (see `row_templates` and `byte_rows`), and a signal that has not changed is not formatted
again. Whatever the cut of a stream into Blocks, the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clpm_execd.encoding.byte_rows import Flags, RowBuffer
from clpm_execd.encoding.reference import LARGEST_WRITABLE
from clpm_execd.encoding.row_templates import RowFormat, RowTemplates
from clpm_execd.encoding.truth_rows import TruthRow, TruthRows
from clpm_execd.plant.block import FIELD_SIGNALS, MODES, Arrivals, Block
from clpm_execd.plant.loop_set import Indices
from clpm_execd.problems import BadInput, Problem, did_you_mean

DEFAULT_FIELDS: Mapping[str, str] = {"PV": "pv", "OP": "op", "SP": "sp"}

# Rows of one table. The calls of a table cost as much as a thousand rows, so larger tables are hardly faster, and this
# one takes little memory.
_TABLE_ROWS = 20_480


class BlockEncoder:
    """Encodes Blocks of the same loops as text, with a header before the first.

    A subclass says what a row is (`_build_row_format`), how ids and times are written (`_format_loops`,
    `_format_times`), and what a row of the ground truth is (`_format_truth`); those rows follow the samples of their
    instant.

    Parameters
    ----------
    loops : sequence of str
        The ids, in the order of the Blocks' columns.
    fields : mapping of str to str
        The signal of the Block by the name that is written.
    truth : str, optional
        The measurement of the ground truth; without it no rows of the truth are written.
    modes : sequence of str
        The text of each mode, in the order of MODES.

    Raises
    ------
    BadInput
        There is no field, or a field of an unknown signal.
    """

    def __init__(self, loops: Sequence[str], fields: Mapping[str, str], truth: str | None = None,
                 modes: Sequence[str] = MODES) -> None:
        problems = [
            Problem(f"field {name!r}", f"there is no signal {signal!r}", did_you_mean(signal, FIELD_SIGNALS))
            for name, signal in fields.items()
            if signal not in FIELD_SIGNALS
        ]
        if not fields:
            problems.append(Problem("fields", "there is none", 'name at least one, such as PV = "pv"'))
        if problems:
            raise BadInput(problems)
        self._loops = tuple(loops)
        self._names = tuple(fields)
        self._modes = tuple(modes)
        self.signals = tuple(fields.values())
        self._templates = RowTemplates()
        self._template_of: Indices = np.full((len(MODES), len(self._loops)), -1, dtype=np.intp)
        self._truth_rows = TruthRows() if truth else None

    def header(self) -> bytes:
        return b""

    def snapshot(self) -> Mapping[str, npt.NDArray[Any]]:
        return self._truth_rows.snapshot() if self._truth_rows else {}

    def restore(self, state: Mapping[str, npt.NDArray[Any]], loops: Collection[str]) -> None:
        if self._truth_rows:
            self._truth_rows.restore(state, loops)

    def encode(self, block: Block) -> bytes:
        return b"".join(self.encode_parts(block))

    def encode_parts(self, block: Block) -> Iterator[bytes | memoryview]:
        if block.loops != self._loops:
            raise ValueError("the block holds other loops than the encoder was made for")
        start = 0
        for t, rows in self._truth_rows.take_due(block) if self._truth_rows else ():
            yield from self._encode_ticks(block, start, t + 1)
            [time_text] = self._format_times(block.times[t : t + 1])
            yield b"".join([self._format_truth(row, time_text) for row in rows])
            start = t + 1
        yield from self._encode_ticks(block, start, len(block))

    def _encode_ticks(self, block: Block, start: int, stop: int) -> Iterator[bytes | memoryview]:
        """Yield the rows of the instants [start, stop)."""
        n = len(self._loops)
        ticks_per_table = max(1, _TABLE_ROWS // max(1, n))
        for t in range(start, stop, ticks_per_table):
            ticks = slice(t, min(t + ticks_per_table, stop))
            if block.arrivals is not None:
                yield self._encode_with_arrivals(block, block.arrivals, ticks)
                continue
            for first in range(0, n, _TABLE_ROWS):
                yield self._encode_grid(block, ticks, slice(first, min(first + _TABLE_ROWS, n)))

    def _encode_grid(self, block: Block, ticks: slice, loops: slice) -> bytes | memoryview:
        """Return the samples of the grid at these instants, of these loops."""
        modes = block.mode[ticks, loops]
        columns = np.arange(loops.start, loops.stop)
        templates = self._find_templates(modes[:1] if (modes == modes[0]).all() else modes, columns)
        time_of = np.arange(len(block.times[ticks]))[:, np.newaxis]
        signals = [getattr(block, signal)[ticks, loops] for signal in self.signals]
        return self._fill_rows(templates, self._format_times(block.times[ticks]), time_of, signals, loops.start)

    def _encode_with_arrivals(self, block: Block, arrivals: Arrivals, ticks: slice) -> bytes | memoryview:
        """Return the samples of these instants: those on the grid of the sound loops, and behind them what arrives."""
        n, grid_times = len(self._loops), block.times[ticks]
        arriving = slice(*np.searchsorted(arrivals.row, [ticks.start, ticks.stop]).tolist())
        on_grid = np.flatnonzero(np.tile(~arrivals.has_data_path_fault, len(grid_times)))
        order = np.argsort(np.concatenate([on_grid // n + ticks.start, arrivals.row[arriving]]), kind="stable")

        def merge(of_grid: npt.NDArray[Any], of_arrivals: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return np.concatenate([of_grid.ravel()[on_grid], of_arrivals])[order, np.newaxis]

        templates = merge(self._find_templates(block.mode[ticks], np.arange(n)),
                          self._find_arrival_templates(block, arrivals, arriving))
        signals = [merge(getattr(block, signal)[ticks], getattr(arrivals, signal)[arriving]) for signal in self.signals]
        times = np.concatenate([grid_times, arrivals.times[arriving]])
        time_of = merge(np.arange(len(grid_times)).repeat(n), np.arange(len(grid_times), len(times)))
        return self._fill_rows(templates, self._format_times(times), time_of, signals)

    def _find_arrival_templates(self, block: Block, arrivals: Arrivals, arriving: slice) -> Indices:
        """Return the templates of these arrivals, (R,)."""
        return self._find_templates(arrivals.mode[arriving], arrivals.loop[arriving])

    def _find_templates(self, modes: npt.NDArray[np.int8], loops: Indices) -> Indices:
        """Return the templates of these loops in these modes, in the shape of modes."""
        places = modes * np.intp(len(self._loops)) + loops
        templates = self._template_of.take(places)
        if templates.size and templates.min() < 0:
            for mode in range(len(MODES)):
                missing = np.flatnonzero(self._template_of[mode] < 0)
                if missing.size and (modes == mode).any():
                    self._template_of[mode, missing] = self._add_templates(missing.tolist(), mode)
            templates = self._template_of.take(places)
        return templates

    def _add_templates(self, loops: list[int], mode: int) -> Indices:
        ids = [self._loops[i] for i in loops]
        return self._templates.add(self._build_row_format(self._modes[mode]), self._format_loops(ids))

    def _fill_rows(self, templates: Indices, time_texts: Sequence[bytes], time_of: Indices,
                   signals: Sequence[npt.NDArray[Any]], first_loop: int | None = None) -> bytes | memoryview:
        """Return rows as `RowTemplates.fill` has them; first_loop: of loops that are the same at each call."""
        if not signals[0].size:
            return b""
        numbers = [np.asarray(signal, dtype=np.float64) for signal in signals]
        rows, any_irregular = self._templates.fill(templates, time_texts, time_of, numbers, first_loop)
        if any_irregular:
            present = np.stack([np.abs(values) <= LARGEST_WRITABLE for values in numbers])  # a NaN is not
            if not present.all():
                self._omit_missing(rows, present)
        return rows.to_bytes()

    def _omit_missing(self, rows: RowBuffer, present: Flags) -> None:
        """Leave out the numbers that do not exist, and the rows that have none; present is (F, T, N)."""
        for columns, is_present in zip(self._templates.number_columns, present, strict=True):
            rows.omit(~is_present, columns)
        rows.omit(np.logical_not(present.any(axis=0)))

    def _build_row_format(self, mode: str) -> RowFormat:
        """Return the text of a sample, around its loop, its numbers and its time."""
        raise NotImplementedError

    def _format_loops(self, loops: Sequence[str]) -> list[bytes]:
        """Return the ids of loops as they stand in a row."""
        raise NotImplementedError

    def _format_times(self, times: npt.NDArray[np.int64]) -> list[bytes]:
        raise NotImplementedError

    def _format_truth(self, row: TruthRow, time_text: bytes) -> bytes:
        """Return a row of the ground truth with its line end; time_text: as `_format_times` writes it."""
        raise NotImplementedError
