"""Statistics of signals that identification and evaluation share.

Sample autocorrelation and cross-correlation are biased, so below 1 (Box and Jenkins, 1976, sections 2.1 and 11.1).
"""

from __future__ import annotations

import numpy as np

from clpm_execd.plant.block import Floats

_LARGE_QUANTILE = 0.95  # of means: the largest one of a record varies too much
_ZERO_NORM = 1e-12  # of a signal without its mean, in its own unit: what rounding leaves of a constant one


def autocorrelation(x: Floats, lags: int = 60) -> Floats:
    """Return the autocorrelation at the lags 1 to `lags`.

    Parameters
    ----------
    x : (T,) array
        Any unit. The autocorrelation of a constant signal is zero at every lag.
    lags : int
        The largest lag, samples. Beyond T - 1 the result is zero.
    """
    x = _normalise(x)
    return _lagged_products(x, x, lags)[1:]


def cross_correlation(pair: Floats, lags: int = 30) -> Floats:
    """Return the (2 lags + 1,) cross-correlation of OP with PV, from OP leading by `lags` samples to PV leading.

    Parameters
    ----------
    pair : (T, 2) array
        PV and OP, in any units.
    lags : int
        The largest lag, samples.
    """
    pv, op = _normalise(pair[:, 0]), _normalise(pair[:, 1])
    return np.concatenate([_lagged_products(op, pv, lags)[:0:-1], _lagged_products(pv, op, lags)])


def largest_mean(x: Floats, samples: int) -> float:
    """Return the 95 % point of the absolute mean of a signal over so many samples.

    Parameters
    ----------
    x : (T,) array
        Any unit. Means over missing values, which are NaN, are left out; without any mean the result is 0.
    samples : int
        At least 1.
    """
    means = np.abs(np.convolve(x, np.full(samples, 1.0 / samples), mode="valid"))
    means = means[np.isfinite(means)]
    return float(np.quantile(means, _LARGE_QUANTILE)) if len(means) else 0.0


def _normalise(x: Floats) -> Floats:
    """Return x without its mean and of norm 1, or zeros where it is constant."""
    x = x - x.mean()
    norm = float(np.sqrt(x @ x))
    return x / norm if norm > _ZERO_NORM else np.zeros(len(x))


def _lagged_products(x: Floats, y: Floats, lags: int) -> Floats:
    """Return sum x(t) y(t + k) for k from 0 to lags; zero beyond the overlap."""
    n = len(x)
    return np.array([x[:n - k] @ y[k:] if k < n else 0.0 for k in range(lags + 1)])
