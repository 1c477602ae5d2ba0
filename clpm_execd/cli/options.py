"""What every command's options are made of: a parser that complains in one line, numbers, and refusals."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NoReturn

from clpm_execd.problems import Problem

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


class Parser(argparse.ArgumentParser):
    """Tells what is wrong in one line; under Telegraf each line would be an error of its own."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"E! command line: {' '.join(message.split())}; see {self.prog} --help\n")


def whole_number(text: str) -> int:
    """An option's value as a number from 0 on."""
    if not text.isascii() or not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


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
