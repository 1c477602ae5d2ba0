"""Loops that act on each other, by a cascade, a coupling or a fault, form a group that must not be separated.

Simulated without the others of its group, a loop would have other values.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clpm_execd.plant.specs import LoopSpec


def find_groups(loops: Sequence[LoopSpec]) -> list[str]:
    """Return the group of each loop, named by the least id in it.

    Parameters
    ----------
    loops : sequence of LoopSpec
        All loops of the plant.

    Returns
    -------
    list of str
        One name per loop, in their order.
    """
    from clpm_execd.plant.loop_set import LoopSet  # imports numpy, which reading the settings does not need

    loops = LoopSet.of(loops)
    parents = {loop: loop for loop in loops.ids}

    def find_root(loop: str) -> str:  # of a union-find forest, with path halving
        while parents[loop] != loop:
            parents[loop] = loop = parents[parents[loop]]
        return loop

    for loop, master, others in zip(loops.ids, loops.masters, loops.map(_list_coupled_loops), strict=True):
        for other in (*others, *([] if master is None else [master])):
            one, two = find_root(loop), find_root(other)
            parents[max(one, two)] = min(one, two)
    return [find_root(loop) for loop in loops.ids]


def select_groups(loops: Sequence[LoopSpec], ids: Collection[str]) -> tuple[LoopSpec, ...]:
    """Return the loops with these ids and all other loops of their groups, in their order.

    Parameters
    ----------
    loops : sequence of LoopSpec
        All loops of the plant.
    ids : collection of str
        The loops to be simulated.
    """
    groups = find_groups(loops)
    chosen_groups = {group for loop, group in zip(loops, groups, strict=True) if loop.id in ids}
    return tuple(loop for loop, group in zip(loops, groups, strict=True) if group in chosen_groups)


def _list_coupled_loops(loop: LoopSpec) -> list[str]:
    """Return the loops that its couplings and its faults name."""
    from clpm_execd.plant.faults import FAULTS

    return [*(coupling.loop for coupling in loop.couplings),
            *(other for fault in loop.faults for other in FAULTS[fault.kind].other_loops(fault))]
