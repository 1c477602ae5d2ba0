"""`faults` and `loop-types`: what there is, each with parameters, unit, range, default and an example."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from clpm_execd.cli.options import show
from clpm_execd.stream.signals import Signals

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands


def add(commands: Commands, shared: argparse.ArgumentParser) -> None:
    shown = (("faults", "the kinds of faults", _faults), ("loop-types", "the types of loops", _loop_types))
    for name, what, run in shown:
        command = commands.add_parser(name, allow_abbrev=False, help=f"{what}: parameters, units, ranges, examples")
        command.add_argument("names", metavar="NAME", nargs="*", help="only these")
        command.set_defaults(run=run)


def _faults(arguments: argparse.Namespace, signals: Signals) -> int:
    from clpm_execd.config import catalogue

    return show(catalogue.faults(arguments.names))


def _loop_types(arguments: argparse.Namespace, signals: Signals) -> int:
    from clpm_execd.config import catalogue

    return show(catalogue.loop_types(arguments.names))
