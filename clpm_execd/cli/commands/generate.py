"""`generate`: a time range in batch mode, as fast as possible."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import build_encoder, build_source, count_samples, fast_startup, load_time_range
from clpm_execd.cli.options import (
    SOURCE_OPTIONS,
    add_command,
    add_shared_options,
    add_time_range,
    output_file,
    refuse_unused,
)
from clpm_execd.problems import BadInput, Problem
from clpm_execd.runtime.os_signals import Signals

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands
    from clpm_execd.control.journal import JournalContents

FORMATS = ("lp", "csv", "wide")


def add(commands: Commands) -> None:
    command = add_command(
        commands, "generate", "write a time range in batch mode (faster than real time)",
        examples=["clpm-execd generate --duration 10m --format wide",
                  "clpm-execd generate --start 2025-01-10T10:05:00Z --duration 24h --output day.csv.gz"])
    add_shared_options(command, "source", *SOURCE_OPTIONS)
    add_shared_options(command, "runtime", "--env-file")
    add_time_range(command)
    command.add_argument_group("control").add_argument(
        "--journal", metavar="FILE", default=argparse.SUPPRESS,
        help="repeat what was changed in a stream, from its start: `journal` in its --state (default none)")
    group = command.add_argument_group("output")
    group.add_argument("--output", metavar="FILE", type=output_file,
                       help="output file, compressed if it ends in .gz (default -, stdout)")
    group.add_argument("--format", choices=FORMATS, help="line protocol, long or wide CSV (default by the suffix of "
                                                         "the file, else lp)")
    command.set_defaults(run=run, journal=None)


def _read_journal(arguments: argparse.Namespace) -> JournalContents | None:
    if arguments.journal is None:
        return None
    from clpm_execd.control.journal import read_journal

    if arguments.replay:
        refuse_unused(arguments, ["--journal"], "with --replay, which has no plant to change")
    try:
        return read_journal(Path(arguments.journal))
    except FileNotFoundError:
        where = f"--journal {arguments.journal}"
        raise BadInput([Problem(where, "does not exist", "name the file `journal` in a state folder")]) from None


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Write the time range; return the exit status."""
    suffixes = arguments.output.suffixes if arguments.output else []
    form = arguments.format or ("wide" if ".wide" in suffixes else "csv" if ".csv" in suffixes else "lp")
    with fast_startup():
        from clpm_execd.outputs import generate

        configuration, duration = load_time_range(arguments)
        journal = _read_journal(arguments)
        if journal and configuration.start is None and not arguments.start:
            configuration = replace(configuration, start=journal.start)
        source = build_source(arguments, configuration, journal=journal.entries if journal else None).source
        encoder = build_encoder(form, source, configuration)
    samples = count_samples(source, duration)
    return generate.run(source, encoder, samples, output=arguments.output, signals=signals)
