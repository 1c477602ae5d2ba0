"""Learned loops: process and controller in closed loop, driven by what these left unexplained of their record.

The residuals come in blocks of 8 to 16 samples, PV's, OP's and SP's of an instant together, so that colour, bursts
and their correlation stay. For difference equations a block begins where the record's last samples resembled ours, at
one of the nearest such places drawn by chance, apart from each other and never where the last block broke off: the
joints do not show, and nothing is replayed. The innovations of a process and a controller of the loop's own do not
depend on where it is, and their blocks begin anywhere. What is slower than a block is in the drifts, which turn with
each. Time goes by the record's own interval; between its instants everything holds.

What else moves a learned loop is as for any other: valve and faults act on the flow that its process sees, sensor
faults on the PV that its controller reads. Where process and controller are the loop's own, all of their numbers act;
a difference equation is scaled by gains, reset and lags that differ from those at which it was found.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import MAN, Floats
from clpm_execd.plant.learned.model import LONGEST, RECALL, SHORTEST, Laws, stretches
from clpm_execd.plant.loop_set import Indices
from clpm_execd.plant.rng import draw_normals, draw_uniforms, draw_uniforms_at, stream_keys
from clpm_execd.plant.snapshot import LoopArrays, Tables
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.plant.stages.controller import Controller, is_direct_acting
from clpm_execd.plant.stages.process import Process
from clpm_execd.plant.stages.state import State, to_array

_NEAREST = 10  # places to begin a block at, of which one is drawn
_APART = 16  # samples from where the last block broke off, within which none begins
_PLACES = 100  # at the least that are looked at, of many every sixteenth at the most
_FURTHEST = 150.0  # per cent: no signal strays further from its rest, whatever the laws


class Archive:
    """Where a loop's blocks may begin, and what the record held there."""

    def __init__(self, laws: Laws) -> None:
        self.ahead = stretches(laws)
        self.starts = np.flatnonzero(self.ahead)
        self._anywhere = laws.innovation.size > 0
        if self._anywhere:
            return
        scale = np.nanstd(laws.signals, axis=0)
        weight = np.where(scale > 1e-9, 1.0 / np.maximum(scale, 1e-9), 0.0)
        weight[2] *= laws.setpoint.size > 0  # an operator's set point is no state
        self._weight: Floats = np.repeat(weight[None], RECALL, axis=0).ravel()
        past = np.stack([laws.signals[self.starts - k] for k in range(1, RECALL + 1)], axis=1)
        self._past: Floats = past.reshape(len(self.starts), -1) * self._weight
        self._squares: Floats = (self._past * self._past).sum(axis=1)
        self._step = min(max(len(self.starts) // _PLACES, 1), _APART)

    def begin(self, recent: Floats, broke_off: int, chance: float) -> int:
        """The row at which the next block begins; recent: (RECALL * 3,) our last samples, the latest first."""
        if self._anywhere:
            return int(self.starts[int(chance * len(self.starts))])
        # One draw says which of every so many places are looked at, and what is left of it which of them is taken.
        chance *= self._step
        looked_at = slice(int(chance), None, self._step)
        starts, past = self.starts[looked_at], self._past[looked_at]
        apart = self._squares[looked_at] - 2.0 * (past @ (recent * self._weight))
        if len(starts) > 2 * _APART // self._step + _NEAREST:
            near = np.searchsorted(starts, (broke_off - _APART + 1, broke_off + _APART))
            apart[near[0]:near[1]] = np.inf
        count = min(_NEAREST, len(apart))
        nearest = np.argpartition(apart, count - 1)[:count] if count < len(apart) else np.arange(count)
        return int(starts[np.sort(nearest)[int(chance % 1.0 * count)]])

    def near(self, recent: Floats, broke_off: npt.NDArray[np.intp], chance: Floats) -> npt.NDArray[np.intp]:
        """(K,) the same for K runs of a difference equation, (K, RECALL * 3), that are begun at once.

        chance: (1 + K,) which places are looked at is one draw for all.
        """
        looked_at = slice(int(chance[0] * self._step), None, self._step)
        starts = self.starts[looked_at]
        apart = self._squares[looked_at] - 2.0 * ((recent * self._weight) @ self._past[looked_at].T)
        if len(starts) > 2 * _APART // self._step + _NEAREST:
            apart[np.abs(starts - broke_off[:, None]) < _APART] = np.inf
        count = min(_NEAREST, len(starts))
        nearest = np.argpartition(apart, count - 1)[:, :count]
        return np.asarray(starts[nearest[np.arange(len(recent)), (chance[1:] * count).astype(np.intp)]])


class LearnedLoops(LoopArrays):
    """Those of N loops that have laws, M of them; the last stage to be built, for it takes the loops as they are."""

    stored_arrays = stored_names.LEARNED_LOOPS

    def __init__(self, loops: Sequence[LoopSpec], state: State, seed: int, starts: npt.NDArray[np.int64],
                 scan: int) -> None:
        """starts: (N,) ns, at which each loop begins; scan in ns."""
        self._state, self._scan = state, scan
        self.columns = np.array([i for i, loop in enumerate(loops) if loop.laws is not None], dtype=np.intp)
        ours = [loops[i] for i in self.columns]
        self._laws = laws = [loop.laws for loop in ours if loop.laws is not None]
        ids = tuple(loop.id for loop in ours)
        self._block_keys = np.stack([
            stream_keys(seed, ids, purpose) for purpose in (stored_names.LEARNED_LENGTH, stored_names.LEARNED_PLACE)])
        self._drift_keys = np.stack([stream_keys(seed, ids, purpose) for purpose in stored_names.LEARNED_DRIFTS])
        self._interval = np.array([round(law.interval * 1e9) for law in laws], dtype=np.int64)
        self._instant = starts[self.columns] // scan * scan // self._interval - 1
        self._archives = [Archive(law) for law in laws]
        sizes = np.array([len(law.signals) for law in laws], dtype=np.intp)
        self._offset = np.cumsum(sizes) - sizes
        self._residuals = np.nan_to_num(np.concatenate([law.residuals for law in laws]))
        self._held = np.concatenate([law.held for law in laws])
        self._wanders = np.array([law.setpoint.size > 0 for law in laws])
        self._own = np.array([law.innovation.size > 0 for law in laws])  # processes
        self._pid = np.array([law.controller_noise.size > 0 for law in laws])
        self._some_own, self._some_pid = bool(self._own.any()), bool(self._pid.any())
        self._sp_rest, self._op_rest = state.sp[self.columns], state.op[self.columns]
        self._pv_rest = self._sp_rest + to_array(law.offset for law in laws)
        # What faults make of gains and lags, (N,), written in place by those who know.
        self.gain, self.lag = np.ones(len(loops)), np.ones(len(loops))
        self._weigh(ours, scan / 1e9)
        self._start()

    def _weigh(self, ours: Sequence[LoopSpec], scan: float) -> None:
        """The coefficients, (lags, M), padded to the longest order, and the settings to which they belong."""
        laws, m = self._laws, len(self._laws)
        self._order = order = max(RECALL, *(law.order for law in laws))

        def padded(name: str, rows: int) -> Floats:
            table = np.zeros((rows, m))
            for j, law in enumerate(laws):
                values = getattr(law, name)
                table[:len(values), j] = values
            return table

        self._a, self._b, self._c, self._g = (
            padded(name, order) for name in ("process_pv", "process_op", "controller_op", "setpoint"))
        self._d, self._s = (padded(name, order + 1) for name in ("controller_pv", "controller_sp"))
        # The law's answer to a lasting error is its integral action; the rest of it goes with the gain.
        self._lasting_d, self._lasting_s = self._d.sum(axis=0), self._s.sum(axis=0)
        self._answer = self._b.sum(axis=0)
        self._d[0] -= self._lasting_d
        self._s[0] -= self._lasting_s
        self._innovation, (self._noise_pole,) = padded("innovation", 4), padded("controller_noise", 1)
        self._sigma = np.array([law.noise or 1.0 for law in laws])
        self._drift_pole, *self._drift_sigma = padded("drift", 4)
        settings = np.array([law.settings for law in laws]).T
        sign = to_array(-1.0 if is_direct_acting(loop) else 1.0 for loop in ours)
        self._kp = sign * settings[0]
        self._ki = self._kp * np.divide(scan, settings[1], out=np.zeros(m), where=settings[1] > 0)
        self._steepness = np.divide(to_array(loop.process.gain for loop in ours), settings[3], out=np.ones(m),
                                    where=settings[3] != 0)
        self._slowness = np.divide(to_array(sum(loop.process.tau) for loop in ours), settings[4], out=np.ones(m),
                                   where=settings[4] > 0)

    def _start(self) -> None:
        """The past of each loop: a stretch of its record drawn by chance, its set point where the loop starts."""
        state, at, m = self._state, self.columns, len(self._laws)
        self._true, self._op, self._sp = (np.zeros((self._order, m)) for _ in range(3))
        self._row = np.zeros(m, dtype=np.intp)
        chance = draw_uniforms(self._block_keys[1], 0, 1)[0]
        for j, (law, archive) in enumerate(zip(self._laws, self._archives, strict=True)):
            self._row[j] = row = archive.starts[int(chance[j] * len(archive.starts))]
            known = law.signals[row - min(row, self._order):row][::-1]
            known = known[np.logical_and.accumulate(np.isfinite(known).all(axis=1))]
            for past, signal in zip((self._true, self._op, self._sp), known.T, strict=True):
                past[:len(signal), j], past[len(signal):, j] = signal, signal[-1]
        for past in (self._true, self._op, self._sp):
            past[:, self._own] = 0.0  # in balance, as its process begins
        still = ~self._wanders
        self._true[:, still] -= self._sp[:, still]
        self._sp[:, still] = 0.0
        self._pv, self._flow = self._true.copy(), self._op.copy()
        self._left = np.zeros(m, dtype=np.intp)
        self._due: npt.NDArray[np.bool_] = np.zeros(m, dtype=bool)
        self._output = np.clip(self._op_rest + self._op[0], 0.0, 100.0)
        state.op[at] = np.where(state.mode[at] == MAN, self._op_rest, self._output)
        state.position[at] = state.op[at]
        self._kept = np.array([np.where(self._own, state.pv[at], self._pv_rest + self._true[0]), state.op[at]])
        self._load, self._noise, self._slope = np.zeros(m), np.zeros(m), np.zeros((3, m))
        self._drift = np.array(self._drift_sigma) * draw_normals(self._drift_keys.ravel(), -1, 1).reshape(3, m)
        self._now = self._residuals[self._offset + self._row].T

    def restore(self, tables: Tables) -> None:
        super().restore(tables)
        self._now = self._residuals[self._offset + self._row].T

    def disturb(self, tick: int) -> None:
        """Stage 2: whose next instant this scan is, and the residuals of that instant; a wandering SP moves."""
        instant = tick * self._scan // self._interval
        self._due = due = instant > self._instant
        self._instant = instant
        if due.any():
            self._advance(due)
        self._state.load[self.columns] += self._load

    def _advance(self, due: npt.NDArray[np.bool_]) -> None:
        before = self._residuals[self._offset + self._row].T if self._some_own else self._now
        self._row[due] += 1
        self._left[due] -= 1
        over = np.flatnonzero(due & (self._left < 0))
        if over.size:
            self._begin(over)
        self._now = self._residuals[self._offset + self._row].T
        self._drift[:, due] += self._slope[:, due]
        if self._some_own:
            pole, _, _, kick = self._innovation
            np.copyto(self._load, pole * self._load + kick * before[0], where=due & self._own)
        if self._some_pid:
            np.copyto(self._noise, self._noise_pole * self._noise + self._now[1], where=due & self._pid)
        moved = due & self._wanders
        if moved.any():
            moves = (self._g * self._sp).sum(axis=0) + self._now[2] + self._drift[2]
            self._state.sp[self.columns[moved]] = np.clip(self._sp_rest + moves, 0.0, 100.0)[moved]

    def _begin(self, those: Indices) -> None:
        """Another block of each of those loops."""
        instants = self._instant[those]
        chance = draw_uniforms_at(self._block_keys[:, those], instants).T.tolist()
        recent = np.stack([past[:RECALL, those] for past in (self._pv, self._op, self._sp)], axis=1)
        for k, (j, instant, (length, place)) in enumerate(zip(those.tolist(), instants.tolist(), chance, strict=True)):
            archive = self._archives[j]
            row = archive.begin(recent[..., k].ravel(), int(self._row[j]), place)
            samples = min(SHORTEST + int(length * (LONGEST - SHORTEST + 1)), int(archive.ahead[row]))
            self._row[j], self._left[j] = row, samples - 1
            self._turn(j, instant, samples)

    def _turn(self, j: int, instant: int, length: int) -> None:
        """Where the drifts of loop j go over a block: straight to where one of first order would be at its end."""
        pole = self._drift_pole[j] ** length
        for k, sigma in enumerate(self._drift_sigma):
            if sigma[j]:
                chance = float(draw_normals(self._drift_keys[k, j:j + 1], instant, 1)[0, 0])
                change = sigma[j] * (1.0 - pole * pole) ** 0.5 * chance - (1.0 - pole) * self._drift[k, j]
                self._slope[k, j] = change / length

    def measure(self) -> None:
        """Stage 3: the true process variable of those without a process of their own; between two instants it holds."""
        state, at = self._state, self.columns
        gain, lag = self._steepness * self.gain[at], self._slowness * self.lag[at]
        moved = (self._b * self._flow).sum(axis=0) + self._answer * state.load[at]
        pv = (self._a * self._true).sum(axis=0) + gain * moved
        pv = self._true[0] + (pv - self._true[0]) / lag + self._now[0] + self._drift[0]
        pv = self._pv_rest + np.where(self._due, np.clip(pv, -_FURTHEST, _FURTHEST), self._true[0])
        state.true_pv[at] = np.where(self._own, state.true_pv[at], pv)

    def sense(self, normal: Floats) -> None:
        """Stage 4: the noise of the sensors, in place of theirs of (N,) standard normals: what the record's was."""
        normal[self.columns] = self._now[0] / self._sigma

    def control(self, controllers: Sequence[Controller]) -> None:
        """Stage 5: OP of the loops in AUT and CAS, by the gains of `controllers`, which are those of all loops."""
        state, at, due = self._state, self.columns, self._due
        automatic = state.effective_mode[at] != MAN
        pv, sp = state.pv[at] - self._pv_rest, state.sp[at] - self._sp_rest
        if due.any() and not self._pid.all():
            kp, ki = (np.concatenate([getattr(part, name) for part in controllers])[at] for name in ("kp", "ki"))
            gain = kp / self._kp
            integral = np.divide(ki, self._ki, out=gain.copy(), where=self._ki != 0.0)
            op = integral * (self._lasting_d * pv + self._lasting_s * sp)
            moves = self._d[0] * pv + self._s[0] * sp + self._now[1]
            moves += (self._d[1:] * self._pv).sum(axis=0) + (self._s[1:] * self._sp).sum(axis=0)
            op += gain * moves + self._drift[1] + (self._c * self._op).sum(axis=0)
            np.copyto(self._output, np.clip(self._op_rest + op, 0.0, 100.0), where=due)
        if self._some_pid:
            np.copyto(self._output, np.clip(state.op[at] + self._noise, 0.0, 100.0), where=self._pid)
        np.copyto(self._output, state.op[at], where=~automatic)
        state.op[at] = self._output
        self._measured = pv, sp

    def step(self, flow: Floats, process: Process) -> None:
        """Stages 7 and 8: what this instant was to the next, and to the historian; flow: (N,) as `Valve.flow`."""
        due = self._due
        if not due.any():
            return
        state, at = self._state, self.columns
        own = due & self._own
        if own.any():
            _, first, second, _ = self._innovation[:, own] * self._now[0, own]
            process.add_to_state(at[own], first, second)
        pv, sp = self._measured
        now = (state.true_pv[at] - self._pv_rest, pv, state.op[at] - self._op_rest, sp, flow[at])
        those = slice(None) if due.all() else due  # in a third of the time
        for past, value in zip((self._true, self._pv, self._op, self._sp, self._flow), now, strict=True):
            past[1:, those] = past[:-1, those]
            past[0, those] = value[those]
        fresh = ~self._held[self._offset + self._row].T & due
        np.copyto(self._kept, np.array([state.pv[at], state.op[at]]), where=fresh)

    def record(self, pv: Floats, op: Floats) -> None:
        """What the historian holds of PV and OP, into (N,) rows of all loops."""
        pv[self.columns], op[self.columns] = self._kept
