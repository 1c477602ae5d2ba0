"""The real programs of the tests: where .ci/parts puts them, on ports of their own, ended with the test.

A part that is missing fails the test in CI (the variable CI is set); elsewhere it skips it and says how to
get it.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import pytest
from command import environment

ROOT = Path(__file__).resolve().parent.parent
PARTS = Path(os.environ.get("CLPM_PARTS") or Path.home() / ".cache" / "clpm-execd" / "bin")
SECOND = 1_000_000_000

T = TypeVar("T")


def missing(part: str, why: str = "is not here") -> NoReturn:
    reason = f"{part} {why}: `.ci/parts {part}` gets it"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def version(part: str) -> str:
    """The version .ci/parts builds: written there and nowhere else."""
    match = re.search(rf"^{part.upper()}=(\S+)", (ROOT / ".ci" / "parts").read_text(), re.MULTILINE)
    assert match, f".ci/parts names no version of {part}"
    return match[1]


def binary(part: str, name: str) -> Path:
    path = PARTS / f"{name}-{version(part)}"
    return path if path.exists() else missing(part)


def telegraf() -> Path:
    """The real Telegraf, of the build whose plugins the tests know."""
    path = PARTS / f"telegraf-{version('telegraf')}-{version('telegraf_build')}"
    return path if path.exists() else missing("telegraf")


def debian_root(suite: str) -> Path:
    """The root of a Debian with what the .deb depends on; a test works on a copy."""
    if os.geteuid() != 0:
        pytest.skip("only root can change to another root")
    path = PARTS.parent / f"debian-{suite}-{version('debians')}"
    return path if path.exists() else missing("debian")


def until(probe: Callable[[], T], seconds: float, what: str) -> T:
    """What `probe` answers as soon as it is true; after `seconds` a failure that says `what` was missing."""
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)
    return answer


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def running(command: list[str], log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The command with its output in `log`, in a process group that ends with the block."""
    with (
        log.open("ab") as out,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, **options
        ) as process,
    ):
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def generated(program: list[str], seconds: int, *options: str, folder: Path | None = None) -> bytes:
    """What a stream of the program would have written in so many seconds up to now."""
    start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(time.time()) - seconds))
    command = [*program, "generate", "--start", start, "--duration", f"{seconds}s", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=True).stdout


class Point(NamedTuple):
    """A sample as it came out at the other end; fields by name."""

    loop: str
    mode: str
    fields: dict[str, float]
    time: int


LINE = re.compile(r"control_loops,Mode=(\w+),loop_id=(\w+) (\S+) (\d{19})")


def points_of(path: Path) -> list[Point]:
    """The points in a file Telegraf wrote; the last line may still be on its way."""
    if not path.exists():
        return []
    points = []
    for line in path.read_text().splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        match = LINE.fullmatch(line.rstrip("\n"))
        assert match, f"not a line of the stream: {line!r}"
        mode, loop, fields, stamp = match.groups()
        values = {name: float(text) for name, text in (field.split("=") for field in fields.split(","))}
        points.append(Point(loop, mode, values, int(stamp)))
    return points


class Telegraf:
    """Agents of the real Telegraf, with the program under test on their PATH as `clpm-execd`."""

    def __init__(self, path: Path, folder: Path, program: list[str]) -> None:
        self.path = path
        self.folder = folder
        self.log = folder / "telegraf.log"
        self.output = folder / "metrics.lp"
        programs = folder / "programs"
        programs.mkdir()
        shim = programs / "clpm-execd"
        # Telegraf makes no process group: a shell that stayed in between would take the signals.
        shim.write_text("#!/bin/sh\nexec " + " ".join(f"'{word}'" for word in program) + ' "$@"\n')
        shim.chmod(0o755)
        # The plugin must be found from any folder, the repository not being the working one.
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        self.environment = environment({"PATH": path, "PYTHONPATH": str(ROOT)})

    def config(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def restarting_soon(self, shipped: Path) -> Path:
        """A shipped configuration whose plugin is restarted after 1 s in place of 10 s, so that a test is not slow."""
        text = shipped.read_text()
        assert text.count('restart_delay = "10s"') == 1
        return self.config(shipped.name, text.replace('restart_delay = "10s"', 'restart_delay = "1s"'))

    def file_output(self) -> Path:
        """A configuration with an agent at 1 s and `output` as the only place the metrics go to."""
        return self.config(
            "output.conf",
            '[agent]\n  interval = "1s"\n  flush_interval = "200ms"\n  omit_hostname = true\n'
            f'[[outputs.file]]\n  files = ["{self.output}"]\n  data_format = "influx"\n',
        )

    def command(self, *configs: Path, options: tuple[str, ...] = ()) -> list[str]:
        config_options = [word for config in configs for word in ("--config", str(config))]
        return [str(self.path), *options, *config_options]

    def once(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.path), *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @contextlib.contextmanager
    def agent(self, *configs: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        command = self.command(*configs)
        with running(command, self.log, cwd=self.folder, env=self.environment | environment) as process:
            yield process

    def logged(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def points(self) -> list[Point]:
        return points_of(self.output)


def runs(pid: int) -> bool:
    """Whether the process is there and not merely unburied: a zombie has no command line."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def children(parent: int) -> list[int]:
    """Process ids of the children that still run."""
    running_children = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in parentheses, may hold spaces; the fields after it are state and parent.
            state, ppid = status.read_text().rpartition(")")[2].split()[:2]
            if int(ppid) == parent and state != "Z":
                running_children.append(int(status.parent.name))
    return running_children


class InfluxDB:
    """A real InfluxDB 2 on a loopback port, set up with this token, organisation and bucket."""

    token = "a-token-for-the-tests"
    org = "clpm"
    bucket = "control_loops"

    def __init__(self, url: str) -> None:
        self.url = url
        self.org_id = ""
        self._buckets = 0

    def request(self, path: str, body: dict[str, Any] | None = None, accept: str = "application/json") -> str:
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Token {self.token}",
                "Content-Type": "application/json",
                "Accept": accept,
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text: str = answer.read().decode()
                return text
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{path}: {error.code} {error.read().decode()}") from None

    def is_up(self) -> bool:
        try:
            return '"pass"' in self.request("/health")
        except (OSError, AssertionError):
            return False

    def set_up(self) -> None:
        answer = json.loads(
            self.request(
                "/api/v2/setup",
                {
                    "username": "clpm",
                    "password": "control-loops",
                    "org": self.org,
                    "bucket": self.bucket,
                    "token": self.token,
                },
            )
        )
        self.org_id = answer["org"]["id"]

    def new_bucket(self, keep: int = 0) -> str:
        """The name of a fresh, empty bucket that keeps its points for so many s, 0 for ever."""
        self._buckets += 1
        name = f"bucket-{self._buckets}"
        rules = [{"type": "expire", "everySeconds": keep}] if keep else []
        self.request("/api/v2/buckets", {"orgID": self.org_id, "name": name, "retentionRules": rules})
        return name

    def write(self, bucket: str, lines: bytes) -> None:
        """Line protocol into a bucket."""
        request = urllib.request.Request(
            f"{self.url}/api/v2/write?org={self.org}&bucket={bucket}&precision=ns",
            data=lines, method="POST", headers={"Authorization": f"Token {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 204

    def query(self, flux: str) -> list[dict[str, str]]:
        """The rows Flux answers, columns by name, every value as text."""
        body = {"query": flux, "type": "flux", "dialect": {"annotations": [], "header": True}}
        text = self.request(f"/api/v2/query?org={self.org}", body, accept="application/csv")
        rows: list[dict[str, str]] = []
        # Tables of different columns follow each other, each with a header, an empty line between.
        for table in re.split(r"\r?\n\r?\n", text.strip("\r\n")):
            rows += csv.DictReader(io.StringIO(table))
        return rows

    def points(
        self, bucket: str, measurement: str = "control_loops", start: int = 0, stop: int = 4_102_444_800 * SECOND
    ) -> list[Point]:
        """Every sample in the bucket from start to before stop, by time and loop; a field a point lacks is absent."""
        rows = self.query(
            f'from(bucket: "{bucket}") |> range(start: time(v: {start}), stop: time(v: {stop}))'
            f' |> filter(fn: (r) => r._measurement == "{measurement}")'
            ' |> map(fn: (r) => ({r with stamp: int(v: r._time)}))'
            ' |> drop(columns: ["_measurement", "_start", "_stop"])'
            ' |> pivot(rowKey: ["stamp", "loop_id", "Mode"], columnKey: ["_field"], valueColumn: "_value")'
            ' |> group() |> sort(columns: ["stamp", "loop_id"])'
        )
        not_fields = {"", "result", "table", "stamp", "loop_id", "Mode"}
        return [
            Point(
                row["loop_id"],
                row["Mode"],
                {name: float(text) for name, text in row.items() if name not in not_fields and text},
                int(row["stamp"]),
            )
            for row in rows
        ]


@contextlib.contextmanager
def influxd(path: Path, folder: Path, port: int) -> Iterator[InfluxDB]:
    """A server on this port with its data in `folder`, killed at the end of the block; its data stay."""
    server = InfluxDB(f"http://127.0.0.1:{port}")
    command = [
        str(path),
        *("--bolt-path", str(folder / "influxd.bolt")),
        *("--engine-path", str(folder / "engine")),
        *("--sqlite-path", str(folder / "influxd.sqlite")),
        *("--http-bind-address", f"127.0.0.1:{port}"),
        "--reporting-disabled",
    ]
    log = folder / "influxd.log"
    # influxd looks for a configuration in its working folder and writes below HOME.
    with running(command, log, cwd=folder, env={**os.environ, "HOME": str(folder)}) as process:
        until(
            lambda: process.poll() is not None or server.is_up(), 60, f"InfluxDB at {server.url}; see {log}"
        )
        assert process.poll() is None, f"influxd ended at once: {log.read_text()[-2000:]}"
        yield server


@contextlib.contextmanager
def influxdb(path: Path, folder: Path) -> Iterator[InfluxDB]:
    """A server with its first bucket only; it ends with the block, and its data are removed."""
    with influxd(path, folder, free_port()) as server:
        server.set_up()
        yield server
    shutil.rmtree(folder, ignore_errors=True)


class Podman:
    """Containers with settings and storage in the parts' cache; nothing of the system's own is used."""

    def __init__(self, folder: Path) -> None:
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
            # Without systemd there are no timers for health checks, and podman would refuse to start one.
            "DISABLE_HC_SYSTEMD": "true",
        }

    def run(
        self, *command: str, timeout: float = 60, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and result.returncode:
            output = f"{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
            pytest.fail(f"{' '.join(command)}: exit status {result.returncode}\n{output}")
        return result

    def build_options(self, folder: Path) -> list[str]:
        """Options of a build that reaches the package index as the machine itself does.

        In docker's format, the only one that keeps a health check. Layers are kept for the next build, except under
        vfs, which would keep a whole copy of the image for each instruction.
        """
        layers = str('driver = "overlay"' in Path(self.environment["CONTAINERS_STORAGE_CONF"]).read_text()).lower()
        options = ["--format", "docker", f"--layers={layers}", "--isolation", "chroot", "--network", "host"]
        settings = {name: pip_setting(name) for name in ("cert", "index-url")}
        if settings["cert"]:
            inside = "/etc/pip-certificate.pem"
            options += ["--volume", f"{settings['cert']}:{inside}:ro"]
            settings["cert"] = inside
        inner = folder / "pip.conf"
        lines = [f"{name} = {value}\n" for name, value in settings.items() if value]
        inner.write_text("".join(["[global]\n", *lines]))
        return [*options, "--volume", f"{inner}:/etc/pip.conf:ro"]


def pip_setting(name: str) -> str:
    """Return a setting of pip on this machine, by environment or configuration; empty where there is none."""
    if value := os.environ.get(f"PIP_{name.replace('-', '_').upper()}"):
        return value
    result = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", f"global.{name}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return result.stdout.strip() if result.returncode == 0 else ""


def uv_environment() -> dict[str, str]:
    """Return an environment in which uv is on the PATH and reaches the package index as pip on this machine does."""
    settings = {"SSL_CERT_FILE": pip_setting("cert"), "UV_DEFAULT_INDEX": pip_setting("index-url"),
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return os.environ | {name: value for name, value in settings.items() if value}


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A folder with room for this much, such as 2m; only root can have one, and elsewhere the test is skipped."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root mounts a small tmpfs")
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {result.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
