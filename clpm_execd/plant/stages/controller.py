"""PID controllers that never bump: u = Kp (b r - y) + integral + filtered derivative on the process variable.

The ideal, series and parallel forms are one law after conversion (Astrom and Hagglund, 2006, section 3.2). The
integral is wound back by back-calculation while OP is at a limit. In MAN it tracks, so that the change to AUT, and
that of a cascade, leaves OP where it was.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import CAS, MAN, Floats
from clpm_execd.plant.kernel.equations import asked, reset, slope, unwound
from clpm_execd.plant.loop_set import Loops
from clpm_execd.plant.snapshot import Columns
from clpm_execd.plant.specs import ControllerSpec, LoopSpec
from clpm_execd.plant.stages.state import State
from clpm_execd.plant.tuning import tuned


def ideal(controller: ControllerSpec) -> tuple[float, float, float]:
    """(Kc, Ti, Td) of the ideal form; Ti is 0 without integral action. Gain, reset and derivative must be set."""
    gain, reset, derivative = controller.gain or 0.0, controller.reset or 0.0, controller.derivative or 0.0
    if controller.form == "series" and reset > 0:
        factor = 1.0 + derivative / reset
        return gain * factor, reset * factor, derivative / factor
    if controller.form == "parallel":
        return gain, gain * reset, derivative / gain
    return gain, reset, derivative


def acts_directly(loop: LoopSpec) -> bool:
    """Whether OP rises with the process variable."""
    if loop.controller.action is None:
        return loop.process.gain < 0
    return loop.controller.action == "direct"


def _law(loop: LoopSpec, scan: float) -> tuple[float, ...]:
    """kp, ki, kd, fade, unwind and weight of `scan.Constants`."""
    kc, ti, td = ideal(tuned(loop, scan))
    kp = -kc if acts_directly(loop) else kc
    tf = td / loop.controller.derivative_filter
    unwind = min(1.0, scan / (sqrt(ti * td) if td > 0 else ti)) if ti > 0 else 0.0
    return (kp, kp * (scan / ti) if ti > 0 else 0.0, kp * (td / (tf + scan)), tf / (tf + scan), unwind,
            loop.controller.setpoint_weight)


class Controller(Columns):
    """The controllers of one level of the cascades: the loops of `level`, a slice of all."""

    stored_arrays = stored_names.CONTROLLER

    def __init__(self, loops: Loops, state: State, level: slice, scan: float) -> None:
        ours = loops[level]
        self._state = state
        self.columns = np.arange(level.start, level.stop)
        self._sp, self._op, self._pv = state.sp[level], state.op[level], state.pv[level]
        self._mode, self._shown = state.mode[level], state.shown_mode[level]
        self.kp, self.ki, self._kd, self._fade, self.unwind, self._weight = ours.columns(lambda loop: _law(loop, scan))
        self._derives = bool((self._kd != 0).any())
        self._follows = ours.where(lambda loop: loop.controller.setpoint_tracking)
        self._integral, self._derivative = np.zeros(len(ours)), np.zeros(len(ours))
        self._last_pv = self._pv.copy()
        self._held = np.ones(len(ours), dtype=bool)  # the first scan takes OP over as it is
        self._free = False  # whether nobody is held, for certain
        self._manual: npt.NDArray[np.bool_] | None = None  # who is in MAN at this scan; None: nobody
        self._seen = b""  # the modes with which nobody was
        self._cascade(level)

    def constants(self, i: int) -> dict[str, float | bool]:
        """Those of `scan.Constants` that are this stage's, of one loop."""
        arrays = {"weight": self._weight, "kp": self.kp, "ki": self.ki, "kd": self._kd, "fade": self._fade,
                  "unwind": self.unwind}
        return {"derives": self._derives, **{name: float(array[i]) for name, array in arrays.items()}}

    def moving(self) -> dict[str, Floats]:
        """Those of `scan.Moving` that are this stage's, (N,) each."""
        return {"integral": self._integral, "derivative": self._derivative, "last_pv": self._last_pv}

    @property
    def free(self) -> bool:
        """Whether nobody's OP is held, nor will be as long as no mode changes."""
        return self._free and self._manual is None

    def take_over(self, before: Floats) -> None:
        """The gain `kp` was `before`, (N,): the integral takes the difference, so that OP does not jump."""
        self._integral += (before - self.kp) * (self._weight * self._sp - self._pv)

    def _cascade(self, level: slice) -> None:
        """Which of ours are slaves, and whose; which are masters, and of whom: (ours, all) index pairs."""
        masters, slaves = self._state.cascades.masters, self._state.cascades.slaves

        def within(index: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
            return np.asarray((index >= level.start) & (index < level.stop))

        led, leads = within(slaves), within(masters)
        self._slave, self._its_master = slaves[led] - level.start, masters[led]
        self._master, self._its_slave = masters[leads] - level.start, slaves[leads]

    def step(self) -> None:
        """Stage 5: the set point in force, the law, its limits, OP. Masters before their slaves, all after `modes`."""
        if self._slave.size:
            led = self._shown[self._slave] == CAS
            self._sp[self._slave[led]] = self._state.op[self._its_master[led]]
        if self._derives:
            slope(self._derivative, self._fade, self._kd, self._last_pv, self._pv)
            self._last_pv[:] = self._pv
        held = self._who_is_held()
        reset(self._integral, self.ki if held is None else np.where(held, 0.0, self.ki), self._sp, self._pv)
        wanted = asked(self._weight, self._sp, self._pv, self.kp, self._integral)
        if self._derives:
            wanted += self._derivative
        if held is None:
            wanted.clip(0.0, 100.0, out=self._op)
            unwound(self._integral, self._op, wanted, self.unwind)
        else:
            np.copyto(self._op, wanted.clip(0.0, 100.0), where=~held)
            unwound(self._integral, self._op, wanted, np.where(held, 1.0, self.unwind))

    def _who_is_held(self) -> npt.NDArray[np.bool_] | None:
        """Whose OP stays as it is at this scan: in MAN, and in the first scan after it; None for nobody."""
        manual = self._manual
        if manual is None and self._free:
            return None
        held = self._held if manual is None else manual | self._held
        self._held = np.zeros_like(held) if manual is None else manual
        self._free = manual is None
        return held

    def modes(self) -> None:
        """Who is in MAN: the set points that follow PV, and OP of masters that wait. Slaves before their masters.

        A master whose slave is not in CAS waits: it is in MAN, its OP where the slave's set point is. To its own
        master it has left CAS, so that the whole of a cascade above a broken link waits.
        """
        modes = self._mode.tobytes()
        if self._master.size:
            modes += self._state.shown_mode[self._its_slave].tobytes()
        if modes == self._seen:
            return
        self._shown[:] = self._mode
        broken = self._state.shown_mode[self._its_slave] != CAS
        waiting = self._master[broken]
        self._shown[waiting] = MAN
        manual = np.equal(self._shown, MAN)
        self._manual, self._seen = (manual, b"") if manual.any() else (None, modes)
        if self._manual is not None:
            np.copyto(self._sp, self._pv, where=manual & self._follows)
            self._op[waiting] = np.clip(self._state.sp[self._its_slave[broken]], 0.0, 100.0)
