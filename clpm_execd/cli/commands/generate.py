"""`generate`: a stretch of time at full speed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import encoder_for, source_of, starting, stretch_of
from clpm_execd.cli.options import add_command, add_loop_options, add_runtime_options, output_file
from clpm_execd.runtime.os_signals import Signals

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands

FORMATS = ("lp", "csv", "wide")


def add(commands: Commands) -> None:
    command = add_command(
        commands, "generate", "the same plant as fast as possible, to stdout or a file",
        examples=["clpm-execd generate --duration 10m --format wide",
                  "clpm-execd generate --start 2025-01-10T10:05:00Z --duration 24h --output day.csv.gz"])
    add_loop_options(command)
    add_runtime_options(command, "--env-file")
    group = command.add_argument_group("the stretch")
    group.add_argument("--start", metavar="T", help="first instant, such as 2025-01-10T10:05:00Z (default the start "
                                                    "in loops.toml, else now)")
    group.add_argument("--duration", metavar="D", default="1h", help="how long it is (default 1h)")
    group.add_argument("--output", metavar="FILE", type=output_file, help="a file; .gz compresses (default -, stdout)")
    group.add_argument("--format", choices=FORMATS, help="line protocol, long or wide CSV (default by the file's "
                                                         "suffix, else lp)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Write the stretch; the exit status."""
    suffixes = arguments.output.suffixes if arguments.output else []
    form = arguments.format or ("wide" if ".wide" in suffixes else "csv" if ".csv" in suffixes else "lp")
    with starting():
        from clpm_execd.outputs import generate as bulk

        configuration, duration = stretch_of(arguments)
        source, _ = source_of(arguments, configuration)
        encoder = encoder_for(form, source, configuration)
    samples = -(-duration // source.interval)
    return bulk.run(source, encoder, samples, output=arguments.output, signals=signals)
