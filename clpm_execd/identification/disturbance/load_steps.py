"""Steps of the load: where what a process leaves unexplained has, from an instant on, the course that a step gives it.

The generalized likelihood ratio of Willsky and Jones (1976): at each sample the step that explains most of what follows
is set against noise that had none, and against a single PV that is off. A load that stepped passes at first for one
that wanders slowly: so with each step that is found the noise is found anew (Chen and Liu, 1993), the search begins
with a load that wanders fast as well, and what are steps is asked at the end, of all together.

To a controller a step of the load is a reason to move OP, and what the two do to PV together is easily taken for the
process: a record is cut at such steps before the process is looked for in it, or they are inputs beside OP where the
loop is looked for as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp
from typing import NamedTuple

import numpy as np

from clpm_execd.identification.loop_data import Booleans, Signals
from clpm_execd.identification.process.prediction_error import NOISES
from clpm_execd.identification.process.residuals import Unexplained, cost, lasts
from clpm_execd.identification.process.transfer_functions import slowness
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ProcessSpec

_CHANCE = 1e-3  # that noise has a step anywhere in a record
_RARE = 100  # samples a step, in a record: what comes as often as that is none, such as the slips of a valve
_MOST = 20  # steps, of a record however long
_LIKELY = 3.5  # standard deviations of a size: what may be a step, before the noise is known
_FAR = 6.0  # standard deviations: no error counts for more
_PLAIN = 3.0  # sigma of the load, that a step is more than
_BESIDE = 2  # samples around a step, at which a single PV may be off, or SP have moved, instead
_KNOWN = 0.1  # of the power of a step's course, that the record tells apart from its mean and other steps
_LEFT = 0.02  # of the same, before the record ends
_LONGEST = 500  # samples of what is felt of a step, or of a single PV that is off
_FELT, _MATTERS = 0.9, 0.99  # of the power of a course: after that it is forgotten
_ENOUGH = 0.5  # of the likelihood's logarithm, doubled: a smaller gain ends a search for the noise
_FAST = 3.0  # samples: a load that wanders fast
LOOKS = 3  # behind a typical process, then behind the one found between the steps


class Step(NamedTuple):
    """At a sample the load moves by a size, % of travel, with a standard deviation; it is felt for so many samples."""

    at: int
    size: float
    doubt: float
    lasts: int


def load_steps(signals: Signals, process: ProcessSpec) -> list[Step]:
    """Those of a record behind a given process, in their order, that are more than the load wanders.

    None where there are far too many, and none where SP moves: what that does to PV may pass for one.
    """
    left = Unexplained(signals, process)
    if not left.where:
        return []
    try:
        found, noise = _Search(left).likeliest()
        load = left.load(noise, left.errors(noise, found))
    except (ValueError, np.linalg.LinAlgError):
        return []
    if not found:
        return []
    moved = np.flatnonzero(np.diff(signals.sp)) + 1
    course = left.courses(noise, _LONGEST)[0]
    felt = lasts(course - course[-1], _FELT)  # a level that stays is taken out with the mean
    return [Step(at, float(size), float(doubt), felt) for at, size, doubt in zip(found, *left.sizes(noise, found),
            strict=True) if abs(size) > _PLAIN * load and not (np.abs(moved - at) <= _BESIDE).any()]


def at_samples(steps: Sequence[Step]) -> list[int]:
    """Where they are."""
    return [step.at for step in steps]


def alike(one: Sequence[Step], other: Sequence[Step]) -> bool:
    """Whether both are as many, each within a sample of the other."""
    return len(one) == len(other) and all(abs(a.at - b.at) <= 1 for a, b in zip(one, other, strict=True))


def cut_at(steps: Sequence[Step], signals: Signals) -> Signals:
    """The record without what it is like just after a step; the record itself where there is none."""
    if not steps:
        return signals
    pv = signals.pv.copy()
    for step in steps:
        pv[max(step.at - 1, 0):step.at + step.lasts] = np.nan
    return replace(signals, pv=pv)


class _Search:
    """For samples from which on the load is another, and for the noise beside them."""

    def __init__(self, left: Unexplained) -> None:
        from scipy.stats import norm

        self._of, self._n = left, len(left.samples)
        self._clear = float(norm.isf(_CHANCE / (2.0 * self._n)))
        self._most = min(self._n // _RARE, _MOST)

    def likeliest(self) -> tuple[list[int], Floats]:
        """Steps, in their order, and the noise; by Schwarz's criterion, of what either search finds."""
        alone = self._of.noise(NOISES, ())
        tried = [([], alone), self._searched([], alone)]
        if fast := self._more([], alone, slowness(exp(-1.0 / _FAST)))[0]:
            tried.append(self._searched(fast, alone))
        return min(tried, key=lambda one: cost(self._of.errors(one[1], one[0]), one[0]))

    def _searched(self, steps: list[int], noise: Floats) -> tuple[list[int], Floats]:
        """These and what may be steps beside them, without those that are not clear; none where there are too many."""
        begun = noise
        steps, noise = self._more(steps, noise)
        while steps and len(steps) < self._most:
            sizes, doubts = self._of.sizes(noise, steps)
            clear = np.abs(sizes) / doubts
            least = int(np.argmin(clear))
            if clear[least] > self._clear:
                return steps, noise
            steps = steps[:least] + steps[least + 1:]
            noise = self._of.noise([noise], steps, _ENOUGH)
        return [], begun

    def _more(self, steps: list[int], noise: Floats, pole: float | None = None) -> tuple[list[int], Floats]:
        """These and, one by one, what may be steps beside them. pole: as of `Unexplained.noise`."""
        noise = self._of.noise([noise], steps, _ENOUGH, pole)
        none = np.zeros(self._n, dtype=bool)
        while len(steps) < self._most:
            at = self._next(steps, noise, none)
            if at is None:
                break
            steps = sorted([*steps, int(self._of.samples[at])])
            noise = self._of.noise([noise], steps, _ENOUGH, pole)
        return steps, noise

    def _next(self, steps: Sequence[int], noise: Floats, none: Booleans) -> int | None:
        """The error at which a step explains most; None where that is not enough. none: (n,) what is known to be none.
        """
        errors = self._of.errors(noise, steps)
        others = np.linalg.qr(self._of.columns(noise, steps))[0] if steps else np.empty((self._n, 0))
        stepped, spiked = self._of.courses(noise, max(_LONGEST, self._n))
        spiked = spiked[:lasts(spiked, _MATTERS)]
        sigma = float(np.median(np.abs(errors))) / 0.6745
        clipped = np.clip(errors, -_FAR * sigma, _FAR * sigma)
        (heights, plain), (single,) = (np.abs(self._heights(np.array(of), course, others)) / sigma for of, course in (
            ([clipped, errors], stepped), ([errors], spiked)))
        while True:
            heights[none] = 0.0
            at = int(np.argmax(heights))
            near = slice(max(at - _BESIDE, 0), at + _BESIDE + 1)
            if heights[at] < _LIKELY:
                return None
            if single[near].max() <= plain[at]:
                return at
            none[near] = True

    def _heights(self, errors: Floats, course: Floats, others: Floats) -> Floats:
        """(K, n) the size that explains most of the errors, (K, n), in its deviations by noise of 1."""
        heights = np.zeros_like(errors)
        for part in self._of.parts:
            n = part.stop - part.start
            along = course[:n]
            felt = np.minimum(np.arange(n, 0, -1), len(along)) - 1  # of the course, until the stretch ends
            whole = np.cumsum(along**2)[felt]
            told = _along(np.concatenate([errors[:, part], others[part].T]), along)
            power = whole - np.cumsum(along)[felt]**2 / n - (told[len(errors):]**2).sum(axis=0)
            known = power > np.maximum(_KNOWN * whole, _LEFT * whole[0])
            heights[:, part] = np.where(known, told[:len(errors)], 0.0) / np.sqrt(np.where(known, power, 1.0))
        return heights


def _along(x: Floats, course: Floats) -> Floats:
    """(..., n) the sum of what follows each sample of x, (..., n), weighed by the course."""
    from scipy.fft import next_fast_len

    n = x.shape[-1]
    size = next_fast_len(n + len(course) - 1, real=True)
    return np.asarray(np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(course, size).conj(), size)[..., :n])
