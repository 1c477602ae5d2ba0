"""Every database that the documentation names: checked, written to, read for a score, and resumed after kills."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from _pytest.mark.structures import ParameterSet
from command import environment, run_command
from databases import QUICK, SLOW, Database
from parts import ROOT, SECOND, points_of, running, until
from tiers import CAMPAIGNS

from clpm_execd.delivery.memory_queue import MemoryQueue
from clpm_execd.delivery.sender import Sender
from clpm_execd.influx.client import InfluxClient

INFLUXDB = ("influxdb16", "influxdb18", "influxdb", "influxdb3")
PAST = 1_700_000_000 * SECOND

PLANT = """
interval = "1s"
seed = 3
[output]
truth = true
[[loop]]
id = "FIC101"
type = "flow"
[[loop.fault]]
kind = "stiction"
S = 8.0
J = 4.0
start = "5m"
duration = "20m"
[[loop]]
id = "TIC 102"
type = "temperature"
[[loop.fault]]
kind = "sluggish"
start = "10m"
duration = "15m"
[[loop]]
id = "LIC103"
"""
ALARMS = """loop,start,end,fault,detected
FIC101,2026-01-10T10:10:00Z,2026-01-10T10:30:00Z,stiction,2026-01-10T10:12:00Z
LIC103,2026-01-10T10:10:00Z,2026-01-10T10:20:00Z,stiction,
"""


def of_campaigns(*names: str) -> list[ParameterSet]:
    return [pytest.param(name, marks=pytest.mark.campaign) for name in names]


@pytest.fixture(scope="module", params=[*QUICK, *of_campaigns(*SLOW)])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A server with an empty database."""
    part: str = request.param
    with (QUICK | SLOW)[part](part, tmp_path_factory.mktemp(part)) as database:
        yield database


def test_check_names_the_server_and_what_it_cannot_do(database: Database, tmp_path: Path) -> None:
    result = run_command("check", "--direct", "--backfill", "7d", folder=tmp_path, env=database.environment)
    first, *warnings = result.stdout.splitlines()
    assert first == f"ok: 5 loops, {database.url} accepts writes ({database.name})", result.stderr
    expected = list(database.limitations)
    if " 3." in database.name:
        expected.insert(0, "this token may not read how long bucket 'plant' keeps points")
    assert len(warnings) == len(expected), warnings
    for warning, beginning in zip(warnings, expected, strict=True):
        assert warning.startswith(f"warning: {beginning}")


# VictoriaMetrics and QuestDB have neither databases nor, as they are started here, users.
@pytest.mark.parametrize("database", INFLUXDB, indirect=True)
def test_a_wrong_setting_is_named(database: Database, tmp_path: Path) -> None:
    for name, value in (("INFLUXDB_TOKEN", "a:b"), ("INFLUXDB_BUCKET", "none")):
        if " 3." in database.name and name == "INFLUXDB_BUCKET":
            continue  # InfluxDB 3 creates a database with the first write
        for command in (["check", "--direct"], ["score", "alarms.csv"]):
            result = run_command(*command, folder=tmp_path, env={**database.environment, name: value})
            assert result.returncode == 2
            assert result.stdout == ""
            assert [line.partition(":")[0] for line in result.stderr.splitlines()] == [name], result.stderr


def test_the_score_is_that_of_the_file(database: Database, tmp_path: Path) -> None:
    (tmp_path / "loops.toml").write_text(PLANT)
    (tmp_path / "alarms.csv").write_text(ALARMS)
    empty = run_command("score", "alarms.csv", folder=tmp_path, env=database.environment)
    assert empty.stderr.startswith("the ground truth: holds no ground truth")
    words = ["generate", "--config", "loops.toml", "--start", "2026-01-10T10:00:00Z", "--duration", "40m"]
    assert run_command(*words, "--output", "day.lp", folder=tmp_path).returncode == 0
    database.write((tmp_path / "day.lp").read_bytes())
    files = [run_command("score", "alarms.csv", "--format", "json", *options, folder=tmp_path, env=database.environment)
             for options in (("--truth", "day.lp"), (), ("--end", "2026-01-10T10:20:00.5Z"))]
    of_the_file, of_the_database, of_a_part = (json.loads(result.stdout) for result in files)
    assert of_the_file == of_the_database
    assert of_the_file["loops"] == 3
    assert (of_the_file["all"]["right"], of_the_file["all"]["wrong"]) == (1, 1)
    assert of_a_part["loop_days"] == pytest.approx(3 * 1200 / 86_400)


# VictoriaMetrics drops what it cannot read, as `check` says.
@pytest.mark.parametrize("database", [*INFLUXDB, *of_campaigns("questdb")], indirect=True)
def test_of_a_batch_only_the_lines_that_are_wrong_are_rejected(database: Database) -> None:
    bad = b'control_loops,Mode=AUT,loop_id=B PV="bad" %d\n' % (PAST + 50 * SECOND)
    good = [b"control_loops,Mode=AUT,loop_id=A PV=1 %d\n" % (PAST + k * SECOND) for k in range(100)]
    database.write(good[0])
    rejected: list[bytes] = []
    queue = MemoryQueue()
    queue.put(b"".join([*good[1:40], bad, *good[40:]]))
    influx = InfluxClient(database.url, database.org, database.bucket, lambda: database.token)
    with contextlib.closing(influx):
        sender = Sender(queue, influx, target="", log=logging.getLogger("clpm_execd"),
                        quarantine=lambda lines: rejected.extend(itertools.chain(*lines.values())))
        while sender.send_once() is not None:
            pass
    assert rejected == [bad]
    points = [point for point in database.points(PAST) if point.time < PAST + 1000 * SECOND]
    assert [(point.loop, point.time) for point in points] == [("A", PAST + k * SECOND) for k in range(100)]


@pytest.mark.parametrize("database", ["influxdb16"], indirect=True)
def test_a_retention_policy_of_influxdb_1_is_checked_and_written_to(database: Database, tmp_path: Path) -> None:
    user, _, password = database.token.partition(":")
    statement = "CREATE RETENTION POLICY short ON plant DURATION 26h REPLICATION 1"
    query = urlencode({"u": user, "p": password, "q": statement})
    urlopen(f"{database.url}/query?{query}", data=b"").close()
    short = replace(database, bucket="plant/short")
    result = run_command("check", "--direct", "--backfill", "7d", folder=tmp_path, env=short.environment)
    assert result.stderr.startswith("--backfill: reaches back 7 d, and bucket 'plant/short' keeps points for 26 h")
    now = time.time_ns()
    short.write(b"control_loops,Mode=AUT,loop_id=SHORT PV=1 %d\n" % now)
    assert [point.loop for point in short.points(now)] == ["SHORT"]
    assert "SHORT" not in {point.loop for point in database.points(now)}


# InfluxDB 2 is killed in test_kills.py, and 1.8 is asked as both 1.6 and 2 are.
@pytest.mark.timeout(120)
@pytest.mark.parametrize("database", ["influxdb16", *of_campaigns(
    "influxdb18", "influxdb", "influxdb3", "victoriametrics", *SLOW)], indirect=True)
def test_a_stream_that_is_killed_and_started_again_leaves_no_gap_and_no_second_point(
    database: Database, clpm_execd: list[str], tmp_path: Path
) -> None:
    started = int(time.time())
    start = datetime.fromtimestamp(started, timezone.utc).isoformat()
    (tmp_path / "loops.toml").write_text(f'interval = "100ms"\nstart = {start}\n[[loop]]\nid = "TIC1"\n'
                                         '[[loop]]\nid = "FIC2"\ntype = "flow"\n')
    command = [*clpm_execd, "--direct", "--state", "state", "--config", "loops.toml"]
    options = {"cwd": tmp_path, "env": environment({**database.environment, "PYTHONPATH": str(ROOT)})}

    def newest() -> int:
        """Return the time of the newest sample of the stream."""
        points = database.points(started * SECOND)
        return points[-1].time if points else 0

    for _ in range(5 if CAMPAIGNS else 1):
        with running(command, tmp_path / "log", **options):  # killed at the end
            now = time.time_ns()
            until(lambda now=now: newest() > now, 30, f"samples; see {tmp_path / 'log'}")  # type: ignore[misc]
    with running(command, tmp_path / "log", **options) as process:
        now = time.time_ns()
        until(lambda: newest() > now, 30, f"samples; see {tmp_path / 'log'}")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    points = database.points(started * SECOND)
    lines = tmp_path / "expected.lp"
    seconds = (points[-1].time - started * SECOND) / SECOND + 0.1
    words = ["generate", "--config", "loops.toml", "--start", start, "--duration", f"{seconds:.1f}s", "--output", lines]
    assert run_command(*words, folder=tmp_path).returncode == 0
    expected = [point for point in points_of(lines) if point.time >= points[0].time]
    assert points == sorted(expected, key=lambda point: (point.time, point.loop))
