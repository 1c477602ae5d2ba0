"""Which faults there are, where, and how strong each is at any scan: a function of the scan alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import Floats
from clpm_execd.plant.faults.catalogue import FAULTS
from clpm_execd.plant.faults.kinds import Fault
from clpm_execd.plant.specs import LoopSpec

_FOR_EVER = 2**62
_AT_ONCE = 64
_LEAST = 1e-6  # a fault that has begun is present, be its ramp ever so long


class Schedule:
    """The F faults of N loops, and the moment at which the plant is.

    loops: in the plant's order. columns: the plant's column of each loop, in the order in which faults are counted.
    starts: (N,) ns, from which each loop's faults count; they are nowhere before. scan: ns.
    column: (F,) the plant's column of each fault. level: (F,) severity at this scan, 0 where it is not present.
    """

    def __init__(self, loops: Sequence[LoopSpec], columns: Sequence[int], starts: npt.NDArray[np.int64],
                 scan: int) -> None:
        self.loops = loops = tuple(loops)
        self.scan = scan / 1e9
        self._scan = scan
        pairs = [(c, Fault(FAULTS[spec.kind], spec, loops[c], self.scan)) for c in columns for spec in loops[c].faults]
        self.faults = tuple(fault for _, fault in pairs)
        self.column = np.array([c for c, _ in pairs], dtype=np.intp)
        specs = [fault.spec for fault in self.faults]
        since = starts[self.column]
        self._first = since // scan
        self._at = _ns(spec.start if spec.from_start else spec.start - start
                       for spec, start in zip(specs, since.tolist(), strict=True))
        self._repeat = _ns(spec.repeat or _FOR_EVER for spec in specs)
        self._duration = np.minimum(
            _ns(_FOR_EVER if spec.duration is None else spec.duration for spec in specs), self._repeat)
        self._ramp = np.maximum(_ns(_ramp(fault) for fault in self.faults), 1)
        # A ramp goes in a hundred steps or so, each at a round number of scans: many ramps then take theirs together.
        self._stride = 2 ** np.clip(np.log2(np.maximum(self._ramp / scan / 64, 1.0)).astype(np.int64), 0, 6)
        self._settled = self._ramp + self._stride * scan
        self._fades = np.array([fault.kind.fades_out and fault.spec.duration is not None for fault in self.faults])
        self.tick = -1
        self.level: Floats = np.zeros(len(self.faults))
        self._block: Floats = np.zeros((0, len(self.faults)))
        self._block_first = 0
        self._changes: list[set[int]] = []
        self._stages = np.array([fault.kind.stage for fault in self.faults], dtype=np.intp)

    def levels(self, ticks: npt.NDArray[np.int64]) -> Floats:
        """(T, F) severity at each of the scans, which rise; nothing before the plant starts."""
        levels: Floats = np.empty((len(ticks), len(self.faults)))
        levels[:] = self._level(ticks[:1], slice(None))
        moving = np.flatnonzero(~self._steady(int(ticks[0]), int(ticks[-1])))
        if moving.size:
            levels[:, moving] = self._level(ticks, moving)
        return levels

    def _steady(self, first: int, last: int) -> npt.NDArray[np.bool_]:
        """(F,) whether a fault is off, or on in full, all the time between these scans."""
        since, lasts = (first - self._first) * self._scan - self._at, (last - first) * self._scan
        within = since % self._repeat
        on = (within >= self._settled) & (within + lasts < self._duration - np.where(self._fades, self._settled, 0))
        off = (within >= self._duration) & (within + lasts < self._repeat)
        return (first >= self._first) & ((since + lasts < 0) | (since >= 0) & (on | off))

    def _level(self, ticks: npt.NDArray[np.int64], which: slice | npt.NDArray[np.intp]) -> Floats:
        ramp, duration = self._ramp[which], self._duration[which]
        since = (ticks[:, None] - self._first[which]) * self._scan - self._at[which]
        within = since % self._repeat[which]
        held = within - ticks[:, None] % self._stride[which] * self._scan
        level = np.clip((held + self._scan) / ramp, _LEAST, 1.0)
        left = np.maximum((duration - held) / ramp, _LEAST)
        level = np.where(self._fades[which], np.minimum(level, left), level)
        level[(since < 0) | (within >= duration) | (ticks[:, None] < self._first[which])] = 0.0
        return level

    def turn(self, tick: int) -> set[int]:
        """Go to this scan. The stages where any severity is other than at the scan before."""
        row = tick - self._block_first
        if not 0 <= row < len(self._block):
            # In blocks that lie where they lie, with the scan before each.
            row, self._block_first = tick % _AT_ONCE, tick - tick % _AT_ONCE
            levels = self.levels(np.arange(self._block_first - 1, self._block_first + _AT_ONCE))
            changes = levels[1:] != levels[:-1]
            self._changes = [set(self._stages[change].tolist()) for change in changes]
            self._block = levels[1:]
        self.tick, self.level = tick, self._block[row]
        return self._changes[row]

    def of_stage(self, stage: int) -> list[int]:
        """The faults of a stage of the tick."""
        return [k for k, fault in enumerate(self.faults) if fault.kind.stage == stage]

    def of_kind(self, kind: str) -> npt.NDArray[np.intp]:
        """The faults of a kind."""
        return np.array([k for k, fault in enumerate(self.faults) if fault.kind.name == kind], dtype=np.intp)

    def where(self, which: Sequence[int] | npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """The columns of the loops that have any of these faults, rising."""
        return np.unique(self.column[np.asarray(which, dtype=np.intp)])

    def names(self, which: Sequence[int] | npt.NDArray[np.intp]) -> tuple[str, ...]:
        """A name for the chance of each of these faults: its loop, and which of the loop's faults it is."""
        first = np.searchsorted(self.column, self.column, sorter=np.argsort(self.column, kind="stable"))
        order = np.argsort(np.argsort(self.column, kind="stable"), kind="stable") - first
        return tuple(stored_names.NTH_FAULT.format(self.faults[k].loop.id, order[k]) for k in which)

    def numbers(self, which: npt.NDArray[np.intp], name: str) -> Floats:
        """A parameter of each of these faults."""
        return np.array([self.faults[k][name] for k in which], dtype=np.float64)


def _ns(values: Iterable[int]) -> npt.NDArray[np.int64]:
    return np.array(list(values), dtype=np.int64)


def _ramp(fault: Fault) -> int:
    if fault.spec.ramp or "over" not in fault.kind.defaults:
        return fault.spec.ramp
    return round(fault["over"] * 1e9)
