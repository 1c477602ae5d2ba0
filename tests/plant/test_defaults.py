"""The five default loops: at the levels of unit 208, alive, healthy, and each with a character of its own.

The demonstration's set points are sines, each of its period, and PV follows with a lag.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from still import START

from clpm_execd.plant.block import AUT, GOOD, Block
from clpm_execd.plant.defaults import DEFAULT_IDS, default_loops, demo_loops
from clpm_execd.plant.loop_types import LOOP_TYPES, template
from clpm_execd.plant.plant import Plant

DAY = 86400
SPAN = 200.0


@pytest.fixture(scope="module")
def day() -> Block:
    return Plant(default_loops(), start=START).advance(DAY)


def test_there_are_five_of_them() -> None:
    assert tuple(loop.id for loop in default_loops()) == DEFAULT_IDS == tuple(f"TIC20803{i}" for i in range(5))


@pytest.mark.parametrize("seed", range(8))
def test_they_start_where_the_historical_data_lie(seed: int) -> None:
    first = Plant(default_loops(), seed=seed, start=START).advance(1)
    assert first.op[0].tolist() == [63.5] * 5
    assert first.sp[0] == pytest.approx([405.41] * 5, abs=1e-9)
    assert first.true_pv[0] == pytest.approx([405.2694502] * 5, abs=1e-9)
    assert np.abs(first.pv[0] - 405.27).max() < 5.0 * 0.0006 * SPAN  # five sigmas of the noisiest transmitter


def test_a_day_of_them_is_finite_good_and_automatic_throughout(day: Block) -> None:
    for values in (day.pv, day.op, day.sp, day.valve_position, day.true_pv):
        assert values.shape == (DAY, 5)
        assert np.isfinite(values).all()
    assert day.op.min() >= 0.0
    assert day.op.max() <= 100.0
    assert (day.mode == AUT).all()
    assert (day.quality == GOOD).all()
    assert (np.diff(day.times) == 10**9).all()


def test_over_a_day_they_stay_near_their_levels_and_no_op_reaches_a_limit(day: Block) -> None:
    assert np.abs(day.pv.mean(axis=0) - 405.3).max() < 4.0
    assert np.abs(day.op.mean(axis=0) - 63.5).max() < 4.0
    assert day.op.min() > 40.0
    assert day.op.max() < 90.0
    assert (day.pv - day.sp).std(axis=0).max() < 0.01 * SPAN
    assert np.abs((day.pv - day.sp).mean(axis=0)).max() < 0.1


def test_in_a_day_their_operators_move_set_points_and_no_two_at_one_time(day: Block) -> None:
    moves = np.diff(day.sp, axis=0) != 0
    assert (moves.sum(axis=0) >= 1).all()
    assert (moves.sum(axis=0) <= 24).all()
    assert moves.sum(axis=1).max() == 1


def test_no_two_of_them_look_alike(day: Block) -> None:
    error = day.sp - day.pv
    together = np.corrcoef(error.T)[np.triu_indices(5, 1)]
    assert np.abs(together).max() < 0.3
    # Not in their pace either: how much of its spread the error moves in a second, or keeps for two minutes.
    pace = np.diff(error, axis=0).std(axis=0) / error.std(axis=0)
    memory = [np.corrcoef(e[:-120], e[120:])[0, 1] for e in error.T]
    for a, b in combinations(range(5), 2):
        assert abs(np.log(pace[a] / pace[b])) > 0.1 or abs(memory[a] - memory[b]) > 0.05


def noise_fraction(block: Block) -> np.ndarray:
    return (block.pv - block.true_pv).std(axis=0) / block.pv.std(axis=0)


def repeated(block: Block) -> np.ndarray:
    return (np.diff(block.pv, axis=0) == 0).mean(axis=0)


def explained_fractions(block: Block) -> list[float]:
    """R2 of the change of OP by the error and its change: what a PI controller leaves unexplained is rounding."""
    fractions = []
    for pv, sp, op in zip(block.pv.T, block.sp.T, block.op.T, strict=True):
        error, moved = sp - pv, np.diff(op)
        causes = np.column_stack([np.diff(error), error[1:], np.ones(len(moved))])
        residual = moved - causes @ np.linalg.lstsq(causes, moved, rcond=None)[0]
        fractions.append(1.0 - residual.var() / moved.var())
    return fractions


def test_a_day_lies_within_what_healthy_plants_show(day: Block) -> None:
    # The tenth to ninetieth percentiles of real loops (ISDB, a refinery, SACAC).
    assert (noise_fraction(day) > 0.02).all()
    assert (noise_fraction(day) < 0.48).all()
    assert (repeated(day) < 0.21).all()
    # Of these there are medians only, 0.92-0.98 and 0.75-0.99. A lone sluggish loop, whose OP moves by less than
    # its resolution in most scans, explains less of itself.
    assert min(np.corrcoef(pv[1:], pv[:-1])[0, 1] for pv in day.pv.T) > 0.92
    assert np.median(explained_fractions(day)) > 0.75


def test_a_typical_loop_of_each_type_lies_there_too() -> None:
    block = Plant([template(kind, kind, (0.0, 200.0)) for kind in LOOP_TYPES], start=START).advance(20_000)
    assert (noise_fraction(block) > 0.02).all()
    assert (noise_fraction(block) < 0.48).all()
    assert (repeated(block) < 0.21).all()
    assert min(explained_fractions(block)) > 0.75


def test_a_demonstration_shows_sines_and_pvs_that_follow_with_a_lag() -> None:
    loops = demo_loops(default_loops())
    block = Plant(loops, start=START).advance(7000)
    periods = [loop.operator.period for loop in loops]
    assert len(set(periods)) == 5
    for i, period in enumerate(periods):
        n = int(4 * period)
        turn = np.exp(-2j * np.pi * np.arange(n) / period)
        sp, pv = (values[-n:, i] - values[-n:, i].mean() for values in (block.sp, block.pv))
        of_sp, of_pv = (turn @ sp) * 2 / n, (turn @ pv) * 2 / n
        assert np.abs(sp - (of_sp / turn).real).max() < 1e-6 * SPAN  # a sine of that period and nothing else
        assert abs(of_sp) == pytest.approx(0.04 * SPAN, rel=1e-3)
        assert abs(of_pv / of_sp) == pytest.approx(1.0, abs=0.15)
        lag = -np.angle(of_pv / of_sp) / (2 * np.pi)
        assert 0.02 < lag < 0.2  # of a period
        assert np.var(pv - (of_pv / turn).real) < 0.05 * np.var(pv)
        assert 0.0 < block.op[:, i].min() < block.op[:, i].max() < 100.0
    assert (block.mode == AUT).all()
