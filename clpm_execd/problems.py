"""All problems of an input are reported together, one line each, and no traceback reaches a user.

A `Problem` says where it is, what is wrong and what would be right. A reader of input collects all of its problems and
raises them once, as `BadInput`. Every room may import this module; it imports nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the input.

    where: a file, an environment variable, an option or a key path, such as `loops.toml: loop[2].process.gain`.
    what: what is wrong there. remedy: what would be right.
    """

    where: str
    what: str
    remedy: str

    @classmethod
    def from_error(cls, where: str, error: ValueError) -> Problem:
        """Return the problem of an error whose message says what is wrong and, after a semicolon, the remedy."""
        what, _, remedy = str(error).partition("; ")
        return cls(where, what, remedy)

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.remedy}"


class BadInput(Exception):  # noqa: N818 - an error of the user's input, not of the program
    """The configuration, the command line or a record cannot be used: it carries every problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def join_words(words: Sequence[str]) -> str:
    """Return words as a sentence lists them: `a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def did_you_mean(name: str, valid_names: Sequence[str]) -> str:
    """Return the remedy for an unknown name: the closest valid one, or a list of all of them, or to remove it."""
    if not valid_names:
        return "remove it"
    from difflib import get_close_matches  # is rarely needed, and importing it delays the first line of a stream

    close = get_close_matches(name, valid_names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else "give one of " + ", ".join(sorted(valid_names))
