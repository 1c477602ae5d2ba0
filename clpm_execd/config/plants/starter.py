"""A loops.toml of a plausible whole plant.

A plant is drawn from its name, its size and a seed; the same three give the same file. A quarter of its loops are
slaves of cascades, 36 % are not in automatic, and 25 % have a valve fault (docs/physics.md has the shares of real
plants). Noise, load and controllers of a refinery are those of a real one (see refinery_statistics). Sizes of valves
are wrong from the beginning, seats and tuning also since a maintenance; wear grows, and a maintenance in MAN ends it.
What comes and goes does so at times that are drawn, and what lasts begins within a week. Some loops come in threes that
are easily confused: they oscillate at the same period because of a sticky valve, of aggressive tuning, and of an
external oscillation. The limit cycle of one sticky valve travels through several loops of its unit. Some neighbours
share an event: a change of the load, or a grade change. Users of a steam header draw on its pressure and feel it, and
heat exchangers join two temperatures, so that a sticky valve shows in the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import pi
from random import Random
from typing import Any

from clpm_execd.config.plants.fault_statistics import (
    FAULT_FRACTIONS,
    FAULT_SIZES,
    SLIP_FRACTION,
    SLOW_WAVE,
    SURVEYS,
    UP_OR_DOWN,
    WAVE_PERIOD_S,
)
from clpm_execd.config.plants.period_matching import PeriodPair, match_periods, measure_periods
from clpm_execd.config.plants.refinery_statistics import (
    CONTROLLERS,
    MOVE_INTERVAL_HOURS,
    MOVE_SIZE,
    SOURCE,
    VARIABILITY,
    Range,
    Variability,
)
from clpm_execd.plant.elementary import exp, log
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.loop_types import LOOP_TYPES
from clpm_execd.units import DURATION_UNITS_NS, format_duration, parse_duration

LoopTable = dict[str, Any]  # the keys of a [[loop]] table
FaultTable = dict[str, Any]  # the keys of a [[loop.fault]] table

# All numbers below are part of what a seed draws: changed, the same seed would give another plant. Those without a
# source are estimates of what is usual; the tests hold the plants to the shares of real ones.

# Loops of each type in a hundred: flow, pressure, level, temperature, composition (estimates).
TYPE_SHARES = {
    "refinery": (45, 17, 18, 17, 3),
    "chemicals": (40, 15, 18, 22, 5),
    "pulp-and-paper": (46, 14, 24, 9, 7),
    "power": (38, 24, 14, 22, 2),
}

# Typical of healthy loops: a thermowell lets no quick noise pass, and what moves a slow process moves slowly.
_TYPICAL_VARIABILITY = {
    "flow": Variability(noise=(0.04, 0.2), sigma=(0.1, 0.6), correlation=(10.0, 300.0)),
    "pressure": Variability(noise=(0.02, 0.15), sigma=(0.3, 1.0), correlation=(5.0, 30.0)),
    "level": Variability(noise=(0.005, 0.1), sigma=(0.3, 1.2), correlation=(10.0, 100.0)),
    "temperature": Variability(noise=(0.005, 0.06), sigma=(0.3, 1.0), correlation=(10.0, 200.0)),
    "composition": Variability(noise=(0.02, 0.12), sigma=(0.3, 1.0), correlation=(20.0, 400.0)),
}
# The records of the refinery have too few loops of other types than these two. What moves theirs is drawn from a wider
# range: with the one above, a forest that learns from the refinery judges real loops worse (AUC 0.86, not 0.89).
_REFINERY_VARIABILITY = dict.fromkeys(
    LOOP_TYPES, Variability(noise=(0.02, 0.15), sigma=(0.3, 1.0), correlation=(5.0, 30.0))) | VARIABILITY
# Controllers of flows and levels as they are found in plants other than that refinery (docs/physics.md): gain, %OP/%PV,
# and reset, s. Those of levels let the vessel average: no vessel is there to hold its level to a tenth of a per cent.
_TYPICAL_CONTROLLERS: dict[str, tuple[Range, Range]] = {
    "flow": ((0.2, 0.65), (6.0, 40.0)),
    "level": ((0.8, 3.0), (200.0, 1200.0)),
}
_TYPICAL_MOVE_INTERVAL_HOURS: Range = (2.0, 12.0)  # operators move a set point once or a few times a shift
_MANUAL_MOVE_INTERVAL_HOURS: Range = (1.5, 4.0)  # in MAN they move OP a few times a shift; an estimate
_TYPICAL_MOVE_SIZE: Range = (0.5, 2.0)  # standard deviation, % of span

DEFAULT_SIZE = 50  # loops of a plant whose size is not given
_CASCADE_FRACTION = 0.25  # of the loops are slaves: 28 % of 141 records have the set point of one
_UNIT_SIZE = 50  # loops of a process unit
_OPERATED_FRACTION = 0.7  # of the loops that are not slaves have an operator who moves SP

_TRIO_FRACTION = 0.015  # trios of one period per loop of the plant
_SHARED_FRACTION = 0.01  # events of each kind that neighbours share, per loop of the plant
_TRAVELLING_FRACTION = 0.004  # limit cycles that travel, per loop of the plant
_NEIGHBOURS = 3  # loops that share an event
_TRAVEL_LOOPS = (5, 12)  # loops that a limit cycle travels through, from the sticky valve that makes it
_ANSWERED_FRACTION = 1 / 3  # of the loops that are left in manual, those where it is the answer to a fault
# A slave responds in this fraction of its master's time at most: the inner loop is to be several times as fast
# (Seborg, Edgar and Mellichamp, Process Dynamics and Control).
_SLAVE_FRACTION, _QUICKEST_SLAVE_RESET_S = 0.25, 3.0
_WORN_FRACTION = 1 / 3  # of the sticky valves, those that become so within days; the others are so from the beginning
# What the throughput does to the whole plant (docs/physics.md, "Days and months").
_THROUGHPUT_PERCENT, _AMBIENT_PERCENT = 1.2, 0.3
# The fractions of temperatures and compositions that a utility heats or cools, and that a hot stream of another unit
# heats; and the load that its pressure makes, % of valve travel. Estimates.
_UTILITY_FRACTION, _INTEGRATED_FRACTION, _UTILITY_PERCENT = 0.6, 0.2, (0.3, 1.2)
_UTILITIES = ("steam", "steam", "cooling water")
# A steam header, whose pressure a loop of its own controls: how many users a unit has on it, how much a user's valve
# draws on it, % of the travel of the header's valve for 1 %, and what the pressure does to a user, % of travel for 1 %
# of span: half a per cent of flow for one of pressure drop. Estimates. In a ring of draw and pressure the users' valves
# answer each other, the wrong way round: each opens as the pressure falls. Below a gain of 1 on the whole way, at
# any frequency, that dies away (small-gain theorem); controllers add up to 1.4.
_HEADER_USERS, _HEADER_DRAW, _HEADER_EFFECT, _HEADER_LAG_S = (3, 5), (0.25, 0.6), (0.25, 0.6), (1.0, 5.0)
_LARGEST_HEADER_GAIN = 0.7
# A heat exchanger joins two temperatures: how far one follows the other in the end, %/%, and each of the two time
# constants on the way, relative to the quicker one's own. Estimates.
_EXCHANGED_FRACTION, _EXCHANGER_LAG_FRACTION = (0.15, 0.4), (0.1, 0.3)
# A seat or a tuning is wrong from the beginning, or in this fraction of the loops since a maintenance.
_FROM_THE_BEGINNING = ("leak", "sluggish", "aggressive", "windup")
_MAINTENANCE_FRACTION = 0.25  # an assumption: most are as old as the plant
_SIZING = ("undersized", "oversized")  # valves that no maintenance puts in, since PV would jump by half of its span
# Of the lasting faults, those that are there at the start; the others come within a week, most of them soon, so that
# each day has its own, and a third of the loops is in manual on any day. Assumptions.
_EARLY_FRACTION, _EARLY_MANUAL_FRACTION, _LATE_START_MINUTES = 0.5, 0.75, (15, 7 * 24 * 60)
# A reading that stands still drives OP on, until someone notices within the hour; a level in MAN is watched, and moves
# by a few per cent where OP is five beside its balance.
_FREEZE_MINUTES, _FREEZE_REPEAT_HOURS = (10, 60), (12, 48)
_LEVEL_CHANGE_PERCENT, _LEVEL_IMBALANCE_PERCENT, _LEVEL_IN_MANUAL_MINUTES = 6.0, 5.0, (2, 15)
_STUCK_MINUTES = (15, 90)  # until someone notices that a valve is stuck
# How far a wave from elsewhere would move PV at most without a controller, % of span. With more, loops run from limit
# to limit, which no operator watches for days.
_LARGEST_WAVE_PERCENT, _LARGEST_LEVEL_WAVE_PERCENT = 6.0, 10.0
_REPAIRED_FRACTION = 0.5  # of the valves that wear, those that a maintenance makes as new within days
_MAINTENANCE_MINUTES = (30, 90)  # in MAN; an estimate
_SHARED_TIMES = 3  # how often an event that neighbours share takes place

# Ranges by type from which process and span are drawn; low and high of a logarithmic draw. Gain in %PV/%OP (level:
# %PV/s/%OP), time constants and dead time in s, spans in engineering units. Sources: docs/physics.md.
_GAIN = {"flow": (0.8, 1.5), "pressure": (0.6, 2.0), "level": (0.005, 0.02), "temperature": (0.6, 2.5),
         "composition": (0.4, 2.0)}
_TAU_S = {"flow": (1, 5), "pressure": (10, 60), "temperature": (60, 1800), "composition": (300, 3600)}
_DEAD_TIME_S = {"flow": (0.5, 2), "pressure": (1, 5), "level": (2, 10), "temperature": (10, 300),
                "composition": (120, 1200)}
# Fraction of the loops whose valve lowers PV as it opens: most levels are controlled by what flows out, most pressures
# by what is let off (Luyben, Process Modeling, Simulation and Control for Chemical Engineers, 1990). Of the refinery's
# records whose direction is certain, 7 of 11 levels and 3 of 4 pressures are so, and none of 13 flows.
_LOWERING_FRACTION = {"level": 0.65, "pressure": 0.65}
# Ranges of transmitters, and their engineering unit. Steam of a power plant has up to 560 degC and 200 bar, while
# nothing in a paper mill is hotter than the steam of its dryers.
_RANGES: dict[str, tuple[Sequence[Range], str]] = {
    "flow": (((0, 20), (0, 50), (0, 120), (0, 400)), "t/h"),
    "pressure": (((0, 6), (0, 10), (0, 25), (0, 40)), "bar"),
    "level": (((0, 100),), "%"),
    "temperature": (((0, 150), (0, 200), (50, 250), (100, 300), (100, 500), (200, 400)), "degC"),
    "composition": (((0, 5), (0, 10), (0, 100)), "%"),
}
_RANGES_OF_PLANT: dict[str, Mapping[str, tuple[Sequence[Range], str]]] = {
    "pulp-and-paper": {
        "pressure": (((0, 2.5), (0, 4), (0, 6), (0, 10)), "bar"),
        "temperature": (((0, 100), (0, 150), (0, 200)), "degC"),
        "composition": (((0, 5), (0, 10), (0, 14)), "%"),  # most are consistencies
    },
    "power": {
        "flow": (((0, 50), (0, 200), (0, 500), (0, 1000)), "t/h"),
        "pressure": (((0, 6), (0, 25), (0, 60), (0, 200)), "bar"),
        "temperature": (((0, 200), (0, 400), (0, 600), (300, 600)), "degC"),
    },
}
_SP_STEPS_PER_SPAN = 50.0  # a set point that a person enters is a multiple of a round number, at most this part of span
# Estimates: fractions of loops, and the ranges of an actuator's time constant, s, and of an
# exception deviation, % of span.
_EQUAL_PERCENTAGE_FRACTION, _TIGHT_FRACTION, _EXCEPTION_FRACTION = 0.3, 0.3, 0.15
_ACTUATOR_S, _EXCEPTION_PERCENT = (1, 3), (0.05, 0.3)
# At steady state. OP of 32 real loops (docs/physics.md) has the quartiles 32 and 58 %, and lies between 14 and 67 % in
# eight of ten; of a triangular distribution with this least, greatest and most likely value it is 33 to 54, 23 to 63.
_SP_FRACTION, _OP_PERCENT = (0.3, 0.75), (8.0, 80.0, 42.0)
# An undersized valve is too small when much is asked of it, and a leak is too much when little is: the flow through
# the open valve, and through the closed one, relative to what is needed at steady state, and OP there, %. Estimates.
_UNDERSIZED_FLOW, _LEAK_FLOW, _LEAKING_OP_PERCENT = (0.93, 1.15), (0.6, 1.2), (4.0, 9.0)
# Analysers of these plants are mostly chromatographs with a cycle, s; those of others measure all the time
# (consistency, oxygen, conductivity).
_ANALYSER_CYCLE_S, _CYCLIC_FRACTION = (120, 600), {"refinery": 0.7, "chemicals": 0.7}
# Relative to the (first) time constant. Dead times beyond these make loops that a PID controller controls badly.
_SECOND_TAU_FRACTION, _DEAD_TIME_FRACTION = (0.1, 0.5), (0.08, 0.35)


@dataclass(slots=True)
class _PlantLoop:
    """A loop of the plant to be written: the keys of its table, its faults, and a comment about them."""

    type: str
    table: LoopTable
    master: _PlantLoop | None = None
    is_master: bool = False
    couplings: list[LoopTable] = field(default_factory=list)
    faults: list[FaultTable] = field(default_factory=list)
    comment: str = ""
    role: str = ""  # in the plant, for a comment

    @property
    def id(self) -> str:
        return str(self.table["id"])


def write_plant(name: str, count: int, seed: int, faulty: float | None = None) -> str:
    """Return a loops.toml of a plausible plant.

    Parameters
    ----------
    name : str
        A key of TYPE_SHARES.
    count : int
        The number of loops.
    seed : int
        The seed of all random draws, together with name and count.
    faulty : float, optional
        The fraction of the loops that have a fault; by default as many as in real plants.
    """
    usual = sum(fraction * (1.0 - _ANSWERED_FRACTION if kind == "manual" else 1.0)
                for kind, fraction in FAULT_FRACTIONS if not FAULTS[kind].is_control)
    scale = 1.0 if faulty is None else faulty / usual
    rng = Random(f"{name} {count} {seed}")
    loops = list(_assign_ids(_pair_cascades(_draw_types(TYPE_SHARES[name], count, rng), rng)))
    is_refinery = name == "refinery"
    variability = _REFINERY_VARIABILITY if is_refinery else _TYPICAL_VARIABILITY
    ranges = {**_RANGES, **_RANGES_OF_PLANT.get(name, {})}
    for loop in loops:
        _draw_parameters(loop, ranges[loop.type], variability[loop.type], rng)
        if loop.type == "composition" and rng.random() < _CYCLIC_FRACTION.get(name, 0.0):
            loop.table["sensor"]["cycle"] = round(_draw_log_uniform(_ANALYSER_CYCLE_S, rng), -1)
        if loop.type in CONTROLLERS:
            _draw_controller(loop, CONTROLLERS if is_refinery else _TYPICAL_CONTROLLERS, rng)
    _add_utilities(loops, rng)
    if scale >= 1.0:  # these come in groups, of which a plant with few faults has none
        _add_trios(loops, rng)
        _add_shared_events(loops, rng)
    elif scale > 0.0:
        _add_travelling_cycle(loops, rng, round(_TRAVEL_LOOPS[0] * scale) + 1)
    _couple(loops, Random(f"{name} {count} {seed} couplings"))
    _add_faults(loops, scale, rng)
    if is_refinery:
        _add_operators(loops, MOVE_INTERVAL_HOURS, MOVE_SIZE, rng)
    else:
        _add_operators(loops, _TYPICAL_MOVE_INTERVAL_HOURS, _TYPICAL_MOVE_SIZE, rng)
    header = _header(name, loops, seed, has_usual_faults=faulty is None)
    return header + "".join(f"\n{_to_toml(loop)}" for loop in loops)


def _draw_types(shares: Sequence[int], count: int, rng: Random) -> list[str]:
    """Return the types of `count` loops in these shares, in random order."""
    exact = [count * share / sum(shares) for share in shares]
    numbers = [int(number) for number in exact]
    for i in sorted(range(len(shares)), key=lambda i: numbers[i] - exact[i])[:count - sum(numbers)]:
        numbers[i] += 1
    types = [loop_type for loop_type, number in zip(LOOP_TYPES, numbers, strict=True) for _ in range(number)]
    rng.shuffle(types)
    return types


def _pair_cascades(types: Sequence[str], rng: Random) -> list[_PlantLoop]:
    """Return loops of these types; flows are slaves of temperatures, levels and compositions, each after its master."""
    loops = [_PlantLoop(loop_type, {}) for loop_type in types]
    slaves = [loop for loop in loops if loop.type == "flow"]
    masters = [loop for loop in loops if loop.type in ("temperature", "level", "composition")]
    pairs = list(zip(masters, slaves, strict=False))[:round(_CASCADE_FRACTION * len(loops))]
    for master, slave in pairs:
        slave.master, master.is_master = master, True
    slave_of = {id(master): slave for master, slave in pairs}
    groups = [[loop, slave_of[id(loop)]] if loop.is_master else [loop] for loop in loops if loop.master is None]
    rng.shuffle(groups)
    return [loop for group in groups for loop in group]


def _assign_ids(loops: Sequence[_PlantLoop]) -> Iterator[_PlantLoop]:
    for k, loop in enumerate(loops):
        number = 100 * (11 + k // _UNIT_SIZE) + k % _UNIT_SIZE + 1
        loop.table["id"] = f"{LOOP_TYPES[loop.type].letters}{number}"
        loop.table["area"] = f"unit {11 + k // _UNIT_SIZE}"
        yield loop


def _draw_parameters(loop: _PlantLoop, ranges: tuple[Sequence[Range], str], variability: Variability,
                     rng: Random) -> None:
    """Draw process, load and the other parts, together so that the loop can be controlled."""
    loop_type, table = loop.type, loop.table
    low, high = map(float, rng.choice(ranges[0]))
    table |= {"type": loop_type, "range": [low, high], "unit": ranges[1],
              "sp": _round_as_entered(low + (high - low) * rng.uniform(*_SP_FRACTION), high - low),
              "op": round(rng.triangular(*_OP_PERCENT), 1)}
    table["process"] = _draw_process(loop_type, rng)
    table["valve"] = {"lag": round(rng.uniform(*_ACTUATOR_S), 1)} if loop_type != "flow" and not loop.is_master else {}
    if not loop.is_master and rng.random() < _EQUAL_PERCENTAGE_FRACTION:
        table["valve"]["characteristic"] = "equal-percentage"
    table["sensor"] = {"noise": _draw_log_uniform(variability.noise, rng)}
    table["disturbance"] = {"sigma": _draw_log_uniform(variability.sigma, rng),
                            "correlation": _draw_log_uniform(variability.correlation, rng)}
    table["controller"] = {"tuning": "tight" if rng.random() < _TIGHT_FRACTION else "lambda"}
    if rng.random() < _EXCEPTION_FRACTION:
        table["recording"] = {"exception": _draw_log_uniform(_EXCEPTION_PERCENT, rng)}
    if loop.master is not None:
        table["cascade"] = loop.master.id


def _round_as_entered(value: float, span: float) -> float:
    """Return the value as a person enters it: a multiple of 1, 2 or 5 times a power of ten."""
    step = next(step for step in (5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02) if step <= span / _SP_STEPS_PER_SPAN)
    return _round(step * round(value / step))


def _draw_controller(loop: _PlantLoop, controllers: Mapping[str, tuple[Range, Range]], rng: Random) -> None:
    """Draw the controller as it is installed; that of a slave is quick enough for its master, which comes first."""
    gain, reset = (_draw_log_uniform(limits, rng) for limits in controllers[loop.type])
    if loop.master is not None:
        slowest = _SLAVE_FRACTION * _response_seconds(loop.master)
        reset = _round(min(reset, max(slowest * gain * loop.table["process"]["gain"], _QUICKEST_SLAVE_RESET_S)))
    loop.table["controller"] = {"gain": gain, "reset": reset}


def _response_seconds(master: _PlantLoop) -> float:
    """Return about how long a master takes to respond: of a level by its controller, else the time constants."""
    process = master.table["process"]
    if master.type == "level":
        return float(1.0 / (abs(process["gain"]) * master.table["controller"]["gain"]))
    return _time_constants(master)


def _time_constants(loop: _PlantLoop) -> float:
    """Return the sum of the largest time constant and the dead time, s; a level has only the latter."""
    process = loop.table["process"]
    tau = process.get("tau", 0.0)
    return float(tau[0] if isinstance(tau, list) else tau) + float(process["dead_time"])


def _draw_process(loop_type: str, rng: Random) -> dict[str, Any]:
    """Draw the process; the dead time of a self-regulating one is drawn relative to its time constant."""
    process: dict[str, Any] = {"gain": _draw_log_uniform(_GAIN[loop_type], rng)}
    if rng.random() < _LOWERING_FRACTION.get(loop_type, 0.0):
        process["gain"] = -process["gain"]
    if loop_type == "level":
        process["dead_time"] = _draw_log_uniform(_DEAD_TIME_S[loop_type], rng)
        return process
    tau = _draw_log_uniform(_TAU_S[loop_type], rng)
    low, high = _DEAD_TIME_S[loop_type]
    process["tau"] = [tau, _round(tau * rng.uniform(*_SECOND_TAU_FRACTION))] if loop_type == "temperature" else tau
    process["dead_time"] = _round(min(high, max(low, tau * rng.uniform(*_DEAD_TIME_FRACTION))))
    return process


def _add_trios(loops: Sequence[_PlantLoop], rng: Random) -> None:
    """Give threes of loops the same period: by a sticky valve, by aggressive tuning, by an external oscillation."""
    pressures = [loop for loop in loops if loop.type == "pressure"]
    temperatures = [loop for loop in loops if loop.type == "temperature" and not loop.is_master]
    max_trios = max(1, round(_TRIO_FRACTION * len(loops)))
    trios = list(zip(pressures[::2], temperatures, pressures[1::2], strict=False))[:max_trios]
    pairs = []
    for sticky, aggressive, _ in trios:
        for loop in (sticky, aggressive):
            loop.table |= {"valve": {}, "controller": {"tuning": "lambda"}}
        sticky.table["disturbance"]["sigma"] = _draw_log_uniform((0.3, 0.5), rng)
        s = round(rng.uniform(4, 7), 1)
        stiction: FaultTable = {"kind": "stiction", "S": s, "J": round(s * rng.uniform(0.6, 1.0), 1)}
        tau = _draw_log_uniform((80, 120), rng)
        aggressive.table["process"] |= {"tau": [tau, _round(0.3 * tau)], "dead_time": _round(0.3 * tau)}
        pairs.append(PeriodPair(sticky.table, stiction, aggressive.table,
                                {"kind": "aggressive", "gain_margin": 1.04}))
    match_periods(pairs)
    for trio, pair in zip(trios, pairs, strict=True):
        if pair.period is None or not _is_typical(trio[1]):
            continue
        external: FaultTable = {"kind": "external-oscillation", "period": round(pair.period, 1)}
        names = ", ".join(loop.id for loop in trio)
        for loop, fault in zip(trio, (pair.reference_fault, pair.adjusted_fault, external), strict=True):
            loop.faults = [fault]
            loop.comment = f"{names} oscillate at the same period of {pair.period:.0f} s, each for a different cause"


def _is_typical(loop: _PlantLoop) -> bool:
    """Whether a temperature loop is still within the ranges of its type."""
    process = loop.table["process"]
    (tau_low, tau_high), (low, high) = _TAU_S[loop.type], _DEAD_TIME_S[loop.type]
    return bool(tau_low <= process["tau"][0] <= tau_high and low <= process["dead_time"] <= high)


def _add_shared_events(loops: Sequence[_PlantLoop], rng: Random) -> None:
    """Add events that several loops of one unit share; a plant of less than half a unit has none."""
    if len(loops) < _UNIT_SIZE // 2:
        return
    for _ in range(max(1, round(_TRAVELLING_FRACTION * len(loops)))):
        _add_travelling_cycle(loops, rng, rng.randint(*_TRAVEL_LOOPS))
    for kind in ("load-step", "grade-change"):
        for _ in range(max(1, round(_SHARED_FRACTION * len(loops)))):
            first = _UNIT_SIZE * rng.randrange(-(-len(loops) // _UNIT_SIZE))
            without_fault = [loop for loop in loops[first:first + _UNIT_SIZE]
                             if not loop.faults and _can_have(kind, loop)]
            neighbours = without_fault[:_NEIGHBOURS]
            if len(neighbours) < _NEIGHBOURS:
                continue
            names = ", ".join(loop.id for loop in neighbours)
            for loop, faults in zip(neighbours, _draw_shared_event(kind, rng), strict=True):
                loop.faults = faults
                loop.comment = f"{names} share this event: {FAULTS[kind].description}"


def _add_travelling_cycle(loops: Sequence[_PlantLoop], rng: Random, length: int) -> None:
    """Give a loop a sticky valve, and let its limit cycle travel through so many others of its unit, one by one."""
    first = _UNIT_SIZE * rng.randrange(-(-len(loops) // _UNIT_SIZE))
    unit = [loop for loop in loops[first:first + _UNIT_SIZE] if not loop.faults]
    roots = [loop for loop in unit if loop.type in ("pressure", "flow") and loop.master is None
             and _can_have("stiction", loop)]
    if not roots:
        return
    root = rng.choice(roots)
    path = [loop for loop in unit if loop is not root and not loop.is_master and loop is not root.master][:length]
    s = round(rng.uniform(5, 8), 1)
    root.faults = [{"kind": "stiction", "S": s, "J": round(s * rng.uniform(0.6, 1.0), 1)}]
    root.comment = f"its limit cycle travels to {', '.join(loop.id for loop in path)}"
    [period] = measure_periods([(root.table, root.faults[0])])
    upstream = root
    for loop in path:
        loop.faults = [{"kind": "external-oscillation", "from": upstream.id, "gain": _round(rng.uniform(0.6, 1.0)),
                        "lag": _round((period or 60.0) * rng.uniform(0.02, 0.08))}]
        loop.comment = f"reached by the limit cycle of {root.id}"
        if loop.type in ("flow", "pressure") and rng.random() < 0.5:  # the others end a branch of the path
            upstream = loop


def _draw_shared_event(kind: str, rng: Random) -> list[list[FaultTable]]:
    """Return the faults of each of the neighbours: an event that takes place some times, at the same times for all."""
    times, start = [], 0
    for _ in range(_SHARED_TIMES):
        start += rng.randint(60, 24 * 60)
        minutes = rng.randint(2 * 60, 4 * 60)
        times.append({"start": _format_minutes(start), "duration": _format_minutes(minutes)})
        start += minutes
    sizes = (4.0, 8.0) if kind == "load-step" else (5.0, 12.0)
    return [[{"kind": kind, "size": _round(sign * rng.uniform(*sizes)), "over": over, **time} for time in times]
            for sign, over in ((rng.choice((-1, 1)), _draw_log_uniform(FAULT_SIZES[kind]["over"], rng))
                               for _ in range(_NEIGHBOURS))]


def _add_utilities(loops: Sequence[_PlantLoop], rng: Random) -> None:
    """Let temperatures and compositions feel the pressure of a utility, or the hot stream of the unit before."""
    slave_of = {id(loop.master): loop for loop in loops if loop.master is not None}
    areas = list(dict.fromkeys(str(loop.table["area"]) for loop in loops))
    for loop in loops:
        if loop.type not in ("temperature", "composition"):
            continue
        area, draw = str(loop.table["area"]), rng.random()
        utility = rng.choice(_UTILITIES)
        if draw >= _UTILITY_FRACTION:
            utility = f"hot stream of {areas[areas.index(area) - 1]}"
        if draw < _UTILITY_FRACTION + _INTEGRATED_FRACTION:
            with_valve = slave_of.get(id(loop), loop)
            with_valve.table["throughput"] = {"utility": utility,
                                              "utility_sigma": _draw_log_uniform(_UTILITY_PERCENT, rng)}


def _couple(loops: Sequence[_PlantLoop], rng: Random) -> None:
    """Give each unit a steam header and a heat exchanger, of loops that have no faults yet."""
    slave_of = {id(loop.master): loop for loop in loops if loop.master is not None}
    for first in range(0, len(loops), _UNIT_SIZE):
        unit = [loop for loop in loops[first:first + _UNIT_SIZE] if not loop.faults]
        headers = [loop for loop in unit if loop.type == "pressure" and loop.master is None]
        heated = [loop for loop in unit if loop.type == "temperature" and not slave_of.get(id(loop), loop).faults]
        rng.shuffle(heated)
        exchanger = heated[:2]
        flows = [loop for loop in unit if loop.type == "flow" and loop.master is None]
        users = [*(slave_of.get(id(loop), loop) for loop in heated[2:]), *flows][:rng.randint(*_HEADER_USERS)]
        if headers and len(users) >= _HEADER_USERS[0]:
            _add_header(rng.choice(headers), users, rng)
        if len(exchanger) == 2:
            _add_exchanger(exchanger, rng)


def _add_header(header: _PlantLoop, users: Sequence[_PlantLoop], rng: Random) -> None:
    """Let users draw on the pressure of a header by their valves, and feel it."""
    draws, effects = ([rng.uniform(*limits) for _ in users] for limits in (_HEADER_DRAW, _HEADER_EFFECT))
    gain = header.table["process"]["gain"]
    ring_gain = abs(gain) * sum(draw * effect for draw, effect in zip(draws, effects, strict=True))
    scale = min(1.0, _LARGEST_HEADER_GAIN / ring_gain)
    header.role = f"the pressure of a steam header, on which {', '.join(user.id for user in users)} draw"
    for user, draw, effect in zip(users, draws, effects, strict=True):
        # A valve that lets off pressure opens as less is drawn.
        header.couplings.append({"loop": user.id, "gain": _round(-draw * scale if gain > 0 else draw * scale),
                                 "lag": _draw_log_uniform(_HEADER_LAG_S, rng)})
        user.couplings.append({"loop": header.id, "by": "pv", "gain": _round(effect),
                               "lag": _draw_log_uniform(_HEADER_LAG_S, rng)})
        user.role = f"a user of the steam header of {header.id}"
        user.table.pop("throughput", None)  # whose pressure it feels in place of a utility elsewhere


def _add_exchanger(pair: Sequence[_PlantLoop], rng: Random) -> None:
    """Let two temperatures follow each other."""
    fastest = min(loop.table["process"]["tau"][0] for loop in pair)
    for loop, other in zip(pair, reversed(pair), strict=True):
        loop.couplings.append({
            "loop": other.id, "by": "pv", "lag": _round(fastest * rng.uniform(*_EXCHANGER_LAG_FRACTION)),
            "gain": _round(rng.uniform(*_EXCHANGED_FRACTION) / loop.table["process"]["gain"])})
        loop.role = f"a heat exchanger joins it with {other.id}"


def _add_operators(loops: Sequence[_PlantLoop], interval_hours: Range, size: Range, rng: Random) -> None:
    """Add operators who move the set points of most loops that are not slaves, and OP of all that are left in MAN."""
    for loop in loops:
        is_manual = any(fault["kind"] == "manual" and "mean_repeat" not in fault for fault in loop.faults)
        if is_manual or (loop.master is None and rng.random() < _OPERATED_FRACTION):
            hours = _MANUAL_MOVE_INTERVAL_HOURS if is_manual else interval_hours
            loop.table["operator"] = {"interval": round(3600 * _draw_log_uniform(hours, rng), -2),
                                      "size": _draw_log_uniform(size, rng)}


def _add_faults(loops: Sequence[_PlantLoop], scale: float, rng: Random) -> None:
    """Add faults in the fractions above, times `scale`, to loops that have none and can have them."""
    order = list(loops)
    rng.shuffle(order)
    for kind, fraction in FAULT_FRACTIONS:
        present = sum(fault["kind"] == kind for loop in loops for fault in loop.faults)
        missing = round(fraction * scale * len(loops)) - present
        if kind == "manual":
            missing -= _leave_in_manual([loop for loop in order if loop.faults and _can_have(kind, loop)],
                                        round(_ANSWERED_FRACTION * missing), rng)
        candidates = [loop for loop in order if not loop.faults and _can_have(kind, loop)]
        if kind == "aggressive":  # flows last: theirs lasts seconds, which a historian that samples each 10 s misses
            candidates.sort(key=lambda loop: loop.type == "flow")
            candidates = [loop for loop in candidates if not loop.couplings]  # by which it would be unstable
        # A level in manual runs away, and a deadband makes a cycle only where the process integrates.
        if kind in ("manual", "deadband"):
            candidates.sort(key=lambda loop: (loop.type == "level") != (kind == "deadband"))
        for loop in candidates[:max(0, missing)]:
            _prepare_valve(kind, loop, rng)
            loop.faults.append({"kind": kind, **_draw_size(kind, loop, rng), **_draw_times(kind, loop, rng)})
            if kind == "stuck":
                loop.faults.append(_answer_stuck_valve(loop.faults[0], rng))
            _add_maintenance(loop, loop.faults[0], rng)


def _answer_stuck_valve(fault: FaultTable, rng: Random) -> FaultTable:
    """Return the time in manual from when someone sees that OP moves on and PV does not, until the repair."""
    start, end = _nanoseconds(fault, "start"), _nanoseconds(fault, "start") + _nanoseconds(fault, "duration")
    start += rng.randint(*_STUCK_MINUTES) * DURATION_UNITS_NS["m"]
    return {"kind": "manual", "start": format_duration(start), "duration": format_duration(end - start)}


def _leave_in_manual(loops: Sequence[_PlantLoop], count: int, rng: Random) -> int:
    """Leave up to so many of these loops in manual until their valve is repaired, hours after its fault is felt.

    Return how many.
    """
    candidates = [loop for loop in loops if loop.type != "level" and FAULTS[loop.faults[0]["kind"]].group == "valve"
                  and loop.faults[0]["kind"] != "stuck"]  # which is in manual by then
    in_manual = 0
    for loop in candidates[:max(0, count)]:
        fault, hour = loop.faults[0], DURATION_UNITS_NS["h"]
        onset = _nanoseconds(fault, "start") + _nanoseconds(fault, "ramp") // 2
        start, end = onset + rng.randint(4, 24) * hour, _nanoseconds(fault, "start") + _nanoseconds(fault, "duration")
        if "duration" in fault and start >= end:  # repaired before
            continue
        until = {"duration": format_duration(end - start)} if "duration" in fault else {}
        loop.faults.append({"kind": "manual", "start": format_duration(start), **until})
        loop.comment = loop.comment or "left in manual because of its valve"
        in_manual += 1
    return in_manual


def _can_have(kind: str, loop: _PlantLoop) -> bool:
    """Whether the loop can have the fault and the plant keeps running: a level whose flow is fixed runs away."""
    group, is_slave = FAULTS[kind].group, loop.master is not None
    is_of_level = "level" in (loop.type, loop.master and loop.master.type)
    if kind in ("stuck", "undersized", "leak", "cascade-broken", "manual-stroking", "mode-hopping") and is_of_level:
        return False
    if kind in (*_SIZING, "leak") and loop.couplings:  # the others would feel the valve's travel, not its flow
        return False
    if kind == "leak":
        return loop.master is None and not loop.is_master
    if kind == "cascade-broken":
        return is_slave
    if kind in ("stuck", "manual") or group == "negative control":
        return not is_slave and not (loop.is_master and group == "valve")
    # The tuning rule does not know the slave's lag: a master tuned near instability by the rule would be unstable.
    return not (loop.is_master and (group == "valve" or kind == "aggressive"))


def _prepare_valve(kind: str, loop: _PlantLoop, rng: Random) -> None:
    """Give the loop a valve in which the fault shows: linear, and where it leaks nearly closed."""
    if kind == "leak":
        loop.table["op"] = round(rng.uniform(*_LEAKING_OP_PERCENT), 1)
    if kind in (*_SIZING, "leak"):
        loop.table["valve"].pop("characteristic", None)


def _draw_size(kind: str, loop: _PlantLoop, rng: Random) -> FaultTable:
    """Return the parameters of a fault."""
    if kind == "stiction":
        s = round(exp(rng.uniform(log(1.0), log(8.0))), 1)  # % of travel
        return {"S": s, "J": round(s * _draw_log_uniform(SLIP_FRACTION, rng), 2)}
    if kind == "undersized":
        return {"capacity": _round(loop.table["op"] / 100.0 * rng.uniform(*_UNDERSIZED_FLOW))}
    if kind == "leak":
        return {"flow": _round(loop.table["op"] * rng.uniform(*_LEAK_FLOW))}
    sign = rng.choice((-1, 1)) if kind in UP_OR_DOWN else 1
    size: FaultTable = {name: _draw_log_uniform(limits, rng) * (sign if name == "size" else 1)
                        for name, limits in FAULT_SIZES.get(kind, {}).items()}
    if kind == "external-oscillation":
        shortest, longest = (max(period, factor * _time_constants(loop))
                             for period, factor in zip(WAVE_PERIOD_S, SLOW_WAVE, strict=True))
        size |= {"period": round(exp(rng.uniform(log(shortest), log(longest))), 1),
                 "phase": float(rng.randrange(360))}
        size["amplitude"] = min(size["amplitude"], _largest_wave(loop, size["period"]))
    return size


def _largest_wave(loop: _PlantLoop, period: float) -> float:
    """Return the greatest amplitude of a wave of the load of this period, s, that a plant would bear, % of travel."""
    gain = abs(loop.table["process"]["gain"])
    if loop.type == "level":
        return _round(_LARGEST_LEVEL_WAVE_PERCENT * 2.0 * pi / (gain * period))
    return _round(_LARGEST_WAVE_PERCENT / gain)


def _draw_times(kind: str, loop: _PlantLoop, rng: Random) -> FaultTable:
    """Return when the fault is present: many of the lasting ones from the start; others later, or again and again."""
    group = FAULTS[kind].group
    is_early = rng.random() < (_EARLY_MANUAL_FRACTION if kind == "manual" else _EARLY_FRACTION)
    start = {"start": _format_minutes(round(_draw_log_uniform(_LATE_START_MINUTES, rng)))}
    soon = {"start": _format_minutes(rng.randint(15, 6 * 60))}
    recurrence = soon | {"duration": _format_minutes(rng.randint(30, 120)),
                          "mean_repeat": f"{rng.randint(3, 12)}h"}
    if kind in _SIZING:
        return {}
    if kind in _FROM_THE_BEGINNING:
        return {"start": f"{rng.randint(12, 72)}h"} if rng.random() < _MAINTENANCE_FRACTION else {}
    if kind == "stuck":  # until its maintenance
        return start | {"duration": f"{rng.randint(4, 24)}h"}
    if kind in ("stiction", "deadband"):
        if rng.random() >= _WORN_FRACTION:
            return {}
        hours = rng.randint(12, 96)
        is_repaired = rng.random() < _REPAIRED_FRACTION
        return {"ramp": f"{hours}h"} | ({"duration": f"{hours + rng.randint(4, 48)}h"} if is_repaired else {})
    if kind == "freeze":
        return soon | {"duration": _format_minutes(rng.randint(*_FREEZE_MINUTES)),
                       "mean_repeat": f"{rng.randint(*_FREEZE_REPEAT_HOURS)}h"}
    if kind == "manual" and loop.type == "level":
        shortest, longest = _LEVEL_IN_MANUAL_MINUTES
        seconds = _LEVEL_CHANGE_PERCENT / (_LEVEL_IMBALANCE_PERCENT * abs(loop.table["process"]["gain"]))
        minutes = min(longest, max(shortest, round(seconds / 60.0)))
        return soon | {"duration": _format_minutes(minutes), "mean_repeat": recurrence["mean_repeat"]}
    if kind in ("manual", "cascade-broken", "external-oscillation") or group in ("valve", "tuning"):
        return {} if is_early else start
    return start if is_early and group in ("process", "sensor", "data path") else recurrence


def _add_maintenance(loop: _PlantLoop, fault: FaultTable, rng: Random) -> None:
    """Take the loop to MAN while its valve is repaired, or while what is wrong from then on is installed.

    A level would run away: its valve is repaired behind a bypass.
    """
    kind = fault["kind"]
    is_repair = FAULTS[kind].group == "valve" and "duration" in fault
    if loop.type == "level" or not (is_repair or (kind in _FROM_THE_BEGINNING and "start" in fault)):
        return
    at = _nanoseconds(fault, "start") + (_nanoseconds(fault, "duration") if is_repair else 0)
    half = rng.randint(*_MAINTENANCE_MINUTES) * DURATION_UNITS_NS["m"] // 2
    loop.faults.append({"kind": "maintenance", "start": format_duration(at - half),
                        "duration": format_duration(2 * half)})
    loop.comment = loop.comment or "in MAN during a maintenance, " + (
        "which makes the valve as new" if is_repair else "since which this is wrong")


def _nanoseconds(fault: FaultTable, key: str) -> int:
    return parse_duration(fault[key]) if key in fault else 0


def _format_minutes(minutes: int) -> str:
    return format_duration(minutes * DURATION_UNITS_NS["m"])


def _draw_log_uniform(limits: Range, rng: Random) -> float:
    """Return a number between the limits, uniformly distributed on a logarithmic scale, rounded to three digits."""
    return _round(exp(rng.uniform(log(limits[0]), log(limits[1]))))


def _round(value: float) -> float:
    """Return value rounded to three significant digits."""
    return float(f"{value:.3g}")


def _header(name: str, loops: Sequence[_PlantLoop], seed: int, *, has_usual_faults: bool) -> str:
    slaves = sum(loop.master is not None for loop in loops)
    faulty = sum(bool(loop.faults) for loop in loops)
    return (f"# {len(loops)} loops of a plant ({_to_comment(name)}), {slaves} of them slaves, {faulty} with a fault.\n"
            "# Values that a loop does not give are those of its type. See: clpm-execd loop-types, clpm-execd faults\n"
            + (_REFINERY_COMMENT if name == "refinery" else "") + (_SURVEY_COMMENT if has_usual_faults else "") +
            "# To validate this file: clpm-execd check --config FILE\n\n"
            f"seed = {seed}\ninterval = \"1s\"\n\n"
            "[output]\ntruth = true            # ground truth about faults, as measurement control_loops_truth\n\n"
            "[unit]                  # the throughput of each area moves its loops over hours and days\n"
            f"sigma = {_THROUGHPUT_PERCENT}             # standard deviation, % of design\n"
            f"ambient = {_AMBIENT_PERCENT}           # by day and night, % of valve travel\n")


_SURVEY_COMMENT = "# As many loops have a fault as surveys found:\n" + "".join(f"# {line}\n" for line in SURVEYS)
_REFINERY_COMMENT = (
    "# Noise, load and controllers of flows and levels, and how often set points are moved, are those of 31 loops of\n"
    + "".join(f"# {line}\n" for line in SOURCE))


def _to_toml(loop: _PlantLoop) -> str:
    """Return the loop as TOML."""
    comments = (loop.role, loop.comment, "the master of the next loop" if loop.is_master else "")
    lines = [f"# {comment}" for comment in comments if comment]
    lines.append("[[loop]]")
    tables = {key: value for key, value in loop.table.items() if isinstance(value, Mapping)}
    lines += [f"{key} = {_to_value(value)}" for key, value in loop.table.items() if key not in tables]
    for key, table in tables.items():
        if table:
            lines.append(f"{key} = {_to_value(table)}")
    for coupling in loop.couplings:
        lines += ["[[loop.coupling]]", *(f"{key} = {_to_value(value)}" for key, value in coupling.items())]
    for fault in loop.faults:
        lines += [f"[[loop.fault]]  # {FAULTS[fault['kind']].description}",
                  *(f"{key} = {_to_value(value)}" for key, value in fault.items())]
    return "\n".join(lines) + "\n"


def _to_value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_to_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_to_value, value)) + "]"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _to_comment(text: str) -> str:
    """Return text on one line, without unprintable characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
