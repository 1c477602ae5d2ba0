"""Checks between loops: ids are unique, every master exists and has one slave, cascades have no circle, and every fault
has what it acts on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clpm_execd.config.loop import LoopEntry
from clpm_execd.plant.specs import FaultSpec, LoopSpec
from clpm_execd.problems import did_you_mean

# Loop ids among which a close one is looked for. In a plant of thousands of loops the comparison would take seconds.
MAX_SUGGESTIONS = 200


def check_unique(entries: Sequence[LoopEntry]) -> None:
    """Add a problem for each entry with an id that another loop has; an id that cannot be used has its own problem."""
    entries = [entry for entry in entries if all(entry.loops.ids)]
    total = sum(len(entry.loops) for entry in entries)
    if len({loop for entry in entries for loop in entry.loops.ids}) == total:
        return
    owners: dict[str, LoopEntry] = {}
    for entry in entries:
        ids = entry.loops.ids
        duplicates = [loop for loop in ids if owners.setdefault(loop, entry) is not entry]
        duplicates += ids[1:] if len(set(ids)) < len(ids) else []
        if duplicates:
            owner = owners[duplicates[0]].place.path.rpartition(": ")[2]
            what = f"{duplicates[0]!r} is already the id of {owner}" + _describe_others(len(duplicates))
            entry.place.at("id").refuse(what, "give every loop an id of its own")


def check_cascades(entries: Sequence[LoopEntry]) -> None:
    """Add a problem for each kind of mistake in the masters of an entry, however many loops the entry makes."""
    if not any(any(entry.loops.masters) for entry in entries):
        return
    masters = {loop: master for entry in entries
               for loop, master in zip(entry.loops.ids, entry.loops.masters, strict=True)}
    learned = {loop.id for entry in entries if entry.loops.any(_is_learned)
               for loop in entry.loops if _is_learned(loop)}
    slaves: dict[str, str] = {}
    for entry in entries:
        pairs = _list_slaves_and_masters(entry)
        _check_masters_exist(entry, pairs, masters)
        place = entry.place.at("cascade")
        learned_masters = [master for _, master in pairs if master in learned]
        if learned_masters:
            place.refuse(f"{learned_masters[0]!r} is a learned loop with a valve of its own"
                         + _describe_others(len(learned_masters)), "give another master, or remove its [loop.learned]")
        conflicts = [(slave, master) for slave, master in pairs if slaves.setdefault(master, slave) != slave]
        if conflicts:
            master = conflicts[0][1]
            place.refuse(f"{master!r} is already the master of {slaves[master]!r}" + _describe_others(len(conflicts)),
                         "give each slave a master of its own")
        # A loop that is directly its own master has a problem already, added where its table was read.
        circular = [slave for slave, master in pairs if slave != master and _is_in_circle(slave, masters)]
        if circular:
            what = f"circular cascade: {circular[0]!r} is indirectly its own master" + _describe_others(len(circular))
            place.refuse(what, "remove cascade from the outermost loop")


def _check_masters_exist(entry: LoopEntry, pairs: Sequence[tuple[str, str]], ids: Mapping[str, object]) -> None:
    missing = [master for _, master in pairs if master not in ids]
    if missing:
        own = set(entry.loops.ids)
        others = [loop for loop in list(ids)[:MAX_SUGGESTIONS] if loop not in own]
        remedy = did_you_mean(missing[0], others) if others else "give another loop of this file as the master"
        entry.place.at("cascade").refuse(f"unknown loop {missing[0]!r}" + _describe_others(len(missing)), remedy)


@dataclass(frozen=True, slots=True)
class _Plant:
    """What a coupling or a fault may need to know about the other loops. slaves: by the id of their master."""

    ids: Mapping[str, None]
    slaves: Mapping[str, str]


def check_couplings(entries: Sequence[LoopEntry]) -> None:
    """Add a problem for each coupling that names no other loop."""
    if not any(entry.loops.any(lambda loop: loop.couplings) for entry in entries):
        return
    ids = dict.fromkeys(loop for entry in entries for loop in entry.loops.ids)
    for entry in entries:
        for k in range(len(entry.loops[0].couplings)):
            place = entry.place.at(f"coupling[{k + 1}].loop")
            problems = (_find_name_problem(loop.id, loop.couplings[k].loop, ids) for loop in entry.loops)
            for what, remedy in filter(None, problems):
                place.refuse(what, remedy)
                break  # the other loops of this entry have the same problem


def check_faults(entries: Sequence[LoopEntry]) -> None:
    """Add a problem for each fault that lacks what it needs: the loop it names, a cascade, or a valve of its own."""
    if not any(entry.loops.any(lambda loop: loop.faults) for entry in entries):
        return
    plant = _Plant(ids=dict.fromkeys(loop for entry in entries for loop in entry.loops.ids),
                   slaves={master: loop for entry in entries for loop, master in _list_slaves_and_masters(entry)})
    for entry in entries:
        faults_of_loops = entry.loops.map(lambda loop: loop.faults)
        for k in range(len(faults_of_loops[0])):
            place = entry.place.at(f"fault[{k + 1}]")
            problems = (_find_fault_problem(loop, master, faults[k], plant) for loop, master, faults
                        in zip(entry.loops.ids, entry.loops.masters, faults_of_loops, strict=True))
            for key, what, remedy in filter(None, problems):
                place.at(key).refuse(what, remedy)
                break  # the other loops of this entry have the same problem


def _find_fault_problem(loop: str, master: str | None, fault: FaultSpec, plant: _Plant) -> tuple[str, str, str] | None:
    """Return the key of a loop's fault that is wrong, what is wrong and what would be right; None if all is right."""
    from clpm_execd.plant.faults import FAULTS  # a plant without faults starts without loading the catalogue

    kind = FAULTS[fault.kind]
    slave = plant.slaves.get(loop)
    if kind.group == "valve" and slave is not None:
        what = f"{loop!r} has no valve: its output is the set point of {slave!r}"
        return "kind", what, f"give the fault to {slave!r}"
    if fault.kind == "cascade-broken" and master is None:
        return "kind", f"{loop!r} has no master", "give the loop a cascade, or another fault"
    for key, default in kind.defaults.items():
        other = fault.parameters.get(key)
        if not isinstance(default, str) or other is None:  # the parameters that are texts are ids of other loops
            continue
        if problem := _find_name_problem(loop, str(other), plant.ids):
            return key, *problem
    return None


def _find_name_problem(loop: str, other: str, ids: Mapping[str, None]) -> tuple[str, str] | None:
    """Return what is wrong with the id by which a loop names another one, and what would be right; None if it is."""
    remedy = "give another loop of this file"
    if not other:  # its own problem is that it is missing
        return None
    if other == loop:
        return f"{other!r} is the loop itself", remedy
    if other in ids:
        return None
    others = [item for item in list(ids)[:MAX_SUGGESTIONS] if item != loop]
    return f"unknown loop {other!r}", did_you_mean(other, others) if others else remedy


def _list_slaves_and_masters(entry: LoopEntry) -> list[tuple[str, str]]:
    """Return the ids of each slave and its master."""
    pairs = zip(entry.loops.ids, entry.loops.masters, strict=True)
    return [(loop, master) for loop, master in pairs if master is not None]


def _is_learned(loop: LoopSpec) -> bool:
    return loop.learned_model is not None


def _is_in_circle(loop: str, masters: Mapping[str, str | None]) -> bool:
    """Whether the masters of a loop lead back to it."""
    path: set[str] = set()
    master = masters.get(loop)
    while master is not None and master not in path:
        if master == loop:
            return True
        path.add(master)
        master = masters.get(master)
    return False


def _describe_others(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""
