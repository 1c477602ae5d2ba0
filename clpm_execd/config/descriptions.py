"""What there is to choose from: kinds of faults and types of loops, each with an example that can be pasted.

As text a section begins with its name, alone on a line, and ends with TOML. All of it is read from the tables that the
plant itself and the checks read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import isinf

from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.faults.kinds import FaultKind
from clpm_execd.plant.loop_types import LOOP_TYPES, template
from clpm_execd.plant.specs import Parameter
from clpm_execd.plant.tuning import tuned
from clpm_execd.problems import BadInput, Problem, did_you_mean

_FAULTS = """\
The faults of loops.toml: a [[loop.fault]] names its kind, its parameters and, as any of them may, when it is there.
  start     from the start of the stream ("30m"), or a time (2025-01-10T10:05:00Z); default 0, the beginning
  duration  how long it lasts; default for ever
  repeat    from one start to the next, longer than duration; default once
  ramp      how long it takes to grow from nothing to full; default 0, at once
Several at once add up. Valve faults are for loops with a valve of their own: a master of a cascade has none.
Negative controls are no faults, and a monitor must not read them as such.
"""

_TYPES = """\
The types of loops.toml: a [[loop]] names its type, and what it does not give is as below. Numbers are per cent of
span and seconds. The controller is tuned by rule from the process: tuning = "tight", "lambda", "sluggish" or
"aggressive", unless gain and reset are given.
"""



@dataclass(frozen=True, slots=True)
class Row:
    """One parameter as tables print it; range: with its unit, or its choices."""

    name: str
    meaning: str
    range: str
    default: str

    def __str__(self) -> str:
        return f"{self.meaning}{', ' if self.range else ''}{self.range}; {self.default}"


@dataclass(frozen=True, slots=True)
class Section:
    """One kind or type: its name, its group and meaning, its parameters, a note on them, TOML that `check` accepts."""

    name: str
    group: str
    meaning: str
    rows: tuple[Row, ...]
    example: str
    note: str = ""

    def __str__(self) -> str:
        width = max((len(row.name) for row in self.rows), default=0)
        lines = [self.name, f"  {self.group}: {self.meaning}", *(f"  {row.name:<{width}}  {row}" for row in self.rows)]
        lines += [f"  {self.note}"] if self.note else []
        return "\n".join([*lines, "", self.example, ""])


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Sections, with what is to be said before them; str() is the whole as plain text."""

    head: str
    sections: tuple[Section, ...]

    def __str__(self) -> str:
        return "\n".join([*([self.head] if self.head else []), *map(str, self.sections)])


def faults(names: Sequence[str] = ()) -> Catalogue:
    """The kinds named, or all of them. Raises BadInput for one that is not there."""
    return _chosen(_FAULTS, {name: _fault(kind) for name, kind in FAULTS.items()}, names, "fault kind")


def loop_types(names: Sequence[str] = ()) -> Catalogue:
    """The types named, or all of them. Raises BadInput for one that is not there."""
    return _chosen(_TYPES, {name: _loop_type(name) for name in LOOP_TYPES}, names, "loop type")


def _chosen(head: str, sections: Mapping[str, Section], names: Sequence[str], what: str) -> Catalogue:
    problems = [Problem(name, f"unknown {what}", did_you_mean(name, list(sections)))
                for name in names if name not in sections]
    if problems:
        raise BadInput(problems)
    return Catalogue("" if names else head, tuple(sections[name] for name in names or sections))


def _fault(kind: FaultKind) -> Section:
    rows = tuple(Row(name, about.meaning, _range(about), _default(about)) for name, about in kind.parameters.items())
    return Section(kind.name, kind.group, kind.meaning, rows, kind.example.strip())


def _range(about: Parameter) -> str:
    """Unit and range of a parameter, in words."""
    unit = f" {about.unit}" if about.unit else ""
    if about.choices:
        return f"one of {', '.join(about.choices)}"
    if isinf(about.low) and isinf(about.high):
        return unit.strip()
    if isinf(about.high):
        return f"{'more than' if about.above else 'at least'} {about.low:g}{unit}"
    if about.above:
        return f"more than {about.low:g}, at most {about.high:g}{unit}"
    return f"{about.low:g} to {about.high:g}{unit}"


def _default(about: Parameter) -> str:
    return about.default if about.default == "required" else f"default {about.default}"


def _loop_type(name: str) -> Section:
    typical = LOOP_TYPES[name]
    loop = template(name, f"{typical.letters}101", (0.0, 100.0))
    controller = tuned(loop, 1.0)
    rows: list[Row] = []
    lines = ["[[loop]]", f'id = "{loop.id}"', f'type = "{name}"', "range = [0.0, 100.0]", "sp = 50.0"]
    for part in ("process", "sensor", "disturbance"):
        spec = getattr(loop, part)
        lines += ["", f"[loop.{part}]"]
        for item in fields(spec):
            value, about = getattr(spec, item.name), item.metadata["parameter"]
            if value == ():
                continue
            if (part, item.name, loop.process.model) == ("process", "gain", "integrator"):
                about = replace(about, unit="%/s/%")
            rows.append(Row(f"{part}.{item.name}", about.meaning, _range(about), f"default {_toml(value)}"))
            lines.append(f"{item.name} = {_toml(value)}")
    note = f"so tuned by \"lambda\": gain {controller.gain:.3g} %/%, reset {controller.reset:.3g} s"
    return Section(name, typical.letters, typical.meaning, tuple(rows), "\n".join(lines), note)


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return _toml(value[0]) if len(value) == 1 else f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else repr(value)
