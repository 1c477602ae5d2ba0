"""A stream that runs faster than time emits every sample when its plant time has come, until it has caught up."""

from __future__ import annotations

import logging

import pytest
from clocks import FakeClock

from clpm_execd.plant.block import SECOND
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.runtime.fast_clock import FastClock
from clpm_execd.runtime.pacing import Scheduler

NOW, HOUR = 1_736_503_500 * SECOND, 3_600 * SECOND


def stream(clock: FakeClock, fast: FastClock, start: int, until: int) -> list[tuple[int, int]]:
    """The time of each sample, and that of the machine when it is emitted."""
    scheduler = Scheduler(Plant([LoopSpec(id="FIC1")], start=start), fast, logging.getLogger("clpm_execd"))
    emitted = []
    while clock.now() < until:
        for block in scheduler.due_blocks(lambda: False):
            emitted += [(time, clock.now()) for time in block.times.tolist()]
        fast.wait(scheduler.time_to_next())
    return emitted


def test_an_hour_passes_in_a_minute_and_then_time_is_time(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock(NOW)
    start, speed = NOW - HOUR, 60.0
    emitted = stream(clock, FastClock(clock, start, speed), start, NOW + 90 * SECOND)
    assert [time for time, _ in emitted] == list(range(start, NOW + 90 * SECOND, SECOND))
    catches_up = NOW + round(HOUR / (speed - 1.0))
    for time, when in emitted:
        ideal = NOW + (time - start) / speed if when < catches_up else time
        assert ideal - 1000 <= when <= ideal + SECOND / speed, "each when its plant time has come"
        assert time <= when, "none has a time that is still to come"
    assert not caplog.records, "neither a gap nor a step of the clock"


def test_a_wait_at_high_speed_is_no_gap(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock(NOW)
    start = NOW - 72 * HOUR
    fast = FastClock(clock, start, 3600.0)
    scheduler = Scheduler(Plant([LoopSpec(id="FIC1")], start=start), fast, logging.getLogger("clpm_execd"))
    emitted = []
    for _ in range(4):
        for block in scheduler.due_blocks(lambda: False):
            emitted += block.times.tolist()
        clock.wait(30 * SECOND)  # 30 h of the plant, which is longer than the longest gap that is backfilled
    assert emitted == list(range(start, emitted[-1] + 1, SECOND))
    assert emitted[-1] >= NOW, "it has caught up"
    assert "dropping" not in caplog.text


def test_a_step_of_the_clock_is_noticed_and_does_not_change_the_speed() -> None:
    clock = FakeClock(NOW)
    fast = FastClock(clock, NOW - 8 * HOUR, 60.0)
    offset = fast.now() - fast.elapsed()
    clock.wait(SECOND)
    before = fast.now()
    clock.step(100 * SECOND)
    assert fast.now() == before == NOW - 8 * HOUR + 60 * SECOND
    assert fast.now() - fast.elapsed() == offset + 100 * SECOND
