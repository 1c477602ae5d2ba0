"""Modes of a record that has none, read off its signals: an OP that stands still while PV moves is the operator's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import AUT, MAN, Floats

SHORTEST = 60  # samples: a controller whose output is recorded coarsely stands still for shorter
SLOWER = 10  # times the hold that a moving OP seldom exceeds
SELDOM = 0.95


def inferred_modes(loops: Sequence[str], pv: Floats, op: Floats, sp: Floats, assumptions: list[str]
                   ) -> npt.NDArray[np.int8]:
    """(T, N) modes of the loops' signals, (T, N) each; what was inferred is added to the assumptions."""
    modes = np.full(pv.shape, AUT, np.int8)
    for i, loop in enumerate(loops):
        manual = _manual(pv[:, i] - sp[:, i], op[:, i])
        modes[manual, i] = MAN
        if manual.any():
            assumptions.append(f"{loop} has no Mode: MAN where OP stands still while PV moves, {manual.mean():.0%} of "
                               "the time, else AUT")
    if (modes == AUT).all():
        assumptions.append("there is no Mode: AUT")
    return modes


def _manual(error: Floats, op: Floats) -> npt.NDArray[np.bool_]:
    """(T,) where OP stands still, away from its ends, much longer than it does elsewhere, while the error moves."""
    manual = np.zeros(len(op), np.bool_)
    known = np.isfinite(error)
    if not np.isfinite(op).any() or not known.any():
        return manual
    low, high = np.nanmin(op), np.nanmax(op)
    edges = np.concatenate([[0], np.flatnonzero(op[1:] != op[:-1]) + 1, [len(op)]])
    lengths = np.diff(edges)
    moving = lengths[lengths < SHORTEST]
    least = max(SHORTEST, SLOWER * float(np.quantile(moving, SELDOM)) if len(moving) else 0)
    scatter = np.nanstd(error)
    for k in np.flatnonzero(lengths >= least).tolist():
        stretch = slice(int(edges[k]), int(edges[k + 1]))
        at_an_end = low < high and (op[stretch.start] in (low, high)) and not 1.0 < op[stretch.start] < 99.0
        if not at_an_end and known[stretch].any() and np.nanstd(error[stretch]) > 0.1 * scatter > 0:
            manual[stretch] = True
    return manual
