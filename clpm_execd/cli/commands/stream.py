"""The two streams: to stdout, or with --direct into InfluxDB."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import configuration_of, settings_of, starting
from clpm_execd.cli.options import refuse_unused, whole_number
from clpm_execd.cli.terminal import coloured
from clpm_execd.problems import BadInput
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.units import SECOND

if TYPE_CHECKING:
    from logging import Logger

    from clpm_execd.cli.resume import Begun
    from clpm_execd.cli.terminal import PastBar
    from clpm_execd.clock import Clock
    from clpm_execd.config.loops import Configuration
    from clpm_execd.config.settings import Connection, Settings
    from clpm_execd.influx.client import Influx, Writer
    from clpm_execd.outputs.self_metrics import Metrics
    from clpm_execd.plant.source import Source
    from clpm_execd.runtime.progress import Progress

LOG_FILE = Path("data_streaming_service.log")
# Names that options had in 0.1.0 and keep, outside the help.
ALIASES = {"--pace": "--max-rate", "--catch-up": "--max-gap"}


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the stream")
    group.add_argument("--direct", action="store_true",
                       help="write to InfluxDB by INFLUXDB_URL, _TOKEN, _ORG and _BUCKET; see env.example")
    group.add_argument("--backfill", metavar="D", help="begin so long ago, at full speed up to now, then live; with "
                                                       "--state once only (default none)")
    group.add_argument("--max-rate", metavar="N", default=argparse.SUPPRESS,
                       help="limit of a backfill on stdout in points/s, 0 for no limit (default 2000 under Telegraf)")
    group.add_argument("--max-gap", metavar="D", default=argparse.SUPPRESS,
                       help="longest gap that is backfilled after a stop or a stall (default 24h)")
    for alias, option in ALIASES.items():
        group.add_argument(alias, dest=option.removeprefix("--").replace("-", "_"), default=argparse.SUPPRESS,
                           help=argparse.SUPPRESS)
    group.add_argument("--spool-limit", metavar="SIZE", default=argparse.SUPPRESS,
                       help="what may wait in --state while InfluxDB is away (default 2GB)")
    group.add_argument("--count", metavar="N", type=whole_number,
                       help="stop after N samples of every loop (default never)")


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Stream until asked to stop; the exit status."""
    with starting():
        from logging import getLogger

        from clpm_execd.cli.resume import begin
        from clpm_execd.runtime.logging_setup import configure
        from clpm_execd.runtime.pacing import SystemClock
        from clpm_execd.runtime.progress import Progress

        settings = settings_of(arguments)
        configuration = configuration_of(arguments, settings)
        _refuse_unused(arguments, settings)
        connection = settings.require_connection() if arguments.direct else None
        secrets = [connection.token.reveal()] if connection else []
        hide = configure(settings.log_level, telegraf=not arguments.direct, secrets=secrets,
                         log_file=settings.log_file or (LOG_FILE if arguments.direct else None))
        log, clock = getLogger("clpm_execd"), SystemClock()
        for warning in settings.warnings():
            log.warning("%s", warning)
        begun = begin(arguments, settings, configuration, clock, signals, log)
    for assumption in arguments.assumptions:
        log.info("%s", assumption)
    progress = Progress(clock, log, _bar() if _watched() and coloured(sys.stderr) else None)
    try:
        if connection is None:
            return _to_stdout(arguments, settings, configuration, begun, progress, clock, signals, log)
        writer = _writer(settings, connection, hide)
        return _to_influxdb(arguments, settings, configuration, begun, writer, progress, clock, signals, log)
    finally:
        progress.close()


def _refuse_unused(arguments: argparse.Namespace, settings: Settings) -> None:
    if not arguments.direct:
        refuse_unused(arguments, ["--spool-limit"], "without --direct")
    else:
        refuse_unused(arguments, ["--max-rate"], "with --direct")
    if settings.state is None:
        refuse_unused(arguments, ["--spool-limit"], "without a state folder", "name one with --state")


def _to_stdout(arguments: argparse.Namespace, settings: Settings, configuration: Configuration, begun: Begun,
               progress: Progress, clock: Clock, signals: Signals, log: Logger) -> int:
    from clpm_execd.cli.resume import keeper_of
    from clpm_execd.outputs import execd

    source, under_telegraf = begun.source, execd.started_by_telegraf()
    for line in _greeting(source) if _watched() and not under_telegraf else [
            f"start: {len(source.loops)} loops every {source.interval / SECOND:g} s to stdout"]:
        log.info("%s", line)
    limit = settings.max_rate if settings.max_rate is not None else execd.PACE if under_telegraf else 0
    status = execd.run(source, begun.encoder, clock=clock, signals=signals, log=log, since=begun.since,
                       count=arguments.count, catch_up=settings.max_gap, pace=limit or None, progress=progress,
                       succeeds=arguments.count is None and under_telegraf and not begun.apart,
                       metrics=_metrics(configuration, source),
                       keeper=keeper_of(begun, arguments, configuration, clock, log,
                                        at_once=execd.keeps_what_it_takes(1)))
    log.info("stop")
    return status


def _to_influxdb(arguments: argparse.Namespace, settings: Settings, configuration: Configuration, begun: Begun,
                 writer: Writer, progress: Progress, clock: Clock, signals: Signals, log: Logger) -> int:
    from clpm_execd.cli.resume import keeper_of
    from clpm_execd.outputs import direct

    if _watched():
        log.info("stop with Ctrl-C; how it goes is also in %s", settings.log_file or LOG_FILE)
    queue, quarantine = None, None
    if settings.state is not None:
        from clpm_execd.delivery.disk_queue import MAX_BYTES, DiskQueue
        from clpm_execd.delivery.health import Heartbeat
        from clpm_execd.delivery.quarantine import Quarantine

        writer = Heartbeat(writer, settings.state, begun.source.interval / SECOND)
        queue = DiskQueue(settings.state, log, max_bytes=settings.spool_limit or MAX_BYTES)
        quarantine = Quarantine(settings.state, log)
    return direct.run(begun.source, begun.encoder, writer, clock=clock, signals=signals, log=log, since=begun.since,
                      count=arguments.count, metrics=_metrics(configuration, begun.source), catch_up=settings.max_gap,
                      queue=queue, quarantine=quarantine, progress=progress,
                      keeper=keeper_of(begun, arguments, configuration, clock, log, at_once=True))


def _bar() -> PastBar:
    from clpm_execd.cli.terminal import PastBar

    return PastBar()


def _metrics(configuration: Configuration, source: Source) -> Metrics | None:
    """What the stream says of itself, where it is asked to."""
    if configuration.output.metrics is None:
        return None
    from clpm_execd.outputs.self_metrics import Metrics

    return Metrics(configuration.output.metrics, configuration.output.tags, interval=source.interval,
                   started=time.time_ns())


def _watched() -> bool:
    """Whether a person at a terminal started the stream."""
    try:
        return os.isatty(0) and os.isatty(2)
    except OSError:
        return False


def _greeting(source: Source) -> tuple[str, ...]:
    """To a person: what is streamed, where it goes, how to stop it and how to go on."""
    first, last = source.loops[0], source.loops[-1]
    loops = first if first == last else f"{len(source.loops)} loops, {first} to {last}"
    where = "this terminal, and is kept nowhere" if os.isatty(1) else "where stdout leads"
    return (f"streams {loops}: a sample of each every {source.interval / SECOND:g} s, as InfluxDB line protocol",
            f"goes to {where}; `clpm-execd --direct` writes to InfluxDB, and so does Telegraf when it runs this",
            "stop with Ctrl-C; go on with `clpm-execd init > loops.toml` and `clpm-execd --config loops.toml`, "
            "or `clpm-execd --help`")


def _writer(settings: Settings, connection: Connection, hide: Callable[[str], None]) -> Influx:
    """The way into the bucket; a token that is read again is hidden from the log like the first."""
    from clpm_execd.influx.client import Influx

    def token() -> str:
        try:
            secret = settings.token()
        except BadInput as bad:
            raise OSError(str(bad)) from None
        hide(secret.reveal() if secret else "")
        return secret.reveal() if secret else ""

    return Influx(connection.url, connection.org, connection.bucket, token)
