"""Forward fill holds the last sample of a signal over its gaps, along whatever axis time has."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from clpm_execd.records.forward_fill import forward_fill


def test_a_gap_holds_the_last_value_and_a_gap_at_the_start_stays() -> None:
    nan = float("nan")
    values = np.array([nan, 1.0, nan, nan, 2.0, nan])
    np.testing.assert_array_equal(forward_fill(values, np.isfinite(values)), [nan, 1, 1, 1, 2, 2])


masks = arrays.arrays(np.bool_, st.tuples(st.integers(1, 8), st.integers(1, 4)))


@given(masks)
def test_each_column_is_filled_as_if_it_were_alone(present: npt.NDArray[np.bool_]) -> None:
    values = np.arange(present.size, dtype=np.int8).reshape(present.shape)
    filled = forward_fill(values, present)
    for column in range(present.shape[1]):
        expected = values[0, column]
        for row in range(present.shape[0]):
            expected = values[row, column] if present[row, column] else expected
            assert filled[row, column] == expected


@given(masks)
def test_time_may_be_the_second_axis(present: npt.NDArray[np.bool_]) -> None:
    values = np.arange(present.size, dtype=np.float64).reshape(present.shape)
    np.testing.assert_array_equal(forward_fill(values.T, present.T, axis=1).T, forward_fill(values, present))
