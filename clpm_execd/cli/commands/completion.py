"""`completion`: a script with which a shell completes commands, options and names.

The library shtab writes the whole script once. The shell then completes without running this program, which would start
Python at every press of the Tab key.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from clpm_execd.cli.options import add_command, print_text
from clpm_execd.cli.typo_hints import list_parsers
from clpm_execd.runtime.os_signals import Signals

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands

SHELLS = ("bash", "zsh")


def add(commands: Commands, parser: argparse.ArgumentParser) -> None:
    """Add the command. parser: that of the whole command line, which the script is made from."""
    command = add_command(
        commands, "completion", "print a completion script for bash or zsh",
        examples=['eval "$(clpm-execd completion bash)"        # in ~/.bashrc',
                  'eval "$(clpm-execd completion zsh)"         # in ~/.zshrc, after compinit'])
    command.add_argument("shell", choices=SHELLS, help="the shell")
    command.set_defaults(run=partial(run, parser))


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace, signals: Signals) -> int:
    """Print the script; return the exit status."""
    import shtab

    for name, command in list_parsers(parser).items():
        for action in command._actions:
            _set_completion(name, action)
    script = shtab.complete(parser, arguments.shell)
    # zsh finds a script by its file name; one that is evaluated instead must name the command that it completes.
    return print_text(script + ("compdef _shtab_clpm_execd clpm-execd\n" if arguments.shell == "zsh" else ""))


def _set_completion(command: str, action: argparse.Action) -> None:
    """Set what completes the value of an option or argument: a file, a log level or a name of the catalogue."""
    import shtab

    from clpm_execd.config.settings import LOG_LEVELS
    from clpm_execd.plant.faults import FAULTS
    from clpm_execd.plant.loop_types import LOOP_TYPES

    catalogue_names = {"faults": tuple(FAULTS), "loop-types": tuple(LOOP_TYPES)}
    if action.metavar in ("FILE", "CSV"):
        action.complete = shtab.FILE  # type: ignore[attr-defined]
    elif action.dest == "log_level":
        action.choices = LOG_LEVELS
    elif action.dest == "kind" and command in ("inject", "clear"):
        action.choices = tuple(FAULTS)
    elif action.dest == "names" and command in catalogue_names:
        action.choices = catalogue_names[command]
