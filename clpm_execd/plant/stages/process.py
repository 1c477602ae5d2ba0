"""Processes: first order, second order or integrating, behind a dead time, exact between scans.

For an input held over each scan the output at the scans is that of the continuous process to rounding, for any dead
time: one that is no multiple of the scan splits the scan's input between two held values, each with its exact
weight (Astrom and Wittenmark, 1997, section 2.3). All models are one pair of states, x2 being the output:
x1+ = a11 x1 + b1 u, x2+ = a21 x1 + a22 x2 + b2 u.
"""

from __future__ import annotations

from functools import lru_cache
from math import floor, inf

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import Floats
from clpm_execd.plant.elementary import ComplexPair, cos, divide, exp, expm1, multiply, sin
from clpm_execd.plant.kernel.equations import inner_state_step, output_step
from clpm_execd.plant.loop_set import Indices, LoopSet
from clpm_execd.plant.snapshot import LoopArrays, OwnedRows, Tables
from clpm_execd.plant.specs import ProcessSpec
from clpm_execd.plant.stages.state import State

_DEAD_TIME_TOLERANCE_SCANS = 1e-9  # rounding: a dead time of 3.0000000001 scans is three


def _compute_decay(h: float, tau: float) -> float:
    return exp(-h / tau) if tau > 0 else 0.0


def discretize(process: ProcessSpec, h: float) -> tuple[float, float, float, float, float]:
    """Discretize a process without its dead time, by zero-order hold.

    Parameters
    ----------
    process
        Gain in % of span per % of travel, an integrator's per second; time constants in s.
    h
        The time over which the input is held, s.

    Returns
    -------
    a11, a21, a22, b1, b2 of x1+ = a11 x1 + b1 u, x2+ = a21 x1 + a22 x2 + b2 u, x2 being the output.

    References
    ----------
    Astrom and Wittenmark, Computer-Controlled Systems (1997), section 2.3.
    """
    if process.model == "integrator":
        return 0.0, 0.0, 1.0, 0.0, process.gain * h
    if process.model == "fopdt":
        a = _compute_decay(h, process.tau[0])
        return 0.0, 0.0, a, 0.0, process.gain * (1.0 - a)
    tau1, tau2 = process.tau
    a1, a2 = _compute_decay(h, tau1), _compute_decay(h, tau2)
    slow, fast = max(tau1, tau2), min(tau1, tau2)
    if slow == fast:
        c = h / tau1 * a1 if a1 > 0 else 0.0
    else:
        # The difference of two exponentials, which keeps its digits, however near the lags, as one times expm1.
        exponent = h * (slow - fast) / slow / fast if fast > 0 else inf
        c = -expm1(-exponent) * max(a1, a2) * tau1 / (slow - fast)
    gain = process.gain
    return a1, c, a2, gain * (1.0 - a1), gain * (1.0 - a2 - c)


def _split_dead_time(process: ProcessSpec, scan: float) -> tuple[int, float]:
    """Return the dead time as whole scans and a fraction of one."""
    scans = process.dead_time / scan
    whole_scans = floor(scans + _DEAD_TIME_TOLERANCE_SCANS)
    fraction = scans - whole_scans
    return whole_scans, fraction if fraction > _DEAD_TIME_TOLERANCE_SCANS else 0.0


@lru_cache(maxsize=4096)  # what many loops have alike
def discretize_with_dead_time(process: ProcessSpec, scan: float) -> tuple[float, ...]:
    """Discretize a process with the fraction of a scan in its dead time, by zero-order hold.

    Parameters
    ----------
    process
        The process, as for `discretize`.
    scan
        The time over which the input is held, s.

    Returns
    -------
    a11, a21, a22, b1_new, b2_new, b1_old, b2_old: the transition, and the weights on x1 and x2 of the newer and of the
    older held input.
    """
    _, fraction = _split_dead_time(process, scan)
    a11, a21, a22, _, _ = discretize(process, scan)
    q11, q21, q22, b1_new, b2_new = discretize(process, scan * (1.0 - fraction))
    _, _, _, b1_late, b2_late = discretize(process, scan * fraction) if fraction else (0.0,) * 5
    return a11, a21, a22, b1_new, b2_new, q11 * b1_late, q21 * b1_late + q22 * b2_late


def frequency_response(process: ProcessSpec, scan: float, angle: Floats) -> ComplexPair:
    """Return the response of the process with its dead time, from flow to PV.

    Parameters
    ----------
    process
        The process, as for `discretize`.
    scan
        The time over which the input is held, s.
    angle
        (K,) the phase of an oscillation of each frequency after one scan, radians.

    Returns
    -------
    Real and imaginary part, (K,) each.
    """
    a11, a21, a22, b1_new, b2_new, b1_old, b2_old = discretize_with_dead_time(process, scan)
    real, imaginary = delay = cos(angle), -sin(angle)  # of one scan: 1/z
    x1 = divide(multiply((b1_new + b1_old * real, b1_old * imaginary), delay), (1.0 - a11 * real, -a11 * imaginary))
    x2 = divide((b2_new + b2_old * real + a21 * x1[0], b2_old * imaginary + a21 * x1[1]),
                (1.0 - a22 * real, -a22 * imaginary))
    delays = (1.0 + _split_dead_time(process, scan)[0]) * angle
    return multiply(x2, (cos(delays), -sin(delays)))


class DeadTime:
    """A delay of a whole number of scans for each loop, at constant cost: a ring for each loop, all in one array.

    What loops of one delay take in at a scan lies side by side, so that the array takes no more of the caches than it
    must.
    """

    def __init__(self, scans: Indices) -> None:
        lengths, group, counts = np.unique(scans + 1, return_inverse=True, return_counts=True)
        self._stride = counts[group]
        before = np.cumsum(counts) - counts  # loops of shorter delays
        rank = np.empty(len(scans), dtype=np.intp)
        rank[np.argsort(group, kind="stable")] = np.arange(len(scans))
        ends = np.cumsum(lengths * counts)
        self._first = (ends - lengths * counts - before)[group] + rank
        self._end = self._first + lengths[group] * self._stride
        self._head = self._first.copy()
        self._values = np.zeros(int(ends[-1]))
        self._is_at_end = np.empty(len(scans), dtype=bool)

    def step(self, value: Floats, out: Floats) -> None:
        """Take in this scan's value, give the one of so many scans ago."""
        self._values[self._head] = value
        self._head += self._stride
        np.equal(self._head, self._end, out=self._is_at_end)
        np.copyto(self._head, self._first, where=self._is_at_end)
        self._values.take(self._head, out=out, mode="clip")

    def delay_line(self, i: int) -> tuple[Floats, int]:
        """Return the ring of one loop, to be written on, and its head: where the next value is taken in."""
        first, stride = int(self._first[i]), int(self._stride[i])
        return self._values[first:self._end[i]:stride], (int(self._head[i]) - first) // stride

    def set_head(self, i: int, head: int) -> None:
        """Take note that the ring of one loop has been written on, up to this place."""
        self._head[i] = self._first[i] + head * self._stride[i]

    def _order_by_loop(self) -> Indices:
        """Return where the values of the first loop's ring are, then those of the second, and so on."""
        lengths = self._lengths
        place = np.arange(len(self._values)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return np.asarray(np.repeat(self._first, lengths) + place * np.repeat(self._stride, lengths))

    @property
    def _lengths(self) -> Indices:
        lengths: Indices = (self._end - self._first) // self._stride
        return lengths

    def snapshot(self) -> Tables:
        loops = np.arange(len(self._first))
        head = (self._head - self._first) // self._stride
        return {
            stored_names.DEAD_TIME_RING: OwnedRows(np.repeat(loops, self._lengths),
                                                   self._values[self._order_by_loop()]),
            stored_names.DEAD_TIME_PLACE: OwnedRows(loops, head)}

    def restore(self, tables: Tables) -> None:
        ring, (loops, head) = tables[stored_names.DEAD_TIME_RING], tables[stored_names.DEAD_TIME_PLACE]
        is_restored = np.repeat(np.isin(np.arange(len(self._first)), loops), self._lengths)
        self._values[self._order_by_loop()[is_restored]] = ring.values
        self._head[loops] = self._first[loops] + head * self._stride[loops]


class Process(LoopArrays):
    """The processes of N loops, as deviations from their operating points.

    dead_time: the delay of their flows.
    """

    stored_arrays = stored_names.PROCESS

    def __init__(self, loops: LoopSet, state: State, scan: float) -> None:
        self.columns = state.columns
        self._coefficients = loops.columns(lambda loop: discretize_with_dead_time(loop.process, scan))
        (self._a11, self._a21, self._a22, self._b1_new, self._b2_new, self._b1_old,
         self._b2_old) = self._coefficients
        self._b1_load, self._b2_load = self._b1_new + self._b1_old, self._b2_new + self._b2_old
        is_second_order = loops.where(lambda loop: loop.process.model == "sopdt")
        self._is_second_order = bool(is_second_order.any())
        whole_scans, fraction = loops.columns(lambda loop: _split_dead_time(loop.process, scan))
        self._has_fractional_delay = bool(fraction.any())
        self.dead_time = DeadTime(whole_scans.astype(np.intp))
        self._state = state
        self._nominal_pv = state.nominal_sp
        self._x2 = state.true_pv - self._nominal_pv
        self._x1 = self._x2.copy() * is_second_order
        self._integrating = np.flatnonzero(loops.where(lambda loop: loop.process.model == "integrator"))
        # A vessel is never fuller than full nor emptier than empty.
        self._empty, self._full = -self._nominal_pv[self._integrating], 100.0 - self._nominal_pv[self._integrating]
        self._new_flow, self._old_flow = np.zeros(len(loops)), np.zeros(len(loops))

    def set_coefficients(self, loops: npt.NDArray[np.intp], coefficients: Floats) -> None:
        """Give the loops of these indices, (M,), the coefficients of `discretize_with_dead_time`, (7, M)."""
        self._coefficients[:, loops] = coefficients
        self._b1_load[loops] = coefficients[3] + coefficients[5]
        self._b2_load[loops] = coefficients[4] + coefficients[6]

    def add_to_state(self, loops: npt.NDArray[np.intp], x1: Floats, x2: Floats) -> None:
        """Correct the states of the loops of these indices, (M,), by these amounts."""
        self._x1[loops] += x1
        self._x2[loops] += x2

    def measure(self) -> None:
        """Stage 3: the true process variable of this instant."""
        np.add(self._nominal_pv, self._x2, out=self._state.true_pv)

    def step(self, flow: Floats) -> None:
        """Stage 7: the state moves on by one scan under `flow`, (N,) deviation in per cent of travel."""
        self._old_flow[:] = self._new_flow
        self.dead_time.step(flow, self._new_flow)
        new_flow, old_flow, load = self._new_flow, self._old_flow, self._state.load
        output_step(self._x2, self._x1, self._a21, self._a22, self._b2_new, self._b2_old, self._b2_load, new_flow,
                    old_flow, load, self._has_fractional_delay, self._is_second_order)
        if self._is_second_order:
            inner_state_step(self._x1, self._a11, self._b1_new, self._b1_old, self._b1_load, new_flow, old_flow, load,
                             self._has_fractional_delay)
        if self._integrating.size:
            self._x2[self._integrating] = self._x2[self._integrating].clip(self._empty, self._full)

    def loop_params(self, i: int) -> dict[str, float | bool]:
        """Return this stage's fields of `equations.LoopParams`, of one loop."""
        names = ("a11", "a21", "a22", "b1_new", "b2_new", "b1_old", "b2_old")
        coefficients = zip(names, self._coefficients[:, i].tolist(), strict=True)
        return {**dict(coefficients), "b1_load": float(self._b1_load[i]), "b2_load": float(self._b2_load[i]),
                "nominal_pv": float(self._nominal_pv[i]), "is_second_order": self._is_second_order,
                "has_fractional_delay": self._has_fractional_delay, "is_integrating": i in self._integrating}

    def loop_state(self) -> dict[str, Floats]:
        """Return this stage's fields of `equations.LoopState`, (N,) each."""
        return {"x1": self._x1, "x2": self._x2, "delayed_flow": self._new_flow}
