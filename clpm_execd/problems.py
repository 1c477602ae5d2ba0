"""Bad input is told, never thrown at the user.

A `Problem` says where it is, what is wrong and what would be right, in one line each. Whoever reads input collects
all of its problems and raises them together, once, as `BadInput`. Every room may import this module; it imports
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the input.

    where: a file, an environment variable, an option or a key path, such as `loops.toml: loop[2].process.gain`.
    what: what is wrong there. remedy: what would be right.
    """

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.remedy}"


class BadInput(Exception):  # noqa: N818 - the name says what it is; it is no fault of the program
    """The configuration, the command line or a record cannot be used: all problems found in one pass."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """The remedy for a name that is not known: the closest known one, else all of them."""
    from difflib import get_close_matches  # seldom, and a stream waits for its first line

    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else "known are " + ", ".join(sorted(known))
