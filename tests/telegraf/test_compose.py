"""The images and compose.yaml in real containers: they build, come up, and every loop arrives in InfluxDB."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from parts import ROOT, SECOND, InfluxDB, Podman, free_port, until

COMPOSE = ROOT / "telegraf" / "compose.yaml"
LOOPS = {"TIC208030", "TIC208031", "TIC208032", "TIC208033", "TIC208034"}

# A build installs Debian's and Python's packages from the net, into images of 400 MB.
pytestmark = pytest.mark.timeout(600)


class Stack:
    """The services of compose.yaml as a project of its own, on a port of its own."""

    def __init__(self, podman: Podman, folder: Path) -> None:
        self.podman = podman
        self.project = f"clpm-{uuid.uuid4().hex[:8]}"
        port = free_port()
        self.server = InfluxDB(f"http://127.0.0.1:{port}")
        self.settings = {
            "INFLUXDB_TOKEN": self.server.token,
            "INFLUXDB_ORG": self.server.org,
            "INFLUXDB_BUCKET": self.server.bucket,
            "INFLUXDB_PORT": f"127.0.0.1:{port}",
        }
        self.build_options = " ".join(podman.build_options(folder))

    def compose(self, *words: str, timeout: float = 120, check: bool = True) -> None:
        self.podman.run(
            *("podman-compose", "-f", str(COMPOSE), "-p", self.project),
            f"--podman-build-args={self.build_options}",
            *words,
            timeout=timeout,
            check=check,
            **self.settings,
        )

    def instants(self) -> list[int]:
        """The instants at which all five loops stand in InfluxDB."""
        points = self.server.points(self.server.bucket)
        loops: dict[int, set[str]] = {}
        for point in points:
            loops.setdefault(point.time, set()).add(point.loop)
        assert set().union(*loops.values()) <= LOOPS
        return sorted(time for time, there in loops.items() if there == LOOPS)

    def says(self, service: str) -> str:
        name = f"{self.project}_{service}_1"
        said = self.podman.run("podman", "logs", "--tail", "50", name, check=False)
        return said.stdout + said.stderr

    def is_healthy(self, service: str) -> bool:
        name = f"{self.project}_{service}_1"
        return self.podman.run("podman", "healthcheck", "run", name, check=False).returncode == 0

    def remove(self) -> None:
        self.compose("down", "-v", "-t", "2", check=False)
        self.podman.run("podman", "network", "rm", "-f", f"{self.project}_default", check=False)
        # What the build replaced: without this every run would leave 700 MB behind.
        self.podman.run("podman", "image", "prune", "-f", check=False)


@pytest.fixture
def stack(podman: Podman, tmp_path: Path) -> Iterator[Stack]:
    services = Stack(podman, tmp_path)
    try:
        yield services
    finally:
        services.remove()


def assert_five_loops_arrive(stack: Stack, service: str) -> None:
    stack.compose("build", service, timeout=400)
    stack.compose("up", "-d", "influxdb")
    until(stack.server.is_up, 60, "InfluxDB's answer from its container")
    stack.compose("up", "-d", "influxdb", service)
    try:
        until(lambda: len(stack.instants()) >= 5, 60, "five instants of five loops in InfluxDB")
    except pytest.fail.Exception as failure:
        pytest.fail(f"{failure}\n{stack.says(service)}")
    times = stack.instants()
    assert all(later - before == SECOND for before, later in itertools.pairwise(times))


def test_compose_brings_five_loops_through_telegraf_into_influxdb(stack: Stack) -> None:
    assert_five_loops_arrive(stack, "telegraf")
    assert stack.is_healthy("influxdb")
    assert stack.is_healthy("telegraf")
    assert " E! " not in stack.says("telegraf")


def test_compose_brings_five_loops_through_the_direct_writer_into_influxdb(stack: Stack) -> None:
    assert_five_loops_arrive(stack, "direct")
    said = stack.says("direct")
    assert stack.server.token not in said
    whoami = stack.podman.run("podman", "exec", f"{stack.project}_direct_1", "id", "-u")
    assert whoami.stdout.strip() != "0", "the direct writer runs as root"
