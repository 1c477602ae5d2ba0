"""The direct stream against a real InfluxDB 2."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import chain

import pytest
from clocks import FakeClock
from parts import InfluxDB, free_port
from sources import Ramp

from clpm_execd.delivery.memory_queue import MemoryQueue
from clpm_execd.delivery.sender import Sender
from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.influx.answer import WriteOutcome
from clpm_execd.influx.client import InfluxClient
from clpm_execd.influx.server_check import ServerCheck, check_server
from clpm_execd.outputs import direct
from clpm_execd.outputs.stream import StreamJob
from clpm_execd.runtime.os_signals import Signals

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
LOG = logging.getLogger("clpm_execd")


class Clock(FakeClock):
    """Time that passes only while waited for, and a moment in which the sender's thread runs."""

    def wait(self, ns: int, read: Sequence[int] = (), write: Sequence[int] = ()) -> set[int]:
        time.sleep(0.002)
        return super().wait(ns)


def influx(server: InfluxDB, bucket: str, token: str = "") -> InfluxClient:
    return InfluxClient(server.url, server.org, bucket, lambda: token or server.token)


def stored(server: InfluxDB, bucket: str) -> list[tuple[int, str, str, float]]:
    """Time, loop, mode and PV of every sample, by time and loop."""
    rows = server.query(
        f'from(bucket: "{bucket}") |> range(start: 0, stop: 2100-01-01T00:00:00Z)'
        ' |> filter(fn: (r) => r._field == "PV") |> group()'
        " |> map(fn: (r) => ({t: int(v: r._time), loop: r.loop_id, mode: r.Mode, pv: r._value}))"
        ' |> sort(columns: ["t", "loop"])'
    )
    return [(int(row["t"]), row["loop"], row["mode"], float(row["pv"])) for row in rows]


def write_only(server: InfluxDB, bucket: str) -> str:
    """A token that may write to this bucket and do nothing else."""
    check = json.loads(server.request(f"/api/v2/buckets?name={bucket}"))["buckets"][0]
    resource = {"type": "buckets", "id": check["id"], "orgID": server.org_id}
    permissions = [{"action": "write", "resource": resource}]
    body = {"orgID": server.org_id, "description": "writes", "permissions": permissions}
    token: str = json.loads(server.request("/api/v2/authorizations", body))["token"]
    return token


def test_every_instant_of_every_loop_is_in_the_bucket_once(influxdb: InfluxDB) -> None:
    bucket = influxdb.new_bucket()
    plant = Ramp(T0 - 1000 * SECOND, 5)
    encoder, writer = LineProtocol(plant.loops), influx(influxdb, bucket, write_only(influxdb, bucket))
    signals = Signals()
    job = StreamJob(source=plant, encoder=encoder, clock=Clock(T0), signals=signals, log=LOG, count=1060)
    assert direct.run(job, writer) == 0
    instants = [T0 + k * SECOND for k in range(-1000, 60)]
    expected = [(t, loop, "AUT", t / SECOND) for t in instants for loop in plant.loops]
    assert stored(influxdb, bucket) == expected


def test_of_a_schema_conflict_only_the_lines_in_conflict_are_rejected(influxdb: InfluxDB) -> None:
    bucket = influxdb.new_bucket()
    rejected: list[bytes] = []
    queue = MemoryQueue()
    with closing(influx(influxdb, bucket)) as writer:
        assert writer(b"control_loops,Mode=AUT,loop_id=A PV=1 %d\n" % T0).outcome is WriteOutcome.WRITTEN
        bad = b'control_loops,Mode=AUT,loop_id=B PV="bad" %d\n' % (T0 + 50 * SECOND)
        good = [b"control_loops,Mode=AUT,loop_id=A PV=1 %d\n" % (T0 + k * SECOND) for k in range(1, 100)]
        queue.put(b"".join([*good[:40], bad, *good[40:]]))
        sender = Sender(
            queue, writer, target="", log=LOG, quarantine=lambda lines: rejected.extend(chain(*lines.values()))
        )
        while sender.send_once() is not None:
            pass
    assert rejected == [bad]
    assert [t for t, *_ in stored(influxdb, bucket)] == [T0 + k * SECOND for k in range(100)]


def test_a_server_that_can_be_written_to_has_no_problem(influxdb: InfluxDB) -> None:
    bucket = influxdb.new_bucket()
    for token in (influxdb.token, write_only(influxdb, bucket)):
        assert check_server(influxdb.url, token, influxdb.org, bucket) == ServerCheck(server="InfluxDB 2.7.12")
    assert stored(influxdb, bucket) == []


def test_a_bucket_that_keeps_less_than_the_backfill_is_a_problem(influxdb: InfluxDB) -> None:
    bucket = influxdb.new_bucket(keep=7200)
    check = check_server(influxdb.url, influxdb.token, influxdb.org, bucket, backfill=2 * 86_400)
    assert [problem.where for problem in check.problems] == ["--backfill"]
    assert "reaches back 2 d" in check.problems[0].what
    assert "for 2 h" in check.problems[0].what
    assert check_server(influxdb.url, influxdb.token, influxdb.org_id, bucket, backfill=2 * 86_400) == check
    check = check_server(influxdb.url, influxdb.token, influxdb.org, bucket, backfill=3600)
    assert check.problems == ()
    assert "pending for longer in an outage are rejected" in check.warnings[0]


def test_a_token_that_only_writes_cannot_know_how_long_points_are_kept(influxdb: InfluxDB) -> None:
    bucket = influxdb.new_bucket(keep=7200)
    check = check_server(influxdb.url, write_only(influxdb, bucket), influxdb.org, bucket, backfill=86_400)
    assert check.problems == ()
    assert "may not read how long" in check.warnings[0]


@pytest.mark.parametrize("wrong", ["url", "token", "permission", "org", "bucket"])
def test_the_setting_that_is_wrong_is_named(influxdb: InfluxDB, wrong: str) -> None:
    url, token, org, bucket = influxdb.url, influxdb.token, influxdb.org, influxdb.new_bucket()
    where = f"INFLUXDB_{wrong.upper()}"
    if wrong == "url":
        url = f"http://127.0.0.1:{free_port()}"
    elif wrong == "token":
        token = "no-such-token"
    elif wrong == "permission":
        token, where = write_only(influxdb, influxdb.new_bucket()), "INFLUXDB_TOKEN"
    elif wrong == "org":
        org = "no-such-org"
    else:
        bucket = "no-such-bucket"
    problems = check_server(url, token, org, bucket).problems
    assert [problem.where for problem in problems] == [where]
    assert token not in str(problems[0])
