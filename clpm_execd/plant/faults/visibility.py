"""When a fault shows: the least severity at which a perfect observer of PV, OP and SP would tell it from chance.

An effect must stand out of what the loop does anyway: 1 or 3 sigma of the measurement noise for what the sensor
does, of the load for what moves the process, half as much again for what changes a gain or a lag. A limit cycle of a
sticky valve needs a slip jump of twice the load and noise in OP (below once there is none). Where OP only answers in
AUT, or only shows at a limit, FaultKind.seen_while adds that. What changes records, modes or set points always shows.
"""

from __future__ import annotations

from collections.abc import Callable
from math import hypot, inf

from clpm_execd.plant.faults import tuning
from clpm_execd.plant.faults.kinds import Fault

Rule = Callable[[Fault], float]
_PLAIN = 1.5  # the factor by which a gain or a lag changes before the loop behaves differently


def always(fault: Fault) -> float:
    """At any severity."""
    return 0.0


def fully(fault: Fault) -> float:
    """When hardly anything is missing: a loop rings only near its limit of stability."""
    return 0.9


def _least(threshold: float, effect: float) -> float:
    return threshold / abs(effect) if effect else inf


def against_noise(name: str, sigmas: float) -> Rule:
    """Beyond so many sigma of the measurement noise."""
    return lambda fault: _least(sigmas * fault.loop.sensor.noise, fault[name])


def against_load(name: str, sigmas: float) -> Rule:
    """Beyond so many sigma of the load."""
    return lambda fault: _least(sigmas * fault.loop.disturbance.sigma, fault[name])


def interaction(fault: Fault) -> float:
    """Half of the other valve's moves, which are those of a load like this loop's own."""
    return _least(0.5, fault["gain"])


def _changed(factor: float) -> float:
    if factor >= 1.0:
        return _least(_PLAIN - 1.0, factor - 1.0)
    return _least(1.0 - 1.0 / _PLAIN, 1.0 - factor)


def factor(name: str) -> Rule:
    """A parameter that is the factor of a gain or a lag."""
    return lambda fault: _changed(fault[name])


def fouling(fault: Fault) -> float:
    """A gain that has lost a third."""
    return _changed(1.0 - fault["loss"])


def sluggish(fault: Fault) -> float:
    """A controller gain that has lost a third."""
    return min(_changed(tuning.sluggish_gain(fault)), _changed(tuning.sluggish_integral(fault)))


def slow(fault: Fault) -> float:
    """A lag as long as the dead time that the loop has anyway."""
    return _least(fault.loop.process.dead_time + fault.scan, fault["lag"])


def _unrest(fault: Fault) -> float:
    """Sigma of what moves the valve by chance, % of travel: the load, and the noise that the gain hands on."""
    return hypot(fault.loop.disturbance.sigma, tuning.gain_of(fault) * fault.loop.sensor.noise)


def stiction(fault: Fault) -> float:
    """The slip jump against the unrest; in an integrating loop the whole of S cycles."""
    band = fault["S"] if fault.loop.process.model == "integrator" else fault["J"]
    return _least(2.0 * _unrest(fault), band)


def deadband(fault: Fault) -> float:
    """Cycles in integrating loops only (Choudhury, 2005)."""
    return _least(2.0 * _unrest(fault), fault["width"]) if fault.loop.process.model == "integrator" else inf
