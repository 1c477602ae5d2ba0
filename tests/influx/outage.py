"""A stream into a server that is away for a day, for tests/influx/test_outage.py: run in a process of its own.

Time is simulated: the day passes as fast as the plant and the disk can, and afterwards a second lasts a millisecond. On
stdout: `over` when the outage is over, then the process's memory in kB, before the outage and at most since.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from clpm_execd.config.loops import parse_configuration
from clpm_execd.delivery.disk_queue import DiskQueue
from clpm_execd.delivery.quarantine import Quarantine
from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.influx.client import InfluxClient
from clpm_execd.outputs import direct
from clpm_execd.plant.plant import Plant
from clpm_execd.runtime.os_signals import Signals

SECOND = 10**9
START = 1_700_000_000 * SECOND
SETTLED = 300  # ticks after which the process has all it needs
LIVE = 100  # ticks after the outage


def memory() -> int:
    """Resident, kB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


class Day:
    """Time from `start`; it stops at the end of the outage until a line is read from stdin.

    settled: when the process has all it needs. before, most: its memory then, and at most since.
    """

    def __init__(self, start: int, settled: int, over: int) -> None:
        self.time = self.start = start
        self.settled, self.over = settled, over
        self.before = self.most = 0
        self.told = False

    def now(self) -> int:
        return self.time

    def elapsed(self) -> int:
        return self.time - self.start

    def wait(self, ns: int, read: Sequence[int] = (), write: Sequence[int] = ()) -> set[int]:
        self.time += max(ns, 1)
        if self.time > self.over:
            if not self.told:
                print("over", flush=True)
                sys.stdin.readline()
                self.told = True
            time.sleep(ns / SECOND if ns < SECOND // 10 else ns / SECOND / 1000)  # drained in real time
        if self.before:
            self.most = max(self.most, memory())
        elif self.time > self.settled:
            time.sleep(1.5)  # for the first tries to send
            self.before = memory()
        return set()


def main(url: str, org: str, bucket: str, token: str, state: str, loops: str, ticks: str, interval: str) -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    log = logging.getLogger("clpm_execd")
    step = int(interval) * SECOND
    specs = parse_configuration({"loop": [{"id": "FIC{:03d}", "count": int(loops), "type": "flow"}]}).loops
    plant = Plant(specs, start=START, interval=step, scan=step)
    clock = Day(START, START + SETTLED * step, START + (int(ticks) - LIVE) * step)
    direct.run(
        plant, LineProtocol(plant.loops), InfluxClient(url, org, bucket, lambda: token), clock=clock, signals=Signals(),
        log=log, count=int(ticks), queue=DiskQueue(Path(state), log, now=clock.now),
        quarantine=Quarantine(Path(state), log),
    )  # fmt: skip
    print(clock.before, clock.most, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
