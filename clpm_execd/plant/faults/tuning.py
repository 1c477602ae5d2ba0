"""Wrong settings of controllers and actuators, as factors of the healthy ones."""

from __future__ import annotations

from dataclasses import replace

from clpm_execd.plant.elementary import exp
from clpm_execd.plant.faults.kinds import Fault
from clpm_execd.plant.stages.controller import to_ideal_form
from clpm_execd.plant.tuning import AGGRESSIVE_GAIN_MARGIN, apply_tuning_rule, tune_controller

# The target of the rule "sluggish" of plant.tuning: time constant of the closed loop over (time constant + dead time).
# Other values scale the result of the rule.
_SLUGGISH_CLOSED_LOOP = 5.0


def _compute_factors(fault: Fault, gain: float, reset: float) -> tuple[float, float]:
    """Return the factors of Kc and of Kc/Ti; a controller without integral action gets none."""
    healthy_kc, healthy_reset, _ = to_ideal_form(tune_controller(fault.loop, fault.scan))
    return gain / healthy_kc, gain / healthy_kc * healthy_reset / reset


def _tune(fault: Fault, rule: str) -> tuple[float, float]:
    """Return gain and reset by a tuning rule."""
    return apply_tuning_rule(replace(fault.loop, controller=replace(fault.loop.controller, tuning=rule)), fault.scan)


def _compute_sluggish_factors(fault: Fault) -> tuple[float, float]:
    gain, reset = _tune(fault, "sluggish")  # the gain falls as the closed loop becomes slower
    slower = fault["closed_loop"] / _SLUGGISH_CLOSED_LOOP
    return _compute_factors(fault, gain / slower, reset * (slower if fault.loop.process.model == "integrator" else 1.0))


def _compute_aggressive_factors(fault: Fault) -> tuple[float, float]:
    gain, reset = _tune(fault, "aggressive")
    return _compute_factors(fault, gain * AGGRESSIVE_GAIN_MARGIN / fault["gain_margin"], reset)


def sluggish_gain_factor(fault: Fault) -> float:
    """Return the factor of Kc that makes the closed loop so slow."""
    return _compute_sluggish_factors(fault)[0]


def sluggish_integral_factor(fault: Fault) -> float:
    """Return the factor of Kc/Ti that makes the closed loop so slow."""
    return _compute_sluggish_factors(fault)[1]


def aggressive_gain_factor(fault: Fault) -> float:
    """Return the factor of Kc that leaves the gain margin."""
    return _compute_aggressive_factors(fault)[0]


def aggressive_integral_factor(fault: Fault) -> float:
    """Return the factor of Kc/Ti that leaves the gain margin."""
    return _compute_aggressive_factors(fault)[1]


def actuator_factor(fault: Fault) -> float:
    """Return the factor of the fraction of its remaining way that an actuator moves in one scan."""
    healthy, lag = fault.loop.valve.lag, fault.loop.valve.lag + fault["lag"]

    def compute_fraction(lag: float) -> float:
        return 1.0 - exp(-fault.scan / lag) if lag > 0 else 1.0

    return compute_fraction(lag) / compute_fraction(healthy)
