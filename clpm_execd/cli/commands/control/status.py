"""`status`: what a running stream does, which faults it has, or the values of one of its loops."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from clpm_execd.cli.commands.control import add_connection_options, send
from clpm_execd.cli.options import add_command
from clpm_execd.runtime.os_signals import Signals

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands


def add(commands: Commands) -> None:
    command = add_command(
        commands, "status", "show the faults of a running stream, or the values and settings of a loop",
        examples=["clpm-execd status --state state", "clpm-execd status FIC101 --state state"])
    command.add_argument("loop", metavar="LOOP", nargs="?", help="id of a loop (default the whole stream)")
    add_connection_options(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Send the request; return the exit status."""
    return send(arguments, {"status": {} if arguments.loop is None else {"loop": arguments.loop}})
