"""`clear`: faults of a loop of a running stream end."""

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
        commands, "clear", "end faults in a running stream, configured ones as well",
        examples=["clpm-execd clear FIC101 --state state", "clpm-execd clear FIC101 stiction --state state"])
    command.add_argument("loop", metavar="LOOP", help="id of the loop")
    command.add_argument("kind", metavar="KIND", nargs="?", help="kind of fault (default all)")
    add_connection_options(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Send the request; return the exit status."""
    kind = {} if arguments.kind is None else {"kind": arguments.kind}
    return send(arguments, {"clear": {"loop": arguments.loop, **kind}})
