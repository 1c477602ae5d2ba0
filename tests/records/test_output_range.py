"""The range of OP is found from where OP rests, from its unit or from its size, and the user reads which."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clpm_execd.records.output_range import PERCENT, STANDARD_RANGES, infer_output_range


def limited_output(samples: int = 1200, seed: int = 1) -> np.ndarray:
    """Return an OP in per cent that moves like a controller's and rests at 0 and 100 now and then."""
    rng = np.random.default_rng(seed)
    wave = 50 + 75 * np.sin(np.arange(samples) / 60) + np.cumsum(rng.standard_normal(samples)) / 9
    return np.clip(wave, 0.0, 100.0)


def free_output(low: float, high: float) -> np.ndarray:
    """Return an OP between these values that rests nowhere."""
    wave = np.sin(np.arange(900) / 40) + 0.05 * np.random.default_rng(2).standard_normal(900)
    return low + (wave - wave.min()) / np.ptp(wave) * (high - low)


@pytest.mark.parametrize("ends", STANDARD_RANGES)
def test_ends_at_which_op_rests_are_the_ends_of_its_range(ends):
    low, high = ends
    op_range = infer_output_range(low + limited_output() / 100 * (high - low))
    assert op_range.ends == ends
    sentence = f"OP is recorded from {low:.6g} to {high:.6g}: taken as 0 to 100 %"
    assert op_range.assumption == ("" if ends == PERCENT else sentence)


@pytest.mark.parametrize(("unit", "values", "ends"), [
    ("mA", (6, 13), (4, 20)), ("mA", (0.5, 13), (0, 20)), ("V", (1, 4), (0, 5)), ("V", (1, 8), (0, 10)),
    ("%", (1, 4), PERCENT), ("%", (-60, 40), (-100, 100)), ("psi", (4, 11), (3, 15)), ("4-20 mA", (6, 13), (4, 20)),
    ("0..50 Hz", (6, 13), (0, 50)),
])
def test_the_unit_decides_where_op_does_not_rest(unit, values, ends):
    assert infer_output_range(free_output(*values), unit).ends == ends


def test_a_unit_that_cannot_be_true_is_ignored():
    assert infer_output_range(free_output(300, 450), "%").ends == (0, 800)


@pytest.mark.parametrize(("values", "ends"), [
    ((0.31, 0.72), (0, 1)), ((0.0, 0.02), (0, 1)), ((31, 72), PERCENT), ((-6, 98), PERCENT), ((-60, 45), (-100, 100)),
])
def test_the_size_decides_where_there_is_nothing_else(values, ends):
    assert infer_output_range(free_output(*values)).ends == ends


def test_a_bump_test_shows_no_ends():
    op_range = infer_output_range(np.repeat([10.0, 20.0], 500))
    assert op_range.ends == PERCENT
    assert "between 10 and 20: taken as per cent; if it is volts or mA, give its range with --op-range" in \
        op_range.assumption


def test_an_end_inside_of_per_cent_is_an_output_limit():
    assert infer_output_range(np.clip(limited_output(), 10, 80)).ends == PERCENT


def test_an_op_that_a_historian_holds_everywhere_is_not_at_an_end_where_it_is_held():
    held = np.repeat(np.rint(free_output(2, 20)), 30)
    assert infer_output_range(held).ends == PERCENT


@pytest.mark.parametrize("top", [255, 1023, 4095])
def test_counts_are_those_of_a_converter(top):
    assert infer_output_range(np.rint(free_output(0.1 * top, 0.8 * top))).ends == (0, top)


@given(st.floats(0.01, 1e6), st.floats(-5, 5), st.integers(0, 50))
def test_an_op_in_units_of_its_own_is_never_clipped(scale, shift, seed):
    values = np.random.default_rng(seed).standard_normal(500) * scale + shift * scale
    op_range = infer_output_range(values)
    # A DCS lets OP leave its range by some per cent.
    low, high = (-10.0, 110.0) if op_range.ends == PERCENT else op_range.ends
    assert low <= values.min()
    assert values.max() <= high
    assert np.ptp(values) > 0.05 * (op_range.high - op_range.low) or op_range.ends in STANDARD_RANGES


@pytest.mark.parametrize("values", [
    [], [np.nan, np.nan], [0.0, 0.0], [50.0, 50.0], [1e308, -1e308], [-99999.0, 40, 41],
])
def test_the_range_has_a_width_for_any_values(values):
    op_range = infer_output_range(np.array(values))
    assert np.isfinite(op_range.ends).all()
    assert op_range.low < op_range.high
