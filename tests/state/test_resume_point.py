"""Where a stream starts: no sample time missing, none with two values, and none earlier than asked for."""

from __future__ import annotations

import numpy as np
import pytest

from clpm_execd.plant.snapshot import Snapshot
from clpm_execd.runtime.pacing import SECOND
from clpm_execd.state.checkpoint import Checkpoint
from clpm_execd.state.resume_point import ResumePoint, describe_excessive_gap, find_resume_point
from clpm_execd.units import DAY

NOW = 1_700_000_000 * SECOND + 300_000_000
LATEST = 1_700_000_000 * SECOND
T = LATEST - 3 * DAY + 7


def checkpoint_at(
    next_time: int, start: int | None = None, taken_at: int | None = None, first_emit: int = 0
) -> Checkpoint:
    snapshot = Snapshot(("A",), np.zeros((1, 16), np.uint8), np.array([T]), next_time, next_time // SECOND, {})
    return Checkpoint("plant", start, snapshot, {}, first_emit, NOW - SECOND if taken_at is None else taken_at)


def first_emit(*args: object, **options: object) -> int:
    return find_resume_point(*args, **options).first_emit  # type: ignore[arg-type]


def test_a_stream_starts_at_the_latest_sample_time() -> None:
    for now in (LATEST, NOW, LATEST + SECOND - 1):
        assert find_resume_point(None, SECOND, now) == ResumePoint(LATEST, LATEST)
    assert find_resume_point(None, 7 * SECOND, NOW).start % (7 * SECOND) == 0


def test_the_time_since_a_configured_start_is_simulated_without_output() -> None:
    assert find_resume_point(T, SECOND, NOW) == ResumePoint(T, LATEST + 7)
    assert find_resume_point(NOW + DAY, SECOND, NOW) == ResumePoint(NOW + DAY, NOW + DAY)


def test_a_backfill_starts_so_long_ago() -> None:
    day_ago = LATEST - DAY + SECOND
    assert find_resume_point(None, SECOND, NOW, backfill=DAY) == ResumePoint(day_ago, day_ago)
    assert find_resume_point(T, SECOND, NOW, backfill=DAY) == ResumePoint(T, day_ago + 7)
    assert find_resume_point(T, SECOND, NOW, backfill=9 * DAY) == ResumePoint(T, T)


@pytest.mark.parametrize("backfill", [0, DAY])
def test_a_stream_resumes_where_the_last_one_ended_and_backfills_no_more(backfill: int) -> None:
    before = checkpoint_at(LATEST - 500 * SECOND)
    point = find_resume_point(None, SECOND, NOW, checkpoint=before, backfill=backfill)
    assert point == ResumePoint(LATEST - 500 * SECOND, LATEST - 500 * SECOND, before.snapshot)


def test_what_was_to_be_simulated_without_output_stays_so() -> None:
    before = checkpoint_at(T, start=T, first_emit=LATEST - 5 * SECOND + 7)
    point = find_resume_point(T, SECOND, NOW, checkpoint=before)
    assert point == ResumePoint(T, LATEST - 5 * SECOND + 7, before.snapshot)


def test_a_backfill_that_was_not_finished_is_no_gap() -> None:
    before = checkpoint_at(LATEST - 30 * DAY, taken_at=NOW - 3600 * SECOND)
    assert find_resume_point(None, SECOND, NOW, checkpoint=before).snapshot is before.snapshot


def test_after_too_long_a_gap_a_stream_starts_from_scratch() -> None:
    before = checkpoint_at(LATEST - 2 * DAY, taken_at=NOW - 2 * DAY)
    assert find_resume_point(None, SECOND, NOW, checkpoint=before) == ResumePoint(LATEST, LATEST)
    assert find_resume_point(None, SECOND, NOW, checkpoint=before, max_gap=3 * DAY).snapshot is before.snapshot
    assert describe_excessive_gap(before, NOW, DAY) == "the last stream ended 2 d ago, more than --max-gap 24 h"
    assert describe_excessive_gap(before, NOW, 3 * DAY) == ""


def test_a_backfill_after_too_long_a_gap_does_not_repeat_what_was_emitted() -> None:
    before = checkpoint_at(LATEST - 2 * DAY, taken_at=NOW - 2 * DAY)
    assert first_emit(None, SECOND, NOW, checkpoint=before, backfill=7 * DAY) == LATEST - 2 * DAY
    assert first_emit(None, SECOND, NOW, checkpoint=before, backfill=DAY) == LATEST - DAY + SECOND


def test_a_checkpoint_ahead_of_the_clock_is_used_unless_it_is_far_ahead() -> None:
    near = checkpoint_at(NOW // SECOND * SECOND + 100 * SECOND)
    assert find_resume_point(None, SECOND, NOW, checkpoint=near).snapshot is near.snapshot
    far = checkpoint_at(LATEST + 3000 * DAY, taken_at=NOW + 3000 * DAY)
    assert find_resume_point(None, SECOND, NOW, checkpoint=far) == ResumePoint(LATEST, LATEST)
    assert "ahead of the clock" in describe_excessive_gap(far, NOW, DAY)
    assert describe_excessive_gap(near, NOW, DAY) == ""


def test_with_another_start_or_interval_a_stream_starts_after_the_last_sample() -> None:
    end = LATEST - 100 * SECOND
    before = checkpoint_at(end)
    assert first_emit(None, 7 * SECOND, NOW, checkpoint=before) == -(-end // (7 * SECOND)) * 7 * SECOND
    assert find_resume_point(T, SECOND, NOW, checkpoint=before) == ResumePoint(T, end + 7)
    before = checkpoint_at(end + 7, start=T)
    assert find_resume_point(None, SECOND, NOW, checkpoint=before) == ResumePoint(end + SECOND, end + SECOND)
