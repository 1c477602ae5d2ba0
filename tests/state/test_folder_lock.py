"""A state folder has one process: a second waits a little, says so and leaves. Without a folder the stream goes on."""

from __future__ import annotations

import logging
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import run_command

from clpm_execd.problems import BadInput
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.runtime.pacing import SystemClock
from clpm_execd.state.folder_lock import PATIENCE, Claim

LOG = logging.getLogger("test.claim")


class Impatient(SystemClock):
    """A clock on which a wait is over at once."""

    def __init__(self) -> None:
        self.passed = 0

    def elapsed(self) -> int:
        return self.passed

    def wait(self, ns: int, read: object = (), write: object = ()) -> set[int]:
        self.passed += ns
        return set()


@pytest.fixture
def signals() -> Iterator[Signals]:
    found = Signals()
    yield found
    found.close()


def test_the_folder_and_its_lock_are_the_owners_only(tmp_path: Path, signals: Signals) -> None:
    claim = Claim(tmp_path / "a" / "state", LOG)
    claim.wait(SystemClock(), signals)
    assert claim.held
    assert stat.S_IMODE(claim.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((claim.folder / "lock").stat().st_mode) == 0o600
    claim.release()


def test_a_second_process_names_the_first_and_leaves(tmp_path: Path, signals: Signals) -> None:
    first, clock = Claim(tmp_path, LOG), Impatient()
    assert first.take()
    with pytest.raises(BadInput, match=f"in use by another clpm-execd, process {os.getpid()}"):
        Claim(tmp_path, LOG).wait(clock, signals)
    assert clock.passed == PATIENCE
    first.release()


def test_a_successor_gets_it_as_soon_as_the_first_has_gone(tmp_path: Path, signals: Signals) -> None:
    first, second = Claim(tmp_path, LOG), Claim(tmp_path, LOG)
    assert first.take()

    class Leaving(Impatient):
        def wait(self, ns: int, read: object = (), write: object = ()) -> set[int]:
            if self.passed > PATIENCE // 2:
                first.release()
            return super().wait(ns, read, write)

    second.wait(Leaving(), signals)
    assert second.held
    second.release()


@pytest.mark.process
def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = ("import logging, pathlib, sys, time; from clpm_execd.state.folder_lock import Claim;"
            "claim = Claim(pathlib.Path(sys.argv[1]), logging.getLogger());"
            "print(claim.take(), flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"True\n"
        claim = Claim(tmp_path, LOG)
        assert not claim.take()
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert claim.take()
        claim.release()


def test_a_stop_ends_the_wait(tmp_path: Path, signals: Signals) -> None:
    first, second = Claim(tmp_path, LOG), Claim(tmp_path, LOG)
    assert first.take()
    signals.ask_stop()
    began = time.monotonic()
    second.wait(SystemClock(), signals)
    assert not second.held
    assert time.monotonic() - began < 1.0
    first.release()


def test_a_folder_that_cannot_be_is_one_warning_and_the_stream_goes_on(
        tmp_path: Path, signals: Signals, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    claim = Claim(tmp_path / "file" / "state", LOG)
    with caplog.at_level(logging.WARNING):
        claim.wait(Impatient(), signals)
        assert not claim.take()
    assert not claim.held
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the stream goes on without" in caplog.text


def test_the_program_streams_without_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    done = run_command("--state", tmp_path / "file" / "state", "--count", "2", folder=tmp_path)
    assert (done.returncode, done.stdout.count("\n")) == (0, 10)
    assert [line[:2] for line in done.stderr.splitlines() if not line.startswith("I! ")] == ["W!"], done.stderr


@pytest.mark.slow  # it waits for as long as Telegraf may take to end the first
def test_the_program_leaves_with_status_2_and_one_line(tmp_path: Path) -> None:
    claim = Claim(tmp_path, LOG)
    assert claim.take()
    done = run_command("--state", tmp_path, "--count", "1", folder=tmp_path)
    claim.release()
    assert (done.returncode, done.stdout) == (2, "")
    assert [line for line in done.stderr.splitlines() if line.startswith("E! ")] == done.stderr.splitlines()[-1:]
    assert "in use by another clpm-execd" in done.stderr
