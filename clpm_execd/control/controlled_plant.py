"""A plant whose loops are changed while it runs: a Source that is a function of configuration, seed and changes.

A change acts from its scan on, however the samples are cut into Blocks, and whether it is asked of a running stream or
read from a journal.
"""

from __future__ import annotations

from collections.abc import Sequence

from clpm_execd.control.changes import Change, read_change, respecify_loops
from clpm_execd.plant.block import Block
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.snapshot import Snapshot
from clpm_execd.plant.specs import FaultSpec
from clpm_execd.problems import BadInput, Problem
from clpm_execd.units import SECOND


class ControlledPlant:
    """A Source that applies changes to a plant.

    Parameters
    ----------
    plant : Plant
        The plant as it is specified at its next scan.
    loops : sequence of LoopSpec
        The loops of the plant as they are specified then.
    changes : sequence of Change
        The changes that are still to act, in order of time.

    Attributes
    ----------
    loops : tuple of str
        The ids, in the order of the Blocks' columns.
    interval : int
        Time between samples, ns.
    resumed_loops : frozenset of str
        The ids of the loops that resume from the snapshot of another source.
    """

    def __init__(self, plant: Plant, loops: LoopSet, changes: Sequence[Change] = ()) -> None:
        self._plant, self._specs = plant, loops
        self._pending = list(changes)
        self.loops, self.interval, self.resumed_loops = plant.loops, plant.interval, plant.resumed_loops

    @property
    def next_time(self) -> int:
        """The time of the next sample, ns since 1970."""
        return self._plant.next_time

    @property
    def specs(self) -> LoopSet:
        """The loops as they are specified for the last Block; another object after each change of theirs."""
        return self._specs

    @property
    def plant(self) -> Plant:
        """The plant as it is now; a change may replace it."""
        return self._plant

    def advance(self, n: int) -> Block:
        """Return the next samples, at most n: those before the next change, or behind one that is due."""
        scan = self._plant.scan
        sample = self._plant.next_time // scan * scan
        while self._pending and self._pending[0].at <= sample:
            change = self._pending.pop(0)
            self._plant.advance_to(change.at)
            self._apply(change)
        if self._pending:
            n = min(n, -(-(self._pending[0].at - sample) // self.interval))
        return self._plant.advance(n)

    def _apply(self, change: Change) -> None:
        loops = respecify_loops(self._specs, change, self._plant.scan / SECOND)
        if loops is not self._specs:
            self._specs = loops
            self._plant = self._plant.respecify(loops)
        for move in change.moves:
            self._plant.add_move(change.loop, move)

    def snapshot(self) -> Snapshot:
        """Return the state now; a change that has not acted yet is not in it."""
        return self._plant.snapshot()

    def read_request(self, request: object, now: int) -> Change:
        """Return the change that a request asks for; it acts at the first scan that is not before now, ns since 1970.

        Raises
        ------
        BadInput
            The request cannot be followed.
        """
        scan = self._plant.scan
        at = max(-(-now // scan) * scan, self._plant.next_scan)
        if self._pending:  # after those that were asked before
            at = max(at, self._pending[-1].at)
        loops = self.future_loops()
        change = read_change(request, at, loops)
        self._check_state(change, loops)
        return change

    def add(self, change: Change) -> None:
        """Take a change that `read_request` returned."""
        self._pending.append(change)

    def future_loops(self) -> LoopSet:
        """Return the loops as they are specified once all changes have acted."""
        loops = self._specs
        for change in self._pending:
            loops = respecify_loops(loops, change, self._plant.scan / SECOND)
        return loops

    def _check_state(self, change: Change, loops: LoopSet) -> None:
        """Raise BadInput if the loop is not in the state for this change."""
        loop = loops[loops.ids.index(change.loop)]
        origin = self._plant.start_of(change.loop)
        if change.fault is not None:
            kind, is_present = change.fault.kind, self._plant.present_faults(loop, change.at)
            if any(fault.kind == kind for fault, present in zip(loop.faults, is_present, strict=True) if present):
                raise BadInput([Problem(f"inject {change.loop}", f"{kind} is present already",
                                        f"end it first with `clpm-execd clear {change.loop} {kind}`")])
        elif change.is_clearing:
            kinds = list(dict.fromkeys(fault.kind for fault in loop.faults if not is_over(fault, origin, change.at)))
            if not kinds or change.kind not in (None, *kinds):
                what = f"there is no {change.kind or 'fault'} to end"
                remedy = f"it has {' and '.join(kinds)}" if kinds else "the loop is healthy"
                raise BadInput([Problem(f"clear {change.loop}", what, remedy)])
        else:
            self._check_mode(change)

    def _check_mode(self, change: Change) -> None:
        modes = [self._plant.mode_of(change.loop)]
        modes += [move.mode for earlier in (*self._pending, change) if earlier.loop == change.loop
                  for move in earlier.moves if move.mode is not None]
        where, mode = f"set {change.loop}", modes[-1]
        if any(move.sp is not None for move in change.moves) and mode == "CAS":
            raise BadInput([Problem(f"{where} sp", "in CAS, SP follows the master", "add mode=AUT")])
        if any(move.op is not None for move in change.moves) and mode != "MAN":
            raise BadInput([Problem(f"{where} op", f"in {mode}, the controller sets OP", "add mode=MAN")])


def is_over(fault: FaultSpec, origin: int, time: int) -> bool:
    """Return whether a fault is never present again.

    Parameters
    ----------
    fault : FaultSpec
    origin : int
        The start of its loop, ns since 1970.
    time : int
        ns since 1970.
    """
    start = fault.start + (origin if fault.from_start else 0)
    if fault.until is not None and fault.until <= max(time, start):  # one that ends before its start never begins
        return True
    is_single = fault.repeat is None and fault.mean_repeat is None
    return is_single and fault.duration is not None and time >= start + fault.duration
