"""Durations and times are read exactly, or refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clpm_execd.units import (
    LONGEST,
    SECOND,
    describe_count,
    describe_duration,
    format_duration,
    parse_duration,
    parse_time,
)


@pytest.mark.parametrize(("text", "ns"), [
    ("500ms", 500_000_000), ("1s", SECOND), ("1.5", 1_500_000_000), (1.5, 1_500_000_000), (2, 2 * SECOND),
    ("15m", 900 * SECOND), ("24h", 86_400 * SECOND), ("7d", 604_800 * SECOND), (" 1s ", SECOND),
    ("1h30m", 5_400 * SECOND),
    (0.1, 100_000_000), (1e-05, 10_000), ("0.000000001", 1), ("0.1ms", 100_000), ("1.10", 1_100_000_000),
])
def test_a_duration_is_read_as_exact_nanoseconds(text: str | float, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize("text", [
    "", "s", "1x", "1us", "-1s", "-1", "+1s", "1 s", "1,5s", "1e3", "nan", "inf", ".5s", "1.s", "0", "0s", 0, -1,
    True, float("nan"), float("inf"), 1e300, 10**400, "9" * 5000, "1" * 59,
    "0.0000000001", "١s", "100000d", None, [1],
])
def test_an_invalid_duration_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match=r".+; .+"):
        parse_duration(text)  # type: ignore[arg-type]


def test_a_duration_of_zero_is_allowed_on_request() -> None:
    assert parse_duration("0s", zero=True) == 0


def test_one_thing_is_a_singular() -> None:
    assert [describe_count(n, "loop") for n in (0, 1, 1200)] == ["0 loops", "1 loop", "1,200 loops"]


@given(st.integers(1, LONGEST))
def test_every_duration_reads_back_as_it_was_written(ns: int) -> None:
    assert parse_duration(format_duration(ns)) == ns


@given(st.text() | st.floats() | st.integers())
def test_any_value_is_a_duration_or_a_value_error(value: str | float) -> None:
    with suppress(ValueError):
        assert 0 < parse_duration(value) <= LONGEST


@pytest.mark.parametrize(("ns", "text"), [
    (900 * SECOND, "15m"), (90 * SECOND, "90s"), (86_400 * SECOND, "1d"), (1_500_000_000, "1.5s"),
    (500_000_000, "500ms"), (1, "0.000001ms"), (0, "0s"),
])
def test_a_duration_is_written_in_its_shortest_form(ns: int, text: str) -> None:
    assert format_duration(ns) == text


@pytest.mark.parametrize(("text", "ns"), [
    ("1970-01-01T00:00:00Z", 0),
    ("2025-01-10T09:11:40Z", 1_736_500_300 * SECOND),
    ("2025-01-10T09:11:40.123456789Z", 1_736_500_300_123_456_789),
    ("2025-01-10t09:11:40.5z", 1_736_500_300_500_000_000),
    ("2025-01-10 10:11:40+01:00", 1_736_500_300 * SECOND),
    ("2025-01-10T03:41:40-05:30", 1_736_500_300 * SECOND),
    ("2025-01-10T09:11:40", 1_736_500_300 * SECOND),
    ("2025-01-10 09:11:40.5", 1_736_500_300_500_000_000),
    ("2025-01-10", 1_736_467_200 * SECOND),
    ("now", 7), (" Now ", 7),
])
def test_a_time_is_read_as_exact_nanoseconds(text: str, ns: int) -> None:
    assert parse_time(text, 7) == ns


@pytest.mark.parametrize("text", [
    "", "yesterday", "2025-01", "2025-01-10T09:11", "2025-01-10Z", "2025-13-10T09:11:40Z", "2025-01-10T24:11:40Z",
    "2025-01-10T09:11:40.1234567890Z", "2025-01-10T09:11:40+01:60", "2025-01-10T09:11:40+24:00",
    "1969-12-31T23:59:59Z",
    "2300-01-01T00:00:00Z", "0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00", "2025-01-10T09:11:60Z",
])
def test_an_invalid_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r".+; .+"):
        parse_time(text, 0)


@given(st.text() | st.from_regex(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)?)?", fullmatch=True))
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert 0 <= parse_time(text, 0) < 2**63


@pytest.mark.parametrize(("ns", "text"), [
    (0, "0 s"), (SECOND // 4, "0.25 s"), (10_400_000_000, "10.4 s"), (119 * SECOND, "119 s"), (120 * SECOND, "2 min"),
    (7199 * SECOND, "120 min"), (9000 * SECOND, "2.5 h"), (48 * 3600 * SECOND, "2 d"), (1_000_000 * SECOND, "11.6 d"),
])
def test_a_duration_for_people_is_rounded_in_the_largest_unit_of_which_there_are_two(ns: int, text: str) -> None:
    assert describe_duration(ns) == text
