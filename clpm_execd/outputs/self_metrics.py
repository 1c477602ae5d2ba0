"""What a stream says of itself, in the stream: one point a minute, as Telegraf's `internal` does.

The numbers count from the start of the process, so that a query takes their difference, and their time is the full
minute of the clock. They cost nothing between the minutes but an addition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from clpm_execd.encoding.escaping import series_key
from clpm_execd.plant.block import Block

MINUTE = 60 * 10**9  # ns
_LEVEL = 10**9  # ns behind the clock that still count as level with it

Numbers = Mapping[str, "int | float"]


class Metrics:
    """Counts what is emitted, and makes the points.

    tags: on every point. interval: between samples, ns. started: ns since 1970. `more` gives further numbers at the
    time of a point, ints and floats by name.
    """

    def __init__(self, measurement: str, tags: Mapping[str, str], *, interval: int, started: int) -> None:
        self.more: Callable[[int], Numbers] = lambda now: {}
        self._interval = interval
        self._series = series_key(measurement, tags)
        self._started = started
        self._minute = started // MINUTE
        self._points = self._late = 0
        self._level = False

    def add(self, block: Block, lines: bytes, now: int) -> None:
        """A Block and its lines were emitted by now, ns.

        Late is an instant emitted an interval or more after its time, other than those of the past that a stream owes
        when it starts.
        """
        self._points += lines.count(b"\n")
        if self._level:
            self._late += int(np.searchsorted(block.times, now - self._interval, side="right"))
        elif len(block) and block.times[-1] > now - max(self._interval, _LEVEL):
            self._level = True

    def due(self, now: int) -> bytes:
        """The point of a minute that has begun since the last one, as a line; else nothing."""
        minute = now // MINUTE
        if minute <= self._minute:
            return b""
        self._minute = minute
        numbers: dict[str, int | float] = {
            "points_emitted": self._points, "ticks_late": self._late, "uptime": (now - self._started) / 1e9,
            **self.more(now),
        }  # fmt: skip
        fields = ",".join(f"{name}={_number(value)}" for name, value in sorted(numbers.items()))
        return f"{self._series} {fields} {minute * MINUTE}\n".encode()


def _number(value: int | float) -> str:
    return f"{value}i" if isinstance(value, int) else f"{value:.10g}"
