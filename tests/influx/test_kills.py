"""Killed again and again behind a proxy with every fault: each instant of each loop is there once, unharmed."""

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
        self.chance = random.Random(number)
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
        own = ("INFLUXDB_", "CLPM_", "STREAM_", "LOG_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        with (self.folder / "log").open("w") as log, subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forked_program.py")), "--direct", "--state", "state"],
            cwd=self.folder, env={**kept, "PYTHONPATH": str(ROOT)}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def begin(self, process: subprocess.Popen[str]) -> int:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    def run(self, kills: int) -> None:
        with contextlib.closing(self.proxy), self.lives() as process:
            assert process.stdout is not None
            for _ in range(kills):
                pid = self.begin(process)
                time.sleep(self.chance.uniform(*LIVES))
                os.kill(pid, signal.SIGKILL)
                assert int(process.stdout.readline()) == signal.SIGKILL, (self.folder / "log").read_text()
            self.proxy.trouble = no_trouble
            killed = time.time_ns()
            pid = self.begin(process)
            until(lambda: self.waiting() < 50 and self.written_until() > killed + SECOND, 600,
                  f"the rest; see {self.folder / 'log'}")  # fmt: skip
            os.kill(pid, signal.SIGTERM)
            assert int(process.stdout.readline()) == 0

    def waiting(self) -> int:
        """Points in the spool."""
        time.sleep(0.2)
        return take_inventory(self.folder / "state").points

    def written_until(self) -> int:
        rows = self.server.query(
            f'from(bucket: "{self.bucket}") |> range(start: 0, stop: 2100-01-01T00:00:00Z)'
            ' |> filter(fn: (r) => r._field == "SP") |> last() |> group() |> map(fn: (r) => ({t: int(v: r._time)}))'
        )
        return max((int(row["t"]) for row in rows), default=0)

    def generated(self, command: list[str], until_time: int) -> list[bytes]:
        """What a stream that nobody killed would have written."""
        start = datetime.fromtimestamp(self.start / SECOND, timezone.utc).isoformat()
        seconds = (until_time - self.start) / SECOND + 0.1
        words = ["generate", "--config", "loops.toml", "--start", start, "--duration", f"{seconds:.1f}"]
        done = subprocess.run([*command, *words], cwd=self.folder, capture_output=True, check=True,
                              env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
        return split_lines(done.stdout)


def spoil(line: bytes) -> str:
    chance = random.Random(line)
    if b"loop_id=TIC" not in line or chance.random() >= SPOILED:
        return ""
    return chance.choice(("type", "syntax"))


def value_of(line: bytes) -> tuple[int, str, str, dict[str, float]]:
    series, fields, stamp = line.decode().split()
    tags = dict(tag.split("=") for tag in series.split(",")[1:])
    values = {name: float(text) for name, text in (pair.split("=") for pair in fields.split(","))}
    return int(stamp), tags["loop_id"], tags["Mode"], values


@pytest.mark.timeout(1800)
def test_kills_leave_every_instant_of_every_loop_once_and_as_if_there_had_been_none(
    influxdb: InfluxDB, tmp_path: Path, clpm_execd: list[str]
) -> None:
    chains = [Chain(influxdb, tmp_path / str(number), number) for number in range(CHAINS)]
    with ThreadPoolExecutor(CHAINS) as pool:
        list(pool.map(lambda chain: chain.run(KILLS // CHAINS), chains))
    met: dict[str, int] = {}
    for chain in chains:
        found = [point for point in influxdb.points(chain.bucket) if point.loop != "first"]
        # The stream begins with the first point that it had put before it was killed.
        expected = [line for line in chain.generated(clpm_execd, found[-1].time) if value_of(line)[0] >= found[0].time]
        refused = [line for line in expected if spoil(line)]
        written = [value_of(line) for line in expected if not spoil(line)]
        assert [(point.time, point.loop, point.mode, point.fields) for point in found] == written
        put_away = [line for incident in read_incidents(chain.folder / "state") for line in incident.lines]
        assert sorted(put_away) == sorted(refused)
        assert not os.listdir(chain.folder / "state" / "spool")
        assert not (chain.folder / "state" / "corrupt").exists()
        assert influxdb.token not in (chain.folder / "log").read_text()
        met = {fault: met.get(fault, 0) + count for fault, count in chain.proxy.met.items()} | met
    print(f"{KILLS} kills; requests by what they met: {met}")
