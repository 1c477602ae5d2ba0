"""An analyser has a new value once per cycle, holds it in between, and its controller is tuned for that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clpm_execd.plant.block import SECOND, Block
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import FaultSpec, LoopSpec, Resolution
from clpm_execd.plant.tuning import apply_tuning_rule

CYCLE_S = 240


def analyser(cycle: float = CYCLE_S, loop_id: str = "AIC1") -> LoopSpec:
    loop = template("composition", loop_id, (0.0, 100.0))
    return replace(loop, sensor=replace(loop.sensor, cycle=cycle),
                   recording=replace(loop.recording, resolution=Resolution()))


def simulate(*loops: LoopSpec, hours: float = 4.0) -> Block:
    return Plant(loops, seed=3, start=0, interval=SECOND).advance(int(3600 * hours))


def test_pv_changes_once_per_cycle_and_op_moves_on_with_the_error() -> None:
    block = simulate(analyser())
    changes = np.flatnonzero(np.diff(block.pv[:, 0])) + 1
    assert len(changes) >= 55
    assert set(np.diff(changes)) == {CYCLE_S}
    assert np.mean(np.diff(block.op[:, 0]) != 0.0) > 0.9, "the controller integrates what is held"


def test_a_loop_beside_an_analyser_is_the_same_as_alone() -> None:
    flow = template("flow", "FIC1", (0.0, 100.0))
    assert (simulate(flow, hours=0.2).pv[:, 0] == simulate(flow, analyser(), hours=0.2).pv[:, 0]).all()


def test_a_plant_that_resumes_between_two_values_holds_the_last_one() -> None:
    loops = [analyser(), template("flow", "FIC1", (0.0, 100.0))]
    whole = Plant(loops, seed=3, start=0, interval=SECOND).advance(1000)
    first = Plant(loops, seed=3, start=0, interval=SECOND)
    first.advance(600)
    rest = Plant(loops, seed=3, start=600 * SECOND, interval=SECOND, snapshot=first.snapshot()).advance(400)
    assert (rest.pv == whole.pv[600:]).all()
    assert (rest.op == whole.op[600:]).all()


@pytest.mark.parametrize("tuning", ["tight", "lambda", "aggressive"])
def test_a_slower_analyser_has_a_slower_controller(tuning: str) -> None:
    loop = replace(analyser(), controller=replace(analyser().controller, tuning=tuning))
    quick = replace(loop, sensor=replace(loop.sensor, cycle=0.0))
    assert apply_tuning_rule(loop, 1.0)[0] < apply_tuning_rule(quick, 1.0)[0]


def test_an_aggressive_analyser_oscillates_without_growing() -> None:
    loop = analyser(600.0)
    faults = (FaultSpec(kind="aggressive", parameters={"gain_margin": 1.08}),)
    plants = [Plant([one], seed=3, start=0, interval=30 * SECOND, scan=10 * SECOND, measures_truth=False)
              for one in (loop, replace(loop, faults=faults))]
    healthy, aggressive = (plant.advance(5760).op[:, 0] for plant in plants)
    early, late = aggressive[:2880].std(), aggressive[2880:].std()
    assert late > 1.5 * healthy[2880:].std()
    assert late < 2.0 * early
