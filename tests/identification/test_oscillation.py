"""The period of an oscillating loop is estimated, and external oscillations are distinguished from its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated_records import add_sp_moves, flow, record_of, run

from clpm_execd.identification.learn import learn
from clpm_execd.identification.loop_data import extract_signals
from clpm_execd.identification.oscillation import find_external_oscillation, find_oscillation
from clpm_execd.plant.block import Block
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.specs import FaultSpec

pytestmark = pytest.mark.slow


def period_of(block: Block) -> tuple[float, float, float] | None:
    return find_oscillation(extract_signals(record_of(block), 0, (0.0, 100.0)))


@pytest.mark.parametrize("period", [40.0, 200.0])
def test_an_oscillation_from_outside_has_its_period(period: float) -> None:
    outside = FaultSpec(kind="external-oscillation", parameters={"period": period, "amplitude": 4.0})
    result = period_of(run(replace(flow(), faults=(outside,)), 3600))
    assert result is not None
    value, low, high = result
    assert value == pytest.approx(period, rel=0.03)
    assert low <= value <= high


def test_a_sticky_valve_cycles() -> None:
    stuck = FaultSpec(kind="stiction", parameters={"S": 6.0, "J": 6.0})
    assert period_of(run(replace(flow(), faults=(stuck,)), 3600)) is not None


def test_healthy_loops_do_not_oscillate() -> None:
    healthy = [replace(flow(), id=f"FIC{k}") for k in range(12)]
    signals = [extract_signals(record_of(run(loop, 3600, seed=k)), 0, (0.0, 100.0)) for k, loop in enumerate(healthy)]
    assert sum(find_oscillation(one) is not None for one in signals) <= 1


@pytest.mark.parametrize("period", [9.3, 77.7, 310.0])
def test_a_line_in_noise_has_an_interval_that_holds(period: float) -> None:
    is_covered = []
    for seed in range(40):
        noise = np.random.default_rng(seed).normal(size=3000)
        result = find_external_oscillation(noise + 0.35 * np.sin(2.0 * np.pi * np.arange(3000) / period + seed), 1.0)
        assert result is not None
        is_covered.append(result[1] <= period <= result[2])
        assert result[2] - result[1] == pytest.approx(period**2 / 3000, rel=0.05)  # a line of the spectrum
    assert np.mean(is_covered) >= 0.75


def test_noise_of_any_colour_has_no_spectral_line() -> None:
    for seed in range(100):
        noise = np.random.default_rng(seed).normal(size=2000)
        coloured = np.convolve(noise, 0.9 ** np.arange(60))[:2000]
        assert find_external_oscillation(noise, 1.0) is None
        assert find_external_oscillation(coloured, 1.0) is None


@pytest.mark.parametrize("kind", ["flow", pytest.param("level", marks=pytest.mark.campaign), "temperature"])
def test_an_external_oscillation_leaves_the_estimates_unchanged_and_is_simulated(kind: str) -> None:
    loop = add_sp_moves(template(kind, "X101", (0.0, 100.0)), 3.0, -2.0, 2.5)
    driven_loop = replace(loop, faults=(FaultSpec(kind="external-oscillation",
                                                  parameters={"period": 187.0, "amplitude": 2.0}),))
    result, undriven = (learn(record_of(run(one, 7200)), span=(0.0, 100.0), kind=kind) for one in (driven_loop, loop))
    (fault,) = result.loop.faults
    assert fault.kind == "external-oscillation"
    assert fault.parameters["period"] == pytest.approx(187.0, rel=0.005)
    assert fault.parameters["amplitude"] == pytest.approx(2.0, rel=0.25)
    assert result.estimates["oscillation.period"].low <= 187.0 <= result.estimates["oscillation.period"].high
    assert undriven.loop.faults == ()
    assert result.loop.process.gain == pytest.approx(undriven.loop.process.gain, rel=0.1)


@pytest.mark.parametrize("fault", [FaultSpec(kind="aggressive"),
                                   FaultSpec(kind="stiction", parameters={"S": 6.0, "J": 6.0})],
                         ids=lambda fault: str(fault.kind))
def test_ringing_and_stiction_are_no_external_oscillation(fault: FaultSpec) -> None:
    result = learn(record_of(run(replace(flow(), faults=(fault,)), 3600)), span=(0.0, 100.0))
    assert "oscillation.amplitude" not in result.estimates
