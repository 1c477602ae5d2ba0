"""The limit of a request: lower after a second failure of the same lines, and raised by requests about as large."""

from __future__ import annotations

from clpm_execd.delivery.request_size import RequestSize

LINE = b"m,loop_id=A PV=1 1\n"
PART = 1000 * LINE


def limited_size() -> RequestSize:
    size = RequestSize()
    assert [size.note_failure(PART), size.note_failure(PART)] == [False, True]
    assert size.max_bytes == len(PART) // 2
    return size


def successes_until_raised(size: RequestSize, part: bytes) -> int:
    limit, count = size.max_bytes, 0
    while size.max_bytes == limit and count < 100:
        size.note_success(part)
        count += 1
    return count


def test_live_points_of_a_few_lines_say_nothing_about_the_limit() -> None:
    assert successes_until_raised(limited_size(), LINE) == 100


def test_the_limit_rises_by_a_quarter_after_requests_of_its_size() -> None:
    size = limited_size()
    assert successes_until_raised(size, 500 * LINE) == 2
    assert size.max_bytes == len(PART) // 2 * 5 // 4 + 1
    assert successes_until_raised(size, 500 * LINE) == 1


def test_after_many_failures_a_larger_request_is_tried_after_sixteen_at_most() -> None:
    size = limited_size()
    for count in (900, 800, 700, 600, 500, 400):
        part = count * LINE.replace(b" 1", b" %d" % count)
        size.note_failure(part)
        size.note_failure(part)
    assert successes_until_raised(size, 300 * LINE) == 16


def test_a_single_line_is_not_halved() -> None:
    size = RequestSize()
    assert [size.note_failure(LINE), size.note_failure(LINE)] == [False, False]
    assert not size.is_limited
