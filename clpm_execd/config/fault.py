"""A `[[loop.fault]]` table becomes a FaultSpec; kinds, parameters and limits are those of the table FAULTS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clpm_execd.config.validation import (
    Place,
    choice,
    duration,
    name,
    number,
    shown,
    starting,
    table,
    tables,
    unknown_keys,
)
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.specs import FaultSpec, Parameter
from clpm_execd.problems import did_you_mean

WHEN = ("start", "duration", "repeat", "ramp")


def read_faults(given: object, place: Place) -> tuple[FaultSpec, ...]:
    """The faults of a loop; one that cannot be read keeps its place in the count. place is the loop's."""
    read = []
    for k, item in enumerate(tables(given, "loop.fault", place.at("fault")), 1):
        here = place.at(f"fault[{k}]")
        inner = table(item, here)
        read.append((inner is not None and _fault(inner, here)) or FaultSpec(kind="white-noise"))
    return tuple(read)


def _fault(given: Mapping[str, Any], place: Place) -> FaultSpec | None:
    start, from_start = starting(given.get("start", 0), place.at("start"))
    lasting = {key: duration(given[key], place.at(key), zero=key == "ramp") for key in WHEN[1:] if key in given}
    _check_times(lasting, place)
    kind = _kind(given, place)
    if kind is None:
        return None
    return FaultSpec(kind=kind, parameters=_parameters(kind, given, place), start=start, from_start=from_start,
                     duration=lasting.get("duration"), repeat=lasting.get("repeat"), ramp=lasting.get("ramp") or 0)


def _kind(given: Mapping[str, Any], place: Place) -> str | None:
    if "kind" not in given:
        place.at("kind").refuse("is missing", "give one of those that `clpm-execd faults` shows")
        return None
    kind = given["kind"]
    if isinstance(kind, str) and kind not in FAULTS:
        place.at("kind").refuse(f"{shown(kind)} is no kind of fault", did_you_mean(kind, list(FAULTS)))
        return None
    return choice(kind, list(FAULTS), place.at("kind"))


def _parameters(kind: str, given: Mapping[str, Any], place: Place) -> dict[str, float | str]:
    known = FAULTS[kind].parameters
    unknown_keys(given, ["kind", *known, *WHEN], place)
    read: dict[str, float | str] = {}
    for key, about in known.items():
        default = FAULTS[kind].defaults[key]
        if key in given:
            value = _parameter(given[key], about, isinstance(default, str), place.at(key))
            if value is not None:
                read[key] = value
        elif default == "":
            place.at(key).refuse("is missing", f"give {about.meaning}")
    return read


def _parameter(value: object, about: Parameter, text: bool, place: Place) -> float | str | None:
    if about.choices:
        return choice(value, about.choices, place)
    return name(value, about.meaning, place) if text else number(value, about, place)


def _check_times(lasting: Mapping[str, int | None], place: Place) -> None:
    repeat, lasts = lasting.get("repeat"), lasting.get("duration")
    if repeat is not None and "duration" not in lasting:
        place.at("repeat").refuse("a fault that lasts for ever cannot begin again", "give a duration, shorter than it")
    if repeat is not None and lasts is not None and repeat <= lasts:
        place.at("repeat").refuse("is no longer than the duration", "give a longer one: it counts from start to start")
