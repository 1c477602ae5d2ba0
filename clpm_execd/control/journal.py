"""The journal: what was asked of a stream, each request with the scan at which it acts, one line of JSON each.

A plant is a function of its configuration, its seed and its journal. A line is durable before the request is
acknowledged. A last line without an end was never acknowledged, and does not count.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clpm_execd.problems import BadInput, Problem
from clpm_execd.state.durable_file import PRIVATE_MODE, adopt_owner, find_end_of_last_line, make_folder, sync_folder
from clpm_execd.stored_names import JOURNAL_TITLE
from clpm_execd.units import format_time, parse_time

_VERSION = 1
_TITLE = re.compile(re.escape(JOURNAL_TITLE) + r" (\d{1,9})")


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A request, or with the key `start` the start of a plant.

    at: ns since 1970. request: without the time.
    """

    at: int
    request: Mapping[str, Any]

    def to_line(self) -> str:
        """Return the line of the file."""
        return json.dumps({"at": format_time(self.at), **self.request}, ensure_ascii=False) + "\n"


@dataclass(frozen=True, slots=True)
class JournalContents:
    """What a journal says.

    Attributes
    ----------
    entries : tuple of JournalEntry
        The requests in order of time, and of requests for one time in the order in which they were made.
    start : int or None
        The start of the plant whose requests are last, ns since 1970; None where there is none.
    """

    entries: tuple[JournalEntry, ...] = ()
    start: int | None = None


def read_journal(path: Path) -> JournalContents:
    """Return what a journal says.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        There is none.
    BadInput
        It cannot be read, or a line of it is damaged.
    """
    try:
        text = path.read_bytes().decode()
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        is_folder = isinstance(error, IsADirectoryError)
        remedy = "name the file `journal` in a state folder" if is_folder else "let this user read it"
        raise BadInput([Problem(str(path), f"cannot be read: {error.strerror}", remedy)]) from None
    except UnicodeDecodeError as error:
        raise BadInput([Problem(str(path), f"is not UTF-8 (byte {error.start})", "give a journal")]) from None
    *lines, _ = text.split("\n")
    title = _TITLE.fullmatch(lines[0]) if lines else None
    if lines and (title is None or int(title[1]) != _VERSION):
        what = "is not a journal" if title is None else f"has the format version {title[1]}, not {_VERSION}"
        raise BadInput([Problem(str(path), what, "name the file `journal` in a state folder")])
    entries = [_parse_line(line, f"{path}: line {number}") for number, line in enumerate(lines[1:], 2)]
    starts = [entry.at for entry in entries if "start" in entry.request]
    requests = sorted((entry for entry in entries if "start" not in entry.request), key=lambda entry: entry.at)
    return JournalContents(tuple(requests), starts[-1] if starts else None)


def read_journal_or_start_anew(path: Path, corrupt: Path, log: logging.Logger) -> JournalContents:
    """Return what the journal of a stream says; nothing where it cannot be read, after one warning.

    Parameters
    ----------
    path : Path
        The file.
    corrupt : Path
        The folder to which a damaged one is moved, for people to look at.
    log : logging.Logger
        Takes the warning.
    """
    try:
        return read_journal(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except BadInput as bad:
        log.warning("journal moved to %s; continuing without its changes: %s", corrupt, bad.problems[0])
        with suppress(OSError):
            make_folder(corrupt)
            os.replace(path, corrupt / f"{path.name}-{time.time_ns()}")
    return JournalContents()


def _parse_line(line: str, where: str) -> JournalEntry:
    try:
        table = json.loads(line)
        return JournalEntry(parse_time(table.pop("at"), 0), table)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        problem = Problem(where, "is damaged", "correct or remove it; the plant was changed by it")
    raise BadInput([problem])


class Journal:
    """The journal of a stream, in a file that it appends to. start: of the plant, ns since 1970."""

    def __init__(self, path: Path, contents: JournalContents, start: int) -> None:
        self.path = path
        self._start = start
        self._is_start_written = contents.start == start

    def append(self, entry: JournalEntry) -> None:
        """Make an entry durable.

        Parameters
        ----------
        entry : JournalEntry
            What is appended.

        Raises
        ------
        OSError
            The disk does not take it; then the file is as it was before.
        """
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), PRIVATE_MODE)
        adopt_owner(self.path)
        try:
            end = find_end_of_last_line(fd)
            text = entry.to_line()
            if not self._is_start_written:
                text = JournalEntry(self._start, {"start": True}).to_line() + text
            if not end:
                text = f"{JOURNAL_TITLE} {_VERSION}\n{text}"
            try:
                os.ftruncate(fd, end)
                _write_all(fd, text.encode(), end)
                os.fsync(fd)
            except OSError:
                os.ftruncate(fd, end)
                raise
            if not end:
                sync_folder(self.path.parent)
        finally:
            os.close(fd)
        self._is_start_written = True


def _write_all(fd: int, data: bytes, offset: int) -> None:
    while data:  # a disk that becomes full takes a part
        count = os.pwrite(fd, data, offset)
        data, offset = data[count:], offset + count
