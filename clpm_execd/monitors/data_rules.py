"""Rules about the data themselves: limits, values that stand still, quality, missing samples and mode.

Each is what practice takes for granted, rather than a paper's; the limits are ours and stand next to them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clpm_execd.monitors.signals import Floats

SATURATED_FRACTION = 0.5  # of a window: a loop that is at a limit half of the time does not control
FROZEN_FRACTION = 0.1  # of a window: the longest run of equal readings; a healthy one lasts a few samples
MIN_FROZEN_SAMPLES = 60  # of a run as well, so that a short window of coarse readings is not frozen
BAD_FRACTION = 0.05  # of a window, missing or of bad quality: more than a short failure of communication
COMPRESSED_FRACTION = 0.5  # of a window, missing: a historian that compresses keeps the smaller part of the samples
REPEATED_FRACTION = 0.7  # of samples that repeat the one before: in nine of ten real loops at most 0.21 do
LOWEST_PERCENT = 0.01  # of span: a reading that stands below this is a lost signal
MANUAL_FRACTION = 0.5  # of a window


def compute_saturation(op: Floats) -> float:
    """Return the fraction of time in which OP, %, is at a limit."""
    return float(np.mean((op <= 0.0) | (op >= 100.0)))


def compute_repetition(x: Floats) -> float:
    """Return the fraction of samples that are equal to the one before."""
    return float(np.mean(np.diff(x) == 0.0))


def find_longest_run(is_true: npt.NDArray[np.bool_]) -> int:
    """Return the number of samples of the longest run in which something holds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_true, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def is_frozen(pv: Floats, op: Floats) -> bool:
    """Return whether the reading stands still for long while OP moves; both in any unit."""
    longest = find_longest_run(np.diff(pv) == 0.0) + 1
    return longest >= max(MIN_FROZEN_SAMPLES, FROZEN_FRACTION * len(pv)) and bool(np.ptp(op) > 0.0)
