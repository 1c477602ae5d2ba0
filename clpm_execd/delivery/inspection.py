"""What a state folder holds of points that are not delivered: pending, rejected, or in corrupt files.

All of it works next to a running stream. Reading changes nothing, and leaves out what the stream removes meanwhile.
Queueing rejected lines again goes through files only: one rename takes an incident out of the stream's sight, its lines
are queued as the stream itself does, and only then it is removed; if that is interrupted, the next call finishes it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import time_ns

from clpm_execd.delivery.quarantine import Incident, read_incident, read_incidents
from clpm_execd.delivery.queue import split_batches
from clpm_execd.delivery.queue_file import CorruptFile
from clpm_execd.delivery.queue_folder import QueueFolder
from clpm_execd.paths import list_folder
from clpm_execd.stored_names import QUARANTINE_FOLDER, RETRY_SUFFIX


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a state folder holds.

    Attributes
    ----------
    files, points : int
        Files and points that are pending.
    size : int
        Bytes of pending lines.
    oldest : int or None
        When the oldest of them were put, ns since 1970.
    incidents : tuple of Incident
        The rejected lines.
    corrupt : tuple of Path
        Files that do not hold what was written to them; nothing of them is sent.
    """

    files: int
    points: int
    size: int
    oldest: int | None
    incidents: tuple[Incident, ...]
    corrupt: tuple[Path, ...]


def take_inventory(state: Path) -> Inventory:
    """Return what a state folder holds.

    Parameters
    ----------
    state : Path
        The state folder.

    Raises
    ------
    OSError
        If a folder in it cannot be read.
    """
    pending: list[tuple[int, int, int]] = []
    corrupt: list[Path] = []
    folder = QueueFolder(state)
    for time in folder.times():
        try:
            pending.append((time, *folder.read_header(time)))
        except FileNotFoundError:
            continue
        except CorruptFile:
            corrupt.append(folder.path_of(time))
    corrupt += list_folder(folder.corrupt_path)
    points, size = sum(points for _, points, _ in pending), sum(size for *_, size in pending)
    oldest = pending[0][0] if pending else None
    return Inventory(len(pending), points, size, oldest, tuple(read_incidents(state)), tuple(corrupt))


def read_pending_lines(state: Path) -> Iterator[bytes]:
    """Yield the lines of each pending file, the oldest first, without corrupt ones.

    Parameters
    ----------
    state : Path
        The state folder.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    folder = QueueFolder(state)
    for time in folder.times():
        with suppress(FileNotFoundError, CorruptFile):
            yield folder.read(time).body


def retry_incidents(state: Path, names: Collection[str] = ()) -> tuple[int, int]:
    """Queue the lines of incidents again.

    Parameters
    ----------
    state : Path
        The state folder.
    names : collection of str
        File names of incidents; empty for all.

    Returns
    -------
    incidents, lines : int
        How many were queued.

    Raises
    ------
    OSError
        If they cannot be queued. Then they are still in the quarantine, or the next call finishes what was interrupted.
    """
    folder = QueueFolder(state)
    count = lines = 0
    for path in _claim_incidents(state, names):
        body = b"".join(read_incident(path).lines)
        since = path.stat().st_mtime_ns
        for batch in split_batches(body):
            since = _find_free_time(folder, since)
            folder.write(since, batch)
        path.unlink()
        count += 1
        lines += body.count(b"\n")
    return count, lines


def _claim_incidents(state: Path, names: Collection[str]) -> Iterator[Path]:
    """Take each incident out of the stream's sight; those that an interrupted call had taken come first."""
    yield from (path for path in list_folder(state / QUARANTINE_FOLDER) if path.name.endswith(RETRY_SUFFIX))
    for incident in read_incidents(state):
        if not names or incident.path.name in names:
            retry_path = incident.path.with_name(incident.path.name + RETRY_SUFFIX)
            with suppress(FileNotFoundError):
                os.rename(incident.path, retry_path)
                yield retry_path


def _find_free_time(folder: QueueFolder, since: int) -> int:
    """Return a time in the past that no file has; no running stream gives it to a file of its own."""
    since = min(since, time_ns() - 10**9)
    while folder.path_of(since).exists():
        since += 1
    return since
