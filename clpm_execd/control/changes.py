"""A request to change a loop becomes a Change at a scan: a fault that starts or ends, or an operator's action.

A request is a table with one key, as the journal has it too: `{"inject": {"loop": "FIC101", "kind": "stiction"}}`,
`{"clear": {"loop": "FIC101"}}`, `{"set": {"loop": "FIC101", "sp": 60}}`. Names, units and limits are those of
loops.toml. A wrong request is one BadInput with every problem. What a Change makes of a loop depends on the two alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clpm_execd.config.validation import (
    Place,
    convert_numeric_text,
    find_parameter,
    quote,
    read_choice,
    read_number,
    refuse_unknown_keys,
)
from clpm_execd.control.journal import JournalEntry
from clpm_execd.plant.block import MODES
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.specs import ControllerSpec, FaultSpec, LoopSpec, Move
from clpm_execd.plant.tuning import tune_controller
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.units import format_duration, format_time

_LOG = logging.getLogger("clpm_execd")

COMMANDS = ("inject", "clear", "set")
_TUNING = ("gain", "reset")
_VALUES = ("mode", "sp", "op", *_TUNING)  # in the order in which they act
_SUGGESTED_LOOPS = 1000  # ids that are compared with a misspelt one


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one loop.

    Attributes
    ----------
    at : int
        ns since 1970, of a scan: it acts from this one on.
    loop : str
        The id.
    request : mapping
        The request as the journal has it, with numbers as numbers.
    fault : FaultSpec or None
        The fault that starts.
    is_clearing : bool
        Whether faults end.
    kind : str or None
        Kind of the faults that end; None for all.
    moves : tuple of Move
        The operator's actions.
    gain, reset : float or None
        The controller's settings, as in loops.toml; None where they stay.
    """

    at: int
    loop: str
    request: Mapping[str, Any]
    fault: FaultSpec | None = None
    is_clearing: bool = False
    kind: str | None = None
    moves: tuple[Move, ...] = ()
    gain: float | None = None
    reset: float | None = None

    def respecify(self, loop: LoopSpec, scan: float) -> LoopSpec:
        """Return the loop as it is specified from the change on.

        Parameters
        ----------
        loop : LoopSpec
            The loop as it is specified before.
        scan : float
            Time between controller executions, s.
        """
        if self.fault is not None:
            return replace(loop, faults=(*loop.faults, self.fault))
        if self.is_clearing:
            return replace(loop, faults=tuple(self._end(fault) for fault in loop.faults))
        if self.gain is None and self.reset is None:
            return loop
        settings = tune_controller(loop, scan)
        return replace(loop, controller=replace(
            settings, gain=settings.gain if self.gain is None else self.gain,
            reset=settings.reset if self.reset is None else self.reset))

    def _end(self, fault: FaultSpec) -> FaultSpec:
        is_over = fault.until is not None and fault.until <= self.at
        return fault if is_over or self.kind not in (None, fault.kind) else replace(fault, until=self.at)

    def describe(self) -> str:
        """Return the change as a log has it, such as `FIC101: stiction S=4 for 20m`."""
        [(command, table)] = self.request.items()
        if command == "clear":
            return f"{self.loop}: clear {table.get('kind') or 'all faults'}"
        words = [f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
                 for key, value in table.items() if key not in ("loop", "kind", "duration", "ramp")]
        if self.fault is None:
            return f"{self.loop}: set {' '.join(words)}"
        words += [f"for {format_duration(self.fault.duration)}"] if self.fault.duration else []
        words += [f"ramp {format_duration(self.fault.ramp)}"] if self.fault.ramp else []
        return " ".join([f"{self.loop}: {self.fault.kind}", *words])


def read_change(request: object, at: int, loops: LoopSet) -> Change:
    """Return the change that a request asks for.

    Parameters
    ----------
    request : object
        The request as JSON gives it; numbers may be texts.
    at : int
        The scan at which it acts, ns since 1970.
    loops : LoopSet
        The loops as they are specified then.

    Raises
    ------
    BadInput
        The request cannot be followed.
    """
    if not isinstance(request, Mapping) or len(request) != 1 or not set(request) <= set(COMMANDS):
        what = f"unknown request {quote(next(iter(request), '') if isinstance(request, Mapping) else request)}"
        raise BadInput([Problem("control", what, f"give one of {', '.join(COMMANDS)}")])
    [(command, table)] = request.items()
    if not isinstance(table, Mapping):
        raise BadInput([Problem(command, f"{quote(table)} is not a table", "give loop and the other values")])
    loop = find_loop(command, table, loops)
    problems: list[Problem] = []
    place = Place(f"{command} {quote(loop.id)[1:-1]}", problems, " ")
    if command == "inject":
        change = _read_injection(table, at, loop, loops, place)
    elif command == "clear":
        change = _read_clearing(table, at, loop, place)
    else:
        change = _read_adjustment(table, at, loop, place)
    if problems:
        raise BadInput(dict.fromkeys(problems))
    return change


def find_loop(command: str, table: Mapping[str, Any], loops: LoopSet) -> LoopSpec:
    """Return the loop that a table names; raise BadInput where there is none."""
    name = table.get("loop")
    if name is None:
        raise BadInput([Problem(command, "the loop is missing", "give the id of a loop")])
    if isinstance(name, str) and name in loops.ids:
        return loops[loops.ids.index(name)]
    names = loops.ids[:_SUGGESTED_LOOPS]
    remedy = did_you_mean(name, names) if isinstance(name, str) else "give the id of a loop"
    if len(names) > 10 and remedy.startswith("give one of"):
        remedy = f"there are {len(loops)}, {names[0]} to {loops.ids[-1]}"
    raise BadInput([Problem(command, f"unknown loop {quote(name)}", remedy)])


def _read_injection(table: Mapping[str, Any], at: int, loop: LoopSpec, loops: LoopSet, place: Place) -> Change:
    from clpm_execd.config.cascades import check_faults
    from clpm_execd.config.fault import read_faults
    from clpm_execd.config.loop import LoopEntry

    values = {key: _to_number(value, table.get("kind"), key) for key, value in table.items() if key != "loop"}
    kind = FAULTS.get(str(values.get("kind")))
    if kind is not None:
        names = [*kind.parameters, "kind", "duration", "ramp"]
        refuse_unknown_keys({key: 0 for key in values if key not in names}, list(kind.parameters), place)
        values = {key: value for key, value in values.items() if key in names}
    problems: list[Problem] = []
    [fault] = read_faults([values], Place("", problems, ""))
    if not problems:
        others = loops.select(np.array([i for i, other in enumerate(loops.ids) if other != loop.id], dtype=np.intp))
        healthy = LoopSet([replace(each, faults=()) for each in others.distinct], others.which, others.ids,
                          others.masters)
        check_faults([LoopEntry(Place("", problems, ""), LoopSet.of([replace(loop, faults=(fault,))])),
                      *([LoopEntry(Place("", [], ""), healthy)] if len(healthy) else [])])
    for problem in problems:  # "fault[1].S" is "S" here, and the duration is an option of the command line
        key = problem.where.removeprefix("fault[1]").removeprefix(".")
        words = {"duration": "--for", "ramp": "--ramp"}
        place.at(words.get(key, key)).refuse(problem.what, problem.remedy.replace("of this file", "of the stream"))
    fault = replace(fault, start=at, from_start=False)
    return Change(at, loop.id, {"inject": {"loop": loop.id, **values}}, fault=fault)


def _to_number(value: object, kind: object, key: str) -> object:
    """Return a text that is a number as one, if it is a parameter of this kind of fault that is a number."""
    has_number = isinstance(kind, str) and kind in FAULTS and not isinstance(FAULTS[kind].defaults.get(key, ""), str)
    return convert_numeric_text(value) if has_number else value


def _read_clearing(table: Mapping[str, Any], at: int, loop: LoopSpec, place: Place) -> Change:
    refuse_unknown_keys({key: value for key, value in table.items() if key != "loop"}, ["kind"], place)
    kind = table.get("kind")
    if kind is not None:
        read_choice(kind, "fault kind", list(FAULTS), place.at("kind"))
    return Change(at, loop.id, {"clear": dict(table)}, is_clearing=True, kind=kind)


def _read_adjustment(table: Mapping[str, Any], at: int, loop: LoopSpec, place: Place) -> Change:
    refuse_unknown_keys({key: value for key, value in table.items() if key != "loop"}, _VALUES, place)
    values: dict[str, Any] = {}
    for key in _VALUES:
        if key not in table:
            continue
        value, here = table[key], place.at(key)
        if key == "mode":
            mode = value.upper() if isinstance(value, str) else value
            values[key] = read_choice(mode, "mode", MODES, here)
            if mode == "CAS" and loop.cascade is None:
                here.refuse("'CAS' needs a master", "give AUT or MAN")
            continue
        parameter = find_parameter(ControllerSpec if key in _TUNING else LoopSpec, key)
        values[key] = read_number(convert_numeric_text(value), parameter, here)
    low, high = loop.range
    if values.get("sp") is not None and not low <= values["sp"] <= high:
        place.at("sp").refuse(f"{values['sp']:g} is outside the range", f"give {low:g} to {high:g}")
    if len(table) < 2:
        place.refuse("there is nothing to set", f"give one or several of {', '.join(_VALUES)}, such as sp=60")
    moves = tuple(Move(at=at, from_start=False, **{key: values[key]}) for key in ("mode", "sp", "op")
                  if values.get(key) is not None)
    return Change(at, loop.id, {"set": {"loop": loop.id, **values}}, moves=moves, gain=values.get("gain"),
                  reset=values.get("reset"))


def respecify_loops(loops: LoopSet, change: Change, scan: float) -> LoopSet:
    """Return the loops as they are specified from a change on.

    Parameters
    ----------
    loops : LoopSet
        The loops as they are specified before; one of them is the change's.
    change : Change
    scan : float
        Time between controller executions, s.
    """
    i = loops.ids.index(change.loop)
    before = loops[i]
    after = change.respecify(before, scan)
    return loops if after is before else loops.with_loop(i, after)


def apply_journal(entries: Sequence[JournalEntry], loops: LoopSet, next_scan: int, scan: float,
                  ) -> tuple[LoopSet, list[Change]]:
    """Return the loops as a journal has changed them before a scan, and the changes that act from that scan on.

    A request whose loop or kind is not known any more, since loops.toml has changed, is left out with a warning.

    Parameters
    ----------
    entries : sequence of JournalEntry
        The journal, in order of time.
    loops : LoopSet
        The loops as they are configured.
    next_scan : int
        Time of the scan, ns since 1970.
    scan : float
        Time between controller executions, s.
    """
    future, pending = loops, []
    for entry in entries:
        try:
            change = read_change(entry.request, entry.at, future)
        except BadInput as bad:
            _LOG.warning("journal: request of %s left out: %s", format_time(entry.at), bad.problems[0])
            continue
        future = respecify_loops(future, change, scan)
        if change.at >= next_scan:
            pending.append(change)
        else:
            loops = future
    return loops, pending
