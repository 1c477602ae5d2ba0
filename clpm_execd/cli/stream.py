"""The two streams: to stdout, or with --direct into InfluxDB."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from clpm_execd.cli.inputs import SECOND, configuration_of, encoder_for, settings_of, source_of
from clpm_execd.cli.options import whole_number
from clpm_execd.problems import BadInput
from clpm_execd.stream.signals import Signals

if TYPE_CHECKING:
    from clpm_execd.config.settings import Connection, Settings
    from clpm_execd.stream.influx import Influx

LOG_FILE = Path("data_streaming_service.log")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--direct", action="store_true", help="write to InfluxDB by INFLUXDB_*; see env.example")
    parser.add_argument("--count", metavar="N", type=whole_number, help="stop after N samples of every loop")


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Stream until asked to stop; the exit status."""
    from logging import getLogger

    from clpm_execd.stream.logs import configure
    from clpm_execd.stream.pacing import SystemClock

    settings = settings_of(arguments)
    configuration = configuration_of(arguments, settings)
    connection = settings.require_connection() if arguments.direct else None
    source, since = source_of(arguments, settings, configuration)
    encoder = encoder_for("lp", source, configuration)
    secrets = [connection.token.reveal()] if connection else []
    hide = configure(settings.log_level, telegraf=not arguments.direct, secrets=secrets,
                     log_file=settings.log_file or (LOG_FILE if arguments.direct else None))
    log = getLogger("clpm_execd")
    for warning in settings.warnings() if connection is None else settings.notes:
        log.warning("%s", warning)
    for assumption in arguments.assumptions:
        log.info("%s", assumption)
    if connection is None:
        from clpm_execd.stream import execd

        stop = "; stop it with Ctrl-C" if os.isatty(0) else ""
        log.info("start: %d loops every %g s to stdout%s", len(source.loops), source.interval / SECOND, stop)
        status = execd.run(source, encoder, clock=SystemClock(), signals=signals, log=log, since=since,
                           count=arguments.count, succeeds=arguments.count is None and execd.started_by_telegraf())
        log.info("stop")
        return status

    from clpm_execd.stream import direct

    writer = _writer(settings, connection, hide)
    return direct.run(source, encoder, writer, clock=SystemClock(), signals=signals, log=log, since=since,
                      count=arguments.count)


def _writer(settings: Settings, connection: Connection, hide: Callable[[str], None]) -> Influx:
    """The way into the bucket; a token that is read again is hidden from the log like the first."""
    from clpm_execd.stream.influx import Influx

    def token() -> str:
        try:
            secret = settings.token()
        except BadInput as bad:
            raise OSError(str(bad)) from None
        hide(secret.reveal() if secret else "")
        return secret.reveal() if secret else ""

    return Influx(connection.url, connection.org, connection.bucket, token)
