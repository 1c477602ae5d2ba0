"""Few loops over a long time: loop after loop, the time loop inside, to the same bits as the stages scan after scan.

An array operation costs as much for five loops as for five hundred, so few loops that nobody disturbs run
`scan.scans` on plain numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clpm_execd.plant.block import Floats
from clpm_execd.plant.controller import Controller
from clpm_execd.plant.disturbance import Disturbance
from clpm_execd.plant.process import Process
from clpm_execd.plant.scan import Constants, Moving, scans
from clpm_execd.plant.sensor import Sensor
from clpm_execd.plant.state import State
from clpm_execd.plant.valve import Valve

MOST = 24  # loops, above which arrays are the quicker
_SHORTEST = 16  # scans in one, below which the way in and out costs more than it saves


class Alone:
    """The N loops of a plant without faults, cascades and learned laws, made of the stages of its ticks."""

    def __init__(self, state: State, disturbance: Disturbance, process: Process, sensor: Sensor, valve: Valve,
                 controller: Controller) -> None:
        self._state, self._controller, self._dead_time = state, controller, process.dead_time
        self._loops: list[Constants] = []
        for i in range(len(state.load)):
            constants: dict[str, Any] = {}
            for stage in (disturbance, process, sensor, valve, controller):
                constants |= stage.constants(i)
            self._loops.append(Constants(**constants))
        moving = {"load": state.load, "position": state.position, **controller.moving(), **process.moving()}
        self._moving = [moving[name] for name in Moving._fields]

    def quicker(self, scans: int) -> bool:
        """Whether so many in one are possible now, and quicker than one by one."""
        return scans >= _SHORTEST and self._controller.free

    def live(self, noise: Floats, load: Floats) -> Floats:
        """As many scans as these have rows, (T, N) standard normal; the state's `signals` of each, (T, 5, N)."""
        signals = np.empty((len(noise), *self._state.signals.shape))
        signals[:, 0] = self._state.sp
        for i in range(len(self._loops)):
            moving = Moving(*(array[i].item() for array in self._moving))
            ring, place = self._dead_time.ring(i)
            rows, moving, place = self._in_numbers(i, moving, ring, place, load[:, i], noise[:, i])
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
