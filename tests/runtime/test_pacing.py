"""Every instant of the grid once, in order, none before its time, whatever the clock does."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from clocks import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st
from sources import Ramp
from tiers import examples

from clpm_execd.plant.block import Block
from clpm_execd.runtime.pacing import SECOND, Scheduler, SystemClock, count_due
from clpm_execd.units import DAY

T0 = 1_736_503_500 * SECOND
HOUR = 3_600 * SECOND


LOG = logging.getLogger("test.pacing")


@pytest.fixture(autouse=True)
def log_everything(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.DEBUG):
        yield


def emit_due(scheduler: Scheduler) -> list[int]:
    return [time for block in scheduler.due_blocks(lambda: False) for time in block.times.tolist()]


def run(scheduler: Scheduler, clock: FakeClock, ns: int) -> list[int]:
    """Emit for ns of the clock, as the stream does."""
    end, emitted = clock.time + ns, emit_due(scheduler)
    while clock.time < end:
        clock.wait(max(1, min(scheduler.time_to_next(), end - clock.time)))
        emitted += emit_due(scheduler)
    return emitted


def grid(first: int, n: int, interval: int = SECOND) -> list[int]:
    return [first + k * interval for k in range(n)]


def test_the_due_instants_are_those_that_the_clock_has_reached() -> None:
    assert [count_due(100, 10, now) for now in (0, 89, 90, 99, 100, 109, 110, 200)] == [0, 0, 0, 0, 1, 1, 2, 11]


def test_the_latest_instant_is_due_at_once_and_each_later_one_at_its_time() -> None:
    clock = FakeClock(T0 + 400_000_000)
    scheduler = Scheduler(Ramp(T0), clock, LOG)
    assert emit_due(scheduler) == [T0]
    assert scheduler.time_to_next() == 600_000_000
    assert run(scheduler, clock, 60 * SECOND) == grid(T0 + SECOND, 60)


def test_one_wait_per_instant_is_enough() -> None:
    clock = FakeClock(T0)
    scheduler = Scheduler(Ramp(T0), clock, LOG)
    waits = 0
    emitted = emit_due(scheduler)
    while len(emitted) < 100:
        clock.wait(scheduler.time_to_next())
        emitted += emit_due(scheduler)
        waits += 1
    assert waits == 99


def test_a_stall_is_backfilled(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock(T0)
    scheduler = Scheduler(Ramp(T0), clock, LOG)
    emitted = run(scheduler, clock, 3 * SECOND)
    clock.wait(20 * SECOND)
    assert emitted + run(scheduler, clock, 2 * SECOND) == grid(T0, 26)
    assert [r.getMessage() for r in caplog.records] == [
        "19 s behind schedule; backfilling 20 samples per loop"
    ]


def test_a_source_slower_than_time_returns_between_calls_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock(T0)
    scheduler = Scheduler(Ramp(T0), clock, LOG)
    emitted: list[int] = []
    for _ in range(6):
        for block in scheduler.due_blocks(lambda: False):
            emitted += block.times.tolist()
            clock.wait(3 * SECOND * len(block))
        assert scheduler.time_to_next() == 0
    assert emitted == grid(T0, 1 + 3 + 9 + 27 + 81 + 243)
    assert [r.levelname for r in caplog.records] == ["WARNING"]


def test_a_suspension_is_backfilled_and_logged_as_such(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock(T0)
    scheduler = Scheduler(Ramp(T0), clock, LOG)
    emitted = run(scheduler, clock, 3 * SECOND)
    clock.step(8 * HOUR)  # CLOCK_MONOTONIC stands still meanwhile
    assert emitted + run(scheduler, clock, 2 * SECOND) == grid(T0, 4 + 8 * 3600 + 2)
    assert [r.levelname for r in caplog.records] == ["INFO"]


def test_a_clock_set_forward_leaves_no_gap_and_a_clock_set_back_no_second_value() -> None:
    clock = FakeClock(T0)
    scheduler = Scheduler(Ramp(T0), clock, LOG)
    emitted = run(scheduler, clock, 10 * SECOND)
    clock.step(HOUR)
    emitted += run(scheduler, clock, 10 * SECOND)
    clock.step(-HOUR)
    emitted += run(scheduler, clock, 2 * HOUR)
    assert emitted == grid(T0, 1 + 20 + 7200)


def test_after_a_clock_set_back_nothing_is_emitted_until_it_has_passed_the_last_sample(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock(T0)
    scheduler = Scheduler(Ramp(T0), clock, LOG)
    run(scheduler, clock, 10 * SECOND)
    clock.step(-HOUR)
    assert run(scheduler, clock, 3600 * SECOND) == []
    assert run(scheduler, clock, 5 * SECOND) == grid(T0 + 11 * SECOND, 5)
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("WARNING", "the clock is 60 min behind the last sample; waiting until it has passed it"),
        ("INFO", "the clock has passed the last sample; emitting again"),
    ]


def test_a_step_forward_after_a_step_back_is_noticed_within_an_interval() -> None:
    clock = FakeClock(T0)
    scheduler = Scheduler(Ramp(T0), clock, LOG)
    emit_due(scheduler)
    clock.step(-HOUR)
    emit_due(scheduler)
    assert scheduler.time_to_next() == SECOND


def test_a_small_step_back_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock(T0)
    scheduler = Scheduler(Ramp(T0), clock, LOG)
    emit_due(scheduler)
    clock.step(-300_000_000)
    assert run(scheduler, clock, 3 * SECOND) == grid(T0 + SECOND, 2)
    assert caplog.records == []


def test_beyond_the_longest_gap_the_plant_is_simulated_without_output(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock(T0)
    source = Ramp(T0, interval=60 * SECOND)
    scheduler = Scheduler(source, clock, LOG)
    assert emit_due(scheduler) == [T0]
    clock.wait(3 * DAY)
    emitted = emit_due(scheduler)
    assert emitted == grid(T0 + 2 * DAY, 1441, 60 * SECOND)
    assert [r.levelname for r in caplog.records] == ["WARNING", "INFO"]


def test_a_backfill_has_no_limit_and_comes_in_parts() -> None:
    clock = FakeClock(T0)
    source = Ramp(T0 - 10 * DAY, loops=100, interval=60 * SECOND)
    scheduler = Scheduler(source, clock, LOG, first_emit=T0 - 7 * DAY)
    blocks = list(scheduler.due_blocks(lambda: False))
    assert [t for b in blocks for t in b.times.tolist()] == grid(T0 - 7 * DAY, 7 * 1440 + 1, 60 * SECOND)
    assert max(len(b) for b in blocks) == 50
    assert source.largest_advance <= 500


def test_a_start_between_two_instants_means_the_next_one() -> None:
    clock = FakeClock(T0)
    scheduler = Scheduler(Ramp(T0 - 100 * SECOND), clock, LOG, first_emit=T0 - 9_500_000_000)
    assert emit_due(scheduler) == grid(T0 - 9 * SECOND, 10)


def test_a_start_in_the_future_is_waited_for() -> None:
    clock = FakeClock(T0)
    scheduler = Scheduler(Ramp(T0 + 5 * SECOND), clock, LOG)
    assert run(scheduler, clock, 6 * SECOND) == grid(T0 + 5 * SECOND, 2)


def test_count_is_exact() -> None:
    clock = FakeClock(T0)
    scheduler = Scheduler(Ramp(T0 - 50 * SECOND), clock, LOG, count=7)
    assert emit_due(scheduler) == grid(T0 - 50 * SECOND, 7)
    assert scheduler.is_done


def test_a_stop_ends_a_backfill_between_two_parts() -> None:
    clock = FakeClock(T0)
    scheduler = Scheduler(Ramp(T0 - DAY), clock, LOG)
    emitted: list[Block] = []
    for block in scheduler.due_blocks(lambda: len(emitted) >= 2):
        emitted.append(block)
    assert len(emitted) == 2
    source = Ramp(T0 - 365 * DAY)
    assert list(Scheduler(source, clock, LOG, first_emit=T0).due_blocks(lambda: True)) == []
    assert source.largest_advance == 0


events = st.tuples(
    st.sampled_from(["run", "stall", "step"]), st.integers(-2 * HOUR, 2 * HOUR), st.integers(1, 90)
)


@pytest.mark.slow
@settings(max_examples=examples(150))
@given(st.lists(events, max_size=12), st.sampled_from([SECOND // 2, SECOND, 7 * SECOND]), st.integers(0, SECOND))
def test_no_sample_is_missed_repeated_or_early_when_the_clock_jumps(
    events_drawn: list[tuple[str, int, int]], interval: int, offset: int
) -> None:
    clock = FakeClock(T0 + offset)
    scheduler = Scheduler(Ramp(T0 // interval * interval, interval=interval), clock, LOG, max_gap=30 * DAY)
    emitted, latest = emit_due(scheduler), clock.now()
    for kind, step, seconds in events_drawn:
        if kind == "step":
            clock.step(step)
        elif kind == "stall":
            clock.wait(abs(step))
        latest = max(latest, clock.now())
        emitted += run(scheduler, clock, seconds * SECOND)
        latest = max(latest, clock.now())
        assert emitted[-1] <= latest
    assert emitted == grid(T0 // interval * interval, len(emitted), interval)
    assert latest - emitted[-1] < interval


def test_a_long_simulation_without_output_shows_its_progress(caplog: pytest.LogCaptureFixture) -> None:
    """A plant that starts in 1970 is simulated for hours before its first sample."""
    clock = FakeClock(T0)

    class SlowRamp(Ramp):
        def advance(self, n: int) -> Block:
            clock.time += 4 * SECOND
            return super().advance(n)

    source = SlowRamp(T0 - 100_000 * SECOND)
    next(Scheduler(source, clock, LOG, first_emit=T0).due_blocks(lambda: False))
    lines = [record.message for record in caplog.records if record.message.startswith("simulated")]
    assert lines[:2] == ["simulated 9 h without output, 32 %; 18.8 h to go",
                         "simulated 18 h without output, 64 %; 9.78 h to go"]


def test_a_descriptor_beyond_1024_is_waited_for() -> None:
    """A stream that inherits many descriptors, from a service with thousands of connections for example."""
    fcntl = pytest.importorskip("fcntl")
    resource = pytest.importorskip("resource")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit[0] < 1200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1200, limit[1]))
    low_read, low_write = os.pipe()
    read, write = (fcntl.fcntl(fd, fcntl.F_DUPFD, 1100) for fd in (low_read, low_write))
    try:
        assert SystemClock().wait(1_000_000, [read]) == set()
        assert SystemClock().wait(SECOND, [read], [write]) == {write}
        os.write(write, b"\n")
        assert SystemClock().wait(SECOND, [read]) == {read}
    finally:
        for fd in (low_read, low_write, read, write):
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def test_the_system_clock_returns_the_time() -> None:
    clock = SystemClock()
    assert abs(clock.now() / 1e9 - __import__("time").time()) < 1
    before = clock.elapsed()
    assert clock.wait(1_000_000) == set()
    assert clock.wait(-5) == set()
    assert clock.elapsed() - before >= 1_000_000
