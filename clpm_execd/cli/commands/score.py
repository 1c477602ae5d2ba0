"""`score`: a monitor's verdicts against the truth."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import settings_of
from clpm_execd.cli.options import add_command, add_runtime_options, output_file, refuse_unused, refused, show
from clpm_execd.problems import BadInput, Problem
from clpm_execd.runtime.os_signals import Signals

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands
    from clpm_execd.score import Score

LEVELS = ("kind", "group", "any")
FORMATS = ("json", "csv", "html")
_WIDE = 120  # characters, of a pipe


def add(commands: Commands) -> None:
    command = add_command(
        commands, "score", "a monitor's verdicts against the truth: precision, recall, delay, confusion",
        examples=["clpm-execd score verdicts.csv --truth day.lp.gz",
                  "clpm-execd score verdicts.csv --start 2025-01-10T10:00:00Z --output score.html"])
    command.add_argument("verdicts", metavar="VERDICTS", type=Path,
                         help="a CSV with the columns loop, start, end, fault, and detected if there is one")
    group = command.add_argument_group("the truth")
    group.add_argument("--truth", metavar="FILE", type=Path, help="line protocol or long CSV with the truth in it "
                                                                  "(default the bucket by INFLUXDB_*)")
    group.add_argument("--truth-measurement", metavar="NAME", help="of the truth in the bucket (default "
                                                                   "control_loops_truth)")
    group.add_argument("--start", metavar="T", help="score from here on (default the beginning of the truth)")
    group.add_argument("--end", metavar="T", help="score up to here (default its end)")
    add_runtime_options(command, "--env-file")
    group = command.add_argument_group("the rules")
    group.add_argument("--by", choices=LEVELS, default="kind", help="the kind of fault, its group, or any fault at all "
                                                                    "(default kind)")
    group.add_argument("--overlap", metavar="SHARE", type=_share, default=0.5,
                       help="of an alarm that must be true for it to be right, 0 to 1 (default 0.5)")
    group.add_argument("--all", action="store_true", help="count faults that are present, not only visible ones")
    group = command.add_argument_group("the marks")
    group.add_argument("--output", metavar="FILE", type=output_file,
                       help="a file: .json, .csv or .html (default -, stdout)")
    group.add_argument("--format", choices=FORMATS, help="of the output (default by the file's suffix, else tables)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Score them; the exit status."""
    from clpm_execd.score import read_truth, read_verdicts, score

    if arguments.truth is not None:
        refuse_unused(arguments, ("--truth-measurement", "--env-file"), "with --truth")
    form = _form(arguments)
    start, end = _limits(arguments)
    truth = read_truth(arguments.truth if arguments.truth else _bucket(arguments, start, end)).within(start, end)
    if not truth.watched:
        raise BadInput([Problem("--start, --end", "nothing of the truth lies between them", "give other times")])
    verdicts = read_verdicts(arguments.verdicts, truth, arguments.by)
    if not truth.whole:
        print("the truth has no samples beside it: loops without a fault are known by the verdicts only",
              file=sys.stderr)
        truth = truth.joined(verdict.loop for verdict in verdicts)
    marks = score(truth, verdicts, by=arguments.by, overlap=arguments.overlap, all_present=arguments.all)
    return _show(marks, form, arguments)


def _show(marks: Score, form: str | None, arguments: argparse.Namespace) -> int:
    from clpm_execd.pictures import score_report as scorecard

    if form is None:
        from clpm_execd.cli.terminal import coloured, show_picture, width_of

        return show_picture(scorecard.score_tables(marks), width_of(sys.stdout) if coloured(sys.stdout) else _WIDE)
    if form == "html":
        lead = f"{arguments.verdicts} against {arguments.truth or 'the truth in the bucket'}"
        text = scorecard.score_page(marks, lead).html()
    else:
        text = scorecard.as_json(marks) if form == "json" else scorecard.as_csv(marks)
    if arguments.output is None:
        return show(text)
    from clpm_execd.pictures.picture import write

    write(arguments.output, text.encode())
    return 0


def _form(arguments: argparse.Namespace) -> str | None:
    if arguments.format or not arguments.output:
        return str(arguments.format) if arguments.format else None
    suffix = arguments.output.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise BadInput([Problem(f"--output {arguments.output}", "its suffix is no format",
                                "end it in .json, .csv or .html, or give --format")])
    return str(suffix)


def _limits(arguments: argparse.Namespace) -> tuple[int | None, int | None]:
    """--start and --end, ns; None where they are not given."""
    import time

    from clpm_execd.units import parse_time

    problems: list[Problem] = []
    limits: list[int | None] = []
    for option in ("start", "end"):
        text = getattr(arguments, option)
        try:
            limits.append(parse_time(text, time.time_ns()) if text else None)
        except ValueError as error:
            problems.append(refused(f"--{option}", error))
    if problems:
        raise BadInput(problems)
    start, end = limits
    if start is not None and end is not None and end <= start:
        raise BadInput([Problem("--end", "is not after --start", "give a later time")])
    return start, end


def _bucket(arguments: argparse.Namespace, start: int | None, end: int | None) -> Iterator[str]:
    """The truth as the bucket has it, and the first and last sample of each loop."""
    from clpm_execd.config.output import MEASUREMENT, TRUTH
    from clpm_execd.influx.query import ask, quoted

    settings = settings_of(arguments)
    to = settings.require_connection()
    limits = f"start: time(v: {start or 0}), stop: {'now()' if end is None else f'time(v: {end})'}"
    rows = f"from(bucket: {quoted(to.bucket)}) |> range({limits})"
    truth = (f'{rows} |> filter(fn: (r) => r._measurement == {quoted(arguments.truth_measurement or TRUTH)})'
             ' |> keep(columns: ["_time", "_field", "_value", "loop_id", "fault"])')
    samples = (f"t = {rows} |> filter(fn: (r) => r._measurement == {quoted(settings.measurement or MEASUREMENT)})\n"
               't |> first() |> keep(columns: ["_time", "loop_id"]) |> yield(name: "first")\n'
               't |> last() |> keep(columns: ["_time", "loop_id"]) |> yield(name: "last")')

    def answer(flux: str) -> Iterator[str]:
        return ask(to.url, to.token.reveal, to.org, to.bucket, flux)

    return chain(answer(truth), ["\n"], answer(samples))


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 0 to 1")
    return share
