"""The tables of README.md that are the program's own: `python tests/doc_tables.py` writes them anew."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from clpm_execd.cli.parser import parser
from clpm_execd.cli.slips import STREAM, parsers
from clpm_execd.config.settings import ENVIRONMENT, OPTIONS
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.types import LOOP_TYPES

README = Path(__file__).parent.parent / "README.md"


def _rows(*rows: tuple[str, ...]) -> str:
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def commands() -> str:
    whole = parser()
    [action] = [action for action in whole._actions if isinstance(action, argparse._SubParsersAction)]
    told = {choice.dest: choice.help or "" for choice in action._choices_actions}
    return _rows(("command", "does"), ("`clpm-execd`", "stream to stdout: run by Telegraf, or by hand"),
                 ("`clpm-execd --direct`", "stream into InfluxDB through influxdb-client"),
                 *((f"`clpm-execd {name}`", what) for name, what in told.items()))


def settings() -> str:
    """Everything that can be set for a stream; an environment variable and its option in one row."""
    variables = {option: name for name, option in OPTIONS.items()}
    rows = [(f"`{name}`", "", default, meaning) for name, (default, meaning) in ENVIRONMENT.items()]
    for action in parsers(parser())[STREAM]._actions:
        if not action.option_strings or action.dest in ("help", "version"):
            continue
        name = action.option_strings[-1]
        meaning, _, default = (action.help or "").partition(" (default ")
        variable = f"`{variables[name]}`" if name in variables else ""
        rows.append((variable, f"`{name}`", default.removesuffix(")"), meaning))
    return _rows(("environment", "option", "default", "meaning"), *rows)


def loop_types() -> str:
    rows = []
    for name, typical in LOOP_TYPES.items():
        process = typical.process
        lags = " and ".join(f"{tau:g} s" for tau in process.tau) or "integrating"
        unit = "%/s/%" if process.model == "integrator" else "%/%"
        rows.append((f"`{name}`", typical.letters, typical.meaning, f"{process.gain:g} {unit}", lags,
                     f"{process.dead_time:g} s", f"{typical.sensor.noise:g} % of span"))
    return _rows(("type", "letters", "is", "gain", "lags", "dead time", "noise"), *rows)


def faults() -> str:
    rows = []
    for kind in FAULTS.values():
        given = (f"`{name}` {about.default} {about.unit}".strip() for name, about in kind.parameters.items())
        rows.append((f"`{kind.name}`", kind.group, kind.meaning, ", ".join(given)))
    return _rows(("kind", "group", "what it does", "parameters, with their defaults"), *rows)


TABLES: dict[str, Callable[[], str]] = {
    "commands": commands, "settings": settings, "loop types": loop_types, "faults": faults}


def with_tables(text: str) -> str:
    """The text with each table as it should be, found by its first line."""
    for table in TABLES.values():
        wanted = table()
        head = re.escape(wanted.splitlines()[0])
        text = re.sub(rf"^{head}\n(\|.*\n)*", lambda _, wanted=wanted: wanted + "\n", text, flags=re.MULTILINE)
    return text


if __name__ == "__main__":
    sys.exit(README.write_text(with_tables(README.read_text())) and 0)
