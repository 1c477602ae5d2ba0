"""Learned loops: their equations to the digit, gains that act, holds between the record's instants, faults on top."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from still import START, move, ns, run, still

from clpm_execd.plant.learned.model import LearnedModel, run_lengths
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import ControllerSpec, FaultSpec, LoopSpec, ProcessSpec

A, B = 0.8, 0.3  # PV+ = 0.8 PV + 0.3 OP
KC, KI = 0.6, 0.15  # OP = OP- + (Kc + Ki) e - Kc e-
SETTINGS = np.array([KC, KC / KI, 0.0, B / (1 - A), 5.0, 0.0])


def model(sigma: float = 0.0, rows: int = 300, interval: float = 1.0, **parts: Any) -> LearnedModel:
    """A first-order process and a PI controller; a record of nothing but noise of this size."""
    rng = np.random.default_rng(1)
    residuals = np.column_stack([rng.normal(0, sigma, (rows, 2)), np.zeros(rows)])
    return LearnedModel(**{
        "interval": interval, "offset": 0.0, "process_pv": np.array([A]), "process_op": np.array([B]),
        "controller_op": np.array([1.0]), "controller_pv": np.array([-(KC + KI), KC]),
        "controller_sp": np.array([KC + KI, -KC]), "innovation": np.empty(0), "controller_noise": np.empty(0),
        "setpoint": np.empty(0), "drift": np.zeros(4), "signals": residuals.cumsum(axis=0) * 0.1,
        "residuals": residuals, "is_repeat": np.zeros((rows, 2), dtype=bool), "settings": SETTINGS, **parts})


def learned(loop_id: str = "LEARNED", **parts: Any) -> LoopSpec:
    of = parts.pop("learned_model", None) or model()
    controller = ControllerSpec(gain=KC, reset=KC / KI, action="reverse")
    return still(loop_id, **{"controller": controller, "learned_model": of,
                             "process": ProcessSpec(gain=B / (1 - A), tau=(5.0,), dead_time=0.0), **parts})


def by_hand(sp: np.ndarray[Any, Any], gain: float = 1.0, integral: float = 1.0) -> np.ndarray[Any, Any]:
    """PV of the loop as deviations, at these set points."""
    pv, op, e, out = 0.0, 0.0, 0.0, []
    for set_point in sp:
        pv = A * pv + B * op
        before, e = e, set_point - pv
        op += gain * KC * (e - before) + integral * KI * e
        out.append(pv)
    return np.array(out)


def test_the_difference_equations_are_simulated_to_the_digit() -> None:
    block = run(learned(moves=(move(20, sp=55.0),)), 200)
    sp = np.where(np.arange(200) >= 20, 5.0, 0.0)
    assert block.pv[:, 0] - 50.0 == pytest.approx(by_hand(sp), abs=1e-9)


@pytest.mark.parametrize(("gain", "reset", "p", "i"),
                         [(2.0, 2.0, 2.0, 1.0), (0.5, 1.0, 0.5, 0.5), (1.0, 4.0, 1.0, 0.25)])
def test_another_gain_or_reset_scales_its_part_of_the_equation(gain: float, reset: float, p: float, i: float) -> None:
    controller = ControllerSpec(gain=gain * KC, reset=reset * KC / KI, action="reverse")
    block = run(learned(controller=controller, moves=(move(20, sp=55.0),)), 200)
    sp = np.where(np.arange(200) >= 20, 5.0, 0.0)
    assert block.pv[:, 0] - 50.0 == pytest.approx(by_hand(sp, p, i), abs=1e-9)


def test_another_process_gain_scales_the_response() -> None:
    manual = {"mode": "MAN", "moves": (move(10, op=54.0),)}
    once = run(learned(**manual), 100).pv[:, 0] - 50.0
    twice = run(learned(process=ProcessSpec(gain=2 * B / (1 - A), tau=(5.0,), dead_time=0.0), **manual), 100)
    assert once[-1] == pytest.approx(4.0 * B / (1 - A))
    assert twice.pv[:, 0] - 50.0 == pytest.approx(2.0 * once)


def test_nothing_moves_between_the_instants_of_the_record() -> None:
    pv = run(learned(learned_model=model(0.5, interval=10.0)), 600).pv[:, 0]
    steps = np.flatnonzero(np.diff(pv))
    assert len(steps) > 50
    assert set((steps + 1 + START // 10**9) % 10) == {0}


def test_the_residuals_come_in_blocks_of_the_record() -> None:
    of = model(0.5)
    block = run(learned(learned_model=of), 2000)
    pv, op = block.pv[:, 0] - 50.0, block.op[:, 0] - 50.0
    residual = pv[1:] - A * pv[:-1] - B * op[:-1]
    rows = np.abs(residual[:, None] - of.residuals[None, :, 0]).argmin(axis=1)
    assert np.abs(residual - of.residuals[rows, 0]).max() < 1e-9
    lengths = np.diff(np.flatnonzero(np.diff(rows) != 1))
    assert lengths.min() >= 8
    assert lengths.max() <= 16
    assert (np.bincount(rows, minlength=300)[16:285] > 0).mean() > 0.75


def test_noise_of_op_that_returns_leaves_no_offset_over_long_times() -> None:
    def offset(noise: list[float]) -> float:
        pv = run(learned(learned_model=model(0.5, controller_noise=np.array(noise))), 8000).pv[:, 0] - 50.0
        return float(np.abs(pv.reshape(-1, 400).mean(axis=1)).max())

    assert offset([0.5]) < 0.3 * offset([])


def test_the_noise_of_op_is_added_to_the_equation_to_the_digit() -> None:
    of = model(0.5, controller_noise=np.array([0.7]))
    block = run(learned(learned_model=of), 500)
    pv, op = block.pv[:, 0] - 50.0, block.op[:, 0] - 50.0
    moves = np.diff(op) + KC * np.diff(pv) + KI * pv[1:]
    changes = moves[1:] - 0.7 * moves[:-1]  # of the innovations, from one sample to the next
    nearest = np.abs(changes[:, None] - np.diff(of.residuals[:, 1])).min(axis=1)
    assert (nearest < 1e-9).mean() > 0.85  # the others are at the joints of blocks


def test_the_length_of_blocks_and_the_order_of_loops_change_no_value() -> None:
    loops = [learned("A", learned_model=model(0.3)), still("B"), learned("C", learned_model=model(0.2, interval=3.0))]
    block = Plant(loops, seed=1, start=START).advance(500)
    plant = Plant(loops[::-1], seed=1, start=START)
    parts = [plant.advance(n) for n in (1, 99, 400)]
    assert np.array_equal(np.concatenate([part.pv for part in parts])[:, ::-1], block.pv)
    assert np.array_equal(np.concatenate([part.op for part in parts])[:, ::-1], block.op)


def test_op_is_the_operators_in_manual_and_does_not_jump_when_the_controller_takes_over() -> None:
    moves = (move(50, mode="MAN"), move(60, op=53.0), move(100, mode="AUT"))
    op = run(learned(learned_model=model(0.05), moves=moves), 200).op[:, 0]
    assert set(op[60:100]) == {53.0}
    assert abs(op[100] - 53.0) < KC * 12.0


def test_a_slaves_set_point_is_simulated_by_its_own_equation() -> None:
    of = model(0.3)
    of.residuals[:, 2] = np.random.default_rng(2).normal(0, 0.2, 300)
    sp = run(learned(learned_model=replace(of, setpoint=np.array([0.9]))), 5000).sp[:, 0]
    assert sp.std() == pytest.approx(0.2 / np.sqrt(1 - 0.81), rel=0.2)
    assert sp.mean() == pytest.approx(50.0, abs=0.3)


def test_a_value_that_the_record_repeats_is_repeated() -> None:
    held = np.zeros((300, 2), dtype=bool)
    held[::2, 0] = True
    block = run(learned(learned_model=model(0.3, is_repeat=held)), 1000)
    assert np.mean(np.diff(block.pv[:, 0]) == 0) == pytest.approx(0.5, abs=0.06)
    assert np.mean(np.diff(block.op[:, 0]) == 0) < 0.01


@pytest.mark.parametrize(("fault", "parameters"), [
    ("stiction", {"S": 8.0, "J": 4.0}), ("gain-change", {"factor": 3.0}), ("lag-change", {"factor": 3.0}),
    ("bias", {"size": 5.0}), ("load-step", {"size": 5.0}), ("sluggish", {}), ("stuck", {})])
def test_faults_act_on_a_learned_loop(fault: str, parameters: dict[str, float]) -> None:
    healthy = learned(learned_model=model(0.3), moves=(move(100, sp=54.0),))
    faulty = replace(healthy, faults=(FaultSpec(kind=fault, parameters=parameters, start=ns(50)),))
    calm, broken = run(healthy, 600), run(faulty, 600)
    assert np.array_equal(calm.pv[:50], broken.pv[:50])
    assert np.abs(calm.true_pv - broken.true_pv).max() > 0.2


def test_a_sticky_valve_makes_a_learned_loop_cycle() -> None:
    healthy = learned(learned_model=model(0.05), moves=(move(20, sp=53.0),))
    sticky = replace(healthy, faults=(FaultSpec(kind="stiction", parameters={"S": 6.0, "J": 3.0}),))
    calm, cycling = run(healthy, 2000), run(sticky, 2000)
    assert cycling.pv[500:].std() > 5 * calm.pv[500:].std()
    assert len(set(np.round(cycling.valve_position[500:, 0], 6))) < 1000


def test_a_model_of_inconsistent_arrays_has_errors() -> None:
    assert model().find_errors() == []
    assert "shape" in model(process_op=np.zeros(3)).find_errors()[0]
    assert "finite" in model(process_op=np.array([np.nan])).find_errors()[0]
    assert "block" in model(residuals=np.full((300, 3), np.nan)).find_errors()[0]


def test_blocks_start_only_where_their_past_is_valid() -> None:
    of = model(0.3)
    of.residuals[100] = np.nan
    of.signals[200] = of.residuals[200] = np.nan
    lengths = run_lengths(of)
    assert lengths[50] == 50
    assert set(lengths[93:101]) == {0}
    assert set(lengths[200:205]) == {0}
    assert lengths[205] == 95


@pytest.mark.slow
def test_a_drift_is_as_large_and_as_slow_as_its_pole_and_sigma_say() -> None:
    drift = np.array([0.98, 0.4, 0.0, 0.0])
    noise = model(drift=drift, process_pv=np.zeros(1), process_op=np.zeros(1))
    loops = [learned(f"DRIFT{k}", learned_model=noise) for k in range(20)]
    pv = Plant(loops, seed=3, start=START, interval=ns(1)).advance(4000).pv - 50.0
    assert pv[0].std() > 0.2, "it starts anywhere, not in balance"
    assert np.sqrt((pv**2).mean()) == pytest.approx(0.4, rel=0.1)
    assert (pv[50:] * pv[:-50]).mean() / (pv**2).mean() == pytest.approx(0.98**50, abs=0.1)
    assert np.abs(np.diff(pv, axis=0)).max() < 0.2, "and never jumps"
