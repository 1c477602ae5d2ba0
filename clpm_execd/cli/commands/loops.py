"""`loops`: the loop sheet, which a monitor of control loops needs before the first sample."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import load_configuration, load_settings
from clpm_execd.cli.options import add_command, add_shared_options, parse_output_path
from clpm_execd.paths import COMPRESSED_SUFFIXES
from clpm_execd.problems import BadInput, Problem
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.units import SECOND

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands

FORMATS = ("table", "csv", "json", "lp")
_FORMAT_BY_SUFFIX = {"": "table", ".txt": "table", ".csv": "csv", ".json": "json", ".lp": "lp"}


def add(commands: Commands) -> None:
    command = add_command(
        commands, "loops", "list the loops with units, ranges, cascades, controller settings and sampling",
        examples=["clpm-execd loops --config loops.toml", "clpm-execd loops --config loops.toml --output loops.csv",
                  "clpm-execd loops --config loops.toml --format lp"])
    add_shared_options(command, "source", "--config", "--interval", "--shard")
    add_shared_options(command, "runtime", "--env-file")
    group = command.add_argument_group("output")
    group.add_argument("--output", metavar="FILE", type=parse_output_path,
                       help="output file, compressed if it ends in .gz or .zst (default -, stdout)")
    group.add_argument("--format", choices=FORMATS, help="aligned text, CSV, JSON, or line protocol (default by the "
                                                         "suffix of the file, else table)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Write the loop sheet; return the exit status."""
    from clpm_execd.config.output import LOOP_SHEET
    from clpm_execd.encoding import sheet_formats
    from clpm_execd.outputs.generate import open_output
    from clpm_execd.plant.loop_sheet import make_loop_sheet

    configuration = load_configuration(arguments, load_settings(arguments))
    output = configuration.output
    rows = make_loop_sheet(configuration.loops, configuration.interval or SECOND, configuration.scan, output.modes)
    form = arguments.format or _format_by_suffix(arguments.output)
    if form == "lp":
        start = time.time_ns() if configuration.start is None else configuration.start
        text = sheet_formats.format_sheet_as_line_protocol(rows, output.info or LOOP_SHEET, output.tags, start)
    elif form == "json":
        text = sheet_formats.format_sheet_as_json(rows)
    else:
        text = sheet_formats.format_sheet_as_csv(rows) if form == "csv" else sheet_formats.format_sheet_as_table(rows)
    with open_output(arguments.output, signals) as file:
        file.write(text.encode())
    return 0


def _format_by_suffix(output: Path | None) -> str:
    """Return the format by the suffix of a file, before that of its compression; without one it is a table."""
    suffixes = [suffix for suffix in output.suffixes if suffix not in COMPRESSED_SUFFIXES] if output else []
    suffix = suffixes[-1] if suffixes else ""
    if suffix not in _FORMAT_BY_SUFFIX:
        remedy = "name a file *.txt, *.csv, *.json or *.lp, or give --format"
        raise BadInput([Problem(f"--output {output}", f"unknown suffix {suffix}", remedy)])
    return _FORMAT_BY_SUFFIX[suffix]
