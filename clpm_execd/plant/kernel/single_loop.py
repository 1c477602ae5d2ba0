"""Few loops over a long time: one loop after another, the time loop inside, with the bits of the stages.

An array operation costs as much for five loops as for five hundred, so few loops that nothing disturbs run
`equations.simulate_scans` on plain numbers. Where numba is installed (extra `fast`), that same function is compiled
once a run has proven long.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np

from clpm_execd.plant.block import Floats
from clpm_execd.plant.kernel.equations import LoopParams, LoopState, simulate_scans
from clpm_execd.plant.stages.controller import Controller
from clpm_execd.plant.stages.disturbance import Disturbance
from clpm_execd.plant.stages.process import Process
from clpm_execd.plant.stages.sensor import Sensor
from clpm_execd.plant.stages.state import State
from clpm_execd.plant.stages.valve import Valve

# Measured in microseconds per scan: 16 loops take 17 in arrays and 14 in Python, 24 loops 19 and 23; 128 loops take 25
# in arrays and 23 compiled, 192 loops 29 and 54.
MAX_ENGINE_LOOPS = 128  # above which arrays are quicker even than compiled code
MAX_LOOPS_INTERPRETED = 20  # above which arrays are quicker than plain Python
MIN_SCANS = 16  # in one go, below which copying a loop's state to and fro costs more than is saved
MIN_LOOP_SCANS_TO_COMPILE = 2_000_000  # of simulation, two seconds in Python: what loading the compiled function takes


@cache
def _load_compiled() -> Any:
    """Return the compiled function; None where numba is not installed, or does not support the numpy that is."""
    try:
        from clpm_execd.plant.kernel import numba_kernel
    except ImportError:
        return None
    return numba_kernel.simulate_scans


def _loop_params(stages: Sequence[Disturbance | Process | Sensor | Valve | Controller], i: int) -> LoopParams:
    params: dict[str, Any] = {}
    for stage in stages:
        params |= stage.loop_params(i)
    return LoopParams(**params)


class SingleLoopEngine:
    """The N loops of a plant without faults, cascades and learned loops, on the arrays of its stages."""

    def __init__(self, state: State, disturbance: Disturbance, process: Process, sensor: Sensor, valve: Valve,
                 controller: Controller) -> None:
        self._state, self._controller, self._dead_time = state, controller, process.dead_time
        self._stages = (disturbance, process, sensor, valve, controller)
        self._size = len(state.load)
        arrays = {"load": state.load, "position": state.position, **controller.loop_state(), **process.loop_state()}
        self._state_arrays = [arrays[name] for name in LoopState._fields]
        self._loop_scans = 0
        self._compiled: Any = None

    @cached_property
    def _loops(self) -> list[LoopParams]:
        """The parameters of each loop; made at the first use, which a live stream never comes to."""
        return [_loop_params(self._stages, i) for i in range(self._size)]

    def note_request(self, samples: int, scans: int) -> None:
        """Take note that so many samples are asked for at once, of so many scans each; enough of them compile."""
        self._loop_scans += samples * scans * self._size if samples >= MIN_SCANS else 0
        if self._compiled is None and self._loop_scans >= MIN_LOOP_SCANS_TO_COMPILE:
            self._compiled = _load_compiled()

    def is_quicker(self, scans: int) -> bool:
        """Whether so many scans in one go are possible now, and quicker than one by one."""
        few = self._size <= MAX_LOOPS_INTERPRETED or self._compiled is not None
        return few and scans >= MIN_SCANS and self._controller.all_in_auto

    def simulate(self, noise: Floats, load: Floats) -> Floats:
        """Simulate as many scans as these standard normals have rows, (T, N); the signals of each, (T, 5, N)."""
        signals = np.empty((len(noise), *self._state.signals.shape))
        signals[:, 0] = self._state.sp
        simulate = self._simulate_in_python if self._compiled is None else self._simulate_compiled
        for i in range(self._size):
            state = LoopState(*(array[i].item() for array in self._state_arrays))
            delay_line, head = self._dead_time.delay_line(i)
            rows, state, head = simulate(i, state, delay_line, head, load[:, i], noise[:, i])
            signals[:, 1:, i] = rows.T
            self._dead_time.set_head(i, head)
            for array, value in zip(self._state_arrays, state, strict=True):
                array[i] = value
        self._state.signals[:] = signals[-1]
        return signals

    def _simulate_in_python(self, i: int, state: LoopState, delay_line: Floats, head: int, load: Floats,
                            noise: Floats) -> tuple[Floats, LoopState, int]:
        flows, rows = delay_line.tolist(), [[0.0] * len(load) for _ in range(4)]
        sp = float(self._state.sp[i])
        state, head = simulate_scans(self._loops[i], state, flows, head, sp, load.tolist(), noise.tolist(), *rows)
        delay_line[:] = flows
        return np.array(rows), state, head

    def _simulate_compiled(self, i: int, state: LoopState, delay_line: Floats, head: int, load: Floats,
                           noise: Floats) -> tuple[Floats, LoopState, int]:
        flows, rows, sp = delay_line.copy(), np.empty((4, len(load))), float(self._state.sp[i])
        state, head = self._compiled(self._loops[i], state, flows, head, sp, load.copy(), noise.copy(), *rows)
        delay_line[:] = flows
        return rows, state, head
