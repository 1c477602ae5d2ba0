"""Stiction by the phase between OP and PV: a quarter of a period with a valve that sticks, a half without."""

from __future__ import annotations

import numpy as np

from clpm_execd.monitors.signals import Floats, correlate

ODD = 0.5  # a correlation that is more odd than even: the phase is nearer to a quarter than to half a period


def compute_odd_fraction(op: Floats, pv: Floats, period: float) -> float:
    """Return the odd part's fraction of the energy of the OP-PV correlation, within a period of lag 0.

    More than half is stiction, less an oscillation by tuning or from elsewhere. The method is for self-regulating
    processes with a controller that has integral action.

    Parameters
    ----------
    op, pv : array (T,)
        Signals in any unit.
    period : float
        Period of the oscillation, in samples.

    References
    ----------
    Horch, A simple method for detection of stiction in control valves, Control Engineering Practice 7, 1999.
    """
    lags, r = correlate(op, pv)
    near = r[np.abs(lags) <= round(period)]
    odd, even = (near - near[::-1]) / 2.0, (near + near[::-1]) / 2.0
    energy = float(odd @ odd + even @ even)
    return float(odd @ odd / energy) if energy else 0.0
