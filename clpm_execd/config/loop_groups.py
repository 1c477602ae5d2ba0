"""Loops that act on each other, by a cascade or by a fault that couples them: parted, they would do otherwise."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clpm_execd.plant.specs import LoopSpec


def groups(loops: Sequence[LoopSpec]) -> list[str]:
    """Of each loop the least id of its group."""
    from clpm_execd.plant.loop_set import Loops  # with numpy, which the settings do without

    loops = Loops.of(loops)
    leads_to = {loop: loop for loop in loops.ids}

    def least(loop: str) -> str:
        while leads_to[loop] != loop:
            leads_to[loop] = loop = leads_to[leads_to[loop]]
        return loop

    for loop, master, named in zip(loops.ids, loops.masters, loops.each(_named), strict=True):
        for other in (*named, *([] if master is None else [master])):
            one, two = least(loop), least(other)
            leads_to[max(one, two)] = min(one, two)
    return [least(loop) for loop in loops.ids]


def company(loops: Sequence[LoopSpec], chosen: Collection[str]) -> tuple[LoopSpec, ...]:
    """The loops of these ids and all of their groups, in their order."""
    of = groups(loops)
    wanted = {group for loop, group in zip(loops, of, strict=True) if loop.id in chosen}
    return tuple(loop for loop, group in zip(loops, of, strict=True) if group in wanted)


def _named(loop: LoopSpec) -> list[str]:
    """The loops that its faults name: the parameters without a default."""
    from clpm_execd.plant.faults import FAULTS

    return [str(fault.parameters[key]) for fault in loop.faults
            for key, default in FAULTS[fault.kind].defaults.items() if default == ""]
