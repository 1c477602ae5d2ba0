"""What the loops share from stage to stage of a tick: one array a signal, over all loops.

Everything is per cent, of span, of output or of travel. The arrays are made once and only ever written in place, so
that a stage may keep views of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import MODES, Floats
from clpm_execd.plant.loop_set import Indices, Loops
from clpm_execd.plant.snapshot import LoopArrays


def percent(value: float, span: tuple[float, float]) -> float:
    """An engineering value as per cent of its range."""
    return (value - span[0]) / (span[1] - span[0]) * 100.0


def column(values: Iterable[float]) -> Floats:
    """(M,) an array of the values, one a loop."""
    return np.fromiter(values, np.float64)


class State(LoopArrays):
    """The signals of N loops at one instant, each (N,), the rows of `signals` in this order: sp op pv true_pv position.

    sp, pv, true_pv: per cent of span. op, position: per cent. load: per cent of travel at the process input.
    mode: what the operator chose; effective_mode: what the controller does (a master whose slave left CAS is in MAN).
    """

    stored_arrays = stored_names.STATE

    def __init__(self, loops: Loops) -> None:
        self.columns = np.arange(len(loops))
        # One array, so that a sample of all of them is one copy.
        self.signals: Floats = np.empty((5, len(loops)))
        self.sp, self.op, self.pv, self.true_pv, self.position = self.signals
        self.sp[:] = loops.column(lambda loop: percent(loop.sp, loop.range))
        self.op[:] = self.position[:] = loops.column(lambda loop: loop.op)
        self.pv[:] = self.true_pv[:] = loops.column(
            lambda loop: percent(loop.sp if loop.pv is None else loop.pv, loop.range))
        self.load: Floats = np.zeros(len(loops))
        self.mode: npt.NDArray[np.int8] = loops.column(lambda loop: MODES.index(loop.mode)).astype(np.int8)
        self.effective_mode: npt.NDArray[np.int8] = self.mode.copy()
        self.cascades = Cascades(loops)
        masters, slaves = self.cascades.masters, self.cascades.slaves
        # A master's output is its slave's set point: the pair is in balance where the slave rests.
        self.op[masters] = self.sp[slaves]
        self.position[masters] = self.true_pv[slaves]


class Cascades:
    """Who leads whom: `masters[i]` is the index of the loop whose OP is the SP of loop `slaves[i]`.

    depths: (N,) how many masters stand above each loop. Raises ValueError on an unknown master, two slaves of one, or
    a ring.
    """

    def __init__(self, loops: Loops) -> None:
        led: list[tuple[int, str]] = []
        if loops.masters.count(None) < len(loops):
            led = [(i, master) for i, master in enumerate(loops.masters) if master is not None]
        if len({master for _, master in led}) != len(led):
            raise ValueError("a master leads one slave only")
        index = {loop: i for i, loop in enumerate(loops.ids)} if led else {}
        for i, master in led:
            if master not in index:
                raise ValueError(f"loop {loops.ids[i]!r} follows {master!r}, which is not a loop")
        self.slaves = np.array([i for i, _ in led], dtype=np.intp)
        self.masters = np.array([index[master] for _, master in led], dtype=np.intp)
        self.depths = self._depths(loops)

    def _depths(self, loops: Loops) -> Indices:
        depths, above = np.zeros(len(loops), dtype=np.intp), np.full(len(loops), -1)
        above[self.slaves] = self.masters
        at, master = self.slaves, self.masters
        for _ in loops.ids:  # no chain is longer
            if not at.size:
                return depths
            depths[at] += 1
            further = above[master] >= 0
            at, master = at[further], above[master[further]]
        raise ValueError(f"the cascade of {loops.ids[at[0]]!r} leads back to itself")

    @property
    def levels(self) -> list[slice]:
        """Of loops that stand masters first, those of each depth."""
        bounds = [0, *(np.flatnonzero(np.diff(self.depths)) + 1).tolist(), len(self.depths)]
        return [slice(a, b) for a, b in pairwise(bounds)]
