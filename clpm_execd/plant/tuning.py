"""Tuning rules: controller gain and reset from the process.

SIMC (Skogestad, 2003) for tight, lambda and sluggish tuning, by the closed-loop time constant tc; a gain margin of
1.08 for an aggressive loop, which rings for minutes after every move. In the first three the gain is kept so low
that measurement noise moves OP by no more than 0.25 %, as in healthy plants.
"""

from __future__ import annotations

from dataclasses import replace
from math import atan, hypot, pi

from clpm_execd.plant.loop import ControllerSpec, LoopSpec

NOISE_IN_OP = 0.25  # %, sigma
AGGRESSIVE_GAIN_MARGIN = 1.08
_NO_GAIN = 1e-9  # a process that moves less does not answer its valve, and is tuned as if its gain were 1


def tuned(loop: LoopSpec, scan: float) -> ControllerSpec:
    """The controller with gain, reset and derivative all set: as given, else by its rule. scan in s.

    A rule gives a PI controller of the ideal form; beside a gain or a reset that the user gave it fills in the
    other.
    """
    controller = loop.controller
    gain, reset = by_rule(loop, scan)
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
    gain, lag, second_lag, delay = _reduced(loop, scan)
    rule = loop.controller.tuning
    integrating = loop.process.model == "integrator"
    if rule == "aggressive":
        reset = 8.0 * delay if integrating else min(lag, 8.0 * delay)
        return _ultimate(gain, lag, second_lag, delay, reset, integrating) / AGGRESSIVE_GAIN_MARGIN, reset
    # Skogestad's half rule: the second lag is half delay, half lag.
    delay += second_lag / 2.0
    lag += second_lag / 2.0
    closed = {"tight": delay, "lambda": 3.0 * delay if integrating else max(1.5 * lag, delay),
              "sluggish": 6.0 * delay if integrating else 5.0 * (lag + delay)}[rule]
    kc = (1.0 if integrating else lag) / (gain * (closed + delay))
    if loop.sensor.noise > 0:
        kc = min(kc, NOISE_IN_OP / loop.sensor.noise)
    if integrating:
        return kc, 4.0 / (gain * kc)
    return kc, min(lag, 4.0 * (closed + delay))


def _reduced(loop: LoopSpec, scan: float) -> tuple[float, float, float, float]:
    """(gain, lag, second lag, dead time), in s: with the scan's own delay, and the actuator's lag."""
    process = loop.process
    lags = sorted((0.0,) if process.model == "integrator" else process.tau, reverse=True)
    lag = max(lags[0], scan)
    second = lags[1] if len(lags) > 1 else 0.0
    gain = abs(process.gain) if abs(process.gain) > _NO_GAIN else 1.0
    return gain, lag, second, process.dead_time + scan + loop.valve.lag


def _ultimate(gain: float, lag: float, second: float, delay: float, reset: float, integrating: bool) -> float:
    """The controller gain at the limit of stability, by bisection on the phase of the open loop."""

    def phase(w: float) -> float:
        process = -pi / 2 if integrating else -atan(w * lag) - atan(w * second)
        return process - w * delay - pi / 2 + atan(w * reset)

    low, high = 1e-3 / (lag + delay + reset), pi / delay
    for _ in range(80):
        middle = (low + high) / 2.0
        low, high = (middle, high) if phase(middle) > -pi else (low, middle)
    attenuation = low if integrating else hypot(1.0, low * lag) * hypot(1.0, low * second)
    return attenuation / gain / hypot(1.0, 1.0 / (low * reset))
