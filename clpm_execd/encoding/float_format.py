"""Many numbers as text at once, each exactly as Python's `%.10g` writes it.

The ten digits of a number are one whole number, its size times a power of ten and rounded, and whole numbers become
text by tables, four digits at a time. The product is off by 2**-20 at most, and so the digits are those of the
number itself unless it lies nearer than that to a half. Those few, nought, and what has an exponent, are left to
Python one by one.

Most of what a historian keeps are hundredths below a thousand. Those are looked up whole, if they are exactly the
double that Python reads from the text.

A text is 16 bytes in two words, the first character in the lowest byte, so that what is put in front shifts the
others up. Behind the text stands PAD, which is no byte of UTF-8. The only longer texts, of 17 bytes, are negative
numbers with an exponent of three digits.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Floats

PAD = b"\xff"
LONGEST = 17

Words = npt.NDArray[np.uint64]
Lengths = npt.NDArray[np.int8]
Whole = npt.NDArray[np.int64]

_DIGITS = 10
_SMALLEST, _LARGEST = 1e-4, 1e10  # written without an exponent from the one up to below the other
_NEAR_HALF = 0.5 - 2.0**-19
_BYTE, _WORD, _TOP = np.uint64(8), np.uint64(64), np.uint64(56)
_GROUP = 10_000  # four digits
_HUNDREDTHS = 100_000
_MANY = 1000  # numbers at once, for which they are worth a table
_END = np.float64(_HUNDREDTHS).view(np.uint64)
_PADS = np.uint64(2**64 - 1)


def _words(texts: list[bytes]) -> tuple[Words, Words]:
    """The lower and the upper word of texts of up to 16 bytes."""
    both = np.array(texts, dtype="S16").view("<u8").reshape(-1, 2)
    return both[:, 0].astype(np.uint64), both[:, 1].astype(np.uint64)


# Tables by the power of ten of the first digit, -4 to 9: where the point stands among the digits; at their end where
# they all come after it and it is in front of them.
_POWERS = np.array([10.0**power for power in range(-4, 10)])
_SCALES = np.array([10.0 ** (9 - power) for power in range(-4, 10)])
_WHOLE = [power + 1 if power >= 0 else _DIGITS for power in range(-4, 10)]
_BEFORE0, _BEFORE1 = _words([b"\xff" * whole for whole in _WHOLE])
_POINT0, _POINT1 = _words([b"\0" * whole + b"." for whole in _WHOLE])


def _length(power: int, noughts: int) -> int:
    """How many characters of the digits with their point are kept when so many noughts are at the end."""
    if power < 0:
        return _DIGITS - noughts
    return _DIGITS + 1 - noughts if noughts < _DIGITS - 1 - power else power + 1


# The bytes behind the text, at ten times the place of the power, and one more for each nought at the end.
_BEHIND = [_length(power, noughts) for power in range(-4, 10) for noughts in range(_DIGITS)]
_PAD0, _PAD1 = _words([b"\0" * length + PAD * (16 - length) for length in _BEHIND])
_LENGTHS = np.array(_BEHIND, dtype=np.int8)
# In front of the digits of a small or negative number, at twice the place of its power, and one more if negative.
_FRONTS = [sign + (b"0." + b"0" * (-1 - power) if power < 0 else b"")
           for power in range(-4, 10) for sign in (b"", b"-")]
_FRONT = _words(_FRONTS)[0]
_FRONT_BITS = np.array([8 * len(front) for front in _FRONTS], dtype=np.uint64)
_FRONT_LENGTHS = np.array([len(front) for front in _FRONTS], dtype=np.int8)
_ALL = np.arange(_GROUP)
_FOUR = sum(ord("0") + _ALL // 10 ** (3 - i) % 10 << 8 * i for i in range(4)).astype(np.uint32)
_NOUGHTS = sum((_ALL % 10**i == 0).astype(np.int64) for i in range(1, 5))


class Digits(NamedTuple):
    """The texts of M numbers.

    low, high: (M,) the words of each; None: all of its bytes are PAD. lengths: (M,) bytes of each that are
    no PAD. longer: those that are too long for two words, by index. odd: whether any was left to Python; else all are
    numbers, and of moderate size.
    """

    low: Words
    high: Words | None
    lengths: Lengths
    longer: dict[int, bytes]
    odd: bool


def digits(values: Floats) -> Digits:
    """The numbers as text; values: (M,), contiguous."""
    if len(values) < _MANY:
        return _digits(values)
    with np.errstate(over="ignore"):
        at = np.rint(values * 100.0)
    # By its bits a double is less than a positive one only if it is one itself, and no negative nought.
    found = at.view(np.uint64) < _END
    found &= (at / 100.0).view(np.uint64) == values.view(np.uint64)
    others = np.flatnonzero(~found)
    if 2 * others.size > len(values):
        return _digits(values)
    at[others] = 0.0
    place, (words, sizes) = at.astype(np.intp), _hundredths()
    low, lengths = words.take(place), sizes.take(place)
    if not others.size:
        return Digits(low, None, lengths, {}, False)
    made, high = _digits(values[others]), np.full(len(values), _PADS)
    low[others], lengths[others] = made.low, made.lengths
    high[others] = _PADS if made.high is None else made.high
    return Digits(low, high, lengths, {int(others[i]): text for i, text in made.longer.items()}, made.odd)


@cache
def _hundredths() -> tuple[Words, Lengths]:
    """The lower words of 0, 0.01, ..., and their lengths; their upper words are empty."""
    made = _digits(np.arange(_HUNDREDTHS) / 100.0)
    return made.low, made.lengths


def _digits(values: Floats) -> Digits:
    """As `digits`, of any numbers."""
    size = np.abs(values)
    odd = ~((size >= _SMALLEST) & (size < _LARGEST))
    if odd.any():
        size[odd] = 1.0
    power = np.searchsorted(_POWERS, size, side="right") - 1
    size *= _SCALES.take(power)
    whole = np.rint(size)
    size -= whole
    odd |= np.abs(size) > _NEAR_HALF
    odd |= whole >= 10.0**_DIGITS
    whole[odd] = 0.0
    low, high, lengths = _decimal(whole.astype(np.int64), power)
    front = np.flatnonzero((power < 4) | (values < 0.0))
    if front.size:
        what = 2 * power[front] + (values[front] < 0.0)
        _put_in_front(low, high, front, what)
        lengths[front] += _FRONT_LENGTHS.take(what)
    left = np.flatnonzero(odd)
    return Digits(low, high, lengths, _one_by_one(values, left, low, high, lengths), left.size > 0)


def _decimal(whole: Whole, power: npt.NDArray[np.intp]) -> tuple[Words, Words, Lengths]:
    """The ten digits with their point, without noughts at the end, and how many bytes that is."""
    upper = whole // _GROUP
    last = whole - upper * _GROUP
    first = upper // _GROUP
    middle = upper - first * _GROUP
    low, high = _joined(first, middle, last)
    # The digits after the point make room for it.
    before0, before1 = low & _BEFORE0.take(power), high & _BEFORE1.take(power)
    low ^= before0
    high ^= before1
    behind = power * _DIGITS
    behind += _noughts(first, middle, last)
    return (before0 | _POINT0.take(power) | low << _BYTE | _PAD0.take(behind),
            before1 | _POINT1.take(power) | high << _BYTE | low >> _TOP | _PAD1.take(behind), _LENGTHS.take(behind))


def _joined(*groups: Whole) -> tuple[Words, Words]:
    """Two, four and four digits."""
    first, middle, last = (_FOUR.take(group).astype(np.uint64) for group in groups)
    return first >> np.uint64(16) | middle << np.uint64(16) | last << np.uint64(48), last >> np.uint64(16)


def _noughts(first: Whole, middle: Whole, last: Whole) -> Whole:
    """How many noughts are at the end."""
    noughts: Whole = _NOUGHTS.take(last)
    none = np.flatnonzero(last == 0)
    if none.size:
        noughts[none] += _NOUGHTS.take(middle[none])
        none = none[middle[none] == 0]
        noughts[none] += np.minimum(_NOUGHTS.take(first[none]), 1)
    return noughts


def _put_in_front(low: Words, high: Words, at: npt.NDArray[np.intp], what: npt.NDArray[np.intp]) -> None:
    bits = _FRONT_BITS.take(what)
    high[at] = high[at] << bits | low[at] >> (_WORD - bits)
    low[at] = low[at] << bits | _FRONT.take(what)


def _one_by_one(values: Floats, at: npt.NDArray[np.intp], low: Words, high: Words,
                lengths: Lengths) -> dict[int, bytes]:
    """Write those that stand `at` into the words; the texts that are too long for them."""
    longer = {}
    for i, value in zip(at.tolist(), values[at].tolist(), strict=True):
        text = b"%.10g" % value
        if len(text) > 16:
            longer[i] = text
            continue
        padded, lengths[i] = text.ljust(16, PAD), len(text)
        low[i], high[i] = int.from_bytes(padded[:8], "little"), int.from_bytes(padded[8:], "little")
    return longer
