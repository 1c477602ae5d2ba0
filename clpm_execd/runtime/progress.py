"""How far a past that is being filled in has got: lines in the log, or what a terminal shows instead.

Nothing is said of what takes no time: only of a stream that is more than a minute behind the clock.
"""

from __future__ import annotations

import logging
from typing import Protocol

from clpm_execd.clock import Clock
from clpm_execd.plant.block import SECOND
from clpm_execd.units import human_duration

_WORTH = 60 * SECOND
_EVERY = 10 * SECOND


class Bar(Protocol):
    """What a terminal shows."""

    def show(self, share: float, text: str) -> None:
        """So much of it is done, 0 to 1."""

    def close(self) -> None:
        """It is over."""


class Progress:
    """Of a stream, from where it is to the clock."""

    def __init__(self, clock: Clock, log: logging.Logger, bar: Bar | None = None) -> None:
        self._clock, self._log, self._bar = clock, log, bar
        self._from: int | None = None
        self._began = self._told = 0

    def reached(self, next_time: int) -> None:
        """All before this is handed over."""
        behind, now = self._clock.now() - next_time, self._clock.elapsed()
        if self._from is None:
            if behind > _WORTH:
                self._from, self._began, self._told = next_time, now, now
                self._log.info("filling in %s up to now", human_duration(behind))
            return
        if behind <= SECOND * 2:
            self._log.info("filled in %s in %s; level with the clock", human_duration(next_time - self._from),
                           human_duration(now - self._began))
            self._from = None
            self.close()
            return
        done = next_time - self._from
        share = done / (done + behind)
        if self._bar:
            self._bar.show(share, f"{human_duration(behind)} to go")
        elif now - self._told >= _EVERY:
            self._told = now
            self._log.info("filled in %s, %d %%; %s to go", human_duration(done), round(100 * share),
                           human_duration(behind))

    def close(self) -> None:
        """The stream ends, wherever it is."""
        if self._bar:
            self._bar.close()
