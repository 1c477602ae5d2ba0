"""The direct stream: from the plant through the queue to the server, without a real clock."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from answering_server import WRITTEN, AnsweringServer
from clocks import FakeClock
from sources import Ramp

from clpm_execd.delivery.disk_queue import DiskQueue
from clpm_execd.delivery.memory_queue import MemoryQueue
from clpm_execd.delivery.quarantine import Quarantine
from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.influx.answer import Answer, TransportError
from clpm_execd.outputs import direct
from clpm_execd.outputs.self_metrics import SelfMetrics
from clpm_execd.outputs.stream import StreamJob
from clpm_execd.runtime.os_signals import Signals

SECOND = 1_000_000_000
LOG = logging.getLogger("clpm_execd")


class Clock(FakeClock):
    """Time that passes only while waited for, and a moment in which the sender's thread runs."""

    def __init__(self, start: int, until: Callable[[], bool] = lambda: False) -> None:
        super().__init__(start)
        self.stop_when = until
        self.signals = Signals()

    def wait(self, ns: int, read: Sequence[int] = (), write: Sequence[int] = ()) -> set[int]:
        time.sleep(0.0005)
        super().wait(ns)
        if self.stop_when():
            self.signals.request_stop()
        return set()


T0 = 1_700_000_000 * SECOND


def job(plant: Ramp, clock: Clock, **settings: Any) -> StreamJob:
    return StreamJob(source=plant, encoder=LineProtocol(plant.loops), clock=clock, signals=clock.signals, log=LOG,
                     **settings)


def stream(
    server: AnsweringServer, clock: Clock, *, behind: int = 0, count: int | None = None, cap: int = 64_000_000
) -> MemoryQueue:
    plant = Ramp(T0 - behind * SECOND, 2)
    queue = MemoryQueue(cap)
    assert direct.run(job(plant, clock, count=count), server, queue=queue) == 0
    return queue


def stamps(server: AnsweringServer) -> list[int]:
    return sorted(int(line.split()[-1]) for line in server.accepted)


def test_every_sample_of_every_loop_arrives_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = AnsweringServer()
    stream(server, Clock(T0), behind=100, count=250)
    assert stamps(server) == sorted([T0 + k * SECOND for k in range(-100, 150)] * 2)
    messages = [record.message for record in caplog.records]
    assert messages[0] == f"start: 2 loops every 1 s to {server.target}"
    assert f"connected to {server.target}" in messages
    assert "first 101 cycles: 202 points" in messages
    assert any(message.startswith("60 cycles: 120 points emitted") for message in messages)
    assert messages[-1] == "stop: 500 points written, 0 rejected, 0 dropped, 0 pending"


def test_the_plant_continues_during_an_outage_and_all_samples_arrive_afterwards() -> None:
    clock = Clock(T0)
    server = AnsweringServer(lambda body: WRITTEN if clock.now() > T0 + 30 * SECOND else Answer(503))
    stream(server, clock, count=60)
    assert stamps(server) == sorted([T0 + k * SECOND for k in range(60)] * 2)


def test_a_backfill_waits_for_room_in_the_queue_and_loses_nothing() -> None:
    server = AnsweringServer()
    queue = stream(server, Clock(T0), behind=80_000, count=80_000, cap=4_000_000)
    assert queue.points_dropped == 0
    assert len(server.accepted) == 160_000


def test_a_stop_sends_pending_points_and_logs_those_that_are_lost(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock(T0, until=lambda: clock.now() > T0 + 20 * SECOND)
    server = AnsweringServer(lambda body: Answer(None, error=TransportError.CONNECTION_REFUSED))
    queue = stream(server, clock)
    assert queue.points == 42
    assert clock.now() < T0 + 27 * SECOND
    assert caplog.records[-1].message.endswith("0 dropped, 42 pending and lost")


def test_a_stop_does_not_wait_for_points_on_disk(tmp_path: Path) -> None:
    clock = Clock(T0, until=lambda: clock.now() > T0 + 20 * SECOND)
    server = AnsweringServer(lambda body: Answer(None, error=TransportError.CONNECTION_REFUSED))
    plant, spool = Ramp(T0, 2), DiskQueue(tmp_path, LOG, now=clock.now)
    direct.run(job(plant, clock), server, queue=spool)
    assert spool.points == 42
    assert clock.now() < T0 + 22 * SECOND


def test_points_on_disk_are_pending_until_the_next_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock(T0, until=lambda: clock.now() > T0 + 20 * SECOND)
    plant, server = Ramp(T0, 2), AnsweringServer(lambda body: Answer(None, error=TransportError.CONNECTION_REFUSED))
    direct.run(job(plant, clock), server, queue=DiskQueue(tmp_path, LOG))
    assert caplog.records[-1].levelno == logging.INFO
    assert caplog.messages[-1].endswith("0 dropped, 42 pending until the next start")
    assert DiskQueue(tmp_path, LOG).points == 42


def test_points_wait_until_there_can_be_a_thread_that_sends_them(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start, clock, server = threading.Thread.start, Clock(T0), AnsweringServer()

    def refuse(thread: threading.Thread) -> None:
        if clock.now() < T0 + 10 * SECOND:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert stream(server, clock, count=20).points == 0
    assert len(server.accepted) == 40
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_stop_with_a_server_that_accepts_points_leaves_none_pending() -> None:
    clock = Clock(T0, until=lambda: clock.now() > T0 + 20 * SECOND)
    server = AnsweringServer()
    assert stream(server, clock).points == 0
    assert len(server.accepted) == 42


def test_the_metrics_count_pending_written_and_dropped_points() -> None:
    clock = Clock(T0 + 20 * SECOND)
    server = AnsweringServer(lambda body: WRITTEN if clock.now() > T0 + 90 * SECOND else Answer(503))
    plant = Ramp(T0 + 20 * SECOND, 2)
    own = SelfMetrics("clpm_execd", {"site": "x"}, interval=SECOND, start=clock.now())
    direct.run(job(plant, clock, count=190, metrics=own), server, queue=MemoryQueue(now=clock.now))
    messages = [line.decode() for line in server.accepted if line.startswith(b"clpm_execd,site=x ")]
    assert len(messages) == 3
    assert "points_emitted=42i" in messages[0]
    assert "points_waiting=42i,points_written=0i," in messages[0]
    assert "spool_age=20,spool_bytes=" in messages[0]
    assert "points_dropped=0i,points_emitted=" in messages[2]
    assert "points_waiting=0i" not in messages[0]
    assert "retries=0i" not in messages[2]


def last_metrics(quarantine: Quarantine | None) -> dict[str, str]:
    """The last point of the metrics of a two-minute stream, by field; the server refuses half a minute of one loop."""
    queue = MemoryQueue()

    def refuse(body: bytes) -> Answer:
        return Answer(422, "no") if any(line in body for line in of_first_loop) else WRITTEN

    def wait_for_the_sender() -> bool:
        while queue.points > 1:  # a line of metrics waits for the next samples
            time.sleep(0.001)
        return False

    of_first_loop = [b"loop_id=TIC0000 OP=%d," % (T0 // SECOND + k) for k in range(30)]
    server, clock = AnsweringServer(refuse), Clock(T0, until=wait_for_the_sender)
    plant, own = Ramp(T0, 2), SelfMetrics("clpm_execd", {}, interval=SECOND, start=T0)
    direct.run(job(plant, clock, count=120, metrics=own), server, queue=queue, quarantine=quarantine)
    last = [line for line in server.accepted if line.startswith(b"clpm_execd ")][-1]
    return dict(pair.split("=") for pair in last.decode().split()[1].split(","))


def test_the_metrics_count_refused_points_and_the_lines_in_the_quarantine(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path, LOG)
    for _ in range(2):  # the second stream has the same lines refused, and they are in the quarantine already
        numbers = last_metrics(quarantine)
        assert (numbers["points_refused"], numbers["points_quarantined"]) == ("30i", "30i")
        assert quarantine.points == 30


def test_without_a_quarantine_refused_points_are_counted_and_none_is_in_it() -> None:
    numbers = last_metrics(None)
    assert (numbers["points_refused"], numbers["points_quarantined"]) == ("30i", "0i")
