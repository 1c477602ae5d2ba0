"""Learned loops: process and controller in closed loop, driven by resampled residuals of their record.

The residuals come in blocks of some samples, PV's, OP's and SP's of an instant together, so that colour, bursts and
their correlation stay. For difference equations a block starts where the record's state resembled ours, at one of the
nearest such places drawn at random, apart from each other and never where the last block ended: the joints do not show,
and nothing is replayed. The innovations of a process and a PID controller do not depend on where the loop is, and their
blocks start anywhere. What is slower than a block is in the drifts, which turn with each, and in the state by which the
blocks of a StateMatchedModel are found. Time goes by the record's own interval; between its instants everything holds.

What else moves a learned loop is as for any other: valve and faults act on the flow that its process gets, sensor
faults on the PV that its controller reads. Where the process has a transfer function and the controller is a PID, all
of their parameters act; a difference equation is scaled by gains, reset and lags that differ from those at which it was
learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, sqrt

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import MAN, Floats
from clpm_execd.plant.elementary import sum_in_order
from clpm_execd.plant.learned.block_library import make_library
from clpm_execd.plant.learned.model import STATE_LAGS
from clpm_execd.plant.loop_set import Indices
from clpm_execd.plant.rng import derive_stream_keys, draw_normals, draw_uniforms, draw_uniforms_at
from clpm_execd.plant.snapshot import LoopArrays, Tables
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.plant.stages.controller import Controller, is_direct_acting
from clpm_execd.plant.stages.process import Process
from clpm_execd.plant.stages.state import State, to_array

_MAX_DEVIATION_PERCENT = 150.0  # from the operating point, whatever the equations: nothing overflows


class LearnedLoops(LoopArrays):
    """Those of N loops that have a learned model, M of them; the last stage to be made, for it takes the loops as set.

    gain, lag: (N,) what faults make of gains and lags, arrays that they write in place.
    """

    stored_arrays = stored_names.LEARNED_LOOPS

    def __init__(self, loops: Sequence[LoopSpec], state: State, seed: int, starts: npt.NDArray[np.int64],
                 scan: int) -> None:
        """starts: (N,) ns, at which each loop starts; scan in ns."""
        self._state, self._scan = state, scan
        self.columns = np.array([i for i, loop in enumerate(loops) if loop.learned_model is not None], dtype=np.intp)
        ours = [loops[i] for i in self.columns]
        self._models = models = [loop.learned_model for loop in ours if loop.learned_model is not None]
        ids = tuple(loop.id for loop in ours)
        self._block_keys = np.stack([
            derive_stream_keys(seed, ids, purpose)
            for purpose in (stored_names.LEARNED_LENGTH, stored_names.LEARNED_PLACE)])
        self._drift_keys = np.stack([derive_stream_keys(seed, ids, purpose) for purpose in stored_names.LEARNED_DRIFTS])
        self._interval = np.array([round(model.interval * 1e9) for model in models], dtype=np.int64)
        self._instant = starts[self.columns] // scan * scan // self._interval - 1
        self._libraries = libraries = [make_library(model) for model in models]
        sizes = np.array([len(library.signals) for library in libraries], dtype=np.intp)
        self._first_row = np.cumsum(sizes) - sizes
        self._residuals = np.nan_to_num(np.concatenate([library.residuals for library in libraries]))
        self._is_repeat = np.concatenate([library.is_repeat for library in libraries])
        self._has_setpoint_model = np.array([model.setpoint.size > 0 for model in models])
        self._has_transfer_function = np.array([model.innovation.size > 0 for model in models])
        self._has_pid = np.array([model.controller_op.size == 0 for model in models])
        self._has_noise = np.array([model.controller_noise.size > 0 for model in models])
        self._some_transfer_functions, self._some_pids, self._some_noise = (
            bool(part.any()) for part in (self._has_transfer_function, self._has_pid, self._has_noise))
        self._nominal_sp, self._nominal_op = state.sp[self.columns], state.op[self.columns]
        self._nominal_pv = self._nominal_sp + to_array(model.offset for model in models)
        self.gain, self.lag = np.ones(len(loops)), np.ones(len(loops))
        self._set_coefficients(ours, scan / 1e9)
        self._initialize()

    def _set_coefficients(self, ours: Sequence[LoopSpec], scan: float) -> None:
        """Set the coefficients, (lags, M), padded to the highest order, and the settings for which they hold."""
        models, m = self._models, len(self._models)
        order = max(STATE_LAGS, *(model.order for model in models))
        self._history_samples = max(order, *(library.history_samples for library in self._libraries))

        def pad(name: str, rows: int) -> Floats:
            table = np.zeros((rows, m))
            for j, model in enumerate(models):
                values = getattr(model, name)
                table[:len(values), j] = values
            return table

        self._a, self._b, self._c, self._g = (
            pad(name, order) for name in ("process_pv", "process_op", "controller_op", "setpoint"))
        self._d, self._s = (pad(name, order + 1) for name in ("controller_pv", "controller_sp"))
        # The equation's response to a lasting error is its integral action; all else of it goes with the gain.
        self._integral_d, self._integral_s = sum_in_order(self._d), sum_in_order(self._s)
        self._static_gain = sum_in_order(self._b)
        self._d[0] -= self._integral_d
        self._s[0] -= self._integral_s
        self._innovation, (self._noise_pole,) = pad("innovation", 4), pad("controller_noise", 1)
        self._sigma = np.array([model.noise_sigma or 1.0 for model in models])
        self._drift_pole, *self._drift_sigma = pad("drift", 4)
        settings = np.array([model.settings for model in models]).T
        sign = to_array(-1.0 if is_direct_acting(loop) else 1.0 for loop in ours)
        self._learned_kp = sign * settings[0]
        self._learned_ki = self._learned_kp * np.divide(scan, settings[1], out=np.zeros(m), where=settings[1] > 0)
        self._gain_ratio = np.divide(to_array(loop.process.gain for loop in ours), settings[3], out=np.ones(m),
                                     where=settings[3] != 0)
        self._lag_ratio = np.divide(to_array(fsum(loop.process.tau) for loop in ours), settings[4], out=np.ones(m),
                                    where=settings[4] > 0)

    def _initialize(self) -> None:
        """Set the past of each loop: a random stretch of its record, its set point where the loop starts."""
        state, at, m = self._state, self.columns, len(self._models)
        self._true_pv, self._op, self._sp = (np.zeros((self._history_samples, m)) for _ in range(3))
        self._row = np.zeros(m, dtype=np.intp)
        uniform = draw_uniforms(self._block_keys[1], 0, 1)[0]
        for j, library in enumerate(self._libraries):
            self._row[j] = row = library.starts[int(uniform[j] * len(library.starts))]
            before = library.signals[row - min(row, self._history_samples):row][::-1]
            before = before[np.logical_and.accumulate(np.isfinite(before).all(axis=1))]
            for past, signal in zip((self._true_pv, self._op, self._sp), before.T, strict=True):
                past[:len(signal), j], past[len(signal):, j] = signal, signal[-1]
        for past in (self._true_pv, self._op, self._sp):
            past[:, self._has_transfer_function] = 0.0  # in balance, as its process starts
        is_operators = ~self._has_setpoint_model
        self._true_pv[:, is_operators] -= self._sp[:, is_operators]
        self._sp[:, is_operators] = 0.0
        self._pv, self._flow = self._true_pv.copy(), self._op.copy()
        self._remaining = np.zeros(m, dtype=np.intp)  # samples of the block
        self._is_due: npt.NDArray[np.bool_] = np.zeros(m, dtype=bool)
        self._output = np.clip(self._nominal_op + self._op[0], 0.0, 100.0)
        state.op[at] = np.where(state.mode[at] == MAN, self._nominal_op, self._output)
        state.position[at] = state.op[at]
        self._historian_values = np.array([
            np.where(self._has_transfer_function, state.pv[at], self._nominal_pv + self._true_pv[0]), state.op[at]])
        self._load, self._noise, self._drift_slope = np.zeros(m), np.zeros(m), np.zeros((3, m))
        self._drift = np.array(self._drift_sigma) * draw_normals(self._drift_keys.ravel(), -1, 1).reshape(3, m)
        self._residual = self._residuals[self._first_row + self._row].T

    def restore(self, tables: Tables) -> None:
        super().restore(tables)
        self._residual = self._residuals[self._first_row + self._row].T

    def disturb(self, tick: int) -> None:
        """Stage 2: whose next instant this scan is, and the residuals of that instant; SP moves by its own model."""
        instant = tick * self._scan // self._interval
        self._is_due = is_due = instant > self._instant
        self._instant = instant
        if is_due.any():
            self._advance(is_due)
        self._state.load[self.columns] += self._load

    def _advance(self, is_due: npt.NDArray[np.bool_]) -> None:
        before = self._residuals[self._first_row + self._row].T if self._some_transfer_functions else self._residual
        self._row[is_due] += 1
        self._remaining[is_due] -= 1
        at_block_end = np.flatnonzero(is_due & (self._remaining < 0))
        if at_block_end.size:
            self._start_blocks(at_block_end)
        self._residual = self._residuals[self._first_row + self._row].T
        self._drift[:, is_due] += self._drift_slope[:, is_due]
        if self._some_transfer_functions:
            pole, _, _, load_gain = self._innovation
            np.copyto(self._load, pole * self._load + load_gain * before[0],
                      where=is_due & self._has_transfer_function)
        moves = is_due & self._has_setpoint_model
        if moves.any():
            sp = sum_in_order(self._g * self._sp[:len(self._g)]) + self._residual[2] + self._drift[2]
            self._state.sp[self.columns[moves]] = np.clip(self._nominal_sp + sp, 0.0, 100.0)[moves]

    def _start_blocks(self, loops: Indices) -> None:
        """Start another block of each of these loops."""
        instants = self._instant[loops]
        uniforms = draw_uniforms_at(self._block_keys[:, loops], instants).T.tolist()
        for j, instant, (length, place) in zip(loops.tolist(), instants.tolist(), uniforms, strict=True):
            library = self._libraries[j]
            past = np.stack([self._pv[:, j], self._op[:, j], self._sp[:, j]], axis=1)
            row = library.sample_start(past, int(self._row[j]), place)
            samples = min(library.min_samples + int(length * (library.max_samples - library.min_samples + 1)),
                          int(library.run_length[row]))
            self._row[j], self._remaining[j] = row, samples - 1
            self._set_drift_slopes(j, instant, samples)

    def _set_drift_slopes(self, j: int, instant: int, samples: int) -> None:
        """Let the drifts of loop j go straight over a block to where one of first order would be at its end."""
        pole = float(np.multiply.accumulate(np.full(samples, self._drift_pole[j]))[-1])
        for k, sigma in enumerate(self._drift_sigma):
            if sigma[j]:
                normal = float(draw_normals(self._drift_keys[k, j:j + 1], instant, 1)[0, 0])
                change = sigma[j] * sqrt(1.0 - pole * pole) * normal - (1.0 - pole) * self._drift[k, j]
                self._drift_slope[k, j] = change / samples

    def measure(self) -> None:
        """Stage 3: the true process variable by difference equations; between two instants it holds."""
        state, at = self._state, self.columns
        gain, lag = self._gain_ratio * self.gain[at], self._lag_ratio * self.lag[at]
        input_effect = sum_in_order(self._b * self._flow[:len(self._b)]) + self._static_gain * state.load[at]
        pv = sum_in_order(self._a * self._true_pv[:len(self._a)]) + gain * input_effect
        pv = self._true_pv[0] + (pv - self._true_pv[0]) / lag + self._residual[0] + self._drift[0]
        pv = self._nominal_pv + np.where(
            self._is_due, np.clip(pv, -_MAX_DEVIATION_PERCENT, _MAX_DEVIATION_PERCENT), self._true_pv[0])
        state.true_pv[at] = np.where(self._has_transfer_function, state.true_pv[at], pv)

    def sense(self, normal: Floats) -> None:
        """Stage 4: put the noise of the record in place of the (N,) standard normals of these sensors."""
        normal[self.columns] = self._residual[0] / self._sigma

    def control(self, controllers: Sequence[Controller]) -> None:
        """Stage 5: OP of the loops in AUT and CAS; `controllers` are those of all loops, whose gains it takes."""
        state, at, is_due = self._state, self.columns, self._is_due
        is_automatic = state.effective_mode[at] != MAN
        pv, sp = state.pv[at] - self._nominal_pv, state.sp[at] - self._nominal_sp
        noise_move = self._residual[1]
        if self._some_noise:
            noise = np.where(is_due & self._has_noise, self._noise_pole * self._noise + self._residual[1], self._noise)
            noise_move = np.where(self._has_noise, noise - self._noise, self._residual[1])
            self._noise = noise
        if is_due.any() and not self._has_pid.all():
            kp, ki = (np.concatenate([getattr(part, name) for part in controllers])[at] for name in ("kp", "ki"))
            gain = kp / self._learned_kp
            integral_gain = np.divide(ki, self._learned_ki, out=gain.copy(), where=self._learned_ki != 0.0)
            order = len(self._c)
            op = integral_gain * (self._integral_d * pv + self._integral_s * sp)
            moves = self._d[0] * pv + self._s[0] * sp + noise_move
            moves += sum_in_order(self._d[1:] * self._pv[:order]) + sum_in_order(self._s[1:] * self._sp[:order])
            op += gain * moves + self._drift[1] + sum_in_order(self._c * self._op[:len(self._c)])
            np.copyto(self._output, np.clip(self._nominal_op + op, 0.0, 100.0), where=is_due)
        if self._some_pids:
            np.copyto(self._output, np.clip(state.op[at] + self._noise, 0.0, 100.0), where=self._has_pid)
        np.copyto(self._output, state.op[at], where=~is_automatic)
        state.op[at] = self._output
        self._deviations = pv, sp

    def step(self, flow: Floats, process: Process) -> None:
        """Stages 7 and 8: what this instant was to the next, and to the historian; flow: (N,) as `Valve.flow`."""
        is_due = self._is_due
        if not is_due.any():
            return
        state, at = self._state, self.columns
        has_innovation = is_due & self._has_transfer_function
        if has_innovation.any():
            _, x1, x2, _ = self._innovation[:, has_innovation] * self._residual[0, has_innovation]
            process.add_to_state(at[has_innovation], x1, x2)
        pv, sp = self._deviations
        now = (state.true_pv[at] - self._nominal_pv, pv, state.op[at] - self._nominal_op, sp, flow[at])
        which = slice(None) if is_due.all() else is_due  # a slice takes a third of the time
        for past, value in zip((self._true_pv, self._pv, self._op, self._sp, self._flow), now, strict=True):
            past[1:, which] = past[:-1, which]
            past[0, which] = value[which]
        is_new = ~self._is_repeat[self._first_row + self._row].T & is_due
        np.copyto(self._historian_values, np.array([state.pv[at], state.op[at]]), where=is_new)

    def record(self, pv: Floats, op: Floats) -> None:
        """Write what the historian holds of PV and OP into (N,) rows of all loops."""
        pv[self.columns], op[self.columns] = self._historian_values
