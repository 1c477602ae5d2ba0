"""One `[[loop]]` table becomes LoopSpecs: the typical loop of its type, changed where the table gives a value.

Every problem is added at its place, and a loop is returned nevertheless, so that reading can continue.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from clpm_execd.config.output import Output, read_loop_tags
from clpm_execd.config.validation import (
    Place,
    find_parameter,
    quote,
    read_choice,
    read_duration,
    read_integer,
    read_name,
    read_number,
    read_start,
    read_table,
    read_table_array,
    refuse_unknown_keys,
    update_spec,
)
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.specs import CouplingSpec, LoopSpec, Move, OperatorSpec, ProcessSpec
from clpm_execd.plant.stages.operator import QUARTER_HOURS_PER_DAY
from clpm_execd.units import TIME_EXAMPLE

MAX_LOOPS = 100_000  # of one file: the largest plant whose speed is measured (docs/speed.md); stops a mistyped count

# Values have ten significant digits: a range beyond these would not show its own thousandths.
LARGEST_LIMIT = 1e12  # engineering units
MIN_RELATIVE_SPAN = 1e-6  # of the larger limit

# Keys that are read one by one; all others are the fields of LoopSpec.
_HANDLED_KEYS = ("id", "count", "range", "type", "tags", "coupling", "move", "fault", "learned")

_PATTERN = re.compile(r"\{(?:0?:(0?[0-9]{0,2})d?)?\}")
_TIME_CONSTANTS = {"fopdt": 1, "sopdt": 2, "integrator": 0}  # of each process model


@dataclass(frozen=True, slots=True)
class LoopEntry:
    """A [[loop]] table's place and the loops that it describes."""

    place: Place
    loops: LoopSet


def read_entry(table: Mapping[str, Any], place: Place, folder: Path, output: Output) -> LoopEntry:
    """Return the loops of a table: one, or `count` whose id, cascade and description are patterns such as `FIC{:04d}`.

    folder: where the files that the table names are. output: the names that a tag of the loop may not have.
    """
    loop_id = table.get("id")
    if isinstance(loop_id, str) and loop_id.strip():
        place = Place(f"{place.path} {quote(loop_id)[1:-1]}", place.problems)
    has_count = "count" in table
    count = read_integer(table["count"], 1, MAX_LOOPS, place.at("count")) if has_count else None
    loop = read_loop(table, place, has_count=has_count, folder=folder, output=output)
    if count is None:
        return LoopEntry(place, LoopSet.of([loop]))
    if count > 1 and not _PATTERN.search(loop.id):
        if loop.id:
            place.at("id").refuse(f"{count} loops would have the same id",
                                  "number them with a pattern such as 'FIC{:04d}'")
        count = 1
    numbers = range(1, count + 1)
    ids = _fill_pattern(loop.id, numbers)
    if loop.id:  # the first has the most blanks before its number, the last is the longest; one problem is enough
        all(read_name(example, "a loop id", place.at("id")) for example in (ids[0], ids[-1]))
    masters = _fill_pattern(loop.cascade, numbers) if loop.cascade is not None else [None] * count
    descriptions = _fill_pattern(loop.description, numbers) if _PATTERN.search(loop.description) else None
    if loop.names_others:  # where it names another loop by a pattern, the k-th names the k-th
        kinds = [loop.with_other_ids(partial(_fill_number, k)) for k in numbers]
        return LoopEntry(place, LoopSet(kinds, np.arange(count), ids, masters, descriptions))
    return LoopEntry(place, LoopSet([loop], np.zeros(count, dtype=np.intp), ids, masters, descriptions))


def read_loop(table: Mapping[str, Any], place: Place, *, has_count: bool = False, folder: Path = Path(),
              output: Output | None = None) -> LoopSpec:
    """Return the loop of a table; where `has_count`, its id and cascade may be patterns."""
    loop_id = _read_id(table, place, has_count)
    types = find_parameter(LoopSpec, "type").choices
    loop_type = read_choice(table["type"], "type", types, place.at("type")) if "type" in table else None
    limits = _read_range(table["range"], place.at("range")) if "range" in table else (0.0, 100.0)
    loop = template(loop_type or "flow", loop_id, limits or (0.0, 100.0))
    loop = replace(loop, sp=loop.range[0] / 2 + loop.range[1] / 2, process=_convert_model(loop.process, table))
    loop = update_spec(loop, table, place, handled_keys=_HANDLED_KEYS)
    if loop.cascade is not None and "mode" not in table:
        loop = replace(loop, mode="CAS")
    if "tags" in table:
        loop = replace(loop, tags=read_loop_tags(table["tags"], output or Output(), place.at("tags")))
    if not loop.throughput.unit and "throughput" in table:
        loop = replace(loop, throughput=replace(loop.throughput, unit=loop.area))
    if "coupling" in table:
        loop = replace(loop, couplings=_read_couplings(table["coupling"], place))
    if "move" in table:
        loop = replace(loop, moves=_read_moves(table["move"], place))
    if "fault" in table:  # modules that only some loops need are imported for those
        from clpm_execd.config.fault import read_faults

        loop = replace(loop, faults=read_faults(table["fault"], place))
    if "learned" in table:
        from clpm_execd.config.learned_arrays import read_learned_model

        loop = replace(loop, learned_model=read_learned_model(table["learned"], loop, place.at("learned"), folder))
    _check_process(loop.process, place.at("process"))
    _check_operator(loop.operator, place.at("operator"))
    _check_cascade(loop, place, has_count)
    if limits is not None:
        _check_range(loop, place)
    return loop


def _read_id(table: Mapping[str, Any], place: Place, has_count: bool) -> str:
    """Return the id of a loop, or its pattern; an empty text, which is no id, where it cannot be used."""
    if "id" not in table:
        place.at("id").refuse("is missing", "give every loop an id, such as id = \"FIC101\"")
        return ""
    loop_id = read_name(table["id"], "a loop id", place.at("id"))
    if loop_id and not has_count and _PATTERN.search(loop_id):
        place.at("id").refuse(f"{quote(loop_id)} is a pattern without a count",
                              "give an id without braces, or add count, such as count = 10")
        return ""
    return loop_id or ""


def _fill_pattern(pattern: str, numbers: Iterable[int]) -> list[str]:
    """Return the pattern with each of the numbers in place of its braces."""
    parts = _PATTERN.split(pattern)
    form = "".join(f"%{part or ''}d" if i % 2 else part.replace("%", "%%") for i, part in enumerate(parts))
    braces = len(parts) // 2
    return [form % ((number,) * braces) for number in numbers]


def _fill_number(number: int, pattern: str) -> str:
    return _fill_pattern(pattern, [number])[0]


def _read_range(value: object, place: Place) -> tuple[float, float] | None:
    parameter = find_parameter(LoopSpec, "range")
    if not isinstance(value, list | tuple) or len(value) != 2:
        place.refuse(f"{quote(value)} is not a range", f"give [low, high] ({parameter.unit})")
        return None
    low, high = (read_number(item, parameter, place) for item in value)
    if low is None or high is None:
        return None
    largest = max(abs(low), abs(high))
    if low >= high:
        place.refuse(f"invalid range {quote(value)}", "low must be less than high")
        return None
    if largest > LARGEST_LIMIT or high - low < MIN_RELATIVE_SPAN * max(1.0, largest):
        place.refuse(f"the range {quote(value)} is too wide or too narrow for values of ten digits",
                     f"stay within {-LARGEST_LIMIT:g} to {LARGEST_LIMIT:g}, with high - low at least "
                     f"{MIN_RELATIVE_SPAN:g} times the larger limit")
        return None
    return low, high


def _convert_model(process: ProcessSpec, table: Mapping[str, Any]) -> ProcessSpec:
    """Return the type's process in the model that the table names, with the same initial slope of the step response.

    So a table that gives only a model is complete.
    """
    inner = table.get("process")
    model = inner.get("model") if isinstance(inner, Mapping) else None
    if not isinstance(model, str) or model not in _TIME_CONSTANTS or model == process.model:
        return process
    total = sum(process.tau) or ProcessSpec().tau[0]
    tau = {"fopdt": (total,), "sopdt": (0.8 * total, 0.2 * total), "integrator": ()}[model]
    scale = 1 / total if model == "integrator" else total if process.model == "integrator" else 1.0
    return replace(process, model=model, tau=tau, gain=process.gain * scale)


def _check_process(process: ProcessSpec, place: Place) -> None:
    count = _TIME_CONSTANTS[process.model]
    if len(process.tau) != count:
        what = f"{process.model} has {count or 'no'} time constant{'s' * (count > 1)}, not {len(process.tau)}"
        remedies = ("remove tau", "give one number (s)", "give two numbers, [tau1, tau2] (s)")
        place.at("tau").refuse(what, remedies[count])
    if process.gain == 0:
        unit = find_parameter(ProcessSpec, "gain").unit
        place.at("gain").refuse("with a gain of 0, OP does not act on PV", f"give a gain other than 0 ({unit})")


def _check_operator(operator: OperatorSpec, place: Place) -> None:
    if not 1 <= len(operator.day) <= QUARTER_HOURS_PER_DAY:
        place.at("day").refuse(f"a day of {len(operator.day)} parts", f"give 1 to {QUARTER_HOURS_PER_DAY} numbers")
    elif not any(operator.day):
        place.at("day").refuse("every part of the day is 0", "give a number above 0, or interval = 0 for no moves")


def _check_cascade(loop: LoopSpec, place: Place, has_count: bool) -> None:
    if loop.cascade is None and loop.learned_model is not None and loop.learned_model.setpoint.size:
        return  # the SP of a learned slave follows its own model, and needs no master
    if loop.cascade is None:
        if loop.mode == "CAS":
            place.at("mode").refuse("'CAS' needs a master", "give cascade = \"the id of the master\"")
        for k, move in enumerate(loop.moves, 1):
            if move.mode == "CAS":
                place.at(f"move[{k}].mode").refuse("'CAS' needs a master", "give the loop a cascade")
    elif not has_count and _PATTERN.search(loop.cascade):
        place.at("cascade").refuse(f"{quote(loop.cascade)} is a pattern without a count",
                                   "add count, such as count = 10")
    elif loop.cascade == loop.id:
        place.at("cascade").refuse("a loop cannot be its own master", "give another loop")


def _check_range(loop: LoopSpec, place: Place) -> None:
    if loop.recording.op_range[0] >= loop.recording.op_range[1]:
        place.at("recording.op_range").refuse(f"invalid range {quote(loop.recording.op_range)}",
                                              "low must be less than high")
    low, high = loop.range
    remedy = f"give {low:g} to {high:g}, or another range"
    values = {"sp": loop.sp, "pv": loop.pv}
    values |= {f"move[{k}].sp": move.sp for k, move in enumerate(loop.moves, 1)}
    for key, value in values.items():
        if value is not None and not low <= value <= high:
            place.at(key).refuse(f"{value:g} is outside the range", remedy)
    if loop.recording.resolution.pv > high - low:
        place.at("recording.resolution.pv").refuse(f"{loop.recording.resolution.pv:g} is wider than the range",
                                                   f"give 0 to {high - low:g}")


def _read_couplings(value: object, place: Place) -> tuple[CouplingSpec, ...]:
    """Return the couplings of a loop, whose place this is; an invalid one keeps its place in the count."""
    couplings = []
    for k, item in enumerate(read_table_array(value, "loop.coupling", place.at("coupling")), 1):
        here = place.at(f"coupling[{k}]")
        table = read_table(item, here)
        for key, what in (("loop", "the id of the other loop"), ("gain", "the load for 1 % of its valve or its PV")):
            if table is not None and key not in table:
                here.at(key).refuse("is missing", f"give {what}")
        couplings.append(update_spec(CouplingSpec(), table or {}, here))
    return tuple(couplings)


def _read_moves(value: object, place: Place) -> tuple[Move, ...]:
    moves = []
    for k, item in enumerate(read_table_array(value, "loop.move", place.at("move")), 1):
        here = place.at(f"move[{k}]")
        table = read_table(item, here)
        # An invalid entry keeps its place in the count.
        moves.append(Move(at=0) if table is None else _read_move(table, here))
    return tuple(moves)


def _read_move(table: Mapping[str, Any], place: Place) -> Move:
    refuse_unknown_keys(table, ["at", "sp", "op", "mode", "ramp"], place)
    changes = [key for key in ("sp", "op", "mode") if key in table]
    if len(changes) != 1:
        place.refuse(f"a move changes exactly one value, not {' and '.join(changes) or 'none'}",
                     "give one of sp, op and mode")
    if "ramp" in table and "mode" in changes:
        place.at("ramp").refuse("a mode cannot be ramped", "remove ramp")
    at, from_start = _read_move_time(table, place.at("at"))
    modes = find_parameter(LoopSpec, "mode").choices
    return Move(
        at=at, from_start=from_start,
        sp=read_number(table["sp"], find_parameter(LoopSpec, "sp"), place.at("sp")) if "sp" in table else None,
        op=read_number(table["op"], find_parameter(LoopSpec, "op"), place.at("op")) if "op" in table else None,
        mode=read_choice(table["mode"], "mode", modes, place.at("mode")) if "mode" in table else None,
        ramp=read_duration(table["ramp"], place.at("ramp"), zero=True) or 0 if "ramp" in table else 0)


def _read_move_time(table: Mapping[str, Any], place: Place) -> tuple[int, bool]:
    """Return when a move is, ns, and whether that counts from the start of the plant."""
    if "at" not in table:
        place.refuse("is missing", f"give a time from the start such as '10m', or {TIME_EXAMPLE}")
        return 0, True
    return read_start(table["at"], place)
