"""Stiction by qualitative shapes: the sequences in which OP moves while the flow stands still."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clpm_execd.monitors.signals import Floats

MIN_STICTION_INDEX = 0.25  # both indices of a valve that sticks exceed what random symbols give, 2 of 8

# With stiction, a time in which OP moves and the flow stands is followed by these: the flow stays, or follows OP.
_STICTION_NEXT = {"IS": ("II", "SI"), "DS": ("DD", "SD")}
_THRESHOLD_DEVIATIONS = 1.0  # of the differences: a signal that changes more rises or falls


def compute_shape_indices(op: Floats, flow: Floats) -> tuple[float, float]:
    """Return (rho1, rho3), 0 to 1: both over 0.25 are stiction.

    rho1 is the fraction of moving time in which OP moves and the flow stands; rho3 the same without the sequences that
    do not occur when a valve sticks.

    Parameters
    ----------
    op, flow : array (T,)
        OP and the flow through the valve, which the PV of a flow loop measures, in any unit.

    References
    ----------
    Yamashita, An automatic method for detection of valve stiction in process control loops, Control Engineering
    Practice 14, 2006.
    """
    op_symbols, flow_symbols = _to_symbols(op), _to_symbols(flow)
    pairs = [one + other for one, other in zip(op_symbols, flow_symbols, strict=True) if one + other != "SS"]
    if not pairs:
        return 0.0, 0.0
    stands = sum(pair in _STICTION_NEXT for pair in pairs)
    contradicting = sum(length for pair, following, length in _find_runs(pairs)
                        if pair in _STICTION_NEXT and following not in (None, *_STICTION_NEXT[pair]))
    return stands / len(pairs), (stands - contradicting) / len(pairs)


def _to_symbols(x: Floats) -> list[str]:
    """Return I, S or D for each step: increasing, steady or decreasing."""
    steps = np.diff(x)
    deviation = steps.std()
    if deviation == 0.0:
        return ["S"] * len(steps)
    z_scores = (steps - steps.mean()) / deviation
    codes = np.where(z_scores > _THRESHOLD_DEVIATIONS, 2, np.where(z_scores < -_THRESHOLD_DEVIATIONS, 0, 1))
    return [("D", "S", "I")[code] for code in codes.tolist()]


def _find_runs(pairs: Sequence[str]) -> list[tuple[str, str | None, int]]:
    """Return each run of equal pairs: the pair, the one that follows, and the length."""
    runs: list[tuple[str, str | None, int]] = []
    start = 0
    for t in range(1, len(pairs) + 1):
        if t == len(pairs) or pairs[t] != pairs[start]:
            runs.append((pairs[start], pairs[t] if t < len(pairs) else None, t - start))
            start = t
    return runs
