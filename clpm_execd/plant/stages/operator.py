"""The operator: moves of SP, OP and mode, planned or by habit, each at its scan and whichever other loops there are.

Planned moves come from the configuration. Habits are moves of the set point at human times: a quarter of an hour may
hold one, and whether it does, when, and where to, are drawn for that quarter alone; by day it does more often than by
night. In MAN the same habit moves OP instead, such that PV approaches the set point, which rests. A habit of MAN takes
a loop there and back: how long it stays in a mode is drawn when it gets there. A wave turns the set point into a slow
sine, for demonstrations. An SP is not taken in CAS, nor an OP outside MAN: the controller owns them there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from heapq import heapify, heappop, heappush
from math import fsum, pi
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import CAS, MAN, MODES, Floats
from clpm_execd.plant.elementary import log, sin
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.rng import derive_stream_keys, draw_normals, draw_uniforms
from clpm_execd.plant.snapshot import LoopArrays, Tables, owned_records
from clpm_execd.plant.specs import LoopSpec, Move, OperatorSpec
from clpm_execd.plant.stages.state import State, to_percent

if TYPE_CHECKING:
    from clpm_execd.plant.faults.operation import OperationFaults

QUARTER_HOUR_SECONDS = 900
QUARTER_HOURS_PER_DAY = 96
_MIN_SECONDS_BETWEEN_MOVES = 300  # by habit; an assumption: operators wait for the effect of a move
_MIN_STAY_FRACTION = 0.2  # of the mean time in a mode; an assumption: nobody changes modes for a moment
_MAX_MOVE_SIGMAS = 2.0  # from the nominal set point, so that moves stay plausible
_WAVE_SCANS_PER_BLOCK = 64  # computed at once, which takes a tenth of the time of one by one
# Assumptions about MAN: an operator enters OP in halves of a per cent, moves it carefully, and brings a level back to
# SP within about an hour.
_OP_STEP_PERCENT, _MAX_OP_MOVE_PERCENT, _OPERATOR_HORIZON_SECONDS = 0.5, 5.0, 3600.0
_MOVE_DECIMALS = 1  # of the set points that a person enters, in % of span
_FIRST_ADDED_NUMBER = 1_000_000  # of the moves that are added: they act after the configured ones of the same scan
_PLANNED = np.dtype([("tick", np.int64), ("number", np.int64), ("signal", "U4"), ("value", np.float64),
                     ("ramp", np.int64)])
_RAMPED = np.dtype([("signal", "U4"), ("first", np.int64), ("last", np.int64), ("begin", np.float64),
                    ("end", np.float64)])


@dataclass(frozen=True, slots=True, order=True)
class _PlannedMove:
    """A move with its loop's index and its scans; sp in per cent. Ordered by time, then loop, then as configured."""

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

    def value_at(self, tick: int) -> float:
        if tick >= self.last:
            return self.end
        return self.begin + (self.end - self.begin) * (tick - self.first) / (self.last - self.first)


@lru_cache(maxsize=64)  # loops have few
def _compute_daily_profile(day: tuple[float, ...]) -> Floats:
    """Return how much oftener than on average SP is moved in each quarter of an hour from 0 h UTC, (96,)."""
    rates = np.array(day)[np.arange(QUARTER_HOURS_PER_DAY) * len(day) // QUARTER_HOURS_PER_DAY]
    mean = fsum(rates.tolist()) / len(rates)
    return rates / mean if mean > 0.0 else rates


def _compute_move_probability(operator: OperatorSpec) -> float:
    """Return how likely a quarter of an hour holds a move of SP, on average."""
    return min(1.0, QUARTER_HOUR_SECONDS / operator.interval) if operator.interval > 0 else 0.0


def _compute_gain_over_horizon(loop: LoopSpec) -> float:
    """Return what OP does to PV until the operator looks again, % of span per %."""
    gain = loop.process.gain
    return gain * _OPERATOR_HORIZON_SECONDS if loop.process.model == "integrator" else gain


class Operator(LoopArrays):
    """The operators of N loops. starts: (N,) ns, from which each loop's moves count. scan in ns.

    `tick` counts scans since 1970.
    """

    stored_arrays = stored_names.OPERATOR

    def __init__(self, loops: LoopSet, state: State, seed: int, starts: npt.NDArray[np.int64],
                 scan: int) -> None:
        self.columns = state.columns
        self._state, self._scan = state, scan
        self.faults: OperationFaults | None = None
        self._start_tick = starts // scan  # the scan at the start, wherever that lies between two of them
        self._plan: list[_PlannedMove] = []
        self._ramps: dict[tuple[int, str], _Ramp] = {}
        self._added_moves = 0
        for i in np.flatnonzero(loops.where(lambda loop: bool(loop.moves))).tolist():
            for number, move in enumerate(loops[i].moves):
                heappush(self._plan, self._plan_move(i, number, move, loops[i], int(starts[i])))
        self._nominal_sp = state.nominal_sp
        self._loops = loops  # whose parameters of the operator are needed now and then
        self._next_quarter_tick = 0 if loops.any(lambda loop: _compute_move_probability(loop.operator)) else None
        habit_ids = () if self._next_quarter_tick is None else loops.ids
        purposes = (stored_names.OPERATOR_WHETHER, stored_names.OPERATOR_WHEN, stored_names.OPERATOR_WHERE)
        self._occurrence_keys, self._time_keys, self._target_keys = (
            derive_stream_keys(seed, habit_ids, purpose) for purpose in purposes)
        self._planned_quarter = np.full(len(loops), -1)  # since 1970, whose habits are in the plan
        stays = np.flatnonzero(loops.where(lambda loop: loop.operator.automatic > 0)).tolist()
        self._mean_stays = {i: (loops[i].operator.automatic, loops[i].operator.manual) for i in stays}
        self._stay_keys = derive_stream_keys(seed, loops.ids if stays else (), stored_names.OPERATOR_STAY)
        self._automatic_mode = {
            i: MODES.index(loops[i].mode if loops[i].mode != "MAN" else "CAS" if loops[i].cascade else "AUT")
            for i in self._mean_stays}
        for i in self._mean_stays:
            self._plan_mode_change(i, int(self._start_tick[i]), loops[i].mode == "MAN")
        self._with_wave = np.flatnonzero(loops.where(lambda loop: loop.operator.wave > 0))
        waves = loops.columns(lambda loop: (loop.operator.wave, loop.operator.period))
        self._wave_amplitude, self._wave_period = waves[:, self._with_wave]
        self._waves_first, self._waves = -1, np.empty((0, len(self._with_wave)))

    def _plan_move(self, i: int, number: int, move: Move, loop: LoopSpec, start: int) -> _PlannedMove:
        at = move.at if move.from_start else move.at - start
        tick = int(self._start_tick[i]) + -(-at // self._scan)
        ramp = -(-move.ramp // self._scan)
        if move.mode is not None:
            return _PlannedMove(tick, i, number, "mode", MODES.index(move.mode))
        if move.sp is not None:
            return _PlannedMove(tick, i, number, "sp", to_percent(move.sp, loop.range), ramp)
        return _PlannedMove(tick, i, number, "op", float(move.op or 0.0), ramp)

    def step(self, tick: int) -> None:
        """Stage 1: whatever is due at this scan."""
        if self._next_quarter_tick is not None and tick >= self._next_quarter_tick:
            self._plan_quarter(tick)
        while self._plan and self._plan[0].tick <= tick:
            self._execute(heappop(self._plan))
        for (loop, signal), ramp in list(self._ramps.items()):
            is_taken = self._set_signal(loop, signal, ramp.value_at(tick))
            if tick >= ramp.last or not is_taken:
                del self._ramps[loop, signal]
        if self._with_wave.size:
            self._state.sp[self._with_wave] = self._compute_waves(tick)
            if self.faults is not None:
                self._state.sp[self._with_wave] += self.faults.shift[self._with_wave]
        if self.faults is not None:
            self.faults.step()

    def _compute_waves(self, tick: int) -> Floats:
        """Return the set points of the loops with a wave."""
        first = tick - tick % _WAVE_SCANS_PER_BLOCK
        if first != self._waves_first:
            scans = np.arange(first, first + _WAVE_SCANS_PER_BLOCK)[:, None] - self._start_tick[self._with_wave]
            phase = scans * self._scan / 1e9 / self._wave_period % 1.0
            waves = self._wave_amplitude * sin(2.0 * pi * phase)
            self._waves_first, self._waves = first, self._nominal_sp[self._with_wave] + waves
        row: Floats = self._waves[tick - first]
        return row

    def add_move(self, indices: Iterable[int], move: Move, loop: LoopSpec) -> None:
        """Plan a move, at a time, of a loop and its copies; of those at one scan the last that was added acts last."""
        self._added_moves += 1
        for i in indices:
            start = int(self._start_tick[i]) * self._scan
            heappush(self._plan, self._plan_move(i, _FIRST_ADDED_NUMBER + self._added_moves, move, loop, start))

    def idle_scans(self, tick: int, most: int) -> int:
        """Return for how many scans from this one on, at most so many, nothing is due."""
        if self._ramps or self._with_wave.size or self.faults is not None:
            return 0
        ticks = [tick + most]
        if self._next_quarter_tick is not None:
            ticks.append(self._next_quarter_tick)
        if self._plan:
            ticks.append(self._plan[0].tick)
        return max(0, min(ticks) - tick)

    def _plan_quarter(self, tick: int) -> None:
        """Plan the moves by habit of the quarter of an hour of this scan."""
        quarter = tick * self._scan // (QUARTER_HOUR_SECONDS * 10**9)
        begin, end = (-(-q * QUARTER_HOUR_SECONDS * 10**9 // self._scan) for q in (quarter, quarter + 1))
        self._next_quarter_tick = end
        rate = self._loops.column(
            lambda loop: _compute_daily_profile(loop.operator.day)[quarter % QUARTER_HOURS_PER_DAY]
            * _compute_move_probability(loop.operator))
        has_move = draw_uniforms(self._occurrence_keys, quarter, 1)[0] < rate
        loops = np.flatnonzero(has_move & (self._planned_quarter < quarter))
        self._planned_quarter[:] = quarter
        if not loops.size:
            return
        fractions = draw_uniforms(self._time_keys[loops], quarter, 1)[0] * (
            1.0 - _MIN_SECONDS_BETWEEN_MOVES / QUARTER_HOUR_SECONDS)
        sigmas = np.clip(draw_normals(self._target_keys[loops], quarter, 1)[0], -_MAX_MOVE_SIGMAS, _MAX_MOVE_SIGMAS)
        for i, fraction, sigma in zip(loops.tolist(), fractions.tolist(), sigmas.tolist(), strict=True):
            at = begin + int(fraction * (end - begin))
            size = self._loops[i].operator.size
            target = min(100.0, max(0.0, round(self._nominal_sp[i] + sigma * size, _MOVE_DECIMALS)))
            if at >= tick:
                heappush(self._plan, _PlannedMove(at, i, -1, "sp", target))

    def _plan_mode_change(self, i: int, tick: int, is_manual: bool) -> None:
        """Plan the end of a stay in MAN, or out of it, that begins at this scan."""
        mean = self._mean_stays[i][is_manual]
        uniform = float(draw_uniforms(self._stay_keys[i:i + 1], tick, 1)[0, 0])
        stay = mean * (_MIN_STAY_FRACTION - (1.0 - _MIN_STAY_FRACTION) * log(1.0 - uniform))
        scans = max(1, round(stay * 1e9 / self._scan))
        mode = self._automatic_mode[i] if is_manual else MAN
        heappush(self._plan, _PlannedMove(tick + scans, i, -1, "mode", mode))

    def _execute(self, move: _PlannedMove) -> None:
        state = self._state
        if move.signal == "mode":
            if self.faults is None or not self.faults.set_operator_mode(move.loop, int(move.value)):
                state.mode[move.loop] = int(move.value)
            if move.number < 0:
                self._plan_mode_change(move.loop, move.tick, move.value == MAN)
            return
        if move.number < 0 and state.effective_mode[move.loop] == MAN:
            self._correct_op(move.loop)
            return
        self._ramps.pop((move.loop, move.signal), None)
        if move.ramp:
            begin = float((state.sp if move.signal == "sp" else state.op)[move.loop])
            self._ramps[move.loop, move.signal] = _Ramp(move.tick, move.tick + move.ramp, begin, move.value)
        else:
            self._set_signal(move.loop, move.signal, move.value)

    def _correct_op(self, loop: int) -> None:
        """Move OP in MAN as an operator does who sees PV away from SP; SP rests, or follows PV."""
        state = self._state
        change = float(state.sp[loop] - state.pv[loop]) / _compute_gain_over_horizon(self._loops[loop])
        change = min(_MAX_OP_MOVE_PERCENT, max(-_MAX_OP_MOVE_PERCENT, change))
        steps = round((float(state.op[loop]) + change) / _OP_STEP_PERCENT)
        self._set_signal(loop, "op", min(100.0, max(0.0, steps * _OP_STEP_PERCENT)))

    def _set_signal(self, loop: int, signal: str, value: float) -> bool:
        """Return whether the value was taken; what the controller owns is not, and a ramp ends there."""
        mode = self._state.mode[loop]
        if signal == "sp" and mode != CAS:
            self._state.sp[loop] = value if self.faults is None else self.faults.shift_sp(loop, value)
        elif signal == "op" and mode == MAN and (self.faults is None or not self.faults.holds_op(loop)):
            self._state.op[loop] = value
        else:
            return False
        return True

    def snapshot(self) -> Tables:
        plan = [(move.loop, (move.tick, move.number, move.signal, move.value, move.ramp))
                for move in sorted(self._plan)]  # a heap has another order in each plant
        ramps = [(loop, (signal, ramp.first, ramp.last, ramp.begin, ramp.end))
                 for (loop, signal), ramp in self._ramps.items()]
        return {**super().snapshot(), stored_names.OPERATOR_PLAN: owned_records(plan, _PLANNED),
                stored_names.OPERATOR_RAMPS: owned_records(ramps, _RAMPED)}

    def restore(self, tables: Tables) -> None:
        super().restore(tables)
        resumed = set(tables[stored_names.OPERATOR_PLANNED_QUARTER].owner.tolist())
        plan, ramps = tables[stored_names.OPERATOR_PLAN], tables[stored_names.OPERATOR_RAMPS]
        self._plan = [move for move in self._plan if move.loop not in resumed]
        self._plan += [
            _PlannedMove(tick, loop, number, signal, value, ramp) for loop, (tick, number, signal, value, ramp)
            in zip(plan.owner.tolist(), plan.values.tolist(), strict=True)]
        heapify(self._plan)
        self._ramps |= {(loop, signal): _Ramp(*ramp) for loop, (signal, *ramp)
                        in zip(ramps.owner.tolist(), ramps.values.tolist(), strict=True)}
