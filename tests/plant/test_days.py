"""Over two days a refinery moves as real loops do: hourly means of OP, their correlation, and the spectrum."""

from __future__ import annotations

import numpy as np
import pytest
from days import Days, band_powers, read_real_days, simulate_days


@pytest.fixture(scope="module")
def days() -> Days:
    return simulate_days()


@pytest.mark.campaign
def test_hourly_means_of_op_move_by_one_to_eight_per_cent(days: Days) -> None:
    deviation, spread = days.hourly.std(axis=0), np.ptp(days.hourly, axis=0)
    assert 0.6 < np.median(deviation) < 2.0, "of the real loops it is 0.4 to 2.0"
    assert np.quantile(spread, 0.1) > 1.0
    assert np.quantile(spread, 0.9) < 9.0
    assert 3.0 < np.median(spread) < 7.5, "of the real loops it is 1.8 to 7.2"


@pytest.mark.campaign
def test_loops_of_a_unit_move_together_either_way_more_than_those_of_two_units() -> None:
    # Of one plant, with two units, the difference is 0.07 to 0.27.
    plants = [simulate_days(seed=seed).correlations() for seed in range(1, 8)]
    within, between = (np.abs(np.concatenate(values)) for values in zip(*plants, strict=True))
    assert 0.3 < np.median(within) < 0.7
    assert np.median(within) > np.median(between) + 0.1


@pytest.mark.campaign
def test_the_spectrum_of_op_of_the_median_loop_lies_between_those_of_real_loops(days: Days) -> None:
    simulated, real = np.median(band_powers(days.op), axis=1), band_powers(read_real_days().op)
    assert (real.min(axis=1) < simulated).all()
    assert (simulated < real.max(axis=1)).all()
