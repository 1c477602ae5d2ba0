"""Few loops over a long time: loop after loop, the time loop inside, to the same bits as the stages scan after scan.

An array operation costs as much for five loops as for five hundred, so few loops that nobody disturbs run
`scan.scans` on plain numbers. Where numba is installed (extra `fast`), that same function is compiled once a run has
proven long.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np

from clpm_execd.plant.block import Floats
from clpm_execd.plant.kernel.equations import Constants, Moving, scans
from clpm_execd.plant.loop_set import Loops
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.plant.stages.controller import Controller
from clpm_execd.plant.stages.disturbance import Disturbance
from clpm_execd.plant.stages.process import Process
from clpm_execd.plant.stages.sensor import Sensor
from clpm_execd.plant.stages.state import State
from clpm_execd.plant.stages.valve import Valve

MOST = 256  # loops, above which arrays are the quicker even if this is compiled
_FEW = 24  # and if it is not
_SHORTEST = 16  # scans in one, below which the way in and out costs more than it saves
_PROVEN = 2_000_000  # loop-scans of work in bulk, two seconds: what it takes to fetch the compiled function


@cache
def _compiled() -> Any:
    """None where numba is not installed, or does not take the numpy that is."""
    try:
        from clpm_execd.plant.kernel import numba_kernel as compiled
    except ImportError:
        return None
    return compiled.scans


def by_itself(loop: LoopSpec, scan: float) -> tuple[Constants, list[float]]:
    """What `scans` takes of a loop in AUT without a master: its constants, and its ring at rest; scan in s."""
    loops = Loops.of([loop])
    state = State(loops)
    process = Process(loops, state, scan)
    stages = (Disturbance(loops, state, scan), process, Sensor(loops, state), Valve(loops, state, scan),
              Controller(loops, state, slice(0, 1), scan))
    return _constants(stages, 0), process.dead_time.ring(0)[0].tolist()


def _constants(stages: Sequence[Disturbance | Process | Sensor | Valve | Controller], i: int) -> Constants:
    constants: dict[str, Any] = {}
    for stage in stages:
        constants |= stage.constants(i)
    return Constants(**constants)


class Alone:
    """The N loops of a plant without faults, cascades and learned laws, made of the stages of its ticks."""

    def __init__(self, state: State, disturbance: Disturbance, process: Process, sensor: Sensor, valve: Valve,
                 controller: Controller) -> None:
        self._state, self._controller, self._dead_time = state, controller, process.dead_time
        self._stages = (disturbance, process, sensor, valve, controller)
        self._size = len(state.load)
        moving = {"load": state.load, "position": state.position, **controller.moving(), **process.moving()}
        self._moving = [moving[name] for name in Moving._fields]
        self._bulk = 0
        self._compiled: Any = None

    @cached_property
    def _loops(self) -> list[Constants]:
        """Of each loop; made when first lived by: a live stream never is."""
        return [_constants(self._stages, i) for i in range(self._size)]

    def expect(self, samples: int, scans: int) -> None:
        """So many are asked for at once, of so many scans each. Only who asks for many pays for a compiler."""
        self._bulk += samples * scans * self._size if samples >= _SHORTEST else 0
        if self._compiled is None and self._bulk >= _PROVEN:
            self._compiled = _compiled()

    def quicker(self, scans: int) -> bool:
        """Whether so many in one are possible now, and quicker than one by one."""
        few = self._size <= _FEW or self._compiled is not None
        return few and scans >= _SHORTEST and self._controller.free

    def live(self, noise: Floats, load: Floats) -> Floats:
        """As many scans as these have rows, (T, N) standard normal; the state's `signals` of each, (T, 5, N)."""
        signals = np.empty((len(noise), *self._state.signals.shape))
        signals[:, 0] = self._state.sp
        one = self._in_numbers if self._compiled is None else self._in_machine_code
        for i in range(self._size):
            moving = Moving(*(array[i].item() for array in self._moving))
            ring, place = self._dead_time.ring(i)
            rows, moving, place = one(i, moving, ring, place, load[:, i], noise[:, i])
            signals[:, 1:, i] = rows.T
            self._dead_time.turn(i, place)
            for array, value in zip(self._moving, moving, strict=True):
                array[i] = value
        self._state.signals[:] = signals[-1]
        return signals

    def _in_numbers(self, i: int, moving: Moving, ring: Floats, place: int, load: Floats,
                    noise: Floats) -> tuple[Floats, Moving, int]:
        flows, rows = ring.tolist(), [[0.0] * len(load) for _ in range(4)]
        sp = float(self._state.sp[i])
        moving, place = scans(self._loops[i], moving, flows, place, sp, load.tolist(), noise.tolist(), *rows)
        ring[:] = flows
        return np.array(rows), moving, place

    def _in_machine_code(self, i: int, moving: Moving, ring: Floats, place: int, load: Floats,
                         noise: Floats) -> tuple[Floats, Moving, int]:
        flows, rows, sp = ring.copy(), np.empty((4, len(load))), float(self._state.sp[i])
        moving, place = self._compiled(self._loops[i], moving, flows, place, sp, load.copy(), noise.copy(), *rows)
        ring[:] = flows
        return rows, moving, place
