"""What the loops share from stage to stage of a scan: one array for each signal, over all loops.

Everything is per cent, of span, of output or of travel. The arrays are made once and only ever written in place, so
that a stage may hold views of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import MODES, Floats
from clpm_execd.plant.loop_set import Indices, LoopSet
from clpm_execd.plant.snapshot import LoopArrays


def to_percent(value: float, limits: tuple[float, float]) -> float:
    """Return an engineering value as per cent of its range.

    Parameters
    ----------
    value
        The value in engineering units.
    limits
        Lower and upper limit of the transmitter's range, in the same units.
    """
    return (value - limits[0]) / (limits[1] - limits[0]) * 100.0


def to_array(values: Iterable[float]) -> Floats:
    """Return an array of the values."""
    return np.fromiter(values, np.float64)


class State(LoopArrays):
    """The signals of N loops at one instant, each (N,), the rows of `signals` in this order: sp op pv true_pv position.

    sp, pv, true_pv: % of span. op, position: %. load: % of travel at the process input. mode: what the operator chose.
    effective_mode: what the controller does; a master whose slave left CAS is in MAN.
    """

    stored_arrays = stored_names.STATE
    TRUE_PV_ROW, POSITION_ROW = 3, 4  # of `signals`

    def __init__(self, loops: LoopSet) -> None:
        self.columns = np.arange(len(loops))
        # One array, so that a sample of all of them is one copy.
        self.signals: Floats = np.empty((5, len(loops)))
        self.sp, self.op, self.pv, self.true_pv, self.position = self.signals
        self.sp[:] = loops.column(lambda loop: to_percent(loop.sp, loop.range))
        self.op[:] = self.position[:] = loops.column(lambda loop: loop.op)
        self.pv[:] = self.true_pv[:] = loops.column(
            lambda loop: to_percent(loop.sp if loop.pv is None else loop.pv, loop.range))
        self.load: Floats = np.zeros(len(loops))
        self.mode: npt.NDArray[np.int8] = loops.column(lambda loop: MODES.index(loop.mode)).astype(np.int8)
        self.effective_mode: npt.NDArray[np.int8] = self.mode.copy()
        self.cascades = Cascades(loops)
        masters, slaves = self.cascades.masters, self.cascades.slaves
        # A master's output is its slave's set point: the pair is in balance where the slave is.
        self.op[masters] = self.sp[slaves]
        self.position[masters] = self.true_pv[slaves]
        # In balance, wherever set points and valves go.
        self.nominal_sp, self.nominal_position = self.sp.copy(), self.position.copy()


class Cascades:
    """The cascades of N loops: `masters[i]` is the index of the loop whose OP is the SP of loop `slaves[i]`.

    depths: (N,) how many masters stand above each loop. Raises ValueError on an unknown master, two slaves of one, or
    a ring.
    """

    def __init__(self, loops: LoopSet) -> None:
        links: list[tuple[int, str]] = []
        if loops.masters.count(None) < len(loops):
            links = [(i, master) for i, master in enumerate(loops.masters) if master is not None]
        self.slaves = np.array([i for i, _ in links], dtype=np.intp)
        self.masters = np.array(_find_masters(loops, links) if links else [], dtype=np.intp)
        if len(np.unique(self.masters)) != len(links):
            raise ValueError("a master leads one slave only")
        self.depths = self._find_depths(loops)

    def _find_depths(self, loops: LoopSet) -> Indices:
        depths, master_of = np.zeros(len(loops), dtype=np.intp), np.full(len(loops), -1)
        master_of[self.slaves] = self.masters
        slave, ancestor = self.slaves, self.masters
        for _ in loops.ids:  # no chain is longer
            if not slave.size:
                return depths
            depths[slave] += 1
            has_master = master_of[ancestor] >= 0
            slave, ancestor = slave[has_master], master_of[ancestor[has_master]]
        raise ValueError(f"the cascade of {loops.ids[slave[0]]!r} leads back to itself")

    @property
    def levels(self) -> list[slice]:
        """The loops of each depth, as slices of loops that stand masters first."""
        bounds = [0, *(np.flatnonzero(np.diff(self.depths)) + 1).tolist(), len(self.depths)]
        return [slice(a, b) for a, b in pairwise(bounds)]


def _find_masters(loops: LoopSet, links: list[tuple[int, str]]) -> list[int]:
    """Return the index of the master of each of these loops, which are given with its id."""
    find, masters = loops.make_finder(), []
    for i, master in links:
        try:
            masters.append(find(i, master))
        except KeyError:
            raise ValueError(f"loop {loops.ids[i]!r} follows {master!r}, which is not a loop") from None
    return masters
