"""A stream into InfluxDB: what is due goes into the queue, and a thread of the sender writes it.

The plant never waits for the network: at every instant of the grid the lines are put into the queue, and the stream
goes on. Only a backfill waits for room in the queue, since it can be simulated later as well. No failure of the network
or the server ends the stream. Asked to stop, the sender goes on for 5 s at most (half a second if the queue is on
disk), and the log says how many points are still pending.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from clpm_execd.delivery.memory_queue import MemoryQueue
from clpm_execd.delivery.quarantine import Quarantine
from clpm_execd.delivery.queue import Queue
from clpm_execd.delivery.sender import Sender
from clpm_execd.influx.client import Writer
from clpm_execd.outputs import stream
from clpm_execd.outputs.stream import StreamJob
from clpm_execd.units import SECOND, describe_count

_MAX_DRAIN_NS = 60 * SECOND  # for what is pending once `count` instants are emitted
_STOP_GRACE_NS = 5 * SECOND  # for what is pending in memory once a stop is requested
_STOP_GRACE_DURABLE_NS = SECOND // 2  # for what is pending on disk: the next process sends it
_SUMMARY_NS = 60 * SECOND  # between two lines of the log about cycles and points
_BACKFILL_LAG_NS = 60 * SECOND  # further behind the clock than this the stream backfills, and can wait
_POLL_NS = SECOND // 50  # between looks at the queue, while a stop or a backfill waits for it
_JOIN_SECONDS = 0.2  # for the sender's thread; a request that hangs ends with the process


def run(job: StreamJob, writer: Writer, *, queue: Queue | None = None, quarantine: Quarantine | None = None) -> int:
    """Stream until a stop is requested, or `count` instants are delivered.

    Parameters
    ----------
    job : StreamJob
        What is streamed. With `checkpoints` the queue has to be durable.
    writer : Writer
        Writes a request to the server; it is closed at the end.
    queue : Queue, optional
        Where the lines wait for the sender; by default in memory.
    quarantine : Quarantine, optional
        Takes the lines that the server rejects; without it only the log mentions them.

    Returns
    -------
    int
        The exit status, 0.
    """
    queue = MemoryQueue() if queue is None else queue
    sender = Sender(queue, writer, target=writer.target, log=job.log, quarantine=quarantine)
    if job.metrics:
        job.metrics.more = _DeliveryMetrics(sender, queue, quarantine)
    loops = describe_count(len(job.source.loops), "loop")
    job.log.info("start: %s every %g s to %s", loops, job.source.interval / SECOND, writer.target)
    stream.run(job, _QueueOutput(job, queue, sender, writer))
    pending = queue.points
    job.log.log(
        logging.INFO if queue.is_durable else logging.WARNING,
        "stop: %d points written, %d rejected, %d dropped, %d pending%s",
        sender.points_written, sender.points_rejected, queue.points_dropped, pending,
        "" if not pending else " until the next start" if queue.is_durable else " and lost",
    )
    return 0


class _QueueOutput:
    """The queue, and the sender that empties it."""

    wake_fds: Sequence[int] = ()
    has_ended = False
    bytes_submitted = 0  # the queue is durable for all of it, or not at all

    def __init__(self, job: StreamJob, queue: Queue, sender: Sender, writer: Writer) -> None:
        self._queue, self._sender, self._writer = queue, sender, writer
        self._clock, self._signals = job.clock, job.signals
        self._summary = _Summary(job, queue, sender)

    def open(self) -> None:
        self._sender.start()

    def write(self, lines: bytes, ticks: int = 0) -> None:
        self._queue.put(lines)
        if ticks:  # the stream's own metrics wait for the next samples
            self._sender.notify()
            self._summary.add(ticks, lines.count(b"\n"))

    def take_input(self, ready: Collection[int]) -> None:
        pass

    def backpressure(self, lines: bytes, elapsed: int, lag: int) -> int:
        return _POLL_NS if self._queue.needs_backpressure and lag > _BACKFILL_LAG_NS else 0

    def abandons_backfill(self, lag: int) -> bool:
        return False

    def is_consumed(self, offset: int) -> bool:
        return self._queue.is_durable

    def drain(self) -> None:
        """Wait until the queue is empty, a minute at most, and after a request to stop as long as it is worth."""
        self._sender.start_draining()
        deadline = self._clock.elapsed() + _MAX_DRAIN_NS
        is_shortened = False
        while self._queue.points and self._clock.elapsed() < deadline:
            if self._signals.should_stop and not is_shortened:
                is_shortened = True
                grace = _STOP_GRACE_DURABLE_NS if self._queue.is_durable else _STOP_GRACE_NS
                deadline = min(deadline, self._clock.elapsed() + grace)
            self._clock.wait(_POLL_NS)

    def close(self) -> None:
        self._sender.stop()
        if self._sender.join(_JOIN_SECONDS):
            self._writer.close()


class _Summary:
    """Counts points for the log: each cycle at level DEBUG; the first one, and a sum per minute, at level INFO."""

    def __init__(self, job: StreamJob, queue: Queue, sender: Sender) -> None:
        self._clock, self._log, self._queue, self._sender = job.clock, job.log, queue, sender
        self._since: int | None = None
        self._cycles = self._points = self._last_points_written = 0

    def add(self, cycles: int, points: int) -> None:
        self._log.debug("%d cycles, %d points", cycles, points)
        if self._since is None:
            self._since = self._clock.elapsed()
            self._log.info("first %s: %d points", "cycle" if cycles == 1 else f"{cycles} cycles", points)
        self._cycles += cycles
        self._points += points
        if self._clock.elapsed() - self._since >= _SUMMARY_NS:
            self._log_sum()

    def _log_sum(self) -> None:
        points_written = self._sender.points_written
        self._log.info(
            "%d cycles: %d points emitted, %d written, %d pending",
            self._cycles, self._points, points_written - self._last_points_written, self._queue.points,
        )
        self._since = self._clock.elapsed()
        self._cycles = self._points = 0
        self._last_points_written = points_written


class _DeliveryMetrics:
    """What the stream's own metrics say of the delivery, by field."""

    def __init__(self, sender: Sender, queue: Queue, quarantine: Quarantine | None) -> None:
        self._sender, self._queue, self._quarantine = sender, queue, quarantine

    def __call__(self, now: int) -> dict[str, int | float]:
        sender, queue = self._sender, self._queue
        oldest = queue.oldest
        return {
            "points_written": sender.points_written, "points_refused": sender.points_rejected,
            "points_quarantined": self._quarantine.points if self._quarantine else 0,
            "points_dropped": queue.points_dropped, "points_waiting": queue.points,
            "retries": sender.retries, "spool_bytes": queue.size,
            "spool_age": 0.0 if oldest is None else max(0, now - oldest) / SECOND,
        }
