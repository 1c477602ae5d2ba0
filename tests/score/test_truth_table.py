"""A table of episodes says what the ground truth says, in any order, and is read as any other."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from clpm_execd.plant.block import AFFECTED
from clpm_execd.plant.truth.episodes import Episode
from clpm_execd.problems import BadInput
from clpm_execd.score import GroundTruth, read_truth
from clpm_execd.score.truth_table import format_truth_table
from clpm_execd.units import format_time

START = 1_736_503_500_000_000_000
HOUR = 3_600_000_000_000
OBSERVATION = {"FIC, 1": ((START, START + HOUR),), "FIC2": ((START, START + HOUR // 2), (START + 1, START + HOUR))}
EPISODES = (
    Episode("FIC, 1", "grade-change", START, START + HOUR, True, (), 0.25),
    Episode("FIC, 1", "stiction", START, START + 9, False, (), 1.0),
    Episode("FIC, 1", "stiction", START + 50, START + HOUR, False,
            ((START + 60, START + 70), (START + 80, START + 90))),
    Episode("FIC2", AFFECTED, START + 60, START + 99, False, ((START + 60, START + 99),), 1.0, "FIC, 1:stiction"),
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    observation = {"FIC, 1": ((START, START + HOUR),), "FIC2": ((START, START + HOUR),)}
    text = format_truth_table(EPISODES, OBSERVATION)
    (tmp_path / "truth.csv").write_text(text)
    assert read_truth(tmp_path / "truth.csv") == GroundTruth(EPISODES, observation)
    header, *rows = text.splitlines(keepends=True)
    shuffled = [header, *random.Random(1).sample(rows, len(rows)), *rows[:3]]
    assert read_truth(shuffled) == GroundTruth(EPISODES, observation)


def test_a_table_of_an_older_version_has_no_causes() -> None:
    older = [line.rpartition(",")[0] for line in format_truth_table(EPISODES[:3], OBSERVATION).splitlines()]
    assert read_truth(older).episodes == EPISODES[:3]


def test_times_have_the_decimals_that_they_need() -> None:
    assert format_time(START) == "2025-01-10T10:05:00Z"
    assert format_time(START + 500_000_000) == "2025-01-10T10:05:00.5Z"


@pytest.mark.parametrize(("old", "new", "why"), [
    ("stiction", "stikshun", "unknown fault 'stikshun'"), ("2025-01-10T10:05:00Z", "soon", "'soon'"),
    (",severity", ",heaviness", "'severity'"),
])
def test_a_wrong_row_is_an_error_with_its_line(old: str, new: str, why: str) -> None:
    lines = format_truth_table(EPISODES, OBSERVATION).replace(old, new).splitlines(keepends=True)
    with pytest.raises(BadInput) as error:
        read_truth(lines)
    assert why in str(error.value)
    assert ": line " in str(error.value)
