"""Batches from the backlog to the server, until each is written or refused line by line.

Nothing the server or the network does ends a sender: what is not known to be written is tried again for ever,
with growing pauses; what is denied (token, permission, bucket) waits for somebody to put it right; only lines
that the server refuses one by one are given up. Neither a batch that is refused whole nor a long search for the refused
lines of one holds up the others for more than seconds. An outage is told once when it begins and once when it ends.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from clpm_execd.delivery.queue import Batch, Queue, bisect_lines
from clpm_execd.influx.answer import Answer, TransportError, WriteFn, WriteOutcome

SHORTEST, LONGEST = 0.5, 15.0  # s between two tries
MOST_OBEYED = 60.0  # s of a server's Retry-After
DOUBT = 60.0  # s for which a server that refuses everything is thought to be at fault itself
DOUBT_AFTER = 16  # refusals of one batch with nothing taken, beyond those that lead to its first line
MOST_SUSPECTS = 1000
TURN = 2.0  # s that the search for refused lines takes, before others have their turn
REFUSALS_TOLD_EVERY = 60.0  # s

PutAway = Callable[[Mapping[str, Sequence[bytes]]], None]  # refused lines by the server's error message


def pause(tries: int, answer: Answer, chance: Callable[[], float] = random.random) -> float:
    """Seconds to wait after so many failed tries: 0.5 s doubled up to 15 s, less up to a third by chance.

    By chance, so that many senders do not come back at the same instant. A server's Retry-After is obeyed up
    to a minute.
    """
    most = LONGEST if answer.outcome is WriteOutcome.DENIED else min(LONGEST, SHORTEST * 2.0 ** min(tries, 16))
    return max(SHORTEST, most * (1 - chance() / 3), min(answer.retry_after, MOST_OBEYED))


@dataclass
class _Outage:
    """Since when points are not taken, and what has been said about it."""

    since: float
    dropped_before: int
    told: set[WriteOutcome] = field(default_factory=set)
    told_dropping: bool = False


@dataclass
class _Work:
    """A batch on its way: the parts still to be written, the next one last, and what was refused of it."""

    batch: Batch
    parts: list[bytes]
    since: float
    refused: dict[str, list[bytes]] = field(default_factory=dict)  # by the server's error message
    taken: bool = False
    believed: bool = False  # it is these lines that are refused, and no others
    refusals: int = 0


class Sender:
    """Writes what waits with `post`; `step` is one try, and the thread of `start` makes one after the other.

    target: how the server is called in the log. quarantine: is given the refused lines, each under the server's own
    words about it; without it they are lost but for the log.
    """

    def __init__(
        self,
        queue: Queue,
        post: WriteFn,
        *,
        target: str,
        log: logging.Logger,
        quarantine: PutAway | None = None,
        seconds: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.written = 0
        self.refused = 0
        self.retries = 0  # tries beyond the first
        self._queue, self._post, self._quarantine = queue, post, quarantine
        self._target, self._log = target, log
        self._seconds, self._chance = seconds, chance
        self._work: _Work | None = None
        self._tries = 0
        self._outage: _Outage | None = None
        self._doubt_since: float | None = None
        self._suspects: dict[bytes, int] = {}  # first lines of batches refused whole: what was written before
        self._put_off_told = False
        self._refusals_told = float("-inf")
        self._refusals_untold = 0
        self._wake = threading.Event()
        self._leave = self._hurry = False
        self._thread: threading.Thread | None = None

    # The thread

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="influx-sender", daemon=True)
        self._thread.start()

    def nudge(self) -> None:
        """Something waits."""
        self._wake.set()

    def hurry(self) -> None:
        """From now on rest no longer than the shortest pause: the process wants to end."""
        self._hurry = True
        self._wake.set()

    def leave(self) -> None:
        """End after the try that is under way; what was not written still waits."""
        self._leave = True
        self._wake.set()

    def join(self, seconds: float) -> bool:
        """Wait for the end, no longer than this; whether it came. A hanging write ends with the process."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()

    def _run(self) -> None:
        while not self._leave:
            rest = self._guarded_step()
            if rest is None:
                self._wake.wait()
                self._wake.clear()
                continue
            until = self._seconds() + rest
            while not self._leave and (left := until - self._seconds()) > 0:
                if self._hurry and left > SHORTEST:
                    until = self._seconds() + SHORTEST
                    continue
                self._wake.wait(left)
                self._wake.clear()

    def _guarded_step(self) -> float | None:
        """A thread that ended by an exception would be a stream that ends in silence."""
        try:
            return self.step()
        except Exception as failure:  # a spool whose disk fails
            self._log.error("cannot go on sending, trying again: %s: %s", type(failure).__name__, failure)
            return LONGEST

    # One try

    def step(self) -> float | None:
        """Make one try. Seconds to wait before the next one; None when nothing waits."""
        if self._work is None:
            batch = self._queue.peek()
            if batch is None:
                return None
            self._work = _Work(batch, [batch.body], self._seconds())
        work = self._work
        answer = self._post(work.parts[-1])
        if answer.outcome is WriteOutcome.WRITTEN:
            return self._taken(work)
        if answer.outcome is WriteOutcome.TOO_LARGE:
            return self._divide(work, answer)
        if answer.outcome is not WriteOutcome.REJECTED:
            return self._fail(answer)
        work.refusals += 1
        return self._fail(answer) if self._doubtful(work) else self._divide(work, answer)

    def _taken(self, work: _Work) -> float:
        part = work.parts.pop()
        if not work.taken and work.refusals < _patience(work):
            self._doubt_since = None
        work.taken = True
        if not self.written:
            self._log.info("connected to %s", self._target)
        # To count ten thousand lines takes a hundredth of the time in which they are written.
        self.written += work.batch.points if part is work.batch.body else part.count(b"\n")
        self._tries = 0
        self._recover()
        return self._settle(work)

    def _divide(self, work: _Work, answer: Answer) -> float:
        """The part in two, the first to be tried next; a single line is refused."""
        part = work.parts.pop()
        if part.count(b"\n") > 1:
            first, second = bisect_lines(part)
            work.parts += [second, first]
            return 0.0
        work.refused.setdefault(str(answer), []).append(part)
        return self._settle(work)

    def _settle(self, work: _Work) -> float:
        """What has become of the batch, once nothing of it is left, or others should have their turn."""
        others = self._queue.points > work.batch.points
        if work.parts and not (others and work.refused and self._seconds() - work.since > TURN):
            return 0.0
        self._work = None
        try:
            if work.refused:
                self._refuse(work)
            if work.parts:
                self._queue.nack(b"".join(reversed(work.parts)))
            else:
                self._queue.ack()
        except OSError as failure:
            return self._put_off(work, failure)
        return 0.0

    def _put_off(self, work: _Work, failure: OSError) -> float:
        """What was refused could not be put away, most likely for want of room, and each batch that goes makes room."""
        if not self._put_off_told:
            self._put_off_told = True
            text = "cannot put %d refused points away: %s; they wait, and the others go on"
            self._log.error(text, sum(map(len, work.refused.values())), failure.strerror or failure)
        others = self._queue.points > work.batch.points
        self._queue.nack()
        return SHORTEST if others else LONGEST

    def _doubtful(self, work: _Work) -> bool:
        """Whether the server itself seems at fault, and the whole batch is to be tried again later.

        A schema conflict or a bad line leaves others to be taken on the way to it. Where nothing is, it may be
        a server that is starting, full or broken (version 3 answers so): for a minute that is assumed, unless it takes
        another batch meanwhile.
        """
        if work.taken or work.believed or work.refusals < _patience(work):
            return False
        first = work.batch.body[: work.batch.body.index(b"\n")]
        work.believed = self.written > self._suspects.pop(first, self.written)
        if work.believed:
            return False
        if self._doubt_since is None:
            self._doubt_since = self._seconds()
        if self._seconds() - self._doubt_since >= DOUBT:
            return False
        if len(self._suspects) == MOST_SUSPECTS:
            self._suspects.clear()
        self._suspects[first] = self.written
        self._queue.nack()
        self._work = None
        return True

    # What is told

    def _fail(self, answer: Answer) -> float:
        rest = pause(self._tries, answer, self._chance)
        self._tries += 1
        self.retries += 1
        if self._tries == 1 and answer.error is TransportError.CONNECTION_LOST:
            return SHORTEST / 5  # a connection that the server closed while it was idle is no outage
        if self._outage is None:
            self._outage = _Outage(self._seconds(), self._queue.points_dropped)
        outage = self._outage
        if answer.outcome not in outage.told:
            outage.told.add(answer.outcome)
            text = "InfluxDB at %s takes no points: %s; %s"
            self._log.warning(text, self._target, answer, _outlook(answer))
        if self._queue.points_dropped > outage.dropped_before and not outage.told_dropping:
            outage.told_dropping = True
            self._log.error("the backlog is full: until the server answers, the oldest points are given up")
        return rest

    def _recover(self) -> None:
        outage, self._outage = self._outage, None
        if outage is None:
            return
        lost = self._queue.points_dropped - outage.dropped_before
        self._log.warning(
            "InfluxDB at %s takes points again after %.1f s; %d waited, %d were given up",
            self._target, self._seconds() - outage.since, self._queue.points, lost,
        )  # fmt: skip

    def _refuse(self, work: _Work) -> None:
        """Lines the server will not take: to quarantine, and in sum to the log at most once a minute."""
        if self._quarantine is not None:
            self._quarantine(work.refused)
            self._put_off_told = False
        number = sum(map(len, work.refused.values()))
        self.refused += number
        self._refusals_untold += number
        if self._seconds() - self._refusals_told < REFUSALS_TOLD_EVERY:
            return
        words, lines = next(iter(work.refused.items()))
        first = lines[0].decode("utf-8", "replace").strip()[:200]
        self._log.error("%d points refused: %s; such as: %s", self._refusals_untold, words, first)
        self._refusals_told = self._seconds()
        self._refusals_untold = 0


def _patience(work: _Work) -> int:
    """How often a batch may be refused with nothing of it taken: on the way to its first line, and some more."""
    return min(2 * work.batch.points - 1, work.batch.points.bit_length() + DOUBT_AFTER)


def _outlook(answer: Answer) -> str:
    if answer.status == 401:
        return "they are kept; the token is read again at every try, until it is right"
    if answer.outcome is WriteOutcome.DENIED:
        return "they are kept until address, organization, bucket and the token's permission are right"
    return "they are kept and tried again"
