"""Snapshots of a plant: with one, a plant that was stopped resumes to the last bit.

Each stage stores its state where it keeps it: as arrays by name (`LoopArrays`) or, where it has no element for each
loop, as tables of its own (`StatefulPart`). A snapshot is rows that belong to loops, so that a loop resumes its own
state whichever others come, go or change places. What is a function of loops, seed and time (random numbers,
severities, and the parameters they make) is computed again and not stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.loop_set import Indices, LoopSet
from clpm_execd.plant.rng import blake2b
from clpm_execd.plant.specs import (
    ControllerSpec,
    DisturbanceSpec,
    OperatorSpec,
    ProcessSpec,
    RecordingSpec,
    SensorSpec,
    ThroughputSpec,
    ValveSpec,
)

_FINGERPRINT_BYTES = 16


class OwnedRows(NamedTuple):
    """R rows of state that belong to loops.

    owner: (R,) index of the loop that a row belongs to, ascending. values: (R, ...).
    """

    owner: Indices
    values: npt.NDArray[Any]

    def of_loop(self, index: int) -> npt.NDArray[Any]:
        """Return the rows of one loop, in the order in which they were stored."""
        first, last = np.searchsorted(self.owner, [index, index + 1])
        return self.values[first:last]


Tables = Mapping[str, OwnedRows]


class StatefulPart(Protocol):
    """A stage, or a part of one, that has a state from scan to scan."""

    def snapshot(self) -> Tables:
        """Return the state in arrays of their own; owners are the plant's columns."""

    def restore(self, tables: Tables) -> None:
        """Take over the state of those loops that are its own."""


class LoopArrays:
    """A stage whose state is arrays with one element for each loop, along their last axis.

    stored_arrays: by their names in files, the names of the attributes. columns: (M,) the plant's columns of the
    elements, ascending.
    """

    stored_arrays: ClassVar[Mapping[str, str]] = {}
    columns: Indices

    def snapshot(self) -> Tables:
        return {name: OwnedRows(self.columns, np.moveaxis(getattr(self, attribute), -1, 0).copy())
                for name, attribute in self.stored_arrays.items()}

    def restore(self, tables: Tables) -> None:
        for name, attribute in self.stored_arrays.items():
            rows = tables[name]
            _, ours, theirs = np.intersect1d(self.columns, rows.owner, assume_unique=True, return_indices=True)
            values = np.moveaxis(getattr(self, attribute), -1, 0)
            if values.ndim > 1 and len(values):  # a past, in which the longest of all loops' sets the length
                lags = values.shape[1]
                values, rows = values[:, :rows.values.shape[1]], OwnedRows(rows.owner, rows.values[:, :lags])
            values[ours] = rows.values[theirs]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a source of N loops between two samples.

    Attributes
    ----------
    loops
        (N) ids.
    fingerprints
        (N, 16) uint8, the same as long as a loop is specified the same.
    starts
        (N,) ns since 1970, from which each loop's moves and faults count.
    next_time
        Time of the next sample, ns since 1970.
    next_tick
        Number of the next scan since 1970.
    tables
        The rows of state, under "<part>: <array>" (see `clpm_execd.stored_names`); owners are indices of `loops`.
    """

    loops: tuple[str, ...]
    fingerprints: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    next_time: int
    next_tick: int
    tables: Tables


def owned_records(rows: Iterable[tuple[int, tuple[Any, ...]]], dtype: npt.DTypeLike) -> OwnedRows:
    """Return rows of several values each, given with their owners in any order."""
    rows = sorted(rows, key=itemgetter(0))
    return OwnedRows(np.array([owner for owner, _ in rows], dtype=np.intp),
                     np.array([row for _, row in rows], dtype=dtype))


def concatenate_owned(parts: Iterable[tuple[int, npt.NDArray[Any]]]) -> OwnedRows:
    """Return the rows of several owners, given in ascending order."""
    parts = list(parts)
    owner = np.repeat([owner for owner, _ in parts], [len(values) for _, values in parts])
    return OwnedRows(owner.astype(np.intp), np.concatenate([values for _, values in parts]))


def snapshot_parts(parts: Iterable[tuple[str, StatefulPart]]) -> dict[str, OwnedRows]:
    """Return the tables of all parts; those of several parts of one name as one."""
    tables: dict[str, list[OwnedRows]] = {}
    for part_name, part in parts:
        for name, rows in part.snapshot().items():
            tables.setdefault(f"{part_name}: {name}", []).append(rows)
    return {name: rows[0] if len(rows) == 1 else _merge(rows) for name, rows in tables.items()}


def restore_parts(parts: Iterable[tuple[str, StatefulPart]], tables: Tables, loops: Indices) -> None:
    """Give each part its tables, which are of these loops. Raise ValueError where they are not those of the parts."""
    for part_name, part in parts:
        prefix = f"{part_name}: "
        own = {name.removeprefix(prefix): rows for name, rows in tables.items() if name.startswith(prefix)}
        if not own and not any(np.isin(rows.owner, loops).any() for rows in part.snapshot().values()):
            continue  # a stage that only loops without a stored state have
        try:
            part.restore(own)
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"the snapshot is of another plant: {part_name}: {error}") from None


def add_missing_rows(tables: Tables, more: Tables) -> dict[str, OwnedRows]:
    """Return the tables, and of those of `more` the rows of each part whose owner has no row of that part."""
    owners: dict[str, set[int]] = {}
    for name, rows in tables.items():
        owners.setdefault(name.partition(": ")[0], set()).update(rows.owner.tolist())
    result = dict(tables)
    for name, rows in more.items():
        is_new = ~np.isin(rows.owner, list(owners.get(name.partition(": ")[0], ())))
        new = OwnedRows(rows.owner[is_new], rows.values[is_new])
        if name not in result:
            result[name] = new
        elif is_new.any():
            result[name] = _merge([result[name], new])
    return result


def reassign_owners(tables: Tables, new_owner: Indices) -> dict[str, OwnedRows]:
    """Return the rows under their new owners, of which -1 is none."""
    result = {}
    for name, rows in tables.items():
        owner = new_owner[rows.owner]
        remaining = np.flatnonzero(owner >= 0)
        remaining = remaining[np.argsort(owner[remaining], kind="stable")]
        result[name] = OwnedRows(owner[remaining], rows.values[remaining])
    return result


def _merge(parts: list[OwnedRows]) -> OwnedRows:
    owner = np.concatenate([rows.owner for rows in parts])
    order = np.argsort(owner, kind="stable")
    return OwnedRows(owner[order], np.concatenate([rows.values for rows in parts])[order])


def fingerprint_loops(loops: LoopSet, *context: object) -> npt.NDArray[np.uint8]:
    """Return (N, 16) hashes of how each loop is specified, with its whole cascade, and of the context.

    The loops stand masters first. A default does not count, so that a parameter that is new in a later version changes
    no hash. Nor do a loop's labels: they move no value, and a corrected description must not restart the loop.
    """
    index = {loop: i for i, loop in enumerate(loops.ids)}
    chains = loops.map(serialize_specification)
    last = list(range(len(loops)))  # of each loop's cascade
    links = [(i, index[master]) for i, master in enumerate(loops.masters) if master is not None]
    for i, master in links:
        chains[i] = f"{chains[master]} {loops.ids[master]!r} leads {chains[i]}"
    for i, master in reversed(links):
        last[master] = last[i]
    hashes = (blake2b(f"{context!r} {loop!r} {chains[last[i]]}".encode(), digest_size=_FINGERPRINT_BYTES).digest()
              for i, loop in enumerate(loops.ids))
    return np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(len(loops), _FINGERPRINT_BYTES)


def serialize_specification(spec: object) -> str:
    """Return a specification as text, without defaults, the ids of loops and their labels."""
    if isinstance(spec, tuple):
        return f"({' '.join(serialize_specification(part) for part in spec)})"
    if isinstance(spec, np.ndarray):
        return f"{spec.dtype} {spec.shape} {blake2b(spec.tobytes(), digest_size=_FINGERPRINT_BYTES).hexdigest()}"
    if not is_dataclass(spec):
        return repr(spec)
    kind = type(spec).__name__
    parts = []
    for name, default in _list_defaults(spec.__class__):
        value = getattr(spec, name)
        if value is not default and (default is MISSING or value != default):
            text = _serialize_once(value) if isinstance(value, _SHARED_PARTS) else serialize_specification(value)
            parts.append(f"{stored_names.get_stored_field(kind, name)}={text}")
    return f"{stored_names.SPECIFICATIONS[kind]}({' '.join(parts)})"


_UNHASHED_FIELDS = ("id", "cascade", "description", "area", "unit", "tags")

# Parts that many loops have alike.
_SHARED_PARTS = (ProcessSpec, ControllerSpec, ValveSpec, SensorSpec, DisturbanceSpec, ThroughputSpec, RecordingSpec,
                 OperatorSpec)
_serialize_once = lru_cache(maxsize=4096)(serialize_specification)


@lru_cache(maxsize=64)
def _list_defaults(kind: Any) -> list[tuple[str, object]]:
    return [(field.name, field.default_factory() if field.default_factory is not MISSING else field.default)
            for field in fields(kind) if field.name not in _UNHASHED_FIELDS]
