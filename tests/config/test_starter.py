"""Every file to start from can be run as it is, and a plant is as plants are."""

from __future__ import annotations

from collections import Counter

import pytest
import tomli

from clpm_execd.config.loops import Configuration, parse_configuration
from clpm_execd.config.period_matching import periods
from clpm_execd.config.starter import MIXES, STARTER, plant_file
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.specs import LoopSpec


def configured(text: str) -> Configuration:
    return parse_configuration(tomli.loads(text))


def share(loops: tuple[LoopSpec, ...], *, group: str = "", kind: str = "") -> float:
    return sum(any(fault.kind == kind or FAULTS[fault.kind].group == group for fault in loop.faults)
               for loop in loops) / len(loops)


@pytest.fixture(scope="module")
def plant() -> Configuration:
    return configured(plant_file("refinery", 300, 42))


def test_the_starter_file_is_right_and_shows_every_part() -> None:
    found = configured(STARTER)
    assert [loop.id for loop in found.loops] == ["FIC101", "TIC100", "LIC200"]
    assert found.loops[0].cascade == "TIC100"
    assert found.loops[1].moves
    assert found.loops[2].faults
    assert found.output.truth is None


@pytest.mark.parametrize("name", [*MIXES, "my own, \"plant\"\nof 'things'"])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
def test_a_plant_of_any_size_is_right(name: str, count: int) -> None:
    found = configured(plant_file(name, count, 1))
    assert len(found.loops) == count


def test_a_refinery_says_from_whose_records_it_was_learned_and_another_plant_from_none() -> None:
    assert "StictionGPT" in plant_file("refinery", 5, 1)
    assert "Apache License 2.0" in plant_file("refinery", 5, 1)
    assert "StictionGPT" not in plant_file("chemical", 5, 1)


def test_the_same_plant_is_the_same_file() -> None:
    assert plant_file("refinery", 30, 7) == plant_file("refinery", 30, 7)
    assert plant_file("refinery", 30, 7) != plant_file("refinery", 30, 8)


def test_a_plant_has_all_types_and_a_quarter_of_slaves(plant: Configuration) -> None:
    kinds = Counter(loop.type for loop in plant.loops)
    assert set(kinds) == {"flow", "pressure", "level", "temperature", "composition"}
    assert kinds.most_common(1)[0][0] == "flow"
    assert sum(loop.cascade is not None for loop in plant.loops) == 75
    assert all(loop.id.startswith({"flow": "FIC", "pressure": "PIC", "level": "LIC", "temperature": "TIC",
                                   "composition": "AIC"}[loop.type]) for loop in plant.loops)


def test_faults_are_as_frequent_as_in_real_plants(plant: Configuration) -> None:
    assert 0.2 <= share(plant.loops, group="valve") <= 0.3
    assert 0.3 <= share(plant.loops, kind="manual") <= 0.4
    assert 0.05 <= share(plant.loops, group="tuning") <= 0.15
    assert share(plant.loops, group="sensor") > 0
    assert share(plant.loops, group="negative control") > 0
    assert 0.1 <= sum(not loop.faults for loop in plant.loops) / 300 <= 0.35


def test_the_truth_is_told_of_a_plant(plant: Configuration) -> None:
    assert plant.output.truth == "control_loops_truth"


def test_processes_lie_within_the_ranges_of_their_type(plant: Configuration) -> None:
    for loop in plant.loops:
        if loop.type == "temperature":
            assert 0.09 <= loop.process.tau[1] / loop.process.tau[0] <= 0.51
        if loop.type == "flow":
            assert 1 <= loop.process.tau[0] <= 5
            assert 0.5 <= loop.process.dead_time <= 2


def test_stiction_aggressive_tuning_and_an_oscillation_from_outside_come_in_threes_of_one_period() -> None:
    text = plant_file("refinery", 100, 42)
    notes = [line for line in text.splitlines() if "share a period" in line]
    assert len(notes) >= 3
    tables = {table["id"]: table for table in tomli.loads(text)["loop"]}
    for note in notes[::3]:
        ids = note.removeprefix("# ").partition(" share")[0].split(", ")
        sticky, tight, moved = (tables[name] for name in ids)
        assert [table["fault"][0]["kind"] for table in (sticky, tight, moved)] == [
            "stiction", "aggressive", "external-oscillation"]
        by_valve, by_tuning = periods([(table, table["fault"][0]) for table in (sticky, tight)])
        assert by_valve is not None
        assert by_tuning is not None
        assert by_tuning == pytest.approx(by_valve, rel=0.05)
        assert moved["fault"][0]["period"] == pytest.approx(by_valve, rel=0.05)
