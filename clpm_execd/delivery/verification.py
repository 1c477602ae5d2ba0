"""Whether the files of a state folder are as they were written: each is read completely, and nothing is changed.

It works next to a running stream: a file that the stream is writing, or removes meanwhile, is left out.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clpm_execd.delivery.quarantine import list_incidents
from clpm_execd.delivery.queue_file import CorruptFile
from clpm_execd.delivery.queue_file import parse as parse_batch
from clpm_execd.delivery.queue_folder import QueueFolder
from clpm_execd.paths import list_folder
from clpm_execd.state.checkpoint import UnusableCheckpoint
from clpm_execd.state.checkpoint import parse as parse_checkpoint
from clpm_execd.stored_names import CHECKPOINT_FILE


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not as it was written.

    Attributes
    ----------
    path : Path
        The file.
    reason : str
        What is wrong with it.
    """

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Verification:
    """The result for a state folder.

    Attributes
    ----------
    files, points : int
        Intact queue files, and the points in them.
    checkpoint_end : int or None
        The time at which a stream resumes from the checkpoint, ns since 1970; None without an intact one.
    damage : tuple of Damage
        The files that are not intact.
    """

    files: int
    points: int
    checkpoint_end: int | None
    damage: tuple[Damage, ...]


def verify_state(state: Path) -> Verification:
    """Return whether the queue, the quarantine and the checkpoint of a state folder are intact.

    Parameters
    ----------
    state : Path
        The state folder.

    Raises
    ------
    OSError
        If a folder in it cannot be read.
    """
    folder = QueueFolder(state)
    points: list[int] = []
    ends: list[int] = []

    def read_queue_file(path: Path) -> None:
        points.append(parse_batch(path.read_bytes()).points)

    def read_checkpoint(path: Path) -> None:
        ends.append(parse_checkpoint(path.read_bytes()).snapshot.next_time)

    checks: list[tuple[Path, Callable[[Path], None]]] = [
        *((folder.path_of(time), read_queue_file) for time in folder.times()),
        *((path, _read_incident) for path in list_incidents(state)),
        (state / CHECKPOINT_FILE, read_checkpoint)]
    damage = [damage for path, read in checks if (damage := _find_damage(path, read))]
    moved_files = list_folder(folder.corrupt_path)
    damage += [Damage(path, "was found damaged by a stream and moved here") for path in moved_files]
    return Verification(len(points), sum(points), ends[0] if ends else None, tuple(damage))


def _find_damage(path: Path, read: Callable[[Path], None]) -> Damage | None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return Damage(path, "it is not a file")
        read(path)
    except FileNotFoundError:  # dealt with by the stream meanwhile
        return None
    except (CorruptFile, UnusableCheckpoint) as reason:
        return Damage(path, str(reason))
    except OSError as error:
        return Damage(path, f"cannot be read: {error.strerror}")
    return None


def _read_incident(path: Path) -> None:
    data = path.read_bytes()
    if b"\0" in data or not data.endswith(b"\n"):
        raise CorruptFile("it is incomplete")
