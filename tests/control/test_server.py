"""The control socket: one answer for each request, and a stream that no client disturbs."""

from __future__ import annotations

import errno
import json
import logging
import os
import select
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clpm_execd.control.controlled_plant import ControlledPlant
from clpm_execd.control.journal import Journal, JournalContents, read_journal
from clpm_execd.control.request import send_request
from clpm_execd.control.server import MAX_CLIENTS, MAX_REQUEST_BYTES, ControlServer
from clpm_execd.control.socket_path import short_address
from clpm_execd.plant.block import SECOND
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.problems import BadInput

LOG = logging.getLogger("clpm_execd")
NOW = 1_736_503_500 * SECOND
LOOPS = LoopSet.of([LoopSpec(id="FIC1"), LoopSpec(id="FIC2")])


def open_server(path: Path, **more: Any) -> ControlServer:
    return ControlServer(path, ControlledPlant(Plant(LOOPS, start=NOW), LOOPS), lambda: NOW, LOG, **more)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


@pytest.fixture
def server(path: Path, tmp_path: Path) -> Iterator[ControlServer]:
    journal = Journal(tmp_path / "journal", JournalContents(), NOW)
    server = open_server(path, journal=journal)
    yield server
    server.close()
    assert not path.exists()


def serve(server: ControlServer, seconds: float = 0.2) -> None:
    """Do what a stream does while it waits for its next sample."""
    deadline = time.monotonic() + seconds
    while (remaining := deadline - time.monotonic()) > 0:
        server.handle(select.select(server.fds, [], [], min(remaining, 0.05))[0])


def while_serving(server: ControlServer, call: Callable[[], str]) -> str:
    """What a client gets; a BadInput as text."""
    answers: list[str] = []

    def run() -> None:
        try:
            answers.append(call())
        except BadInput as bad:
            answers.append(str(bad))

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        serve(server, 0.05)
    return answers[0]


def ask(server: ControlServer, path: Path, request: Any) -> str:
    return while_serving(server, lambda: send_request(path, request))


def raw(server: ControlServer, path: Path, data: bytes, *, closes_its_half: bool = False) -> Any:
    """What a client gets that sends these bytes."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2.0)
        client.connect(str(path))
        client.sendall(data)
        if closes_its_half:
            client.shutdown(socket.SHUT_WR)
        serve(server)
        return json.loads(client.recv(65_536) or b"null")


def test_a_request_is_followed_answered_logged_and_in_the_journal(
        server: ControlServer, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        answer = ask(server, path, {"inject": {"loop": "FIC1", "kind": "stiction", "S": "6", "duration": "20m"}})
    assert answer == "FIC1: stiction S=6 for 20m from 2025-01-10T10:05:00Z\n"
    assert [record.message for record in caplog.records] == [f"control: {answer.strip()}"]
    [entry] = read_journal(tmp_path / "journal").entries
    assert (entry.at, entry.request) == (NOW, {"inject": {"loop": "FIC1", "kind": "stiction", "S": 6.0,
                                                          "duration": "20m"}})
    assert "FIC1 stiction since 2025-01-10T10:05:00Z until 2025-01-10T10:25:00Z" in ask(server, path, {"status": {}})
    assert "gain=" in ask(server, path, {"status": {"loop": "FIC1"}})


def test_only_the_user_of_the_stream_may_ask(server: ControlServer, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_wrong_request_is_answered_and_not_in_the_journal(server: ControlServer, path: Path, tmp_path: Path) -> None:
    assert ask(server, path, {"set": {"loop": "FIC3", "sp": 5}}).startswith("set: unknown loop 'FIC3'; did you mean")
    assert not (tmp_path / "journal").exists()


@pytest.mark.parametrize("data", [b"\n", b"\x00\xff\n", b"{" * 5000 + b"\n", b"[1]\n", b"null\n", b'{"set": {"loop"\n',
                                  b'{"inject": {"loop": "FIC1", "kind": ["x"], "\\ud800": 1e999}}\n',
                                  b'{"status": {"loop": {}}}\n', b'{"set": {"loop": "FIC1", "sp": NaN}}\n'])
def test_garbage_is_answered(server: ControlServer, path: Path, data: bytes) -> None:
    [where, what, remedy] = raw(server, path, data)["problems"][0]
    assert where
    assert what
    assert remedy != "see the log of the stream"


def test_a_client_that_closes_its_half_is_answered(server: ControlServer, path: Path) -> None:
    assert "loops     2" in raw(server, path, b'{"status": {}}', closes_its_half=True)["text"]
    assert raw(server, path, b"", closes_its_half=True) is None


def test_a_request_may_come_in_parts(server: ControlServer, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        for part in (b'{"sta', b'tus": ', b"{}}\n"):
            client.sendall(part)
            serve(server, 0.06)
        assert b"loops" in client.recv(65_536)


def test_a_request_without_end_is_refused(server: ControlServer, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2.0)
        client.connect(str(path))
        client.setblocking(False)
        sent = 0
        while sent <= MAX_REQUEST_BYTES:
            sent += client.send(b"x" * 8192)
            serve(server, 0.03)
        serve(server)
        assert b"too long" in client.recv(65_536)


def test_clients_that_say_nothing_keep_nobody_out(server: ControlServer, path: Path) -> None:
    silent = [socket.socket(socket.AF_UNIX) for _ in range(3 * MAX_CLIENTS)]
    try:
        for client in silent:
            client.connect(str(path))
            serve(server, 0.01)
        assert len(server.fds) <= MAX_CLIENTS + 1
        assert ask(server, path, {"status": {}}).startswith("loops")
    finally:
        for client in silent:
            client.close()


def test_a_client_that_does_not_read_or_leaves_at_once_is_let_go(server: ControlServer, path: Path) -> None:
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b'{"status": {}}\n')
        serve(server, 0.01)
    serve(server)
    assert len(server.fds) == 1


def test_a_journal_on_a_full_disk_refuses_the_request(
        server: ControlServer, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    assert ask(server, path, {"set": {"loop": "FIC1", "sp": 5}}) == (
        f"control: the journal {tmp_path / 'journal'} cannot be written: No space left on device; free some space or "
        "correct the permissions")
    assert "none" in ask(server, path, {"status": {}})


def test_a_socket_of_a_process_that_was_killed_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = open_server(path)
    assert ask(server, path, {"status": {}}).startswith("loops")
    server.close()


def test_a_stream_that_ends_leaves_the_socket_of_another_one_that_took_its_place(path: Path) -> None:
    first = open_server(path)
    path.unlink()
    second = open_server(path)
    first.close()
    assert ask(second, path, {"status": {}}).startswith("loops")
    second.close()
    assert not path.exists()


def test_a_path_that_is_not_free_is_one_clear_error(server: ControlServer, path: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"control: is in use by another stream; give each stream its own"):
        open_server(path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="exists and is not a socket"):
        open_server(tmp_path / "file")
    with pytest.raises(BadInput, match="cannot be made: No such file or directory"):
        open_server(tmp_path / "absent" / "control")
    assert (tmp_path / "file").read_text() == "x"


def test_a_folder_may_lie_deeper_than_an_address_of_a_socket_can_say(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    server = open_server(folder / "control")
    assert ask(server, folder / "control", {"status": {}}).startswith("loops")
    server.close()
    assert list(folder.iterdir()) == []


def test_without_a_short_way_a_long_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="limit of a socket's path"), short_address(tmp_path / ("x" * 200)):
        pass


def test_the_client_reports_that_no_stream_is_running(path: Path) -> None:
    with pytest.raises(BadInput) as bad:
        send_request(path, {"status": {}})
    assert str(bad.value) == (f"control socket {path}: no stream is running there; start one, or name its folder with "
                              "--state or its socket with --control")
