"""Many loops, of which many are alike: what does not depend on their ids is computed once for each distinct loop.

Distinct loops are counted without their ids and those of their masters, and without descriptions that are numbered as
ids are. Where no two loops are alike, each is a distinct one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import repeat
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import LoopSpec

T = TypeVar("T")
S = TypeVar("S", bound="np.generic")
Indices = npt.NDArray[np.intp]


class Columns:
    """The columns of some loops in arrays, (..., L). indices: one or more of them, in any order."""

    def __init__(self, indices: Indices) -> None:
        self._indices = indices
        follow_each_other = bool((np.diff(indices) == 1).all())
        self._slice = slice(int(indices[0]), int(indices[-1]) + 1) if follow_each_other else None

    def of(self, values: npt.NDArray[S]) -> npt.NDArray[S]:
        """Return these columns of an array, (..., number of them), as a view where they follow each other."""
        if self._slice is not None:
            return values[..., self._slice]
        return values.take(self._indices, axis=-1)  # an index takes ten times as long


class LoopSet(Sequence[LoopSpec]):
    """N loops in order; each LoopSpec is made when it is asked for.

    Parameters
    ----------
    distinct
        K different specifications.
    which
        (N,) the index into `distinct` of each loop.
    ids
        N ids.
    masters
        N, the id of each loop's master; None where it has none.
    descriptions
        N, the description of each loop; by default those of `distinct`.
    groups
        (N,) the group of each loop: the loops that it names are those of its group, within which ids are unique. By
        default all loops are one group.
    """

    def __init__(self, distinct: Sequence[LoopSpec], which: Indices, ids: Sequence[str],
                 masters: Sequence[str | None], descriptions: Sequence[str] | None = None,
                 groups: Indices | None = None) -> None:
        self.distinct, self.which, self.ids, self.masters = tuple(distinct), which, tuple(ids), tuple(masters)
        self._descriptions = None if descriptions is None else tuple(descriptions)
        self._groups = groups

    @classmethod
    def of(cls, loops: Iterable[LoopSpec]) -> LoopSet:
        """Return these loops as a set, each as a distinct one, unless they are a set already."""
        if isinstance(loops, LoopSet):
            return loops
        loops = tuple(loops)
        return cls(loops, np.arange(len(loops)), [loop.id for loop in loops], [loop.cascade for loop in loops])

    @classmethod
    def concatenate(cls, parts: Iterable[LoopSet]) -> LoopSet:
        """Return the loops of all parts, one part after the other."""
        parts = list(parts)
        has_descriptions = any(part._descriptions is not None for part in parts)
        distinct: list[LoopSpec] = []
        ids: list[str] = []
        descriptions: list[str] = []
        masters: list[str | None] = []
        which = [np.empty(0, dtype=np.intp)]
        for part in parts:
            which.append(len(distinct) + part.which)
            distinct += part.distinct
            ids += part.ids
            masters += part.masters
            if has_descriptions:
                descriptions += part._descriptions or part.map(lambda loop: loop.description)
        return cls(distinct, np.concatenate(which), ids, masters, descriptions if has_descriptions else None)

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, at: int) -> LoopSpec: ...

    @overload
    def __getitem__(self, at: slice) -> LoopSet: ...

    def __getitem__(self, at: int | slice) -> LoopSpec | LoopSet:
        if isinstance(at, slice):
            return self.select(np.arange(len(self))[at])
        description = None if self._descriptions is None else self._descriptions[at]
        return _with_ids(self.distinct[self.which[at]], self.ids[at], self.masters[at], description)

    def __iter__(self) -> Iterator[LoopSpec]:
        return map(_with_ids, map(self.distinct.__getitem__, self.which.tolist()), self.ids, self.masters,
                   self._descriptions or repeat(None))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(other) == len(self) and all(
            ours == theirs for ours, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def select(self, indices: Indices) -> LoopSet:
        """Return the loops of these indices, in their order."""
        if len(indices) == len(self) and (indices == np.arange(len(self))).all():
            return self
        used, which = np.unique(self.which[indices], return_inverse=True)
        places = indices.tolist()
        return LoopSet([self.distinct[k] for k in used.tolist()], which, [self.ids[i] for i in places],
                       [self.masters[i] for i in places],
                       None if self._descriptions is None else [self._descriptions[i] for i in places],
                       None if self._groups is None else self._groups[indices])

    def repeat(self, indices: Indices, groups: Indices) -> LoopSet:
        """Return the loops of these indices, which may occur several times, but once in each group, (M,) both."""
        loops = self.select(indices)
        return LoopSet(loops.distinct, loops.which, loops.ids, loops.masters, loops._descriptions, groups)

    def make_finder(self) -> Callable[[int, str], int]:
        """Return a function that returns the index of the loop that the loop of an index names by its id.

        It raises KeyError where there is none.
        """
        if self._groups is None:
            index = {loop: i for i, loop in enumerate(self.ids)}
            return lambda _, name: index[name]
        groups = self._groups.tolist()
        index_in_group = {pair: i for i, pair in enumerate(zip(groups, self.ids, strict=True))}
        return lambda i, name: index_in_group[groups[i], name]

    def with_loop(self, index: int, loop: LoopSpec) -> LoopSet:
        """Return the same loops, with this one, of the same id, master and description, at the index."""
        which = self.which.copy()
        which[index] = len(self.distinct)
        return LoopSet((*self.distinct, loop), which, self.ids, self.masters, self._descriptions, self._groups)

    def with_distinct(self, distinct: Iterable[LoopSpec]) -> LoopSet:
        """Return the same loops, of these K specifications in place of those that they have."""
        return LoopSet(tuple(distinct), self.which, self.ids, self.masters, self._descriptions, self._groups)

    def with_nominal_op(self, op: Floats) -> LoopSet:
        """Return the same loops, each in balance at the OP of this array, (N,) %."""
        values, value = np.unique(op, return_inverse=True)
        pairs, which = np.unique(self.which * len(values) + value, return_inverse=True)
        loops_and_ops = [(self.distinct[k], float(values[v]))
                         for k, v in zip(*divmod(pairs, len(values)), strict=True)]
        distinct = [loop if loop.op == nominal_op else replace(loop, op=nominal_op)
                    for loop, nominal_op in loops_and_ops]
        return LoopSet(distinct, which, self.ids, self.masters, self._descriptions, self._groups)

    def tags_by_id(self) -> dict[str, Mapping[str, str]]:
        """Return the tags of those loops that have some of their own, by id."""
        if not self.any(lambda loop: loop.tags):
            return {}
        return {loop: tags for loop, tags in zip(self.ids, self.map(lambda loop: loop.tags), strict=True) if tags}

    # The methods below call a function once for each distinct loop: it must not depend on the ids of a loop and its
    # master, nor on its description.

    def map(self, function: Callable[[LoopSpec], T]) -> list[T]:
        """Return the function of every loop."""
        values = [function(loop) for loop in self.distinct]
        return [values[k] for k in self.which.tolist()]

    def column(self, function: Callable[[LoopSpec], float]) -> Floats:
        """Return a number of every loop, (N,)."""
        return np.array([function(loop) for loop in self.distinct], dtype=np.float64).take(self.which)

    def columns(self, function: Callable[[LoopSpec], tuple[float, ...]]) -> Floats:
        """Return M numbers of every loop, (M, N)."""
        return np.array([function(loop) for loop in self.distinct], dtype=np.float64).T.take(self.which, axis=1)

    def where(self, predicate: Callable[[LoopSpec], bool]) -> npt.NDArray[np.bool_]:
        """Return of which loops the predicate is true, (N,)."""
        return np.array([predicate(loop) for loop in self.distinct], dtype=np.bool_).take(self.which)

    def any(self, predicate: Callable[[LoopSpec], object]) -> bool:
        """Whether the predicate is true of any loop."""
        return any(predicate(loop) for loop in self.distinct)


_FIELDS = tuple(field.name for field in fields(LoopSpec))


def _with_ids(loop: LoopSpec, loop_id: str, master: str | None, description: str | None) -> LoopSpec:
    """Return the loop with these ids, and with the description, if it has one of its own."""
    description = loop.description if description is None else description
    if loop.id == loop_id and loop.cascade == master and loop.description == description:
        return loop
    parts: dict[str, Any] = {name: getattr(loop, name) for name in _FIELDS}
    return LoopSpec(**{**parts, "id": loop_id, "cascade": master, "description": description})
