"""A day without the server: nothing is lost, and memory does not grow."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from faulty_proxy import FaultyProxy
from parts import ROOT, InfluxDB
from tiers import CAMPAIGNS

DAY = 86_400


@pytest.mark.timeout(1800 if CAMPAIGNS else 300)
@pytest.mark.parametrize(("loops", "interval"), [
    (200, 80),
    pytest.param(5, 1, marks=pytest.mark.campaign),
])
def test_a_day_without_the_server_loses_nothing_and_memory_does_not_grow(
    influxdb: InfluxDB, tmp_path: Path, loops: int, interval: int
) -> None:
    bucket = influxdb.new_bucket()
    ticks = DAY // interval + 100
    arguments = [influxdb.org, bucket, influxdb.token, str(tmp_path), str(loops), str(ticks), str(interval)]
    with closing(FaultyProxy(influxdb.url)) as proxy, (tmp_path / "log").open("w") as log:
        proxy.down()
        stream = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("outage.py")), proxy.url, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        with stream:
            assert stream.stdout is not None
            assert stream.stdin is not None
            assert stream.stdout.readline() == "over\n", (tmp_path / "log").read_text()
            files = len(os.listdir(tmp_path / "spool"))
            proxy.up()
            stream.stdin.write("\n")
            stream.stdin.flush()
            before, most = map(int, stream.stdout.read().split())
    log_text = (tmp_path / "log").read_text()
    assert f"stop: {ticks * loops} points written, 0 rejected, 0 dropped, 0 pending" in log_text
    assert files < 200
    assert most - before < 10_000, (before, most)
    rows = influxdb.query(
        f'from(bucket: "{bucket}") |> range(start: 0, stop: 2100-01-01T00:00:00Z)'
        ' |> filter(fn: (r) => r._field == "PV") |> group() |> count()'
    )
    assert int(rows[0]["_value"]) == ticks * loops
    assert not os.listdir(tmp_path / "spool")
    print(f"{ticks * loops} points in {files} files; {before} kB before, {most} kB at most")
