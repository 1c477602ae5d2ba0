"""`set`: what an operator or an engineer does with a loop of a running stream."""

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
        commands, "set", "set SP, OP, mode, gain or reset of a loop in a running stream",
        examples=["clpm-execd set TIC101 sp=185 --state state", "clpm-execd set FIC101 mode=MAN op=40 --state state",
                  "clpm-execd set FIC101 gain=2 reset=5 --state state"])
    command.add_argument("loop", metavar="LOOP", help="id of the loop")
    command.add_argument("values", metavar="NAME=VALUE", nargs="+",
                         help="sp (engineering units), op (%%, in MAN), mode (AUT, MAN, CAS), gain, reset (s)")
    add_connection_options(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Send the request; return the exit status. `status` shows the names of signals in capitals, so SP is sp too."""
    parts = (word.partition("=") for word in arguments.values)
    words = [f"{name.lower()}{equals}{value}" for name, equals, value in parts]
    return send(arguments, {"set": {"loop": arguments.loop, **parse_values("set", words, "sp=60")}})
