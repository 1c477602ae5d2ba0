"""What the historian keeps of a sample: values in steps, and held while they hardly move.

How values are recorded is half of what makes a record look real, so it belongs to every loop. A step is the
ratio of two whole numbers, and the division comes last, so that what is kept is the double nearest to the decimal
number.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop_set import Loops
from clpm_execd.plant.snapshot import LoopArrays
from clpm_execd.plant.specs import LoopSpec

FINEST = 1e-12  # a step below this changes no digit of a value


@lru_cache(maxsize=4096)  # what many loops have alike
def _ratio(resolution: float) -> tuple[float, float]:
    """The step as numerator and denominator of the decimal number it is written as; 1 and 1 where it is none."""
    if resolution <= FINEST:
        return 1.0, 1.0
    step = Fraction(repr(float(resolution)))
    return float(step.numerator), float(step.denominator)


class Recorder(LoopArrays):
    """The recording of one signal of N loops."""

    stored_arrays = stored_names.RECORDER

    def __init__(self, resolutions: npt.ArrayLike, bands: npt.ArrayLike) -> None:
        steps, of = np.unique(np.asarray(resolutions, dtype=np.float64), return_inverse=True)
        self.columns = np.arange(len(of))
        self._stepped = (steps > FINEST)[of]
        self._numerator, self._denominator = np.array([_ratio(step) for step in steps.tolist()]).T.take(of, axis=1)
        self._steps: Floats = self._denominator / self._numerator
        self._band: Floats = np.asarray(bands, dtype=np.float64)
        self._last: Floats = np.full(len(of), np.nan)

    def record(self, values: Floats) -> None:
        """Stage 8, in place on (T, N) engineering values: exception test, then resolution."""
        if (self._band > 0).any():
            for row in values:
                # A first value and one after a missing one are kept: NaN compares false.
                np.copyto(row, self._last, where=np.abs(row - self._last) < self._band)
                self._last = row.copy()
        if self._stepped.any():
            stepped = values * self._steps
            np.rint(stepped, out=stepped)
            stepped *= self._numerator
            stepped /= self._denominator
            np.copyto(values, stepped, where=self._stepped)


def recorders(loops: Loops) -> tuple[Recorder, Recorder]:
    """Those of PV, in engineering units, and of OP, in per cent or what that is recorded as."""
    return Recorder(*loops.columns(_kept_of_pv)), Recorder(*loops.columns(_kept_of_op))


def _kept_of_pv(loop: LoopSpec) -> tuple[float, float]:
    return loop.recording.resolution.pv, loop.recording.exception * (loop.range[1] - loop.range[0]) / 100.0


def _kept_of_op(loop: LoopSpec) -> tuple[float, float]:
    low, high = loop.recording.op_range
    return loop.recording.resolution.op, loop.recording.exception * (high - low) / 100.0
