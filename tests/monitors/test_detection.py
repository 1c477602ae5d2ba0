"""The methods of a monitor find in the plant's records what they find in real ones, and separate the same classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from monitors.population import Indices, compute_indices, with_fault, with_tuning
from tiers import CAMPAIGNS

from clpm_execd.monitors.signals import Floats
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.specs import DisturbanceSpec, LoopSpec, ProcessSpec, SensorSpec

pytestmark = pytest.mark.slow

# Loops of each class. Of 30 a class, a balanced accuracy of 0.95 allows three errors in sixty, a share of 0.8 six in
# thirty, and one of less than 0.45 thirteen. Of 50 loops the accuracies are 1.0, and 84 % and more of the loops that
# oscillate are regular, and at most 30 % of the others: another seed would cross the nearest of these bounds one time
# in 25.
SEEDS = 50 if CAMPAIGNS else 30
SECONDS = 2 * 3600
STICTION = 0.6  # of He et al.: above it a valve sticks


def typical(seed: int) -> LoopSpec:
    """The flow loop as it ships."""
    return template("flow", f"FIC{seed}", (0.0, 100.0))


def longer(seed: int) -> LoopSpec:
    """A flow loop at the slow end of its type."""
    return replace(typical(seed), process=ProcessSpec(gain=1.1, tau=(5.0,), dead_time=2.0))


def delayed(seed: int) -> LoopSpec:
    """A pressure loop with much dead time."""
    return replace(template("pressure", f"PIC{seed}", (0.0, 16.0)),
                   process=ProcessSpec(gain=1.2, tau=(10.0,), dead_time=5.0))


def any_flow(seed: int) -> LoopSpec:
    """A flow loop with everything drawn from what is plausible of its type."""
    chance = np.random.default_rng(seed).uniform
    return replace(
        typical(seed),
        process=ProcessSpec(gain=chance(0.8, 1.5), tau=(chance(1.0, 5.0),), dead_time=chance(0.5, 2.0)),
        sensor=SensorSpec(noise=chance(0.05, 0.12)),
        disturbance=DisturbanceSpec(sigma=chance(0.3, 1.0), correlation=chance(5.0, 30.0)),
    )


def default_stiction(seed: int) -> dict[str, float]:
    return {}


def any_stiction(seed: int) -> dict[str, float]:
    """From barely sticky to very, with undershoot or without offset."""
    chance = np.random.default_rng(1000 + seed).uniform
    s = chance(2.0, 8.0)
    return {"S": s, "J": s * chance(0.3, 1.0)}


POPULATIONS: dict[str, tuple[Callable[[int], LoopSpec], Callable[[int], dict[str, float]]]] = {
    "typical flow": (typical, default_stiction),
    "any flow": (any_flow, any_stiction),
}
if CAMPAIGNS:
    POPULATIONS |= {
        "longer flow": (longer, lambda seed: {"S": 5.0, "J": 5.0}),
        "delayed pressure": (delayed, lambda seed: {"S": 5.0, "J": 3.0}),
    }


@pytest.fixture(scope="module", params=POPULATIONS)
def population(request: pytest.FixtureRequest) -> dict[str, Indices]:
    """The indices of the loops of each class; the external oscillation has the period of the stiction's own cycle."""
    loop, stiction = POPULATIONS[request.param]
    loops = [loop(seed) for seed in range(SEEDS)]
    indices = {
        "healthy": compute_indices(loops, SECONDS),
        "tight": compute_indices(with_tuning(loops, "tight"), SECONDS),
        "sluggish": compute_indices(with_fault(loops, "sluggish"), SECONDS),
        "stiction": compute_indices(with_fault(loops, "stiction", stiction), SECONDS, oscillating=True),
        "aggressive": compute_indices(with_fault(loops, "aggressive"), SECONDS, oscillating=True),
    }
    band = [stiction(seed).get("S", 4.0) for seed in range(SEEDS)]
    indices["external"] = compute_indices(with_fault(loops, "external-oscillation", lambda i: {
        "period": float(indices["stiction"].period[i]), "amplitude": band[i] / 2.0}), SECONDS, oscillating=True)
    return indices


def accuracy(yes: Floats, no: Floats) -> float:
    """Balanced: the mean of the shares of both classes that are classified correctly."""
    return float((np.mean(yes) + np.mean(no)) / 2.0)


def test_curve_fit_distinguishes_stiction_from_an_oscillation_of_its_period(population: dict[str, Indices]) -> None:
    sticks, swings = population["stiction"], population["external"]
    share = accuracy(sticks.shape[sticks.visible] >= STICTION, swings.shape[swings.visible] < STICTION)
    assert share >= 0.95


def test_cross_correlation_distinguishes_stiction_from_aggressive_tuning(population: dict[str, Indices]) -> None:
    sticks, rings = population["stiction"], population["aggressive"]
    assert accuracy(sticks.odd[sticks.visible] > 0.5, rings.odd[rings.visible] <= 0.5) >= 0.95


def test_cross_correlation_cannot_distinguish_an_oscillation_of_the_same_period(population: dict[str, Indices]) -> None:
    # The phase from PV to OP is the controller's, whoever made the oscillation.
    sticks, swings = population["stiction"], population["external"]
    assert np.median(np.abs(sticks.odd - swings.odd)) < 0.1


@pytest.mark.parametrize("kind", ["stiction", "aggressive", "external"])
def test_oscillating_loops_are_regular(population: dict[str, Indices], kind: str) -> None:
    assert population[kind].regular >= 0.8


@pytest.mark.parametrize("kind", ["healthy", "tight", "sluggish"])
def test_quiet_loops_are_not_regular(population: dict[str, Indices], kind: str) -> None:
    assert population[kind].regular < 0.45


def test_autocorrelation_of_oscillations_that_dominate_their_loop_decays_slowly(population: dict[str, Indices]) -> None:
    for kind in ("stiction", "aggressive", "external"):
        assert np.mean(population[kind].swings[population[kind].effect >= 2.0]) >= 0.8


def test_harris_index_is_ordered_as_the_causes_are(population: dict[str, Indices]) -> None:
    tight, healthy, sluggish, stiction, external = (
        np.median(population[kind].harris) for kind in ("tight", "healthy", "sluggish", "stiction", "external"))
    assert tight > healthy > sluggish > stiction > external


def test_external_oscillation_has_the_period_of_the_stiction(population: dict[str, Indices]) -> None:
    sticks, swings = population["stiction"], population["external"]
    both = sticks.visible & swings.visible
    np.testing.assert_allclose(swings.period[both], sticks.period[both], rtol=0.05)


def test_stiction_that_is_not_visible_makes_no_regular_cycle() -> None:
    # A slip jump that is far less than what the valve does anyway, and one that is three times as much.
    loops = [typical(seed) for seed in range(SEEDS)]
    weak, strong = (compute_indices(with_fault(loops, "stiction", lambda i, j=j: {"S": 2.0 * j, "J": j}), SECONDS)
                    for j in (0.1, 2.0))
    assert not weak.visible.any()
    assert weak.regular < 0.45
    assert strong.visible.all()
    assert strong.regular >= 0.8
