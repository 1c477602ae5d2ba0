"""How well a loop is tuned: the minimum variance benchmark and the idle index."""

from __future__ import annotations

import numpy as np

from clpm_execd.monitors.signals import Floats

_AR_ORDER = 30  # past errors; the indices that docs/physics.md expects are for this order
# Kuehl and Horch, Detection of sluggish control loops, Control Engineering Practice 13, 2005.
SLUGGISH = 0.7


def compute_harris_index(error: Floats, dead_time: float, interval: float) -> float:
    """Return minimum variance over variance, 0 to 1: how near a loop is to the best that its dead time allows.

    The autoregression of order 30 on values that are at least dead time and one sample old, by least squares.

    Parameters
    ----------
    error : array (T,)
        SP - PV, in any unit.
    dead_time, interval : float
        Dead time of the process, and time between samples, s.

    References
    ----------
    Harris, Assessment of control loop performance, Can. J. Chem. Eng. 67, 1989; Desborough and Harris, Performance
    assessment measures for univariate feedback control, Can. J. Chem. Eng. 70, 1992.
    """
    delay = round(dead_time / interval) + 1
    first = delay + _AR_ORDER - 1
    now = error[first:]
    past = [error[first - delay - i:len(error) - delay - i] for i in range(_AR_ORDER)]
    regression = np.stack([np.ones(len(now)), *past, now], axis=1)
    # The residual of the last column on the others is the last diagonal element of R, in Q R.
    triangle = np.asarray(np.linalg.qr(regression, mode="r"))
    residual = triangle[-1, -1] ** 2 / (len(now) - _AR_ORDER - 1)
    variance = float(now.var())
    return float(residual / variance) if variance > 0.0 else 1.0


def compute_idle_index(op: Floats, error: Floats, smooth: int, least: float = 0.0, gain: float = 1.0) -> float:
    """Return -1 to 1: near 1 the loop is sluggish after load steps, near 0 well tuned, below it oscillates.

    It is the time in which OP and PV move the same way less that in which they move opposite ways, over both.

    Parameters
    ----------
    op, error : array (T,)
        OP and SP - PV, while SP is constant.
    smooth : int
        The samples over which slopes are taken, the filter of the paper.
    least : float
        Only time with a larger absolute error counts: as in the paper a loop at steady state says nothing.
    gain : float
        Gain of the process; only its sign matters.

    References
    ----------
    Haegglund, Automatic detection of sluggish control loops, Control Engineering Practice 7, 1999.
    """
    moves = np.sign(gain) * (op[smooth:] - op[:-smooth]) * (error[:-smooth] - error[smooth:])
    moves = moves[np.abs(error[smooth:]) > least]
    same, opposite = np.count_nonzero(moves > 0), np.count_nonzero(moves < 0)
    return float(same - opposite) / max(int(same + opposite), 1)
