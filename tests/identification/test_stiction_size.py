"""S and J of a sticking valve, and the width of a deadband, are estimated in any type of loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated_records import add_sp_moves, record_of, run

from clpm_execd.identification.learn import LearnedLoop, learn
from clpm_execd.identification.loop_data import extract_signals
from clpm_execd.identification.valve.stiction import interpolate, move_stems
from clpm_execd.plant.block import Block
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.specs import FaultSpec, LoopSpec, RecordingSpec, Resolution

pytestmark = pytest.mark.slow


def with_valve(kind: str, fault: str, **parameters: float) -> LoopSpec:
    loop = add_sp_moves(template(kind, "X101", (0.0, 100.0)), 2.0, -2.0, 1.5)
    return replace(loop, faults=(FaultSpec(kind=fault, parameters=parameters),))


def part_of(block: Block, first: int) -> Block:
    return replace(block, times=block.times[first:], truth=None, **{
        name: getattr(block, name)[first:] for name in ("pv", "op", "sp", "mode", "valve_position", "true_pv")})


def learned(block: Block, kind: str) -> LearnedLoop:
    return learn(record_of(block), span=(0.0, 100.0), kind=kind)


@pytest.mark.parametrize(("kind", "s", "j"), [("flow", 5.0, 2.0), ("pressure", 4.0, 4.0), ("level", 5.0, 4.0)])
def test_s_and_j_of_a_sticking_valve_and_the_process_behind_it_are_identified(kind: str, s: float, j: float) -> None:
    truth = with_valve(kind, "stiction", S=s, J=j)
    # The record begins where the valve has long been at it.
    estimates = learned(part_of(run(truth, 4500), 900), kind).estimates
    assert estimates["stiction.S"].value == pytest.approx(s, rel=0.1)
    assert estimates["stiction.J"].value == pytest.approx(j, abs=0.1 * s)
    assert estimates["process.gain"].value == pytest.approx(truth.process.gain, rel=0.2)


def test_s_and_j_are_identified_where_the_record_does_not_have_the_peaks_of_op() -> None:
    truth = replace(template("flow", "X101", (0.0, 100.0)),
                    faults=(FaultSpec(kind="stiction", parameters={"S": 7.0, "J": 3.0}),))
    estimates = learned(run(truth, 800, interval=5.0, scan=1.0), "flow").estimates
    assert estimates["stiction.S"].value == pytest.approx(7.0, rel=0.1)
    assert estimates["stiction.J"].value == pytest.approx(3.0, abs=0.7)


def test_op_that_reverses_between_two_samples_reaches_its_peak_there() -> None:
    triangle = 10.0 - np.abs(np.arange(-30.0, 31.0) - 3.0)
    between = interpolate(triangle[::5], 5)[4:]
    assert triangle[::5].max() == 8.0
    assert np.abs(between - triangle).max() < 1e-9
    assert np.array_equal(interpolate(triangle, 1), triangle)


@pytest.mark.parametrize("kind", ["flow", pytest.param("level", marks=pytest.mark.campaign)])
def test_a_valve_that_only_trails_has_play_and_no_jump(kind: str) -> None:
    (fault,) = learned(run(with_valve(kind, "deadband", width=4.0), 3600), kind).loop.faults
    assert fault.kind == "deadband"
    assert fault.parameters["width"] == pytest.approx(4.0, rel=0.1)


def test_stems_are_those_of_the_plant() -> None:
    exact = RecordingSpec(resolution=Resolution(pv=0.0, op=0.0))
    block = run(replace(with_valve("flow", "stiction", S=5.0, J=2.0), recording=exact), 1000)
    stem = move_stems(extract_signals(record_of(block), 0, (0.0, 100.0)).op, [(5.0, 2.0, 0.0)])[:, 0]
    assert np.abs(stem - block.valve_position[:, 0]).max() < 1e-9
