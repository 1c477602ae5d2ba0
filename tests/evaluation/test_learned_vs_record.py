"""A learned loop is compared with its record: against the record's own halves, and by a forest that has not seen it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated_records import flow, moved, record_of, run

from clpm_execd.evaluation.learned_vs_record import Likeness, discrimination, likeness, run_free
from clpm_execd.identification.learn import Learned, learn
from clpm_execd.records.record import Record


@pytest.fixture(scope="module")
def record() -> Record:
    return record_of(run(moved(flow(), 4.0, -3.0), 3600))


@pytest.fixture(scope="module")
def learned(record: Record) -> Learned:
    return learn(record)


@pytest.fixture(scope="module")
def alike(record: Record, learned: Learned) -> Likeness:
    return likeness(record, 0, learned)


def test_a_loop_runs_free_on_the_records_grid_and_near_its_levels(record: Record, alike: Likeness) -> None:
    assert alike.real.shape == alike.synthetic.shape == (3600, 3)
    assert alike.interval == 1.0
    assert np.isfinite(alike.synthetic).all()
    assert abs(alike.real[:, 0].mean() - alike.synthetic[:, 0].mean()) < 3 * alike.real[:, 0].std()


def test_the_same_loop_runs_the_same_and_another_seed_another_way(learned: Learned) -> None:
    assert (run_free(learned, 300) == run_free(learned, 300)).all()
    assert (run_free(learned, 300) != run_free(learned, 300, seed=1)).any()


def test_a_learned_loop_is_nearer_to_its_record_than_noise_is(alike: Likeness, learned: Learned) -> None:
    assert alike.distances is not None
    assert alike.floor is not None
    assert alike.distances.acf < 3 * alike.floor.acf + 0.1
    assert alike.copy > 0.5


def test_a_forest_tells_noise_from_a_loop_by_itself_but_not_a_loop_from_itself(alike: Likeness) -> None:
    rng = np.random.default_rng(3)
    noise = alike.real.mean(axis=0) + alike.real.std(axis=0) * rng.standard_normal(alike.real.shape)
    told = discrimination([replace(alike, synthetic=noise)], ["A"])
    assert told.auc > 0.95
    assert told.each == (told.auc,)
    itself = discrimination([replace(alike, synthetic=alike.real)], ["A"])
    assert 0.3 < itself.auc < 0.6


def test_what_is_short_or_still_is_not_compared(record: Record, learned: Learned) -> None:
    short = Record(record.loops, record.times[:100], record.pv[:100], record.op[:100], record.sp[:100],
                   record.mode[:100], record.interval, ())
    still = Record(record.loops, record.times, np.full_like(record.pv, 5.0), record.op, record.sp, record.mode,
                   record.interval, ())
    for one in (short, still):
        found = likeness(one, 0, learned)
        assert (found.distances, found.floor) == (None, None)
        assert np.isnan(found.copy)
        assert np.isnan(discrimination([found], ["A"]).auc)


def test_bad_values_hold_the_last_good_one(record: Record, learned: Learned) -> None:
    pv = record.pv.copy()
    pv[:5], pv[10:20] = np.nan, np.nan
    found = likeness(Record(record.loops, record.times, pv, record.op, record.sp, record.mode, record.interval, ()), 0,
                     learned)
    assert (found.real[:6, 0] == pv[5, 0]).all()
    assert (found.real[9:20, 0] == pv[9, 0]).all()
