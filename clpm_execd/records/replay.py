"""Records streamed again as if live: a source of Blocks like the plant.

The stream's instants are start + k * interval without end. At each one a record shows what it held at
the time that has gone by since its beginning, and begins anew when its last sample has lasted its
interval; so values depend on k alone, not on how the stream was asked for. A record has no valve
position and no truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import BAD, GOOD, Block
from clpm_execd.plant.snapshot import Snapshot
from clpm_execd.problems import BadInput, Problem
from clpm_execd.records.record import Record, names


class Replay:
    """A Source (see plant.block) of one or more records, their loops side by side."""

    def __init__(self, records: Sequence[Record], *, start: int, interval: int | None,
                 snapshot: Snapshot | None = None) -> None:
        """start: ns since 1970. interval: ns; None keeps the records' own, of several the shortest.

        snapshot: of a replay that was stopped; one of the same records at the same interval goes on from it.
        """
        problems = [
            Problem("--replay", f"the loop {loop} is in {count} records", "replay one record of each loop")
            for loop, count in Counter(names(records)).items()
            if count > 1
        ]
        if not records:
            problems = [Problem("--replay", "there is no record", "name a CSV file")]
        if interval is not None and interval <= 0:
            problems.append(Problem("--interval", f"{interval} ns is no interval", "give more than nothing"))
        if problems:
            raise BadInput(problems)
        self._records = tuple(records)
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
        return tuple(names(self._records))

    @property
    def interval(self) -> int:
        return self._interval

    @property
    def next_time(self) -> int:
        return self._start + self._position * self._interval

    def _hash_records(self) -> npt.NDArray[np.uint8]:
        """(1, 16) alike for the same records at the same interval."""
        digest = blake2b(f"{self._interval} {self.loops}".encode(), digest_size=16)
        for record in self._records:
            for array in (record.times, record.pv, record.op, record.sp, record.mode):
                digest.update(array.tobytes())
        return np.frombuffer(digest.digest(), dtype=np.uint8)[None]

    def snapshot(self) -> Snapshot:
        """Where it is; the records are all else."""
        return Snapshot(self.loops[:1], self._fingerprint, np.array([self._start]), self.next_time, self._position, {})

    def advance(self, n: int) -> Block:
        """The next n samples."""
        first = self._position
        self._position += n
        rows = [self._rows(record, first, n) for record in self._records]
        whole = list(zip(self._records, rows, strict=True))
        pv = np.concatenate([record.pv[row] for record, row in whole], axis=1)
        return Block(
            loops=self.loops,
            times=self._start + self._interval * np.arange(first, first + n, dtype=np.int64),
            pv=pv,
            op=np.concatenate([record.op[row] for record, row in whole], axis=1),
            sp=np.concatenate([record.sp[row] for record, row in whole], axis=1),
            mode=np.concatenate([record.mode[row] for record, row in whole], axis=1),
            valve_position=np.full(pv.shape, np.nan),
            true_pv=np.full(pv.shape, np.nan),
            quality=np.where(np.isfinite(pv), GOOD, BAD).astype(np.int16),
        )

    def _rows(self, record: Record, first: int, n: int) -> npt.NDArray[np.intp]:
        """The record's rows at or before the instants first .. first + n, by hold."""
        period = int(record.times[-1] - record.times[0]) + record.interval
        step = self._interval
        # Python's integers: an instant times an interval outgrows 64 bits before the stream does.
        elapsed = np.fromiter((k * step % period for k in range(first, first + n)), np.int64, n)
        after = np.searchsorted(record.times, record.times[0] + elapsed, side="right")
        return np.asarray(after - 1, np.intp)
