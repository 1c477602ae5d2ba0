"""When samples are due, by the wall clock: each instant of the grid once, in order, none before its time.

What is due is every instant that the wall clock has reached. So after a stall, a slow reader, a suspended
machine or a step of the clock forward, what was missed is filled in on the grid, in parts of bounded size.
Two limits:

- A gap longer than `catch_up` (24 h) is filled in for its last `catch_up` only. The plant lives through the
  rest unseen, and a warning says so. What is owed from the start (`since`: a backfill, a resumed state) has
  no limit.
- After a step of the clock back nothing is emitted until it has passed the last instant emitted, so that no
  time is written twice with two values. A warning says so once.

The clock is an argument, and nothing here sleeps but through it. The monotonic clock is only compared with
the wall clock, to name a step or a suspension in the log.
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable, Iterator, Sequence

from clpm_execd.clock import Clock
from clpm_execd.plant.block import SECOND, Block
from clpm_execd.plant.source import Source
from clpm_execd.units import DAY, human_duration

# Lines in one write: enough to be fast, few enough that memory stays flat and a stop is noticed at once.
LINES_A_WRITE = 5_000
# Samples of all loops that the plant lives through unseen between two looks at whether to stop.
_UNSEEN = 50_000
# Of long intervals each sample is many scans of the plant: no more time than this at once.
_SPAN = 3 * 3_600 * SECOND
# A lag or a step below this is everyday scheduling or the clock being disciplined, and not worth a line.
_NOTEWORTHY = 5 * SECOND


class SystemClock:
    """The machine's own."""

    def now(self) -> int:
        return time.time_ns()

    def elapsed(self) -> int:
        return time.monotonic_ns()

    def wait(self, ns: int, read: Sequence[int] = (), write: Sequence[int] = ()) -> set[int]:
        if not read and not write:
            time.sleep(max(0, ns) / SECOND)
            return set()
        readable, writable, _ = select.select(read, write, (), max(0, ns) / SECOND)
        return {*readable, *writable}


def due(next_time: int, interval: int, now: int) -> int:
    """How many instants next_time, next_time + interval, ... the time now has reached."""
    return max(0, (now - next_time) // interval + 1)


def at_once(source: Source, lines: int = LINES_A_WRITE) -> int:
    """How many samples of all loops make one Block: soon done, for a stop waits for it; at least one."""
    return max(1, min(lines // max(1, len(source.loops)), _SPAN // source.interval))


class Pacer:
    """Takes from a source the Blocks that are due.

    since: the first instant to emit; the source is advanced up to it unseen. count: how many instants to
    emit at most. catch_up: the longest gap that is filled in, ns. lines: the most lines in one Block,
    though never less than an instant.
    """

    def __init__(
        self,
        source: Source,
        clock: Clock,
        log: logging.Logger,
        *,
        since: int | None = None,
        count: int | None = None,
        catch_up: int = DAY,
        lines: int = LINES_A_WRITE,
    ) -> None:
        self._source = source
        self._clock = clock
        self._log = log
        self._since = source.next_time if since is None else since
        self._left = count
        self._catch_up = catch_up
        self._ticks = at_once(source, lines)
        self._owed = max(0, clock.now() - self._since)
        self._offset = clock.now() - clock.elapsed()
        self._emitted = False
        self._behind = False
        self._late = False

    @property
    def done(self) -> bool:
        """Whether `count` instants have been taken."""
        return self._left == 0

    def due(self, stop: Callable[[], bool]) -> Iterator[Block]:
        """The Blocks due by now, until the count is reached or stop() says so.

        What falls due meanwhile waits for the next call, so that a source slower than time starves nobody.
        """
        self._notice_step()
        self._advance_unseen(self._since, "the start of the stream", stop)
        if stop():
            return
        now = self._clock.now()
        self._skip(stop)
        self._notice_lag(now)
        while not stop() and not self.done:
            n = due(self._source.next_time, self._source.interval, now)
            n = min(n, self._ticks, n if self._left is None else self._left)
            if n == 0 or stop():
                break
            if self._left is not None:
                self._left -= n
            self._emitted = True
            yield self._source.advance(n)
            self._skip(stop)
        # Once level with the clock nothing is owed any more, and every gap has the limit.
        self._owed = min(self._owed, max(0, self._clock.now() - self._source.next_time))
        self._notice_set_back()

    def pause(self) -> int:
        """How long to wait, ns: to the next instant, or less to notice a step of the clock."""
        wait = max(self._source.next_time, self._since) - self._clock.now()
        return max(0, min(wait, self._source.interval, 60 * SECOND))

    def _skip(self, stop: Callable[[], bool]) -> None:
        """Leave out what is further back than the limit."""
        horizon = self._clock.now() - self._catch_up - self._owed
        if self._source.next_time >= horizon:
            return
        horizon = self._clock.now() - self._catch_up
        self._owed = 0
        self._late = True
        n = -(-(horizon - self._source.next_time) // self._source.interval)
        self._log.warning(
            "%s behind the clock: %d samples of each loop are left out, the last %s are filled in",
            human_duration(self._clock.now() - self._source.next_time),
            n,
            human_duration(self._catch_up),
        )
        self._advance_unseen(horizon, "what is filled in", stop)

    def _advance_unseen(self, until: int, what: str, stop: Callable[[], bool]) -> None:
        """Let the source live up to the first instant not before `until`, in parts, without emitting."""
        ahead = until - self._source.next_time
        if ahead <= 0:
            return
        n = -(-ahead // self._source.interval)
        if n > 1:
            self._log.info("advancing unseen over %s, up to %s", human_duration(ahead), what)
        while n > 0 and not stop():
            part = min(n, at_once(self._source, _UNSEEN))
            self._source.advance(part)
            n -= part

    def _notice_step(self) -> None:
        offset = self._clock.now() - self._clock.elapsed()
        step, self._offset = offset - self._offset, offset
        if step >= _NOTEWORTHY:
            self._log.info("the clock went %s forward, or the machine slept; filling in", human_duration(step))
            self._late = True

    def _notice_lag(self, now: int) -> None:
        """Say once that the stream is late, for whatever reason but a step already named."""
        lag = now - self._source.next_time
        if lag < _NOTEWORTHY + self._owed:
            self._late = False
        elif self._emitted and not self._late:
            n = due(self._source.next_time, self._source.interval, now)
            self._log.warning("held up for %s; filling in %d samples of each loop", human_duration(lag), n)
            self._late = True

    def _notice_set_back(self) -> None:
        """Say once that the clock stands before the last instant emitted, and once that it has passed it."""
        gap = self._source.next_time - self._source.interval - self._clock.now()
        if self._emitted and gap >= SECOND and not self._behind:
            self._log.warning("the clock is %s before the last sample; waiting until it is past", human_duration(gap))
            self._behind = True
        elif self._behind and gap <= 0:
            self._log.info("the clock has passed the last sample; emitting again")
            self._behind = False

