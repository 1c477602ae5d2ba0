"""A fleet: shards of one plant under Telegrafs of their own, NATS JetStream between them and InfluxDB."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from parts import PARTS, ROOT, InfluxDB, Point, Telegraf, free_port, missing, points_of, running, until, version
from tiers import CAMPAIGNS

FLEET = ROOT / "telegraf" / "fleet"
PRODUCER, CONSUMER = FLEET / "nats-from-loops.conf", FLEET / "nats-to-influxdb.conf"
INSTANTS = 60 if CAMPAIGNS else 6
LOOPS = 40


class Nats:
    """A NATS server as shipped on a loopback port, its store in a folder; it may be ended and started again."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._folder, self._port, self._monitor = folder, free_port(), free_port()
        config = folder / "nats-server.conf"
        text = (FLEET / "nats-server.conf").read_text()
        assert text.count('"/var/lib/nats"') == 1
        config.write_text(text.replace('"/var/lib/nats"', f'"{folder / "jetstream"}"'))
        ports = ["-p", str(self._port), "-m", str(self._monitor)]
        self._command = [str(path), "-a", "127.0.0.1", *ports, "-c", str(config)]
        self.url = f"nats://127.0.0.1:{self._port}"

    @contextlib.contextmanager
    def up(self) -> Iterator[subprocess.Popen[bytes]]:
        with running(self._command, self._folder / "nats.log") as server:
            until(self._answers, 20, f"NATS at {self.url}")
            yield server

    def settings(self) -> dict[str, Any]:
        """The settings of JetStream in the running server."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._monitor}/jsz", timeout=10) as answer:
            settings: dict[str, Any] = json.load(answer)["config"]
            return settings

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1) as connection:
            return connection.recv(4) == b"INFO"
        return False


@pytest.fixture
def nats(nats_server: Path, tmp_path: Path) -> Nats:
    return Nats(nats_server, tmp_path)


class Kafka:
    """A Kafka broker on a loopback port, its own controller, with its topics in a folder."""

    def __init__(self, jars: Path, folder: Path) -> None:
        port, controller = free_port(), free_port()
        self.address, self._folder = f"127.0.0.1:{port}", folder
        settings = folder / "server.properties"
        settings.write_text(
            "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n"
            f"controller.quorum.voters=1@127.0.0.1:{controller}\n"
            f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n"
            f"log.dirs={folder}/topics\noffsets.topic.replication.factor=1\nnum.partitions=2\n")
        java = ["java", "-Xmx512m", "-cp", f"{jars}/*"]
        command = [*java, "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(settings)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        self._command = [*java, "kafka.Kafka", str(settings)]

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        with running(self._command, self._folder / "kafka.log"):
            until(self._answers, 60, f"Kafka at {self.address}")
            yield

    def _answers(self) -> bool:
        host, _, port = self.address.partition(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return True
        return False


def agents(telegraf: Path, folder: Path, program: list[str], *names: str) -> list[Telegraf]:
    for name in names:
        (folder / name).mkdir()
    return [Telegraf(telegraf, folder / name, program) for name in names]


@contextlib.contextmanager
def with_its_stream(producer: Telegraf) -> Iterator[None]:
    """A consumer ends where the stream that it is to read is not there."""
    until(lambda: any("successfully created" in line for line in producer.logged()), 30, "the producer's stream")
    yield


def to_influxdb(server: InfluxDB, bucket: str) -> Mapping[str, str]:
    return {"INFLUXDB_URL": server.url, "INFLUXDB_TOKEN": server.token, "INFLUXDB_ORG": server.org,
            "INFLUXDB_BUCKET": bucket}


def plant(folder: Path, seconds: int) -> tuple[Path, str]:
    """A plant that starts in so many seconds, and when that is."""
    start = datetime.fromtimestamp(int(time.time()) + seconds, timezone.utc).isoformat().replace("+00:00", "Z")
    path = folder / "loops.toml"
    path.write_text(f'start = "{start}"\n[[loop]]\nid = "FIC{{:03d}}"\ntype = "flow"\ncount = {LOOPS}\n')
    return path, start


def expected(program: list[str], loops: Path, start: str, n: int, folder: Path) -> list[Point]:
    """The plant of one process."""
    lines = folder / "expected.lp"
    words = ["generate", "--config", str(loops), "--start", start, "--duration", f"{n}s", "--output", str(lines)]
    subprocess.run([*program, *words], check=True, cwd=folder)
    return sorted(points_of(lines), key=lambda point: (point.time, point.loop))


@pytest.mark.parametrize("name", ["kafka-from-loops.conf", "kafka-to-influxdb.conf", PRODUCER.name, CONSUMER.name])
def test_telegraf_accepts_the_configurations(collector: Telegraf, name: str) -> None:
    collector.environment |= {"NATS_URL": "nats://127.0.0.1:4222", "KAFKA_BROKER": "127.0.0.1:9092"}
    collector.environment |= {f"INFLUXDB_{key}": "x" for key in ("URL", "TOKEN", "ORG", "BUCKET")}
    checked = collector.once("config", "check", "--config", str(FLEET / name))
    assert checked.returncode == 0, checked.stderr
    assert " E! " not in checked.stderr


def test_a_pod_s_shard_is_one_of_as_many_as_there_are_pods() -> None:
    text = (FLEET / "statefulset.yaml").read_text()
    [replicas] = re.findall(r"kind: StatefulSet.*?replicas: (\d+)", text, re.DOTALL)
    assert re.findall(r"auto/(\d+)", text) == [replicas]


def test_nats_syncs_each_message_before_it_is_acknowledged(nats: Nats) -> None:
    with nats.up():
        assert nats.settings()["sync_always"] is True


@pytest.mark.timeout(INSTANTS + 180)
def test_shards_through_nats_are_the_plant_of_one_process(
    telegraf: Path, nats: Nats, influxdb: InfluxDB, clpm_execd: list[str], tmp_path: Path
) -> None:
    bucket = influxdb.new_bucket()
    loops, start = plant(tmp_path, 4)
    one, two, consumer = agents(telegraf, tmp_path, clpm_execd, "one", "two", "consumer")
    variables = {"NATS_URL": nats.url, "CLPM_LOOPS": str(loops)}
    with (
        nats.up(),
        one.agent(PRODUCER, **variables, CLPM_SHARD="0/2"),
        two.agent(PRODUCER, **variables, CLPM_SHARD="1/2"),
        with_its_stream(one),
        consumer.agent(CONSUMER, NATS_URL=nats.url, **to_influxdb(influxdb, bucket)),
    ):
        until(lambda: len(influxdb.points(bucket)) >= (INSTANTS + 1) * LOOPS, INSTANTS + 60, "the samples in InfluxDB")
    of_one_process = expected(clpm_execd, loops, start, INSTANTS, tmp_path)
    last = of_one_process[-1].time
    assert [point for point in influxdb.points(bucket) if point.time <= last] == of_one_process
    row, *_ = influxdb.query(f'from(bucket: "{bucket}") |> range(start: 0) |> limit(n: 1)')
    assert {name for name in row if name and not name.startswith("_")} == {"result", "table", "Mode", "loop_id"}


@pytest.mark.campaign
@pytest.mark.timeout(INSTANTS + 240)
def test_shards_through_kafka_are_the_plant_of_one_process(
    telegraf: Path, influxdb: InfluxDB, clpm_execd: list[str], tmp_path: Path
) -> None:
    jars = PARTS / f"kafka-{version('kafka')}"
    if not jars.exists():
        missing("kafka")
    bucket, kafka = influxdb.new_bucket(), Kafka(jars, tmp_path)
    one, two, consumer = agents(telegraf, tmp_path, clpm_execd, "one", "two", "consumer")
    with kafka.up():
        loops, start = plant(tmp_path, 5)
        variables = {"KAFKA_BROKER": kafka.address, "CLPM_LOOPS": str(loops), **to_influxdb(influxdb, bucket)}
        with (
            one.agent(FLEET / "kafka-from-loops.conf", **variables, CLPM_SHARD="0/2"),
            two.agent(FLEET / "kafka-from-loops.conf", **variables, CLPM_SHARD="1/2"),
            consumer.agent(FLEET / "kafka-to-influxdb.conf", **variables),
        ):
            until(lambda: len(influxdb.points(bucket)) >= (INSTANTS + 1) * LOOPS, INSTANTS + 90, "samples in InfluxDB")
    of_one_process = expected(clpm_execd, loops, start, INSTANTS, tmp_path)
    assert [point for point in influxdb.points(bucket) if point.time <= of_one_process[-1].time] == of_one_process


@pytest.mark.timeout(INSTANTS + 180)
def test_nothing_is_lost_when_nats_and_the_consumer_are_killed(
    telegraf: Path, nats: Nats, influxdb: InfluxDB, clpm_execd: list[str], tmp_path: Path
) -> None:
    bucket = influxdb.new_bucket()
    loops, start = plant(tmp_path, 3)
    producer, consumer, successor = agents(telegraf, tmp_path, clpm_execd, "producer", "consumer", "successor")
    output = {"NATS_URL": nats.url, **to_influxdb(influxdb, bucket)}

    def arrived() -> int:
        return len(influxdb.points(bucket)) // LOOPS

    with contextlib.ExitStack() as stack:
        with nats.up() as server:
            stack.enter_context(producer.agent(PRODUCER, NATS_URL=nats.url, CLPM_LOOPS=str(loops)))
            with with_its_stream(producer), consumer.agent(CONSUMER, **output):
                until(lambda: arrived() >= 2, 60, "two instants")
                server.send_signal(signal.SIGKILL)
                time.sleep(2)
        stack.enter_context(nats.up())
        stack.enter_context(successor.agent(CONSUMER, **output))
        until(lambda: arrived() >= INSTANTS + 1, INSTANTS + 60, "all samples in InfluxDB")
    of_one_process = expected(clpm_execd, loops, start, INSTANTS, tmp_path)
    assert [point for point in influxdb.points(bucket) if point.time <= of_one_process[-1].time] == of_one_process
