"""Forward fill: where a signal has no sample, its last one is held.

Every room that holds a value uses these functions, so that a gap is filled in the same way everywhere.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Floats

Values = TypeVar("Values", bound=np.generic)


def forward_fill(values: npt.NDArray[Values], present: npt.NDArray[np.bool_], axis: int = 0) -> npt.NDArray[Values]:
    """Return a copy of the values in which each absent one is replaced by the last present one before it.

    Parameters
    ----------
    values : ndarray of any shape
        Samples in the order of their time along `axis`.
    present : ndarray of bool, of the same shape
        Which of the values are there.
    axis : int
        The axis of time.

    Returns
    -------
    ndarray
        The filled values. Before the first present value stands the first value of the axis, present or not.
    """
    # int32: half the memory of the default, and no axis has two thousand million samples.
    index = np.arange(values.shape[axis], dtype=np.int32).reshape([-1 if k == axis else 1 for k in range(values.ndim)])
    last = np.where(present, index, 0)
    np.maximum.accumulate(last, axis=axis, out=last)
    return np.take_along_axis(values, last, axis=axis)


def fill_both_ways(signals: Floats) -> Floats:
    """Return signals filled forward, before the first value backward, and with 0 where there is no value.

    Parameters
    ----------
    signals : ndarray of float, shape (T, n)
        NaN where there is no value.

    Returns
    -------
    ndarray of float, shape (T, n)
    """
    filled = forward_fill(signals, np.isfinite(signals))
    for column in filled.T:
        finite = np.flatnonzero(np.isfinite(column))
        column[:finite[0] if len(finite) else len(column)] = column[finite[0]] if len(finite) else 0.0
    return filled
