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
    """A spool and its sender in front of a proxy; rests take no time."""

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
        """As a process does, on whatever an earlier one left."""
        self.spool = DiskQueue(self.folder, LOG)
        self.sender = Sender(
            self.spool, self.writer, target="", log=LOG, quarantine=Quarantine(self.folder, LOG),
            now=lambda: self.seconds,
        )  # fmt: skip

    def tick(self) -> None:
        self.spool.put(b"".join(self.lines(self.ticks)))
        self.ticks += 1

    def lines(self, tick: int) -> list[bytes]:
        return [_line(f"A{loop}", tick, T0 + tick * SECOND) for loop in range(LOOPS)]

    def step(self) -> bool:
        rest = self.sender.send_once()
        self.seconds += rest or 0.0
        return rest is not None

    def drain(self) -> None:
        while self.step():
            pass

    def close(self) -> None:
        self.writer.close()
        self.proxy.close()

    def quarantined(self) -> list[bytes]:
        return [line for incident in read_incidents(self.folder) for line in incident.lines]

    def assert_all_written(self, but: list[bytes] | None = None) -> None:
        """Each point once, with its value, but for these lines."""
        refused = set(but or [])
        expected = [
            (T0 + tick * SECOND, f"A{loop}", float(tick))
            for tick in range(self.ticks) for loop, line in enumerate(self.lines(tick)) if line not in refused
        ]  # fmt: skip
        found = [(point.time, point.loop, point.fields["PV"]) for point in self.server.points(self.bucket)]
        assert [point for point in found if point[1] != "first"] == expected
        assert (self.spool.points, self.spool.corrupt_files, self.spool.points_dropped) == (0, 0, 0)


def _line(loop: str, value: int, time: int) -> bytes:
    return b"control_loops,Mode=AUT,loop_id=%s OP=50,PV=%d,SP=1 %d\n" % (loop.encode(), value, time)


@pytest.fixture
def bench(influxdb: InfluxDB, tmp_path: Path) -> Iterator[Bench]:
    with closing(Bench(tmp_path, influxdb)) as made:
        yield made


def every(faults: tuple[str, ...]) -> Trouble:
    """Each of them in turn, and then none, again and again."""
    left: list[str] = []

    def trouble() -> str:
        if not left:
            left.extend(["", *reversed(faults)])
        return left.pop()

    return trouble


def broken(share: float, ways: tuple[str, ...] = ("type", "syntax")) -> Spoil:
    """This share of the loops' lines, the same ones at every try."""

    def spoil(line: bytes) -> str:
        chance = random.Random(line)
        return chance.choice(ways) if b"loop_id=A" in line and chance.random() < share else ""

    return spoil


def test_every_fault_of_network_and_server_is_survived(bench: Bench) -> None:
    bench.proxy.trouble = every(FAULTS)
    for _ in range(2):
        bench.tick()
        bench.drain()
    assert set(bench.proxy.met) == {"", *FAULTS}
    bench.assert_all_written()


def test_faults_by_chance_lose_and_double_nothing_whatever_process_goes_on(bench: Bench) -> None:
    chance = random.Random(7)
    bench.proxy.trouble = mixed(chance, 0.5, tuple(fault for fault in FAULTS if fault not in ("deaf", "silence")))
    for _ in range(90):
        bench.tick()
        for _ in range(chance.randrange(3)):
            bench.step()
        if chance.random() < 0.1:
            bench.start()
    bench.drain()
    bench.assert_all_written()
    assert bench.quarantined() == []


@pytest.mark.parametrize("ways", [("type",), ("syntax",), ("type", "syntax")])
def test_exactly_the_refused_lines_are_in_quarantine_with_the_servers_words(
    bench: Bench, ways: tuple[str, ...]
) -> None:
    chance = random.Random(1)
    bench.proxy.spoil = spoil = broken(0.02, ways)
    bench.proxy.trouble = mixed(chance, 0.2, ("500", "lost", "cut", "refused"))
    for _ in range(80):
        bench.tick()
        if chance.random() < 0.2:
            bench.drain()
        if chance.random() < 0.1:
            bench.start()
    bench.drain()
    refused = [line for tick in range(bench.ticks) for line in bench.lines(tick) if spoil(line)]
    assert len(refused) > 5
    assert sorted(bench.quarantined()) == sorted(refused)
    bench.assert_all_written(but=refused)
    words = " ".join(said for incident in read_incidents(bench.folder) for said in incident.messages)
    assert ("field type conflict" in words) is ("type" in ways)
    assert ("unable to parse" in words) is ("syntax" in ways)


def test_a_server_that_refuses_everything_for_a_while_puts_nothing_in_quarantine(bench: Bench) -> None:
    bench.proxy.trouble = lambda: "refuses all"
    for _ in range(30):
        bench.tick()
        bench.step()
    while bench.seconds < 50:
        bench.step()
    bench.proxy.trouble = lambda: ""
    bench.drain()
    assert bench.quarantined() == []
    bench.assert_all_written()


def test_poison_does_not_hold_up_the_rest(bench: Bench) -> None:
    bench.tick()
    bench.drain()
    bench.proxy.spoil = lambda line: "type" if b"loop_id=A1" in line else ""
    for _ in range(20):
        bench.tick()
        bench.drain()
    assert bench.seconds == 0
    bench.assert_all_written(but=[bench.lines(tick)[1] for tick in range(1, 21)])
    assert len(list((bench.folder / "quarantine").iterdir())) == 1


def test_what_was_refused_can_be_written_again(bench: Bench) -> None:
    bench.proxy.spoil = lambda line: "type" if b"loop_id=A1" in line else ""
    bench.tick()
    bench.drain()
    [incident] = read_incidents(bench.folder)
    bench.proxy.spoil = None
    bench.spool.put(incident.path.read_bytes())
    bench.drain()
    assert split_lines(b"".join(incident.lines)) == [bench.lines(0)[1]]
    bench.assert_all_written()
