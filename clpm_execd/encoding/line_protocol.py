"""Blocks as InfluxDB line protocol, in the subset that every parser of it reads alike.

Every line is complete and valid: LF only, tags and fields sorted by name, floats as `%.10g`, the timestamp in ns. A
value that is not finite is omitted, and a point without any value too. A name that line protocol cannot carry is
refused when the encoder is made, all such names at once; nothing is refused afterwards.

`reference` defines the format. It encodes few lines, and the templates of `block_encoder` many, to the same bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clpm_execd.encoding.block_encoder import DEFAULT_FIELDS, BlockEncoder
from clpm_execd.encoding.byte_rows import Flags, RowBuffer
from clpm_execd.encoding.escaping import build_series_key, escape, find_defect, format_tags
from clpm_execd.encoding.reference import ReferenceEncoder, encode_truth
from clpm_execd.encoding.row_templates import RowFormat, Segment, Slot
from clpm_execd.encoding.truth_rows import TruthRow
from clpm_execd.plant.block import INTEGER_SIGNALS, MODES, Block
from clpm_execd.plant.loop_set import Indices
from clpm_execd.problems import BadInput, Problem

if TYPE_CHECKING:
    from clpm_execd.encoding.sheet_formats import SheetPoints

# Samples up to which the reference encoder takes less time: both took 0.3 ms for about 140 samples of three fields
# (test_live_tick in tests/benchmarks/test_speed.py).
FEW_LINES = 100


class LineProtocol(BlockEncoder):
    """Encodes Blocks as `measurement,tags fields time`, one line for each loop and sample.

    Parameters
    ----------
    loops : sequence of str
        The ids, in the order of the Blocks' columns.
    measurement : str
        The measurement of the samples.
    fields : mapping of str to str
        The signal of the Block by the name of the field.
    mode_tag : str, optional
        The tag of the mode; empty or None for no such tag.
    tags : mapping of str to str, optional
        Further tags, the same on every line.
    loop_tags : mapping of str to mapping, optional
        The tags of single loops by id; they replace `tags` of the same name.
    truth : str, optional
        The measurement of the ground truth; without it no rows of the truth are written.
    modes : sequence of str
        The text of each mode, in the order of MODES.
    sheet : SheetPoints, optional
        The loop sheet that is written among the samples.

    Raises
    ------
    BadInput
        A name or a tag that no line can carry; it lists all of them.
    """

    def __init__(
        self,
        loops: Sequence[str],
        *,
        measurement: str = "control_loops",
        fields: Mapping[str, str] = DEFAULT_FIELDS,
        mode_tag: str | None = "Mode",
        tags: Mapping[str, str] | None = None,
        loop_tags: Mapping[str, Mapping[str, str]] | None = None,
        truth: str | None = None,
        modes: Sequence[str] = MODES,
        sheet: SheetPoints | None = None,
    ) -> None:
        super().__init__(loops, dict(sorted(fields.items())), truth, modes)
        tags = dict(tags or {})
        own_tags = ["loop_id", *([mode_tag] if mode_tag else [])]
        pairs = [*tags.items(), *dict.fromkeys(tag for tags_ in (loop_tags or {}).values() for tag in tags_.items())]
        problems = [*_check_names(measurement, pairs, own_tags, fields), *_check_ids(loops)]
        if truth:
            problems += _check_names(truth, [], [], {})
            problems += _check_truth(truth, measurement, dict(pairs))
        if problems:
            raise BadInput(problems)
        self._measurement = measurement
        self.sheet = sheet
        self._truth_measurement = truth or ""
        self._mode_tag = mode_tag or None
        self._tags = tags
        self._loop_tags = loop_tags or {}
        ends = [(Segment(b"i"),) if signal in INTEGER_SIGNALS else () for signal in self.signals]
        # The first field of a sample that is present stands behind a space, the others each behind a comma.
        self._fields: RowFormat = [
            (Segment((b"," if f else b" ") + escape(name).encode() + b"=", Slot.NUMBER), *end)
            for f, (name, end) in enumerate(zip(self._names, ends, strict=True))]

    @cached_property
    def _reference(self) -> ReferenceEncoder:
        return ReferenceEncoder(self._loops, measurement=self._measurement, mode_tag=self._mode_tag, tags=self._tags,
                                loop_tags=self._loop_tags, modes=self._modes,
                                fields=dict(zip(self._names, self.signals, strict=True)))

    def snapshot(self) -> Mapping[str, npt.NDArray[Any]]:
        return {**super().snapshot(), **(self.sheet.snapshot() if self.sheet else {})}

    def restore(self, state: Mapping[str, npt.NDArray[Any]], loops: Collection[str]) -> None:
        super().restore(state, loops)
        if self.sheet:
            self.sheet.restore(state)

    def _encode_ticks(self, block: Block, start: int, stop: int) -> Iterator[bytes | memoryview]:
        for t, points in self.sheet.take_due(block, start, stop) if self.sheet else ():
            yield from self._encode_samples(block, start, t)
            yield points
            start = t
        yield from self._encode_samples(block, start, stop)

    def _encode_samples(self, block: Block, start: int, stop: int) -> Iterator[bytes | memoryview]:
        if (stop - start) * len(self._loops) <= FEW_LINES:
            yield self._reference.encode(block, start, stop)
        else:
            yield from super()._encode_ticks(block, start, stop)

    def _build_row_format(self, mode: str) -> RowFormat:
        begin, end = self._format_around_id(mode, {})
        return [(Segment(begin, Slot.LOOP, end),), *self._fields, (Segment(b" ", Slot.TIME, b"\n"),)]

    def _format_around_id(self, mode: str, loop_tags: Mapping[str, str]) -> tuple[bytes, bytes]:
        """Return what stands in a series key before and after the id of a loop with these tags of its own."""
        tags = {**self._tags, **loop_tags, **({self._mode_tag: mode} if self._mode_tag else {})}
        before = {tag: tags.pop(tag) for tag in list(tags) if tag.encode() < b"loop_id"}
        return (build_series_key(self._measurement, before) + ",loop_id=").encode(), format_tags(tags).encode()

    def _add_templates(self, loops: list[int], mode: int) -> Indices:
        if not self._loop_tags:
            return super()._add_templates(loops, mode)
        ids = [self._loops[i] for i in loops]
        around_id: dict[tuple[tuple[str, str], ...], tuple[bytes, bytes]] = {}  # many loops have the same tags
        series = []
        for loop, text in zip(ids, self._format_loops(ids), strict=True):
            tags = self._loop_tags.get(loop, {})
            key = tuple(tags.items())
            if key not in around_id:
                around_id[key] = self._format_around_id(self._modes[mode], tags)
            begin, end = around_id[key]
            series.append(begin + text + end)
        _, *rest = self._build_row_format(self._modes[mode])
        return self._templates.add([(Segment(b"", Slot.LOOP),), *rest], series)

    def _format_loops(self, loops: Sequence[str]) -> list[bytes]:
        return escape("\n".join(loops)).encode().split(b"\n")  # no id has a newline

    def _omit_missing(self, rows: RowBuffer, present: Flags) -> None:
        super()._omit_missing(rows, present)
        first = present.argmax(axis=0)
        for f, columns in enumerate(self._templates.number_columns):
            rows.set_first_byte(present[f] & (first == f), columns.start, ord(" "))

    def _format_times(self, times: npt.NDArray[np.int64]) -> list[bytes]:
        return [b"%d" % time for time in times.tolist()]

    def _format_truth(self, row: TruthRow, time_text: bytes) -> bytes:
        tags = {**self._tags, **self._loop_tags.get(row.loop, {})}
        return encode_truth(self._truth_measurement, tags, row, time_text)


def _check_ids(loops: Collection[str]) -> list[Problem]:
    text = "".join(loops)
    if all(loops) and text.isprintable() and "\\" not in text:  # nearly always; else each by itself
        return []
    return [
        Problem(f"loop id {loop!r}", defect, "choose an id without it")
        for loop in loops
        if (defect := find_defect(loop)) is not None
    ]


def _check_truth(truth: str, measurement: str, tags: Mapping[str, str]) -> list[Problem]:
    problems = []
    if truth == measurement:
        problems.append(Problem("truth", "the samples have this measurement", "give the truth one of its own"))
    if "fault" in tags:
        problems.append(Problem("tag 'fault'", "the truth writes this tag itself", "choose another name"))
    return problems


def _check_names(
    measurement: str, tags: Sequence[tuple[str, str]], own_tags: Sequence[str], fields: Mapping[str, str]
) -> list[Problem]:
    """Return what is wrong with the names; own_tags: those that the encoder writes itself."""
    keys = list(dict.fromkeys(key for key, _ in tags))
    names = [("measurement", measurement), *((f"tag {key!r}", key) for key in (*keys, *own_tags))]
    names += [(f"value of tag {key!r}", value) for key, value in tags]
    names += [(f"field {name!r}", name) for name in fields]
    problems = [
        Problem(where, defect, "choose a text without it")
        for where, text in names
        if (defect := find_defect(text)) is not None
    ]
    conflicts = [("measurement", "a line that begins with # is a comment")] if measurement.startswith("#") else []
    conflicts += [(f"tag {key!r}", "the stream writes this tag itself") for key in keys if key in own_tags]
    conflicts += [(f"tag {key!r}", "Telegraf sets this tag itself") for key in (*keys, *own_tags) if key == "host"]
    conflicts += [(f"tag {key!r}", "it is the name of the time column") for key in (*keys, *own_tags) if key == "time"]
    conflicts += [("field 'time'", "it is the name of the time column") for name in fields if name == "time"]
    conflicts += [("mode_tag", "loop_id is the tag of the loop's id")] if len(set(own_tags)) < len(own_tags) else []
    return problems + [Problem(where, why, "choose another name") for where, why in conflicts]
