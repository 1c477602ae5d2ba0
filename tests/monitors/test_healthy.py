"""A healthy loop looks like those of real plants, in how rough, how slow and how repetitive its record is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from monitors.population import record

from clpm_execd.monitors.data_rules import compute_repetition
from clpm_execd.monitors.performance import compute_idle_index
from clpm_execd.monitors.signals import Floats, autocorrelate, estimate_noise
from clpm_execd.plant.loop_types import LOOP_TYPES, template
from clpm_execd.plant.plant import SECOND
from clpm_execd.plant.specs import FaultSpec

pytestmark = pytest.mark.slow

SEEDS = 100
SECONDS = 7500  # as long as the real windows; slow loops longer, by as many times their lag and dead time as this:
TIMES = 30.0

# 80 windows of some two hours, of 34 loops of a refinery (Xue, Shang, Huang and Huang, 2025), 10th to 90th percentile
# by the same three functions: white noise over sigma of PV, autocorrelation of PV from one sample to the next, and the
# share of samples that repeat the one before.
NOISE, LAG_ONE, REPEATED = (0.036, 0.480), (0.744, 0.9945), (0.0013, 0.21)


@pytest.fixture(scope="module")
def healthy() -> dict[str, Floats]:
    """By type, (T, 100) PV of its typical loop."""
    pv_by_type = {}
    for kind, typical in LOOP_TYPES.items():
        slow = TIMES * (sum(typical.process.tau) + typical.process.dead_time)
        loops = [template(kind, f"{kind}{seed}", (0.0, 100.0)) for seed in range(SEEDS)]
        pv_by_type[kind] = record(loops, max(SECONDS, round(slow))).pv
    return pv_by_type


def within(values: list[float], limits: tuple[float, float]) -> float:
    return float(np.mean([limits[0] <= value <= limits[1] for value in values]))


@pytest.mark.parametrize("kind", LOOP_TYPES)
def test_noise_is_compared_with_the_movement_of_pv(healthy: dict[str, Floats], kind: str) -> None:
    assert within([estimate_noise(x) / x.std() for x in healthy[kind].T], NOISE) == 1.0


@pytest.mark.parametrize("kind", LOOP_TYPES)
def test_noise_is_that_of_the_sensor(healthy: dict[str, Floats], kind: str) -> None:
    # A fast loop moves a little within two samples, so it seems a little rougher than its sensor.
    noise = np.median([estimate_noise(x) for x in healthy[kind].T])
    assert noise == pytest.approx(LOOP_TYPES[kind].sensor.noise, rel=0.05)


@pytest.mark.parametrize("kind", LOOP_TYPES)
def test_autocorrelation_from_sample_to_sample(healthy: dict[str, Floats], kind: str) -> None:
    assert within([autocorrelate(x)[1] for x in healthy[kind].T], LAG_ONE) == 1.0


@pytest.mark.parametrize("kind", LOOP_TYPES)
def test_repeated_values(healthy: dict[str, Floats], kind: str) -> None:
    assert within([compute_repetition(x) for x in healthy[kind].T], REPEATED) == 1.0


def test_idle_index_is_high_in_sluggish_loops() -> None:
    # Load steps up and down, far larger than noise and load; the mean of 50 loops is what the steps do.
    steps = FaultSpec(kind="load-step", parameters={"size": 8.0}, duration=1000 * SECOND, repeat=2000 * SECOND)

    def index(*faults: FaultSpec, tuning: str = "lambda") -> float:
        typical = template("pressure", "PIC", (0.0, 100.0))
        loops = [replace(typical, id=f"PIC{seed}", faults=(steps, *faults),
                         controller=replace(typical.controller, tuning=tuning)) for seed in range(50)]
        block = record(loops, 8000)
        return compute_idle_index(block.op.mean(axis=1), (block.sp - block.pv).mean(axis=1), 10, least=0.25)

    sluggish, healthy, tight = index(FaultSpec(kind="sluggish")), index(), index(tuning="tight")
    assert sluggish > healthy > tight
    assert sluggish > 0.5
