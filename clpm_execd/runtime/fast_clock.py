"""A clock that runs faster than time until it has caught up with it, so that hours of a plant pass in minutes.

It never shows the future: a sample with a time that is still to come would be hidden by queries up to now.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from clpm_execd.clock import Clock


class FastClock:
    """Plant time: it runs from a start, `speed` times as fast as a clock, and with the clock once it has caught up.

    Parameters
    ----------
    clock : Clock
        The clock of the machine.
    start : int
        What it shows now, ns since 1970.
    speed : float
        More than 1.
    """

    def __init__(self, clock: Clock, start: int, speed: float) -> None:
        self._machine_clock, self._start, self._speed = clock, start, speed
        self._started_at = clock.elapsed()

    @property
    def machine_clock(self) -> Clock:
        """The clock of the machine, which the plant time never passes."""
        return self._machine_clock

    def now(self) -> int:
        """Return the plant time, ns since 1970."""
        plant_ns = int((self._machine_clock.elapsed() - self._started_at) * self._speed)
        return min(self._machine_clock.now(), self._start + plant_ns)

    def elapsed(self) -> int:
        """Return the time of a monotonic clock of the same speed, ns."""
        return self._machine_clock.elapsed() + self.now() - self._machine_clock.now()

    def wait(self, ns: int, read: Sequence[int] = (), write: Sequence[int] = ()) -> set[int]:
        """Wait for so much plant time at most; parameters as of `Clock.wait`."""
        is_fast = self.now() < self._machine_clock.now()
        return self._machine_clock.wait(ceil(ns / self._speed) if is_fast else ns, read, write)
