"""The measures of likeness: nothing lies between a record and itself, noise is told from a loop, and a replay shows."""

from __future__ import annotations

import numpy as np
import pytest

from clpm_execd.evaluation import similarity as fidelity
from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.plant import Plant

START = 1_700_000_000 * 10**9


def stretch(seed: int, samples: int = 800) -> Floats:
    """PV and OP of a flow loop."""
    block = Plant([template("flow", "FIC1", (0.0, 100.0))], seed=seed, start=START).advance(samples)
    return np.column_stack([block.pv[:, 0], block.op[:, 0]])


@pytest.fixture(scope="module")
def loops() -> list[Floats]:
    return [stretch(seed) for seed in range(6)]


def test_a_record_is_at_no_distance_from_itself(loops: list[Floats]) -> None:
    assert fidelity.distances(loops[0], loops[0]) == fidelity.Distances(0.0, 0.0, 0.0, 0.0)


def test_white_noise_is_further_from_a_loop_than_the_loop_of_another_day(loops: list[Floats]) -> None:
    noise = np.random.default_rng(1).normal(loops[0].mean(axis=0), loops[0].std(axis=0), loops[0].shape)
    near, far = fidelity.distances(loops[0], loops[1]), fidelity.distances(loops[0], noise)
    assert far.psd > 3 * near.psd
    assert far.ccf > 2 * near.ccf


def test_a_shift_of_a_standard_deviation_is_a_distance_of_one(loops: list[Floats]) -> None:
    shifted = loops[0] + loops[0].std(axis=0)
    assert fidelity.distances(loops[0], shifted).w1 == pytest.approx(1.0)
    assert fidelity.distances(loops[0], shifted).acf == pytest.approx(0.0, abs=1e-9)


def test_noise_is_told_from_loops_and_loops_not_from_loops(loops: list[Floats]) -> None:
    rng = np.random.default_rng(1)
    noise = [rng.normal(loop.mean(axis=0), loop.std(axis=0), loop.shape) for loop in loops]
    assert fidelity.discrimination(loops[:3], noise[:3], "abc") > 0.95
    assert 0.3 < fidelity.discrimination(loops[:3], loops[3:], "abc") < 0.7


def test_without_two_loops_nothing_can_be_held_out(loops: list[Floats]) -> None:
    assert np.isnan(fidelity.discrimination(loops[:2], loops[2:4], "aa"))


def test_a_replay_has_a_copy_ratio_of_nought_and_another_day_of_one(loops: list[Floats]) -> None:
    assert fidelity.copy_ratio(loops[0], loops[0], loops[1]) < 0.01
    assert fidelity.copy_ratio(loops[0], loops[2], loops[1]) == pytest.approx(1.0, abs=0.1)


def test_a_signal_that_does_not_move_is_no_trouble() -> None:
    still = np.column_stack([np.full(200, 3.5e-44), np.full(200, 40.0)])
    assert fidelity.distances(still, still) == fidelity.Distances(0.0, 0.0, 0.0, 0.0)
    assert np.isfinite(fidelity.features(fidelity.windows(still))).all()
    assert np.isnan(fidelity.copy_ratio(still, still, still))


def test_windows_lie_side_by_side_and_have_no_mean() -> None:
    pair = np.arange(400.0).reshape(200, 2)
    cut = fidelity.windows(pair, 64)
    assert cut.shape == (3, 64, 2)
    assert np.abs(cut.mean(axis=1)).max() < 1e-9
    assert len(fidelity.windows(pair[:63], 64)) == 0
