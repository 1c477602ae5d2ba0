"""`spool` lists, retries and exports pending points and rejected lines, while a stream runs or not."""

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
MESSAGE = 'HTTP status 422: input field "PV" is type string, already exists as type float'
Cli = Callable[..., subprocess.CompletedProcess[str]]


def lines(*values: int) -> bytes:
    return b"".join(b"m,loop_id=A PV=%d %d\n" % (value, value) for value in values)


def drain(state: Path) -> list[bytes]:
    spool, delivered = DiskQueue(state, LOG), []
    while (batch := spool.peek()) is not None:
        delivered += split_lines(batch.body)
        spool.ack()
    return delivered


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    def call(*words: str, state: str = "state") -> subprocess.CompletedProcess[str]:
        return run_command("spool", *words, folder=tmp_path, env={"CLPM_STATE": state})

    return call


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """5 points are pending in 2 files, 3 were rejected in one incident, and one file is corrupt."""
    folder = tmp_path / "state"
    spool = DiskQueue(folder, LOG)
    for value in range(3):
        spool.put(lines(2 * value, 2 * value + 1))
    first = min((folder / "spool").iterdir())
    first.write_bytes(first.read_bytes()[:-5])
    spool.put(lines(6))
    Quarantine(folder, LOG)({MESSAGE: split_lines(lines(100, 101, 102))})
    return folder


def test_list_shows_pending_points_and_rejected_lines_with_the_reason(cli: Cli, state: Path) -> None:
    lines_shown = cli().stdout.splitlines()
    assert lines_shown[0].startswith("pending: 5 points in 3 files, ")
    assert "; oldest " in lines_shown[0]
    assert lines_shown[1] == "quarantine: 3 lines in 1 incident"
    assert lines_shown[2].endswith(".lp: 3 lines")
    assert lines_shown[3] == f"    {MESSAGE}"
    assert lines_shown[4] == "    first line: m,loop_id=A PV=100 100"
    assert lines_shown[5] == "corrupt: 1 file"
    assert cli("list", "--state", "state").stdout.splitlines()[1:] == lines_shown[1:]
    assert len(list((state / "spool").iterdir())) == 4


def test_list_of_an_empty_folder_shows_zeros(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    lines_shown = ["pending: 0 points in 0 files, 0 bytes", "quarantine: 0 lines in 0 incidents", "corrupt: 0 files"]
    assert cli().stdout.splitlines() == lines_shown


def test_retry_queues_rejected_lines_again(cli: Cli, state: Path) -> None:
    result = cli("retry")
    assert result.returncode == 0
    assert result.stdout.startswith("3 lines of 1 incident queued again")
    assert list(read_incidents(state)) == []
    assert sorted(drain(state)) == sorted(split_lines(lines(2, 3, 4, 5, 6, 100, 101, 102)))


def test_retry_of_one_incident_leaves_the_others(cli: Cli, state: Path) -> None:
    [first] = read_incidents(state)
    os.utime(first.path, (1, 1))
    Quarantine(state, LOG)({"HTTP status 400: no": split_lines(lines(200))})
    second = list(read_incidents(state))[1]
    assert cli("retry", second.path.name).returncode == 0
    assert [incident.path for incident in read_incidents(state)] == [first.path]
    assert lines(200) in drain(state)


def test_a_running_stream_picks_up_retried_lines(state: Path) -> None:
    moment = [10**18]
    stream = DiskQueue(state, LOG, now=lambda: moment[0])
    retry_incidents(state)
    moment[0] += 60 * 10**9
    stream.put(lines(7))
    delivered = []
    while (batch := stream.peek()) is not None:
        delivered += split_lines(batch.body)
        stream.ack()
    assert set(split_lines(lines(100, 101, 102))) <= set(delivered)


def test_an_interrupted_retry_is_completed_by_the_next(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            retry_incidents(state)
    assert retry_incidents(state) == (1, 3)
    assert retry_incidents(state) == (0, 0)
    assert set(split_lines(lines(100, 101, 102))) <= set(drain(state))


def test_pending_lines_are_exported_and_stay_in_the_queue(cli: Cli, state: Path, tmp_path: Path) -> None:
    assert cli("export", "--output", "pending.lp").returncode == 0
    assert (tmp_path / "pending.lp").read_bytes() == lines(2, 3, 4, 5, 6)
    assert cli("export", "pending").stdout == lines(2, 3, 4, 5, 6).decode()
    assert cli("export", "waiting").stdout == lines(2, 3, 4, 5, 6).decode(), "the name in 0.1.0"
    assert take_inventory(state).points == 5


def test_rejected_lines_are_exported_with_the_message_of_the_server(cli: Cli, state: Path) -> None:
    text = f"# {MESSAGE}\n" + lines(100, 101, 102).decode()
    assert cli("export", "quarantine").stdout == text
    [incident] = read_incidents(state)
    assert cli("export", incident.path.name).stdout == text
    assert cli("export", "pending", "quarantine").stdout == lines(2, 3, 4, 5, 6).decode() + text


@pytest.mark.parametrize(("words", "message"), [
    (["--state", "nowhere"], "--state nowhere: is not a folder"),
    (["retry", "waiting"], "there is no such incident"),
    (["export", "quarantin"], "did you mean 'quarantine'?"),
    (["remove"], "unknown value 'remove'; choose from list, retry, export"),
    (["export", "--output", "no/such/file"], "--output no/such/file: cannot be written"),
])
def test_an_error_is_one_line(cli: Cli, state: Path, words: list[str], message: str) -> None:
    result = cli(*words)
    assert result.returncode == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_without_a_state_folder_the_error_asks_for_one(cli: Cli) -> None:
    result = cli(state="")
    assert result.returncode == 2
    assert "name the state folder of the stream, or set CLPM_STATE" in result.stderr


def contents_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_verify_of_intact_files_prints_the_number_of_points(cli: Cli, tmp_path: Path) -> None:
    DiskQueue(tmp_path / "state", LOG).put(lines(1, 2))
    result = cli("verify")
    assert (result.stdout, result.returncode) == ("ok: 2 points in 1 file, no checkpoint\n", 0)


def test_verify_names_each_damaged_file_and_changes_none(cli: Cli, state: Path) -> None:
    (state / "checkpoint").write_bytes(b"clpm-execd checkpoint 2: 5 byt")
    first, _, middle, last = sorted((state / "spool").iterdir())
    middle.write_bytes(middle.read_bytes().replace(b"PV=4", b"PV=9"))
    incident = next((state / "quarantine").iterdir())
    incident.write_bytes(incident.read_bytes()[:-4])
    before = contents_of(state)
    result = cli("verify")
    damaged = [line.removeprefix("damaged: ").partition(": ") for line in result.stdout.splitlines()]
    assert {state.parent / path: reason for path, _, reason in damaged} == {
        first: "its checksum is wrong", middle: "its checksum is wrong",
        incident: "it is incomplete", state / "checkpoint": "its header is incomplete"}
    assert last not in [state.parent / path for path, *_ in damaged]
    assert result.returncode == 1
    assert contents_of(state) == before


def test_verify_lists_what_a_stream_moved_away(cli: Cli, state: Path) -> None:
    drain(state)
    moved = next((state / "corrupt").iterdir()).name
    assert cli("verify").stdout == f"damaged: state/corrupt/{moved}: was found damaged by a stream and moved here\n"


def test_check_warns_of_damaged_files_in_the_state_folder(state: Path, tmp_path: Path) -> None:
    result = run_command("check", "--state", "state", folder=tmp_path)
    damaged = min((state / "spool").iterdir()).name
    assert result.stdout.splitlines()[1:] == [f"warning: damaged file state/spool/{damaged}: its checksum is wrong"]
    assert result.returncode == 0


def test_check_of_a_state_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run_command("check", "--state", "file", folder=tmp_path)
    assert (result.stdout, result.returncode) == ("", 2)
    assert result.stderr.startswith("--state file: cannot be used: Not a directory; ")
