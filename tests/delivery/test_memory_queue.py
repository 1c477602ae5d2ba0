"""The queue in memory, and how lines are cut into batches."""

from __future__ import annotations

from answering_server import lines

from clpm_execd.delivery.memory_queue import MemoryQueue
from clpm_execd.delivery.queue import MAX_BATCH_BYTES, MAX_BATCH_LINES, bisect_lines, split_batches

# The queue


def test_lines_leave_in_order_and_only_when_acknowledged() -> None:
    queue = MemoryQueue()
    queue.put(lines(1, 2))
    queue.put(lines(3))
    first = queue.peek()
    assert first is not None
    assert (first.body, first.points) == (lines(1, 2, 3), 3)
    queue.put(lines(4))
    assert queue.peek() == first
    queue.ack()
    assert queue.points == 1
    second = queue.peek()
    assert second is not None
    assert second.body == lines(4)
    queue.ack()
    assert queue.peek() is None


def test_every_batch_fits_a_request_and_nothing_is_lost_between_them() -> None:
    long_line = b"m " + b"x" * 2 * MAX_BATCH_BYTES + b"\n"
    for body in (lines(*range(25_000)), lines(7) + long_line + lines(8), b"a\rb\n" * 9):
        parts = list(split_batches(body))
        assert b"".join(part.body for part in parts) == body
        assert [part.points for part in parts] == [part.body.count(b"\n") for part in parts]
        assert all(part.points <= MAX_BATCH_LINES for part in parts)
        assert all(len(part.body) <= MAX_BATCH_BYTES or part.points == 1 for part in parts)


def test_a_bisection_cuts_between_lines() -> None:
    for body in (lines(1, 2), lines(1, 2, 3), b"short\n" + b"x" * 100 + b"\n", b"x" * 100 + b"\nshort\n"):
        first, second = bisect_lines(body)
        assert first + second == body
        assert first.endswith(b"\n")
        assert second.endswith(b"\n")


def test_beyond_the_limit_the_oldest_points_are_dropped_but_not_those_in_flight() -> None:
    tick = lines(*range(1000, 1000 + MAX_BATCH_LINES))
    queue = MemoryQueue(3 * len(lines(*range(20_000, 20_000 + MAX_BATCH_LINES))))
    for _ in range(3):
        queue.put(tick)
    in_flight = queue.peek()
    for start in (20_000, 30_000):
        queue.put(lines(*range(start, start + MAX_BATCH_LINES)))
    assert queue.points_dropped == 2 * MAX_BATCH_LINES
    assert queue.points == 3 * MAX_BATCH_LINES
    assert queue.peek() == in_flight
    queue.ack()
    following = queue.peek()
    assert following is not None
    assert following.body.startswith(lines(20_000))


def test_after_a_nack_the_batch_or_its_remaining_lines_are_the_last() -> None:
    queue = MemoryQueue()
    for start in (1000, 20_000):
        queue.put(lines(*range(start, start + MAX_BATCH_LINES)))
    queue.peek()
    queue.nack()
    second = queue.peek()
    assert second is not None
    assert second.body.startswith(lines(20_000))
    queue.nack(lines(7, 8))
    first = queue.peek()
    assert first is not None
    assert first.body.startswith(lines(1000))
    queue.ack()
    last = queue.peek()
    assert last is not None
    assert last.body == lines(7, 8)
    assert (queue.points, queue.size) == (2, len(lines(7, 8)))


def test_drop_removes_the_oldest_batch_that_is_not_in_flight() -> None:
    queue = MemoryQueue()
    for start in (10_000, 20_000, 30_000):
        queue.put(lines(*range(start, start + MAX_BATCH_LINES)))
    in_flight = queue.peek()
    assert queue.drop() == MAX_BATCH_LINES
    assert queue.peek() == in_flight
    queue.ack()
    following = queue.peek()
    assert following is not None
    assert following.body.startswith(lines(30_000))
    assert queue.drop() == 0
    assert queue.points_dropped == MAX_BATCH_LINES


def test_lines_that_are_gathered_into_a_batch_are_as_old_as_the_first_of_them() -> None:
    times = iter((5, 6, 7))
    queue = MemoryQueue(now=lambda: next(times))
    queue.put(lines(1))
    queue.put(lines(2))
    assert queue.oldest == 5
    batch = queue.peek()
    assert batch is not None
    assert (batch.body, batch.since) == (lines(1, 2), 5)
    queue.ack()
    queue.put(lines(3))
    assert queue.oldest == 6


def test_a_backfill_waits_once_the_queue_is_half_full() -> None:
    queue = MemoryQueue(2 * len(lines(1)))
    queue.put(lines(1))
    assert not queue.needs_backpressure
    queue.put(lines(2))
    assert queue.needs_backpressure
