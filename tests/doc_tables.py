"""The tables of the documentation that are made from the program's own tables.

`python tests/doc_tables.py` writes all of them. A table is found in its page by its first line.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import Field, fields, is_dataclass
from math import isinf
from pathlib import Path

from power.mutants import MUTANTS

from clpm_execd.benchmark.judging import Row, Value
from clpm_execd.benchmark.results import read_results
from clpm_execd.benchmark.suite import list_suites, load_suite
from clpm_execd.cli.parser import build_parser
from clpm_execd.cli.typo_hints import STREAM, list_parsers
from clpm_execd.config.settings import ENVIRONMENT, OPTIONS
from clpm_execd.monitors.detectors import MONITORS
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.loop_types import LOOP_TYPES
from clpm_execd.plant.specs import LoopSpec, Parameter
from clpm_execd.units import SECOND, describe_duration

ROOT = Path(__file__).parent.parent
_FAULTY_SUITES = ("pairs-1", "refinery-1", "plantwide-1", "datapath-1", "drift-1")


def _table(*rows: tuple[str, ...]) -> str:
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def commands() -> str:
    """Every command with its help text."""
    [action] = [action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return _table(("command", "does"), ("`clpm-execd`", "stream to stdout: run by Telegraf, or by hand"),
                  ("`clpm-execd --direct`", "stream to InfluxDB, without Telegraf"),
                  *((f"`clpm-execd {choice.dest}`", choice.help or "") for choice in action._choices_actions))


def settings() -> str:
    """Every setting of a stream; an environment variable and its option in one row."""
    variables = {option: name for name, option in OPTIONS.items()}
    rows = [(f"`{name}`", "", default, meaning) for name, (default, meaning) in ENVIRONMENT.items()]
    for action in list_parsers(build_parser())[STREAM]._actions:
        if not action.option_strings or action.dest in ("help", "version") or action.help == argparse.SUPPRESS:
            continue
        name = action.option_strings[-1]
        meaning, _, default = (action.help or "").partition(" (default ")
        variable = f"`{variables[name]}`" if name in variables else ""
        rows.append((variable, f"`{name}`", default.removesuffix(")"), meaning))
    return _table(("environment", "option", "default", "meaning"), *rows)


def loop_types() -> str:
    """Every loop type with its process, its measurement noise and its load disturbance."""
    rows = []
    for name, typical in LOOP_TYPES.items():
        process, load = typical.process, typical.disturbance
        time_constants = " and ".join(f"{tau:g} s" for tau in process.tau) or "integrating"
        unit = "%PV/s/%OP" if process.model == "integrator" else "%PV/%OP"
        rows.append((f"`{name}`", typical.letters, typical.description, f"{process.gain:g} {unit}", time_constants,
                     f"{process.dead_time:g} s", f"{typical.sensor.noise:g} % of span",
                     f"{load.sigma:g} % of travel, {load.correlation:g} s"))
    return _table(("type", "letters", "description", "gain", "time constants", "dead time", "noise",
                   "load: standard deviation, correlation time"), *rows)


def faults() -> str:
    """Every kind of fault with its parameters."""
    rows = []
    for kind in FAULTS.values():
        parameters = (f"`{name}` {about.default} {about.unit}".strip() for name, about in kind.parameters.items())
        rows.append((f"`{kind.name}`", kind.group, kind.description, ", ".join(parameters)))
    return _table(("kind", "group", "what it does", "parameters and defaults"), *rows)


def loop_keys() -> str:
    """Every key of a `[[loop]]` table and of the tables inside it."""
    return _table(("key", "default", "unit, limits or choices", "meaning"),
                  ("`id`", "required", "", "value of the tag loop_id"),
                  ("`count`", "1", "1 to 100000", "number of loops made from this table"),
                  *_keys(LoopSpec, ""))


def _keys(spec: type, prefix: str) -> Iterator[tuple[str, ...]]:
    for item in fields(spec):  # type: ignore[arg-type]
        if "parameter" in item.metadata:
            about = item.metadata["parameter"]
            default = _toml(item.default) if about.default == repr(item.default) else about.default
            yield f"`{prefix}{item.name}`", default, _limits(about), about.description
        elif (inner := _inner_spec(item)) is not None:
            yield from _keys(inner, f"{prefix}{item.name}.")


def _inner_spec(item: Field[object]) -> type | None:
    """The dataclass of an inner table, such as `[loop.process]`; None for other fields."""
    default = item.default_factory() if callable(item.default_factory) else None
    return type(default) if is_dataclass(default) else None


def _toml(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return {"False": "false", "True": "true"}.get(str(value), str(value))


def _limits(about: Parameter) -> str:
    """Unit and limits, or the choices."""
    if about.choices:
        return ", ".join(f"`{choice}`" for choice in about.choices)
    limits = ""
    if isinf(about.high) and not isinf(about.low):
        limits = f"{'greater than' if about.is_low_excluded else 'at least'} {about.low:,g}"
    elif not isinf(about.low):
        limits = f"{'greater than ' if about.is_low_excluded else ''}{about.low:,.10g} to {about.high:,.10g}"
    return ", ".join(filter(None, (about.unit, limits)))


def suites() -> str:
    """Every suite."""
    rows = []
    for name in list_suites():
        suite = load_suite(name)
        configuration = suite.read()
        interval = describe_duration(configuration.interval or SECOND)
        rows.append((f"`{name}`", str(len(configuration.loops)), describe_duration(suite.duration), interval,
                     "draft" if suite.is_draft else f"`{suite.sha256['samples']}`", suite.title))
    return _table(("suite", "loops", "duration", "interval", "sha256 of the samples", "content"), *rows)


def monitors() -> str:
    """Every reference monitor."""
    return _table(("reference monitor", "method", "finds"), *(
        (f"`{monitor.name}`", monitor.reference, ", ".join(monitor.faults)) for monitor in MONITORS.values()))


def _results(title: str, value: Callable[[Row], Value], suites: Sequence[str]) -> str:
    """One score of every monitor in these suites; a dash where it is undefined or not measured."""
    results = read_results()
    cells = {(suite, row.monitor): str(value(row)) for suite in suites for row in results.get(suite, ())}
    return _table((title, *suites), *((f"`{name}`", *(cells.get((suite, name), "-") for suite in suites))
                                      for name in MONITORS))


def diagnosis_results() -> str:
    return _results("F1 by event", lambda row: row.f1, _FAULTY_SUITES)


def detection_results() -> str:
    return _results("F1 of detection", lambda row: row.detection_f1, _FAULTY_SUITES)


def root_cause_results() -> str:
    """F1 of root causes, of the monitors that name any."""
    suites, rows = ("plantwide-1", "refinery-1"), read_results()
    cells = {(suite, row.monitor): row.root_cause_f1 for suite in suites for row in rows.get(suite, ())}
    return _table(("F1 of root causes", *suites), *(
        (f"`{name}`", *(str(cells[suite, name]) for suite in suites)) for name in MONITORS
        if any(value.value is not None for (_, monitor), value in cells.items() if monitor == name)))


def false_alarm_results() -> str:
    return _results("false alarms per loop-day", lambda row: row.false_alarms, ("quiet-1", "refinery-1", "datapath-1"))


def stiction_results() -> str:
    """Balanced accuracies for stiction, of the monitors that look for it."""
    rows = {(suite, row.monitor): row for suite, each in read_results().items() for row in each}
    names = [name for name, monitor in MONITORS.items() if "stiction" in monitor.faults]

    def cell(suite: str, name: str, value: Callable[[Row], Value]) -> str:
        return str(value(rows[suite, name])) if (suite, name) in rows else "-"

    return _table(("balanced accuracy for stiction", "pairs-1, against external oscillation",
                   "pairs-1, against aggressive tuning", "refinery-1, against all else"), *(
        (f"`{name}`", cell("pairs-1", name, lambda row: row.against_external),
         cell("pairs-1", name, lambda row: row.against_aggressive),
         cell("refinery-1", name, lambda row: row.stiction_accuracy)) for name in names))


def mutants() -> str:
    """What is taken out of the program, one by one, to see whether the tests of power loss notice it."""
    return _table(("taken out", "file", "noticed by the run"), *(
        (mutant.what, f"`{mutant.file}`", mutant.scenario) for mutant in MUTANTS))


TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "commands": ("README.md", commands),
    "settings": ("clpm_execd/docs/settings.md", settings),
    "loop types": ("clpm_execd/docs/loop-types.md", loop_types),
    "faults": ("clpm_execd/docs/faults.md", faults),
    "loop keys": ("clpm_execd/docs/loops-file.md", loop_keys),
    "suites": ("clpm_execd/docs/benchmark.md", suites),
    "monitors": ("clpm_execd/docs/benchmark.md", monitors),
    "results: diagnosis": ("clpm_execd/docs/benchmark.md", diagnosis_results),
    "results: detection": ("clpm_execd/docs/benchmark.md", detection_results),
    "results: stiction": ("clpm_execd/docs/benchmark.md", stiction_results),
    "results: root causes": ("clpm_execd/docs/benchmark.md", root_cause_results),
    "results: false alarms": ("clpm_execd/docs/benchmark.md", false_alarm_results),
    "mutants": ("clpm_execd/docs/delivery.md", mutants),
}


def write_tables() -> None:
    """Write each table into its page, in place of the table with the same first line."""
    for page, make in TABLES.values():
        table = make()
        first_line = re.escape(table.splitlines()[0])
        text = (ROOT / page).read_text()
        updated, count = re.subn(rf"^{first_line}\n(\|.*\n)*", lambda _, table=table: table + "\n", text,
                                 flags=re.MULTILINE)
        assert count == 1, f"{page} has {count} tables that begin with {table.splitlines()[0]}"
        (ROOT / page).write_text(updated)


if __name__ == "__main__":
    write_tables()
