"""What the sender takes batches from, and how lines are cut into batches.

`put` makes lines pending. `peek` puts a batch of them in flight, and gives the same one until it is dealt with: `ack`
removes it, `nack` makes it, or what is left of it, pending again behind the others. `drop` removes the oldest points
that are not in flight. Both queues, in memory and on disk, do all of this, for one thread that puts and one that sends.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

# InfluxDB's documentation ("Optimize writes") calls 5,000 lines the best batch of version 2, and 10,000 that of 3.
MAX_BATCH_LINES = 10_000
# Ten thousand lines with all digits; servers refuse requests of more than 10 MB (version 3) or 25 MB (1.x).
MAX_BATCH_BYTES = 2_000_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Complete lines for one request.

    Attributes
    ----------
    body : bytes
        The lines, each with its newline.
    points : int
        How many lines they are.
    since : int
        When the first of them was put, ns since 1970; 0 if not known.
    """

    body: bytes
    points: int
    since: int = 0


class Queue(Protocol):
    """Lines of line protocol on their way to the server."""

    def put(self, lines: bytes) -> None:
        """Add these lines, each with its newline, behind all others."""

    def peek(self) -> Batch | None:
        """Return the batch in flight, or put the next one in flight; None if nothing is pending."""

    def ack(self) -> None:
        """Remove the batch in flight: it was dealt with."""

    def nack(self, remaining: bytes | None = None) -> None:
        """Make the batch in flight, or only its remaining lines, pending again, so that others go first.

        Raises
        ------
        OSError
            If the remaining lines cannot be stored. Then the batch is in flight as before.
        """

    def drop(self) -> int:
        """Remove the oldest batch that is not in flight; return how many points it had, 0 without one."""

    @property
    def points(self) -> int:
        """How many points are pending or in flight."""

    @property
    def size(self) -> int:
        """How many bytes of lines are pending or in flight."""

    @property
    def oldest(self) -> int | None:
        """When the oldest of them was put, ns since 1970; None if there is none."""

    @property
    def points_dropped(self) -> int:
        """How many points were dropped since the start."""

    @property
    def is_durable(self) -> bool:
        """Whether everything in the queue outlives the process."""

    @property
    def needs_backpressure(self) -> bool:
        """Whether a producer that can make its lines later should wait."""


def split_batches(lines: bytes) -> Iterator[Batch]:
    """Split lines into batches within the limits; a line that alone exceeds them is a batch of its own."""
    count = lines.count(b"\n")
    if count <= MAX_BATCH_LINES and len(lines) <= MAX_BATCH_BYTES:
        if lines:
            yield Batch(lines, count)
        return
    run: list[bytes] = []
    size = 0
    for line in split_lines(lines):
        if run and (len(run) == MAX_BATCH_LINES or size + len(line) > MAX_BATCH_BYTES):
            yield Batch(b"".join(run), len(run))
            run, size = [], 0
        run.append(line)
        size += len(line)
    yield Batch(b"".join(run), len(run))


def split_lines(lines: bytes) -> list[bytes]:
    """Return each line with its newline; unlike for bytes.splitlines, a carriage return does not end one."""
    return [line + b"\n" for line in lines.removesuffix(b"\n").split(b"\n")]


def cut_lines(lines: bytes, max_bytes: int) -> tuple[bytes, bytes]:
    """Return as many lines as `max_bytes` allow, at least one, and the others."""
    cut = lines.rfind(b"\n", 0, max_bytes) + 1 or lines.index(b"\n") + 1
    return lines[:cut], lines[cut:]


def bisect_lines(lines: bytes) -> tuple[bytes, bytes]:
    """Return two or more lines in two parts, of sizes as equal as complete lines allow."""
    cut = lines.rfind(b"\n", 0, len(lines) // 2) + 1 or lines.index(b"\n") + 1
    return lines[:cut], lines[cut:]
