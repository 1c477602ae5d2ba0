"""A demonstration: after a few minutes one sees a healthy loop, a valve that begins to stick, a frozen sensor, a loop
left in manual, and the truth beside them.
"""

from __future__ import annotations

from dataclasses import replace

from clpm_execd.config.loops import Configuration
from clpm_execd.config.output import TRUTH
from clpm_execd.plant.defaults import demo_loops
from clpm_execd.plant.specs import FaultSpec
from clpm_execd.units import UNITS

_MINUTE = UNITS["m"]

# By turns, loop after loop; what is over comes back, so that whoever looks later sees it too.
_FAULTS: tuple[tuple[FaultSpec, ...], ...] = (
    (),
    (FaultSpec(kind="stiction", parameters={"S": 6.0, "J": 4.0}, start=2 * _MINUTE, ramp=2 * _MINUTE),),
    (FaultSpec(kind="freeze", start=3 * _MINUTE, duration=1 * _MINUTE, repeat=8 * _MINUTE),),
    (FaultSpec(kind="manual", start=4 * _MINUTE, duration=5 * _MINUTE, repeat=20 * _MINUTE),),
    (),
)


def demonstrated(configuration: Configuration) -> Configuration:
    """The configuration with trending loops, faults on those that have none of their own, and the truth."""
    loops = tuple(
        loop if loop.faults else replace(loop, faults=_FAULTS[k % len(_FAULTS)])
        for k, loop in enumerate(demo_loops(configuration.loops)))
    masters = {loop.cascade for loop in loops}
    loops = tuple(
        replace(loop, faults=()) if loop.id in masters and loop.faults == _FAULTS[1] else loop for loop in loops)
    output = replace(configuration.output, truth=configuration.output.truth or TRUTH)
    return replace(configuration, loops=loops, output=output)
