"""What the historian stores of a sample: values in steps, and held while they hardly move.

How values are recorded is half of what makes a record look real, so it belongs to every loop. A step is the ratio of
two whole numbers, and the division comes last, so that what is stored is the double nearest to the decimal number.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop_set import Indices, LoopSet
from clpm_execd.plant.snapshot import LoopArrays
from clpm_execd.plant.specs import LoopSpec

MIN_RESOLUTION = 1e-12  # engineering units or %: a smaller step changes no digit of a value


@lru_cache(maxsize=4096)  # what many loops have alike
def _step_ratio(resolution: float) -> tuple[float, float]:
    """Return the step as numerator and denominator of its decimal number; 1 and 1 where there is none."""
    if resolution <= MIN_RESOLUTION:
        return 1.0, 1.0
    step = Fraction(repr(float(resolution)))
    return float(step.numerator), float(step.denominator)


class Recorder(LoopArrays):
    """The recording of one signal of N loops.

    columns: (N,) the plant's columns. resolutions: (N,) step of each, 0 for none. bands: (N,) of the exception test, 0
    for none; both in the signal's unit.
    """

    stored_arrays = stored_names.RECORDER

    def __init__(self, columns: Indices, resolutions: npt.ArrayLike, bands: npt.ArrayLike) -> None:
        steps, which = np.unique(np.asarray(resolutions, dtype=np.float64), return_inverse=True)
        self.columns = columns
        self._has_step = (steps > MIN_RESOLUTION)[which]
        numerator, self._denominator = np.array([_step_ratio(step) for step in steps.tolist()]).T.take(which, axis=1)
        # A step of 0.01, 0.05 or 0.5 is one over a whole number, and then so are all.
        self._numerator: Floats | None = numerator if (numerator != 1.0).any() else None
        self._steps_per_unit = self._denominator if self._numerator is None else self._denominator / numerator
        self._band: Floats = np.array(bands, dtype=np.float64)  # a copy: a view would keep the resolutions
        self._any_band, self._any_step = bool((self._band > 0).any()), bool(self._has_step.any())
        self._last: Floats = np.full(len(which), np.nan)

    def record(self, values: Floats) -> None:
        """Stage 8, in place on (T, N) engineering values: exception test, then resolution."""
        if self._any_band:
            for row in values:
                # A first value and one after a missing one are taken: NaN compares false.
                np.copyto(row, self._last, where=np.abs(row - self._last) < self._band)
                self._last = row.copy()
        if self._any_step:
            multiples = values * self._steps_per_unit
            np.rint(multiples, out=multiples)
            if self._numerator is not None:
                multiples *= self._numerator
            multiples /= self._denominator
            np.copyto(values, multiples, where=self._has_step)


def make_recorders(loops: LoopSet, columns: Indices) -> tuple[Recorder, Recorder]:
    """Return the recorders of PV, in engineering units, and of OP, in per cent or what that is recorded as."""
    pv, op = loops.columns(_choose_pv_recording), loops.columns(_choose_op_recording)
    return Recorder(columns, *pv), Recorder(columns, *op)


def _choose_pv_recording(loop: LoopSpec) -> tuple[float, float]:
    return loop.recording.resolution.pv, loop.recording.exception * (loop.range[1] - loop.range[0]) / 100.0


def _choose_op_recording(loop: LoopSpec) -> tuple[float, float]:
    low, high = loop.recording.op_range
    return loop.recording.resolution.op, loop.recording.exception * (high - low) / 100.0
