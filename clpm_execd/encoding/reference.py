"""The line protocol of this program, one sample after the other: the definition of the format.

The encoder of many rows at once (`line_protocol`) writes the same bytes, and a property test holds it to that. A live
stream of few loops is written by this one, which needs no tables and costs about 2 us a line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from clpm_execd.encoding.escaping import build_series_key, escape, format_string
from clpm_execd.encoding.truth_rows import TruthRow
from clpm_execd.plant.block import INTEGER_SIGNALS, MODES, Block

# Every parser refuses 1.797693135e308, the text of a larger double: it lies above the largest one.
LARGEST_WRITABLE = 1.797693134e308

Sample = tuple[int, int, int, list[float]]


class ReferenceEncoder:
    """Writes each sample as a line `measurement,tags fields time`; no name may have a defect (see `escaping`)."""

    def __init__(self, loops: Sequence[str], *, measurement: str, fields: Mapping[str, str], mode_tag: str | None,
                 tags: Mapping[str, str], loop_tags: Mapping[str, Mapping[str, str]],
                 modes: Sequence[str] = MODES) -> None:
        self._signals = [signal for _, signal in sorted(fields.items())]
        self._fields = [escape(name).replace("%", "%%") + ("=%di" if signal in INTEGER_SIGNALS else "=%.10g")
                        for name, signal in sorted(fields.items())]
        self._series = [[build_series_key(measurement, {**tags, **loop_tags.get(loop, {}), "loop_id": loop,
                                                        **({mode_tag: mode} if mode_tag else {})})
                         for loop in loops] for mode in modes]

    def encode(self, block: Block, start: int, stop: int) -> bytes:
        """Return the lines of the instants [start, stop) of a Block.

        A value that is not finite is omitted, and a sample without any value has no line.
        """
        lines = []
        for time, loop, mode, values in self._iterate_samples(block, start, stop):
            texts = [field % value for field, value in zip(self._fields, values, strict=True)
                     if abs(value) <= LARGEST_WRITABLE]  # a NaN is not
            if texts:
                lines.append(f"{self._series[mode][loop]} {','.join(texts)} {time}\n")
        return "".join(lines).encode()

    def _iterate_samples(self, block: Block, start: int, stop: int) -> Iterator[Sample]:
        """Yield time (ns), loop, mode and values of each sample, in the order in which they leave.

        A loop whose data path is at fault has no samples on the grid; what arrives from it leaves after the grid's.
        """
        arrivals = block.arrivals
        at_fault = set() if arrivals is None else set(np.flatnonzero(arrivals.has_data_path_fault).tolist())
        columns = [getattr(block, name)[start:stop].tolist() for name in ("mode", *self._signals)]
        for t, (time, *rows) in enumerate(zip(block.times[start:stop].tolist(), *columns, strict=True), start):
            for loop, (mode, *values) in enumerate(zip(*rows, strict=True)):
                if loop not in at_fault:
                    yield time, loop, mode, values
            if arrivals is not None:
                for r in np.flatnonzero(arrivals.row == t).tolist():
                    values = [getattr(arrivals, signal)[r].item() for signal in self._signals]
                    yield int(arrivals.times[r]), int(arrivals.loop[r]), int(arrivals.mode[r]), values


def encode_truth(measurement: str, tags: Mapping[str, str], row: TruthRow, time: bytes) -> bytes:
    """Return a row of the ground truth as a line; time: ns since 1970, as text."""
    series = build_series_key(measurement, {**tags, "loop_id": row.loop, "fault": row.fault})
    cause = f"cause={format_string(row.cause)}," if row.cause else ""
    delay, path = (f"delay={row.delay:.10g},", f"path={format_string(row.path)},") if row.path else ("", "")
    control = f"control={row.control},{delay}effect={row.effect:.4g},".lower()
    state = f"present={row.present},severity={row.severity:.10g},visible={row.visible}".lower()
    return f"{series} {cause}{control}{path}{state} ".encode() + time + b"\n"
