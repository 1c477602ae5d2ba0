"""A stream to a server that is down for a day, for tests/influx/test_outage.py: run in a process of its own.

Time is simulated: the day passes as fast as the plant and the disk can, and afterwards a second lasts a millisecond. On
stdout: `over` when the outage is over, then the process's memory in kB, before the outage and at most since.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from clpm_execd.config.loops import parse_configuration
from clpm_execd.delivery.disk_queue import DiskQueue
from clpm_execd.delivery.quarantine import Quarantine
from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.influx.client import InfluxClient
from clpm_execd.outputs import direct
from clpm_execd.outputs.stream import StreamJob
from clpm_execd.plant.plant import Plant
from clpm_execd.runtime.os_signals import Signals

SECOND = 10**9
START = 1_700_000_000 * SECOND
SETTLED = 300  # ticks after which the process has all it needs
LIVE = 100  # ticks after the outage
PATIENCE = 60.0  # s


def resident_kb() -> int:
    """Return the resident memory of this process, kB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


class Day:
    """Time from `start`; it stops at the end of the outage until a line is read from stdin.

    After the last instant it stands still while points are delivered, so that a busy machine may take as long for it as
    it needs. It goes on when none has been delivered for PATIENCE: the stream then ends with points pending.

    settled: when the process has all it needs. before, most: its memory then, and at most since.
    """

    def __init__(self, start: int, settled: int, over: int) -> None:
        self.time = self.start = start
        self.settled, self.over = settled, over
        self.before = self.most = 0
        self.is_reported = False
        self.points_pending: Callable[[], int] = lambda: 0
        self._least_pending = sys.maxsize
        self._delivered_at = 0.0

    @property
    def machine_clock(self) -> Day:
        return self

    def now(self) -> int:
        return self.time

    def elapsed(self) -> int:
        return self.time - self.start

    def wait(self, ns: int, read: Sequence[int] = (), write: Sequence[int] = ()) -> set[int]:
        if self.time <= self.over or not self._delivers(ns):
            self.time += max(ns, 1)
        if self.time > self.over:
            if not self.is_reported:
                print("over", flush=True)
                sys.stdin.readline()
                self.is_reported = True
            time.sleep(ns / SECOND if ns < SECOND // 10 else ns / SECOND / 1000)  # drained in real time
        if self.before:
            self.most = max(self.most, resident_kb())
        elif self.time > self.settled:
            time.sleep(1.5)  # for the first tries to send
            self.before = resident_kb()
        return set()

    def _delivers(self, ns: int) -> bool:
        """Whether the stream waits for the delivery of points, and some have been delivered lately."""
        if ns >= SECOND // 10:  # a wait for the next instant
            return False
        pending, now = self.points_pending(), time.monotonic()
        if pending < self._least_pending:
            self._least_pending, self._delivered_at = pending, now
        return now - self._delivered_at < PATIENCE


def main(url: str, org: str, bucket: str, token: str, state: str, loops: str, ticks: str, interval: str) -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    log = logging.getLogger("clpm_execd")
    step = int(interval) * SECOND
    specs = parse_configuration({"loop": [{"id": "FIC{:03d}", "count": int(loops), "type": "flow"}]}).loops
    plant = Plant(specs, start=START, interval=step, scan=step)
    clock = Day(START, START + SETTLED * step, START + (int(ticks) - LIVE) * step)
    job = StreamJob(source=plant, encoder=LineProtocol(plant.loops), clock=clock, signals=Signals(), log=log,
                    count=int(ticks))
    queue = DiskQueue(Path(state), log, now=clock.now)
    clock.points_pending = lambda: queue.points
    direct.run(job, InfluxClient(url, org, bucket, lambda: token), queue=queue, quarantine=Quarantine(Path(state), log))
    print(clock.before, clock.most, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
