"""Files to start from: a commented loops.toml of a few loops, and that of a whole plant as plants are.

A plant is drawn from its name, its size and a seed, and the same ones give the same file. A quarter of its loops are
slaves of cascades. Of a hundred loops 36 are not in automatic, and the valves of 25 make trouble (physics of real
plants: 20 to 30 oscillate because of valves). A refinery is as restless as the records of one (config.refinery). Some
come in threes that a monitor confuses: the same period by a sticky valve, by aggressive tuning and from outside. Some
neighbours share what happens: one oscillation that reaches each of them later and weaker, one upset of the load, one
change of grade.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log
from random import Random
from typing import Any

from clpm_execd.config.period_matching import Match, match
from clpm_execd.config.refinery_statistics import MANNED, MOVE, MOVED_EVERY, RESTLESS, SOURCE, Restlessness
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.loop_types import LOOP_TYPES
from clpm_execd.units import UNITS, format_duration

Table = dict[str, Any]

# Loops of each type in a hundred: flow, pressure, level, temperature, composition.
MIXES = {
    "refinery": (45, 17, 18, 17, 3),
    "chemical": (40, 15, 18, 22, 5),
    "paper": (46, 14, 24, 9, 7),
    "power": (38, 24, 14, 22, 2),
}
USUAL = (43, 18, 19, 17, 3)
TYPICAL = Restlessness(noise=(0.02, 0.15), sigma=(0.3, 1.0), correlation=(5.0, 30.0))

LOOPS = 50  # of a plant whose size nobody gave
CASCADES = 0.25
A_UNIT = 50  # loops

# Faults and their share of all loops; what comes first chooses first.
PREVALENCE = (
    ("stiction", 0.14), ("deadband", 0.04), ("undersized", 0.02), ("stuck", 0.01), ("leak", 0.01),
    ("slow-actuator", 0.01), ("oversized", 0.01),
    ("manual", 0.36),
    ("aggressive", 0.04), ("sluggish", 0.04), ("windup", 0.01),
    ("external-oscillation", 0.03), ("load-step", 0.01), ("fouling", 0.01),
    ("drift", 0.01), ("noise", 0.01), ("freeze", 0.01), ("spikes", 0.005),
    ("compression", 0.01), ("gaps", 0.005), ("cascade-broken", 0.01), ("mode-hopping", 0.005),
    ("white-noise", 0.01), ("grade-change", 0.01), ("setpoint-ramp", 0.01), ("manual-stroking", 0.005),
)
TRIOS = 0.03  # of all loops, threes matched in period
SHARED = 0.01  # of all loops, happenings of each kind that three neighbours share
NEIGHBOURS = 3


@dataclass(slots=True)
class Drawn:
    """A loop of the plant to be written: the keys of its table, and why it is as it is."""

    type: str
    table: Table
    master: Drawn | None = None
    leads: bool = False
    faults: list[Table] = field(default_factory=list)
    note: str = ""

    @property
    def id(self) -> str:
        return str(self.table["id"])


def plant_file(name: str, count: int, seed: int) -> str:
    """A loops.toml of a plausible plant of so many loops; `name` is one of MIXES, or any other."""
    chance = Random(f"{name} {count} {seed}")
    loops = list(_numbered(_cascaded(_types(MIXES.get(name, USUAL), count, chance), chance)))
    learned = RESTLESS if name == "refinery" else {}
    for loop in loops:
        _furnish(loop, learned.get(loop.type, TYPICAL), chance)
    _confuse(loops, chance)
    _share(loops, chance)
    _spoil(loops, chance)
    _man(loops, *((MOVED_EVERY, MOVE) if learned else ((2.0, 12.0), (0.5, 2.0))), chance)
    head = _header(name, loops, seed)
    return head + "".join(f"\n{_written(loop)}" for loop in loops)


def _types(mix: Sequence[int], count: int, chance: Random) -> list[str]:
    """So many types in the shares of the mix, in random order."""
    shares = [count * share / sum(mix) for share in mix]
    whole = [int(share) for share in shares]
    for i in sorted(range(len(mix)), key=lambda i: whole[i] - shares[i])[:count - sum(whole)]:
        whole[i] += 1
    types = [kind for kind, number in zip(LOOP_TYPES, whole, strict=True) for _ in range(number)]
    chance.shuffle(types)
    return types


def _cascaded(types: Sequence[str], chance: Random) -> list[Drawn]:
    """Loops of these types, each slave behind its master: flows that temperatures, levels and compositions lead."""
    loops = [Drawn(kind, {}) for kind in types]
    slaves = [loop for loop in loops if loop.type == "flow"]
    masters = [loop for loop in loops if loop.type in ("temperature", "level", "composition")]
    pairs = list(zip(masters, slaves, strict=False))[:round(CASCADES * len(loops))]
    for master, slave in pairs:
        slave.master, master.leads = master, True
    behind = {id(master): slave for master, slave in pairs}
    groups = [[loop, behind[id(loop)]] if loop.leads else [loop] for loop in loops if loop.master is None]
    chance.shuffle(groups)
    return [loop for group in groups for loop in group]


def _numbered(loops: Sequence[Drawn]) -> Iterator[Drawn]:
    for k, loop in enumerate(loops):
        number = 100 * (11 + k // A_UNIT) + k % A_UNIT + 1
        loop.table["id"] = f"{LOOP_TYPES[loop.type].letters}{number}"
        yield loop


# Ranges of process and load by type, in seconds and per cent; low and high of a logarithmic draw.
_GAIN = {"flow": (0.8, 1.5), "pressure": (0.6, 2.0), "level": (0.005, 0.02), "temperature": (0.6, 2.5),
         "composition": (0.4, 2.0)}
_TAU = {"flow": (1, 5), "pressure": (10, 60), "temperature": (60, 1800), "composition": (300, 3600)}
_DELAY = {"flow": (0.5, 2), "pressure": (1, 5), "level": (2, 10), "temperature": (10, 300), "composition": (120, 1200)}
_SPANS = {"flow": (20, 50, 120, 400), "pressure": (6, 10, 25, 40), "level": (100,), "temperature": (150, 200, 400),
          "composition": (5, 10, 100)}


def _furnish(loop: Drawn, restless: Restlessness, chance: Random) -> None:
    """Process, load and habits, drawn together so that the loop can be controlled."""
    kind, table = loop.type, loop.table
    span = float(chance.choice(_SPANS[kind]))
    low = float(chance.choice((0, 50, 100, 200))) if kind == "temperature" else 0.0
    table |= {"type": kind, "range": [low, low + span], "sp": _round(low + span * chance.uniform(0.4, 0.65)),
              "op": round(chance.uniform(35, 65), 1)}
    process: Table = {"gain": _between(_GAIN[kind], chance)}
    if kind == "level":
        process["dead_time"] = _between(_DELAY[kind], chance)
    else:
        tau = _between(_TAU[kind], chance)
        low, high = _DELAY[kind]
        process["tau"] = [tau, _round(tau * chance.uniform(0.1, 0.5))] if kind == "temperature" else tau
        process["dead_time"] = _round(min(high, max(low, tau * chance.uniform(0.08, 0.35))))
    table["process"] = process
    table["valve"] = {"lag": round(chance.uniform(1, 3), 1)} if kind != "flow" and not loop.leads else {}
    if not loop.leads and chance.random() < 0.3:
        table["valve"]["characteristic"] = "equal-percentage"
    table["sensor"] = {"noise": _between(restless.noise, chance)}
    table["disturbance"] = {"sigma": _between(restless.sigma, chance),
                            "correlation": _between(restless.correlation, chance)}
    table["controller"] = {"tuning": "tight" if chance.random() < 0.3 else "lambda"}
    if chance.random() < 0.15:
        table["recording"] = {"exception": _between((0.05, 0.3), chance)}
    if loop.master is not None:
        table["cascade"] = loop.master.id


def _confuse(loops: Sequence[Drawn], chance: Random) -> None:
    """Threes of the same period: a sticky valve, aggressive tuning, and an oscillation from outside."""
    quick = [loop for loop in loops if loop.type == "pressure"]
    slow = [loop for loop in loops if loop.type == "temperature" and not loop.leads]
    most = max(1, round(TRIOS * len(loops)))
    threes = list(zip(quick[::2], slow, quick[1::2], strict=False))[:most]
    pairs = []
    for sticky, aggressive, _ in threes:
        for loop in (sticky, aggressive):
            loop.table |= {"valve": {}, "controller": {"tuning": "lambda"}}
        sticky.table["disturbance"]["sigma"] = _between((0.3, 0.5), chance)
        band = round(chance.uniform(4, 7), 1)
        stiction: Table = {"kind": "stiction", "S": band, "J": round(band * chance.uniform(0.6, 1.0), 1)}
        tau = _between((80, 120), chance)
        aggressive.table["process"] |= {"tau": [tau, _round(0.3 * tau)], "dead_time": _round(0.3 * tau)}
        pairs.append(Match(sticky.table, stiction, aggressive.table,
                           {"kind": "aggressive", "gain_margin": 1.04}))
    match(pairs)
    for three, pair in zip(threes, pairs, strict=True):
        if pair.period is None or not _usual(three[1]):
            continue
        outside: Table = {"kind": "external-oscillation", "period": round(pair.period, 1)}
        names = ", ".join(loop.id for loop in three)
        for loop, fault in zip(three, (pair.fault, pair.other, outside), strict=True):
            loop.faults = [fault]
            loop.note = f"{names} share a period of {pair.period:.0f} s and differ in its cause"


def _usual(loop: Drawn) -> bool:
    """Whether a temperature loop is still within the ranges of its type."""
    process = loop.table["process"]
    (low, high), (least, most) = _TAU[loop.type], _DELAY[loop.type]
    return bool(low <= process["tau"][0] <= high and least <= process["dead_time"] <= most)


def _share(loops: Sequence[Drawn], chance: Random) -> None:
    """What happens to several loops of one unit together; a plant of less than half a unit has none."""
    if len(loops) < A_UNIT // 2:
        return
    for kind in ("external-oscillation", "load-step", "grade-change"):
        for _ in range(max(1, round(SHARED * len(loops)))):
            first = A_UNIT * chance.randrange(-(-len(loops) // A_UNIT))
            free = [loop for loop in loops[first:first + A_UNIT] if not loop.faults and _can_have(kind, loop)]
            some = free[:NEIGHBOURS]
            if len(some) < NEIGHBOURS:
                continue
            names = ", ".join(loop.id for loop in some)
            for loop, fault in zip(some, _shared(kind, chance), strict=True):
                loop.faults = [{"kind": kind, **fault}]
                loop.note = f"{names} share this: {FAULTS[kind].meaning}"


def _shared(kind: str, chance: Random) -> list[Table]:
    """The same happening as each of the neighbours feels it."""
    if kind == "external-oscillation":
        period, lag, strength = _between((60, 400), chance), chance.randint(20, 70), _round(chance.uniform(2.5, 4.0))
        return [{"period": period, "phase": float(-lag * i), "amplitude": _round(strength * 0.75**i)}
                for i in range(NEIGHBOURS)]
    times = {"start": f"{chance.randint(1, 6)}h", "duration": f"{chance.randint(2, 4)}h",
             "repeat": f"{chance.randint(8, 24)}h"}
    sizes = (4.0, 8.0) if kind == "load-step" else (5.0, 12.0)
    return [{"size": _round(chance.choice((-1, 1)) * chance.uniform(*sizes)), **times} for _ in range(NEIGHBOURS)]


def _man(loops: Sequence[Drawn], hours: tuple[float, float], size: tuple[float, float], chance: Random) -> None:
    """Operators who move the set points of most loops that have one of their own, each few hours."""
    for loop in loops:
        if loop.master is None and chance.random() < MANNED:
            loop.table["operator"] = {"interval": round(3600 * _between(hours, chance), -2),
                                      "size": _between(size, chance)}


def _spoil(loops: Sequence[Drawn], chance: Random) -> None:
    """Faults in the shares of PREVALENCE, one a loop, on loops that can have them."""
    order = list(loops)
    chance.shuffle(order)
    for kind, share in PREVALENCE:
        there = sum(fault["kind"] == kind for loop in loops for fault in loop.faults)
        wanted = round(share * len(loops)) - there
        able = [loop for loop in order if not loop.faults and _can_have(kind, loop)]
        # A level that nobody controls runs away; and only where the process integrates does a deadband make a cycle.
        if kind in ("manual", "deadband"):
            able.sort(key=lambda loop: (loop.type == "level") != (kind == "deadband"))
        for loop in able[:max(0, wanted)]:
            loop.faults.append({"kind": kind, **_size(kind, chance), **_times(kind, loop, chance)})


def _can_have(kind: str, loop: Drawn) -> bool:
    """Whether the loop can have it and the plant goes on: a level whose flow nothing moves any more runs away."""
    group, slave = FAULTS[kind].group, loop.master is not None
    if kind in ("stuck", "undersized", "cascade-broken") and "level" in (loop.type, loop.master and loop.master.type):
        return False
    if kind == "cascade-broken":
        return slave
    if kind in ("stuck", "manual") or group == "negative control":
        return not slave and not (loop.leads and group == "valve")
    # Near to instability by the rule, a master is beyond it: the rule does not know the slave's lag.
    return not (loop.leads and (group == "valve" or kind == "aggressive"))


def _size(kind: str, chance: Random) -> Table:
    if kind == "stiction":
        band = round(exp(chance.uniform(log(1.0), log(8.0))), 1)
        return {"S": band, "J": round(band * chance.choice((0.3, 0.5, 0.8, 1.0, 1.2)), 1)}
    return {}


def _times(kind: str, loop: Drawn, chance: Random) -> Table:
    """Half of what lasts is there from the beginning; the rest begins within six hours, some of it now and then."""
    group, early = FAULTS[kind].group, chance.random() < 0.5
    quarter = 15 * UNITS["m"]
    start = {"start": format_duration(chance.randint(1, 24) * quarter)}
    again = start | {"duration": format_duration(chance.randint(2, 8) * quarter),
                     "repeat": f"{chance.randint(3, 12)}h"}
    if kind == "manual" and loop.type == "level":
        return start | {"duration": "15m", "repeat": again["repeat"]}
    if kind in ("manual", "cascade-broken") or group in ("valve", "tuning"):
        return {} if early else start
    return start if early and group in ("process", "sensor", "data path") else again


def _between(limits: tuple[float, float], chance: Random) -> float:
    """A number between two of one scale, as likely in every octave, in three digits."""
    return _round(exp(chance.uniform(log(limits[0]), log(limits[1]))))


def _round(value: float) -> float:
    return float(f"{value:.3g}")


def _header(name: str, loops: Sequence[Drawn], seed: int) -> str:
    slaves = sum(loop.master is not None for loop in loops)
    faulty = sum(bool(loop.faults) for loop in loops)
    return (f"# {len(loops)} loops of a plant ({_comment(name)}): {slaves} slaves of cascades, {faulty} with a fault.\n"
            "# What a loop does not give is typical of its type, see clpm-execd loop-types and clpm-execd faults.\n"
            + (_LEARNED if name == "refinery" else "") +
            "# Whether this file is right: clpm-execd check --config FILE\n\n"
            f"seed = {seed}\ninterval = \"1s\"\n\n"
            "[output]\ntruth = true            # control_loops_truth: which fault is present, visible, how severe\n")


_LEARNED = ("# Noise and load of flows and levels, and how often set points are moved, were learned from 31 loops of\n"
            + "".join(f"# {line}\n" for line in SOURCE))


def _written(loop: Drawn) -> str:
    """The loop as TOML."""
    lines = [f"# {note}" for note in (loop.note, "the master of the next loop" if loop.leads else "") if note]
    lines.append("[[loop]]")
    tables = {key: value for key, value in loop.table.items() if isinstance(value, Mapping)}
    lines += [f"{key} = {_value(value)}" for key, value in loop.table.items() if key not in tables]
    for key, table in tables.items():
        if table:
            lines.append(f"{key} = {_value(table)}")
    for fault in loop.faults:
        lines += [f"[[loop.fault]]  # {FAULTS[fault['kind']].meaning}",
                  *(f"{key} = {_value(value)}" for key, value in fault.items())]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _comment(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


STARTER = """\
# The loops of clpm-execd: one [[loop]] each, of which only the id is needed.
# A line that begins with # shows what may be given; values are the defaults, or an example.
# Check this file with: clpm-execd check --config FILE
# What there is: clpm-execd loop-types, clpm-execd faults

seed = 42                    # of all chance: the same seed, the same values
interval = "1s"              # between samples
# scan = "1s"                # between controller executions
# start = "now"              # or a time such as 2025-01-10T10:05:00Z: a plant that is the same whenever it is run

[output]
measurement = "control_loops"
fields = { PV = "pv", OP = "op", SP = "sp" }   # also: valve_position quality true_pv
mode_tag = "Mode"
# tags = { site = "unit-208" }                 # the same on every point
truth = false                # true: the faults as a measurement of their own, control_loops_truth

# A flow: FIC101 follows the temperature controller TIC100.
[[loop]]
id = "FIC101"
type = "flow"                # flow pressure level temperature composition
range = [0.0, 120.0]         # engineering units
sp = 75.0
op = 55.0                    # %; where OP rests at that sp
cascade = "TIC100"           # SP follows that loop's OP while Mode is CAS

[loop.process]               # per cent of span, and seconds
model = "fopdt"              # fopdt sopdt integrator
gain = 1.1
tau = 3.0
dead_time = 1.0

[loop.controller]
# gain = 0.5                 # without gain and reset, tuning sets them
# reset = 8.0
tuning = "lambda"            # tight lambda sluggish aggressive

[loop.valve]
characteristic = "linear"    # linear equal-percentage quick-opening
lag = 0.0

[loop.sensor]
noise = 0.05                 # sigma, % of span

[loop.disturbance]
sigma = 0.5                  # % of valve travel
correlation = 20.0           # s

[loop.recording]
resolution = { pv = 0.01, op = 0.1 }           # steps in which the historian keeps them
exception = 0.0              # % of span; a value that moved less is held

[[loop]]
id = "TIC100"
type = "temperature"
range = [0.0, 200.0]
sp = 120.0

[[loop.move]]                # the operator
at = "10m"                   # from the start, or a time
sp = 125.0                   # or op = .., mode = "MAN"
ramp = "5m"

# A level, with a valve that begins to stick after half an hour.
[[loop]]
id = "LIC200"
type = "level"

[[loop.fault]]
kind = "stiction"
S = 4.0                      # deadband and stickband, % of travel
J = 2.0                      # slip jump, % of travel
start = "30m"                # default: from the beginning
duration = "2h"              # default: for ever
repeat = "8h"                # default: once
ramp = "10m"                 # grows from nothing; default: at once
"""
