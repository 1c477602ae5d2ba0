"""The ground truth about the faults as rows of a stream: few, and the same however the stream is cut into Blocks.

A row says of one loop and kind of fault whether it is present and visible, how severe it is, and what it does. There
is a row at the start, at every change (of the severity, at every change by a hundredth of full), and at the first
sample of each minute of the clock. Several faults of one kind in one loop are one row: present where one is, and as
severe as the severest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Block, Truth
from clpm_execd.stored_names import TRUTH_KINDS, TRUTH_LOOPS, TRUTH_MINUTE, TRUTH_STATES

_HEARTBEAT_NS = 60 * 10**9  # the interface promises a row each minute
_STATES_PER_CAUSE = 1024  # more than the states of a row without one
PATH_SEPARATOR = ">"
_SEVERITY_STEPS = 100.0  # a ramp of severity from 0 to 1 has so many rows, whatever its length


@dataclass(frozen=True, slots=True)
class TruthRow:
    """The truth about a kind of fault in a loop at an instant; control: it is a negative control, never present.

    effect: in standard deviations of the loop's movement without it. cause: LOOP:KIND of another loop, or empty. path:
    where there is a cause, the loops from its own to this one. delay: on the way, s.
    """

    loop: str
    fault: str
    control: bool
    present: bool
    visible: bool
    severity: float
    effect: float = 0.0
    cause: str = ""
    path: str = ""
    delay: float = 0.0


def _make_row(truth: Truth, t: int, i: int) -> TruthRow:
    cause = int(truth.cause[t, i])
    route = truth.find_route(i, cause)
    return TruthRow(truth.loops[i], truth.kinds[i], truth.control[i], bool(truth.present[t, i]),
                    bool(truth.visible[t, i]), float(truth.severity[t, i]), float(truth.effect[t, i]),
                    truth.cause_text(cause), PATH_SEPARATOR.join(route.path), route.delay)


class TruthRows:
    """Chooses the rows of one stream, Block after Block."""

    def __init__(self) -> None:
        self._states: npt.NDArray[np.int64] | None = None  # (1, F) of the last row of each fault
        self._faults: tuple[tuple[str, str], ...] = ()  # loop and kind of each of them
        self._states_at_resume: dict[tuple[str, str], int] = {}  # the same, of the stream that this one goes on with
        self._minute = -1

    def take_due(self, block: Block) -> Iterator[tuple[int, list[TruthRow]]]:
        """Yield the instants of the Block that have rows, by their index, with their rows."""
        truth = None if block.truth is None else block.truth.merge_same_kinds()
        if truth is None or not truth.loops:
            return
        states = truth.present + 2 * truth.visible + 4 * np.rint(_SEVERITY_STEPS * truth.severity).astype(np.int64)
        states = states + _STATES_PER_CAUSE * (truth.cause + 1)
        minutes = block.times // _HEARTBEAT_NS
        faults = tuple(zip(truth.loops, truth.kinds, strict=True))
        if self._states is None or faults != self._faults:  # the first Block, or one with a fault that is new
            self._states = self._find_states_before(faults, states[0])
        previous = self._states
        is_due = states != np.concatenate([previous, states[:-1]])
        is_due |= (minutes != np.concatenate([[self._minute], minutes[:-1]]))[:, np.newaxis]
        self._states, self._minute = states[-1:], int(minutes[-1])
        for t in np.flatnonzero(is_due.any(axis=1)).tolist():
            yield t, [
                _make_row(truth, t, i) for i in np.flatnonzero(is_due[t]).tolist()]

    def _find_states_before(self, faults: tuple[tuple[str, str], ...], states: npt.NDArray[np.int64],
                       ) -> npt.NDArray[np.int64]:
        """Return the states before a Block, (1, F): of a fault without any, one that differs from its first."""
        last_states = (self._states_at_resume if self._states is None
                       else dict(zip(self._faults, self._states[0], strict=True)))
        self._faults = faults
        return np.array([[last_states.get(fault, state - 1)
                          for fault, state in zip(faults, states.tolist(), strict=True)]])

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Return the states of the last rows, as arrays by the names they have in a checkpoint."""
        # A process that is killed before its first Block passes on what it was restored from.
        states = (self._states_at_resume if self._states is None
                  else dict(zip(self._faults, self._states[0].tolist(), strict=True)))
        if not states:
            return {}
        loops, kinds = zip(*states, strict=True)
        codes = np.array([*states.values()], dtype=np.int64)
        return {TRUTH_LOOPS: np.array(loops), TRUTH_KINDS: np.array(kinds), TRUTH_STATES: codes,
                TRUTH_MINUTE: np.array([self._minute])}

    def restore(self, state: Mapping[str, npt.NDArray[Any]], loops: Collection[str]) -> None:
        """Go on with the stream of a snapshot, for these loops; the others start."""
        if TRUTH_LOOPS in state:
            rows = zip(*(state[name].tolist() for name in (TRUTH_LOOPS, TRUTH_KINDS, TRUTH_STATES)), strict=True)
            self._states_at_resume = {(loop, kind): code for loop, kind, code in rows if loop in loops}
            self._minute = int(state[TRUTH_MINUTE][0])
