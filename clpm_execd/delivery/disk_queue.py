"""A queue on disk: a point is safe before it is sent, and removed only once it is acknowledged.

When `put` returns, the lines outlive the process and a power cut, in a file of their own. A process that starts takes
over the files that it finds. What is read is what was written, or nothing: a file that is wrong in any byte goes to
`corrupt/`, and all others are delivered. A crash can send lines twice (a batch that was written but not yet removed, an
interrupted merge), which are the same points again; it cannot lose any. The order and the limits are those of
`queue_order`, the files those of `queue_folder`.

Large files, while there are few, are in memory as well, and sent from there: on a machine that also runs the server,
reading and checking them takes time from it. The file decides: without it, or with another header, nothing is sent.

Lines that cannot be written (a full disk, a folder that became unusable) are pending in memory, are sent in their turn,
and are written as soon as that is possible. A file that cannot be read stays where it is and is tried again. Small
files are merged once there are many, so that an outage of a day is some hundred files. `put` waits for the disk: a slow
one delays the stream, and all samples that became due meanwhile are one file.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clpm_execd.delivery import memory_queue
from clpm_execd.delivery.queue import MAX_BATCH_BYTES, Batch, split_batches
from clpm_execd.delivery.queue_file import CorruptFile
from clpm_execd.delivery.queue_folder import QueueFolder
from clpm_execd.delivery.queue_order import Entry, QueueOrder, split_merge_runs
from clpm_execd.state.folder_lock import FolderLock

MAX_SPOOL_BYTES = 2_000_000_000  # seven weeks of the five default loops at 1 s, on a disk that has room for logs too
MERGE_EVERY_PUTS = 60  # a minute of a stream at 1 s
MIN_MERGED_FILES = 8  # fewer are not worth the writing: a merge writes what was written already
SCAN_EVERY_NS = 30 * 10**9  # for files that another process puts there: "within a minute", says `spool retry`
MAX_COPIES_BYTES = 8 * MAX_BATCH_BYTES  # of lines that are on disk and in memory: eight requests ahead
MIN_COPY_BYTES = 100_000  # of a file; the header of a smaller one takes about as long to read as all of it

# Errors of the moment, which say nothing about a file.
_TRANSIENT_ERRORS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR}


@dataclass(frozen=True, slots=True)
class _DiskFailure:
    """since: when the disk stopped taking files, ns since 1970. dropped_before: points dropped until then."""

    since: int
    dropped_before: int


class DiskQueue:
    """Pending lines in the files of a state folder; one thread may put while another peeks and acknowledges.

    Parameters
    ----------
    state : Path
        The state folder, which has, or gets, the folders `spool/` and `corrupt/`.
    log : logging.Logger
        Where failures of the disk, corrupt files and what is pending at the start are reported.
    lock : FolderLock, optional
        The lock on the state folder. While it is not held, lines stay in memory and the folder is left alone.
    max_bytes, max_memory_bytes : int
        Bytes of lines on disk, and in memory while the disk does not take them, beyond which the oldest are dropped.
    now : callable
        The clock, ns since 1970.
    """

    def __init__(
        self, state: Path, log: logging.Logger, *, lock: FolderLock | None = None, max_bytes: int = MAX_SPOOL_BYTES,
        max_memory_bytes: int = memory_queue.MAX_MEMORY_BYTES, now: Callable[[], int] = time.time_ns,
    ) -> None:
        self.folder = QueueFolder(state)
        self.points_dropped = 0
        self.corrupt_files = 0  # found since the start
        self._log, self._now, self._folder_lock = log, now, lock
        self._order = QueueOrder(max_bytes, max_memory_bytes)
        self._batch: Batch | None = None  # the lines of the entries in flight
        self._copies: dict[int, bytes] = {}  # lines of files, by the files' times
        self._unmovable: set[int] = set()  # times of corrupt files that cannot be moved away
        self._files_to_delete: set[int] = set()  # of files that are dealt with and could not be deleted yet
        self._unreadable: set[int] = set()  # of files that are tried again later
        self._last_time = 0  # of the newest file
        self._disk_failure: _DiskFailure | None = None
        self._puts_since_merge = 0
        self._scanned_at: int | None = None  # None: the next put scans the folder
        self._has_taken_over = False
        self._put_lock = threading.Lock()  # one put at a time; taken before _lock
        self._lock = threading.RLock()  # for order and counts; not held while the disk works, except in a merge
        if self._open_folder():
            self._log_pending()

    # Putting

    def put(self, lines: bytes) -> None:
        """Add lines; when it returns they are on disk or, as the log says then, in memory until they can be."""
        if not lines:
            return
        with self._put_lock:
            disk_works = self._open_folder() and self._write_lines_in_memory()
            for batch in split_batches(lines):
                disk_works = self._put_batch(batch, disk_works)
            if disk_works and self._disk_failure:
                self._log_disk_recovery(self._disk_failure)
            self._puts_since_merge += 1
            if disk_works and self._puts_since_merge >= MERGE_EVERY_PUTS:
                self._puts_since_merge = 0
                self._merge()
            self._enforce_limits()

    def _put_batch(self, batch: Batch, disk_works: bool) -> bool:
        """Return whether the disk took it. One that has failed is not tried, so that lines in memory stay in order."""
        self._last_time = max(self._last_time + 1, self._now())
        entry = Entry(self._last_time, batch.points, len(batch.body))
        disk_works = disk_works and self._write(entry, batch)
        with self._lock:
            if disk_works:
                self._copy(entry.time, batch.body)
            else:
                entry.body = batch.body
            self._order.add(entry)
        return disk_works

    def _copy(self, time: int, body: bytes) -> None:
        # The copies that are there are the next to be sent: a newer one does not take their place.
        if len(body) >= MIN_COPY_BYTES and len(body) + sum(map(len, self._copies.values())) <= MAX_COPIES_BYTES:
            self._copies[time] = body

    def _write(self, entry: Entry, batch: Batch) -> bool:
        try:
            self.folder.write(entry.time, batch)
        except OSError as error:
            self._log_disk_failure(error)
            return False
        return True

    def _log_disk_failure(self, error: OSError | None) -> None:
        """Note since when the disk takes no files, and log it once; None: the lock has logged why."""
        if self._disk_failure is None:
            self._disk_failure = _DiskFailure(self._now(), self.points_dropped)
            text = "cannot write the queue to %s: %s; keeping points in memory, at most %d MB"
            limit = self._order.max_memory_bytes // 1_000_000
            if error is not None:
                self._log.error(text, self.folder.path, error.strerror, limit)

    def _write_lines_in_memory(self) -> bool:
        """Write what is in memory only, pending or in flight, in order; return whether the disk took all of it."""
        with self._lock:
            entries = [entry for entry in self._order if entry.body is not None]
        for entry in entries:
            body = entry.body
            if body is not None and not self._write(entry, Batch(body, entry.points)):
                return False
            with self._lock:
                if entry.is_removed:  # sent meanwhile, from memory
                    self._remove_file(entry)
                else:
                    self._order.move_to_disk(entry)
        return True

    def _log_disk_recovery(self, failure: _DiskFailure) -> None:
        text = "writing the queue to %s resumed after %.0f s; %d points dropped"
        loss = self.points_dropped - failure.dropped_before
        self._log.warning(text, self.folder.path, (self._now() - failure.since) / 1e9, loss)
        self._disk_failure = None

    # Taking

    def peek(self) -> Batch | None:
        while self._batch is None:
            with self._lock:
                entries = self._order.take_request(self._now())
            if not entries:
                return None
            bodies, readable = [], []
            for entry in entries:
                body = None if entry.is_removed else self._read_lines(entry)
                if body is not None:
                    bodies.append(body)
                    readable.append(entry)
            with self._lock:
                self._order.in_flight = readable
            if readable:
                self._batch = Batch(b"".join(bodies), sum(entry.points for entry in readable))
        return self._batch

    def ack(self) -> None:
        with self._lock:
            files = [entry for entry in self._order.in_flight if entry.body is None]
            for entry in self._order.in_flight:
                self._remove(entry)
        for entry in files:
            self._remove_file(entry)
        with self._lock:
            self._order.in_flight, self._batch = [], None

    def nack(self, remaining: bytes | None = None) -> None:
        if remaining is None:
            with self._lock:
                self._order.put_back(self._order.in_flight)
                self._batch = None
            return
        with self._put_lock:  # a put may be about to write what is in flight from memory
            entries = self._order.in_flight
            replacement = Entry(entries[0].time, remaining.count(b"\n"), len(remaining))
            if any(entry.body is None for entry in entries):
                self.folder.write(replacement.time, Batch(remaining, replacement.points))
            else:  # the next put writes it, if the disk takes it
                replacement.body = remaining
            for entry in entries[1:]:
                if entry.body is None:
                    self._remove_file(entry)
            with self._lock:
                for entry in entries:
                    self._remove(entry)
                self._order.put_back(())
                self._order.add(replacement, is_backlog=True)
                self._batch = None

    def drop(self) -> int:
        with self._lock:
            entry = self._order.pop_oldest()
            return 0 if entry is None else self._discard(entry)

    @property
    def points(self) -> int:
        return self._order.points

    @property
    def size(self) -> int:
        return self._order.size

    @property
    def oldest(self) -> int | None:
        with self._lock:
            return self._order.oldest

    @property
    def is_durable(self) -> bool:
        return not self._order.memory_size

    @property
    def needs_backpressure(self) -> bool:
        return self._order.is_half_full

    def _read_lines(self, entry: Entry) -> bytes | None:
        """Return the lines of an entry; None, and the entry is removed, if its file is gone, corrupt or unreadable."""
        try:
            return entry.body or self._find_copy(entry) or self._read(entry)
        except FileNotFoundError:
            with self._lock:
                self._remove(entry)
        except CorruptFile as reason:
            with self._lock:
                self._remove(entry)
            self._move_to_corrupt(entry.time, reason)
        except OSError as error:
            if error.errno in _TRANSIENT_ERRORS:
                raise
            with self._lock:
                self._remove(entry)
            self._log_unreadable(entry.time, error)
        return None

    def _log_unreadable(self, time: int, error: OSError) -> None:
        """Log it once that files cannot be read; a scan of the folder adds them again once they can be."""
        if not self._unreadable:
            text = "cannot read %s: %s; its points stay there and are sent once it can be read"
            self._log.error(text, self.folder.path_of(time), error.strerror)
        self._unreadable.add(time)

    def _find_copy(self, entry: Entry) -> bytes | None:
        """Return the lines from memory, if the file is there as it was."""
        if entry.time in self._copies:
            with suppress(OSError, CorruptFile):  # reading it reports that
                if self.folder.read_header(entry.time) == (entry.points, entry.size):
                    return self._copies.get(entry.time)
        return None

    def _read(self, entry: Entry) -> bytes:
        batch = self.folder.read(entry.time)
        self._unreadable.discard(entry.time)
        if (batch.points, len(batch.body)) != (entry.points, entry.size):
            raise CorruptFile("it was replaced by another file")
        return batch.body

    # Removing

    def _remove(self, entry: Entry) -> None:
        self._order.remove(entry)
        self._copies.pop(entry.time, None)

    def _remove_file(self, entry: Entry) -> None:
        try:
            self.folder.remove(entry.time)
        except OSError as error:
            if not self._files_to_delete:
                text = "cannot remove %s, whose points are written: %s; trying again, and a restart before that " \
                       "writes them again, to no effect"
                self._log.error(text, self.folder.path_of(entry.time), error.strerror)
            self._files_to_delete.add(entry.time)

    def _move_to_corrupt(self, time: int, reason: CorruptFile) -> None:
        self.corrupt_files += 1
        self._log.error("corrupt file %s moved to %s: %s", self.folder.path_of(time), self.folder.corrupt_path, reason)
        try:
            self.folder.move_to_corrupt(time)
        except OSError:
            self._unmovable.add(time)

    def _enforce_limits(self) -> None:
        with self._lock:
            while (entry := self._order.pop_excess()) is not None:
                self._discard(entry)

    def _discard(self, entry: Entry) -> int:
        """Drop an entry that the order has no longer; return its points."""
        self._copies.pop(entry.time, None)
        self.points_dropped += entry.points
        if entry.body is None:
            self._remove_file(entry)
        return entry.points

    # The folder

    def _open_folder(self) -> bool:
        """Return whether the folder can be used; add files that are new in it, every half minute and after a failure.

        The first time these are the files of the process before this one.
        """
        if self._folder_lock is not None and not self._folder_lock.try_acquire():
            self._log_disk_failure(None)
            self._scanned_at = None
            return False
        if self._scanned_at is not None and 0 <= self._now() - self._scanned_at < SCAN_EVERY_NS:
            return True
        try:
            self._scan_folder()
        except OSError as error:
            self._log_disk_failure(error)
            self._scanned_at = None
            return False
        return True

    def _log_pending(self) -> None:
        if self._order.live:
            text = "%d points pending in %d files in %s, the oldest for %.0f s"
            age = max(0, self._now() - self._order.live[0].time) / 1e9
            self._log.info(text, self.points, len(self._order.live), self.folder.path, age)

    def _scan_folder(self) -> None:
        """Add the files that are new in the folder, and try again to delete those that are dealt with; OSError."""
        self._scanned_at = self._now()
        if not self._has_taken_over:
            self.folder.recover()
        for time_of_file in sorted(self._files_to_delete):
            with suppress(OSError):
                self.folder.remove(time_of_file)
                self._files_to_delete.discard(time_of_file)
        with self._lock:
            old_times = {entry.time for entry in self._order} | self._unmovable | self._files_to_delete
        times = set(self.folder.times())
        is_backlog = self._has_taken_over or self.points > 0
        self._has_taken_over = True
        self._unreadable &= times
        for new_time in sorted(times - old_times):
            try:
                entry = Entry(new_time, *self.folder.read_header(new_time))
            except CorruptFile as reason:
                self._move_to_corrupt(new_time, reason)
                continue
            except FileNotFoundError:
                continue
            except OSError as error:
                self._log_unreadable(new_time, error)
                continue
            self._unreadable.discard(new_time)
            self._last_time = max(self._last_time, new_time)
            with self._lock:
                self._order.add(entry, is_backlog=is_backlog)

    def _merge(self) -> None:
        """Merge small files next to each other into files as large as a request."""
        with self._lock:
            for queue in (self._order.backlog, self._order.live):
                entries = [entry for run in split_merge_runs(queue) for entry in self._merge_run(run)]
                queue.clear()
                queue += entries

    def _merge_run(self, run: list[Entry]) -> list[Entry]:
        """Return one entry for all, or these if they are too few or the disk does not take it.

        The new file takes the place of the first in one step, and then the others are removed: a crash in between
        leaves lines twice.
        """
        if len(run) < MIN_MERGED_FILES:
            return run
        try:
            bodies = [body for entry in run if (body := self._read_lines(entry)) is not None]
            run = [entry for entry in run if not entry.is_removed]
            whole = Entry(run[0].time, sum(entry.points for entry in run), sum(entry.size for entry in run))
            self.folder.write(whole.time, Batch(b"".join(bodies), whole.points))
        except (OSError, IndexError):
            return [entry for entry in run if not entry.is_removed]
        for entry in run:
            self._copies.pop(entry.time, None)
        for entry in run[1:]:
            self._remove_file(entry)
        return [whole]
