"""What the commands' options are made of: the parser, the options that several commands have, and their values.

A wrong option gives one line on stderr and exit status 2. A command takes only the options that it uses.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from clpm_execd.problems import BadInput, Problem

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction["Parser"]


_NEGATIVE_VALUE = re.compile(r"-\.?[0-9]")  # such as -1, -5GB or -1h: a value, of which the option says what is wrong
_LARGEST_INTEGER = 2**63 - 1  # that of TOML


class Parser(argparse.ArgumentParser):
    """Reports an error in one line, because Telegraf logs each line of stderr as an error of its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._negative_number_matcher = _NEGATIVE_VALUE  # argparse's own takes `-1h` for an option

    def error(self, message: str) -> NoReturn:
        level = "" if " " in self.prog else "E! "  # Telegraf runs the stream, not a command
        self.exit(2, f"{level}command line: {' '.join(message.split())}; see {self.prog} --help\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Check the choices as argparse does, with one message on every version of Python."""
        if action.choices is not None and value not in action.choices:
            choices = ", ".join(map(str, action.choices))
            raise argparse.ArgumentError(action, f"unknown value {value!r}; choose from {choices}")


def parse_non_negative_integer(text: str) -> int:
    """Return an option's value as an integer of 0 or more."""
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > _LARGEST_INTEGER:
        raise argparse.ArgumentTypeError(f"invalid integer {text!r}; give an integer from 0 to {_LARGEST_INTEGER}")
    return int(text)


def parse_fraction(text: str) -> float:
    """Return an option's value as a number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return number


def parse_speed(text: str) -> float:
    """Return an option's value as a factor of time, more than 1."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", text) or float(text) <= 1.0:
        raise argparse.ArgumentTypeError(f"invalid speed {text!r}; give a number greater than 1 and below 1000000")
    return float(text)


def parse_output_path(text: str) -> Path | None:
    """Return the value of an --output option: a path, or None for stdout, which is written as `-`."""
    return None if text == "-" else Path(text)


DEFAULT_DEMO = "story"
DEMOS = (DEFAULT_DEMO, "trend")

# Options that several commands have. None has a default here: one that stands before the command would be overwritten.
SHARED_OPTIONS: dict[str, dict[str, Any]] = {
    "--config": {"metavar": "FILE", "help": "loop definitions, a loops.toml (default TIC208030 to TIC208034)"},
    "--demo": {"nargs": "?", "const": DEFAULT_DEMO, "choices": DEMOS,
               "help": "demonstration with faults and ground truth: the story of a sticky valve, or trending data by "
                       "sine set points (default story)"},
    "--replay": {"metavar": "CSV", "nargs": "+", "action": "extend",
                 "help": "historian records, streamed as if they were live (default none: simulate)"},
    "--columns": {"metavar": "PV=..,OP=..",
                  "help": "column names of the records, by role: time loop pv op sp mode quality, in long records name "
                          "value (default automatic detection)"},
    "--timezone": {"metavar": "ZONE",
                   "help": "time zone for timestamps that have none, such as Europe/Berlin (default UTC)"},
    "--interval": {"metavar": "D", "help": "time between samples, and between the rows of a record without times "
                                           "(default that of the record, else 1s)"},
    "--shard": {"metavar": "I/N", "help": "run shard I of N (0-based); auto/N takes I from the host name "
                                          "(default all loops)"},
    "--seed": {"metavar": "N", "type": parse_non_negative_integer, "help": "random seed (default 42)"},
    "--env-file": {"metavar": "FILE", "help": "file with settings that are not in the environment (default .env)"},
    "--state": {"metavar": "DIR", "help": "state folder, from which the stream resumes after a restart (default none)"},
    "--control": {"metavar": "PATH", "help": "control socket of the stream (default `control` in --state)"},
    "--log-level": {"metavar": "LEVEL", "help": "DEBUG, INFO, WARNING or ERROR (default INFO)"},
    "--log-file": {"metavar": "FILE", "help": "log file in addition to stderr, rotated at 10 MB "
                                              "(default none; data_streaming_service.log with --direct)"},
}
# The options that decide which samples there are.
SOURCE_OPTIONS = ("--config", "--demo", "--replay", "--columns", "--timezone", "--interval", "--shard", "--seed")


def add_shared_options(parser: argparse.ArgumentParser, title: str, *options: str) -> argparse._ArgumentGroup:
    """Add some of SHARED_OPTIONS to a parser, and return their group in the help."""
    group = parser.add_argument_group(title)
    for option in options:
        group.add_argument(option, default=argparse.SUPPRESS, **SHARED_OPTIONS[option])
    return group


def add_time_range(parser: argparse.ArgumentParser) -> None:
    """Add --start and --duration."""
    group = parser.add_argument_group("time range")
    group.add_argument("--start", metavar="T",
                       help="first sample time, such as 2025-01-10T10:05:00Z (default that of loops.toml, else now)")
    group.add_argument("--duration", metavar="D", default="1h", help="length of the time range (default 1h)")


def add_command(commands: Commands, name: str, purpose: str, *, examples: Iterable[str]) -> argparse.ArgumentParser:
    """Add the parser of a command and return it; its help ends with the examples."""
    return commands.add_parser(
        name, allow_abbrev=False, help=purpose, description=f"{purpose[:1].upper()}{purpose[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=format_examples(examples))


def format_examples(examples: Iterable[str]) -> str:
    """Return the end of a help text."""
    return "\n".join(["examples:", *(f"  {example}" for example in examples)])


def refuse_unused(arguments: argparse.Namespace, options: Iterable[str], why: str, remedy: str = "remove it") -> None:
    """Raise BadInput with each of these options that is on the command line, where it would change nothing."""
    values = ((option, getattr(arguments, option.removeprefix("--").replace("-", "_"))) for option in options)
    problems = [Problem(option, f"has no effect {why}", remedy) for option, value in values
                if value is not None and value is not False]
    if problems:
        raise BadInput(problems)


def print_text(text: str) -> int:
    """Write a text to stdout as UTF-8; return the exit status."""
    from clpm_execd.outputs.generate import open_stdout

    with open_stdout() as out:
        out.write(text.encode(errors="replace"))  # in a file's name Python has surrogates for bytes that are not UTF-8
    return 0
