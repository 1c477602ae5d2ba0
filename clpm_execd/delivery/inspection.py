"""What a state folder holds of points on their way: waiting, refused, and set aside.

All of it works beside a running stream. Reading changes nothing, and what the stream removes meanwhile is left out.
Putting refused lines back goes through files only: an incident is taken out of the stream's sight by one rename, its
lines are spooled as the stream itself does, and only then it is removed; cut off in between, the next call ends it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import time_ns

from clpm_execd.delivery.quarantine import Incident, incidents, read_incident
from clpm_execd.delivery.queue import split_batches
from clpm_execd.delivery.queue_file import CorruptFile
from clpm_execd.delivery.queue_folder import QueueFolder

_TAKEN = ".retry"


@dataclass(frozen=True, slots=True)
class Stock:
    """files, points, size: what waits; size in bytes of lines. oldest: when its first was spooled, ns since 1970.

    corrupt: files that do not hold what was written to them, set aside; nothing of them is sent.
    """

    files: int
    points: int
    size: int
    oldest: int | None
    incidents: tuple[Incident, ...]
    corrupt: tuple[Path, ...]


def stock_of(state: Path) -> Stock:
    """OSError if a folder that is there cannot be read."""
    found: list[tuple[int, int, int]] = []
    bad: list[Path] = []
    folder = QueueFolder(state)
    for time in folder.times():
        try:
            found.append((time, *folder.read_header(time)))
        except FileNotFoundError:
            continue
        except CorruptFile:
            bad.append(folder.path_of(time))
    with suppress(FileNotFoundError):
        bad += [state / "corrupt" / name for name in sorted(os.listdir(state / "corrupt"))]
    points, size = sum(points for _, points, _ in found), sum(size for *_, size in found)
    oldest = found[0][0] if found else None
    return Stock(len(found), points, size, oldest, tuple(incidents(state)), tuple(bad))


def waiting_lines(state: Path) -> Iterator[bytes]:
    """The lines of each file that waits, oldest first; what is not sound is left out."""
    folder = QueueFolder(state)
    for time in folder.times():
        with suppress(FileNotFoundError, CorruptFile):
            yield folder.read(time).body


def retry(state: Path, chosen: Collection[str] = ()) -> tuple[int, int]:
    """Spool the lines of the incidents of these names, or of all; how many incidents and lines they were.

    OSError if they cannot be spooled; then what is left is where it was, or is taken up by the next call.
    """
    folder = QueueFolder(state)
    count = lines = 0
    for path in _take(state / "quarantine", chosen):
        body = b"".join(read_incident(path).lines)
        since = path.stat().st_mtime_ns
        for batch in split_batches(body):
            since = _free_time(folder, since)
            folder.write(since, batch)
        path.unlink()
        count += 1
        lines += body.count(b"\n")
    return count, lines


def _take(folder: Path, chosen: Collection[str]) -> Iterator[Path]:
    """Each incident out of the stream's sight; those that a call that was cut off had taken come first."""
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(folder)):
            if name.endswith(_TAKEN):
                yield folder / name
    for incident in incidents(folder.parent):
        if not chosen or incident.path.name in chosen:
            taken = incident.path.with_name(incident.path.name + _TAKEN)
            with suppress(FileNotFoundError):
                os.rename(incident.path, taken)
                yield taken


def _free_time(folder: QueueFolder, since: int) -> int:
    """A time in the past that no file has; no running stream gives it to a file of its own."""
    since = min(since, time_ns() - 10**9)
    while folder.path_of(since).exists():
        since += 1
    return since
