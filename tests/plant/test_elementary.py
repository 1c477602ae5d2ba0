"""Elementary functions are accurate, and a number and an array give the same bits."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from math import inf, nextafter, pi, ulp

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from clpm_execd.plant import elementary

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798")
RANDOM = np.random.default_rng(1)


def sine(x: Decimal) -> Decimal:
    """The series, after taking off whole turns."""
    x -= 2 * PI * (x / (2 * PI)).to_integral_value()
    total = term = x
    for n in range(3, 80, 2):
        term *= -x * x / (n * (n - 1))
        total += term
    return total


# By name: the exact function and arguments.
EXPONENTS = [*RANDOM.uniform(-740.0, 709.0, 200), *RANDOM.uniform(-1.0, 1.0, 200),
             *-(10.0 ** RANDOM.uniform(-300, 0, 100)), *np.arange(-9.5, 10.0) * 0.6931471805599453, 0.0, 1.0, -1.0]
ANGLES = [*RANDOM.uniform(-10.0, 10.0, 200), *RANDOM.uniform(-1e6, 1e6, 200), *10.0 ** RANDOM.uniform(-300, 0, 50),
          *np.arange(-40, 41) * (pi / 4.0), 0.0, 1e-8]
CASES: dict[str, tuple[Callable[[Decimal], Decimal], list[float]]] = {
    "exp": (lambda x: x.exp(), EXPONENTS),
    "expm1": (lambda x: x.exp() - 1, EXPONENTS),
    "log": (lambda x: x.ln(), [
        *10.0 ** RANDOM.uniform(-300, 300, 200), *RANDOM.uniform(0.5, 2.0, 300), *RANDOM.uniform(0.0, 1.0, 100),
        nextafter(1.0, 0.0), nextafter(1.0, 2.0), 1.0, 2.0, 0.5, 2.0**-53]),
    "sin": (sine, ANGLES),
    "cos": (lambda x: sine(x + PI / 2), ANGLES),
}
DIGITS = {"exp": 60, "expm1": 360, "log": 60, "sin": 90, "cos": 90}  # in which the exact results are computed


def error_in_last_places(value: float, exact: Decimal) -> float:
    """The error in units in the last place of the result; those of 1e-290 or less have fewer digits."""
    return float(abs(Decimal(value) - exact) / Decimal(max(ulp(float(exact)), ulp(1e-290))))


@pytest.mark.parametrize("name", CASES)
def test_a_function_errs_by_less_than_one_unit_in_the_last_place(name: str) -> None:
    exact, arguments = CASES[name]
    function = getattr(elementary, name)
    with localcontext() as context:
        context.prec = DIGITS[name]
        errors = {x: error_in_last_places(function(float(x)), exact(Decimal(float(x)))) for x in arguments}
    assert max(errors.values()) < 1.0, max(errors, key=errors.__getitem__)


@pytest.mark.parametrize("name", CASES)
def test_an_array_has_the_bits_of_its_numbers(name: str) -> None:
    _, arguments = CASES[name]
    function = getattr(elementary, name)
    array = np.array(arguments)
    assert_array_equal(function(array), [function(float(x)) for x in arguments])
    assert_array_equal(function(array[::3]), function(array)[::3])


def test_an_exponential_ends_in_zero() -> None:
    assert elementary.exp(-inf) == elementary.exp(-1e300) == elementary.exp(-746.0) == 0.0
    assert elementary.expm1(-inf) == elementary.expm1(-50.0) == -1.0
    assert_array_equal(elementary.exp(np.array([-inf, 0.0])), [0.0, 1.0])


def test_an_exponential_that_overflows_is_an_error() -> None:
    with pytest.raises(OverflowError):
        elementary.exp(710.0)


def test_a_sum_is_taken_from_the_first_to_the_last() -> None:
    terms = RANDOM.normal(size=(300, 7)) * 10.0 ** RANDOM.uniform(-8, 8, (300, 1))
    total = [0.0] * 7
    for row in terms.tolist():
        total = [a + b for a, b in zip(total, row, strict=True)]
    assert_array_equal(elementary.sum_in_order(terms), total)
    assert elementary.sum_in_order(terms[:, 0]) == total[0]
    assert elementary.sum_in_order(np.empty((0, 3))).tolist() == [0.0, 0.0, 0.0]
