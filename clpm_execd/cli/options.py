"""What every command's options are made of: a parser that complains in one line, numbers, and refusals."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from clpm_execd.problems import BadInput, Problem

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction["Parser"]


# Options of the process rather than of the plant: metavar and help.
RUNTIME = {
    "--env-file": ("FILE", "settings beside the environment (default .env)"),
    "--state": ("DIR", "a folder that outlives the process: from it the stream goes on as if it had never stopped "
                       "(default none)"),
    "--log-level": ("LEVEL", "DEBUG, INFO, WARNING or ERROR (default INFO)"),
    "--log-file": ("FILE", "a log besides stderr, rotated at 10 MB (default none; data_streaming_service.log with "
                           "--direct)"),
}


class Parser(argparse.ArgumentParser):
    """Tells what is wrong in one line, and what was likely meant; under Telegraf each line would be an error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"E! command line: {' '.join(message.split())}; see {self.prog} --help\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse has it, in one form on every Python."""
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, f"{value!r} is none of {', '.join(map(str, action.choices))}")


def add_command(commands: Commands, name: str, what: str, *, examples: Iterable[str]) -> argparse.ArgumentParser:
    """The parser of a further command, whose help ends with the examples."""
    return commands.add_parser(
        name, allow_abbrev=False, help=what, description=f"{what[:1].upper()}{what[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=shown_examples(examples))


def add_loop_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which loops there are and what moves them."""
    group = parser.add_argument_group("what is streamed")

    def add(option: str, **more: Any) -> None:
        group.add_argument(option, default=argparse.SUPPRESS, **more)

    add("--config", metavar="FILE", help="the loops, a loops.toml (default TIC208030 to TIC208034)")
    add("--demo", action="store_true", help="trending data: sine set points, faults, and the truth")
    add("--replay", metavar="CSV", nargs="+", help="records of a plant, streamed again as if live (default none: the "
                                                   "plant is simulated)")
    add("--columns", metavar="PV=..,OP=..", help="names of a record's columns: time loop pv op sp mode quality "
                                                 "(default as their names tell)")
    add("--timezone", metavar="ZONE", help="of a record's times without one, such as Europe/Berlin (default UTC)")
    add("--interval", metavar="D", help="between samples (default 1s; of a record, its own)")
    add("--shard", metavar="I/N", help="of N processes the I-th, from 0: its share of the loops; auto/N (default all "
                                       "of them)")
    add("--seed", metavar="N", type=whole_number, help="of all chance (default 42)")


def add_runtime_options(parser: argparse.ArgumentParser, *options: str) -> None:
    """Add some of RUNTIME, in a group of their own."""
    group = parser.add_argument_group("surroundings")
    for option in options:
        metavar, text = RUNTIME[option]
        group.add_argument(option, metavar=metavar, default=argparse.SUPPRESS, help=text)


def shown_examples(examples: Iterable[str]) -> str:
    """The end of a help text."""
    return "\n".join(["examples:", *(f"  {example}" for example in examples)])


def whole_number(text: str) -> int:
    """An option's value as a number from 0 on."""
    if not text.isascii() or not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def output_file(text: str) -> Path | None:
    """The value of an --output option: a path, or None for stdout, which is written as `-`."""
    return None if text == "-" else Path(text)


def refused(option: str, error: ValueError) -> Problem:
    """The Problem of an option, of an error that says what is wrong and, after a semicolon, what would be right."""
    what, _, remedy = str(error).partition("; ")
    return Problem(option, what, remedy)


def refuse_unused(arguments: argparse.Namespace, options: Iterable[str], why: str, remedy: str = "remove it") -> None:
    """Raise BadInput with each of these options that is on the command line, where it would change nothing."""
    values = ((option, getattr(arguments, option.removeprefix("--").replace("-", "_"))) for option in options)
    problems = [Problem(option, f"has no effect {why}", remedy) for option, value in values
                if value is not None and value is not False]
    if problems:
        raise BadInput(problems)


def show(text: str) -> int:
    """The text on stdout, as UTF-8; the exit status."""
    from clpm_execd.outputs.generate import stdout

    with stdout() as out:
        out.write(text.encode())
    return 0
