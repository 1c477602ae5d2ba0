"""`learn`: loops learned from a plant's records, as a loops.toml, and how alike they are."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import record_of
from clpm_execd.cli.options import add_command
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.state.durable_file import unwritable, write_all_atomically

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands
    from clpm_execd.cli.terminal import Bar
    from clpm_execd.evaluation.learned_vs_record import Discrimination, Study
    from clpm_execd.records.record import Record

EXTRA = ("pyarrow", "pycatch22", "scipy", "sklearn", "threadpoolctl")
EVERY = ""  # the loop of an option that names none


def add(commands: Commands) -> None:
    command = add_command(
        commands, "learn", "loops learned from a plant's records, and how alike they are",
        examples=["clpm-execd learn history.csv --output loops.toml --report report.html",
                  "clpm-execd learn export.txt --columns pv=FT_211,op=FV_211 --range 0:150 --output loops.toml",
                  "clpm-execd learn *.csv.gz --timezone Europe/Berlin --range FIC101=0:120 --output loops.toml"])
    command.add_argument("records", metavar="HISTORY", nargs="+", type=Path,
                         help="records: CSV long or wide, PROCESSDATA; .gz too")
    command.add_argument("--output", metavar="FILE", type=Path, required=True,
                         help="the loops, a loops.toml; what is long goes into a .npz beside it")
    command.add_argument("--report", metavar="FILE", type=Path,
                         help="a page that shows real and learned side by side, .html (default none)")
    group = command.add_argument_group("what the records do not tell")
    group.add_argument("--columns", metavar="PV=..,OP=..", default=argparse.SUPPRESS,
                       help="names of the columns: time loop pv op sp mode quality (default as their names tell)")
    group.add_argument("--timezone", metavar="ZONE", default=argparse.SUPPRESS,
                       help="of times without one, such as Europe/Berlin (default UTC)")
    group.add_argument("--range", metavar="LOOP=LOW:HIGH", dest="ranges", action="append", default=[],
                       help="a transmitter's range, or LOW:HIGH of all; as often as needed (default one that fits)")
    group.add_argument("--type", metavar="LOOP=TYPE", dest="types", action="append", default=[],
                       help="flow, pressure, level, temperature or composition (default by the loop's letters)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Learn, compare and write; the exit status. Nothing is written where a record cannot be read."""
    from clpm_execd.cli.terminal import progress_bar
    from clpm_execd.extras import require

    require("learn", *EXTRA)
    if arguments.report:
        require("plots", "plotly")
    _refuse_names(arguments)
    ranges, types = _ranges(arguments.ranges), _types(arguments.types)
    told: list[tuple[str, str]] = []
    studies: list[Study] = []
    with progress_bar(len(arguments.records)) as bar:
        for record, path in _read(arguments, told, bar, signals):
            studies += _learn(record, path, ranges, types, bar, signals)
        if signals.stop_asked:
            return 0
        _refuse_strangers(ranges, types, [study.learned.loop.id for study in studies])
        bar.say("comparing")
        score = _score(studies)
    _write(arguments, studies, score, told)
    _tell(arguments, studies, score, told)
    return 0


def _refuse_names(arguments: argparse.Namespace) -> None:
    if arguments.output == Path("-"):
        what = "stdout cannot hold both loops.toml and the .npz that belongs to it"
        raise BadInput([Problem("--output -", what, "name a file such as loops.toml")])
    problems = [Problem(option, f"{path} is no {suffix} file", f"name a file such as {example}")
                for option, path, suffix, example in (("--output", arguments.output, ".toml", "loops.toml"),
                                                      ("--report", arguments.report, ".html", "report.html"))
                if path is not None and path.suffix.lower() != suffix]
    for option, path in (("--output", arguments.output), ("--report", arguments.report)):
        if path is not None and not path.parent.is_dir():
            problems.append(Problem(option, f"there is no folder {path.parent}", "make it, or name one that is there"))
    if problems:
        raise BadInput(problems)


def _read(arguments: argparse.Namespace, told: list[tuple[str, str]], bar: Bar, signals: Signals
          ) -> Iterator[tuple[Record, Path]]:
    """Each record; raises BadInput, after the last one, with all that could not be read."""
    problems: list[Problem] = []
    for path in arguments.records:
        if signals.stop_asked:
            return
        bar.say(f"reading {path.name}")
        try:
            record = record_of(arguments, path)
        except BadInput as bad:
            problems += (problem for problem in bad.problems if problem not in problems)
            continue
        told += [(str(path), assumption) for assumption in record.assumptions]
        if not problems:  # else nothing will come of it
            yield record, path
    if problems:
        raise BadInput(problems)


def _learn(record: Record, path: Path, ranges: dict[str, tuple[float, float]], types: dict[str, str], bar: Bar,
           signals: Signals) -> Iterator[Study]:
    from clpm_execd.evaluation.learned_vs_record import Study, likeness
    from clpm_execd.identification.learn import learn

    bar.expect(len(record.loops) - 1)
    for column, loop in enumerate(record.loops):
        if signals.stop_asked:
            return
        bar.say(f"learning {loop}")
        span, kind = ranges.get(loop, ranges.get(EVERY)), types.get(loop, types.get(EVERY))
        learned = learn(record, column, span=span, kind=kind)
        yield Study(str(path), learned, likeness(record, column, learned))
        bar.done()


def _score(studies: Sequence[Study]) -> Discrimination:
    from clpm_execd.evaluation.learned_vs_record import discrimination

    return discrimination([study.likeness for study in studies], [study.learned.loop.id for study in studies])


def _write(arguments: argparse.Namespace, studies: Sequence[Study], score: Discrimination,
           told: Sequence[tuple[str, str]]) -> None:
    from clpm_execd.identification.export import loops_files, names_of

    learned = [study.learned for study in studies]
    files = {f"--output {arguments.output}": loops_files(arguments.output, learned)}
    if arguments.report:
        from clpm_execd.pictures.learn_report import report_page

        page = report_page(names_of(learned), studies, score, grouped(told)).html()
        files[f"--report {arguments.report}"] = {arguments.report: page.encode()}
    for where, contents in files.items():
        try:
            write_all_atomically(contents)
        except OSError as error:
            raise unwritable(where, error) from None


def _tell(arguments: argparse.Namespace, studies: Sequence[Study], score: Discrimination,
          told: Sequence[tuple[str, str]]) -> None:
    """Assumptions and warnings on stderr, the loops on stdout."""
    from clpm_execd.cli.terminal import show_picture, width_of
    from clpm_execd.identification.export import names_of
    from clpm_execd.pictures.learn_report import report_table

    names = names_of([study.learned for study in studies])
    warned = [(name, warning) for name, study in zip(names, studies, strict=True) for warning in study.learned.warnings]
    for line in (*grouped(told), *grouped(warned)):
        print(line, file=sys.stderr)
    width = width_of(sys.stdout)
    show_picture(report_table(names, studies, score), width)
    beside = f" and {arguments.output.with_suffix('.npz').name}" if any(study.learned.loop.laws for study in studies) \
        else ""
    print(f"wrote {arguments.output}{beside}: clpm-execd --config {arguments.output} streams them", file=sys.stderr)
    if arguments.report:
        print(f"wrote {arguments.report}: real and learned side by side", file=sys.stderr)


def grouped(told: Sequence[tuple[str, str]]) -> list[str]:
    """What was said of whom, a line each; what was said of many, once."""
    count = Counter(words for _, words in told)
    first = {words: whom for whom, words in reversed(told)}
    return [f"{first[words]}: {words}" if n == 1 else f"{first[words]} and {n - 1} more: {words}"
            for words, n in count.items()]


def _ranges(texts: Sequence[str]) -> dict[str, tuple[float, float]]:
    """LOOP=LOW:HIGH, or LOW:HIGH for all loops; raises BadInput."""
    found: dict[str, tuple[float, float]] = {}
    problems = []
    for text in texts:
        loop, _, span = text.rpartition("=")
        low, _, high = span.partition(":")
        try:
            found[loop] = (float(low), float(high))
            right = found[loop][0] < found[loop][1] < float("inf") and found[loop][0] > float("-inf")
        except ValueError:
            right = False
        if not right:
            problems.append(Problem("--range", f"{text!r} is no range", "write --range FIC101=0:120, or 0:120 of all"))
    if problems:
        raise BadInput(problems)
    return found


def _types(texts: Sequence[str]) -> dict[str, str]:
    """LOOP=TYPE, or TYPE for all loops; raises BadInput."""
    from clpm_execd.plant.loop_types import LOOP_TYPES

    found = {}
    problems = []
    for text in texts:
        loop, _, kind = text.rpartition("=")
        if kind not in LOOP_TYPES:
            problems.append(Problem("--type", f"{kind!r} is no type of loop", did_you_mean(kind, list(LOOP_TYPES))))
        found[loop] = kind
    if problems:
        raise BadInput(problems)
    return found


def _refuse_strangers(ranges: dict[str, tuple[float, float]], types: dict[str, str], loops: Sequence[str]) -> None:
    problems = [Problem(option, f"no loop is {loop!r}", did_you_mean(loop, loops))
                for option, given in (("--range", ranges), ("--type", types)) for loop in given
                if loop not in (EVERY, *loops)]
    if problems:
        raise BadInput(problems)
