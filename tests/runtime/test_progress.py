"""The log reports the progress of a long backfill, and nothing of one that takes no time."""

from __future__ import annotations

import logging

import pytest
from clocks import FakeClock

from clpm_execd.runtime.pacing import SECOND
from clpm_execd.runtime.progress import Progress

NOW = 1_700_000_000 * SECOND
HOUR = 3600 * SECOND


def test_a_long_backfill_has_a_line_every_ten_seconds_and_one_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock(NOW)
    with caplog.at_level(logging.INFO):
        progress = Progress(clock, logging.getLogger("test.progress"))
        for step in range(41):
            progress.update(NOW - 10 * HOUR + step * HOUR // 4 + clock.time)
            clock.time += SECOND
        progress.update(clock.now())
    assert [record.getMessage() for record in caplog.records] == [
        "backfilling 10 h up to now", "backfilled 2.5 h, 25 %; 7.5 h to go", "backfilled 5.01 h, 50 %; 5 h to go",
        "backfilled 7.51 h, 75 %; 2.5 h to go", "backfill of 10 h done in 40 s; now live"]


def test_a_backfill_of_less_than_a_minute_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        progress = Progress(FakeClock(NOW), logging.getLogger("test.progress"))
        for lag in (50, 20, 1, 0):
            progress.update(NOW - lag * SECOND)
    assert not caplog.records


def test_the_sample_that_is_due_at_the_start_is_no_backfill_however_long_the_interval(
        caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        progress = Progress(FakeClock(NOW), logging.getLogger("test.progress"), interval=HOUR)
        for lag in (HOUR, 0):
            progress.update(NOW - lag)
    assert not caplog.records


def test_a_bar_is_shown_in_place_of_the_lines() -> None:
    class Bar:
        shown: list[float]
        closed = 0

        def __init__(self) -> None:
            self.shown = []

        def show(self, share: float, text: str) -> None:
            self.shown.append(share)

        def close(self) -> None:
            self.closed += 1

    bar = Bar()
    progress = Progress(FakeClock(NOW), logging.getLogger("test.progress"), bar)
    for hours in (4, 3, 2, 1, 0):
        progress.update(NOW - hours * HOUR)
    assert bar.shown == [0.25, 0.5, 0.75]
    assert bar.closed == 1
