"""The order of the disk queue, without a disk: live points and backlog in turn, and what a limit drops."""

from __future__ import annotations

import pytest

from clpm_execd.delivery.queue import MAX_BATCH_BYTES, MAX_BATCH_LINES
from clpm_execd.delivery.queue_order import MAX_LIVE_AGE_NS, Entry, QueueOrder, split_merge_runs

NO_LIMIT = 10**12


def file(time: int, points: int = MAX_BATCH_LINES, size: int = 100) -> Entry:
    return Entry(time, points, size)


def in_memory(time: int, body: bytes) -> Entry:
    return Entry(time, body.count(b"\n"), len(body), body)


def order_of(*entries: Entry, max_bytes: int = NO_LIMIT, max_memory_bytes: int = NO_LIMIT) -> QueueOrder:
    order = QueueOrder(max_bytes, max_memory_bytes)
    for entry in entries:
        order.add(entry)
    return order


def take_all(order: QueueOrder, now: int) -> list[list[int]]:
    """Return the times of the entries of each request."""
    requests = []
    while entries := order.take_request(now):
        requests.append([entry.time for entry in entries])
        for entry in entries:
            order.remove(entry)
        order.in_flight = []
    return requests


def test_without_a_backlog_entries_leave_in_order_as_many_as_fit_into_a_request() -> None:
    order = order_of(*(file(time, MAX_BATCH_LINES // 3) for time in range(7)))
    assert take_all(order, now=7) == [[0, 1, 2], [3, 4, 5], [6]]
    assert (order.points, order.size) == (0, 0)


def test_a_request_is_filled_to_its_last_line_and_to_its_last_byte() -> None:
    by_lines = order_of(*(file(time, MAX_BATCH_LINES // 2) for time in range(3)))
    by_bytes = order_of(*(file(time, 1, MAX_BATCH_BYTES // 2) for time in range(3)))
    assert take_all(by_lines, now=3) == take_all(by_bytes, now=3) == [[0, 1], [2]]


def test_a_request_in_flight_stays_the_same() -> None:
    order = order_of(file(1), file(2))
    first = list(order.take_request(now=2))
    assert order.take_request(now=2) == first


def test_backlog_and_live_points_take_turns() -> None:
    order = order_of(*(file(time) for time in range(4)))
    now = MAX_LIVE_AGE_NS + 1
    assert [entry.time for entry in order.take_request(now)] == [0]
    for entry in order.in_flight:
        order.remove(entry)
    order.in_flight = []
    for time in (now, now + 1):
        order.add(file(time))
    assert take_all(order, now + 1) == [[now], [1], [now + 1], [2], [3]]


def test_points_are_live_for_a_minute() -> None:
    order = order_of(file(0))
    order.take_request(MAX_LIVE_AGE_NS)
    assert order.in_flight
    assert not order.backlog
    late = order_of(file(0), file(1))
    late.take_request(MAX_LIVE_AGE_NS + 1)
    assert [entry.time for entry in late.backlog] == [1]


def test_what_is_put_back_goes_behind_the_backlog_and_live_points_are_next() -> None:
    order = order_of(file(0), file(1))
    now = MAX_LIVE_AGE_NS + 10
    order.put_back(order.take_request(now))
    order.add(file(now))
    assert take_all(order, now) == [[now], [1], [0]]


def test_lines_in_memory_join_while_they_fit_into_a_request() -> None:
    order = order_of(file(0), in_memory(1, b"a\n"), in_memory(2, b"b\n"), in_memory(3, b"x" * MAX_BATCH_BYTES + b"\n"))
    assert [entry.body for entry in order.live][:2] == [None, b"a\nb\n"]
    assert len(order.live) == 3
    assert order.memory_size == 4 + MAX_BATCH_BYTES + 1


@pytest.mark.parametrize(("max_bytes", "max_memory_bytes", "dropped"), [
    (250, NO_LIMIT, [0, 2]),
    (NO_LIMIT, MAX_BATCH_BYTES, [1]),
    (250, MAX_BATCH_BYTES, [0, 2, 1]),
    (NO_LIMIT, NO_LIMIT, []),
])
def test_beyond_a_limit_the_oldest_on_disk_or_in_memory_are_dropped(
    max_bytes: int, max_memory_bytes: int, dropped: list[int]
) -> None:
    long_line = b"x" * (MAX_BATCH_BYTES - 1) + b"\n"
    order = order_of(file(0), in_memory(1, long_line), file(2), in_memory(3, long_line), file(4), file(5),
                     max_bytes=max_bytes, max_memory_bytes=max_memory_bytes)
    times = []
    while entry := order.pop_excess():
        times.append(entry.time)
    assert times == dropped


def test_what_is_in_flight_is_never_dropped() -> None:
    order = order_of(file(0), file(1), max_bytes=0)
    order.take_request(now=1)
    assert [order.pop_excess(), order.pop_excess()] == [file_removed(1), None]
    assert order.points == MAX_BATCH_LINES


def file_removed(time: int) -> Entry:
    entry = file(time)
    entry.is_removed = True
    return entry


def test_the_oldest_is_looked_for_in_flight_in_the_backlog_and_among_live_points() -> None:
    order = order_of()
    assert order.oldest is None
    order.add(file(7))
    order.add(file(5), is_backlog=True)
    assert order.oldest == 5
    order.take_request(now=8)
    assert order.oldest == 5


def test_only_small_files_next_to_each_other_are_merged_up_to_a_request() -> None:
    small = MAX_BATCH_LINES // 4
    entries = [file(0, small), file(1, small), file(2), in_memory(3, b"a\n")]
    entries += [file(time, small) for time in range(4, 10)]
    runs = [[entry.time for entry in run] for run in split_merge_runs(entries)]
    assert runs == [[0, 1], [2], [3], [4, 5, 6, 7], [8, 9]]


def test_a_file_of_more_than_half_a_request_is_not_written_again_to_merge_it() -> None:
    large, small = MAX_BATCH_LINES // 2 + 1, 10
    entries = [file(0, small), file(1, large), file(2, small), file(3, small, MAX_BATCH_BYTES // 2 + 1)]
    assert [[entry.time for entry in run] for run in split_merge_runs(entries)] == [[0], [1], [2], [3]]


@pytest.mark.parametrize(("on_disk", "memory", "is_half_full"), [(50, 50, False), (51, 0, True), (0, 51, True)])
def test_a_queue_is_half_full_once_half_of_one_limit_is_reached(on_disk: int, memory: int, is_half_full: bool) -> None:
    order = order_of(file(0, size=on_disk), in_memory(1, b"x" * memory), max_bytes=100, max_memory_bytes=100)
    assert order.is_half_full is is_half_full
