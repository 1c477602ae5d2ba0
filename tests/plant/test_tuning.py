"""Tuning rules: tight, lambda and sluggish loops are calm, aggressive ones ring but stay stable.

SIMC after Skogestad (2003), with the scan and the actuator's lag counted as dead time. Margins are those of the
discrete loop as it runs: its process is taken from a step of the plant itself. Measurement noise moves OP by no more
than 0.25 %.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from still import QUIET, move, run, still

from clpm_execd.plant.loop_types import LOOP_TYPES, template
from clpm_execd.plant.specs import ControllerSpec, LoopSpec, ProcessSpec, RecordingSpec, SensorSpec, ValveSpec
from clpm_execd.plant.stages.controller import to_ideal_form
from clpm_execd.plant.tuning import apply_tuning_rule, tune_controller

CALM = ["tight", "lambda", "sluggish"]


def loop(tuning: str, process: ProcessSpec, **parts: object) -> LoopSpec:
    return still(process=process, controller=ControllerSpec(tuning=tuning), **parts)


@pytest.mark.parametrize(("tuning", "process", "gain", "reset"), [
    # Kc = tau / (K (tc + theta)), Ti = min(tau, 4 (tc + theta)); theta is the dead time and a scan of 1 s.
    ("tight", ProcessSpec(model="fopdt", gain=2.0, tau=(30.0,), dead_time=9.0), 30 / (2 * 20), 30),
    ("tight", ProcessSpec(model="fopdt", gain=-2.0, tau=(300.0,), dead_time=4.0), 300 / (2 * 10), 40),
    ("lambda", ProcessSpec(model="fopdt", gain=0.5, tau=(60.0,), dead_time=9.0), 60 / (0.5 * (90 + 10)), 60),
    ("lambda", ProcessSpec(model="fopdt", gain=0.5, tau=(6.0,), dead_time=19.0), 6 / (0.5 * (20 + 20)), 6),
    ("sluggish", ProcessSpec(model="fopdt", gain=1.0, tau=(60.0,), dead_time=9.0), 60 / (5 * 70 + 10), 60),
    # The half rule: a second lag is half lag, half dead time.
    ("tight", ProcessSpec(model="sopdt", gain=1.5, tau=(20.0, 100.0), dead_time=9.0), 110 / (1.5 * 40), 110),
    # Kc = 1 / (K' (tc + theta)), Ti = 4 (tc + theta)
    ("tight", ProcessSpec(model="integrator", gain=0.01, tau=(), dead_time=4.0), 1 / (0.01 * 10), 40),
    ("lambda", ProcessSpec(model="integrator", gain=-0.01, tau=(), dead_time=4.0), 1 / (0.01 * 20), 80),
    ("sluggish", ProcessSpec(model="integrator", gain=0.01, tau=(), dead_time=4.0), 1 / (0.01 * 35), 140),
])
def test_the_rules_are_those_of_simc(tuning: str, process: ProcessSpec, gain: float, reset: float) -> None:
    assert apply_tuning_rule(loop(tuning, process), 1.0) == pytest.approx((gain, reset), rel=1e-12)


def test_the_actuators_lag_is_dead_time_to_the_rules() -> None:
    process = ProcessSpec(model="fopdt", gain=2.0, tau=(30.0,), dead_time=4.0)
    slow = loop("tight", process, valve=ValveSpec(lag=5.0))
    assert apply_tuning_rule(slow, 1.0) == pytest.approx((30 / (2 * 20), 30))


@pytest.mark.parametrize("form", ["ideal", "series", "parallel"])
def test_a_rule_makes_the_same_controller_in_every_form_and_fills_in_what_is_missing(form: str) -> None:
    bare = loop("lambda", ProcessSpec(model="fopdt", gain=0.5, tau=(60.0,), dead_time=9.0))

    def parameters(**configured: float) -> tuple[float, float, float]:
        return to_ideal_form(tune_controller(replace(bare, controller=ControllerSpec(form=form, **configured)), 1.0))

    assert parameters() == pytest.approx((1.2, 60.0, 0.0))
    assert parameters(gain=2.0) == pytest.approx((2.0, 60.0, 0.0))
    configured_reset = parameters(reset=50.0)
    assert configured_reset == pytest.approx((1.2, 1.2 * 50.0 if form == "parallel" else 50.0, 0.0))


processes = st.one_of(
    st.builds(ProcessSpec, model=st.just("fopdt"), gain=st.floats(0.05, 5), tau=st.tuples(st.floats(0, 4000)),
              dead_time=st.floats(0, 1000)),
    st.builds(ProcessSpec, model=st.just("sopdt"), gain=st.floats(-5, -0.05), dead_time=st.floats(0, 1000),
              tau=st.tuples(st.floats(0, 4000), st.floats(0, 4000))),
    st.builds(ProcessSpec, model=st.just("integrator"), gain=st.floats(1e-4, 0.5), dead_time=st.floats(0, 1000)),
)


@given(process=processes, noise=st.floats(1e-3, 5), tuning=st.sampled_from(CALM), scan=st.sampled_from([0.1, 1.0, 5.0]))
def test_in_a_healthy_loop_noise_moves_op_by_a_quarter_of_a_per_cent_at_most(
        process: ProcessSpec, noise: float, tuning: str, scan: float) -> None:
    gain, reset = apply_tuning_rule(loop(tuning, process, sensor=SensorSpec(noise=noise)), scan)
    assert 0 < gain * noise <= 0.25 * (1 + 1e-12)
    assert reset > 0


# --- margins of the loop as it runs


@cache
def pulse_response(still_loop: LoopSpec, scan: float) -> np.ndarray:
    """PV, or of an integrator its change, after OP was up by one per cent for one scan: the plant's own answer."""
    process = still_loop.process
    samples = int(20 * (sum(process.tau) + process.dead_time + still_loop.valve.lag) / scan) + 200
    pv = run(replace(still_loop, mode="MAN", moves=(move(0, op=still_loop.op + 0.01),)), samples, scan).true_pv[:, 0]
    step = (pv - pv[0]) / 0.01 / (still_loop.range[1] - still_loop.range[0]) * 100.0
    order = 2 if process.model == "integrator" else 1
    return np.diff(step, n=order, prepend=[0.0] * order)


def open_loop(of: LoopSpec, scan: float) -> np.ndarray:
    """Controller times process at frequencies up to Nyquist."""
    pulse = pulse_response(replace(of, controller=ControllerSpec(), recording=RecordingSpec(), **QUIET), scan)
    size = 1 << (4 * len(pulse)).bit_length()
    unit_delay = np.exp(-1j * np.linspace(0.0, np.pi, size // 2 + 1))[1:]
    process = np.fft.rfft(pulse, size)[1:]
    if of.process.model == "integrator":
        process /= 1.0 - unit_delay
    kc, ti, _ = to_ideal_form(tune_controller(of, scan))
    return np.sign(of.process.gain) * kc * (1.0 + scan / ti / (1.0 - unit_delay)) * process


def gain_margin(of: LoopSpec, scan: float) -> float:
    """By how much the gain may rise: the inverse of where the Nyquist curve crosses the negative real axis."""
    curve = open_loop(of, scan)
    at = np.flatnonzero((np.diff(np.sign(curve.imag)) != 0) & (curve.real[:-1] < 0))
    share = curve.imag[at] / (curve.imag[at] - curve.imag[at + 1])
    crossings = curve.real[at] + share * (curve.real[at + 1] - curve.real[at])
    return float(1.0 / np.abs(crossings).max())


@pytest.mark.slow
@pytest.mark.parametrize("scan", [1.0, 5.0])
@pytest.mark.parametrize("kind", LOOP_TYPES)
@pytest.mark.parametrize("tuning", [*CALM, "aggressive"])
def test_every_types_template_has_the_margin_of_its_tuning(kind: str, tuning: str, scan: float) -> None:
    margin = gain_margin(replace(template(kind, "LOOP", (0.0, 250.0)), controller=ControllerSpec(tuning=tuning)), scan)
    if tuning == "aggressive":
        assert 1.0 < margin < 1.25
    else:
        assert margin > {"tight": 2.0, "lambda": 2.5, "sluggish": 4.0}[tuning]


@pytest.mark.parametrize("process", [
    ProcessSpec(model="sopdt", gain=1.0, tau=(100.0, 100.0), dead_time=1.0),
    ProcessSpec(model="sopdt", gain=-2.0, tau=(100.0, 10.0), dead_time=40.5),
    ProcessSpec(model="fopdt", gain=1.0, tau=(5.0,), dead_time=50.0),
    ProcessSpec(model="integrator", gain=-0.01, tau=(), dead_time=0.0),
])
@pytest.mark.parametrize("lag", [0.0, 4.0])
def test_an_aggressive_loop_is_near_its_stability_limit_for_any_process(process: ProcessSpec, lag: float) -> None:
    assert 1.0 < gain_margin(loop("aggressive", process, valve=ValveSpec(lag=lag)), 1.0) < 1.25


def test_two_hundred_plants_under_lambda_tuning_settle_after_a_set_point_step() -> None:
    rng = np.random.default_rng(208)
    loops = []
    for i in range(200):
        tau, second, dead = rng.uniform(1, 120), rng.uniform(0.1, 0.5), rng.uniform(0, 40)
        gain = rng.uniform(0.5, 3.0) * rng.choice([-1, 1])
        process = (
            ProcessSpec(model="fopdt", gain=gain, tau=(tau,), dead_time=dead),
            ProcessSpec(model="sopdt", gain=gain, tau=(tau, second * tau), dead_time=dead),
            ProcessSpec(model="integrator", gain=gain / 100.0, tau=(), dead_time=dead / 4.0),
        )[i % 3]
        characteristic = ("linear", "equal-percentage", "quick-opening")[i % 7 % 3]
        valve = ValveSpec(characteristic=characteristic, lag=rng.uniform(0, 5))
        loops.append(still(f"L{i}", process=process, valve=valve, moves=(move(10, sp=53.0),)))
    block = run(loops, 4000)
    error = np.abs(block.true_pv - 53.0) / 3.0
    assert error[-500:].max() < 0.01
    assert (block.true_pv - 53.0).max() < 0.45 * 3.0  # an integrator overshoots, by a third
    swing = np.abs(np.diff(np.sign(np.round(block.true_pv - 53.0, 3)), axis=0) > 0).sum(axis=0)
    assert swing.max() <= 3
