"""The truth about the faults as rows of a stream: thin, and the same however the stream is cut into Blocks.

A row says of one loop and kind of fault whether it is present, whether it is visible and how severe it is. There is one
at the start, at every change (of the severity, at every change by a hundredth of full) and at the first sample of each
minute of the clock.
Several faults of one kind in one loop are one row: present where one is, and as severe as the severest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Block, Truth

HEARTBEAT = 60 * 10**9  # ns
_STEPS = 100.0  # of severity

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Row:
    """What is true of one fault at one instant; control: it is a negative control, and never present."""

    loop: str
    fault: str
    control: bool
    present: bool
    visible: bool
    severity: float


class TruthRows:
    """The rows of one stream, Block after Block."""

    def __init__(self) -> None:
        self._last: npt.NDArray[np.int64] | None = None
        self._of: tuple[tuple[str, str], ...] = ()  # loop and kind of each element of it
        self._before: dict[tuple[str, str], int] = {}  # the same, of the stream that this one goes on with
        self._minute = -1

    def due(self, block: Block) -> Iterator[tuple[int, list[Row]]]:
        """The instants of the block at which something is to be told, as its indices, and what."""
        truth = None if block.truth is None else block.truth.merged()
        if truth is None or not truth.loops:
            return
        state = truth.present + 2 * truth.visible + 4 * np.rint(_STEPS * truth.severity).astype(np.int64)
        minutes = block.times // HEARTBEAT
        last = self._began(truth, state[0]) if self._last is None else self._last
        changed = state != np.concatenate([last, state[:-1]])
        changed |= (minutes != np.concatenate([[self._minute], minutes[:-1]]))[:, np.newaxis]
        self._last, self._minute = state[-1:], int(minutes[-1])
        for t in np.flatnonzero(changed.any(axis=1)).tolist():
            yield t, [
                Row(truth.loops[i], truth.kinds[i], truth.control[i], bool(truth.present[t, i]),
                    bool(truth.visible[t, i]), float(truth.severity[t, i]))
                for i in np.flatnonzero(changed[t]).tolist()]

    def _began(self, truth: Truth, state: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """(1, F) what was told last before the first Block; what was not differs from the state."""
        self._of = tuple(zip(truth.loops, truth.kinds, strict=True))
        return np.array([[self._before.get(of, now - 1) for of, now in zip(self._of, state.tolist(), strict=True)]])

    def recall(self) -> dict[str, npt.NDArray[Any]]:
        """What was told last, as arrays by name."""
        # A process that is killed before its first Block leaves what it was told itself.
        told = self._before if self._last is None else dict(zip(self._of, self._last[0].tolist(), strict=True))
        if not told:
            return {}
        loops, kinds = zip(*told, strict=True)
        return {"loop": np.array(loops), "kind": np.array(kinds), "state": np.array([*told.values()], dtype=np.int64),
                "minute": np.array([self._minute])}

    def restore(self, told: Mapping[str, npt.NDArray[Any]], loops: Collection[str]) -> None:
        """Go on with a stream that recalled this, for these loops; the others begin."""
        if told:
            of = zip(told["loop"].tolist(), told["kind"].tolist(), told["state"].tolist(), strict=True)
            self._before = {(loop, kind): state for loop, kind, state in of if loop in loops}
            self._minute = int(told["minute"][0])
