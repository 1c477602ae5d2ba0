"""The configurations of `--demo`: a story of an hour, and trending data.

In the story a valve begins to stick, its limit cycle grows and travels to a neighbour, the operator takes the loop to
manual, the valve is repaired; meanwhile a sensor freezes now and then. Set points rest, and move as an operator moves
them. The trending data have sine set points, which the loops follow. Both come with the ground truth.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from clpm_execd.config.loops import Configuration
from clpm_execd.config.output import TRUTH
from clpm_execd.plant.defaults import demo_loops, with_response
from clpm_execd.plant.specs import DisturbanceSpec, FaultSpec, LoopSpec, OperatorSpec
from clpm_execd.units import DURATION_UNITS_NS

_MINUTE = DURATION_UNITS_NS["m"]
_STORY = 120 * _MINUTE  # from one beginning of the story to the next
_RESPONSE_S = 40.0  # of each process: its moves then show on a trend of some minutes
# The loop whose valve sticks is quicker, and its load calm, for a limit cycle of a minute or two as textbooks show it.
_STICKY_RESPONSE_S, _CALM_LOAD = 25.0, DisturbanceSpec(sigma=0.3, correlation=30.0)
_OPERATOR = OperatorSpec(interval=1500.0, size=0.8)  # moves SP each 25 minutes on average
# Of the loop whose valve sticks: SP rests, and in MAN OP is corrected, for which a quarter of an hour is enough.
_OPERATOR_AT_THE_VALVE = OperatorSpec(interval=900.0, size=0.0, day=(1.0,))

_STICTION = FaultSpec(kind="stiction", parameters={"S": 6.0, "J": 5.0}, start=2 * _MINUTE, ramp=20 * _MINUTE,
                      duration=50 * _MINUTE, repeat=_STORY)
_TAKEN_TO_MANUAL = FaultSpec(kind="manual", start=38 * _MINUTE, duration=17 * _MINUTE, repeat=_STORY)
# The neighbour feels the loop until it has been in automatic for some minutes: cut off earlier, its PV would jump.
_TRAVELS_FOR = 60 * _MINUTE
_FROZEN_SENSOR = FaultSpec(kind="freeze", start=5 * _MINUTE, duration=3 * _MINUTE, repeat=20 * _MINUTE)
_LOOPS_PER_STORY, _STICKY, _FROZEN, _NEIGHBOUR = 5, 1, 2, 4  # which of five loops has what

# The faults of the trending data, in turn. Faults that end repeat, so that a user who looks later has them too.
_STICKS_SOON = (replace(_STICTION, ramp=2 * _MINUTE, duration=None, repeat=None),)
_TREND_FAULTS_IN_TURN: tuple[tuple[FaultSpec, ...], ...] = (
    (),
    _STICKS_SOON,
    (FaultSpec(kind="freeze", start=3 * _MINUTE, duration=1 * _MINUTE, repeat=8 * _MINUTE),),
    (FaultSpec(kind="manual", start=4 * _MINUTE, duration=5 * _MINUTE, repeat=20 * _MINUTE),),
    (),
)


def make_demo(configuration: Configuration, demo: str = "story") -> Configuration:
    """Return the configuration with faults on loops that have none, and the ground truth.

    Parameters
    ----------
    configuration : Configuration
        The loops and names that the demonstration uses.
    demo : {"story", "trend"}
        Whether set points rest or are sines.
    """
    masters = {loop.cascade for loop in configuration.loops}  # a master has no valve of its own that could stick
    if demo == "trend":
        loops = _with_trend_faults(demo_loops(configuration.loops), masters)
    else:
        loops = tuple(replace(with_response(loop, _RESPONSE_S), operator=_OPERATOR) for loop in configuration.loops)
        loops = _with_story(loops, masters)
    output = replace(configuration.output, truth=configuration.output.truth or TRUTH)
    return replace(configuration, loops=loops, output=output)


def _with_trend_faults(loops: tuple[LoopSpec, ...], masters: Set[str | None]) -> tuple[LoopSpec, ...]:
    """Give the loops their faults in turn."""
    in_turn = [loop.faults or _TREND_FAULTS_IN_TURN[k % len(_TREND_FAULTS_IN_TURN)] for k, loop in enumerate(loops)]
    return tuple(replace(loop, faults=() if loop.id in masters and faults == _STICKS_SOON else faults)
                 for loop, faults in zip(loops, in_turn, strict=True))


def _with_story(loops: tuple[LoopSpec, ...], masters: Set[str | None]) -> tuple[LoopSpec, ...]:
    """Give each five loops a sticky valve, a frozen sensor and a neighbour; the others are healthy."""
    result = list(loops)
    for k, loop in enumerate(loops):
        place, first = k % _LOOPS_PER_STORY, k - k % _LOOPS_PER_STORY
        if loop.faults:
            continue
        if place == _STICKY and loop.id not in masters:
            result[k] = replace(with_response(loop, _STICKY_RESPONSE_S), faults=(_STICTION, _TAKEN_TO_MANUAL),
                                operator=_OPERATOR_AT_THE_VALVE, controller=replace(loop.controller, tuning="tight"),
                                disturbance=_CALM_LOAD)
        elif place == _FROZEN:
            result[k] = replace(loop, faults=(_FROZEN_SENSOR,))
        elif place == _NEIGHBOUR and result[first + _STICKY].faults == (_STICTION, _TAKEN_TO_MANUAL):
            origin: dict[str, float | str] = {"from": loops[first + _STICKY].id, "gain": 0.7, "lag": 10.0}
            travelling = replace(_STICTION, kind="external-oscillation", parameters=origin, ramp=0,
                                 duration=_TRAVELS_FOR)
            result[k] = replace(loop, faults=(travelling,))
    return tuple(result)
