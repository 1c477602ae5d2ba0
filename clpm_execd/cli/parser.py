"""The parser of the command line: the options that commands share, and each command's own from its file.

A line that only asks for the stream is parsed without the commands, none of which is then imported: Telegraf waits for
the first sample.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from clpm_execd.cli.commands import stream
from clpm_execd.cli.options import RUNTIME, Parser, add_loop_options, add_runtime_options, shown_examples
from clpm_execd.cli.typo_hints import slip
from clpm_execd.version import __version__

_HELP = {"-h", "--help"}


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What argv, or the process's own, asks for; what is wrong with it ends the process.

    It has `command`, None for the stream, and `run`, which does it.
    """
    words = sys.argv[1:] if argv is None else argv
    streaming = _stream()
    if _HELP.isdisjoint(words) and slip(words, streaming) is None:
        return streaming.parse_args(words)
    whole = parser()
    told = slip(words, whole)
    if told:
        whole.error(told)
    return whole.parse_args(words)


def parser() -> Parser:
    """The whole command line."""
    from clpm_execd.cli.commands import (
        catalogue,
        check,
        completion,
        generate,
        health,
        init,
        learn,
        preview,
        score,
        spool,
    )

    top = _stream()
    commands = top.add_subparsers(title="commands", dest="command", metavar="COMMAND", prog=top.prog,
                                  description="instead of the stream; each has a --help of its own")
    # In the order in which --help lists them.
    for command in (generate, preview, learn, check, init, catalogue, score, spool, health):
        command.add(commands)
    completion.add(commands, top)
    return top


def _stream() -> Parser:
    """The stream by itself."""
    top = Parser(
        prog="clpm-execd", parents=[_basic()], add_help=False, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s [option ...]\n       %(prog)s COMMAND [option ...]",
        description="A plant's worth of control loops as InfluxDB line protocol: on stdout for Telegraf's execd\n"
                    "input, or with --direct into InfluxDB itself. Durations are 500ms, 1s, 15m, 24h, 7d.",
        epilog=shown_examples((
            "clpm-execd --count 3", "clpm-execd --demo --interval 500ms", "clpm-execd --config loops.toml --direct",
            "clpm-execd generate --start 2025-01-10T10:05:00Z --duration 24h --output day.csv.gz")))
    add_loop_options(top)
    add_runtime_options(top, *RUNTIME)
    stream.add_options(top)
    top.set_defaults(run=stream.run, command=None, demo=False, **dict.fromkeys(
        ("config", "replay", "columns", "timezone", "interval", "shard", "seed", "env_file", "state", "max_gap",
         "max_rate", "spool_limit", "log_level", "log_file")))
    return top


def _basic() -> argparse.ArgumentParser:
    """What every program has, in a group of its own that is merged with that of a parser's name.

    An option outside of a group has argparse look for the width of the terminal, and load compression with it.
    """
    basic = Parser(add_help=False)
    group = basic.add_argument_group("options")
    group.add_argument("-h", "--help", action="help", default=argparse.SUPPRESS, help="show this help message and exit")
    group.add_argument("--version", action="version", version=f"clpm-execd {__version__}",
                       help="show program's version number and exit")
    return basic
