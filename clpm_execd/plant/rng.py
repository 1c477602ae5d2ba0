"""Counter-based random numbers: every draw is a function of a key and a tick, and of nothing else.

A key is made of (seed, loop id, purpose). Tick k of a key is the same number in every process, at every length of
block and whichever other loops there are, so there is no state to store, skip or restore. Counter-based after
SplitMix64 (Steele, Lea and Flood, 2014); normals by Box and Muller (1958), bounded at 6.7 sigma. All is integers and
plain arithmetic, so that a number has the same bits on every platform.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Floats
from clpm_execd.plant.elementary import log

# BLAKE2b without the OpenSSL that hashlib loads beside it: a stream waits for its first line.
try:
    from _blake2 import blake2b
except ImportError:  # a Python that is built differently
    from hashlib import blake2b

__all__ = ["BlockDraws", "blake2b", "derive_stream_keys", "draw_normal_pairs", "draw_normals", "draw_uniforms",
           "draw_uniforms_at", "random_words"]

# SplitMix64's increment (2^64 over the golden ratio), and the multipliers and shifts of its finaliser.
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS_BITS = (np.uint64(30), np.uint64(27), np.uint64(31))
_LOW_HALF = np.uint64(0xFFFFFFFF)
_HALF_BITS = np.uint64(32)
_TICKS_PER_BLOCK = 64  # enough to hide the cost of a call

# A table for -2 ln(u), u being (k + 1/2) / 2^32: for each of 2^7 parts of each power of two from 1/2 on, 1 / c and
# -2 ln(c / 2^32) of the part's middle c. Of the part that ends at 2^32 c is its end: the logarithm is exact there.
_PART_BITS = 7
_PART_SHIFT_BITS = np.int64(52 - _PART_BITS)  # of a float64's bits, which leaves its exponent and so many bits of it
_FIRST_PART = np.int64(1022 << _PART_BITS)  # that of 1/2


def _make_log_table() -> tuple[Floats, Floats]:
    parts = 1 << _PART_BITS
    middles = np.ldexp(1.0 + (np.arange(parts) + 0.5) / parts, np.arange(-1, 32)[:, None]).ravel()
    middles[-1] = 2.0**32
    return 1.0 / middles, -2.0 * log(middles * 2.0**-32)


_RECIPROCALS, _LOGS = _make_log_table()


def derive_stream_keys(seed: int, loops: tuple[str, ...], purpose: str) -> npt.NDArray[np.uint64]:
    """Return the key of each loop's random stream for a purpose.

    Parameters
    ----------
    seed
        Seed of all random numbers of a plant.
    loops
        N ids; loops of one id have the same streams.
    purpose
        One of those in `clpm_execd.stored_names`.

    Returns
    -------
    (N,) keys, for the functions below.
    """
    seed_hash, suffix = blake2b(f"{seed}\0".encode(), digest_size=8), f"\0{purpose}".encode()
    digests = bytearray()
    for loop in loops:
        digest = seed_hash.copy()  # takes half the time of a new one
        digest.update(loop.encode() + suffix)
        digests += digest.digest()
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def random_words(keys: npt.NDArray[np.uint64], first: int, n: int) -> npt.NDArray[np.uint64]:
    """Return (n, N) 64 random bits for each of the ticks first .. first + n - 1 and each key."""
    return _mix(np.arange(first, first + n).astype(np.uint64)[:, None] * _INCREMENT + keys)


def _mix(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    for multiplier, shift in zip(_MULTIPLIERS, _SHIFTS_BITS, strict=False):
        z ^= z >> shift
        z *= multiplier
    z ^= z >> _SHIFTS_BITS[2]
    return z


def draw_uniforms(keys: npt.NDArray[np.uint64], first: int, n: int) -> Floats:
    """Return (n, N) uniform on [0, 1), for the ticks first .. first + n - 1 and each key."""
    return (random_words(keys, first, n) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def draw_uniforms_at(keys: np.uint64 | npt.NDArray[np.uint64], ticks: npt.NDArray[np.int64]) -> Floats:
    """Return (..., T) uniform on [0, 1) at any ticks, of one key or of one for each: those of `draw_uniforms`."""
    return (_mix(ticks.astype(np.uint64) * _INCREMENT + keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def draw_normal_pairs(keys: npt.NDArray[np.uint64], first: int, n: int) -> tuple[Floats, Floats]:
    """Return twice (n, N) standard normal, independent of each other: Box and Muller's two of one radius and angle.

    The halves of one word are the radius and the angle. Cosine and sine are those of four times a quarter of the angle,
    the tangent of which is Lambert's fraction (1770), to 1e-8: plain arithmetic takes a quarter of the time.
    """
    z = random_words(keys, first, n)
    radius = _squared_radius(z >> _HALF_BITS)
    np.sqrt(radius, out=radius)
    z &= _LOW_HALF
    quarter = z.view(np.int64).astype(np.float64)
    quarter -= 2.0**31 - 0.5
    quarter *= pi * 2.0**-33
    square = quarter * quarter
    numerator = square - 105.0
    numerator *= square
    numerator += 945.0
    numerator *= quarter
    denominator = 15.0 * square
    denominator -= 420.0
    denominator *= square
    denominator += 945.0
    # Sine and cosine of the half angle, and then of the whole, up to their common length.
    sine = numerator * denominator
    numerator *= numerator
    denominator *= denominator
    length = denominator + numerator
    length *= length
    radius /= length
    cosine = denominator
    cosine -= numerator
    sine *= 2.0
    second = sine * cosine
    second *= 2.0
    second *= radius
    cosine *= cosine
    sine *= sine
    cosine -= sine
    cosine *= radius
    return cosine, second


def _squared_radius(k: npt.NDArray[np.uint64]) -> Floats:
    """Return -2 ln((k + 1/2) / 2^32), to 4e-13, k below 2^32: a table, and four terms of ln(1 + f), f up to 1/256."""
    # As signed numbers they are the same, and converted ten times as fast.
    u = k.view(np.int64).astype(np.float64)
    u += 0.5
    part = u.view(np.int64) >> _PART_SHIFT_BITS
    part -= _FIRST_PART
    u *= _RECIPROCALS.take(part, mode="clip")
    u -= 1.0
    squared = u * 0.5
    squared -= 2.0 / 3.0
    squared *= u
    squared += 1.0
    squared *= u
    squared -= 2.0
    squared *= u
    squared += _LOGS.take(part, mode="clip")
    return squared


def draw_normals(keys: npt.NDArray[np.uint64], first: int, n: int) -> Floats:
    """Return (n, N) standard normal, the first of the two of `draw_normal_pairs`."""
    return draw_normal_pairs(keys, first, n)[0]


class BlockDraws:
    """The draws of M keys one tick at a time, made in blocks at fixed ticks."""

    def __init__(self, keys: npt.NDArray[np.uint64],
                 draw: Callable[[npt.NDArray[np.uint64], int, int], Floats]) -> None:
        self._keys, self._draw = keys, draw
        self._first, self._block = -1, np.empty((0, len(keys)))

    def at(self, tick: int) -> Floats:
        """Return the draws of a tick, (M,)."""
        first = tick - tick % _TICKS_PER_BLOCK
        if first != self._first:
            self._first, self._block = first, self._draw(self._keys, first, _TICKS_PER_BLOCK)
        row: Floats = self._block[tick - first]
        return row
