"""A fitted loop has estimates near the truth, each with its source, and resembles its record when simulated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated_records import SECOND, add_sp_moves, copies, flow, record_of, run
from test_recovery import drawn

from clpm_execd.evaluation.similarity import measure_distances, novelty_ratio
from clpm_execd.identification.estimates import Findings
from clpm_execd.identification.learn import LearnedLoop, learn
from clpm_execd.identification.loop_data import extract_signals, find_resolution
from clpm_execd.identification.operator_habits import estimate_habits
from clpm_execd.plant.block import CAS, MAN, Block
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.specs import ControllerSpec, FaultSpec, Move, OperatorSpec, SensorSpec, ValveSpec
from clpm_execd.plant.tuning import tune_controller

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def day() -> Block:
    """Two hours of a flow loop whose set point is moved three times."""
    return run(add_sp_moves(flow(), 3.0, -2.0, 2.5), 7200)


@pytest.fixture(scope="module")
def learned(day: Block) -> LearnedLoop:
    return learn(record_of(day), span=(0.0, 100.0))


@pytest.mark.parametrize(("factor", "offset"), [(1.0, 0.0), (0.16, 4.0), (-0.01, 1.0), (1.8, 32.0), (37.3, -512.0)])
def test_the_resolution_is_the_same_in_any_unit(factor: float, offset: float) -> None:
    values = np.random.default_rng(1).integers(8000, 9500, 300) / 100.0
    assert find_resolution(factor * values + offset) == pytest.approx(abs(factor) * 0.01, rel=1e-6)


def test_levels_and_resolution_are_read_off_the_record(day: Block, learned: LearnedLoop) -> None:
    assert learned.estimates["sp"].value == pytest.approx(day.sp.mean())
    assert learned.estimates["op"].value == pytest.approx(day.op.mean())
    assert learned.loop.recording.resolution.pv == 0.02
    assert learned.loop.recording.resolution.op == 0.01
    assert learned.estimates["recording.resolution.pv"].source == "record"


def test_the_controller_is_identified_within_a_per_cent(learned: LearnedLoop) -> None:
    truth = tune_controller(flow(), 1.0)
    for key, value in (("gain", truth.gain), ("reset", truth.reset)):
        result = learned.estimates[f"controller.{key}"]
        assert result.source == "identified"
        assert result.value == pytest.approx(value, rel=0.01)
        assert result.low <= value <= result.high


@pytest.mark.parametrize(("kind", "reset", "derivative", "n"), [
    ("temperature", 60.0, 12.0, 8.0), ("temperature", 150.0, 40.0, 10.0), ("pressure", 30.0, 5.0, 10.0),
    ("flow", 3.0, 0.5, 10.0)])
def test_a_derivative_is_identified_with_its_filter(kind: str, reset: float, derivative: float, n: float) -> None:
    controller = ControllerSpec(gain=0.5, reset=reset, derivative=derivative, derivative_filter=n)
    loop = replace(template(kind, "IC101", (0.0, 100.0)), controller=controller)
    one = learn(record_of(run(add_sp_moves(loop, 2.0, -3.0), 7200)), span=(0.0, 100.0))
    for key, value in (("gain", 0.5), ("reset", reset), ("derivative", derivative)):
        result = one.estimates[f"controller.{key}"]
        assert result.value == pytest.approx(value, rel=0.03)
        assert result.low <= value <= result.high
    assert one.loop.controller.derivative_filter == pytest.approx(n, rel=0.15)


def test_the_streams_of_two_models_are_compared_and_the_more_similar_one_is_chosen(learned: LearnedLoop) -> None:
    equations, physical = learned.hypotheses[-2:]
    assert physical.is_chosen == (physical.gain >= physical.threshold) != equations.is_chosen
    assert learned.loop.learned_model is not None
    assert physical.is_chosen == (len(learned.loop.learned_model.innovation) > 0)


def test_no_derivative_is_identified_where_there_is_none(learned: LearnedLoop) -> None:
    assert learned.loop.controller.derivative == 0.0
    for kind, size in (("pressure", 2.0), ("level", -3.0)):
        loop = replace(add_sp_moves(template(kind, "IC101", (0.0, 100.0)), size),
                       valve=ValveSpec(characteristic="equal-percentage", lag=2.0))
        assert learn(record_of(run(loop, 7200)), span=(0.0, 100.0)).loop.controller.derivative == 0.0


def test_a_direct_acting_controller_is_identified(day: Block) -> None:
    loop = add_sp_moves(replace(flow(), process=replace(flow().process, gain=-1.1)), 3.0, -2.0)
    result = learn(record_of(run(loop, 3600)), span=(0.0, 100.0)).loop
    assert result.controller.action == "direct"
    assert result.process.gain < 0


def test_the_simulated_loop_resembles_its_record(day: Block, learned: LearnedLoop) -> None:
    later = run(learned.loop, 14_400, seed=2)
    real, synthetic = (np.column_stack([block.pv[:, 0], block.op[:, 0]]) for block in (day, later))
    distances = measure_distances(real, synthetic)
    assert distances.acf < 0.15
    assert distances.psd < 0.15
    assert distances.ccf < 0.1
    assert novelty_ratio(real[:3600], synthetic, real[3600:]) > 0.9


@pytest.mark.parametrize("kind", ["flow", "pressure", "level"])
def test_a_clean_record_is_streamed_by_its_own_process_and_controller_and_moves_as_far(kind: str) -> None:
    block = run(add_sp_moves(template(kind, "X101", (0.0, 100.0)), 2.0, -2.0, 1.5), 3600)
    loop = replace(learn(record_of(block), span=(0.0, 100.0), kind=kind).loop, operator=OperatorSpec())
    assert loop.learned_model is not None
    assert loop.learned_model.innovation.size
    stream = run(copies(loop, 16), 1000, scan=1.0, seed=3)
    for recorded, streamed in ((block.pv, stream.pv), (block.op, stream.op)):
        assert np.log(streamed.std(axis=0)).mean() == pytest.approx(np.log(recorded[:1000].std()), abs=0.4)


@pytest.mark.campaign
def test_the_variance_that_load_steps_cause_is_in_the_stream() -> None:
    """The load of the simulated loop is as large as the record's."""
    loop = add_sp_moves(flow(), 3.0, -2.0, 2.5)
    steps = FaultSpec(kind="load-step", parameters={"size": -8.0 * loop.disturbance.sigma}, start=2000 * SECOND,
                      duration=1300 * SECOND, repeat=3300 * SECOND)
    record = run(replace(loop, faults=(steps,)), 7200)
    again = run(learn(record_of(record), span=(0.0, 100.0)).loop, 20_000, seed=5)
    assert again.op.std() == pytest.approx(record.op.std(), rel=0.5)


def test_a_sticking_valve_is_identified_and_sticks_in_the_stream(learned: LearnedLoop) -> None:
    sticky = replace(flow(), faults=(FaultSpec(kind="stiction", parameters={"S": 5.0, "J": 2.0}),))
    result = learn(record_of(run(add_sp_moves(sticky, 2.0, -2.0), 4000)), span=(0.0, 100.0))
    assert result.estimates["stiction.S"].value == pytest.approx(5.0, rel=0.2)
    assert result.loop.faults[0].kind == "stiction"
    block = run(result.loop, 500)
    assert np.abs(block.valve_position - block.op).max() > 1.0
    assert "stiction.S" not in learned.estimates


def test_the_process_is_identified_with_an_interval_that_holds_the_truth(learned: LearnedLoop) -> None:
    truth = flow().process
    gain, dead_time = learned.estimates["process.gain"], learned.estimates["process.dead_time"]
    assert gain.source == "identified"
    assert gain.value == pytest.approx(truth.gain, rel=0.1)
    assert gain.low <= truth.gain <= gain.high
    assert abs(dead_time.value - truth.dead_time) <= 2.0


def test_a_ringing_loop_shows_its_gain_over_its_lag_and_is_not_an_integrator() -> None:
    rings = replace(flow(), faults=(FaultSpec(kind="aggressive"),))
    result = learn(record_of(run(rings, 7200)), span=(0.0, 100.0))
    process = result.loop.process
    assert result.estimates["process.gain"].source == "identified"
    assert process.model == "fopdt"
    assert process.gain / process.tau[0] == pytest.approx(rings.process.gain / rings.process.tau[0], rel=0.1)
    assert result.estimates["process.gain"].low <= rings.process.gain <= result.estimates["process.gain"].high


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_what_if_the_gain_were_another_is_answered_as_the_plant_would(learned: LearnedLoop, factor: float) -> None:
    truth, gain = flow(), tune_controller(flow(), 1.0)
    plant_loop = replace(truth, controller=replace(gain, gain=(gain.gain or 0.0) * factor))
    ours = learned.loop.controller
    fitted_loop = replace(learned.loop, operator=OperatorSpec(),
                          controller=replace(ours, gain=(ours.gain or 0.0) * factor))
    plant, response = run(plant_loop, 8000, seed=5), run(fitted_loop, 8000, seed=6)
    assert response.pv.var() == pytest.approx(plant.pv.var(), rel=0.25)


def test_the_process_is_a_default_with_a_warning_where_the_set_point_never_moved() -> None:
    result = learn(record_of(run(replace(flow(), disturbance=replace(flow().disturbance, sigma=0.0)), 1000)))
    assert any("range" in warning for warning in result.warnings)
    assert any("SP never moved" in warning for warning in result.warnings)


def test_a_controller_that_is_not_identified_is_tuned_for_the_identified_process_in_report_and_loop() -> None:
    moves = tuple(Move(at=k * 60 * SECOND, op=55.0 if k % 2 else 45.0) for k in range(8))
    result = learn(record_of(run(replace(flow(), mode="MAN", moves=moves), 500)), span=(0.0, 100.0))
    assert result.estimates["process.gain"].source == "identified"
    assert result.estimates["controller.gain"].source == "prior"
    for name in ("gain", "reset"):
        default = result.estimates[f"controller.{name}"].value
        assert getattr(result.loop.controller, name) == pytest.approx(default, 1e-3)


def test_a_record_of_nothing_is_a_typical_loop_with_words(day: Block) -> None:
    record = record_of(day)
    nothing = replace(record, pv=np.full_like(record.pv, np.nan))
    result = learn(nothing)
    assert result.loop.learned_model is None
    assert any("no sample" in warning for warning in result.warnings)


def test_a_habit_of_man_is_learned_and_streamed() -> None:
    habit = OperatorSpec(automatic=3600.0, manual=900.0)
    result = learn(record_of(run(replace(flow(), operator=habit), 17_280, interval=10.0)), span=(0.0, 100.0))
    for key, mean in (("automatic", 3600.0), ("manual", 900.0)):  # 40 stays, that vary by 0.8 of their mean
        assert result.estimates[f"operator.{key}"].value == pytest.approx(mean, rel=0.4)
    assert result.loop.operator.manual == pytest.approx(result.estimates["operator.manual"].value, rel=1e-3)
    assert 0.05 < (run(copies(result.loop, 12), 720, interval=10.0).mode == MAN).mean() < 0.5


@pytest.mark.campaign
def test_when_in_the_day_sp_is_moved_is_learned_of_days() -> None:
    busy = replace(flow(), operator=OperatorSpec(interval=1800.0, size=3.0, day=(0.0, 2.0, 0.0, 0.0)))
    result = learn(record_of(run(busy, 5 * 1440, interval=60.0)), span=(0.0, 100.0)).loop.operator
    day = np.array(result.day)
    assert len(day) == 8
    assert day[2:4].min() > 4.0 * np.delete(day, [2, 3]).max()
    assert learn(record_of(run(busy, 1440, interval=60.0)), span=(0.0, 100.0)).loop.operator.day == OperatorSpec().day


def test_how_far_sp_is_moved_is_learned_of_a_few_moves() -> None:
    habit = OperatorSpec(interval=1800.0, size=3.0)
    result = [estimate_habits(extract_signals(record_of(run(replace(flow(), operator=habit), 720, interval=10.0,
                                                            seed=seed)), 0,
                                              (0.0, 100.0)), Findings()).size for seed in range(30)]
    # Nobody moves further than 2 sigma, which takes a twentieth off.
    assert np.sqrt(np.mean(np.square(result))) == pytest.approx(0.95 * 3.0, rel=0.1)


def test_a_slave_in_cascade_streams_in_cascade() -> None:
    master = replace(template("temperature", "TIC100", (0.0, 100.0)), sensor=SensorSpec(noise=0.3))
    slave = replace(flow("FIC101"), cascade="TIC100", mode="CAS")
    block = run([master, slave], 3600)
    result = learn(record_of(block), block.loops.index("FIC101"), span=(0.0, 100.0))
    assert result.loop.mode == "CAS"
    simulated = run(result.loop, 600)
    assert (simulated.mode == CAS).all()
    assert np.ptp(simulated.sp) > 0


def test_a_driven_loop_whose_own_process_and_pid_wander_from_sp_is_streamed_by_another_model() -> None:
    driven = replace(drawn("temperature", 2), moves=(), faults=(
        FaultSpec(kind="external-oscillation", parameters={"amplitude": 3.0, "period": 600.0}),))
    block = run(driven, 600, interval=10.0, scan=1.0, seed=2)
    stream = run(copies(learn(record_of(block), span=(0.0, 100.0)).loop, 6), 600, interval=10.0)
    recorded, streamed = (np.concatenate([np.convolve(deviation, np.full(120, 1 / 120), "valid")
                                          for deviation in (one.pv - one.sp).T]) for one in (block, stream))
    assert np.quantile(np.abs(streamed), 0.95) < 2.0 * np.quantile(np.abs(recorded), 0.95)
