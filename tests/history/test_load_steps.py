"""Steps of a loop's load are told from its noise and from spikes of its sensor, and do not pass for its process."""

from __future__ import annotations

from dataclasses import replace

import pytest
from recorded import SECOND, moved, record_of, run

from clpm_execd.history.learned import Learned, learn
from clpm_execd.plant.loop import FaultSpec, LoopSpec
from clpm_execd.plant.types import template


def learned(loop: LoopSpec, *faults: FaultSpec, seed: int = 1) -> Learned:
    return learn(record_of(run(replace(loop, faults=faults), 7200, seed=seed)), span=(0.0, 100.0))


def stepping(size: float) -> FaultSpec:
    """A load that steps up and down again, twice in two hours."""
    return FaultSpec(kind="load-step", parameters={"size": size}, start=2000 * SECOND, duration=1300 * SECOND,
                     repeat=3300 * SECOND)


def loop_of(kind: str) -> LoopSpec:
    return moved(template(kind, f"{kind[0].upper()}IC101", (0.0, 100.0)), 3.0, -2.0, 2.5)


@pytest.mark.parametrize("kind", ["flow", "pressure", "level"])
@pytest.mark.parametrize("share", [10.0, -15.0])
def test_a_load_that_steps_is_told_and_the_process_is_found_between(kind: str, share: float) -> None:
    """By many times what it wanders otherwise."""
    loop = loop_of(kind)
    size = share * loop.disturbance.sigma
    found = learned(loop, stepping(size))
    assert found.estimates["load.steps"].value == 4.0
    assert found.estimates["load.step"].value == pytest.approx(abs(size), rel=0.25)
    assert found.estimates["process.gain"].source == "identified"
    assert found.loop.process.gain == pytest.approx(loop.process.gain, rel=0.15)
    assert found.estimates["disturbance.sigma"].value == pytest.approx(loop.disturbance.sigma, rel=0.3)
    assert any("the load stepped 4 times" in warning for warning in found.warnings)


@pytest.mark.parametrize("kind", ["flow", "level"])
@pytest.mark.parametrize("fault", [
    None, FaultSpec(kind="spikes", parameters={"size": 8.0, "rate": 5.0}), FaultSpec(kind="aggressive"),
    FaultSpec(kind="stiction", parameters={"S": 5.0, "J": 2.5})],
    ids=lambda fault: fault.kind if fault else "healthy")
def test_noise_spikes_and_a_valve_that_slips_are_no_steps_of_the_load(kind: str, fault: FaultSpec | None) -> None:
    found = learned(loop_of(kind), *([] if fault is None else [fault]))
    assert "load.steps" not in found.estimates


def test_what_the_steps_were_goes_on_in_the_stream() -> None:
    """Its load wanders as far as the record's, though the plain numbers of the load are those between the steps."""
    loop = loop_of("flow")
    record = run(replace(loop, faults=(stepping(-8.0),)), 7200)
    found = learn(record_of(record), span=(0.0, 100.0)).loop
    again = run(found, 20_000, seed=5)
    assert again.op.std() == pytest.approx(record.op.std(), rel=0.5)
