"""Loads that other loops make: by their valves, or by their process variables, each through a gain and two lags.

A coupling belongs to the plant: users of a header draw on its pressure and feel it, and a heat exchanger joins two
temperatures. Faults that let the valve of another loop act on a process use the same equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from clpm_execd import stored_names
from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop_set import Indices, LoopSet
from clpm_execd.plant.snapshot import LoopArrays, OwnedRows, Tables
from clpm_execd.plant.stages.state import State

# Of a process variable that acts, which also stands for the valve of a cascade's master: in a ring that is unstable it
# would grow for ever. A valve moves no further anyway.
_LARGEST_MOVEMENT_PERCENT = 100.0


class Link(NamedTuple):
    """One loop acts on another. owner, other: the plant's columns of the loop with the load, and of that which acts.

    gain: load, % of travel, per movement of the other's valve, % of travel, or of its process variable, % of span.
    lag: s, of each of the two time constants.
    """

    owner: int
    other: int
    gain: float
    lag: float
    by_pv: bool = False


class CoupledLoads:
    """The loads that C links make. nominal_pv: (N,) % of span, where process variables are in balance. scan: s."""

    def __init__(self, links: Sequence[Link], state: State, nominal_pv: Floats, scan: float) -> None:
        self._owner = np.array([link.owner for link in links], dtype=np.intp)
        others = np.array([link.other for link in links], dtype=np.intp)
        by_pv = np.array([link.by_pv for link in links], dtype=bool)
        # Of all signals as one row, the valve's position or the process variable of the other loop.
        self._signals = state.signals.reshape(-1)
        size = len(state.position)
        self._at = others + size * np.where(by_pv, state.TRUE_PV_ROW, state.POSITION_ROW)
        self._nominal = np.where(by_pv, nominal_pv[others], state.nominal_position[others])
        self._gain = np.array([link.gain for link in links], dtype=np.float64)
        lag = np.array([link.lag for link in links], dtype=np.float64)
        # The implicit Euler step: exact where there is no lag, and the delay of the way is what matters of the others.
        self._fraction = scan / (scan + lag)
        self._delayed = np.flatnonzero(lag > 0.0)
        # Behind the first time constant, and behind both; a new link starts in balance with the other loop.
        self._passed: Floats = np.repeat(self._compute_movement()[:, None], 2, axis=1)

    def _compute_movement(self) -> Floats:
        """Return how far the other loops are from where they are in balance, (C,) % of travel or span."""
        movement: Floats = self._signals.take(self._at)
        movement -= self._nominal
        np.maximum(movement, -_LARGEST_MOVEMENT_PERCENT, out=movement)  # a third of the time that clip takes of few
        return np.minimum(movement, _LARGEST_MOVEMENT_PERCENT, out=movement)

    def step(self) -> Floats:
        """Return the loads of this scan, (C,) % of travel."""
        movement = self._compute_movement()
        for stage in self._passed.T:
            stage += self._fraction * (movement - stage)
            movement = stage
        load: Floats = self._gain * movement
        return load

    def snapshot(self) -> Tables:
        """Return what is on the way; without a lag nothing is."""
        delayed = self._delayed[np.argsort(self._owner[self._delayed], kind="stable")]
        if not delayed.size:
            return {}
        return {stored_names.COUPLINGS_PASSED: OwnedRows(self._owner[delayed], self._passed[delayed])}

    def restore(self, tables: Tables) -> None:
        """Restore what is on the way."""
        if not self._delayed.size:
            return
        rows = tables[stored_names.COUPLINGS_PASSED]
        for owner in np.unique(rows.owner):
            values = rows.of_loop(owner)  # of its first links: others may have been added since
            self._passed[self._delayed[self._owner[self._delayed] == owner][:len(values)]] = values


class Couplings(LoopArrays):
    """Adds the loads of the couplings of N loops to the loops' own load, which goes on as without them."""

    stored_arrays = stored_names.PROCESS_COUPLINGS

    def __init__(self, loops: LoopSet, state: State, scan: float) -> None:
        links = find_links(loops)
        self._state = state
        owners = [link.owner for link in links]
        self.columns: Indices = np.unique(np.array(owners, dtype=np.intp))
        self._elements = np.searchsorted(self.columns, owners)
        self._loads = CoupledLoads(links, state, state.sp.copy(), scan)
        self._own_load = state.load[self.columns]
        # The loops whose process variable acts, before it is computed again from the state of their process.
        self._acting: Indices = np.unique(np.array([link.other for link in links if link.by_pv], dtype=np.intp))

    def remove_loads(self) -> None:
        """Set the load to the loops' own, before that is updated."""
        self._state.load[self.columns] = self._own_load

    def add_loads(self) -> None:
        """Add the loads of the couplings, after the loops' own load is updated."""
        load = self._own_load = self._state.load[self.columns]
        load = load.copy()
        np.add.at(load, self._elements, self._loads.step())
        self._state.load[self.columns] = load

    def snapshot(self) -> Tables:
        true_pv = OwnedRows(self._acting, self._state.true_pv[self._acting])
        return {**super().snapshot(), **self._loads.snapshot(), stored_names.COUPLINGS_TRUE_PV: true_pv}

    def restore(self, tables: Tables) -> None:
        super().restore(tables)
        self._loads.restore(tables)
        true_pv = tables[stored_names.COUPLINGS_TRUE_PV]
        self._state.true_pv[true_pv.owner] = true_pv.values


def find_links(loops: LoopSet) -> list[Link]:
    """Return the links that the couplings of these loops make, in their order.

    Parameters
    ----------
    loops
        Among which all are that a coupling names.
    """
    find = loops.make_finder()
    return [Link(i, find(i, coupling.loop), coupling.gain, coupling.lag, coupling.by == "pv")
            for i in np.flatnonzero(loops.where(lambda loop: bool(loop.couplings))).tolist()
            for coupling in loops[i].couplings]
