"""`health`: whether InfluxDB acknowledges the points of a --direct stream; the health check of a container."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import load_state_folder
from clpm_execd.cli.options import add_command, add_shared_options, print_text
from clpm_execd.runtime.os_signals import Signals

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands


def add(commands: Commands) -> None:
    command = add_command(
        commands, "health", "health check of --direct: exit status 0 if recent writes were acknowledged, else 1",
        examples=["clpm-execd health --state /var/lib/clpm-execd"])
    add_shared_options(command, "runtime", "--env-file", "--state")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Print healthy or unhealthy, and why; return exit status 0 or 1."""
    from clpm_execd.delivery.health import read_last_acknowledgement

    folder = load_state_folder(arguments)
    acknowledgement = read_last_acknowledgement(folder)
    if acknowledgement is None:
        print_text(f"unhealthy: no write acknowledged yet ({folder})\n")
        return 1
    now = time.time()
    is_healthy = acknowledgement.is_recent(now)
    state = "healthy" if is_healthy else "unhealthy"
    age = now - acknowledgement.time
    text = f"{age:.0f} s ago" if age > -1.0 else f"{-age:.0f} s ahead of the clock, which was set back"
    print_text(f"{state}: last write acknowledged {text}\n")
    return 0 if is_healthy else 1
