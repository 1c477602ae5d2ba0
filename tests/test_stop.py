"""Ctrl-C, SIGTERM and a terminal that closes end every command within a second, whatever it waits for."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from command import run_command, run_process

from clpm_execd.runtime.os_signals import Signals

pytestmark = pytest.mark.slow

CONNECTION = {"INFLUXDB_TOKEN": "token", "INFLUXDB_ORG": "o", "INFLUXDB_BUCKET": "b"}
ALARMS = "loop,start,end,fault\n"


@pytest.fixture(scope="module", autouse=True)
def imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Import what the commands import: in one process, an import that a signal ends would be half done for the next."""
    folder = tmp_path_factory.mktemp("imported")
    (folder / "alarms.csv").write_text(ALARMS)
    (folder / "record.csv").write_text("time,PV,OP,SP\n0,1,2,1\n1,1,2,1\n2,1,2,1\n")
    env = {**CONNECTION, "INFLUXDB_URL": "http://127.0.0.1:9"}
    for words in (("check", "--direct"), ("score", "alarms.csv"), ("generate", "--duration", "5s", "--output", "a.gz"),
                  ("preview", "--duration", "1m", "--output", "a.svg"), ("--replay", "record.csv", "--count", "1")):
        run_command(*words, folder=folder, env=env)


@contextmanager
def dripping_server() -> Iterator[str]:
    """A server that answers every request with one byte of a header every tenth of a second; yields its URL."""
    ended = threading.Event()

    def drip(client: socket.socket) -> None:
        with suppress(OSError), client:
            client.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
            while not ended.wait(0.1):
                client.sendall(b".")

    def serve() -> None:
        while not ended.is_set():
            with suppress(TimeoutError):
                threading.Thread(target=drip, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


def read_clock() -> float:
    """Return s of a clock that on Linux stands still while a busy machine keeps the main thread waiting for a turn."""
    waits = Path(f"/proc/self/task/{threading.main_thread().native_id}/schedstat")
    waited_ns = int(waits.read_text().split()[1]) if waits.exists() else 0
    return time.monotonic() - waited_ns / 1e9


@contextmanager
def stop_soon(how: signal.Signals) -> Iterator[list[float]]:
    """Send the signal to the main thread in a moment, unless the block ends before.

    Yield a list with when that was, by `read_clock`.
    """
    sent: list[float] = []

    def send() -> None:
        sent.append(read_clock())
        signal.pthread_kill(threading.main_thread().ident or 0, how)

    timer = threading.Timer(0.6, send)
    timer.start()
    try:
        yield sent
    finally:
        timer.cancel()
        timer.join()


def check_it_stops(folder: Path, *words: str, how: signal.Signals = signal.SIGTERM,
                   env: dict[str, str] | None = None) -> None:
    with stop_soon(how) as sent:
        result = run_command(*words, folder=folder, env=env)
        end = read_clock()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert end - sent[0] < 1.0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_pipe_as_configuration_that_nobody_writes(tmp_path: Path, how: signal.Signals) -> None:
    os.mkfifo(tmp_path / "loops.toml")
    check_it_stops(tmp_path, "check", "--config", "loops.toml", how=how)


@pytest.mark.process
def test_a_stop_while_a_dataclass_is_imported_ends_with_status_0(tmp_path: Path) -> None:
    """Python defines one by `exec`; after an interruption of that `python -m` would end by SIGINT, caught or not."""
    (tmp_path / "program.py").write_text("""
import sys
from clpm_execd.__main__ import main
from clpm_execd.cli.commands import check
check.run = lambda arguments, signals: exec("raise KeyboardInterrupt")
sys.argv = ["clpm-execd", "check"]
sys.exit(main())
""")
    result = run_process([sys.executable, "-m", "program"], folder=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_stop_during_the_last_steps_of_a_command_ends_with_status_0(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_interruptible, calls = Signals.set_interruptible, iter(range(9))

    def interrupted(signals: Signals, is_interruptible: bool) -> None:
        """An interruption arrives before the command is protected from them."""
        if next(calls) == 1:
            raise KeyboardInterrupt
        set_interruptible(signals, is_interruptible)

    monkeypatch.setattr(Signals, "set_interruptible", interrupted)
    result = run_command("faults", folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert next(calls) == 3


@pytest.mark.parametrize("words", [("--direct",), ("check", "--direct")])
def test_a_pipe_as_token_file_that_nobody_writes(tmp_path: Path, words: tuple[str, ...]) -> None:
    os.mkfifo(tmp_path / "token")
    env = {**CONNECTION, "INFLUXDB_URL": "http://127.0.0.1:9", "INFLUXDB_TOKEN_FILE": "token"}
    del env["INFLUXDB_TOKEN"]
    check_it_stops(tmp_path, *words, env=env)


@pytest.mark.parametrize("words", [("generate", "--output", "pipe"), ("preview", "--output", "pipe.svg"),
                                   ("generate", "--output", "pipe.gz")])
def test_a_pipe_as_output_that_nobody_reads(tmp_path: Path, words: tuple[str, ...]) -> None:
    os.mkfifo(tmp_path / words[-1])
    check_it_stops(tmp_path, *words)


def test_a_replay_of_a_record_that_does_not_come(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "record.csv")
    check_it_stops(tmp_path, "--replay", "record.csv")


@pytest.mark.parametrize("words", [("score", "alarms.csv"), ("check", "--direct")])
def test_a_server_whose_answer_drips(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "alarms.csv").write_text(ALARMS)
    with dripping_server() as url:
        check_it_stops(tmp_path, *words, how=signal.SIGINT, env={**CONNECTION, "INFLUXDB_URL": url})


def test_a_name_lookup_that_gets_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object, **__: object) -> None:
        """Wait as the system's resolver does: no signal ends it."""
        end = time.monotonic() + 5
        while time.monotonic() < end:
            with suppress(KeyboardInterrupt):
                time.sleep(0.1)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    (tmp_path / "alarms.csv").write_text(ALARMS)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    check_it_stops(tmp_path, "score", "alarms.csv", how=signal.SIGINT,
                   env={**CONNECTION, "INFLUXDB_URL": "http://server.example:8086"})


def test_a_pipe_as_file_of_settings_that_nobody_writes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "env")
    check_it_stops(tmp_path, "--env-file", "env", how=signal.SIGINT)


def test_a_terminal_that_closes_ends_a_generation_and_leaves_no_file(tmp_path: Path) -> None:
    check_it_stops(tmp_path, "generate", "--duration", "10000h", "--output", "long.lp", how=signal.SIGHUP)
    assert os.listdir(tmp_path) == []


def test_a_terminal_that_closes_ends_a_stream_in_order(tmp_path: Path) -> None:
    with stop_soon(signal.SIGHUP):
        result = run_command(folder=tmp_path)
    assert result.returncode == 0
    assert result.stdout.endswith("\n")
    assert result.stderr.splitlines()[-1] == "I! stop"


def test_a_terminal_that_closes_ends_a_stream_to_influxdb_even_with_a_pipe_on_stdin(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An orphan would go on, and the next stream would write other values for the same times."""
    monkeypatch.setattr(sys.modules["clpm_execd.runtime.os_signals"], "_is_pipe", lambda fd: True)
    env = {**CONNECTION, "INFLUXDB_URL": "http://127.0.0.1:9"}
    with stop_soon(signal.SIGHUP) as sent:
        result = run_command("--direct", "--state", "state", folder=tmp_path, env=env)
        end = read_clock()
    assert end - sent[0] < 2.0
    assert result.returncode == 0
    assert "stop: 0 points written" in result.stderr
