"""The parser of the command line: the stream's options, and the commands, each from its own module.

A command line without a command is parsed without importing the commands: Telegraf waits for the first sample.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from clpm_execd.cli.commands import stream
from clpm_execd.cli.options import (
    DEFAULT_DEMO,
    DEMOS,
    SHARED_OPTIONS,
    SOURCE_OPTIONS,
    Parser,
    add_shared_options,
    format_examples,
)
from clpm_execd.cli.typo_hints import STREAM, describe_mistake, list_parsers
from clpm_execd.version import __version__

_HELP = {"-h", "--help"}


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments in argv, by default the process's own; a mistake ends the process with status 2.

    Among them are `command`, None for the stream, and `run`, the function that executes it.
    """
    words = _complete_demo(sys.argv[1:] if argv is None else argv)
    stream_parser = _build_stream_parser()
    if _HELP.isdisjoint(words) and describe_mistake(words, stream_parser) is None:
        return stream_parser.parse_args(words)
    parser = build_parser()
    mistake = describe_mistake(words, parser)
    parsers = list_parsers(parser)
    if mistake:
        parsers[next((word for word in words if word in parsers), STREAM)].error(mistake)
    arguments, unexpected = parser.parse_known_args(words)
    if unexpected:
        parsers[arguments.command or STREAM].error(f"unexpected argument {unexpected[0]!r}")
    return arguments


def _complete_demo(words: Sequence[str]) -> list[str]:
    """Return the words with a value for --demo where it has none: argparse would take the next word as one."""
    return [f"{word}={DEFAULT_DEMO}" if word == "--demo" and following not in DEMOS else word
            for word, following in zip(words, [*words[1:], ""], strict=False)]


def build_parser() -> Parser:
    """Return the parser of the stream and all commands."""
    from clpm_execd.cli.commands import (
        catalogue,
        check,
        completion,
        generate,
        health,
        init,
        learn,
        loops,
        preview,
        spool,
    )
    from clpm_execd.cli.commands.control import clear, inject, set_values, status
    from clpm_execd.cli.commands.scoring import benchmark, score

    parser = _build_stream_parser()
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", prog=parser.prog,
                                     description="in place of the stream; each has a --help")
    # In the order in which --help lists them.
    for command in (generate, preview, learn, check, loops, init, catalogue, inject, clear, set_values, status,
                    score, benchmark, spool, health):
        command.add(commands)
    completion.add(commands, parser)
    return parser


def _build_stream_parser() -> Parser:
    parser = Parser(
        prog="clpm-execd", parents=[_build_help_and_version()], add_help=False, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s [option ...]\n       %(prog)s COMMAND [option ...]",
        description="Simulates a plant's control loops and writes PV, OP, SP and mode as InfluxDB line protocol:\n"
                    "to stdout for Telegraf's execd input, or with --direct to InfluxDB.\n"
                    "Durations are written as 500ms, 1s, 15m, 24h or 7d.",
        epilog=format_examples((
            "clpm-execd --count 3", "clpm-execd --demo --interval 500ms", "clpm-execd --config loops.toml --direct",
            "clpm-execd generate --start 2025-01-10T10:05:00Z --duration 24h --output day.csv.gz")))
    add_shared_options(parser, "source", *SOURCE_OPTIONS)
    add_shared_options(parser, "runtime", "--env-file", "--state", "--control", "--log-level", "--log-file")
    stream.add_options(parser)
    defaults = {option.removeprefix("--").replace("-", "_"): None for option in SHARED_OPTIONS}
    parser.set_defaults(**{**defaults, "demo": None, "max_gap": None, "max_rate": None, "spool_limit": None,
                           "speed": None, "command": None, "run": stream.run})
    return parser


def _build_help_and_version() -> argparse.ArgumentParser:
    """Return a parser of --help and --version in a group, for another parser to take over.

    For an option outside of a group argparse looks up the width of the terminal, which imports compression modules.
    """
    parser = Parser(add_help=False)
    group = parser.add_argument_group("options")
    group.add_argument("-h", "--help", action="help", default=argparse.SUPPRESS, help="show this help message and exit")
    group.add_argument("--version", action="version", version=f"clpm-execd {__version__}",
                       help="show program's version number and exit")
    return parser
