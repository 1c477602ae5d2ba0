"""The program with --direct against a real InfluxDB 2, started and stopped as a user does: nothing is lost."""

from __future__ import annotations

import contextlib
import itertools
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import parts
import pytest
from command import environment, run_command
from faulty_proxy import FaultyProxy
from parts import ROOT, SECOND, InfluxDB, free_port, small_disk, until
from parts import influxd as influxd_on

from clpm_execd.delivery.inspection import take_inventory

LOOPS = {"TIC208030", "TIC208031", "TIC208032", "TIC208033", "TIC208034"}


class Program:
    """The program with --direct, in a folder with a .env of its own."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.command = [*command, "--direct"]
        self.folder = folder
        self.log = folder / "program.log"
        self.environment = environment({"PYTHONPATH": str(ROOT)})

    def write_settings(self, server: InfluxDB, bucket: str, url: str = "") -> None:
        (self.folder / ".env").write_text(
            f"INFLUXDB_URL={url or server.url}\nINFLUXDB_TOKEN={server.token}\n"
            f"INFLUXDB_ORG={server.org}\nINFLUXDB_BUCKET={bucket}\n"
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        with parts.running(self.command, self.log, cwd=self.folder, env=self.environment) as process:
            yield process

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        process.send_signal(signal.SIGTERM)
        return process.wait(20)

    def log_text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


@pytest.fixture
def program(clpm_execd: list[str], tmp_path: Path) -> Program:
    return Program(clpm_execd, tmp_path)


def sample_times(server: InfluxDB, bucket: str) -> list[int]:
    return sorted({point.time for point in server.points(bucket)})


def assert_complete(server: InfluxDB, bucket: str, interval: int = SECOND) -> None:
    points = server.points(bucket)
    times = sample_times(server, bucket)
    assert {point.loop for point in points} == LOOPS
    assert len(points) == len(times) * len(LOOPS)
    assert all(set(point.fields) == {"PV", "OP", "SP"} for point in points)
    assert all(later - before == interval for before, later in itertools.pairwise(times)), times


def test_the_five_loops_are_in_the_bucket_at_every_sample_time(program: Program, influxdb: InfluxDB) -> None:
    bucket = influxdb.new_bucket()
    program.write_settings(influxdb, bucket)
    with program.running() as process:
        until(lambda: len(sample_times(influxdb, bucket)) >= 5, 40, f"five sample times; see {program.log}")
        assert program.stop(process) == 0
    assert_complete(influxdb, bucket)
    assert influxdb.token not in program.log_text()


def test_a_server_that_is_killed_and_started_again_misses_nothing(
    program: Program, influxd: Path, tmp_path: Path
) -> None:
    data = tmp_path / "influxdb"
    data.mkdir()
    port = free_port()
    with contextlib.ExitStack() as stack:
        with influxd_on(influxd, data, port) as server:
            server.set_up()
            program.write_settings(server, server.bucket)
            process = stack.enter_context(program.running())
            until(lambda: len(sample_times(server, server.bucket)) >= 3, 40, f"three sample times; see {program.log}")
            before = sample_times(server, server.bucket)
        # The server was killed.
        until(lambda: "WARNING" in program.log_text(), 30, f"the outage; see {program.log}")
        with influxd_on(influxd, data, port) as server:
            until(
                lambda: len(sample_times(server, server.bucket)) >= len(before) + 6,
                60,
                f"six more sample times; see {program.log}",
            )
            assert program.stop(process) == 0
            assert_complete(server, server.bucket)
            assert set(before) <= set(sample_times(server, server.bucket))


def test_a_full_disk_and_an_outage_together_miss_nothing(program: Program, influxdb: InfluxDB) -> None:
    bucket = influxdb.new_bucket()
    with small_disk(program.folder / "disk", "700k") as disk, closing(FaultyProxy(influxdb.url)) as proxy:
        proxy.down()
        program.write_settings(influxdb, bucket, url=proxy.url)
        program.command += ["--state", str(disk), "--interval", "20ms"]
        filler = disk / "filler"
        filler.write_bytes(bytes(500_000))
        with program.running() as process:
            until(lambda: "cannot write the queue" in program.log_text(), 60, f"a full disk; see {program.log}")
            time.sleep(1)
            filler.unlink()
            until(lambda: "writing the queue to" in program.log_text(), 60, f"free space; see {program.log}")
            proxy.up()
            until(lambda: take_inventory(disk).points < 20, 60, f"all pending points to be written; see {program.log}")
            assert program.stop(process) == 0
        assert "0 rejected, 0 dropped, " in program.log_text()
        assert "Traceback" not in program.log_text()
        assert not (disk / "corrupt").exists()
    assert_complete(influxdb, bucket, SECOND // 50)


def test_check_reports_errors_of_the_connection(program: Program, influxdb: InfluxDB) -> None:
    program.write_settings(influxdb, "no-such-bucket")
    checked = run_command("check", "--direct", folder=program.folder)
    assert checked.returncode == 2
    assert "no-such-bucket" in checked.stdout + checked.stderr
    assert influxdb.token not in checked.stdout + checked.stderr


def test_check_compares_a_backfill_with_the_retention_of_the_bucket(program: Program, influxdb: InfluxDB) -> None:
    program.write_settings(influxdb, influxdb.new_bucket(keep=7200))
    checked = run_command("check", "--direct", "--backfill", "7d", folder=program.folder)
    assert checked.returncode == 2
    assert checked.stderr.startswith("--backfill: reaches back 7 d, and bucket ")
