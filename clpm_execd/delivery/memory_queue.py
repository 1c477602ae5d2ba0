"""What waits to be written, in memory and bounded.

Batches leave in the order in which they came, each small enough for one request, and are gone only once they
are acknowledged. When more waits than `cap` bytes, the oldest batch that is not being sent is dropped, and
counted. The lines inside are never changed, so that writing a batch twice writes the same points.

`Backlog` is lost with the process; `spool.Spool` is not, and takes its place with the same methods.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

MOST_LINES = 10_000
MOST_BYTES = 2_000_000
CAP = 64_000_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Whole lines for one request, and how many. since: when the first of them came, ns since 1970; 0 if not known."""

    body: bytes
    points: int
    since: int = 0


class Waiting(Protocol):
    """What a sender takes batches from."""

    def put(self, lines: bytes) -> None:
        """Keep these lines, each with its newline, behind all others."""

    def peek(self) -> Batch | None:
        """The oldest batch, the same one until it is acknowledged; None when nothing waits."""

    def ack(self) -> None:
        """The batch last peeked at is dealt with."""

    def defer(self, rest: bytes | None = None) -> None:
        """The batch last peeked at is not for now: it, or the rest of its lines, waits, and another goes first.

        OSError if the rest cannot be kept by itself, and then the batch is held as before.
        """

    @property
    def points(self) -> int:
        """How many wait, those being sent among them."""

    @property
    def size(self) -> int:
        """How many bytes of lines wait."""

    @property
    def oldest(self) -> int | None:
        """When the oldest of what waits came, ns since 1970; None when nothing waits."""

    @property
    def dropped(self) -> int:
        """How many points were given up since the beginning."""

    @property
    def safe(self) -> bool:
        """Whether all that waits outlives the process."""

    @property
    def crowded(self) -> bool:
        """Whether whoever can wait with its lines had better wait."""


class Backlog:
    """Waiting lines in memory, at most cap bytes of them; any thread may call it."""

    def __init__(self, cap: int = CAP, now: Callable[[], int] = time.time_ns) -> None:
        self.cap = cap
        self.dropped = 0
        self.points = 0
        self.size = 0
        self._now = now
        self._closed: deque[Batch] = deque()
        self._open = bytearray()  # the youngest lines, gathered until they fill a batch or are asked for
        self._open_points = 0
        self._open_since = 0
        self._held = False  # the oldest batch is being sent
        self._lock = threading.Lock()

    def put(self, lines: bytes) -> None:
        with self._lock:
            for batch in batches(lines):
                too_long = len(self._open) + len(batch.body) > MOST_BYTES
                if too_long or self._open_points + batch.points > MOST_LINES:
                    self._close()
                self._open_since = self._open_since if self._open else self._now()
                self._open += batch.body
                self._open_points += batch.points
                self.size += len(batch.body)
                self.points += batch.points
            while self.size > self.cap and len(self._closed) > self._held:
                self._drop()

    def peek(self) -> Batch | None:
        with self._lock:
            if not self._closed:
                self._close()
            self._held = bool(self._closed)
            return self._closed[0] if self._held else None

    def ack(self) -> None:
        with self._lock:
            if self._held:
                self._held = False
                self._forget(self._closed.popleft())

    def defer(self, rest: bytes | None = None) -> None:
        with self._lock:
            if self._held:
                self._held = False
                if rest is not None:
                    whole = self._closed[0]
                    self._closed[0] = Batch(rest, rest.count(b"\n"), whole.since)
                    self.size -= len(whole.body) - len(rest)
                    self.points -= whole.points - self._closed[0].points
                self._close()
                self._closed.rotate(-1)

    @property
    def oldest(self) -> int | None:
        with self._lock:
            if self._closed:
                return self._closed[0].since
            return self._open_since if self._open else None

    @property
    def safe(self) -> bool:
        return not self.points

    @property
    def crowded(self) -> bool:
        return self.size > self.cap // 2

    def _close(self) -> None:
        if self._open:
            self._closed.append(Batch(bytes(self._open), self._open_points, self._open_since))
            self._open.clear()
            self._open_points = 0

    def _drop(self) -> None:
        oldest = self._closed[int(self._held)]
        del self._closed[int(self._held)]
        self._forget(oldest)
        self.dropped += oldest.points

    def _forget(self, batch: Batch) -> None:
        self.size -= len(batch.body)
        self.points -= batch.points


def batches(lines: bytes) -> Iterator[Batch]:
    """Lines in runs of at most MOST_LINES and MOST_BYTES; a line that is longer by itself goes by itself."""
    count = lines.count(b"\n")
    if count <= MOST_LINES and len(lines) <= MOST_BYTES:
        if lines:
            yield Batch(lines, count)
        return
    run: list[bytes] = []
    size = 0
    for line in split(lines):
        if run and (len(run) == MOST_LINES or size + len(line) > MOST_BYTES):
            yield Batch(b"".join(run), len(run))
            run, size = [], 0
        run.append(line)
        size += len(line)
    yield Batch(b"".join(run), len(run))


def split(lines: bytes) -> list[bytes]:
    """Each line with its newline; a carriage return does not end one, as splitlines would have it."""
    return [line + b"\n" for line in lines.removesuffix(b"\n").split(b"\n")]


def halves(lines: bytes) -> tuple[bytes, bytes]:
    """Two or more lines in two parts, as nearly alike in size as whole lines allow."""
    cut = lines.rfind(b"\n", 0, len(lines) // 2) + 1 or lines.index(b"\n") + 1
    return lines[:cut], lines[cut:]
