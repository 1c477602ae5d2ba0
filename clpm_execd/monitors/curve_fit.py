"""Stiction by the shape of half periods: triangles behind an integrator are made by a valve that sticks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from clpm_execd.monitors.signals import Floats, compute_moving_mean, filter_band, find_zero_crossings

STICTION, NO_STICTION = 0.6, 0.4  # the paper's limits; between them it does not decide
_PEAKS = np.linspace(0.04, 0.96, 47)[:, None]  # of triangles, in half periods


def compute_curve_fit_index(x: Floats, period: float) -> float:
    """Return the error of half sines over that of half sines and triangles: >= 0.6 stiction, <= 0.4 none.

    A controller or a vessel that integrates a square wave makes triangles of it. Each half period between two zero
    crossings is fitted by itself. The crossings are those of the oscillation, without drift and noise; halves that are
    much too short or too long for it are left out.

    Parameters
    ----------
    x : array (T,)
        OP of a self-regulating loop, PV of an integrating one, in any unit.
    period : float
        Period of the oscillation, in samples.

    References
    ----------
    He, Wang, Pottmann and Qin, A curve fitting method for detecting valve stiction in oscillating control loops,
    Ind. Eng. Chem. Res. 46, 2007.
    """
    x = x - compute_moving_mean(x, period)
    crossings = find_zero_crossings(filter_band(x, 2.0 * period, period / 3.0))
    # At the ends of the record the level is a guess.
    crossings = crossings[(crossings > period / 2.0) & (crossings < len(x) - period / 2.0)]
    errors = []
    for begin, end in pairwise(crossings):
        t = np.arange(np.ceil(begin), np.floor(end) + 1)
        if 0.25 * period <= end - begin <= period and len(t) > 4:
            fraction = (t - begin) / (end - begin)
            y = x[t.astype(int)]
            errors.append((_fit_sine(fraction, y), _fit_triangle(fraction, y)))
    if not errors:
        return 0.5
    sine, triangle = np.mean(errors, axis=0)
    return float(sine / (sine + triangle)) if sine + triangle > 0.0 else 0.5


def _fit_sine(t: Floats, y: Floats) -> float:
    """Return the mean square error of the best half sine over t in 0 to 1."""
    shape = np.sin(np.pi * t)
    return float(np.mean((y - shape * (shape @ y) / (shape @ shape)) ** 2))


def _fit_triangle(t: Floats, y: Floats) -> float:
    """Return the mean square error of the best triangle over t in 0 to 1: lines from zero at both ends that meet."""
    shapes = np.minimum(t / _PEAKS, (1.0 - t) / (1.0 - _PEAKS))
    heights = shapes @ y / np.einsum("ij,ij->i", shapes, shapes)
    return float(np.min(np.mean((y - heights[:, None] * shapes) ** 2, axis=1)))
