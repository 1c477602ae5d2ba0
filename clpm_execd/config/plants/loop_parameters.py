"""The loops of a plant to be written, and their parameters: process, load, sensor, controller and recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from clpm_execd.config.plants.refinery_statistics import CONTROLLERS, VARIABILITY, Range, Variability
from clpm_execd.plant.elementary import exp, log
from clpm_execd.plant.loop_types import LOOP_TYPES

LoopTable = dict[str, Any]  # the keys of a [[loop]] table
FaultTable = dict[str, Any]  # the keys of a [[loop.fault]] table

# These numbers are part of what a seed draws: changed, the same seed would give another plant.

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
# A slave responds in this fraction of its master's time at most: the inner loop is to be several times as fast
# (Seborg, Edgar and Mellichamp, Process Dynamics and Control).
_SLAVE_FRACTION, _QUICKEST_SLAVE_RESET_S = 0.25, 3.0
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
# Analysers of these plants are mostly chromatographs with a cycle, s; those of others measure all the time
# (consistency, oxygen, conductivity).
_ANALYSER_CYCLE_S, _CYCLIC_FRACTION = (120, 600), {"refinery": 0.7, "chemicals": 0.7}
# Relative to the (first) time constant. Dead times beyond these make loops that a PID controller controls badly.
_SECOND_TAU_FRACTION, _DEAD_TIME_FRACTION = (0.1, 0.5), (0.08, 0.35)


@dataclass(slots=True)
class PlantLoop:
    """A loop of the plant to be written: the keys of its table, its faults, and a comment about them."""

    type: str
    table: LoopTable
    master: PlantLoop | None = None
    is_master: bool = False
    couplings: list[LoopTable] = field(default_factory=list)
    faults: list[FaultTable] = field(default_factory=list)
    comment: str = ""
    role: str = ""  # in the plant, for a comment

    @property
    def id(self) -> str:
        return str(self.table["id"])


def draw_parameters(name: str, loops: Sequence[PlantLoop], rng: Random) -> None:
    """Draw the parameters of the loops of a plant of this name, each after its master."""
    is_refinery = name == "refinery"
    variability = _REFINERY_VARIABILITY if is_refinery else _TYPICAL_VARIABILITY
    ranges = {**_RANGES, **_RANGES_OF_PLANT.get(name, {})}
    for loop in loops:
        _draw_loop(loop, ranges[loop.type], variability[loop.type], rng)
        if loop.type == "composition" and rng.random() < _CYCLIC_FRACTION.get(name, 0.0):
            loop.table["sensor"]["cycle"] = round(draw_log_uniform(_ANALYSER_CYCLE_S, rng), -1)
        if loop.type in CONTROLLERS:
            _draw_controller(loop, CONTROLLERS if is_refinery else _TYPICAL_CONTROLLERS, rng)


def _draw_loop(loop: PlantLoop, ranges: tuple[Sequence[Range], str], variability: Variability,
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
    table["sensor"] = {"noise": draw_log_uniform(variability.noise, rng)}
    table["disturbance"] = {"sigma": draw_log_uniform(variability.sigma, rng),
                            "correlation": draw_log_uniform(variability.correlation, rng)}
    table["controller"] = {"tuning": "tight" if rng.random() < _TIGHT_FRACTION else "lambda"}
    if rng.random() < _EXCEPTION_FRACTION:
        table["recording"] = {"exception": draw_log_uniform(_EXCEPTION_PERCENT, rng)}
    if loop.master is not None:
        table["cascade"] = loop.master.id


def _round_as_entered(value: float, span: float) -> float:
    """Return the value as a person enters it: a multiple of 1, 2 or 5 times a power of ten."""
    step = next(step for step in (5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02) if step <= span / _SP_STEPS_PER_SPAN)
    return round_digits(step * round(value / step))


def _draw_controller(loop: PlantLoop, controllers: Mapping[str, tuple[Range, Range]], rng: Random) -> None:
    """Draw the controller as it is installed; that of a slave is quick enough for its master, which comes first."""
    gain, reset = (draw_log_uniform(limits, rng) for limits in controllers[loop.type])
    if loop.master is not None:
        slowest = _SLAVE_FRACTION * _compute_response_seconds(loop.master)
        reset = round_digits(min(reset, max(slowest * gain * loop.table["process"]["gain"], _QUICKEST_SLAVE_RESET_S)))
    loop.table["controller"] = {"gain": gain, "reset": reset}


def _compute_response_seconds(master: PlantLoop) -> float:
    """Return about how long a master takes to respond: of a level by its controller, else the time constants."""
    process = master.table["process"]
    if master.type == "level":
        return float(1.0 / (abs(process["gain"]) * master.table["controller"]["gain"]))
    return sum_time_constants(master)


def sum_time_constants(loop: PlantLoop) -> float:
    """Return the sum of the largest time constant and the dead time, s; a level has only the latter."""
    process = loop.table["process"]
    tau = process.get("tau", 0.0)
    return float(tau[0] if isinstance(tau, list) else tau) + float(process["dead_time"])


def _draw_process(loop_type: str, rng: Random) -> dict[str, Any]:
    """Draw the process; the dead time of a self-regulating one is drawn relative to its time constant."""
    process: dict[str, Any] = {"gain": draw_log_uniform(_GAIN[loop_type], rng)}
    if rng.random() < _LOWERING_FRACTION.get(loop_type, 0.0):
        process["gain"] = -process["gain"]
    if loop_type == "level":
        process["dead_time"] = draw_log_uniform(_DEAD_TIME_S[loop_type], rng)
        return process
    tau = draw_log_uniform(_TAU_S[loop_type], rng)
    low, high = _DEAD_TIME_S[loop_type]
    is_second_order = loop_type == "temperature"
    process["tau"] = [tau, round_digits(tau * rng.uniform(*_SECOND_TAU_FRACTION))] if is_second_order else tau
    process["dead_time"] = round_digits(min(high, max(low, tau * rng.uniform(*_DEAD_TIME_FRACTION))))
    return process


def is_typical(loop: PlantLoop) -> bool:
    """Whether a temperature loop is still within the ranges of its type."""
    process = loop.table["process"]
    (tau_low, tau_high), (low, high) = _TAU_S[loop.type], _DEAD_TIME_S[loop.type]
    return bool(tau_low <= process["tau"][0] <= tau_high and low <= process["dead_time"] <= high)


def draw_log_uniform(limits: Range, rng: Random) -> float:
    """Return a number between the limits, uniformly distributed on a logarithmic scale, rounded to three digits."""
    return round_digits(exp(rng.uniform(log(limits[0]), log(limits[1]))))


def round_digits(value: float) -> float:
    """Return value rounded to three significant digits."""
    return float(f"{value:.3g}")
