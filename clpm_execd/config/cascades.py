"""Loops among each other: every id once, every master there with one slave, no loop above its own master, and no fault
where there is nothing for it to act on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clpm_execd.config.loop import LoopEntry
from clpm_execd.plant.specs import FaultSpec, LoopSpec
from clpm_execd.problems import did_you_mean

# Beyond this, looking for a close name costs more than it helps.
FEW = 200


def check_unique(entries: Sequence[LoopEntry]) -> None:
    total = sum(len(entry.loops) for entry in entries)
    if len({loop for entry in entries for loop in entry.loops.ids}) == total:
        return
    first: dict[str, LoopEntry] = {}
    for entry in entries:
        own = entry.loops.ids
        twice = [loop for loop in own if first.setdefault(loop, entry) is not entry]
        twice += own[1:] if len(set(own)) < len(own) else []
        if twice:
            owner = first[twice[0]].place.path.rpartition(": ")[2]
            entry.place.at("id").refuse(f"{twice[0]!r} is taken by {owner}" + _more(len(twice)),
                                        "give every loop an id of its own")


def check_cascades(entries: Sequence[LoopEntry]) -> None:
    """Each entry tells each kind of mistake once, however many loops its count makes."""
    if not any(any(entry.loops.masters) for entry in entries):
        return
    masters = {loop: master for entry in entries
               for loop, master in zip(entry.loops.ids, entry.loops.masters, strict=True)}
    learned = {loop.id for entry in entries if entry.loops.any(_is_learned)
               for loop in entry.loops if loop.laws is not None}
    known = list(masters)[:FEW]
    slaves: dict[str, str] = {}
    for entry in entries:
        place = entry.place.at("cascade")
        pairs = _led(entry)
        missing = [master for _, master in pairs if master not in masters]
        if missing:
            own = set(entry.loops.ids)
            others = [title for title in known if title not in own]
            remedy = did_you_mean(missing[0], others) if others else "the master is another loop of this file"
            place.refuse(f"there is no loop {missing[0]!r}" + _more(len(missing)), remedy)
        lawful = [master for _, master in pairs if master in learned]
        if lawful:
            place.refuse(f"{lawful[0]!r} is learned with the valve of its own" + _more(len(lawful)),
                         "name another master, or remove its [loop.learned]")
        shared = [(slave, master) for slave, master in pairs if slaves.setdefault(master, slave) != slave]
        if shared:
            master = shared[0][1]
            place.refuse(f"{master!r} is the master of {slaves[master]!r} already" + _more(len(shared)),
                         "give each slave a master of its own")
        # A loop that names itself was told where it was read.
        circular = [slave for slave, master in pairs if slave != master and _leads_back(slave, masters)]
        if circular:
            place.refuse(f"{circular[0]!r} is, through its masters, its own master" + _more(len(circular)),
                         "leave out cascade in the outermost loop")


def check_faults(entries: Sequence[LoopEntry]) -> None:
    """Each fault has what it needs: the other loop it names, a cascade to break, a valve of the loop's own."""
    if not any(entry.loops.any(lambda loop: loop.faults) for entry in entries):
        return
    ids = [loop for entry in entries for loop in entry.loops.ids]
    known = frozenset(ids)
    slaves = {master: loop for entry in entries for loop, master in _led(entry)}
    for entry in entries:
        every = entry.loops.each(lambda loop: loop.faults)
        for k in range(len(every[0])):
            place = entry.place.at(f"fault[{k + 1}]")
            told = (_fault_problem(loop, master, faults[k], known, slaves, ids)
                    for loop, master, faults in zip(entry.loops.ids, entry.loops.masters, every, strict=True))
            for key, what, remedy in filter(None, told):
                place.at(key).refuse(what, remedy)
                break  # the others of its count have the same one


def _fault_problem(loop: str, master: str | None, fault: FaultSpec, known: frozenset[str], slaves: Mapping[str, str],
                   ids: Sequence[str]) -> tuple[str, str, str] | None:
    """The key of a loop's fault that is wrong, what is, and what would be right."""
    from clpm_execd.plant.faults import FAULTS  # a plant without faults starts without the table of all kinds

    kind = FAULTS[fault.kind]
    if kind.group == "valve" and loop in slaves:
        return "kind", f"{loop!r} has no valve: its output is the set point of {slaves[loop]!r}", \
            f"give the fault to {slaves[loop]!r}"
    if fault.kind == "cascade-broken" and master is None:
        return "kind", f"{loop!r} follows no master", "give the loop a cascade, or another fault"
    for key, default in kind.defaults.items():
        other = fault.parameters.get(key)
        if default != "" or other is None:  # the parameters that must be given are the names of other loops
            continue
        if other == loop:
            return key, f"{other!r} is the loop itself", "name another loop of this file"
        if other not in known:
            others = [title for title in ids[:FEW] if title != loop]
            return key, f"there is no loop {other!r}", \
                did_you_mean(str(other), others) if others else "name another loop of this file"
    return None


def _led(entry: LoopEntry) -> list[tuple[str, str]]:
    """The slaves, each with its master."""
    pairs = zip(entry.loops.ids, entry.loops.masters, strict=True)
    return [(loop, master) for loop, master in pairs if master is not None]


def _is_learned(loop: LoopSpec) -> bool:
    return loop.laws is not None


def _leads_back(loop: str, masters: dict[str, str | None]) -> bool:
    seen: set[str] = set()
    master = masters.get(loop)
    while master is not None and master not in seen:
        if master == loop:
            return True
        seen.add(master)
        master = masters.get(master)
    return False


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""
