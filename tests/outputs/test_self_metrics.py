"""The stream's own metrics: counted right, once a minute, in the stream."""

from __future__ import annotations

import re

import numpy as np
import pytest

from clpm_execd.config.loops import parse_configuration
from clpm_execd.outputs.self_metrics import MINUTE, SelfMetrics
from clpm_execd.plant.block import Block

SECOND = 10**9
T0 = 1_700_000_040 * SECOND  # a full minute


def block(first: int, n: int) -> Block:
    """n instants of two loops at 1 s, from T0 + first s."""
    times = T0 + SECOND * np.arange(first, first + n, dtype=np.int64)
    values = np.zeros((n, 2))
    zeros = np.zeros((n, 2), dtype=np.int16)
    return Block(("A", "B"), times, values, values, values, zeros.astype(np.int8), values, values, zeros)


def metrics(**tags: str) -> SelfMetrics:
    return SelfMetrics("clpm_execd", tags, interval=SECOND, start=T0)


def fields(line: bytes) -> dict[str, str]:
    match = re.fullmatch(rb"clpm_execd(?:,\S+)? (\S+) \d{19}\n", line)
    assert match, line
    return dict(pair.split("=") for pair in match[1].decode().split(","))


def test_there_is_one_point_at_every_full_minute() -> None:
    own = metrics(site="unit 208", area="a")
    lines = [own.take_line(T0 + second * SECOND) for second in range(185)]
    points = [line for line in lines if line]
    assert [lines.index(line) for line in points] == [60, 120, 180]
    assert points[0] == (
        b"clpm_execd,area=a,site=unit\\ 208 points_emitted=0i,ticks_late=0i,uptime=60 %d\n" % (T0 + MINUTE)
    )


def test_a_stall_of_minutes_is_one_point_and_a_clock_set_back_none() -> None:
    own = metrics()
    assert own.take_line(T0 + 5 * MINUTE)
    assert not own.take_line(T0 + 5 * MINUTE + SECOND)
    assert not own.take_line(T0)
    assert own.take_line(T0 + 6 * MINUTE)


def test_points_and_late_ticks_are_counted() -> None:
    own = metrics()
    own.add(block(0, 1), b"a\nb\n", T0 + SECOND // 10)
    own.add(block(1, 1), b"a\nb\n", T0 + SECOND)
    own.add(block(2, 4), b"a\nb\n" * 4, T0 + 5 * SECOND + SECOND // 2)  # after a stall: three of four are late
    assert fields(own.take_line(T0 + MINUTE)) == {"points_emitted": "12i", "ticks_late": "3i", "uptime": "60"}


def test_a_backfill_is_not_late() -> None:
    own = metrics()
    for start in range(-1000, 0, 100):
        own.add(block(start, 100), b"", T0 + SECOND // 10)
    own.add(block(0, 1), b"", T0 + SECOND // 5)
    own.add(block(1, 1), b"", T0 + 3 * SECOND)
    assert fields(own.take_line(T0 + MINUTE))["ticks_late"] == "1i"


def test_further_numbers_are_fields_in_the_order_of_names() -> None:
    own = metrics()
    own.more = lambda now: {"spool_age": (now - T0) / SECOND, "retries": 3}
    names = list(fields(own.take_line(T0 + MINUTE)))
    assert names == ["points_emitted", "retries", "spool_age", "ticks_late", "uptime"]


@pytest.mark.parametrize(("setting", "name"), [(False, None), (True, "clpm_execd"), ("about_us", "about_us")])
def test_they_are_configured_in_the_loops_file(setting: object, name: str | None) -> None:
    assert parse_configuration({"output": {"metrics": setting}}).output.metrics == name
    assert parse_configuration({}).output.metrics is None
