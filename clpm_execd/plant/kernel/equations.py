"""The physics of one scan, written once: it runs as it stands on a number, on an array of all loops, and compiled.

Each law takes what it changes first, changes it by +=, -= and *= alone, and returns it: an array is written in place,
a number is another. Where an array comes in, flags are those of all loops; a law of a loop that has no use for a term
adds nothing, so that flags change no bit. The stages of a tick (`plant.disturbance` to `plant.process`) use the laws
on arrays; `scans` strings them together, the time loop inside, for a loop by itself.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence
from math import sqrt
from typing import NamedTuple, TypeVar

from clpm_execd.plant.block import Floats

C = TypeVar("C", float, Floats)  # one loop, or a column of all

LOWEST, HIGHEST = -1.25, 103.125  # % of span: where a 4-20 mA transmitter saturates (NAMUR NE 43: 3.8 and 20.5 mA)


def drift(load: C, decay: C, kick: C, chance: C) -> C:
    """An Ornstein-Uhlenbeck process a scan on; `chance` is standard normal."""
    load *= decay
    load += kick * chance
    return load


def reading(sigma: C, chance: C, true_pv: C) -> C:
    """What a transmitter without limits shows; `chance` is standard normal."""
    shown = sigma * chance
    shown += true_pv
    return shown


def slope(derivative: C, fade: C, kd: C, last_pv: C, pv: C) -> C:
    """The filtered derivative action, on the process variable."""
    derivative *= fade
    derivative += (last_pv - pv) * kd
    return derivative


def reset(integral: C, ki: C, sp: C, pv: C) -> C:
    """The integral action, a scan on."""
    integral += (sp - pv) * ki
    return integral


def asked(weight: C, sp: C, pv: C, kp: C, integral: C) -> C:
    """The OP that a controller without limits and derivative action gives."""
    op = weight * sp
    op -= pv
    op *= kp
    op += integral
    return op


def unwound(integral: C, op: C, wanted: C, share: C) -> C:
    """The integral after back-calculation from the OP that was `wanted` to that which came of it."""
    integral += (op - wanted) * share
    return integral


def travelled(position: C, op: C, share: C) -> C:
    """Where an actuator stands that goes this share of its way in a scan."""
    position += (op - position) * share
    return position


def equal_percentage(travel: C, log_r: C) -> C:
    """The flow of f = R^(x-1), as deviation from rest at slope 1: (R^(x-x0) - 1) / ln R.

    travel: x - x0. log_r: ln R, both of one unit of travel. expm1 is made here of plain arithmetic, since those of
    two libraries differ in their last bit: Lambert's fraction of tanh (1770) of a 32nd, doubled up.
    """
    h = travel * log_r
    h *= 1.0 / 32.0
    s = h * h
    p = ((s + 105.0) * s + 945.0) * h
    y = 2.0 * p / ((15.0 * s + 420.0) * s + 945.0 - p)
    y *= y + 2.0
    y *= y + 2.0
    y *= y + 2.0
    y *= y + 2.0
    y /= log_r
    return y


def quick_opening(root: C, rest_root: C, steepness: C) -> C:
    """The flow of f = sqrt(x), as deviation from rest at slope 1: 2 sqrt(x0) (sqrt(x) - sqrt(x0)).

    The roots are those of x and of x0. steepness: 2 sqrt(x0); below 1 % the slope is that at 1 %.
    """
    flow = root - rest_root
    flow *= steepness
    return flow


def first_state(x1: C, p11: C, new1: C, old1: C, load1: C, new: C, old: C, load: C, split: bool) -> C:
    """The inner state of a second-order process, a scan on; where a dead time splits the scan, `old` has a part."""
    x1 *= p11
    x1 += new1 * new
    x1 += load1 * load
    if split:
        x1 += old1 * old
    return x1


def output(x2: C, x1: C, p21: C, p22: C, new2: C, old2: C, load2: C, new: C, old: C, load: C, split: bool,
           second: bool) -> C:
    """The output of a process, a scan on, from the inner state before it."""
    x2 *= p22
    x2 += new2 * new
    x2 += load2 * load
    if split:
        x2 += old2 * old
    if second:
        x2 += p21 * x1
    return x2


class Constants(NamedTuple):
    """What one loop is made of, as the stages of a tick keep it; rest_op and rest_pv are where it is in balance.

    derives, lags, second, split, tank: whether it has derivative action, an actuator that lags, a second-order
    process, a dead time that is no whole number of scans, an integrating process. log_r: 0 where the valve is not
    of equal percentage; steepness: 0 where it is not quick-opening.
    """

    decay: float
    kick: float
    sigma: float
    weight: float
    kp: float
    ki: float
    kd: float
    fade: float
    unwind: float
    share: float
    rest_op: float
    log_r: float
    steepness: float
    rest_pv: float
    p11: float
    p21: float
    p22: float
    new1: float
    new2: float
    old1: float
    old2: float
    load1: float
    load2: float
    derives: bool
    lags: bool
    second: bool
    split: bool
    tank: bool


class Moving(NamedTuple):
    """What one loop remembers from scan to scan; `new` is the flow that last came out of its dead time."""

    load: float
    integral: float
    derivative: float
    last_pv: float
    position: float
    x1: float
    x2: float
    new: float


Row = MutableSequence[float]


def scans(loop: Constants, moving: Moving, ring: Row, place: int, sp: float, chances: Sequence[float],
          noise: Sequence[float], op_row: Row, pv_row: Row, true_row: Row, position_row: Row) -> tuple[Moving, int]:
    """As many scans as there are chances, of one loop in AUT that nothing touches, its SP at rest.

    ring: its flows, of dead time and one scan, written on from `place`. The rows take the signals of every scan.
    chances, noise: standard normal, of load and sensor. Returns what it remembers, and the place in the ring.
    """
    (decay, kick, sigma, weight, kp, ki, kd, fade, unwind, share, rest_op, log_r, steepness, rest_pv, p11, p21, p22,
     new1, new2, old1, old2, load1, load2, derives, lags, second, split, tank) = loop
    load, integral, derivative, last_pv, position, x1, x2, new = moving
    length = len(ring)
    lowest, highest, emptiest, fullest = LOWEST, HIGHEST, -rest_pv, 100.0 - rest_pv
    rest_root = sqrt(rest_op)
    for t in range(len(chances)):
        load = drift(load, decay, kick, chances[t])  # 2 load at the process input
        true_pv = rest_pv + x2  # 3 true process variable
        pv = reading(sigma, noise[t], true_pv)  # 4 measured process variable
        pv = lowest if pv < lowest else highest if pv > highest else pv
        if derives:  # 5 controller output
            derivative = slope(derivative, fade, kd, last_pv, pv)
            last_pv = pv
        integral = reset(integral, ki, sp, pv)
        wanted = asked(weight, sp, pv, kp, integral)
        if derives:
            wanted += derivative
        op = 0.0 if wanted < 0.0 else 100.0 if wanted > 100.0 else wanted
        integral = unwound(integral, op, wanted, unwind)
        position = travelled(position, op, share) if lags else op  # 6 valve position and flow
        flow = position - rest_op
        if log_r:
            flow = equal_percentage(flow, log_r)
        elif steepness:
            flow = quick_opening(sqrt(position), rest_root, steepness)
        ring[place] = flow  # 7 process state, with the delayed flow
        place += 1
        if place == length:
            place = 0
        old, new = new, ring[place]
        x2 = output(x2, x1, p21, p22, new2, old2, load2, new, old, load, split, second)
        if second:
            x1 = first_state(x1, p11, new1, old1, load1, new, old, load, split)
        if tank:  # a vessel is never fuller than full nor emptier than empty
            x2 = emptiest if x2 < emptiest else fullest if x2 > fullest else x2
        op_row[t], pv_row[t], true_row[t], position_row[t] = op, pv, true_pv, position
    return Moving(load, integral, derivative, last_pv, position, x1, x2, new), place
