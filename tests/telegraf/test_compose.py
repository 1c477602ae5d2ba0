"""The images and compose.yaml in real containers: they build, come up, and every loop arrives in InfluxDB."""

from __future__ import annotations

import itertools
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import run_process
from parts import ROOT, SECOND, InfluxDB, Podman, free_port, until

COMPOSE = ROOT / "telegraf" / "compose.yaml"
FIRST_POINT = 60.0  # s from `compose up` with images that are built
STOP = 2.0  # s; podman itself takes some tenths of it
MOST_MEGABYTES = 200  # over the base image
LOOPS = {"TIC208030", "TIC208031", "TIC208032", "TIC208033", "TIC208034"}

IMAGES = ("clpm-execd-telegraf", "clpm-execd")
# A program that prints a digest of the package that Python finds.
DIGEST = """
import clpm_execd, hashlib, pathlib
package = pathlib.Path(clpm_execd.__file__).parent
names = sorted(path.relative_to(package).as_posix() for path in package.rglob("*.py"))
print(hashlib.sha256(b"".join(name.encode() + (package / name).read_bytes() for name in names)).hexdigest())
"""

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
        logs = self.podman.run("podman", "logs", "--tail", "50", self.name(service), check=False)
        return logs.stdout + logs.stderr

    def is_healthy(self, service: str) -> bool:
        return self.podman.run("podman", "healthcheck", "run", self.name(service), check=False).returncode == 0

    def inside(self, service: str, *command: str) -> str:
        result = self.podman.run("podman", "exec", self.name(service), *command, check=False)
        return (result.stdout + result.stderr).strip()

    def seconds_to_stop(self, service: str) -> float:
        start = time.monotonic()
        self.podman.run("podman", "stop", "-t", "20", self.name(service))
        return time.monotonic() - start

    def megabytes_over(self, image: str, base: str) -> float:
        sizes = [int(self.podman.run("podman", "image", "inspect", "--format", "{{.Size}}", name).stdout)
                 for name in (image, base)]
        return (sizes[0] - sizes[1]) / 1e6

    def name(self, service: str) -> str:
        return f"{self.project}_{service}_1"

    def remove(self) -> None:
        self.compose("down", "-v", "-t", "2", timeout=300, check=False)
        self.podman.run("podman", "network", "rm", "-f", f"{self.project}_default", check=False)
        # Layers that no build has used for a week.
        self.podman.run("podman", "image", "prune", "-f", "--filter", "until=168h", timeout=300, check=False)

    def build(self) -> None:
        """Both images. Those of an earlier package are removed: each run would leave 300 MB behind."""
        before = self.built_images()
        for service in ("telegraf", "direct"):
            self.compose("build", service, timeout=400)
        for image in before - self.built_images():
            self.podman.run("podman", "image", "rm", "-f", image, check=False)

    def built_images(self) -> set[str]:
        listed = [self.podman.run("podman", "images", "-q", "--no-trunc", name).stdout.split() for name in IMAGES]
        return {image for images in listed for image in images}

    def package_digest(self, service: str) -> str:
        return self.inside(service, "/opt/clpm-execd/bin/python", "-c", DIGEST)


@pytest.fixture(scope="module")
def stack(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Both images, built once, and InfluxDB in its container."""
    services = Stack(podman, tmp_path_factory.mktemp("compose"))
    try:
        services.build()
        yield services
    finally:
        services.remove()


def assert_five_loops_arrive(stack: Stack, service: str) -> None:
    """Brought up with InfluxDB, the service streams within a minute, and no instant is missing."""
    start, since = time.monotonic(), time.time_ns()
    stack.compose("up", "-d", "influxdb", service)
    until(stack.server.is_up, 60, "InfluxDB's answer from its container")

    def arrived() -> list[int]:
        return [instant for instant in stack.instants() if instant > since]

    try:
        until(arrived, 60, "an instant of five loops in InfluxDB")
        assert time.monotonic() - start < FIRST_POINT
        until(lambda: len(arrived()) >= 5, 60, "five instants of five loops in InfluxDB")
    except pytest.fail.Exception as failure:
        pytest.fail(f"{failure}\n{stack.says(service)}")
    assert all(later - before == SECOND for before, later in itertools.pairwise(arrived()))


def assert_it_holds_this_package(stack: Stack, service: str) -> None:
    """The build's cache gave no older one."""
    here = run_process([sys.executable, "-c", DIGEST], folder=ROOT)
    assert stack.package_digest(service) == here.stdout.strip() != ""


def assert_it_may_do_little(stack: Stack, service: str) -> None:
    """Not root, nothing to write but its state, and it stops soon after the request."""
    assert stack.inside(service, "id", "-u") != "0"
    assert "Read-only file system" in stack.inside(service, "touch", "/opt/clpm-execd/a-file")
    assert stack.inside(service, "touch", "/var/lib/clpm-execd/a-file") == ""
    assert stack.inside(service, "sh", "-c", "echo $CLPM_STATE") == "/var/lib/clpm-execd"


def test_compose_brings_five_loops_through_telegraf_into_influxdb(stack: Stack) -> None:
    assert stack.megabytes_over("clpm-execd-telegraf", "telegraf:1.39") < MOST_MEGABYTES
    assert_five_loops_arrive(stack, "telegraf")
    assert stack.is_healthy("influxdb")
    assert stack.is_healthy("telegraf")
    assert " E! " not in stack.says("telegraf")
    stack.compose("up", "-d", "dashboard")
    until(lambda: "has the dashboard Control loops" in stack.says("dashboard"), 60, "the dashboard in InfluxDB")
    assert_it_holds_this_package(stack, "telegraf")
    assert_it_may_do_little(stack, "telegraf")
    assert stack.seconds_to_stop("telegraf") < STOP


def test_compose_brings_five_loops_through_the_direct_writer_into_influxdb(stack: Stack) -> None:
    assert stack.megabytes_over("clpm-execd", "python:3.13-slim-bookworm") < MOST_MEGABYTES
    assert_five_loops_arrive(stack, "direct")
    assert stack.server.token not in stack.says("direct")
    assert_it_holds_this_package(stack, "direct")
    assert_it_may_do_little(stack, "direct")
    assert stack.is_healthy("direct")
    # Evidence of acknowledgements, not of a process: without them for a minute it is ill.
    stack.podman.run("podman", "kill", "--signal", "STOP", stack.name("direct"))
    stack.inside("direct", "sed", "-i", "s/[0-9]*\\.[0-9]*/1.0/", "/var/lib/clpm-execd/acknowledged")
    assert not stack.is_healthy("direct")
    stack.podman.run("podman", "kill", "--signal", "CONT", stack.name("direct"))
    until(lambda: stack.is_healthy("direct"), 20, "health after points are acknowledged again")
    assert stack.seconds_to_stop("direct") < STOP


def test_the_direct_writer_stops_as_soon_without_a_server_and_delivers_when_it_is_back(stack: Stack) -> None:
    stack.compose("up", "-d", "influxdb", "direct")
    until(lambda: "connected to" in stack.says("direct"), 60, "the writer's word that it is connected")
    stack.podman.run("podman", "stop", "-t", "5", stack.name("influxdb"))
    until(lambda: "cannot write to InfluxDB" in stack.says("direct"), 60, "the writer's word of the outage")
    down = time.time_ns()
    assert stack.seconds_to_stop("direct") < STOP
    stack.podman.run("podman", "start", stack.name("influxdb"))
    until(stack.server.is_up, 60, "InfluxDB's answer from its container")
    stack.podman.run("podman", "start", stack.name("direct"))
    until(lambda: [instant for instant in stack.instants() if instant > down + 3 * SECOND], 60, "points after it")
    instants = [instant for instant in stack.instants() if instant > down - 10 * SECOND]
    assert min(instants) < down
