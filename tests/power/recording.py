"""Lives of the real program on a disk that can be cut off from power, beside a server whose requests are on its log."""

from __future__ import annotations

import contextlib
import errno
import itertools
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from answering_server import WRITTEN, AnsweringServer
from command import environment
from parts import ROOT, SECOND
from power.fuse_mount import mounted
from power.volatile_disk import READS, Fault, Operation, VolatileDisk

from clpm_execd.delivery.queue import split_lines
from clpm_execd.influx.answer import Answer

INTERVAL = SECOND // 50
NO_FAULT = 0
REJECTED_FRACTION = 0.02  # of the lines of temperatures
_DOWN = Answer(503, "down")
_REJECTED = Answer(400, '{"code":"invalid","message":"unable to parse"}')


def is_rejected(line: bytes) -> bool:
    """Whether the server never accepts a line: the same ones at each try."""
    return b"loop_id=TIC" in line and zlib.crc32(line) % 1000 < 1000 * REJECTED_FRACTION


def time_of(line: bytes) -> int:
    return int(line.rpartition(b" ")[2])


class HttpServer:
    """An AnsweringServer behind HTTP; what it is asked for and what it accepts is noted in the log of a disk."""

    def __init__(self) -> None:
        self.answers = AnsweringServer(self._answer)
        self.is_down: Callable[[], bool] = lambda: False
        self.disk: VolatileDisk | None = None
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                answer = outer.take(self.rfile.read(int(self.headers["Content-Length"])))
                body = answer.message.encode()
                self.send_response(answer.status or 500)
                self.send_header("Content-Type", "application/json")
                if answer.status != 204:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if answer.status != 204:
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self, body: bytes) -> Answer:
        with self._lock:
            if self.disk:
                self.disk.note("request", body)
            answer = self.answers(body)
            if self.disk and answer == WRITTEN:
                self.disk.note("accepted", body)
            return answer

    def _answer(self, body: bytes) -> Answer:
        if self.is_down():
            return _DOWN
        return _REJECTED if any(map(is_rejected, split_lines(body))) else WRITTEN

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass(frozen=True)
class Stream:
    """A configuration of five loops in a folder of its own, and what `generate` writes of it.

    package: the folder that holds the program's package; mutants have copies.
    """

    folder: Path
    url: str
    package: Path = ROOT

    def prepare(self) -> None:
        """Write the configuration, with a start a moment ago."""
        start = datetime.fromtimestamp(int(time.time()) - 1, timezone.utc).isoformat().replace("+00:00", "Z")
        self.folder.mkdir(exist_ok=True)
        (self.folder / "loops.toml").write_text(f'seed = 3\ninterval = "{INTERVAL // 10**6}ms"\nstart = {start}\n')
        settings = {"URL": self.url, "TOKEN": "a-token-for-the-tests", "ORG": "o", "BUCKET": "b"}
        text = "".join(f"INFLUXDB_{name}={value}\n" for name, value in settings.items())
        (self.folder / ".env").write_text(f"{text}CLPM_LOOPS=loops.toml\n")

    @cached_property
    def start(self) -> int:
        text = (self.folder / "loops.toml").read_text().rpartition("= ")[2].strip().replace("Z", "+00:00")
        return int(datetime.fromisoformat(text).timestamp()) * SECOND

    def generate(self, first: int, last: int) -> list[bytes]:
        """Return the lines of `generate` from the first to the last time, ns since 1970."""
        start = datetime.fromtimestamp(self.start / SECOND, timezone.utc).isoformat()
        result = subprocess.run([sys.executable, "-m", "clpm_execd", "generate", "--config", "loops.toml", "--start",
                                 start, "--duration", f"{(last - self.start) / SECOND:.2f}s"], cwd=self.folder,
                                capture_output=True, check=True, env=environment({"PYTHONPATH": str(ROOT)}))
        return [line for line in split_lines(result.stdout) if time_of(line) >= first]

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "clpm_execd", *words]

    @contextlib.contextmanager
    def life(self, *words: str, stdout: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """A process of the program, which is killed at the end of the block if it is still there."""
        with (self.folder / "log").open("ab") as log, subprocess.Popen(
            self.command(*words), cwd=self.folder, env=environment({"PYTHONPATH": str(self.package)}),
            stdin=subprocess.DEVNULL, stdout=log if stdout is None else stdout, stderr=log,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text() if (self.folder / "log").exists() else ""


Choice = Callable[[Operation], bool]  # of operations, one after another


def nth(number: int, kind: str = "", name: str = "") -> Choice:
    """Choose the n-th operation of a kind on what has a name that ends like this."""
    count = itertools.count(1)
    return lambda operation: operation.kind.endswith(kind) and operation.name.endswith(name) and next(count) == number


@dataclass(frozen=True, slots=True)
class Life:
    """One process. words: its command line, without the state folder.

    killed_at: the operation of the disk at which it is killed; it does not happen any more. outage: seconds after its
    first request between which the server is down. requests: command lines that are run beside it, after which it is
    asked to stop. fault: the errno with which operations fail.
    """

    words: Sequence[str]
    killed_at: Choice = lambda operation: False
    outage: tuple[float, float] = (0.0, 0.0)
    requests: Sequence[Sequence[str]] = ()
    fault: Fault = lambda operation: NO_FAULT


def direct(count: int) -> list[str]:
    return ["--direct", "--count", str(count)]


@dataclass(frozen=True, slots=True)
class Recording:
    """The disk with its log, and the exit statuses of the lives on it."""

    disk: VolatileDisk
    statuses: list[int]


FileSystem = Callable[[Path], contextlib.AbstractContextManager[Path]]


def record(stream: Stream, server: HttpServer, lives: Sequence[Life], mount: Path,
           start: Mapping[str, bytes] | None = None, output: str = "", file_system: FileSystem | None = None
           ) -> Recording:
    """Run the program once after another on one disk, with the state folder on it.

    start: what is on the disk. output: a file on it, to which each life appends its lines. file_system: mounts one that
    is on the disk as an image, by default none.
    """
    disk = VolatileDisk(dict(start or {}))
    server.disk = disk
    try:
        with mounted(disk, mount), contextlib.ExitStack() as stack:
            folder = stack.enter_context(file_system(mount)) if file_system else mount
            statuses = []
            for life in lives:
                fd = stack.enter_context((mount / output).open("ab")).fileno() if output else None
                statuses.append(_live(stream, server, disk, life, folder / "state", fd))
    finally:
        server.disk = None
    return Recording(disk, statuses)


def _live(stream: Stream, server: HttpServer, disk: VolatileDisk, life: Life, state: Path, stdout: int | None) -> int:
    first_request: list[float] = []

    def is_down() -> bool:
        first_request.append(time.monotonic())
        return life.outage[0] <= time.monotonic() - first_request[0] < life.outage[1]

    server.is_down = is_down
    words = [word.replace("{disk}", str(state.parent)) for word in life.words]
    words += [] if words[0] == "generate" else ["--state", str(state)]
    with stream.life(*words, stdout=stdout) as process:

        def fault(operation: Operation) -> int:
            if operation.kind not in READS and life.killed_at(operation):
                process.send_signal(signal.SIGKILL)
                return errno.EIO  # nobody takes notice of it any more
            return life.fault(operation)

        disk.fault = fault
        for words in life.requests:
            while not first_request and process.poll() is None:
                time.sleep(0.02)
            with stream.life(*words, "--state", str(state)) as command:
                if command.wait(60) == 0:
                    disk.note("acknowledged", " ".join(words).encode())
        if life.requests:
            process.terminate()
        status = process.wait(90)
        disk.fault = lambda operation: NO_FAULT
    return status
