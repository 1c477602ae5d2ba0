"""`clpm-execd spool`: what waits and what was refused, told, written again, taken out, beside a stream or not."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from command import run_command

from clpm_execd.delivery.disk_queue import DiskQueue
from clpm_execd.delivery.inspection import retry_incidents, take_inventory
from clpm_execd.delivery.quarantine import Quarantine, read_incidents
from clpm_execd.delivery.queue import split_lines

LOG = logging.getLogger("clpm_execd")
WORDS = 'HTTP status 422: input field "PV" is type string, already exists as type float'
Cli = Callable[..., subprocess.CompletedProcess[str]]


def lines(*values: int) -> bytes:
    return b"".join(b"m,loop_id=A PV=%d %d\n" % (value, value) for value in values)


def drained(state: Path) -> list[bytes]:
    spool, taken = DiskQueue(state, LOG), []
    while (batch := spool.peek()) is not None:
        taken += split_lines(batch.body)
        spool.ack()
    return taken


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    def call(*words: str, state: str = "state") -> subprocess.CompletedProcess[str]:
        return run_command("spool", *words, folder=tmp_path, env={"CLPM_STATE": state})

    return call


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """5 points wait in 2 files, 3 were refused in one incident, one file is corrupt."""
    folder = tmp_path / "state"
    spool = DiskQueue(folder, LOG)
    for value in range(3):
        spool.put(lines(2 * value, 2 * value + 1))
    first = min((folder / "spool").iterdir())
    first.write_bytes(first.read_bytes()[:-5])
    spool.put(lines(6))
    Quarantine(folder, LOG)({WORDS: split_lines(lines(100, 101, 102))})
    return folder


def test_it_tells_what_waits_what_was_refused_and_why(cli: Cli, state: Path) -> None:
    told = cli().stdout.splitlines()
    assert told[0].startswith("pending: 5 points in 3 files, ")
    assert "; oldest " in told[0]
    assert told[1] == "quarantine: 3 lines in 1 incident"
    assert told[2].endswith(".lp: 3 lines")
    assert told[3] == f"    {WORDS}"
    assert told[4] == "    first line: m,loop_id=A PV=100 100"
    assert told[5] == "corrupt: 1 file"
    assert cli("list", "--state", "state").stdout.splitlines()[1:] == told[1:]
    assert len(list((state / "spool").iterdir())) == 4


def test_an_empty_folder_is_told_as_such(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    told = ["pending: 0 points in 0 files, 0 bytes", "quarantine: 0 lines in 0 incidents", "corrupt: 0 files"]
    assert cli().stdout.splitlines() == told


def test_refused_lines_wait_again(cli: Cli, state: Path) -> None:
    done = cli("retry")
    assert done.returncode == 0
    assert done.stdout.startswith("3 lines of 1 incident queued again")
    assert list(read_incidents(state)) == []
    assert sorted(drained(state)) == sorted(split_lines(lines(2, 3, 4, 5, 6, 100, 101, 102)))


def test_one_incident_can_be_chosen(cli: Cli, state: Path) -> None:
    [first] = read_incidents(state)
    os.utime(first.path, (1, 1))
    Quarantine(state, LOG)({"HTTP status 400: no": split_lines(lines(200))})
    second = list(read_incidents(state))[1]
    assert cli("retry", second.path.name).returncode == 0
    assert [incident.path for incident in read_incidents(state)] == [first.path]
    assert lines(200) in drained(state)


def test_a_running_stream_takes_up_what_is_retried(state: Path) -> None:
    moment = [10**18]
    stream = DiskQueue(state, LOG, now=lambda: moment[0])
    retry_incidents(state)
    moment[0] += 60 * 10**9
    stream.put(lines(7))
    taken = []
    while (batch := stream.peek()) is not None:
        taken += split_lines(batch.body)
        stream.ack()
    assert set(split_lines(lines(100, 101, 102))) <= set(taken)


def test_a_retry_that_was_cut_off_is_ended_by_the_next(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            retry_incidents(state)
    assert retry_incidents(state) == (1, 3)
    assert retry_incidents(state) == (0, 0)
    assert set(split_lines(lines(100, 101, 102))) <= set(drained(state))


def test_what_waits_is_exported_as_line_protocol_and_stays(cli: Cli, state: Path, tmp_path: Path) -> None:
    assert cli("export", "--output", "pending.lp").returncode == 0
    assert (tmp_path / "pending.lp").read_bytes() == lines(2, 3, 4, 5, 6)
    assert cli("export", "pending").stdout == lines(2, 3, 4, 5, 6).decode()
    assert cli("export", "waiting").stdout == lines(2, 3, 4, 5, 6).decode(), "the name in 0.1.0"
    assert take_inventory(state).points == 5


def test_what_was_refused_is_exported_with_the_servers_words(cli: Cli, state: Path) -> None:
    text = f"# {WORDS}\n" + lines(100, 101, 102).decode()
    assert cli("export", "quarantine").stdout == text
    [incident] = read_incidents(state)
    assert cli("export", incident.path.name).stdout == text
    assert cli("export", "pending", "quarantine").stdout == lines(2, 3, 4, 5, 6).decode() + text


@pytest.mark.parametrize(("words", "told"), [
    (["--state", "nowhere"], "--state nowhere: is not a folder"),
    (["retry", "waiting"], "there is no such incident"),
    (["export", "quarantin"], "did you mean 'quarantine'?"),
    (["remove"], "unknown value 'remove'; choose from list, retry, export"),
    (["export", "--output", "no/such/file"], "--output no/such/file: cannot be written"),
])
def test_what_is_wrong_is_one_line(cli: Cli, state: Path, words: list[str], told: str) -> None:
    done = cli(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_a_folder_it_asks_for_one(cli: Cli) -> None:
    done = cli(state="")
    assert done.returncode == 2
    assert "name the state folder of the stream, or set CLPM_STATE" in done.stderr
