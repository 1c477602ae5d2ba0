"""Steps of a loop's load are told from its noise and from spikes of its sensor, and do not pass for its process.

With CLPM_LONG=1 a population is learned too, and the shares are printed.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated_records import SECOND, add_sp_moves, record_of, run
from test_recovery import KINDS, drawn, share

from clpm_execd.identification.learn import LearnedLoop, learn
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.specs import FaultSpec, LoopSpec
from clpm_execd.plant.tuning import tune_controller

pytestmark = pytest.mark.slow


def learned(loop: LoopSpec, *faults: FaultSpec, seed: int = 1, interval: float = 1.0) -> LearnedLoop:
    """Of a record of every scan two hours are learned, of a slower one four."""
    samples = 7200 if interval == 1.0 else round(4 * 3600 / interval)
    return learn(record_of(run(replace(loop, faults=faults), samples, interval=interval, seed=seed)), span=(0.0, 100.0))


def stepping(size: float) -> FaultSpec:
    """A load that steps up and down again, twice in two hours, four times in four."""
    return FaultSpec(kind="load-step", parameters={"size": size}, start=2000 * SECOND, duration=1300 * SECOND,
                     repeat=3300 * SECOND)


def loop_of(kind: str) -> LoopSpec:
    return add_sp_moves(template(kind, f"{kind[0].upper()}IC101", (0.0, 100.0)), 3.0, -2.0, 2.5)


@pytest.mark.parametrize("kind", ["flow", "pressure", "level"])
@pytest.mark.parametrize("sigmas", [10.0, -15.0])
def test_a_load_that_steps_is_told_and_the_process_is_found_between(kind: str, sigmas: float) -> None:
    """By many times what it wanders otherwise."""
    loop = loop_of(kind)
    size = sigmas * loop.disturbance.sigma
    found = learned(loop, stepping(size))
    assert found.estimates["load.steps"].value == 4.0
    assert found.estimates["load.step"].value == pytest.approx(abs(size), rel=0.25)
    assert found.estimates["process.gain"].source == "identified"
    assert found.loop.process.gain == pytest.approx(loop.process.gain, rel=0.15)
    assert found.estimates["disturbance.sigma"].value == pytest.approx(loop.disturbance.sigma, rel=0.3)
    assert any("the load stepped 4 times" in warning for warning in found.warnings)


@pytest.mark.parametrize("kind", ["flow", "pressure", "level", "temperature"])
@pytest.mark.parametrize("sigmas", [5.0, -8.0])
def test_of_each_tenth_sample_they_are_told_as_well_and_the_loop_beside_them(kind: str, sigmas: float) -> None:
    loop = loop_of(kind)
    size = sigmas * loop.disturbance.sigma
    found = learned(loop, stepping(size), interval=10.0)
    assert 7.0 <= found.estimates["load.steps"].value <= 8.0
    assert found.estimates["load.step"].value == pytest.approx(abs(size), rel=0.25)
    assert found.loop.process.gain == pytest.approx(loop.process.gain, rel=0.2)
    assert found.loop.controller.gain == pytest.approx(tune_controller(loop, 1.0).gain, rel=0.1)
    assert found.estimates["disturbance.sigma"].value == pytest.approx(loop.disturbance.sigma, rel=0.3)


@pytest.mark.parametrize("interval", [1.0, 10.0])
@pytest.mark.parametrize("kind", ["flow", "level"])
@pytest.mark.parametrize("fault", [
    None, FaultSpec(kind="spikes", parameters={"size": 8.0, "rate": 5.0}), FaultSpec(kind="aggressive"),
    FaultSpec(kind="stiction", parameters={"S": 5.0, "J": 2.5})],
    ids=lambda fault: fault.kind if fault else "healthy")
def test_noise_spikes_and_a_valve_that_slips_are_no_steps_of_the_load(kind: str, fault: FaultSpec | None,
                                                                      interval: float) -> None:
    found = learned(loop_of(kind), *([] if fault is None else [fault]), interval=interval)
    assert "load.steps" not in found.estimates


def test_a_move_of_the_set_point_is_no_step_of_the_load_though_the_process_is_not_the_typical_one() -> None:
    loop = template("composition", "AIC101", (0.0, 100.0))
    slow = replace(loop.process, tau=(0.8 * loop.process.tau[0],), dead_time=1.9 * loop.process.dead_time)
    found = learned(add_sp_moves(replace(loop, process=slow), 3.0, -2.0, 2.5))
    assert "load.steps" not in found.estimates


@pytest.mark.timeout(3600)
@pytest.mark.campaign
@pytest.mark.parametrize("interval", [1.0, 10.0])
def test_in_a_population_the_process_is_known_though_the_load_steps(interval: float) -> None:
    steps = 4 if interval == 1.0 else 8
    near, held, told, alone = [], [], [], []
    for seed in range(200, 205):
        for kind in KINDS:
            loop = drawn(kind, seed)
            alone.append("load.steps" not in learned(loop, seed=seed, interval=interval).estimates)
            for size in (5.0, -8.0):
                found = learned(loop, stepping(size), seed=seed, interval=interval).estimates
                gain = found["process.gain"]
                near.append(abs(gain.value / loop.process.gain - 1.0) <= 0.2)
                held.append(gain.low <= loop.process.gain <= gain.high)
                told.append("load.steps" in found and abs(found["load.steps"].value - steps) <= 1)
    assert share("no step is told where there is none", alone) >= 0.95
    assert share("steps are told, but for one", told) >= 0.75
    assert share("process gain within 20 %", near) >= 0.8
    assert share("interval of the process gain holds", held) >= 0.7


def test_what_the_steps_were_goes_on_in_the_stream() -> None:
    """Its load wanders as far as the record's, though the plain numbers of the load are those between the steps."""
    loop = loop_of("flow")
    record = run(replace(loop, faults=(stepping(-8.0),)), 7200)
    found = learn(record_of(record), span=(0.0, 100.0)).loop
    again = run(found, 20_000, seed=5)
    assert again.op.std() == pytest.approx(record.op.std(), rel=0.5)
