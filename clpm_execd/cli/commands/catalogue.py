"""`faults` and `loop-types`: the catalogue, each entry with its parameters, units, ranges, defaults and an example."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from clpm_execd.cli.options import add_command, print_text
from clpm_execd.cli.terminal import is_colour_terminal, print_catalogue
from clpm_execd.runtime.os_signals import Signals

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands
    from clpm_execd.config.descriptions import Catalogue


def add(commands: Commands) -> None:
    for name, entries, run, example in (("faults", "fault kinds", _faults, "stiction bias"),
                                        ("loop-types", "loop types", _loop_types, "flow")):
        command = add_command(commands, name, f"list {entries} with parameters, units, ranges and examples",
                              examples=[f"clpm-execd {name}", f"clpm-execd {name} {example}"])
        command.add_argument("names", metavar="NAME", nargs="*", help=f"{entries} to list (default all)")
        command.set_defaults(run=run)


def _faults(arguments: argparse.Namespace, signals: Signals) -> int:
    from clpm_execd.config.descriptions import describe_fault_kinds

    return _print(describe_fault_kinds(arguments.names))


def _loop_types(arguments: argparse.Namespace, signals: Signals) -> int:
    from clpm_execd.config.descriptions import describe_loop_types

    return _print(describe_loop_types(arguments.names))


def _print(entries: Catalogue) -> int:
    return print_catalogue(entries) if is_colour_terminal(sys.stdout) else print_text(str(entries))
