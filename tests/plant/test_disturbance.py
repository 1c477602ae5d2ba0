"""Loads and sensors: an Ornstein-Uhlenbeck load and white noise, as large and as slow as configured.

The bounds are five standard errors of each estimate. Loads are observed through a process without lag in MAN.
"""

from __future__ import annotations

from dataclasses import replace
from math import exp, sqrt

import numpy as np
import pytest
from still import move, run, see_through, still

from clpm_execd.plant.specs import DisturbanceSpec, SensorSpec

LOOPS = 100


def load(sigma: float, correlation: float, scan: float, samples: int, settled: int) -> np.ndarray:
    spec = DisturbanceSpec(sigma=sigma, correlation=correlation)
    loops = [still(f"L{i}", mode="MAN", process=see_through(), disturbance=spec) for i in range(LOOPS)]
    return run(loops, settled + samples, scan, seed=7).true_pv[settled:] - 50.0


@pytest.mark.parametrize(("sigma", "correlation", "scan"), [(0.5, 20.0, 1.0), (2.0, 5.0, 0.1), (1.0, 3.0, 5.0)])
def test_the_load_has_its_standard_deviation_and_its_correlation_time(
        sigma: float, correlation: float, scan: float) -> None:
    samples, a = 4000, exp(-scan / correlation)
    x = load(sigma, correlation, scan, samples, int(8 * correlation / scan) + 2)
    n = x.size
    # The variance of a sample variance of an AR(1) process is 2 sigma^4 / n (1 + a^2) / (1 - a^2).
    assert abs(x.var() / sigma**2 - 1.0) < 5.0 * sqrt(2.0 / n * (1 + a * a) / (1 - a * a))
    assert abs(x.mean()) < 5.0 * sigma * sqrt((1 + a) / (1 - a) / n)
    estimate = (x[1:] * x[:-1]).sum() / (x[:-1] ** 2).sum()
    assert abs(estimate - a) < 5.0 * sqrt((1 - a * a) / n)
    innovations = x[1:] - a * x[:-1]
    assert abs((innovations[1:] * innovations[:-1]).mean() / innovations.var()) < 5.0 / sqrt(n)
    assert abs((innovations**4).mean() / innovations.var() ** 2 - 3.0) < 5.0 * sqrt(24.0 / n)


def test_the_loads_of_two_loops_have_nothing_to_do_with_each_other() -> None:
    x = load(1.0, 2.0, 5.0, 4000, 20)
    together = np.corrcoef(x.T)[np.triu_indices(LOOPS, 1)]
    assert np.abs(together).max() < 5.5 / sqrt(len(x))  # of 4950 pairs
    assert abs(together.std() - 1.0 / sqrt(len(x))) < 0.1 / sqrt(len(x))


def test_a_load_starts_at_zero() -> None:
    spread = load(1.0, 100.0, 1.0, 400, 0).std(axis=1)
    assert spread[0] == 0.0
    # sigma sqrt(1 - a^2k) after k scans
    expected = np.sqrt(1.0 - np.exp(-2.0 * np.arange(400) / 100.0))
    assert np.abs(spread - expected).max() < 5.0 / sqrt(2 * LOOPS)


def test_a_load_acts_after_the_dead_time_independently_of_the_valve() -> None:
    spec = DisturbanceSpec(sigma=1.0)
    at_once, late = (
        run(still(mode="MAN", process=see_through(), disturbance=spec), 50).true_pv,
        run(still(mode="MAN", op=0.0, process=replace(see_through(), dead_time=9.0), disturbance=spec), 50).true_pv)
    assert np.abs(at_once - late).max() < 1e-12


@pytest.mark.parametrize("sigma", [0.02, 0.15, 3.0])
def test_measurement_noise_is_white_and_as_strong_as_configured(sigma: float) -> None:
    noisy = SensorSpec(noise=sigma)
    block = run([still(f"L{i}", range=(0.0, 400.0), sp=200.0, mode="MAN", sensor=noisy) for i in range(20)], 5000)
    noise = (block.pv - block.true_pv) / 4.0
    n = noise.size
    assert abs(noise.std() / sigma - 1.0) < 5.0 / sqrt(2 * n)
    assert abs(noise.mean()) < 5.0 * sigma / sqrt(n)
    for lag in (1, 2, 5):
        assert abs((noise[lag:] * noise[:-lag]).mean()) < 5.0 * sigma**2 / sqrt(n)
    assert (block.true_pv == 200.0).all()


@pytest.mark.parametrize(("op", "reads"), [(100.0, 103.125), (0.0, -1.25)])
def test_a_transmitter_saturates_at_the_limits_of_namur_ne_43(op: float, reads: float) -> None:
    noisy = SensorSpec(noise=0.1)
    block = run(still(mode="MAN", process=see_through(gain=2.0), sensor=noisy, moves=(move(5, op=op),)), 50)
    assert np.abs(block.pv[10:] - reads).max() < 1e-12
    assert block.true_pv[-1, 0] == pytest.approx(50.0 + 2.0 * (op - 50.0))
