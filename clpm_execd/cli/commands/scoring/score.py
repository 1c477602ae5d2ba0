"""`score`: a detector's alarms against the ground truth."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import load_settings
from clpm_execd.cli.options import (
    add_command,
    add_shared_options,
    parse_fraction,
    parse_output_path,
    print_text,
    refuse_unused,
)
from clpm_execd.problems import BadInput, Problem
from clpm_execd.runtime.os_signals import Signals

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands
    from clpm_execd.score import Score
    from clpm_execd.score.precision_recall import Point

# Those of score/rules.py, which loads NumPy: a wrong option is refused before that.
MATCH_LEVELS = ("kind", "group", "any")
AFFECTED_RULES = ("ignore", "judge")
FORMATS = ("json", "csv", "html")
_PIPE_WIDTH = 120  # characters


def add(commands: Commands) -> None:
    command = add_command(
        commands, "score",
        "score a detector's alarms against the ground truth: precision, recall, delay, confusion matrix",
        examples=["clpm-execd score alarms.csv --truth day.lp.gz",
                  "clpm-execd score alarms.csv --start 2025-01-10T10:00:00Z --output score.html"])
    command.add_argument("alarms", metavar="ALARMS", type=Path,
                         help="a CSV with the columns loop, start, end, fault and optionally detected, score and cause")
    group = command.add_argument_group("ground truth")
    group.add_argument("--truth", metavar="FILE", type=Path, help="line protocol or CSV with the ground truth "
                                                                  "(default the bucket of INFLUXDB_*)")
    group.add_argument("--truth-measurement", metavar="NAME", help="measurement of the ground truth in the bucket "
                                                                   "(default control_loops_truth)")
    group.add_argument("--start", metavar="T", help="start of the scored time (default that of the ground truth)")
    group.add_argument("--end", metavar="T", help="end of the scored time (default that of the ground truth)")
    group = command.add_argument_group("rules")
    group.add_argument("--by", choices=MATCH_LEVELS, default="kind",
                       help="what must agree: the kind of fault, its group, or any fault (default kind)")
    group.add_argument("--overlap", metavar="FRACTION", type=parse_fraction, default=0.5,
                       help="fraction of an alarm, 0 to 1, in which the fault must be visible (default 0.5)")
    group.add_argument("--all", action="store_true", help="count faults that are present, visible or not")
    group.add_argument("--affected", choices=AFFECTED_RULES, default="ignore",
                       help="alarms on loops that another loop's fault affects: ignore them, or judge whether they "
                            "name its loop in a column cause (default ignore)")
    group = command.add_argument_group("output")
    group.add_argument("--output", metavar="FILE", type=parse_output_path,
                       help="a file: .json, .csv or .html (default -, stdout)")
    group.add_argument("--format", choices=FORMATS, help="output format (default by the suffix of the file, else "
                                                         "tables)")
    add_shared_options(command, "runtime", "--env-file")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Score the alarms; return the exit status."""
    from clpm_execd.plant.block import AFFECTED
    from clpm_execd.score import find_precision_recall, read_alarms, read_truth, score

    if arguments.truth is not None:
        refuse_unused(arguments, ("--truth-measurement", "--env-file"), "with --truth")
    form = _format(arguments)
    start, end = _parse_limits(arguments)
    truth = read_truth(arguments.truth if arguments.truth else _query_bucket(arguments, start, end)).clip(start, end)
    if not truth.observation:
        raise BadInput([Problem("--start, --end", "no ground truth lies between them", "give other times")])
    if arguments.affected == "judge" and any(each.fault == AFFECTED and not each.cause for each in truth.episodes):
        raise BadInput([Problem("--affected judge", "this ground truth does not say what affects its loops",
                                "give it as line protocol or long CSV; wide CSV has no causes")])
    alarms = read_alarms(arguments.alarms, truth, arguments.by)
    if not truth.has_samples:
        print("the ground truth comes without samples: a loop without faults counts only if an alarm names it",
              file=sys.stderr)
        truth = truth.with_healthy_loops(alarm.loop for alarm in alarms)
    rules = {"by": arguments.by, "overlap": arguments.overlap, "all_present": arguments.all,
             "affected": arguments.affected}
    result = score(truth, alarms, **rules)
    return _output(result, find_precision_recall(truth, alarms, **rules), form, arguments)


def _output(result: Score, curve: Sequence[Point], form: str | None, arguments: argparse.Namespace) -> int:
    from clpm_execd.pictures import score_report

    if form is None:
        from clpm_execd.cli.terminal import choose_output_width, is_colour_terminal, print_drawing

        width = choose_output_width(sys.stdout) if is_colour_terminal(sys.stdout) else _PIPE_WIDTH
        return print_drawing(score_report.score_tables(result, curve), width)
    if form == "html":
        lead = f"{arguments.alarms} against {arguments.truth or 'the ground truth in the bucket'}"
        text = score_report.score_page(result, lead, curve).html()
    else:
        text = score_report.to_json(result, curve) if form == "json" else score_report.to_csv(result)
    if arguments.output is None:
        return print_text(text)
    from clpm_execd.pictures.picture import write_picture

    write_picture(arguments.output, text.encode())
    return 0


def _format(arguments: argparse.Namespace) -> str | None:
    """Return json, csv, html, or None for tables."""
    if arguments.format or not arguments.output:
        return str(arguments.format) if arguments.format else None
    suffix = arguments.output.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise BadInput([Problem(f"--output {arguments.output}", "unknown suffix",
                                "end it in .json, .csv or .html, or give --format")])
    return str(suffix)


def _parse_limits(arguments: argparse.Namespace) -> tuple[int | None, int | None]:
    """Return --start and --end, ns; None for one that is not set."""
    from clpm_execd.units import parse_time

    problems: list[Problem] = []
    limits: list[int | None] = []
    for option in ("start", "end"):
        text = getattr(arguments, option)
        try:
            limits.append(parse_time(text, time.time_ns()) if text else None)
        except ValueError as error:
            problems.append(Problem.from_error(f"--{option}", error))
    if problems:
        raise BadInput(problems)
    start, end = limits
    if start is not None and end is not None and end <= start:
        raise BadInput([Problem("--end", "is not after --start", "give a later time")])
    return start, end


def _query_bucket(arguments: argparse.Namespace, start: int | None, end: int | None) -> Iterator[str]:
    """Yield the ground truth as the server has it, and the first and last sample of each loop."""
    from clpm_execd.config.output import MEASUREMENT, TRUTH
    from clpm_execd.influx.dialects import QueryRange
    from clpm_execd.influx.query import QueryClient
    from clpm_execd.influx.server_identity import identify_server

    settings = load_settings(arguments)
    connection = settings.require_connection()
    client = QueryClient(connection.url, connection.token.reveal, connection.org, connection.bucket)
    dialect, limits = identify_server(client).dialect, QueryRange(start, end)
    return chain(dialect.rows(arguments.truth_measurement or TRUTH, ("loop_id", "fault"), limits), ["\n"],
                 dialect.extremes(settings.measurement or MEASUREMENT, "loop_id", limits))
