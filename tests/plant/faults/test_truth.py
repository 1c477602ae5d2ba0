"""A fault is present exactly while it lasts, visible where it exceeds noise, and as severe as its ramp."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from faulty_loops import START, fault, loop, run
from hypothesis import given, settings
from hypothesis import strategies as st

from clpm_execd.plant.block import Truth
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.faults.schedule import Schedule
from clpm_execd.plant.plant import SECOND
from clpm_execd.plant.specs import DisturbanceSpec, FaultSpec


def truth(*faults: FaultSpec, samples: int = 600, interval: float = 1.0, **parts: object) -> Truth:
    result = run(loop(*faults, **parts), samples=samples, interval=interval).truth
    assert result is not None
    return result


def test_a_plant_without_faults_has_no_ground_truth() -> None:
    assert run(loop(), samples=3).truth is None


def test_a_fault_is_present_from_its_start_until_before_its_end() -> None:
    present = truth(fault("bias", 100, 50)).present[:, 0]
    assert np.flatnonzero(present).tolist() == list(range(100, 150))


def test_a_fault_repeats() -> None:
    present = truth(fault("bias", 100, 50, repeat=200)).present[:, 0]
    assert np.flatnonzero(np.diff(present.astype(int))).tolist() == [99, 149, 299, 349, 499, 549]


def test_a_fault_can_start_at_a_time() -> None:
    at = FaultSpec(kind="bias", start=START + 20 * SECOND, from_start=False, duration=5 * SECOND)
    assert np.flatnonzero(truth(at).present[:, 0]).tolist() == [20, 21, 22, 23, 24]


def test_a_fault_between_two_samples_is_present_at_neither() -> None:
    assert not truth(fault("bias", 11, 5), interval=10.0).present.any()


def test_a_fault_grows_over_its_ramp() -> None:
    severity = truth(fault("bias", 100, ramp=200.0)).severity[:, 0]
    assert severity[99] == 0
    assert 0 < severity[100] < 0.02
    assert severity[199] == pytest.approx(0.5, abs=0.02)
    assert (np.diff(severity) >= 0).all()
    assert (severity[304:] == 1).all()


def test_a_negative_control_is_never_present_but_has_a_severity() -> None:
    for name, kind in FAULTS.items():
        if kind.is_control:
            result = truth(fault(name, 10, 100))
            assert result.control == (True,)
            assert not result.present.any()
            assert not result.visible.any()
            assert result.severity.any()


def test_noise_and_load_mask_stiction() -> None:
    sticky = fault("stiction", S=4.0, J=2.0)
    assert truth(sticky, disturbance=DisturbanceSpec(sigma=0.5, correlation=20.0)).visible.all()
    assert not truth(sticky, disturbance=DisturbanceSpec(sigma=1.5, correlation=20.0)).visible.any()


def test_stiction_is_not_visible_in_manual() -> None:
    result = truth(fault("stiction"), fault("manual", 100, 100))
    assert result.present[:, 0].all()
    assert np.flatnonzero(~result.visible[:, 0]).tolist() == list(range(100, 200))


def test_faults_are_in_the_order_of_loops_and_then_as_configured_also_in_a_cascade() -> None:
    slave = loop(fault("bias"), fault("stuck"), loop_id="FIC102", cascade="TIC101", mode="CAS")
    master = loop(fault("noise"), loop_id="TIC101", kind="temperature")
    result = run(slave, loop(fault("leak")), master, samples=2).truth
    assert result is not None
    assert result.loops == ("FIC102", "FIC102", "FIC101", "TIC101")
    assert result.kinds == ("bias", "stuck", "leak", "noise")
    assert result.column.tolist() == [0, 0, 1, 2]


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.integers(-100, 300), st.sampled_from([None, 1, 7, 100, 300]), st.sampled_from([None, 50, 150]),
       st.sampled_from([0, 1, 30, 400]), st.sampled_from(["bias", "grade-change"]))
def test_the_severities_of_many_scans_are_those_of_single_scans(
        start: int, duration: int | None, repeat: int | None, ramp: int, kind: str) -> None:
    spec = fault(kind, start, duration, repeat, ramp)
    schedule = Schedule([replace(loop(), faults=(spec,))], [0], np.array([START]), SECOND)
    ticks = START // SECOND + np.arange(-5, 500)
    single = np.concatenate([schedule.severities(ticks[i : i + 1]) for i in range(len(ticks))])
    for length in (3, 64, len(ticks)):
        parts = [schedule.severities(ticks[i : i + length]) for i in range(0, len(ticks), length)]
        assert np.array_equal(np.concatenate(parts), single)
