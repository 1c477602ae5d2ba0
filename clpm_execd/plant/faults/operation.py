"""Faults of operation, and negative controls that resemble them, stage 1.

When a fault that forced a mode ends, the loop returns to the mode that the operator chose meanwhile. A set point is
shifted on top of the operator's own moves.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import fsum, isnan
from typing import TypeVar

import numpy as np

from clpm_execd import stored_names
from clpm_execd.plant.block import AUT, CAS, MAN, Floats
from clpm_execd.plant.faults.effects import StageEffects
from clpm_execd.plant.faults.kinds import Stage
from clpm_execd.plant.faults.schedule import FaultSeverities
from clpm_execd.plant.rng import derive_stream_keys, draw_normals, draw_uniforms
from clpm_execd.plant.snapshot import OwnedRows, Tables, owned_records
from clpm_execd.plant.stages.state import State

T = TypeVar("T", int, float)

_STROKE_POSITIONS = (1.0, 0.0, -1.0, 0.0)  # of a manual stroking, one after the other, times its size
_MIN_WAIT_FRACTION = 0.5  # of the mean time between two actions: waits are uniform from half of it to one and a half
# The severities of a shutdown at which a loop goes to MAN, and at which it returns: operators take one loop after the
# other. In between the valve closes and opens by the steps that a person enters.
_TO_MANUAL, _TO_AUTOMATIC, _OP_STEP_PERCENT = (0.5, 0.8), (0.1, 0.4), 0.5
_REPEATING_KINDS = ("mode-hopping", "setpoint-moves", "manual-stroking")
_DRAWING_KINDS = ("mode-hopping", "setpoint-moves", "shutdown")
# A fault that is present, in a snapshot: the nth of its loop here. -1 and NaN stand for an absent value.
_ACTIVE_FAULT = np.dtype([("nth", np.int64), ("manual", np.bool_), ("next", np.int64), ("acted", np.int64),
                          ("rest", np.float64), ("moved", np.float64)])


class OperationFaults:
    """Changes mode, set point and manual output; faults that act repeatedly have their next action in a heap.

    shift: (N,) the shift of SP in force, % of span.
    """

    def __init__(self, schedule: FaultSeverities, state: State, seed: int) -> None:
        self._schedule, self._state = schedule, state
        faults = np.array(schedule.faults_of_stage(Stage.OPERATOR), dtype=np.intp)
        self._faults = faults[np.argsort(schedule.column[faults], kind="stable")]  # loop by loop
        self._column, self._columns = schedule.column[self._faults], schedule.columns_of(faults)
        drawing = [k for k in faults.tolist() if schedule.faults[k].kind.name in _DRAWING_KINDS]
        keys = derive_stream_keys(seed, schedule.stream_names(drawing), stored_names.OPERATION_FAULTS)
        self._keys = dict(zip(drawing, keys, strict=True))
        self._operator_mode = state.mode.copy()
        self._severity: Floats = np.zeros(len(schedule.faults))
        self._present: set[int] = set()
        self._forcing_manual: set[int] = set()  # of the faults that are present
        self._changes: list[tuple[int, int]] = []  # heap of (tick, fault)
        self._next_tick: dict[int, int] = {}
        self._action_count: dict[int, int] = {}
        self._op_before: dict[int, float] = {}  # a stroking, or a shutdown
        uniforms = draw_uniforms(keys, 0, 2)
        self._shutdown_limits = {
            k: (_TO_MANUAL[0] + float(uniforms[0, i]) * (_TO_MANUAL[1] - _TO_MANUAL[0]),
                _TO_AUTOMATIC[0] + float(uniforms[1, i]) * (_TO_AUTOMATIC[1] - _TO_AUTOMATIC[0]))
            for i, k in enumerate(drawing) if schedule.faults[k].kind.name == "shutdown"}
        self._nominal_op = state.op.copy()
        self._stays_automatic = _stays_automatic(schedule, state) if self._shutdown_limits else frozenset()
        self._sp_change: dict[int, float] = {}  # by the latest set-point move of each fault, % of span
        self._sp_effect: Floats = np.zeros(len(state.sp))
        self._effects = StageEffects(schedule, {"sp": self._sp_effect}, np.arange(len(state.sp)))
        self.shift: Floats = np.zeros(len(state.sp))

    def _find_faults(self, column: int) -> list[int]:
        """Return the indices of the faults of a loop."""
        first, last = np.searchsorted(self._column, [column, column + 1])
        faults: list[int] = self._faults[first:last].tolist()
        return faults

    def set_operator_mode(self, column: int, mode: int) -> bool:
        """Note the mode that the operator chooses, and return whether the mode of this loop is set here."""
        if not self._find_faults(column):
            return False
        self._operator_mode[column] = mode
        self._set_mode(column)
        self._set_sp(column)
        return True

    def shift_sp(self, column: int, sp: float) -> float:
        """Return the operator's set point with the shift of the faults, % of span."""
        shift = float(self.shift[column])
        return min(100.0, max(0.0, sp + shift)) if shift else sp

    def update(self) -> None:
        """Start and end faults by the severities of this scan."""
        severity = self._schedule.severity
        self._effects.apply(severity)
        before, self._severity = self._severity, severity
        with_new_severity = self._faults[severity[self._faults] != before[self._faults]]
        for column in set(self._schedule.column[with_new_severity].tolist()):
            for k in self._find_faults(column):
                if (severity[k] > 0) != (k in self._present):
                    (self._start if severity[k] > 0 else self._end)(k)
                if k in self._shutdown_limits and severity[k] > 0 and severity[k] != before[k]:
                    self._move_shutdown(k, float(severity[k]), is_rising=bool(severity[k] > before[k]))
            self._set_mode(column)
            self._set_sp(column)

    def _start(self, k: int) -> None:
        self._present.add(k)
        kind, column = self._schedule.faults[k].kind.name, int(self._schedule.column[k])
        if kind in ("manual", "manual-stroking", "maintenance"):
            self._forcing_manual.add(k)
        if kind == "manual-stroking":
            self._op_before[k] = float(self._state.op[column])
        if kind in _REPEATING_KINDS:
            self._action_count[k] = 0
            self._next_tick[k] = self._schedule.tick
            heappush(self._changes, (self._schedule.tick, k))

    def _end(self, k: int) -> None:
        self._present.discard(k)
        self._forcing_manual.discard(k)
        self._next_tick.pop(k, None)
        self._sp_change.pop(k, None)
        if k in self._op_before:
            self._set_op(int(self._schedule.column[k]), self._op_before.pop(k))

    def _move_shutdown(self, k: int, severity: float, *, is_rising: bool) -> None:
        """Take a loop to MAN and close its valve as the unit is shut down; open it and return as that is started up."""
        column, (to_manual, to_automatic) = int(self._schedule.column[k]), self._shutdown_limits[k]
        if column in self._stays_automatic:
            return
        if is_rising and severity >= to_manual:
            self._op_before.setdefault(k, float(self._state.op[column]))
            self._forcing_manual.add(k)
        elif not is_rising and severity < to_automatic:
            self._forcing_manual.discard(k)
        if k in self._forcing_manual:
            limit, op = ((to_manual, self._op_before[k]) if is_rising
                         else (to_automatic, float(self._nominal_op[column])))
            self._set_mode(column)
            if self._operator_mode[column] == CAS:  # its master waits at this set point, and takes over from it
                self._state.sp[column] = min(100.0, max(0.0, float(self._state.pv[column])))
            open_fraction = (1.0 - severity) / (1.0 - limit)
            self._set_op(column, round(op * open_fraction / _OP_STEP_PERCENT) * _OP_STEP_PERCENT)

    def holds_op(self, column: int) -> bool:
        """Whether a shutdown holds the valve of this loop, so that the operator does not move it otherwise."""
        return any(k in self._forcing_manual and k in self._shutdown_limits
                   for k in self._find_faults(column))

    def step(self) -> None:
        """Do the actions that are due at this scan."""
        tick = self._schedule.tick
        while self._changes and self._changes[0][0] <= tick:
            at, k = heappop(self._changes)
            if self._next_tick.get(k) == at:
                self._act(k)

    def _act(self, k: int) -> None:
        fault, column, tick = self._schedule.faults[k], int(self._schedule.column[k]), self._schedule.tick
        if fault.kind.name == "mode-hopping":
            self._forcing_manual ^= {k}
            self._set_mode(column)
            self._set_sp(column)
            wait = fault["dwell"] * (_MIN_WAIT_FRACTION + self._draw_uniform(k))
        elif fault.kind.name == "setpoint-moves":
            self._sp_change[k] = fault["size"] * float(draw_normals(np.array([self._keys[k]]), tick, 1)[0, 0])
            self._set_sp(column)
            wait = fault["interval"] * (_MIN_WAIT_FRACTION + self._draw_uniform(k))
        else:
            position = _STROKE_POSITIONS[self._action_count[k] % len(_STROKE_POSITIONS)]
            self._set_op(column, self._op_before[k] + position * fault["size"])
            wait = fault["dwell"]
        self._action_count[k] += 1
        self._next_tick[k] = tick + max(1, round(wait / self._schedule.scan))
        heappush(self._changes, (self._next_tick[k], k))

    def _draw_uniform(self, k: int) -> float:
        return float(draw_uniforms(np.array([self._keys[k]]), self._schedule.tick, 1)[0, 0])

    def _set_mode(self, column: int) -> None:
        mode, faults = self._operator_mode[column], self._find_faults(column)
        if any(k in self._forcing_manual for k in faults):
            mode = MAN
        elif mode == CAS and any(self._schedule.faults[k].kind.name == "cascade-broken"
                                 for k in faults if k in self._present):
            mode = AUT
        self._state.mode[column] = mode

    def _set_op(self, column: int, value: float) -> None:
        if self._state.mode[column] == MAN:
            self._state.op[column] = min(100.0, max(0.0, value))

    def _set_sp(self, column: int) -> None:
        """Shift SP from where it is, in AUT; in CAS it is the master's and in MAN it rests, until the mode changes."""
        if self._state.mode[column] != AUT:
            return
        target = self._sp_effect[column] + fsum(self._sp_change.get(k, 0.0) for k in self._find_faults(column))
        sp = self._state.sp[column]
        new_sp = sp if target == self.shift[column] else min(100.0, max(0.0, sp + (target - self.shift[column])))
        self.shift[column] += new_sp - sp
        self._state.sp[column] = new_sp

    def snapshot(self) -> Tables:
        """Return the state of the present faults and their loops."""
        active = [(column, (nth, k in self._forcing_manual, self._next_tick.get(k, -1), self._action_count.get(k, 0),
                            self._op_before.get(k, np.nan), self._sp_change.get(k, np.nan)))
                  for column in self._columns.tolist()
                  for nth, k in enumerate(self._find_faults(column)) if k in self._present]
        return {stored_names.OPERATION_CHOSEN: OwnedRows(self._columns, self._operator_mode[self._columns]),
                stored_names.OPERATION_SHIFT: OwnedRows(self._columns, self.shift[self._columns]),
                stored_names.OPERATION_ACTING: owned_records(active, _ACTIVE_FAULT)}

    def restore(self, tables: Tables) -> None:
        """Restore the state, after `update` has started the faults that are present."""
        modes, shift, active = (tables[name] for name in (
            stored_names.OPERATION_CHOSEN, stored_names.OPERATION_SHIFT, stored_names.OPERATION_ACTING))
        self._operator_mode[modes.owner] = modes.values
        self.shift[shift.owner] = shift.values
        for column, (nth, forces_manual, next_tick, count, op, sp_change) in zip(
                active.owner.tolist(), active.values.tolist(), strict=True):
            k = self._find_faults(column)[nth]
            (self._forcing_manual.add if forces_manual else self._forcing_manual.discard)(k)
            self._action_count[k] = count
            _set_or_remove(self._next_tick, k, next_tick if next_tick >= 0 else None)
            _set_or_remove(self._op_before, k, None if isnan(op) else op)
            _set_or_remove(self._sp_change, k, None if isnan(sp_change) else sp_change)
        self._changes = [(tick, k) for k, tick in self._next_tick.items()]
        heapify(self._changes)


def _stays_automatic(schedule: FaultSeverities, state: State) -> frozenset[int]:
    """Return the columns of the loops that a shutdown does not take to MAN.

    A level is kept where it is, and so is the flow that does it; a master waits while its slave is in MAN.
    """
    levels = set(np.flatnonzero(schedule.loops.where(lambda loop: loop.process.model == "integrator")).tolist())
    for slave, master in sorted(zip(state.cascades.slaves.tolist(), state.cascades.masters.tolist(), strict=True)):
        if master in levels:  # which stands before its slave
            levels.add(slave)
    return frozenset(levels.union(state.cascades.masters.tolist()))


def _set_or_remove(values: dict[int, T], k: int, value: T | None) -> None:
    """Set the value of k, or remove it where it is None."""
    values.pop(k, None)
    if value is not None:
        values[k] = value
