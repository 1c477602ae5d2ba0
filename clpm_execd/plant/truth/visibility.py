"""When a fault is visible: the least severity at which a perfect observer of PV, OP and SP would detect it.

An effect must exceed what the loop does without it: 1 or 3 standard deviations of the measurement noise for a sensor
fault, of the load for a process fault, and a factor of 1.5 for a changed gain or time constant. A limit cycle of a
sticky valve needs a slip jump of twice the random movement of OP by load and noise: in simulations there is no visible
cycle at a ratio below 1, and mostly one above 2. Where OP responds only in AUT, or a fault shows only at a limit,
`FaultKind.visible_while` adds that. Faults of recording, mode and set point are always visible.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, sqrt

from clpm_execd.plant.faults import tuning
from clpm_execd.plant.faults.kinds import Fault

Rule = Callable[[Fault], float]

# A detectable change of a gain or time constant: a controller is usually tuned for a gain margin of 2 to 3, so that a
# change by half is where the response of the loop begins to differ.
_VISIBLE_FACTOR = 1.5
_NEAR_FULL_SEVERITY = 0.9  # of aggressive tuning, whose loop oscillates only close to its limit of stability
_MIN_SLIP_OVER_MOVEMENT = 2.0  # slip jump over standard deviation of OP: below there is no limit cycle
_VISIBLE_INTERACTION = 0.5  # %/%: the other valve is moved by a load like this loop's own, of which half acts here


def at_any_severity(fault: Fault) -> float:
    """Return 0: visible whenever it is present."""
    return 0.0


def near_full_severity(fault: Fault) -> float:
    """Return the severity close to 1 at which an aggressively tuned loop oscillates."""
    return _NEAR_FULL_SEVERITY


def _severity_of(threshold: float, effect: float) -> float:
    """Return the severity at which an effect that grows with it reaches a threshold."""
    return threshold / abs(effect) if effect else inf


def above_noise(name: str, sigmas: float) -> Rule:
    """Return the rule: the parameter exceeds so many standard deviations of the measurement noise."""
    return lambda fault: _severity_of(sigmas * fault.loop.sensor.noise, fault[name])


def above_load(name: str, sigmas: float) -> Rule:
    """Return the rule: the parameter exceeds so many standard deviations of the load."""
    return lambda fault: _severity_of(sigmas * fault.loop.disturbance.sigma, fault[name])


def of_interaction(fault: Fault) -> float:
    """Return the severity at which half of the movement of the other valve acts on the loop."""
    return _severity_of(_VISIBLE_INTERACTION, fault["gain"])


def _severity_of_factor(factor: float) -> float:
    """Return the severity at which a factor of a gain or time constant reaches the visible one, up or down."""
    if factor >= 1.0:
        return _severity_of(_VISIBLE_FACTOR - 1.0, factor - 1.0)
    return _severity_of(1.0 - 1.0 / _VISIBLE_FACTOR, 1.0 - factor)


def of_factor(name: str) -> Rule:
    """Return the rule for a parameter that is the factor of a gain or time constant."""
    return lambda fault: _severity_of_factor(fault[name])


def of_fouling(fault: Fault) -> float:
    """Return the severity at which the process gain has lost a third."""
    return _severity_of_factor(1.0 - fault["loss"])


def of_sluggish_tuning(fault: Fault) -> float:
    """Return the severity at which gain or integral action of the controller has lost a third."""
    return min(_severity_of_factor(tuning.sluggish_gain_factor(fault)),
               _severity_of_factor(tuning.sluggish_integral_factor(fault)))


def of_slow_actuator(fault: Fault) -> float:
    """Return the severity at which the additional lag is as long as the dead time that the loop has anyway."""
    return _severity_of(fault.loop.process.dead_time + fault.scan, fault["lag"])


def _random_movement(fault: Fault) -> float:
    """Return the standard deviation, % of travel, of what moves the valve: load, and noise times Kc."""
    load, noise = fault.loop.disturbance.sigma, tuning.healthy_gain(fault) * fault.loop.sensor.noise
    return sqrt(load * load + noise * noise)


def of_stiction(fault: Fault) -> float:
    """Return the severity at which the slip jump J makes a limit cycle; in an integrating loop all of S does."""
    jump = fault["S"] if fault.loop.process.model == "integrator" else fault["J"]
    return _severity_of(_MIN_SLIP_OVER_MOVEMENT * _random_movement(fault), jump)


def of_deadband(fault: Fault) -> float:
    """Return the severity at which a deadband makes a limit cycle: only in integrating loops (Choudhury, 2005)."""
    if fault.loop.process.model != "integrator":
        return inf
    return _severity_of(_MIN_SLIP_OVER_MOVEMENT * _random_movement(fault), fault["width"])
