"""A queue in memory, bounded in bytes and lost with the process.

Batches leave in the order in which they were put. Beyond the limit the oldest batch that is not in flight is dropped
and counted.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from clpm_execd.delivery.queue import MAX_BATCH_BYTES, MAX_BATCH_LINES, Batch, split_batches

MAX_MEMORY_BYTES = 64_000_000  # a day and a half of the five default loops at 1 s; a small container can spare it


class MemoryQueue:
    """A queue of at most `max_bytes` of lines; any thread may call it.

    Parameters
    ----------
    max_bytes : int
        Bytes of lines beyond which the oldest are dropped.
    now : callable
        The clock, ns since 1970.
    """

    def __init__(self, max_bytes: int = MAX_MEMORY_BYTES, now: Callable[[], int] = time.time_ns) -> None:
        self.max_bytes = max_bytes
        self.points_dropped = 0
        self.points = 0
        self.size = 0
        self._now = now
        self._batches: deque[Batch] = deque()
        self._newest = bytearray()  # lines that are gathered until they fill a batch or are the next to be sent
        self._newest_points = 0
        self._newest_since = 0
        self._is_in_flight = False  # the oldest batch
        self._lock = threading.RLock()

    def put(self, lines: bytes) -> None:
        with self._lock:
            for batch in split_batches(lines):
                too_long = len(self._newest) + len(batch.body) > MAX_BATCH_BYTES
                if too_long or self._newest_points + batch.points > MAX_BATCH_LINES:
                    self._close_newest()
                self._newest_since = self._newest_since if self._newest else self._now()
                self._newest += batch.body
                self._newest_points += batch.points
                self.size += len(batch.body)
                self.points += batch.points
            while self.size > self.max_bytes and self.drop():
                pass

    def peek(self) -> Batch | None:
        with self._lock:
            if not self._batches:
                self._close_newest()
            self._is_in_flight = bool(self._batches)
            return self._batches[0] if self._is_in_flight else None

    def ack(self) -> None:
        with self._lock:
            if self._is_in_flight:
                self._is_in_flight = False
                self._count_out(self._batches.popleft())

    def nack(self, remaining: bytes | None = None) -> None:
        with self._lock:
            if self._is_in_flight:
                self._is_in_flight = False
                batch = self._batches.popleft()
                if remaining is not None:
                    self._count_out(batch)
                    batch = Batch(remaining, remaining.count(b"\n"), batch.since)
                    self.size += len(batch.body)
                    self.points += batch.points
                self._close_newest()
                self._batches.append(batch)

    def drop(self) -> int:
        with self._lock:
            if len(self._batches) <= self._is_in_flight:
                return 0
            oldest = self._batches[int(self._is_in_flight)]
            del self._batches[int(self._is_in_flight)]
            self._count_out(oldest)
            self.points_dropped += oldest.points
            return oldest.points

    @property
    def oldest(self) -> int | None:
        with self._lock:
            if self._batches:
                return self._batches[0].since
            return self._newest_since if self._newest else None

    @property
    def is_durable(self) -> bool:
        return not self.points

    @property
    def needs_backpressure(self) -> bool:
        return self.size > self.max_bytes // 2

    def _close_newest(self) -> None:
        if self._newest:
            self._batches.append(Batch(bytes(self._newest), self._newest_points, self._newest_since))
            self._newest.clear()
            self._newest_points = 0

    def _count_out(self, batch: Batch) -> None:
        self.size -= len(batch.body)
        self.points -= batch.points
