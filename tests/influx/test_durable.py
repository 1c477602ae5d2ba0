"""Disk queue, sender and quarantine with a real InfluxDB behind a proxy that does all that networks and servers do."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from faulty_proxy import FAULTS, FaultyProxy, Spoil, Trouble, mixed
from parts import SECOND, InfluxDB

from clpm_execd.delivery.disk_queue import DiskQueue
from clpm_execd.delivery.quarantine import Quarantine, read_incidents
from clpm_execd.delivery.queue import split_lines
from clpm_execd.delivery.sender import Sender
from clpm_execd.influx.client import InfluxClient

T0 = 1_700_000_000 * SECOND
LOG = logging.getLogger("clpm_execd")
LOOPS = 5


class Bench:
    """A queue and its sender in front of a proxy; pauses take no time."""

    def __init__(self, folder: Path, server: InfluxDB) -> None:
        self.folder, self.server = folder, server
        self.bucket = server.new_bucket()
        self.proxy = FaultyProxy(server.url)
        self.ticks = 0
        self.seconds = 0.0
        self.writer = InfluxClient(self.proxy.url, server.org, self.bucket, lambda: server.token, timeout=1.0)
        # The type of a field is what a shard saw first.
        InfluxClient(server.url, server.org, self.bucket, lambda: server.token)(_line("first", 0, T0 - SECOND))
        self.start()

    def start(self) -> None:
        """Start as a process does, with the files of an earlier one."""
        self.queue = DiskQueue(self.folder, LOG)
        self.sender = Sender(
            self.queue, self.writer, target="", log=LOG, quarantine=Quarantine(self.folder, LOG),
            now=lambda: self.seconds,
        )

    def tick(self) -> None:
        self.queue.put(b"".join(self.lines(self.ticks)))
        self.ticks += 1

    def lines(self, tick: int) -> list[bytes]:
        return [_line(f"A{loop}", tick, T0 + tick * SECOND) for loop in range(LOOPS)]

    def send_once(self) -> bool:
        pause = self.sender.send_once()
        self.seconds += pause or 0.0
        return pause is not None

    def drain(self) -> None:
        while self.send_once():
            pass

    def close(self) -> None:
        self.writer.close()
        self.proxy.close()

    def quarantined(self) -> list[bytes]:
        return [line for incident in read_incidents(self.folder) for line in incident.lines]

    def assert_all_written(self, except_for: list[bytes] | None = None) -> None:
        """Assert that each point is there once with its value, except for these lines."""
        missing = set(except_for or [])
        expected = [
            (T0 + tick * SECOND, f"A{loop}", float(tick))
            for tick in range(self.ticks) for loop, line in enumerate(self.lines(tick)) if line not in missing
        ]
        points = [(point.time, point.loop, point.fields["PV"]) for point in self.server.points(self.bucket)]
        assert [point for point in points if point[1] != "first"] == expected
        assert (self.queue.points, self.queue.corrupt_files, self.queue.points_dropped) == (0, 0, 0)


def _line(loop: str, value: int, time: int) -> bytes:
    return b"control_loops,Mode=AUT,loop_id=%s OP=50,PV=%d,SP=1 %d\n" % (loop.encode(), value, time)


@pytest.fixture
def bench(influxdb: InfluxDB, tmp_path: Path) -> Iterator[Bench]:
    with closing(Bench(tmp_path, influxdb)) as bench:
        yield bench


def every(faults: tuple[str, ...]) -> Trouble:
    """Make each of these faults in turn, and then none, again and again."""
    remaining: list[str] = []

    def trouble() -> str:
        if not remaining:
            remaining.extend(["", *reversed(faults)])
        return remaining.pop()

    return trouble


def broken(fraction: float, ways: tuple[str, ...] = ("type", "syntax")) -> Spoil:
    """Spoil this fraction of the loops' lines, the same ones at every request."""

    def spoil(line: bytes) -> str:
        rng = random.Random(line)
        return rng.choice(ways) if b"loop_id=A" in line and rng.random() < fraction else ""

    return spoil


def test_every_fault_of_network_and_server_is_survived(bench: Bench) -> None:
    bench.proxy.trouble = every(FAULTS)
    for _ in range(2):
        bench.tick()
        bench.drain()
    assert set(bench.proxy.met) == {"", *FAULTS}
    bench.assert_all_written()


def test_random_faults_and_restarts_lose_and_repeat_nothing(bench: Bench) -> None:
    rng = random.Random(7)
    bench.proxy.trouble = mixed(rng, 0.5, tuple(fault for fault in FAULTS if fault not in ("deaf", "silence")))
    for _ in range(90):
        bench.tick()
        for _ in range(rng.randrange(3)):
            bench.send_once()
        if rng.random() < 0.1:
            bench.start()
    bench.drain()
    bench.assert_all_written()
    assert bench.quarantined() == []


@pytest.mark.parametrize("ways", [("type",), ("syntax",), ("type", "syntax")])
def test_exactly_the_rejected_lines_are_in_quarantine_each_under_the_servers_message_about_it(
    bench: Bench, ways: tuple[str, ...]
) -> None:
    rng = random.Random(1)
    bench.proxy.spoil = spoil = broken(0.02, ways)
    bench.proxy.trouble = mixed(rng, 0.2, ("500", "lost", "cut", "refused"))
    for _ in range(80):
        bench.tick()
        if rng.random() < 0.2:
            bench.drain()
        if rng.random() < 0.1:
            bench.start()
    bench.drain()
    rejected = [line for tick in range(bench.ticks) for line in bench.lines(tick) if spoil(line)]
    assert len(rejected) > 5
    assert sorted(bench.quarantined()) == sorted(rejected)
    bench.assert_all_written(except_for=rejected)
    reasons = {"type": "field type conflict", "syntax": "unable to parse"}
    for path in (bench.folder / "quarantine").iterdir():
        message = ""
        for row in split_lines(path.read_bytes()):
            if row.startswith(b"#"):
                message = row.decode()
            else:
                assert reasons[spoil(row)] in message


def test_a_server_that_rejects_everything_for_a_while_puts_nothing_in_quarantine(bench: Bench) -> None:
    bench.proxy.trouble = lambda: "refuses all"
    for _ in range(30):
        bench.tick()
        bench.send_once()
    while bench.seconds < 50:
        bench.send_once()
    bench.proxy.trouble = lambda: ""
    bench.drain()
    assert bench.quarantined() == []
    bench.assert_all_written()


def test_rejected_lines_do_not_delay_the_others(bench: Bench) -> None:
    bench.tick()
    bench.drain()
    bench.proxy.spoil = lambda line: "type" if b"loop_id=A1" in line else ""
    for _ in range(20):
        bench.tick()
        bench.drain()
    assert bench.seconds == 0
    bench.assert_all_written(except_for=[bench.lines(tick)[1] for tick in range(1, 21)])
    assert len(list((bench.folder / "quarantine").iterdir())) == 1


def test_rejected_lines_can_be_written_again(bench: Bench) -> None:
    bench.proxy.spoil = lambda line: "type" if b"loop_id=A1" in line else ""
    bench.tick()
    bench.drain()
    [incident] = read_incidents(bench.folder)
    bench.proxy.spoil = None
    bench.queue.put(incident.path.read_bytes())
    bench.drain()
    assert split_lines(b"".join(incident.lines)) == [bench.lines(0)[1]]
    bench.assert_all_written()
