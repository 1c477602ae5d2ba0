"""Load disturbances: what moves a process besides its valve.

An Ornstein-Uhlenbeck process for each loop, exact between scans (Uhlenbeck and Ornstein, 1930), is added to the process
input behind the dead time. It starts at zero, so that a loop starts in balance. Its mean is what the throughput of the
loop's unit makes of it (stages.throughput).
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import SECOND, Floats
from clpm_execd.plant.elementary import exp
from clpm_execd.plant.kernel.equations import ou_step
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.rng import derive_stream_keys, draw_normal_pairs
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.plant.stages.state import State

if TYPE_CHECKING:
    from clpm_execd.plant.faults.load import LoadFaults
    from clpm_execd.plant.stages.coupling import Couplings
    from clpm_execd.plant.stages.throughput import Throughput


def _compute_ou_params(loop: LoopSpec, scan: float) -> tuple[float, float]:
    """Return the AR(1) coefficient and the noise gain of a scan; the load of a learned loop is in its model."""
    if loop.learned_model:
        return 0.0, 0.0
    ar1 = exp(-scan / loop.disturbance.correlation)
    return ar1, loop.disturbance.sigma * sqrt(1.0 - ar1 * ar1)


class Draws:
    """What is drawn for each scan: the noise of N sensors, and what is new in N loads. starts, scan: ns."""

    def __init__(self, loops: LoopSet, seed: int, starts: npt.NDArray[np.int64], scan: int) -> None:
        self._keys = derive_stream_keys(seed, loops.ids, stored_names.NOISE_AND_LOAD)
        self._ar1, self._load_gain = loops.columns(lambda loop: _compute_ou_params(loop, scan / SECOND))
        self._throughput: Throughput | None = None
        if loops.any(lambda loop: loop.throughput.moves_load):
            from clpm_execd.plant.stages.throughput import Throughput

            self._throughput = Throughput(loops, seed, starts, scan)

    def draw(self, first: int, n: int) -> tuple[Floats, Floats]:
        """Return standard normals of the noise, and shocks of the load, of n scans from the first on, (n, N) each."""
        noise, load = draw_normal_pairs(self._keys, first, n)
        load *= self._load_gain
        if self._throughput is not None:
            self._throughput.add_to(first, noise, load, 1.0 - self._ar1)
        return noise, load


class Disturbance:
    """The loads of N loops."""

    def __init__(self, loops: LoopSet, state: State, scan: float) -> None:
        self._state = state
        self.couplings: Couplings | None = None
        self.faults: LoadFaults | None = None
        self._ar1: Floats = loops.column(lambda loop: _compute_ou_params(loop, scan)[0])

    def loop_params(self, i: int) -> dict[str, float]:
        """Return this stage's fields of `equations.LoopParams`, of one loop."""
        return {"load_ar1": float(self._ar1[i])}

    def step(self, shock: Floats) -> None:
        """Stage 2: the load of this scan; `shock` is (N,), what is new in it."""
        if self.faults is not None:
            self.faults.remove_loads()
        if self.couplings is not None:
            self.couplings.remove_loads()
        ou_step(self._state.load, self._ar1, shock)
        if self.couplings is not None:
            self.couplings.add_loads()
        if self.faults is not None:
            self.faults.add_loads()
