"""A checkpoint is read as it was written or not at all, and is never newer than what is durable."""

from __future__ import annotations

import logging
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clocks import FakeClock

from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import FaultSpec, Move
from clpm_execd.runtime.pacing import SECOND
from clpm_execd.state.checkpoint import (
    INTERVAL_NS,
    READER_LAG_NS,
    Checkpoint,
    CheckpointWriter,
    UnusableCheckpoint,
    parse,
    read_checkpoint,
    serialize,
)
from clpm_execd.state.folder_lock import FolderLock

START = 1_700_000_000 * SECOND
LOG = logging.getLogger("test.checkpoint")


def loops() -> list[object]:
    faults = (FaultSpec(kind="stiction"), FaultSpec(kind="late"), FaultSpec(kind="mode-hopping"))
    moves = (Move(at=5 * SECOND, sp=60.0, ramp=300 * SECOND),)
    return [replace(template("flow", "FIC1", (0.0, 100.0)), faults=faults, moves=moves),
            template("level", "LIC 2, \u00fc", (0.0, 100.0))]


def advanced(samples: int = 100) -> tuple[Plant, LineProtocol]:
    plant = Plant(loops(), start=START)  # type: ignore[arg-type]
    encoder = LineProtocol(plant.loops, truth="truth")
    encoder.encode(plant.advance(samples))
    return plant, encoder


def checkpoint_of(plant: Plant, encoder: LineProtocol) -> Checkpoint:
    return Checkpoint("plant", None, plant.snapshot(), encoder.snapshot(), START, START + 100 * SECOND)


def test_a_stream_resumes_from_the_file_of_another() -> None:
    plant, encoder = advanced()
    checkpoint = parse(serialize(checkpoint_of(plant, encoder)))
    again = Plant(loops(), start=checkpoint.snapshot.next_time, snapshot=checkpoint.snapshot)  # type: ignore[arg-type]
    other = LineProtocol(again.loops, truth="truth")
    other.restore(checkpoint.encoder_state, again.resumed_loops)
    assert other.encode(again.advance(200)) == encoder.encode(plant.advance(200))


def test_a_loop_that_starts_writes_its_ground_truth_again() -> None:
    plant, encoder = advanced(30)
    other = LineProtocol(plant.loops, truth="truth")
    other.restore(encoder.snapshot(), frozenset())
    block = plant.advance(1)
    assert encoder.encode(block).count(b"truth,") < other.encode(block).count(b"truth,") == 3


def test_any_changed_byte_makes_it_unusable() -> None:
    data = serialize(checkpoint_of(*advanced()))
    for at in range(len(data)):
        with pytest.raises(UnusableCheckpoint):
            parse(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])


def test_a_part_of_a_file_is_unusable() -> None:
    data = serialize(checkpoint_of(*advanced()))
    for length in range(len(data)):
        with pytest.raises(UnusableCheckpoint):
            parse(data[:length])
    with pytest.raises(UnusableCheckpoint):
        parse(data + b"\0")


@pytest.mark.parametrize(("damage", "reason"), [
    (lambda data: data.replace(b"checkpoint 2:", b"checkpoint 3:", 1), "version is 3"),
    (lambda data: data[:-1], "checksum"), (lambda data: b"", "header"), (lambda data: b"\x80\x04pickled", "header")])
def test_an_unusable_checkpoint_is_moved_away_with_one_warning(
        damage: Callable[[bytes], bytes], reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = damage(serialize(checkpoint_of(*advanced())))
    (tmp_path / "checkpoint").write_bytes(data)
    assert read_checkpoint(tmp_path, "plant", LOG) == (None, False)
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert reason in record.getMessage()
    [moved] = (tmp_path / "corrupt").iterdir()
    assert moved.read_bytes() == data
    assert read_checkpoint(tmp_path, "plant", LOG) == (None, True)


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[FolderLock]:
    lock = FolderLock(tmp_path / "state", LOG)
    yield lock
    lock.release()


def seconds_on_disk(lock: FolderLock) -> int:
    """Return the next sample time of the checkpoint on disk, s from START; -1 without one."""
    for _ in range(100):
        if not (lock.folder / "checkpoint.tmp").exists():
            break
        time.sleep(0.01)
    checkpoint = read_checkpoint(lock.folder, "plant", LOG)[0]
    return (checkpoint.snapshot.next_time - START) // SECOND if checkpoint else -1


def test_a_snapshot_is_written_once_the_reader_has_had_the_samples_for_a_while(lock: FolderLock) -> None:
    plant, encoder, clock = *advanced(1), FakeClock(START)
    writer = CheckpointWriter(lock, plant, encoder, clock, LOG, lag=READER_LAG_NS)
    writer.write_first(START)
    assert seconds_on_disk(lock) == 1
    on_disk = []
    for emitted in range(1, 61):
        clock.time += SECOND
        encoder.encode(plant.advance(1))
        writer.poll(emitted, lambda offset: offset <= emitted - 10)  # noqa: B023 - asked at once
        writer._join(time.monotonic() + 5)
        on_disk.append(seconds_on_disk(lock))
    ages = np.arange(2, 62) - np.array(on_disk)
    assert len(set(on_disk)) > 2
    assert (np.diff(on_disk) >= 0).all()
    assert ages.max() <= (2 * READER_LAG_NS + INTERVAL_NS) // SECOND
    assert min(ages[np.flatnonzero(np.diff(on_disk)) + 1]) >= READER_LAG_NS // SECOND


def test_a_snapshot_of_durable_samples_is_written_at_once(lock: FolderLock) -> None:
    plant, encoder, clock = *advanced(1), FakeClock(START)
    writer = CheckpointWriter(lock, plant, encoder, clock, LOG)
    writer.write_first(START)
    plant.advance(5)
    clock.time += INTERVAL_NS
    writer.poll(0, lambda offset: False)
    assert seconds_on_disk(lock) == 1
    plant.advance(5)
    writer.poll(0, lambda offset: True)
    writer._join(time.monotonic() + 5)
    assert seconds_on_disk(lock) == 6, "the state when everything was durable, and no later one"


def test_the_first_samples_have_a_checkpoint_at_once(lock: FolderLock) -> None:
    plant, encoder = advanced(1)
    writer = CheckpointWriter(lock, plant, encoder, FakeClock(START), LOG)
    writer.write_first(START)
    plant.advance(5)
    writer.poll(0, lambda offset: True)
    writer._join(time.monotonic() + 5)
    assert seconds_on_disk(lock) == 6


def test_without_a_thread_the_stream_writes_the_checkpoints_itself_after_one_warning(
        lock: FolderLock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    plant, encoder, clock = *advanced(1), FakeClock(START)
    writer = CheckpointWriter(lock, plant, encoder, clock, LOG)
    writer.write_first(START)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    for _ in range(3):
        plant.advance(5)
        clock.time += INTERVAL_NS
        writer.poll(0, lambda offset: True)
    assert seconds_on_disk(lock) == 16
    plant.advance(1)
    writer.finish(0, lambda offset: True)
    assert seconds_on_disk(lock) == 17
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_the_last_checkpoint_is_exact_if_everything_is_durable_and_not_written_if_not(
        lock: FolderLock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    plant, encoder, clock = *advanced(1), FakeClock(START)
    writer = CheckpointWriter(lock, plant, encoder, clock, LOG, lag=READER_LAG_NS)
    writer.write_first(START)
    plant.advance(5)
    writer.finish(1, lambda offset: False)
    assert seconds_on_disk(lock) == 1
    [record] = caplog.records
    assert "the next start emits them again" in record.getMessage()
    writer.finish(1, lambda offset: True)
    assert seconds_on_disk(lock) == 6
    assert len(caplog.records) == 1
    assert stat.S_IMODE((lock.folder / "checkpoint").stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_written_is_one_warning_until_it_can(
        lock: FolderLock, caplog: pytest.LogCaptureFixture) -> None:
    plant, encoder = advanced(1)
    writer = CheckpointWriter(lock, plant, encoder, FakeClock(START), LOG)
    (lock.folder / "checkpoint").mkdir(parents=True)
    (lock.folder / "checkpoint" / "in the way").touch()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            writer.write_first(START)
        assert len(caplog.records) == 1
        (lock.folder / "checkpoint" / "in the way").unlink()
        (lock.folder / "checkpoint").rmdir()
        writer.write_first(START)
    assert seconds_on_disk(lock) == 1
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        f"cannot write {lock.folder / 'checkpoint'}", f"writing checkpoints to {lock.folder} resumed"]


def test_a_full_disk_ends_no_stream(tmp_path: Path, clpm_execd: list[str]) -> None:
    def allow_only_small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    result = subprocess.run([*clpm_execd, "--state", str(tmp_path), "--count", "2"], preexec_fn=allow_only_small_files,
                            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
    assert (result.returncode, result.stdout.count("\n")) == (0, 10), result.stderr
    assert [line[:2] for line in result.stderr.splitlines() if not line.startswith("I!")] == ["W!"]
    assert not list(tmp_path.glob("checkpoint*"))


@pytest.mark.process
def test_a_process_that_is_killed_while_it_writes_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    code = ("import sys, pathlib; from clpm_execd.state.durable_file import write_atomically\n"
            "n = 0\n"
            "while True:\n"
            "    n += 1; write_atomically(pathlib.Path(sys.argv[1]), (b'%d ' % n) * 20000)\n"
            "    print(n, flush=True)\n")
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "file")], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            [writer.stdout.readline() for _ in range(3)]
            writer.kill()
        words = set((tmp_path / "file").read_bytes().split())
        assert len(words) == 1


def test_a_pipe_in_place_of_the_checkpoint_is_moved_away_and_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "checkpoint")
    assert read_checkpoint(tmp_path, "plant", LOG) == (None, False)
    assert [path.name.partition("-")[0] for path in (tmp_path / "corrupt").iterdir()] == ["checkpoint"]
