"""One `[[loop]]` table becomes LoopSpecs: the typical loop of its type, and over it what the table gives.

Whatever is wrong is told at its place, and a loop comes back nevertheless, so that the reading can go on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from clpm_execd.config.validation import (
    Place,
    choice,
    duration,
    name,
    number,
    overlay,
    parameter_of,
    shown,
    starting,
    table,
    tables,
    unknown_keys,
    whole,
)
from clpm_execd.plant.loop_set import Loops
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.specs import FaultSpec, LoopSpec, Move, OperatorSpec, ProcessSpec
from clpm_execd.plant.stages.operator import DAY

COUNT = 100_000

# What ten significant digits can still show: a range beyond LARGEST or narrower than FINEST of its values cannot.
LARGEST, FINEST = 1e12, 1e-6

# Read by themselves; all else follows from the fields of LoopSpec.
APART = ("id", "count", "range", "type", "move", "fault", "learned")

_PATTERN = re.compile(r"\{(?:0?:(0?[0-9]{0,2})d?)?\}")
_TAUS = {"fopdt": 1, "sopdt": 2, "integrator": 0}


@dataclass(frozen=True, slots=True)
class LoopEntry:
    """A table with its place, and the loops that its count makes."""

    place: Place
    loops: Loops


def read_entry(given: Mapping[str, Any], place: Place, folder: Path) -> LoopEntry:
    """The loops of a table: one, or `count` whose id and cascade are patterns such as `FIC{:04d}`.

    folder: of the files that it names.
    """
    title = given.get("id")
    if isinstance(title, str):
        place = Place(f"{place.path} {shown(title)[1:-1]}", place.problems)
    count = whole(given["count"], 1, COUNT, place.at("count")) if "count" in given else None
    loop = read_loop(given, place, counted="count" in given, folder=folder)
    if count is None:
        return LoopEntry(place, Loops.of([loop]))
    if count > 1 and not _PATTERN.search(loop.id):
        place.at("id").refuse(f"{count} loops would have the same id",
                              "number them with a pattern such as 'FIC{:04d}'")
        count = 1
    numbers = range(1, count + 1)
    ids = _numbered(loop.id, numbers)
    masters = _numbered(loop.cascade, numbers) if loop.cascade is not None else [None] * count
    if any(isinstance(value, str) for fault in loop.faults for value in fault.parameters.values()):
        kinds = [replace(loop, faults=tuple([_numbered_fault(fault, k) for fault in loop.faults])) for k in numbers]
        return LoopEntry(place, Loops(kinds, np.arange(count), ids, masters))
    return LoopEntry(place, Loops([loop], np.zeros(count, dtype=np.intp), ids, masters))


def read_loop(given: Mapping[str, Any], place: Place, *, counted: bool = False, folder: Path = Path()) -> LoopSpec:
    """The loop of a table without a count; where `counted`, id and cascade may be patterns."""
    title = _id(given, place, counted)
    types = parameter_of(LoopSpec, "type").choices
    kind = choice(given["type"], types, place.at("type")) if "type" in given else None
    limits = _range(given["range"], place.at("range")) if "range" in given else (0.0, 100.0)
    loop = template(kind or "flow", title, limits or (0.0, 100.0))
    loop = replace(loop, sp=loop.range[0] / 2 + loop.range[1] / 2, process=_as_model(loop.process, given))
    loop = overlay(loop, given, place, apart=APART)
    if loop.cascade is not None and "mode" not in given:
        loop = replace(loop, mode="CAS")
    if "move" in given:
        loop = replace(loop, moves=_moves(given["move"], place))
    if "fault" in given:  # what only some loops have is loaded for those
        from clpm_execd.config.fault import read_faults

        loop = replace(loop, faults=read_faults(given["fault"], place))
    if "learned" in given:
        from clpm_execd.config.learned_arrays import read_laws

        loop = replace(loop, laws=read_laws(given["learned"], loop, place.at("learned"), folder))
    _check_process(loop.process, place.at("process"))
    _check_operator(loop.operator, place.at("operator"))
    _check_cascade(loop, place, counted)
    if limits is not None:
        _check_range(loop, place)
    return loop


def _id(given: Mapping[str, Any], place: Place, counted: bool) -> str:
    if "id" not in given:
        place.at("id").refuse("is missing", "give every loop an id, such as id = \"FIC101\"")
        return "?"
    title = name(given["id"], "a loop id", place.at("id"))
    if title and not counted and _PATTERN.search(title):
        place.at("id").refuse(f"{shown(title)} is a pattern without a count",
                              "write a plain id, or add count = ..")
    return title or "?"


def _numbered(pattern: str, numbers: Iterable[int]) -> list[str]:
    """The pattern with each of the numbers."""
    parts = _PATTERN.split(pattern)
    form = "".join(f"%{part or ''}d" if i % 2 else part.replace("%", "%%") for i, part in enumerate(parts))
    holes = len(parts) // 2
    return [form % ((number,) * holes) for number in numbers]


def _numbered_fault(fault: FaultSpec, k: int) -> FaultSpec:
    """The fault with the k-th of a pattern of loops where it names another loop."""
    return replace(fault, parameters={
        key: _numbered(value, [k])[0] if isinstance(value, str) else value
        for key, value in fault.parameters.items()})


def _range(value: object, place: Place) -> tuple[float, float] | None:
    any_number = parameter_of(LoopSpec, "range")
    if not isinstance(value, list | tuple) or len(value) != 2:
        place.refuse(f"{shown(value)} is no range", f"give [low, high] ({any_number.unit})")
        return None
    low, high = (number(item, any_number, place) for item in value)
    if low is None or high is None:
        return None
    largest = max(abs(low), abs(high))
    if low >= high:
        place.refuse(f"{shown(value)} does not rise", "give [low, high] with low less than high")
        return None
    if largest > LARGEST or high - low < FINEST * max(1.0, largest):
        place.refuse(f"{shown(value)} is no range of a transmitter",
                     f"stay within {-LARGEST:g} to {LARGEST:g}, and far enough apart for ten digits to tell")
        return None
    return low, high


def _as_model(process: ProcessSpec, given: Mapping[str, Any]) -> ProcessSpec:
    """The type's process in the model that the table wants, with the same initial slope of the response.

    That makes a table complete that gives a model only.
    """
    inner = given.get("process")
    model = inner.get("model") if isinstance(inner, Mapping) else None
    if not isinstance(model, str) or model not in _TAUS or model == process.model:
        return process
    total = sum(process.tau) or ProcessSpec().tau[0]
    tau = {"fopdt": (total,), "sopdt": (0.8 * total, 0.2 * total), "integrator": ()}[model]
    scale = 1 / total if model == "integrator" else total if process.model == "integrator" else 1.0
    return replace(process, model=model, tau=tau, gain=process.gain * scale)


def _check_process(process: ProcessSpec, place: Place) -> None:
    want = _TAUS[process.model]
    if len(process.tau) != want:
        what = f"{process.model} has {want or 'no'} time constant{'s' * (want > 1)}, not {len(process.tau)}"
        remedies = ("remove it", "give one number (s)", "give two numbers, [tau1, tau2] (s)")
        place.at("tau").refuse(what, remedies[want])
    if process.gain == 0:
        place.at("gain").refuse("a gain of 0 leaves nothing to control", "give a gain other than 0 (%/%)")


def _check_operator(operator: OperatorSpec, place: Place) -> None:
    if not 1 <= len(operator.day) <= DAY:
        place.at("day").refuse(f"{len(operator.day)} parts of a day", f"give 1 to {DAY} numbers")
    elif not any(operator.day):
        place.at("day").refuse("no part of the day has moves", "give a number above 0, or interval = 0 for no moves")


def _check_cascade(loop: LoopSpec, place: Place, counted: bool) -> None:
    if loop.cascade is None and loop.laws is not None and loop.laws.setpoint.size:
        return  # its master is known by the course of its SP
    if loop.cascade is None:
        if loop.mode == "CAS":
            place.at("mode").refuse("'CAS' needs a master", "give cascade = \"the id of the master\"")
        for k, move in enumerate(loop.moves, 1):
            if move.mode == "CAS":
                place.at(f"move[{k}].mode").refuse("'CAS' needs a master", "give the loop a cascade")
    elif not counted and _PATTERN.search(loop.cascade):
        place.at("cascade").refuse(f"{shown(loop.cascade)} is a pattern without a count", "add count = ..")
    elif loop.cascade == loop.id:
        place.at("cascade").refuse("a loop cannot be its own master", "name another loop")


def _check_range(loop: LoopSpec, place: Place) -> None:
    if loop.recording.op_range[0] >= loop.recording.op_range[1]:
        place.at("recording.op_range").refuse(f"{shown(loop.recording.op_range)} does not rise",
                                              "give [low, high] with low less than high")
    low, high = loop.range
    remedy = f"give {low:g} to {high:g}, or another range"
    values = {"sp": loop.sp, "pv": loop.pv}
    values |= {f"move[{k}].sp": move.sp for k, move in enumerate(loop.moves, 1)}
    for key, value in values.items():
        if value is not None and not low <= value <= high:
            place.at(key).refuse(f"{value:g} is outside the range", remedy)
    if loop.recording.resolution.pv > high - low:
        place.at("recording.resolution.pv").refuse(f"{loop.recording.resolution.pv:g} is more than the range",
                                                   f"give 0 to {high - low:g}")


def _moves(given: object, place: Place) -> tuple[Move, ...]:
    read = []
    for k, item in enumerate(tables(given, "loop.move", place.at("move")), 1):
        here = place.at(f"move[{k}]")
        inner = table(item, here)
        # An entry that cannot be read keeps its place in the count.
        read.append(Move(at=0) if inner is None else _move(inner, here))
    return tuple(read)


def _move(given: Mapping[str, Any], place: Place) -> Move:
    unknown_keys(given, ["at", "sp", "op", "mode", "ramp"], place)
    acts = [key for key in ("sp", "op", "mode") if key in given]
    if len(acts) != 1:
        place.refuse(f"a move changes one thing, not {' and '.join(acts) or 'none'}",
                     "give one of sp, op and mode")
    if "ramp" in given and "mode" in acts:
        place.at("ramp").refuse("a mode cannot ramp", "remove it")
    at, from_start = _at(given, place.at("at"))
    modes = parameter_of(LoopSpec, "mode").choices
    return Move(
        at=at, from_start=from_start,
        sp=number(given["sp"], parameter_of(LoopSpec, "sp"), place.at("sp")) if "sp" in given else None,
        op=number(given["op"], parameter_of(LoopSpec, "op"), place.at("op")) if "op" in given else None,
        mode=choice(given["mode"], modes, place.at("mode")) if "mode" in given else None,
        ramp=duration(given["ramp"], place.at("ramp"), zero=True) or 0 if "ramp" in given else 0)


def _at(given: Mapping[str, Any], place: Place) -> tuple[int, bool]:
    """When a move is, ns, and whether that counts from the start."""
    if "at" not in given:
        place.refuse("is missing", "give a time from the start such as '10m', or 2025-01-10T09:11:40Z")
        return 0, True
    return starting(given["at"], place)
