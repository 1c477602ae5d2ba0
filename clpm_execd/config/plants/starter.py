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
from random import Random

from clpm_execd.config.plants.connections import UNIT_SIZE, add_utilities, couple_units
from clpm_execd.config.plants.fault_draws import ANSWERED_FRACTION, add_faults
from clpm_execd.config.plants.fault_statistics import FAULT_FRACTIONS, SURVEYS
from clpm_execd.config.plants.loop_parameters import PlantLoop, draw_log_uniform, draw_parameters
from clpm_execd.config.plants.refinery_statistics import MOVE_INTERVAL_HOURS, MOVE_SIZE, SOURCE, Range
from clpm_execd.config.plants.shared_faults import TRAVEL_LOOPS, add_shared_events, add_travelling_cycle, add_trios
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.loop_types import LOOP_TYPES

# All numbers below are part of what a seed draws: changed, the same seed would give another plant. Those without a
# source are estimates of what is usual; the tests hold the plants to the shares of real ones.

# Loops of each type in a hundred: flow, pressure, level, temperature, composition (estimates).
TYPE_SHARES = {
    "refinery": (45, 17, 18, 17, 3),
    "chemicals": (40, 15, 18, 22, 5),
    "pulp-and-paper": (46, 14, 24, 9, 7),
    "power": (38, 24, 14, 22, 2),
}
_TYPICAL_MOVE_INTERVAL_HOURS: Range = (2.0, 12.0)  # operators move a set point once or a few times a shift
_MANUAL_MOVE_INTERVAL_HOURS: Range = (1.5, 4.0)  # in MAN they move OP a few times a shift; an estimate
_TYPICAL_MOVE_SIZE: Range = (0.5, 2.0)  # standard deviation, % of span
DEFAULT_SIZE = 50  # loops of a plant whose size is not given
_CASCADE_FRACTION = 0.25  # of the loops are slaves: 28 % of 141 records have the set point of one
_OPERATED_FRACTION = 0.7  # of the loops that are not slaves have an operator who moves SP
# What the throughput does to the whole plant (docs/physics.md, "Days and months").
_THROUGHPUT_PERCENT, _AMBIENT_PERCENT = 1.2, 0.3


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
    usual = sum(fraction * (1.0 - ANSWERED_FRACTION if kind == "manual" else 1.0)
                for kind, fraction in FAULT_FRACTIONS if not FAULTS[kind].is_control)
    scale = 1.0 if faulty is None else faulty / usual
    rng = Random(f"{name} {count} {seed}")
    loops = list(_assign_ids(_pair_cascades(_draw_types(TYPE_SHARES[name], count, rng), rng)))
    is_refinery = name == "refinery"
    draw_parameters(name, loops, rng)
    add_utilities(loops, rng)
    if scale >= 1.0:  # these come in groups, of which a plant with few faults has none
        add_trios(loops, rng)
        add_shared_events(loops, rng)
    elif scale > 0.0:
        add_travelling_cycle(loops, rng, round(TRAVEL_LOOPS[0] * scale) + 1)
    couple_units(loops, Random(f"{name} {count} {seed} couplings"))
    add_faults(loops, scale, rng)
    if is_refinery:
        _add_operators(loops, MOVE_INTERVAL_HOURS, MOVE_SIZE, rng)
    else:
        _add_operators(loops, _TYPICAL_MOVE_INTERVAL_HOURS, _TYPICAL_MOVE_SIZE, rng)
    header = _write_header(name, loops, seed, has_usual_faults=faulty is None)
    return header + "".join(f"\n{_write_loop(loop)}" for loop in loops)


def _draw_types(shares: Sequence[int], count: int, rng: Random) -> list[str]:
    """Return the types of `count` loops in these shares, in random order."""
    exact = [count * share / sum(shares) for share in shares]
    numbers = [int(number) for number in exact]
    for i in sorted(range(len(shares)), key=lambda i: numbers[i] - exact[i])[:count - sum(numbers)]:
        numbers[i] += 1
    types = [loop_type for loop_type, number in zip(LOOP_TYPES, numbers, strict=True) for _ in range(number)]
    rng.shuffle(types)
    return types


def _pair_cascades(types: Sequence[str], rng: Random) -> list[PlantLoop]:
    """Return loops of these types; flows are slaves of temperatures, levels and compositions, each after its master."""
    loops = [PlantLoop(loop_type, {}) for loop_type in types]
    slaves = [loop for loop in loops if loop.type == "flow"]
    masters = [loop for loop in loops if loop.type in ("temperature", "level", "composition")]
    pairs = list(zip(masters, slaves, strict=False))[:round(_CASCADE_FRACTION * len(loops))]
    for master, slave in pairs:
        slave.master, master.is_master = master, True
    slave_of = {id(master): slave for master, slave in pairs}
    groups = [[loop, slave_of[id(loop)]] if loop.is_master else [loop] for loop in loops if loop.master is None]
    rng.shuffle(groups)
    return [loop for group in groups for loop in group]


def _assign_ids(loops: Sequence[PlantLoop]) -> Iterator[PlantLoop]:
    for k, loop in enumerate(loops):
        number = 100 * (11 + k // UNIT_SIZE) + k % UNIT_SIZE + 1
        loop.table["id"] = f"{LOOP_TYPES[loop.type].letters}{number}"
        loop.table["area"] = f"unit {11 + k // UNIT_SIZE}"
        yield loop


def _add_operators(loops: Sequence[PlantLoop], interval_hours: Range, size: Range, rng: Random) -> None:
    """Add operators who move the set points of most loops that are not slaves, and OP of all that are left in MAN."""
    for loop in loops:
        is_manual = any(fault["kind"] == "manual" and "mean_repeat" not in fault for fault in loop.faults)
        if is_manual or (loop.master is None and rng.random() < _OPERATED_FRACTION):
            hours = _MANUAL_MOVE_INTERVAL_HOURS if is_manual else interval_hours
            loop.table["operator"] = {"interval": round(3600 * draw_log_uniform(hours, rng), -2),
                                      "size": draw_log_uniform(size, rng)}


def _write_header(name: str, loops: Sequence[PlantLoop], seed: int, *, has_usual_faults: bool) -> str:
    slaves = sum(loop.master is not None for loop in loops)
    faulty = sum(bool(loop.faults) for loop in loops)
    return (f"# {len(loops)} loops of a plant ({name}), {slaves} of them slaves, {faulty} with a fault.\n"
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


def _write_loop(loop: PlantLoop) -> str:
    """Return the loop as TOML."""
    comments = (loop.role, loop.comment, "the master of the next loop" if loop.is_master else "")
    lines = [f"# {comment}" for comment in comments if comment]
    lines.append("[[loop]]")
    tables = {key: value for key, value in loop.table.items() if isinstance(value, Mapping)}
    lines += [f"{key} = {_write_value(value)}" for key, value in loop.table.items() if key not in tables]
    for key, table in tables.items():
        if table:
            lines.append(f"{key} = {_write_value(table)}")
    for coupling in loop.couplings:
        lines += ["[[loop.coupling]]", *(f"{key} = {_write_value(value)}" for key, value in coupling.items())]
    for fault in loop.faults:
        lines += [f"[[loop.fault]]  # {FAULTS[fault['kind']].description}",
                  *(f"{key} = {_write_value(value)}" for key, value in fault.items())]
    return "\n".join(lines) + "\n"


def _write_value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_write_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_write_value, value)) + "]"
    return json.dumps(value) if isinstance(value, str) else repr(value)
