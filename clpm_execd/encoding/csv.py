"""Blocks as CSV: the long form of the historical files, and one row per sample.

Values are those of line protocol to the digit, times are RFC 3339 in UTC with as many decimals as they need, lines end
in LF, and a text is quoted (RFC 4180) only where it must be. A value that does not exist has no row in the long form
and an empty cell in the wide one; a sample without any value has no row in either. The ground truth, where asked for,
is rows of its own measurement in the long form, which then has a last column `fault`; in the wide form it is the
columns `fault`, the kinds that are present joined by +, and `visible`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from clpm_execd.encoding.block_encoder import DEFAULT_FIELDS, BlockEncoder
from clpm_execd.encoding.row_templates import RowFormat, Segment, Slot
from clpm_execd.encoding.truth_rows import TruthRow
from clpm_execd.plant.block import MODES, Arrivals, Block, Truth
from clpm_execd.plant.loop_set import Indices


class _Csv(BlockEncoder):
    """What both forms have in common: ids are quoted where they must be, and times are RFC 3339."""

    def _format_loops(self, loops: Sequence[str]) -> list[bytes]:
        return [_quote(loop) for loop in loops]

    def _format_times(self, times: npt.NDArray[np.int64]) -> list[bytes]:
        return format_rfc3339(times)


class LongCsv(_Csv):
    """Encodes Blocks as `_time,loop_id,_field,_value,Mode,_measurement`, one row per field, as Flux writes its results.

    Parameters
    ----------
    loops : sequence of str
        The ids, in the order of the Blocks' columns.
    measurement : str
        The measurement of the samples.
    fields : mapping of str to str
        The signal of the Block by the name of the field.
    truth : str, optional
        The measurement of the ground truth; without it no rows of the truth are written.
    modes : sequence of str
        The text of each mode, in the order of MODES.

    Raises
    ------
    BadInput
        There is no field, or a field of an unknown signal.
    """

    def __init__(
        self,
        loops: Sequence[str],
        *,
        measurement: str = "control_loops",
        fields: Mapping[str, str] = DEFAULT_FIELDS,
        truth: str | None = None,
        modes: Sequence[str] = MODES,
    ) -> None:
        super().__init__(loops, fields, truth, modes)
        self._measurement = _quote(measurement)
        self._truth_measurement = _quote(truth or "")
        self._end = b",\n" if truth else b"\n"

    def header(self) -> bytes:
        return b"_time,loop_id,_field,_value,Mode,_measurement" + (b",fault\n" if self._truth_rows else b"\n")

    def _build_row_format(self, mode: str) -> RowFormat:
        end = b"," + mode.encode() + b"," + self._measurement + self._end
        return [(Segment(b"", Slot.TIME, b","), Segment(b"", Slot.LOOP, b"," + _quote(name) + b","),
                 Segment(b"", Slot.NUMBER), Segment(end)) for name in self._names]

    def _format_truth(self, row: TruthRow, time_text: bytes) -> bytes:
        begin = time_text + b"," + _quote(row.loop)
        end = b",," + self._truth_measurement + b"," + _quote(row.fault) + b"\n"
        values = {"control": row.control, "effect": f"{row.effect:.4g}", "present": row.present,
                  "severity": f"{row.severity:.10g}", "visible": row.visible}
        if row.path:
            values["delay"] = f"{row.delay:.10g}"
        texts = b"".join(begin + b"," + name + b"," + _quote(text) + end
                         for name, text in ((b"cause", row.cause), (b"path", row.path)) if text)
        return texts + b"".join(begin + f",{name},{value}".lower().encode() + end for name, value in values.items())


class WideCsv(_Csv):
    """Encodes Blocks as `time,loop_id,Mode,PV,OP,SP` and a column for each further field, one row per sample.

    Parameters
    ----------
    loops : sequence of str
        The ids, in the order of the Blocks' columns.
    fields : mapping of str to str
        The signal of the Block by the name of the column.
    truth : bool
        Whether each row ends with the faults that are present, and whether one is visible.
    modes : sequence of str
        The text of each mode, in the order of MODES.

    Raises
    ------
    BadInput
        There is no field, or a field of an unknown signal.
    """

    def __init__(self, loops: Sequence[str], *, fields: Mapping[str, str] = DEFAULT_FIELDS,
                 truth: bool = False, modes: Sequence[str] = MODES) -> None:
        super().__init__(loops, fields, modes=modes)
        self._with_truth = truth
        # The end of the rows of each loop, and the template of a loop in a mode with an end.
        self._ends = dict.fromkeys(range(len(self._loops)), b",,false\n" if truth else b"\n")
        self._template_with_end: dict[tuple[int, int, bytes], np.intp] = {}

    def header(self) -> bytes:
        columns = b"".join(b"," + _quote(name) for name in self._names)
        return b"time,loop_id,Mode" + columns + (b",fault,visible\n" if self._with_truth else b"\n")

    def _encode_ticks(self, block: Block, start: int, stop: int) -> Iterator[bytes | memoryview]:
        if not self._with_truth or block.truth is None or not block.truth.loops:
            yield from super()._encode_ticks(block, start, stop)
            return
        truth = block.truth
        state = truth.present[start:stop] + 2 * truth.visible[start:stop]
        changes = (start + 1 + np.flatnonzero((state[1:] != state[:-1]).any(axis=1))).tolist()
        for first, end in zip([start, *changes], [*changes, stop], strict=True):
            self._set_ends(truth, first)
            yield from super()._encode_ticks(block, first, end)

    def _set_ends(self, truth: Truth, t: int) -> None:
        """Let the rows of each loop end with its truth at instant t."""
        faults: dict[int, list[tuple[str, bool, bool]]] = {}
        for loop, kind, present, visible in zip(truth.column.tolist(), truth.kinds, truth.present[t].tolist(),
                                                truth.visible[t].tolist(), strict=True):
            faults.setdefault(loop, []).append((kind, present, visible))
        for loop, faults_of_loop in faults.items():
            end = _end_of_row(faults_of_loop)
            if end != self._ends[loop]:
                self._ends[loop] = end
                self._template_of[:, loop] = -1

    def _add_templates(self, loops: list[int], mode: int) -> Indices:
        if not self._with_truth:
            return super()._add_templates(loops, mode)
        return self._find_templates_with_ends([(i, mode, self._ends[i]) for i in loops])

    def _find_arrival_templates(self, block: Block, arrivals: Arrivals, arriving: slice) -> Indices:
        truth = block.truth
        if not self._with_truth or truth is None:
            return super()._find_arrival_templates(block, arrivals, arriving)
        loops = arrivals.loop[arriving]
        kinds = truth.kinds_by_loop(loops)
        rows = zip(loops.tolist(), arrivals.mode[arriving].tolist(), arrivals.present[arriving].tolist(),
                   arrivals.visible[arriving].tolist(), strict=True)
        return self._find_templates_with_ends([
            (loop, mode, _end_of_row(list(zip(kinds[loop], present, visible, strict=False))))
            for loop, mode, present, visible in rows])

    def _find_templates_with_ends(self, rows: list[tuple[int, int, bytes]]) -> Indices:
        """Return the templates of rows of a loop and a mode with their ends."""
        new: dict[tuple[int, bytes], list[int]] = {}
        for loop, mode, end in dict.fromkeys(rows):
            if (loop, mode, end) not in self._template_with_end:
                new.setdefault((mode, end), []).append(loop)
        for (mode, end), loops in new.items():
            templates = self._templates.add(self._build_cells(self._modes[mode], end),
                                            self._format_loops([self._loops[i] for i in loops]))
            self._template_with_end.update(zip([(i, mode, end) for i in loops], templates, strict=True))
        return np.array([self._template_with_end[row] for row in rows], dtype=np.intp)

    def _build_row_format(self, mode: str) -> RowFormat:
        return self._build_cells(mode, b"\n")

    def _build_cells(self, mode: str, end: bytes) -> RowFormat:
        """Return a row with this end."""
        begin = (Segment(b"", Slot.TIME, b","), Segment(b"", Slot.LOOP, b"," + mode.encode()))
        numbers = [field for _ in self._names for field in ((Segment(b","),), (Segment(b"", Slot.NUMBER),))]
        return [begin, *numbers, (Segment(end),)]


def _end_of_row(faults: list[tuple[str, bool, bool]]) -> bytes:
    """Return the end of a row with the truth; faults: as in `join_faults`."""
    text, is_visible = join_faults(faults)
    return b",%s,%s\n" % (_quote(text), b"true" if is_visible else b"false")


def join_faults(faults: Sequence[tuple[str, bool, bool]]) -> tuple[str, bool]:
    """Return the kinds that are present, joined by +, and whether one of them is visible.

    faults: of one loop at one instant, each fault's kind, whether it is present, and whether it is visible.
    """
    kinds = dict.fromkeys(kind for kind, present, _ in faults if present)
    return "+".join(kinds), any(present and visible for _, present, visible in faults)


def format_rfc3339(times: npt.NDArray[np.int64]) -> list[bytes]:
    """Return times, ns since 1970, as `2025-01-10T10:05:00Z`, with decimals only where there are some."""
    texts = np.datetime_as_string(times.astype("datetime64[ns]")).tolist()
    return [text.rstrip("0").rstrip(".").encode() + b"Z" for text in texts]


def _quote(text: str) -> bytes:
    """Return a text as a cell, in quotes where it must be."""
    if any(c in text for c in ',"\r\n'):
        text = '"' + text.replace('"', '""') + '"'
    return text.encode(errors="replace")
