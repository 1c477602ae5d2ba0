"""Lines that the server rejected, for people to read, correct and write again: one file per incident, bounded in bytes.

A file holds the server's messages as `#` lines, each with its time, and below each the lines that it is about: the file
is line protocol. What is rejected within ten minutes of the last rejection belongs to the same incident, until its file
has 256 kB; a message is written again when it changes. A line is in an incident once, so that a batch that is sent
again after a crash leaves no duplicates. Beyond the limit the oldest incidents are deleted, which the log reports.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from clpm_execd.delivery.queue import split_lines
from clpm_execd.paths import list_folder
from clpm_execd.state.durable_file import make_folder, write_atomically
from clpm_execd.stored_names import QUARANTINE_FOLDER

MAX_QUARANTINE_BYTES = 32_000_000  # a few hundred thousand lines: more than anybody corrects by hand
INCIDENT_GAP_S = 600.0  # a cause that nobody removes rejects lines at every sample, and so stays one incident
MAX_FILE_BYTES = 256_000  # every batch with rejected lines rewrites its file, which takes some milliseconds


@dataclass(frozen=True, slots=True)
class Incident:
    """A file of rejected lines.

    Attributes
    ----------
    path : Path
        The file.
    since : str
        UTC time of the first rejection.
    messages : tuple of str
        What the server said, each message once, in order.
    lines : tuple of bytes
        The rejected lines, each with its newline.
    """

    path: Path
    since: str
    messages: tuple[str, ...]
    lines: tuple[bytes, ...]


def read_incidents(state: Path) -> Iterator[Incident]:
    """Yield the incidents of a state folder, the oldest first, without those that disappear meanwhile.

    Parameters
    ----------
    state : Path
        The state folder.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    for path in list_incidents(state):
        with suppress(FileNotFoundError):
            yield read_incident(path)


def list_incidents(state: Path) -> list[Path]:
    """Return the files of the incidents of a state folder, the oldest first, without those being written. OSError."""
    return _list_files(state / QUARANTINE_FOLDER)


def read_incident(path: Path) -> Incident:
    """Return the incident of a file; a comment that somebody wrote into it counts as a message. OSError."""
    rows = [row for row in split_lines(path.read_bytes()) if row.strip()]
    heads = [row[1:].decode("utf-8", "replace").split(maxsplit=1) for row in rows if row.startswith(b"#")]
    messages = dict.fromkeys(head[-1].strip() for head in heads if head)
    lines = tuple(row for row in rows if not row.startswith(b"#"))
    return Incident(path, heads[0][0] if heads and heads[0] else "", tuple(messages), lines)


class Quarantine:
    """Stores rejected lines in `quarantine/` of a state folder; call it with the lines by the server's messages.

    Parameters
    ----------
    state : Path
        The state folder.
    log : logging.Logger
        Where a deleted incident is reported.
    max_bytes : int
        Size of all files beyond which the oldest are deleted.
    now : callable
        The clock, s since 1970.
    """

    def __init__(
        self, state: Path, log: logging.Logger, *, max_bytes: int = MAX_QUARANTINE_BYTES,
        now: Callable[[], float] = time.time
    ) -> None:
        self.folder, self.max_bytes = state / QUARANTINE_FOLDER, max_bytes
        self._log, self._now = log, now
        self._line_counts: dict[tuple[str, int, int], int] = {}  # of a file by its name, time and size

    @property
    def points(self) -> int:
        """How many lines are in the quarantine now; a file is read only if it has changed."""
        with suppress(OSError):
            counts = {}
            for path in _list_files(self.folder):
                with suppress(FileNotFoundError):  # somebody took it, to write it again
                    status = path.stat()
                    key = path.name, status.st_mtime_ns, status.st_size
                    count = self._line_counts.get(key)
                    counts[key] = len(read_incident(path).lines) if count is None else count
            self._line_counts = counts
        return sum(self._line_counts.values())

    def __call__(self, rejected_lines: Mapping[str, Sequence[bytes]]) -> None:
        """Store rejected lines, by the server's message about them; after an OSError nothing has changed."""
        make_folder(self.folder)
        now = self._now()
        path, contents = self._find_current_file(now)
        lines_of_file = set(split_lines(contents))
        message = _find_last_message(contents)
        rows: list[bytes] = []
        for text, lines in rejected_lines.items():
            new = [line for line in dict.fromkeys(lines) if line not in lines_of_file]
            lines_of_file.update(new)
            text = " ".join(text.split())
            if new and text != message:
                rows.append(_make_head(now, text))
                message = text
            rows += new
        if rows:
            write_atomically(path, contents, *rows)
            self._enforce_limit()

    def _find_current_file(self, now: float) -> tuple[Path, bytes]:
        """Return the file to write to, and what it holds already."""
        with suppress(FileNotFoundError):  # somebody took it, to write it again
            for path in _list_files(self.folder)[-1:]:
                status = path.stat()
                if now - status.st_mtime < INCIDENT_GAP_S and status.st_size < MAX_FILE_BYTES:
                    return path, path.read_bytes()
        name = datetime.fromtimestamp(now, timezone.utc).strftime("%Y-%m-%dT%H%M%S.%fZ.lp")
        return self.folder / name, b""

    def _enforce_limit(self) -> None:
        paths = _list_files(self.folder)
        with suppress(FileNotFoundError):
            sizes = [path.stat().st_size for path in paths]
            while len(paths) > 1 and sum(sizes) > self.max_bytes:
                text = "quarantine full (%d MB): deleting oldest incident %s"
                self._log.error(text, self.max_bytes // 1_000_000, paths[0].name)
                paths.pop(0).unlink()
                sizes.pop(0)


def _list_files(folder: Path) -> list[Path]:
    return [path for path in list_folder(folder) if path.name.endswith(".lp")]


def _make_head(now: float, message: str) -> bytes:
    return f"# {datetime.fromtimestamp(now, timezone.utc).isoformat(timespec='seconds')} {message}\n".encode()


def _find_last_message(contents: bytes) -> str:
    head = next((row for row in reversed(split_lines(contents)) if row.startswith(b"#")), b"")
    return head.partition(b" ")[2].partition(b" ")[2].strip().decode("utf-8", "replace")
