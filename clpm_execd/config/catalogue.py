"""What there is to choose from, as text: kinds of faults and types of loops, each with an example that can be pasted.

A section begins with its name, alone on a line, and ends with TOML. All of it is read from the tables that the plant
itself and the checks read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from math import isinf

from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.faults.kinds import FaultKind
from clpm_execd.plant.loop import Parameter
from clpm_execd.plant.tuning import tuned
from clpm_execd.plant.types import LOOP_TYPES, template
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


def faults(names: Sequence[str] = ()) -> str:
    """The kinds named, or all of them. Raises BadInput for one that is not there."""
    return _chosen(_FAULTS, {name: _fault(kind) for name, kind in FAULTS.items()}, names, "fault")


def loop_types(names: Sequence[str] = ()) -> str:
    """The types named, or all of them. Raises BadInput for one that is not there."""
    return _chosen(_TYPES, {name: _loop_type(name) for name in LOOP_TYPES}, names, "loop type")


def _chosen(head: str, sections: Mapping[str, str], names: Sequence[str], what: str) -> str:
    problems = [Problem(name, f"is no {what}", did_you_mean(name, list(sections)))
                for name in names if name not in sections]
    if problems:
        raise BadInput(problems)
    return "\n".join([sections[name] for name in names] if names else [head, *sections.values()])


def _fault(kind: FaultKind) -> str:
    lines = [kind.name, f"  {kind.group}: {kind.meaning}"]
    rows = [(name, f"{about.meaning}{_limits(about)}; {_default(about)}") for name, about in kind.parameters.items()]
    width = max((len(name) for name, _ in rows), default=0)
    lines += [f"  {name:<{width}}  {text}" for name, text in rows]
    return "\n".join([*lines, "", kind.example.strip(), ""])


def _limits(about: Parameter) -> str:
    """Unit and range of a parameter, in words."""
    unit = f" {about.unit}" if about.unit else ""
    if about.choices:
        return ": " + ", ".join(about.choices)
    if isinf(about.low) and isinf(about.high):
        return f", {unit.strip()}" if unit else ""
    if isinf(about.high):
        return f", {'more than' if about.above else 'at least'} {about.low:g}{unit}"
    if about.above:
        return f", more than {about.low:g}, at most {about.high:g}{unit}"
    return f", {about.low:g} to {about.high:g}{unit}"


def _default(about: Parameter) -> str:
    return about.default if about.default == "required" else f"default {about.default}"


def _loop_type(name: str) -> str:
    typical = LOOP_TYPES[name]
    loop = template(name, f"{typical.letters}101", (0.0, 100.0))
    controller = tuned(loop, 1.0)
    rows: dict[str, tuple[object, object, str]] = {}
    for part in ("process", "sensor", "disturbance"):
        spec = getattr(loop, part)
        for item in fields(spec):
            value = getattr(spec, item.name)
            if value != ():
                rows[f"{part}.{item.name}"] = (item.metadata["parameter"], value, part)
    lines = [name, f"  {typical.letters}: {typical.meaning}"]
    width = max(map(len, rows))
    for key, (about, value, _) in rows.items():
        assert isinstance(about, Parameter)
        unit = "%/s/%" if key == "process.gain" and loop.process.model == "integrator" else about.unit
        limits = _limits(replace(about, unit=unit))
        lines.append(f"  {key:<{width}}  {about.meaning}{limits}; default {_toml(value)}")
    lines.append(f"  so tuned by \"lambda\": gain {controller.gain:.3g} %/%, reset {controller.reset:.3g} s")
    lines += ["", "[[loop]]", f'id = "{loop.id}"', f'type = "{name}"', "range = [0.0, 100.0]", "sp = 50.0"]
    for part in ("process", "sensor", "disturbance"):
        lines += ["", f"[loop.{part}]"]
        lines += [f"{key.partition('.')[2]} = {_toml(value)}" for key, (_, value, of) in rows.items() if of == part]
    return "\n".join([*lines, ""])


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return _toml(value[0]) if len(value) == 1 else f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else repr(value)
