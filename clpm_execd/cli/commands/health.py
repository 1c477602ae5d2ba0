"""`health`: whether the direct writer of a state folder gets its points acknowledged; for the check of a container."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import settings_of
from clpm_execd.cli.options import add_command, add_runtime_options, show
from clpm_execd.problems import BadInput, Problem
from clpm_execd.runtime.os_signals import Signals

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands


def add(commands: Commands) -> None:
    command = add_command(commands, "health", "whether --direct gets its points acknowledged: status 0, else 1",
                          examples=["clpm-execd health --state /var/lib/clpm-execd"])
    add_runtime_options(command, "--env-file", "--state")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Say how it is; 0 is well, 1 is not."""
    from clpm_execd.delivery.health import last_acknowledged

    folder = settings_of(arguments).state
    if folder is None:
        remedy = "name the state folder of the stream, or set CLPM_STATE"
        raise BadInput([Problem("--state", "no folder is given", remedy)])
    found = last_acknowledged(folder)
    if found is None:
        show(f"ill: nothing has been acknowledged yet, says {folder}\n")
        return 1
    age = time.time() - found.when
    well = age <= found.fresh_for
    show(f"{'well' if well else 'ill'}: points were last acknowledged {age:.0f} s ago\n")
    return 0 if well else 1
