"""When samples are due by the wall clock: each instant of the grid once, in order, none before its time.

An instant is due once the wall clock has reached it. After a stall, a slow reader, a suspended machine or a step of the
clock forward, the missed instants are therefore backfilled on the grid, in Blocks of bounded size. Two limits apply:

- Of a gap longer than `max_gap` (24 h) only the last `max_gap` is backfilled. The plant is simulated over the
  remainder without output, and a warning says so. The initial backlog, of a backfill or a resumed state, has no limit.
- After a step of the clock back nothing is emitted until the clock has passed the last emitted instant, so that no time
  is written twice with two values. A warning says so once.

The clock is an argument, and nothing here sleeps except through it. The monotonic clock is only compared with the wall
clock, to name a step or a suspension in the log.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence

from clpm_execd.clock import Clock
from clpm_execd.plant.block import Block
from clpm_execd.plant.source import Source
from clpm_execd.runtime.readiness import wait_until_ready
from clpm_execd.units import DAY, SECOND, describe_count, describe_duration

# Lines of one write: enough to be fast, few enough that memory stays flat and a stop is noticed at once.
MAX_LINES_PER_WRITE = 5_000
# Samples that are simulated without output between two checks for a stop: five loops take less than 0.1 s for them.
_SAMPLES_PER_STOP_CHECK = 50_000
# With long intervals each sample is many scans of the plant: one Block covers no more time than this.
_MAX_BLOCK_NS = 3 * 3_600 * SECOND
# A lag or a step below this is ordinary scheduling, or the clock being disciplined, and is not logged.
_MIN_LOGGED_NS = 5 * SECOND
# Between two lines about a long simulation without output, as about a backfill.
_LOG_INTERVAL_NS = 10 * SECOND
# The longest wait, so that a step of the clock is noticed even where samples are an hour apart.
_MAX_WAIT_NS = 60 * SECOND


class SystemClock:
    """The clock of the machine."""

    @property
    def machine_clock(self) -> Clock:
        return self

    def now(self) -> int:
        return time.time_ns()

    def elapsed(self) -> int:
        return time.monotonic_ns()

    def wait(self, ns: int, read: Sequence[int] = (), write: Sequence[int] = ()) -> set[int]:
        if not read and not write:
            time.sleep(max(0, ns) / SECOND)
            return set()
        return wait_until_ready(read, write, max(0, ns) / SECOND)


def count_due(next_time: int, interval: int, now: int) -> int:
    """Return how many of the instants next_time, next_time + interval, ... the time now has reached; all in ns."""
    return max(0, (now - next_time) // interval + 1)


def count_samples_per_block(source: Source, max_lines: int = MAX_LINES_PER_WRITE) -> int:
    """Return how many samples of all loops make one Block.

    Parameters
    ----------
    source : Source
        What the Blocks come from.
    max_lines : int
        The most lines of one Block.

    Returns
    -------
    int
        The number, at least 1. A Block takes little time, since a stop waits for its end.
    """
    return max(1, min(max_lines // max(1, len(source.loops)), _MAX_BLOCK_NS // source.interval))


class Scheduler:
    """Takes the Blocks that are due from a source.

    Parameters
    ----------
    source : Source
        It is advanced by what is due.
    clock : Clock
        Says what is due.
    log : logging.Logger
        Where a stall, a gap and a step of the clock are reported.
    first_emit : int, optional
        The first instant to emit, ns since 1970; up to it the source is advanced without output. By default the
        source's next one.
    count : int, optional
        How many instants to emit at most; by default there is no limit.
    max_gap : int
        The longest gap that is backfilled, ns.
    max_lines : int
        The most lines of one Block, though a Block has at least one instant.
    """

    def __init__(
        self,
        source: Source,
        clock: Clock,
        log: logging.Logger,
        *,
        first_emit: int | None = None,
        count: int | None = None,
        max_gap: int = DAY,
        max_lines: int = MAX_LINES_PER_WRITE,
    ) -> None:
        self._source = source
        self._clock = clock
        # A clock that runs faster than time is behind the machine's until it has caught up. All of that is the initial
        # backlog: a moment's wait, which is minutes of the plant, is neither late nor a gap.
        self._machine_clock = clock.machine_clock
        self._log = log
        self._first_emit = source.next_time if first_emit is None else first_emit
        self._remaining = count
        self._max_gap = max_gap
        self._block_samples = count_samples_per_block(source, max_lines)
        # The part of the initial backlog that has not been emitted yet, ns.
        self._initial_backlog = max(0, self._machine_clock.now() - self._first_emit)
        self._offset = self._compute_clock_offset()
        self._has_emitted = False
        self._is_waiting_for_clock = False  # the clock was set back, and this has been logged
        self._is_late = False  # and this has been logged

    @property
    def is_done(self) -> bool:
        """Whether `count` instants have been emitted."""
        return self._remaining == 0

    def due_blocks(self, should_stop: Callable[[], bool]) -> Iterator[Block]:
        """Yield the Blocks that are due now, until the count is reached or a stop is requested.

        What becomes due meanwhile waits for the next call, so that a source slower than time starves nobody.
        """
        self._log_clock_step()
        self._simulate_without_output(self._first_emit, "the first sample to emit", should_stop)
        if should_stop():
            return
        now = self._clock.now()
        self._drop_beyond_horizon(should_stop)
        self._log_lag(now)
        while not should_stop() and not self.is_done:
            n = min(count_due(self._source.next_time, self._source.interval, now), self._block_samples)
            n = n if self._remaining is None else min(n, self._remaining)
            if n == 0 or should_stop():
                break
            block = self._source.advance(n)
            if self._remaining is not None:
                self._remaining -= len(block)
            self._has_emitted = True
            yield block
            self._drop_beyond_horizon(should_stop)
        # Once the stream is live the initial backlog is over, and every later gap has the limit.
        self._initial_backlog = min(self._initial_backlog, max(0, self._machine_clock.now() - self._source.next_time))
        self._log_clock_set_back()

    def time_to_next(self) -> int:
        """Return how long to wait, ns: to the next instant, or less so that a step of the clock is noticed."""
        wait = max(self._source.next_time, self._first_emit) - self._clock.now()
        return max(0, min(wait, self._source.interval, _MAX_WAIT_NS))

    def _drop_beyond_horizon(self, should_stop: Callable[[], bool]) -> None:
        """Do not emit what is further back than the longest gap."""
        horizon = self._clock.now() - self._max_gap - self._initial_backlog
        if self._source.next_time >= horizon:
            return
        horizon = self._clock.now() - self._max_gap
        self._initial_backlog = 0
        self._is_late = True
        n = -(-(horizon - self._source.next_time) // self._source.interval)
        self._log.warning(
            "%s behind schedule: dropping %s per loop, backfilling the last %s",
            describe_duration(self._clock.now() - self._source.next_time),
            describe_count(n, "sample"),
            describe_duration(self._max_gap),
        )
        self._simulate_without_output(horizon, "the start of the backfill", should_stop)

    def _simulate_without_output(self, until: int, what: str, should_stop: Callable[[], bool]) -> None:
        """Advance the source to the first instant not before `until`, in parts."""
        ahead = until - self._source.next_time
        if ahead <= 0:
            return
        n = -(-ahead // self._source.interval)
        if n > 1:
            self._log.info("simulating %s without output, up to %s", describe_duration(ahead), what)
        total, logged_at = n, self._clock.elapsed()
        while n > 0 and not should_stop():
            part = min(n, count_samples_per_block(self._source, _SAMPLES_PER_STOP_CHECK))
            n -= len(self._source.advance(part))
            if self._clock.elapsed() - logged_at >= _LOG_INTERVAL_NS:
                logged_at = self._clock.elapsed()
                self._log.info("simulated %s without output, %d %%; %s to go",
                               describe_duration((total - n) * self._source.interval), 100 * (total - n) // total,
                               describe_duration(n * self._source.interval))

    def _compute_clock_offset(self) -> int:
        return self._machine_clock.now() - self._machine_clock.elapsed()

    def _log_clock_step(self) -> None:
        offset = self._compute_clock_offset()
        step, self._offset = offset - self._offset, offset
        if step >= _MIN_LOGGED_NS:
            self._log.info("the clock stepped %s forward, or the machine was suspended; backfilling",
                           describe_duration(step))
            self._is_late = True

    def _log_lag(self, now: int) -> None:
        """Log once that the stream is late, for whatever reason except a step that has been logged."""
        lag = now - self._source.next_time
        if lag < _MIN_LOGGED_NS + self._initial_backlog:
            self._is_late = False
        elif self._has_emitted and not self._is_late:
            n = count_due(self._source.next_time, self._source.interval, now)
            self._log.warning("%s behind schedule; backfilling %s per loop", describe_duration(lag),
                              describe_count(n, "sample"))
            self._is_late = True

    def _log_clock_set_back(self) -> None:
        """Log once that the clock is behind the last emitted instant, and once that it has passed it."""
        gap = self._source.next_time - self._source.interval - self._clock.now()
        if self._has_emitted and gap >= SECOND and not self._is_waiting_for_clock:
            self._log.warning("the clock is %s behind the last sample; waiting until it has passed it",
                              describe_duration(gap))
            self._is_waiting_for_clock = True
        elif self._is_waiting_for_clock and gap <= 0:
            self._log.info("the clock has passed the last sample; emitting again")
            self._is_waiting_for_clock = False
