"""The ground truth about every fault at every sample: whether it is present and visible, and what it does.

A fault is visible while the twin shows its effect in its own loop. A loop without a fault of its own in which the twin
shows the effect of another loop's is affected.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import AFFECTED, MAN, SECOND, Floats, Truth
from clpm_execd.plant.faults.data_path import DataPath
from clpm_execd.plant.faults.kinds import Stage
from clpm_execd.plant.faults.schedule import Schedule
from clpm_execd.plant.loop_set import Columns
from clpm_execd.plant.truth.causes import Causes, Copies
from clpm_execd.plant.truth.effect import BIN_NS, LARGEST_EFFECT, VISIBLE_FROM
from clpm_execd.plant.truth.routes import Routes

_BINS_PER_SHARE = 20  # ten minutes, over which the share is taken of the samples that a fault of the data path acts on
_MAX_VALUES_AT_ONCE = 2_048  # of each signal that is compared with the twin's: more leave a processor's first cache


class TruthObserver:
    """Makes the ground truth of a plant.

    columns: (N,) the plant's column of each loop of a Block. routes: from loop to loop, if there is a twin. data_path:
    the faults that act on samples on their way, if there are any. interval: time between samples, ns. names_links: see
    Causes.
    """

    def __init__(self, schedule: Schedule, columns: npt.NDArray[np.intp], twin: Copies | None,
                 routes: Routes | None = None, data_path: DataPath | None = None, interval: int = SECOND, *,
                 names_links: bool = False) -> None:
        faults = schedule.faults
        self._schedule, self._twin = schedule, twin
        self._column_in_block = np.argsort(columns, kind="stable")
        self._is_fault = ~np.array([fault.kind.is_control for fault in faults], dtype=bool)
        # A fault of the data path acts on all samples, or on a random share of them.
        self._on_all = np.array([fault.kind.stage is Stage.DATA_PATH for fault in faults], dtype=np.float64)
        self._has_data_path = bool(self._on_all.any())
        self._random_stages = {} if data_path is None else data_path.random_stages()
        self._random = np.array(list(self._random_stages), dtype=np.intp)
        self._on_all[self._random] = 0.0
        self._interval, self._bin_ns = interval, max(BIN_NS, interval)
        self._shares = (-1, np.zeros(len(self._random)))  # of the latest bin, and its number
        self._own_copy = np.full(len(faults), -1, dtype=np.intp)
        self._affected: npt.NDArray[np.intp] = np.empty(0, dtype=np.intp)  # (A,) columns that others' faults reach
        self._find_routes = None if routes is None else routes.find
        if twin is not None:
            is_own = schedule.column[twin.without] == twin.base
            self._own_copy[twin.without[is_own]] = np.flatnonzero(is_own)
            self._has_copy = self._own_copy >= 0  # a fault of the data path has none
            self._causes = Causes(schedule, twin, routes, names_links=names_links)
            self._affected, self._coupled = self._causes.affected, self._causes.coupled
            # The faults that loops have which others' faults reach too, and the place of each one's loop among those.
            self._own_faults = np.flatnonzero(self._is_fault & np.isin(schedule.column, self._affected))
            self._place_of_own = np.searchsorted(self._affected, schedule.column[self._own_faults])
            # Of the latest bin, which is numbered: effect, visible and cause at the places of these.
            self._latest_causes = -1, *self._causes.find()
            self._base_at, self._copies_at = Columns(twin.base_at), Columns(twin.copies_at)
        self._loops = (*(fault.loop.id for fault in faults), *(schedule.loops.ids[c] for c in self._affected.tolist()))
        self._kinds = (*(fault.kind.name for fault in faults), *[AFFECTED] * len(self._affected))
        self._is_control = (*(fault.kind.is_control for fault in faults), *[False] * len(self._affected))
        self._columns = self._column_in_block[np.concatenate([schedule.column, self._affected])]

    def observe(self, ticks: npt.NDArray[np.int64], times: npt.NDArray[np.int64], signals: Floats,
                mode: npt.NDArray[np.int8]) -> Truth:
        """Return the ground truth at these scans.

        Parameters
        ----------
        ticks, times : array (T,)
            The scans, numbered since 1970, and their times, ns.
        signals, mode : array (3 to 5, T, L) and (T, L)
            SP, OP and PV as recorded first, and the modes, of the plant and the copies.
        """
        severity = self._schedule.severities(ticks)
        present = (severity > 0) & self._is_fault
        t, f = present.shape
        a = len(self._affected)
        effect, visible = np.zeros((t, f + a)), np.zeros((t, f + a), dtype=bool)
        cause = np.full((t, f + a), -1, dtype=np.intp)
        if self._has_data_path:
            effect[:, :f] = LARGEST_EFFECT * np.sqrt(self._on_all * severity)
        if self._random.size:
            bins, which = np.unique(times // self._bin_ns, return_inverse=True)
            shares = np.stack([self._compute_shares(number) for number in bins.tolist()])
            effect[:, self._random] = LARGEST_EFFECT * np.sqrt(shares[which])
        if self._has_data_path:
            visible[:, :f] = effect[:, :f] >= VISIBLE_FROM
        if self._twin is not None:
            self._measure(times, signals, mode, effect, visible, cause)
        visible[:, :f] &= present
        if a:
            cause[:, self._coupled] = np.where(present[:, self._coupled], cause[:, self._coupled], -1)
            if self._own_faults.size:
                has_fault = np.zeros((a, t), dtype=bool)
                np.logical_or.at(has_fault, self._place_of_own, present[:, self._own_faults].T)
                visible[:, f:] &= ~has_fault.T
            np.copyto(cause[:, f:], -1, where=~visible[:, f:])
            present = np.concatenate([present, visible[:, f:]], axis=1)
            severity = np.concatenate([severity, visible[:, f:].astype(np.float64)], axis=1)
        return Truth(self._loops, self._kinds, self._is_control, self._columns, present, visible, severity, effect,
                     cause, self._find_routes)

    def _compute_shares(self, number: int) -> Floats:
        """Return which share of the samples before this bin the faults of random samples acted on, (R,)."""
        if number != self._shares[0]:
            end = -(-number * self._bin_ns // self._interval)
            numbers = np.arange(end - _BINS_PER_SHARE * self._bin_ns // self._interval, end)
            severity = self._schedule.compute_severities(
                self._schedule.ticks_of(numbers * self._interval), self._random)
            self._shares = number, np.array([
                np.count_nonzero(stage.is_affected(numbers, severity[:, i])) / len(numbers)
                for i, stage in enumerate(self._random_stages.values())])
        return self._shares[1]

    def _measure(self, times: npt.NDArray[np.int64], signals: Floats, mode: npt.NDArray[np.int8], effect: Floats,
                 visible: npt.NDArray[np.bool_], cause: npt.NDArray[np.intp]) -> None:
        """Add the samples to the twin's meter, and write what it says after each."""
        twin = self._twin
        assert twin is not None
        f = len(self._own_copy)
        base_mode, copied_mode = self._base_at.of(mode), self._copies_at.of(mode)
        has_other_mode, is_manual = base_mode != copied_mode, base_mode == MAN
        is_manual &= copied_mode == MAN
        any_other_mode, any_manual = bool(has_other_mode.any()), bool(is_manual.any())
        bins = times // twin.meter.bin_ns
        starts = [0, *(np.flatnonzero(bins[1:] != bins[:-1]) + 1).tolist()]  # of the samples of each bin
        samples_at_once = max(1, _MAX_VALUES_AT_ONCE // len(twin.base))
        for start, stop in zip(starts, [*starts[1:], len(times)], strict=True):
            for first in range(start, stop, samples_at_once):
                at = slice(first, min(first + samples_at_once, stop))
                values = signals[:3, at]
                twin.meter.add(int(bins[start]), self._base_at.of(values), self._copies_at.of(values),
                               has_other_mode[at] if any_other_mode else None, is_manual[at] if any_manual else None)
            at = slice(start, stop)
            np.copyto(effect[at, :f], twin.meter.effect[self._own_copy], where=self._has_copy)
            np.copyto(visible[at, :f], twin.meter.is_visible[self._own_copy], where=self._has_copy)
            if self._affected.size:
                if self._latest_causes[0] != bins[start]:
                    self._latest_causes = int(bins[start]), *self._causes.find()
                a = len(self._affected)
                _, largest, is_felt, causes = self._latest_causes
                effect[at, f:], visible[at, f:], cause[at, f:] = largest[:a], is_felt[:a], causes[:a]
                # A fault by which a loop feels another one has the cause that is felt.
                cause[at, self._coupled] = np.where(is_felt[a:], causes[a:], -1)
