"""`check`: every problem of settings, loops and, with --direct, the server."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import configuration_of, encoder_for, settings_of, source_of
from clpm_execd.cli.options import add_command, add_loop_options, add_runtime_options, refuse_unused, show
from clpm_execd.cli.terminal import coloured, show_loops
from clpm_execd.problems import BadInput, Problem
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.units import SECOND

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands
    from clpm_execd.config.settings import Settings
    from clpm_execd.influx.server_check import Found


def add(commands: Commands) -> None:
    command = add_command(commands, "check", "every problem of the configuration at once",
                          examples=["clpm-execd check --config loops.toml", "clpm-execd check --direct",
                                    "clpm-execd check --direct --backfill 7d"])
    add_loop_options(command)
    add_runtime_options(command, "--env-file")
    command.add_argument("--direct", action="store_true", default=argparse.SUPPRESS,
                         help="the server too: token, organization, bucket, its retention and clock")
    command.add_argument("--backfill", metavar="D", default=argparse.SUPPRESS,
                         help="whether the bucket would keep so much of the past (default none)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Tell them all, or that there is none; the exit status."""
    if not arguments.direct:
        refuse_unused(arguments, ["--backfill"], "without --direct")
    problems: list[Problem] = []
    warnings: list[str] = []
    try:
        settings = settings_of(arguments)
    except BadInput as bad:
        problems += bad.problems
        settings = None
    try:
        configuration = configuration_of(arguments, settings)
        encoder_for("lp", source_of(arguments, configuration)[0], configuration)
    except BadInput as bad:
        problems += (problem for problem in bad.problems if problem not in problems)
    if settings is not None and arguments.direct:
        server = _server(arguments, settings)
        problems += server.problems
        warnings += server.warnings
    if problems:
        raise BadInput(problems)
    where = f" and {settings.url} takes them" if settings and arguments.direct else ""
    warnings = [*(settings.warnings() if settings else ()), *warnings]
    said = [f"ok: {len(configuration.loops)} loops{where}", *(f"warning: {warning}" for warning in warnings)]
    status = show("".join(f"{line}\n" for line in said))
    if coloured(sys.stdout):
        show_loops(configuration.loops)
    return status


def _server(arguments: argparse.Namespace, settings: Settings) -> Found:
    from clpm_execd.cli.resume import backfill_of
    from clpm_execd.influx.server_check import Found, check_server

    try:
        backfill = backfill_of(arguments) // SECOND
        connection = settings.require_connection()
    except BadInput as bad:
        return Found(bad.problems)
    return check_server(connection.url, connection.token.reveal(), connection.org, connection.bucket,
                        backfill=backfill)
