"""Points per second into a real InfluxDB: our bytes against Point objects through the same client, in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

import numpy as np
import pytest
from influxdb_client import InfluxDBClient, Point
from influxdb_client.client.write_api import SYNCHRONOUS
from parts import InfluxDB
from tiers import CAMPAIGNS

from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.influx.answer import WriteOutcome
from clpm_execd.influx.client import InfluxClient
from clpm_execd.plant.block import Block

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
LOOPS = tuple(f"TIC{208000 + i}" for i in range(1000))
TICKS = 10  # a full batch
ROUNDS = 12 if CAMPAIGNS else 4


def block(start: int, chance: np.random.Generator) -> Block:
    times = T0 + SECOND * np.arange(start, start + TICKS, dtype=np.int64)
    values = chance.normal(405.0, 1.0, (TICKS, len(LOOPS)))
    ones = np.ones(values.shape, dtype=np.int16)
    return Block(LOOPS, times, values, values, values, ones.astype(np.int8), values, values, ones)


def as_points(samples: Block) -> list[Point]:
    return [
        Point("control_loops").tag("loop_id", loop).tag("Mode", "AUT")
        .field("PV", float(samples.pv[t, i])).field("OP", float(samples.op[t, i])).field("SP", float(samples.sp[t, i]))
        .time(int(samples.times[t]))
        for t in range(len(samples)) for i, loop in enumerate(samples.loops)
    ]


def points_a_second(blocks: list[Block], *ways: Callable[[Block], None]) -> list[float]:
    """Each way's, over all blocks but the first, which creates the series; in turns, under the same load."""
    seconds = [0.0] * len(ways)
    for k, samples in enumerate(blocks):
        for i, write in enumerate(ways):
            start = time.perf_counter()
            write(samples)
            seconds[i] += (time.perf_counter() - start) * (k > 0)
    points = sum(samples.pv.size for samples in blocks[1:])
    return [points / spent for spent in seconds]


def count(server: InfluxDB, bucket: str) -> int:
    rows = server.query(
        f'from(bucket: "{bucket}") |> range(start: 0, stop: 2100-01-01T00:00:00Z)'
        ' |> filter(fn: (r) => r._field == "PV") |> group() |> count()'
    )
    return int(rows[0]["_value"])


def test_bytes_against_point_objects(influxdb: InfluxDB, capsys: pytest.CaptureFixture[str]) -> None:
    chance = np.random.default_rng(1)
    blocks = [block(TICKS * k, chance) for k in range(ROUNDS)]
    ours, theirs = influxdb.new_bucket(), influxdb.new_bucket()
    encoder = LineProtocol(LOOPS)
    with (
        closing(InfluxClient(influxdb.url, influxdb.org, ours, lambda: influxdb.token)) as influx,
        InfluxDBClient(influxdb.url, influxdb.token, org=influxdb.org, timeout=60_000) as client,
        client.write_api(write_options=SYNCHRONOUS) as api,
    ):

        def as_bytes(samples: Block) -> None:
            assert influx(encoder.encode(samples)).outcome is WriteOutcome.WRITTEN

        def as_objects(samples: Block) -> None:
            api.write(theirs, record=as_points(samples))

        by_bytes, by_points = points_a_second(blocks, as_bytes, as_objects)
    with capsys.disabled():
        print(
            f"\ndirect: {by_bytes:,.0f} points/s as bytes, {by_points:,.0f} as Point objects,"
            f" ratio {by_bytes / by_points:.1f} (must be >= 3)"
        )
    delivered = ROUNDS * TICKS * len(LOOPS)
    assert count(influxdb, ours) == delivered
    assert count(influxdb, theirs) == delivered
