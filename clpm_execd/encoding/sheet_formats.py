"""The loop sheet as text: a table to read, CSV, JSON, and line protocol, also among the samples of a stream.

Numbers have up to ten significant digits, as those of samples have; in the table they have five.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from clpm_execd.encoding.escaping import build_series_key, escape, format_string
from clpm_execd.plant.block import Block
from clpm_execd.plant.loop_sheet import LoopSheetRow
from clpm_execd.problems import BadInput, Problem
from clpm_execd.stored_names import LOOP_SHEET_CHECKSUM
from clpm_execd.units import DURATION_UNITS_NS

_COLUMNS = tuple(field.name for field in fields(LoopSheetRow) if field.name != "tags")
_TAGS = ("loop_id", "area", "type", "unit")  # in line protocol; the other columns are fields
_FIELDS = tuple(sorted(set(_COLUMNS) - set(_TAGS)))
_REPEAT_NS = DURATION_UNITS_NS["h"]  # a reader that looks at the last hour or two finds the sheet


def format_sheet_as_table(rows: Sequence[LoopSheetRow]) -> str:
    """Return the sheet as aligned columns under a heading, without the columns that would be empty.

    Parameters
    ----------
    rows : sequence of LoopSheetRow
    """
    columns = {
        "loop": [row.loop_id for row in rows],
        "type": [row.type for row in rows],
        "range": [f"{row.range_low:.5g} to {row.range_high:.5g} {row.unit}".rstrip() for row in rows],
        "SP": [f"{row.sp:.5g}" for row in rows],
        "mode": [row.mode for row in rows],
        "cascade": [row.cascade for row in rows],
        "form": [row.form for row in rows],
        "action": [row.action for row in rows],
        "gain": [f"{row.gain:.5g}" for row in rows],
        "reset s": [f"{row.reset:.5g}" for row in rows],
        "derivative s": [f"{row.derivative:.5g}" for row in rows],
        "OP": [f"{row.op_low:.5g} to {row.op_high:.5g}" for row in rows],
        "interval s": [f"{row.interval:.5g}" for row in rows],
        "scan s": [f"{row.scan:.5g}" for row in rows],
        "area": [row.area for row in rows],
        "description": [row.description for row in rows],
    }
    texts = []
    for heading, cells in columns.items():
        if any(cells):
            width = max(map(len, (heading, *cells)))
            texts.append([cell.ljust(width) for cell in (heading, *cells)])
    return "".join("  ".join(line).rstrip() + "\n" for line in zip(*texts, strict=True))


def format_sheet_as_csv(rows: Sequence[LoopSheetRow]) -> str:
    """Return the sheet as CSV, a row for each loop under the names of the columns; tags are left out.

    Parameters
    ----------
    rows : sequence of LoopSheetRow
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([_format_cell(getattr(row, column)) for column in _COLUMNS] for row in rows)
    return text.getvalue()


def format_sheet_as_json(rows: Sequence[LoopSheetRow]) -> str:
    """Return the sheet as a JSON array with an object for each loop.

    Parameters
    ----------
    rows : sequence of LoopSheetRow
    """
    objects = [{column: _round_value(getattr(row, column)) for column in _COLUMNS} | {"tags": dict(row.tags)}
               for row in rows]
    return json.dumps(objects, indent=2, ensure_ascii=False) + "\n"


def format_sheet_as_line_protocol(rows: Sequence[LoopSheetRow], measurement: str, tags: Mapping[str, str], time: int
                                  ) -> str:
    """Return the sheet as a point for each loop; what is empty is left out.

    Parameters
    ----------
    rows : sequence of LoopSheetRow
    measurement : str
        The measurement of the points.
    tags : mapping of str to str
        Tags of all loops; like all texts of the rows they hold nothing that no line can carry. A tag of a loop, or else
        of all loops, replaces its area, type or unit.
    time : int
        Time of all points, ns since 1970.

    Raises
    ------
    BadInput
        A tag has the name of a field.
    """
    return "".join(f"{point}{time}\n" for point in _format_points(rows, measurement, tags))


def _format_points(rows: Sequence[LoopSheetRow], measurement: str, tags: Mapping[str, str]) -> list[str]:
    """Return the lines of `format_sheet_as_line_protocol` up to their time."""
    problems: list[Problem] = []
    points = []
    for row in rows:
        own = {tag: value for tag in _TAGS if (value := getattr(row, tag))}
        all_tags = {**own, **tags, **row.tags}
        problems += [Problem(f"tag {tag!r}", "the loop sheet has a field of this name", "choose another name")
                     for tag in all_tags if tag in _FIELDS]
        values = [f"{escape(name)}={_format_field(value)}" for name in _FIELDS if (value := getattr(row, name)) != ""]
        points.append(f"{build_series_key(measurement, all_tags)} {','.join(values)} ")
    if problems:
        raise BadInput(dict.fromkeys(problems))
    return points


class SheetPoints:
    """The loop sheet among the samples of a stream: before its first sample, at each change, and at each full hour.

    Parameters
    ----------
    rows : sequence of LoopSheetRow
    measurement : str
        The measurement of the points.
    tags : mapping of str to str
        As in `format_sheet_as_line_protocol`.
    current_rows : callable, optional
        Returns the rows as they are for the Block that is written next, the same object as long as they are the same;
        for loops that are changed while the stream runs.

    Raises
    ------
    BadInput
        A tag has the name of a field.
    """

    def __init__(self, rows: Sequence[LoopSheetRow], measurement: str, tags: Mapping[str, str],
                 current_rows: Callable[[], Sequence[LoopSheetRow]] | None = None) -> None:
        self._measurement, self._tags, self._current_rows = measurement, tags, current_rows
        self._last_checksum: int | None = None  # the checksum of the points that were written last
        self.update(rows)

    def update(self, rows: Sequence[LoopSheetRow]) -> None:
        """Replace the sheet; it is written before the next sample if it has changed.

        Parameters
        ----------
        rows : sequence of LoopSheetRow
        """
        self._rows, self._points = rows, _format_points(rows, self._measurement, self._tags)
        self._checksum = crc32("\n".join(self._points).encode())

    def take_due(self, block: Block, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Yield which of the instants [start, stop) of a Block have points before their samples, with these points."""
        if self._current_rows and (rows := self._current_rows()) is not self._rows:
            self.update(rows)
        times = block.times[start:stop]
        is_due = times // _REPEAT_NS != (times - block.interval) // _REPEAT_NS
        is_due[:1] |= self._last_checksum != self._checksum
        for t in (start + np.flatnonzero(is_due)).tolist():
            self._last_checksum = self._checksum
            yield t, "".join(f"{point}{block.times[t]}\n" for point in self._points).encode()

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Return which sheet has been written last, as an array by the name it has in a checkpoint."""
        return {} if self._last_checksum is None else {LOOP_SHEET_CHECKSUM: np.array([self._last_checksum])}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on with the stream of a snapshot: its last sheet is not written again."""
        if LOOP_SHEET_CHECKSUM in state:
            self._last_checksum = int(state[LOOP_SHEET_CHECKSUM][0])


def _format_field(value: str | float) -> str:
    return format_string(value) if isinstance(value, str) else _format_cell(value)


def _format_cell(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.10g}"


def _round_value(value: str | float) -> str | float:
    return value if isinstance(value, str) else float(f"{value:.10g}")
