"""The start of a stream: its state folder is locked, its checkpoint read, and its source built at the resume point."""

from __future__ import annotations

import argparse
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import OpenedSource, build_encoder, build_source
from clpm_execd.clock import Clock
from clpm_execd.problems import BadInput, Problem
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.units import SECOND, describe_count, describe_duration

if TYPE_CHECKING:
    from clpm_execd.config.loops import Configuration
    from clpm_execd.config.settings import Settings
    from clpm_execd.control.journal import Journal
    from clpm_execd.encoding.encoder import Encoder
    from clpm_execd.plant.source import Source
    from clpm_execd.state.checkpoint import Checkpoint, CheckpointWriter
    from clpm_execd.state.folder_lock import FolderLock

CLOCK_AHEAD = 5 * SECOND  # less than this is a clock that is being disciplined, and not worth a line


@dataclass(frozen=True, slots=True)
class StreamStart:
    """A stream that is about to run.

    lock: on the state folder, if there is one. is_exclusive: whether no other process can have emitted the first
    sample already, because a state folder or a backfill rules that out. journal: where the changes of its loops are
    kept.
    """

    opened_source: OpenedSource
    encoder: Encoder
    lock: FolderLock | None
    is_exclusive: bool
    journal: Journal | None = None

    @property
    def source(self) -> Source:
        return self.opened_source.source


def open_stream(arguments: argparse.Namespace, settings: Settings, configuration: Configuration, clock: Clock,
                signals: Signals, log: logging.Logger) -> StreamStart:
    """Lock the state folder and resume from its checkpoint; raise BadInput if another process has the lock."""
    backfill = parse_backfill(arguments) or _compute_fast_backlog(arguments, configuration, clock)
    if settings.state is None:
        if backfill and not arguments.speed and arguments.command is None:  # a suite is always repeated
            log.warning("--backfill without --state: every start of the stream backfills again")
        opened_source = build_source(arguments, configuration, backfill=backfill,
                                     journal=() if arguments.control else None)
        encoder = build_encoder("lp", opened_source.source, configuration)
        return StreamStart(opened_source, encoder, None, is_exclusive=backfill > 0)
    from clpm_execd.state.checkpoint import read_checkpoint
    from clpm_execd.state.folder_lock import FolderLock

    lock = FolderLock(settings.state, log)
    lock.acquire(clock, signals)
    checkpoint, is_known = None, True
    if lock.is_held:
        checkpoint, is_known = read_checkpoint(lock.folder, _choose_source_kind(arguments), log)
    if not is_known and backfill:
        log.warning("no backfill: the checkpoint that says what was emitted before cannot be read")
        backfill = 0
    return _resume(arguments, settings, configuration, lock, checkpoint, backfill, log)


def _resume(arguments: argparse.Namespace, settings: Settings, configuration: Configuration, lock: FolderLock,
            checkpoint: Checkpoint | None, backfill: int, log: logging.Logger) -> StreamStart:
    from clpm_execd.control.controlled_plant import ControlledPlant
    from clpm_execd.control.journal import Journal, JournalContents, read_journal_or_start_anew
    from clpm_execd.state.checkpoint import reject_checkpoint
    from clpm_execd.stored_names import CORRUPT_FOLDER, JOURNAL_FILE

    path, contents = lock.folder / JOURNAL_FILE, JournalContents()
    if not arguments.replay and lock.is_held:
        contents = read_journal_or_start_anew(path, lock.folder / CORRUPT_FOLDER, log)

    try:
        opened_source = build_source(arguments, configuration, backfill=backfill, checkpoint=checkpoint,
                                     max_gap=settings.max_gap, journal=contents.entries)
    except ValueError as why:
        if checkpoint is None:
            raise
        reject_checkpoint(lock.folder, log, str(why))
        return _resume(arguments, settings, configuration, lock, None, 0, log)
    encoder = build_encoder("lp", opened_source.source, configuration)
    if checkpoint:
        encoder.restore(checkpoint.encoder_state, opened_source.source.resumed_loops)
        _log_resume(checkpoint, opened_source, settings.max_gap, log)
        if arguments.backfill and opened_source.source.resumed_loops:
            log.warning("--backfill is not repeated: the stream goes on where its checkpoint in %s ends", lock.folder)
    source = opened_source.source
    journal = Journal(path, contents, source.plant.start) if isinstance(source, ControlledPlant) else None
    return StreamStart(opened_source, encoder, lock, is_exclusive=True, journal=journal)


def build_checkpoint_writer(start: StreamStart, arguments: argparse.Namespace, configuration: Configuration,
                            clock: Clock, log: logging.Logger, *, is_durable_at_once: bool) -> CheckpointWriter | None:
    """Return the writer of checkpoints, or None without a state folder.

    is_durable_at_once: whether a sample cannot be lost any more once it has been handed over.
    """
    if start.lock is None:
        return None
    from clpm_execd.state.checkpoint import READER_LAG_NS, CheckpointWriter

    return CheckpointWriter(start.lock, start.source, start.encoder, clock, log,
                            source_kind=_choose_source_kind(arguments), start=configuration.start,
                            lag=0 if is_durable_at_once else READER_LAG_NS)


def _choose_source_kind(arguments: argparse.Namespace) -> str:
    return "record" if arguments.replay else "plant"


def parse_backfill(arguments: argparse.Namespace) -> int:
    """Return how long ago the stream starts, ns; 0 for now."""
    from clpm_execd.units import parse_duration

    try:
        return parse_duration(arguments.backfill) if arguments.backfill else 0
    except ValueError as error:
        raise BadInput([Problem.from_error("--backfill", error)]) from None


def _compute_fast_backlog(arguments: argparse.Namespace, configuration: Configuration, clock: Clock) -> int:
    """Return how long ago a stream that runs faster than time starts, ns; 0 without --speed."""
    if arguments.speed is None:
        return 0
    backlog = clock.now() - configuration.start if configuration.start is not None else 0
    if backlog <= 0:
        raise BadInput([Problem("--speed", "has no effect without a start in the past",
                                "give --backfill 8h, or loops.toml a start in the past")])
    return backlog


def _log_resume(checkpoint: Checkpoint, opened_source: OpenedSource, max_gap: int, log: logging.Logger) -> None:
    from clpm_execd.state.resume_point import describe_excessive_gap

    now, source = time.time_ns(), opened_source.source
    restored_loops = source.resumed_loops
    if not restored_loops:
        why = describe_excessive_gap(checkpoint, now, max_gap) or "no loop of the checkpoint is configured unchanged"
        log.warning("%s; starting from scratch, at steady state", why)
        return
    new, removed_count = len(source.loops) - len(restored_loops), len(set(checkpoint.snapshot.loops) - restored_loops)
    missing = max(0, (now - opened_source.first_emit) // source.interval + 1)
    log.info("resumed after %s: %s restored, %d new, %d removed; backfilling %s per loop",
             describe_duration(max(0, now - checkpoint.taken_at)), describe_count(len(restored_loops), "loop"), new,
             removed_count, describe_count(missing, "sample"))
    if opened_source.first_emit - now > CLOCK_AHEAD:
        log.warning("the clock is %s behind the last sample; waiting until it has passed it",
                    describe_duration(opened_source.first_emit - now))
