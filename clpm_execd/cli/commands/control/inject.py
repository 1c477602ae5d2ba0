"""`inject`: a fault starts in a loop of a running stream."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from clpm_execd.cli.commands.control import add_connection_options, parse_values, send
from clpm_execd.cli.options import add_command
from clpm_execd.runtime.os_signals import Signals

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands


def add(commands: Commands) -> None:
    command = add_command(
        commands, "inject", "start a fault in a running stream, at its next scan",
        examples=["clpm-execd inject FIC101 stiction --state state",
                  "clpm-execd inject FIC101 stiction S=5 J=2 --for 20m --ramp 5m --state state"])
    command.add_argument("loop", metavar="LOOP", help="id of the loop")
    command.add_argument("kind", metavar="KIND", help="kind of fault, see `clpm-execd faults`")
    command.add_argument("values", metavar="NAME=VALUE", nargs="*", default=[],
                         help="parameters of the fault, such as S=5 (default those of `clpm-execd faults`)")
    group = command.add_argument_group("time")
    group.add_argument("--for", metavar="D", dest="duration", default=argparse.SUPPRESS,
                       help="length of the fault (default until `clear`)")
    group.add_argument("--ramp", metavar="D", default=argparse.SUPPRESS,
                       help="time until it is at full severity (default at once)")
    add_connection_options(command)
    command.set_defaults(run=run, duration=None, ramp=None)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Send the request; return the exit status."""
    times = {key: value for key in ("duration", "ramp") if (value := getattr(arguments, key)) is not None}
    values = parse_values("inject", arguments.values, "S=5")
    return send(arguments, {"inject": {"loop": arguments.loop, "kind": arguments.kind, **values, **times}})
