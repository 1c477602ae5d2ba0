"""Every file that `init` writes can be run unchanged, and its plant resembles real ones."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import tomli

from clpm_execd.config.loops import Configuration, parse_configuration
from clpm_execd.config.plants.example import STARTER
from clpm_execd.config.plants.period_matching import measure_periods
from clpm_execd.config.plants.starter import TYPE_SHARES, write_plant
from clpm_execd.plant.block import SECOND
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import LoopSpec


def configure(text: str) -> Configuration:
    return parse_configuration(tomli.loads(text))


def fraction_with(loops: tuple[LoopSpec, ...], *, group: str = "", kind: str = "") -> float:
    return sum(any(fault.kind == kind or FAULTS[fault.kind].group == group for fault in loop.faults)
               for loop in loops) / len(loops)


@pytest.fixture(scope="module")
def plant() -> Configuration:
    return configure(write_plant("refinery", 300, 42))


def test_the_starter_file_is_valid_and_shows_every_part() -> None:
    configuration = configure(STARTER)
    assert [loop.id for loop in configuration.loops] == ["FIC101", "TIC100", "LIC200"]
    assert configuration.loops[0].cascade == "TIC100"
    assert configuration.loops[1].moves
    assert configuration.loops[2].faults
    assert configuration.output.truth is None


@pytest.mark.slow
@pytest.mark.parametrize("name", TYPE_SHARES)
@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
def test_a_plant_of_any_size_is_valid(name: str, count: int) -> None:
    configuration = configure(write_plant(name, count, 1))
    assert len(configuration.loops) == count


def test_a_refinery_names_the_source_of_its_statistics_and_other_plants_name_none() -> None:
    assert "StictionGPT" in write_plant("refinery", 5, 1)
    assert "Apache License 2.0" in write_plant("refinery", 5, 1)
    assert "StictionGPT" not in write_plant("chemicals", 5, 1)


def test_the_same_name_size_and_seed_give_the_same_file() -> None:
    assert write_plant("refinery", 30, 7) == write_plant("refinery", 30, 7)
    assert write_plant("refinery", 30, 7) != write_plant("refinery", 30, 8)


@pytest.mark.slow
def test_a_plant_has_all_types_and_a_quarter_of_its_loops_are_slaves(plant: Configuration) -> None:
    kinds = Counter(loop.type for loop in plant.loops)
    assert set(kinds) == {"flow", "pressure", "level", "temperature", "composition"}
    assert kinds.most_common(1)[0][0] == "flow"
    assert sum(loop.cascade is not None for loop in plant.loops) == 75
    assert all(loop.id.startswith({"flow": "FIC", "pressure": "PIC", "level": "LIC", "temperature": "TIC",
                                   "composition": "AIC"}[loop.type]) for loop in plant.loops)


def test_faults_are_as_frequent_as_in_real_plants(plant: Configuration) -> None:
    assert 0.2 <= fraction_with(plant.loops, group="valve") <= 0.3
    assert 0.3 <= fraction_with(plant.loops, kind="manual") <= 0.4
    assert 0.05 <= fraction_with(plant.loops, group="tuning") <= 0.15
    assert fraction_with(plant.loops, group="sensor") > 0
    assert fraction_with(plant.loops, group="negative control") > 0
    assert 0.1 <= sum(not loop.faults for loop in plant.loops) / 300 <= 0.35


def test_a_plant_writes_the_ground_truth(plant: Configuration) -> None:
    assert plant.output.truth == "control_loops_truth"


def test_processes_lie_within_the_ranges_of_their_type(plant: Configuration) -> None:
    for loop in plant.loops:
        if loop.type == "temperature":
            assert 0.09 <= loop.process.tau[1] / loop.process.tau[0] <= 0.51
        if loop.type == "flow":
            assert 1 <= loop.process.tau[0] <= 5
            assert 0.5 <= loop.process.dead_time <= 2


@pytest.mark.slow
def test_stiction_aggressive_tuning_and_an_external_oscillation_come_in_trios_of_one_period() -> None:
    text = write_plant("refinery", 100, 42)
    comments = [line for line in text.splitlines() if "same period" in line]
    assert len(comments) >= 3
    tables = {table["id"]: table for table in tomli.loads(text)["loop"]}
    for comment in comments[::3]:
        ids = comment.removeprefix("# ").partition(" oscillate")[0].split(", ")
        sticky, aggressive, external = (tables[name] for name in ids)
        assert [table["fault"][0]["kind"] for table in (sticky, aggressive, external)] == [
            "stiction", "aggressive", "external-oscillation"]
        by_valve, by_tuning = measure_periods([(table, table["fault"][0]) for table in (sticky, aggressive)])
        assert by_valve is not None
        assert by_tuning is not None
        assert by_tuning == pytest.approx(by_valve, rel=0.05)
        assert external["fault"][0]["period"] == pytest.approx(by_valve, rel=0.05)


@pytest.mark.parametrize("faulty", [0.0, 0.3, 0.6])
def test_the_requested_number_of_loops_has_a_fault(faulty: float) -> None:
    loops = configure(write_plant("refinery", 200, 42, faulty)).loops
    share = sum(any(not FAULTS[fault.kind].is_control for fault in loop.faults) for loop in loops) / 200
    assert share == pytest.approx(faulty, abs=0.06)


def test_a_limit_cycle_travels_from_a_sticky_valve_through_five_to_twelve_loops(plant: Configuration) -> None:
    sources = {loop.id: fault.parameters["from"] for loop in plant.loops for fault in loop.faults
               if "from" in fault.parameters}
    faults = {loop.id: loop.faults for loop in plant.loops}
    roots = []
    for loop in sources:
        root = loop
        while root in sources:
            root = str(sources[root])
        roots.append(root)
    for root, count in Counter(roots).items():
        assert faults[root][0].kind == "stiction"
        assert 5 <= count <= 12
    assert roots


def test_the_throughput_moves_every_unit(plant: Configuration) -> None:
    assert {loop.throughput.sigma for loop in plant.loops} == {1.2}
    assert len({loop.throughput.unit for loop in plant.loops}) == 6


def test_a_valve_is_repaired_in_a_maintenance(plant: Configuration) -> None:
    repaired = [loop.faults[:2] for loop in plant.loops if len(loop.faults) > 1
                and loop.faults[1].kind == "maintenance" and loop.faults[0].duration is not None]
    assert len(repaired) >= 3
    for fault, maintenance in repaired:
        end = fault.start + (fault.duration or 0)
        assert maintenance.start < end < maintenance.start + (maintenance.duration or 0)


def test_loops_are_left_in_manual_hours_after_their_valve_fails(plant: Configuration) -> None:
    answers = [loop.faults for loop in plant.loops if len(loop.faults) == 2 and loop.faults[1].kind == "manual"]
    assert len(answers) >= 10
    for fault, manual in answers:
        assert FAULTS[fault.kind].group == "valve"
        assert manual.start - fault.start - fault.ramp // 2 >= 4 * 3600 * SECOND
        if fault.duration is not None:
            assert manual.start + (manual.duration or 0) == fault.start + fault.duration, "until the repair"


def test_temperatures_of_all_units_feel_the_steam_and_some_the_heat_of_another_unit(plant: Configuration) -> None:
    users: dict[str, set[str]] = {}
    for loop in plant.loops:
        if loop.throughput.utility:
            users.setdefault(loop.throughput.utility, set()).add(loop.area)
    assert len(users["steam"]) >= 4
    for utility, areas in users.items():
        if utility.startswith("hot stream of "):
            assert utility.removeprefix("hot stream of ") not in areas


def test_controllers_of_a_refinery_are_as_slow_as_installed_ones(plant: Configuration) -> None:
    flows = [loop for loop in plant.loops if loop.type == "flow" and loop.cascade is None]
    assert all(loop.controller.reset and 16 <= loop.controller.reset <= 44 for loop in flows)


def test_slaves_of_a_refinery_have_installed_controllers_and_none_is_slower_than_its_master_allows(
        plant: Configuration) -> None:
    slaves = [loop for loop in plant.loops if loop.cascade is not None]
    resets = [loop.controller.reset or 0.0 for loop in slaves]
    assert all(3 <= reset <= 44 for reset in resets)
    assert sum(reset > 16 for reset in resets) >= len(slaves) / 4
    response = {loop.id: sum(loop.process.tau) + loop.process.dead_time for loop in plant.loops}
    for loop in slaves:
        master = loop.cascade or ""
        if response[master] > 60 and (loop.controller.reset or 0.0) > 3:
            closed_loop = (loop.controller.reset or 0.0) / ((loop.controller.gain or 0.0) * loop.process.gain)
            assert closed_loop < response[master]


def test_valves_of_most_levels_and_pressures_lower_them_as_they_open(plant: Configuration) -> None:
    for loop_type in ("level", "pressure"):
        gains = [loop.process.gain for loop in plant.loops if loop.type == loop_type]
        assert 0.45 <= sum(gain < 0 for gain in gains) / len(gains) <= 0.85
    assert all(loop.process.gain > 0 for loop in plant.loops if loop.type not in ("level", "pressure"))


def test_no_two_oscillations_from_elsewhere_are_the_same_wave_and_none_is_too_quick_for_its_process(
        plant: Configuration) -> None:
    waves = [(loop, fault.parameters) for loop in plant.loops for fault in loop.faults
             if fault.kind == "external-oscillation" and "harmonic" in fault.parameters]
    assert len(waves) >= 15
    assert len({parameters["period"] for _, parameters in waves}) == len(waves)
    for loop, parameters in waves:
        assert float(parameters["period"]) > 1.9 * max(loop.process.tau, default=0.0)


def test_op_is_where_it_is_in_real_loops(plant: Configuration) -> None:
    op = [loop.op for loop in plant.loops]
    lower, median, upper = np.quantile(op, (0.25, 0.5, 0.75))
    assert 28.0 < lower < 38.0, "of 32 real loops it is 32 %"
    assert 38.0 < median < 50.0, "of the real loops it is 42 %"
    assert 50.0 < upper < 61.0, "of the real loops it is 58 %"


def test_changes_that_neighbours_share_take_minutes(plant: Configuration) -> None:
    changes = [fault for loop in plant.loops for fault in loop.faults if fault.kind in ("load-step", "grade-change")]
    assert len(changes) >= 30
    assert all(180.0 <= float(fault.parameters["over"]) <= 2400.0 for fault in changes)
    assert len({fault.parameters["over"] for fault in changes}) > 10


def test_a_frozen_reading_lasts_an_hour_at_most_and_a_stuck_valve_is_soon_in_manual(plant: Configuration) -> None:
    frozen = [fault for loop in plant.loops for fault in loop.faults if fault.kind == "freeze"]
    assert frozen
    assert all(fault.duration and fault.duration <= 3600 * SECOND for fault in frozen)
    stuck = [loop.faults for loop in plant.loops if loop.faults and loop.faults[0].kind == "stuck"]
    assert stuck
    for fault, manual, maintenance in stuck:
        assert [manual.kind, maintenance.kind] == ["manual", "maintenance"]
        assert manual.start - fault.start <= 90 * 60 * SECOND
        assert manual.start + (manual.duration or 0) == fault.start + (fault.duration or 0)


def test_lasting_faults_begin_on_any_day_of_the_first_week(plant: Configuration) -> None:
    starts = [fault.start / (3600 * SECOND) for loop in plant.loops for fault in loop.faults
              if fault.kind in ("manual", "external-oscillation") and fault.start and len(loop.faults) == 1]
    assert len(starts) >= 15
    assert max(starts) > 4 * 24
    assert np.median(starts) < 24


def test_analysers_of_a_refinery_have_cycles_and_consistencies_of_a_paper_mill_have_none(plant: Configuration) -> None:
    def cycles(loops: tuple[LoopSpec, ...]) -> list[float]:
        return [loop.sensor.cycle for loop in loops if loop.type == "composition"]

    with_cycle = [cycle for cycle in cycles(plant.loops) if cycle]
    assert len(with_cycle) >= 3
    assert all(120.0 <= cycle <= 600.0 for cycle in with_cycle)
    assert set(cycles(configure(write_plant("pulp-and-paper", 40, 1)).loops)) == {0.0}


@pytest.mark.campaign
@pytest.mark.parametrize("name", TYPE_SHARES)
def test_hardly_a_loop_is_at_its_limits_for_hours_but_by_a_valve_that_is_too_small_leaks_or_is_stuck(name: str) -> None:
    loops = configure(write_plant(name, 200, 5)).loops
    op = Plant(loops, seed=5, start=1_736_503_500 * SECOND, interval=60 * SECOND, scan=2 * SECOND,
               measures_truth=False).advance(2880).op
    at_limit = np.mean((op < 0.5) | (op > 99.5), axis=0)
    often = {loop.id: [fault.kind for fault in loop.faults] for loop, fraction in zip(loops, at_limit, strict=True)
             if fraction > 0.05}
    with_such_a_valve = {name for loop in loops for name in (loop.id, loop.cascade)
                         if loop.faults and loop.faults[0].kind in ("undersized", "leak", "stuck")}
    assert len(often.keys() - with_such_a_valve) <= 2, often
