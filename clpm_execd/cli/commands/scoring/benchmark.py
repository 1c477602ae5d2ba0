"""`benchmark`: the suites, their data, the reference monitors on them, and the score of a monitor next to theirs."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clpm_execd.cli.options import add_command, add_shared_options, parse_output_path, print_text, refuse_unused
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.units import DAY, describe_count, describe_duration

if TYPE_CHECKING:
    from clpm_execd.benchmark.suite import Suite
    from clpm_execd.cli.options import Commands
    from clpm_execd.score import GroundTruth

FORMATS, LAYOUTS = ("csv", "parquet"), ("wide", "long")
_YOURS = "your monitor"
# The operands of each action, and the options that only it uses.
_OPERANDS = {"list": (), "data": ("SUITE",), "run": ("MONITOR", "SUITE"), "score": ("SUITE", "ALARMS"),
             "stream": ("SUITE",)}
_OPTIONS = {"--format": ("data",), "--layout": ("data",), "--output": ("data", "run", "score"), "--data": ("score",),
            "--direct": ("stream",), "--env-file": ("stream",)}


def add(commands: Commands) -> None:
    command = add_command(
        commands, "benchmark", "named suites with known faults: their data, reference monitors, and your score",
        examples=("clpm-execd benchmark list", "clpm-execd benchmark data pairs-1-small --output data",
                  "clpm-execd benchmark run he pairs-1-small --output alarms.csv",
                  "clpm-execd benchmark score pairs-1-small alarms.csv"))
    command.add_argument("action", choices=tuple(_OPERANDS), nargs="?", default="list",
                         help="list suites and monitors, write the data of a suite, run a reference monitor on it, "
                              "score alarms, or stream a suite (default list)")
    command.add_argument("operands", metavar="NAME", nargs="*",
                         help="data SUITE, run MONITOR SUITE, score SUITE ALARMS, stream SUITE (default none)")
    group = command.add_argument_group("data")
    group.add_argument("--output", metavar="PATH", type=parse_output_path,
                       help="data: a folder; run: a CSV of alarms; score: a JSON file (default -, stdout)")
    group.add_argument("--format", choices=FORMATS, help="format of the samples (default csv)")
    group.add_argument("--layout", choices=LAYOUTS, help="a row per sample or per value (default wide)")
    group.add_argument("--data", metavar="DIR", type=Path,
                       help="folder of `benchmark data` with the ground truth (default the suite, simulated again)")
    group = command.add_argument_group("stream")
    group.add_argument("--direct", action="store_true", default=argparse.SUPPRESS,
                       help="write to InfluxDB, see clpm-execd --direct")
    add_shared_options(command, "runtime", "--env-file")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Do what the action says; return the exit status."""
    action, operands = arguments.action, arguments.operands
    refuse_unused(arguments, [option for option, actions in _OPTIONS.items() if action not in actions],
                  f"on benchmark {action}")
    if len(operands) != len(_OPERANDS[action]):
        usage = " ".join(["clpm-execd benchmark", action, *_OPERANDS[action]])
        what = f"takes {describe_count(len(_OPERANDS[action]), 'name')}, not {len(operands)}"
        raise BadInput([Problem(f"benchmark {action}", what, f"write {usage}")])
    return {"list": _list, "data": _write_data, "run": _run_monitor, "score": _score, "stream": _stream}[action](
        arguments, operands, signals)


def _list(arguments: argparse.Namespace, operands: Sequence[str], signals: Signals) -> int:
    from clpm_execd.benchmark.suite import list_suites, load_suite
    from clpm_execd.monitors.detectors import MONITORS

    suites = [load_suite(name) for name in list_suites()]
    rows = [(suite.name, "draft" if suite.is_draft else suite.sha256["samples"][:12], describe_duration(suite.duration),
             suite.title) for suite in suites]
    monitors = [(monitor.name, "", "", monitor.reference) for monitor in MONITORS.values()]
    header = [("suite", "sha256", "duration", "content"), *rows, ("", "", "", ""),
              ("monitor", "", "", "method"), *monitors]
    widths = [max(len(row[i]) for row in header) for i in range(4)]
    return print_text("".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                              + "\n" for row in header))


def _write_data(arguments: argparse.Namespace, operands: Sequence[str], signals: Signals) -> int:
    from clpm_execd.benchmark.dataset import write_dataset

    suite = _load(operands[0])
    if arguments.output is None:
        raise BadInput([Problem("--output", "is not set", "name a folder for samples, loop sheet and ground truth")])
    manifest = write_dataset(suite, arguments.output, form=arguments.format or "csv",
                             layout=arguments.layout or "wide", should_stop=lambda: signals.should_stop)
    if signals.should_stop:
        return 0
    if differences := manifest.differences(suite):
        raise suite.report_differences(differences)
    state = "a draft, which may still change" if suite.is_draft else "as frozen"
    print(f"{suite.name}, {state}: samples sha256 {manifest.samples_sha256}", file=sys.stderr)
    return 0


def _run_monitor(arguments: argparse.Namespace, operands: Sequence[str], signals: Signals) -> int:
    from clpm_execd.benchmark.dataset import check_truth
    from clpm_execd.benchmark.judging import format_alarms, run_monitor
    from clpm_execd.benchmark.suite_recording import record
    from clpm_execd.monitors.detectors import MONITORS
    from clpm_execd.outputs.generate import open_output

    name = operands[0]
    if name not in MONITORS:
        raise BadInput([Problem(f"monitor {name!r}", "there is no such monitor", did_you_mean(name, tuple(MONITORS)))])
    suite = _load(operands[1])
    with open_output(arguments.output, signals) as file:
        recording = record(suite)
        check_truth(suite, recording.truth)
        file.write(format_alarms(run_monitor(MONITORS[name], recording, suite.window)).encode())
    return 0


def _score(arguments: argparse.Namespace, operands: Sequence[str], signals: Signals) -> int:
    from clpm_execd.benchmark.judging import evaluate
    from clpm_execd.benchmark.results import format_text, read_results
    from clpm_execd.cli.terminal import print_drawing
    from clpm_execd.outputs.generate import open_output
    from clpm_execd.pictures.score_report import score_tables
    from clpm_execd.plant.faults import FAULTS
    from clpm_execd.score import read_alarms, score

    suite = _load(operands[0])
    truth = _read_truth(suite, arguments.data)
    alarms = read_alarms(operands[1], truth, "any")
    diagnoses = [alarm for alarm in alarms if alarm.fault in FAULTS]
    row = evaluate(_YOURS, suite.name, truth, alarms, names_kinds=bool(diagnoses) or not alarms)
    if arguments.output is not None:
        with open_output(arguments.output, signals) as file:
            file.write((json.dumps(row.to_table(), indent=2) + "\n").encode())
        return 0
    draft = "; a draft, which may still change" if suite.is_draft else ""
    days = suite.duration / DAY * len(truth.observation)
    print_text(f"{suite.name}: {suite.title}; {len(truth.observation)} loops, {days:.3g} loop-days{draft}\n"
               f"With 90 % intervals over loops.\n\n{format_text([row, *read_results().get(suite.name, ())])}\n")
    return print_drawing(score_tables(score(truth, diagnoses or alarms, by="kind" if diagnoses else "any")), 120)


def _read_truth(suite: Suite, folder: Path | None) -> GroundTruth:
    """Return the ground truth from a data folder, or from the plant."""
    from clpm_execd.benchmark.dataset import check_truth, check_truth_file
    from clpm_execd.benchmark.suite_recording import TruthCollector, open_plant, simulate_as_frozen
    from clpm_execd.score import read_truth

    if folder is not None:
        return read_truth(check_truth_file(folder, suite))
    plant, _, samples = open_plant(suite)
    truth = TruthCollector()
    for block in simulate_as_frozen(suite, plant, samples):
        truth.add(block)
    return check_truth(suite, truth.truth(plant.interval))


def _stream(arguments: argparse.Namespace, operands: Sequence[str], signals: Signals) -> int:
    """Stream the samples at their own times: a backfill from the start of the suite, which ends with it."""
    from clpm_execd.cli.assembly import load_settings
    from clpm_execd.cli.commands import stream

    settings = load_settings(arguments)
    values = {"STREAM_INTERVAL": settings.interval, "CLPM_SHARD": settings.shard, "CLPM_STATE": settings.state}
    problems = [Problem(name, "would change the samples of a suite", "unset it, or name another file with --env-file")
                for name, value in values.items() if value is not None]
    if problems:
        raise BadInput(problems)
    suite = _load(operands[0])
    configuration = suite.read()
    since_start = max(0, time.time_ns() - (configuration.start or 0)) + DAY
    options = {**vars(arguments), "config": str(suite.path), "count": suite.count_samples(configuration),
               "backfill": f"{since_start // DAY}d", "demo": False}
    return stream.run(argparse.Namespace(**options), signals)


def _load(name: str) -> Suite:
    from clpm_execd.benchmark.suite import load_suite

    return load_suite(name)
