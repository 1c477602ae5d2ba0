"""Which column of a record holds what: as the user says, else by the names that plants give, else by the cells.

A layout is detected from a header and the first rows under it, and covers every loop of the file. Where these leave
something open, a Problem quotes the header and says which option decides; what is assumed is listed in the layout.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from clpm_execd.plant.block import SECOND
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.records.cells.text_columns import Row
from clpm_execd.records.header.columns import COLUMNS_OPTION, ROLES, Columns
from clpm_execd.records.header.search import Header, has_pv, is_number
from clpm_execd.records.header.signal_names import (
    MEASURED_QUANTITIES,
    NAMES,
    SIGNAL_ROLES,
    TRANSMITTER,
    VALVE,
    find_role,
    find_short_names,
    find_time_columns,
    find_time_form,
    normalise_name,
    simplify_name,
    split_last_part,
    split_quality,
    split_signal,
    split_unit,
    strip_date,
)
from clpm_execd.records.header.time_columns import (
    cells_of,
    choose_time,
    complete_time,
    find_time_by_content,
    find_times_of_signals,
    quote_column,
    time_unit,
)

INTERVAL_OPTION = "--interval"
_MEASURED = re.compile(rf"(?:{'|'.join(MEASURED_QUANTITIES)})(?![a-z])")
# Columns of a Flux answer that are no tags.
_FLUX_COLUMNS = ("", "result", "table", "_start", "_stop", "_time", "_value", "_field", "time")


@dataclass(frozen=True, slots=True)
class LoopColumns:
    """The indices of one loop's columns.

    name: None where the loop column or the file gives it. op_unit: empty where the header gives none. qualities: the
    columns that say which values of a signal are good, by the signal.
    """

    name: str | None
    pv: int | None = None
    op: int | None = None
    sp: int | None = None
    mode: int | None = None
    op_unit: str = ""
    qualities: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str | None, signals: Mapping[str, int]) -> LoopColumns:
        """Return those of a loop by signal and mode."""
        return cls(name, signals.get("pv"), signals.get("op"), signals.get("sp"), signals.get("mode"))

    def signals(self) -> dict[str, int]:
        """Return the columns by signal and mode, of those that there are."""
        return {role: index for role in SIGNAL_ROLES if (index := getattr(self, role)) is not None}


@dataclass(frozen=True, slots=True)
class Layout:
    """The indices of all columns of a table that one time column holds for.

    time: one column, or several that make one together, or none where the rows have no time. time_form: how these are
    put together. time_unit: ns that a number in it counts. loop: the column of loop ids. field_and_value: the columns
    of the signal's name and its value, where each row is one value, and unit that of the value's unit. quality: the
    column that says which rows have good values. tags: columns by which series of the same signal may differ, with
    their names. assumptions: what the header left open and how it was taken.
    """

    time: tuple[int, ...]
    loop: int | None
    loops: tuple[LoopColumns, ...]
    field_and_value: tuple[int, int] | None
    assumptions: tuple[str, ...]
    quality: int | None = None
    time_unit: int = SECOND
    tags: tuple[tuple[str, int], ...] = ()
    unit: int | None = None
    time_form: str = "{}"


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


def detect_layouts(header: Header, columns: Columns, where: str, time: tuple[int, ...] = (), *,
                   interval: int | None = None, file_name: str = "") -> tuple[Layout, ...]:
    """Return what each column is, as one layout for each time column, or raise BadInput.

    time: the time columns, where the format fixes them. interval: between rows, ns, where they may have no time.
    file_name: without its suffix; it may say which signal the values are. A table may have OP or SP only, where another
    file has the rest.
    """
    is_long_by_name = _find_field_and_value(header, columns) is not None
    own, problems = _find_own_columns(header, columns, where, is_long_by_name)
    assumptions: list[str] = []
    if "time" in own:
        time = (own["time"],)
    elif not time:
        time = choose_time(header, find_time_columns(header.names))
        if not time and columns.time is None:
            time = find_time_by_content(header, assumptions, has_interval=interval is not None)
        time = complete_time(header, time)
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
    layout = Layout(time, loop, (), field_and_value, (), quality, time_unit(header, time),
                    time_form=find_time_form(header.names, time))
    if field_and_value is not None:
        mode = own.get("mode", find_role(header.names, "mode"))
        mode = None if mode in field_and_value else mode
        layout = replace(layout, loops=(LoopColumns(None, field_and_value[1], mode=mode),),
                         unit=find_role(header.names, "unit"))
    else:
        loops, more = _find_loops(header, own, where, time, loop, quality, file_name)
        assumptions += [*more, *_note_duplicates(header.names)]
        layout = replace(layout, loops=tuple(_add_qualities_and_unit(header, one, quality) for one in loops))
    layout = replace(layout, tags=_find_tags(header, layout), assumptions=tuple(assumptions))
    return _split_by_time(header, layout)


def _add_qualities_and_unit(header: Header, loop: LoopColumns, quality: int | None) -> LoopColumns:
    """Return a loop's columns with those of its signals' qualities, and the unit of its OP.

    A quality is named after its signal (FIC101.PV.Quality) or stands to the right of it, where there are several.
    """
    names = header.names
    signal_of = {index: role for role, index in loop.signals().items() if role != "mode"}
    columns = [i for i, name in enumerate(names) if simplify_name(name) in NAMES["quality"]]
    qualities = {signal_of[i - 1]: i for i in columns if i - 1 in signal_of} if len(columns) > 1 else {}
    for i, name in enumerate(names):
        tag, role = split_quality(name)
        if role is not None and tag == loop.name and i != quality:
            qualities[role] = i
    return replace(loop, op_unit="" if loop.op is None else header.unit(loop.op), qualities=qualities)


def _split_by_time(header: Header, layout: Layout) -> tuple[Layout, ...]:
    """Return a layout for each time column, where signals have time columns of their own; else the layout itself."""
    signals = {index for loop in layout.loops for index in loop.signals().values()}
    time_of = {} if layout.field_and_value or len(layout.time) != 1 else find_times_of_signals(header, signals)
    return tuple(
        replace(layout, time=(time,), time_unit=time_unit(header, (time,)), loops=tuple(
            replace(LoopColumns.of(
                loop.name, {role: index for role, index in loop.signals().items() if time_of[index] == time}),
                    op_unit=loop.op_unit, qualities=loop.qualities)
            for loop in layout.loops if time in {time_of[index] for index in loop.signals().values()}))
        for time in dict.fromkeys(time_of.values())) or (layout,)


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
        fields = {split_field(cell, columns)[1] for cell in cells_of(header.sample, names.index("_field"))}
        if not header.sample or fields != {None}:
            return names.index("_field"), names.index("_value")
        return None
    if find_role(header.names, "pv") is not None or has_pv(header.names):
        return None
    name, value = _name_column(header, own), find_role(header.names, "value")
    return None if name is None or value is None or name == value else (name, value)


def _name_column(header: Header, own: dict[str, int] | None) -> int | None:
    """Return the column of signals' names: of several the one whose cells are signals."""
    candidates = [index for role in ("loop", "name") if (index := find_role(header.names, role)) is not None]
    loop = (own or {}).get("loop")
    candidates = [index for index in candidates if index != loop] or candidates
    signals = [index for index in candidates if any(split_signal(cell)[1] for cell in cells_of(header.sample, index))]
    return next(iter(signals or candidates), None)


def _find_long_by_content(header: Header, columns: Columns, own: dict[str, int], time: tuple[int, ...]
                          ) -> tuple[int, int] | None:
    """Return the columns of name and value where the cells of one column are signals, and only there."""
    if any(role in own for role in ("pv", "op")) or has_pv(header.names):
        return None
    for i in range(len(header.names)):
        if i in time or i == own.get("loop"):
            continue
        cells = set(cells_of(header.sample, i))
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
    return sum(map(is_number, cells_of(sample, column))) / max(len(sample), 1)


def _find_tags(header: Header, layout: Layout) -> tuple[tuple[str, int], ...]:
    """Return the tags of a Flux answer: the columns of an annotated table's group key, or those beside the known."""
    names = [name.strip() for name in header.names]
    plain = list(map(normalise_name, names))
    role_columns = {*layout.time, layout.loop, layout.quality, *(layout.field_and_value or ())}
    role_columns |= {index for loop in layout.loops for index in (loop.pv, loop.op, loop.sp, loop.mode)}
    is_flux_long = layout.field_and_value is not None and "_field" in plain
    if not is_flux_long and not header.tags:
        return ()
    return tuple((names[i], i) for i, name in enumerate(plain) if i not in role_columns and name not in _FLUX_COLUMNS
                 and (i in header.tags if header.tags else True))


# All signals in a row


def _find_loops(header: Header, own: dict[str, int], where: str, time: tuple[int, ...], loop: int | None,
                quality: int | None, file_name: str) -> tuple[list[LoopColumns], list[str]]:
    names = header.names
    signals = {role: index for role in SIGNAL_ROLES if (index := find_role(names, role)) is not None}
    for i, name in enumerate(names):  # such as PV_Avg
        tag, role = split_signal(name)
        if tag is None and role is not None:
            signals.setdefault(role, i)
    signals = {role: index for role, index in signals.items() if index not in time}
    if "pv" not in signals and "pv" not in own:
        signals = {**find_short_names(names), **signals}
    signals |= {role: own[role] for role in SIGNAL_ROLES if role in own}
    if "pv" in signals:
        return [LoopColumns.of(None, signals)], []
    tag_loops = _find_tagged_loops(names)
    own_names = {role: [one for one in tag_loops if getattr(one, role) is not None] for role in SIGNAL_ROLES}
    partial_loops, tag_loops = tag_loops, own_names["pv"]
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
    if loop_columns is None and (partial_loops or signals):
        return partial_loops or [LoopColumns.of(None, signals)], []
    file_tag, role = split_signal(strip_date(file_name))
    value = find_role(names, "value")
    if loop_columns is None and role is not None and value is not None:
        return [LoopColumns.of(file_tag, {role: value})], []
    if loop_columns is None:
        remedy = f"name it with {COLUMNS_OPTION} pv=NAME,op=NAME,sp=NAME; {header.place}"
        raise BadInput([Problem(where, "no column is recognised as PV", remedy)])
    # A signal that only one tag has belongs to the transmitter: FT101, FV101, FIC101.SP.
    op, sp, mode = (signals.get(role, getattr(own_names[role][0], role) if len(own_names[role]) == 1 else None)
                    for role in ("op", "sp", "mode"))
    return [LoopColumns(None, loop_columns.pv, loop_columns.op if op is None else op, sp, mode)], [assumption]


def _find_tagged_loops(names: Sequence[str]) -> list[LoopColumns]:
    """Return the loops whose columns are TAG.PV, TAG.OP, ..., with or without PV: the tag precedes the signal.

    Where no tag has both PV and OP, the tags are parts of what they have in common: FIC101.Inp_PV, FIC101.Out_CV.
    """
    loops: dict[str, dict[str, int]] = {}
    for i, name in enumerate(names):
        tag, role = split_signal(name)
        if tag is not None and role is not None:
            loops.setdefault(tag, {}).setdefault(role, i)
    for tag, signals in loops.items():  # FIC101 beside FIC101.SP and FIC101.OP
        bare = [i for i, name in enumerate(names) if "op" in signals and split_unit(name)[0] == tag]
        signals |= {"pv": bare[0]} if bare and "pv" not in signals else {}
    if not any({"pv", "op"} <= signals.keys() for signals in loops.values()):
        parents: dict[str, list[dict[str, int]]] = {}
        for tag, signals in loops.items():
            parents.setdefault(split_last_part(tag), []).append(signals)
        if all(len({role for one in group for role in one}) == sum(map(len, group)) for group in parents.values()):
            joined = {tag: {role: index for one in group for role, index in one.items()}
                      for tag, group in parents.items() if tag}
            loops = joined if any({"pv", "op"} <= signals.keys() for signals in joined.values()) else loops
    return [LoopColumns.of(tag, signals) for tag, signals in loops.items()]


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
    return LoopColumns(None, index), f"PV = {quote_column(header.names[index], index)} (the only {why})"


def _note_duplicates(header: Sequence[str]) -> list[str]:
    """Return a sentence for each name of a signal that stands in the header twice."""
    names = [name.strip() for name in header]
    duplicates = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    return [f"duplicate column {name}: the first one is used" for name in duplicates
            if split_signal(name)[1] is not None]
