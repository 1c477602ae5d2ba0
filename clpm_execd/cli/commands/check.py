"""`check`: all errors of the settings, the loops and, with --direct, the connection to InfluxDB."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import build_encoder, build_source, load_configuration, load_settings
from clpm_execd.cli.options import SOURCE_OPTIONS, add_command, add_shared_options, print_text, refuse_unused
from clpm_execd.cli.terminal import is_colour_terminal, print_loops
from clpm_execd.paths import is_folder
from clpm_execd.problems import BadInput, Problem
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.units import SECOND, describe_count

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands
    from clpm_execd.config.settings import Settings
    from clpm_execd.influx.server_check import ServerCheck

_DAMAGE_SHOWN = 5  # files by name; the others are counted


def add(commands: Commands) -> None:
    command = add_command(commands, "check", "validate the configuration and list all errors",
                          examples=["clpm-execd check --config loops.toml", "clpm-execd check --direct",
                                    "clpm-execd check --direct --backfill 7d"])
    add_shared_options(command, "source", *SOURCE_OPTIONS)
    add_shared_options(command, "runtime", "--env-file", "--state")
    group = command.add_argument_group("server")
    group.add_argument("--direct", action="store_true", default=argparse.SUPPRESS,
                       help="check the server too: token, organization, bucket, retention and clock")
    group.add_argument("--backfill", metavar="D", default=argparse.SUPPRESS,
                       help="check that the bucket retains a backfill of this length (default none)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Print ok and all warnings, or raise BadInput with all errors; return the exit status."""
    if not arguments.direct:
        refuse_unused(arguments, ["--backfill"], "without --direct")
    problems: list[Problem] = []
    warnings: list[str] = []
    server_name = ""
    try:
        settings = load_settings(arguments)
    except BadInput as bad:
        problems += bad.problems
        settings = None
    try:
        configuration = load_configuration(arguments, settings)
        build_encoder("lp", build_source(arguments, configuration).source, configuration)
    except BadInput as bad:
        problems += (problem for problem in bad.problems if problem not in problems)
    if settings is not None and settings.state is not None:
        state_problems, state_warnings = _check_state(settings.state)
        problems += state_problems
        warnings += state_warnings
    if settings is not None and arguments.direct:
        server = _check_server(arguments, settings)
        problems += server.problems
        warnings += server.warnings
        server_name = server.server
    if problems:
        raise BadInput(problems)
    where = f", {settings.url} accepts writes" if settings and arguments.direct else ""
    where += f" ({server_name})" if server_name else ""
    warnings = [*(settings.warnings() if settings else ()), *warnings]
    lines = [f"ok: {describe_count(len(configuration.loops), 'loop')}{where}",
             *(f"warning: {warning}" for warning in warnings)]
    status = print_text("".join(f"{line}\n" for line in lines))
    if is_colour_terminal(sys.stdout):
        print_loops(configuration.loops)
    return status


def _check_state(state: Path) -> tuple[list[Problem], list[str]]:
    """Return what is wrong with the state folder, and which files in it are damaged; it may not exist yet."""
    from clpm_execd.delivery.verification import verify_state

    try:
        state.stat()
        if not is_folder(state):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        damage = verify_state(state).damage
    except FileNotFoundError:
        return [], []
    except NotADirectoryError as error:
        return [Problem(f"--state {state}", f"cannot be used: {error.strerror}", "name a folder")], []
    except OSError as error:
        return [], [f"--state {state}: cannot be read by this user: {error.strerror}; check as the user of the stream"]
    more = [f"{len(damage) - _DAMAGE_SHOWN} more damaged files: see `clpm-execd spool verify --state {state}`"]
    return [], [*(f"damaged file {one}" for one in damage[:_DAMAGE_SHOWN]), *(more if damage[_DAMAGE_SHOWN:] else ())]


def _check_server(arguments: argparse.Namespace, settings: Settings) -> ServerCheck:
    from clpm_execd.cli.resume import parse_backfill
    from clpm_execd.config.output import MEASUREMENT
    from clpm_execd.influx.server_check import ServerCheck, check_server

    try:
        backfill_seconds = parse_backfill(arguments) // SECOND
        connection = settings.require_connection()
    except BadInput as bad:
        return ServerCheck(bad.problems)
    return check_server(connection.url, connection.token.reveal(), connection.org, connection.bucket,
                        backfill=backfill_seconds, measurement=settings.measurement or MEASUREMENT,
                        timeout=settings.timeout / SECOND)
