"""Valves: every characteristic has slope 1 where the loop rests; the stem lags OP and stays within its travel.

Flow is observed through a process that has neither lag nor dead time.
"""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np
import pytest
from still import move, run, see_through, still

from clpm_execd.plant.specs import ValveSpec

CHARACTERISTICS = ["linear", "equal-percentage", "quick-opening"]


def flow(valve: ValveSpec, nominal: float, op: float) -> float:
    """The flow at an OP, as deviation from that at the operating point, % of travel."""
    loop = still(mode="MAN", op=nominal, process=see_through(), valve=valve, moves=(move(5, op=op),))
    return float(run(loop, 10).true_pv[-1, 0]) - 50.0


@pytest.mark.parametrize("nominal", [1.0, 20.0, 50.0, 63.5, 90.0])
@pytest.mark.parametrize("characteristic", CHARACTERISTICS)
def test_the_slope_at_the_operating_point_is_one(characteristic: str, nominal: float) -> None:
    valve = ValveSpec(characteristic=characteristic)
    step = 1e-3
    slope = (flow(valve, nominal, nominal + step) - flow(valve, nominal, nominal - step)) / (2.0 * step)
    assert slope == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("nominal", [0.0, 0.3, 50.0, 100.0])
@pytest.mark.parametrize("characteristic", CHARACTERISTICS)
def test_a_valve_at_its_operating_point_moves_nothing(characteristic: str, nominal: float) -> None:
    assert flow(ValveSpec(characteristic=characteristic), nominal, nominal) == 0.0


@pytest.mark.parametrize("r", [30.0, 50.0])
@pytest.mark.parametrize(("nominal", "op"), [(50.0, 100.0), (50.0, 0.0), (63.5, 40.0)])
def test_an_equal_percentage_valve_is_the_power_of_its_rangeability(r: float, nominal: float, op: float) -> None:
    valve = ValveSpec(characteristic="equal-percentage", rangeability=r)
    at_nominal, opened = (r ** (x / 100.0 - 1.0) for x in (nominal, op))
    assert flow(valve, nominal, op) == pytest.approx(100.0 * (opened - at_nominal) / (at_nominal * log(r)), abs=1e-9)


@pytest.mark.parametrize(("nominal", "op"), [(25.0, 100.0), (25.0, 0.0), (64.0, 36.0)])
def test_a_quick_opening_valve_is_the_root_of_its_opening(nominal: float, op: float) -> None:
    valve = ValveSpec(characteristic="quick-opening")
    root = 100.0 * (sqrt(op / 100.0) - sqrt(nominal / 100.0)) * 2.0 * sqrt(nominal / 100.0)
    assert flow(valve, nominal, op) == pytest.approx(root, abs=1e-9)


@pytest.mark.parametrize("scan", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("lag", [0.5, 3.0, 40.0])
def test_the_stem_closes_in_on_op_with_the_lag_as_time_constant(lag: float, scan: float) -> None:
    loop = still(mode="MAN", valve=ValveSpec(lag=lag), moves=(move(10 * scan, op=90.0),))
    block = run(loop, 40, scan)
    remaining = (90.0 - block.valve_position[9:, 0]) / 40.0
    assert remaining[0] == 1.0
    assert np.abs(remaining - exp(-scan / lag) ** np.arange(len(remaining))).max() < 1e-12


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
