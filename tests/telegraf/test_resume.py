"""A state folder under the real Telegraf: after kills, reloads and a backfill InfluxDB holds what `generate` makes.

One point for every loop and instant, none missing, and every value the same to the last bit.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

import pytest
from parts import LINE, ROOT, SECOND, InfluxDB, Point, Telegraf, children, until
from tiers import CAMPAIGNS

SHIPPED = ROOT / "telegraf"
KILLS = 50 if CAMPAIGNS else 3
BACKFILL = "24h" if CAMPAIGNS else "45m"


def settings(influxdb: InfluxDB, bucket: str, state: Path) -> dict[str, str]:
    return {"INFLUXDB_URL": influxdb.url, "INFLUXDB_TOKEN": influxdb.token, "INFLUXDB_ORG": influxdb.org,
            "INFLUXDB_BUCKET": bucket, "CLPM_STATE": str(state)}


def latest(influxdb: InfluxDB, bucket: str) -> int:
    """The youngest instant in the bucket, ns; 0 while there is none."""
    rows = influxdb.query(f'from(bucket: "{bucket}") |> range(start: -2d) |> filter(fn: (r) => r._field == "PV")'
                          ' |> group() |> last() |> map(fn: (r) => ({stamp: int(v: r._time)}))')
    return int(rows[0]["stamp"]) if rows else 0


def level(influxdb: InfluxDB, bucket: str) -> bool:
    return latest(influxdb, bucket) > time.time_ns() - 4 * SECOND


def expected(program: list[str], first: int, last: int, environment: dict[str, str]) -> list[Point]:
    """The points that `generate` makes of these instants."""
    start = datetime.fromtimestamp(first // SECOND, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    result = subprocess.run(
        [*program, "generate", "--start", start, "--duration", f"{(last - first) // SECOND + 1}s"],
        capture_output=True, text=True, env=environment, timeout=300, check=True)
    points = []
    for line in result.stdout.splitlines():
        match = LINE.fullmatch(line)
        assert match
        mode, loop, fields, stamp = match.groups()
        values = {name: float(text) for name, text in (field.split("=") for field in fields.split(","))}
        points.append(Point(loop, mode, values, int(stamp)))
    return points


def assert_as_generated(points: list[Point], program: list[str], environment: dict[str, str]) -> None:
    times = sorted({point.time for point in points})
    assert times == list(range(times[0], times[-1] + 1, SECOND)), "a hole"
    assert len(points) == 5 * len(times), "a loop lacks an instant"
    generated = {(point.time, point.loop): (point.mode, point.fields) for point in expected(
        program, times[0], times[-1], environment)}
    assert {(point.time, point.loop): (point.mode, point.fields) for point in points} == generated


def without_repetitions(points: list[Point]) -> list[Point]:
    """Each point once; one that came again is the same."""
    by_instant: dict[tuple[int, str], Point] = {}
    for point in points:
        assert by_instant.setdefault((point.time, point.loop), point) == point, "a point came again, and differs"
    return list(by_instant.values())


def kill(collector: Telegraf, agent: subprocess.Popen[bytes], chance: random.Random) -> bool:
    """The plugin or Telegraf itself; whether it was Telegraf."""
    plugins = children(agent.pid)
    if chance.random() < 0.5 and plugins:
        os.kill(plugins[0], signal.SIGKILL)
        return False
    agent.kill()
    agent.wait(10)
    return True


@pytest.mark.timeout(120 + 30 * KILLS)
def test_no_point_is_missing_or_differs_after_either_process_is_killed(
        collector: Telegraf, influxdb: InfluxDB, clpm_execd: list[str], tmp_path: Path) -> None:
    bucket, chance = influxdb.new_bucket(), random.Random(KILLS)
    environment = settings(influxdb, bucket, tmp_path / "state")
    config = collector.restarting_soon(SHIPPED / "telegraf.conf")
    kills_to_come, killed = KILLS, Counter[bool]()
    while kills_to_come > 0:
        with collector.agent(config, **environment) as agent:
            while kills_to_come > 0:
                time.sleep(chance.uniform(1.5, 9.0) if CAMPAIGNS else chance.uniform(1.5, 4.0))
                kills_to_come -= 1
                was_telegraf = kill(collector, agent, chance)
                killed[was_telegraf] += 1
                if was_telegraf:
                    break
    with collector.agent(config, **environment) as agent:
        until(lambda: level(influxdb, bucket), 120, f"the stream level with the clock; see {collector.log}")
        agent.send_signal(signal.SIGTERM)
        until(lambda: agent.poll() is not None, 20, "Telegraf's end")
    assert sum(killed.values()) == KILLS
    assert_as_generated(influxdb.points(bucket), clpm_execd, collector.environment)


def test_a_reload_with_a_state_leaves_no_hole_and_repeats_nothing(
        collector: Telegraf, clpm_execd: list[str], tmp_path: Path) -> None:
    state = tmp_path / "state"
    with collector.agent(collector.file_output(), SHIPPED / "clpm-execd.conf", CLPM_STATE=str(state)) as agent:
        for reload in range(2):
            enough = len(collector.points()) + 15
            until(lambda enough=enough: len(collector.points()) >= enough, 30, f"three instants; see {collector.log}")
            if reload == 0:
                agent.send_signal(signal.SIGHUP)
        agent.send_signal(signal.SIGTERM)
        until(lambda: agent.poll() is not None, 20, "Telegraf's end")
    points, log = collector.points(), collector.logged()
    # A busy machine may be so slow that Telegraf has not read the last points, or the disk has not got the checkpoint,
    # two seconds after the end is asked for. The plugin then says that they will come again, which is no fault.
    if not any("the next start emits them again" in line for line in log):
        assert max(Counter((point.time, point.loop) for point in points).values()) == 1, "a point came twice"
    assert_as_generated(without_repetitions(points), clpm_execd, collector.environment)
    complaints = [line for line in log if " E! " in line or "[inputs.execd] W! " in line]
    # Nor is it one that the plugin says when the machine has held it up.
    assert not [line for line in complaints if "held up for" not in line]


@pytest.mark.timeout(900)
def test_a_backfill_through_a_telegraf_of_defaults_loses_nothing(
        collector: Telegraf, influxdb: InfluxDB, clpm_execd: list[str], tmp_path: Path) -> None:
    """Killed on its way, it goes on where it was."""
    bucket = influxdb.new_bucket()
    environment = settings(influxdb, bucket, tmp_path / "state")
    output = collector.config(
        "defaults.conf",
        '[agent]\n  omit_hostname = true\n[[inputs.execd]]\n'
        f'  command = ["clpm-execd", "--backfill", "{BACKFILL}"]\n  signal = "STDIN"\n  restart_delay = "1s"\n'
        '  data_format = "influx"\n[[outputs.influxdb_v2]]\n  urls = ["${INFLUXDB_URL}"]\n'
        '  token = "${INFLUXDB_TOKEN}"\n  organization = "${INFLUXDB_ORG}"\n  bucket = "${INFLUXDB_BUCKET}"\n')
    start, first = time.monotonic(), time.time_ns()
    with collector.agent(output, **environment) as agent:
        time.sleep(3.0)
        os.kill(children(agent.pid)[0], signal.SIGKILL)
        until(lambda: latest(influxdb, bucket) > first, 800, f"the backfill's end; see {collector.log}")
        print(f"backfill of {BACKFILL}: {time.monotonic() - start:.0f} s")
        agent.send_signal(signal.SIGTERM)
        until(lambda: agent.poll() is not None, 20, "Telegraf's end")
    seconds, hour = (86_400 if CAMPAIGNS else 2_700), 3_600 * SECOND
    points = [point for start in range(first - (seconds + 60) * SECOND, time.time_ns(), hour)
              for point in influxdb.points(bucket, start=start, stop=start + hour)]
    assert_as_generated(points, clpm_execd, collector.environment)
    assert abs((first - min(point.time for point in points)) / SECOND - seconds) < 5
    assert not [line for line in collector.logged() if "dropped" in line or "overflow" in line]
