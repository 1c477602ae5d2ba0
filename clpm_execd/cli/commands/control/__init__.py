"""The commands that change a running stream, or show its state. Each sends one request to its control socket."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clpm_execd.cli.assembly import load_state_folder
from clpm_execd.cli.options import add_shared_options, print_text
from clpm_execd.problems import BadInput, Problem

# What requests call the arguments and options of the commands.
_REMEDIES = {"loop": "give the id of the loop before them", "kind": "give the kind of fault before them",
             "duration": "give --for 5m", "ramp": "give --ramp 5m"}


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which stream is meant."""
    add_shared_options(parser, "stream", "--env-file", "--state", "--control")


def send(arguments: argparse.Namespace, request: Mapping[str, Any]) -> int:
    """Send a request to the stream that the options name, print its answer, and return the exit status."""
    from clpm_execd.control.request import send_request
    from clpm_execd.control.socket_path import has_unix_sockets
    from clpm_execd.stored_names import SOCKET_FILE

    if not has_unix_sockets():
        what = "live control needs Unix sockets, which Python does not have on this platform"
        raise BadInput([Problem(arguments.command, what, "write the change into loops.toml")])
    path = Path(arguments.control) if arguments.control else load_state_folder(arguments) / SOCKET_FILE
    return print_text(send_request(path, request))


def parse_values(command: str, words: Sequence[str], example: str) -> dict[str, str]:
    """Return the values of words such as the example, `S=5`; raise BadInput with each that is none.

    What the command has an argument or an option for is none: it would take the place of that.
    """
    problems = [Problem(f"{command} {word}", "is not a value", f"write it as NAME=VALUE, such as {example}")
                for word in words if not word.partition("=")[0] or "=" not in word]
    names = [word.partition("=")[0] for word in words]
    problems += [Problem(f"{command} {name}", "is given twice", "give it once")
                 for name in dict.fromkeys(names) if names.count(name) > 1]
    problems += [Problem(f"{command} {name}", "is not among the values", _REMEDIES[name])
                 for name in dict.fromkeys(names) if name in _REMEDIES]
    if problems:
        raise BadInput(problems)
    return {name: value for name, _, value in (word.partition("=") for word in words)}
