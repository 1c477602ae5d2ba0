"""Sums that a monitor computes from the records equal those of the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from monitors.population import START

from clpm_execd.monitors.data_rules import compute_saturation
from clpm_execd.monitors.signals import Floats
from clpm_execd.plant.block import AUT, MAN, Block
from clpm_execd.plant.loop_types import LOOP_TYPES, template
from clpm_execd.plant.plant import SECOND, Plant
from clpm_execd.plant.specs import FaultSpec, LoopSpec, RecordingSpec, SensorSpec

HOURS = 3


def compute_service_factor(is_automatic: npt.NDArray[np.bool_]) -> float:
    """Return the fraction of time in which the controller is in automatic."""
    return float(np.mean(is_automatic))


def compute_travel(position: Floats) -> float:
    """Return the distance that a valve travels, in the unit of its position."""
    return float(np.abs(np.diff(position)).sum())


def count_reversals(position: Floats) -> int:
    """Return how often a valve changes its direction."""
    directions = np.sign(np.diff(position))
    directions = directions[directions != 0]
    return int(np.count_nonzero(directions[1:] != directions[:-1]))


def compute_integral_absolute_error(error: Floats, interval: float) -> float:
    """Return the integral of the absolute error, in the unit of the error times s. interval: between samples, s."""
    return float(np.abs(error).sum() * interval)


def exact_loop(kind: str, *faults: FaultSpec, noise: float | None = None) -> LoopSpec:
    """A loop recorded to the last digit."""
    spec = replace(template(kind, kind, (0.0, 250.0)), recording=RecordingSpec(), faults=faults)
    return spec if noise is None else replace(spec, sensor=SensorSpec(noise=noise))


def at_times(kind: str, **parameters: float) -> FaultSpec:
    """Twenty minutes in each hour, the first ten minutes after the start."""
    return FaultSpec(kind=kind, parameters=parameters, start=600 * SECOND, duration=1200 * SECOND,
                     repeat=3600 * SECOND)


def simulate(*loops: LoopSpec) -> Block:
    return Plant(loops, start=START).advance(HOURS * 3600)


def present(block: Block, fault: int = 0) -> npt.NDArray[np.bool_]:
    assert block.truth is not None
    return block.truth.present[:, fault]


def test_travel_and_reversals_of_op_are_those_of_a_healthy_valve() -> None:
    block = simulate(*(exact_loop(kind) for kind in LOOP_TYPES))
    for op, stem in zip(block.op.T, block.valve_position.T, strict=True):
        assert compute_travel(op) == pytest.approx(compute_travel(stem), rel=1e-12)
        assert count_reversals(op) == count_reversals(stem) > 0


def test_recorded_steps_of_op_add_no_more_to_its_travel_than_a_step_a_sample() -> None:
    block = simulate(*(template(kind, kind, (0.0, 250.0)) for kind in LOOP_TYPES))
    for op, stem in zip(block.op.T, block.valve_position.T, strict=True):
        assert compute_travel(op) == pytest.approx(compute_travel(stem), abs=0.01 * len(block))


def test_a_sticky_stem_turns_and_travels_less_than_op_and_by_jumps() -> None:
    s, j = 5.0, 3.0
    block = simulate(exact_loop("flow", FaultSpec(kind="stiction", parameters={"S": s, "J": j})))
    op, stem = block.op[:, 0], block.valve_position[:, 0]
    moves = np.diff(stem)
    assert count_reversals(stem) < count_reversals(op) / 2
    assert compute_travel(stem) < compute_travel(op)
    # After a turn the stem stays until OP has come S back from there, then jumps J and more by what OP went beyond.
    turns = np.flatnonzero(np.sign(moves[moves != 0])[1:] != np.sign(moves[moves != 0])[:-1]) + 1
    assert np.all(np.abs(moves[moves != 0][turns]) >= j - 1e-9)
    assert np.abs(op - stem).max() <= (s + j) / 2.0 + 1e-9


def test_a_stuck_valve_has_no_travel_during_its_label() -> None:
    block = simulate(exact_loop("flow", at_times("stuck")))
    stuck = present(block)
    moved = np.abs(np.diff(block.valve_position[:, 0]))
    within = stuck[1:] & stuck[:-1]
    assert moved[within].sum() == 0.0
    assert np.abs(np.diff(block.op[:, 0]))[within].sum() > 0.0
    assert compute_travel(block.valve_position[:, 0]) == pytest.approx(moved[~within].sum(), rel=1e-12)


def test_service_factor_is_the_share_of_time_not_in_manual() -> None:
    block = simulate(exact_loop("temperature", at_times("manual")))
    assert compute_service_factor(block.mode[:, 0] != MAN) == np.mean(~present(block)) == pytest.approx(2.0 / 3.0)


def test_op_travels_in_automatic_only() -> None:
    block = simulate(exact_loop("flow", FaultSpec(kind="mode-hopping", parameters={"dwell": 300.0})))
    controlled = block.mode[:, 0] == AUT
    assert 0.2 < compute_service_factor(controlled) < 0.8
    moves = np.abs(np.diff(block.op[:, 0]))
    assert moves[~controlled[1:]].sum() == 0.0 < moves[controlled[1:]].sum()
    assert compute_travel(block.valve_position[:, 0]) == pytest.approx(compute_travel(block.op[:, 0]), rel=1e-12)


@pytest.mark.parametrize(("fault", "load"), [("undersized", 0.0), ("windup", -70.0)])
def test_saturation_is_the_share_of_time_with_the_valve_at_its_limit(fault: str, load: float) -> None:
    block = simulate(exact_loop("flow", FaultSpec(kind=fault), at_times("load-step", size=load)))
    op, stem = block.op[:, 0], block.valve_position[:, 0]
    assert compute_saturation(op) == compute_saturation(stem) == np.mean((stem <= 0.0) | (stem >= 100.0)) > 0.2


def test_iae_is_that_of_the_true_process_variable() -> None:
    block = simulate(*(exact_loop(kind, FaultSpec(kind="external-oscillation"), noise=0.0) for kind in LOOP_TYPES))
    for sp, pv, truth in zip(block.sp.T, block.pv.T, block.true_pv.T, strict=True):
        read, true = (compute_integral_absolute_error(sp - x, 1.0) for x in (pv, truth))
        assert read == pytest.approx(true, rel=1e-12)
        assert true > 0.0


def test_a_bias_hides_from_the_records_what_it_costs() -> None:
    block = simulate(exact_loop("flow", FaultSpec(kind="bias", parameters={"size": 3.0})))
    read, true = (compute_integral_absolute_error((block.sp - x)[:, 0] / 2.5, 1.0) for x in (block.pv, block.true_pv))
    assert read < 0.5 * len(block)
    assert true == pytest.approx(3.0 * len(block), rel=0.05)
