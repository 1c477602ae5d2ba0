"""The equations of one scan, written once: they run on a number, on an array over all loops, and compiled by numba.

All three give the same bits. Each function takes first what it changes, changes it by +=, -= and *= alone, and returns
it: an array is written in place, a number comes back as another. With arrays, flags are those of all loops; a loop that
has no use for a term adds zero, so that flags change no bit. The stages of a scan (`plant.stages`) apply the functions
to arrays; `simulate_scans` strings them together, the time loop inside, for a single loop.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence
from math import sqrt
from typing import NamedTuple, TypeVar

from clpm_execd.plant.block import Floats

V = TypeVar("V", float, Floats)  # the value of one loop, or an array over all loops

# % of span, where a 4-20 mA transmitter saturates: 3.8 and 20.5 mA (NAMUR NE 43).
SATURATION_LOW_PERCENT, SATURATION_HIGH_PERCENT = -1.25, 103.125


def ou_step(load: V, ar1: V, shock: V) -> V:
    """Advance an Ornstein-Uhlenbeck process by a scan; `shock` is what is new in it."""
    load *= ar1
    load += shock
    return load


def measure(sigma: V, normal: V, true_pv: V) -> V:
    """Return what a transmitter without limits shows; `normal` is standard normal."""
    pv = sigma * normal
    pv += true_pv
    return pv


def derivative_action(derivative: V, filter_pole: V, kd: V, last_pv: V, pv: V) -> V:
    """Advance the filtered derivative action, on the process variable, by a scan."""
    derivative *= filter_pole
    derivative += (last_pv - pv) * kd
    return derivative


def integrate(integral: V, ki: V, sp: V, pv: V) -> V:
    """Advance the integral action by a scan."""
    integral += (sp - pv) * ki
    return integral


def unsaturated_output(setpoint_weight: V, sp: V, pv: V, kp: V, integral: V) -> V:
    """Return the OP of a PI controller before its limits."""
    op = setpoint_weight * sp
    op -= pv
    op *= kp
    op += integral
    return op


def anti_windup_back_calculation(integral: V, op: V, unsaturated_op: V, gain: V) -> V:
    """Return the integral after back-calculation from the OP before the limits to that behind them."""
    integral += (op - unsaturated_op) * gain
    return integral


def actuator_lag(position: V, op: V, travel_fraction: V) -> V:
    """Advance an actuator that goes this fraction of its way in a scan."""
    position += (op - position) * travel_fraction
    return position


def equal_percentage(travel: V, log_r: V) -> V:
    """Return the flow of f = R^(x-1), as deviation at slope 1: (R^(x-x0) - 1) / ln R.

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


def quick_opening(root: V, nominal_root: V, root_gain: V) -> V:
    """Return the flow of f = sqrt(x), as deviation at slope 1: 2 sqrt(x0) (sqrt(x) - sqrt(x0)).

    The roots are those of x and of x0. root_gain: 2 sqrt(x0); below 1 % the slope is that at 1 %.
    """
    flow = root - nominal_root
    flow *= root_gain
    return flow


def inner_state_step(x1: V, a11: V, b1_new: V, b1_old: V, b1_load: V, new_flow: V, old_flow: V, load: V,
                     has_fractional_delay: bool) -> V:
    """Advance the inner state of a second-order process by a scan.

    The scan's input is in part the older held flow where the dead time is no whole number of scans.
    """
    x1 *= a11
    x1 += b1_new * new_flow
    x1 += b1_load * load
    if has_fractional_delay:
        x1 += b1_old * old_flow
    return x1


def output_step(x2: V, x1: V, a21: V, a22: V, b2_new: V, b2_old: V, b2_load: V, new_flow: V, old_flow: V, load: V,
                has_fractional_delay: bool, is_second_order: bool) -> V:
    """Advance the output of a process by a scan, from the inner state before it."""
    x2 *= a22
    x2 += b2_new * new_flow
    x2 += b2_load * load
    if has_fractional_delay:
        x2 += b2_old * old_flow
    if is_second_order:
        x2 += a21 * x1
    return x2


class LoopParams(NamedTuple):
    """The parameters of one loop, as the stages of a scan have them; it is in balance at nominal_op and nominal_pv.

    load_ar1 belongs to the disturbance, noise_sigma to the sensor, setpoint_weight to anti_windup_gain to the
    controller, travel_fraction to the actuator. log_r is 0 where the valve is not of equal percentage, root_gain where
    it is not quick-opening. a and b are the discrete process, x+ = A x + B u, where u are the newer and the older flow
    behind the dead time, and the load. has_fractional_delay: whether the dead time is no whole number of scans.
    """

    load_ar1: float
    noise_sigma: float
    setpoint_weight: float
    kp: float
    ki: float
    kd: float
    filter_pole: float
    anti_windup_gain: float
    travel_fraction: float
    nominal_op: float
    log_r: float
    root_gain: float
    nominal_pv: float
    a11: float
    a21: float
    a22: float
    b1_new: float
    b2_new: float
    b1_old: float
    b2_old: float
    b1_load: float
    b2_load: float
    has_derivative: bool
    has_actuator_lag: bool
    is_second_order: bool
    has_fractional_delay: bool
    is_integrating: bool


class LoopState(NamedTuple):
    """The state of one loop between two scans; `delayed_flow` is the flow that last came out of its dead time."""

    load: float
    integral: float
    derivative: float
    last_pv: float
    position: float
    x1: float
    x2: float
    delayed_flow: float


SignalRow = MutableSequence[float]


def simulate_scans(loop: LoopParams, state: LoopState, delay_line: SignalRow, head: int, sp: float,
                   load_shocks: Sequence[float], noise_normals: Sequence[float], op_row: SignalRow, pv_row: SignalRow,
                   true_pv_row: SignalRow, position_row: SignalRow) -> tuple[LoopState, int]:
    """Simulate one loop in AUT, its SP constant, and return its state and the head of its delay line.

    Parameters
    ----------
    loop, state
        The loop's parameters, and its state before the first scan.
    delay_line, head
        The loop's flows, % of travel, over dead time and one scan: a ring that is written on from `head`.
    sp
        Set point, % of span.
    load_shocks, noise_normals
        (T,) what is new in the load, % of travel, and standard normals of the sensor, for as many scans.
    op_row, pv_row, true_pv_row, position_row
        (T,) take the signals of every scan, per cent.
    """
    (ar1, sigma, weight, kp, ki, kd, filter_pole, anti_windup_gain, travel_fraction, nominal_op, log_r,
     root_gain, nominal_pv, a11, a21, a22, b1_new, b2_new, b1_old, b2_old, b1_load, b2_load, has_derivative,
     has_actuator_lag, is_second_order, has_fractional_delay, is_integrating) = loop
    load, integral, derivative, last_pv, position, x1, x2, new_flow = state
    length = len(delay_line)
    pv_low, pv_high = SATURATION_LOW_PERCENT, SATURATION_HIGH_PERCENT
    empty, full = -nominal_pv, 100.0 - nominal_pv
    nominal_root = sqrt(nominal_op)
    for t in range(len(load_shocks)):
        load = ou_step(load, ar1, load_shocks[t])  # 2 load at the process input
        true_pv = nominal_pv + x2  # 3 true process variable
        pv = measure(sigma, noise_normals[t], true_pv)  # 4 measured process variable
        pv = pv_low if pv < pv_low else pv_high if pv > pv_high else pv
        if has_derivative:  # 5 controller output
            derivative = derivative_action(derivative, filter_pole, kd, last_pv, pv)
            last_pv = pv
        integral = integrate(integral, ki, sp, pv)
        unsaturated_op = unsaturated_output(weight, sp, pv, kp, integral)
        if has_derivative:
            unsaturated_op += derivative
        op = 0.0 if unsaturated_op < 0.0 else 100.0 if unsaturated_op > 100.0 else unsaturated_op
        integral = anti_windup_back_calculation(integral, op, unsaturated_op, anti_windup_gain)
        # 6 valve position and flow
        position = actuator_lag(position, op, travel_fraction) if has_actuator_lag else op
        flow = position - nominal_op
        if log_r:
            flow = equal_percentage(flow, log_r)
        elif root_gain:
            flow = quick_opening(sqrt(position), nominal_root, root_gain)
        delay_line[head] = flow  # 7 process state, with the delayed flow
        head += 1
        if head == length:
            head = 0
        old_flow, new_flow = new_flow, delay_line[head]
        x2 = output_step(x2, x1, a21, a22, b2_new, b2_old, b2_load, new_flow, old_flow, load, has_fractional_delay,
                         is_second_order)
        if is_second_order:
            x1 = inner_state_step(x1, a11, b1_new, b1_old, b1_load, new_flow, old_flow, load, has_fractional_delay)
        if is_integrating:  # a vessel is never fuller than full nor emptier than empty
            x2 = empty if x2 < empty else full if x2 > full else x2
        op_row[t], pv_row[t], true_pv_row[t], position_row[t] = op, pv, true_pv, position
    return LoopState(load, integral, derivative, last_pv, position, x1, x2, new_flow), head
