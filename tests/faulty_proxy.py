"""A real HTTP proxy in front of the real server, which does to requests and answers what networks and servers do.

What a fault leaves of a request is passed on, and the answers to it are the server's own. Each request meets the fault
that `trouble` names for it; `mixed` names them by chance. Lines that `spoil` chooses are passed on broken, the same
lines in the same way at every try, so that the real server refuses them.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

Trouble = Callable[[], str]
Spoil = Callable[[bytes], str]

FAULTS = (
    "refused",  # the connection is reset before anything is read
    "reset",  # and in the middle of the body
    "silence",  # written, and no answer ever
    "deaf",  # not even passed on, and no answer ever
    "drip",  # the answer comes byte by byte
    "lost",  # written, and the connection is reset in place of the answer
    "cut",  # written, and the answer ends within its headers
    "500", "503", "429", "401", "portal",
)
LASTS = 3.0  # s of a silence, after which the connection is reset

_ANSWERS = {
    "500": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 20\r\n\r\n{\"message\":\"sorry.\"}",
    "503": b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    "429": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    "401": b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 26\r\n\r\n{\"message\":\"unauthorized\"}",
    "portal": b"HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n<html>Welcome aboard</html>",
    "refuses all": b"HTTP/1.1 422 Unprocessable Entity\r\nContent-Length: 22\r\n\r\n{\"message\":\"starting\"}",
}


def no_trouble() -> str:
    return ""


def mixed(chance: random.Random, share: float, faults: tuple[str, ...] = FAULTS) -> Trouble:
    """Faults for this share of all requests."""
    return lambda: chance.choice(faults) if chance.random() < share else ""


def spoiled(body: bytes, spoil: Spoil) -> bytes:
    """The lines with those broken that `spoil` names a way for: "type" gives 422, "syntax" 400."""
    lines = []
    for line in body.splitlines(keepends=True):
        how = spoil(line)
        if how == "type":
            before, value, after = _around_pv(line)
            line = before + b'"' + value + b'"' + after
        elif how == "syntax":
            before, value, after = _around_pv(line)
            line = before + b"x" + value + after
        lines.append(line)
    return b"".join(lines)


def _around_pv(line: bytes) -> tuple[bytes, bytes, bytes]:
    at = line.index(b"PV=") + 3
    end = min(i for i in (line.find(b",", at), line.find(b" ", at)) if i > 0)
    return line[:at], line[at:end], line[end:]


class FaultyProxy:
    """Listens on a loopback port in front of `url`; trouble and spoil may be exchanged at any time.

    met: how many requests met which fault; "" are those that met none. acknowledged: lines in requests whose 204
    went out whole.
    """

    def __init__(self, url: str, trouble: Trouble = no_trouble, spoil: Spoil | None = None) -> None:
        self.trouble, self.spoil = trouble, spoil
        self.met: Counter[str] = Counter()
        self.acknowledged = 0
        at = urlsplit(url)
        self._server = (at.hostname, at.port)
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.port = 0
        self.up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        """Listen, on the same port as ever."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def down(self) -> None:
        """Nobody listens any more, and all connections are reset."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        with self._lock:
            for connection in self._open:
                _reset(connection)
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    close = down

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        upstream = http.client.HTTPConnection(*self._server, timeout=60)
        try:
            connection.settimeout(60)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection.makefile("rb") as incoming:
                while self._one(connection, incoming, upstream):
                    pass
        except (OSError, http.client.HTTPException, ValueError):
            pass
        finally:
            upstream.close()
            with self._lock:
                self._open.discard(connection)
            with contextlib.suppress(OSError):
                connection.close()

    def _one(
        self, connection: socket.socket, incoming: io.BufferedReader, upstream: http.client.HTTPConnection
    ) -> bool:
        """One request and what becomes of it; whether the connection goes on."""
        request = incoming.readline()
        if not request:
            return False
        fault = self.trouble()
        self.met[fault] += 1
        if fault == "refused":
            return _reset(connection)
        method, path, _ = request.decode().split(" ", 2)
        headers = {}
        while (line := incoming.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        if fault == "reset":
            incoming.read(length // 2)
            return _reset(connection)
        body = incoming.read(length)
        if len(body) < length:
            return False
        if fault in _ANSWERS:
            connection.sendall(_ANSWERS[fault])
            return True
        if fault == "deaf":
            time.sleep(LASTS)
            return _reset(connection)
        sent = spoiled(body, self.spoil) if self.spoil else body
        answer, status = _pass_on(upstream, method, path, headers, sent)
        if fault == "silence":
            time.sleep(LASTS)
        if fault in ("lost", "silence"):
            return _reset(connection)
        if fault == "cut":
            connection.sendall(answer[: max(20, answer.find(b"\r\n\r\n") - 7)])
            return False
        for at in range(len(answer)) if fault == "drip" else ():
            connection.sendall(answer[at : at + 1])
            time.sleep(0.005)
        if fault != "drip":
            connection.sendall(answer)
        if status == 204:
            self.acknowledged += body.count(b"\n")
        return True


def _pass_on(
    upstream: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str], body: bytes
) -> tuple[bytes, int]:
    """The server's answer as bytes, and its status."""
    own = {name: value for name, value in headers.items() if name not in ("host", "content-length", "connection")}
    upstream.request(method, path, body=body, headers=own)
    response = upstream.getresponse()
    content = response.read()
    head = [f"HTTP/1.1 {response.status} {response.reason}"]
    head += [f"{name}: {value}" for name, value in response.getheaders()
             if name.lower() not in ("transfer-encoding", "content-length", "connection")]
    if response.status != 204:
        head.append(f"Content-Length: {len(content)}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content, response.status


def _reset(connection: socket.socket) -> bool:
    """Let the other side see a reset once the connection is closed; False, for it does not go on."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False
