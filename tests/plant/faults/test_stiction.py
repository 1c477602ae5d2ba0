"""Sticky valves cycle as in Choudhury et al. (2005), by the cycles that two independent models of it agree on."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from faulty_loops import fault

from clpm_execd.plant.block import Block
from clpm_execd.plant.plant import SECOND, Plant
from clpm_execd.plant.specs import ControllerSpec, DisturbanceSpec, LoopSpec, Move, ProcessSpec, SensorSpec

pytestmark = pytest.mark.slow

# Process, Kc and Ti of each case.
LOOPS = {
    "A": (ProcessSpec(model="fopdt", gain=3.0, tau=(10.0,), dead_time=10.0), 0.2, 10.0),
    "C": (ProcessSpec(model="fopdt", gain=1.0, tau=(20.0,), dead_time=2.0), 5.0, 16.0),
    "D": (ProcessSpec(model="fopdt", gain=1.5, tau=(120.0,), dead_time=20.0), 2.0, 120.0),
    "E": (ProcessSpec(model="integrator", gain=0.01, tau=(), dead_time=2.0), 8.333, 48.0),
    "bistable": (ProcessSpec(model="fopdt", gain=1.0, tau=(3.0,), dead_time=1.0), 0.75, 3.0),
}
# Case, S, J, load: period in s, peak to peak of PV and of OP in per cent.
CYCLES = {
    ("A", 4, 4, 3.3): (72.5, 16.16, 5.75), ("A", 4, 2, 3.3): (119.1, 8.56, 4.87), ("A", 4, 1, 3.3): (212.2, 4.31, 4.44),
    ("C", 4, 4, 3.3): (17.0, 1.085, 5.47), ("C", 4, 2, 3.3): (28.5, 0.917, 4.78), ("C", 4, 1, 3.3): (50.1, 0.772, 4.42),
    ("D", 4, 4, 3.3): (170.0, 2.608, 5.35), ("D", 4, 2, 3.3): (289.8, 2.122, 4.67),
    ("D", 4, 1, 3.3): (529.6, 1.597, 4.34),
    ("E", 4, 4, 3.3): (48.5, 0.538, 4.48), ("E", 4, 2, 3.3): (90.8, 0.515, 4.29),
    ("E", 4, 1, 3.3): (169.4, 0.504, 4.20), ("E", 4, 0, 3.3): (262.9, 0.518, 4.85),
    ("bistable", 4, 4, 0.7): (16.2, 4.04, 4.66), ("bistable", 4, 2, 0.7): (30.1, 2.28, 4.31),
}
# The same J/S at another size, with load and move in proportion.
SCALED = {("A", 2, 1, 1.65): ("A", 4, 2, 3.3), ("A", 6, 3, 4.95): ("A", 4, 2, 3.3), ("C", 2, 2, 1.65): ("C", 4, 4, 3.3)}
WITHOUT_CYCLE = [("A", 4, 0, 3.3), ("C", 4, 0, 3.3)]
Case = tuple[str, float, float, float]


def sticky(case: Case, seconds: float) -> LoopSpec:
    """Return a loop whose set point rises by 20 % (for S of 4), with a load step after an eighth of the run."""
    name, s, j, load = case
    process, gain, reset = LOOPS[name]
    return LoopSpec(
        id=str(case), sp=30.0, op=50.0, process=process, controller=ControllerSpec(gain=gain, reset=reset),
        sensor=SensorSpec(noise=0.0), disturbance=DisturbanceSpec(sigma=0.0), moves=(Move(at=0, sp=30.0 + 5.0 * s),),
        faults=(fault("stiction", S=s, J=j), fault("load-step", start=seconds / 8.0, size=load)))


@cache
def simulate(slow: bool) -> Block:
    """Return all cases of one kind in one plant: D at 0.1 s per scan, the others at 0.05 s."""
    seconds, dt = (5000.0, 0.1) if slow else (2000.0, 0.05)
    cases = [case for case in (*CYCLES, *SCALED, *WITHOUT_CYCLE) if (case[0] == "D") == slow]
    interval_ns = round(dt * SECOND)
    return Plant([sticky(case, seconds) for case in cases], start=0, interval=interval_ns).advance(round(seconds / dt))


def cycle(case: Case) -> tuple[float, float, float]:
    """Return the period, s, and the peak-to-peak values of PV and OP in the last half of the run."""
    block = simulate(case[0] == "D")
    column, half = block.loops.index(str(case)), len(block) // 2
    pv, op = block.pv[half:, column], block.op[half:, column]
    middle = op - (op.max() + op.min()) / 2.0
    up = np.flatnonzero((middle[:-1] < 0) & (middle[1:] >= 0))
    period = float(np.diff(up).mean()) * (block.times[1] - block.times[0]) / SECOND if len(up) > 1 else np.nan
    return period, float(np.ptp(pv)), float(np.ptp(op))


@pytest.mark.slow
@pytest.mark.parametrize("case", CYCLES, ids=str)
def test_a_sticky_valve_cycles_as_published(case: Case) -> None:
    period, pv, op = CYCLES[case]
    assert cycle(case) == (pytest.approx(period, rel=0.02), pytest.approx(pv, rel=0.03), pytest.approx(op, rel=0.03))


@pytest.mark.slow
@pytest.mark.parametrize("case", SCALED, ids=str)
def test_the_period_depends_on_j_over_s_and_the_amplitude_on_s(case: Case) -> None:
    period, pv, op = cycle(SCALED[case])
    size = case[1] / SCALED[case][1]
    assert cycle(case) == (
        pytest.approx(period, rel=0.02), pytest.approx(pv * size, rel=0.03), pytest.approx(op * size, rel=0.03))


@pytest.mark.parametrize("case", WITHOUT_CYCLE, ids=str)
def test_a_pure_deadband_cycles_only_in_integrating_loops(case: Case) -> None:
    assert cycle(case)[1] < 0.05


def test_op_moves_while_the_stem_sticks() -> None:
    block = simulate(False)
    column = block.loops.index(str(("C", 4, 4, 3.3)))
    stem, op = block.valve_position[-4000:, column], block.op[-4000:, column]
    still = np.diff(stem) == 0
    assert still.mean() > 0.6
    assert (np.diff(op)[still] != 0).mean() > 0.9
