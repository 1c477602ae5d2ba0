"""What the historian keeps of a sample: values in steps, and held while they hardly move.

How values are recorded is half of what makes a record look real, so it belongs to every loop. Rounding to a step of
1/n divides by n at the end, so that what is kept is the double nearest to the decimal number.
"""

from __future__ import annotations

import numpy as np

from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop import LoopSpec
from clpm_execd.plant.state import column


def _steps_per_unit(resolution: float) -> float:
    """The reciprocal of a step, whole where it is so but for rounding; 0 for none."""
    if resolution <= 0:
        return 0.0
    steps = 1.0 / resolution
    return float(round(steps)) if abs(steps - round(steps)) < 1e-9 * steps else steps


class Recorder:
    """The recording of one signal of N loops."""

    def __init__(self, resolutions: list[float], bands: list[float]) -> None:
        self._steps: Floats = column(map(_steps_per_unit, resolutions))
        self._stepped = self._steps > 0
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
            steps = np.where(self._stepped, self._steps, 1.0)
            np.copyto(values, np.rint(values * steps) / steps, where=self._stepped)


def recorders(loops: tuple[LoopSpec, ...]) -> tuple[Recorder, Recorder]:
    """Those of PV, in engineering units, and of OP, in per cent."""
    spans = [loop.range[1] - loop.range[0] for loop in loops]
    kept = [loop.recording for loop in loops]
    pv = Recorder([k.resolution.pv for k in kept],
                  [k.exception * span / 100.0 for k, span in zip(kept, spans, strict=True)])
    return pv, Recorder([k.resolution.op for k in kept], [k.exception for k in kept])
