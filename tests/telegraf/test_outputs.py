"""The outputs in telegraf/outputs: what the loops send is in every database, once, and can be scored there."""

from __future__ import annotations

import contextlib
import csv
import signal
import subprocess
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import pytest
from command import run_command
from databases import influxdb1, influxdb3, postgresql, psql, victoriametrics
from parts import ROOT, Point, Telegraf, points_of, until

from clpm_execd.units import parse_time

OUTPUTS = ROOT / "telegraf" / "outputs"
PLUGIN = ROOT / "telegraf" / "clpm-execd.conf"
SAMPLES = 6
ALARMS = "loop,start,end,fault\nFIC101,{},,stiction\n"


def plant(folder: Path) -> str:
    """Write a plant that starts 3 s from now; return when."""
    start = datetime.fromtimestamp(int(time.time()) + 3, timezone.utc).isoformat().replace("+00:00", "Z")
    (folder / "loops.toml").write_text(
        f'start = "{start}"\n[output]\ntruth = true\n[[loop]]\nid = "FIC101"\ntype = "flow"\n'
        '[[loop.fault]]\nkind = "stiction"\nstart = "0s"\n[[loop]]\nid = "TIC102"\n')
    return start


def filled(folder: Path, name: str, values: Mapping[str, str]) -> Path:
    """A shipped output with values in place of its variables."""
    text = (OUTPUTS / name).read_text()
    for variable, value in values.items():
        assert f'"${{{variable}}}"' in text
        text = text.replace(f'"${{{variable}}}"', f'"{value}"')
    assert '"${' not in text
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize("name", sorted(path.name for path in OUTPUTS.glob("*.conf")))
def test_telegraf_accepts_the_configurations(collector: Telegraf, name: str) -> None:
    names = ("INFLUXDB_URL", "INFLUXDB_TOKEN", "INFLUXDB_DATABASE", "INFLUXDB_USER", "INFLUXDB_PASSWORD",
             "REMOTE_WRITE_URL", "PARQUET_FOLDER")
    collector.environment |= dict.fromkeys(names, "http://127.0.0.1:1") | {"POSTGRESQL_URL": "postgres://127.0.0.1:1/x"}
    checked = collector.once("config", "check", "--config", str(OUTPUTS / name), "--config", str(PLUGIN))
    assert checked.returncode == 0, checked.stderr
    assert " E! " not in checked.stderr


@pytest.mark.timeout(120)
def test_every_output_has_every_sample_and_the_ground_truth(
    collector: Telegraf, clpm_execd: list[str], tmp_path: Path
) -> None:
    with contextlib.ExitStack() as servers:
        folders = {name: tmp_path / name for name in ("one", "three", "metrics", "parquet")}
        for folder in folders.values():
            folder.mkdir()
        one = servers.enter_context(influxdb1("influxdb18", folders["one"]))
        three = servers.enter_context(influxdb3("influxdb3", folders["three"]))
        metrics = servers.enter_context(victoriametrics("victoriametrics", folders["metrics"]))
        url = servers.enter_context(postgresql())
        user, _, password = one.token.partition(":")
        outputs = [
            filled(tmp_path, "influxdb1.conf", {"INFLUXDB_URL": one.url, "INFLUXDB_DATABASE": one.bucket,
                                                "INFLUXDB_USER": user, "INFLUXDB_PASSWORD": password}),
            filled(tmp_path, "influxdb3.conf", {"INFLUXDB_URL": three.url, "INFLUXDB_DATABASE": three.bucket,
                                                "INFLUXDB_TOKEN": three.token}),
            filled(tmp_path, "remote-write.conf", {"REMOTE_WRITE_URL": f"{metrics.url}/api/v1/write"}),
            filled(tmp_path, "postgresql.conf", {"POSTGRESQL_URL": url}),
            filled(tmp_path, "parquet.conf", {"PARQUET_FOLDER": str(folders["parquet"])}),
        ]
        start = plant(tmp_path)
        with collector.agent(*outputs, PLUGIN, CLPM_LOOPS=str(tmp_path / "loops.toml")) as agent:
            until(lambda: len(three.points(0)) >= 2 * SAMPLES, 30, f"samples; see {collector.log}")
            agent.send_signal(signal.SIGTERM)
            agent.wait(30)
        points = three.points(0)
        assert points == expected(start, len(points) // 2, tmp_path)
        assert one.points(0) == points
        assert metrics.points(0) == points
        assert points_in(psql(url, "SELECT * FROM control_loops").splitlines()) == points
        assert points_of_parquet(folders["parquet"]) == points
        (tmp_path / "alarms.csv").write_text(ALARMS.format(start))
        of_the_file = score(tmp_path, "--truth", "expected.lp")
        assert '"right": 1' in of_the_file
        for database in (one, three, metrics):
            assert score(tmp_path, **database.environment) == of_the_file
        export = ["psql", url, "--csv", "-f", str(OUTPUTS / "truth.sql"), "-o", "truth.csv"]
        subprocess.run(export, check=True, cwd=tmp_path)
        assert score(tmp_path, "--truth", "truth.csv") == of_the_file
    assert [line for line in collector.logged() if " E! " in line] == []


def expected(start: str, samples: int, folder: Path) -> list[Point]:
    """The samples of one process, which are written to expected.lp with the ground truth."""
    words = ["generate", "--config", "loops.toml", "--start", start, "--duration", f"{samples}s"]
    assert run_command(*words, "--output", "expected.lp", folder=folder).returncode == 0
    lines = [line for line in (folder / "expected.lp").read_text().splitlines(keepends=True) if "fault=" not in line]
    (folder / "samples.lp").write_text("".join(lines))
    return sorted(points_of(folder / "samples.lp"), key=lambda point: (point.time, point.loop))


def score(folder: Path, *options: str, **environment: str) -> str:
    """The score of faults that are present, because stiction does not show within seconds."""
    result = run_command("score", "alarms.csv", "--all", "--format", "json", *options, folder=folder, env=environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


def points_in(lines: list[str]) -> list[Point]:
    """The samples in PostgreSQL's CSV."""
    rows = [Point(row["loop_id"], row["Mode"], {name: float(row[name]) for name in ("PV", "OP", "SP")},
                  parse_time(row["time"].replace(" ", "T") + ":00", 0)) for row in csv.DictReader(lines)]
    return sorted(rows, key=lambda point: (point.time, point.loop))


def points_of_parquet(folder: Path) -> list[Point]:
    from pyarrow import parquet

    [file] = [path for path in folder.iterdir() if path.name.startswith("control_loops-")]
    rows = [Point(row["loop_id"], row["Mode"], {name: row[name] for name in ("PV", "OP", "SP")}, int(row["timestamp"]))
            for row in parquet.read_table(file).to_pylist()]
    return sorted(rows, key=lambda point: (point.time, point.loop))
