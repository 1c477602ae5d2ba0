"""Text whose lines are no CSV, rewritten with tabs between its cells while it is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TextIO


class LineSeparator(Protocol):
    """What separates the cells of a line."""

    def split(self, line: str) -> list[str]:
        """Return the cells of a line; none of an empty one."""


def rewrite_line(line: str, separator: LineSeparator) -> str:
    """Return a line with tabs between its cells."""
    return "\t".join(separator.split(line)) + "\n"


class RewrittenText:
    """A text file of which each line is read with tabs in the place of its separators.

    header: the cells of a line that stands above the file's own; empty where the file has its header.
    """

    def __init__(self, text: TextIO, separator: LineSeparator, header: Sequence[str] = ()) -> None:
        self._text = text
        self._separator = separator
        self._header = "\t".join(header) + "\n" if header else ""

    def readline(self) -> str:
        header, self._header = self._header, ""
        line = header or self._text.readline()
        return line if header or not line else rewrite_line(line, self._separator)

    def read(self, size: int) -> str:
        """Return complete lines of about so many characters."""
        text = self._text.read(size)
        if not text:
            return ""
        lines = (text + self._text.readline()).splitlines(keepends=True)
        return "".join(rewrite_line(line, self._separator) for line in lines)

    def close(self) -> None:
        self._text.close()

    def __enter__(self) -> RewrittenText:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
