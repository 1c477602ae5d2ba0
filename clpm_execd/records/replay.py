"""Records streamed again as if live: a source of Blocks like the plant.

The stream's instants are start + k * interval without end. At each one a record shows the value that it held when as
much time had passed since its own start (zero-order hold), and it starts again when its last sample has lasted for its
interval. A gap of more than LONGEST_GAP_NS is replayed as one of that length. So values depend on k alone, and not on
the sizes of the Blocks. A record has no valve position, and no ground truth but that of faults that are laid over it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import BAD, GOOD, SECOND, Block
from clpm_execd.plant.snapshot import Snapshot
from clpm_execd.problems import BadInput, Problem
from clpm_execd.records.gaps import shorten_gaps
from clpm_execd.records.record import Record, loop_ids

LONGEST_GAP_NS = 86_400 * SECOND  # an outage of a day is worth a replay; a year between two tests is not


class Replay:
    """A Source (see `plant.source`) of one or more records, their loops side by side.

    Parameters
    ----------
    records : sequence of Record
        At least one; each loop is in one of them only.
    start : int
        The first instant, ns since 1970.
    interval : int or None
        The step between samples, ns; None takes the records' own, of several the shortest.
    snapshot : Snapshot, optional
        The state of a replay that was stopped. A replay of the same records at the same interval continues from it.

    Raises
    ------
    BadInput
        There is no record, a loop is in two of them, or the interval is not positive.
    """

    def __init__(self, records: Sequence[Record], *, start: int, interval: int | None,
                 snapshot: Snapshot | None = None) -> None:
        problems = [
            Problem("--replay", f"loop {loop} is in {count} records", "replay one record of each loop")
            for loop, count in Counter(loop_ids(records)).items()
            if count > 1
        ]
        if not records:
            problems = [Problem("--replay", "there is no record", "name a CSV file")]
        if interval is not None and interval <= 0:
            problems.append(Problem("--interval", f"an interval of {interval} ns", "give one greater than 0"))
        if problems:
            raise BadInput(problems)
        self._records = tuple(
            replace(record, times=shorten_gaps(record.times, max(LONGEST_GAP_NS, record.interval)))
            for record in records)
        self._start = start
        self._interval = min(record.interval for record in records) if interval is None else interval
        self._position = 0
        self._fingerprint = self._hash_records()
        self.resumed_loops: frozenset[str] = frozenset()
        if snapshot is not None and np.array_equal(snapshot.fingerprints, self._fingerprint):
            self._start, self.resumed_loops = int(snapshot.starts[0]), frozenset(self.loops)
            self._position = (snapshot.next_time - self._start) // self._interval

    @property
    def loops(self) -> tuple[str, ...]:
        return tuple(loop_ids(self._records))

    @property
    def interval(self) -> int:
        return self._interval

    @property
    def next_time(self) -> int:
        return self._start + self._position * self._interval

    def _hash_records(self) -> npt.NDArray[np.uint8]:
        """Return (1, 16) bytes that are equal for the same records at the same interval."""
        digest = blake2b(f"{self._interval} {self.loops}".encode(), digest_size=16)
        for record in self._records:
            for array in (record.times, record.pv, record.op, record.sp, record.mode):
                digest.update(array.tobytes())
        return np.frombuffer(digest.digest(), dtype=np.uint8)[None]

    def snapshot(self) -> Snapshot:
        """Return the position, which is all that a replay needs besides its records."""
        return Snapshot(self.loops[:1], self._fingerprint, np.array([self._start]), self.next_time, self._position, {})

    def advance(self, n: int) -> Block:
        """Return the next n samples."""
        first = self._position
        self._position += n
        rows_of_records = [(record, self._held_rows(record, first, n)) for record in self._records]
        pv = np.concatenate([record.pv[rows] for record, rows in rows_of_records], axis=1)
        return Block(
            loops=self.loops,
            times=self._start + self._interval * np.arange(first, first + n, dtype=np.int64),
            pv=pv,
            op=np.concatenate([record.op[rows] for record, rows in rows_of_records], axis=1),
            sp=np.concatenate([record.sp[rows] for record, rows in rows_of_records], axis=1),
            mode=np.concatenate([record.mode[rows] for record, rows in rows_of_records], axis=1),
            valve_position=np.full(pv.shape, np.nan),
            true_pv=np.full(pv.shape, np.nan),
            quality=np.where(np.isfinite(pv), GOOD, BAD).astype(np.int16),
            interval=self._interval,
        )

    def _held_rows(self, record: Record, first: int, n: int) -> npt.NDArray[np.intp]:
        """Return (n,) the record's latest row at each of the instants from number `first` on."""
        period = int(record.times[-1] - record.times[0]) + record.interval
        step = self._interval
        # Python's integers: an instant times an interval outgrows 64 bits before the stream does.
        elapsed = np.fromiter((k * step % period for k in range(first, first + n)), np.int64, n)
        after = np.searchsorted(record.times, record.times[0] + elapsed, side="right")
        return np.asarray(after - 1, np.intp)
