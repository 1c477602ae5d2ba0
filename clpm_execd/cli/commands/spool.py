"""`spool`: what a state folder holds of points that --direct has not delivered, pending or rejected; its integrity."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import load_state_folder
from clpm_execd.cli.options import add_command, add_shared_options, parse_output_path, print_text, refuse_unused
from clpm_execd.paths import is_folder
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.units import SECOND, describe_count, format_time

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands
    from clpm_execd.delivery.inspection import Inventory

PENDING, QUARANTINE = "pending", "quarantine"
ALIASES = {"waiting": PENDING}  # the name in 0.1.0
_MESSAGES_SHOWN = 5  # messages of the server per incident
_LINE_CHARACTERS = 200  # of the line that is shown per incident


def add(commands: Commands) -> None:
    command = add_command(
        commands, "spool", "list, retry, export or verify points that --direct has not delivered",
        examples=("clpm-execd spool --state /var/lib/clpm-execd", "clpm-execd spool retry",
                  "clpm-execd spool export pending --output pending.lp",
                  "clpm-execd spool export quarantine --output rejected.lp",
                  "clpm-execd spool verify --state /var/lib/clpm-execd"))
    command.add_argument("action", choices=("list", "retry", "export", "verify"), nargs="?", default="list",
                         help="list the state folder, retry rejected lines, export lines, or verify that all files "
                              "are intact, with exit status 1 if not (default list)")
    command.add_argument("names", metavar="NAME", nargs="*",
                         help="incidents of the quarantine; to export, also 'pending' or 'quarantine' "
                              "(default to retry all incidents, and to export what is pending)")
    command.add_argument("--output", metavar="FILE", type=parse_output_path,
                         help="file for the export (default -, stdout)")
    add_shared_options(command, "runtime", "--env-file", "--state")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """List, retry, export or verify; return the exit status."""
    if arguments.action != "export":
        refuse_unused(arguments, ["--output"], f"on spool {arguments.action}")
    if arguments.action in ("list", "verify") and arguments.names:
        raise BadInput([Problem(f"spool {arguments.action}", "takes no names", "name incidents to retry or export")])
    state = load_state_folder(arguments)
    try:
        if not is_folder(state):
            raise BadInput([Problem(f"--state {state}", "is not a folder", "name the state folder of the stream")])
        return _ACTIONS[arguments.action](arguments, state, signals)
    except OSError as error:
        what = f"{error.filename or 'a file in it'}: {error.strerror}"
        remedy = "run as the user of the stream, who owns the folder, and check the free disk space"
        raise BadInput([Problem(f"--state {state}", what, remedy)]) from None


def _list(arguments: argparse.Namespace, state: Path, signals: Signals) -> int:
    from clpm_execd.delivery.inspection import take_inventory

    return print_text("".join(f"{line}\n" for line in _describe(take_inventory(state), time.time_ns())))


def _describe(inventory: Inventory, now: int) -> Iterator[str]:
    oldest = ""
    if inventory.oldest is not None:
        since = datetime.fromtimestamp(inventory.oldest / SECOND, timezone.utc).isoformat(timespec="seconds")
        oldest = f"; oldest {max(0, now - inventory.oldest) / SECOND:,.0f} s, since {since}"
    files = describe_count(inventory.files, "file")
    yield f"pending: {describe_count(inventory.points, 'point')} in {files}, {_format_size(inventory.size)}{oldest}"
    rejected = describe_count(sum(len(incident.lines) for incident in inventory.incidents), "line")
    yield f"quarantine: {rejected} in {describe_count(len(inventory.incidents), 'incident')}"
    for incident in inventory.incidents:
        yield f"  {incident.path.name}: {describe_count(len(incident.lines), 'line')}"
        yield from (f"    {message}" for message in incident.messages[:_MESSAGES_SHOWN])
        if incident.lines:
            yield f"    first line: {incident.lines[0].decode('utf-8', 'replace').strip()[:_LINE_CHARACTERS]}"
    yield f"corrupt: {describe_count(len(inventory.corrupt), 'file')}"
    yield from (f"  {path}" for path in inventory.corrupt)


def _retry(arguments: argparse.Namespace, state: Path, signals: Signals) -> int:
    from clpm_execd.delivery.inspection import retry_incidents

    _refuse_unknown_names(arguments.names, state, ())
    files, lines = retry_incidents(state, arguments.names)
    return print_text(f"{describe_count(lines, 'line')} of {describe_count(files, 'incident')} queued again: a running "
                      "stream writes them within a minute, otherwise the next one does\n")


def _export(arguments: argparse.Namespace, state: Path, signals: Signals) -> int:
    from clpm_execd.delivery.inspection import read_pending_lines
    from clpm_execd.delivery.quarantine import read_incidents
    from clpm_execd.outputs.generate import open_output

    names = [ALIASES.get(name, name) for name in arguments.names] or [PENDING]
    _refuse_unknown_names(names, state, (PENDING, QUARANTINE))
    with open_output(arguments.output, signals) as file:
        if PENDING in names:
            for lines in read_pending_lines(state):
                file.write(lines)
        for incident in read_incidents(state):
            if QUARANTINE in names or incident.path.name in names:
                file.writelines([*(f"# {message}\n".encode() for message in incident.messages), *incident.lines])
    return 0


def _verify(arguments: argparse.Namespace, state: Path, signals: Signals) -> int:
    from clpm_execd.delivery.verification import verify_state

    result = verify_state(state)
    lines = [f"damaged: {damage}" for damage in result.damage]
    if not lines:
        end = result.checkpoint_end
        checkpoint = "no checkpoint" if end is None else f"checkpoint up to {format_time(end)}"
        points, files = describe_count(result.points, "point"), describe_count(result.files, "file")
        lines = [f"ok: {points} in {files}, {checkpoint}"]
    print_text("".join(f"{line}\n" for line in lines))
    return 1 if result.damage else 0


def _refuse_unknown_names(names: Sequence[str], state: Path, queues: tuple[str, ...]) -> None:
    """Raise BadInput with each name that is neither an incident nor one of these queues."""
    from clpm_execd.delivery.quarantine import read_incidents

    valid = [*(incident.path.name for incident in read_incidents(state)), *queues]
    problems = [Problem(f"spool {name!r}", "there is no such incident",
                        did_you_mean(name, valid) if valid else "there are no incidents")
                for name in names if name not in valid]
    if problems:
        raise BadInput(problems)


def _format_size(size_bytes: int) -> str:
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= scale:
            return f"{size_bytes / scale:.1f} {unit}"
    return f"{size_bytes} bytes"


_ACTIONS = {"list": _list, "retry": _retry, "export": _export, "verify": _verify}
