"""`spool`: what waits to be written with --direct, what was refused, and what became of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import settings_of
from clpm_execd.cli.options import add_command, add_runtime_options, output_file, refuse_unused, show
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.runtime.os_signals import Signals

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands
    from clpm_execd.delivery.inspection import Stock

WAITING, QUARANTINE = "waiting", "quarantine"
_SHOWN = 5  # incidents of which the first line is shown


def add(commands: Commands) -> None:
    command = add_command(
        commands, "spool", "what --direct has yet to write and what was refused: list, retry or export it",
        examples=("clpm-execd spool --state /var/lib/clpm-execd", "clpm-execd spool retry",
                  "clpm-execd spool export waiting --output waiting.lp",
                  "clpm-execd spool export quarantine --output refused.lp"))
    add_runtime_options(command, "--env-file", "--state")
    command.add_argument("action", choices=("list", "retry", "export"), nargs="?", default="list",
                         help="list what there is, retry refused lines, or export lines (default list)")
    command.add_argument("names", metavar="NAME", nargs="*",
                         help="incidents of the quarantine; to export, also 'waiting' or 'quarantine' "
                              "(default all of them to retry, and to export what waits)")
    command.add_argument("--output", metavar="FILE", type=output_file,
                         help="where an export goes (default -, stdout)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Do it; the exit status."""
    if arguments.action != "export":
        refuse_unused(arguments, ["--output"], f"on spool {arguments.action}")
    if arguments.action == "list" and arguments.names:
        raise BadInput([Problem("spool list", "takes no names", "name incidents to retry or export")])
    state = settings_of(arguments).state
    if state is None:
        raise BadInput([Problem("--state", "no folder is given", "name the one of the stream, or set CLPM_STATE")])
    if not state.is_dir():
        raise BadInput([Problem(f"--state {state}", "is no folder", "name the one that the stream has")])
    try:
        return _ACTIONS[arguments.action](arguments, state, signals)
    except OSError as error:
        what = f"{error.filename or 'a file in it'}: {error.strerror}"
        remedy = "see that this user owns the folder, as the stream does, and that there is room on its disk"
        raise BadInput([Problem(f"--state {state}", what, remedy)]) from None


def _list(arguments: argparse.Namespace, state: Path, signals: Signals) -> int:
    import time

    from clpm_execd.delivery.inspection import stock_of

    return show("".join(f"{line}\n" for line in _told(stock_of(state), time.time_ns())))


def _told(stock: Stock, now: int) -> Iterator[str]:
    oldest = ""
    if stock.oldest is not None:
        since = datetime.fromtimestamp(stock.oldest / 1e9, timezone.utc).isoformat(timespec="seconds")
        oldest = f"; the oldest for {(now - stock.oldest) / 1e9:,.0f} s, since {since}"
    yield f"waiting: {_many(stock.points, 'point')} in {_many(stock.files, 'file')}, {_size(stock.size)}{oldest}"
    refused = sum(len(incident.lines) for incident in stock.incidents)
    yield f"quarantine: {_many(refused, 'line')} in {_many(len(stock.incidents), 'incident')}"
    for incident in stock.incidents:
        yield f"  {incident.path.name}: {_many(len(incident.lines), 'line')}"
        yield from (f"    {words}" for words in incident.words[:_SHOWN])
        if incident.lines:
            yield f"    such as: {incident.lines[0].decode('utf-8', 'replace').strip()[:200]}"
    yield f"corrupt: {_many(len(stock.corrupt), 'file')}"
    yield from (f"  {path}" for path in stock.corrupt)


def _retry(arguments: argparse.Namespace, state: Path, signals: Signals) -> int:
    from clpm_execd.delivery.inspection import retry

    _refuse_strangers(arguments.names, state, ())
    files, lines = retry(state, arguments.names)
    return show(f"{_many(lines, 'line')} of {_many(files, 'incident')} to be written again: by a running stream "
                "within a minute, and else by the next one\n")


def _export(arguments: argparse.Namespace, state: Path, signals: Signals) -> int:
    from clpm_execd.delivery.inspection import waiting_lines
    from clpm_execd.delivery.quarantine import incidents
    from clpm_execd.outputs.generate import opened

    chosen = arguments.names or [WAITING]
    _refuse_strangers(chosen, state, (WAITING, QUARANTINE))
    with opened(arguments.output, signals) as file:
        if WAITING in chosen:
            for lines in waiting_lines(state):
                file.write(lines)
        for incident in incidents(state):
            if QUARANTINE in chosen or incident.path.name in chosen:
                file.writelines([*(f"# {words}\n".encode() for words in incident.words), *incident.lines])
    return 0


def _refuse_strangers(chosen: list[str], state: Path, besides: tuple[str, ...]) -> None:
    """BadInput where there is no incident of a name, nor is it one of those besides."""
    from clpm_execd.delivery.quarantine import incidents

    found = [incident.path.name for incident in incidents(state)]
    strange = [name for name in chosen if name not in found and name not in besides]
    if strange:
        raise BadInput([Problem(f"spool {name!r}", "there is no such incident",
                                did_you_mean(name, [*found, *besides]) if found or besides else "there is none at all")
                        for name in strange])  # fmt: skip


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _size(size: int) -> str:
    for unit, of in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= of:
            return f"{size / of:.1f} {unit}"
    return f"{size} bytes"


_ACTIONS = {"list": _list, "retry": _retry, "export": _export}
