"""A backfill with --direct into a real InfluxDB: one plant up to now and live, also when it is killed on its way."""

from __future__ import annotations

import signal
import subprocess
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
from command import environment
from parts import LINE, SECOND, InfluxDB, until
from tiers import CAMPAIGNS

HOURS = 168 if CAMPAIGNS else 4


def settings_for(server: InfluxDB, bucket: str) -> dict[str, str]:
    return {"INFLUXDB_URL": server.url, "INFLUXDB_TOKEN": server.token, "INFLUXDB_ORG": server.org,
            "INFLUXDB_BUCKET": bucket}


def count_points(server: InfluxDB, bucket: str) -> int:
    rows = server.query(f'from(bucket: "{bucket}") |> range(start: 0) |> filter(fn: (r) => r._field == "PV")'
                        " |> group() |> count()")
    return int(rows[0]["_value"]) if rows else 0


@pytest.mark.timeout(900)
def test_a_backfill_that_is_killed_resumes_where_it_was(
        influxdb: InfluxDB, clpm_execd: list[str], tmp_path: Path) -> None:
    bucket, log = influxdb.new_bucket(), tmp_path / "log"
    settings = environment(settings_for(influxdb, bucket))
    command = [*clpm_execd, "--direct", "--state", str(tmp_path / "state"), "--backfill", f"{HOURS}h"]

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            return subprocess.Popen(command, cwd=tmp_path, env=settings, stdin=subprocess.DEVNULL, stdout=out,
                                    stderr=out)

    start_time = time.time_ns()
    with start() as process:
        until(lambda: count_points(influxdb, bucket) > 500, 60, f"the first points; see {log}")
        process.kill()
    with start() as process:
        def is_complete() -> bool:
            seconds = HOURS * 3600 + (time.time_ns() - start_time) // SECOND
            return count_points(influxdb, bucket) >= (seconds - 4) * 5

        until(is_complete, 600, f"all of it; see {log}")
        print(f"backfill of {HOURS} h: {(time.time_ns() - start_time) / SECOND:.1f} s")
        process.send_signal(signal.SIGTERM)
    assert "5 loops restored" in log.read_text()
    points = [point for hour in range(HOURS + 1) for point in influxdb.points(
        bucket, start=start_time + (hour - HOURS) * 3600 * SECOND - 5 * SECOND,
        stop=start_time + (hour + 1 - HOURS) * 3600 * SECOND - 5 * SECOND)]
    times = sorted({point.time for point in points})
    assert times == list(range(times[0], times[-1] + 1, SECOND)), "a gap or a repetition"
    first = datetime.fromtimestamp(times[0] // SECOND, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    result = subprocess.run([*clpm_execd, "generate", "--start", first, "--duration", f"{len(times)}s"],
                            env=settings, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True)
    lines = [LINE.fullmatch(line) for line in result.stdout.splitlines()]
    expected = {(int(m[4]), m[2]): (m[1], {name: float(text) for name, text in (f.split("=") for f in m[3].split(","))})
                for m in lines if m}
    assert {(point.time, point.loop): (point.mode, point.fields) for point in points} == expected
