"""How far a backfill has got: lines in the log, or a bar in a terminal instead.

Nothing is reported of what takes no time: only a stream that is more than a minute and a sample behind the clock has a
progress.
"""

from __future__ import annotations

import logging
from typing import Protocol

from clpm_execd.clock import Clock
from clpm_execd.units import SECOND, describe_duration

_MIN_BACKFILL_NS = 60 * SECOND  # a minute of a thousand loops is made in less than a second
_LIVE_NS = 2 * SECOND  # behind the clock; a backfill that has got so far is over
_LOG_INTERVAL_NS = 10 * SECOND  # a line of a day's backfill under Telegraf, 4 min, each 5 %


class ProgressBar(Protocol):
    """What a terminal shows in place of the log lines."""

    def show(self, share: float, text: str) -> None:
        """Show that this share of the backfill is done, 0 to 1, with a text beside it."""

    def close(self) -> None:
        """Take the bar away."""


class Progress:
    """The progress of a stream from its first sample to the present.

    Parameters
    ----------
    clock : Clock
        Says how far behind the stream is.
    log : logging.Logger
        Takes the start, the end, and every 10 s the progress of a backfill.
    bar : ProgressBar, optional
        Shows the progress; then it is not logged.
    interval : int
        Time between samples, ns: one sample that is due is no backfill.
    """

    def __init__(self, clock: Clock, log: logging.Logger, bar: ProgressBar | None = None, *, interval: int = 0) -> None:
        self._clock, self._log, self._bar = clock, log, bar
        self._min_backfill = max(_MIN_BACKFILL_NS, interval)
        self._start: int | None = None
        self._started_at = self._logged_at = 0  # by the monotonic clock, ns

    def update(self, next_time: int) -> None:
        """Report that everything before this instant has been handed over; next_time: ns since 1970."""
        lag, now = self._clock.now() - next_time, self._clock.elapsed()
        if self._start is None:
            if lag > self._min_backfill:
                self._start, self._started_at, self._logged_at = next_time, now, now
                self._log.info("backfilling %s up to now", describe_duration(lag))
            return
        progress_ns = next_time - self._start
        if lag <= _LIVE_NS:
            self._log.info("backfill of %s done in %s; now live", describe_duration(progress_ns),
                           describe_duration(now - self._started_at))
            self._start = None
            self.close()
            return
        share = progress_ns / (progress_ns + lag)
        if self._bar:
            self._bar.show(share, f"{describe_duration(lag)} to go")
        elif now - self._logged_at >= _LOG_INTERVAL_NS:
            self._logged_at = now
            self._log.info("backfilled %s, %d %%; %s to go", describe_duration(progress_ns), round(100 * share),
                           describe_duration(lag))

    def close(self) -> None:
        """End the progress, however far the backfill has got."""
        if self._bar:
            self._bar.close()
