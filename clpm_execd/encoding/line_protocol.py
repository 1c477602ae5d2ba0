"""Blocks as InfluxDB line protocol, in the subset that every parser of it reads alike.

Every line is whole and valid: LF only, tags and fields sorted by name, floats as `%.10g`, the timestamp in
ns. A value that is no number is left out, and with it the point when nothing remains. A name that line
protocol cannot carry is refused when the encoder is made, all such names at once; nothing is refused
afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from clpm_execd.encoding.block_encoder import DEFAULT_FIELDS, TextEncoder
from clpm_execd.encoding.byte_rows import Flags, Rows
from clpm_execd.encoding.escaping import escape, find_defect, series_key, tag_set
from clpm_execd.encoding.reference import ReferenceEncoder, encode_truth
from clpm_execd.encoding.row_templates import Hole, Row, Stretch
from clpm_execd.encoding.truth_rows import Row as Told
from clpm_execd.plant.block import Block
from clpm_execd.problems import BadInput, Problem

# Samples up to which the reference encoder takes less time: both took 0.25 ms for 110 to 140 samples of three fields
# (test_live_tick in tests/benchmarks/test_speed.py).
FEW_LINES = 100


class LineProtocol(TextEncoder):
    """`measurement,tags fields time`, one line a loop and sample.

    loops: the ids, in the order of the Blocks to come. fields: name -> signal of the Block. mode_tag: the
    tag that carries the mode, empty for none. tags: further tags, the same on every line. truth: the
    measurement of the truth, None for none. Raises BadInput for what no line can carry.
    """

    def __init__(
        self,
        loops: Sequence[str],
        *,
        measurement: str = "control_loops",
        fields: Mapping[str, str] = DEFAULT_FIELDS,
        mode_tag: str | None = "Mode",
        tags: Mapping[str, str] | None = None,
        truth: str | None = None,
    ) -> None:
        super().__init__(loops, dict(sorted(fields.items())), truth)
        tags = dict(tags or {})
        own = ["loop_id", *([mode_tag] if mode_tag else [])]
        problems = [*_unfit(measurement, tags, own, fields), *_unfit_ids(loops)]
        if truth:
            problems += _unfit(truth, {}, [], {})
            problems += _taken_by_truth(truth, measurement, tags)
        if problems:
            raise BadInput(problems)
        self._measurement = measurement
        self._truth_measurement = truth or ""
        self._mode_tag = mode_tag or None
        self._tags = tags
        ends = [(Stretch(b"i"),) if signal == "quality" else () for signal in self.signals]
        # Of a sample the first field that is there stands behind a space, the others each behind a comma.
        self._fields: Row = [
            (Stretch((b"," if f else b" ") + escape(name).encode() + b"=", Hole.NUMBER), *end)
            for f, (name, end) in enumerate(zip(self._names, ends, strict=True))]

    @cached_property
    def _reference(self) -> ReferenceEncoder:
        return ReferenceEncoder(self._loops, measurement=self._measurement, mode_tag=self._mode_tag, tags=self._tags,
                                fields=dict(zip(self._names, self.signals, strict=True)))

    def _samples(self, block: Block, start: int, stop: int) -> Iterator[bytes | memoryview]:
        if (stop - start) * len(self._loops) <= FEW_LINES:
            yield self._reference.encode(block, start, stop)
        else:
            yield from super()._samples(block, start, stop)

    def _row(self, mode: str) -> Row:
        tags = {**self._tags, **({self._mode_tag: mode} if self._mode_tag else {})}
        before = {tag: tags.pop(tag) for tag in list(tags) if tag.encode() < b"loop_id"}
        begin, end = (series_key(self._measurement, before) + ",loop_id=").encode(), tag_set(tags).encode()
        return [(Stretch(begin, Hole.LOOP, end),), *self._fields, (Stretch(b" ", Hole.TIME, b"\n"),)]

    def _texts(self, loops: Sequence[str]) -> list[bytes]:
        return escape("\n".join(loops)).encode().split(b"\n")  # no id has a newline

    def _leave_out(self, rows: Rows, present: Flags) -> None:
        super()._leave_out(rows, present)
        first = present.argmax(axis=0)
        for f, part in enumerate(self._frames.parts):
            rows.begin(present[f] & (first == f), part.start, ord(" "))

    def _times(self, times: npt.NDArray[np.int64]) -> list[bytes]:
        return [b"%d" % time for time in times.tolist()]

    def _told(self, row: Told, time: bytes) -> bytes:
        return encode_truth(self._truth_measurement, self._tags, row, time)


def _unfit_ids(loops: Collection[str]) -> list[Problem]:
    together = "".join(loops)
    if all(loops) and together.isprintable() and "\\" not in together:  # nearly always; else each by itself
        return []
    return [
        Problem(f"loop id {loop!r}", why, "choose an id without it")
        for loop in loops
        if (why := find_defect(loop)) is not None
    ]


def _taken_by_truth(truth: str, measurement: str, tags: Mapping[str, str]) -> list[Problem]:
    problems = []
    if truth == measurement:
        problems.append(Problem("truth", "the samples have this measurement", "give the truth one of its own"))
    if "fault" in tags:
        problems.append(Problem("tag 'fault'", "the truth writes this tag itself", "choose another name"))
    return problems


def _unfit(
    measurement: str, tags: Mapping[str, str], own: Sequence[str], fields: Mapping[str, str]
) -> list[Problem]:
    named = [("measurement", measurement), *((f"tag {key!r}", key) for key in (*tags, *own))]
    named += [(f"value of tag {key!r}", value) for key, value in tags.items()]
    named += [(f"field {name!r}", name) for name in fields]
    problems = [
        Problem(where, why, "choose a text without it")
        for where, text in named
        if (why := find_defect(text)) is not None
    ]
    taken = [("measurement", "a line that begins with # is a comment")] if measurement.startswith("#") else []
    taken += [(f"tag {key!r}", "the stream writes this tag itself") for key in tags if key in own]
    taken += [(f"tag {key!r}", "Telegraf sets this tag itself") for key in (*tags, *own) if key == "host"]
    taken += [(f"tag {key!r}", "it is the name of the time column") for key in (*tags, *own) if key == "time"]
    taken += [("field 'time'", "it is the name of the time column") for name in fields if name == "time"]
    taken += [("mode_tag", "loop_id is the tag of the loop's id")] if len(set(own)) < len(own) else []
    return problems + [Problem(where, why, "choose another name") for where, why in taken]
