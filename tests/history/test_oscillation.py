"""A loop that oscillates is known by its period, and one that does not is not said to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from recorded import flow, record_of, run

from clpm_execd.history.oscillation import oscillation
from clpm_execd.history.signals import signals_of
from clpm_execd.plant.block import Block
from clpm_execd.plant.loop import FaultSpec


def period_of(block: Block) -> tuple[float, float, float] | None:
    return oscillation(signals_of(record_of(block), 0, (0.0, 100.0)))


@pytest.mark.parametrize("period", [40.0, 200.0])
def test_an_oscillation_from_outside_has_its_period(period: float) -> None:
    outside = FaultSpec(kind="external-oscillation", parameters={"period": period, "amplitude": 4.0})
    found = period_of(run(replace(flow(), faults=(outside,)), 3600))
    assert found is not None
    value, low, high = found
    assert value == pytest.approx(period, rel=0.03)
    assert low <= value <= high


def test_a_sticky_valve_cycles() -> None:
    stuck = FaultSpec(kind="stiction", parameters={"S": 6.0, "J": 6.0})
    assert period_of(run(replace(flow(), faults=(stuck,)), 3600)) is not None


def test_healthy_loops_do_not_oscillate() -> None:
    healthy = [replace(flow(), id=f"FIC{k}") for k in range(12)]
    signals = [signals_of(record_of(run(loop, 3600, seed=k)), 0, (0.0, 100.0)) for k, loop in enumerate(healthy)]
    assert sum(oscillation(one) is not None for one in signals) <= 1
