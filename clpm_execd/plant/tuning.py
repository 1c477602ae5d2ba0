"""Tuning rules: controller gain and reset from the process.

SIMC (Skogestad, 2003) for tight, lambda and sluggish tuning, by the closed-loop time constant tc; a gain margin of
1.08 for an aggressive loop, which rings for minutes after every move. In the first three the gain is kept so low
that measurement noise moves OP by no more than 0.25 %, as in healthy plants.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import exp, pi

import numpy as np

from clpm_execd.plant.specs import ControllerSpec, LoopSpec, ProcessSpec, SensorSpec, ValveSpec
from clpm_execd.plant.stages.process import pulse_transfer_function

NOISE_IN_OP = 0.25  # %, sigma
AGGRESSIVE_GAIN_MARGIN = 1.08
_FREQUENCIES = 2000
_NO_GAIN = 1e-9  # a process that moves less does not answer its valve, and is tuned as if its gain were 1


def tuned(loop: LoopSpec, scan: float) -> ControllerSpec:
    """The controller with gain, reset and derivative all set: as given, else by its rule. scan in s.

    A rule gives a PI controller of the ideal form; beside a gain or a reset that the user gave it fills in the
    other.
    """
    return _tuned(loop.controller, loop.process, loop.valve, loop.sensor, scan)


@lru_cache(maxsize=4096)  # what many loops have alike
def _tuned(controller: ControllerSpec, process: ProcessSpec, valve: ValveSpec, sensor: SensorSpec,
           scan: float) -> ControllerSpec:
    gain, reset = _by_rule(controller.tuning, process, valve, sensor, scan)
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


def by_rule(loop: LoopSpec, scan: float) -> tuple[float, float]:
    """(Kc > 0, Ti in s) by the loop's rule."""
    return _by_rule(loop.controller.tuning, loop.process, loop.valve, loop.sensor, scan)


def _by_rule(rule: str, process: ProcessSpec, valve: ValveSpec, sensor: SensorSpec, scan: float) -> tuple[float, float]:
    gain, lag, second_lag, delay = _reduced(process, valve, scan)
    integrating = process.model == "integrator"
    if rule == "aggressive":
        reset = 8.0 * delay if integrating else min(lag, 8.0 * delay)
        return _ultimate(replace(process, gain=gain), valve.lag, reset, scan) / AGGRESSIVE_GAIN_MARGIN, reset
    # Skogestad's half rule: the second lag is half delay, half lag.
    delay += second_lag / 2.0
    lag += second_lag / 2.0
    closed = {"tight": delay, "lambda": 3.0 * delay if integrating else max(1.5 * lag, delay),
              "sluggish": 6.0 * delay if integrating else 5.0 * (lag + delay)}[rule]
    kc = (1.0 if integrating else lag) / (gain * (closed + delay))
    if sensor.noise > 0:
        kc = min(kc, NOISE_IN_OP / sensor.noise)
    if integrating:
        return kc, 4.0 / (gain * kc)
    return kc, min(lag, 4.0 * (closed + delay))


def _reduced(process: ProcessSpec, valve: ValveSpec, scan: float) -> tuple[float, float, float, float]:
    """(gain, lag, second lag, dead time), in s: with the scan's own delay, and the actuator's lag."""
    lags = sorted((0.0,) if process.model == "integrator" else process.tau, reverse=True)
    lag = max(lags[0], scan)
    second = lags[1] if len(lags) > 1 else 0.0
    gain = abs(process.gain) if abs(process.gain) > _NO_GAIN else 1.0
    return gain, lag, second, process.dead_time + scan + valve.lag


def _ultimate(process: ProcessSpec, valve_lag: float, reset: float, scan: float) -> float:
    """The controller gain at the limit of stability: where the loop, scan by scan, meets the negative real axis."""
    slowest = 1e-3 / (sum(process.tau) + process.dead_time + valve_lag + reset + scan)
    z = np.exp(1j * scan * np.geomspace(slowest, pi / scan, _FREQUENCIES))
    stem = exp(-scan / valve_lag) if valve_lag > 0 else 0.0
    curve = (pulse_transfer_function(process, scan, z) * (1.0 - stem) / (1.0 - stem / z)
             * (1.0 + scan / reset / (1.0 - 1.0 / z)))
    real, imaginary = curve.real, curve.imag
    at = np.flatnonzero(np.diff(np.signbit(imaginary)))
    share = imaginary[at] / (imaginary[at] - imaginary[at + 1])
    crossings = np.append(real[at] + share * (real[at + 1] - real[at]), real[-1])
    return -1.0 / float(crossings.min())
