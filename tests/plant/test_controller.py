"""Controllers: one equation in three forms, without bumps, within 0 to 100 % and with anti-windup.

The proportional term takes a share of the set point, the derivative none; the action follows the sign of the
process gain.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from still import START, move, ns, run, still

from clpm_execd.plant.block import AUT, CAS, MAN
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import ControllerSpec, DisturbanceSpec, LoopSpec, ProcessSpec, SensorSpec, ValveSpec

PROCESS = ProcessSpec(model="sopdt", gain=0.8, tau=(60.0, 20.0), dead_time=6.0)
PI = ControllerSpec(gain=1.5, reset=60.0)


def loop(controller: ControllerSpec = PI, **parts: Any) -> LoopSpec:
    return still(**{"process": PROCESS, "controller": controller, **parts})


# The series form (Kc', Ti', Td'), and the same controller converted: F = 1 + Td'/Ti'.
SERIES = (1.2, 50.0, 10.0)
IDEAL = (1.2 * 1.2, 50.0 * 1.2, 10.0 / 1.2)
PARALLEL = (IDEAL[0], IDEAL[1] / IDEAL[0], IDEAL[0] * IDEAL[2])  # Kp, 1/Ki, Kd


@pytest.mark.parametrize("scan", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("gain", [0.8, -0.8])
def test_three_forms_of_one_controller_make_one_closed_loop(gain: float, scan: float) -> None:
    def closed(form: str, numbers: tuple[float, float, float]) -> np.ndarray:
        kc, ti, td = numbers
        plant = loop(
            ControllerSpec(form=form, gain=kc, reset=ti, derivative=td, setpoint_weight=0.7), pv=48.0,
            process=ProcessSpec(model="sopdt", gain=gain, tau=(60.0, 20.0), dead_time=6.0),
            sensor=SensorSpec(noise=0.05), disturbance=DisturbanceSpec(sigma=0.5, correlation=30.0),
            moves=(move(100 * scan, sp=65.0), move(500 * scan, mode="MAN"), move(550 * scan, op=30.0),
                   move(600 * scan, mode="AUT"), move(1000 * scan, sp=150.0), move(1400 * scan, sp=40.0)))
        block = run(plant, 2000, scan)
        return np.concatenate([block.pv, block.op])

    ideal = closed("ideal", IDEAL)
    assert np.ptp(ideal) > 30.0
    assert np.abs(closed("series", SERIES) - ideal).max() < 1e-9 * 100.0
    assert np.abs(closed("parallel", PARALLEL) - ideal).max() < 1e-9 * 100.0


@pytest.mark.parametrize("controller", [
    PI, ControllerSpec(gain=3.0, reset=20.0, derivative=12.0, setpoint_weight=0.3), ControllerSpec(gain=0.7, reset=0.0),
    ControllerSpec(form="parallel", gain=2.0, reset=10.0, derivative=5.0), ControllerSpec(setpoint_tracking=True),
])
def test_from_man_to_aut_op_stays_where_it_is(controller: ControllerSpec) -> None:
    noisy = {"sensor": SensorSpec(noise=0.2), "disturbance": DisturbanceSpec(sigma=1.0)}
    for upset in ({}, noisy):
        moves = (move(20, mode="MAN"), move(30, op=67.0), move(40, sp=35.0), move(90, mode="AUT"),
                 move(200, mode="MAN"), move(201, mode="AUT"))
        block = run(loop(controller, moves=moves, **upset), 300)
        op = block.op[:, 0]
        assert block.mode[89:91, 0].tolist() == [MAN, AUT]
        assert abs(op[90] - op[89]) < 1e-9
        assert abs(op[201] - op[200]) < 1e-9
        error = block.sp[90, 0] - block.pv[90, 0]
        assert controller.setpoint_tracking or abs(error) > 5.0  # not for want of an error
        assert abs(op[91] - op[90]) > 0


@pytest.mark.parametrize("controller", [PI, ControllerSpec(gain=4.0, reset=30.0, derivative=10.0)])
def test_a_loop_that_starts_off_its_set_point_makes_no_proportional_kick(controller: ControllerSpec) -> None:
    block = run(loop(controller, pv=40.0), 50)
    op, pv = block.op[:, 0], block.true_pv[:, 0]
    assert block.pv[0, 0] == 40.0
    assert op[0] == 50.0
    kc, ti, td = controller.gain or 0.0, controller.reset or 0.0, controller.derivative or 0.0
    # From there OP moves by the integral of the error and by what PV does, as it does later.
    filtered = td / (td / 10.0 + 1.0)
    assert op[1] - op[0] == pytest.approx(kc * ((50.0 - pv[1]) / ti - (pv[1] - pv[0]) * (1.0 + filtered)), abs=1e-9)


def test_op_stays_between_its_limits_through_any_upset() -> None:
    moves = tuple(move(30 * k, sp=110.0 if k % 2 else -10.0) for k in range(1, 20))
    op = run(loop(ControllerSpec(gain=20.0, reset=5.0, derivative=20.0), moves=moves), 700).op
    assert op.min() == 0.0
    assert op.max() == 100.0


def _op_wound_up(sp: np.ndarray, gain: float, reset: float) -> np.ndarray:
    """OP of a PI controller that clips and goes on integrating, on the process K = 0.4, tau = 30 s."""
    a = float(np.exp(-1.0 / 30.0))
    x, integral, op = 0.0, 0.0, np.empty(len(sp))
    for k, deviation in enumerate(sp - 50.0):
        integral += gain / reset * (deviation - x)
        op[k] = min(100.0, max(0.0, 50.0 + gain * (deviation - x) + integral))
        x = a * x + (1.0 - a) * 0.4 * (op[k] - 50.0)
    return op


@pytest.mark.parametrize("derivative", [0.0, 10.0])
def test_after_a_long_saturation_op_leaves_its_limit_within_a_few_resets(derivative: float) -> None:
    gain, reset, long = 1.0, 40.0, 4000
    process = ProcessSpec(model="fopdt", gain=0.4, tau=(30.0,), dead_time=0.0)
    # SP is out of the valve's reach, then comes back to just where full opening brings PV, less one per cent.
    moves = (move(10, sp=90.0), move(long, sp=69.0))
    block = run(loop(ControllerSpec(gain=gain, reset=reset, derivative=derivative), process=process, moves=moves), 9000)
    op = block.op[:, 0]
    assert op[long - 1] == 100.0
    leaves = int(np.argmax(op[long:] < 100.0))
    wound = int(np.argmax(_op_wound_up(block.sp[:, 0], gain, reset)[long:] < 100.0))
    assert op[long:].min() < 100.0
    assert leaves <= 3 * reset
    assert wound == 0 or wound > 10 * max(leaves, reset)  # 0: it never does
    assert block.pv[-1, 0] == pytest.approx(69.0, abs=0.01)


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("derivative", [0.0, 15.0])
def test_of_a_set_point_step_op_takes_the_weighted_part_at_once_and_no_derivative(
        weight: float, derivative: float) -> None:
    controller = ControllerSpec(gain=1.5, reset=60.0, derivative=derivative, setpoint_weight=weight)
    op = run(loop(controller, moves=(move(10, sp=58.0),)), 20).op[:, 0]
    assert np.array_equal(op[:10], np.full(10, 50.0))
    assert op[10] - op[9] == pytest.approx(1.5 * 8.0 * (weight + 1.0 / 60.0), abs=1e-9)


def test_the_derivative_term_is_the_filtered_derivative_of_minus_pv() -> None:
    kc, td, n = 2.0, 12.0, 8.0
    controller = ControllerSpec(gain=kc, reset=0.0, derivative=td, derivative_filter=n)
    block = run(loop(controller, moves=(move(10, sp=56.0),)), 400)
    pv = block.pv[:, 0]
    term = block.op[:, 0] - 50.0 - kc * (block.sp[:, 0] - pv)
    # d + (Td/N) d' = -Kc Td y', summed over time.
    assert term.sum() + td / n * term[-1] == pytest.approx(-kc * td * (pv[-1] - pv[0]), abs=1e-9)
    assert np.abs(term).max() > 0.5


def test_without_integral_action_an_offset_stays() -> None:
    process = ProcessSpec(model="fopdt", gain=0.8, tau=(20.0,), dead_time=2.0)
    block = run(loop(ControllerSpec(gain=1.5, reset=0.0), process=process, moves=(move(10, sp=58.0),)), 2000)
    assert block.sp[-1, 0] - block.pv[-1, 0] == pytest.approx(8.0 / (1.0 + 0.8 * 1.5), abs=1e-9)


def test_a_process_of_negative_gain_gets_the_mirrored_controller() -> None:
    def op(gain: float) -> np.ndarray:
        process = ProcessSpec(model="fopdt", gain=gain, tau=(20.0,), dead_time=2.0)
        block = run(loop(process=process, moves=(move(10, sp=58.0),)), 1000)
        assert block.pv[-1, 0] == pytest.approx(58.0, abs=0.01)
        return block.op[:, 0] - 50.0

    assert np.abs(op(0.8) + op(-0.8)).max() < 1e-9


@pytest.mark.parametrize(("action", "sign"), [("direct", -1.0), ("reverse", 1.0), (None, 1.0)])
def test_a_direct_controller_opens_when_pv_is_high(action: str | None, sign: float) -> None:
    op = run(loop(ControllerSpec(gain=1.5, reset=60.0, action=action), moves=(move(10, sp=58.0),)), 12).op[:, 0]
    assert np.sign(op[10] - op[9]) == sign


def test_in_man_the_set_point_follows_pv_only_where_setpoint_tracking_is_on() -> None:
    def manual(tracking: bool) -> tuple[np.ndarray, np.ndarray]:
        moves = (move(10, mode="MAN"), move(12, op=65.0), move(150, mode="AUT"))
        block = run(loop(ControllerSpec(setpoint_tracking=tracking), moves=moves, sensor=SensorSpec(noise=0.1)), 200)
        return block.sp[:, 0], block.pv[:, 0]

    sp, pv = manual(True)
    assert np.array_equal(sp[10:150], pv[10:150])
    assert (sp[150:] == sp[149]).all()
    assert (sp[:10] == 50.0).all()
    sp, _ = manual(False)
    assert (sp == 50.0).all()


# --- cascades: a temperature that leads a flow, and a composition that leads both


def temperature(**parts: Any) -> LoopSpec:
    process = ProcessSpec(model="fopdt", gain=0.9, tau=(120.0,), dead_time=10.0)
    return still(**{"loop_id": "TIC", "range": (100.0, 300.0), "sp": 210.0, "process": process, **parts})


def flow(**parts: Any) -> LoopSpec:
    process = ProcessSpec(model="fopdt", gain=1.2, tau=(4.0,), dead_time=1.0)
    return still(**{"loop_id": "FIC", "range": (0.0, 80.0), "sp": 30.0, "op": 42.0, "mode": "CAS", "cascade": "TIC",
                    "process": process, "valve": ValveSpec(lag=1.0), **parts})


def composition(**parts: Any) -> LoopSpec:
    process = ProcessSpec(model="fopdt", gain=0.7, tau=(900.0,), dead_time=60.0)
    return still(**{"loop_id": "AIC", "range": (0.0, 10.0), "sp": 4.0, "process": process, **parts})


NOISY: dict[str, Any] = {"sensor": SensorSpec(noise=0.05), "disturbance": DisturbanceSpec(sigma=0.5)}


def percent(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return (values - low) / (high - low) * 100.0


def test_a_slaves_set_point_is_its_masters_output_at_the_same_instant() -> None:
    block = run([temperature(moves=(move(30, sp=230.0),), **NOISY), flow(**NOISY)], 1500)
    assert (block.mode[:, 1] == CAS).all()
    assert np.abs(percent(block.sp[:, 1], 0.0, 80.0) - block.op[:, 0]).max() < 1e-9
    assert np.ptp(block.op[:, 0]) > 5.0
    assert np.abs(block.pv[-500:, 0] - 230.0).max() < 6.0


def test_a_cascade_starts_in_balance_and_stays_there() -> None:
    block = run([temperature(), flow()], 500)
    assert np.abs(block.pv - block.sp).max() < 1e-9
    assert np.abs(block.op[:, 0] - 37.5).max() < 1e-9
    assert np.abs(block.op[:, 1] - 42.0).max() < 1e-9


def test_a_master_has_no_valve_but_its_slaves_pv() -> None:
    block = run([temperature(**NOISY), flow(**NOISY)], 300)
    assert np.abs(block.valve_position[:, 0] - percent(block.true_pv[:, 1], 0.0, 80.0)).max() < 1e-9


@pytest.mark.parametrize("tracking", [False, True])
@pytest.mark.parametrize("slave_mode", ["AUT", "MAN"])
def test_while_its_slave_is_out_of_cas_a_master_waits_in_man_and_its_output_tracks(
        slave_mode: str, tracking: bool) -> None:
    slave = flow(moves=(move(100, mode=slave_mode), move(150, sp=36.0), move(400, mode="CAS")),
                 controller=ControllerSpec(setpoint_tracking=tracking), **NOISY)
    block = run([temperature(**NOISY), slave], 800)
    assert (block.mode[100:400, 0] == MAN).all()
    assert (block.mode[:100, 0] == AUT).all()
    assert (block.mode[400:, 0] == AUT).all()
    assert np.abs(percent(block.sp[:, 1], 0.0, 80.0) - block.op[:, 0]).max() < 1e-9


@pytest.mark.parametrize("slave_mode", ["AUT", "MAN"])
def test_a_slave_that_leaves_and_re_enters_cas_bumps_neither_loop(slave_mode: str) -> None:
    there_and_back = (move(100, mode=slave_mode), move(150, sp=36.0), move(160, op=60.0), move(400, mode="CAS"))
    block = run([temperature(moves=(move(200, sp=260.0),)), flow(moves=there_and_back)], 800)
    stays = run([temperature(moves=(move(200, sp=260.0),)), flow(moves=there_and_back[:-1])], 800)
    assert abs(block.op[400, 0] - block.op[399, 0]) < 1e-9  # the master, with a standing error
    assert abs(block.sp[400, 0] - block.pv[400, 0]) > 10.0
    assert abs(block.op[400, 1] - stays.op[400, 1]) < 1e-9  # the slave, as if it had stayed out
    if slave_mode == "MAN":
        assert abs(block.op[400, 1] - block.op[399, 1]) < 1e-9
    assert abs(block.op[-1, 0] - block.op[400, 0]) > 1.0  # and then they are at work again


def test_a_master_whose_slave_tracks_off_the_scale_keeps_its_output_within_limits() -> None:
    opened = (move(50, mode="MAN"), move(51, op=90.0))
    slave = flow(sp=76.0, controller=ControllerSpec(setpoint_tracking=True), moves=opened)
    block = run([temperature(), slave], 200)
    assert block.sp[-1, 1] > 80.0
    assert block.op.max() <= 100.0


def test_a_cascade_two_deep_is_two_cascades() -> None:
    top = composition(moves=(move(60, sp=4.5),), **NOISY)
    loops = [top, temperature(cascade="AIC", mode="CAS", **NOISY), flow(**NOISY)]
    block = run(loops, 2000)
    assert np.abs(percent(block.sp[:, 1], 100.0, 300.0) - block.op[:, 0]).max() < 1e-9
    assert np.abs(percent(block.sp[:, 2], 0.0, 80.0) - block.op[:, 1]).max() < 1e-9
    assert block.mode[0].tolist() == [AUT, CAS, CAS]


def test_above_a_broken_link_the_whole_cascade_waits_and_takes_over_without_a_bump() -> None:
    loops = [composition(moves=(move(60, sp=4.5),)), temperature(cascade="AIC", mode="CAS"),
             flow(moves=(move(200, mode="MAN"), move(210, op=50.0), move(1500, mode="CAS")))]
    block = run(loops, 2500)
    assert (block.mode[200:1500] == MAN).all()
    assert block.mode[199].tolist() == block.mode[1500].tolist() == [AUT, CAS, CAS]
    assert (block.op[200:1500, 0] == block.op[200, 0]).all()  # no winding up against a slave that does not listen
    assert np.abs(block.op[1500] - block.op[1499]).max() < 1e-9
    assert np.abs(block.sp[1500] - block.sp[1499]).max() < 1e-9
    assert np.abs(np.diff(block.op[1495:1600], axis=0)).max() < 2.0


def test_a_cascade_may_be_listed_in_any_order() -> None:
    loops = {"AIC": composition(**NOISY), "TIC": temperature(cascade="AIC", mode="CAS", **NOISY), "FIC": flow(**NOISY),
             "ELSE": still("ELSE", **NOISY)}
    first = run(list(loops.values()), 300)
    for order in (["FIC", "TIC", "AIC", "ELSE"], ["TIC", "ELSE", "FIC", "AIC"], ["ELSE", "FIC", "AIC", "TIC"]):
        block = run([loops[name] for name in order], 300)
        assert block.loops == tuple(order)
        for i, name in enumerate(order):
            j = first.loops.index(name)
            assert np.array_equal(block.pv[:, i], first.pv[:, j])
            assert np.array_equal(block.op[:, i], first.op[:, j])
            assert np.array_equal(block.sp[:, i], first.sp[:, j])


@pytest.mark.parametrize("loops", [
    [flow()],
    [temperature(), flow(), flow(loop_id="FIC2")],
    [temperature(cascade="FIC"), flow()],
    [flow(), flow()],
    [],
])
def test_a_plant_refuses_loops_that_do_not_fit_together(loops: list[LoopSpec]) -> None:
    with pytest.raises(ValueError):
        Plant(loops, start=START)


@pytest.mark.parametrize(("interval", "scan"), [(1.0, 0.3), (1.0, 2.0), (0.0, 1.0), (1.0, 0.0)])
def test_a_plant_refuses_an_interval_that_is_no_multiple_of_its_scan(interval: float, scan: float) -> None:
    with pytest.raises(ValueError):
        Plant([flow(cascade=None, mode="AUT")], start=START, interval=ns(interval), scan=ns(scan))
