"""The twin: loops that are simulated a second time, each without one fault, on the same random numbers.

For each fault there is a copy of every loop that it can reach: its own loop, the others of the cascade, and those that
the valves of these act on. In the copies all is as in the plant, but that fault is absent. What differs between a loop
and its copy is therefore the effect of the fault, and nothing else. Copies of loops that the fault cannot reach, but
which act on those that it does, are the same as in the plant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.faults.schedule import RepeatedSchedule, Schedule
from clpm_execd.plant.loop_set import Indices, LoopSet
from clpm_execd.plant.rng import derive_stream_keys
from clpm_execd.plant.snapshot import (
    OwnedRows,
    StatefulPart,
    Tables,
    reassign_owners,
    restore_parts,
    snapshot_parts,
)
from clpm_execd.plant.truth.causes import Copies
from clpm_execd.plant.truth.effect import EffectMeter
from clpm_execd.plant.truth.routes import find_reachable


class Twin:
    """The copies of the N loops of a plant, M of them, which are simulated together with these: L loops, masters first.

    schedule: the faults of all L. column: (L,) the plant's column of each. plant_at: (N,) which of the L are the
    plant's.
    """

    def __init__(self, specs: LoopSet, depths: Indices, schedule: Schedule, acts_on: Mapping[int, Collection[int]],
                 interval: int) -> None:
        """specs: the plant's loops in balance. depths: (N,) how many masters stand above each. interval: ns.

        acts_on: for each of the plant's columns those that it acts on.
        """
        n, groups = len(specs), list(_find_groups(acts_on, schedule))
        column = np.array([*range(n), *(c for _, columns, _ in groups for c in columns)], dtype=np.intp)
        absent = np.repeat([-1, *(k for k, _, _ in groups)], [n, *(len(columns) for _, columns, _ in groups)])
        is_reached = np.array([c in reached for _, columns, reached in groups for c in columns], dtype=bool)
        order = np.argsort(depths[column], kind="stable")
        self.column, absent = column[order], absent[order]
        self.schedule = RepeatedSchedule(schedule, specs.repeat(self.column, absent), self.column, absent)
        self._is_copy = absent >= 0
        self.plant_at, at = np.flatnonzero(~self._is_copy), np.flatnonzero(self._is_copy)
        base, without = self.column[at], absent[at]
        loops = self.schedule.loops.select(at)
        meter = EffectMeter(loops, base, [schedule.faults[k] for k in without.tolist()], interval)
        meter.columns = at
        self.copies = Copies(base, without, is_reached[order[at] - n], self.plant_at[base], at, meter)
        names = schedule.stream_names(range(len(schedule.faults)))
        self._keys = derive_stream_keys(0, names, stored_names.TWIN_COPIES)[without]

    def split_tables(self, tables: Tables) -> tuple[dict[str, OwnedRows], dict[str, OwnedRows]]:
        """Return the rows of all L loops as those of the plant and those of the copies, by the plant's columns.

        The copies of a loop are in the order of the faults, and so are the rows of a table with one row for each. Of
        the others a second table tells the copy of each row, as its place among those of its loop.
        """
        at, order = self.copies.copies_at, np.argsort(self.copies.base, kind="stable")
        base = self.copies.base[order]
        place = np.zeros(len(self.column), dtype=np.int64)
        place[at[order]] = np.arange(len(base)) - np.searchsorted(base, base)
        copies = {stored_names.TWIN_COPIES: OwnedRows(at, self._keys)}
        for name, rows in {**tables, **snapshot_parts([(stored_names.EFFECT_PART, self.copies.meter)])}.items():
            copies[stored_names.TWIN_TABLE.format(name)] = rows
            if not np.array_equal(rows.owner[self._is_copy[rows.owner]], at):
                copies[stored_names.TWIN_PLACES.format(name)] = OwnedRows(rows.owner, place[rows.owner])
        return (reassign_owners(tables, np.where(self._is_copy, -1, self.column)),
                reassign_owners(copies, np.where(self._is_copy, self.column, -1)))

    def restore(self, parts: Iterable[tuple[str, StatefulPart]], tables: Tables, resumed: Indices, *,
                is_respecified: bool) -> None:
        """Restore the state of all L loops from tables by the plant's columns; a new copy starts as its loop is.

        parts: those of the simulation. resumed: the columns that resume. is_respecified: whether a copy may lack parts,
        such as those of a fault that its loop has now; they too start as those of the loop. Raise ValueError where the
        tables are not those of such a plant.
        """
        stored = tables.get(stored_names.TWIN_COPIES, OwnedRows(np.empty(0, np.intp), np.empty(0, np.uint64)))
        copies = self._find_copies(stored)
        restored = _select_own_rows(tables, stored, copies)
        none = np.zeros(len(self.column), dtype=bool)
        has_part: dict[str, npt.NDArray[np.bool_]] = {}  # of each part, which copies have a state of it
        for name, rows in restored.items():
            if name not in tables and _get_part(name) != stored_names.EFFECT_PART:
                raise ValueError(f"the snapshot is of another plant: it has no {name}")
            has_part.setdefault(_get_part(name), none.copy())[rows.owner] = True
        is_stored = none.copy()
        is_stored[copies[copies >= 0]] = True  # neither the plant's own loops, nor new copies
        for name, rows in tables.items():
            if name.startswith((*stored_names.TWIN_PREFIXES, stored_names.DATA_PATH_PART)):
                continue
            is_expected = _get_part(name) in has_part or bool(np.isin(rows.owner, stored.owner).any())
            if is_expected and name not in restored and not is_respecified:
                raise ValueError(f"the snapshot is of another plant: its twin has no {name}")
            has_own = is_stored & has_part.get(_get_part(name), none) if is_respecified else is_stored
            more = _repeat_rows(rows, np.flatnonzero(~has_own), self.column)
            restored[name] = _sort_rows([restored[name], more] if name in restored else [more])
        if stored.owner.size:
            parts = [*parts, (stored_names.EFFECT_PART, self.copies.meter)]
        restore_parts(parts, restored, np.flatnonzero(np.isin(self.column, resumed)))

    def _find_copies(self, stored: OwnedRows) -> Indices:
        """Return which of the L loops each copy in a snapshot is, -1 for none."""
        pairs = zip(self.copies.base.tolist(), self._keys.tolist(), strict=True)
        ours = dict(zip(pairs, self.copies.copies_at.tolist(), strict=True))
        pairs = zip(stored.owner.tolist(), stored.values.tolist(), strict=True)
        return np.array([ours.get(pair, -1) for pair in pairs], dtype=np.intp)


def _find_groups(acts_on: Mapping[int, Collection[int]], schedule: Schedule) -> Iterator[
        tuple[int, list[int], set[int]]]:
    """Yield of each fault its index, the loops to copy, masters first, and which of them it can reach."""
    acted_on_by: dict[int, set[int]] = {}
    for cause, effects in acts_on.items():
        for effect in effects:
            acted_on_by.setdefault(effect, set()).add(cause)
    for k, (fault, column) in enumerate(zip(schedule.faults, schedule.column.tolist(), strict=True)):
        if fault.kind.acts_on_plant:
            reached = find_reachable([column], lambda cause: acts_on.get(cause, ()))
            yield k, sorted(find_reachable(reached, lambda effect: acted_on_by.get(effect, ()))), reached


def _get_part(name: str) -> str:
    """Return the part of the plant whose table has this name."""
    return name.partition(": ")[0]


def _select_own_rows(tables: Tables, stored: OwnedRows, copies: Indices) -> dict[str, OwnedRows]:
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
    counts = last - first
    offsets = np.repeat(first - (np.cumsum(counts) - counts), counts)
    which = np.arange(len(offsets)) + offsets
    return OwnedRows(np.repeat(copies, counts), rows.values[which])


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
