"""Valves: every characteristic has slope 1 where the loop rests; the stem lags OP and stays within its travel.

Flow is seen through a process that has neither lag nor dead time.
"""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np
import pytest
from still import move, run, see_through, still

from clpm_execd.plant.specs import ValveSpec

CHARACTERISTICS = ["linear", "equal-percentage", "quick-opening"]


def flow(valve: ValveSpec, rest: float, op: float) -> float:
    """The flow at an OP, as deviation from that at rest, % of travel."""
    loop = still(mode="MAN", op=rest, process=see_through(), valve=valve, moves=(move(5, op=op),))
    return float(run(loop, 10).true_pv[-1, 0]) - 50.0


@pytest.mark.parametrize("rest", [1.0, 20.0, 50.0, 63.5, 90.0])
@pytest.mark.parametrize("characteristic", CHARACTERISTICS)
def test_the_slope_at_rest_is_one(characteristic: str, rest: float) -> None:
    valve = ValveSpec(characteristic=characteristic)
    step = 1e-3
    slope = (flow(valve, rest, rest + step) - flow(valve, rest, rest - step)) / (2.0 * step)
    assert slope == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("rest", [0.0, 0.3, 50.0, 100.0])
@pytest.mark.parametrize("characteristic", CHARACTERISTICS)
def test_a_valve_that_rests_moves_nothing_wherever_it_rests(characteristic: str, rest: float) -> None:
    assert flow(ValveSpec(characteristic=characteristic), rest, rest) == 0.0


@pytest.mark.parametrize("r", [30.0, 50.0])
@pytest.mark.parametrize(("rest", "op"), [(50.0, 100.0), (50.0, 0.0), (63.5, 40.0)])
def test_an_equal_percentage_valve_is_the_power_of_its_rangeability(r: float, rest: float, op: float) -> None:
    valve = ValveSpec(characteristic="equal-percentage", rangeability=r)
    at_rest, opened = (r ** (x / 100.0 - 1.0) for x in (rest, op))
    assert flow(valve, rest, op) == pytest.approx(100.0 * (opened - at_rest) / (at_rest * log(r)), abs=1e-9)


@pytest.mark.parametrize(("rest", "op"), [(25.0, 100.0), (25.0, 0.0), (64.0, 36.0)])
def test_a_quick_opening_valve_is_the_root_of_its_opening(rest: float, op: float) -> None:
    valve = ValveSpec(characteristic="quick-opening")
    root = 100.0 * (sqrt(op / 100.0) - sqrt(rest / 100.0)) * 2.0 * sqrt(rest / 100.0)
    assert flow(valve, rest, op) == pytest.approx(root, abs=1e-9)


@pytest.mark.parametrize("scan", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("lag", [0.5, 3.0, 40.0])
def test_the_stem_closes_in_on_op_with_the_lag_as_time_constant(lag: float, scan: float) -> None:
    loop = still(mode="MAN", valve=ValveSpec(lag=lag), moves=(move(10 * scan, op=90.0),))
    block = run(loop, 40, scan)
    left = (90.0 - block.valve_position[9:, 0]) / 40.0
    assert left[0] == 1.0
    assert np.abs(left - exp(-scan / lag) ** np.arange(len(left))).max() < 1e-12


def test_without_lag_the_stem_is_where_op_is() -> None:
    block = run(still(moves=(move(10, sp=70.0),)), 200)
    assert np.array_equal(block.valve_position, block.op)


@pytest.mark.parametrize("characteristic", CHARACTERISTICS)
def test_the_stem_stays_within_its_travel(characteristic: str) -> None:
    moves = tuple(move(20 * k, sp=100.0 * (k % 2)) for k in range(1, 20))
    loop = still(valve=ValveSpec(characteristic=characteristic, lag=2.0), moves=moves)
    position = run(loop, 400).valve_position
    assert position.min() >= 0.0
    assert position.max() <= 100.0
    assert np.ptp(position) > 20.0
