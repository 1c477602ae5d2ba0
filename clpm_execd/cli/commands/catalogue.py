"""`faults` and `loop-types`: what there is, each with parameters, unit, range, default and an example."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from clpm_execd.cli.options import add_command, show
from clpm_execd.cli.terminal import coloured, show_catalogue
from clpm_execd.runtime.os_signals import Signals

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands
    from clpm_execd.config.descriptions import Catalogue


def add(commands: Commands) -> None:
    shown = (("faults", "the kinds of faults", _faults, "stiction bias"),
             ("loop-types", "the types of loops", _loop_types, "flow"))
    for name, what, run, some in shown:
        command = add_command(commands, name, f"{what}: parameters, units, ranges, examples",
                              examples=[f"clpm-execd {name}", f"clpm-execd {name} {some}"])
        command.add_argument("names", metavar="NAME", nargs="*", help="only these (default all)")
        command.set_defaults(run=run)


def _faults(arguments: argparse.Namespace, signals: Signals) -> int:
    from clpm_execd.config import descriptions as catalogue

    return _shown(catalogue.faults(arguments.names))


def _loop_types(arguments: argparse.Namespace, signals: Signals) -> int:
    from clpm_execd.config import descriptions as catalogue

    return _shown(catalogue.loop_types(arguments.names))


def _shown(found: Catalogue) -> int:
    return show_catalogue(found) if coloured(sys.stdout) else show(str(found))
