"""Many loops, and what is alike in them: what a count of loops has in common is worked out once for all of them.

A kind is a loop without its id and its master's. Where each loop is of a kind of its own, its kind is the loop itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import LoopSpec

T = TypeVar("T")
Indices = npt.NDArray[np.intp]


class Loops(Sequence[LoopSpec]):
    """N loops in order; each LoopSpec is made when it is asked for.

    kinds: K different ones. kind: (N,) index into `kinds` of each loop. ids: N. masters: N, the id of each loop's
    master, None where it has none.
    """

    def __init__(self, kinds: Sequence[LoopSpec], kind: Indices, ids: Sequence[str],
                 masters: Sequence[str | None]) -> None:
        self.kinds, self.kind, self.ids, self.masters = tuple(kinds), kind, tuple(ids), tuple(masters)

    @classmethod
    def of(cls, loops: Iterable[LoopSpec]) -> Loops:
        """These loops; each is a kind of its own, unless they know better."""
        if isinstance(loops, Loops):
            return loops
        loops = tuple(loops)
        return cls(loops, np.arange(len(loops)), [loop.id for loop in loops], [loop.cascade for loop in loops])

    @classmethod
    def joined(cls, parts: Iterable[Loops]) -> Loops:
        """The loops of all parts, one part after the other."""
        kinds: list[LoopSpec] = []
        ids: list[str] = []
        masters: list[str | None] = []
        kind = [np.empty(0, dtype=np.intp)]
        for part in parts:
            kind.append(len(kinds) + part.kind)
            kinds += part.kinds
            ids += part.ids
            masters += part.masters
        return cls(kinds, np.concatenate(kind), ids, masters)

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, at: int) -> LoopSpec: ...

    @overload
    def __getitem__(self, at: slice) -> Loops: ...

    def __getitem__(self, at: int | slice) -> LoopSpec | Loops:
        if isinstance(at, slice):
            return self.pick(np.arange(len(self))[at])
        return _named(self.kinds[self.kind[at]], self.ids[at], self.masters[at])

    def __iter__(self) -> Iterator[LoopSpec]:
        return map(_named, map(self.kinds.__getitem__, self.kind.tolist()), self.ids, self.masters)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(other) == len(self) and all(
            ours == theirs for ours, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def pick(self, at: Indices) -> Loops:
        """The loops of these indices, in their order."""
        if len(at) == len(self) and (at == np.arange(len(self))).all():
            return self
        used, kind = np.unique(self.kind[at], return_inverse=True)
        where = at.tolist()
        return Loops([self.kinds[k] for k in used.tolist()], kind, [self.ids[i] for i in where],
                     [self.masters[i] for i in where])

    def resting(self, op: Floats) -> Loops:
        """The same loops, each with OP at rest as given, (N,)."""
        values, value = np.unique(op, return_inverse=True)
        both, kind = np.unique(self.kind * len(values) + value, return_inverse=True)
        kinds = [replace(self.kinds[k], op=float(values[v])) for k, v in zip(*divmod(both, len(values)), strict=True)]
        return Loops(kinds, kind, self.ids, self.masters)

    # What follows is of one kind after the other: a value must not depend on the ids of a loop and its master.

    def each(self, value: Callable[[LoopSpec], T]) -> list[T]:
        """What every loop has."""
        values = [value(kind) for kind in self.kinds]
        return [values[k] for k in self.kind.tolist()]

    def column(self, value: Callable[[LoopSpec], float]) -> Floats:
        """(N,) a number of every loop."""
        return np.array([value(kind) for kind in self.kinds], dtype=np.float64).take(self.kind)

    def columns(self, values: Callable[[LoopSpec], tuple[float, ...]]) -> Floats:
        """(M, N) numbers of every loop, M each."""
        return np.array([values(kind) for kind in self.kinds], dtype=np.float64).T.take(self.kind, axis=1)

    def where(self, true: Callable[[LoopSpec], bool]) -> npt.NDArray[np.bool_]:
        """(N,) of which loops this is true."""
        return np.array([true(kind) for kind in self.kinds], dtype=np.bool_).take(self.kind)

    def any(self, true: Callable[[LoopSpec], object]) -> bool:
        """Whether it is true of any loop."""
        return any(true(kind) for kind in self.kinds)


_FIELDS = tuple(field.name for field in fields(LoopSpec))


def _named(kind: LoopSpec, loop_id: str, master: str | None) -> LoopSpec:
    if kind.id == loop_id and kind.cascade == master:
        return kind
    parts: dict[str, Any] = {name: getattr(kind, name) for name in _FIELDS}
    return LoopSpec(**{**parts, "id": loop_id, "cascade": master})
