"""Which faults a plant has, where, and how severe each is at any scan: a function of the scan number alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import Floats
from clpm_execd.plant.faults.catalogue import FAULTS
from clpm_execd.plant.faults.kinds import Fault, Stage
from clpm_execd.plant.loop_set import Indices, LoopSet
from clpm_execd.plant.rng import derive_stream_keys, draw_uniforms_at
from clpm_execd.plant.specs import LoopSpec

_NEVER_NS = 2**62  # 146 years, and twice of it still fits a signed 64-bit integer
_SCANS_PER_BLOCK = 64  # severities computed in one array operation: one scan at a time costs several times as much
_MIN_SEVERITY = 1e-6  # of a fault that has begun, so that it is present however long its ramp is
_RAMP_STEPS = 64  # the least number of steps in which a ramp of many scans rises: smooth to the eye
_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")
_MAX_LOG2_STRIDE = 6  # of the scans between two steps of a ramp: 64, a block


class FaultSeverities:
    """The F faults of N loops, and their severity at the current scan.

    loops: in the order of a simulation. faults: a tuple of F. column: (F,) the index of each one's loop. scan: s. tick:
    the number of the current scan. severity: (F,) at this scan, 0 where the fault is absent; another array where it
    changes.
    """

    def __init__(self, loops: LoopSet, faults: tuple[Fault, ...], column: Indices, scan: float) -> None:
        self.loops, self.faults, self.column, self.scan = loops, faults, column, scan
        self.tick = -1
        self.severity: Floats = np.zeros(len(faults))

    def move_to(self, tick: int) -> set[int]:
        """Go to a scan, and return the stages with a fault whose severity differs from the scan before."""
        raise NotImplementedError

    def faults_of_stage(self, stage: Stage) -> list[int]:
        """Return the indices of the faults that act in a stage."""
        return [k for k, fault in enumerate(self.faults) if fault.kind.stage is stage]

    def faults_of_kind(self, kind: str) -> npt.NDArray[np.intp]:
        """Return the indices of the faults of a kind."""
        return np.array([k for k, fault in enumerate(self.faults) if fault.kind.name == kind], dtype=np.intp)

    def columns_of(self, which: Sequence[int] | npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Return the columns, in rising order, of the loops that have any of these faults."""
        return np.unique(self.column[np.asarray(which, dtype=np.intp)])

    def stream_names(self, which: Sequence[int] | npt.NDArray[np.intp]) -> tuple[str, ...]:
        """Return the names of the random streams of these faults: loop id, and which of the loop's faults it is."""
        first = np.searchsorted(self.column, self.column, sorter=np.argsort(self.column, kind="stable"))
        order = np.argsort(np.argsort(self.column, kind="stable"), kind="stable") - first
        return tuple(stored_names.NTH_FAULT.format(self.faults[k].loop.id, order[k]) for k in which)

    def parameter_values(self, which: npt.NDArray[np.intp], name: str) -> Floats:
        """Return a parameter of each of these faults."""
        return np.array([self.faults[k][name] for k in which], dtype=np.float64)


class Schedule(FaultSeverities):
    """The faults of a plant, whose severity is a function of the scan.

    columns: the plant's columns in the order in which the faults are counted. starts: (N,) ns, from which the faults of
    each loop count; before, they are absent. scan: ns. seed: random seed of the times of faults that return
    irregularly.
    """

    def __init__(self, loops: Sequence[LoopSpec], columns: Sequence[int], starts: npt.NDArray[np.int64], scan: int,
                 seed: int) -> None:
        loops = LoopSet.of(loops)  # which holds no specification for each loop
        self._scan = scan
        pairs = [(c, Fault(FAULTS[spec.kind], spec, loops[c], scan / 1e9)) for c in columns for spec in loops[c].faults]
        super().__init__(loops, tuple(fault for _, fault in pairs), np.array([c for c, _ in pairs], dtype=np.intp),
                         scan / 1e9)
        specs = [fault.spec for fault in self.faults]
        origin = starts[self.column]
        self._first_tick = origin // scan
        self._start = _to_ns(spec.start if spec.from_start else spec.start - start
                             for spec, start in zip(specs, origin.tolist(), strict=True))
        self._repeat = _to_ns(spec.repeat or spec.mean_repeat or _NEVER_NS for spec in specs)
        self._duration = np.minimum(
            _to_ns(_NEVER_NS if spec.duration is None else spec.duration for spec in specs), self._repeat)
        # A fault that returns irregularly starts once in each interval of the mean, so late that it ends within it. The
        # first start is the given one.
        self._latest_delay = np.where([spec.mean_repeat is not None for spec in specs],
                                      self._repeat - self._duration, 0)
        self._keys = derive_stream_keys(seed, self.stream_names(range(len(specs))), stored_names.FAULT_STARTS)
        # Counted from the start of the fault; one that was to end before its start never begins.
        self._until = np.maximum(_to_ns(_NEVER_NS if spec.until is None else spec.until - start
                                        for spec, start in zip(specs, origin.tolist(), strict=True)) - self._start, 0)
        self._ramp = np.maximum(_to_ns(_find_ramp(fault) for fault in self.faults), 1)
        # A ramp rises in steps, each at a round number of scans: then many ramps change at the same scans.
        log2_stride = np.frexp(np.maximum(self._ramp / scan / _RAMP_STEPS, 1.0))[1] - 1
        self._stride = np.left_shift(1, np.minimum(log2_stride, _MAX_LOG2_STRIDE), dtype=np.int64)
        self._settling_ns = self._ramp + self._stride * scan
        self._fades_out = np.array([_fades_out(fault) for fault in self.faults], dtype=bool)
        # Of the present block of scans: its first, the faults whose severity changes within it, with their severities
        # at each scan, and the stages with a change at each scan.
        self._block_first = 0
        self._changing: npt.NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self._block: Floats = np.empty((0, 0))
        self._changes: list[set[int]] = []
        self._stages = np.array([fault.kind.stage for fault in self.faults], dtype=np.intp)

    def ticks_of(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the scans at times since 1970, ns."""
        return times // self._scan

    def severities(self, ticks: npt.NDArray[np.int64]) -> Floats:
        """Return the severities, (T, F), at scans in rising order; 0 before the plant starts. They are to read only.

        They are one row in memory where none changes, which is nearly always.
        """
        if len(ticks) == 1 and int(ticks[0]) == self.tick:  # the present scan of a live stream
            return self.severity[np.newaxis]
        first = self.compute_severities(ticks[:1], slice(None))
        changing = np.flatnonzero(~self._is_constant(int(ticks[0]), int(ticks[-1])))
        if not changing.size:
            return np.broadcast_to(first, (len(ticks), len(self.faults)))
        severities: Floats = np.repeat(first, len(ticks), axis=0)
        severities[:, changing] = self.compute_severities(ticks, changing)
        return severities

    def _is_constant(self, first: int, last: int) -> npt.NDArray[np.bool_]:
        """Return, (F,), whether a fault is absent, or at full severity, at all scans from first to last."""
        since, span = (first - self._first_tick) * self._scan - self._start, (last - first) * self._scan
        within, remaining = self._compute_times_since_start(since, slice(None))
        is_full = (within >= self._settling_ns) & (
            within + span < self._duration - np.where(self._fades_out, self._settling_ns, 0))
        is_full &= since + span < self._until
        is_absent = (within >= self._duration) & (span < remaining) | (within + span < 0) | (since >= self._until)
        return np.asarray((first >= self._first_tick) & ((since + span < 0) | (since >= 0) & (is_full | is_absent)))

    def compute_severities(self, ticks: npt.NDArray[np.int64], which: slice | npt.NDArray[np.intp]) -> Floats:
        """Return the severities of some faults, (T, number of faults)."""
        ramp, duration = self._ramp[which], self._duration[which]
        since = (ticks[:, None] - self._first_tick[which]) * self._scan - self._start[which]
        within, _ = self._compute_times_since_start(since, which)
        elapsed_ns = within - ticks[:, None] % self._stride[which] * self._scan
        severity = np.clip((elapsed_ns + self._scan) / ramp, _MIN_SEVERITY, 1.0)
        fading = np.maximum((duration - elapsed_ns) / ramp, _MIN_SEVERITY)
        severity = np.where(self._fades_out[which], np.minimum(severity, fading), severity)
        is_absent = (since < 0) | (since >= self._until[which]) | (within < 0) | (within >= duration)
        severity[is_absent | (ticks[:, None] < self._first_tick[which])] = 0.0
        return np.asarray(severity)

    def _compute_times_since_start(
        self, since: npt.NDArray[np.int64], which: slice | npt.NDArray[np.intp],
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the times since a start of some faults, and until the interval of their next start, ns.

        since: since their first start. The first is negative where the start in the present interval is still to come.
        """
        repeat, latest = self._repeat[which], self._latest_delay[which]
        within = since % repeat
        remaining = repeat - within
        if latest.any():
            number = since // repeat
            delay = draw_uniforms_at(self._keys[which], number) * latest * (number > 0)
            within = within - delay.astype(np.int64)
        return within, remaining

    def move_to(self, tick: int) -> set[int]:
        """Go to a scan, and return the stages with a change."""
        row = tick - self._block_first
        is_new_block = not 0 <= row < len(self._changes)
        if is_new_block:
            # Blocks begin at multiples of their length; each is computed with the scan before it.
            row, self._block_first = tick % _SCANS_PER_BLOCK, tick - tick % _SCANS_PER_BLOCK
            ticks = np.arange(self._block_first - 1, self._block_first + _SCANS_PER_BLOCK)
            self._changing = np.flatnonzero(~self._is_constant(int(ticks[0]), int(ticks[-1])))
            severities = self.compute_severities(ticks, self._changing)
            stages = self._stages[self._changing]
            self._changes = [set(stages[change].tolist()) for change in severities[1:] != severities[:-1]]
            self._block = severities[1:]
            self.severity = self.compute_severities(ticks[:1], slice(None))[0]
        if self._changing.size and (is_new_block or tick != self.tick + 1 or self._changes[row]):
            self.severity = self.severity.copy()
            self.severity[self._changing] = self._block[row]
        self.tick = tick
        return self._changes[row]


class RepeatedSchedule(FaultSeverities):
    """The faults of a plant's loops, each of which may be there several times, some of them without one fault.

    loops: L of them. base: (L,) the plant's column of each. absent: (L,) the index of the plant's fault that each
    lacks, or -1.
    """

    def __init__(self, original: Schedule, loops: LoopSet, base: Indices, absent: Indices) -> None:
        order = np.argsort(original.column, kind="stable")
        first, last = (np.searchsorted(original.column[order], base, side=side) for side in _SIDES)
        column = np.repeat(np.arange(len(base)), last - first)
        nth = np.arange(len(column)) - np.searchsorted(column, column)
        self._original, self._index = original, order[first[column] + nth]
        self._absent = np.flatnonzero(self._index == absent[column])
        self._severity_there: Floats | None = None  # from which that of the copies is taken
        super().__init__(loops, tuple([original.faults[k] for k in self._index.tolist()]), column, original.scan)

    def move_to(self, tick: int) -> set[int]:
        """Go to a scan, and return the stages with a change."""
        stages = self._original.move_to(tick)
        if self._severity_there is not self._original.severity:
            self._severity_there = self._original.severity
            self.severity = self._severity_there[self._index]
            self.severity[self._absent] = 0.0
        self.tick = tick
        return stages


def _to_ns(values: Iterable[int]) -> npt.NDArray[np.int64]:
    return np.array(list(values), dtype=np.int64)


def _fades_out(fault: Fault) -> bool:
    """Whether the severity falls before the end as it rose; a load that rises by `ramp` alone ends at once."""
    return fault.kind.fades_out and fault.spec.duration is not None and (fault.kind.is_control or fault["over"] > 0.0)


def _find_ramp(fault: Fault) -> int:
    """Return the ramp of a fault: as given, or its parameter `over`."""
    if fault.spec.ramp or "over" not in fault.kind.defaults:
        return fault.spec.ramp
    return round(fault["over"] * 1e9)
