"""What operators do that they should not, and what they do that only looks like it: stage 1.

A mode that a fault forces goes back, when it ends, to what the operator chose meanwhile; a set point is shifted
beside the operator's own moves.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import isnan
from typing import TypeVar

import numpy as np

from clpm_execd import stored_names
from clpm_execd.plant.block import AUT, CAS, MAN, Floats
from clpm_execd.plant.faults.effects import Overlays
from clpm_execd.plant.faults.schedule import Schedule
from clpm_execd.plant.rng import draw_normals, draw_uniforms, stream_keys
from clpm_execd.plant.snapshot import OwnedRows, Tables, owned_records
from clpm_execd.plant.stages.state import State

T = TypeVar("T", int, float)

_STROKES = (1.0, 0.0, -1.0, 0.0)
# Of a fault that is on, the nth of its loop here: -1 and NaN stand for what it has not.
_ACTING = np.dtype([("nth", np.int64), ("manual", np.bool_), ("next", np.int64), ("acted", np.int64),
                    ("rest", np.float64), ("moved", np.float64)])
_ACTS = ("mode-hopping", "setpoint-moves", "manual-stroking")


class OperationFaults:
    """Of the loops that have any. What acts more than once has its next act in a heap."""

    def __init__(self, schedule: Schedule, state: State, seed: int) -> None:
        self._schedule, self._state = schedule, state
        ours = schedule.of_stage(1)
        self._ours = np.array(ours, dtype=np.intp)
        self._at = schedule.where(ours)
        self._by_loop: dict[int, list[int]] = {int(c): [] for c in self._at}
        for k in ours:
            self._by_loop[int(schedule.column[k])].append(k)
        keys = stream_keys(seed, schedule.names(ours), stored_names.OPERATION_FAULTS)
        self._keys = dict(zip(ours, keys, strict=True))
        self._chosen = {column: int(state.mode[column]) for column in self._by_loop}
        self._level: Floats = np.zeros(len(schedule.faults))
        self._on: set[int] = set()
        self._manual: set[int] = set()  # of the faults that are on, those that want MAN now
        self._due: list[tuple[int, int]] = []
        self._next: dict[int, int] = {}
        self._acted: dict[int, int] = {}
        self._rest: dict[int, float] = {}  # OP before it was stroked
        self._moved: dict[int, float] = {}  # SP by the moves that are in force
        self._levels: Floats = np.zeros(len(state.sp))
        self._overlays = Overlays(schedule, {"sp": self._levels})
        self.shift: Floats = np.zeros(len(state.sp))  # (N,) of SP, in force, % of span

    def chooses(self, column: int, mode: int) -> bool:
        """The operator takes a loop to a mode; whether it is one of ours, and so is done here."""
        if column not in self._chosen:
            return False
        self._chosen[column] = mode
        self._set_mode(column)
        return True

    def shifted(self, column: int, sp: float) -> float:
        """The operator's set point with the shift of the faults, per cent of span."""
        shift = float(self.shift[column])
        return min(100.0, max(0.0, sp + shift)) if shift else sp

    def change(self) -> None:
        """The severities are others: some begin, some end."""
        level = self._schedule.level
        self._overlays.apply(level)
        changed = self._ours[level[self._ours] != self._level[self._ours]]
        self._level = level
        for column in set(self._schedule.column[changed].tolist()):
            for k in self._by_loop[column]:
                if (level[k] > 0) != (k in self._on):
                    (self._begin if level[k] > 0 else self._end)(k)
            self._set_mode(column)
            self._set_sp(column)

    def _begin(self, k: int) -> None:
        self._on.add(k)
        kind, column = self._schedule.faults[k].kind.name, int(self._schedule.column[k])
        if kind in ("manual", "manual-stroking"):
            self._manual.add(k)
        if kind == "manual-stroking":
            self._rest[k] = float(self._state.op[column])
        if kind in _ACTS:
            self._acted[k] = 0
            self._next[k] = self._schedule.tick
            heappush(self._due, (self._schedule.tick, k))

    def _end(self, k: int) -> None:
        self._on.discard(k)
        self._manual.discard(k)
        self._next.pop(k, None)
        self._moved.pop(k, None)
        if k in self._rest:
            self._set_op(int(self._schedule.column[k]), self._rest.pop(k))

    def step(self) -> None:
        """Whatever is due at this scan."""
        tick = self._schedule.tick
        while self._due and self._due[0][0] <= tick:
            at, k = heappop(self._due)
            if self._next.get(k) == at:
                self._act(k)

    def _act(self, k: int) -> None:
        fault, column, tick = self._schedule.faults[k], int(self._schedule.column[k]), self._schedule.tick
        if fault.kind.name == "mode-hopping":
            self._manual ^= {k}
            self._set_mode(column)
            wait = fault["dwell"] * (0.5 + self._chance(k))
        elif fault.kind.name == "setpoint-moves":
            self._moved[k] = fault["size"] * float(draw_normals(np.array([self._keys[k]]), tick, 1)[0, 0])
            self._set_sp(column)
            wait = fault["interval"] * (0.5 + self._chance(k))
        else:
            stroke = _STROKES[self._acted[k] % len(_STROKES)]
            self._set_op(column, self._rest[k] + stroke * fault["size"])
            wait = fault["dwell"]
        self._acted[k] += 1
        self._next[k] = tick + max(1, round(wait / self._schedule.scan))
        heappush(self._due, (self._next[k], k))

    def _chance(self, k: int) -> float:
        return float(draw_uniforms(np.array([self._keys[k]]), self._schedule.tick, 1)[0, 0])

    def _set_mode(self, column: int) -> None:
        mode, ours = self._chosen[column], self._by_loop[column]
        if any(k in self._manual for k in ours):
            mode = MAN
        elif mode == CAS and any(k in self._on for k in ours if self._schedule.faults[k].kind.name == "cascade-broken"):
            mode = AUT
        self._state.mode[column] = mode

    def _set_op(self, column: int, value: float) -> None:
        if self._state.mode[column] == MAN:
            self._state.op[column] = min(100.0, max(0.0, value))

    def _set_sp(self, column: int) -> None:
        """Shift SP from where it is; in CAS it is the master's, and a shift shows when it is the operator's again."""
        if self._state.mode[column] == CAS:
            return
        wanted = self._levels[column] + sum(self._moved.get(k, 0.0) for k in self._by_loop[column])
        sp = self._state.sp[column]
        shifted = sp if wanted == self.shift[column] else min(100.0, max(0.0, sp + (wanted - self.shift[column])))
        self.shift[column] += shifted - sp
        self._state.sp[column] = shifted

    def snapshot(self) -> Tables:
        chosen = np.array([self._chosen[column] for column in self._at.tolist()], dtype=np.int8)
        acting = [(column, (nth, k in self._manual, self._next.get(k, -1), self._acted.get(k, 0),
                            self._rest.get(k, np.nan), self._moved.get(k, np.nan)))
                  for column, ours in self._by_loop.items() for nth, k in enumerate(ours) if k in self._on]
        return {stored_names.OPERATION_CHOSEN: OwnedRows(self._at, chosen),
                stored_names.OPERATION_SHIFT: OwnedRows(self._at, self.shift[self._at]),
                stored_names.OPERATION_ACTING: owned_records(acting, _ACTING)}

    def restore(self, tables: Tables) -> None:
        chosen, shift, acting = (tables[name] for name in (
            stored_names.OPERATION_CHOSEN, stored_names.OPERATION_SHIFT, stored_names.OPERATION_ACTING))
        self._chosen |= dict(zip(chosen.owner.tolist(), chosen.values.tolist(), strict=True))
        self.shift[shift.owner] = shift.values
        for column, (nth, manual, at, acted, rest, moved) in zip(
                acting.owner.tolist(), acting.values.tolist(), strict=True):
            k = self._by_loop[column][nth]
            (self._manual.add if manual else self._manual.discard)(k)
            self._acted[k] = acted
            _put(self._next, k, at if at >= 0 else None)
            _put(self._rest, k, None if isnan(rest) else rest)
            _put(self._moved, k, None if isnan(moved) else moved)
        self._due = [(at, k) for k, at in self._next.items()]
        heapify(self._due)


def _put(into: dict[int, T], k: int, value: T | None) -> None:
    """Under k this value, or none."""
    into.pop(k, None)
    if value is not None:
        into[k] = value
