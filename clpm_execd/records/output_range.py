"""The range in which OP is recorded: per cent, a fraction, volts, mA, a converter's counts, or units of its own.

A record does not say what 0 and 100 % are. Where OP rests at its ends while it moves otherwise, those are the ends of
its range; else its unit decides, then its size. Every choice is a sentence that the user reads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import floor, log10

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Floats

PERCENT = (0.0, 100.0)
# Ranges of outputs: fractions, volts (IEC 60381-2), mA (IEC 60381-1, with live zero and without), psi and bar of
# pneumatic signals (IEC 60382), per cent of heating and cooling, counts of 8 to 16 bits, and those of Siemens' modules.
STANDARD_RANGES = (
    (0.0, 1.0), (-1.0, 1.0), (0.0, 5.0), (1.0, 5.0), (0.0, 10.0), (2.0, 10.0), (-10.0, 10.0), (4.0, 20.0), (0.0, 20.0),
    (3.0, 15.0), (0.2, 1.0), PERCENT, (-100.0, 100.0), (0.0, 255.0), (0.0, 1000.0), (0.0, 1023.0), (0.0, 4095.0),
    (0.0, 10_000.0), (0.0, 16_383.0), (0.0, 27_648.0), (0.0, 32_767.0), (0.0, 65_535.0),
)
_CONVERTER_TOPS = (255.0, 1023.0, 4095.0, 16_383.0, 27_648.0, 32_767.0, 65_535.0)
_RANGES_OF_UNIT = {
    "%": (PERCENT, (-100.0, 100.0)), "pct": (PERCENT, (-100.0, 100.0)), "percent": (PERCENT, (-100.0, 100.0)),
    "v": ((0.0, 5.0), (0.0, 10.0), (-10.0, 10.0)), "volt": ((0.0, 5.0), (0.0, 10.0), (-10.0, 10.0)),
    "volts": ((0.0, 5.0), (0.0, 10.0), (-10.0, 10.0)), "vdc": ((0.0, 5.0), (0.0, 10.0), (-10.0, 10.0)),
    "ma": ((4.0, 20.0), (0.0, 20.0)), "psi": ((3.0, 15.0),), "psig": ((3.0, 15.0),), "bar": ((0.2, 1.0),),
    "fraction": ((0.0, 1.0),), "p.u.": ((0.0, 1.0),), "pu": ((0.0, 1.0),), "0-1": ((0.0, 1.0),),
}
# Of a physical quantity: not raw, counts, eu, - and others that name none.
_OTHER_UNIT = re.compile(
    r"(?:k?hz|rpm|1/min|[km]?w|[km]?pa|mbar|°[cf]|k|n?m[³3]/h|(?:kg|t)/h|l/(?:h|min|s)|gpm|kg/s|m?m)", re.IGNORECASE)
_EXPLICIT_RANGE = re.compile(r"(-?\d+(?:\.\d+)?)\s*(?:-|\.\.|to)\s*(\d+(?:\.\d+)?)")

OVERRANGE_FRACTION = 0.1  # a DCS lets OP go from -6.9 to 106.9 % or -10 to 110 % of its range
END_TOLERANCE_FRACTION = 0.002  # of the range: an OP recorded in single precision, or scaled, misses its end by less
MIN_END_RUN_SAMPLES = 3  # a controller that is limited stays at its end for longer than a sample
MIN_LEVELS = 8  # fewer are those of a bump test or a switch: an OP that rests at them is not at an end
MAX_FRACTION = 1.05  # an OP that never exceeds it is a fraction: no valve works below 1 % all the time
MIN_SPLIT_PERCENT = 20.0  # an OP with both signs that goes further is per cent of heating and cooling, not a deviation
MIN_WIDTH_FRACTION = 0.2  # of the largest value: an OP in units of its own that moves more has its zero at closed
# Times the span of most values (5th to 95th percentile), from their median: beyond is a lost decimal mark or a number
# that stands for no value, such as -99999, and nothing that a plant does.
OUTLIER_SPANS = 100.0
MAX_VALUE = 1e100  # what is larger stands for no value; its differences may exceed what a float holds
ROOM = 1.4  # beyond the values, of a range that is only estimated: OP is then from 0 to some 70 % of it
_ZERO = 1e-9  # no output has a range as small
_ROUND = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


@dataclass(frozen=True, slots=True)
class OutputRange:
    """The recorded values of OP at 0 and at 100 %, and how sure they are.

    Parameters
    ----------
    low, high : float
        In the units of the record.
    assumption : str
        How the range was found, a sentence; empty where it needs none.
    """

    low: float
    high: float
    assumption: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the range."""
        return self.low, self.high


def infer_output_range(op: Floats, unit: str = "") -> OutputRange:
    """Return the range in which OP is recorded.

    Parameters
    ----------
    op : ndarray, shape (T,)
        As recorded; NaN where there is no value.
    unit : str
        The unit that the record gives for it, such as "mA"; empty where it gives none.
    """
    values = _without_outliers(op[np.isfinite(op)])
    if not len(values) or float(np.abs(values).max()) < _ZERO:
        return OutputRange(*PERCENT)
    low, high = float(values.min()), float(values.max())
    at_low, at_high = find_ends(values)
    of_unit = _range_of_unit(unit, low, high)
    if of_unit is not None:
        return _describe(of_unit, low, high, f" by its unit, {unit}")
    standard = _standard_range(low if at_low else None, high if at_high else None, low, high)
    if standard is not None:
        return _describe(standard, low, high)
    if low >= 0.0 and high <= MAX_FRACTION:
        return _describe((0.0, 1.0), low, high)
    if _looks_like_percent(low, high, np.unique(values), at_low, at_high):
        if _OTHER_UNIT.fullmatch(unit.strip()) and unit.strip().casefold() not in _RANGES_OF_UNIT:
            doubt = f"OP is in {unit.strip()}: 0 to 100 taken as 0 to 100 %; give its range with --op-range"
            return OutputRange(*PERCENT, doubt)
        return _describe(PERCENT, low, high)
    if low < 0.0 and max(-low, high) <= 100.0 and max(-low, high) > MIN_SPLIT_PERCENT:
        return _describe((-100.0, 100.0), low, high)
    counts = _counts_range(values, low, high)
    if counts is not None:
        return _describe(counts, low, high)
    low_end, high_end = _estimate_range(low, high)
    return _describe((low if at_low else low_end, high if at_high else high_end), low, high, is_estimate=True)


def _without_outliers(values: Floats) -> Floats:
    """Return the values without those, such as -99999, that are far from all others."""
    values = values[np.abs(values) < MAX_VALUE]
    return values[~find_outliers(values)]


def find_outliers(values: Floats) -> npt.NDArray[np.bool_]:
    """Return (T,) which finite values are further from the median than OUTLIER_SPANS times the span of most of them."""
    if not len(values):
        return np.zeros(0, np.bool_)
    low, middle, high = (float(q) for q in np.quantile(values, (0.05, 0.5, 0.95)))
    reach = OUTLIER_SPANS * (high - low)
    return ((values > middle + reach) | (values < middle - reach)) & (high > low)


def find_ends(values: Floats) -> tuple[bool, bool]:
    """Return whether OP rests at its lowest and at its highest value as a limited controller does.

    values: (T,), finite. It rests there several samples on end, or is at both ends all the time as a switch is; an OP
    of few levels, as in a bump test, shows no ends.
    """
    levels = np.unique(values)
    if len(levels) == 1:
        return False, False
    if len(levels) == 2:
        changes = int((np.diff(values) != 0).sum())
        return (True, True) if changes >= MIN_LEVELS else (False, False)
    if len(levels) < MIN_LEVELS:
        return False, False
    return _rests_at(values, float(levels[0]), levels), _rests_at(values, float(levels[-1]), levels)


def _rests_at(values: Floats, end: float, levels: Floats) -> bool:
    """Return whether OP is at an end more than once and for some samples on end, and comes to it from other values."""
    is_there = np.abs(values - end) <= END_TOLERANCE_FRACTION * float(np.ptp(levels))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_there.astype(np.int8), [0]])))
    runs = edges[1::2] - edges[::2]
    moving = np.abs(np.diff(values)) > 0
    # An OP that is held for long everywhere, by its historian or in MAN, is not limited where it is held.
    usual = np.diff(np.concatenate([[0], np.flatnonzero(moving) + 1, [len(values)]]))
    return bool(len(runs) and runs.max() >= max(MIN_END_RUN_SAMPLES, 3 * float(np.median(usual))))


def _range_of_unit(unit: str, low: float, high: float) -> tuple[float, float] | None:
    """Return the smallest range of a unit that holds the values, with overrange; None where none does."""
    text = unit.strip().casefold()
    explicit = _EXPLICIT_RANGE.search(text)
    ranges = _RANGES_OF_UNIT.get(text, ())
    if explicit and float(explicit[1]) < float(explicit[2]):
        ranges = ((float(explicit[1]), float(explicit[2])), *ranges)
    return next((ends for ends in ranges if _holds(ends, low, high)), None)


def _holds(ends: tuple[float, float], low: float, high: float) -> bool:
    room = OVERRANGE_FRACTION * (ends[1] - ends[0])
    return ends[0] - room <= low and high <= ends[1] + room


def _standard_range(low_end: float | None, high_end: float | None, low: float, high: float
                    ) -> tuple[float, float] | None:
    """Return the standard range that has the ends at which OP rests, None for an end that it does not show.

    The lower end alone decides nothing where it is 0, which most ranges have.
    """
    for ends in STANDARD_RANGES:
        room = END_TOLERANCE_FRACTION * (ends[1] - ends[0])
        fits_low = low_end is None or abs(low_end - ends[0]) <= room
        fits_high = high_end is None or abs(high_end - ends[1]) <= room
        is_within = ends[0] - room <= low and high <= ends[1] + room
        shows_range = high_end is not None or (low_end is not None and abs(ends[0]) > room)
        if fits_low and fits_high and is_within and shows_range:
            return ends
    return None


def _looks_like_percent(low: float, high: float, levels: Floats, at_low: bool, at_high: bool) -> bool:
    """Return whether the values are per cent by their size: from 0 to 100, or somewhat beyond where a DCS lets them."""
    room = 100.0 * OVERRANGE_FRACTION
    if not (-room <= low and high <= 100.0 + room):
        return False
    return low >= 0.0 or (high > MIN_SPLIT_PERCENT and -low < high / 3)


def _counts_range(values: Floats, low: float, high: float) -> tuple[float, float] | None:
    """Return the range of a converter whose counts the values are, integers that go beyond 100; else None."""
    is_integer = bool((values == np.rint(values)).all())
    if not is_integer or low < 0.0 or len(np.unique(values)) < MIN_LEVELS:
        return None
    top = next((top for top in _CONVERTER_TOPS if high <= top), None)
    # Counts that use less than half of their range may as well be units of their own.
    return (0.0, top) if top is not None and high > top / 2 else None


def _estimate_range(low: float, high: float) -> tuple[float, float]:
    """Return round numbers around values in units of their own, from 0 where the values move by enough of it."""
    width = high - low
    if width <= 0.0:
        return (0.0, round_up(ROOM * high)) if high > 0.0 else (-round_up(-ROOM * low), 0.0)
    if low >= 0.0 and width >= MIN_WIDTH_FRACTION * high:
        return 0.0, round_up(ROOM * high)
    if low < 0.0 < high and max(-low, high) < 3 * min(-low, high):  # deviations from a mean
        reach = round_up(ROOM * max(-low, high))
        return -reach, reach
    unit = round_up(width / 10.0)
    return _rounded(floor((low - width) / unit) * unit, -floor(-(high + width) / unit) * unit)


def _rounded(low: float, high: float) -> tuple[float, float]:
    """Return the ends without the last digits of binary arithmetic."""
    return float(f"{low:.12g}"), float(f"{high:.12g}")


def round_up(value: float) -> float:
    """Return the next round number at or above a positive one."""
    unit = 10.0 ** floor(log10(value))
    return next(step * unit for step in _ROUND if step * unit >= value * (1.0 - 1e-9))


def _describe(ends: tuple[float, float], low: float, high: float, why: str = "", *, is_estimate: bool = False
              ) -> OutputRange:
    if ends == PERCENT:
        is_small = low >= 0.0 and high <= 20.0 and not why
        doubt = f"OP lies between {low:.4g} and {high:.4g}: taken as per cent; if it is volts or mA, give its range " \
                "with --op-range" if is_small else ""
        return OutputRange(*PERCENT, doubt)
    text = f"OP is recorded from {ends[0]:.6g} to {ends[1]:.6g}{why}: taken as 0 to 100 %"
    if is_estimate:
        text = (f"the range of OP is not in the record, whose values lie between {low:.4g} and {high:.4g}: "
                f"{ends[0]:.6g} to {ends[1]:.6g} taken as 0 to 100 %; give it with --op-range")
    return OutputRange(*ends, text)
