"""What every command's options are made of: a parser that complains in one line, numbers, and refusals."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from clpm_execd.problems import Problem

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


class Parser(argparse.ArgumentParser):
    """Tells what is wrong in one line, and what was likely meant; under Telegraf each line would be an error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"E! command line: {' '.join(message.split())}; see {self.prog} --help\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse has it, in one form on every Python."""
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, f"{value!r} is none of {', '.join(map(str, action.choices))}")


def add_command(commands: Commands, name: str, what: str, *, examples: Iterable[str],
                parents: Sequence[argparse.ArgumentParser] = ()) -> argparse.ArgumentParser:
    """The parser of a further command, whose help ends with the examples."""
    return commands.add_parser(
        name, parents=parents, allow_abbrev=False, help=what, description=f"{what[:1].upper()}{what[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=shown_examples(examples))


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


def show(text: str) -> int:
    """The text on stdout, as UTF-8; the exit status."""
    from clpm_execd.stream.bulk import stdout

    with stdout() as out:
        out.write(text.encode())
    return 0
