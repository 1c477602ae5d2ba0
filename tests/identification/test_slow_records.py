"""In records slower than the controller's scan, the scans between two samples are modelled, with honest intervals.

With CLPM_LONG=1 the population is large and the shares are printed; otherwise it is a loop of each type.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated_records import SECOND, add_sp_moves, record_of, run
from test_recovery import drawn, report_share
from test_stiction import VISIBLE
from tiers import CAMPAIGNS

from clpm_execd.identification.closed_loop import estimator
from clpm_execd.identification.closed_loop.estimator import estimate_closed_loop
from clpm_execd.identification.closed_loop.likelihood import LoopFit
from clpm_execd.identification.closed_loop.pid_regression import estimate_pid_law
from clpm_execd.identification.learn import LearnedLoop, learn
from clpm_execd.identification.loop_data import extract_signals
from clpm_execd.plant.specs import FaultSpec, LoopSpec

pytestmark = pytest.mark.slow

KINDS = ("flow", "pressure", "level", "temperature")
INTERVAL, SAMPLES = 10.0, 1440  # four hours
SEEDS = range(50, 60) if CAMPAIGNS else range(50, 51)

Loops = list[tuple[LoopSpec, LearnedLoop]]


@pytest.fixture(scope="module")
def learned() -> Loops:
    """Loops that scan each second, of which each tenth sample is in the record."""
    truths = [drawn(kind, seed) for kind in KINDS for seed in SEEDS]
    return [(truth, learn(record_of(run(truth, SAMPLES, interval=INTERVAL, seed=k)), span=(0.0, 100.0)))
            for k, truth in enumerate(truths)]


def report_coverage(learned: Loops, key: str) -> float:
    """Return the coverage of the interval of an estimate such as `controller.gain`."""
    part, name = key.split(".")
    estimates = [(getattr(getattr(truth, part), name), result.estimates[key]) for truth, result in learned]
    return report_share(f"interval of {key} holds",
                        [estimate.low <= value <= estimate.high for value, estimate in estimates])


def test_gain_and_reset_are_those_of_the_scans(learned: Loops) -> None:
    for key in ("gain", "reset"):
        pairs = [(getattr(truth.controller, key), result.estimates[f"controller.{key}"]) for truth, result in learned]
        assert report_share(f"{key} identified", [estimate.source == "identified" for _, estimate in pairs]) >= 0.95
        within = [abs(estimate.value / value - 1.0) < 0.05 for value, estimate in pairs]
        assert report_share(f"{key} within 5 %", within) >= 0.85
        is_close = [close or estimate.high - estimate.low > 0.1 * value
                    for close, (value, estimate) in zip(within, pairs, strict=True)]
        assert report_share(f"{key} within 5 %, or a wider interval", is_close) >= 0.9
        assert report_coverage(learned, f"controller.{key}") >= 0.85


def test_the_interval_of_the_process_holds_the_truth(learned: Loops) -> None:
    pairs = [result.estimates["process.gain"].source == "identified" for _, result in learned]
    assert report_share("process identified", pairs) >= 0.95
    is_close = [abs(result.estimates["process.gain"].value / truth.process.gain - 1.0) <= 0.2 for truth,
                result in learned]
    assert report_share("process gain within 20 %", is_close) >= 0.9
    assert report_coverage(learned, "process.gain") >= 0.85
    assert report_coverage(learned, "process.dead_time") >= 0.85


def test_load_and_noise_are_those_of_the_scans(learned: Loops) -> None:
    for key in ("disturbance.sigma", "sensor.noise"):
        part, name = key.split(".")
        is_close = [abs(result.estimates[key].value / getattr(getattr(truth, part), name) - 1.0) <= 0.3
                    for truth, result in learned]
        assert report_share(f"{key} within 30 %", is_close) >= 0.8
        assert report_coverage(learned, key) >= 0.8
    assert report_coverage(learned, "disturbance.correlation") >= 0.75


@pytest.mark.campaign
def test_the_load_estimate_belongs_to_the_reported_process_even_to_a_default() -> None:
    load, correlation = list[bool](), list[bool]()
    for kind in ("pressure", "temperature"):
        for seed in range(80, 100 if CAMPAIGNS else 83):
            truth = replace(drawn(kind, seed), moves=())  # the process gain is a prior then, but for few
            result = learn(record_of(run(truth, 1440, interval=5.0)), span=(0.0, 100.0)).estimates
            if result["process.gain"].source == "prior":
                effect = result["disturbance.sigma"].value * result["process.gain"].value
                load.append(0.5 < effect / (truth.disturbance.sigma * truth.process.gain) < 2.0)
                time = result["disturbance.correlation"].value
                correlation.append(1 / 3 < time / truth.disturbance.correlation < 3.0)
    assert report_share("load behind a prior within a factor of 2", load) >= 0.8
    assert report_share("correlation behind a prior within a factor of 3", correlation) >= 0.8


def test_a_set_point_may_move_between_two_samples() -> None:
    truth = drawn("pressure", 62)
    truth = replace(truth, moves=tuple(replace(move, at=move.at + late * SECOND) for move, late in zip(
        truth.moves, (3, 8, 5), strict=True)))
    result = learn(record_of(run(truth, SAMPLES, interval=INTERVAL)), span=(0.0, 100.0))
    assert result.loop.controller.setpoint_weight == 1.0
    for key in ("gain", "reset"):
        assert result.estimates[f"controller.{key}"].value == pytest.approx(getattr(truth.controller, key), rel=0.03)
    late = result.estimates["process.dead_time"]
    assert abs(late.value - truth.process.dead_time) < 2.0


@pytest.mark.parametrize(("kind", "interval", "share"), [
    ("level", 2.0, 6.0), ("pressure", 10.0, 6.0), ("temperature", 10.0, 7.0),
    pytest.param("temperature", 5.0, 5.0, marks=pytest.mark.campaign),
    pytest.param("level", 10.0, 5.0, marks=pytest.mark.campaign)])
def test_a_derivative_is_that_of_the_scans(kind: str, interval: float, share: float) -> None:
    truth = drawn(kind, 70)
    controller = replace(truth.controller, derivative=(truth.controller.reset or 0.0) / share)
    result = learn(record_of(run(replace(truth, controller=controller), round(14_400 / interval), interval=interval)),
                   span=(0.0, 100.0)).estimates
    assert result["controller.gain"].value == pytest.approx(controller.gain, rel=0.05)
    for key in ("reset", "derivative"):
        assert result[f"controller.{key}"].value == pytest.approx(getattr(controller, key), rel=0.2)
    assert result["process.gain"].value == pytest.approx(truth.process.gain, rel=0.2)


def test_no_derivative_is_reported_for_loops_without_one(learned: Loops) -> None:
    assert all(result.loop.controller.derivative == 0.0 for _, result in learned)


def test_what_moves_of_the_set_point_do_is_no_derivative() -> None:
    truth = drawn("flow", 5152)
    result = learn(record_of(run(truth, 2880, interval=5.0, seed=152)), span=(0.0, 100.0))
    assert result.loop.controller.derivative == 0.0
    assert result.estimates["controller.gain"].value == pytest.approx(truth.controller.gain, rel=0.03)


@pytest.mark.parametrize("weight", [0.0, 0.4])
def test_the_weight_of_the_set_point_is_that_of_the_scans(weight: float) -> None:
    truth = drawn("pressure", 63)
    truth = replace(truth, controller=replace(truth.controller, setpoint_weight=weight))
    result = learn(record_of(run(truth, SAMPLES, interval=INTERVAL)), span=(0.0, 100.0))
    assert result.loop.controller.setpoint_weight == pytest.approx(weight, abs=0.02)
    assert result.estimates["controller.gain"].value == pytest.approx(truth.controller.gain, rel=0.03)


def test_a_controller_that_is_faster_than_the_samples_is_identified_for_either_action() -> None:
    truth = drawn("flow", 64)
    truth = replace(truth, process=replace(truth.process, gain=-truth.process.gain))
    record = record_of(run(truth, SAMPLES, interval=INTERVAL))
    law = estimate_pid_law(extract_signals(record, 0, (0.0, 100.0)), (0.02, 0.01))
    assert law is None or law.is_hidden
    result = learn(record, span=(0.0, 100.0))
    assert result.loop.controller.action == "direct"
    assert result.estimates["controller.gain"].source == "identified"
    assert result.estimates["controller.gain"].value == pytest.approx(truth.controller.gain, rel=0.2)
    assert result.estimates["process.gain"].value == pytest.approx(truth.process.gain, rel=0.1)


def test_a_sample_every_half_minute_gives_the_same_estimates() -> None:
    truth = drawn("pressure", 66)
    result = learn(record_of(run(truth, SAMPLES, interval=30.0)), span=(0.0, 100.0)).estimates
    for key in ("gain", "reset"):
        assert result[f"controller.{key}"].value == pytest.approx(getattr(truth.controller, key), rel=0.03)
    assert result["process.gain"].value == pytest.approx(truth.process.gain, rel=0.1)


def test_the_controller_in_front_of_a_sticking_valve_is_that_of_the_scans() -> None:
    result = learn(record_of(run(VISIBLE, 2000, interval=5.0)), span=(0.0, 100.0))
    assert [fault.kind for fault in result.loop.faults] == ["stiction"]
    assert result.loop.controller.setpoint_weight == 1.0
    for key in ("gain", "reset"):
        assert result.estimates[f"controller.{key}"].value == pytest.approx(getattr(VISIBLE.controller, key), rel=0.02)


def test_an_output_that_no_controller_moves_is_not_explained_by_one() -> None:
    truth = add_sp_moves(drawn("flow", 65), 2.0)
    record = record_of(run(truth, SAMPLES, interval=INTERVAL))
    walk = np.cumsum(np.random.default_rng(1).normal(0.0, 0.05, SAMPLES))
    result = learn(replace(record, op=(50.0 + walk)[:, None].round(2)), span=(0.0, 100.0))
    assert result.estimates["controller.gain"].source == "prior"


def test_a_record_of_every_scan_is_recognized() -> None:
    truth = drawn("pressure", 60)
    block = run(truth, SAMPLES, interval=INTERVAL, scan=INTERVAL)
    result = learn(record_of(block), span=(0.0, 100.0)).estimates
    for key in ("gain", "reset"):
        assert result[f"controller.{key}"].value == pytest.approx(getattr(truth.controller, key), rel=0.03)


def test_the_scans_between_samples_are_modelled_only_where_they_matter() -> None:
    truth = drawn("pressure", 61)
    fast = extract_signals(record_of(run(truth, 3600)), 0, (0.0, 100.0))
    law = estimate_pid_law(fast, (0.02, 0.01))
    assert law is not None
    assert law.is_exact
    assert estimate_closed_loop(fast, law, truth.process, 0.02) is None
    slow = extract_signals(record_of(run(truth, SAMPLES, interval=INTERVAL)), 0, (0.0, 100.0))
    law = estimate_pid_law(slow, (0.02, 0.01))
    assert law is not None
    result = estimate_closed_loop(slow, law, truth.process, 0.02)
    assert result is not None
    assert result.process.gain[0] == pytest.approx(truth.process.gain, rel=0.2)
    assert np.sign(result.law.gain[0]) == 1.0


def test_the_interval_of_a_parameter_that_the_record_does_not_show_is_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = drawn("pressure", 61)
    slow = extract_signals(record_of(run(truth, 500, interval=INTERVAL)), 0, (0.0, 100.0))
    law = estimate_pid_law(slow, (0.02, 0.01))
    assert law is not None

    def profile(fit_at: object, fit: LoopFit, at: float, least: float) -> tuple[LoopFit, tuple[float, float], object]:
        return fit, (at, at), [replace(fit, deviations=np.full(len(fit.values), 1e4))]

    monkeypatch.setattr(estimator, "profile_dead_time", profile)
    result = estimate_closed_loop(slow, law, truth.process, 0.02)
    assert result is not None
    for value, low, high in (result.law.gain, result.law.reset, result.process.gain, *result.process.tau):
        assert 0.0 < low < value / 1000.0
        assert value * 1000.0 < high < np.inf


def test_a_wave_from_outside_is_no_part_of_the_process() -> None:
    loop = replace(drawn("pressure", 301), faults=(FaultSpec(
        kind="external-oscillation", parameters={"amplitude": 2.0, "period": 210.0}),))
    result = learn(record_of(run(loop, 1080, interval=INTERVAL, seed=1)), span=(0.0, 100.0))
    process = loop.process
    for key, value in (("gain", process.gain), ("tau", process.tau[0]), ("dead_time", process.dead_time)):
        assert result.estimates[f"process.{key}"].low <= value <= result.estimates[f"process.{key}"].high, key
    assert result.loop.process.gain == pytest.approx(loop.process.gain, rel=0.1)
    assert [fault.kind for fault in result.loop.faults] in ([], ["external-oscillation"])  # or it is in the residuals
    assert result.estimates["oscillation.period"].value == pytest.approx(210.0, rel=0.01)
    assert result.estimates["oscillation.amplitude"].value == pytest.approx(2.0, rel=0.25)
