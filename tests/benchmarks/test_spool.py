"""What durability costs: points per second through the spool into a real InfluxDB, against raw HTTP of the same bytes.

And how a day's backlog is drained while the live stream goes on, against what the server takes at most.
"""

from __future__ import annotations

import http.client
import logging
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from baselines import in_pairs
from parts import InfluxDB
from results import Results
from tiers import CAMPAIGNS

from clpm_execd.delivery.disk_queue import DiskQueue
from clpm_execd.delivery.sender import Sender
from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.influx.client import InfluxClient
from clpm_execd.plant.block import Block

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
LOOPS = tuple(f"TIC{208000 + i}" for i in range(1000))
TICKS = 10  # a full request
REQUESTS = 10 if CAMPAIGNS else 3  # in a round
ROUNDS = 25 if CAMPAIGNS else 3
BACKLOG = 43 if CAMPAIGNS else 12  # requests; 43 are 86,400 instants of five loops
LOG = logging.getLogger("clpm_execd")


def bodies(first: int, requests: int) -> list[bytes]:
    chance = np.random.default_rng(first)
    encoder = LineProtocol(LOOPS)
    texts = []
    for start in range(first, first + requests * TICKS, TICKS):
        times = T0 + SECOND * np.arange(start, start + TICKS, dtype=np.int64)
        values = chance.normal(405.0, 1.0, (TICKS, len(LOOPS)))
        ones = np.ones(values.shape, dtype=np.int16)
        texts.append(encoder.encode(
            Block(LOOPS, times, values, values, values, ones.astype(np.int8), values, values, ones)
        ))
    return texts


class Raw:
    """One connection for all requests, and nothing between it and the server."""

    def __init__(self, server: InfluxDB, bucket: str) -> None:
        at = urlsplit(server.url)
        assert at.hostname
        self.connection = http.client.HTTPConnection(at.hostname, at.port)
        self.path = f"/api/v2/write?org={server.org}&bucket={bucket}&precision=ns"
        self.headers = {"Authorization": f"Token {server.token}", "Content-Type": "text/plain; charset=utf-8"}

    def __call__(self, requests: list[bytes]) -> None:
        for body in requests:
            self.connection.request("POST", self.path, body, self.headers)
            answer = self.connection.getresponse()
            assert answer.status == 204, answer.read()
            answer.read()


class Spooled:
    """Put into the spool by one thread, sent by another, as --direct does."""

    def __init__(self, server: InfluxDB, bucket: str, folder: Path) -> None:
        self.writer = InfluxClient(server.url, server.org, bucket, lambda: server.token)
        self.spool = DiskQueue(folder, LOG)
        self.sender = Sender(self.spool, self.writer, target="", log=LOG)
        self.sender.start()

    def __call__(self, requests: list[bytes]) -> None:
        for body in requests:
            self.spool.put(body)
            self.sender.notify()
        self.drain()

    def drain(self) -> None:
        while self.spool.points:
            time.sleep(0.002)

    def close(self) -> None:
        self.sender.stop()
        self.sender.join(10)
        self.writer.close()


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_the_spool_against_raw_http(influxdb: InfluxDB, tmp_path: Path, results: Results) -> None:
    raw = Raw(influxdb, influxdb.new_bucket())
    with closing(raw.connection), closing(Spooled(influxdb, influxdb.new_bucket(), tmp_path)) as spooled:
        raw(bodies(0, REQUESTS))  # makes the series
        spooled(bodies(0, REQUESTS))
        rounds = [bodies(number * REQUESTS * TICKS, REQUESTS) for number in range(1, ROUNDS + 1)]
        ours, theirs = iter(rounds), iter(rounds)
        spent, spent_raw, ratio = in_pairs(lambda: seconds(lambda: spooled(next(ours))),
                                           lambda: seconds(lambda: raw(next(theirs))), ROUNDS)
        assert spooled.sender.points_written == (ROUNDS + 1) * REQUESTS * TICKS * len(LOOPS)
    points = REQUESTS * TICKS * len(LOOPS)
    table = "into InfluxDB, a second at a time"
    results.add(table, "raw HTTP", points / spent_raw, "points/s")
    results.add(table, "through the spool", points / spent, "points/s", ratio, "this / raw HTTP, the median of pairs")


def test_a_days_backlog_is_drained_while_the_live_stream_continues(
    influxdb: InfluxDB, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A day of five loops is waiting; live, five loops are put every 100 ms. In turns with raw HTTP."""
    backlog = bodies(0, BACKLOG)
    yesterday = DiskQueue(tmp_path, LOG, now=lambda: time.time_ns() - 86_400 * SECOND)
    for body in backlog:
        yesterday.put(body)
    raw = Raw(influxdb, influxdb.new_bucket())
    late, waited = [0.0], [0.0]
    with closing(raw.connection), closing(Spooled(influxdb, influxdb.new_bucket(), tmp_path)) as spooled:
        raw(backlog[:5])  # makes the series
        start, tick, queue = time.perf_counter(), 0, spooled.spool
        while queue.points > 5 * 10:
            due = start + 0.1 * tick
            time.sleep(max(0.0, due - time.perf_counter()))
            queue.put(b"".join(b"live,loop_id=%d PV=%d %d\n" % (loop, tick, time.time_ns()) for loop in range(5)))
            spooled.sender.notify()
            late.append(time.perf_counter() - due)
            live = queue._order.live
            waited.append((time.time_ns() - live[0].time) / SECOND if live else 0.0)
            tick += 1
        spent = time.perf_counter() - start
        spent_raw = seconds(lambda: raw(backlog))
    points = len(backlog) * TICKS * len(LOOPS)
    with capsys.disabled():
        print(f"\ndrained {points / spent:,.0f} points/s while live, raw HTTP {points / spent_raw:,.0f} points/s: "
              f"{spent_raw / spent:.2f}; {tick} live instants put at most {max(late) * 1e3:.0f} ms after their time, "
              f"and none waited longer than {max(waited):.2f} s")
