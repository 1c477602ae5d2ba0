"""Whether a loop oscillates, and with which period."""

from __future__ import annotations

import numpy as np

from clpm_execd.monitors.signals import (
    Floats,
    autocorrelate,
    filter_band,
    find_strongest_period,
    find_zero_crossings,
)

REGULAR = 1.0  # r of an oscillation exceeds this (Thornhill, Huang and Zhang, 2003)
_MAX_CROSSINGS = 11  # of the autocorrelation: ten intervals, as in that paper

SLOW_DECAY = 0.5  # decay ratio of an oscillation (Miao and Seborg, 1999)

# Haegglund, 1995: an error of 1 % of span is tolerable, ten load disturbances in fifty periods are an oscillation.
_TOLERABLE_AMPLITUDE_PERCENT = 1.0
_SUPERVISION_PERIODS, _MAX_DISTURBANCES = 50, 10


def measure_regularity(x: Floats) -> tuple[float, float]:
    """Return (r, period): r > 1 is a regular oscillation.

    r is the mean over three standard deviations of the first ten intervals between zero crossings of the
    autocorrelation; the period is two mean intervals. As in the paper the signal is first filtered to the band of its
    strongest peak, since noise and drift make crossings of their own: here an octave to either side of it. A record
    of fewer than ten intervals is not regular, r = 0.

    Parameters
    ----------
    x : array (T,)
        The controlled variable or the control error, in any unit.

    Returns
    -------
    tuple of float
        r, and the period in samples.

    References
    ----------
    Thornhill, Huang and Zhang, Detection of multiple oscillations in control loops, J. Process Control 13, 2003.
    """
    period = find_strongest_period(x)
    crossings = find_zero_crossings(autocorrelate(filter_band(x, 2.0 * period, period / 2.0)))[:_MAX_CROSSINGS]
    if len(crossings) < _MAX_CROSSINGS:
        return 0.0, period
    intervals = np.diff(crossings)
    return float(intervals.mean() / 3.0 / max(intervals.std(ddof=1), 1e-9)), float(2.0 * intervals.mean())


def compute_decay_ratio(x: Floats) -> float:
    """Return the decay ratio of the autocorrelation; more than 0.5 is an oscillation.

    It is the height of the first maximum above the line between the first two minima, over the depth of the first
    minimum below the line from lag 0 to the first maximum; 0 where the autocorrelation has no two minima.

    Parameters
    ----------
    x : array (T,)
        The controlled variable or the control error, in any unit.

    References
    ----------
    Miao and Seborg, Automatic detection of excessively oscillatory feedback control loops, IEEE CCA, 1999.
    """
    r = autocorrelate(x)
    extremes = 1 + np.flatnonzero(np.diff(np.sign(np.diff(r))))  # low, high, low, .. because r begins at its highest
    if len(extremes) < 3:
        return 0.0
    low, high, next_low = extremes[:3]
    base = np.interp(high, [low, next_low], [r[low], r[next_low]])
    top = np.interp(low, [0, high], [1.0, r[high]])
    return float((r[high] - base) / (top - r[low]))


def oscillates_by_load_disturbances(error: Floats, reset: float, interval: float) -> bool:
    """Return whether load disturbances follow each other as often as only an oscillation makes them.

    A disturbance is a half period of the error whose integral exceeds that of a sine of 1 % of span with the integral
    time as its period; ten within fifty such periods are an oscillation.

    Parameters
    ----------
    error : array (T,)
        SP - PV, % of span.
    reset : float
        The integral time of the controller, s.
    interval : float
        Time between samples, s.

    References
    ----------
    Haegglund, A control-loop performance monitor, Control Engineering Practice 3, 1995.
    """
    if reset <= 0.0:
        return False
    crossings = np.flatnonzero(np.signbit(error[:-1]) != np.signbit(error[1:])) + 1
    integrals = np.add.reduceat(np.abs(error), np.concatenate([[0], crossings])) * interval
    limit = 2.0 * _TOLERABLE_AMPLITUDE_PERCENT * reset / (2.0 * np.pi)
    ends = np.append(crossings, len(error))[integrals > limit]
    if len(ends) <= _MAX_DISTURBANCES:
        return False
    span = ends[_MAX_DISTURBANCES:] - ends[:-_MAX_DISTURBANCES]
    return bool(np.any(span * interval <= _SUPERVISION_PERIODS * reset))
