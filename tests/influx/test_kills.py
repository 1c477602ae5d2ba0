"""Killed again and again behind a proxy with every fault: each sample of each loop is there once, with its value."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path

import pytest
from command import environment
from faulty_proxy import FaultyProxy, mixed, no_trouble
from parts import ROOT, SECOND, InfluxDB, until
from tiers import CAMPAIGNS

from clpm_execd.delivery.inspection import take_inventory
from clpm_execd.delivery.quarantine import read_incidents
from clpm_execd.delivery.queue import split_lines
from clpm_execd.influx.client import InfluxClient

KILLS = 1000 if CAMPAIGNS else 100
CHAINS = 4  # streams that are killed at the same time, each with a folder, a bucket and a proxy of its own
LIVES = (0.05, 1.5) if CAMPAIGNS else (0.03, 0.45)  # s
FAULTY = 0.5  # of all requests
SPOILED = 0.01  # of all lines


class Chain:
    """One stream and its lives."""

    def __init__(self, server: InfluxDB, folder: Path, number: int) -> None:
        self.server, self.folder = server, folder
        self.bucket = server.new_bucket()
        self.rng = random.Random(number)
        self.proxy = FaultyProxy(server.url, mixed(random.Random(number), FAULTY), spoil)
        self.start = time.time_ns() // SECOND * SECOND
        folder.mkdir()
        start = datetime.fromtimestamp(self.start / SECOND, timezone.utc).isoformat().replace("+00:00", "Z")
        (folder / "loops.toml").write_text(f'seed = {number}\ninterval = "100ms"\nstart = {start}\n')
        (folder / ".env").write_text(
            f"INFLUXDB_URL={self.proxy.url}\nINFLUXDB_TOKEN={server.token}\n"
            f"INFLUXDB_ORG={server.org}\nINFLUXDB_BUCKET={self.bucket}\nCLPM_LOOPS=loops.toml\n"
        )
        # The type of a field is what a shard saw first.
        with contextlib.closing(InfluxClient(server.url, server.org, self.bucket, lambda: server.token)) as writer:
            writer(b"control_loops,Mode=AUT,loop_id=first OP=1,PV=1,SP=1 %d\n" % (self.start - SECOND))

    @contextlib.contextmanager
    def lives(self) -> Iterator[subprocess.Popen[str]]:
        with (self.folder / "log").open("w") as log, subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forked_program.py")), "--direct", "--state", "state"],
            cwd=self.folder, env=environment({"PYTHONPATH": str(ROOT)}), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def start_program(self, process: subprocess.Popen[str]) -> int:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    def run(self, kills: int) -> None:
        with contextlib.closing(self.proxy), self.lives() as process:
            assert process.stdout is not None
            for _ in range(kills):
                pid = self.start_program(process)
                time.sleep(self.rng.uniform(*LIVES))
                os.kill(pid, signal.SIGKILL)
                assert int(process.stdout.readline()) == signal.SIGKILL, (self.folder / "log").read_text()
            self.proxy.trouble = no_trouble
            killed = time.time_ns()
            pid = self.start_program(process)
            until(lambda: self.pending() < 50 and self.written_until() > killed + SECOND, 600,
                  f"the remaining points; see {self.folder / 'log'}")
            os.kill(pid, signal.SIGTERM)
            assert int(process.stdout.readline()) == 0

    def pending(self) -> int:
        """Return the points in the queue."""
        time.sleep(0.2)
        return take_inventory(self.folder / "state").points

    def written_until(self) -> int:
        rows = self.server.query(
            f'from(bucket: "{self.bucket}") |> range(start: 0, stop: 2100-01-01T00:00:00Z)'
            ' |> filter(fn: (r) => r._field == "SP") |> last() |> group() |> map(fn: (r) => ({t: int(v: r._time)}))'
        )
        return max((int(row["t"]) for row in rows), default=0)

    def generated(self, command: list[str], until_time: int) -> list[bytes]:
        """Return the lines of a stream that was never killed."""
        start = datetime.fromtimestamp(self.start / SECOND, timezone.utc).isoformat()
        seconds = (until_time - self.start) / SECOND + 0.1
        words = ["generate", "--config", "loops.toml", "--start", start, "--duration", f"{seconds:.1f}"]
        result = subprocess.run([*command, *words], cwd=self.folder, capture_output=True, check=True,
                                env={**os.environ, "PYTHONPATH": str(ROOT)})
        return split_lines(result.stdout)


def spoil(line: bytes) -> str:
    rng = random.Random(line)
    if b"loop_id=TIC" not in line or rng.random() >= SPOILED:
        return ""
    return rng.choice(("type", "syntax"))


def value_of(line: bytes) -> tuple[int, str, str, dict[str, float]]:
    series, fields, stamp = line.decode().split()
    tags = dict(tag.split("=") for tag in series.split(",")[1:])
    values = {name: float(text) for name, text in (pair.split("=") for pair in fields.split(","))}
    return int(stamp), tags["loop_id"], tags["Mode"], values


@pytest.mark.timeout(1800)
def test_after_kills_every_sample_of_every_loop_is_there_once_as_if_there_had_been_none(
    influxdb: InfluxDB, tmp_path: Path, clpm_execd: list[str]
) -> None:
    chains = [Chain(influxdb, tmp_path / str(number), number) for number in range(CHAINS)]
    with ThreadPoolExecutor(CHAINS) as pool:
        list(pool.map(lambda chain: chain.run(KILLS // CHAINS), chains))
    met: dict[str, int] = {}
    for chain in chains:
        points = [point for point in influxdb.points(chain.bucket) if point.loop != "first"]
        # The stream starts with the first point that it had put before it was killed.
        lines = chain.generated(clpm_execd, points[-1].time)
        expected = [line for line in lines if value_of(line)[0] >= points[0].time]
        rejected = [line for line in expected if spoil(line)]
        written = [value_of(line) for line in expected if not spoil(line)]
        assert [(point.time, point.loop, point.mode, point.fields) for point in points] == written
        quarantined = [line for incident in read_incidents(chain.folder / "state") for line in incident.lines]
        assert sorted(quarantined) == sorted(rejected)
        assert not os.listdir(chain.folder / "state" / "spool")
        assert not (chain.folder / "state" / "corrupt").exists()
        assert influxdb.token not in (chain.folder / "log").read_text()
        met = {fault: met.get(fault, 0) + count for fault, count in chain.proxy.met.items()} | met
    print(f"{KILLS} kills; requests by what they met: {met}")
