"""PID controllers without bumps: u = Kp (b r - y) + integral + filtered derivative on the process variable.

The ideal, series and parallel forms are one equation after conversion (Astrom and Hagglund, 2006, section 3.2). While
OP is at a limit, the integral follows by back-calculation. In MAN it tracks OP, so that the change to AUT, and that of
a cascade, leaves OP where it was.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import CAS, MAN, Floats
from clpm_execd.plant.kernel.equations import (
    anti_windup_back_calculation,
    derivative_action,
    integrate,
    unsaturated_output,
)
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.snapshot import LoopArrays
from clpm_execd.plant.specs import ControllerSpec, LoopSpec
from clpm_execd.plant.stages.state import State
from clpm_execd.plant.tuning import tune_controller


def to_ideal_form(controller: ControllerSpec) -> tuple[float, float, float]:
    """Return (Kc, Ti, Td) of the ideal form, of a controller with all three; Ti is 0 without integral action."""
    gain, reset, derivative = controller.gain or 0.0, controller.reset or 0.0, controller.derivative or 0.0
    if controller.form == "series" and reset > 0:
        factor = 1.0 + derivative / reset
        return gain * factor, reset * factor, derivative / factor
    if controller.form == "parallel":
        return gain, gain * reset, derivative / gain
    return gain, reset, derivative


def is_direct_acting(loop: LoopSpec) -> bool:
    """Whether OP rises with the process variable."""
    if loop.controller.action is None:
        return loop.process.gain < 0
    return loop.controller.action == "direct"


def _compute_pid_params(loop: LoopSpec, scan: float) -> tuple[float, ...]:
    """Return kp, ki, kd, filter pole, anti-windup gain and set point weight, as in `equations.LoopParams`."""
    kc, ti, td = to_ideal_form(tune_controller(loop, scan))
    kp = -kc if is_direct_acting(loop) else kc
    tf = td / loop.controller.derivative_filter
    # The tracking time constant is sqrt(Ti Td), and Ti without derivative action: the rule of Astrom and Hagglund.
    anti_windup_gain = min(1.0, scan / (sqrt(ti * td) if td > 0 else ti)) if ti > 0 else 0.0
    return (kp, kp * (scan / ti) if ti > 0 else 0.0, kp * (td / (tf + scan)), tf / (tf + scan), anti_windup_gain,
            loop.controller.setpoint_weight)


class Controller(LoopArrays):
    """The controllers of one level of the cascades: the loops of `level`, a slice of all.

    kp, ki, anti_windup_gain: (M,) which faults may change in place.
    """

    stored_arrays = stored_names.CONTROLLER

    def __init__(self, loops: LoopSet, state: State, level: slice, scan: float) -> None:
        ours = loops[level]
        self._state = state
        self.columns = state.columns[level]
        self._sp, self._op, self._pv = state.sp[level], state.op[level], state.pv[level]
        self._mode, self._effective_mode = state.mode[level], state.effective_mode[level]
        self.kp, self.ki, self._kd, self._filter_pole, self.anti_windup_gain, self._setpoint_weight = ours.columns(
            lambda loop: _compute_pid_params(loop, scan))
        self._has_derivative = bool((self._kd != 0).any())
        self._has_setpoint_tracking = ours.where(lambda loop: loop.controller.setpoint_tracking)
        self._integral, self._derivative = np.zeros(len(ours)), np.zeros(len(ours))
        self._last_pv = self._pv.copy()
        self._was_manual = np.ones(len(ours), dtype=bool)  # so that the first scan leaves OP as it is
        self._none_was_manual = False  # for certain
        self._is_manual: npt.NDArray[np.bool_] | None = None  # at this scan; None where none is
        self._modes_without_manual = b""  # the modes at the last scan, if none was MAN
        self._find_cascade_links(level)

    def loop_params(self, i: int) -> dict[str, float | bool]:
        """Return this stage's fields of `equations.LoopParams`, of one loop."""
        arrays = {"setpoint_weight": self._setpoint_weight, "kp": self.kp, "ki": self.ki, "kd": self._kd,
                  "filter_pole": self._filter_pole, "anti_windup_gain": self.anti_windup_gain}
        return {"has_derivative": self._has_derivative, **{name: float(array[i]) for name, array in arrays.items()}}

    def loop_state(self) -> dict[str, Floats]:
        """Return this stage's fields of `equations.LoopState`, (N,) each."""
        return {"integral": self._integral, "derivative": self._derivative, "last_pv": self._last_pv}

    @property
    def all_in_auto(self) -> bool:
        """Whether no loop tracks its OP, nor will as long as no mode changes."""
        return self._none_was_manual and self._is_manual is None

    def rescale_integral(self, kp_before: Floats) -> None:
        """Add to the integral what the gain `kp` has changed, from (M,), so that OP does not jump."""
        self._integral += (kp_before - self.kp) * (self._setpoint_weight * self._sp - self._pv)

    def _find_cascade_links(self, level: slice) -> None:
        """Index the masters of our loops, and which of ours, from the level's start, are masters, with their slaves.

        On the first level no loop has a master, on the others each has.
        """
        masters, slaves = self._state.cascades.masters, self._state.cascades.slaves

        def is_in_level(index: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
            return np.asarray((index >= level.start) & (index < level.stop))

        is_slave, is_master = is_in_level(slaves), is_in_level(masters)
        self._its_master = masters[is_slave]
        self._master, self._its_slave = masters[is_master] - level.start, slaves[is_master]

    def step(self) -> None:
        """Stage 5: the set point in force, the PID equation, OP. Masters before slaves, all after `update_modes`."""
        if self._its_master.size:
            np.copyto(self._sp, self._state.op.take(self._its_master), where=self._effective_mode == CAS)
        if self._has_derivative:
            derivative_action(self._derivative, self._filter_pole, self._kd, self._last_pv, self._pv)
            self._last_pv[:] = self._pv
        tracks = self._find_tracking_loops()
        integrate(self._integral, self.ki if tracks is None else np.where(tracks, 0.0, self.ki), self._sp, self._pv)
        op = unsaturated_output(self._setpoint_weight, self._sp, self._pv, self.kp, self._integral)
        if self._has_derivative:
            op += self._derivative
        if tracks is None:
            op.clip(0.0, 100.0, out=self._op)
            anti_windup_back_calculation(self._integral, self._op, op, self.anti_windup_gain)
        else:
            np.copyto(self._op, op.clip(0.0, 100.0), where=~tracks)
            anti_windup_back_calculation(self._integral, self._op, op, np.where(tracks, 1.0, self.anti_windup_gain))

    def _find_tracking_loops(self) -> npt.NDArray[np.bool_] | None:
        """Return which loops track their OP, in MAN and in the first scan after it; None where none does."""
        is_manual = self._is_manual
        if is_manual is None and self._none_was_manual:
            return None
        tracks = self._was_manual if is_manual is None else is_manual | self._was_manual
        self._was_manual = np.zeros_like(tracks) if is_manual is None else is_manual
        self._none_was_manual = is_manual is None
        return tracks

    def update_modes(self) -> None:
        """Find who is in MAN, and set what follows PV or a slave there. Slaves before masters.

        A master whose slave is not in CAS waits: it is in MAN, its OP where the slave's set point is. To its own
        master it has left CAS, so that the whole of a cascade above a broken link waits.
        """
        modes = self._mode.tobytes()
        if self._master.size:
            modes += self._state.effective_mode[self._its_slave].tobytes()
        if modes == self._modes_without_manual:
            return
        self._effective_mode[:] = self._mode
        is_broken = self._state.effective_mode[self._its_slave] != CAS
        waiting = self._master[is_broken]
        self._effective_mode[waiting] = MAN
        is_manual = np.equal(self._effective_mode, MAN)
        self._is_manual, self._modes_without_manual = (is_manual, b"") if is_manual.any() else (None, modes)
        if self._is_manual is not None:
            np.copyto(self._sp, self._pv, where=is_manual & self._has_setpoint_tracking)
            self._op[waiting] = np.clip(self._state.sp[self._its_slave[is_broken]], 0.0, 100.0)
