"""Steps of the load: where what a process leaves unexplained has, from an instant on, the course that a step gives it.

The generalized likelihood ratio of Willsky and Jones (1976): at each sample the step that explains most of what follows
is set against noise that had none, and against a single PV that is off.

To a controller a step of the load is a reason to move OP, and what the two do to PV together is easily taken for the
process: a record is cut at such steps before the process is looked for in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from clpm_execd.history.innovations import Innovations, lasts
from clpm_execd.history.signals import Booleans, Signals
from clpm_execd.plant.block import Floats

_CHANCE = 1e-3  # that noise has a step anywhere in a record
_RARE = 250  # samples a step, in a record: what comes as often as that is none, such as the slips of a valve
_FAR = 6.0  # standard deviations: no error counts for more
_BESIDE = 2  # samples around a step, at which a single PV may be off instead
_KNOWN = 0.5  # of the power of a step's course, in the record
_FELT = 0.8  # of the same: after that it is forgotten


class Step(NamedTuple):
    """At a sample the load moves by a size, % of travel, with a standard deviation; it is felt for so many samples."""

    at: int
    size: float
    doubt: float
    lasts: int


def load_steps(found: Innovations | None) -> list[Step]:
    """Those of a record, in their order, that are more than the load wanders; none where there are far too many."""
    from scipy.stats import norm

    known = np.isfinite(found.errors) if found is not None else np.empty(0, dtype=bool)
    n, most = int(known.sum()), len(known) // _RARE
    if found is None or not n:
        return []
    left, sigma = np.where(known, found.errors, 0.0), float(np.median(np.abs(found.errors[known]))) / 0.6745
    stepped, spiked = _Course(found.step, known), _Course(found.spike, known)
    clear, steps = float(norm.isf(_CHANCE / (2.0 * n))) * sigma, list[Step]()
    for _ in range(2 * most + 1):
        heights = stepped.heights(np.clip(left, -_FAR * sigma, _FAR * sigma))
        at = int(np.argmax(heights))
        if heights[at] <= clear:
            return sorted(step for step in steps if abs(step.size) > found.load) if len(steps) <= most else []
        first, others = max(at - _BESIDE, 0), spiked.heights(left)
        beside = first + int(np.argmax(others[first:at + _BESIDE + 1]))
        if others[beside] > stepped.heights(left)[at]:
            spiked.take_out(left, beside)
        else:
            steps.append(Step(at, stepped.take_out(left, at), sigma / float(np.sqrt(stepped.power[at])), stepped.lasts))
    return []


def cut_at(steps: Sequence[Step], signals: Signals) -> Signals:
    """The record without what it is like just after a step; the record itself where there is none."""
    if not steps:
        return signals
    pv = signals.pv.copy()
    for step in steps:
        pv[max(step.at - 1, 0):step.at + step.lasts] = np.nan
    return replace(signals, pv=pv)


class _Course:
    """What something adds to the errors from a sample on, where these are known, (n,)."""

    def __init__(self, course: Floats, known: Booleans) -> None:
        self._course, self._known = course, known
        self.power = _along(known.astype(np.float64), course**2)
        self._usable = self.power > _KNOWN * float(course @ course)
        self.lasts = lasts(course, _FELT)

    def heights(self, left: Floats) -> Floats:
        """(n,) how far from nought the size is that explains most of what is left, in its deviations by noise of 1."""
        seen = np.abs(_along(left, self._course))
        return np.where(self._usable, seen, 0.0) / np.sqrt(np.where(self._usable, self.power, 1.0))

    def take_out(self, left: Floats, at: int) -> float:
        """The size at a sample; what is left is then without it."""
        there = slice(at, at + len(self._course))
        felt = np.where(self._known[there], self._course[:len(left[there])], 0.0)
        size = float(left[there] @ felt / self.power[at])
        left[there] -= size * felt
        return size


def _along(x: Floats, course: Floats) -> Floats:
    """(n,) the sum of what follows each sample, weighed by the course."""
    from scipy.signal import correlate

    return np.asarray(correlate(np.append(x, np.zeros(len(course) - 1)), course, mode="valid"))
