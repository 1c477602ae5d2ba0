"""Lines that a server refused, for people to read, mend and write again: one file an incident, bounded in bytes.

A file holds the server's words as `#` lines, each with its time, and below them the lines refused so: it is line
protocol as it stands. What is refused within ten minutes of the last refusal is the same incident, until its file has
256 kB; words are written again when they change. A line that an incident holds is not written to it twice, so that a
batch that is sent again after a crash leaves no doubles. Of more than `cap` bytes the oldest incidents go, which is
told.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from clpm_execd.delivery.queue import split_lines
from clpm_execd.state.durable_file import make_folder, write_atomically

CAP = 32_000_000  # bytes
SAME_INCIDENT = 600.0  # s
FULL = 256_000  # bytes


@dataclass(frozen=True, slots=True)
class Incident:
    """A file of refused lines.

    since: UTC time of the first refusal. words: what the server said, each once, in order. lines: what it refused, each
    with its newline.
    """

    path: Path
    since: str
    words: tuple[str, ...]
    lines: tuple[bytes, ...]


def incidents(state: Path) -> Iterator[Incident]:
    """Those of a state folder, the oldest first; one that disappears meanwhile is left out."""
    for path in _files(state / "quarantine"):
        with suppress(FileNotFoundError):
            yield read_incident(path)


def read_incident(path: Path) -> Incident:
    """OSError if it cannot be read. A comment that somebody wrote into it by hand counts as words."""
    rows = [row for row in split_lines(path.read_bytes()) if row.strip()]
    heads = [row[1:].decode("utf-8", "replace").split(maxsplit=1) for row in rows if row.startswith(b"#")]
    words = dict.fromkeys(head[-1].strip() for head in heads if head)
    lines = tuple(row for row in rows if not row.startswith(b"#"))
    return Incident(path, heads[0][0] if heads and heads[0] else "", tuple(words), lines)


class Quarantine:
    """Puts refused lines away in `quarantine/` of a state folder; call it with the lines by the server's words."""

    def __init__(
        self, state: Path, log: logging.Logger, *, cap: int = CAP, now: Callable[[], float] = time.time
    ) -> None:
        self.folder, self.cap = state / "quarantine", cap
        self._log, self._now = log, now
        self._counts: dict[tuple[str, int, int], int] = {}  # lines of a file by its name, time and size

    @property
    def points(self) -> int:
        """How many lines it holds now; a file is read only where it has changed."""
        with suppress(OSError):
            counts = {}
            for path in _files(self.folder):
                with suppress(FileNotFoundError):  # somebody took it, to write it again
                    state = path.stat()
                    key = path.name, state.st_mtime_ns, state.st_size
                    counts[key] = self._counts[key] if key in self._counts else len(read_incident(path).lines)
            self._counts = counts
        return sum(self._counts.values())

    def __call__(self, refused: Mapping[str, Sequence[bytes]]) -> None:
        """OSError if they cannot be put away; then nothing has changed."""
        make_folder(self.folder)
        now = self._now()
        path, before = self._incident(now)
        there = set(split_lines(before))
        last = next((line for line in reversed(split_lines(before)) if line.startswith(b"#")), b"")
        message = last.partition(b" ")[2].partition(b" ")[2].strip().decode("utf-8", "replace")
        rows: list[bytes] = []
        for words, lines in refused.items():
            new = [line for line in dict.fromkeys(lines) if line not in there]
            there.update(new)
            said = " ".join(words.split())
            if new and said != message:
                rows.append(_head(now, said))
                message = said
            rows += new
        if rows:
            write_atomically(path, before, *rows)
            self._keep_bounds()

    def _incident(self, now: float) -> tuple[Path, bytes]:
        """The file to write to, and what it holds already."""
        last = _files(self.folder)[-1:]
        with suppress(FileNotFoundError):  # somebody took it, to write it again
            for path in last:
                found = path.stat()
                if now - found.st_mtime < SAME_INCIDENT and found.st_size < FULL:
                    return path, path.read_bytes()
        name = datetime.fromtimestamp(now, timezone.utc).strftime("%Y-%m-%dT%H%M%S.%fZ.lp")
        return self.folder / name, b""

    def _keep_bounds(self) -> None:
        paths = _files(self.folder)
        with suppress(FileNotFoundError):
            sizes = [path.stat().st_size for path in paths]
            while len(paths) > 1 and sum(sizes) > self.cap:
                text = "the quarantine holds more than %d MB: its oldest incident, %s, is given up"
                self._log.error(text, self.cap // 1_000_000, paths[0].name)
                paths.pop(0).unlink()
                sizes.pop(0)


def _files(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if name.endswith(".lp")]
    except FileNotFoundError:
        return []


def _head(now: float, said: str) -> bytes:
    return f"# {datetime.fromtimestamp(now, timezone.utc).isoformat(timespec='seconds')} {said}\n".encode()
