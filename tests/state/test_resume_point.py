"""Where a stream begins: no instant missing, none with two values, and not further back than is asked for."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from clpm_execd.plant.snapshot import Snapshot
from clpm_execd.runtime.pacing import SECOND
from clpm_execd.state.checkpoint import Checkpoint
from clpm_execd.state.resume_point import Beginning, beginning
from clpm_execd.units import DAY

NOW = 1_700_000_000 * SECOND + 300_000_000
LATEST = 1_700_000_000 * SECOND
T = LATEST - 3 * DAY + 7


def kept(next_time: int, start: int | None = None, taken: int | None = None, since: int = 0) -> Checkpoint:
    snapshot = Snapshot(("A",), np.zeros((1, 16), np.uint8), np.array([T]), next_time, next_time // SECOND, {})
    return Checkpoint("plant", start, snapshot, {}, since, NOW - SECOND if taken is None else taken)


def at(*args: object, **options: object) -> Beginning:
    return replace(beginning(*args, **options), snapshot=None)  # type: ignore[arg-type]


def test_without_more_it_begins_at_the_latest_instant() -> None:
    assert beginning(None, SECOND, NOW) == Beginning(LATEST, LATEST)
    assert beginning(None, 7 * SECOND, NOW).start % (7 * SECOND) == 0


def test_a_fixed_start_is_lived_through_unseen() -> None:
    assert beginning(T, SECOND, NOW) == Beginning(T, LATEST + 7)
    assert beginning(NOW + DAY, SECOND, NOW) == Beginning(NOW + DAY, NOW + DAY)


def test_a_backfill_begins_so_long_ago() -> None:
    assert beginning(None, SECOND, NOW, backfill=DAY) == Beginning(LATEST - DAY + SECOND, LATEST - DAY + SECOND)
    assert beginning(T, SECOND, NOW, backfill=DAY) == Beginning(T, LATEST - DAY + SECOND + 7)
    assert beginning(T, SECOND, NOW, backfill=9 * DAY) == Beginning(T, T)


@pytest.mark.parametrize("backfill", [0, DAY])
def test_it_goes_on_where_the_last_one_ended_and_backfills_no_more(backfill: int) -> None:
    before = kept(LATEST - 500 * SECOND)
    found = beginning(None, SECOND, NOW, kept=before, backfill=backfill)
    assert found == Beginning(LATEST - 500 * SECOND, LATEST - 500 * SECOND, before.snapshot)


def test_what_was_to_be_unseen_stays_so() -> None:
    before = kept(T, start=T, since=LATEST - 5 * SECOND + 7)
    assert beginning(T, SECOND, NOW, kept=before) == Beginning(T, LATEST - 5 * SECOND + 7, before.snapshot)


def test_what_was_owed_when_it_ended_is_no_time_away() -> None:
    before = kept(LATEST - 30 * DAY, taken=NOW - 3600 * SECOND)
    assert beginning(None, SECOND, NOW, kept=before).snapshot is before.snapshot


def test_after_too_long_it_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    before = kept(LATEST - 2 * DAY, taken=NOW - 2 * DAY)
    assert beginning(None, SECOND, NOW, kept=before) == Beginning(LATEST, LATEST)
    assert beginning(None, SECOND, NOW, kept=before, catch_up=3 * DAY).snapshot is before.snapshot
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_backfill_after_too_long_does_not_reach_into_what_was_streamed() -> None:
    before = kept(LATEST - 2 * DAY, taken=NOW - 2 * DAY)
    assert at(None, SECOND, NOW, kept=before, backfill=7 * DAY).since == LATEST - 2 * DAY
    assert at(None, SECOND, NOW, kept=before, backfill=DAY).since == LATEST - DAY + SECOND


def test_a_state_of_the_future_is_waited_for_unless_it_is_far(caplog: pytest.LogCaptureFixture) -> None:
    near = kept(NOW // SECOND * SECOND + 100 * SECOND)
    assert beginning(None, SECOND, NOW, kept=near).snapshot is near.snapshot
    far = kept(LATEST + 3000 * DAY, taken=NOW + 3000 * DAY)
    with caplog.at_level(logging.WARNING):
        assert beginning(None, SECOND, NOW, kept=far) == Beginning(LATEST, LATEST)
    assert "ahead of the clock" in caplog.text


def test_another_start_or_grid_begins_anew_after_the_last_instant() -> None:
    ended = LATEST - 100 * SECOND
    assert beginning(None, 7 * SECOND, NOW, kept=kept(ended)).since == -(-ended // (7 * SECOND)) * 7 * SECOND
    assert beginning(T, SECOND, NOW, kept=kept(ended)) == Beginning(T, ended + 7)
    assert beginning(None, SECOND, NOW, kept=kept(ended + 7, start=T)) == Beginning(ended + SECOND, ended + SECOND)
