"""The configuration of `--demo`: within minutes one sees a healthy loop, a valve that starts to stick, a frozen sensor,
a loop left in manual, and the ground truth about them.
"""

from __future__ import annotations

from dataclasses import replace

from clpm_execd.config.loops import Configuration
from clpm_execd.config.output import TRUTH
from clpm_execd.plant.defaults import demo_loops
from clpm_execd.plant.specs import FaultSpec
from clpm_execd.units import UNITS

_MINUTE = UNITS["m"]
_STICKY_VALVE = (FaultSpec(kind="stiction", parameters={"S": 6.0, "J": 4.0}, start=2 * _MINUTE, ramp=2 * _MINUTE),)

# The loops get these in turn. Faults that end repeat, so that a user who looks later has them too.
_FAULTS_IN_TURN: tuple[tuple[FaultSpec, ...], ...] = (
    (),
    _STICKY_VALVE,
    (FaultSpec(kind="freeze", start=3 * _MINUTE, duration=1 * _MINUTE, repeat=8 * _MINUTE),),
    (FaultSpec(kind="manual", start=4 * _MINUTE, duration=5 * _MINUTE, repeat=20 * _MINUTE),),
    (),
)


def make_demo(configuration: Configuration) -> Configuration:
    """Return the configuration with trending loops, faults on loops that have none, and the ground truth.

    Parameters
    ----------
    configuration : Configuration
        The loops and names that the demonstration uses.
    """
    loops = tuple(
        loop if loop.faults else replace(loop, faults=_FAULTS_IN_TURN[k % len(_FAULTS_IN_TURN)])
        for k, loop in enumerate(demo_loops(configuration.loops)))
    masters = {loop.cascade for loop in loops}  # a master has no valve of its own that could stick
    loops = tuple(
        replace(loop, faults=()) if loop.id in masters and loop.faults == _STICKY_VALVE else loop for loop in loops)
    output = replace(configuration.output, truth=configuration.output.truth or TRUTH)
    return replace(configuration, loops=loops, output=output)
