"""Gaps in a record: what is behind one is used as what is before it, however long the gap is."""

from __future__ import annotations

import numpy as np

from clpm_execd.records.cells.text_columns import Integers


def shorten_gaps(times: Integers, longest: int) -> Integers:
    """Return instants whose steps are at most `longest`: what follows a longer one is moved up to it.

    Parameters
    ----------
    times : ndarray of int64, shape (T,)
        Instants in ns, increasing.
    longest : int
        The longest step that is not shortened, ns.

    Returns
    -------
    ndarray of int64, shape (T,)
        The first instant is unchanged.
    """
    steps = np.minimum(np.diff(times), longest)
    return np.concatenate([times[:1], times[:1] + np.cumsum(steps)])


def count_long_gaps(times: Integers, longest: int) -> int:
    """Return how many steps between instants, ns, are longer than `longest`."""
    return int((np.diff(times) > longest).sum())
