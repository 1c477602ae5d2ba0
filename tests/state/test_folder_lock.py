"""A state folder has one process: a second waits a little and ends with an error. Without a folder a stream goes on."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from clocks import FakeClock
from command import run_command
from loopback_server import DONE, Server

from clpm_execd.problems import BadInput
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.runtime.pacing import SystemClock
from clpm_execd.state.folder_lock import ACQUIRE_TIMEOUT_NS, FolderLock

LOG = logging.getLogger("test.folder_lock")


@pytest.fixture
def signals() -> Iterator[Signals]:
    signals = Signals()
    yield signals
    signals.close()


def test_only_the_owner_may_use_the_folder_and_its_lock(tmp_path: Path, signals: Signals) -> None:
    lock = FolderLock(tmp_path / "a" / "state", LOG)
    lock.acquire(SystemClock(), signals)
    assert lock.is_held
    assert stat.S_IMODE(lock.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((lock.folder / "lock").stat().st_mode) == 0o600
    lock.release()


def test_a_second_process_ends_with_an_error_that_names_the_first(tmp_path: Path, signals: Signals) -> None:
    first, clock = FolderLock(tmp_path, LOG), FakeClock()
    assert first.try_acquire()
    with pytest.raises(BadInput, match=f"in use by another clpm-execd, process {os.getpid()}"):
        FolderLock(tmp_path, LOG).acquire(clock, signals)
    assert clock.elapsed() == ACQUIRE_TIMEOUT_NS
    first.release()


def test_the_next_process_gets_the_lock_as_soon_as_the_first_exits(tmp_path: Path, signals: Signals) -> None:
    first, second = FolderLock(tmp_path, LOG), FolderLock(tmp_path, LOG)
    assert first.try_acquire()

    class LeavingClock(FakeClock):
        def wait(self, ns: int, read: object = (), write: object = ()) -> set[int]:
            if self.time > ACQUIRE_TIMEOUT_NS // 2:
                first.release()
            return super().wait(ns, read, write)

    second.acquire(LeavingClock(), signals)
    assert second.is_held
    second.release()


@pytest.mark.process
def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = ("import logging, pathlib, sys, time; from clpm_execd.state.folder_lock import FolderLock;"
            "lock = FolderLock(pathlib.Path(sys.argv[1]), logging.getLogger());"
            "print(lock.try_acquire(), flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"True\n"
        lock = FolderLock(tmp_path, LOG)
        assert not lock.try_acquire()
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert lock.try_acquire()
        lock.release()


def test_a_stop_ends_the_wait(tmp_path: Path, signals: Signals) -> None:
    first, second = FolderLock(tmp_path, LOG), FolderLock(tmp_path, LOG)
    assert first.try_acquire()
    signals.request_stop()
    start = time.monotonic()
    second.acquire(SystemClock(), signals)
    assert not second.is_held
    assert time.monotonic() - start < 1.0
    first.release()


def test_a_folder_that_cannot_be_used_is_one_warning(
        tmp_path: Path, signals: Signals, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    lock = FolderLock(tmp_path / "file" / "state", LOG)
    with caplog.at_level(logging.WARNING):
        lock.acquire(FakeClock(), signals)
        assert not lock.try_acquire()
    assert not lock.is_held
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "continuing without it" in caplog.text


def test_the_program_streams_without_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    result = run_command("--state", tmp_path / "file" / "state", "--count", "2", folder=tmp_path)
    assert (result.returncode, result.stdout.count("\n")) == (0, 10)
    assert [line[:2] for line in result.stderr.splitlines() if not line.startswith("I! ")] == ["W!"], result.stderr


def test_a_lock_whose_file_was_deleted_is_acquired_again(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path / "state", LOG), FolderLock(tmp_path / "state", LOG)
    assert first.try_acquire()
    shutil.rmtree(tmp_path / "state")
    assert first.try_acquire()
    assert not second.try_acquire()
    first.release()


def test_the_names_of_a_folder_and_its_parents_are_durable_once_the_lock_is_held(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was killed may have made them, and not synced them any more."""
    folder = tmp_path / "a" / "state"
    folder.mkdir(parents=True)
    synced: set[str] = set()
    monkeypatch.setattr(os, "fsync", lambda fd: synced.add(os.readlink(f"/proc/self/fd/{fd}")))
    lock = FolderLock(folder, LOG)
    assert lock.try_acquire()
    lock.release()
    assert {str(tmp_path), str(tmp_path / "a")} <= synced


@pytest.mark.parametrize("what", ["file", "device", "spool"])
def test_the_direct_stream_writes_without_a_folder_that_cannot_be_used(what: str, tmp_path: Path) -> None:
    state = Path(os.devnull) if what == "device" else tmp_path / "state"
    if what == "spool":
        state.mkdir()
        (state / "spool").touch()
    elif what == "file":
        state.touch()
    with closing(Server(DONE)) as server:
        env = {"INFLUXDB_URL": server.url, "INFLUXDB_TOKEN": "a-token-to-write", "INFLUXDB_ORG": "o",
               "INFLUXDB_BUCKET": "b"}
        result = run_command("--direct", "--state", state, "--count", "1", folder=tmp_path, env=env)
    assert result.returncode == 0, result.stderr
    assert "5 points written, 0 rejected, 0 dropped, 0 pending" in result.stderr
    assert len(re.findall("cannot (?:use|write)", result.stderr)) == 1, result.stderr


@pytest.mark.slow  # it waits for as long as Telegraf may take to end the first
def test_the_program_ends_with_status_2_and_one_error(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path, LOG)
    assert lock.try_acquire()
    result = run_command("--state", tmp_path, "--count", "1", folder=tmp_path)
    lock.release()
    assert (result.returncode, result.stdout) == (2, "")
    assert [line for line in result.stderr.splitlines() if line.startswith("E! ")] == result.stderr.splitlines()[-1:]
    assert "in use by another clpm-execd" in result.stderr
