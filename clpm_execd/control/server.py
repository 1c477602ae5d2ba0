"""The control socket of a stream: one request a connection, one line of JSON each way.

The stream itself reads it, between two samples, so that no thread can see half a change: whatever a client sends or
does not read, a sample waits for one request at most, and for the disk that takes its journal line. Clients are only
those of the same user (mode 0600). A request is at most 64 KiB; a client that takes longer than 5 s is left.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import stat
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from clpm_execd.control.controlled_plant import ControlledPlant
from clpm_execd.control.journal import Journal, JournalEntry
from clpm_execd.control.socket_path import short_address
from clpm_execd.control.stream_status import describe_loop, describe_stream
from clpm_execd.problems import BadInput, Problem
from clpm_execd.state.durable_file import adopt_owner
from clpm_execd.units import format_time

MAX_REQUEST_BYTES = 65_536  # a request has some hundred bytes; a bound on memory
MAX_CLIENTS = 16  # the one that has waited longest leaves for a new one
_MAX_SECONDS = 5.0  # that a client has for its request
_RECEIVE_BYTES = 4096  # at once; nearly every request is shorter


class ControlServer:
    """Listens on a socket, and lets requests change a plant.

    Parameters
    ----------
    path : Path
        The path of the socket.
    source : ControlledPlant
        The plant that is changed.
    now : callable
        Returns the time, ns since 1970.
    log : logging.Logger
        Log of the changes.
    journal : Journal, optional
        Stores each change before it acts; without one a restart forgets them.
    has_truth : bool
        Whether the stream writes the ground truth.

    Raises
    ------
    BadInput
        The socket cannot be made.
    """

    def __init__(self, path: Path, source: ControlledPlant, now: Callable[[], int], log: logging.Logger, *,
                 journal: Journal | None = None, has_truth: bool = True) -> None:
        self._path, self._source, self._now, self._log = path, source, now, log
        self._journal, self._has_truth = journal, has_truth
        self._listener = _listen(path)
        self._inode = os.stat(path).st_ino
        self._clients: dict[int, _Client] = {}

    @property
    def fds(self) -> Sequence[int]:
        """The descriptors that become readable with a request."""
        return [self._listener.fileno(), *self._clients]

    def handle(self, ready: Collection[int]) -> None:
        """Read from the clients whose descriptors are ready, and follow one request at most."""
        if self._listener.fileno() in ready:
            self._accept()
        for fd, client in list(self._clients.items()):
            if fd in ready:
                request = client.receive()
                if request is not None:
                    client.answer(self._follow(request))
                if client.is_done:
                    self._leave(fd)
                if request is not None:
                    return
            elif time.monotonic() > client.deadline:
                self._leave(fd)

    def close(self) -> None:
        """Remove the socket."""
        for fd in list(self._clients):
            self._leave(fd)
        self._listener.close()
        with suppress(OSError):
            if os.stat(self._path).st_ino == self._inode:
                self._path.unlink()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it has gone, or there are no more descriptors
            return
        if len(self._clients) >= MAX_CLIENTS:
            self._leave(next(iter(self._clients)))
        self._clients[connection.fileno()] = _Client(connection)

    def _leave(self, fd: int) -> None:
        self._clients.pop(fd).close()

    def _follow(self, request: bytes) -> Mapping[str, Any]:
        """Return the answer to a request."""
        try:
            if len(request) > MAX_REQUEST_BYTES:
                remedy = f"give at most {MAX_REQUEST_BYTES} bytes"
                raise BadInput([Problem("control", "the request is too long", remedy)])
            return {"text": self._execute(_parse(request))}
        except BadInput as bad:
            self._log.info("control: request refused: %s", " ".join(str(bad.problems[0]).split()))
            return {"problems": [[problem.where, problem.what, problem.remedy] for problem in bad.problems]}
        except Exception as error:  # no request ends a stream
            self._log.error("control: request failed: %s", " ".join(repr(error).split()))
            return {"problems": [["control", "the request failed", "see the log of the stream"]]}

    def _execute(self, request: object) -> str:
        if isinstance(request, Mapping) and list(request) == ["status"]:
            table = request["status"]
            loop = table.get("loop") if isinstance(table, Mapping) else None
            where = str(self._journal.path) if self._journal else "none: a restart forgets what was changed"
            return describe_loop(self._source, loop) if loop is not None else describe_stream(self._source, where)
        change = self._source.read_request(request, self._now())
        if self._journal is not None:
            try:
                self._journal.append(JournalEntry(change.at, change.request))
            except OSError as error:
                what = f"the journal {self._journal.path} cannot be written: {error.strerror}"
                raise BadInput([Problem("control", what, "free some space or correct the permissions")]) from None
        self._source.add(change)
        at = format_time(change.at)
        self._log.info("control: %s from %s", change.describe(), at)
        hint = "" if self._has_truth or not change.fault else "; for its ground truth set truth = true in [output]"
        return f"{change.describe()} from {at}{hint}\n"


def _parse(request: bytes) -> object:
    try:
        return json.loads(request)
    except (ValueError, RecursionError):
        raise BadInput([Problem("control", "the request is not JSON", 'send a line such as {"status": {}}')]) from None


class _Client:
    """A connection, until its request is answered."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection, self._buffer = connection, b""
        self.deadline = time.monotonic() + _MAX_SECONDS
        self.is_done = False

    def receive(self) -> bytes | None:
        """Return the request once it is there; None before, and where there is none."""
        try:
            data = self._connection.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            self.is_done = True
            return None
        self._buffer += data
        line, newline, _ = self._buffer.partition(b"\n")
        if newline or len(line) > MAX_REQUEST_BYTES or (line and not data):  # a client may close its half instead
            return line
        self.is_done = not data
        return None

    def answer(self, answer: Mapping[str, Any]) -> None:
        """Send the answer, which a new connection takes at once; the client is done."""
        self.is_done = True
        with suppress(OSError):
            self._connection.send(json.dumps(answer).encode() + b"\n")

    def close(self) -> None:
        # What a client has sent and nobody has read would take the answer away with it.
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
            self._connection.recv(MAX_REQUEST_BYTES)
        self._connection.close()


def _listen(path: Path) -> socket.socket:
    """Return the listening socket; that of a process that was killed is replaced."""
    listener = socket.socket(socket.AF_UNIX)
    listener.setblocking(False)
    try:
        with short_address(path) as address:
            _remove_stale(path, address)
            umask = os.umask(0o177)
            try:
                listener.bind(address)
            finally:
                os.umask(umask)
        adopt_owner(path)
        listener.listen(MAX_CLIENTS)
    except OSError as error:
        listener.close()
        raise BadInput([Problem(f"control socket {path}", f"cannot be made: {error.strerror or error}",
                                "name another path with --control")]) from None
    except BadInput:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path, address: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise BadInput([Problem(f"control socket {path}", "exists and is not a socket", "name another path")])
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address)
        except OSError as error:
            if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
                path.unlink(missing_ok=True)
                return
            if not isinstance(error, TimeoutError):
                raise
    raise BadInput([Problem(f"control socket {path}", "is in use by another stream", "give each stream its own")])
