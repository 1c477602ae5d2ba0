"""Chance that can be asked for: every draw is a function of a key and a tick, and of nothing else.

A key is made of (seed, loop id, purpose). Tick k of a key is the same number in every process, at every length of
block and whichever other loops there are, so nothing has to be kept, skipped or restored. Counter-based after
SplitMix64 (Steele, Lea and Flood, 2014); normals by Box and Muller (1958), bounded at 6.7 sigma.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Floats
from clpm_execd.plant.digest import blake2b

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_AT_ONCE = 64


def keys(seed: int, loops: tuple[str, ...], purpose: str) -> npt.NDArray[np.uint64]:
    """(N,) one key a loop, for `words`, `uniform` and `normal`."""
    begun, end = blake2b(f"{seed}\0".encode(), digest_size=8), f"\0{purpose}".encode()
    digests = bytearray()
    for loop in loops:
        key = begun.copy()  # in half the time of another
        key.update(loop.encode() + end)
        digests += key.digest()
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def words(of: npt.NDArray[np.uint64], first: int, n: int) -> npt.NDArray[np.uint64]:
    """(n, N) 64 random bits for each of the ticks first .. first + n - 1 and each key."""
    return _mixed(np.arange(first, first + n).astype(np.uint64)[:, None] * _GOLDEN + of)


def _mixed(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    for multiplier, shift in zip(_MIX, _SHIFTS, strict=False):
        z ^= z >> shift
        z *= multiplier
    z ^= z >> _SHIFTS[2]
    return z


def uniform(of: npt.NDArray[np.uint64], first: int, n: int) -> Floats:
    """(n, N) uniform on [0, 1)."""
    return (words(of, first, n) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def uniform_at(of: np.uint64 | npt.NDArray[np.uint64], ticks: npt.NDArray[np.int64]) -> Floats:
    """(..., T) those of one key, or of one for each, (..., T), at any ticks: the same numbers as `uniform` has."""
    return (_mixed(ticks.astype(np.uint64) * _GOLDEN + of) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normals(of: npt.NDArray[np.uint64], first: int, n: int) -> tuple[Floats, Floats]:
    """(n, N) and (n, N) standard normal, independent of each other: Box and Muller's two of one radius and angle.

    The halves of one word are the radius and the angle. Cosine and sine are those of four times a quarter of the angle,
    the tangent of which is Lambert's fraction (1770), to 1e-8: plain arithmetic takes a quarter of the time.
    """
    z = words(of, first, n)
    # As signed numbers they are the same, and converted ten times as fast.
    radius = (z >> _HALF).view(np.int64).astype(np.float64)
    radius += 0.5
    radius *= 2.0**-32
    np.log(radius, out=radius)
    radius *= -2.0
    np.sqrt(radius, out=radius)
    z &= _LOW
    quarter = z.view(np.int64).astype(np.float64)
    quarter -= 2.0**31 - 0.5
    quarter *= np.pi * 2.0**-33
    square = quarter * quarter
    rise = square - 105.0
    rise *= square
    rise += 945.0
    rise *= quarter
    run = 15.0 * square
    run -= 420.0
    run *= square
    run += 945.0
    # Of the half angle, and then of the whole, up to their common length.
    sine = rise * run
    rise *= rise
    run *= run
    length = run + rise
    length *= length
    radius /= length
    cosine = run
    cosine -= rise
    sine *= 2.0
    other = sine * cosine
    other *= 2.0
    other *= radius
    cosine *= cosine
    sine *= sine
    cosine -= sine
    cosine *= radius
    return cosine, other


def normal(of: npt.NDArray[np.uint64], first: int, n: int) -> Floats:
    """(n, N) standard normal, the first of the two of `normals`."""
    return normals(of, first, n)[0]


class Draws:
    """The draws of M keys one tick at a time, made in blocks that lie where they lie, whoever asks first."""

    def __init__(self, of: npt.NDArray[np.uint64], draw: Callable[[npt.NDArray[np.uint64], int, int], Floats]) -> None:
        self._keys, self._draw = of, draw
        self._first, self._block = -1, np.empty((0, len(of)))

    def at(self, tick: int) -> Floats:
        """(M,) those of a tick."""
        first = tick - tick % _AT_ONCE
        if first != self._first:
            self._first, self._block = first, self._draw(self._keys, first, _AT_ONCE)
        row: Floats = self._block[tick - first]
        return row
