"""The faults of a plant's loops: which loops have them, of what size, from when to when, and what people do then."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi
from random import Random

from clpm_execd.config.plants.fault_statistics import (
    FAULT_FRACTIONS,
    FAULT_SIZES,
    SLIP_FRACTION,
    SLOW_WAVE,
    UP_OR_DOWN,
    WAVE_PERIOD_S,
)
from clpm_execd.config.plants.loop_parameters import (
    FaultTable,
    PlantLoop,
    draw_log_uniform,
    round_digits,
    sum_time_constants,
)
from clpm_execd.plant.elementary import exp, log
from clpm_execd.plant.faults import FAULTS
from clpm_execd.units import DURATION_UNITS_NS, format_duration, parse_duration

# These numbers are part of what a seed draws: changed, the same seed would give another plant.

ANSWERED_FRACTION = 1 / 3  # of the loops that are left in manual, those where it is the answer to a fault
_WORN_FRACTION = 1 / 3  # of the sticky valves, those that become so within days; the others are so from the beginning
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
# An undersized valve is too small when much is asked of it, and a leak is too much when little is: the flow through
# the open valve, and through the closed one, relative to what is needed at steady state, and OP there, %. Estimates.
_UNDERSIZED_FLOW, _LEAK_FLOW, _LEAKING_OP_PERCENT = (0.93, 1.15), (0.6, 1.2), (4.0, 9.0)


def add_faults(loops: Sequence[PlantLoop], scale: float, rng: Random) -> None:
    """Add faults in the fractions above, times `scale`, to loops that have none and can have them."""
    order = list(loops)
    rng.shuffle(order)
    for kind, fraction in FAULT_FRACTIONS:
        present = sum(fault["kind"] == kind for loop in loops for fault in loop.faults)
        missing = round(fraction * scale * len(loops)) - present
        if kind == "manual":
            missing -= _leave_in_manual([loop for loop in order if loop.faults and can_have(kind, loop)],
                                        round(ANSWERED_FRACTION * missing), rng)
        candidates = [loop for loop in order if not loop.faults and can_have(kind, loop)]
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
    start, end = _read_ns(fault, "start"), _read_ns(fault, "start") + _read_ns(fault, "duration")
    start += rng.randint(*_STUCK_MINUTES) * DURATION_UNITS_NS["m"]
    return {"kind": "manual", "start": format_duration(start), "duration": format_duration(end - start)}


def _leave_in_manual(loops: Sequence[PlantLoop], count: int, rng: Random) -> int:
    """Leave up to so many of these loops in manual until their valve is repaired, hours after its fault is felt.

    Return how many.
    """
    candidates = [loop for loop in loops if loop.type != "level" and FAULTS[loop.faults[0]["kind"]].group == "valve"
                  and loop.faults[0]["kind"] != "stuck"]  # which is in manual by then
    in_manual = 0
    for loop in candidates[:max(0, count)]:
        fault, hour = loop.faults[0], DURATION_UNITS_NS["h"]
        onset = _read_ns(fault, "start") + _read_ns(fault, "ramp") // 2
        start, end = onset + rng.randint(4, 24) * hour, _read_ns(fault, "start") + _read_ns(fault, "duration")
        if "duration" in fault and start >= end:  # repaired before
            continue
        until = {"duration": format_duration(end - start)} if "duration" in fault else {}
        loop.faults.append({"kind": "manual", "start": format_duration(start), **until})
        loop.comment = loop.comment or "left in manual because of its valve"
        in_manual += 1
    return in_manual


def can_have(kind: str, loop: PlantLoop) -> bool:
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


def _prepare_valve(kind: str, loop: PlantLoop, rng: Random) -> None:
    """Give the loop a valve in which the fault shows: linear, and where it leaks nearly closed."""
    if kind == "leak":
        loop.table["op"] = round(rng.uniform(*_LEAKING_OP_PERCENT), 1)
    if kind in (*_SIZING, "leak"):
        loop.table["valve"].pop("characteristic", None)


def _draw_size(kind: str, loop: PlantLoop, rng: Random) -> FaultTable:
    """Return the parameters of a fault."""
    if kind == "stiction":
        s = round(exp(rng.uniform(log(1.0), log(8.0))), 1)  # % of travel
        return {"S": s, "J": round(s * draw_log_uniform(SLIP_FRACTION, rng), 2)}
    if kind == "undersized":
        return {"capacity": round_digits(loop.table["op"] / 100.0 * rng.uniform(*_UNDERSIZED_FLOW))}
    if kind == "leak":
        return {"flow": round_digits(loop.table["op"] * rng.uniform(*_LEAK_FLOW))}
    sign = rng.choice((-1, 1)) if kind in UP_OR_DOWN else 1
    size: FaultTable = {name: draw_log_uniform(limits, rng) * (sign if name == "size" else 1)
                        for name, limits in FAULT_SIZES.get(kind, {}).items()}
    if kind == "external-oscillation":
        shortest, longest = (max(period, factor * sum_time_constants(loop))
                             for period, factor in zip(WAVE_PERIOD_S, SLOW_WAVE, strict=True))
        size |= {"period": round(exp(rng.uniform(log(shortest), log(longest))), 1),
                 "phase": float(rng.randrange(360))}
        size["amplitude"] = min(size["amplitude"], _limit_wave_amplitude(loop, size["period"]))
    return size


def _limit_wave_amplitude(loop: PlantLoop, period: float) -> float:
    """Return the greatest amplitude of a wave of the load of this period, s, that a plant would bear, % of travel."""
    gain = abs(loop.table["process"]["gain"])
    if loop.type == "level":
        return round_digits(_LARGEST_LEVEL_WAVE_PERCENT * 2.0 * pi / (gain * period))
    return round_digits(_LARGEST_WAVE_PERCENT / gain)


def _draw_times(kind: str, loop: PlantLoop, rng: Random) -> FaultTable:
    """Return when the fault is present: many of the lasting ones from the start; others later, or again and again."""
    group = FAULTS[kind].group
    is_early = rng.random() < (_EARLY_MANUAL_FRACTION if kind == "manual" else _EARLY_FRACTION)
    start = {"start": format_minutes(round(draw_log_uniform(_LATE_START_MINUTES, rng)))}
    soon = {"start": format_minutes(rng.randint(15, 6 * 60))}
    recurrence = soon | {"duration": format_minutes(rng.randint(30, 120)),
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
        return soon | {"duration": format_minutes(rng.randint(*_FREEZE_MINUTES)),
                       "mean_repeat": f"{rng.randint(*_FREEZE_REPEAT_HOURS)}h"}
    if kind == "manual" and loop.type == "level":
        shortest, longest = _LEVEL_IN_MANUAL_MINUTES
        seconds = _LEVEL_CHANGE_PERCENT / (_LEVEL_IMBALANCE_PERCENT * abs(loop.table["process"]["gain"]))
        minutes = min(longest, max(shortest, round(seconds / 60.0)))
        return soon | {"duration": format_minutes(minutes), "mean_repeat": recurrence["mean_repeat"]}
    if kind in ("manual", "cascade-broken", "external-oscillation") or group in ("valve", "tuning"):
        return {} if is_early else start
    return start if is_early and group in ("process", "sensor", "data path") else recurrence


def _add_maintenance(loop: PlantLoop, fault: FaultTable, rng: Random) -> None:
    """Take the loop to MAN while its valve is repaired, or while what is wrong from then on is installed.

    A level would run away: its valve is repaired behind a bypass.
    """
    kind = fault["kind"]
    is_repair = FAULTS[kind].group == "valve" and "duration" in fault
    if loop.type == "level" or not (is_repair or (kind in _FROM_THE_BEGINNING and "start" in fault)):
        return
    at = _read_ns(fault, "start") + (_read_ns(fault, "duration") if is_repair else 0)
    half = rng.randint(*_MAINTENANCE_MINUTES) * DURATION_UNITS_NS["m"] // 2
    loop.faults.append({"kind": "maintenance", "start": format_duration(at - half),
                        "duration": format_duration(2 * half)})
    loop.comment = loop.comment or "in MAN during a maintenance, " + (
        "which makes the valve as new" if is_repair else "since which this is wrong")


def _read_ns(fault: FaultTable, key: str) -> int:
    return parse_duration(fault[key]) if key in fault else 0


def format_minutes(minutes: int) -> str:
    return format_duration(minutes * DURATION_UNITS_NS["m"])
