"""Blocks as CSV: the long form of the historical files, and one row a sample.

Values are those of line protocol to the digit, times are RFC 3339 in UTC with as many decimals as they
need, lines end in LF, and a text is quoted (RFC 4180) only where it must be. A value that does not exist
has no row in the long form and an empty cell in the wide one; a sample without any value has no row in
either. The truth, where asked for, is rows of its own measurement in the long form, which then has a last
column `fault`; in the wide one it is the columns `fault`, the present ones joined by +, and `visible`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import MODES, Block, Truth
from clpm_execd.stream.line_protocol import DEFAULT_FIELDS, Present, TextEncoder
from clpm_execd.stream.truth import Row


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
        self._truth_measurement = _cell(truth or "") % ()
        self._end = b",\n" if truth else b"\n"

    def header(self) -> bytes:
        return b"_time,loop_id,_field,_value,Mode,_measurement" + (b",fault\n" if self._truth else b"\n")

    def _row(self, loop: str, mode: str, present: Present) -> list[bytes]:
        fields = zip(self._names, self._formats, present, strict=True)
        end = b"," + mode.encode() + b"," + self._measurement + self._end
        row = b"," + _cell(loop) + b","
        return [row + _cell(name) + b"," + form + end for name, form, there in fields if there]

    def _times(self, times: npt.NDArray[np.int64]) -> list[bytes]:
        return rfc3339(times)

    def _told(self, row: Row, time: bytes) -> bytes:
        begin = time + b"," + _cell(row.loop) % ()
        end = b",," + self._truth_measurement + b"," + _cell(row.fault) % () + b"\n"
        values = {"control": row.control, "present": row.present, "severity": f"{row.severity:.10g}",
                  "visible": row.visible}
        return b"".join(begin + f",{name},{value}".lower().encode() + end for name, value in values.items())


class WideCsv(TextEncoder):
    """`time,loop_id,Mode,PV,OP,SP` and a column for each further field, one row a sample."""

    def __init__(self, loops: Sequence[str], *, fields: Mapping[str, str] = DEFAULT_FIELDS,
                 truth: bool = False) -> None:
        super().__init__(loops, fields)
        self._with_truth = truth
        self._ends = dict.fromkeys(loops, b",,false\n" if truth else b"\n")

    def header(self) -> bytes:
        columns = b"".join(b"," + _cell(name) for name in self._names) % ()
        return b"time,loop_id,Mode" + columns + (b",fault,visible\n" if self._with_truth else b"\n")

    def _samples(self, block: Block, start: int, stop: int) -> bytes:
        if not self._with_truth or block.truth is None or not block.truth.loops:
            return super()._samples(block, start, stop)
        truth = block.truth
        state = truth.present[start:stop] + 2 * truth.visible[start:stop]
        begins = (start + 1 + np.flatnonzero((state[1:] != state[:-1]).any(axis=1))).tolist()
        parts = []
        for begin, end in zip([start, *begins], [*begins, stop], strict=True):
            self._end_rows(truth, begin)
            parts.append(super()._samples(block, begin, end))
        return b"".join(parts)

    def _end_rows(self, truth: Truth, t: int) -> None:
        """Let the rows end with what is true at instant t."""
        faults: dict[str, list[tuple[str, bool, bool]]] = {}
        for loop, *told in zip(truth.loops, truth.kinds, truth.present[t].tolist(), truth.visible[t].tolist(),
                               strict=True):
            faults.setdefault(loop, []).append((told[0], told[1], told[2]))
        ends = {loop: _end(told) for loop, told in faults.items()}
        if not ends.items() <= self._ends.items():
            self._ends |= ends
            self._full.clear()
            self._patterns.clear()

    def _arrived_row(self, block: Block, r: int, present: Present) -> list[bytes]:
        sent, truth = block.arrivals, block.truth
        assert sent is not None
        loop = self._loops[sent.loop[r]]
        end = self._ends[loop]
        if self._with_truth and truth is not None:
            kinds = [truth.kinds[i] for i in np.flatnonzero(truth.column == sent.loop[r])]
            end = _end(list(zip(kinds, sent.present[r].tolist(), sent.visible[r].tolist(), strict=False)))
        return self._cells(loop, MODES[sent.mode[r]], present, end)

    def _row(self, loop: str, mode: str, present: Present) -> list[bytes]:
        return self._cells(loop, mode, present, self._ends[loop])

    def _cells(self, loop: str, mode: str, present: Present, end: bytes) -> list[bytes]:
        cells = [form if there else b"" for form, there in zip(self._formats, present, strict=True)]
        return [b",".join([b"", _cell(loop), mode.encode(), *cells]) + end]

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
    """A cell as a `%` template."""
    if any(c in text for c in ',"\r\n'):
        text = '"' + text.replace('"', '""') + '"'
    return text.encode(errors="replace").replace(b"%", b"%%")
