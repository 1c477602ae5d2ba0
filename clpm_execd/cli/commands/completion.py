"""`completion`: what a shell needs to complete commands, options and names.

By a library that writes the whole script once: the shell completes without running this program, which would have
to start Python at each press of the key.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from clpm_execd.cli.options import add_command, show
from clpm_execd.cli.typo_hints import parsers
from clpm_execd.runtime.os_signals import Signals

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands

SHELLS = ("bash", "zsh")


def add(commands: Commands, whole: argparse.ArgumentParser) -> None:
    """whole: the parser of the whole command line, which the script is made of."""
    command = add_command(
        commands, "completion", "a script on stdout that lets bash or zsh complete the command line",
        examples=['eval "$(clpm-execd completion bash)"        # in ~/.bashrc',
                  'eval "$(clpm-execd completion zsh)"         # in ~/.zshrc, after compinit'])
    command.add_argument("shell", choices=SHELLS, help="the shell")
    command.set_defaults(run=partial(run, whole))


def run(whole: argparse.ArgumentParser, arguments: argparse.Namespace, signals: Signals) -> int:
    """Write it; the exit status."""
    import shtab

    for name, options in parsers(whole).items():
        for action in options._actions:
            _complete(name, action)
    script = shtab.complete(whole, arguments.shell)
    # Where a script is evaluated rather than found by its name, zsh is told whose completion it is.
    return show(script + ("compdef _shtab_clpm_execd clpm-execd\n" if arguments.shell == "zsh" else ""))


def _complete(command: str, action: argparse.Action) -> None:
    """Give an option what its value may be: a file, a level, a name of the catalogue."""
    import shtab

    from clpm_execd.config.settings import LEVELS
    from clpm_execd.plant.faults import FAULTS
    from clpm_execd.plant.loop_types import LOOP_TYPES

    named = {"faults": tuple(FAULTS), "loop-types": tuple(LOOP_TYPES)}
    if action.metavar in ("FILE", "CSV"):
        action.complete = shtab.FILE  # type: ignore[attr-defined]
    elif action.dest == "log_level":
        action.choices = LEVELS
    elif action.dest == "names" and command in named:
        action.choices = named[command]
