"""What files call the parts of a plant does not change with the names of attributes and classes."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, ClassVar

import pytest
from golden_arrays import FOLDER
from numpy.testing import assert_array_equal

from clpm_execd import stored_names
from clpm_execd.config.loops import read_configuration
from clpm_execd.plant.block import SECOND
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.snapshot import serialize_specification
from clpm_execd.plant.specs import (
    ControllerSpec,
    DisturbanceSpec,
    FaultSpec,
    LoopSpec,
    Move,
    OperatorSpec,
    ProcessSpec,
    RecordingSpec,
    Resolution,
    SensorSpec,
    ValveSpec,
)
from clpm_execd.plant.stages.controller import Controller

SPECIFICATIONS = FOLDER / "specifications.txt"

# Every parameter that 0.1.0 had, each other than by default.
LOOP = LoopSpec(
    id="TIC101", type="temperature", range=(0.0, 200.0), sp=120.0, op=40.0, pv=119.0, mode="MAN", cascade="AIC100",
    process=ProcessSpec(model="sopdt", gain=-1.5, tau=(60.0, 20.0), dead_time=7.5),
    controller=ControllerSpec(form="parallel", action="direct", gain=0.5, reset=30.0, derivative=2.0,
                              setpoint_weight=0.5, derivative_filter=8.0, setpoint_tracking=True, tuning="tight"),
    valve=ValveSpec(characteristic="equal-percentage", rangeability=40.0, lag=2.0),
    sensor=SensorSpec(noise=0.1),
    disturbance=DisturbanceSpec(sigma=0.7, correlation=45.0),
    recording=RecordingSpec(resolution=Resolution(pv=0.05, op=0.1), exception=0.3, op_range=(0.0, 1.0)),
    operator=OperatorSpec(interval=3600.0, size=2.0, day=(1.0, 2.0), automatic=7200.0, manual=900.0, wave=1.0,
                          period=500.0),
    moves=(Move(at=60 * SECOND, sp=125.0, ramp=30 * SECOND), Move(at=0, from_start=False, op=30.0),
           Move(at=SECOND, mode="AUT")),
    faults=(FaultSpec(kind="stiction", parameters={"S": 4.0, "J": 2.0}, start=SECOND, from_start=False,
                      duration=3 * SECOND, repeat=9 * SECOND, ramp=SECOND),))


def specification_texts() -> list[str]:
    learned = read_configuration(FOLDER / "learned" / "loops.toml").loops
    return [serialize_specification(loop) for loop in (LOOP, *learned)]


def test_a_loop_is_hashed_under_the_names_that_0_1_0_gave_its_parameters() -> None:
    assert specification_texts() == SPECIFICATIONS.read_text().splitlines()


def test_each_parameter_of_a_loop_is_in_that_text() -> None:
    """So that no name of 0.1.0 is left out of the test above."""
    def names(value: Any) -> set[str]:
        if isinstance(value, tuple):
            return set().union(*map(names, value))
        if not is_dataclass(value):
            return set()
        own = {stored_names.get_stored_field(type(value).__name__, field.name) for field in fields(value)}
        return own.union(*(names(getattr(value, field.name)) for field in fields(value)))

    text = SPECIFICATIONS.read_text()
    later = {"description", "area", "unit", "tags", "until", "throughput", "ambient",
             "mean_repeat", "utility", "utility_sigma", "couplings", "cycle"}  # than 0.1.0
    assert {name for name in names(LOOP) if f"{name}=" not in text} == {"id", "cascade", *later}


def test_a_renamed_attribute_is_stored_under_its_old_name(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = Plant([template("flow", "FIC1", (0.0, 100.0))], start=0)
    plant.advance(100)
    before = plant.snapshot()

    class Renamed(Controller):
        """The controller with another attribute for its integral."""

        stored_arrays: ClassVar = stored_names.CONTROLLER | {"_integral": "integral_action"}

        @property
        def integral_action(self) -> Any:
            return getattr(self, stored_names.CONTROLLER["_integral"])

    monkeypatch.setattr("clpm_execd.plant.kernel.simulation.Controller", Renamed)
    resumed = Plant([template("flow", "FIC1", (0.0, 100.0))], start=before.next_time, snapshot=before)
    assert set(resumed.snapshot().tables) == set(before.tables)
    assert_array_equal(resumed.advance(50).op, plant.advance(50).op)


def test_a_renamed_field_is_hashed_under_its_old_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_names, "RENAMED_FIELDS", {("ValveSpec", "lag"): "stroke_time"})
    assert serialize_specification(ValveSpec(lag=2.5)) == "ValveSpec(stroke_time=2.5)"
