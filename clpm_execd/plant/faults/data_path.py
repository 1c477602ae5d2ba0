"""Samples on their way: stage 9, after recording. Nothing here is felt by the plant.

A sample may be Bad, left out by a historian, lost, stamped by a wrong clock, held back or doubled: in this order,
whatever the order in which the faults are given. Chance belongs to the sample's own number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from math import ceil, inf, isnan
from typing import Any

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import BAD, Arrivals, Block, Floats
from clpm_execd.plant.faults.kinds import Fault
from clpm_execd.plant.faults.schedule import Schedule
from clpm_execd.plant.rng import draw_uniforms_at, stream_keys
from clpm_execd.plant.snapshot import Tables, concatenate_owned

# One row a sample. number: of the instant at which it was measured, counted from 1970; leaves: of that at
# which it leaves.
Rows = npt.NDArray[np.void]
Kept = Mapping[str, npt.NDArray[Any]]
_SIGNALS = ("pv", "op", "sp", "mode", "valve_position", "true_pv", "quality")
_NANO = 1e9


def _dtype(faults: int) -> np.dtype[np.void]:
    floats = [(name, np.float64) for name in ("pv", "op", "sp", "valve_position", "true_pv")]
    return np.dtype([("number", np.int64), ("leaves", np.int64), ("times", np.int64), *floats, ("mode", np.int8),
                     ("quality", np.int16), ("present", np.bool_, (faults,)), ("visible", np.bool_, (faults,))])


class Step:
    """One thing that happens to the samples of a loop."""

    def pass_on(self, rows: Rows, level: Floats, last: int) -> Rows:
        """What leaves of these rows until the instant `last`; level: (R,) severity when they leave."""
        raise NotImplementedError

    def snapshot(self) -> Kept:
        """What is remembered, by name."""
        return {}

    def restore(self, kept: Kept) -> None:
        """Be as when this snapshot was taken; what is not there was not known yet."""


class _Runs(Step):
    """Runs of samples, by chance: the time is cut into pieces, each of which is hit or not."""

    def __init__(self, fault: Fault, key: np.uint64, interval: int) -> None:
        self._key, self._share = key, fault["share"]
        self._piece = max(1, round(fault["length"] * _NANO) // interval)

    def hit(self, rows: Rows, level: Floats) -> npt.NDArray[np.bool_]:
        return draw_uniforms_at(self._key, rows["number"] // self._piece) < self._share * level


class BadQuality(_Runs):
    """Samples that are Bad have no PV."""

    def pass_on(self, rows: Rows, level: Floats, last: int) -> Rows:
        hit = self.hit(rows, level)
        rows["pv"][hit] = np.nan
        rows["quality"][hit] = BAD
        return rows


class Gaps(_Runs):
    """Samples that are lost."""

    def pass_on(self, rows: Rows, level: Floats, last: int) -> Rows:
        kept: Rows = rows[~self.hit(rows, level)]
        return kept


class ClockSkew(Step):
    """Samples with a wrong stamp."""

    def __init__(self, fault: Fault, key: np.uint64, interval: int) -> None:
        self._offset = fault["offset"] * _NANO

    def pass_on(self, rows: Rows, level: Floats, last: int) -> Rows:
        rows["times"] += np.rint(self._offset * level).astype(np.int64)
        return rows


class Late(Step):
    """Samples that are held back; of those that leave at one instant the oldest first."""

    def __init__(self, fault: Fault, key: np.uint64, interval: int) -> None:
        self._key, self._share = key, fault["share"]
        self._delay = ceil(fault["delay"] * _NANO / interval)
        self._held: Rows | None = None

    def pass_on(self, rows: Rows, level: Floats, last: int) -> Rows:
        hit = draw_uniforms_at(self._key, rows["number"]) < self._share * level
        rows["leaves"][hit] += self._delay
        if self._held is not None:
            rows = np.concatenate([self._held, rows])
        due = rows["leaves"] <= last
        self._held = rows[~due]
        rows = rows[due]
        ordered: Rows = rows[np.lexsort((rows["number"], rows["leaves"]))]
        return ordered

    def snapshot(self) -> Kept:
        return {} if self._held is None else {stored_names.LATE_HELD: self._held}

    def restore(self, kept: Kept) -> None:
        self._held = kept.get(stored_names.LATE_HELD)


class Duplicates(Step):
    """Samples that leave twice."""

    def __init__(self, fault: Fault, key: np.uint64, interval: int) -> None:
        self._key, self._share = key, fault["share"]

    def pass_on(self, rows: Rows, level: Floats, last: int) -> Rows:
        hit = draw_uniforms_at(self._key, rows["number"]) < self._share * level
        return np.repeat(rows, 1 + hit)


@dataclass(frozen=True, slots=True)
class _Point:
    """A value at its time, ns, and the row where the rest of the sample is."""

    row: int
    time: int
    value: float


_NOWHERE = _Point(-1, 0, 0.0)
_DOORS = np.dtype([("row", np.int64, (4,)), ("time", np.int64, (4,)), ("value", np.float64, (4,)),
                   ("doors", np.float64, (2,))])


class Compression(Step):
    """What a historian keeps of PV: an exception test, then a swinging door (Bristol, 1990), as PI has them.

    Exception test: a value that differs by more than the exception deviation from the last one reported is reported,
    and with it the one before it. Swinging door: a reported value is archived when the line from the archived one
    before it to the next would pass any value between them by more than the compression deviation. So a sample leaves
    only once the next one told that it is needed. A missing value, and what comes after it, is kept.
    """

    def __init__(self, fault: Fault, key: np.uint64, interval: int) -> None:
        span = (fault.loop.range[1] - fault.loop.range[0]) / 100.0
        self._exception, self._deviation = fault["exception"] * span, fault["deviation"] * span
        self._longest = round(fault["longest"] * _NANO)
        self._waiting: Rows | None = None  # rows that may still be needed: the first of every block of rows
        self._reported: _Point | None = None  # None where the next value is kept
        self._before: _Point | None = None  # the value before, while it is not reported
        self._archived: _Point | None = None
        self._snapshot: _Point | None = None  # reported, and not yet archived
        self._doors = (-inf, inf)

    def pass_on(self, rows: Rows, level: Floats, last: int) -> Rows:
        early = 0 if self._waiting is None else len(self._waiting)
        if self._waiting is not None:
            rows = np.concatenate([self._waiting, rows])
        kept: list[tuple[int, int]] = []  # rows and the rows with which they leave
        values, times = rows["pv"].tolist(), rows["times"].tolist()
        for row, strength in enumerate(level.tolist(), early):
            point = _Point(row, times[row], values[row])
            needed = self._test(point, strength) if strength > 0 and not isnan(point.value) else self._all(point)
            kept += [(one.row, row) for one in needed]
        sent = rows[[row for row, _ in kept]]
        sent["leaves"] = rows["leaves"][[row for _, row in kept]]
        self._wait(rows)
        return sent

    def _wait(self, rows: Rows) -> None:
        """Keep what may still be needed, and know it by its new row."""
        waiting = [point for point in (self._snapshot, self._before) if point is not None]
        self._waiting = rows[[point.row for point in waiting]]
        renewed = [replace(point, row=i) for i, point in enumerate(waiting)]
        if self._before is not None:
            self._before = renewed.pop()
        if self._snapshot is not None:
            self._snapshot = renewed.pop()

    def _all(self, point: _Point) -> list[_Point]:
        """Nothing is compressed: what waited, and this."""
        needed = [one for one in (self._snapshot, self._before, point) if one is not None]
        self._reported = self._archived = self._snapshot = self._before = None
        return needed

    def _test(self, point: _Point, strength: float) -> list[_Point]:
        """The exception test: what is archived now that this value has come."""
        if self._reported is not None:
            moved = abs(point.value - self._reported.value)
            if moved <= strength * self._exception and point.time - self._reported.time < self._longest:
                self._before = point
                return []
        reported = [one for one in (self._before, point) if one is not None]
        self._before, self._reported = None, point
        return [one for new in reported for one in self._swing(new, strength)]

    def _swing(self, point: _Point, strength: float) -> list[_Point]:
        """The swinging door: what is archived now that this value is reported."""
        if self._archived is None:
            self._archived = point
            return [point]
        needed = []
        if self._snapshot is not None:
            since = point.time - self._archived.time
            slope = (point.value - self._archived.value) / since
            if not self._doors[0] <= slope <= self._doors[1] or since > self._longest:
                needed, self._archived, self._doors = [self._snapshot], self._snapshot, (-inf, inf)
        since, moved = point.time - self._archived.time, point.value - self._archived.value
        deviation = strength * self._deviation
        self._doors = (max(self._doors[0], (moved - deviation) / since),
                       min(self._doors[1], (moved + deviation) / since))
        self._snapshot = point
        return needed

    def snapshot(self) -> Kept:
        if self._waiting is None:
            return {}
        points = [_NOWHERE if point is None else point
                  for point in (self._reported, self._before, self._archived, self._snapshot)]
        row, time, value = zip(*map(astuple, points), strict=True)
        return {stored_names.COMPRESSION_WAITING: self._waiting,
                stored_names.COMPRESSION_DOORS: np.array([(row, time, value, self._doors)], dtype=_DOORS)}

    def restore(self, kept: Kept) -> None:
        self._waiting = kept.get(stored_names.COMPRESSION_WAITING)
        found = kept.get(stored_names.COMPRESSION_DOORS)
        for row, time, value, doors in () if found is None else found.tolist():
            points = [_Point(*point) for point in zip(row.tolist(), time.tolist(), value.tolist(), strict=True)]
            self._reported, self._before, self._archived, self._snapshot = (
                None if point == _NOWHERE else point for point in points)
            self._doors = tuple(doors.tolist())


_STEPS: dict[str, Any] = {"bad-quality": BadQuality, "compression": Compression, "gaps": Gaps,
                          "clock-skew": ClockSkew, "late": Late, "duplicates": Duplicates}


class DataPath:
    """From the recorded samples of a plant to those that leave it. interval: ns."""

    def __init__(self, schedule: Schedule, seed: int, interval: int) -> None:
        faults = schedule.faults
        self._interval = interval
        self._owners = {fault.loop.id: int(c) for fault, c in zip(faults, schedule.column, strict=True)}
        self._columns: dict[str, list[int]] = {}
        for k, fault in enumerate(faults):
            self._columns.setdefault(fault.loop.id, []).append(k)
        self._dtype = _dtype(max(len(ours) for ours in self._columns.values()))
        self._steps: dict[str, list[tuple[int, Step]]] = {}
        order = list(_STEPS)
        for loop, ours in self._columns.items():
            names = [faults[k].kind.name for k in ours]
            of = stream_keys(seed, tuple(stored_names.NTH_FAULT.format(loop, i) for i in range(len(ours))),
                      stored_names.DATA_PATH)
            steps = [(order.index(name), i, k) for i, (name, k) in enumerate(zip(names, ours, strict=True))
                     if name in _STEPS]
            if steps:
                self._steps[loop] = [(k, _STEPS[names[i]](faults[k], of[i], interval)) for _, i, k in sorted(steps)]

    def carry(self, block: Block) -> Block:
        """The block, with what leaves of the loops whose data path is at fault."""
        first = int(block.times[0]) // self._interval
        last = first + len(block) - 1
        column = {loop: i for i, loop in enumerate(block.loops)}
        parts, loops = [], []
        for loop, steps in self._steps.items():
            rows = self._rows(block, column[loop], self._columns[loop], first)
            for k, step in steps:
                assert block.truth is not None
                rows = step.pass_on(rows, block.truth.severity[rows["leaves"] - first, k], last)
            parts.append(rows)
            loops.append(np.full(len(rows), column[loop], dtype=np.intp))
        rows, loop_of = np.concatenate(parts), np.concatenate(loops)
        order = np.lexsort((loop_of, rows["leaves"]))
        rows, loop_of = rows[order], loop_of[order]
        apart = np.zeros(len(block.loops), dtype=bool)
        apart[[column[loop] for loop in self._steps]] = True
        signals = {name: rows[name].copy() for name in ("times", *_SIGNALS, "present", "visible")}
        return replace(block, arrivals=Arrivals(
            apart=apart, row=(rows["leaves"] - first).astype(np.intp), loop=loop_of, **signals))

    def _rows(self, block: Block, column: int, faults: list[int], first: int) -> Rows:
        assert block.truth is not None
        rows = np.zeros(len(block), dtype=self._dtype)
        rows["number"] = rows["leaves"] = first + np.arange(len(block))
        rows["times"] = block.times
        for name in _SIGNALS:
            rows[name] = getattr(block, name)[:, column]
        rows["present"][:, : len(faults)] = block.truth.present[:, faults]
        rows["visible"][:, : len(faults)] = block.truth.visible[:, faults]
        return rows

    def _by_owner(self) -> Iterator[tuple[int, str, Step]]:
        """The steps, each with the plant's column of its loop and which of the loop's faults it is."""
        for loop in sorted(self._steps, key=self._owners.__getitem__):
            for k, step in self._steps[loop]:
                yield self._owners[loop], stored_names.DATA_PATH_FAULT.format(self._columns[loop].index(k)), step

    def snapshot(self) -> Tables:
        found: dict[str, list[tuple[int, npt.NDArray[Any]]]] = {}
        for owner, nth, step in self._by_owner():
            for what, values in step.snapshot().items():
                found.setdefault(nth + what, []).append((owner, values))
        return {name: concatenate_owned(kept) for name, kept in found.items()}

    def restore(self, tables: Tables) -> None:
        for owner, nth, step in self._by_owner():
            kept = {name.removeprefix(nth): rows.of_loop(owner)
                    for name, rows in tables.items() if name.startswith(nth)}
            step.restore({name: _fitted(values, self._dtype) for name, values in kept.items() if len(values)})


def _fitted(rows: npt.NDArray[Any], to: np.dtype[np.void]) -> npt.NDArray[Any]:
    """Rows of a plant whose loops had other numbers of faults, as this one has them."""
    if "present" not in (rows.dtype.names or ()) or rows.dtype == to:
        return rows
    fitted = np.zeros(len(rows), dtype=to)
    for name in to.names or ():
        if name in ("present", "visible"):
            n = min(rows[name].shape[1], fitted[name].shape[1])
            fitted[name][:, :n] = rows[name][:, :n]
        else:
            fitted[name] = rows[name]
    return fitted
