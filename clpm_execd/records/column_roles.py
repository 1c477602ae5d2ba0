"""Which column of a record holds what: by the user's word, else by the names that plants give.

A layout is found from the header alone and covers every loop of the file. What the names leave open is a
Problem that says which option decides it; what is taken for granted is written down as an assumption.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from clpm_execd.problems import BadInput, Problem, did_you_mean

OPTION = "--columns"


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of a record's columns where they are its own; None means: recognise it.

    In a long record (one value a row) pv, op and sp are names of fields instead.
    """

    time: str | None = None
    loop: str | None = None
    pv: str | None = None
    op: str | None = None
    sp: str | None = None
    mode: str | None = None
    quality: str | None = None


ROLES = tuple(field.name for field in fields(Columns))


def parse_columns(text: str) -> Columns:
    """`pv=FT_211,op=FV_211` as Columns; raises BadInput with all that is wrong with it."""
    names: dict[str, str] = {}
    problems = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        role, equals, name = (piece.strip() for piece in part.partition("="))
        if not equals or not name:
            remedy = f"write {OPTION} pv=FT_211,op=FV_211"
            problems.append(Problem(OPTION, f"{part!r} is not role=name", remedy))
        elif role.lower() not in ROLES:
            remedy = did_you_mean(role.lower(), ROLES)
            problems.append(Problem(OPTION, f"{role!r} is no role of a column", remedy))
        elif role.lower() in names:
            problems.append(Problem(OPTION, f"{role} is given twice", "name one column for it"))
        else:
            names[role.lower()] = name
    if problems:
        raise BadInput(problems)
    return Columns(**names)


@dataclass(frozen=True, slots=True)
class Loop:
    """Where one loop's signals are; indices of columns. name None: the loop column or the file has it."""

    name: str | None
    pv: int
    op: int | None = None
    sp: int | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is in a table.

    time: one column, or two for date and clock. loop: the column of loop ids.
    long: the columns of field (or tag) and value, when a row is one value. quality: the column that says whether a
    row's values count.
    """

    time: tuple[int, ...]
    loop: int | None
    loops: tuple[Loop, ...]
    long: tuple[int, int] | None
    assumptions: tuple[str, ...]
    quality: int | None = None


_NAMES = {
    "time": ("time", "_time", "timestamp", "datetime", "date_time", "date time", "date/time", "ts"),
    "loop": ("loop_id", "loopid", "loop", "tag", "tagname", "tag_name", "tag name", "point", "point name"),
    "pv": ("pv", "process_variable", "process variable", "process_value", "process value"),
    "op": ("op", "mv", "co", "out", "output", "controller_output", "controller output"),
    "sp": ("sp", "sv", "setpoint", "set_point", "set point"),
    "mode": ("mode", "md", "controller_mode", "controller mode"),
    "quality": ("quality", "status", "opc_quality", "data_quality", "_quality"),
    "value": ("_value", "value", "val"),
}
_FIELD = {name: role for role in ("pv", "op", "sp", "mode") for name in _NAMES[role]}
_TAGGED = re.compile(r"(.+)[./:_ ](pv|op|mv|co|out|sp|sv|mode|md)", re.IGNORECASE | re.DOTALL)

# ISA-5.1: the first letters are the measured variable, T a transmitter, V a valve: FT_211, LV-106.
_TRANSMITTER = re.compile(r"(?:[AFLPSTWD]|[FPT]D|FF)I?T[-_ .]?\d\w*", re.ASCII)
_VALVE = re.compile(r"(?:[AFLPSTWD]|[FPT]D|FF)C?V[-_ .]?\d\w*", re.ASCII)


def plain(name: str) -> str:
    """A column's name without case, space or `#` before it, and a unit in brackets behind it."""
    return re.sub(r"\s*[(\[][^()\[\]]*[)\]]$", "", name.strip().lstrip("# ")).casefold()


def tag_and_role(name: str, columns: Columns) -> tuple[str | None, str | None]:
    """What the field or tag of a long record is: pv, op, sp, mode or nothing of interest; and of TAG.PV the tag."""
    for role in ("pv", "op", "sp", "mode"):
        wanted = getattr(columns, role)
        if wanted is not None and plain(wanted) == plain(name):
            return None, role
    match = _TAGGED.fullmatch(name.strip())
    if plain(name) in _FIELD or match is None:
        tag, known = None, _FIELD.get(plain(name))
    else:
        tag, known = match[1], _FIELD[match[2].casefold()]
    return (None, None) if known is None or getattr(columns, known) is not None else (tag, known)


def _find(header: Sequence[str], role: str) -> int | None:
    names = [plain(name) for name in header]
    return next((names.index(name) for name in _NAMES[role] if name in names), None)


def _own(
    header: Sequence[str], columns: Columns, where: str, is_long: bool
) -> tuple[dict[str, int], list[Problem]]:
    """The columns that the user named, and a Problem for each that is not there."""
    found: dict[str, int] = {}
    problems = []
    names = [plain(name) for name in header]
    for role in ROLES:
        wanted = getattr(columns, role)
        if wanted is None or (is_long and role in ("pv", "op", "sp")):
            continue
        if plain(wanted) in names:
            found[role] = names.index(plain(wanted))
        else:
            known = [name.strip() for name in header if name.strip()]
            problems.append(Problem(where, f"no column {wanted!r} for {role}", did_you_mean(wanted, known)))
    return found, problems


def time_columns(header: Sequence[str]) -> tuple[int, ...]:
    """The columns that make the time: one, or a date and a clock time; none when there is no such name."""
    names = [plain(name) for name in header]
    if "date" in names and "time" in names:
        return names.index("date"), names.index("time")
    time = _find(header, "time")
    if time is None and "date" in names:
        time = names.index("date")
    return () if time is None else (time,)


def _tagged(header: Sequence[str]) -> list[Loop]:
    """Loops whose columns are TAG.PV, TAG.OP, ...: the tag is what precedes the last point."""
    tags: dict[str, dict[str, int]] = {}
    for i, name in enumerate(header):
        match = _TAGGED.fullmatch(name.strip())
        if match:
            tags.setdefault(match[1], {}).setdefault(_FIELD[match[2].casefold()], i)
    return [Loop(tag, **found) for tag, found in tags.items() if "pv" in found]


def _by_letters(header: Sequence[str]) -> tuple[Loop | None, str]:
    """The one transmitter, and the one valve, by their ISA letters; and what was assumed."""
    names = [name.strip() for name in header]
    transmitters = [i for i, name in enumerate(names) if _TRANSMITTER.fullmatch(name)]
    valves = [i for i, name in enumerate(names) if _VALVE.fullmatch(name)]
    if len(transmitters) != 1 or len(valves) > 1:
        return None, ""
    pv, op = transmitters[0], valves[0] if valves else None
    said = f"{names[pv]} is a transmitter by its letters and taken as PV"
    return Loop(None, pv, op), said if op is None else said + f", the valve {names[op]} as OP"


def _loops(header: Sequence[str], own: dict[str, int], where: str) -> tuple[list[Loop], list[str]]:
    found = {role: index for role in ("pv", "op", "sp", "mode") if (index := _find(header, role)) is not None}
    found |= {role: own[role] for role in ("pv", "op", "sp", "mode") if role in own}
    if "pv" in found:
        return [Loop(None, **found)], []
    tagged = _tagged(header)
    if tagged:
        return tagged, []
    lettered, said = _by_letters(header)
    if lettered is None:
        listed = ", ".join(name.strip() for name in header if name.strip())[:300]
        remedy = f"name it with {OPTION} pv=NAME,op=NAME,sp=NAME; the columns are {listed}"
        raise BadInput([Problem(where, "no column is known to be the PV", remedy)])
    return [Loop(None, lettered.pv, found.get("op", lettered.op), found.get("sp"), found.get("mode"))], [said]


def layout(header: Sequence[str], columns: Columns, where: str, time: tuple[int, ...] = ()) -> Layout:
    """What each column is; time is given where the format fixes it. Raises BadInput."""
    names = [plain(name) for name in header]
    long = _long(names)
    own, problems = _own(header, columns, where, long is not None)
    time = (own["time"],) if "time" in own else time or time_columns(header)
    if not time and columns.time is None:
        remedy = f"begin with a line of names such as time,PV,OP,SP, or name it with {OPTION} time=NAME"
        problems.append(Problem(where, "no column of times", remedy))
    if problems:
        raise BadInput(problems)
    loop = own.get("loop", _find(header, "loop"))
    if loop in time:
        loop = None
    quality = own.get("quality", _find(header, "quality"))
    if long is not None:
        mode = own.get("mode", _find(header, "mode"))
        loop = None if loop == long[0] else loop
        return Layout(time, loop, (Loop(None, long[1], mode=mode),), long, (), quality)
    loops, assumptions = _loops(header, own, where)
    return Layout(time, loop, tuple(loops), None, (*assumptions, *_twice(header)), quality)


def _long(names: Sequence[str]) -> tuple[int, int] | None:
    """The columns of field and value, of names without case, when a row is one value: Flux's, or tag and value."""
    if "_field" in names and "_value" in names:
        return names.index("_field"), names.index("_value")
    tag, value = _find(names, "loop"), _find(names, "value")
    if tag is None or value is None or _find(names, "pv") is not None:
        return None
    return tag, value


def _twice(header: Sequence[str]) -> list[str]:
    """Names of signals that stand in the header twice."""
    names = [name.strip() for name in header]
    known = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    signals = [name for name in known if plain(name) in _FIELD or _TAGGED.fullmatch(name)]
    return [f"the column {name} stands there twice: the first counts" for name in signals]
