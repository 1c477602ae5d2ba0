"""Faults that several loops of a plant share: trios of one period, events of neighbours, limit cycles that travel."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from clpm_execd.config.plants.connections import UNIT_SIZE
from clpm_execd.config.plants.fault_draws import can_have, format_minutes
from clpm_execd.config.plants.fault_statistics import FAULT_SIZES
from clpm_execd.config.plants.loop_parameters import (
    FaultTable,
    PlantLoop,
    draw_log_uniform,
    is_typical,
    round_digits,
)
from clpm_execd.config.plants.period_matching import PeriodPair, match_periods, measure_periods
from clpm_execd.plant.faults import FAULTS

# These numbers are part of what a seed draws: changed, the same seed would give another plant.

_TRIO_FRACTION = 0.015  # trios of one period per loop of the plant
_SHARED_FRACTION = 0.01  # events of each kind that neighbours share, per loop of the plant
_TRAVELLING_FRACTION = 0.004  # limit cycles that travel, per loop of the plant
_NEIGHBOURS = 3  # loops that share an event
TRAVEL_LOOPS = (5, 12)  # loops that a limit cycle travels through, from the sticky valve that makes it
_SHARED_TIMES = 3  # how often an event that neighbours share takes place


def add_trios(loops: Sequence[PlantLoop], rng: Random) -> None:
    """Give threes of loops the same period: by a sticky valve, by aggressive tuning, by an external oscillation."""
    pressures = [loop for loop in loops if loop.type == "pressure"]
    temperatures = [loop for loop in loops if loop.type == "temperature" and not loop.is_master]
    max_trios = max(1, round(_TRIO_FRACTION * len(loops)))
    trios = list(zip(pressures[::2], temperatures, pressures[1::2], strict=False))[:max_trios]
    pairs = []
    for sticky, aggressive, _ in trios:
        for loop in (sticky, aggressive):
            loop.table |= {"valve": {}, "controller": {"tuning": "lambda"}}
        sticky.table["disturbance"]["sigma"] = draw_log_uniform((0.3, 0.5), rng)
        s = round(rng.uniform(4, 7), 1)
        stiction: FaultTable = {"kind": "stiction", "S": s, "J": round(s * rng.uniform(0.6, 1.0), 1)}
        tau = draw_log_uniform((80, 120), rng)
        aggressive.table["process"] |= {"tau": [tau, round_digits(0.3 * tau)], "dead_time": round_digits(0.3 * tau)}
        pairs.append(PeriodPair(sticky.table, stiction, aggressive.table,
                                {"kind": "aggressive", "gain_margin": 1.04}))
    match_periods(pairs)
    for trio, pair in zip(trios, pairs, strict=True):
        if pair.period is None or not is_typical(trio[1]):
            continue
        external: FaultTable = {"kind": "external-oscillation", "period": round(pair.period, 1)}
        names = ", ".join(loop.id for loop in trio)
        for loop, fault in zip(trio, (pair.reference_fault, pair.adjusted_fault, external), strict=True):
            loop.faults = [fault]
            loop.comment = f"{names} oscillate at the same period of {pair.period:.0f} s, each for a different cause"


def add_shared_events(loops: Sequence[PlantLoop], rng: Random) -> None:
    """Add events that several loops of one unit share; a plant of less than half a unit has none."""
    if len(loops) < UNIT_SIZE // 2:
        return
    for _ in range(max(1, round(_TRAVELLING_FRACTION * len(loops)))):
        add_travelling_cycle(loops, rng, rng.randint(*TRAVEL_LOOPS))
    for kind in ("load-step", "grade-change"):
        for _ in range(max(1, round(_SHARED_FRACTION * len(loops)))):
            first = UNIT_SIZE * rng.randrange(-(-len(loops) // UNIT_SIZE))
            without_fault = [loop for loop in loops[first:first + UNIT_SIZE]
                             if not loop.faults and can_have(kind, loop)]
            neighbours = without_fault[:_NEIGHBOURS]
            if len(neighbours) < _NEIGHBOURS:
                continue
            names = ", ".join(loop.id for loop in neighbours)
            for loop, faults in zip(neighbours, _draw_shared_event(kind, rng), strict=True):
                loop.faults = faults
                loop.comment = f"{names} share this event: {FAULTS[kind].description}"


def add_travelling_cycle(loops: Sequence[PlantLoop], rng: Random, length: int) -> None:
    """Give a loop a sticky valve, and let its limit cycle travel through so many others of its unit, one by one."""
    first = UNIT_SIZE * rng.randrange(-(-len(loops) // UNIT_SIZE))
    unit = [loop for loop in loops[first:first + UNIT_SIZE] if not loop.faults]
    roots = [loop for loop in unit if loop.type in ("pressure", "flow") and loop.master is None
             and can_have("stiction", loop)]
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
        loop.faults = [{"kind": "external-oscillation", "from": upstream.id,
                        "gain": round_digits(rng.uniform(0.6, 1.0)),
                        "lag": round_digits((period or 60.0) * rng.uniform(0.02, 0.08))}]
        loop.comment = f"reached by the limit cycle of {root.id}"
        if loop.type in ("flow", "pressure") and rng.random() < 0.5:  # the others end a branch of the path
            upstream = loop


def _draw_shared_event(kind: str, rng: Random) -> list[list[FaultTable]]:
    """Return the faults of each of the neighbours: an event that takes place some times, at the same times for all."""
    times, start = [], 0
    for _ in range(_SHARED_TIMES):
        start += rng.randint(60, 24 * 60)
        minutes = rng.randint(2 * 60, 4 * 60)
        times.append({"start": format_minutes(start), "duration": format_minutes(minutes)})
        start += minutes
    sizes = (4.0, 8.0) if kind == "load-step" else (5.0, 12.0)
    return [[{"kind": kind, "size": round_digits(sign * rng.uniform(*sizes)), "over": over, **time} for time in times]
            for sign, over in ((rng.choice((-1, 1)), draw_log_uniform(FAULT_SIZES[kind]["over"], rng))
                               for _ in range(_NEIGHBOURS))]
