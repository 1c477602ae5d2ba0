"""The two streams: to stdout, or with --direct to InfluxDB."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import build_encoder, build_source, fast_startup, load_configuration, load_settings
from clpm_execd.cli.options import parse_non_negative_integer, parse_speed, refuse_unused
from clpm_execd.cli.terminal import is_colour_terminal
from clpm_execd.problems import BadInput, Problem
from clpm_execd.runtime.os_signals import Signals, has_terminal, restart_process
from clpm_execd.units import SECOND, describe_count

if TYPE_CHECKING:
    from logging import Logger

    from clpm_execd.cli.resume import StreamStart
    from clpm_execd.cli.terminal import TaskBar
    from clpm_execd.clock import Clock
    from clpm_execd.config.connection import Connection
    from clpm_execd.config.loops import Configuration
    from clpm_execd.config.settings import Settings
    from clpm_execd.control.server import ControlServer
    from clpm_execd.influx.client import InfluxClient, Writer
    from clpm_execd.outputs.self_metrics import SelfMetrics
    from clpm_execd.outputs.stream import StreamJob
    from clpm_execd.plant.source import Source
    from clpm_execd.runtime.progress import Progress
    from clpm_execd.state.folder_lock import FolderLock

LOG_FILE = Path("data_streaming_service.log")
# Names that options had in 0.1.0 and keep, outside the help.
ALIASES = {"--pace": "--max-rate", "--catch-up": "--max-gap"}


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("stream")
    group.add_argument("--direct", action="store_true",
                       help="write to InfluxDB, at INFLUXDB_URL, _TOKEN, _ORG and _BUCKET; see env.example")
    group.add_argument("--backfill", metavar="D",
                       help="start this long ago, at full speed up to now, then live; with --state only at the first "
                            "start (default none)")
    group.add_argument("--speed", metavar="N", type=parse_speed, default=argparse.SUPPRESS,
                       help="run N times as fast as the clock, such as 60, from --backfill or a start in the past "
                            "until now (default at full speed)")
    group.add_argument("--max-rate", metavar="N", default=argparse.SUPPRESS,
                       help="limit of a backfill on stdout in points/s, 0 for no limit (default 2000 under Telegraf)")
    group.add_argument("--max-gap", metavar="D", default=argparse.SUPPRESS,
                       help="longest gap that is backfilled after a stop or a stall (default 24h)")
    group.add_argument("--spool-limit", metavar="SIZE", default=argparse.SUPPRESS,
                       help="maximum size of the queue in --state while InfluxDB is down (default 2GB)")
    group.add_argument("--count", metavar="N", type=parse_non_negative_integer,
                       help="stop after N samples of each loop (default never)")
    for alias, option in ALIASES.items():
        group.add_argument(alias, dest=option.removeprefix("--").replace("-", "_"), default=argparse.SUPPRESS,
                           help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Stream until a signal, the end of stdin or --count stops it; return the exit status."""
    with fast_startup():
        from logging import getLogger

        from clpm_execd.cli.resume import open_stream
        from clpm_execd.runtime.logging_setup import configure_logging
        from clpm_execd.runtime.pacing import SystemClock
        from clpm_execd.runtime.progress import Progress

        settings = load_settings(arguments)
        configuration = load_configuration(arguments, settings)
        _refuse_unused(arguments, settings)
        connection = settings.require_connection() if arguments.direct else None
        secrets = [connection.token.reveal()] if connection else []
        hide = configure_logging(settings.log_level, telegraf=not arguments.direct, secrets=secrets,
                                 log_file=settings.log_file or (LOG_FILE if arguments.direct else None))
        log, clock = getLogger("clpm_execd"), SystemClock()
        for warning in settings.warnings():
            log.warning("%s", warning)
        start = open_stream(arguments, settings, configuration, clock, signals, log)
    for assumption in start.opened_source.assumptions:
        log.info("%s", assumption)
    reload = _Reload(arguments, settings, signals, log) if connection and settings.state and settings.loops else None
    signals.reloads_on_hangup = reload is not None and not has_terminal()
    bar = _build_backfill_bar() if _is_interactive() and is_colour_terminal(sys.stderr) else None
    progress = Progress(clock, log, bar, interval=start.opened_source.source.interval)
    job = _build_job(arguments, settings, configuration, start, clock, signals, log, progress,
                     reload)
    signals.set_interruptible(False)  # from here on the stream itself ends in order
    try:
        if connection is None:
            return _to_stdout(job, settings, may_repeat_latest=arguments.count is None and not start.is_exclusive)
        status = _to_influxdb(job, settings, start.lock, _build_client(settings, connection, hide))
    finally:
        progress.close()
        if job.control:
            job.control.close()
    if reload is None or not reload.is_accepted:
        return status
    try:
        restart_process()
    except OSError as error:
        log.error("cannot restart: %s", error.strerror)
        return 1


class _Reload:
    """Follows a request to reload the configuration: a valid one ends the stream, so that a new process goes on.

    Settings, loops and all else are then those of a restart with the state folder. An invalid one changes nothing.
    """

    def __init__(self, arguments: argparse.Namespace, settings: Settings, signals: Signals, log: Logger) -> None:
        self._arguments, self._path, self._signals, self._log = arguments, settings.loops, signals, log
        self.is_accepted = False

    def __call__(self) -> None:
        try:
            settings = load_settings(self._arguments)
            configuration = load_configuration(self._arguments, settings)
            settings.require_connection()
            build_encoder("lp", build_source(self._arguments, configuration).source, configuration)
        except BadInput as bad:
            others = f" (and {len(bad.problems) - 1} more: see clpm-execd check)" if bad.problems[1:] else ""
            self._log.error("%s not reloaded, the stream goes on as it is: %s%s", self._path, bad.problems[0], others)
            return
        self._log.info("reloading %s: %s", self._path, describe_count(len(configuration.loops), "loop"))
        self.is_accepted = True
        self._signals.request_stop()


def _refuse_unused(arguments: argparse.Namespace, settings: Settings) -> None:
    if arguments.replay:
        refuse_unused(arguments, ["--control"], "with --replay, which has no plant to change")
    if not arguments.direct:
        refuse_unused(arguments, ["--spool-limit"], "without --direct")
    else:
        refuse_unused(arguments, ["--max-rate"], "with --direct")
    if settings.state is None:
        refuse_unused(arguments, ["--spool-limit"], "without a state folder", "name one with --state")


def _build_job(arguments: argparse.Namespace, settings: Settings, configuration: Configuration, start: StreamStart,
               clock: Clock, signals: Signals, log: Logger, progress: Progress,
               reload: Callable[[], None] | None) -> StreamJob:
    from clpm_execd.cli.resume import build_checkpoint_writer
    from clpm_execd.outputs.execd import is_regular_file
    from clpm_execd.outputs.stream import StreamJob

    checkpoints = build_checkpoint_writer(start, arguments, configuration, clock, log,
                                          is_durable_at_once=arguments.direct or is_regular_file(1))
    sample_clock = clock
    if arguments.speed is not None:
        from clpm_execd.runtime.fast_clock import FastClock

        sample_clock = FastClock(clock, start.opened_source.first_emit, arguments.speed)
    return StreamJob(source=start.source, encoder=start.encoder, clock=clock, signals=signals, log=log,
                     first_emit=start.opened_source.first_emit, count=arguments.count, max_gap=settings.max_gap,
                     metrics=_build_self_metrics(configuration, start.source), checkpoints=checkpoints,
                     progress=progress, sample_clock=sample_clock, reload=reload,
                     control=_open_control(arguments, settings, configuration, start, sample_clock, log))


def _open_control(arguments: argparse.Namespace, settings: Settings, configuration: Configuration, start: StreamStart,
                  clock: Clock, log: Logger) -> ControlServer | None:
    """Return the control socket: with --control, or in the state folder where it can be; None without."""
    from clpm_execd.control.socket_path import has_unix_sockets

    if arguments.control and not has_unix_sockets():
        raise BadInput([Problem("--control", "Python has no Unix sockets on this platform", "remove it")])
    is_possible = has_unix_sockets() and start.lock is not None and start.lock.is_held
    if arguments.replay or not (arguments.control or is_possible):
        return None
    from clpm_execd.control.controlled_plant import ControlledPlant
    from clpm_execd.control.server import ControlServer
    from clpm_execd.stored_names import SOCKET_FILE

    assert isinstance(start.source, ControlledPlant)
    path = Path(arguments.control) if arguments.control else start.lock.folder / SOCKET_FILE  # type: ignore[union-attr]
    try:
        return ControlServer(path, start.source, clock.now, log, journal=start.journal,
                             has_truth=configuration.output.truth is not None)
    except BadInput as bad:
        if arguments.control:
            raise
        log.warning("no live control: %s", bad.problems[0])
        return None


def _to_stdout(job: StreamJob, settings: Settings, *, may_repeat_latest: bool) -> int:
    """Stream to stdout; may_repeat_latest: whether the process before a reload may have emitted the latest sample."""
    from clpm_execd.outputs import execd

    source, under_telegraf = job.source, execd.is_started_by_telegraf()
    for line in _describe_stream(source) if _is_interactive() and not under_telegraf else [
            f"start: {describe_count(len(source.loops), 'loop')} every {source.interval / SECOND:g} s to stdout"]:
        job.log.info("%s", line)
    max_rate = settings.max_rate
    if max_rate is None and under_telegraf:
        max_rate = execd.TELEGRAF_MAX_RATE
    status = execd.run(job, after_reload=may_repeat_latest and under_telegraf,
                       max_rate=max_rate or None)
    job.log.info("stop")
    return status


def _to_influxdb(job: StreamJob, settings: Settings, lock: FolderLock | None, writer: Writer) -> int:
    from clpm_execd.outputs import direct

    if _is_interactive():
        job.log.info("stop with Ctrl-C; this log is also written to %s", settings.log_file or LOG_FILE)
    if settings.state is None:
        return direct.run(job, writer)
    from clpm_execd.delivery.disk_queue import MAX_SPOOL_BYTES, DiskQueue
    from clpm_execd.delivery.health import AcknowledgementRecorder
    from clpm_execd.delivery.quarantine import Quarantine

    writer = AcknowledgementRecorder(writer, settings.state, job.source.interval / SECOND)
    queue = DiskQueue(settings.state, job.log, lock=lock, max_bytes=settings.spool_limit or MAX_SPOOL_BYTES)
    return direct.run(job, writer, queue=queue, quarantine=Quarantine(settings.state, job.log))


def _build_backfill_bar() -> TaskBar:
    from clpm_execd.cli.terminal import TaskBar

    return TaskBar("backfilling")


def _build_self_metrics(configuration: Configuration, source: Source) -> SelfMetrics | None:
    """Return the internal metrics of the stream, or None if they are not configured."""
    if configuration.output.metrics is None:
        return None
    from clpm_execd.outputs.self_metrics import SelfMetrics

    return SelfMetrics(configuration.output.metrics, configuration.output.tags, interval=source.interval,
                       start=time.time_ns())


def _is_interactive() -> bool:
    """Whether a person at a terminal started the stream."""
    try:
        return os.isatty(0) and os.isatty(2)
    except OSError:
        return False


def _describe_stream(source: Source) -> tuple[str, ...]:
    """Return what tells a person at a terminal what is streamed, where to, how to stop and what to do next."""
    first, last = source.loops[0], source.loops[-1]
    loops = first if first == last else f"{describe_count(len(source.loops), 'loop')}, {first} to {last}"
    target = "this terminal and is not stored" if os.isatty(1) else "stdout"
    return (f"streams {loops}: one sample per loop every {source.interval / SECOND:g} s, as InfluxDB line protocol",
            f"goes to {target}; `clpm-execd --direct` writes to InfluxDB, as Telegraf does when it runs this program",
            "stop with Ctrl-C; next, try `clpm-execd init > loops.toml` and `clpm-execd --config loops.toml`, "
            "or `clpm-execd --help`")


def _build_client(settings: Settings, connection: Connection, hide: Callable[[str], None]) -> InfluxClient:
    """Return the client for the bucket. It reads a token file again when needed, and hides its token in the log."""
    from clpm_execd.influx.client import InfluxClient

    def token() -> str:
        try:
            secret = settings.token(connection.token)
        except BadInput as bad:
            raise OSError(str(bad)) from None
        hide(secret.reveal() if secret else "")
        return secret.reveal() if secret else ""

    return InfluxClient(connection.url, connection.org, connection.bucket, token,
                        timeout=settings.timeout / SECOND)
