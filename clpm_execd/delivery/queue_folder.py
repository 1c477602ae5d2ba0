"""The files of the disk queue in a state folder: written durably, read, moved away if they are corrupt, and removed.

When `write` returns, the file outlives the process and a power cut; when `remove` returns it does not come back with
the process, and after a power cut it may. Removing works on a full disk.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from clpm_execd.delivery.queue import Batch
from clpm_execd.delivery.queue_file import (
    MAX_HEADER_BYTES,
    CorruptFile,
    make_file_name,
    make_header,
    parse,
    parse_file_names,
    parse_header,
)
from clpm_execd.state.durable_file import make_folder, sync_file, sync_folder, write_atomically
from clpm_execd.stored_names import CORRUPT_FOLDER, QUEUE_FOLDER, TEMPORARY_SUFFIX

MAX_CORRUPT_FILES = 100  # that are kept for people to look at: at most 200 MB


class QueueFolder:
    """The folders `spool/` and `corrupt/` of a state folder; a file is called by its time, ns since 1970."""

    def __init__(self, state: Path) -> None:
        self.path = state / QUEUE_FOLDER
        self.corrupt_path = state / CORRUPT_FOLDER

    def times(self) -> list[int]:
        """Return the times of the files, the oldest first; none if there is no such folder."""
        return _list_times(self.path)

    def path_of(self, time: int) -> Path:
        return self.path / make_file_name(time)

    def write(self, time: int, batch: Batch) -> None:
        """Write a file durably, in place of one of this time; OSError if the disk does not take it."""
        make_folder(self.path)
        write_atomically(self.path_of(time), make_header(batch), batch.body)

    def read(self, time: int) -> Batch:
        """Return the batch of a file; CorruptFile if it holds anything else, OSError if it cannot be read."""
        return parse(self.path_of(time).read_bytes())

    def read_header(self, time: int) -> tuple[int, int]:
        """Return the points and the bytes of lines in a file, without reading those; CorruptFile or OSError."""
        with self.path_of(time).open("rb") as file:
            return parse_header(file.read(MAX_HEADER_BYTES), os.fstat(file.fileno()).st_size)

    def remove(self, time: int) -> None:
        """Remove a file, if it is there; OSError if that cannot be done."""
        self.path_of(time).unlink(missing_ok=True)

    def move_to_corrupt(self, time: int) -> None:
        """Move a file to `corrupt/`, and remove the oldest there if they are too many; OSError."""
        make_folder(self.corrupt_path)
        os.replace(self.path_of(time), self.corrupt_path / make_file_name(time))
        for old in _list_times(self.corrupt_path)[:-MAX_CORRUPT_FILES]:
            (self.corrupt_path / make_file_name(old)).unlink()

    def recover(self) -> None:
        """Finish or remove the files that a process before this one was writing when it ended.

        A complete one gets its name once its contents are durable: the process may have been killed before it synced
        them. An incomplete one was never promised to anybody.
        """
        with suppress(OSError):
            self.path.chmod(0o700)
        with suppress(OSError):
            for path in self.path.glob(f"*.lp{TEMPORARY_SUFFIX}"):
                with suppress(OSError):
                    _finish(path)
            sync_folder(self.path)


def _finish(path: Path) -> None:
    try:
        parse(path.read_bytes())
        sync_file(path)
        os.replace(path, path.with_suffix(""))
    except CorruptFile:
        path.unlink()


def _list_times(folder: Path) -> list[int]:
    try:
        with os.scandir(folder) as entries:  # reading a pipe of such a name would wait for ever
            return parse_file_names(entry.name for entry in entries if entry.is_file())
    except FileNotFoundError:
        return []
