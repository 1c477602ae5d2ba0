"""`learn`: loops fitted to historian data, as a loops.toml, and a report of the fit."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import load_record
from clpm_execd.cli.options import add_command, add_shared_options
from clpm_execd.extras import require
from clpm_execd.paths import is_folder
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.state.durable_file import unwritable, write_all_atomically

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands
    from clpm_execd.cli.terminal import ProgressBar
    from clpm_execd.evaluation.learned_vs_record import DiscriminatorAuc, LoopFit
    from clpm_execd.records.record import Record

EXTRA = ("pyarrow", "pycatch22", "scipy", "sklearn", "threadpoolctl")
ALL_LOOPS = ""  # the loop of an option that names none


def add(commands: Commands) -> None:
    command = add_command(
        commands, "learn", "fit loop models to historian data and report the fit",
        examples=["clpm-execd learn history.csv --output loops.toml --report report.html",
                  "clpm-execd learn export.txt --columns pv=FT_211,op=FV_211 --range 0:150 --output loops.toml",
                  "clpm-execd learn *.csv.gz --timezone Europe/Berlin --range FIC101=0:120 --output loops.toml"])
    command.add_argument("records", metavar="HISTORY", nargs="+", type=Path,
                         help="historian exports: long or wide CSV, PROCESSDATA; also .gz")
    group = command.add_argument_group("output")
    group.add_argument("--output", metavar="FILE", type=Path, required=True,
                       help="the fitted loops, a loops.toml; long arrays go into a .npz next to it")
    group.add_argument("--report", metavar="FILE", type=Path,
                       help="report page that compares recorded and fitted loops, .html (default none)")
    group = add_shared_options(command, "overrides", "--columns", "--timezone")
    group.add_argument("--range", metavar="LOOP=LOW:HIGH", dest="ranges", action="append", default=[],
                       help="transmitter range, or LOW:HIGH for all loops; repeatable (default estimated)")
    group.add_argument("--type", metavar="LOOP=TYPE", dest="types", action="append", default=[],
                       help="flow, pressure, level, temperature or composition, or TYPE for all loops; repeatable "
                            "(default by the letters of the tag)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Fit, compare and write; return the exit status. If a record cannot be read nothing is written."""
    from clpm_execd.cli.terminal import progress_bar

    require("learn", *EXTRA)
    if arguments.report:
        require("plots", "plotly")
    _refuse_bad_files(arguments)
    ranges, types = _parse_ranges(arguments.ranges), _parse_types(arguments.types)
    assumptions: list[tuple[str, str]] = []
    fits: list[LoopFit] = []
    with progress_bar(len(arguments.records)) as bar:
        for record, path in _read(arguments, assumptions, bar, signals):
            fits += _fit(record, path, ranges, types, bar, signals)
        if signals.should_stop:
            return 0
        _refuse_unknown_loops(ranges, types, [fit.learned.loop.id for fit in fits])
        bar.describe("comparing")
        score = _compare(fits)
    _write(arguments, fits, score, assumptions)
    _print(arguments, fits, score, assumptions)
    return 0


def _refuse_bad_files(arguments: argparse.Namespace) -> None:
    """Raise BadInput with each output file that cannot be written under its name."""
    if arguments.output == Path("-"):
        what = "stdout cannot hold both loops.toml and the .npz that belongs to it"
        raise BadInput([Problem("--output -", what, "name a file such as loops.toml")])
    files = [(option, path, suffix, example)
             for option, path, suffix, example in (("--output", arguments.output, ".toml", "loops.toml"),
                                                   ("--report", arguments.report, ".html", "report.html"))
             if path is not None]
    problems = [Problem(option, f"{path} does not end in {suffix}", f"name a file such as {example}")
                for option, path, suffix, example in files if path.suffix.lower() != suffix]
    for option, path, *_ in files:
        try:
            if not is_folder(path.parent):
                problems.append(Problem(option, f"there is no folder {path.parent}", "create it, or name another"))
        except OSError as error:
            problems += unwritable(f"{option} {path}", error).problems
    if problems:
        raise BadInput(problems)


def _read(arguments: argparse.Namespace, assumptions: list[tuple[str, str]], bar: ProgressBar, signals: Signals
          ) -> Iterator[tuple[Record, Path]]:
    """Yield each record; raise BadInput, after the last one, with all errors."""
    problems: list[Problem] = []
    for path in arguments.records:
        if signals.should_stop:
            return
        bar.describe(f"reading {path.name}")
        try:
            record = load_record(arguments, path)
        except BadInput as bad:
            problems += (problem for problem in bad.problems if problem not in problems)
            continue
        assumptions += [(str(path), assumption) for assumption in record.assumptions]
        if not problems:  # otherwise the command will fail, and a fit would only take time
            yield record, path
    if problems:
        raise BadInput(problems)


def _fit(record: Record, path: Path, ranges: dict[str, tuple[float, float]], types: dict[str, str], bar: ProgressBar,
         signals: Signals) -> Iterator[LoopFit]:
    from clpm_execd.evaluation.learned_vs_record import LoopFit, compare_with_record
    from clpm_execd.identification.learn import learn

    bar.add_parts(len(record.loops) - 1)
    for column, loop in enumerate(record.loops):
        if signals.should_stop:
            return
        bar.describe(f"fitting {loop}")
        span, kind = ranges.get(loop, ranges.get(ALL_LOOPS)), types.get(loop, types.get(ALL_LOOPS))
        learned = learn(record, column, span=span, kind=kind)
        yield LoopFit(str(path), learned, compare_with_record(record, column, learned))
        bar.advance()


def _compare(fits: Sequence[LoopFit]) -> DiscriminatorAuc:
    from clpm_execd.evaluation.learned_vs_record import evaluate_discriminator

    return evaluate_discriminator([fit.comparison for fit in fits], [fit.learned.loop.id for fit in fits])


def _write(arguments: argparse.Namespace, fits: Sequence[LoopFit], score: DiscriminatorAuc,
           assumptions: Sequence[tuple[str, str]]) -> None:
    """Write the files; raise BadInput if one cannot be written."""
    from clpm_execd.identification.export import format_loops_files, unique_ids

    learned = [fit.learned for fit in fits]
    files = {f"--output {arguments.output}": format_loops_files(arguments.output, learned)}
    if arguments.report:
        from clpm_execd.pictures.learn_report import build_report_page

        page = build_report_page(unique_ids(learned), fits, score, group_by_message(assumptions)).html()
        files[f"--report {arguments.report}"] = {arguments.report: page.encode()}
    for where, contents in files.items():
        try:
            write_all_atomically(contents)
        except OSError as error:
            raise unwritable(where, error) from None


def _print(arguments: argparse.Namespace, fits: Sequence[LoopFit], score: DiscriminatorAuc,
           assumptions: Sequence[tuple[str, str]]) -> None:
    """Print assumptions and warnings to stderr, and the table of loops to stdout."""
    from clpm_execd.cli.terminal import output_width, print_drawing
    from clpm_execd.identification.export import unique_ids
    from clpm_execd.pictures.learn_report import build_report_table

    names = unique_ids([fit.learned for fit in fits])
    warnings = [(name, warning) for name, fit in zip(names, fits, strict=True)
                for warning in fit.learned.warnings]
    for line in (*group_by_message(assumptions), *group_by_message(warnings)):
        print(line, file=sys.stderr)
    print_drawing(build_report_table(names, fits, score), output_width(sys.stdout))
    has_arrays = any(fit.learned.loop.learned_model for fit in fits)
    arrays = f" and {arguments.output.with_suffix('.npz').name}" if has_arrays else ""
    print(f"wrote {arguments.output}{arrays}; stream with clpm-execd --config {arguments.output}", file=sys.stderr)
    if arguments.report:
        print(f"wrote {arguments.report}: recorded and fitted loops side by side", file=sys.stderr)


def group_by_message(messages: Sequence[tuple[str, str]]) -> list[str]:
    """Return one line per message, of pairs of subject and message; a message about several subjects appears once."""
    count = Counter(message for _, message in messages)
    first = {message: subject for subject, message in reversed(messages)}
    return [f"{first[message]}: {message}" if n == 1 else f"{first[message]} and {n - 1} more: {message}"
            for message, n in count.items()]


def _parse_ranges(texts: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return the ranges in texts such as LOOP=LOW:HIGH, or LOW:HIGH for all loops; raise BadInput with all errors."""
    ranges: dict[str, tuple[float, float]] = {}
    problems = []
    for text in texts:
        loop, _, span = text.rpartition("=")
        low, _, high = span.partition(":")
        try:
            ranges[loop] = (float(low), float(high))
            is_valid = float("-inf") < ranges[loop][0] < ranges[loop][1] < float("inf")
        except ValueError:
            is_valid = False
        if not is_valid:
            problems.append(Problem("--range", f"invalid range {text!r}", "write FIC101=0:120, or 0:120 for all loops"))
    if problems:
        raise BadInput(problems)
    return ranges


def _parse_types(texts: Sequence[str]) -> dict[str, str]:
    """Return the types in texts such as LOOP=TYPE, or TYPE for all loops; raise BadInput with all errors."""
    from clpm_execd.plant.loop_types import LOOP_TYPES

    types = {}
    problems = []
    for text in texts:
        loop, _, kind = text.rpartition("=")
        if kind not in LOOP_TYPES:
            problems.append(Problem("--type", f"unknown type {kind!r}", did_you_mean(kind, list(LOOP_TYPES))))
        types[loop] = kind
    if problems:
        raise BadInput(problems)
    return types


def _refuse_unknown_loops(ranges: dict[str, tuple[float, float]], types: dict[str, str], loops: Sequence[str]) -> None:
    problems = [Problem(option, f"unknown loop {loop!r}", did_you_mean(loop, loops))
                for option, overrides in (("--range", ranges), ("--type", types)) for loop in overrides
                if loop not in (ALL_LOOPS, *loops)]
    if problems:
        raise BadInput(problems)
