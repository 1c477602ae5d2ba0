"""From the arguments to the objects that the rooms work with: settings, configuration, source and encoder."""

from __future__ import annotations

import argparse
import gc
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clpm_execd.cli.options import refuse_unused
from clpm_execd.problems import BadInput, Problem
from clpm_execd.units import LAST_INSTANT, LAST_TIME, SECOND

if TYPE_CHECKING:
    from clpm_execd.config.loops import Configuration
    from clpm_execd.config.settings import Settings
    from clpm_execd.control.changes import Change
    from clpm_execd.control.journal import JournalEntry
    from clpm_execd.encoding.encoder import Encoder
    from clpm_execd.encoding.sheet_formats import SheetPoints
    from clpm_execd.plant.loop_sheet import LoopSheetRow
    from clpm_execd.plant.source import Source
    from clpm_execd.plant.specs import LoopSpec
    from clpm_execd.records import Record
    from clpm_execd.runtime.os_signals import Signals
    from clpm_execd.state.checkpoint import Checkpoint
    from clpm_execd.state.resume_point import ResumePoint

_LINES_PER_STOP_CHECK = 50_000  # that are simulated without output: less than 0.1 s


@dataclass(frozen=True, slots=True)
class OpenedSource:
    """A source of samples that is ready to advance.

    first_emit: the first time that is emitted, ns since 1970; before it the source advances without output.
    assumptions: what was assumed about the records of a replay, a sentence each.
    """

    source: Source
    first_emit: int
    assumptions: tuple[str, ...] = ()


@contextmanager
def fast_startup() -> Iterator[None]:
    """Leave out, until the first sample, work that delays it and serves nothing.

    The garbage collector finds no garbage in a plant that is being built, and need not look at that plant later. And
    OpenBLAS, which numpy loads, starts no threads: that takes as long as the rest of numpy, and no stage multiplies
    large matrices.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def load_settings(arguments: argparse.Namespace) -> Settings:
    """Return the settings from options, environment and .env; raise BadInput with all errors."""
    from clpm_execd.config.settings import read_settings

    options = {"STREAM_INTERVAL": arguments.interval, "LOG_LEVEL": arguments.log_level,
               "LOG_FILE": arguments.log_file, "CLPM_LOOPS": arguments.config, "CLPM_SHARD": arguments.shard,
               "CLPM_STATE": arguments.state, "CLPM_MAX_GAP": arguments.max_gap, "CLPM_MAX_RATE": arguments.max_rate,
               "CLPM_SPOOL_LIMIT": arguments.spool_limit}
    on_command_line: Mapping[str, str] = {name: value for name, value in options.items() if value is not None}
    env_file = Path(arguments.env_file) if arguments.env_file else None
    return read_settings(os.environ, env_file, options=on_command_line)


def load_state_folder(arguments: argparse.Namespace) -> Path:
    """Return the state folder of a stream; raise BadInput where no setting names it."""
    folder = load_settings(arguments).state
    if folder is None:
        raise BadInput([Problem("--state", "is not set", "name the state folder of the stream, or set CLPM_STATE")])
    return folder


def load_configuration(arguments: argparse.Namespace, settings: Settings | None) -> Configuration:
    """Return the loops and what is configured with them; raise BadInput with all errors.

    settings: None if they had errors of their own, which have been reported.
    """
    from clpm_execd.config.loops import read_configuration

    if arguments.replay:
        refuse_unused(arguments, ("--demo", "--seed"), "with --replay")
    else:
        refuse_unused(arguments, ("--columns", "--timezone"), "without --replay")
    if settings is None:
        path = arguments.config or os.environ.get("CLPM_LOOPS")
        return read_configuration(Path(path) if path else None)
    configuration = read_configuration(settings.loops, seed=arguments.seed, interval=settings.interval,
                                       measurement=settings.measurement)
    if arguments.replay:  # a record comes without loop sheet, and without ground truth where it gets no fault
        if settings.shard is not None:
            raise BadInput([Problem("--shard", "cannot be combined with --replay", "give each process its own record")])
        truth = configuration.output.truth if _list_faulty_loops(configuration) else None
        return replace(configuration, output=replace(configuration.output, truth=truth, info=None))
    if arguments.demo:
        from clpm_execd.config.plants.demo import make_demo

        configuration = make_demo(configuration, arguments.demo)
    if settings.shard is not None:
        from clpm_execd.config.shard import select_shard

        configuration = replace(configuration, loops=select_shard(configuration.loops, settings.shard))
    return configuration


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A part of a plant's time.

    configuration: that of the plant, which may start earlier. first: time of the first sample, ns since 1970; None for
    no limit. duration: ns.
    """

    configuration: Configuration
    first: int | None
    duration: int


def load_time_range(arguments: argparse.Namespace, plant_start: int | None = None) -> TimeRange:
    """Return what --start and --duration select; raise BadInput with all errors.

    A plant with an earlier fixed start begins there: it is at --start what its stream is then. plant_start: where the
    plant begins if loops.toml does not say, ns since 1970.
    """
    from clpm_execd.units import parse_duration, parse_time

    problems: list[Problem] = []
    now = time.time_ns()
    start, duration = None, 0
    try:
        start = parse_time(arguments.start, now) if arguments.start else None
    except ValueError as error:
        problems.append(Problem.from_error("--start", error))
    try:
        duration = parse_duration(arguments.duration)
    except ValueError as error:
        problems.append(Problem.from_error("--duration", error))
    if problems:
        raise BadInput(problems)
    settings = load_settings(arguments)
    configuration = load_configuration(arguments, settings)
    if start == now:  # --start now: from the latest sample time on, as a stream, whatever loops.toml says
        return TimeRange(replace(configuration, start=None), None, duration)
    if configuration.start is None:
        configuration = replace(configuration, start=plant_start)
    if start is None:
        return TimeRange(configuration, None, duration)
    if arguments.replay or configuration.start is None or start < configuration.start:
        configuration = replace(configuration, start=start)
    return TimeRange(configuration, start, duration)


def skip_to(source: Source, first: int | None, signals: Signals) -> None:
    """Advance a source without output to its first instant that is not before `first`, ns since 1970, or to a stop."""
    while first is not None and source.next_time < first and not signals.should_stop:
        from clpm_execd.runtime.pacing import count_samples_per_block

        ahead = -(-(first - source.next_time) // source.interval)
        source.advance(min(ahead, count_samples_per_block(source, _LINES_PER_STOP_CHECK)))


def build_source(arguments: argparse.Namespace, configuration: Configuration, *, backfill: int = 0,
                 checkpoint: Checkpoint | None = None, max_gap: int = 0,
                 journal: Sequence[JournalEntry] | None = None) -> OpenedSource:
    """Return the plant, or the replay of records, at its resume point (see state.resume_point).

    backfill: how much to emit before now, ns. max_gap: the longest gap since the checkpoint that is backfilled, ns.
    journal: what was asked of this plant, whose loops can be changed then; None for a plant that stays as it is.
    Raises ValueError if the checkpoint does not fit this source.
    """
    from clpm_execd.plant.plant import Plant
    from clpm_execd.state.resume_point import find_resume_point

    def resume_point(interval: int) -> ResumePoint:
        return find_resume_point(configuration.start, interval, time.time_ns(), backfill=backfill,
                                 checkpoint=checkpoint, max_gap=max_gap)

    if arguments.replay:
        return _build_replay(arguments, configuration, resume_point)
    interval = configuration.interval or SECOND
    point = resume_point(interval)
    if journal is not None:
        return _build_controlled_plant(configuration, point, interval, journal)
    plant = Plant(configuration.loops, seed=configuration.seed, start=point.start, interval=interval,
                  scan=configuration.scan, snapshot=point.snapshot,
                  measures_truth=configuration.output.truth is not None)
    return OpenedSource(plant, point.first_emit)


def _build_controlled_plant(configuration: Configuration, point: ResumePoint, interval: int,
                            journal: Sequence[JournalEntry]) -> OpenedSource:
    """Return a plant whose loops are as its journal has changed them so far."""
    from clpm_execd.control.controlled_plant import ControlledPlant
    from clpm_execd.plant.loop_set import LoopSet
    from clpm_execd.plant.plant import Plant, choose_default_scan

    scan = configuration.scan or choose_default_scan(interval)
    next_tick = point.start // scan if point.snapshot is None else point.snapshot.next_tick
    loops = LoopSet.of(configuration.loops)
    pending: list[Change] = []
    if journal:  # a stream that nobody has changed starts without these modules
        from clpm_execd.control.changes import apply_journal

        loops, pending = apply_journal(journal, loops, next_tick * scan, scan / SECOND)
    plant = Plant(loops, seed=configuration.seed, start=point.start, interval=interval, scan=scan,
                  snapshot=point.snapshot, measures_truth=configuration.output.truth is not None)
    return OpenedSource(ControlledPlant(plant, loops, pending), point.first_emit)


def _build_replay(arguments: argparse.Namespace, configuration: Configuration,
                  resume_point: Callable[[int], ResumePoint]) -> OpenedSource:
    from clpm_execd.records import Replay

    records_and_paths = load_records(arguments, map(Path, arguments.replay))
    records = [record for record, _ in records_and_paths]
    assumptions = tuple(f"{path}: {assumption}" for record, path in records_and_paths
                        for assumption in record.assumptions)
    interval = configuration.interval or min(record.interval for record in records)
    point = resume_point(interval)
    if loops := _list_faulty_loops(configuration):
        from clpm_execd.records.faulty_replay import FaultyReplay

        return OpenedSource(
            FaultyReplay(records, loops, start=point.start, interval=interval, seed=configuration.seed,
                         scan=configuration.scan, snapshot=point.snapshot), point.first_emit, assumptions)
    replay = Replay(records, start=point.start, interval=interval, snapshot=point.snapshot)
    return OpenedSource(replay, point.first_emit, assumptions)


def _list_faulty_loops(configuration: Configuration) -> list[LoopSpec]:
    """Return the loops that have a fault of their own."""
    return [loop for loop in configuration.loops if loop.faults]


def load_records(arguments: argparse.Namespace, paths: Iterable[Path]) -> list[tuple[Record, Path]]:
    """Return the records of files, read with --columns, --timezone and, where they have no times, --interval."""
    from clpm_execd.records import Columns, parse_columns, parse_zone, read_records
    from clpm_execd.units import parse_duration

    columns = parse_columns(arguments.columns) if arguments.columns else Columns()
    zone = parse_zone(arguments.timezone) if arguments.timezone else None
    interval = None
    if getattr(arguments, "interval", None) is not None:
        try:
            interval = parse_duration(arguments.interval)
        except ValueError as error:
            raise BadInput([Problem.from_error("--interval", error)]) from None
        if interval <= 0:
            raise BadInput([Problem("--interval", "must be greater than 0", "give a time such as 1s")])
    return read_records(paths, columns=columns, zone=zone, interval=interval)


def count_samples(source: Source, duration: int) -> int:
    """Return how many samples of each loop a duration has, ns; raise BadInput if a timestamp cannot hold the last."""
    samples = -(-duration // source.interval)
    if source.next_time + (samples - 1) * source.interval > LAST_TIME:
        what = f"a sample would lie beyond {LAST_INSTANT}, the last time that a timestamp can hold"
        raise BadInput([Problem("--duration", what, "give a shorter duration, or an earlier start")])
    return samples


def build_encoder(form: str, source: Source, configuration: Configuration) -> Encoder:
    """Return the encoder of a form: lp, csv or wide."""
    output = configuration.output
    if form == "lp":
        from clpm_execd.encoding.line_protocol import LineProtocol
        from clpm_execd.plant.loop_set import LoopSet

        sheet = _build_sheet(source, configuration) if output.info else None
        return LineProtocol(source.loops, measurement=output.measurement, fields=output.fields,
                            mode_tag=output.mode_tag, tags=output.tags, truth=output.truth,
                            modes=output.modes, loop_tags=LoopSet.of(configuration.loops).tags_by_id(),
                            sheet=sheet)
    from clpm_execd.encoding.csv import LongCsv, WideCsv

    if form == "csv":
        return LongCsv(source.loops, measurement=output.measurement, fields=output.fields, truth=output.truth,
                       modes=output.modes)
    return WideCsv(source.loops, fields=output.fields, truth=output.truth is not None, modes=output.modes)


def _build_sheet(source: Source, configuration: Configuration) -> SheetPoints:
    """Return the loop sheet of a stream, which follows the changes of a plant that is controlled."""
    from clpm_execd.control.controlled_plant import ControlledPlant
    from clpm_execd.encoding.sheet_formats import SheetPoints
    from clpm_execd.plant.loop_sheet import make_loop_sheet

    output = configuration.output
    assert output.info is not None

    def make(loops: Sequence[LoopSpec]) -> Sequence[LoopSheetRow]:
        return make_loop_sheet(loops, source.interval, configuration.scan, output.modes)

    if not isinstance(source, ControlledPlant):
        return SheetPoints(make(configuration.loops), output.info, output.tags)
    loops, rows = source.specs, make(source.specs)

    def make_current_rows() -> Sequence[LoopSheetRow]:
        nonlocal loops, rows
        if source.specs is not loops:
            loops, rows = source.specs, make(source.specs)
        return rows

    return SheetPoints(rows, output.info, output.tags, make_current_rows)
