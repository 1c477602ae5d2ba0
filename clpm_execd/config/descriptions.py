"""Descriptions of the kinds of faults and types of loops, each with parameters and an example that can be pasted.

As text a section begins with its name, alone on a line, and ends with TOML. Everything is read from the tables that the
plant and the checks of loops.toml read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import isinf

from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.faults.kinds import FaultKind
from clpm_execd.plant.loop_types import LOOP_TYPES, template
from clpm_execd.plant.specs import Parameter
from clpm_execd.plant.tuning import tune_controller
from clpm_execd.problems import BadInput, Problem, did_you_mean

_ABOUT_FAULTS = """\
Faults of loops.toml: a [[loop.fault]] table gives the kind, its parameters and, for any kind, when it is present.
  start     from the start of the stream ("30m"), or a time (2025-01-10T10:05:00Z); default 0, the beginning
  duration  how long it lasts; default: without end
  repeat    from one start to the next, longer than duration; default: once
  mean_repeat  in place of repeat: the same on average, where each start is drawn
  ramp      how long it takes to reach its full size; default 0, at once
Faults that are present at the same time add up. Valve faults need a loop with a valve of its own: the master of a
cascade has none. Negative controls are normal operation that a detector must not flag, and
of a loop out of service no alarm counts.
"""

_ABOUT_LOOP_TYPES = """\
Types of loops in loops.toml: a [[loop]] table names its type; values that it does not give are those below. Numbers are
in per cent of span and seconds. The controller is tuned from the process by a rule: tuning = "tight", "lambda",
"sluggish" or "aggressive", unless gain and reset are given.
"""


@dataclass(frozen=True, slots=True)
class ParameterRow:
    """A parameter as tables print it. limits: with its unit, or its choices."""

    name: str
    description: str
    limits: str
    default: str

    def __str__(self) -> str:
        default = self.default if self.default == "required" else f"default {self.default}"
        return f"{self.description}{', ' if self.limits else ''}{self.limits}; {default}"


@dataclass(frozen=True, slots=True)
class CatalogueSection:
    """The description of one kind of fault or type of loop.

    Parameters
    ----------
    name : str
    group : str
        The group of the fault, or the letters of the loop type.
    description : str
    parameters : tuple of ParameterRow
    example : str
        TOML that `check` accepts.
    note : str
        A remark about the parameters; empty where there is none.
    """

    name: str
    group: str
    description: str
    parameters: tuple[ParameterRow, ...]
    example: str
    note: str = ""

    def __str__(self) -> str:
        width = max((len(row.name) for row in self.parameters), default=0)
        lines = [self.name, f"  {self.group}: {self.description}",
                 *(f"  {row.name:<{width}}  {row}" for row in self.parameters)]
        lines += [f"  {self.note}"] if self.note else []
        return "\n".join([*lines, "", self.example, ""])


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Sections and the text before them; str() is all of it as plain text."""

    introduction: str
    sections: tuple[CatalogueSection, ...]

    def __str__(self) -> str:
        return "\n".join([*([self.introduction] if self.introduction else []), *map(str, self.sections)])


def describe_fault_kinds(names: Sequence[str] = ()) -> Catalogue:
    """Return the descriptions of these kinds of faults, or of all.

    Parameters
    ----------
    names : sequence of str
        Keys of FAULTS; by default all.

    Raises
    ------
    BadInput
        There is no such kind.
    """
    sections = {name: _describe_fault(kind) for name, kind in FAULTS.items()}
    return _select(_ABOUT_FAULTS, sections, names, "fault kind")


def describe_loop_types(names: Sequence[str] = ()) -> Catalogue:
    """Return the descriptions of these types of loops, or of all.

    Parameters
    ----------
    names : sequence of str
        Keys of LOOP_TYPES; by default all.

    Raises
    ------
    BadInput
        There is no such type.
    """
    sections = {name: _describe_loop_type(name) for name in LOOP_TYPES}
    return _select(_ABOUT_LOOP_TYPES, sections, names, "loop type")


def _select(introduction: str, sections: Mapping[str, CatalogueSection], names: Sequence[str], what: str) -> Catalogue:
    problems = [Problem(name, f"unknown {what}", did_you_mean(name, list(sections)))
                for name in names if name not in sections]
    if problems:
        raise BadInput(problems)
    return Catalogue("" if names else introduction, tuple(sections[name] for name in names or sections))


def _describe_fault(kind: FaultKind) -> CatalogueSection:
    rows = tuple(ParameterRow(name, parameter.description, _describe_limits(parameter), parameter.default)
                 for name, parameter in kind.parameters.items())
    return CatalogueSection(kind.name, kind.group, kind.description, rows, kind.example.strip())


def _describe_limits(parameter: Parameter) -> str:
    """Return the limits of a parameter with its unit, or its choices."""
    unit = f" {parameter.unit}" if parameter.unit else ""
    if parameter.choices:
        return f"one of {', '.join(parameter.choices)}"
    if isinf(parameter.low) and isinf(parameter.high):
        return unit.strip()
    if isinf(parameter.high):
        return f"{'greater than' if parameter.is_low_excluded else 'at least'} {parameter.low:g}{unit}"
    if parameter.is_low_excluded:
        return f"greater than {parameter.low:g}, at most {parameter.high:g}{unit}"
    return f"{parameter.low:g} to {parameter.high:g}{unit}"


def _describe_loop_type(name: str) -> CatalogueSection:
    loop_type = LOOP_TYPES[name]
    loop = template(name, f"{loop_type.letters}101", (0.0, 100.0))
    controller = tune_controller(loop, 1.0)
    rows: list[ParameterRow] = []
    lines = ["[[loop]]", f'id = "{loop.id}"', f'type = "{name}"', "range = [0.0, 100.0]", "sp = 50.0"]
    for part in ("process", "sensor", "disturbance"):
        spec = getattr(loop, part)
        lines += ["", f"[loop.{part}]"]
        for item in fields(spec):
            value, parameter = getattr(spec, item.name), item.metadata["parameter"]
            if value == ():
                continue
            if (part, item.name, loop.process.model) == ("process", "gain", "integrator"):
                parameter = replace(parameter, unit="%PV/s/%OP")
            rows.append(ParameterRow(f"{part}.{item.name}", parameter.description, _describe_limits(parameter),
                                     _to_toml(value)))
            lines.append(f"{item.name} = {_to_toml(value)}")
    note = f"tuned by \"lambda\" to gain {controller.gain:.3g} %OP/%PV, reset {controller.reset:.3g} s"
    return CatalogueSection(name, loop_type.letters, loop_type.description, tuple(rows), "\n".join(lines), note)


def _to_toml(value: object) -> str:
    if isinstance(value, tuple):
        return _to_toml(value[0]) if len(value) == 1 else f"[{', '.join(map(_to_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else repr(value)
