"""The command line: arguments to one of the rooms, and what is wrong with them in one line each.

Exit status 0 is a stream that stopped as asked, 2 a command line or configuration that is wrong; then nothing is on
stdout. A room is imported only when a command needs it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from clpm_execd import __version__
from clpm_execd.problems import BadInput, Problem
from clpm_execd.stream.signals import Signals

if TYPE_CHECKING:
    from clpm_execd.config.loops import Configuration
    from clpm_execd.config.settings import Connection, Settings
    from clpm_execd.plant.block import Source
    from clpm_execd.stream.influx import Influx
    from clpm_execd.stream.line_protocol import Encoder

SECOND = 10**9
LOG_FILE = Path("data_streaming_service.log")
FORMATS = ("lp", "csv", "wide")


def run(signals: Signals, argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    arguments = _parser().parse_args(argv)
    command = {"generate": _generate, "check": _check, "init": _init, "faults": _faults, "loop-types": _loop_types,
               None: _stream}[arguments.command]
    try:
        return command(arguments, signals)
    except BadInput as bad:
        # Telegraf takes a line of stderr with a level before it as it is, and every line as one error.
        prefix = "E! " if command is _stream and not arguments.direct else ""
        for problem in bad.problems if sys.stderr else ():  # without one, print would take stdout
            print(prefix + " ".join(str(problem).split()), file=sys.stderr)
        return 2


def _stream(arguments: argparse.Namespace, signals: Signals) -> int:
    """The two streams: to stdout, or with --direct into InfluxDB."""
    from logging import getLogger

    from clpm_execd.stream.logs import configure
    from clpm_execd.stream.pacing import SystemClock

    settings = _settings(arguments)
    configuration = _configuration(arguments, settings)
    connection = settings.require_connection() if arguments.direct else None
    source, since = _source(arguments, settings, configuration)
    encoder = _encoder("lp", source, configuration)
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


def _generate(arguments: argparse.Namespace, signals: Signals) -> int:
    """A stretch of time at full speed."""
    from clpm_execd.config.durations import parse_duration, parse_time
    from clpm_execd.stream import bulk

    problems: list[Problem] = []
    now = time.time_ns()
    start, duration = None, 0
    try:
        start = parse_time(arguments.start, now) if arguments.start else None
    except ValueError as error:
        problems.append(_refused("--start", error))
    try:
        duration = parse_duration(arguments.duration)
    except ValueError as error:
        problems.append(_refused("--duration", error))
    if problems:
        raise BadInput(problems)
    settings = _settings(arguments)
    configuration = _configuration(arguments, settings, start=start)
    if start == now:  # whatever start the loops have; from the latest instant of the grid, as a stream does
        configuration = replace(configuration, start=None)
    source, _ = _source(arguments, settings, configuration)
    suffixes = arguments.output.suffixes if arguments.output else []
    form = arguments.format or ("wide" if ".wide" in suffixes else "csv" if ".csv" in suffixes else "lp")
    samples = -(-duration // source.interval)
    return bulk.run(source, _encoder(form, source, configuration), samples, output=arguments.output, signals=signals)


def _check(arguments: argparse.Namespace, signals: Signals) -> int:
    """Every problem of settings, loops and, with --direct, the server."""
    problems: list[Problem] = []
    try:
        settings = _settings(arguments)
    except BadInput as bad:
        problems += bad.problems
        settings = None
    try:
        configuration = _configuration(arguments, settings)
        _encoder("lp", _source(arguments, settings, configuration)[0], configuration)
    except BadInput as bad:
        problems += (problem for problem in bad.problems if problem not in problems)
    if settings is not None and arguments.direct:
        problems += _server_problems(settings)
    if problems:
        raise BadInput(problems)
    where = f" and {settings.url} takes them" if settings and arguments.direct else ""
    warnings = settings.warnings() if settings else ()
    said = [f"ok: {len(configuration.loops)} loops{where}", *(f"warning: {warning}" for warning in warnings)]
    return _print("".join(f"{line}\n" for line in said))


def _init(arguments: argparse.Namespace, signals: Signals) -> int:
    """A loops.toml to start from."""
    from clpm_execd.config import starter
    from clpm_execd.config.loops import SEED

    text = starter.STARTER
    if arguments.plant is not None or arguments.loops is not None:
        text = starter.plant_file(arguments.plant or "plant", arguments.loops or starter.LOOPS,
                                  SEED if arguments.seed is None else arguments.seed)
    if arguments.output is None:
        return _print(text)
    try:
        with arguments.output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        what = "is there already" if isinstance(error, FileExistsError) else f"cannot be written: {error.strerror}"
        problem = Problem(f"--output {arguments.output}", what, "name a new file")
        raise BadInput([problem]) from None
    return 0


def _faults(arguments: argparse.Namespace, signals: Signals) -> int:
    from clpm_execd.config import catalogue

    return _print(catalogue.faults(arguments.names))


def _loop_types(arguments: argparse.Namespace, signals: Signals) -> int:
    from clpm_execd.config import catalogue

    return _print(catalogue.loop_types(arguments.names))


def _print(text: str) -> int:
    """The text on stdout, as UTF-8."""
    from clpm_execd.stream.bulk import stdout

    with stdout() as out:
        out.write(text.encode())
    return 0


def _server_problems(settings: Settings) -> list[Problem]:
    from clpm_execd.stream.influx import check_server

    try:
        connection = settings.require_connection()
    except BadInput as bad:
        return list(bad.problems)
    return check_server(connection.url, connection.token.reveal(), connection.org, connection.bucket)


def _settings(arguments: argparse.Namespace) -> Settings:
    from clpm_execd.config.settings import read_settings

    options = {"STREAM_INTERVAL": arguments.interval, "LOG_LEVEL": arguments.log_level,
               "LOG_FILE": arguments.log_file, "CLPM_LOOPS": arguments.config}
    given: Mapping[str, str] = {name: value for name, value in options.items() if value is not None}
    return read_settings(os.environ, Path(arguments.env_file) if arguments.env_file else None, options=given)


def _configuration(arguments: argparse.Namespace, settings: Settings | None, start: int | None = None) -> Configuration:
    from clpm_execd.config.loops import read_configuration

    if settings is None:  # what is wrong with them has been said; the loops may have problems of their own
        given = arguments.config or os.environ.get("CLPM_LOOPS")
        return read_configuration(Path(given) if given else None)
    configuration = read_configuration(settings.loops, seed=arguments.seed, interval=settings.interval, start=start,
                                       measurement=settings.measurement)
    if arguments.replay:  # nobody knows the truth about a record
        return replace(configuration, output=replace(configuration.output, truth=None))
    if arguments.demo:
        from clpm_execd.config.demo import demonstrated

        return demonstrated(configuration)
    return configuration


def _source(arguments: argparse.Namespace, settings: Settings | None,
            configuration: Configuration) -> tuple[Source, int | None]:
    """Where the samples come from, and the first instant to emit of a source that began before now."""
    from clpm_execd.plant.plant import Plant

    arguments.assumptions = []
    if arguments.replay:
        return _replay(arguments, settings, configuration), None
    loops = configuration.loops
    interval = configuration.interval or SECOND
    latest = time.time_ns() // interval * interval
    start = latest if configuration.start is None else configuration.start
    plant = Plant(loops, seed=configuration.seed, start=start, interval=interval, scan=configuration.scan)
    behind = max(0, time.time_ns() - start) // interval * interval
    return plant, start + behind


def _replay(arguments: argparse.Namespace, settings: Settings | None, configuration: Configuration) -> Source:
    from clpm_execd.history import Columns, Replay, parse_columns, read_record

    columns = parse_columns(arguments.columns) if arguments.columns else Columns()
    records = [read_record(Path(path), columns=columns) for path in arguments.replay]
    for path, record in zip(arguments.replay, records, strict=True):
        arguments.assumptions += [f"{path}: {assumption}" for assumption in record.assumptions]
    interval = configuration.interval or min(record.interval for record in records)
    start = time.time_ns() // interval * interval if configuration.start is None else configuration.start
    return Replay(records, start=start, interval=interval)


def _encoder(form: str, source: Source, configuration: Configuration) -> Encoder:
    output = configuration.output
    if form == "lp":
        from clpm_execd.stream.line_protocol import LineProtocol

        return LineProtocol(source.loops, measurement=output.measurement, fields=output.fields,
                            mode_tag=output.mode_tag, tags=output.tags, truth=output.truth)
    from clpm_execd.stream.tables import LongCsv, WideCsv

    if form == "csv":
        return LongCsv(source.loops, measurement=output.measurement, fields=output.fields, truth=output.truth)
    return WideCsv(source.loops, fields=output.fields, truth=output.truth is not None)


def _refused(option: str, error: ValueError) -> Problem:
    what, _, remedy = str(error).partition("; ")
    return Problem(option, what, remedy)


class _Parser(argparse.ArgumentParser):
    """Tells what is wrong in one line; under Telegraf each line would be an error of its own."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"E! command line: {' '.join(message.split())}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    shared = _Parser(add_help=False, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    group = shared.add_argument_group("what is streamed")
    group.add_argument("--config", metavar="FILE", help="the loops (loops.toml); without it TIC208030 to TIC208034")
    group.add_argument("--demo", action="store_true", help="trending data: sine set points, faults, and the truth")
    group.add_argument("--replay", metavar="CSV", nargs="+", help="records of a plant, streamed again as if live")
    group.add_argument("--columns", metavar="PV=..,OP=..", help="names of a record's columns: time loop pv op sp mode")
    group.add_argument("--interval", metavar="1s", help="between samples; of a record, its own by default")
    group.add_argument("--seed", metavar="N", type=_count, help="of all chance (42)")
    group = shared.add_argument_group("surroundings")
    group.add_argument("--env-file", metavar="FILE", help="settings beside the environment (.env)")
    group.add_argument("--log-level", metavar="INFO", help="DEBUG, INFO, WARNING or ERROR")
    group.add_argument("--log-file", metavar="FILE", help="a log besides stderr, rotated at 10 MB")
    parser = _Parser(
        prog="clpm-execd", parents=[shared], allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="A plant's worth of control loops as InfluxDB line protocol: on stdout for Telegraf's execd\n"
                    "input, or with --direct into InfluxDB itself. Durations are 500ms, 1s, 15m, 24h, 7d.",
        epilog="examples:\n  clpm-execd --count 3\n  clpm-execd --demo --interval 500ms\n"
               "  clpm-execd generate --start 2025-01-10T10:05:00Z --duration 24h --output day.csv.gz")
    parser.add_argument("--version", action="version", version=f"clpm-execd {__version__}")
    parser.add_argument("--direct", action="store_true", help="write to InfluxDB by INFLUXDB_*; see env.example")
    parser.add_argument("--count", metavar="N", type=_count, help="stop after N samples of every loop")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    generate = commands.add_parser("generate", parents=[shared], allow_abbrev=False,
                                   help="the same plant as fast as possible, to stdout or a file")
    generate.add_argument("--start", metavar="T", help="first instant, such as 2025-01-10T10:05:00Z (now)")
    generate.add_argument("--duration", metavar="D", default="1h", help="how long a stretch (1h)")
    generate.add_argument("--output", metavar="FILE", type=Path, help="a file; .gz compresses (stdout)")
    generate.add_argument("--format", choices=FORMATS, help="lp, csv (long) or wide; else by the file's suffix")
    check = commands.add_parser("check", parents=[shared], allow_abbrev=False,
                                help="every problem of the configuration at once")
    check.add_argument("--direct", action="store_true", default=argparse.SUPPRESS,
                       help="the server, token, organization and bucket too")
    init = commands.add_parser("init", allow_abbrev=False, help="a commented loops.toml to start from, on stdout")
    init.add_argument("--plant", metavar="NAME", help="a whole plant: refinery, chemical, paper, power or any other")
    init.add_argument("--loops", metavar="N", type=_loops, help="how many loops the plant has (50)")
    init.add_argument("--seed", metavar="N", type=_count, default=argparse.SUPPRESS, help="another plant (42)")
    init.add_argument("--output", metavar="FILE", type=Path, help="a new file (stdout)")
    for name, what in (("faults", "the kinds of faults"), ("loop-types", "the types of loops")):
        shown = commands.add_parser(name, allow_abbrev=False, help=f"{what}: parameters, units, ranges, examples")
        shown.add_argument("names", metavar="NAME", nargs="*", help="only these")
    parser.set_defaults(**dict.fromkeys(
        ("config", "replay", "columns", "interval", "seed", "env_file", "log_level", "log_file")), demo=False)
    return parser


def _loops(text: str) -> int:
    number = _count(text)
    if not 1 <= number <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 1 to 100000")
    return number


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)
