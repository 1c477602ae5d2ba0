"""Blocks as CSV: the long form of the historical files, and one row a sample.

Values are those of line protocol to the digit, times are RFC 3339 in UTC with as many decimals as they
need, lines end in LF, and a text is quoted (RFC 4180) only where it must be. A value that does not exist
has no row in the long form and an empty cell in the wide one; a sample without any value has no row in
either. The truth, where asked for, is rows of its own measurement in the long form, which then has a last
column `fault`; in the wide one it is the columns `fault`, the present ones joined by +, and `visible`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from clpm_execd.encoding.block_encoder import DEFAULT_FIELDS, Frame, TextEncoder
from clpm_execd.encoding.row_templates import Hole, Row, Stretch
from clpm_execd.encoding.truth_rows import Row as Told
from clpm_execd.plant.block import MODES, Arrivals, Block, Truth


class LongCsv(TextEncoder):
    """`_time,loop_id,_field,_value,Mode,_measurement`, one row a field, as Flux writes its results."""

    def __init__(
        self,
        loops: Sequence[str],
        *,
        measurement: str = "control_loops",
        fields: Mapping[str, str] = DEFAULT_FIELDS,
        truth: str | None = None,
    ) -> None:
        super().__init__(loops, fields, truth)
        self._measurement = _cell(measurement)
        self._truth_measurement = _cell(truth or "")
        self._end = b",\n" if truth else b"\n"

    def header(self) -> bytes:
        return b"_time,loop_id,_field,_value,Mode,_measurement" + (b",fault\n" if self._truth else b"\n")

    def _row(self, mode: str) -> Row:
        end = b"," + mode.encode() + b"," + self._measurement + self._end
        return [(Stretch(b"", Hole.TIME, b","), Stretch(b"", Hole.LOOP, b"," + _cell(name) + b","),
                 Stretch(b"", Hole.NUMBER), Stretch(end)) for name in self._names]

    def _texts(self, loops: Sequence[str]) -> list[bytes]:
        return [_cell(loop) for loop in loops]

    def _times(self, times: npt.NDArray[np.int64]) -> list[bytes]:
        return rfc3339(times)

    def _told(self, row: Told, time: bytes) -> bytes:
        begin = time + b"," + _cell(row.loop)
        end = b",," + self._truth_measurement + b"," + _cell(row.fault) + b"\n"
        values = {"control": row.control, "present": row.present, "severity": f"{row.severity:.10g}",
                  "visible": row.visible}
        return b"".join(begin + f",{name},{value}".lower().encode() + end for name, value in values.items())


class WideCsv(TextEncoder):
    """`time,loop_id,Mode,PV,OP,SP` and a column for each further field, one row a sample."""

    def __init__(self, loops: Sequence[str], *, fields: Mapping[str, str] = DEFAULT_FIELDS,
                 truth: bool = False) -> None:
        super().__init__(loops, fields)
        self._with_truth = truth
        self._ends = dict.fromkeys(range(len(self._loops)), b",,false\n" if truth else b"\n")
        self._ended: dict[tuple[int, int, bytes], np.intp] = {}

    def header(self) -> bytes:
        columns = b"".join(b"," + _cell(name) for name in self._names)
        return b"time,loop_id,Mode" + columns + (b",fault,visible\n" if self._with_truth else b"\n")

    def _samples(self, block: Block, start: int, stop: int) -> Iterator[bytes | memoryview]:
        if not self._with_truth or block.truth is None or not block.truth.loops:
            yield from super()._samples(block, start, stop)
            return
        truth = block.truth
        state = truth.present[start:stop] + 2 * truth.visible[start:stop]
        begins = (start + 1 + np.flatnonzero((state[1:] != state[:-1]).any(axis=1))).tolist()
        for begin, end in zip([start, *begins], [*begins, stop], strict=True):
            self._end_rows(truth, begin)
            yield from super()._samples(block, begin, end)

    def _end_rows(self, truth: Truth, t: int) -> None:
        """Let the rows end with what is true at instant t."""
        faults: dict[int, list[tuple[str, bool, bool]]] = {}
        for loop, *told in zip(truth.column.tolist(), truth.kinds, truth.present[t].tolist(),
                               truth.visible[t].tolist(), strict=True):
            faults.setdefault(loop, []).append((told[0], told[1], told[2]))
        for loop, told in faults.items():
            end = _end(told)
            if end != self._ends[loop]:
                self._ends[loop] = end
                self._frame_of[:, loop] = -1

    def _new_frames(self, loops: list[int], mode: int) -> Frame:
        if not self._with_truth:
            return super()._new_frames(loops, mode)
        return self._ended_frames([(i, mode, self._ends[i]) for i in loops])

    def _arrived_frames(self, block: Block, sent: Arrivals, here: slice) -> Frame:
        truth = block.truth
        if not self._with_truth or truth is None:
            return super()._arrived_frames(block, sent, here)
        kinds = {loop: [truth.kinds[k] for k in np.flatnonzero(truth.column == loop)]
                 for loop in np.unique(sent.loop[here]).tolist()}
        told = zip(sent.loop[here].tolist(), sent.mode[here].tolist(), sent.present[here].tolist(),
                   sent.visible[here].tolist(), strict=True)
        return self._ended_frames([
            (loop, mode, _end(list(zip(kinds[loop], present, visible, strict=False))))
            for loop, mode, present, visible in told])

    def _ended_frames(self, rows: list[tuple[int, int, bytes]]) -> Frame:
        """The frames of rows of a loop and a mode with their ends."""
        new: dict[tuple[int, bytes], list[int]] = {}
        for loop, mode, end in dict.fromkeys(rows):
            if (loop, mode, end) not in self._ended:
                new.setdefault((mode, end), []).append(loop)
        for (mode, end), loops in new.items():
            made = self._frames.add(self._cells(MODES[mode], end), self._texts([self._loops[i] for i in loops]))
            self._ended.update(zip([(i, mode, end) for i in loops], made, strict=True))
        return np.array([self._ended[row] for row in rows], dtype=np.intp)

    def _row(self, mode: str) -> Row:
        return self._cells(mode, b"\n")

    def _texts(self, loops: Sequence[str]) -> list[bytes]:
        return [_cell(loop) for loop in loops]

    def _cells(self, mode: str, end: bytes) -> Row:
        """A row that ends so."""
        begin = (Stretch(b"", Hole.TIME, b","), Stretch(b"", Hole.LOOP, b"," + mode.encode()))
        numbers = [part for _ in self._names for part in ((Stretch(b","),), (Stretch(b"", Hole.NUMBER),))]
        return [begin, *numbers, (Stretch(end),)]

    def _times(self, times: npt.NDArray[np.int64]) -> list[bytes]:
        return rfc3339(times)


def _end(faults: list[tuple[str, bool, bool]]) -> bytes:
    """The end of a row with the truth: of each fault of the loop its kind, whether present and whether visible."""
    present = dict.fromkeys(kind for kind, there, _ in faults if there)
    visible = any(there and seen for _, there, seen in faults)
    return b",%s,%s\n" % (_cell("+".join(present)), b"true" if visible else b"false")


def rfc3339(times: npt.NDArray[np.int64]) -> list[bytes]:
    """Nanoseconds since 1970 as `2025-01-10T10:05:00Z`, with decimals only where there are some."""
    texts = np.datetime_as_string(times.astype("datetime64[ns]")).tolist()
    return [text.rstrip("0").rstrip(".").encode() + b"Z" for text in texts]


def _cell(text: str) -> bytes:
    """A cell."""
    if any(c in text for c in ',"\r\n'):
        text = '"' + text.replace('"', '""') + '"'
    return text.encode(errors="replace")
