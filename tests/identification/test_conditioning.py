"""A loop is identified for any way of logging: bump tests, held values, OP a sample late, scans between samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated_records import SECOND, START, record_of, run
from test_recovery import drawn

from clpm_execd.identification.closed_loop.pid_regression import estimate_pid_law, explained_share
from clpm_execd.identification.conditioning import MAX_SAMPLES, condition, excerpt
from clpm_execd.identification.learn import LearnedLoop, learn
from clpm_execd.identification.loop_data import Signals, extract_signals
from clpm_execd.identification.process.process_law import estimate_process
from clpm_execd.plant.block import AUT, Floats
from clpm_execd.plant.loop_types import LOOP_TYPES, template
from clpm_execd.plant.specs import ControllerSpec, DisturbanceSpec, LoopSpec, Move, ProcessSpec, SensorSpec
from clpm_execd.records.record import Record

FULL = (0.0, 100.0)


def logged(pv: Floats, op: Floats, sp: Floats | None = None, interval: float = 1.0) -> Record:
    """Return a record of these samples; without SP one of a loop in MAN, as its reader fills it in."""
    times = START + np.arange(len(pv)) * round(interval * SECOND)
    sp = np.full(len(pv), pv[0]) if sp is None else sp
    mode = np.full((len(pv), 1), AUT, dtype=np.int8)
    return Record(("X1",), times, pv[:, None], op[:, None], sp[:, None], mode, round(interval * SECOND), ())


def bump(gain: float, tau: float, dead_time: float, *, interval: float, samples: int, noise: float) -> Record:
    """Return a bump test: OP steps from 40 to 50 % after a quarter of the record."""
    op = np.where(np.arange(samples) < samples // 4, 40.0, 50.0)
    later, pole = round(dead_time / interval), float(np.exp(-interval / tau))
    pv, x = np.empty(samples), 50.0
    for t in range(samples):
        x = pole * x + (1.0 - pole) * (50.0 + gain * (op[max(t - later, 0)] - 40.0))
        pv[t] = x
    return logged(pv + np.random.default_rng(1).normal(0.0, noise, samples), op, interval=interval)


def fit_loop(record: Record, kind: str) -> LearnedLoop:
    return learn(record, span=FULL, kind=kind)


@pytest.mark.parametrize("kind", ["temperature", "composition"])
def test_a_bump_test_identifies_a_process_far_from_the_typical_one(kind: str) -> None:
    around = LOOP_TYPES[kind].process
    law = estimate_process(extract_signals(bump(0.8, 170.0, 160.0, interval=5.0, samples=760, noise=0.05), 0, FULL),
                           around)
    assert law is not None
    assert law.gain[0] == pytest.approx(0.8, rel=0.02)
    assert law.tau[0][0] == pytest.approx(170.0, rel=0.05)
    assert law.dead_time[0] + sum(tau[0] for tau in law.tau[1:]) == pytest.approx(160.0, rel=0.05)


def test_a_process_without_an_identified_controller_may_have_a_negative_gain() -> None:
    loop = fit_loop(bump(-1.33, 225.0, 60.0, interval=5.0, samples=300, noise=0.02), "temperature")
    assert loop.estimates["process.gain"].source == "identified"
    assert loop.loop.process.gain == pytest.approx(-1.33, rel=0.02)
    assert loop.loop.process.tau[0] == pytest.approx(225.0, rel=0.05)


def test_the_type_of_a_nameless_loop_is_that_whose_process_explains_its_bump_test() -> None:
    loop = learn(bump(0.66, 150.0, 15.0, interval=5.0, samples=240, noise=0.05), span=FULL)
    assert loop.loop.process.gain == pytest.approx(0.66, rel=0.03)
    assert any(loop.loop.type in warning for warning in loop.warnings)


def flow_loop(**changes: object) -> LoopSpec:
    loop = replace(template("flow", "FIC1", FULL), sp=50.0, controller=ControllerSpec(gain=0.5, reset=8.0),
                   moves=(Move(at=600 * SECOND, sp=55.0), Move(at=1200 * SECOND, sp=48.0)))
    return replace(loop, **changes)  # type: ignore[arg-type]


def test_values_that_are_held_are_reduced_to_the_interval_at_which_they_change() -> None:
    record = record_of(run(flow_loop(), 1800))
    pv, op, sp = (np.repeat(part[:, 0], 5) for part in (record.pv, record.op, record.sp))
    held = logged(pv, op, sp)
    signals, notes = condition(extract_signals(held, 0, FULL))
    assert signals.interval == 5.0
    assert signals.pv == pytest.approx(record.pv[:, 0])
    assert signals.op == pytest.approx(record.op[:, 0])
    assert "every 5 samples" in notes[0]


def test_a_bump_test_with_pv_held_over_irregular_times_identifies_the_process() -> None:
    record = bump(1.95, 225.0, 60.0, interval=0.5, samples=2400, noise=0.02)
    holds = np.random.default_rng(1).integers(1, 9, 2400)
    at = np.repeat(np.cumsum(holds) - holds, holds)[:2400]
    loop = fit_loop(logged(record.pv[at, 0], record.op[:, 0], interval=0.5), "temperature")
    assert loop.estimates["process.gain"].source == "identified"
    assert loop.loop.process.gain == pytest.approx(1.95, rel=0.03)
    assert loop.loop.process.tau[0] == pytest.approx(225.0, rel=0.05)


def test_values_that_rounding_repeats_are_not_reduced() -> None:
    signals = extract_signals(record_of(run(flow_loop(), 1800)), 0, FULL)
    coarse = replace(signals, pv=np.round(signals.pv), op=np.round(signals.op))
    assert condition(coarse)[0].interval == 1.0


@pytest.mark.parametrize("late", [1, -1])
def test_op_a_sample_late_or_early_is_moved_to_where_a_law_explains_it(late: int) -> None:
    record = record_of(run(flow_loop(), 1800))
    shifted = logged(record.pv[1:-1, 0], np.roll(record.op[:, 0], late)[1:-1], record.sp[1:-1, 0])
    signals, notes = condition(extract_signals(shifted, 0, FULL))
    law = estimate_pid_law(signals, (0.0, 0.0))
    assert law is not None
    assert "one sample" in notes[0]
    assert law.gain[0] == pytest.approx(0.5, rel=0.02)
    assert law.reset[0] == pytest.approx(8.0, rel=0.02)


@pytest.mark.parametrize("late", [1, 0, -1])
def test_op_is_moved_to_where_a_law_explains_it_even_where_that_explains_half_of_its_moves(late: int) -> None:
    record = record_of(run(flow_loop(), 1800))
    moves = np.diff(record.op[:, 0])
    op = record.op[:, 0] + np.random.default_rng(2).normal(0.0, 0.7 * moves.std(), 1800)
    signals = extract_signals(logged(record.pv[1:-1, 0], np.roll(op, late)[1:-1], record.sp[1:-1, 0]), 0, FULL)
    moved, notes = condition(signals)
    assert 0.3 < explained_share(moved)[0] < 0.7
    assert len(notes) == abs(late)
    assert moved.op[100:-100] == pytest.approx(op[101:-101])


def test_op_that_is_in_time_stays_there() -> None:
    signals = extract_signals(record_of(run(flow_loop(), 1800)), 0, FULL)
    assert condition(signals) == (signals, [])


def test_a_pv_that_answers_op_within_an_interval_is_no_op_that_is_early() -> None:
    signals = extract_signals(record_of(run(drawn("pressure", 66), 1000, interval=30.0, seed=66)), 0, FULL)
    assert condition(signals) == (signals, [])


def test_the_reset_of_a_controller_that_scans_between_the_samples_is_identified() -> None:
    process = ProcessSpec(model="integrator", gain=-0.0012, tau=(), dead_time=4.0)
    loop = replace(template("level", "LIC1", FULL), process=process, sp=54.0, op=40.0,
                   controller=ControllerSpec(gain=4.0, reset=750.0, action="direct"),
                   sensor=SensorSpec(noise=0.045), disturbance=DisturbanceSpec(sigma=0.3, correlation=5.0))
    exact = replace(loop, recording=replace(loop.recording, resolution=replace(loop.recording.resolution, pv=0.0,
                                                                                op=0.0)))
    law = estimate_pid_law(extract_signals(record_of(run(exact, 14_400, scan=0.25, seed=3)), 0, FULL), (0.0, 0.0))
    assert law is not None
    assert law.reset[1] < 750.0 < law.reset[2]
    assert law.reset[0] == pytest.approx(750.0, rel=0.15)


def test_an_sp_that_rests_and_steps_is_an_operators_and_one_that_moves_each_sample_a_masters() -> None:
    signals = extract_signals(record_of(run(flow_loop(), 3600)), 0, FULL)
    stairs = replace(signals, sp=20.0 + np.arange(3600.0) // 300.0)
    masters = replace(signals, sp=np.cumsum(np.random.default_rng(1).normal(size=3600)))
    assert not stairs.has_continuous_sp
    assert masters.has_continuous_sp


def cooled_by_day(samples: int) -> Signals:
    """Return an air handler's loop, a minute a sample, that is off at night: OP 0, and PV drifts to the room's."""
    chance, pv, integral, rows = np.random.default_rng(2), 72.0, 0.0, []
    for t in range(samples):
        measured = pv + chance.normal(0.0, 0.1)
        is_on = 6 <= t / 60 % 24 < 18
        integral = min(max(integral + 1.3 * (measured - 55.0) / 5.0, 0.0), 100.0) if is_on else 0.0
        op = min(max(1.3 * (measured - 55.0) + integral, 0.0), 100.0) if is_on else 0.0
        rows.append((measured, op))
        target, tau = (75.0 - 0.35 * op, 3.0) if is_on else (72.0, 60.0)
        pv += (target - pv) * (1.0 - np.exp(-1.0 / tau))
    pvs, ops = np.array(rows).T
    return extract_signals(logged(pvs, ops, np.full(samples, 55.0), interval=60.0), 0, FULL)


def test_nights_in_which_the_plant_is_off_are_excluded() -> None:
    signals, notes = condition(cooled_by_day(4320))
    assert "the plant is taken to be off" in notes[0]
    assert np.mean(signals.complete) == pytest.approx(0.5, abs=0.03)
    law = estimate_pid_law(signals, (0.0, 0.0))
    assert law is not None
    assert law.gain[0] == pytest.approx(-1.3, rel=0.02)
    assert law.reset[0] == pytest.approx(300.0, rel=0.02)


def test_an_op_that_the_control_error_holds_at_its_end_is_saturated_and_not_off() -> None:
    nights = cooled_by_day(4320)
    in_control = condition(nights)[0].complete
    limited = replace(nights, op=np.where(in_control, nights.op, 100.0))
    assert condition(limited)[0].complete.all()


def test_a_long_record_is_identified_from_where_sp_moves() -> None:
    samples = 3 * MAX_SAMPLES
    signals = cooled_by_day(200)
    sp = np.where(np.arange(samples) < 2.5 * MAX_SAMPLES, 55.0, 60.0)
    automatic = np.ones(samples, dtype=bool)
    part, note = excerpt(replace(signals, pv=np.resize(signals.pv, samples), op=np.resize(signals.op, samples),
                                       sp=sp, automatic=automatic, cascaded=~automatic,
                                       times=np.arange(float(samples))))
    assert len(part.pv) == MAX_SAMPLES
    assert np.ptp(part.sp) > 0
    assert "the record is long" in note
