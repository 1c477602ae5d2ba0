"""A fault is present exactly while it lasts, visible where its twin differs, and as severe as its ramp."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from faulty_loops import START, fault, loop, run
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import examples

from clpm_execd.plant.block import AFFECTED, Route, Truth
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.faults.schedule import Schedule
from clpm_execd.plant.plant import SECOND, Plant
from clpm_execd.plant.specs import FaultSpec


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


@pytest.mark.parametrize(("kind", "parts", "is_visible"), [
    ("deadband", {"width": 6.0}, True), ("deadband", {"width": 0.05}, False),
    ("stiction", {"S": 6.0, "J": 3.0}, True), ("stiction", {"S": 0.05, "J": 0.05}, False),
    ("slow-actuator", {"lag": 1.0}, False), ("bias", {"size": 3.0}, True), ("bias", {"size": 0.01}, False),
    ("freeze", {}, True), ("manual", {}, True), ("noise", {"sigma": 1.0}, True)])
def test_a_fault_is_visible_where_its_loop_differs_from_the_same_loop_without_it(
        kind: str, parts: dict[str, float], is_visible: bool) -> None:
    block, healthy = (run(loop(*faults), samples=1800) for faults in ([fault(kind, 300, **parts)], []))
    assert block.truth is not None
    assert not block.truth.visible[:300].any()
    assert block.truth.visible[600:, 0].mean() == pytest.approx(float(is_visible), abs=0.1)
    # The same by hand: the distance of each signal over the deviation of the healthy one.
    distances = [np.sqrt(np.mean((getattr(block, name) - getattr(healthy, name))[600:] ** 2)) /
                 max(0.05, getattr(healthy, name)[600:].std()) for name in ("pv", "op")]
    assert (max(distances) > 0.7) == is_visible


def test_the_master_of_a_slave_whose_sensor_freezes_is_affected_and_names_the_cause() -> None:
    slave = loop(fault("freeze", 300), loop_id="FIC102", cascade="TIC101", mode="CAS")
    block = run(slave, loop(loop_id="TIC101", kind="temperature"), loop(loop_id="FIC103"), samples=3600)
    result = block.truth
    assert result is not None
    assert list(zip(result.loops, result.kinds, strict=True)) == [("FIC102", "freeze"), ("TIC101", AFFECTED)]
    assert result.present[-600:].all()
    assert not result.present[:300].any()
    assert {result.cause_text(int(cause)) for cause in result.cause[-600:, 1]} == {"FIC102:freeze"}


def test_an_oscillation_that_travels_names_its_root_and_the_way_on_which_it_came() -> None:
    tic = loop(fault("external-oscillation", **{"from": "FIC101", "lag": 15.0, "gain": 2.0}), loop_id="TIC102")
    pic = loop(fault("external-oscillation", **{"from": "TIC102", "lag": 5.0, "gain": 2.0}), loop_id="PIC103")
    slave = loop(loop_id="FIC104", cascade="PIC103", mode="CAS")
    result = run(loop(fault("stiction", S=8.0, J=4.0)), tic, pic, slave, samples=3600).truth
    assert result is not None
    assert result.cause_text(int(result.cause[-1, 1])) == "FIC101:stiction"
    from_the_root = {(name, kind): result.find_route(i, 0)
                     for i, (name, kind) in enumerate(zip(result.loops, result.kinds, strict=True))
                     if kind == "external-oscillation" or name == "FIC104"}
    assert from_the_root == {
        ("TIC102", "external-oscillation"): Route(("FIC101", "TIC102"), 30.0),
        ("PIC103", "external-oscillation"): Route(("FIC101", "TIC102", "PIC103"), 40.0),
        ("FIC104", AFFECTED): Route(("FIC101", "TIC102", "PIC103", "FIC104"), 40.0)}


def test_the_cause_is_the_root_and_not_the_way_on_which_its_oscillation_comes() -> None:
    slave = loop(fault("external-oscillation", **{"from": "FIC101", "lag": 5.0, "gain": 2.0}), loop_id="FIC102",
                 cascade="LIC103", mode="CAS")
    sticky = loop(fault("stiction", S=10.0, J=8.0))
    result = run(sticky, slave, loop(loop_id="LIC103", kind="level"), samples=7200).truth
    assert result is not None
    assert result.loops[2:] == ("LIC103", "FIC102")
    assert result.visible[-3600:, 2].all()
    for effect in (1, 2):
        assert {result.cause_text(cause) for cause in result.cause[-3600:, effect].tolist()} == {"FIC101:stiction"}


def test_what_comes_by_the_cascade_is_no_cause_of_an_oscillation_from_elsewhere() -> None:
    step = fault("load-step", 900, size=30.0)
    slave = loop(fault("external-oscillation", **{"from": "FIC101", "gain": 0.5}), loop_id="FIC102", cascade="TIC103",
                 mode="CAS")
    result = run(loop(), slave, loop(step, loop_id="TIC103", kind="temperature"), samples=3600).truth
    assert result is not None
    assert result.kinds == ("external-oscillation", "load-step", AFFECTED, AFFECTED)
    assert result.visible[1800:, 1].all()
    assert (result.cause[:, 0] == -1).all()


def test_a_master_feels_its_slave_through_its_process() -> None:
    slave = loop(fault("freeze"), loop_id="FIC102", cascade="TIC101", mode="CAS")
    result = run(slave, loop(loop_id="TIC101", kind="temperature"), samples=1).truth
    assert result is not None
    assert result.find_route(1, 0) == Route(("FIC102", "TIC101"), 30.0 + 240.0 + 60.0)


def test_the_effect_of_each_of_several_faults_is_what_it_adds_to_the_others() -> None:
    both = truth(fault("bias", 100, size=0.01), fault("noise", 100, sigma=1.0), samples=900)
    assert both.visible[300:].all(axis=0).tolist() == [False, True]
    assert both.effect[-1, 0] < 0.2 < 1.5 < both.effect[-1, 1]


def test_the_truth_is_the_same_however_the_stream_is_cut() -> None:
    loops = (loop(fault("stiction", 60), fault("mode-hopping", 90, dwell=60.0), loop_id="FIC102", cascade="TIC101",
                  mode="CAS"), loop(loop_id="TIC101", kind="temperature"),
             loop(fault("interaction", 30, **{"with": "FIC102"}), loop_id="PIC103"))
    whole = run(*loops, samples=700).truth
    plant = Plant(loops, seed=7, start=START)
    parts = [plant.advance(n).truth for n in (1, 29, 30, 31, 200, 409)]
    for name in ("present", "visible", "severity", "effect", "cause"):
        assert np.array_equal(getattr(whole, name), np.concatenate([getattr(part, name) for part in parts]))


def test_without_the_truth_no_twin_is_simulated_and_the_samples_are_the_same() -> None:
    loops = (loop(fault("stiction", 10)),)
    with_truth, without = (Plant(loops, start=START, measures_truth=truth) for truth in (True, False))
    one, other = with_truth.advance(100), without.advance(100)
    assert np.array_equal(one.pv, other.pv)
    assert one.truth is not None
    assert other.truth is not None
    assert np.array_equal(one.truth.present, other.truth.present)
    assert not other.truth.visible.any()


def test_a_plant_that_resumes_without_a_twin_starts_one_from_its_own_state() -> None:
    loops = (loop(fault("bias", 600, size=5.0)),)
    without = Plant(loops, start=START, measures_truth=False)
    without.advance(300)
    snapshot = without.snapshot()
    resumed = Plant(loops, start=snapshot.next_time, snapshot=snapshot).advance(900).truth
    assert resumed is not None
    assert resumed.effect[:300].max() == 0.0
    assert resumed.visible[400:].all()


def test_faults_are_in_the_order_of_loops_and_then_as_configured_also_in_a_cascade() -> None:
    slave = loop(fault("bias"), fault("stuck"), loop_id="FIC102", cascade="TIC101", mode="CAS")
    master = loop(fault("noise"), loop_id="TIC101", kind="temperature")
    result = run(slave, loop(fault("leak")), master, samples=2).truth
    assert result is not None
    assert result.loops == ("FIC102", "FIC102", "FIC101", "TIC101", "TIC101", "FIC102")
    assert result.kinds == ("bias", "stuck", "leak", "noise", AFFECTED, AFFECTED)
    assert result.column.tolist() == [0, 0, 1, 2, 2, 0]


@pytest.mark.slow
@settings(max_examples=examples(100))
@given(st.integers(-100, 300), st.sampled_from([None, 1, 7, 100, 300]), st.sampled_from([None, 50, 150]),
       st.sampled_from([0, 1, 30, 400]), st.sampled_from(["bias", "grade-change"]))
def test_the_severities_of_many_scans_are_those_of_single_scans(
        start: int, duration: int | None, repeat: int | None, ramp: int, kind: str) -> None:
    spec = fault(kind, start, duration, repeat, ramp)
    schedule = Schedule([replace(loop(), faults=(spec,))], [0], np.array([START]), SECOND, seed=42)
    ticks = START // SECOND + np.arange(-5, 500)
    single = np.concatenate([schedule.severities(ticks[i : i + 1]) for i in range(len(ticks))])
    for length in (3, 64, len(ticks)):
        parts = [schedule.severities(ticks[i : i + length]) for i in range(0, len(ticks), length)]
        assert np.array_equal(np.concatenate(parts), single)
