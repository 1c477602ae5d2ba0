"""A plant that runs can be given other parameters, moves and faults of its loops, and goes on without a jump."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tomli

from clpm_execd.config.loops import parse_configuration
from clpm_execd.plant.block import SECOND, Block
from clpm_execd.plant.faults.catalogue import FAULTS
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import LoopSpec, Move

START = 1_736_503_500 * SECOND
BEFORE, DURING, AFTER = 120, 180, 100  # samples
SIGNALS = ("pv", "op", "sp", "mode", "valve_position", "true_pv")


def signals_of(*blocks: Block) -> list[bytes]:
    return [np.concatenate([getattr(block, name) for block in blocks]).tobytes() for name in SIGNALS]


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_that_is_added_to_a_plant_acts_to_the_last_bit_as_one_that_was_configured_to_start_then(
        kind: str) -> None:
    loops = list(parse_configuration(tomli.loads(FAULTS[kind].example)).loops)
    i = next(i for i, loop in enumerate(loops) if loop.faults)
    fault = replace(loops[i].faults[0], start=START + BEFORE * SECOND, from_start=False, duration=150 * SECOND,
                    repeat=None)
    healthy = [replace(loop, faults=()) for loop in loops]
    faulty = [*healthy[:i], replace(healthy[i], faults=(fault,)), *healthy[i + 1:]]
    expected = Plant(faulty, start=START, scan=SECOND).advance(BEFORE + DURING + AFTER)
    plant = Plant(healthy, start=START, scan=SECOND)
    before = plant.advance(BEFORE)
    plant = plant.respecify(faulty)
    during = plant.advance(DURING)
    resumed = Plant(faulty, start=plant.next_time, scan=SECOND, snapshot=plant.snapshot())
    after = resumed.advance(AFTER)
    assert signals_of(before, during, after) == signals_of(expected)
    assert expected.truth is not None
    assert during.truth is not None
    assert after.truth is not None
    assert not expected.truth.severity[:BEFORE].any()
    np.testing.assert_array_equal(
        np.concatenate([during.truth.severity, after.truth.severity]), expected.truth.severity[BEFORE:])


def test_a_fault_that_gets_an_end_is_over_from_then_on_and_does_not_come_back() -> None:
    repeating = tomli.loads("""[[loop]]
        id = "FIC101"
        fault = [{ kind = "bias", start = "10s", duration = "20s", repeat = "30s" }]""")
    [loop] = parse_configuration(repeating).loops
    plant = Plant([loop], start=START)
    before = plant.advance(45)
    plant = plant.respecify([replace(loop, faults=(replace(loop.faults[0], until=START + 45 * SECOND),))])
    after = plant.advance(100)
    assert before.truth is not None
    assert before.truth.present[-1, 0]
    assert after.truth is not None
    assert not after.truth.present.any()


def test_another_gain_and_reset_act_from_then_on_without_a_jump_of_op() -> None:
    [loop] = parse_configuration({"loop": [{"id": "FIC101", "controller": {"gain": 0.5, "reset": 8.0}}]}).loops
    plant, unchanged = (Plant([loop], start=START) for _ in range(2))
    for each in (plant, unchanged):
        each.advance(500)
    plant = plant.respecify([replace(loop, controller=replace(loop.controller, gain=2.0, reset=4.0))])
    op, op_unchanged = (each.advance(300).op[:, 0] for each in (plant, unchanged))
    typical_step = np.abs(np.diff(op_unchanged)).max()
    assert abs(op[0] - op_unchanged[0]) < 4 * typical_step  # four times the gain on the same noise
    assert np.abs(np.diff(op)).std() > 2 * np.abs(np.diff(op_unchanged)).std()


def test_a_move_that_is_added_acts_as_one_that_was_configured_then() -> None:
    loop = LoopSpec(id="FIC101")
    move = Move(at=START + BEFORE * SECOND, from_start=False, sp=60.0, ramp=30 * SECOND)
    expected = Plant([replace(loop, moves=(move,))], start=START).advance(BEFORE + DURING)
    plant = Plant([loop], start=START)
    before = plant.advance(BEFORE)
    plant.add_move("FIC101", move)
    assert signals_of(before, plant.advance(DURING)) == signals_of(expected)


def test_what_an_operator_changes_is_no_effect_of_a_fault() -> None:
    """The copy of each loop without a fault that has not started stays its loop, to the last bit."""
    loops = list(parse_configuration(tomli.loads("""
        loop = [
            { id = "TIC101", type = "temperature" },
            { id = "FIC101", cascade = "TIC101", mode = "CAS", fault = [{ kind = "stiction", start = "1d" }] },
            { id = "LIC101", type = "level", fault = [{ kind = "bias", start = "1d" }] }]""")).loops)
    plant = Plant(loops, start=START)
    plant.advance(BEFORE)
    for loop, sp in (("TIC101", 60.0), ("LIC101", 40.0)):
        plant.add_move(loop, Move(at=plant.next_time, from_start=False, sp=sp))
    moved = plant.advance(DURING)
    tuned = [replace(loop, controller=replace(loop.controller, gain=1.7)) for loop in loops]
    for block in (moved, plant.respecify(tuned).advance(DURING)):
        assert np.ptp(block.op, axis=0).min() > 1.0  # %
        assert block.truth is not None
        assert not block.truth.effect.any()


def test_a_fault_may_start_between_two_samples() -> None:
    loop, at = LoopSpec(id="FIC101"), START + 75 * SECOND
    [faulty] = parse_configuration({"loop": [{"id": "FIC101", "fault": [{"kind": "bias"}]}]}).loops
    faulty = replace(loop, faults=(replace(faulty.faults[0], start=at, from_start=False),))
    expected = Plant([faulty], start=START, interval=10 * SECOND).advance(20)
    plant = Plant([loop], start=START, interval=10 * SECOND)
    before = plant.advance(8)
    plant.advance_to(at)
    assert plant.next_scan == at
    plant = plant.respecify([faulty])
    assert signals_of(before, plant.advance(12)) == signals_of(expected)
