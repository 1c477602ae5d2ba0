"""Which column of a record holds what: as the user says, else by the names that plants give, else by the cells.

A layout is detected from a header and the first rows under it, and covers every loop of the file. Where these leave
something open, a Problem quotes the header and says which option decides; what is assumed is listed in the layout.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from clpm_execd.plant.block import SECOND
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.records.cells.text_columns import Row
from clpm_execd.records.cells.time_forms import is_readable_time
from clpm_execd.records.header.columns import COLUMNS_OPTION, ROLES, Columns
from clpm_execd.records.header.search import Header, is_data_cell, is_number
from clpm_execd.records.header.signal_names import (
    MEASURED_QUANTITIES,
    NAMES,
    SIGNAL_ROLES,
    TIME_UNITS_NS,
    TRANSMITTER,
    VALVE,
    find_role,
    find_short_names,
    find_time_columns,
    normalise_name,
    simplify_name,
    split_signal,
    split_unit,
)

INTERVAL_OPTION = "--interval"
MIN_TIMES_FRACTION = 0.9  # of the first cells: a column without a known name that has as many times is that of the time
# Names of a column that may be the time where its numbers rise: none, as an index is exported, or a kind of time.
_NUMERIC_TIME = re.compile(r"|t|tim\w*|unnamed: 0")
_PLAIN_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d*)?(?:[eE][+-]?\d+)?", re.ASCII)
_MEASURED = re.compile(rf"(?:{'|'.join(MEASURED_QUANTITIES)})(?![a-z])")
# Columns of a Flux answer that are no tags.
_FLUX_COLUMNS = ("", "result", "table", "_start", "_stop", "_time", "_value", "_field", "time")


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

    time: one column, or two for date and clock time, or none where the rows have no time. time_unit: ns that a number
    in it counts. loop: the column of loop ids. field_and_value: the columns of the signal's name and its value, where
    each row is one value. quality: the column that says which rows have good values. tags: columns by which series of
    the same signal may differ, with their names. op_units: the unit of OP by the name of the loop. assumptions: what
    the header left open and how it was taken.
    """

    time: tuple[int, ...]
    loop: int | None
    loops: tuple[LoopColumns, ...]
    field_and_value: tuple[int, int] | None
    assumptions: tuple[str, ...]
    quality: int | None = None
    time_unit: int = SECOND
    tags: tuple[tuple[str, int], ...] = ()
    op_unit: str = ""


def split_field(name: str, columns: Columns) -> tuple[str | None, str | None]:
    """Return the tag and the role of a signal of a long record.

    The tag is None where the name has none; the role is pv, op, sp, mode or, of no interest, None.
    """
    for role in SIGNAL_ROLES:
        own_name = getattr(columns, role)
        if own_name is not None and normalise_name(own_name) == normalise_name(name):
            return None, role
    tag, signal = split_signal(name)
    return (None, None) if signal is None or getattr(columns, signal) is not None else (tag, signal)


def detect_layout(header: Header, columns: Columns, where: str, time: tuple[int, ...] = (), *,
                  interval: int | None = None) -> Layout:
    """Return what each column is, or raise BadInput.

    time: the time columns, where the format fixes them. interval: between rows, ns, where they may have no time.
    """
    is_long_by_name = _find_field_and_value(header, columns) is not None
    own, problems = _find_own_columns(header, columns, where, is_long_by_name)
    assumptions: list[str] = []
    if "time" in own:
        time = (own["time"],)
    elif not time:
        time = _choose_time(header, find_time_columns(header.names))
        if not time and columns.time is None:
            time = _find_time_by_content(header, assumptions, has_interval=interval is not None)
    if not time and columns.time is None and interval is None:
        remedy = (f"{header.place}: name it with {COLUMNS_OPTION} time=NAME or time=#1, or give the time between rows "
                  f"with {INTERVAL_OPTION}")
        problems.append(Problem(where, "no time column", remedy))
    if problems:
        raise BadInput(problems)
    loop = own.get("loop", find_role(header.names, "loop"))
    quality = own.get("quality", find_role(header.names, "quality"))
    field_and_value = _find_field_and_value(header, columns, own) or _find_long_by_content(header, columns, own, time)
    loop, quality = (None if index is not None and index in (*time, *(field_and_value or ())) else index
                     for index in (loop, quality))
    layout = Layout(time, loop, (), field_and_value, (), quality, _time_unit(header, time))
    if field_and_value is not None:
        mode = own.get("mode", find_role(header.names, "mode"))
        mode = None if mode in field_and_value else mode
        layout = replace(layout, loops=(LoopColumns(None, field_and_value[1], mode=mode),))
    else:
        loops, more = _find_loops(header, own, where, time, loop, quality)
        assumptions += [*more, *_note_duplicates(header.names)]
        op = next((one.op for one in loops if one.op is not None), None)
        layout = replace(layout, loops=tuple(loops), op_unit="" if op is None else header.unit(op))
    return replace(layout, tags=_find_tags(header, layout), assumptions=tuple(assumptions))


def _find_own_columns(
    header: Header, columns: Columns, where: str, is_long: bool
) -> tuple[dict[str, int], list[Problem]]:
    """Return the columns that the user named, by role, and a Problem for each that is not in the header."""
    index_of: dict[str, int] = {}
    problems = []
    for role in ROLES:
        own_name = getattr(columns, role)
        if own_name is None:
            continue
        index = _find_column(header.names, own_name)
        if index is not None and not (is_long and role in ("pv", "op", "sp")):
            index_of[role] = index
        elif index is None and not (is_long and role in SIGNAL_ROLES):
            available = [name.strip() for name in header.names if name.strip()]
            remedy = f"{did_you_mean(own_name, available)} ({header.place})" if header.line or header.is_missing else \
                did_you_mean(own_name, available)
            problems.append(Problem(where, f"no column {own_name!r} for {role}", remedy))
    return index_of, problems


def _find_column(names: Sequence[str], own_name: str) -> int | None:
    """Return the column of a name that the user gives, unchanged or without its unit, or of a number such as #3."""
    exact = [name.strip().casefold() for name in names]
    if own_name.strip().casefold() in exact:
        return exact.index(own_name.strip().casefold())
    if re.fullmatch(r"#[0-9]{1,5}", own_name) and 1 <= int(own_name[1:]) <= len(names):
        return int(own_name[1:]) - 1
    plain = [normalise_name(name) for name in names]
    return plain.index(normalise_name(own_name)) if normalise_name(own_name) in plain else None


# Time


def _choose_time(header: Header, time: tuple[int, ...]) -> tuple[int, ...]:
    """Return the time column by name; of several the first whose cells can be read as times."""
    if len(time) != 1 or not header.sample or _share_of_times(header.sample, time[0]) >= MIN_TIMES_FRACTION:
        return time
    names = [simplify_name(name) for name in header.names]
    others = [i for name in NAMES["time"] for i, other in enumerate(names) if other == name]
    return next(((i,) for i in others if _share_of_times(header.sample, i) >= MIN_TIMES_FRACTION), time)


def _share_of_times(sample: Sequence[Row], column: int) -> float:
    cells = _cells(sample, column)
    return sum(map(is_readable_time, cells)) / len(cells) if cells else 0.0


def _find_time_by_content(header: Header, assumptions: list[str], *, has_interval: bool) -> tuple[int, ...]:
    """Return the first column whose cells are dates or, where its name allows it, rising numbers."""
    for i, name in enumerate(header.names):
        cells = _cells(header.sample, i)
        times = [cell for cell in cells if is_data_cell(cell) and not is_number(cell)]
        if len(cells) > 1 and len(times) >= MIN_TIMES_FRACTION * len(cells):
            assumptions.append(f"time = {_quote_column(name, i)}, whose cells are times")
            return (i,)
    if has_interval or header.is_missing:
        return ()
    for i, name in enumerate(header.names):
        if not _NUMERIC_TIME.fullmatch(normalise_name(name)):
            continue
        numbers = [float(cell.replace(",", ".")) for cell in _cells(header.sample, i) if _PLAIN_NUMBER.fullmatch(cell)]
        if len(numbers) > 1 and all(a < b for a, b in pairwise(numbers)):
            assumptions.append(f"time = {_quote_column(name, i)}, whose numbers rise: taken as seconds")
            return (i,)
    return ()


def _cells(sample: Sequence[Row], column: int) -> list[str]:
    return [row[column].strip() for row in sample if column < len(row) and row[column].strip()]


def _quote_column(name: str, index: int) -> str:
    return name.strip() or f"column #{index + 1}, which has no name"


def _time_unit(header: Header, time: tuple[int, ...]) -> int:
    """Return how many ns a number in the time column counts, by its unit; s without one."""
    if len(time) != 1:
        return SECOND
    unit = header.unit(time[0]).casefold()
    return TIME_UNITS_NS.get(unit, TIME_UNITS_NS.get(normalise_name(header.names[time[0]]), SECOND))


# One value per row


def _find_field_and_value(header: Header, columns: Columns, own: dict[str, int] | None = None
                          ) -> tuple[int, int] | None:
    """Return the columns of the signal's name and of the value, by their names; None where a row has all signals."""
    names = [normalise_name(name) for name in header.names]
    if columns.name is not None or columns.value is not None:
        name = _find_column(header.names, columns.name) if columns.name is not None else _name_column(header, own)
        value = _find_column(header.names, columns.value) if columns.value is not None else \
            find_role(header.names, "value")
        return None if name is None or value is None else (name, value)
    if "_field" in names and "_value" in names:
        fields = {split_field(cell, columns)[1] for cell in _cells(header.sample, names.index("_field"))}
        if not header.sample or fields != {None}:
            return names.index("_field"), names.index("_value")
        return None
    if find_role(header.names, "pv") is not None or any(split_signal(name)[1] == "pv" for name in header.names):
        return None
    name, value = _name_column(header, own), find_role(header.names, "value")
    return None if name is None or value is None or name == value else (name, value)


def _name_column(header: Header, own: dict[str, int] | None) -> int | None:
    """Return the column of signals' names: of several the one whose cells are signals."""
    candidates = [index for role in ("loop", "name") if (index := find_role(header.names, role)) is not None]
    loop = (own or {}).get("loop")
    candidates = [index for index in candidates if index != loop] or candidates
    signals = [index for index in candidates if any(split_signal(cell)[1] for cell in _cells(header.sample, index))]
    return next(iter(signals or candidates), None)


def _find_long_by_content(header: Header, columns: Columns, own: dict[str, int], time: tuple[int, ...]
                          ) -> tuple[int, int] | None:
    """Return the columns of name and value where the cells of one column are signals, and only there."""
    if any(role in own for role in ("pv", "op")) or any(split_signal(name)[1] == "pv" for name in header.names):
        return None
    for i in range(len(header.names)):
        if i in time or i == own.get("loop"):
            continue
        cells = set(_cells(header.sample, i))
        roles = {split_field(cell, columns)[1] for cell in cells if not is_number(cell)}
        if "pv" not in roles:
            continue
        value = own.get("value", find_role(header.names, "value"))
        if value is None or value == i:
            numeric = [k for k in range(len(header.names)) if k != i and k not in time
                       and _share_of_numbers(header.sample, k) > 0.5]
            value = next((k for k in numeric if header.names[k].strip()), numeric[0] if numeric else None)
        if value is not None:
            return i, value
    return None


def _share_of_numbers(sample: Sequence[Row], column: int) -> float:
    cells = _cells(sample, column)
    return sum(map(is_number, cells)) / len(cells) if cells else 0.0


def _find_tags(header: Header, layout: Layout) -> tuple[tuple[str, int], ...]:
    """Return the tags of a Flux answer: the columns of an annotated table's group key, or those beside the known."""
    names = [name.strip() for name in header.names]
    plain = [name.casefold() for name in names]
    role_columns = {*layout.time, layout.loop, layout.quality, *(layout.field_and_value or ())}
    role_columns |= {index for loop in layout.loops for index in (loop.pv, loop.op, loop.sp, loop.mode)}
    is_flux_long = layout.field_and_value is not None and "_field" in plain
    if not is_flux_long and not header.tags:
        return ()
    return tuple((names[i], i) for i, name in enumerate(plain) if i not in role_columns and name not in _FLUX_COLUMNS
                 and (i in header.tags if header.tags else True))


# All signals in a row


def _find_loops(header: Header, own: dict[str, int], where: str, time: tuple[int, ...], loop: int | None,
                quality: int | None) -> tuple[list[LoopColumns], list[str]]:
    names = header.names
    signals = {role: index for role in SIGNAL_ROLES if (index := find_role(names, role)) is not None}
    signals = {role: index for role, index in signals.items() if index not in time}
    if "pv" not in signals and "pv" not in own:
        signals = {**find_short_names(names), **signals}
    signals |= {role: own[role] for role in SIGNAL_ROLES if role in own}
    if "pv" in signals:
        return [LoopColumns(None, **signals)], []
    tag_loops = _find_tagged_loops(names)
    if len(tag_loops) == 1:
        one = tag_loops[0]
        op, sp, mode = (own.get(role, signals.get(role) if getattr(one, role) is None else getattr(one, role))
                        for role in ("op", "sp", "mode"))
        return [replace(one, op=op, sp=sp, mode=mode)], []
    if tag_loops:
        return tag_loops, []
    loop_columns, assumption = _find_loop_by_isa_letters(names)
    if loop_columns is None:
        loop_columns, assumption = _find_only_other_column(header, signals, {*time, loop, quality})
    if loop_columns is None:
        remedy = f"name it with {COLUMNS_OPTION} pv=NAME,op=NAME,sp=NAME; {header.place}"
        raise BadInput([Problem(where, "no column is recognised as PV", remedy)])
    op = signals.get("op", loop_columns.op)
    return [LoopColumns(None, loop_columns.pv, op, signals.get("sp"), signals.get("mode"))], [assumption]


def _find_tagged_loops(names: Sequence[str]) -> list[LoopColumns]:
    """Return the loops whose columns are TAG.PV, TAG.OP, ...: the tag is what precedes the signal."""
    loops: dict[str, dict[str, int]] = {}
    for i, name in enumerate(names):
        tag, role = split_signal(name)
        if tag is not None and role is not None:
            loops.setdefault(tag, {}).setdefault(role, i)
    return [LoopColumns(tag, **signals) for tag, signals in loops.items() if "pv" in signals]


def _find_loop_by_isa_letters(header: Sequence[str]) -> tuple[LoopColumns | None, str]:
    """Return the loop of the only transmitter and the only valve by their ISA letters, and what is assumed."""
    names = [split_unit(name)[0] for name in header]
    transmitters = [i for i, name in enumerate(names) if TRANSMITTER.fullmatch(name)]
    valves = [i for i, name in enumerate(names) if VALVE.fullmatch(name)]
    if len(transmitters) != 1 or len(valves) > 1:
        return None, ""
    pv, op = transmitters[0], valves[0] if valves else None
    assumption = f"PV = {names[pv]} (transmitter tag)"
    return LoopColumns(None, pv, op), assumption if op is None else assumption + f", OP = {names[op]} (valve tag)"


def _find_only_other_column(header: Header, signals: dict[str, int], role_columns: set[int | None]
                            ) -> tuple[LoopColumns | None, str]:
    """Return the loop whose PV is the only column of numbers, or of a measured quantity, beside a known OP and SP."""
    if "op" not in signals or "sp" not in signals:
        return None, ""
    others = [i for i in range(len(header.names)) if i not in role_columns and i not in signals.values()
              and _share_of_numbers(header.sample, i) > 0.5]
    measured = [i for i in others if _MEASURED.match(header.names[i].strip().casefold())]
    if len(others) != 1 and len(measured) != 1:
        return None, ""
    index, why = (others[0], "other column") if len(others) == 1 else (measured[0], "measured quantity")
    return LoopColumns(None, index), f"PV = {_quote_column(header.names[index], index)} (the only {why})"


def _note_duplicates(header: Sequence[str]) -> list[str]:
    """Return a sentence for each name of a signal that stands in the header twice."""
    names = [name.strip() for name in header]
    duplicates = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    return [f"duplicate column {name}: the first one is used" for name in duplicates
            if split_signal(name)[1] is not None]
