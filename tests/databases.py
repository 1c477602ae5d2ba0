"""The databases that the program writes to and reads from, each of them a real server on a loopback port.

InfluxDB 3 is a server of the tests that answers as its documentation says (influxdb3_contract.py).
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import influxdb3_contract
import parts
from parts import Point, free_port, running, until

from clpm_execd.influx.answer import WriteOutcome
from clpm_execd.influx.client import InfluxClient
from clpm_execd.influx.dialects import QueryRange
from clpm_execd.influx.query import QueryClient
from clpm_execd.influx.server_identity import identify_server
from clpm_execd.units import parse_time

NOT_FIELDS = {"_time", "time", "timestamp", "loop_id", "Mode"}


@dataclass
class Database:
    """A database of a server.

    name: what `check` calls the server. limitations: how the warnings of `check` begin, one each. settle: waits until
    what was written can be read.
    """

    name: str
    url: str
    bucket: str
    token: str = "any"
    org: str = "any"
    limitations: tuple[str, ...] = ()
    settle: Callable[[], None] = lambda: None

    @property
    def environment(self) -> dict[str, str]:
        return {"INFLUXDB_URL": self.url, "INFLUXDB_TOKEN": self.token, "INFLUXDB_ORG": self.org,
                "INFLUXDB_BUCKET": self.bucket}

    def write(self, lines: bytes) -> None:
        with contextlib.closing(InfluxClient(self.url, self.org, self.bucket, lambda: self.token)) as influx:
            batch = lines.splitlines(keepends=True)
            for start in range(0, len(batch), 5000):
                answer = influx(b"".join(batch[start : start + 5000]))
                assert answer.outcome is WriteOutcome.WRITTEN, answer
        # VictoriaMetrics remembers for a moment that there were no such metrics.
        until(lambda: self.points(0), 30, "the samples")

    def points(self, start: int) -> list[Point]:
        """Every sample from start on, by time and loop; a field that a point lacks is absent."""
        self.settle()
        dialect = identify_server(QueryClient(self.url, lambda: self.token, self.org, self.bucket)).dialect
        rows: list[Point] = []
        for row in csv.DictReader(dialect.rows("control_loops", ("loop_id", "Mode"), QueryRange(start))):
            names = {row["_field"]: row["_value"]} if "_field" in row else row
            fields = {name: float(text) for name, text in names.items() if name not in NOT_FIELDS and text}
            rows.append(Point(row["loop_id"], row["Mode"], fields, parse_time(row["_time"], 0)))
        rows.sort(key=lambda point: (point.time, point.loop))
        points: list[Point] = []
        for row in rows:  # a server of metrics has a row per field
            if points and (row.time, row.loop) == (points[-1].time, points[-1].loop) and row.fields.keys().isdisjoint(
                    points[-1].fields):
                points[-1].fields.update(row.fields)
            else:
                points.append(row)
        return points


def get(url: str, **parameters: str) -> str:
    """The answer to a GET."""
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    with urllib.request.urlopen(url + query, timeout=20) as answer:
        text: str = answer.read().decode()
        return text


def answers(url: str) -> bool:
    """Whether there is a server already."""
    with contextlib.suppress(OSError):
        get(url)
        return True
    return False


@contextmanager
def influxdb1(part: str, folder: Path) -> Iterator[Database]:
    """InfluxDB 1 with users, and a database that keeps points for ever."""
    path, port, rpc = parts.binary(part, "influxd"), free_port(), free_port()
    config = folder / "influxdb.conf"
    config.write_text(
        f'reporting-disabled = true\nbind-address = "127.0.0.1:{rpc}"\n'
        f'[meta]\ndir = "{folder}/meta"\n[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\n'
        f'[http]\nbind-address = "127.0.0.1:{port}"\nauth-enabled = true\nlog-enabled = false\n'
        "[monitor]\nstore-enabled = false\n")
    url = f"http://127.0.0.1:{port}"
    with running([str(path), "run", "-config", str(config)], folder / "influxd.log", env={"HOME": str(folder)}):
        until(lambda: answers(f"{url}/ping"), 30, f"InfluxDB at {url}")
        user = {"u": "clpm", "p": "control-loops"}
        for query, login in (("CREATE USER clpm WITH PASSWORD 'control-loops' WITH ALL PRIVILEGES", {}),
                             ("CREATE DATABASE plant", user)):
            body = urllib.parse.urlencode({"q": query}).encode()
            with urllib.request.urlopen(f"{url}/query?{urllib.parse.urlencode(login)}", data=body) as answer:
                assert "error" not in answer.read().decode()
        version = parts.version(part) + "~rc0" * (part == "influxdb16")  # which Debian's calls itself
        yield Database(f"InfluxDB {version}", url, "plant", ":".join(user.values()))


@contextmanager
def influxdb2(part: str, folder: Path) -> Iterator[Database]:
    with parts.influxdb(parts.binary(part, "influxd"), folder) as server:
        yield Database(f"InfluxDB {parts.version(part)}", server.url, server.bucket, server.token, server.org)


@contextmanager
def influxdb3(part: str, folder: Path) -> Iterator[Database]:
    server = influxdb3_contract.InfluxDB3()
    with influxdb3_contract.serving(server) as url:
        yield Database(f"InfluxDB {influxdb3_contract.VERSION} Core", url, server.bucket, server.token,
                       limitations=("InfluxDB 3 Core answers a query over at most 432 of its files",))


@contextmanager
def victoriametrics(part: str, folder: Path) -> Iterator[Database]:
    """VictoriaMetrics, started as docs/databases.md says."""
    path, address = parts.binary(part, "victoria-metrics"), f"127.0.0.1:{free_port()}"
    command = [str(path), f"-httpListenAddr={address}", f"-storageDataPath={folder}/data", "-retentionPeriod=100y",
               "-dedup.minScrapeInterval=1ms"]
    with running(command, folder / "victoria-metrics.log"):
        until(lambda: answers(f"http://{address}/health"), 30, f"VictoriaMetrics at {address}")

        def flush() -> None:
            get(f"http://{address}/internal/force_flush")

        yield Database("VictoriaMetrics", f"http://{address}", "any", settle=flush, limitations=(
            "VictoriaMetrics stores numbers, with times in ms", "VictoriaMetrics accepts lines that it cannot read",
            "VictoriaMetrics acknowledges points up to 5 s before they are on disk"))


@contextmanager
def questdb(part: str, folder: Path) -> Iterator[Database]:
    """QuestDB with the tables of docs/databases.md."""
    jar, port = parts.PARTS / f"questdb-{parts.version(part)}.jar", free_port()
    if not jar.exists():
        parts.missing(part)
    (folder / "conf").mkdir()
    (folder / "conf" / "server.conf").write_text(
        f"http.bind.to=127.0.0.1:{port}\nhttp.min.enabled=false\npg.enabled=false\nline.tcp.enabled=false\n"
        "telemetry.enabled=false\n")
    url = f"http://127.0.0.1:{port}"
    command = ["java", "-Xmx512m", "-p", str(jar), "-m", "io.questdb/io.questdb.ServerMain", "-d", str(folder)]

    def wait() -> None:
        until(is_settled, 30, "the rows in their tables")

    def is_settled() -> bool:
        answer = get(f"{url}/exec", query="SELECT count() FROM wal_tables() WHERE writerTxn <> sequencerTxn")
        return bool(json.loads(answer)["dataset"] == [[0]])

    with running(command, folder / "questdb.log"):
        until(lambda: answers(f"{url}/ping"), 60, f"QuestDB at {url}")
        for statement in statements_of_the_page():
            get(f"{url}/exec", query=statement)
        yield Database("QuestDB", url, "any", settle=wait)


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty database of Debian's PostgreSQL, which does not run as root."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        parts.missing("postgresql")
    folder, port = Path(tempfile.mkdtemp(prefix="postgresql-")), free_port()
    user = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
    try:
        data = ["-D", str(folder / "data")]
        initdb = [*user, str(programs[-1] / "initdb"), *data, "-A", "trust", "-U", "clpm", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder, timeout=60)
        server = [*user, str(programs[-1] / "postgres"), *data, "-k", str(folder), "-p", str(port),
                  "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        url = f"postgres://clpm@127.0.0.1:{port}/postgres?sslmode=disable"
        with running(server, folder / "log", cwd=folder):
            until(lambda: psql(url, "SELECT 1"), 30, "PostgreSQL")
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def psql(url: str, query: str) -> str:
    """The answer to a query as CSV with a header; '' if there is none."""
    command = ["psql", "--csv", "-c", query, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout


def statements_of_the_page() -> list[str]:
    """The statements of SQL in docs/databases.md, which are QuestDB's."""
    page = (parts.ROOT / "clpm_execd" / "docs" / "databases.md").read_text()
    [block] = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    return block.split(";")[:-1]


Start = Callable[[str, Path], AbstractContextManager[Database]]
# By part of .ci/parts; the others take long to get or to start, and run in campaigns.
QUICK: dict[str, Start] = {"influxdb16": influxdb1, "influxdb18": influxdb1, "influxdb": influxdb2,
                           "influxdb3": influxdb3, "victoriametrics": victoriametrics}
SLOW: dict[str, Start] = {"victoriametrics_new": victoriametrics, "questdb": questdb}

