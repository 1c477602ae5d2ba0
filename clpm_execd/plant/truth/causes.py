"""Which fault of another loop is the cause of what a loop shows: the one with the largest effect there.

By some faults a loop feels another one, such as by an oscillation that comes from there. Without such a fault all that
comes on this way is absent, also what a fault behind it does. Where that fault is visible too, or has at least half of
the effect, it is the root, and the cause in place of the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Floats
from clpm_execd.plant.faults.schedule import Schedule
from clpm_execd.plant.loop_set import Indices
from clpm_execd.plant.truth.effect import LARGEST_EFFECT, EffectMeter
from clpm_execd.plant.truth.routes import Routes

# Of the effect of a fault by which a loop feels another one. The ordinary movement of that loop comes on the same way;
# it is in the copy without the root, whose effect is smaller beside it. In a day of two plants of 30 loops that `init`
# writes, ways were named as causes for 215 of 357 hours without this rule, for 68 of 353 with it.
_ROOT_SHARE = 0.5


class Copies(NamedTuple):
    """M loops without one fault each, that of a plant by its twin, that of a replay in the record.

    base: (M,) the plant's column of each one's loop. without: (M,) the index of the fault that is absent from it.
    is_reached: (M,) whether that fault can reach it. base_at, copies_at: (M,) where in the samples each one's loop is,
    and where it is itself.
    """

    base: Indices
    without: Indices
    is_reached: npt.NDArray[np.bool_]
    base_at: Indices
    copies_at: Indices
    meter: EffectMeter


class Causes:
    """Finds the causes at P places: in A loops that faults of others reach, and of K faults by which they feel these.

    affected: (A,) the plant's columns. coupled: (K,) the indices of the faults. names_links: whether a fault by which a
    loop feels another one is the cause of what comes through it, and has itself any cause that its loop has.
    """

    def __init__(self, schedule: Schedule, copies: Copies, routes: Routes | None, *, names_links: bool) -> None:
        self._meter = copies.meter
        source = schedule.column[copies.without]  # (M,) the loop of the fault that is absent
        foreign = np.flatnonzero(copies.is_reached & (source != copies.base))
        self.affected: Indices = np.unique(copies.base[foreign])
        affected = set(self.affected.tolist())
        others = {k: fault.other_loops() for k, fault in enumerate(schedule.faults) if fault.other_loops()}
        self.coupled: Indices = np.array([k for k in others if int(schedule.column[k]) in affected], dtype=np.intp)
        sources = {} if routes is None or names_links else {
            k: routes.find_sources(loops, without=int(schedule.column[k])) for k, loops in others.items()}
        # Each place has candidates, a copy each, and pairs of them: a fault that may be the root, and one it is behind.
        copy: list[int] = []
        place: list[int] = []
        pairs: list[tuple[int, int]] = []
        copies_of: dict[int, list[int]] = {column: [] for column in affected}
        for m in foreign.tolist():
            copies_of[int(copies.base[m])].append(m)
        columns = [*self.affected.tolist(), *schedule.column[self.coupled].tolist()]
        for p, column in enumerate(columns):
            own = sources.get(int(self.coupled[p - len(affected)])) if p >= len(affected) else None
            candidates = [m for m in copies_of[column] if own is None or int(source[m]) in own]
            first = len(copy)
            for j, m in enumerate(candidates):
                behind: Iterable[int] = sources.get(int(copies.without[m]), ())
                pairs += [(first + i, first + j) for i, other in enumerate(candidates)
                          if i != j and int(source[other]) in behind]
            copy += candidates
            place += [p] * len(candidates)
        self._copy, self._place = np.array(copy, dtype=np.intp), np.array(place, dtype=np.intp)
        self._fault = copies.without[self._copy]
        self._roots, self._links = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
        self._size = len(columns)

    def find(self) -> tuple[Floats, npt.NDArray[np.bool_], Indices]:
        """Return, (P,), the largest effect of another loop's fault, whether one is visible, and which is the cause."""
        effect, visible, cause = np.zeros(self._size), np.zeros(self._size, dtype=bool), np.full(self._size, -1)
        effects, is_visible = self._meter.effect[self._copy], self._meter.is_visible[self._copy]
        np.maximum.at(effect, self._place, effects)
        np.logical_or.at(visible, self._place, is_visible)
        is_root = is_visible[self._roots] | (effects[self._roots] >= _ROOT_SHARE * effects[self._links])
        effects[self._links[is_root]] -= LARGEST_EFFECT  # after all others, in their own order
        order = np.argsort(effects, kind="stable")  # the largest is written last
        cause[self._place[order]] = self._fault[order]
        return effect, visible, cause
