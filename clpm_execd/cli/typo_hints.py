"""What the user probably meant by an unknown word of the command line.

The words are looked at before argparse parses them. To argparse the value after a misspelt option is a command, and an
option of another command is unknown.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from clpm_execd.cli.options import DEMOS
from clpm_execd.problems import did_you_mean, join_words

Parsers = Mapping[str, argparse.ArgumentParser]

STREAM = ""  # the name under which `list_parsers` lists the parser of the stream
OPTIONS_BY_SUFFIX = {".toml": "--config", ".csv": "--replay", ".gz": "--replay"}  # for a file in place of a command


def list_parsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parser itself, under the name STREAM, and those of its commands."""
    parsers = {STREAM: parser}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            parsers |= action.choices
    return parsers


def describe_mistake(argv: Sequence[str], parser: argparse.ArgumentParser) -> str | None:
    """Return what is wrong with the first word that is neither option, value nor command; None if there is none."""
    parsers = list_parsers(parser)
    command, options_before, words = STREAM, [], list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            return None
        if re.match("--|-[a-z]", word):
            name, equals, _ = word.partition("=")
            option = parsers[command]._option_string_actions.get(name)
            if option is None:
                return _describe_unknown_option(name, command, parsers)
            options_before += [name]
            if not equals:
                _drop_values(option, words)
        elif command == STREAM and not word.startswith("-"):
            if word not in parsers:
                demos = DEMOS if options_before[-1:] == ["--demo"] else ()
                return _describe_unknown_command(word, parsers, demos)
            command = word
            for name in options_before:
                if name not in parsers[command]._option_string_actions:
                    return _describe_misplaced_option(name, command, parsers)
    return None


def _drop_values(option: argparse.Action, words: list[str]) -> None:
    """Remove from the words those that an option takes as its values."""
    takes_many = option.nargs in ("+", "*")
    while words and not words[0].startswith("-") and option.nargs != 0:
        words.pop(0)
        if not takes_many:
            return


def _describe_unknown_option(name: str, command: str, parsers: Parsers) -> str:
    from difflib import get_close_matches  # is rarely needed, and importing it delays the first line of a stream

    if any(name in parser._option_string_actions for parser in parsers.values()):
        return _describe_misplaced_option(name, command, parsers)
    close = get_close_matches(name, parsers[command]._option_string_actions, n=1)
    return f"unknown option {name}" + (f"; did you mean {close[0]!r}?" if close else "")


def _describe_misplaced_option(name: str, command: str, parsers: Parsers) -> str:
    owners = [owner or "the stream" for owner, parser in parsers.items() if name in parser._option_string_actions]
    end = f", not to {command}" if command else "; write it after the command"
    return f"{name} belongs to {join_words(owners)}{end}"


def _describe_unknown_command(word: str, parsers: Parsers, demos: Sequence[str]) -> str:
    """Return what is wrong with a word in place of a command. demos: those of --demo, if the word follows it."""
    option = OPTIONS_BY_SUFFIX.get(Path(word).suffix)
    if option:
        return f"unknown command {word!r}; did you mean {option} {word}?"
    if f"--{word}" in parsers[STREAM]._option_string_actions:
        return f"unknown command {word!r}; did you mean --{word}?"
    commands = [name for name in parsers if name != STREAM]
    return f"unknown {'demo or ' if demos else ''}command {word!r}; {did_you_mean(word, [*demos, *commands])}"
