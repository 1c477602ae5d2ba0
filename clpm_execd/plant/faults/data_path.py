"""Faults of the data path, stage 9, after recording: they act on samples on their way and never on the plant.

A sample may become bad, be left out by a historian, be lost, get a wrong timestamp, be delayed or be duplicated: in
this order, whatever the order of the faults in loops.toml. Random numbers belong to the number of the sample, so that
they do not depend on when or in how many parts the samples are simulated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from math import ceil, inf, isnan
from typing import Any

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import BAD, Arrivals, Block, Floats, sequence_numbers
from clpm_execd.plant.faults.kinds import Fault
from clpm_execd.plant.faults.schedule import Schedule
from clpm_execd.plant.rng import derive_stream_keys, draw_uniforms_at
from clpm_execd.plant.snapshot import Tables, concatenate_owned

# Samples of one loop, a record each. number: the grid instant at which the sample was measured, counted from 1970.
# leaves: the grid instant at which it leaves, counted likewise.
SampleRows = npt.NDArray[np.void]
StageState = Mapping[str, npt.NDArray[Any]]
_SIGNALS = ("pv", "op", "sp", "mode", "valve_position", "true_pv", "quality")
_NS_PER_S = 1e9


def _sample_dtype(faults: int) -> np.dtype[np.void]:
    floats = [(name, np.float64) for name in ("pv", "op", "sp", "valve_position", "true_pv")]
    return np.dtype([("number", np.int64), ("leaves", np.int64), ("times", np.int64), *floats, ("mode", np.int8),
                     ("quality", np.int16), ("present", np.bool_, (faults,)), ("visible", np.bool_, (faults,))])


class DataPathStage:
    """What one fault does to the samples of a loop."""

    def transmit(self, samples: SampleRows, severity: Floats, last: int) -> SampleRows:
        """Return the samples that leave until the instant `last`. severity: (R,) when each of the samples leaves."""
        raise NotImplementedError

    def snapshot(self) -> StageState:
        """Return the state, by name."""
        return {}

    def restore(self, state: StageState) -> None:
        """Restore the state; a name is absent where the stage had no such value yet."""


class RandomSamples(DataPathStage):
    """Affects random samples, or random runs of them: time is divided into pieces, each of which is affected or not."""

    def __init__(self, fault: Fault, key: np.uint64, interval: int) -> None:
        self._key, self._fraction = key, fault["share"]
        length = fault["length"] if "length" in fault.kind.defaults else 0.0
        self._piece_samples = max(1, round(length * _NS_PER_S) // interval)

    def is_affected(self, numbers: npt.NDArray[np.int64], severity: Floats) -> npt.NDArray[np.bool_]:
        """Return of which samples it acts on, (R,), by their numbers and the severities, (R,) each."""
        return draw_uniforms_at(self._key, numbers // self._piece_samples) < self._fraction * severity


class BadQuality(RandomSamples):
    """Gives samples bad quality and no PV."""

    def transmit(self, samples: SampleRows, severity: Floats, last: int) -> SampleRows:
        bad = self.is_affected(samples["number"], severity)
        samples["pv"][bad] = np.nan
        samples["quality"][bad] = BAD
        return samples


class Gaps(RandomSamples):
    """Loses samples."""

    def transmit(self, samples: SampleRows, severity: Floats, last: int) -> SampleRows:
        samples_on_time: SampleRows = samples[~self.is_affected(samples["number"], severity)]
        return samples_on_time


class ClockSkew(DataPathStage):
    """Shifts timestamps."""

    def __init__(self, fault: Fault, key: np.uint64, interval: int) -> None:
        self._offset_ns = fault["offset"] * _NS_PER_S

    def transmit(self, samples: SampleRows, severity: Floats, last: int) -> SampleRows:
        samples["times"] += np.rint(self._offset_ns * severity).astype(np.int64)
        return samples


class Late(RandomSamples):
    """Delays samples; of those that leave at the same instant the oldest is first."""

    def __init__(self, fault: Fault, key: np.uint64, interval: int) -> None:
        super().__init__(fault, key, interval)
        self._delay_samples = ceil(fault["delay"] * _NS_PER_S / interval)
        self._delayed: SampleRows | None = None

    def transmit(self, samples: SampleRows, severity: Floats, last: int) -> SampleRows:
        samples["leaves"][self.is_affected(samples["number"], severity)] += self._delay_samples
        if self._delayed is not None:
            samples = np.concatenate([self._delayed, samples], dtype=samples.dtype)
        is_due = samples["leaves"] <= last
        self._delayed = samples[~is_due]
        samples = samples[is_due]
        in_order: SampleRows = samples[np.lexsort((samples["number"], samples["leaves"]))]
        return in_order

    def snapshot(self) -> StageState:
        return {} if self._delayed is None else {stored_names.LATE_HELD: self._delayed}

    def restore(self, state: StageState) -> None:
        self._delayed = state.get(stored_names.LATE_HELD)


class Duplicates(RandomSamples):
    """Sends samples twice."""

    def transmit(self, samples: SampleRows, severity: Floats, last: int) -> SampleRows:
        return np.repeat(samples, 1 + self.is_affected(samples["number"], severity))


@dataclass(frozen=True, slots=True)
class _Point:
    """A value at its time, ns, and the row of its sample."""

    row: int
    time: int
    value: float


_NO_POINT = _Point(-1, 0, 0.0)
_DOORS = np.dtype([("row", np.int64, (4,)), ("time", np.int64, (4,)), ("value", np.float64, (4,)),
                   ("doors", np.float64, (2,))])


class Compression(DataPathStage):
    """Compresses PV as a historian does: an exception test, then the swinging door (Bristol, 1990), as PI does.

    Exception test: a value that differs by more than the exception deviation from the last one reported is reported,
    together with the value before it. Swinging door: a reported value is archived when the line from the archived one
    before it to the next would miss any value between them by more than the compression deviation. So a sample leaves
    only when a later one shows that it is needed. A missing value, and the value after it, is always archived.
    """

    def __init__(self, fault: Fault, key: np.uint64, interval: int) -> None:
        span = (fault.loop.range[1] - fault.loop.range[0]) / 100.0
        self._exception, self._deviation = fault["exception"] * span, fault["deviation"] * span
        self._longest_ns = round(fault["longest"] * _NS_PER_S)
        self._pending: SampleRows | None = None  # samples that may still be needed: the first rows of the next call
        self._reported: _Point | None = None  # the last one; None where the next value is archived in any case
        self._unreported: _Point | None = None  # the last value, where it was not reported
        self._archived: _Point | None = None  # the last one
        self._candidate: _Point | None = None  # reported, and not archived yet
        self._doors = (-inf, inf)  # least and greatest slope, engineering units per ns

    def transmit(self, samples: SampleRows, severity: Floats, last: int) -> SampleRows:
        first = 0 if self._pending is None else len(self._pending)
        if self._pending is not None:
            samples = np.concatenate([self._pending, samples], dtype=samples.dtype)
        row_pairs: list[tuple[int, int]] = []  # rows, each with the row with which it leaves
        values, times = samples["pv"].tolist(), samples["times"].tolist()
        for row, strength in enumerate(severity.tolist(), first):
            point = _Point(row, times[row], values[row])
            archived = self._test_exception(point, strength) if strength > 0 and not isnan(point.value) else \
                self._archive_all(point)
            row_pairs += [(item.row, row) for item in archived]
        leaving = samples[[row for row, _ in row_pairs]]
        leaving["leaves"] = samples["leaves"][[row for _, row in row_pairs]]
        self._keep_pending(samples)
        return leaving

    def _keep_pending(self, samples: SampleRows) -> None:
        """Keep the samples that may still be needed, and number their points by their new rows."""
        pending = [point for point in (self._candidate, self._unreported) if point is not None]
        self._pending = samples[[point.row for point in pending]]
        points = [replace(point, row=i) for i, point in enumerate(pending)]
        if self._unreported is not None:
            self._unreported = points.pop()
        if self._candidate is not None:
            self._candidate = points.pop()

    def _archive_all(self, point: _Point) -> list[_Point]:
        """Return the pending points and this one: none is compressed."""
        archived = [item for item in (self._candidate, self._unreported, point) if item is not None]
        self._reported = self._archived = self._candidate = self._unreported = None
        return archived

    def _test_exception(self, point: _Point, strength: float) -> list[_Point]:
        """Return the points that are archived now: those that this one shows to be needed."""
        if self._reported is not None:
            change = abs(point.value - self._reported.value)
            if change <= strength * self._exception and point.time - self._reported.time < self._longest_ns:
                self._unreported = point
                return []
        reported = [item for item in (self._unreported, point) if item is not None]
        self._unreported, self._reported = None, point
        return [item for new in reported for item in self._swing_door(new, strength)]

    def _swing_door(self, point: _Point, strength: float) -> list[_Point]:
        """Return the points that are archived now that this one is reported."""
        if self._archived is None:
            self._archived = point
            return [point]
        archived = []
        if self._candidate is not None:
            since = point.time - self._archived.time
            slope = (point.value - self._archived.value) / since
            if not self._doors[0] <= slope <= self._doors[1] or since > self._longest_ns:
                archived, self._archived, self._doors = [self._candidate], self._candidate, (-inf, inf)
        since, change = point.time - self._archived.time, point.value - self._archived.value
        deviation = strength * self._deviation
        self._doors = (max(self._doors[0], (change - deviation) / since),
                       min(self._doors[1], (change + deviation) / since))
        self._candidate = point
        return archived

    def snapshot(self) -> StageState:
        if self._pending is None:
            return {}
        points = [_NO_POINT if point is None else point
                  for point in (self._reported, self._unreported, self._archived, self._candidate)]
        row, time, value = zip(*map(astuple, points), strict=True)
        return {stored_names.COMPRESSION_WAITING: self._pending,
                stored_names.COMPRESSION_DOORS: np.array([(row, time, value, self._doors)], dtype=_DOORS)}

    def restore(self, state: StageState) -> None:
        self._pending = state.get(stored_names.COMPRESSION_WAITING)
        table = state.get(stored_names.COMPRESSION_DOORS)
        for row, time, value, doors in () if table is None else table.tolist():
            points = [_Point(*point) for point in zip(row.tolist(), time.tolist(), value.tolist(), strict=True)]
            self._reported, self._unreported, self._archived, self._candidate = (
                None if point == _NO_POINT else point for point in points)
            self._doors = tuple(doors.tolist())


# By kind of fault, in the order in which they act.
_STAGES: dict[str, Any] = {"bad-quality": BadQuality, "compression": Compression, "gaps": Gaps,
                           "clock-skew": ClockSkew, "late": Late, "duplicates": Duplicates}


class DataPath:
    """Passes the recorded samples of a plant through the faults of the data path. interval: ns."""

    def __init__(self, schedule: Schedule, seed: int, interval: int) -> None:
        faults = schedule.faults
        self._interval = interval
        self._block_loops: tuple[str, ...] = ()
        self._block_column: dict[str, int] = {}
        self._plant_column = {fault.loop.id: int(c) for fault, c in zip(faults, schedule.column, strict=True)}
        self._faults_of_loop: dict[str, list[int]] = {}
        for k, fault in enumerate(faults):
            self._faults_of_loop.setdefault(fault.loop.id, []).append(k)
        self._dtype = _sample_dtype(max(map(len, self._faults_of_loop.values())))
        self._stages: dict[str, list[tuple[int, DataPathStage]]] = {}  # by loop; each with the index of its fault
        order = list(_STAGES)
        for loop, ours in self._faults_of_loop.items():
            kinds = [faults[k].kind.name for k in ours]
            keys = derive_stream_keys(seed, tuple(stored_names.NTH_FAULT.format(loop, i) for i in range(len(ours))),
                                      stored_names.DATA_PATH)
            stages = [(order.index(kind), i, k) for i, (kind, k) in enumerate(zip(kinds, ours, strict=True))
                      if kind in _STAGES]
            if stages:
                self._stages[loop] = [
                    (k, _STAGES[kinds[i]](faults[k], keys[i], interval)) for _, i, k in sorted(stages)]

    def random_stages(self) -> dict[int, RandomSamples]:
        """Return what acts on random samples, by the index of its fault."""
        return {k: stage for stages in self._stages.values() for k, stage in stages if isinstance(stage, RandomSamples)}

    def transmit(self, block: Block) -> Block:
        """Return the block with what leaves of the loops that have a data-path fault."""
        first = int(block.times[0]) // self._interval
        last = first + len(block) - 1
        if block.loops is not self._block_loops:  # which is the same tuple from block to block
            self._block_loops = block.loops
            self._block_column = {loop: i for i, loop in enumerate(block.loops) if loop in self._stages}
        column = self._block_column
        parts, loops = [], []
        for loop, stages in self._stages.items():
            samples = self._select_samples(block, column[loop], self._faults_of_loop[loop], first)
            for k, stage in stages:
                assert block.truth is not None
                samples = stage.transmit(samples, block.truth.severity[samples["leaves"] - first, k], last)
            parts.append(samples)
            loops.append(np.full(len(samples), column[loop], dtype=np.intp))
        samples, loop_of = np.concatenate(parts, dtype=self._dtype), np.concatenate(loops)
        order = np.lexsort((loop_of, samples["leaves"]))
        samples, loop_of = samples[order], loop_of[order]
        has_stages = np.zeros(len(block.loops), dtype=bool)
        has_stages[[column[loop] for loop in self._stages]] = True
        signals = {name: samples[name].copy() for name in ("times", *_SIGNALS, "present", "visible")}
        return replace(block, arrivals=Arrivals(
            has_data_path_fault=has_stages, row=(samples["leaves"] - first).astype(np.intp), loop=loop_of,
            seq=sequence_numbers(samples["number"]), **signals))

    def _select_samples(self, block: Block, column: int, faults: list[int], first: int) -> SampleRows:
        """Return the samples of one loop of the block. first: the number of its first instant."""
        assert block.truth is not None
        samples = np.zeros(len(block), dtype=self._dtype)
        samples["number"] = samples["leaves"] = first + np.arange(len(block))
        samples["times"] = block.times
        for name in _SIGNALS:
            samples[name] = getattr(block, name)[:, column]
        samples["present"][:, : len(faults)] = block.truth.present[:, faults]
        samples["visible"][:, : len(faults)] = block.truth.visible[:, faults]
        return samples

    def _stages_in_plant_order(self) -> Iterator[tuple[int, str, DataPathStage]]:
        """Yield all stages, each with the plant's column of its loop and the prefix of its stored names."""
        for loop in sorted(self._stages, key=self._plant_column.__getitem__):
            for k, stage in self._stages[loop]:
                prefix = stored_names.DATA_PATH_FAULT.format(self._faults_of_loop[loop].index(k))
                yield self._plant_column[loop], prefix, stage

    def snapshot(self) -> Tables:
        """Return the state of all stages."""
        parts: dict[str, list[tuple[int, npt.NDArray[Any]]]] = {}
        for owner, prefix, stage in self._stages_in_plant_order():
            for name, values in stage.snapshot().items():
                parts.setdefault(prefix + name, []).append((owner, values))
        return {name: concatenate_owned(owned) for name, owned in parts.items()}

    def restore(self, tables: Tables) -> None:
        """Restore the state of all stages."""
        for owner, prefix, stage in self._stages_in_plant_order():
            state = {name.removeprefix(prefix): rows.of_loop(owner)
                     for name, rows in tables.items() if name.startswith(prefix)}
            stage.restore({name: _convert_samples(values, self._dtype) for name, values in state.items()
                           if len(values)})


def _convert_samples(samples: npt.NDArray[Any], dtype: np.dtype[np.void]) -> npt.NDArray[Any]:
    """Return samples of a plant whose loops had other numbers of faults as samples of this one."""
    if "present" not in (samples.dtype.names or ()) or samples.dtype == dtype:
        return samples
    result = np.zeros(len(samples), dtype=dtype)
    for name in dtype.names or ():
        if name in ("present", "visible"):
            n = min(samples[name].shape[1], result[name].shape[1])
            result[name][:, :n] = samples[name][:, :n]
        else:
            result[name] = samples[name]
    return result
