"""A `[[loop.fault]]` table becomes a FaultSpec; kinds, parameters and limits are those of the fault catalogue.

A `[[unit.shutdown]]` table becomes one of each loop of the unit, at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from clpm_execd.config.validation import (
    Place,
    read_choice,
    read_duration,
    read_name,
    read_number,
    read_start,
    read_table,
    read_table_array,
    refuse_unknown_keys,
)
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.specs import FaultSpec, LoopSpec, Parameter
from clpm_execd.problems import did_you_mean

_TIME_KEYS = ("start", "duration", "repeat", "mean_repeat", "ramp")


def read_faults(value: object, place: Place) -> tuple[FaultSpec, ...]:
    """Return the faults of a loop, whose place this is; an invalid one keeps its place in the count.

    Parameters
    ----------
    value : object
        The array of `[[loop.fault]]` tables, as TOML gives it.
    place : Place
        The place of the loop, where problems are added.
    """
    faults = []
    for k, item in enumerate(read_table_array(value, "loop.fault", place.at("fault")), 1):
        here = place.at(f"fault[{k}]")
        table = read_table(item, here)
        faults.append((table is not None and _read_fault(table, here)) or FaultSpec(kind="white-noise"))
    return tuple(faults)


def add_shutdowns(loops: Iterable[LoopSpec], value: object, place: Place) -> Sequence[LoopSpec]:
    """Return the loops with the shutdowns of their units; value: the `shutdown` of [unit], whose place this is."""
    loops = LoopSet.of(loops)
    units = list(dict.fromkeys(map(_find_unit, loops.distinct)))
    for k, item in enumerate(read_table_array(value, "unit.shutdown", place.at("shutdown")), 1):
        here = place.at(f"shutdown[{k}]")
        table = dict(read_table(item, here) or {})
        unit = read_name(table.pop("unit"), "a unit", here.at("unit")) if "unit" in table else None
        for key, what, remedy in (("kind", "is not a key of a shutdown", "remove it"),
                                  ("mean_repeat", "would be drawn for each loop", "give repeat, or several shutdowns")):
            if table.pop(key, None) is not None:
                here.at(key).refuse(what, remedy)
        if "duration" not in table:
            here.at("duration").refuse("is missing", "give the time from the beginning to the end of the start-up")
        if unit is not None and unit not in units:
            names = [name for name in units if name]
            here.at("unit").refuse(f"unknown unit {unit!r}", did_you_mean(unit, names) if names else
                                   "give its loops this area")
        shutdown = _read_fault({"kind": "shutdown", **table}, here)
        if shutdown is not None:
            loops = _add(loops, shutdown, unit)
    return loops


def _add(loops: LoopSet, shutdown: FaultSpec, unit: str | None) -> LoopSet:
    return loops.with_distinct(
        replace(loop, faults=(*loop.faults, shutdown)) if unit in (None, _find_unit(loop)) else loop
        for loop in loops.distinct)


def _find_unit(loop: LoopSpec) -> str:
    return loop.throughput.unit or loop.area


def _read_fault(table: Mapping[str, Any], place: Place) -> FaultSpec | None:
    start, from_start = read_start(table.get("start", 0), place.at("start"))
    durations = {key: read_duration(table[key], place.at(key), zero=key == "ramp")
                 for key in _TIME_KEYS[1:] if key in table}
    _check_durations(durations, place)
    kind = _read_kind(table, place)
    if kind is None:
        return None
    return FaultSpec(kind=kind, parameters=_read_parameters(kind, table, place), start=start, from_start=from_start,
                     duration=durations.get("duration"), repeat=durations.get("repeat"),
                     mean_repeat=durations.get("mean_repeat"), ramp=durations.get("ramp") or 0)


def _read_kind(table: Mapping[str, Any], place: Place) -> str | None:
    if "kind" not in table:
        place.at("kind").refuse("is missing", "give one of the kinds that `clpm-execd faults` lists")
        return None
    return read_choice(table["kind"], "fault kind", list(FAULTS), place.at("kind"))


def _read_parameters(kind: str, table: Mapping[str, Any], place: Place) -> dict[str, float | str]:
    parameters = FAULTS[kind].parameters
    refuse_unknown_keys(table, ["kind", *parameters, *_TIME_KEYS], place)
    values: dict[str, float | str] = {}
    for key, parameter in parameters.items():
        default = FAULTS[kind].defaults[key]
        if key in table:
            value = _read_parameter(table[key], parameter, isinstance(default, str), place.at(key))
            if value is not None:
                values[key] = value
        elif default == "":
            place.at(key).refuse("is missing", f"give the {parameter.description}")
    return values


def _read_parameter(value: object, parameter: Parameter, is_text: bool, place: Place) -> float | str | None:
    return read_name(value, f"the {parameter.description}", place) if is_text else read_number(value, parameter, place)


def _check_durations(durations: Mapping[str, int | None], place: Place) -> None:
    """Check that a fault that repeats ends before it starts again; durations in ns, None for an invalid one."""
    duration = durations.get("duration")
    if "repeat" in durations and "mean_repeat" in durations:
        place.at("mean_repeat").refuse("cannot be given with repeat", "give repeat for equal times, mean_repeat for "
                                       "times that are drawn")
    for key, remedy in (("repeat", "give the time from one start to the next"),
                        ("mean_repeat", "give the mean time from one start to the next")):
        repeat = durations.get(key)
        if repeat is not None and "duration" not in durations:
            place.at(key).refuse("a fault without a duration cannot repeat", f"give a duration shorter than {key}")
        if repeat is not None and duration is not None and repeat <= duration:
            place.at(key).refuse("must be greater than duration", remedy)
