"""What waits to be written, on disk: a point is safe before it is sent, and gone only once it is acknowledged.

When `put` returns, the lines outlive the process and a power cut: they are a file that was made durable under another
name before it got its own. `unlink` is the acknowledgement, and works on a full disk. A process that starts takes up
the files it finds. What is read is what was written, or nothing: a file whose checksum, count or form is wrong in any
byte goes to `corrupt/`, and all others are delivered. A crash can bring lines twice (a batch written but not yet
unlinked, a merge half done), which are the same points again; it cannot lose any.

Order. There are two lanes, each in the order of spooling. What has waited for less than a minute is in the young lane,
what has waited longer in the old one. Requests take from one and the other in turn, so that a long backlog does not
hold up the newest data, and neither does fresh data hold up the backlog. Without a backlog there is one lane, and all
leaves in order.

Large files, while they are few, are in memory as well, and sent from there: on the server's own machine, to read and to
check them takes time from it. What counts is the file, whose header is looked at: without it nothing is sent.

Bounds. More than `cap` bytes on disk: the oldest that are not being sent are given up, and counted. Lines that cannot
be spooled (a full disk) wait in memory, at most `memory` bytes of them, leave in their turn, and are spooled as soon
as that is possible; beyond that the oldest of them are given up, and counted. Small files are merged once there are
many, so that a day's outage is some hundred files. Who puts waits for the disk: a slow one makes a stream late, and
what fell due meanwhile is one file.

A file is named by its time, ns since 1970 in 19 digits: `1764034839123456789.lp`. Its first line is a comment with
version, count, size and checksum, so that it is line protocol as it stands.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clpm_execd.delivery.memory_queue import CAP as MEMORY
from clpm_execd.delivery.memory_queue import MOST_BYTES, MOST_LINES, Batch, batches
from clpm_execd.state.durable_file import TEMPORARY_SUFFIX, make_folder, write_atomically

VERSION = 1
CAP = 2_000_000_000  # bytes
FRESH = 60 * 10**9  # ns that a point waits in the young lane at most
MERGE_AFTER = 60  # puts, until small files are merged
MERGE_LEAST = 8  # files that are worth a merge
ADOPT_AFTER = 30 * 10**9  # ns between two looks for files that somebody else put there
MOST_CORRUPT = 100  # files kept in corrupt/
COPIES = 8 * MOST_BYTES  # of lines on disk that are also in memory
COPIED = 100_000  # bytes of a file from which it is worth it

_NAME = re.compile(r"(\d{19})\.lp")
_HEADER = re.compile(rb"# clpm-execd spool (\d{1,4}): (\d{1,9}) points, (\d{1,12}) bytes, crc32 [0-9a-f]{8}\n")
# Of the moment, and no word on the file.
_TRANSIENT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR}


class Corrupt(Exception):  # noqa: N818 - says what the file is
    """A file that does not hold what was written to it."""


def path_of(folder: Path, name: int) -> Path:
    return folder / f"{name:019d}.lp"


def header(batch: Batch) -> bytes:
    """What stands before the lines in a batch's file."""
    # It finds what disks do, any one byte among it. Nobody forges: to fend that off would take five times as long.
    check = zlib.crc32(batch.body)
    return f"# clpm-execd spool {VERSION}: {batch.points} points, {len(batch.body)} bytes, crc32 {check:08x}\n".encode()


def packed(batch: Batch) -> bytes:
    """A batch as its file holds it."""
    return header(batch) + batch.body


def unpacked(data: bytes) -> Batch:
    """The batch that a file holds; Corrupt if one bit is not what was written."""
    start = data.find(b"\n") + 1
    body = data[start:]
    batch = Batch(body, body.count(b"\n"))
    if data[:start] == header(batch):
        return batch
    head = _HEADER.match(data)
    if head and int(head[1]) != VERSION:
        raise Corrupt(f"it is of version {int(head[1])}, not {VERSION}")
    raise Corrupt("its checksum is wrong")


def names(folder: Path) -> list[int]:
    """The names of the spool's files, oldest first; none where there is no such folder."""
    try:
        found = [_NAME.fullmatch(name) for name in os.listdir(folder)]
    except FileNotFoundError:
        return []
    return sorted(int(match[1]) for match in found if match)


def promised(path: Path) -> tuple[int, int]:
    """Points and bytes of lines by a file's header, the lines unread; Corrupt if it has none, or another length."""
    with path.open("rb") as file:
        head = _HEADER.match(file.read(160))
        size = os.fstat(file.fileno()).st_size
    if not head or size != head.end() + int(head[3]):
        raise Corrupt("it has no whole header" if not head else "its length is wrong")
    return int(head[2]), int(head[3])


@dataclass(slots=True)
class _Entry:
    """A file that waits, or, with a body, lines that could not be spooled.

    name: ns since 1970, when they were; also the file's name. gone: acknowledged or given up.
    """

    name: int
    points: int
    size: int
    body: bytes | None = None
    gone: bool = False


class Spool:
    """Waiting lines in the files of a folder; one thread may put while another peeks and acknowledges.

    state: the folder in which there are, or will be, `spool/` and `corrupt/`. cap: bytes of lines on disk. memory:
    bytes of lines that could not be spooled. now: ns since 1970.
    """

    def __init__(
        self, state: Path, log: logging.Logger, *, cap: int = CAP, memory: int = MEMORY,
        now: Callable[[], int] = time.time_ns,
    ) -> None:  # fmt: skip
        self.folder, self.corrupt = state / "spool", state / "corrupt"
        self.cap, self.memory = cap, memory
        self.points = self.dropped = self.set_aside = 0
        self.size = 0  # of lines, those in memory among them
        self._log, self._now = log, now
        self._old: deque[_Entry] = deque()
        self._young: deque[_Entry] = deque()
        self._old_turn = False
        self._held: list[_Entry] = []
        self._batch: Batch | None = None
        self._last = 0  # the youngest name
        self._left: set[int] = set()  # names of files that can neither be read nor moved
        self._loose = 0  # bytes in memory
        self._copies: dict[int, bytes] = {}  # of files, by name
        self._full: _Full | None = None
        self._unmerged = 0
        self._looked = now()
        self._putting = threading.Lock()  # one put at a time; taken before _lock
        self._lock = threading.RLock()  # the lanes and the counts; not held while the disk works, but for a merge
        self._take_up()

    # Putting

    def put(self, lines: bytes) -> None:
        """Keep these lines; when it returns they are on disk or, told in the log, in memory until they can be."""
        if not lines:
            return
        with self._putting:
            works = self._spool_loose()
            for batch in batches(lines):
                works = self._put(batch, works)
            if works and self._full:
                self._tell_room()
            self._unmerged += 1
            if self._unmerged >= MERGE_AFTER:
                self._unmerged = 0
                self._merge()
            if not 0 <= self._now() - self._looked < ADOPT_AFTER:
                self._adopt(self._old)
            self._keep_bounds()

    def _put(self, batch: Batch, works: bool) -> bool:
        """Whether the disk took it; one that does not work is spared, so that what is in memory stays in order."""
        self._last = max(self._last + 1, self._now())
        entry = _Entry(self._last, batch.points, len(batch.body))
        works = works and self._written(entry, batch)
        with self._lock:
            if works:
                self._young.append(entry)
                self._copy(entry.name, batch.body)
            else:
                self._put_loose(entry, batch.body)
            self.points += entry.points
            self.size += entry.size
        return works

    def _copy(self, name: int, body: bytes) -> None:
        # Those that are there are the next to be sent: a younger one does not take their place.
        if len(body) >= COPIED and len(body) + sum(map(len, self._copies.values())) <= COPIES:
            self._copies[name] = body

    def _put_loose(self, entry: _Entry, body: bytes) -> None:
        last = self._young[-1] if self._young else None
        self._loose += entry.size
        if last and last.body is not None and _fit(last, entry):
            last.body += body
            last.points += entry.points
            last.size += entry.size
        else:
            entry.body = body
            self._young.append(entry)

    def _written(self, entry: _Entry, batch: Batch) -> bool:
        try:
            make_folder(self.folder)
            write_atomically(path_of(self.folder, entry.name), header(batch), batch.body)
        except OSError as error:
            if self._full is None:
                self._full = _Full(self._now(), self.dropped)
                text = "cannot spool to %s: %s; points wait in memory, at most %d MB, until it can be written"
                self._log.error(text, self.folder, error.strerror, self.memory // 1_000_000)
            return False
        return True

    def _spool_loose(self) -> bool:
        """Write what waits in memory, in order; whether the disk took all of it."""
        with self._lock:
            loose = [entry for entry in (*self._old, *self._young) if entry.body is not None]
        for entry in loose:
            body = entry.body
            if body is not None and not self._written(entry, Batch(body, entry.points)):
                return False
            with self._lock:
                if entry.gone:  # sent meanwhile, from memory
                    self._unlink(entry)
                else:
                    entry.body = None
                    self._loose -= entry.size
        return True

    def _tell_room(self) -> None:
        assert self._full is not None
        text = "spooling to %s again after %.0f s; %d points were given up meanwhile"
        lost = self.dropped - self._full.dropped_before
        self._log.warning(text, self.folder, (self._now() - self._full.since) / 1e9, lost)
        self._full = None

    # Taking

    def peek(self) -> Batch | None:
        """The next lines for one request, the same until they are acknowledged; None when nothing waits."""
        while self._batch is None:
            with self._lock:
                self._held = self._held or self._choose()
            if not self._held:
                return None
            bodies, held = [], []
            for entry in self._held:
                body = None if entry.gone else self._body(entry)
                if body is not None:
                    bodies.append(body)
                    held.append(entry)
            with self._lock:
                self._held = held
            if held:
                self._batch = Batch(b"".join(bodies), sum(entry.points for entry in held))
        return self._batch

    def ack(self) -> None:
        """The batch last peeked at is dealt with."""
        with self._lock:
            files = [entry for entry in self._held if entry.body is None]
            for entry in self._held:
                self._forget(entry)
        for entry in files:
            self._unlink(entry)
        with self._lock:
            self._held, self._batch = [], None

    def defer(self, rest: bytes | None = None) -> None:
        """The batch last peeked at is not for now: it, or the rest of its lines, becomes the last of the old lane.

        OSError if the rest cannot be spooled, and then the batch is held as before.
        """
        self._old_turn = True  # the young lane's is next
        if rest is None:
            with self._lock:
                self._old += self._held
                self._held, self._batch = [], None
            return
        with self._putting:  # which may be about to write what is held in memory
            one = _Entry(self._held[0].name, rest.count(b"\n"), len(rest))
            write_atomically(path_of(self.folder, one.name), packed(Batch(rest, one.points)))
            for entry in self._held[1:]:
                self._unlink(entry)
            with self._lock:
                for entry in self._held:
                    self._forget(entry)
                self._old.append(one)
                self.points += one.points
                self.size += one.size
                self._held, self._batch = [], None

    @property
    def safe(self) -> bool:
        """Whether all that waits outlives the process."""
        return not self._loose

    @property
    def crowded(self) -> bool:
        """Whether whoever can wait with its lines had better wait."""
        return self.size - self._loose > self.cap // 2 or self._loose > self.memory // 2

    @property
    def oldest(self) -> int | None:
        """When the oldest of what waits was spooled, ns since 1970."""
        with self._lock:
            return min((lane[0].name for lane in (self._held, self._old, self._young) if lane), default=None)

    def _choose(self) -> list[_Entry]:
        """Files for the next request, out of their lane."""
        if self._young and self._now() - self._young[0].name > FRESH:
            self._old += self._young
            self._young.clear()
        self._old_turn = not self._old_turn
        lane = self._old if self._old and (self._old_turn or not self._young) else self._young
        taken: list[_Entry] = []
        sum_of = _Entry(0, 0, 0)
        while lane and (not taken or _fit(sum_of, lane[0])):
            taken.append(lane.popleft())
            sum_of.points += taken[-1].points
            sum_of.size += taken[-1].size
        return taken

    def _body(self, entry: _Entry) -> bytes | None:
        """The lines of an entry; None where its file has none to give, and then it waits no more."""
        try:
            return entry.body or self._copy_of(entry) or self._read(entry)
        except (Corrupt, FileNotFoundError) as why:
            with self._lock:
                self._forget(entry)
            if isinstance(why, Corrupt):
                self._set_aside(entry.name, why)
            return None

    def _copy_of(self, entry: _Entry) -> bytes | None:
        """The lines from memory, while the file is there as it was."""
        if entry.name in self._copies:
            with suppress(OSError, Corrupt):  # for whoever reads it
                if promised(path_of(self.folder, entry.name)) == (entry.points, entry.size):
                    return self._copies.get(entry.name)
        return None

    def _read(self, entry: _Entry) -> bytes:
        try:
            batch = unpacked(path_of(self.folder, entry.name).read_bytes())
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in _TRANSIENT:
                raise
            raise Corrupt(f"it cannot be read: {error.strerror}") from None
        if (batch.points, len(batch.body)) != (entry.points, entry.size):
            raise Corrupt("it is another file than it was")
        return batch.body

    def _forget(self, entry: _Entry) -> None:
        entry.gone = True
        self._copies.pop(entry.name, None)
        self.points -= entry.points
        self.size -= entry.size
        if entry.body is not None:
            self._loose -= entry.size

    def _unlink(self, entry: _Entry) -> None:
        try:
            path_of(self.folder, entry.name).unlink(missing_ok=True)
        except OSError as error:
            self._left.add(entry.name)
            text = "cannot remove %s, which is written: %s; the next start will write it again, to no effect"
            self._log.error(text, path_of(self.folder, entry.name), error.strerror)

    def _set_aside(self, name: int, why: Corrupt) -> None:
        """A file that is not to be trusted goes to corrupt/, for people to look at."""
        path = path_of(self.folder, name)
        self.set_aside += 1
        self._log.error("%s is set aside in %s: %s", path, self.corrupt, why)
        try:
            make_folder(self.corrupt)
            os.replace(path, self.corrupt / path.name)
            for old in names(self.corrupt)[:-MOST_CORRUPT]:
                path_of(self.corrupt, old).unlink()
        except OSError:
            self._left.add(name)

    # The folder

    def _take_up(self) -> None:
        """The files of a process before this one; a half-written one was never promised to anybody."""
        with suppress(OSError):
            self.folder.chmod(0o700)
            for path in self.folder.glob(f"*.lp{TEMPORARY_SUFFIX}"):
                try:
                    unpacked(path.read_bytes())
                    os.replace(path, path.with_suffix(""))
                except Corrupt:
                    path.unlink()
        self._adopt(self._young)
        if self._young:
            text = "%d points in %d files wait in %s since %.0f s ago"
            age = max(0, self._now() - self._young[0].name) / 1e9
            self._log.info(text, self.points, len(self._young), self.folder, age)

    def _adopt(self, lane: deque[_Entry]) -> None:
        """Take in files that are new in the folder."""
        self._looked = self._now()
        with self._lock:
            known = {entry.name for entry in (*self._old, *self._young, *self._held)} | self._left
        for name in names(self.folder):
            if name in known:
                continue
            try:
                entry = _Entry(name, *promised(path_of(self.folder, name)))
            except Corrupt as why:
                self._set_aside(name, why)
                continue
            except OSError:  # gone, or nothing to be had from the disk now
                continue
            self._last = max(self._last, name)
            with self._lock:
                lane.append(entry)
                self.points += entry.points
                self.size += entry.size

    def _keep_bounds(self) -> None:
        """Give up the oldest of what is too much, on disk and in memory."""
        with self._lock:
            while self.size - self._loose > self.cap and self._give_up(loose=False):
                pass
            while self._loose > self.memory and self._give_up(loose=True):
                pass

    def _give_up(self, *, loose: bool) -> bool:
        for lane in (self._old, self._young):
            for at, entry in enumerate(lane):
                if (entry.body is not None) is loose:
                    del lane[at]
                    self._forget(entry)
                    self.dropped += entry.points
                    if not loose:
                        self._unlink(entry)
                    return True
        return False

    def _merge(self) -> None:
        """Small neighbours become one file each, as large as a request takes."""
        with self._lock:
            for lane in (self._old, self._young):
                merged = [entry for run in _runs(lane) for entry in self._joined(run)]
                lane.clear()
                lane += merged

    def _joined(self, run: list[_Entry]) -> list[_Entry]:
        """One entry for all, or these, where it is not worth it or the disk does not take it.

        The new file takes the first one's place in one step, and then the others go: a crash in between leaves
        lines twice.
        """
        if len(run) < MERGE_LEAST:
            return run
        try:
            bodies = [body for entry in run if (body := self._body(entry)) is not None]
            run = [entry for entry in run if not entry.gone]
            one = _Entry(run[0].name, sum(entry.points for entry in run), sum(entry.size for entry in run))
            write_atomically(path_of(self.folder, one.name), packed(Batch(b"".join(bodies), one.points)))
        except (OSError, IndexError):
            return [entry for entry in run if not entry.gone]
        for entry in run:
            self._copies.pop(entry.name, None)
        for entry in run[1:]:
            self._unlink(entry)
        return [one]


@dataclass(frozen=True, slots=True)
class _Full:
    """Since when the disk takes nothing, ns since 1970, and what had been given up before."""

    since: int
    dropped_before: int


def _fit(one: _Entry, other: _Entry) -> bool:
    """Whether both together go into one request."""
    return one.points + other.points <= MOST_LINES and one.size + other.size <= MOST_BYTES


def _runs(lane: deque[_Entry]) -> Iterator[list[_Entry]]:
    """A lane in runs of neighbours that are small files and together go into one request; all else by itself."""
    run: list[_Entry] = []
    sum_of = _Entry(0, 0, 0)
    for entry in lane:
        small = entry.body is None and entry.points <= MOST_LINES // 2 and entry.size <= MOST_BYTES // 2
        if run and not (small and _fit(sum_of, entry)):
            yield run
            run = []
        if not small:
            yield [entry]
            continue
        sum_of = sum_of if run else _Entry(0, 0, 0)
        run.append(entry)
        sum_of.points += entry.points
        sum_of.size += entry.size
    if run:
        yield run
