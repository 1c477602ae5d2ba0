"""Blocks as rows of text: what line protocol and the tables have in common.

A row is the constant text of a loop in a mode, around the sample's numbers, each as `%.10g`, and its time. Rows are
made thousands at a time (see frames and pieces), and a signal that is what it was is not formatted again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clpm_execd.encoding.byte_rows import Flags, Rows
from clpm_execd.encoding.reference import LARGEST_WRITABLE
from clpm_execd.encoding.row_templates import Frames, Row
from clpm_execd.encoding.truth_rows import Row as Told
from clpm_execd.encoding.truth_rows import TruthRows
from clpm_execd.plant.block import MODES, SIGNALS, Arrivals, Block
from clpm_execd.problems import BadInput, Problem, did_you_mean

DEFAULT_FIELDS: Mapping[str, str] = {"PV": "pv", "OP": "op", "SP": "sp"}

# Rows of one table: enough to hide what its calls cost, which is that of a thousand rows, and little memory.
_ROWS = 20_480

Frame = npt.NDArray[np.intp]


class TextEncoder:
    """A Block as text. A subclass says what a row is (`_row`), how ids and how times are written (`_texts`, `_times`).

    fields maps the name written to a signal of the Block. truth: the measurement of the truth, None for none; its
    rows follow the samples of their instant.
    """

    def __init__(self, loops: Sequence[str], fields: Mapping[str, str], truth: str | None = None) -> None:
        problems = [
            Problem(f"field {name!r}", f"there is no signal {signal!r}", did_you_mean(signal, SIGNALS))
            for name, signal in fields.items()
            if signal not in SIGNALS
        ]
        if not fields:
            problems.append(Problem("fields", "there is none", 'name at least one, such as PV = "pv"'))
        if problems:
            raise BadInput(problems)
        self._loops = tuple(loops)
        self._names = tuple(fields)
        self.signals = tuple(fields.values())
        self._frames = Frames()
        self._frame_of: Frame = np.full((len(MODES), len(self._loops)), -1, dtype=np.intp)
        self._truth = TruthRows() if truth else None

    def header(self) -> bytes:
        return b""

    def recall(self) -> Mapping[str, npt.NDArray[Any]]:
        return self._truth.recall() if self._truth else {}

    def restore(self, told: Mapping[str, npt.NDArray[Any]], loops: Collection[str]) -> None:
        if self._truth:
            self._truth.restore(told, loops)

    def encode(self, block: Block) -> bytes:
        return b"".join(self.parts(block))

    def parts(self, block: Block) -> Iterator[bytes | memoryview]:
        if block.loops != self._loops:
            raise ValueError("the block holds other loops than the encoder was made for")
        done = 0
        for t, rows in self._truth.due(block) if self._truth else ():
            yield from self._samples(block, done, t + 1)
            [time] = self._times(block.times[t : t + 1])
            yield b"".join([self._told(row, time) for row in rows])
            done = t + 1
        yield from self._samples(block, done, len(block))

    def _samples(self, block: Block, start: int, stop: int) -> Iterator[bytes | memoryview]:
        """The rows of the instants [start, stop)."""
        n = len(self._loops)
        ticks = max(1, _ROWS // max(1, n))
        for t in range(start, stop, ticks):
            those = slice(t, min(t + ticks, stop))
            if block.arrivals is not None:
                yield self._with_arrivals(block, block.arrivals, those)
                continue
            for first in range(0, n, _ROWS):
                yield self._grid(block, those, slice(first, min(first + _ROWS, n)))

    def _grid(self, block: Block, ticks: slice, loops: slice) -> bytes | memoryview:
        """The samples of the grid at these instants, of these loops."""
        modes = block.mode[ticks, loops]
        frames = self._frames_at(modes[:1] if (modes == modes[0]).all() else modes, np.arange(loops.start, loops.stop))
        which = np.arange(len(block.times[ticks]))[:, np.newaxis]
        signals = [getattr(block, signal)[ticks, loops] for signal in self.signals]
        return self._text(frames, self._times(block.times[ticks]), which, signals, loops.start)

    def _with_arrivals(self, block: Block, sent: Arrivals, ticks: slice) -> bytes | memoryview:
        """The samples of the grid at these instants but those that arrive apart, and behind them what arrives."""
        n, there = len(self._loops), block.times[ticks]
        here = slice(*np.searchsorted(sent.row, [ticks.start, ticks.stop]).tolist())
        grid = np.flatnonzero(np.tile(~sent.apart, len(there)))
        order = np.argsort(np.concatenate([grid // n + ticks.start, sent.row[here]]), kind="stable")

        def both(of_grid: npt.NDArray[Any], arrived: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return np.concatenate([of_grid.ravel()[grid], arrived])[order, np.newaxis]

        frames = both(self._frames_at(block.mode[ticks], np.arange(n)), self._arrived_frames(block, sent, here))
        signals = [both(getattr(block, signal)[ticks], getattr(sent, signal)[here]) for signal in self.signals]
        times = np.concatenate([there, sent.times[here]])
        which = both(np.arange(len(there)).repeat(n), np.arange(len(there), len(times)))
        return self._text(frames, self._times(times), which, signals)

    def _arrived_frames(self, block: Block, sent: Arrivals, here: slice) -> Frame:
        """(R,) the frames of these arrivals."""
        return self._frames_at(sent.mode[here], sent.loop[here])

    def _frames_at(self, modes: npt.NDArray[np.int8], loops: npt.NDArray[np.intp]) -> Frame:
        """The frames of these loops in these modes, of the shape of modes."""
        at = modes * np.intp(len(self._loops)) + loops
        frames = self._frame_of.take(at)
        if frames.size and frames.min() < 0:
            for mode in range(len(MODES)):
                new = np.flatnonzero(self._frame_of[mode] < 0)
                if new.size and (modes == mode).any():
                    self._frame_of[mode, new] = self._new_frames(new.tolist(), mode)
            frames = self._frame_of.take(at)
        return frames

    def _new_frames(self, loops: list[int], mode: int) -> Frame:
        return self._frames.add(self._row(MODES[mode]), self._texts([self._loops[i] for i in loops]))

    def _text(self, frames: Frame, times: Sequence[bytes], which: Frame, signals: Sequence[npt.NDArray[Any]],
              tile: int | None = None) -> bytes | memoryview:
        """Rows of T times and N loops each, as `Frames.rows` has them; tile: the first of loops that come each time."""
        if not signals[0].size:
            return b""
        values = [np.asarray(signal, dtype=np.float64) for signal in signals]
        rows, plain = self._frames.rows(frames, times, which, values, tile)
        if not plain:
            present = np.stack([np.abs(numbers) <= LARGEST_WRITABLE for numbers in values])  # nor is a NaN
            if not present.all():
                self._leave_out(rows, present)
        return rows.text()

    def _leave_out(self, rows: Rows, present: Flags) -> None:
        """Take away the numbers that are not there, and the rows that have none; present is (F, T, N)."""
        for part, there in zip(self._frames.parts, present, strict=True):
            rows.leave_out(~there, part)
        rows.leave_out(np.logical_not(present.any(axis=0)))

    def _row(self, mode: str) -> Row:
        """The text of a sample, around its loop, its numbers and its times."""
        raise NotImplementedError

    def _texts(self, loops: Sequence[str]) -> list[bytes]:
        """The ids of loops as they stand in a row."""
        raise NotImplementedError

    def _times(self, times: npt.NDArray[np.int64]) -> list[bytes]:
        raise NotImplementedError

    def _told(self, row: Told, time: bytes) -> bytes:
        """A row of the truth, as the lines it takes; time as `_times` writes it."""
        raise NotImplementedError
