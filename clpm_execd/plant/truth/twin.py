"""The twin: loops that are simulated a second time, each without one fault, on the same random numbers.

For each fault there is a copy of every loop that it can reach: its own loop, the others of the cascade, and those that
the valves of these act on. In the copies all is as in the plant, but that fault is absent. What differs between a loop
and its copy is therefore the effect of the fault, and nothing else. Copies of loops that the fault cannot reach, but
which act on those that it does, are the same as in the plant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import Floats
from clpm_execd.plant.faults.schedule import RepeatedSchedule, Schedule
from clpm_execd.plant.kernel.simulation import Simulation
from clpm_execd.plant.loop_set import Indices, LoopSet
from clpm_execd.plant.rng import derive_stream_keys
from clpm_execd.plant.snapshot import OwnedRows, StatefulPart, Tables, restore_parts, snapshot_parts
from clpm_execd.plant.specs import LoopSpec, Move
from clpm_execd.plant.stages.state import Cascades
from clpm_execd.plant.truth.effect import EffectMeter
from clpm_execd.plant.truth.routes import Links


class Twin(Simulation):
    """The copies of the loops of a plant, M of them, masters first.

    base: (M,) the plant's column of each copy. without: (M,) the index of the fault that is absent from it. is_reached:
    (M,) whether that fault can reach it.
    """

    def __init__(self, specs: LoopSet, schedule: Schedule, starts: npt.NDArray[np.int64], links: Links, *,
                 seed: int, interval: int, scan: int) -> None:
        groups = list(_find_groups(links.delays, schedule))
        base = np.array([c for _, columns, _ in groups for c in columns], dtype=np.intp)
        without = np.repeat([k for k, _, _ in groups], [len(columns) for _, columns, _ in groups]).astype(np.intp)
        is_reached = np.array([c in reached for _, columns, reached in groups for c in columns], dtype=bool)
        order = np.argsort(Cascades(specs.repeat(base, without)).depths, kind="stable")
        self.base, self.without, self.is_reached = base[order], without[order], is_reached[order]
        self._scan, copies = scan, specs.repeat(self.base, self.without)
        self.loops = copies.ids
        balanced = self._build(copies, seed, starts[self.base])
        self._attach_faults(RepeatedSchedule(schedule, balanced, self.base, self.without), seed)
        self.meter = EffectMeter(balanced, self.base, [schedule.faults[k] for k in self.without.tolist()], interval)
        names = schedule.stream_names(range(len(schedule.faults)))
        self._keys = derive_stream_keys(0, tuple(names[k] for k in self.without.tolist()), stored_names.TWIN_COPIES)

    def step(self, tick: int, noise: Floats, load: Floats) -> None:
        """Simulate one scan on the standard normals of the plant's loops, (N,) each."""
        self._simulate_scan(tick, noise.take(self.base), load.take(self.base))

    def take_sample(self, signals: Floats, mode: npt.NDArray[np.int8]) -> None:
        """Write the sample of this scan: signals, (3, M) SP, OP and PV in per cent, and mode, (M,)."""
        signals[:], mode[:] = self._state.signals[:3], self._state.effective_mode
        if self._learned is not None:
            self._learned.record(signals[2], signals[1])

    def _parts(self) -> Iterator[tuple[str, StatefulPart]]:
        return chain(super()._parts(), [(stored_names.EFFECT_PART, self.meter)])

    def tables(self) -> dict[str, OwnedRows]:
        """Return the state as rows that belong to the plant's columns; the copies of one in the order of the faults.

        A table with one row for each copy has them in that order. Of the others a second table tells the copy of each
        row, as its place among those of its loop.
        """
        order = np.argsort(self.base, kind="stable")
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order)) - np.searchsorted(self.base[order], self.base[order])
        tables = {stored_names.TWIN_COPIES: OwnedRows(self.base[order], self._keys[order])}
        for name, (owner, values) in snapshot_parts(self._parts()).items():
            by_base = np.argsort(self.base[owner], kind="stable")
            tables[stored_names.TWIN_TABLE.format(name)] = OwnedRows(self.base[owner][by_base], values[by_base])
            if not np.array_equal(owner, np.arange(len(self.base))):
                tables[stored_names.TWIN_PLACES.format(name)] = OwnedRows(self.base[owner][by_base],
                                                                          place[owner][by_base])
        return tables

    def restore(self, tables: Tables, next_tick: int, resumed: Indices, *, is_respecified: bool) -> None:
        """Restore the state of the copies of these columns from tables of the plant; a new copy starts as its loop is.

        is_respecified: whether a copy may lack parts, such as those of a fault that its loop has now; they too start as
        those of the loop. Raise ValueError where the tables are not those of such a plant.
        """
        self.bring_faults_up(next_tick)
        stored = tables.get(stored_names.TWIN_COPIES, OwnedRows(np.empty(0, np.intp), np.empty(0, np.uint64)))
        copies = self._copies_of(stored)
        restored = _own_rows(tables, stored, copies)
        owners: dict[str, set[int]] = {}  # of each part, the copies that have a state of it
        for name, rows in restored.items():
            owners.setdefault(_part(name), set()).update(rows.owner.tolist())
        is_new = ~np.isin(np.arange(len(self.base)), copies)
        for name, rows in tables.items():
            if name.startswith((*stored_names.TWIN_PREFIXES, stored_names.DATA_PATH_PART)):
                continue
            is_expected = _part(name) in owners or bool(np.isin(rows.owner, stored.owner).any())
            if is_expected and name not in restored and not is_respecified:
                raise ValueError(f"the snapshot is of another plant: its twin has no {name}")
            lacks = is_new.copy()
            if is_respecified:
                lacks |= ~np.isin(np.arange(len(self.base)), list(owners.get(_part(name), ())))
            more = _repeat_rows(rows, np.flatnonzero(lacks), self.base)
            restored[name] = _sort_rows([restored[name], more] if name in restored else [more])
        parts = self._parts() if stored.owner.size else super()._parts()
        restore_parts(parts, restored, np.flatnonzero(np.isin(self.base, resumed)))

    def _copies_of(self, stored: OwnedRows) -> Indices:
        """Return the copy here for each one in a snapshot, -1 for none."""
        ours = {(int(base), int(key)): m for m, (base, key) in
                enumerate(zip(self.base.tolist(), self._keys.tolist(), strict=True))}
        pairs = zip(stored.owner.tolist(), stored.values.tolist(), strict=True)
        return np.array([ours.get((owner, key), -1) for owner, key in pairs], dtype=np.intp)

    def add_move(self, column: int, move: Move, loop: LoopSpec) -> None:
        """Plan a move of the operator in each copy of a loop: it is not the fault that makes it."""
        for m in np.flatnonzero(self.base == column).tolist():
            self._operator.add_move(m, move, loop)

    def rescale_integrals(self, old: Floats, new: Floats) -> None:
        """Keep OP from jumping where the plant's controllers have new gains, (N,) each; see `Plant.respecify`."""
        has_new_gain = (old != new)[self.base]
        ratio = np.divide(old, new, out=np.ones_like(old), where=new != 0.0)[self.base]
        for controller, level in zip(self._controllers, self._state.cascades.levels, strict=True):
            if has_new_gain[level].any():
                kp = controller.kp
                controller.rescale_integral(np.where(has_new_gain[level], kp * ratio[level], kp))


def _find_groups(acts_on: Mapping[int, Collection[int]], schedule: Schedule) -> Iterator[
        tuple[int, list[int], set[int]]]:
    """Yield of each fault its index, the loops to copy, masters first, and which of them it can reach."""
    acted_on_by: dict[int, set[int]] = {}
    for cause, effects in acts_on.items():
        for effect in effects:
            acted_on_by.setdefault(effect, set()).add(cause)
    for k, (fault, column) in enumerate(zip(schedule.faults, schedule.column.tolist(), strict=True)):
        if fault.kind.acts_on_plant:
            reached = _reach([column], acts_on)
            yield k, sorted(_reach(reached, acted_on_by)), reached


def _reach(start: Iterable[int], links: Mapping[int, Collection[int]]) -> set[int]:
    """Return what can be reached from these, themselves included."""
    reached, remaining = set(start), list(start)
    while remaining:
        more = set(links.get(remaining.pop(), ())) - reached
        reached |= more
        remaining += more
    return reached


def _part(name: str) -> str:
    """Return the part of the plant whose table has this name."""
    return name.partition(": ")[0]


def _own_rows(tables: Tables, stored: OwnedRows, copies: Indices) -> dict[str, OwnedRows]:
    """Return the rows of the twin's own tables; copies: of each one in the snapshot, which it is here, or -1."""
    result, prefix = {}, stored_names.TWIN_TABLE.format("")
    for name, rows in tables.items():
        if name.startswith(prefix):
            own_name = name.removeprefix(prefix)
            places = tables.get(stored_names.TWIN_PLACES.format(own_name))
            if places is None and not np.array_equal(rows.owner, stored.owner):
                raise ValueError(f"the snapshot is of another plant: {name} does not say whose rows it has")
            at = np.arange(len(rows.owner)) if places is None else (
                np.searchsorted(stored.owner, rows.owner) + places.values)
            result[own_name] = _sort_rows([OwnedRows(copies[at], rows.values)])
    return result


def _repeat_rows(rows: OwnedRows, copies: Indices, base: Indices) -> OwnedRows:
    """Return the rows of a plant's table for each of these copies."""
    first, last = np.searchsorted(rows.owner, base[copies]), np.searchsorted(rows.owner, base[copies], side="right")
    at = [np.arange(a, b) for a, b in zip(first.tolist(), last.tolist(), strict=True)]
    which = np.concatenate(at) if at else np.empty(0, np.intp)
    return OwnedRows(np.repeat(copies, last - first), rows.values[which])


def _align_pasts(tables: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Return tables of the past, (R, lags), with as many lags: the longest of all loops sets how many a table has."""
    if tables[0].ndim < 2:
        return tables
    lags = max(values.shape[1] for values in tables)
    return [values if values.shape[1] == lags else
            np.concatenate([values, np.repeat(values[:, -1:], lags - values.shape[1], axis=1)], axis=1)
            for values in tables if len(values)] or tables[:1]


def _sort_rows(parts: list[OwnedRows]) -> OwnedRows:
    """Return rows of several tables as one in the order of their owners, without those that have none."""
    owner = np.concatenate([rows.owner for rows in parts])
    values = np.concatenate(_align_pasts([rows.values for rows in parts])) if len(parts) > 1 else parts[0].values
    order = np.argsort(owner, kind="stable")
    order = order[owner[order] >= 0]
    return OwnedRows(owner[order], values[order])
