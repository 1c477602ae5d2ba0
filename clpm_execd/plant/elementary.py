"""Elementary functions with the same bits on every platform: of +, -, *, / and exact scaling by powers of two alone.

The exp, log, sin and power of NumPy and of the C library differ in the last bit between releases and processors, and so
do sums whose order a vector unit decides. Whatever a sample depends on is computed with these functions instead. Each
takes a number or an array, gives the same bits for both, and errs by less than one unit in the last place.
sqrt, floor, frexp, ldexp, fmod and math.fsum are exact, or rounded correctly, everywhere, and need no counterpart here.
"""

from __future__ import annotations

from math import frexp, fsum, ldexp, sqrt

import numpy as np

from clpm_execd.plant.block import Floats
from clpm_execd.plant.kernel.equations import V

__all__ = ["ComplexPair", "cos", "divide", "exp", "expm1", "log", "multiply", "sin", "standard_deviation",
           "sum_in_order"]

# ln 2 and pi/2 in parts of so few bits that a whole number times a part is exact: 21 zeros end each part but the last.
_LN2_HIGH, _LN2_LOW = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")
_HALF_PI_PARTS = (float.fromhex("0x1.921fb544p+0"), float.fromhex("0x1.0b4611a6p-34"),
                  float.fromhex("0x1.3198a2e037073p-69"))
_SQRT_HALF = sqrt(0.5)
_LEAST_EXPONENT = -746.0  # its exponential is 0
ComplexPair = tuple[Floats, Floats]  # real and imaginary part: some processors fuse NumPy's product of complex numbers

# Taylor coefficients, the highest power first: r coth(r/2) - 2 in r^2, up to |r| = ln(2)/2 (Bernoulli numbers);
# log((1+s)/(1-s))/s - 2 in s^2, up to s = 0.172; sin(r)/r - 1 and cos(r) - 1 + r^2/2 in r^2, up to pi/4.
_COTH = (-691.0 / 653837184000.0, 1.0 / 23950080.0, -1.0 / 604800.0, 1.0 / 15120.0, -1.0 / 360.0, 1.0 / 6.0)
_LOG = tuple(2.0 / n for n in range(23, 1, -2))
_SIN = (1.0 / 355687428096000.0, -1.0 / 1307674368000.0, 1.0 / 6227020800.0, -1.0 / 39916800.0, 1.0 / 362880.0,
        -1.0 / 5040.0, 1.0 / 120.0, -1.0 / 6.0)
_COS = (1.0 / 20922789888000.0, -1.0 / 87178291200.0, 1.0 / 479001600.0, -1.0 / 3628800.0, 1.0 / 40320.0, -1.0 / 720.0,
        1.0 / 24.0)


def exp(x: V) -> V:
    """Return e^x, 0 below -745.

    Parameters
    ----------
    x
        A number or an array, up to 709.

    References
    ----------
    The fraction of Lambert (1770) that converges fastest, after the reduction of Cody and Waite, Software Manual for
    the Elementary Functions (1980).
    """
    k, high, low = _reduce_by_ln2(x)
    return _scale(1.0 - ((low - _expm1_remainder(high - low)) - high), k)


def expm1(x: V) -> V:
    """Return e^x - 1, with its digits where x is small.

    Parameters
    ----------
    x
        A number or an array, up to 709.
    """
    k, high, low = _reduce_by_ln2(x)
    one = _scale(1.0 + 0.0 * k, k)
    return _scale(high - (low - _expm1_remainder(high - low)), k) + (one - 1.0)


def log(x: V) -> V:
    """Return the natural logarithm.

    Parameters
    ----------
    x
        A number or an array, above 0 and finite.
    """
    mantissa, k = _split(x)
    f = mantissa - 1.0
    s = f / (2.0 + f)
    half_square = 0.5 * f * f
    remainder = s * (half_square + s * s * _polynomial(_LOG, s * s))
    return k * _LN2_HIGH - ((half_square - (remainder + k * _LN2_LOW)) - f)


def sin(x: V) -> V:
    """Return the sine.

    Parameters
    ----------
    x
        A number or an array, radians, up to 1e6: reduce larger angles by whole turns first.
    """
    return _sine_of_quadrant(x, 0)


def cos(x: V) -> V:
    """Return the cosine.

    Parameters
    ----------
    x
        A number or an array, radians, up to 1e6: reduce larger angles by whole turns first.
    """
    return _sine_of_quadrant(x, 1)


def sum_in_order(terms: Floats) -> Floats:
    """Return the sum over the first axis, from the first to the last: NumPy's own order depends on its release.

    Parameters
    ----------
    terms
        (K, ...), K of 0 or more.
    """
    if not len(terms):
        return np.zeros(terms.shape[1:])
    return np.asarray(np.add.accumulate(terms, axis=0)[-1])


def standard_deviation(values: Floats) -> float:
    """Return the standard deviation of those values that are not NaN, of sums that are rounded once; 0 of none.

    Parameters
    ----------
    values
        (N,)
    """
    finite = values[~np.isnan(values)].tolist()
    mean = fsum(finite) / max(len(finite), 1)
    return sqrt(fsum((value - mean) * (value - mean) for value in finite) / max(len(finite), 1))


def multiply(a: ComplexPair, b: ComplexPair) -> ComplexPair:
    """Return the product of complex numbers, as real and imaginary part."""
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def divide(a: ComplexPair, b: ComplexPair) -> ComplexPair:
    """Return the quotient of complex numbers, as real and imaginary part."""
    square = b[0] * b[0] + b[1] * b[1]
    real, imaginary = multiply(a, (b[0], -b[1]))
    return real / square, imaginary / square


def _polynomial(coefficients: tuple[float, ...], x: V) -> V:
    value = coefficients[0] * x + coefficients[1]
    for coefficient in coefficients[2:]:
        value = value * x + coefficient
    return value


def _expm1_remainder(r: V) -> V:
    """Return e^r - 1 - r, |r| up to ln(2)/2."""
    c = r - r * r * _polynomial(_COTH, r * r)
    return r * c / (2.0 - c)


def _reduce_by_ln2(x: V) -> tuple[V, V, V]:
    """Return k, and x - k ln 2 as the difference of two, which is up to ln(2)/2."""
    x = np.maximum(x, _LEAST_EXPONENT) if isinstance(x, np.ndarray) else max(float(x), _LEAST_EXPONENT)
    k = _round(x / (_LN2_HIGH + _LN2_LOW))
    return k, x - k * _LN2_HIGH, k * _LN2_LOW


def _sine_of_quadrant(x: V, quadrants: int) -> V:
    """Return sin(x + quadrants pi/2)."""
    n = _round(x / _HALF_PI_PARTS[0])
    first, second, third = (n * part for part in _HALF_PI_PARTS)
    # x - n pi/2 as a sum of two, high and low; each line's rounding error is in the next.
    near = x - first
    nearer = near - second
    third = third - (_rounding_error(near, -second, nearer))
    high = nearer - third
    low = _rounding_error(nearer, -third, high)
    quadrant = (n + quadrants) % 4.0
    square = high * high
    sine = high + (low * (1.0 - 0.5 * square) + high * square * _polynomial(_SIN, square))
    half = 0.5 * square
    whole = 1.0 - half
    cosine = whole + (((1.0 - whole) - half) + (square * square * _polynomial(_COS, square) - high * low))
    sign = 1.0 - 2.0 * (quadrant >= 2.0)
    is_odd = quadrant % 2.0
    return sign * (is_odd * cosine + (1.0 - is_odd) * sine)


def _rounding_error(a: V, b: V, total: V) -> V:
    """Return what the rounded a + b lacks of the exact one (Knuth, The Art of Computer Programming 2, 4.2.2)."""
    part = total - a
    return (a - (total - part)) + (b - part)


def _round(x: V) -> V:
    return np.rint(x) if isinstance(x, np.ndarray) else float(round(x))


def _scale(x: V, k: V) -> V:
    """Return x 2^k."""
    return np.ldexp(x, k.astype(np.intc)) if isinstance(k, np.ndarray) else ldexp(x, int(k))


def _split(x: V) -> tuple[V, V]:
    """Return the mantissa, from sqrt(1/2) to sqrt(2), and the exponent of 2."""
    mantissa, k = np.frexp(x) if isinstance(x, np.ndarray) else frexp(x)
    is_low = mantissa < _SQRT_HALF
    return mantissa + is_low * mantissa, k - 1.0 * is_low
