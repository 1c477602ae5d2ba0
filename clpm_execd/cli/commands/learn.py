"""`learn`: loops fitted to historian data, as a loops.toml, and a report of the fit."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clpm_execd.cli.assembly import load_records
from clpm_execd.cli.options import add_command, add_shared_options
from clpm_execd.extras import require
from clpm_execd.paths import is_folder
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.state.durable_file import make_write_error, write_all_atomically

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands
    from clpm_execd.cli.terminal import ProgressBar
    from clpm_execd.evaluation.fitting import FitTask
    from clpm_execd.evaluation.learned_vs_record import DiscriminatorAuc, LoopFit
    from clpm_execd.evaluation.verdict import Verdict
    from clpm_execd.records.record import Record

EXTRA = ("pycatch22", "scipy", "sklearn", "threadpoolctl")
ALL_LOOPS = ""  # the loop of an option that names none


def add(commands: Commands) -> None:
    command = add_command(
        commands, "learn", "fit loop models to historian data and report the fit",
        examples=["clpm-execd learn history.csv --output loops.toml --report report.html",
                  "clpm-execd learn export.txt --columns pv=FT_211,op=FV_211 --op-range 4:20 --output loops.toml",
                  "clpm-execd learn *.csv.gz --timezone Europe/Berlin --range FIC101=0:120 --output loops.toml"])
    command.add_argument("records", metavar="HISTORY", nargs="+", type=Path,
                         help="historian exports: long or wide CSV, PROCESSDATA; also .gz and .zst")
    group = command.add_argument_group("output")
    group.add_argument("--output", metavar="FILE", type=Path, required=True,
                       help="the fitted loops, a loops.toml; long arrays go into a .npz next to it")
    group.add_argument("--report", metavar="FILE", type=Path,
                       help="report page that compares recorded and fitted loops, .html (default none)")
    group.add_argument("--strict", action="store_true",
                       help="exit status 1 if the verdict on any loop is `do not use`; the files are written")
    group = add_shared_options(command, "overrides", "--columns", "--timezone", "--interval")
    group.add_argument("--name", metavar="LOOP=ID", dest="names", action="append", default=[],
                       help="id of a loop in the output, or ID for the only one; loops that get one id are fitted as "
                            "one; repeatable (default that of the record, or the file's name without its date)")
    group.add_argument("--range", metavar="LOOP=LOW:HIGH", dest="ranges", action="append", default=[],
                       help="transmitter range, or LOW:HIGH for all loops; repeatable (default estimated)")
    group.add_argument("--op-range", metavar="LOOP=LOW:HIGH", dest="op_ranges", action="append", default=[],
                       help="OP as recorded at 0 and 100 %%, such as 4:20, or LOW:HIGH for all loops; repeatable "
                            "(default by the values of OP and their unit)")
    group.add_argument("--type", metavar="LOOP=TYPE", dest="types", action="append", default=[],
                       help="flow, pressure, level, temperature or composition, or TYPE for all loops; repeatable "
                            "(default by the letters of the tag)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Fit, compare and write; return the exit status. If a record cannot be read nothing is written."""
    from clpm_execd.cli.terminal import progress_bar
    from clpm_execd.evaluation.fitting import FailedFit, fit_loops
    from clpm_execd.evaluation.verdict import REFUSED, judge

    require("learn", *EXTRA)
    if arguments.report:
        require("plots", "plotly")
    _refuse_bad_files(arguments)
    overrides = _Overrides.parse(arguments)
    with progress_bar(len(arguments.records)) as bar:
        records = load_records(arguments, _show_reading(arguments.records, bar, signals))
        assumptions = [(str(path), assumption) for record, path in records for assumption in record.assumptions]
        if signals.should_stop:
            return 0
        tasks = _make_tasks(records, overrides, assumptions)
        bar.add_parts(len(tasks) - len(records))
        bar.describe(f"fitting {tasks[0].record.loops[0]}")

        def show(count: int) -> None:
            bar.advance()
            bar.describe(f"fitting {tasks[min(count, len(tasks) - 1)].record.loops[0]}")

        results = fit_loops(tasks, should_stop=lambda: signals.should_stop, on_fit=show)
        if signals.should_stop:
            return 0
        failures = [Problem(f"{result.source}: {result.loop_id}", f"could not be fitted ({result.reason})",
                            "leave it out, and report this with its record")
                    for result in results if isinstance(result, FailedFit)]
        fits = [result for result in results if not isinstance(result, FailedFit)]
        if not fits:
            raise BadInput(failures)
        bar.describe("comparing")
        score = _compare(fits)
    verdicts = [judge(fit, auc) for fit, auc in zip(fits, score.per_loop, strict=True)]
    _write(arguments, fits, score, verdicts, assumptions)
    _print(arguments, fits, score, verdicts, assumptions)
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures or (arguments.strict and any(verdict.level == REFUSED for verdict in verdicts)) else 0


@dataclass(frozen=True, slots=True)
class _Overrides:
    """What the user says about the loops, by their ids; ALL_LOOPS is for all that are not named."""

    names: dict[str, str]
    ranges: dict[str, tuple[float, float]]
    op_ranges: dict[str, tuple[float, float]]
    types: dict[str, str]

    @classmethod
    def parse(cls, arguments: argparse.Namespace) -> _Overrides:
        """Return the values of the options; raise BadInput with all errors of one of them."""
        return cls(_parse_names(arguments.names), _parse_ranges("--range", arguments.ranges),
                   _parse_ranges("--op-range", arguments.op_ranges), _parse_types(arguments.types))

    def refuse_unknown_loops(self, own_ids: Sequence[str], ids: Sequence[str]) -> None:
        """Raise BadInput with each loop that no record has, under its own id or the one that it gets."""
        every = list(dict.fromkeys((*ids, *own_ids)))
        problems = [Problem(option, f"unknown loop {loop!r}", did_you_mean(loop, every))
                    for option, overrides in (("--name", self.names), ("--range", self.ranges),
                                              ("--op-range", self.op_ranges), ("--type", self.types))
                    for loop in overrides if loop not in (ALL_LOOPS, *every)]
        if problems:
            raise BadInput(problems)


def _make_tasks(records: Sequence[tuple[Record, Path]], overrides: _Overrides, assumptions: list[tuple[str, str]]
                ) -> list[FitTask]:
    """Return a task for each loop: records of one tag are one loop; raise BadInput if a record has no OP at all."""
    from clpm_execd.evaluation.fitting import FitTask
    from clpm_execd.records.merging import merge_records

    tasks = []
    for loop_id, own in _split_by_loop(records, overrides, assumptions).items():
        loop_records = merge_records([record for record, _ in own])
        if len(own) > len(loop_records):
            assumptions.append((loop_id, f"{len(own)} records are fitted as one loop"))
        source = str(own[0][1]) if len(own) == 1 else f"{own[0][1]} and {len(own) - 1} more"
        span, op_span = (table.get(loop_id, table.get(ALL_LOOPS)) for table in (overrides.ranges, overrides.op_ranges))
        kind = overrides.types.get(loop_id, overrides.types.get(ALL_LOOPS))
        tasks += [FitTask(source, record, span, op_span, kind) for record in loop_records]
    return tasks


def _split_by_loop(records: Sequence[tuple[Record, Path]], overrides: _Overrides, assumptions: list[tuple[str, str]]
                   ) -> dict[str, list[tuple[Record, Path]]]:
    """Return the records of single loops, with their files, by the loop's id."""
    from clpm_execd.records.header.signal_names import strip_date
    from clpm_execd.records.merging import select_loop

    by_loop: dict[str, list[tuple[Record, Path]]] = {}
    own_ids = []
    problems = []
    for record, path in records:
        usable = np.flatnonzero(np.isfinite(record.op).any(axis=0)).tolist()
        loops_without_op = [loop for column, loop in enumerate(record.loops) if column not in usable]
        if not usable:
            remedy = "name its column with --columns op=NAME or op=#3: without it no controller can be identified"
            problems.append(Problem(str(path), f"no OP for {', '.join(record.loops[:5])}", remedy))
        elif loops_without_op:
            assumptions.append((str(path), f"left out, because they have no OP: {', '.join(loops_without_op)[:200]}"))
        for column in usable:
            loop = record.loops[column]
            undated = strip_date(loop) if path.name.startswith(loop) else loop
            own_ids += [loop, undated]
            loop_id = next((overrides.names[key] for key in (loop, undated, ALL_LOOPS) if key in overrides.names),
                           undated)
            by_loop.setdefault(loop_id, []).append((select_loop(record, column, loop_id), path))
    if problems:
        raise BadInput(problems)
    overrides.refuse_unknown_loops(own_ids, list(by_loop))
    if ALL_LOOPS in overrides.names and any(len(record.loops) > 1 for record, _ in records):
        raise BadInput([Problem("--name", "a record has several loops", "write --name LOOP=ID for each")])
    return by_loop


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
            problems += make_write_error(f"{option} {path}", error).problems
    if problems:
        raise BadInput(problems)


def _show_reading(paths: Sequence[Path], bar: ProgressBar, signals: Signals) -> Iterator[Path]:
    """Yield the paths until a request to stop, each shown on the bar."""
    for path in paths:
        if signals.should_stop:
            return
        bar.describe(f"reading {path.name}")
        yield path


def _compare(fits: Sequence[LoopFit]) -> DiscriminatorAuc:
    from clpm_execd.evaluation.learned_vs_record import evaluate_discriminator

    return evaluate_discriminator([fit.comparison for fit in fits], [fit.learned.loop.id for fit in fits])


def _write(arguments: argparse.Namespace, fits: Sequence[LoopFit], score: DiscriminatorAuc,
           verdicts: Sequence[Verdict], assumptions: Sequence[tuple[str, str]]) -> None:
    """Write the files; raise BadInput if one cannot be written."""
    from clpm_execd.identification.export import format_loops_files, unique_ids

    learned_loops = [fit.learned for fit in fits]
    files = {f"--output {arguments.output}": format_loops_files(arguments.output, learned_loops,
                                                                [str(verdict) for verdict in verdicts])}
    if arguments.report:
        from clpm_execd.pictures.learn_report import build_report_page

        page = build_report_page(unique_ids(learned_loops), fits, score, verdicts, group_by_message(assumptions)).html()
        files[f"--report {arguments.report}"] = {arguments.report: page.encode()}
    for where, contents in files.items():
        try:
            write_all_atomically(contents)
        except OSError as error:
            raise make_write_error(where, error) from None


def _print(arguments: argparse.Namespace, fits: Sequence[LoopFit], score: DiscriminatorAuc,
           verdicts: Sequence[Verdict], assumptions: Sequence[tuple[str, str]]) -> None:
    """Print assumptions and warnings to stderr, and the table of loops to stdout."""
    from clpm_execd.cli.terminal import choose_output_width, print_drawing
    from clpm_execd.identification.export import unique_ids
    from clpm_execd.pictures.learn_report import build_report_table

    names = unique_ids([fit.learned for fit in fits])
    warnings = [(name, warning) for name, fit in zip(names, fits, strict=True)
                for warning in fit.learned.warnings]
    for line in (*group_by_message(assumptions), *group_by_message(warnings)):
        print(line, file=sys.stderr)
    print_drawing(build_report_table(names, fits, score, verdicts), choose_output_width(sys.stdout))
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


def _parse_names(texts: Sequence[str]) -> dict[str, str]:
    """Return the ids in texts such as LOOP=ID, or ID for the only loop; raise BadInput with all errors."""
    names = {}
    problems = []
    for text in texts:
        loop, _, name = text.rpartition("=")
        if not name.strip():
            problems.append(Problem("--name", f"no id in {text!r}", "write FIC-211_20241121=FIC211, or FIC211"))
        names[loop.strip()] = name.strip()
    if problems:
        raise BadInput(problems)
    return names


def _parse_ranges(option: str, texts: Sequence[str]) -> dict[str, tuple[float, float]]:
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
            remedy = "write FIC101=0:120, or 0:120 for all loops, with low less than high"
            problems.append(Problem(option, f"invalid range {text!r}", remedy))
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
