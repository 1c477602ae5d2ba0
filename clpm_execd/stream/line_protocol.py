"""Blocks as InfluxDB line protocol, in the subset that every parser of it reads alike.

Every line is whole and valid: LF only, tags and fields sorted by name, floats as `%.10g`, the timestamp in
ns. A value that is no number is left out, and with it the point when nothing remains. A name that line
protocol cannot carry is refused when the encoder is made, all such names at once; nothing is refused
afterwards.

The text is made by one `%` over many samples: the bytes between the numbers stay the same as long as no mode
changes and no value is missing, so they are kept, and a tick costs little more than formatting its numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import MODES, SIGNALS, Block
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.stream.truth import Row, TruthRows

DEFAULT_FIELDS: Mapping[str, str] = {"PV": "pv", "OP": "op", "SP": "sp"}

# The largest double that stays finite once rounded to ten digits: every parser refuses 1.797693135e308.
_LARGEST = 1.797693134e308
# Rows in one `%`: large enough to hide the call, small enough to stay in the processor's cache.
_ROWS = 1024
# Pieces kept for patterns seen before; a pattern is what modes and missing values make of a tick.
_KEPT = 1_000_000

Present = tuple[bool, ...]


class Encoder(Protocol):
    """What turns Blocks into bytes for a stream or a file."""

    def header(self) -> bytes:
        """What stands once, before everything else."""

    def encode(self, block: Block) -> bytes:
        """The block as whole lines; empty when it holds nothing to say."""


class TextEncoder:
    """A Block as lines: the constant text of each row around its numbers, and the time between those.

    A subclass says what a row's constant text is (`_row`) and how a time is written (`_times`). fields maps
    the name written to a signal of the Block. truth: the measurement of the truth, None for none; its rows
    follow the samples of their instant.
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
        self._signals = tuple(fields.values())
        self._formats = tuple(b"%d" if signal == "quality" else b"%.10g" for signal in self._signals)
        self._full: dict[int, list[list[bytes]]] = {}
        self._patterns: dict[tuple[bytes, bytes], list[bytes]] = {}
        self._truth = TruthRows() if truth else None

    def header(self) -> bytes:
        return b""

    def encode(self, block: Block) -> bytes:
        if block.loops != self._loops:
            raise ValueError("the block holds other loops than the encoder was made for")
        if self._truth is None:
            return self._samples(block, 0, len(block))
        parts, done = [], 0
        for t, rows in self._truth.due(block):
            [time] = self._times(block.times[t : t + 1])
            parts += [self._samples(block, done, t + 1), *(self._told(row, time) for row in rows)]
            done = t + 1
        return b"".join([*parts, self._samples(block, done, len(block))])

    def _samples(self, block: Block, start: int, stop: int) -> bytes:
        ticks = max(1, _ROWS // max(1, len(self._loops)))
        return b"".join(self._encode(block, t, min(t + ticks, stop)) for t in range(start, stop, ticks))

    def _encode(self, block: Block, start: int, stop: int) -> bytes:
        signals = [getattr(block, signal)[start:stop] for signal in self._signals]
        values = np.stack(signals, axis=2, dtype=float)
        modes = block.mode[start:stop]
        present = np.abs(values) <= _LARGEST
        if block.arrivals is not None:
            present &= ~block.arrivals.apart[:, np.newaxis]
        whole = bool(present.all())
        times = self._times(block.times[start:stop])
        if whole and bool((modes == modes[0]).all()):
            pieces = self._pattern(modes[0], None)
            template = b"".join([time.join(pieces) for time in times])
        else:
            masks = [None if whole or row.all() else row for row in present]
            ticks = [time.join(self._pattern(*key)) for time, *key in zip(times, modes, masks, strict=True)]
            for t, row in self._arrived(block, start, stop):
                ticks[t - start] += row.replace(b"%", b"%%")
            template = b"".join(ticks)
        numbers = values.ravel() if whole else values[present]
        return template % tuple(numbers.tolist())

    def _arrived(self, block: Block, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """What leaves at instants [start, stop) in place of the samples of a disturbed data path, each with its t."""
        sent = block.arrivals
        if sent is None:
            return
        first, last = np.searchsorted(sent.row, [start, stop]).tolist()
        here = slice(first, last)
        values = np.stack([getattr(sent, signal)[here] for signal in self._signals], axis=1, dtype=float)
        present = np.abs(values) <= _LARGEST
        times = self._times(sent.times[here])
        for r, (time, row, mask) in enumerate(zip(times, values.tolist(), present.tolist(), strict=True), first):
            if any(mask):
                text = time.join(self._around_times(self._arrived_row(block, r, tuple(mask))))
                yield int(sent.row[r]), text % tuple(value for value, there in zip(row, mask, strict=True) if there)

    def _arrived_row(self, block: Block, r: int, present: Present) -> list[bytes]:
        """`_row` of the arrival r."""
        assert block.arrivals is not None
        return self._row(self._loops[block.arrivals.loop[r]], MODES[block.arrivals.mode[r]], present)

    def _pattern(self, modes: npt.NDArray[np.int8], present: npt.NDArray[np.bool_] | None) -> list[bytes]:
        """A tick's text without numbers and times; present (N, F) is None when nothing is missing."""
        key = (modes.tobytes(), b"" if present is None else np.packbits(present).tobytes())
        pieces = self._patterns.get(key)
        if pieces is None:
            if len(self._patterns) * max(1, len(self._loops)) >= _KEPT:
                self._patterns.clear()
            pieces = self._patterns[key] = self._pieces(modes.tolist(), present)
        return pieces

    def _pieces(self, modes: list[int], present: npt.NDArray[np.bool_] | None) -> list[bytes]:
        for mode in set(modes) - self._full.keys():
            every = (True,) * len(self._names)
            self._full[mode] = [self._row(loop, MODES[mode], every) for loop in self._loops]
        rows = [self._full[mode][i] for i, mode in enumerate(modes)]
        if present is not None:
            for i in np.flatnonzero(~present.all(axis=1)).tolist():
                mask = tuple(present[i].tolist())
                rows[i] = self._row(self._loops[i], MODES[modes[i]], mask) if any(mask) else []
        return self._around_times([piece for row in rows for piece in row])

    def _around_times(self, pieces: list[bytes]) -> list[bytes]:
        """The pieces so that joining them by the time puts it where it belongs: here, before each."""
        return [b"", *pieces]

    def _row(self, loop: str, mode: str, present: Present) -> list[bytes]:
        """The text of a loop's sample, as `%` templates, one for each time that is written in it."""
        raise NotImplementedError

    def _times(self, times: npt.NDArray[np.int64]) -> list[bytes]:
        raise NotImplementedError

    def _told(self, row: Row, time: bytes) -> bytes:
        """A row of the truth, as the lines it takes; time as `_times` writes it."""
        raise NotImplementedError


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
        self._measurement = _template(escape_measurement(measurement))
        self._truth_measurement = escape_measurement(truth or "")
        self._mode_tag = mode_tag or None
        self._tags = tags
        ends = [b"i" if signal == "quality" else b"" for signal in self._signals]
        self._values = [
            _template(escape(name)) + b"=" + form + end
            for name, form, end in zip(self._names, self._formats, ends, strict=True)
        ]

    def _row(self, loop: str, mode: str, present: Present) -> list[bytes]:
        tags = {**self._tags, "loop_id": loop}
        if self._mode_tag:
            tags[self._mode_tag] = mode
        pairs = sorted((key.encode(), key, value) for key, value in tags.items())
        series = b"".join(_template(f",{escape(key)}={escape(value)}") for _, key, value in pairs)
        fields = b",".join(value for value, there in zip(self._values, present, strict=True) if there)
        return [self._measurement + series + b" " + fields + b" "]

    def _around_times(self, pieces: list[bytes]) -> list[bytes]:
        return [*pieces, b""]

    def _times(self, times: npt.NDArray[np.int64]) -> list[bytes]:
        return [b"%d\n" % time for time in times.tolist()]

    def _told(self, row: Row, time: bytes) -> bytes:
        tags = sorted({**self._tags, "loop_id": row.loop, "fault": row.fault}.items(), key=lambda tag: tag[0].encode())
        series = self._truth_measurement + "".join(f",{escape(key)}={escape(value)}" for key, value in tags)
        fields = (f"control={row.control},present={row.present},severity={row.severity:.10g},"
                  f"visible={row.visible}").lower()
        return f"{series} {fields} ".encode() + time


def escape(text: str) -> str:
    """A tag key, tag value or field key as it stands in a line."""
    return text.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def escape_measurement(text: str) -> str:
    return text.replace(",", "\\,").replace(" ", "\\ ")


def cannot_carry(text: str) -> str | None:
    """Why not every parser would read this name or tag value back the same; None when all do."""
    if not text:
        return "it is empty"
    if any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029" for c in text):
        return "it holds a control character"
    if any(0xD800 <= ord(c) < 0xE000 for c in text):
        return "it is not valid Unicode"
    if text.endswith("\\") or any(pair in text for pair in ("\\,", "\\=", "\\ ")):
        return "a backslash stands at its end or before a comma, an equals sign or a space"
    return None


def _template(text: str) -> bytes:
    return text.encode().replace(b"%", b"%%")


def _unfit_ids(loops: Iterable[str]) -> list[Problem]:
    return [
        Problem(f"loop id {loop!r}", why, "choose an id without it")
        for loop in loops
        if (why := cannot_carry(loop)) is not None
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
        if (why := cannot_carry(text)) is not None
    ]
    taken = [("measurement", "a line that begins with # is a comment")] if measurement.startswith("#") else []
    taken += [(f"tag {key!r}", "the stream writes this tag itself") for key in tags if key in own]
    taken += [(f"tag {key!r}", "Telegraf sets this tag itself") for key in (*tags, *own) if key == "host"]
    taken += [(f"tag {key!r}", "it is the name of the time column") for key in (*tags, *own) if key == "time"]
    taken += [("field 'time'", "it is the name of the time column") for name in fields if name == "time"]
    taken += [("mode_tag", "loop_id is the tag of the loop's id")] if len(set(own)) < len(own) else []
    return problems + [Problem(where, why, "choose another name") for where, why in taken]
