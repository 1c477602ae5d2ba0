"""The operator's habits: how often and how far the set point is moved."""

from __future__ import annotations

import numpy as np

from clpm_execd.history.difference import wanders
from clpm_execd.history.estimates import Estimate, Findings
from clpm_execd.history.signals import Signals
from clpm_execd.plant.loop import OperatorSpec

_TOGETHER = 60.0  # s: changes of SP no further apart are one move


def habits_of(signals: Signals, told: Findings) -> OperatorSpec:
    """The habits of a loop's operator."""
    sp = signals.sp[signals.whole]
    changes = np.flatnonzero(np.diff(sp) != 0)
    if not len(changes):
        told.warnings.append("SP never moved")
        return OperatorSpec()
    if wanders(signals):
        told.warnings.append("SP is never still: its course is learned with the loop, and no operator's")
        return OperatorSpec()
    together = max(1, round(_TOGETHER / signals.interval))
    moves = 1 + int((np.diff(changes) > together).sum())
    time = len(sp) * signals.interval
    # The number of moves in a time is Poisson's; the interval is that of Garwood (1936), by its normal limit.
    low, high = max(moves - 1.645 * moves**0.5, 0.2), moves + 1.645 * moves**0.5 + 1.0
    every = told.note("operator.interval", Estimate(time / moves, time / high, time / low, "s", "identified"))
    size = told.note("operator.size", Estimate.read(float(np.std(sp)), "% of span"))
    return OperatorSpec(interval=min(max(every, 1.0), 1e8), size=min(size, 50.0))
