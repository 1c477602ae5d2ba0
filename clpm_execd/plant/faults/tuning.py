"""Controllers and actuators that are set wrong, as factors of what they were."""

from __future__ import annotations

from dataclasses import replace
from math import exp

from clpm_execd.plant.faults.kinds import Fault
from clpm_execd.plant.stages.controller import to_ideal_form
from clpm_execd.plant.tuning import by_rule, tuned


def gain_of(fault: Fault) -> float:
    """Kc of the healthy controller, ideal form."""
    return to_ideal_form(tuned(fault.loop, fault.scan))[0]


def _factors(fault: Fault, gain: float, reset: float) -> tuple[float, float]:
    """Of Kc and of Kc/Ti; a controller without integral action gets none."""
    was_gain, was_reset, _ = to_ideal_form(tuned(fault.loop, fault.scan))
    return gain / was_gain, gain / was_gain * was_reset / reset


def _rule(fault: Fault, rule: str) -> tuple[float, float]:
    return by_rule(replace(fault.loop, controller=replace(fault.loop.controller, tuning=rule)), fault.scan)


def _sluggish(fault: Fault) -> tuple[float, float]:
    gain, reset = _rule(fault, "sluggish")  # at 5 times lag and dead time; the gain falls as the closed loop slows
    slower = fault["closed_loop"] / 5.0
    return _factors(fault, gain / slower, reset * (slower if fault.loop.process.model == "integrator" else 1.0))


def _aggressive(fault: Fault) -> tuple[float, float]:
    gain, reset = _rule(fault, "aggressive")  # at a margin of 1.08
    return _factors(fault, gain * 1.08 / fault["gain_margin"], reset)


def sluggish_gain(fault: Fault) -> float:
    """The factor of Kc."""
    return _sluggish(fault)[0]


def sluggish_integral(fault: Fault) -> float:
    """The factor of Kc/Ti."""
    return _sluggish(fault)[1]


def aggressive_gain(fault: Fault) -> float:
    """The factor of Kc that leaves the gain margin."""
    return _aggressive(fault)[0]


def aggressive_integral(fault: Fault) -> float:
    """The factor of Kc/Ti."""
    return _aggressive(fault)[1]


def slower(fault: Fault) -> float:
    """The factor of the share of its way that an actuator goes in a scan."""
    was, lag = fault.loop.valve.lag, fault.loop.valve.lag + fault["lag"]

    def share(lag: float) -> float:
        return 1.0 - exp(-fault.scan / lag) if lag > 0 else 1.0

    return share(lag) / share(was)
