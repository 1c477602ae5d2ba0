"""What it costs that NATS syncs each message to disk: `python tests/benchmarks/nats_sync.py`.

One publisher sends messages of as many points as Telegraf does (2,500) or of one, and waits for each acknowledgement.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))

from parts import binary, free_port, running, until

LINE = b"control_loops,Mode=AUT,loop_id=TIC208030 OP=63.5,PV=405.2369119,SP=405.41 1736503500000000000\n"
SECONDS = 5.0


class Publisher:
    """Sends messages to a stream of JetStream, one after the other."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")
        self.file.readline()
        self.socket.sendall(b'CONNECT {"verbose":false}\r\nSUB answers 1\r\n')

    def request(self, subject: str, body: bytes) -> bytes:
        """Return the answer to a message."""
        self.socket.sendall(b"PUB %s answers %d\r\n%s\r\n" % (subject.encode(), len(body), body))
        while not (line := self.file.readline()).startswith(b"MSG"):
            if line.startswith(b"PING"):
                self.socket.sendall(b"PONG\r\n")
        return self.file.read(int(line.split()[-1]) + 2)


def measure(sync: str, points: int, folder: Path) -> float:
    """Return the seconds for a message of so many points."""
    port, config = free_port(), folder / "nats.conf"
    config.write_text(f'jetstream {{ store_dir: "{folder}", sync_interval: {sync} }}\n')
    command = [str(binary("nats", "nats-server")), "-a", "127.0.0.1", "-p", str(port), "-c", str(config)]
    with running(command, folder / "log"):
        until(lambda: is_open(port), 10, "NATS")
        publisher = Publisher(port)
        stream = {"name": "control_loops", "subjects": ["control_loops"], "storage": "file"}
        publisher.request("$JS.API.STREAM.CREATE.control_loops", json.dumps(stream).encode())
        start, messages = time.monotonic(), 0
        while time.monotonic() < start + SECONDS:
            assert b'"seq"' in publisher.request("control_loops", LINE * points)
            messages += 1
        return (time.monotonic() - start) / messages


def is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


if __name__ == "__main__":
    for points in (1, 2500):
        for sync in ("2m", "always"):
            with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
                seconds = measure(sync, points, Path(folder))
            print(f"sync_interval {sync}, {points} points: {1000 * seconds:.2f} ms, {points / seconds:,.0f} points/s")
