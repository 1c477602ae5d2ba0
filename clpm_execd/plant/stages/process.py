"""Processes: first order, second order or integrating, behind a dead time, exact between scans.

For an input held over each scan the output at the scans is that of the continuous process to rounding, for any dead
time: one that is no multiple of the scan splits the scan's input between two held values, each with its exact
weight (Astrom and Wittenmark, 1997, section 2.3). All models are one pair of states, x2 being the output: x1+ = p11
x1 + b1 u, x2+ = p21 x1 + p22 x2 + b2 u.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, expm1, floor, inf

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import Floats
from clpm_execd.plant.kernel.equations import first_state, output
from clpm_execd.plant.loop_set import Indices, Loops
from clpm_execd.plant.snapshot import Columns, Rows, Tables
from clpm_execd.plant.specs import ProcessSpec
from clpm_execd.plant.stages.state import State, percent

_SLACK = 1e-9  # of a scan: a dead time of 3.0000000001 scans is three


def _decay(h: float, tau: float) -> float:
    return exp(-h / tau) if tau > 0 else 0.0


def transition(process: ProcessSpec, h: float) -> tuple[float, float, float, float, float]:
    """(p11, p21, p22, b1, b2) over h seconds of constant input."""
    if process.model == "integrator":
        return 0.0, 0.0, 1.0, 0.0, process.gain * h
    if process.model == "fopdt":
        a = _decay(h, process.tau[0])
        return 0.0, 0.0, a, 0.0, process.gain * (1.0 - a)
    tau1, tau2 = process.tau
    a1, a2 = _decay(h, tau1), _decay(h, tau2)
    slow, fast = max(tau1, tau2), min(tau1, tau2)
    if slow == fast:
        c = h / tau1 * a1 if a1 > 0 else 0.0
    else:
        # The difference of two exponentials, which keeps its digits, however near the lags, as one times expm1.
        apart = h * (slow - fast) / slow / fast if fast > 0 else inf
        c = -expm1(-apart) * max(a1, a2) * tau1 / (slow - fast)
    gain = process.gain
    return a1, c, a2, gain * (1.0 - a1), gain * (1.0 - a2 - c)


def _split(process: ProcessSpec, scan: float) -> tuple[int, float]:
    """The dead time in whole scans, and what is left as a fraction of one."""
    scans = process.dead_time / scan
    whole = floor(scans + _SLACK)
    rest = scans - whole
    return whole, rest if rest > _SLACK else 0.0


@lru_cache(maxsize=4096)  # what many loops have alike
def weights(process: ProcessSpec, scan: float) -> tuple[float, ...]:
    """p11, p21, p22, then the input's weights on x1 and x2: of the newer held value, and of the older."""
    _, late = _split(process, scan)
    p11, p21, p22, _, _ = transition(process, scan)
    q11, q21, q22, new1, new2 = transition(process, scan * (1.0 - late))
    _, _, _, old1, old2 = transition(process, scan * late) if late else (0.0,) * 5
    return p11, p21, p22, new1, new2, q11 * old1, q21 * old1 + q22 * old2


def pulse_transfer(process: ProcessSpec, scan: float, z: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
    """The process and its dead time as a function of z, flow in and PV out."""
    p11, p21, p22, new1, new2, old1, old2 = weights(process, scan)
    x1 = (new1 + old1 / z) / (z - p11)
    x2 = (new2 + old2 / z + p21 * x1) / (z - p22)
    return np.asarray(x2 * z ** -float(_split(process, scan)[0]))


class DeadTime:
    """A delay of a whole number of scans for each loop, at constant cost: a ring a loop, all in one array.

    What loops of one delay take in at one scan lies side by side, and the array is no more in the caches than it must.
    """

    def __init__(self, scans: Indices) -> None:
        lengths, group, counts = np.unique(scans + 1, return_inverse=True, return_counts=True)
        self._length, self._step = lengths[group], counts[group]
        before = np.cumsum(counts) - counts  # loops of shorter delays
        rank = np.empty(len(scans), dtype=np.intp)
        rank[np.argsort(group, kind="stable")] = np.arange(len(scans))
        self._first = (np.cumsum(lengths * counts) - lengths * counts - before)[group] + rank
        self._end = self._first + self._length * self._step
        self._at = self._first.copy()
        self._ring = np.zeros(int(self._length.sum()))
        self._wrap = np.empty(len(scans), dtype=bool)

    def step(self, value: Floats, out: Floats) -> None:
        """Take in this scan's value, give the one of so many scans ago."""
        self._ring[self._at] = value
        self._at += self._step
        np.equal(self._at, self._end, out=self._wrap)
        np.copyto(self._at, self._first, where=self._wrap)
        self._ring.take(self._at, out=out, mode="clip")

    def ring(self, i: int) -> tuple[Floats, int]:
        """The ring of one loop, to be written on, and the place in it at which its next value is taken in."""
        first, step = int(self._first[i]), int(self._step[i])
        return self._ring[first:self._end[i]:step], (int(self._at[i]) - first) // step

    def turn(self, i: int, place: int) -> None:
        """The ring of one loop has been written on, up to this place."""
        self._at[i] = self._first[i] + place * self._step[i]

    def _all(self) -> Indices:
        """Where the values of the first loop's ring are, then those of the second, ..."""
        behind = np.arange(len(self._ring)) - np.repeat(np.cumsum(self._length) - self._length, self._length)
        return np.asarray(np.repeat(self._first, self._length) + behind * np.repeat(self._step, self._length))

    def recall(self) -> Tables:
        everybody = np.arange(len(self._length))
        at = (self._at - self._first) // self._step
        return {
            stored_names.DEAD_TIME_RING: Rows(np.repeat(everybody, self._length), self._ring[self._all()]),
            stored_names.DEAD_TIME_PLACE: Rows(everybody, at)}

    def restore(self, tables: Tables) -> None:
        ring, (ours, at) = tables[stored_names.DEAD_TIME_RING], tables[stored_names.DEAD_TIME_PLACE]
        known = np.repeat(np.isin(np.arange(len(self._length)), ours), self._length)
        self._ring[self._all()[known]] = ring.values
        self._at[ours] = self._first[ours] + at * self._step[ours]


class Process(Columns):
    """The processes of N loops, as deviations from where they rest."""

    stored_arrays = stored_names.PROCESS

    def __init__(self, loops: Loops, state: State, scan: float) -> None:
        self.columns = np.arange(len(loops))
        self._weights = loops.columns(lambda loop: weights(loop.process, scan))
        self._p11, self._p21, self._p22, self._new1, self._new2, self._old1, self._old2 = self._weights
        self._load1, self._load2 = self._new1 + self._old1, self._new2 + self._old2
        second = loops.where(lambda loop: loop.process.model == "sopdt")
        self._second = bool(second.any())
        whole, late = loops.columns(lambda loop: _split(loop.process, scan))
        self._split = bool(late.any())
        self.dead_time = DeadTime(whole.astype(np.intp))
        self._state = state
        self._rest: Floats = loops.column(lambda loop: percent(loop.sp, loop.range))
        self._x2 = state.true_pv - self._rest
        self._x1 = self._x2.copy() * second
        self._tanks = np.flatnonzero(loops.where(lambda loop: loop.process.model == "integrator"))
        # A vessel is never fuller than full nor emptier than empty.
        self._empty, self._full = -self._rest[self._tanks], 100.0 - self._rest[self._tanks]
        self._new, self._old = np.zeros(len(loops)), np.zeros(len(loops))

    def become(self, at: npt.NDArray[np.intp], changed: Floats) -> None:
        """The loops `at` (M,) go on with other `weights`, (7, M)."""
        self._weights[:, at] = changed
        self._load1[at], self._load2[at] = changed[3] + changed[5], changed[4] + changed[6]

    def correct(self, at: npt.NDArray[np.intp], x1: Floats, x2: Floats) -> None:
        """Add to the states of the loops `at`, (M,), what is known of them otherwise."""
        self._x1[at] += x1
        self._x2[at] += x2

    def measure(self) -> None:
        """Stage 3: the true process variable of this instant."""
        np.add(self._rest, self._x2, out=self._state.true_pv)

    def step(self, flow: Floats) -> None:
        """Stage 7: the state moves on by one scan under `flow`, (N,) deviation in per cent of travel."""
        self._old[:] = self._new
        self.dead_time.step(flow, self._new)
        new, old, load = self._new, self._old, self._state.load
        output(self._x2, self._x1, self._p21, self._p22, self._new2, self._old2, self._load2, new, old, load,
               self._split, self._second)
        if self._second:
            first_state(self._x1, self._p11, self._new1, self._old1, self._load1, new, old, load, self._split)
        if self._tanks.size:
            self._x2[self._tanks] = self._x2[self._tanks].clip(self._empty, self._full)

    def constants(self, i: int) -> dict[str, float | bool]:
        """Those of `scan.Constants` that are this stage's, of one loop."""
        weights = zip(("p11", "p21", "p22", "new1", "new2", "old1", "old2"), self._weights[:, i].tolist(), strict=True)
        return {**dict(weights), "load1": float(self._load1[i]), "load2": float(self._load2[i]),
                "rest_pv": float(self._rest[i]), "second": self._second, "split": self._split,
                "tank": i in self._tanks}

    def moving(self) -> dict[str, Floats]:
        """Those of `scan.Moving` that are this stage's, (N,) each."""
        return {"x1": self._x1, "x2": self._x2, "new": self._new}
