"""Numbers formatted many at a time are the texts that Python formats one at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import examples

from clpm_execd.encoding.float_format import PADDING, format_floats

Floats = npt.NDArray[np.float64]


def format_many(values: Floats) -> list[bytes]:
    formatted = format_floats(values)
    high = np.full(len(values), 2**64 - 1, dtype=np.uint64) if formatted.high is None else formatted.high
    texts = [words.astype("<u8").tobytes().rstrip(PADDING) for words in np.stack([formatted.low, high], axis=1)]
    assert [len(text) for i, text in enumerate(texts) if i not in formatted.overflow] == [
        length for i, length in enumerate(formatted.lengths.tolist()) if i not in formatted.overflow]
    assert formatted.has_irregular or (np.abs(values) < 1e10).all()
    return [formatted.overflow.get(i, text) for i, text in enumerate(texts)]


def format_by_python(values: Floats) -> list[bytes]:
    return [b"%.10g" % value for value in values.tolist()]


def assert_exact(values: Floats) -> None:
    assert format_many(values) == format_by_python(values)


def neighbours(values: Floats) -> Floats:
    """The values and the doubles next to them, of both signs."""
    numbers = [values, np.nextafter(values, np.inf), np.nextafter(values, -np.inf)]
    return np.concatenate([*numbers, *(-part for part in numbers)])


@settings(max_examples=examples(200))
@given(st.lists(st.floats(), min_size=1, max_size=50))
def test_any_double_is_written_as_python_writes_it(values: list[float]) -> None:
    assert_exact(np.array(values))


def test_numbers_of_every_size_are_exact() -> None:
    rng = np.random.default_rng(1)
    for power in range(-7, 13):
        assert_exact(rng.normal(size=2000) * 10.0**power)


def test_numbers_of_every_resolution_are_exact() -> None:
    rng = np.random.default_rng(2)
    for decimals in range(11):
        assert_exact(neighbours(np.round(rng.uniform(0.0, 1000.0, 500), decimals)))


def test_all_hundredths_below_a_thousand_are_exact() -> None:
    assert_exact(np.arange(100_001) / 100.0)


def test_a_few_others_among_many_hundredths_are_exact() -> None:
    values = np.round(np.random.default_rng(4).uniform(0.0, 999.99, 4000), 2)
    others = [0.0, -0.0, -1.25, 1000.0, 123456.78, 0.005, 405.2694502, 1e300, -1.234567891e-300, 1.7e308,
              np.nan, np.inf, -np.inf, np.nextafter(12.34, 13.0), np.nextafter(12.34, 12.0), 1e-9, 999.995]
    values[np.arange(len(others)) * 17 + 5] = others
    assert_exact(values)
    assert_exact(np.concatenate([values, values / 3.0]))


def test_powers_of_ten_and_their_neighbours_are_exact() -> None:
    assert_exact(neighbours(np.array([10.0**power for power in range(-8, 14)])))


def test_numbers_next_to_a_half_round_as_python_rounds() -> None:
    rng = np.random.default_rng(3)
    for power in range(-4, 10):
        halves = rng.integers(10**9, 10**10, 300) + 0.5
        assert_exact(neighbours(halves / 10.0 ** (9 - power)))
    assert_exact(neighbours(np.array([9999999999.5, 999.99999995, 0.99999999995, 0.00009999999999])))


def test_the_longest_numbers_and_no_number_are_exact() -> None:
    assert_exact(np.array([-1.234567891e-300, 1.234567891e-300, -0.0001234567891]))
    assert_exact(np.array([]))
