"""Many numbers as text at once, each exactly as Python's `%.10g` writes it.

One core formats 12 million numbers/s of any size, and 75 million/s of rounded readings, where Python formats 4 million.

The ten digits of a number are one integer, its significand: the absolute value times a power of ten, rounded. Integers
become text by tables of four digits each. The product is off by 2**-20 at most, so its digits are those of the number
unless it lies nearer than that to a half. Those few, zero, and numbers that need an exponent are irregular: Python
formats them one by one.

Most of what a historian keeps are hundredths below a thousand. They are looked up in one table, if they are exactly the
double that Python reads from the text.

A text is 16 bytes in two words, the first character in the lowest byte, so that a prefix shifts the other characters
up. Behind the text stands padding, a byte that does not occur in UTF-8. The only longer texts, of 17 bytes, are
negative numbers with an exponent of three digits.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop_set import Indices

PADDING = b"\xff"
LONGEST_BYTES = 17  # of `%.10g`: a sign, ten digits, a point, and an exponent such as e-308

Words = npt.NDArray[np.uint64]
Lengths = npt.NDArray[np.int8]
Integers = npt.NDArray[np.int64]

_DIGITS = 10
_SMALLEST, _LARGEST = 1e-4, 1e10  # `%.10g` writes these, and what is between them, without an exponent
_NEAR_HALF = 0.5 - 2.0**-19  # twice the error of the product away from a half
_BYTE_BITS, _WORD_BITS, _TOP_BYTE_SHIFT = np.uint64(8), np.uint64(64), np.uint64(56)
_GROUP = 10_000  # a table has the texts of four digits
_HUNDREDTHS = 100_000  # of the table: 0 to 999.99
# From so many numbers on, hundredths are looked up. It saves 0.04 us a number, but filling the table takes 15 ms, for
# which the first line of a few loops would wait.
_MANY_NUMBERS = 1000
_HUNDREDTHS_END_BITS = np.float64(_HUNDREDTHS).view(np.uint64)
_PADDING_WORD = np.uint64(2**64 - 1)


def _pack_words(texts: list[bytes]) -> tuple[Words, Words]:
    """Return the lower and the upper word of texts of up to 16 bytes."""
    both = np.array(texts, dtype="S16").view("<u8").reshape(-1, 2)
    return both[:, 0].astype(np.uint64), both[:, 1].astype(np.uint64)


# Tables by the power of ten of the first digit, -4 to 9: where the point stands among the digits; at their end where
# they all come after it and it is in front of them.
_POWERS = np.array([float(f"1e{power}") for power in range(-4, 10)])
_SCALES = np.array([float(f"1e{9 - power}") for power in range(-4, 10)])
_INTEGER_DIGITS = [power + 1 if power >= 0 else _DIGITS for power in range(-4, 10)]
_BEFORE_POINT_LOW, _BEFORE_POINT_HIGH = _pack_words([b"\xff" * digits for digits in _INTEGER_DIGITS])
_POINT_LOW, _POINT_HIGH = _pack_words([b"\0" * digits + b"." for digits in _INTEGER_DIGITS])


def _count_characters(power: int, trailing_zeros: int) -> int:
    """Return how many characters of the digits with their point remain without the trailing zeros."""
    if power < 0:
        return _DIGITS - trailing_zeros
    return _DIGITS + 1 - trailing_zeros if trailing_zeros < _DIGITS - 1 - power else power + 1


# The padding behind the digits, at ten times the place of the power, and one more for each trailing zero.
_DIGIT_LENGTHS = [_count_characters(power, zeros) for power in range(-4, 10) for zeros in range(_DIGITS)]
_PADDING_LOW, _PADDING_HIGH = _pack_words([b"\0" * length + PADDING * (16 - length) for length in _DIGIT_LENGTHS])
_LENGTHS = np.array(_DIGIT_LENGTHS, dtype=np.int8)
# The prefix of a small or negative number, at twice the place of its power, and one more if it is negative.
_PREFIXES = [sign + (b"0." + b"0" * (-1 - power) if power < 0 else b"")
             for power in range(-4, 10) for sign in (b"", b"-")]
_PREFIX_WORD = _pack_words(_PREFIXES)[0]
_PREFIX_BITS = np.array([8 * len(prefix) for prefix in _PREFIXES], dtype=np.uint64)
_PREFIX_LENGTHS = np.array([len(prefix) for prefix in _PREFIXES], dtype=np.int8)
_GROUPS = np.arange(_GROUP)
_FOUR_DIGITS = sum(ord("0") + _GROUPS // 10 ** (3 - i) % 10 << 8 * i for i in range(4)).astype(np.uint32)
_TRAILING_ZEROS = sum((_GROUPS % 10**i == 0).astype(np.int64) for i in range(1, 5))


class FloatTexts(NamedTuple):
    """The texts of M numbers.

    low, high: (M,) the words of each; None: all of its bytes are padding. lengths: (M,) bytes of each that are no
    padding. overflow: those that are too long for two words, by index. has_irregular: whether Python formatted any; if
    not, all numbers are finite and of moderate size.
    """

    low: Words
    high: Words | None
    lengths: Lengths
    overflow: dict[int, bytes]
    has_irregular: bool


def format_floats(values: Floats) -> FloatTexts:
    """Return the numbers as text; values: (M,), contiguous."""
    if len(values) < _MANY_NUMBERS:
        return _format_any(values)
    with np.errstate(over="ignore"):
        hundredths = np.rint(values * 100.0)
    # By its bits a double is less than a positive one only if it is positive itself, and -0.0 is not.
    in_table = hundredths.view(np.uint64) < _HUNDREDTHS_END_BITS
    in_table &= (hundredths / 100.0).view(np.uint64) == values.view(np.uint64)
    others = np.flatnonzero(~in_table)
    if 2 * others.size > len(values):
        return _format_any(values)
    hundredths[others] = 0.0
    index, (words, word_lengths) = hundredths.astype(np.intp), _build_hundredths_table()
    low, lengths = words.take(index), word_lengths.take(index)
    if not others.size:
        return FloatTexts(low, None, lengths, {}, False)
    formatted_hundredths, high = _format_any(values[others]), np.full(len(values), _PADDING_WORD)
    low[others], lengths[others] = formatted_hundredths.low, formatted_hundredths.lengths
    high[others] = _PADDING_WORD if formatted_hundredths.high is None else formatted_hundredths.high
    overflow = {int(others[i]): text for i, text in formatted_hundredths.overflow.items()}
    return FloatTexts(low, high, lengths, overflow, formatted_hundredths.has_irregular)


@cache
def _build_hundredths_table() -> tuple[Words, Lengths]:
    """Return the lower words of 0, 0.01, ..., and their lengths; their upper words are padding."""
    formatted_hundredths = _format_any(np.arange(_HUNDREDTHS) / 100.0)
    return formatted_hundredths.low, formatted_hundredths.lengths


def _format_any(values: Floats) -> FloatTexts:
    """Return what `format_floats` does, without the table of hundredths."""
    size = np.abs(values)
    is_irregular = ~((size >= _SMALLEST) & (size < _LARGEST))
    if is_irregular.any():
        size[is_irregular] = 1.0
    power = np.searchsorted(_POWERS, size, side="right") - 1
    size *= _SCALES.take(power)
    significand = np.rint(size)
    size -= significand
    is_irregular |= np.abs(size) > _NEAR_HALF
    is_irregular |= significand >= 10.0**_DIGITS
    significand[is_irregular] = 0.0
    low, high, lengths = _format_decimals(significand.astype(np.int64), power)
    with_prefix = np.flatnonzero((power < 4) | (values < 0.0))
    if with_prefix.size:
        prefix = 2 * power[with_prefix] + (values[with_prefix] < 0.0)
        _insert_prefix(low, high, with_prefix, prefix)
        lengths[with_prefix] += _PREFIX_LENGTHS.take(prefix)
    irregular = np.flatnonzero(is_irregular)
    overflow = _format_one_by_one(values, irregular, low, high, lengths)
    return FloatTexts(low, high, lengths, overflow, irregular.size > 0)


def _format_decimals(significand: Integers, power: Indices) -> tuple[Words, Words, Lengths]:
    """Return the ten digits with their point, without trailing zeros, and how many bytes that is."""
    upper = significand // _GROUP
    last = significand - upper * _GROUP
    first = upper // _GROUP
    middle = upper - first * _GROUP
    low, high = _join_digits(first, middle, last)
    # The digits after the point make room for it.
    before_low, before_high = low & _BEFORE_POINT_LOW.take(power), high & _BEFORE_POINT_HIGH.take(power)
    low ^= before_low
    high ^= before_high
    row = power * _DIGITS
    row += _count_trailing_zeros(first, middle, last)
    return (before_low | _POINT_LOW.take(power) | low << _BYTE_BITS | _PADDING_LOW.take(row),
            before_high | _POINT_HIGH.take(power) | high << _BYTE_BITS | low >> _TOP_BYTE_SHIFT
            | _PADDING_HIGH.take(row), _LENGTHS.take(row))


def _join_digits(*groups: Integers) -> tuple[Words, Words]:
    """Return the texts of two, four and four digits after each other."""
    first, middle, last = (_FOUR_DIGITS.take(group).astype(np.uint64) for group in groups)
    return first >> np.uint64(16) | middle << np.uint64(16) | last << np.uint64(48), last >> np.uint64(16)


def _count_trailing_zeros(first: Integers, middle: Integers, last: Integers) -> Integers:
    """Return how many zeros are at the end of each significand."""
    zeros: Integers = _TRAILING_ZEROS.take(last)
    all_zeros = np.flatnonzero(last == 0)
    if all_zeros.size:
        zeros[all_zeros] += _TRAILING_ZEROS.take(middle[all_zeros])
        all_zeros = all_zeros[middle[all_zeros] == 0]
        zeros[all_zeros] += np.minimum(_TRAILING_ZEROS.take(first[all_zeros]), 1)
    return zeros


def _insert_prefix(low: Words, high: Words, rows: Indices, prefix: Indices) -> None:
    """Put a prefix, by its place in the table, before the texts of these rows."""
    bits = _PREFIX_BITS.take(prefix)
    high[rows] = high[rows] << bits | low[rows] >> (_WORD_BITS - bits)
    low[rows] = low[rows] << bits | _PREFIX_WORD.take(prefix)


def _format_one_by_one(values: Floats, rows: Indices, low: Words, high: Words, lengths: Lengths) -> dict[int, bytes]:
    """Write the numbers of these rows into the words; return the texts that are too long for them."""
    overflow = {}
    for i, value in zip(rows.tolist(), values[rows].tolist(), strict=True):
        text = b"%.10g" % value
        if len(text) > 16:
            overflow[i] = text
            continue
        text_bytes, lengths[i] = text.ljust(16, PADDING), len(text)
        low[i], high[i] = int.from_bytes(text_bytes[:8], "little"), int.from_bytes(text_bytes[8:], "little")
    return overflow
