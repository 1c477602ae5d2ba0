"""A fitted loop is compared with its record, with the record's halves as the baseline and by a random forest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated_records import add_sp_moves, flow, record_of, run

from clpm_execd.evaluation import similarity
from clpm_execd.evaluation.learned_vs_record import (
    Comparison,
    compare_with_record,
    evaluate_discriminator,
    simulate_free_run,
)
from clpm_execd.identification.learn import LearnedLoop, learn
from clpm_execd.records.record import Record

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def record() -> Record:
    return record_of(run(add_sp_moves(flow(), 4.0, -3.0), 3600))


@pytest.fixture(scope="module")
def learned(record: Record) -> LearnedLoop:
    return learn(record)


@pytest.fixture(scope="module")
def comparison(record: Record, learned: LearnedLoop) -> Comparison:
    return compare_with_record(record, 0, learned)


def test_the_simulation_has_the_interval_and_the_level_of_the_record(record: Record, comparison: Comparison) -> None:
    assert comparison.recorded.shape == comparison.simulated.shape == (3600, 3)
    assert comparison.interval == 1.0
    assert np.isfinite(comparison.simulated).all()
    recorded, simulated = comparison.recorded[:, 0], comparison.simulated[:, 0]
    assert abs(recorded.mean() - simulated.mean()) < 3 * recorded.std()


def test_a_seed_gives_the_same_simulation_and_another_seed_a_different_one(learned: LearnedLoop) -> None:
    assert (simulate_free_run(learned, 300) == simulate_free_run(learned, 300)).all()
    assert (simulate_free_run(learned, 300) != simulate_free_run(learned, 300, seed=1)).any()


def test_a_fitted_loop_is_closer_to_its_record_than_noise_is(comparison: Comparison, learned: LearnedLoop) -> None:
    assert comparison.distances is not None
    assert comparison.baseline is not None
    assert comparison.distances.acf < 3 * comparison.baseline.acf + 0.1
    assert comparison.novelty > 0.5


def test_a_forest_distinguishes_a_loop_from_noise_but_not_from_itself(
        comparison: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "_TREES", 60)
    rng = np.random.default_rng(3)
    recorded = comparison.recorded
    noise = recorded.mean(axis=0) + recorded.std(axis=0) * rng.standard_normal(recorded.shape)
    auc = evaluate_discriminator([replace(comparison, simulated=noise)], ["A"])
    assert auc.overall > 0.95
    assert auc.per_loop == (auc.overall,)
    itself = evaluate_discriminator([replace(comparison, simulated=comparison.recorded)], ["A"])
    assert 0.3 < itself.overall < 0.6


def test_a_short_or_constant_record_is_not_compared(record: Record, learned: LearnedLoop) -> None:
    short = Record(record.loops, record.times[:100], record.pv[:100], record.op[:100], record.sp[:100],
                   record.mode[:100], record.interval, ())
    constant = Record(record.loops, record.times, np.full_like(record.pv, 5.0), record.op, record.sp, record.mode,
                      record.interval, ())
    for one in (short, constant):
        comparison = compare_with_record(one, 0, learned)
        assert (comparison.distances, comparison.baseline) == (None, None)
        assert np.isnan(comparison.novelty)
        assert np.isnan(evaluate_discriminator([comparison], ["A"]).overall)


def test_missing_values_are_filled_with_the_last_value(record: Record, learned: LearnedLoop) -> None:
    pv = record.pv.copy()
    pv[:5], pv[10:20] = np.nan, np.nan
    with_gaps = Record(record.loops, record.times, pv, record.op, record.sp, record.mode, record.interval, ())
    comparison = compare_with_record(with_gaps, 0, learned)
    assert (comparison.recorded[:6, 0] == pv[5, 0]).all()
    assert (comparison.recorded[9:20, 0] == pv[9, 0]).all()
