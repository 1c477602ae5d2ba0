"""Batches from a queue to the server, until each is written or rejected line by line.

Nothing that the server or the network does ends a sender. What is not known to be written is retried without end, with
growing pauses. What is denied (token, permission, bucket) stays in the queue until somebody corrects the settings. Only
lines that the server rejects one by one leave the queue unwritten. What does not get through, because a link is slow or
a proxy resets long requests, is sent in smaller parts. A batch that is rejected as a whole, is sent in parts, or is
searched for its rejected lines delays other batches by seconds, or by one request that gets no answer. An outage is
logged once when it starts and once when it ends.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from clpm_execd.delivery.queue import Batch, Queue, bisect_lines, cut_lines
from clpm_execd.delivery.request_size import RequestSize, may_depend_on_size
from clpm_execd.influx.answer import Answer, TransportError, WriteFn, WriteOutcome
from clpm_execd.units import describe_count

# A restart of the server takes seconds; after an outage of hours nobody misses another quarter of a minute.
MIN_BACKOFF_S, MAX_BACKOFF_S = 0.5, 15.0
MAX_RETRY_AFTER_S = 60.0  # a Retry-After of hours is taken for a mistake
IDLE_RECONNECT_S = 0.1  # after a connection that the server closed while it was idle
# A server that rejects everything is thought to be at fault itself (version 3 answers so while it starts) for so long.
SERVER_FAULT_GRACE_S = 60.0
# How often a batch may be rejected with nothing of it accepted, beyond the bisections that lead to its first line: a
# run of bad lines at its start must not look like a fault of the server.
EXTRA_REJECTIONS = 16
MAX_REJECTED_BATCHES = 1000  # that are remembered; a bound on memory
MAX_TURN_S = 2.0  # for a batch that is sent in parts, before other batches have their turn
REJECTION_LOG_INTERVAL_S = 60.0  # rejections may come with every batch; the log has their sum once a minute

QuarantineFn = Callable[[Mapping[str, Sequence[bytes]]], None]  # rejected lines by the server's message about them


def choose_backoff(failures: int, answer: Answer, draw: Callable[[], float] = random.random) -> float:
    """Return the seconds to wait after so many failures in a row: 0.5 s doubled up to 15 s, less up to a third.

    The random third keeps many senders from coming back at the same instant. A server's Retry-After is respected up to
    a minute.
    """
    is_denied = answer.outcome is WriteOutcome.DENIED
    longest = MAX_BACKOFF_S if is_denied else min(MAX_BACKOFF_S, MIN_BACKOFF_S * 2.0 ** min(failures, 16))
    return max(MIN_BACKOFF_S, longest * (1 - draw() / 3), min(answer.retry_after, MAX_RETRY_AFTER_S))


@dataclass
class _Outage:
    """since: when writes began to fail, s. logged_causes: outcomes that the log has already, if denied by status."""

    since: float
    dropped_before: int
    logged_causes: set[tuple[WriteOutcome, int | None]] = field(default_factory=set)
    is_overflow_logged: bool = False


@dataclass
class _Delivery:
    """A batch in flight: the parts that are still to be written, the next one last, and what was rejected of it."""

    batch: Batch
    parts: list[bytes]
    since: float
    rejected: dict[str, list[bytes]] = field(default_factory=dict)  # by the server's message
    rejections: int = 0  # answers
    is_too_large: bool = False  # as a whole, for the server or the link
    has_accepted_lines: bool = False
    is_to_blame: bool = False  # the server accepts other batches, so that the fault is in these lines

    @property
    def rejected_points(self) -> int:
        return sum(map(len, self.rejected.values()))

    @property
    def rejection_budget(self) -> int:
        """How often it may be rejected with nothing accepted: on the way to its first line, and some more."""
        return min(2 * self.batch.points - 1, self.batch.points.bit_length() + EXTRA_REJECTIONS)


class Sender:
    """Writes what is pending in a queue; `send_once` is one request, and the thread of `start` makes one after another.

    Parameters
    ----------
    queue : Queue
        What is to be written.
    write : callable
        Makes one request and returns its Answer.
    target : str
        What the log calls the server.
    log : logging.Logger
        Where outages and rejected lines are reported.
    quarantine : callable, optional
        Stores rejected lines, by the server's message about them; OSError if it cannot. Without it they are dropped.
    now : callable
        The clock, s; any zero.
    draw : callable
        Returns random numbers from 0 to 1.
    """

    def __init__(
        self,
        queue: Queue,
        write: WriteFn,
        *,
        target: str,
        log: logging.Logger,
        quarantine: QuarantineFn | None = None,
        now: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.points_written = 0
        self.points_rejected = 0
        self.retries = 0  # requests beyond the first for the same lines
        self._queue, self._write, self._quarantine = queue, write, quarantine
        self._target, self._log = target, log
        self._now, self._draw = now, draw
        self._delivery: _Delivery | None = None
        self._size = RequestSize()
        self._failures = 0  # in a row
        self._outage: _Outage | None = None
        self._rejects_all_since: float | None = None
        # The first line of each batch that was rejected as a whole, and how many points had been written by then.
        self._rejected_batches: dict[bytes, int] = {}
        self._is_quarantine_failure_logged = self._is_thread_failure_logged = False
        self._rejections_logged_at = float("-inf")
        self._unlogged_rejections = 0
        self._wake = threading.Event()
        self._is_stopping = self._is_draining = False
        self._thread: threading.Thread | None = None

    # The thread

    def start(self) -> None:
        """Start the thread; if there can be none, `notify` tries again."""
        thread = threading.Thread(target=self._run, name="influx-sender", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system's or the container's limit of threads
            if not self._is_thread_failure_logged:
                self._is_thread_failure_logged = True
                self._log.error("cannot send, retrying: %s; points stay pending", error)
            return
        self._thread = thread

    def notify(self) -> None:
        """Wake the thread: lines have been put into the queue."""
        if self._thread is None:
            self.start()
        self._wake.set()

    def start_draining(self) -> None:
        """From now on wait no longer than the shortest pause: the process is about to end."""
        self._is_draining = True
        self._wake.set()

    def stop(self) -> None:
        """End the thread after its present request; what was not written stays in the queue."""
        self._is_stopping = True
        self._wake.set()

    def join(self, timeout: float) -> bool:
        """Wait `timeout` s for the thread to end; return whether it did. A write that hangs ends with the process."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def _run(self) -> None:
        while not self._is_stopping:
            delay = self._send_once_safely()
            if delay is None:
                self._wake.wait()
                self._wake.clear()
                continue
            until = self._now() + delay
            while not self._is_stopping and (remaining := until - self._now()) > 0:
                if self._is_draining and remaining > MIN_BACKOFF_S:
                    until = self._now() + MIN_BACKOFF_S
                    continue
                self._wake.wait(remaining)
                self._wake.clear()

    def _send_once_safely(self) -> float | None:
        """Like `send_once`; a thread that ended by an exception would be a stream that ends in silence."""
        try:
            return self.send_once()
        except Exception as failure:  # a queue whose disk fails
            self._log.error("sending failed, retrying: %s: %s", type(failure).__name__, failure)
            return MAX_BACKOFF_S

    # One request

    def send_once(self) -> float | None:
        """Make one request; return the seconds to wait before the next one, None if nothing is pending."""
        if self._delivery is None:
            batch = self._queue.peek()
            if batch is None:
                return None
            self._delivery = _Delivery(batch, [batch.body], self._now())
        delivery = self._delivery
        self._limit_next_part(delivery)
        answer = self._write(delivery.parts[-1])
        if answer.outcome is WriteOutcome.WRITTEN:
            return self._accept(delivery)
        if answer.outcome is WriteOutcome.TOO_LARGE:
            delivery.is_too_large = True
            return self._bisect(delivery, answer)
        if answer.outcome is not WriteOutcome.REJECTED:
            self._reconsider_size(delivery, answer)
            return self._schedule_retry(answer)
        delivery.rejections += 1
        return self._schedule_retry(answer) if self._is_server_fault(delivery) else self._bisect(delivery, answer)

    def _limit_next_part(self, delivery: _Delivery) -> None:
        """Cut the next part to the size that gets through."""
        first, others = cut_lines(delivery.parts[-1], self._size.max_bytes)
        if others and len(delivery.parts[-1]) > self._size.max_bytes:
            delivery.is_too_large = True
            delivery.parts[-1:] = [others, first]

    def _reconsider_size(self, delivery: _Delivery, answer: Answer) -> None:
        """After an answer that may be due to the size of the request, send less at a time, and other batches first."""
        part = delivery.parts[-1]
        if not may_depend_on_size(answer):
            return
        if self._size.note_failure(part):
            self._log.info("no answer to a request of %d bytes; sending smaller ones", len(part))
        if self._size.is_limited and part.count(b"\n") > 1 and self._queue.points > delivery.batch.points:
            self._put_back(delivery)

    def _accept(self, delivery: _Delivery) -> float:
        part = delivery.parts.pop()
        self._size.note_success(part)
        if self._outage is not None:
            delivery.since = self._now()  # its turn begins: in an outage nobody had one
        if not delivery.has_accepted_lines and delivery.rejections < delivery.rejection_budget:
            self._rejects_all_since = None
        delivery.has_accepted_lines = True
        if not self.points_written:
            self._log.info("connected to %s", self._target)
        # Counting ten thousand lines takes a hundredth of the time in which they are written.
        is_complete_batch = part is delivery.batch.body
        self.points_written += delivery.batch.points if is_complete_batch else part.count(b"\n")
        self._failures = 0
        self._end_outage()
        return self._finish(delivery)

    def _bisect(self, delivery: _Delivery, answer: Answer) -> float:
        """Split the part, its first half to be sent next; a single line is rejected."""
        part = delivery.parts.pop()
        if part.count(b"\n") > 1:
            first, second = bisect_lines(part)
            delivery.parts += [second, first]
            return 0.0
        delivery.rejected.setdefault(str(answer), []).append(part)
        return self._finish(delivery)

    def _finish(self, delivery: _Delivery) -> float:
        """Take the batch out of flight once nothing of it remains, or others should have their turn."""
        others_are_pending = self._queue.points > delivery.batch.points
        is_in_parts = delivery.rejected or delivery.is_too_large
        is_long = is_in_parts and self._now() - delivery.since > MAX_TURN_S
        if not delivery.parts or (others_are_pending and is_long):
            return self._put_back(delivery)
        return 0.0

    def _put_back(self, delivery: _Delivery) -> float:
        """Take the batch out of flight; the queue keeps what has neither been written nor rejected."""
        self._delivery = None
        remaining = b"".join(reversed(delivery.parts))
        try:
            if delivery.rejected:
                self._quarantine_lines(delivery)
            if not remaining:
                self._queue.ack()
            else:
                self._queue.nack(None if len(remaining) == len(delivery.batch.body) else remaining)
        except OSError as error:
            if delivery.rejected:
                return self._postpone(delivery, error)
            self._delivery = delivery  # it goes on: put back as a whole, it would be sent from its start again
        return 0.0

    def _postpone(self, delivery: _Delivery, error: OSError) -> float:
        """Send others first: most likely the disk is full, and each batch that is written makes room."""
        if not self._is_quarantine_failure_logged:
            self._is_quarantine_failure_logged = True
            text = "cannot write %s to the quarantine: %s; pending while others are sent"
            points = describe_count(delivery.rejected_points, "rejected point")
            self._log.error(text, points, error.strerror or error)
        others_are_pending = self._queue.points > delivery.batch.points
        self._queue.nack()
        return MIN_BACKOFF_S if others_are_pending else MAX_BACKOFF_S

    def _is_server_fault(self, delivery: _Delivery) -> bool:
        """Whether the server itself seems to be at fault; then the whole batch is pending again.

        After a schema conflict or a bad line others are accepted on the way to it. If none is, the server may be
        starting, full or broken (version 3 answers so): for a minute that is assumed, unless it accepts another batch
        in that time.
        """
        if delivery.has_accepted_lines or delivery.is_to_blame or delivery.rejections < delivery.rejection_budget:
            return False
        first_line = delivery.batch.body[: delivery.batch.body.index(b"\n")]
        written_before = self._rejected_batches.pop(first_line, self.points_written)
        delivery.is_to_blame = self.points_written > written_before
        if delivery.is_to_blame:
            return False
        if self._rejects_all_since is None:
            self._rejects_all_since = self._now()
        if self._now() - self._rejects_all_since >= SERVER_FAULT_GRACE_S:
            return False
        if len(self._rejected_batches) == MAX_REJECTED_BATCHES:
            self._rejected_batches.clear()
        self._rejected_batches[first_line] = self.points_written
        self._queue.nack()
        self._delivery = None
        return True

    # Outages and rejected lines

    def _schedule_retry(self, answer: Answer) -> float:
        delay = choose_backoff(self._failures, answer, self._draw)
        self._failures += 1
        self.retries += 1
        if self._failures == 1 and answer.error is TransportError.CONNECTION_LOST:
            return IDLE_RECONNECT_S  # no outage
        if self._outage is None:
            self._outage = _Outage(self._now(), self._queue.points_dropped)
        outage = self._outage
        # Token, permission and bucket are corrected one by one: who has corrected the token waits for the next cause.
        cause = answer.outcome, answer.status if answer.outcome is WriteOutcome.DENIED else None
        if cause not in outage.logged_causes:
            outage.logged_causes.add(cause)
            self._log.warning("cannot write to InfluxDB at %s: %s; %s", self._target, answer, _describe_outlook(answer))
        if self._queue.points_dropped > outage.dropped_before and not outage.is_overflow_logged:
            outage.is_overflow_logged = True
            self._log.error("queue full: dropping oldest points until the server accepts writes")
        return delay

    def _end_outage(self) -> None:
        outage, self._outage = self._outage, None
        if outage is None:
            return
        self._log.warning(
            "writing to InfluxDB at %s resumed after %.1f s; %d pending, %d dropped",
            self._target, self._now() - outage.since, self._queue.points,
            self._queue.points_dropped - outage.dropped_before,
        )

    def _quarantine_lines(self, delivery: _Delivery) -> None:
        """Store the rejected lines, and log their number at most once a minute."""
        if self._quarantine is not None:
            self._quarantine(delivery.rejected)
            self._is_quarantine_failure_logged = False
        self.points_rejected += delivery.rejected_points
        self._unlogged_rejections += delivery.rejected_points
        if self._now() - self._rejections_logged_at < REJECTION_LOG_INTERVAL_S:
            return
        message, lines = next(iter(delivery.rejected.items()))
        first = lines[0].decode("utf-8", "replace").strip()[:200]
        consequence = "dropped, as there is no --state" if self._quarantine is None else "moved to the quarantine"
        points = describe_count(self._unlogged_rejections, "point")
        self._log.error("%s rejected: %s; %s; first line: %s", points, message, consequence, first)
        self._rejections_logged_at = self._now()
        self._unlogged_rejections = 0


def _describe_outlook(answer: Answer) -> str:
    if answer.status == 401:
        return "retrying, the token is read again each time"
    if answer.outcome is WriteOutcome.DENIED:
        return "retrying until address, organization, bucket and the permission of the token are right"
    return "retrying"
