"""The state folder of a stream: claimed, read, and what the stream goes on from."""

from __future__ import annotations

import argparse
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import encoder_for, source_of
from clpm_execd.cli.options import refused
from clpm_execd.clock import Clock
from clpm_execd.problems import BadInput
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.units import SECOND, human_duration

if TYPE_CHECKING:
    from clpm_execd.config.loops import Configuration
    from clpm_execd.config.settings import Settings
    from clpm_execd.encoding.encoder import Encoder
    from clpm_execd.plant.source import Source
    from clpm_execd.state.checkpoint import Checkpoint, Keeper
    from clpm_execd.state.folder_lock import Claim


@dataclass(frozen=True, slots=True)
class Begun:
    """A stream that is about to run. since: the first instant to emit. claim: on the state folder, where there is one.

    apart: whether no other process can have handed over its first instant: the state folder or the past sees to that.
    """

    source: Source
    encoder: Encoder
    since: int
    claim: Claim | None
    apart: bool


def begin(arguments: argparse.Namespace, settings: Settings, configuration: Configuration, clock: Clock,
          signals: Signals, log: logging.Logger) -> Begun:
    """Claim the folder, go on from its checkpoint; BadInput where another process has it."""
    backfill = backfill_of(arguments)
    if settings.state is None:
        if backfill:
            log.warning("--backfill without --state: each time the stream is started it fills in the time again")
        source, since = source_of(arguments, configuration, backfill=backfill)
        return Begun(source, encoder_for("lp", source, configuration), since, None, apart=backfill > 0)
    from clpm_execd.state.checkpoint import read
    from clpm_execd.state.folder_lock import Claim

    claim = Claim(settings.state, log)
    claim.wait(clock, signals)
    kept, known = read(claim.folder, _kind(arguments), log) if claim.held else (None, True)
    if not known and backfill:
        log.warning("nothing is backfilled: it is not known what has been")
        backfill = 0
    return _going_on(arguments, settings, configuration, claim, kept, backfill, log)


def _going_on(arguments: argparse.Namespace, settings: Settings, configuration: Configuration, claim: Claim,
              kept: Checkpoint | None, backfill: int, log: logging.Logger) -> Begun:
    from clpm_execd.state.checkpoint import set_aside

    try:
        source, since = source_of(arguments, configuration, backfill=backfill, kept=kept, catch_up=settings.max_gap)
    except ValueError as why:
        if kept is None:
            raise
        set_aside(claim.folder, log, str(why))
        return _going_on(arguments, settings, configuration, claim, None, 0, log)
    encoder = encoder_for("lp", source, configuration)
    if kept:
        encoder.restore(kept.told, source.resumed_loops)
        _tell(kept, source, since, log)
    return Begun(source, encoder, since, claim, apart=True)


def keeper_of(begun: Begun, arguments: argparse.Namespace, configuration: Configuration, clock: Clock,
              log: logging.Logger, *, at_once: bool) -> Keeper | None:
    """Who keeps the memory of the stream, where there is a folder for it.

    at_once: whether what is handed over is safe with whoever takes it.
    """
    if begun.claim is None:
        return None
    from clpm_execd.state.checkpoint import LAG, Keeper

    return Keeper(begun.claim, begun.source, begun.encoder, clock, log, kind=_kind(arguments),
                  start=configuration.start, lag=0 if at_once else LAG)


def _kind(arguments: argparse.Namespace) -> str:
    return "record" if arguments.replay else "plant"


def backfill_of(arguments: argparse.Namespace) -> int:
    """How long ago the stream is to begin, ns; 0 for now."""
    from clpm_execd.units import parse_duration

    try:
        return parse_duration(arguments.backfill) if arguments.backfill else 0
    except ValueError as error:
        raise BadInput([refused("--backfill", error)]) from None


def _tell(kept: Checkpoint, source: Source, since: int, log: logging.Logger) -> None:
    now = time.time_ns()
    if not source.resumed_loops:
        log.warning("no loop is as it was when the stream ended: all begin at rest")
        return
    new, gone = len(source.loops) - len(source.resumed_loops), len(set(kept.snapshot.loops) - source.resumed_loops)
    log.info("going on after %s: %d loops as they were, %d begin at rest, %d are gone; %s to fill in",
             human_duration(max(0, now - kept.taken)), len(source.resumed_loops), new, gone,
             f"{max(0, now - since) // source.interval + 1 if now >= since else 0} samples")
    if since - now > 5 * SECOND:
        log.warning("the clock is %s before the last sample; waiting until it is past", human_duration(since - now))
