"""Tuning rules: controller gain and reset from the process.

SIMC (Skogestad, 2003) for tight, lambda and sluggish tuning, by the closed-loop time constant; a gain margin of 1.08
for an aggressive loop, which rings for minutes after every move. In the first three the gain is limited so that
measurement noise moves OP by no more than 0.25 %, as in healthy plants.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import fsum, pi

import numpy as np

from clpm_execd.plant.block import Floats
from clpm_execd.plant.elementary import cos, divide, exp, log, multiply, sin
from clpm_execd.plant.specs import ControllerSpec, LoopSpec, ProcessSpec, SensorSpec, ValveSpec
from clpm_execd.plant.stages.process import frequency_response

MAX_NOISE_IN_OP_PERCENT = 0.25  # sigma, of healthy loops (docs/physics.md)
AGGRESSIVE_GAIN_MARGIN = 1.08  # rings for minutes after a move, and never grows
_FREQUENCIES = 2000  # of the Nyquist curve, over the decades from a thousandth of the slowest pole to Nyquist's
_MIN_GAIN = 1e-9  # %/%: a process that moves less does not answer its valve, and is tuned as if its gain were 1
# Reset by dead time, lag by closed-loop time constant, and the closed-loop time constants in dead times or lags.
_AGGRESSIVE_RESET_DEAD_TIMES = 8.0  # SIMC's Ti of the tightest recommended tuning, tc = dead time: 4 (tc + dead time)
_LAMBDA_LAGS, _LAMBDA_DEAD_TIMES = 1.5, 3.0  # the usual lambda of a plant's loops; of an integrator, in dead times
_SLUGGISH_FACTOR, _SLUGGISH_DEAD_TIMES = 5.0, 6.0  # several times slower than lambda tuning: visibly sluggish


def tune_controller(loop: LoopSpec, scan: float) -> ControllerSpec:
    """Return the controller with gain, reset and derivative all set: as configured, else by its tuning rule.

    A rule gives a PI controller of the ideal form; next to a gain or a reset that is configured it fills in the other.

    Parameters
    ----------
    loop
        The loop; only its process, valve, sensor and controller matter.
    scan
        Time between controller executions, s.
    """
    return _tune_controller(loop.controller, loop.process, loop.valve, loop.sensor, scan)


@lru_cache(maxsize=4096)  # what many loops have alike
def _tune_controller(controller: ControllerSpec, process: ProcessSpec, valve: ValveSpec, sensor: SensorSpec,
                     scan: float) -> ControllerSpec:
    gain, reset = _apply_rule(controller.tuning, process, valve, sensor, scan)
    if controller.form == "parallel" and controller.gain is not None:
        reset /= controller.gain  # 1/Ki = Ti/Kc
    elif controller.form == "parallel":
        reset /= gain
    return replace(
        controller,
        gain=gain if controller.gain is None else controller.gain,
        reset=reset if controller.reset is None else controller.reset,
        derivative=controller.derivative or 0.0,
    )


def apply_tuning_rule(loop: LoopSpec, scan: float) -> tuple[float, float]:
    """Return (Kc > 0, Ti in s) by the loop's tuning rule, whatever is configured besides.

    Parameters
    ----------
    loop
        The loop; only its process, valve, sensor and tuning rule matter.
    scan
        Time between controller executions, s.

    References
    ----------
    Skogestad, Simple analytic rules for model reduction and PID controller tuning (2003).
    """
    return _apply_rule(loop.controller.tuning, loop.process, loop.valve, loop.sensor, scan)


@lru_cache(maxsize=4096)  # for the gain and the reset of a fault of a loop, and of each of its copies
def _apply_rule(rule: str, process: ProcessSpec, valve: ValveSpec, sensor: SensorSpec,
                scan: float) -> tuple[float, float]:
    # An analyser holds each value for a cycle: on average that is a dead time of half a cycle.
    process = replace(process, dead_time=process.dead_time + sensor.cycle / 2.0)
    gain, lag, second_lag, dead_time = _compute_effective_process(process, valve, scan)
    is_integrating = process.model == "integrator"
    if rule == "aggressive":
        reset = _AGGRESSIVE_RESET_DEAD_TIMES * dead_time
        reset = reset if is_integrating else min(lag, reset)
        limit = _compute_ultimate_gain(replace(process, gain=gain), valve.lag, reset, scan)
        return limit / AGGRESSIVE_GAIN_MARGIN, reset
    # Skogestad's half rule: the second lag is half dead time, half lag.
    dead_time += second_lag / 2.0
    lag += second_lag / 2.0
    closed_loop = {
        "tight": dead_time,
        "lambda": _LAMBDA_DEAD_TIMES * dead_time if is_integrating else max(_LAMBDA_LAGS * lag, dead_time),
        "sluggish": _SLUGGISH_DEAD_TIMES * dead_time if is_integrating else _SLUGGISH_FACTOR * (lag + dead_time)}[rule]
    kc = (1.0 if is_integrating else lag) / (gain * (closed_loop + dead_time))
    if sensor.noise > 0:
        kc = min(kc, MAX_NOISE_IN_OP_PERCENT / sensor.noise)
    if is_integrating:
        return kc, 4.0 / (gain * kc)
    return kc, min(lag, 4.0 * (closed_loop + dead_time))


def _compute_effective_process(process: ProcessSpec, valve: ValveSpec,
                               scan: float) -> tuple[float, float, float, float]:
    """Return (gain, lag, second lag, dead time), in s: with the scan's own delay, and the actuator's lag."""
    lags = sorted((0.0,) if process.model == "integrator" else process.tau, reverse=True)
    lag = max(lags[0], scan)
    second_lag = lags[1] if len(lags) > 1 else 0.0
    gain = abs(process.gain) if abs(process.gain) > _MIN_GAIN else 1.0
    return gain, lag, second_lag, process.dead_time + scan + valve.lag


def _compute_ultimate_gain(process: ProcessSpec, valve_lag: float, reset: float, scan: float) -> float:
    """Return the controller gain at the limit of stability, where the Nyquist curve meets the negative real axis."""
    slowest = 1e-3 / (fsum((*process.tau, process.dead_time, valve_lag, reset, scan)))
    fraction_of_log: Floats = np.arange(_FREQUENCIES - 1, -1, -1) / (_FREQUENCIES - 1.0)
    angle = pi * exp(fraction_of_log * log(slowest * scan / pi))  # of a scan, evenly spaced on a logarithmic scale
    real, imaginary = -cos(angle), sin(angle)  # of -1/z
    stem = exp(-scan / valve_lag) if valve_lag > 0 else 0.0
    actuator = divide((1.0 - stem + 0.0 * real, 0.0 * real), (1.0 + stem * real, stem * imaginary))
    controller = divide((1.0 + scan / reset + real, imaginary), (1.0 + real, imaginary))
    real, imaginary = multiply(multiply(frequency_response(process, scan, angle), actuator), controller)
    at = np.flatnonzero(np.diff(np.signbit(imaginary)))
    fraction = imaginary[at] / (imaginary[at] - imaginary[at + 1])
    crossings = np.append(real[at] + fraction * (real[at + 1] - real[at]), real[-1])
    return -1.0 / float(crossings.min())
