"""Loops streamed straight into InfluxDB: what is due goes to the backlog, and a thread of its own sends it.

The plant never waits for the network: at every instant of the grid the loop encodes what is due and goes on.
Only a past that is being filled in (a backfill, a suspended machine) waits for room in the backlog, since it
can be made later as well. No fault of network or server ends the stream. Asked to stop, it goes on sending
what waits for 5 s at most (half a second if that is on disk), and says how many points were not delivered.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clpm_execd.clock import Clock
from clpm_execd.delivery.memory_queue import MemoryQueue
from clpm_execd.delivery.quarantine import Quarantine
from clpm_execd.delivery.queue import Queue
from clpm_execd.delivery.sender import Sender
from clpm_execd.encoding.encoder import Encoder
from clpm_execd.influx.client import Writer
from clpm_execd.outputs.self_metrics import Metrics
from clpm_execd.plant.block import SECOND, Block
from clpm_execd.plant.source import Source
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.runtime.pacing import Pacer
from clpm_execd.units import DAY

if TYPE_CHECKING:
    from clpm_execd.runtime.progress import Progress
    from clpm_execd.state.checkpoint import CheckpointWriter

DRAIN = 5 * SECOND  # for what waits in memory, once a stop is asked
DRAIN_SAFE = SECOND // 2  # for what waits on disk, and is sent after the next start
DRAIN_COUNT = 60 * SECOND  # for what waits, once `count` instants are emitted
SUMMARY = 60 * SECOND
_PAST = 60 * SECOND  # further behind the clock than this is a past being filled in
_BREATH = SECOND // 50


def run(
    source: Source,
    encoder: Encoder,
    writer: Writer,
    *,
    clock: Clock,
    signals: Signals,
    log: logging.Logger,
    count: int | None = None,
    since: int | None = None,
    catch_up: int = DAY,
    queue: Queue | None = None,
    quarantine: Quarantine | None = None,
    metrics: Metrics | None = None,
    keeper: CheckpointWriter | None = None,
    progress: Progress | None = None,
) -> int:
    """Stream until asked to stop or `count` instants are delivered; the exit status, which is 0.

    since: the first instant to emit; catch_up: the longest gap to fill in, ns (see pacing). queue: by
    default one in memory. quarantine: takes the lines that the server refuses.
    metrics: what the stream says of itself. keeper: of the memory from which a later stream goes on; what waits must
    outlive the process then. progress: is told of a past that is filled in.
    """
    queue = MemoryQueue() if queue is None else queue
    sender = Sender(queue, writer, target=writer.target, log=log, quarantine=quarantine)
    tally = _Tally(clock, log, sender, queue, quarantine, metrics)
    log.info("start: %d loops every %g s to %s", len(source.loops), source.interval / SECOND, writer.target)
    pacer = Pacer(source, clock, log, since=since, count=count, catch_up=catch_up)
    first = source.next_time if since is None else since
    if keeper:
        keeper.write_first(first)
    if progress:
        progress.reached(first)
    sender.start()
    try:
        stream = _Stream(source, encoder, sender, queue, tally, clock, signals, keeper, progress)
        stream.run(pacer)
        stream.drain()
        if keeper:
            keeper.finish(0, stream.safe)
    finally:
        sender.stop()
        if sender.join(0.2):
            writer.close()
    left = queue.points
    log.log(
        logging.INFO if queue.is_durable else logging.WARNING,
        "stop: %d points written, %d refused, %d given up, %d %s",
        sender.points_written, sender.points_rejected, queue.points_dropped, left,
        "wait for the next start" if left and queue.is_durable else "not delivered",
    )  # fmt: skip
    return 0


@dataclass(frozen=True, slots=True)
class _Stream:
    """From the source to the backlog, and all that is told of it."""

    source: Source
    encoder: Encoder
    sender: Sender
    queue: Queue
    tally: _Tally
    clock: Clock
    signals: Signals
    keeper: CheckpointWriter | None
    progress: Progress | None

    def run(self, pacer: Pacer) -> None:
        while True:
            for block in pacer.due(self._stop):
                self._hand_over(block)
            self.queue.put(self.tally.metrics())
            if self.keeper:
                self.keeper.poll(0, self.safe)
            if self._stop() or pacer.done:
                return
            self._wait(pacer.pause())

    def _hand_over(self, block: Block) -> None:
        lines = self.encoder.encode(block)
        self.queue.put(lines)
        self.sender.notify()
        self.tally.add(block, lines)
        if self.keeper:
            self.keeper.poll(0, self.safe)
        if self.progress:
            self.progress.reached(self.source.next_time)
        while self.queue.needs_backpressure and self._behind() and not self._stop():
            self._wait(_BREATH)

    def drain(self) -> None:
        """Send what waits, for DRAIN_COUNT at most, and once a stop is asked as long as it is worth."""
        self.sender.start_draining()
        deadline = self.clock.elapsed() + DRAIN_COUNT
        asked = False
        while self.queue.points and self.clock.elapsed() < deadline:
            if self._stop() and not asked:
                asked = True
                deadline = min(deadline, self.clock.elapsed() + (DRAIN_SAFE if self.queue.is_durable else DRAIN))
            self.clock.wait(_BREATH)

    def safe(self, mark: int) -> bool:
        return self.queue.is_durable

    def _wait(self, ns: int) -> None:
        if self.signals.fd in self.clock.wait(ns, [self.signals.fd]):
            self.signals.clear()

    def _behind(self) -> bool:
        return self.clock.now() - self.source.next_time > _PAST

    def _stop(self) -> bool:
        return self.signals.stop_asked


class _Tally:
    """Points per cycle, for the log: every one to those who debug, the first and a sum a minute to all.

    And for the metrics, where those are asked for.
    """

    def __init__(
        self, clock: Clock, log: logging.Logger, sender: Sender, queue: Queue, quarantine: Quarantine | None,
        metrics: Metrics | None,
    ) -> None:  # fmt: skip
        self._clock, self._log, self._sender, self._queue = clock, log, sender, queue
        self._quarantine, self._metrics = quarantine, metrics
        if metrics:
            metrics.more = self._numbers
        self._since: int | None = None
        self._cycles = self._points = self._written = 0

    def add(self, block: Block, lines: bytes) -> None:
        cycles, points = len(block), lines.count(b"\n")
        if self._metrics:
            self._metrics.add(block, lines, self._clock.now())
        self._log.debug("%d cycles, %d points", cycles, points)
        if self._since is None:
            self._since = self._clock.elapsed()
            self._log.info("first cycle: %.10g points", points / cycles)
        self._cycles += cycles
        self._points += points
        if self._clock.elapsed() - self._since >= SUMMARY:
            self._tell()

    def metrics(self) -> bytes:
        """The line of a minute that has begun, if any."""
        return self._metrics.due(self._clock.now()) if self._metrics else b""

    def _numbers(self, now: int) -> dict[str, int | float]:
        sender, queue = self._sender, self._queue
        since = queue.oldest
        return {
            "points_written": sender.points_written, "points_refused": sender.points_rejected,
            "points_quarantined": self._quarantine.points if self._quarantine else 0,
            "points_dropped": queue.points_dropped, "points_waiting": queue.points,
            "retries": sender.retries, "spool_bytes": queue.size,
            "spool_age": 0.0 if since is None else max(0, now - since) / SECOND,
        }  # fmt: skip

    def _tell(self) -> None:
        written = self._sender.points_written
        self._log.info(
            "%d cycles of %.10g points: %d made, %d written, %d waiting",
            self._cycles, round(self._points / self._cycles, 1), self._points,
            written - self._written, self._queue.points,
        )  # fmt: skip
        self._since = self._clock.elapsed()
        self._cycles = self._points = 0
        self._written = written
