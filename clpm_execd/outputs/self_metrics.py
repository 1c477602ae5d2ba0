"""What a stream says about itself, in the stream: one point a minute, as Telegraf's input `internal` does.

The numbers count from the start of the process, so a query takes their difference, and their time is the full minute of
the clock. Between the minutes they cost an addition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from clpm_execd.encoding.escaping import build_series_key
from clpm_execd.plant.block import Block
from clpm_execd.units import SECOND

MINUTE = 60 * SECOND  # ns
_LIVE_LAG_NS = SECOND  # a stream that is so far behind the clock is live

Numbers = Mapping[str, "int | float"]


class SelfMetrics:
    """Counts what is emitted, and makes the points.

    Parameters
    ----------
    measurement : str
        The measurement of the points.
    tags : mapping of str to str
        Tags of every point.
    interval : int
        Time between samples, ns.
    start : int
        The start of the process, ns since 1970.

    Attributes
    ----------
    more : callable
        Returns further numbers, integers and floats by field, for the time of a point in ns since 1970.
    """

    def __init__(self, measurement: str, tags: Mapping[str, str], *, interval: int, start: int) -> None:
        self.more: Callable[[int], Numbers] = lambda now: {}
        self._interval = interval
        self._series = build_series_key(measurement, tags)
        self._start = start
        self._minute = start // MINUTE
        self._points = self._late_ticks = 0
        self._is_live = False

    def add(self, block: Block, lines: bytes, now: int) -> None:
        """Count a Block whose lines were emitted at `now`, ns since 1970.

        An instant is late if it is emitted an interval or more after its time. The initial backlog of a stream is not.
        """
        self._points += lines.count(b"\n")
        if self._is_live:
            self._late_ticks += int(np.searchsorted(block.times, now - self._interval, side="right"))
        elif len(block) and block.times[-1] > now - max(self._interval, _LIVE_LAG_NS):
            self._is_live = True

    def take_line(self, now: int) -> bytes:
        """Return the point of a minute that has begun since the last call, as a line; empty if none has."""
        minute = now // MINUTE
        if minute <= self._minute:
            return b""
        self._minute = minute
        numbers: dict[str, int | float] = {
            "points_emitted": self._points, "ticks_late": self._late_ticks, "uptime": (now - self._start) / SECOND,
            **self.more(now),
        }
        fields = ",".join(f"{name}={_number_text(value)}" for name, value in sorted(numbers.items()))
        return f"{self._series} {fields} {minute * MINUTE}\n".encode()


def _number_text(value: int | float) -> str:
    return f"{value}i" if isinstance(value, int) else f"{value:.10g}"
