"""Whether a loop oscillates, and how fast: by the regularity of its autocorrelation.

The intervals between zero crossings of the autocorrelation of error or OP are alike where it oscillates, and are not
where it is noise: their mean is more than three of their standard deviations (Thornhill, Huang and Zhang, 2003).
"""

from __future__ import annotations

import numpy as np

from clpm_execd.history.estimates import QUANTILE
from clpm_execd.history.fidelity import autocorrelation
from clpm_execd.history.signals import Signals, runs
from clpm_execd.plant.block import Floats

_SHORTEST = 128  # samples
_MOST = 10_000
_CROSSINGS = 11  # of which the ten intervals between are looked at
_LASTING = 0.3  # of the autocorrelation, a period on: less is no oscillation that one would see


def oscillation(signals: Signals) -> tuple[float, float, float] | None:
    """The period of PV around SP, else of OP, s, and its interval of 90 %; None where there is none."""
    longest = max(runs(signals.whole & signals.automatic, _SHORTEST), key=lambda s: s.stop - s.start, default=None)
    if longest is None:
        return None
    seen = (_period(part[longest][:_MOST]) for part in (signals.pv - signals.sp, signals.op))
    found = next((period for period in seen if period is not None), None)
    return None if found is None else (found[0] * signals.interval, found[1] * signals.interval,
                                       found[2] * signals.interval)


def _period(x: Floats) -> tuple[float, float, float] | None:
    """Of a signal, in samples."""
    correlated = autocorrelation(x, len(x) // 2)
    above = correlated > 0.0
    crossings = np.flatnonzero(above[1:] != above[:-1])[:_CROSSINGS]
    if len(crossings) < _CROSSINGS:
        return None
    at = crossings + correlated[crossings] / (correlated[crossings] - correlated[crossings + 1])
    half = np.diff(at)
    mean, spread = float(half.mean()), float(half.std(ddof=1))
    lag = round(2.0 * mean) - 1  # the first of them is lag 1
    if mean <= 3.0 * spread or not correlated[max(lag - 1, 0):lag + 2].max() > _LASTING:
        return None
    doubt = 2.0 * QUANTILE * spread / len(half) ** 0.5
    return 2.0 * mean, 2.0 * mean - doubt, 2.0 * mean + doubt
