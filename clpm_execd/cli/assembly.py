"""From the arguments to what the rooms work with: settings, configuration, the source of samples, their encoder."""

from __future__ import annotations

import argparse
import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clpm_execd.cli.options import refuse_unused, refused
from clpm_execd.problems import BadInput, Problem
from clpm_execd.units import SECOND

if TYPE_CHECKING:
    from clpm_execd.config.loops import Configuration
    from clpm_execd.config.settings import Settings
    from clpm_execd.encoding.encoder import Encoder
    from clpm_execd.plant.source import Source
    from clpm_execd.records import Record
    from clpm_execd.state.checkpoint import Checkpoint
    from clpm_execd.state.resume_point import Beginning


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings, by option, environment and .env; BadInput with all that is wrong."""
    from clpm_execd.config.settings import read_settings

    options = {"STREAM_INTERVAL": arguments.interval, "LOG_LEVEL": arguments.log_level,
               "LOG_FILE": arguments.log_file, "CLPM_LOOPS": arguments.config, "CLPM_SHARD": arguments.shard,
               "CLPM_STATE": arguments.state, "CLPM_MAX_GAP": arguments.max_gap, "CLPM_MAX_RATE": arguments.max_rate,
               "CLPM_SPOOL_LIMIT": arguments.spool_limit}
    given: Mapping[str, str] = {name: value for name, value in options.items() if value is not None}
    return read_settings(os.environ, Path(arguments.env_file) if arguments.env_file else None, options=given)


@contextmanager
def starting() -> Iterator[None]:
    """The start of a stream, up to its first sample, without what takes time there and is for nothing.

    Nobody looks for garbage, nor later among what is made in it: a plant and its loops are none. And OpenBLAS, which
    numpy loads, makes no threads, which take as long as all of numpy: no stage multiplies large matrices.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def configuration_of(arguments: argparse.Namespace, settings: Settings | None,
                     start: int | None = None) -> Configuration:
    """The loops and what is said of them; settings: None where those were wrong, and have been told of."""
    from clpm_execd.config.loops import read_configuration

    if arguments.replay:
        refuse_unused(arguments, ("--demo", "--seed"), "with --replay")
    else:
        refuse_unused(arguments, ("--columns", "--timezone"), "without --replay")
    if settings is None:  # what is wrong with them has been said; the loops may have problems of their own
        given = arguments.config or os.environ.get("CLPM_LOOPS")
        return read_configuration(Path(given) if given else None)
    configuration = read_configuration(settings.loops, seed=arguments.seed, interval=settings.interval, start=start,
                                       measurement=settings.measurement)
    if arguments.replay:  # nobody knows the truth about a record
        if settings.shard is not None:
            raise BadInput([Problem("--shard", "a record is not shared out", "give each process a record of its own")])
        return replace(configuration, output=replace(configuration.output, truth=None))
    if arguments.demo:
        from clpm_execd.config.demo import make_demo

        configuration = make_demo(configuration)
    if settings.shard is not None:
        from clpm_execd.config.shard import select_shard

        configuration = replace(configuration, loops=select_shard(configuration.loops, settings.shard))
    return configuration


def stretch_of(arguments: argparse.Namespace) -> tuple[Configuration, int]:
    """The loops and the duration, ns, of what --start and --duration ask for; BadInput with all that is wrong."""
    from clpm_execd.units import parse_duration, parse_time

    problems: list[Problem] = []
    now = time.time_ns()
    start, duration = None, 0
    try:
        start = parse_time(arguments.start, now) if arguments.start else None
    except ValueError as error:
        problems.append(refused("--start", error))
    try:
        duration = parse_duration(arguments.duration)
    except ValueError as error:
        problems.append(refused("--duration", error))
    if problems:
        raise BadInput(problems)
    configuration = configuration_of(arguments, settings_of(arguments), start=start)
    if start == now:  # whatever start the loops have; from the latest instant of the grid, as a stream does
        configuration = replace(configuration, start=None)
    return configuration, duration


def source_of(arguments: argparse.Namespace, configuration: Configuration, *, backfill: int = 0,
              kept: Checkpoint | None = None, catch_up: int = 0) -> tuple[Source, int]:
    """Where the samples come from, and the first instant to emit (see stream.beginning).

    ValueError on a checkpoint that is not this source's.
    """
    from clpm_execd.plant.plant import Plant
    from clpm_execd.state.resume_point import beginning

    def begin(interval: int) -> Beginning:
        return beginning(configuration.start, interval, time.time_ns(), backfill=backfill, kept=kept,
                         catch_up=catch_up)

    arguments.assumptions = []
    if arguments.replay:
        return _replay(arguments, configuration, begin)
    interval = configuration.interval or SECOND
    at = begin(interval)
    plant = Plant(configuration.loops, seed=configuration.seed, start=at.start, interval=interval,
                  scan=configuration.scan, snapshot=at.snapshot)
    return plant, at.since


def _replay(arguments: argparse.Namespace, configuration: Configuration,
            begin: Callable[[int], Beginning]) -> tuple[Source, int]:
    from clpm_execd.records import Replay

    records = [record_of(arguments, Path(path)) for path in arguments.replay]
    for path, record in zip(arguments.replay, records, strict=True):
        arguments.assumptions += [f"{path}: {assumption}" for assumption in record.assumptions]
    interval = configuration.interval or min(record.interval for record in records)
    at = begin(interval)
    return Replay(records, start=at.start, interval=interval, snapshot=at.snapshot), at.since


def record_of(arguments: argparse.Namespace, path: Path) -> Record:
    """The record in a file, read as --columns and --timezone say."""
    from clpm_execd.records import Columns, parse_columns, parse_zone, read_record

    columns = parse_columns(arguments.columns) if arguments.columns else Columns()
    zone = parse_zone(arguments.timezone) if arguments.timezone else None
    return read_record(path, columns=columns, zone=zone)


def encoder_for(form: str, source: Source, configuration: Configuration) -> Encoder:
    """The encoder of a form: lp, csv or wide."""
    output = configuration.output
    if form == "lp":
        from clpm_execd.encoding.line_protocol import LineProtocol

        return LineProtocol(source.loops, measurement=output.measurement, fields=output.fields,
                            mode_tag=output.mode_tag, tags=output.tags, truth=output.truth)
    from clpm_execd.encoding.csv import LongCsv, WideCsv

    if form == "csv":
        return LongCsv(source.loops, measurement=output.measurement, fields=output.fields, truth=output.truth)
    return WideCsv(source.loops, fields=output.fields, truth=output.truth is not None)
