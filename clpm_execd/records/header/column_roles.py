"""Which column of a record holds what: as the user says, else by the names that plants give.

A layout is detected from the header alone and covers every loop of the file. Where the names leave something open, a
Problem says which option decides it; what is assumed is listed in the layout.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from clpm_execd.problems import BadInput, Problem, did_you_mean

COLUMNS_OPTION = "--columns"
SIGNAL_ROLES = ("pv", "op", "sp", "mode")


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of a record's columns, by their role.

    Parameters
    ----------
    time, loop, pv, op, sp, mode, quality : str, optional
        The name of the column in the header; None detects it. In a long record (one value per row) pv, op and sp are
        names of fields instead. A date and a clock time in columns of their own are detected only.
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
    """Return the Columns that a text such as `pv=FT_211,op=FV_211` names.

    Parameters
    ----------
    text : str
        Pairs role=name, separated by commas. Roles are the fields of `Columns`, in either case.

    Raises
    ------
    BadInput
        A pair is malformed, a role is unknown or given twice; the error lists all of these.
    """
    names: dict[str, str] = {}
    problems = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        role, equals, name = (piece.strip() for piece in part.partition("="))
        if not equals or not name:
            remedy = f"write {COLUMNS_OPTION} pv=FT_211,op=FV_211"
            problems.append(Problem(COLUMNS_OPTION, f"{part!r} is not role=name", remedy))
        elif role.lower() not in ROLES:
            remedy = did_you_mean(role.lower(), ROLES)
            problems.append(Problem(COLUMNS_OPTION, f"unknown column role {role!r}", remedy))
        elif role.lower() in names:
            problems.append(Problem(COLUMNS_OPTION, f"{role} is given twice", "name one column for it"))
        else:
            names[role.lower()] = name
    if problems:
        raise BadInput(problems)
    return Columns(**names)


@dataclass(frozen=True, slots=True)
class LoopColumns:
    """The indices of one loop's columns. name: None where the loop column or the file gives it."""

    name: str | None
    pv: int
    op: int | None = None
    sp: int | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """The indices of all columns of a table.

    time: one column, or two for date and clock time. loop: the column of loop ids. field_and_value: the columns of
    field (or tag) and value, where each row is one value. quality: the column that says which rows have good values.
    assumptions: what the header left open and how it was taken.
    """

    time: tuple[int, ...]
    loop: int | None
    loops: tuple[LoopColumns, ...]
    field_and_value: tuple[int, int] | None
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
_ROLE_OF_NAME = {name: role for role in SIGNAL_ROLES for name in _NAMES[role]}
_TAG_AND_SIGNAL = re.compile(r"(.+)[./:_ ](pv|op|mv|co|out|sp|sv|mode|md)", re.IGNORECASE | re.DOTALL)

# ISA-5.1: the first letters are the measured variable, T is a transmitter and V a valve: FT_211, LV-106.
_TRANSMITTER = re.compile(r"(?:[AFLPSTWD]|[FPT]D|FF)I?T[-_ .]?\d\w*", re.ASCII)
_VALVE = re.compile(r"(?:[AFLPSTWD]|[FPT]D|FF)C?V[-_ .]?\d\w*", re.ASCII)


def normalise_name(name: str) -> str:
    """Return a column's name in lower case, without spaces or `#` before it and a unit in brackets after it."""
    return re.sub(r"\s*[(\[][^()\[\]]*[)\]]$", "", name.strip().lstrip("# ")).casefold()


def split_field(name: str, columns: Columns) -> tuple[str | None, str | None]:
    """Return the tag and the role of a field of a long record.

    The tag is None where the name has none; the role is pv, op, sp, mode or, of no interest, None.
    """
    for role in SIGNAL_ROLES:
        own_name = getattr(columns, role)
        if own_name is not None and normalise_name(own_name) == normalise_name(name):
            return None, role
    match = _TAG_AND_SIGNAL.fullmatch(name.strip())
    tag: str | None
    signal: str | None
    if normalise_name(name) in _ROLE_OF_NAME or match is None:
        tag, signal = None, _ROLE_OF_NAME.get(normalise_name(name))
    else:
        tag, signal = match[1], _ROLE_OF_NAME[match[2].casefold()]
    return (None, None) if signal is None or getattr(columns, signal) is not None else (tag, signal)


def _find_role(header: Sequence[str], role: str) -> int | None:
    names = [normalise_name(name) for name in header]
    return next((names.index(name) for name in _NAMES[role] if name in names), None)


def _find_own_columns(
    header: Sequence[str], columns: Columns, where: str, is_long: bool
) -> tuple[dict[str, int], list[Problem]]:
    """Return the columns that the user named, by role, and a Problem for each that is not in the header."""
    index_of: dict[str, int] = {}
    problems = []
    names = [normalise_name(name) for name in header]
    for role in ROLES:
        own_name = getattr(columns, role)
        if own_name is None or (is_long and role in ("pv", "op", "sp")):
            continue
        if normalise_name(own_name) in names:
            index_of[role] = names.index(normalise_name(own_name))
        else:
            available = [name.strip() for name in header if name.strip()]
            problems.append(Problem(where, f"no column {own_name!r} for {role}", did_you_mean(own_name, available)))
    return index_of, problems


def find_time_columns(header: Sequence[str]) -> tuple[int, ...]:
    """Return the column of the time, or those of date and clock time; nothing where no name is one of a time."""
    names = [normalise_name(name) for name in header]
    if "date" in names and "time" in names:
        return names.index("date"), names.index("time")
    time = _find_role(header, "time")
    if time is None and "date" in names:
        time = names.index("date")
    return () if time is None else (time,)


def _find_tagged_loops(header: Sequence[str]) -> list[LoopColumns]:
    """Return the loops whose columns are TAG.PV, TAG.OP, ...: the tag is what precedes the last separator."""
    loops: dict[str, dict[str, int]] = {}
    for i, name in enumerate(header):
        match = _TAG_AND_SIGNAL.fullmatch(name.strip())
        if match:
            loops.setdefault(match[1], {}).setdefault(_ROLE_OF_NAME[match[2].casefold()], i)
    return [LoopColumns(tag, **signals) for tag, signals in loops.items() if "pv" in signals]


def _find_loop_by_isa_letters(header: Sequence[str]) -> tuple[LoopColumns | None, str]:
    """Return the loop of the only transmitter and the only valve by their ISA letters, and what is assumed."""
    names = [name.strip() for name in header]
    transmitters = [i for i, name in enumerate(names) if _TRANSMITTER.fullmatch(name)]
    valves = [i for i, name in enumerate(names) if _VALVE.fullmatch(name)]
    if len(transmitters) != 1 or len(valves) > 1:
        return None, ""
    pv, op = transmitters[0], valves[0] if valves else None
    assumption = f"PV = {names[pv]} (transmitter tag)"
    return LoopColumns(None, pv, op), assumption if op is None else assumption + f", OP = {names[op]} (valve tag)"


def _find_loops(header: Sequence[str], own: dict[str, int], where: str) -> tuple[list[LoopColumns], list[str]]:
    signals = {role: index for role in SIGNAL_ROLES if (index := _find_role(header, role)) is not None}
    signals |= {role: own[role] for role in SIGNAL_ROLES if role in own}
    if "pv" in signals:
        return [LoopColumns(None, **signals)], []
    tagged = _find_tagged_loops(header)
    if tagged:
        return tagged, []
    loop, assumption = _find_loop_by_isa_letters(header)
    if loop is None:
        names = ", ".join(name.strip() for name in header if name.strip())[:300]
        remedy = f"name it with {COLUMNS_OPTION} pv=NAME,op=NAME,sp=NAME; the columns are {names}"
        raise BadInput([Problem(where, "no column is recognised as PV", remedy)])
    return [LoopColumns(None, loop.pv, signals.get("op", loop.op), signals.get("sp"), signals.get("mode"))], \
        [assumption]


def detect_layout(header: Sequence[str], columns: Columns, where: str, time: tuple[int, ...] = ()) -> Layout:
    """Return what each column is, or raise BadInput. time: the time columns, where the format fixes them."""
    names = [normalise_name(name) for name in header]
    field_and_value = _find_field_and_value(names)
    own, problems = _find_own_columns(header, columns, where, field_and_value is not None)
    time = (own["time"],) if "time" in own else time or find_time_columns(header)
    if not time and columns.time is None:
        remedy = f"begin with a header line such as time,PV,OP,SP, or name it with {COLUMNS_OPTION} time=NAME"
        problems.append(Problem(where, "no time column", remedy))
    if problems:
        raise BadInput(problems)
    loop = own.get("loop", _find_role(header, "loop"))
    if loop in time:
        loop = None
    quality = own.get("quality", _find_role(header, "quality"))
    if field_and_value is not None:
        mode = own.get("mode", _find_role(header, "mode"))
        loop = None if loop == field_and_value[0] else loop
        return Layout(time, loop, (LoopColumns(None, field_and_value[1], mode=mode),), field_and_value, (), quality)
    loops, assumptions = _find_loops(header, own, where)
    return Layout(time, loop, tuple(loops), None, (*assumptions, *_note_duplicates(header)), quality)


def _find_field_and_value(names: Sequence[str]) -> tuple[int, int] | None:
    """Return the columns of field (or tag) and value where each row is one value, of normalised names; else None."""
    if "_field" in names and "_value" in names:
        return names.index("_field"), names.index("_value")
    tag, value = _find_role(names, "loop"), _find_role(names, "value")
    if tag is None or value is None or _find_role(names, "pv") is not None:
        return None
    return tag, value


def _note_duplicates(header: Sequence[str]) -> list[str]:
    """Return a sentence for each name of a signal that stands in the header twice."""
    names = [name.strip() for name in header]
    duplicates = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    signals = [name for name in duplicates if normalise_name(name) in _ROLE_OF_NAME or _TAG_AND_SIGNAL.fullmatch(name)]
    return [f"duplicate column {name}: the first one is used" for name in signals]
