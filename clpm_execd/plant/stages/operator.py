"""The operator: moves of SP, OP and Mode, planned or by habit, each at its scan and whichever other loops there are.

Planned moves come from the configuration. Habits are moves of the set point at human times: a quarter of an hour
may hold one, and whether it does, when, and where to, are drawn for that quarter alone; by day it does more often
than by night. A habit of MAN takes a loop there and back: how long it stays in a mode is drawn when it gets there. A
wave turns the set point into a slow sine, for demonstrations. An SP is not taken in CAS, nor an OP outside MAN: the
controller owns them there.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import log1p
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import CAS, MAN, MODES, Floats
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.rng import draw_normals, draw_uniforms, stream_keys
from clpm_execd.plant.snapshot import LoopArrays, Tables, owned_records
from clpm_execd.plant.specs import LoopSpec, Move, OperatorSpec
from clpm_execd.plant.stages.state import State, to_percent

if TYPE_CHECKING:
    from clpm_execd.plant.faults.operation import OperationFaults

QUARTER = 900  # s
DAY = 96  # quarters
_LEAST_DWELL = 300  # s between two moves by habit
_PLANNED = np.dtype([("tick", np.int64), ("number", np.int64), ("signal", "U4"), ("value", np.float64),
                     ("ramp", np.int64)])
_RAMPED = np.dtype([("signal", "U4"), ("first", np.int64), ("last", np.int64), ("begin", np.float64),
                    ("end", np.float64)])
_LEAST_STAY = 0.2  # of the mean time in a mode: none is shorter


@dataclass(frozen=True, slots=True, order=True)
class _Act:
    """A move with its loop's index and its scans; sp in per cent. Ordered by time, then loop, then as given."""

    tick: int
    loop: int
    number: int
    signal: str
    value: float
    ramp: int = 0


@dataclass(slots=True)
class _Ramp:
    first: int
    last: int
    begin: float
    end: float

    def at(self, tick: int) -> float:
        if tick >= self.last:
            return self.end
        return self.begin + (self.end - self.begin) * (tick - self.first) / (self.last - self.first)


def _quarters(day: tuple[float, ...]) -> Floats:
    """(96,) how much oftener than on average SP is moved in each quarter of an hour of the day, from 0 h UTC."""
    shares = np.array(day)[np.arange(DAY) * len(day) // DAY]
    mean = float(shares.mean())
    return shares / mean if mean > 0.0 else shares


def _habit(operator: OperatorSpec) -> tuple[float, float]:
    """How likely a quarter of an hour holds a move of SP, on average, and how far those go."""
    return min(1.0, QUARTER / operator.interval) if operator.interval > 0 else 0.0, operator.size


class Operator(LoopArrays):
    """The operators of N loops. starts: (N,) ns, from which each loop's moves count. scan in ns.

    `tick` counts scans since 1970.
    """

    stored_arrays = stored_names.OPERATOR

    def __init__(self, loops: LoopSet, state: State, seed: int, starts: npt.NDArray[np.int64],
                 scan: int) -> None:
        self.columns = np.arange(len(loops))
        self._state, self._scan = state, scan
        self.faults: OperationFaults | None = None
        self._first = starts // scan  # the scan at the start, wherever that lies between two of them
        self._plan: list[_Act] = []
        self._ramps: dict[tuple[int, str], _Ramp] = {}
        for i in np.flatnonzero(loops.where(lambda loop: bool(loop.moves))).tolist():
            for number, move in enumerate(loops[i].moves):
                heappush(self._plan, self._act(i, number, move, loops[i], int(starts[i])))
        self._home = state.sp.copy()
        self._chance, self._size = loops.columns(lambda loop: _habit(loop.operator))
        self._next_quarter = 0 if self._chance.any() else None
        drawn = () if self._next_quarter is None else loops.ids
        self._whether, self._when, self._where = (stream_keys(seed, drawn, purpose) for purpose in (
            stored_names.OPERATOR_WHETHER, stored_names.OPERATOR_WHEN, stored_names.OPERATOR_WHERE))
        self._planned = np.full(len(loops), -1)  # the quarter whose habits are in the plan
        days = {day: k for k, day in enumerate(dict.fromkeys(loop.operator.day for loop in loops.distinct))}
        self._days = np.array([_quarters(day) for day in days])
        self._day = loops.column(lambda loop: days[loop.operator.day]).astype(np.intp)
        stays = np.flatnonzero(loops.where(lambda loop: loop.operator.automatic > 0)).tolist()
        self._stays = {i: (loops[i].operator.automatic, loops[i].operator.manual) for i in stays}
        self._stay = stream_keys(seed, loops.ids if stays else (), stored_names.OPERATOR_STAY)
        self._automatic = {
            i: MODES.index(loops[i].mode if loops[i].mode != "MAN" else "CAS" if loops[i].cascade else "AUT")
            for i in self._stays}
        for i in self._stays:
            self._plan_mode(i, int(self._first[i]), loops[i].mode == "MAN")
        self._waving = np.flatnonzero(loops.where(lambda loop: loop.operator.wave > 0))
        waves = loops.columns(lambda loop: (loop.operator.wave, loop.operator.period))
        self._wave, self._period = waves[:, self._waving]

    def _act(self, i: int, number: int, move: Move, loop: LoopSpec, start: int) -> _Act:
        at = move.at if move.from_start else move.at - start
        tick = int(self._first[i]) + -(-at // self._scan)
        ramp = -(-move.ramp // self._scan)
        if move.mode is not None:
            return _Act(tick, i, number, "mode", MODES.index(move.mode))
        if move.sp is not None:
            return _Act(tick, i, number, "sp", to_percent(move.sp, loop.range), ramp)
        return _Act(tick, i, number, "op", float(move.op or 0.0), ramp)

    def step(self, tick: int) -> None:
        """Stage 1: whatever is due at this scan."""
        if self._next_quarter is not None and tick >= self._next_quarter:
            self._plan_quarter(tick)
        while self._plan and self._plan[0].tick <= tick:
            self._do(heappop(self._plan))
        for (loop, signal), ramp in list(self._ramps.items()):
            taken = self._set(loop, signal, ramp.at(tick))
            if tick >= ramp.last or not taken:
                del self._ramps[loop, signal]
        if self._waving.size:
            phase = (tick - self._first[self._waving]) * self._scan / 1e9 / self._period
            self._state.sp[self._waving] = self._home[self._waving] + self._wave * np.sin(2.0 * np.pi * phase)
            if self.faults is not None:
                self._state.sp[self._waving] += self.faults.shift[self._waving]
        if self.faults is not None:
            self.faults.step()

    def idle(self, tick: int, most: int) -> int:
        """For how many scans from this one on, at most so many, nothing is due."""
        if self._ramps or self._waving.size or self.faults is not None:
            return 0
        due = [tick + most]
        if self._next_quarter is not None:
            due.append(self._next_quarter)
        if self._plan:
            due.append(self._plan[0].tick)
        return max(0, min(due) - tick)

    def _plan_quarter(self, tick: int) -> None:
        quarter = tick * self._scan // (QUARTER * 10**9)
        begin, end = (-(-q * QUARTER * 10**9 // self._scan) for q in (quarter, quarter + 1))
        self._next_quarter = end
        moves = draw_uniforms(self._whether, quarter, 1)[0] < self._days[self._day, quarter % DAY] * self._chance
        moved = np.flatnonzero(moves & (self._planned < quarter))
        self._planned[:] = quarter
        if not moved.size:
            return
        within = draw_uniforms(self._when[moved], quarter, 1)[0] * (1.0 - _LEAST_DWELL / QUARTER)
        far = np.clip(draw_normals(self._where[moved], quarter, 1)[0], -2.0, 2.0)
        for i, share, sigmas in zip(moved.tolist(), within.tolist(), far.tolist(), strict=True):
            at = begin + int(share * (end - begin))
            target = min(100.0, max(0.0, round(self._home[i] + sigmas * self._size[i], 1)))
            if at >= tick:
                heappush(self._plan, _Act(at, i, -1, "sp", target))

    def _plan_mode(self, i: int, tick: int, manual: bool) -> None:
        """When the habit that took a loop into MAN, or out of it, at this scan does the opposite."""
        mean = self._stays[i][manual]
        chance = float(draw_uniforms(self._stay[i:i + 1], tick, 1)[0, 0])
        stay = mean * (_LEAST_STAY - (1.0 - _LEAST_STAY) * log1p(-chance))
        scans = max(1, round(stay * 1e9 / self._scan))
        heappush(self._plan, _Act(tick + scans, i, -1, "mode", self._automatic[i] if manual else MAN))

    def _do(self, act: _Act) -> None:
        state = self._state
        if act.signal == "mode":
            if self.faults is None or not self.faults.chooses(act.loop, int(act.value)):
                state.mode[act.loop] = int(act.value)
            if act.number < 0:
                self._plan_mode(act.loop, act.tick, act.value == MAN)
            return
        self._ramps.pop((act.loop, act.signal), None)
        if act.ramp:
            begin = float((state.sp if act.signal == "sp" else state.op)[act.loop])
            self._ramps[act.loop, act.signal] = _Ramp(act.tick, act.tick + act.ramp, begin, act.value)
        else:
            self._set(act.loop, act.signal, act.value)

    def _set(self, loop: int, signal: str, value: float) -> bool:
        """Whether it was taken; what the controller owns is not, and a ramp ends there."""
        mode = self._state.mode[loop]
        if signal == "sp" and mode != CAS:
            self._state.sp[loop] = value if self.faults is None else self.faults.shifted(loop, value)
        elif signal == "op" and mode == MAN:
            self._state.op[loop] = value
        else:
            return False
        return True

    def snapshot(self) -> Tables:
        plan = [(act.loop, (act.tick, act.number, act.signal, act.value, act.ramp)) for act in self._plan]
        ramps = [(loop, (signal, ramp.first, ramp.last, ramp.begin, ramp.end))
                 for (loop, signal), ramp in self._ramps.items()]
        return {**super().snapshot(), stored_names.OPERATOR_PLAN: owned_records(plan, _PLANNED),
                stored_names.OPERATOR_RAMPS: owned_records(ramps, _RAMPED)}

    def restore(self, tables: Tables) -> None:
        super().restore(tables)
        known = set(tables["_planned"].owner.tolist())
        plan, ramps = tables[stored_names.OPERATOR_PLAN], tables[stored_names.OPERATOR_RAMPS]
        self._plan = [act for act in self._plan if act.loop not in known]
        self._plan += [_Act(tick, loop, number, signal, value, ramp) for loop, (tick, number, signal, value, ramp)
                       in zip(plan.owner.tolist(), plan.values.tolist(), strict=True)]
        heapify(self._plan)
        self._ramps |= {(loop, signal): _Ramp(*ramp) for loop, (signal, *ramp)
                        in zip(ramps.owner.tolist(), ramps.values.tolist(), strict=True)}
