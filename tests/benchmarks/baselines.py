"""The other ways to have such data, as people write them, and how a way's speed is taken."""

from __future__ import annotations

import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from statistics import median

from influxdb_client import Point
from tiers import CAMPAIGNS

from clpm_execd.plant.block import MODES, Block

SECOND = 1_000_000_000
START = 1_736_503_500 * SECOND
_LEAST = 20.0  # s


def quickest(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The seconds of each way's quickest round, in turns: whoever else uses the machine is in the way of all.

    At least three rounds of a long run, and more where they are quick: a quiet moment is then among them.
    """
    spent = dict.fromkeys(ways, math.inf)
    start_of_all, result = time.perf_counter(), 0
    while result < (3 if CAMPAIGNS else 1) or (CAMPAIGNS and time.perf_counter() - start_of_all < _LEAST):
        result += 1
        for way, work in ways.items():
            start = time.perf_counter()
            work()
            spent[way] = min(spent[way], time.perf_counter() - start)
    return spent


def in_pairs(ours: Callable[[], float], theirs: Callable[[], float], pairs: int) -> tuple[float, float, float]:
    """The medians of the seconds of two ways, and of the ratios theirs / ours of each pair.

    One after the other, each first in every second pair: who else uses the machine is in the way of both.
    """
    spent: list[tuple[float, float]] = []
    for n in range(pairs):
        if n % 2:
            other = theirs()
            spent.append((ours(), other))
        else:
            own = ours()
            spent.append((own, theirs()))
    return median(own for own, _ in spent), median(other for _, other in spent), median(
        other / own for own, other in spent)


def as_points(block: Block) -> bytes:
    """The values of a Block as Point objects, as influxdb-client's own documentation writes them."""
    return b"".join(
        Point("control_loops").tag("loop_id", loop).tag("Mode", MODES[block.mode[t, i]])
        .field("PV", float(f"{block.pv[t, i]:.10g}")).field("OP", float(f"{block.op[t, i]:.10g}"))
        .field("SP", float(f"{block.sp[t, i]:.10g}")).time(int(block.times[t])).to_line_protocol().encode() + b"\n"
        for t in range(len(block)) for i, loop in enumerate(block.loops)
    )


def sines(ticks: int, loops: int) -> bytes:
    """What a plain script does: no process, no controller, a sine and noise in an f-string."""
    lines = []
    for t in range(ticks):
        for i in range(loops):
            sp = 405.41
            pv = sp + math.sin((t + i) / 60.0) + random.gauss(0.0, 0.1)
            op = min(100.0, max(0.0, 63.5 + 0.5 * (sp - pv) + random.gauss(0.0, 0.1)))
            lines.append(
                f"control_loops,Mode=AUT,loop_id=TIC{208000 + i} OP={op:.10g},PV={pv:.10g},SP={sp} {START + t * SECOND}"
            )
    return ("\n".join(lines) + "\n").encode()


def by_hand(ticks: int, loops: int) -> Iterable[tuple[float, float]]:
    """A plant as a script simulates it, sample by sample: PI, lagging valve, dead time, two lags, load, noise."""
    a1, a2, av, decay, kick = math.exp(-1 / 120), math.exp(-1 / 25), math.exp(-1 / 2), math.exp(-1 / 45), 0.1
    pv = op = 0.0
    for _ in range(loops):
        x1 = x2 = load = integral = position = 0.0
        delay = deque([0.0] * 12)
        for _ in range(ticks):
            load = decay * load + kick * random.gauss(0.0, 1.0)
            pv = 52.7 + x2 + 0.02 * random.gauss(0.0, 1.0)
            error = 52.705 - pv
            integral += 0.9 / 130 * error
            unlimited = 63.5 + 0.9 * error + integral
            op = min(100.0, max(0.0, unlimited))
            integral += (op - unlimited) / 130
            position += (1 - av) * (op - position)
            delay.append(position - 63.5)
            flow = delay.popleft() + load
            x2 = a2 * x2 + (1 - a2) * x1
            x1 = a1 * x1 + 1.2 * (1 - a1) * flow
            pv, op = round(pv, 2), round(op, 2)
    return [(pv, op)]
