"""What a plant remembers from scan to scan: with it, one that was stopped goes on to the last bit.

Each stage says what it remembers beside where it makes it: its arrays by name (`Columns`), or, where it keeps no
element a loop, tables of its own (`Remembers`). A memory is rows that belong to loops, so that a loop keeps its own
whichever others come, go or change places. What is a function of loops, seed and time (chance, severities, and the
parameters they make) is no memory: it is made anew.
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
from clpm_execd.plant.digest import blake2b
from clpm_execd.plant.loop_set import Indices, Loops
from clpm_execd.plant.specs import (
    ControllerSpec,
    DisturbanceSpec,
    OperatorSpec,
    ProcessSpec,
    RecordingSpec,
    SensorSpec,
    ValveSpec,
)

_MARK = 16  # bytes


class Rows(NamedTuple):
    """R things remembered. owner: (R,) the loops they belong to, rising. values: (R, ...)."""

    owner: Indices
    values: npt.NDArray[Any]

    def of(self, column: int) -> npt.NDArray[Any]:
        """Those of one loop, as they were given."""
        first, last = np.searchsorted(self.owner, [column, column + 1])
        return self.values[first:last]


Tables = Mapping[str, Rows]


class Remembers(Protocol):
    """A stage, or a part of one, that remembers."""

    def recall(self) -> Tables:
        """What it remembers, in arrays of their own; owners are the plant's columns."""

    def restore(self, tables: Tables) -> None:
        """Be as when it recalled these, of those loops that are its own."""


class Columns:
    """A stage whose memory is arrays with one element a loop, along their last axis.

    stored_arrays: by their names in files, the names of the attributes. columns: (M,) the plant's columns of the
    elements, rising.
    """

    stored_arrays: ClassVar[Mapping[str, str]] = {}
    columns: Indices

    def recall(self) -> Tables:
        return {name: Rows(self.columns, np.moveaxis(getattr(self, attribute), -1, 0).copy())
                for name, attribute in self.stored_arrays.items()}

    def restore(self, tables: Tables) -> None:
        for name, attribute in self.stored_arrays.items():
            rows = tables[name]
            _, ours, theirs = np.intersect1d(self.columns, rows.owner, assume_unique=True, return_indices=True)
            values = np.moveaxis(getattr(self, attribute), -1, 0)
            if values.ndim > 1 and len(values):  # a past, in which the longest of all loops' sets the length
                values, rows = values[:, :rows.values.shape[1]], Rows(rows.owner, rows.values[:, :values.shape[1]])
            values[ours] = rows.values[theirs]


@dataclass(frozen=True, slots=True)
class Memory:
    """What N loops remember between two samples.

    loops: (N) ids. marks: (N, 16) uint8, alike as long as a loop is made the same. starts: (N,) ns, from which each
    loop's moves and faults count. next_time: ns, of the next sample. next_tick: of the next scan. tables: by stage
    and name; owners are indices of `loops`.
    """

    loops: tuple[str, ...]
    marks: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    next_time: int
    next_tick: int
    tables: Tables


def table(rows: Iterable[tuple[int, tuple[Any, ...]]], dtype: npt.DTypeLike) -> Rows:
    """Rows of several values each, given with their owners in any order."""
    rows = sorted(rows, key=itemgetter(0))
    return Rows(np.array([owner for owner, _ in rows], dtype=np.intp), np.array([row for _, row in rows], dtype=dtype))


def of_all(parts: Iterable[tuple[int, npt.NDArray[Any]]]) -> Rows:
    """The rows of several owners, given from the first to the last."""
    parts = list(parts)
    owner = np.repeat([owner for owner, _ in parts], [len(values) for _, values in parts])
    return Rows(owner.astype(np.intp), np.concatenate([values for _, values in parts]))


def recalled(parts: Iterable[tuple[str, Remembers]]) -> dict[str, Rows]:
    """The tables of all parts; of several of one name as one."""
    found: dict[str, list[Rows]] = {}
    for name, part in parts:
        for what, rows in part.recall().items():
            found.setdefault(f"{name}: {what}", []).append(rows)
    return {name: rows[0] if len(rows) == 1 else _joined(rows) for name, rows in found.items()}


def restored(parts: Iterable[tuple[str, Remembers]], tables: Tables, loops: Indices) -> None:
    """Give each part its tables, which are of these loops. Raises ValueError where they are not those of the parts."""
    for name, part in parts:
        head = f"{name}: "
        ours = {what.removeprefix(head): rows for what, rows in tables.items() if what.startswith(head)}
        if not ours and not any(np.isin(rows.owner, loops).any() for rows in part.recall().values()):
            continue  # a stage that only loops without a memory have
        try:
            part.restore(ours)
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"the memory is another plant's: {name}: {error}") from None


def moved(tables: Tables, to: Indices) -> dict[str, Rows]:
    """The rows as others own them: `to` has the new owner of each, -1 for nobody."""
    found = {}
    for name, rows in tables.items():
        owner = to[rows.owner]
        kept = np.flatnonzero(owner >= 0)
        kept = kept[np.argsort(owner[kept], kind="stable")]
        found[name] = Rows(owner[kept], rows.values[kept])
    return found


def _joined(parts: list[Rows]) -> Rows:
    owner = np.concatenate([rows.owner for rows in parts])
    order = np.argsort(owner, kind="stable")
    return Rows(owner[order], np.concatenate([rows.values for rows in parts])[order])


def marks(loops: Loops, *surroundings: object) -> npt.NDArray[np.uint8]:
    """(N, 16) a digest of what each loop is made of, the whole of its cascade included, and its surroundings.

    The loops stand masters first. What is as by default does not count, so that a parameter that is new in a later
    version changes no mark.
    """
    index = {loop: i for i, loop in enumerate(loops.ids)}
    chains = loops.each(specification_text)
    last = list(range(len(loops)))  # of each loop's cascade
    led = [(i, index[master]) for i, master in enumerate(loops.masters) if master is not None]
    for i, master in led:
        chains[i] = f"{chains[master]} {loops.ids[master]!r} leads {chains[i]}"
    for i, master in reversed(led):
        last[master] = last[i]
    digests = (blake2b(f"{surroundings!r} {loop!r} {chains[last[i]]}".encode(), digest_size=_MARK).digest()
               for i, loop in enumerate(loops.ids))
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(len(loops), _MARK)


def specification_text(spec: object) -> str:
    """Return a specification as text, without what is as by default and without the ids of loops."""
    if isinstance(spec, tuple):
        return f"({' '.join(specification_text(part) for part in spec)})"
    if isinstance(spec, np.ndarray):
        return f"{spec.dtype} {spec.shape} {blake2b(spec.tobytes(), digest_size=_MARK).hexdigest()}"
    if not is_dataclass(spec):
        return repr(spec)
    kind = type(spec).__name__
    parts = []
    for name, default in _defaults(spec.__class__):
        value = getattr(spec, name)
        if value is not default and (default is MISSING or value != default):
            text = _specification_text_once(value) if isinstance(value, _PARTS) else specification_text(value)
            parts.append(f"{stored_names.stored_field(kind, name)}={text}")
    return f"{stored_names.SPECIFICATIONS[kind]}({' '.join(parts)})"


# What many loops have alike.
_PARTS = (ProcessSpec, ControllerSpec, ValveSpec, SensorSpec, DisturbanceSpec, RecordingSpec, OperatorSpec)
_specification_text_once = lru_cache(maxsize=4096)(specification_text)


@lru_cache(maxsize=64)
def _defaults(kind: Any) -> list[tuple[str, object]]:
    return [(field.name, field.default_factory() if field.default_factory is not MISSING else field.default)
            for field in fields(kind) if field.name not in ("id", "cascade")]
