"""Blocks as CSV: the long form of the historical files, and one row a sample.

Values are those of line protocol to the digit, times are RFC 3339 in UTC with as many decimals as they
need, lines end in LF, and a text is quoted (RFC 4180) only where it must be. A value that does not exist
has no row in the long form and an empty cell in the wide one; a sample without any value has no row in
either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from clpm_execd.stream.line_protocol import DEFAULT_FIELDS, Present, TextEncoder


class LongCsv(TextEncoder):
    """`_time,loop_id,_field,_value,Mode,_measurement`, one row a field, as Flux writes its results."""

    def __init__(
        self,
        loops: Sequence[str],
        *,
        measurement: str = "control_loops",
        fields: Mapping[str, str] = DEFAULT_FIELDS,
    ) -> None:
        super().__init__(loops, fields)
        self._measurement = _cell(measurement)

    def header(self) -> bytes:
        return b"_time,loop_id,_field,_value,Mode,_measurement\n"

    def _row(self, loop: str, mode: str, present: Present) -> list[bytes]:
        fields = zip(self._names, self._formats, present, strict=True)
        end = b"," + mode.encode() + b"," + self._measurement + b"\n"
        row = b"," + _cell(loop) + b","
        return [row + _cell(name) + b"," + form + end for name, form, there in fields if there]

    def _times(self, times: npt.NDArray[np.int64]) -> list[bytes]:
        return rfc3339(times)


class WideCsv(TextEncoder):
    """`time,loop_id,Mode,PV,OP,SP` and a column for each further field, one row a sample."""

    def __init__(self, loops: Sequence[str], *, fields: Mapping[str, str] = DEFAULT_FIELDS) -> None:
        super().__init__(loops, fields)

    def header(self) -> bytes:
        columns = b"".join(b"," + _cell(name) for name in self._names) % ()
        return b"time,loop_id,Mode" + columns + b"\n"

    def _row(self, loop: str, mode: str, present: Present) -> list[bytes]:
        cells = [form if there else b"" for form, there in zip(self._formats, present, strict=True)]
        return [b",".join([b"", _cell(loop), mode.encode(), *cells]) + b"\n"]

    def _times(self, times: npt.NDArray[np.int64]) -> list[bytes]:
        return rfc3339(times)


def rfc3339(times: npt.NDArray[np.int64]) -> list[bytes]:
    """Nanoseconds since 1970 as `2025-01-10T10:05:00Z`, with decimals only where there are some."""
    texts = np.datetime_as_string(times.astype("datetime64[ns]")).tolist()
    return [text.rstrip("0").rstrip(".").encode() + b"Z" for text in texts]


def _cell(text: str) -> bytes:
    """A cell as a `%` template."""
    if any(c in text for c in ',"\r\n'):
        text = '"' + text.replace('"', '""') + '"'
    return text.encode(errors="replace").replace(b"%", b"%%")
