"""A source for tests of what is done with its samples."""

from __future__ import annotations

import numpy as np

from clpm_execd.plant.block import AUT, SECOND, Block

_GOOD_QUALITY = 192  # of OPC


class Ramp:
    """Loops in automatic whose PV, OP and SP are the number of the sample since 1970.

    start: the time of the first sample, ns since 1970. loops: how many. interval: ns.
    """

    def __init__(self, start: int, loops: int = 1, interval: int = SECOND) -> None:
        self.loops = tuple(f"TIC{i:04d}" for i in range(loops))
        self.interval = interval
        self.next_time = start
        self.largest_advance = 0

    def advance(self, n: int) -> Block:
        times = self.next_time + np.arange(n, dtype=np.int64) * self.interval
        self.next_time += n * self.interval
        self.largest_advance = max(self.largest_advance, n)
        values = np.repeat((times / self.interval)[:, None], len(self.loops), axis=1)
        mode = np.full(values.shape, AUT, dtype=np.int8)
        quality = np.full(values.shape, _GOOD_QUALITY, dtype=np.int16)
        return Block(self.loops, times, values, values, values, mode, values, values, quality)
