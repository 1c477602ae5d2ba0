"""`generate`: a time range in batch mode, as fast as possible."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import (
    build_encoder,
    build_source,
    count_samples,
    fast_startup,
    load_time_range,
    skip_to,
)
from clpm_execd.cli.options import (
    SOURCE_OPTIONS,
    add_command,
    add_shared_options,
    add_time_range,
    parse_output_path,
    refuse_unused,
)
from clpm_execd.cli.terminal import is_colour_terminal
from clpm_execd.paths import COMPRESSED_SUFFIXES, load_zstd
from clpm_execd.problems import BadInput, Problem
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.units import SECOND, describe_count, describe_duration, format_duration, parse_duration

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands
    from clpm_execd.config.loops import Configuration
    from clpm_execd.control.journal import JournalContents
    from clpm_execd.outputs.generate import Destination
    from clpm_execd.plant.source import Source

FORMATS = ("lp", "csv", "wide", "parquet")
PARTITIONS = ("day", "loop")
_FORMAT_BY_SUFFIX = {".lp": "lp", ".csv": "csv", ".parquet": "parquet"}


def add(commands: Commands) -> None:
    command = add_command(
        commands, "generate", "write a time range in batch mode (faster than real time)",
        examples=["clpm-execd generate --duration 10m --format wide",
                  "clpm-execd generate --start 2025-01-10T10:05:00Z --duration 24h --output day.csv.gz",
                  "clpm-execd generate --duration 30d --sample 10s --partition day --output month"])
    add_shared_options(command, "source", *SOURCE_OPTIONS)
    command.add_argument("--sample", metavar="D", default=argparse.SUPPRESS,
                         help="time between the samples that are written, a multiple of the interval; the plant stays "
                              "the same (default the interval)")
    add_shared_options(command, "runtime", "--env-file")
    add_time_range(command)
    command.add_argument_group("control").add_argument(
        "--journal", metavar="FILE", default=argparse.SUPPRESS,
        help="repeat what was changed in a stream, from its start: `journal` in its --state (default none)")
    group = command.add_argument_group("output")
    group.add_argument("--output", metavar="FILE", type=parse_output_path,
                       help="output file, compressed if it ends in .gz or .zst (default -, stdout)")
    group.add_argument("--format", choices=FORMATS, help="line protocol, long or wide CSV, or Parquet (default by the "
                                                         "suffix of the file, else lp)")
    group.add_argument("--partition", choices=PARTITIONS,
                       help="Parquet in the folder --output, with a file for each day or loop (default one file)")
    command.set_defaults(run=run, journal=None, sample=None)


def _read_journal(arguments: argparse.Namespace) -> JournalContents | None:
    if arguments.journal is None:
        return None
    from clpm_execd.control.journal import read_journal

    if arguments.replay:
        refuse_unused(arguments, ["--journal"], "with --replay, which has no plant to change")
    try:
        return read_journal(Path(arguments.journal))
    except FileNotFoundError:
        where = f"--journal {arguments.journal}"
        raise BadInput([Problem(where, "does not exist", "name the file `journal` in a state folder")]) from None


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Write the time range; return the exit status."""
    form = _choose_format(arguments)
    with fast_startup():
        from clpm_execd.outputs import generate

        journal = _read_journal(arguments)
        time_range = load_time_range(arguments, journal.start if journal else None)
        configuration = _with_sample(arguments, time_range.configuration)
        source = build_source(arguments, configuration, journal=journal.entries if journal else None).source
        destination = _build_destination(arguments, form, source, configuration)
    skip_to(source, time_range.first, signals)
    samples = count_samples(source, time_range.duration)
    # The loop sheet follows the changes of the plant that this process advances.
    is_split = journal is None or configuration.output.info is None
    if not is_colour_terminal(sys.stderr) or (arguments.output is None and is_colour_terminal(sys.stdout)):
        generate.run(source, destination, samples, signals=signals, is_split=is_split)
        return 0
    progress = _Progress(samples)
    try:
        sample_count = generate.run(source, destination, samples, signals=signals, is_split=is_split,
                                    show=progress.show)
    finally:
        progress.close()
    if not signals.should_stop:
        progress.summarize(arguments.output, sample_count, len(source.loops))
    return 0


def _choose_format(arguments: argparse.Namespace) -> str:
    """Return the format by --format or the suffix of --output; a name without one, such as /dev/stdout, takes lp."""
    output: Path | None = arguments.output
    suffixes = output.suffixes if output else []
    compression = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSED_SUFFIXES else None
    form = arguments.format
    if arguments.partition and suffixes and suffixes[-1] in (".lp", ".csv"):
        raise BadInput([Problem(f"--output {output}", "--partition writes a folder of Parquet files",
                                "name a folder, or leave out --partition")])
    if form is None and arguments.partition:
        form = "parquet"
    elif form is None and suffixes and suffixes[-1] not in _FORMAT_BY_SUFFIX:
        remedy = "name a file *.lp, *.csv, *.wide.csv or *.parquet, or give --format"
        raise BadInput([Problem(f"--output {output}", f"unknown suffix {suffixes[-1]}", remedy)])
    elif form is None:
        is_wide = suffixes[-2:] == [".wide", ".csv"]
        form = "wide" if is_wide else _FORMAT_BY_SUFFIX[suffixes[-1]] if suffixes else "lp"
    if form != "parquet":
        refuse_unused(arguments, ["--partition"], "without Parquet", "remove it, or give --format parquet")
        return str(form)
    if compression:
        raise BadInput([Problem(f"--output {output}", "Parquet compresses by itself", f"remove {compression}")])
    if arguments.partition and output is None:
        raise BadInput([Problem("--partition", "stdout is one file", "name a folder with --output")])
    return "parquet"


def _with_sample(arguments: argparse.Namespace, configuration: Configuration) -> Configuration:
    """Return the configuration whose plant is sampled every --sample, and stays the same plant otherwise."""
    if arguments.sample is None:
        return configuration
    if arguments.replay:
        refuse_unused(arguments, ["--sample"], "with --replay", "give --interval")
    from clpm_execd.plant.plant import choose_default_scan

    interval = configuration.interval or SECOND
    try:
        sample = parse_duration(arguments.sample)
    except ValueError as error:
        raise BadInput([Problem.from_error("--sample", error)]) from None
    if sample % interval:
        what = f"{format_duration(sample)} is not a multiple of the interval, {format_duration(interval)}"
        raise BadInput([Problem("--sample", what, f"give {format_duration(max(1, sample // interval) * interval)}")])
    return replace(configuration, interval=sample, scan=configuration.scan or choose_default_scan(interval))


def _build_destination(arguments: argparse.Namespace, form: str, source: Source,
                       configuration: Configuration) -> Destination:
    if form == "parquet":
        from clpm_execd.extras import require
        from clpm_execd.outputs.parquet_files import ParquetFiles

        require("parquet", "pyarrow")
        output = configuration.output
        return ParquetFiles(arguments.output, source.loops, output.fields, output.modes, output.truth is not None,
                            arguments.partition)
    from clpm_execd.outputs.generate import TextFile

    if arguments.output and arguments.output.suffix == ".zst":
        load_zstd()
    return TextFile(build_encoder(form, source, configuration), arguments.output)


class _Progress:
    """What a person at a terminal sees on stderr: a bar, and one line at the end; nothing elsewhere."""

    def __init__(self, samples: int) -> None:
        from clpm_execd.cli.terminal import TaskBar

        self._samples, self._start_time = samples, time.monotonic()
        self._bar = TaskBar("generating")

    def show(self, count: int) -> None:
        """Show that so many samples of each loop are written."""
        remaining = (time.monotonic() - self._start_time) * (self._samples - count) / count
        self._bar.show(count / self._samples, f"{describe_duration(remaining * SECOND)} to go")

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()

    def summarize(self, path: Path | None, sample_count: int, loops: int) -> None:
        """Print how many samples of all loops were written, how large they are, and how fast it was."""
        seconds = time.monotonic() - self._start_time
        size = "" if path is None else f", {_measure_size(path) / 1e6:,.1f} MB"
        print(f"{path or 'stdout'}: {describe_count(sample_count, 'sample')} of {describe_count(loops, 'loop')}{size}, "
              f"{seconds:.1f} s, {sample_count / seconds:,.0f} samples/s", file=sys.stderr)


def _measure_size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.rglob("*.parquet") if path.is_dir() else [path]))
