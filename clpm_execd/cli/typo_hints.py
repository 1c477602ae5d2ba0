"""What was likely meant by a word of the command line that nobody knows.

Found before argparse reads the line: to it the value behind a misspelt option is a command, and an option that another
command has is as strange as any.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

Parsers = Mapping[str, argparse.ArgumentParser]

STREAM = ""  # the name under which the parser itself stands among its commands
HANDED_OVER = {".toml": "--config", ".csv": "--replay", ".gz": "--replay"}


def parsers(whole: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parser itself, under the name STREAM, and those of its commands."""
    found = {STREAM: whole}
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found


def slip(argv: Sequence[str], whole: argparse.ArgumentParser) -> str | None:
    """What is wrong with the first word that is neither option, value nor command; None where there is none."""
    known = parsers(whole)
    command, before, words = STREAM, [], list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            return None
        if word.startswith("--"):
            name, equals, _ = word.partition("=")
            option = known[command]._option_string_actions.get(name)
            if option is None:
                return _strange_option(name, command, known)
            before += [name]
            if not equals:
                _take_values(option, words)
        elif command == STREAM and not word.startswith("-"):
            if word not in known:
                return _strange_word(word, list(known)[1:])
            command = word
            for name in before:
                if name not in known[command]._option_string_actions:
                    return _elsewhere(name, command, known)
    return None


def _take_values(option: argparse.Action, words: list[str]) -> None:
    """Leave out of the words what an option takes as its values."""
    many = option.nargs in ("+", "*")
    while words and not words[0].startswith("-") and option.nargs != 0:
        words.pop(0)
        if not many:
            return


def _strange_option(name: str, command: str, known: Parsers) -> str:
    if any(name in parser._option_string_actions for parser in known.values()):
        return _elsewhere(name, command, known)
    close = _closest(name, list(known[command]._option_string_actions))
    return f"there is no option {name}" + (f"; did you mean {close!r}?" if close else "")


def _elsewhere(name: str, command: str, known: Parsers) -> str:
    owners = [owner or "the stream" for owner, parser in known.items() if name in parser._option_string_actions]
    listed = " and ".join(filter(None, [", ".join(owners[:-1]), owners[-1]]))
    end = f", not to {command}" if command else "; write it after the command"
    return f"{name} belongs to {listed}{end}"


def _strange_word(word: str, commands: Sequence[str]) -> str:
    option = HANDED_OVER.get(Path(word).suffix)
    if option:
        return f"{word!r} is no command; did you mean {option} {word}?"
    close = _closest(word, commands)
    remedy = f"did you mean {close!r}?" if close else f"there are {', '.join(commands)}"
    return f"{word!r} is no command; {remedy}"


def _closest(word: str, known: Sequence[str]) -> str | None:
    from difflib import get_close_matches  # seldom, and a stream waits for its first line

    return next(iter(get_close_matches(word, known, n=1)), None)
