"""The order in which a disk queue is sent, and what it drops; nothing here touches the disk.

There are two queues, each in the order in which its points were put: points that have been pending for less than a
minute are live, older ones are backlog. Requests take from one and the other in turn, so that a long backlog does not
delay live data, and live data does not hold up the backlog. Without a backlog everything leaves in order.

Beyond a limit the oldest points that are not in flight are dropped. There is a limit for what is on disk, and one for
what is in memory because the disk did not take it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from clpm_execd.delivery.queue import MAX_BATCH_BYTES, MAX_BATCH_LINES

MAX_LIVE_AGE_NS = 60 * 10**9  # a dashboard of the last minutes gets its points; chosen, not measured


@dataclass(slots=True)
class Entry:
    """A file that is pending, or, with a body, lines that are only in memory.

    time: when they were put, ns since 1970; also the name of the file. size: bytes of lines. is_removed: acknowledged
    or dropped.
    """

    time: int
    points: int
    size: int
    body: bytes | None = None
    is_removed: bool = False

    def fits(self, other: Entry) -> bool:
        """Whether both together fit into one request."""
        return self.points + other.points <= MAX_BATCH_LINES and self.size + other.size <= MAX_BATCH_BYTES

    def grow(self, other: Entry) -> None:
        self.points += other.points
        self.size += other.size


class QueueOrder:
    """Entries that are live, backlog or in flight, and their sums.

    max_bytes: limit of lines on disk. max_memory_bytes: limit of lines that are only in memory.
    """

    def __init__(self, max_bytes: int, max_memory_bytes: int) -> None:
        self.max_bytes, self.max_memory_bytes = max_bytes, max_memory_bytes
        self.live: deque[Entry] = deque()
        self.backlog: deque[Entry] = deque()
        self.in_flight: list[Entry] = []
        self.points = self.size = 0
        self.memory_size = 0  # bytes of lines that are only in memory
        self._is_backlog_next = True

    def __iter__(self) -> Iterator[Entry]:
        yield from self.in_flight
        yield from self.backlog
        yield from self.live

    def add(self, entry: Entry, *, is_backlog: bool = False) -> None:
        """Add an entry behind all others of its queue; lines in memory join the last ones if those are, too."""
        self._count(entry, 1)
        queue = self.backlog if is_backlog else self.live
        last = queue[-1] if queue else None
        if entry.body is not None and last and last.body is not None and last.fits(entry):
            last.body += entry.body
            last.grow(entry)
        else:
            queue.append(entry)

    def take_request(self, now: int) -> list[Entry]:
        """Put the entries of the next request in flight; return them, or those that are in flight already."""
        if self.in_flight:
            return self.in_flight
        if self.live and now - self.live[0].time > MAX_LIVE_AGE_NS:
            self.backlog += self.live
            self.live.clear()
        queue = self.backlog if self.backlog and (self._is_backlog_next or not self.live) else self.live
        self._is_backlog_next = not self._is_backlog_next
        total = Entry(0, 0, 0)
        while queue and (not self.in_flight or total.fits(queue[0])):
            entry = queue.popleft()
            total.grow(entry)
            self.in_flight.append(entry)
        return self.in_flight

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Make entries that were in flight, or one in their place, the last of the backlog; live points are next."""
        self.in_flight = []
        self.backlog += entries
        self._is_backlog_next = False

    def remove(self, entry: Entry) -> None:
        """Count out an entry that is in flight, or in no queue any more."""
        entry.is_removed = True
        self._count(entry, -1)

    def move_to_disk(self, entry: Entry) -> None:
        """Note that the lines of an entry are in a file now."""
        entry.body = None
        self.memory_size -= entry.size

    def pop_oldest(self, *, in_memory: bool | None = None) -> Entry | None:
        """Take out the oldest entry that is not in flight; `in_memory` asks for one in memory, or for a file."""
        for queue in (self.backlog, self.live):
            for at, entry in enumerate(queue):
                if in_memory is None or (entry.body is not None) is in_memory:
                    del queue[at]
                    self.remove(entry)
                    return entry
        return None

    def pop_excess(self) -> Entry | None:
        """Take out the entry that has to be dropped because of a limit, if any."""
        excess = None
        if self.size - self.memory_size > self.max_bytes:
            excess = self.pop_oldest(in_memory=False)
        if excess is None and self.memory_size > self.max_memory_bytes:
            excess = self.pop_oldest(in_memory=True)
        return excess

    @property
    def oldest(self) -> int | None:
        """The time of the oldest entry, ns since 1970."""
        return min((queue[0].time for queue in (self.in_flight, self.backlog, self.live) if queue), default=None)

    @property
    def is_half_full(self) -> bool:
        """Whether one of the limits is half reached."""
        return self.size - self.memory_size > self.max_bytes // 2 or self.memory_size > self.max_memory_bytes // 2

    def _count(self, entry: Entry, sign: int) -> None:
        self.points += sign * entry.points
        self.size += sign * entry.size
        if entry.body is not None:
            self.memory_size += sign * entry.size


def split_merge_runs(queue: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Split a queue into runs of small files that fit into one request together; other entries are runs of one."""
    run: list[Entry] = []
    total = Entry(0, 0, 0)
    for entry in queue:
        is_small = entry.body is None and entry.points <= MAX_BATCH_LINES // 2 and entry.size <= MAX_BATCH_BYTES // 2
        if run and not (is_small and total.fits(entry)):
            yield run
            run = []
        if not is_small:
            yield [entry]
            continue
        total = total if run else Entry(0, 0, 0)
        run.append(entry)
        total.grow(entry)
    if run:
        yield run
