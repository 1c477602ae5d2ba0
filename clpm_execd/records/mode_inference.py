"""Modes of a record that has none, inferred from its signals.

Where OP is constant while PV moves, the loop is in MAN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import AUT, MAN, Floats
from clpm_execd.records.output_range import infer_output_range

# The limits are our own choice: with them an OP that is recorded coarsely, or that is saturated, does not count as MAN
# (tests/records/test_exports.py).
MIN_MAN_SAMPLES = 60  # the OP of a controller stands still for shorter, even when it is recorded coarsely
MIN_MAN_HOLDS = 10  # times as long as the longest usual hold of a moving OP
USUAL_HOLD_QUANTILE = 0.95  # of the holds of OP: the rest may be those in MAN, and set no limit
MIN_ERROR_STD_FRACTION = 0.1  # of the error's standard deviation over the record: below, PV does not move either
OP_END_FRACTION = 0.01  # of its range: an OP this near to an end is saturated


def infer_modes(loops: Sequence[str], pv: Floats, op: Floats, sp: Floats, assumptions: list[str]
                ) -> npt.NDArray[np.int8]:
    """Return (T, N) modes of the loops' signals, (T, N) each; what is inferred is added to the assumptions."""
    modes = np.full(pv.shape, AUT, np.int8)
    for i, loop in enumerate(loops):
        manual = _find_manual(pv[:, i] - sp[:, i], op[:, i])
        modes[manual, i] = MAN
        if manual.any():
            assumptions.append(f"no mode column: MAN assumed for {loop} where OP is constant while PV moves, "
                               f"{manual.mean():.0%} of the time, else AUT")
    if (modes == AUT).all():
        assumptions.append("no mode column; AUT assumed")
    return modes


def _find_manual(error: Floats, op: Floats) -> npt.NDArray[np.bool_]:
    """Return (T,) where OP stays constant, away from its ends, much longer than usual, while the error moves."""
    manual = np.zeros(len(op), np.bool_)
    has_error = np.isfinite(error)
    if not np.isfinite(op).any() or not has_error.any():
        return manual
    low, high = np.nanmin(op), np.nanmax(op)
    output = infer_output_range(op)
    room = OP_END_FRACTION * (output.high - output.low)
    edges = np.concatenate([[0], np.flatnonzero(op[1:] != op[:-1]) + 1, [len(op)]])
    lengths = np.diff(edges)
    usual = lengths[lengths < MIN_MAN_SAMPLES]
    shortest = max(MIN_MAN_SAMPLES,
                   MIN_MAN_HOLDS * float(np.quantile(usual, USUAL_HOLD_QUANTILE)) if len(usual) else 0)
    error_std = np.nanstd(error)
    for k in np.flatnonzero(lengths >= shortest).tolist():
        hold = slice(int(edges[k]), int(edges[k + 1]))
        level = op[hold.start]
        is_at_end = low < high and (level in (low, high)) and not output.low + room < level < output.high - room
        if not is_at_end and has_error[hold].any() and \
                np.nanstd(error[hold]) > MIN_ERROR_STD_FRACTION * error_std > 0:
            manual[hold] = True
    return manual
