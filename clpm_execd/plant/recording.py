"""What the historian keeps of a sample: values in steps, and held while they hardly move.

How values are recorded is half of what makes a record look real, so it belongs to every loop. A step is the
ratio of two whole numbers, and the division comes last, so that what is kept is the double nearest to the decimal
number.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import numpy as np

from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop import LoopSpec
from clpm_execd.plant.memory import Columns
from clpm_execd.plant.state import column

FINEST = 1e-12  # a step below this changes no digit of a value


@lru_cache(maxsize=4096)  # what many loops have alike
def _ratio(resolution: float) -> tuple[float, float]:
    """The step as numerator and denominator of the decimal number it is written as."""
    step = Fraction(repr(float(resolution)))
    return float(step.numerator), float(step.denominator)


class Recorder(Columns):
    """The recording of one signal of N loops."""

    remembers = ("_last",)

    def __init__(self, resolutions: list[float], bands: list[float]) -> None:
        self.columns = np.arange(len(bands))
        self._stepped = np.array([resolution > FINEST for resolution in resolutions])
        steps = [_ratio(resolution) if resolution > FINEST else (1.0, 1.0) for resolution in resolutions]
        self._numerator: Floats = column(numerator for numerator, _ in steps)
        self._denominator: Floats = column(denominator for _, denominator in steps)
        self._steps: Floats = self._denominator / self._numerator
        self._band: Floats = column(bands)
        self._last: Floats = np.full(len(bands), np.nan)

    def record(self, values: Floats) -> None:
        """Stage 8, in place on (T, N) engineering values: exception test, then resolution."""
        if (self._band > 0).any():
            for row in values:
                # A first value and one after a missing one are kept: NaN compares false.
                np.copyto(row, self._last, where=np.abs(row - self._last) < self._band)
                self._last = row.copy()
        if self._stepped.any():
            stepped = np.rint(values * self._steps) * self._numerator / self._denominator
            np.copyto(values, stepped, where=self._stepped)


def recorders(loops: tuple[LoopSpec, ...]) -> tuple[Recorder, Recorder]:
    """Those of PV, in engineering units, and of OP, in per cent or what that is recorded as."""
    spans = [loop.range[1] - loop.range[0] for loop in loops]
    kept = [loop.recording for loop in loops]
    pv = Recorder([k.resolution.pv for k in kept],
                  [k.exception * span / 100.0 for k, span in zip(kept, spans, strict=True)])
    return pv, Recorder([k.resolution.op for k in kept],
                        [k.exception * (k.op_range[1] - k.op_range[0]) / 100.0 for k in kept])
