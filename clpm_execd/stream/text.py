"""Blocks as rows of text: what line protocol and the tables have in common.

A row is the constant text of a loop in a mode, around the sample's numbers, each as `%.10g`, and its time. Rows are
filled thousands at a time as a table of bytes (see frames), and a signal that is what it was is not formatted again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import MODES, SIGNALS, Arrivals, Block, Floats
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.stream.frames import Frames, Row, Rows, squeezed
from clpm_execd.stream.truth import Row as Told
from clpm_execd.stream.truth import TruthRows

DEFAULT_FIELDS: Mapping[str, str] = {"PV": "pv", "OP": "op", "SP": "sp"}

# The largest double that stays finite once rounded to ten digits: every parser refuses 1.797693135e308.
_LARGEST = 1.797693134e308
# Rows of one table: enough to hide what its calls cost, which is that of a thousand rows, and little memory.
_ROWS = 20_480

Frame = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]


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
        self._rows: dict[int, Rows] = {}  # as they were last filled, by their first loop
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
        loops = [slice(first, min(first + _ROWS, n)) for first in range(0, n, _ROWS)]
        for t in range(start, stop, ticks):
            yield from self._tables(block, slice(t, min(t + ticks, stop)), loops)

    def _tables(self, block: Block, ticks: slice, loops: Sequence[slice]) -> Iterator[bytes | memoryview]:
        # Room for all times first, and all frames: what is new may be wider, and the rows with it.
        times, sent = self._times(block.times[ticks]), block.arrivals
        self._frames.make_room(times)
        frames = self._frames_at(block.mode[ticks], np.arange(len(self._loops)))
        if sent is None:
            for those in loops:
                yield self._grid(block, ticks, those, frames, times).text()
            return
        here = slice(*np.searchsorted(sent.row, [ticks.start, ticks.stop]).tolist())
        arrived, at_times = self._arrived_frames(block, sent, here), self._times(sent.times[here])
        self._frames.make_room(at_times)
        tables = []
        for those in loops:
            rows = self._grid(block, ticks, those, frames, times)
            rows.blank(np.tile(sent.apart[those], len(frames)))
            tables.append(rows.table)
        signals = [getattr(sent, signal)[here, np.newaxis] for signal in self.signals]
        table = np.concatenate([*tables, self._filled(arrived, at_times, signals).table])
        at = np.concatenate([np.repeat(np.arange(ticks.start, ticks.stop), len(self._loops)), sent.row[here]])
        yield squeezed(table[np.argsort(at, kind="stable")])

    def _grid(self, block: Block, ticks: slice, loops: slice, frames: Frame, times: Sequence[bytes]) -> Rows:
        """The samples of the grid at these instants, of these loops."""
        signals = [getattr(block, signal)[ticks, loops] for signal in self.signals]
        return self._filled(frames[:, loops], times, signals, loops.start)

    def _arrived_frames(self, block: Block, sent: Arrivals, here: slice) -> Frame:
        """(R, 1) the frames of these arrivals."""
        return self._frames_at(sent.mode[here], sent.loop[here])[:, np.newaxis]

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

    def _filled(self, frames: Frame, times: Sequence[bytes], signals: list[Floats], tile: int = -1) -> Rows:
        """Rows of T times and N loops each; frames and the signals are (T, N). tile: whose loops these are."""
        rows = self._frames.rows(frames.ravel(), self._rows.get(tile))
        if tile >= 0:
            self._rows[tile] = rows
        if not len(rows.table):
            return rows
        signals = [np.asarray(values, dtype=np.float64) for values in signals]
        for f, values in enumerate(signals):
            rows.put_number(f, values)
        rows.put_times(times)
        if not rows.plain:
            present = np.stack([np.abs(values).ravel() <= _LARGEST for values in signals], axis=1)  # nor is a NaN
            if not present.all():
                self._leave_out(rows, present)
        return rows

    def _leave_out(self, rows: Rows, present: Flags) -> None:
        """Take away the numbers that are not there, and the rows that have none; present is (R, F)."""
        for f, part in enumerate(self._frames.parts):
            rows.blank(~present[:, f], part)
        rows.blank(np.logical_not(present.any(axis=1)))

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
