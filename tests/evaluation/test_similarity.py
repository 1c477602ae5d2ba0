"""The metrics of similarity: a record is at distance 0 from itself, noise is recognised, and a replay shows."""

from __future__ import annotations

import numpy as np
import pytest

from clpm_execd.evaluation import similarity
from clpm_execd.evaluation.similarity import (
    Distances,
    cut_windows,
    discriminator_auc,
    extract_features,
    measure_distances,
    novelty_ratio,
)
from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.plant import Plant

pytestmark = pytest.mark.slow

START = 1_700_000_000 * 10**9


def simulate(seed: int, samples: int = 800) -> Floats:
    """Return PV and OP of a flow loop."""
    block = Plant([template("flow", "FIC1", (0.0, 100.0))], seed=seed, start=START).advance(samples)
    return np.column_stack([block.pv[:, 0], block.op[:, 0]])


@pytest.fixture(scope="module")
def loops() -> list[Floats]:
    return [simulate(seed) for seed in range(6)]


def test_the_distances_of_a_record_from_itself_are_zero(loops: list[Floats]) -> None:
    assert measure_distances(loops[0], loops[0]) == Distances(0.0, 0.0, 0.0, 0.0)


def test_white_noise_is_further_from_a_loop_than_another_day_of_the_loop(loops: list[Floats]) -> None:
    noise = np.random.default_rng(1).normal(loops[0].mean(axis=0), loops[0].std(axis=0), loops[0].shape)
    near, far = measure_distances(loops[0], loops[1]), measure_distances(loops[0], noise)
    assert far.psd > 3 * near.psd
    assert far.ccf > 2 * near.ccf


def test_a_shift_by_one_standard_deviation_is_a_distance_of_one(loops: list[Floats]) -> None:
    shifted = loops[0] + loops[0].std(axis=0)
    assert measure_distances(loops[0], shifted).w1 == pytest.approx(1.0)
    assert measure_distances(loops[0], shifted).acf == pytest.approx(0.0, abs=1e-9)


def test_a_forest_distinguishes_noise_from_loops_but_not_loops_from_loops(
        loops: list[Floats], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "_TREES", 60)
    rng = np.random.default_rng(1)
    noise = [rng.normal(loop.mean(axis=0), loop.std(axis=0), loop.shape) for loop in loops]
    assert discriminator_auc(loops[:3], noise[:3], "abc") > 0.95
    assert 0.3 < discriminator_auc(loops[:3], loops[3:], "abc") < 0.7


def test_the_auc_of_a_single_loop_is_undefined(loops: list[Floats]) -> None:
    assert np.isnan(discriminator_auc(loops[:2], loops[2:4], "aa"))


def test_the_novelty_ratio_of_a_replay_is_zero_and_that_of_another_day_is_one(loops: list[Floats]) -> None:
    assert novelty_ratio(loops[0], loops[0], loops[1]) < 0.01
    assert novelty_ratio(loops[0], loops[2], loops[1]) == pytest.approx(1.0, abs=0.1)


def test_constant_signals_have_finite_metrics() -> None:
    constant = np.column_stack([np.full(200, 3.5e-44), np.full(200, 40.0)])
    assert measure_distances(constant, constant) == Distances(0.0, 0.0, 0.0, 0.0)
    assert np.isfinite(extract_features(cut_windows(constant))).all()
    assert np.isnan(novelty_ratio(constant, constant, constant))


def test_windows_are_adjacent_and_have_no_mean() -> None:
    pair = np.arange(400.0).reshape(200, 2)
    windows = cut_windows(pair, 64)
    assert windows.shape == (3, 64, 2)
    assert np.abs(windows.mean(axis=1)).max() < 1e-9
    assert len(cut_windows(pair[:63], 64)) == 0
