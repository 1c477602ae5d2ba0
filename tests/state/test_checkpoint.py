"""A checkpoint is read as it was written or not at all, and speaks only of what is safe."""

from __future__ import annotations

import logging
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import FaultSpec, Move
from clpm_execd.runtime.pacing import SECOND, SystemClock
from clpm_execd.state.checkpoint import EVERY, LAG, Checkpoint, Keeper, Unfit, packed, read, unpacked
from clpm_execd.state.folder_lock import Claim

START = 1_700_000_000 * SECOND
LOG = logging.getLogger("test.checkpoint")


def loops() -> list[object]:
    faults = (FaultSpec(kind="stiction"), FaultSpec(kind="late"), FaultSpec(kind="mode-hopping"))
    moves = (Move(at=5 * SECOND, sp=60.0, ramp=300 * SECOND),)
    return [replace(template("flow", "FIC1", (0.0, 100.0)), faults=faults, moves=moves),
            template("level", "LIC 2, \u00fc", (0.0, 100.0))]


def lived(samples: int = 100) -> tuple[Plant, LineProtocol]:
    plant = Plant(loops(), start=START)  # type: ignore[arg-type]
    encoder = LineProtocol(plant.loops, truth="truth")
    encoder.encode(plant.advance(samples))
    return plant, encoder


def checkpoint_of(plant: Plant, encoder: LineProtocol) -> Checkpoint:
    return Checkpoint("plant", None, plant.snapshot(), encoder.snapshot(), START, START + 100 * SECOND)


def test_a_stream_goes_on_from_the_file_of_another() -> None:
    plant, encoder = lived()
    found = unpacked(packed(checkpoint_of(plant, encoder)))
    again = Plant(loops(), start=found.snapshot.next_time, snapshot=found.snapshot)  # type: ignore[arg-type]
    other = LineProtocol(again.loops, truth="truth")
    other.restore(found.told, again.resumed_loops)
    assert other.encode(again.advance(200)) == encoder.encode(plant.advance(200))


def test_a_loop_that_begins_tells_its_truth_anew() -> None:
    plant, encoder = lived(30)
    other = LineProtocol(plant.loops, truth="truth")
    other.restore(encoder.snapshot(), frozenset())
    block = plant.advance(1)
    assert encoder.encode(block).count(b"truth,") < other.encode(block).count(b"truth,") == 3


def test_no_byte_can_be_changed_unnoticed() -> None:
    data = packed(checkpoint_of(*lived()))
    for at in range(len(data)):
        with pytest.raises(Unfit):
            unpacked(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])


def test_no_part_of_a_file_is_read() -> None:
    data = packed(checkpoint_of(*lived()))
    for length in range(len(data)):
        with pytest.raises(Unfit):
            unpacked(data[:length])
    with pytest.raises(Unfit):
        unpacked(data + b"\0")


@pytest.mark.parametrize(("spoil", "why"), [
    (lambda data: data.replace(b"checkpoint 1:", b"checkpoint 2:", 1), "of version 2"),
    (lambda data: data[:-1], "checksum"), (lambda data: b"", "header"), (lambda data: b"\x80\x04pickled", "header")])
def test_what_cannot_be_read_is_set_aside_with_one_warning(
        spoil: Callable[[bytes], bytes], why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = spoil(packed(checkpoint_of(*lived())))
    (tmp_path / "checkpoint").write_bytes(data)
    assert read(tmp_path, "plant", LOG) == (None, False)
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert why in record.getMessage()
    [aside] = (tmp_path / "corrupt").iterdir()
    assert aside.read_bytes() == data
    assert read(tmp_path, "plant", LOG) == (None, True)


class Moments(SystemClock):
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time = 0

    def now(self) -> int:
        return START + self.time

    def elapsed(self) -> int:
        return self.time


@pytest.fixture
def claim(tmp_path: Path) -> Iterator[Claim]:
    found = Claim(tmp_path / "state", LOG)
    yield found
    found.release()


def kept(claim: Claim) -> int:
    """The next instant of the checkpoint on disk, in s from START; -1 without one."""
    for _ in range(100):
        if not (claim.folder / "checkpoint.tmp").exists():
            break
        time.sleep(0.01)
    found = read(claim.folder, "plant", LOG)[0]
    return (found.snapshot.next_time - START) // SECOND if found else -1


def test_a_snapshot_is_written_once_the_reader_has_had_it_for_a_while(claim: Claim) -> None:
    plant, encoder, clock = *lived(1), Moments()
    keeper = Keeper(claim, plant, encoder, clock, LOG, lag=LAG)
    keeper.begin(START)
    assert kept(claim) == 1
    seen = []
    for handed in range(1, 61):
        clock.time += SECOND
        encoder.encode(plant.advance(1))
        keeper.look(handed, lambda mark: mark <= handed - 10)  # noqa: B023 - asked at once
        keeper._join(time.monotonic() + 5)
        seen.append(kept(claim))
    ages = np.arange(2, 62) - np.array(seen)
    assert len(set(seen)) > 2
    assert (np.diff(seen) >= 0).all()
    assert ages.max() <= (2 * LAG + EVERY) // SECOND
    assert min(ages[np.flatnonzero(np.diff(seen)) + 1]) >= LAG // SECOND


def test_what_is_safe_is_written_at_once(claim: Claim) -> None:
    plant, encoder, clock = *lived(1), Moments()
    keeper = Keeper(claim, plant, encoder, clock, LOG)
    keeper.begin(START)
    plant.advance(5)
    clock.time += EVERY
    keeper.look(0, lambda mark: False)
    assert kept(claim) == 1
    plant.advance(5)
    keeper.look(0, lambda mark: True)
    keeper._join(time.monotonic() + 5)
    assert kept(claim) == 6, "of what was safe then, and no more"


def test_what_is_handed_over_first_is_remembered_at_once(claim: Claim) -> None:
    plant, encoder = lived(1)
    keeper = Keeper(claim, plant, encoder, Moments(), LOG)
    keeper.begin(START)
    plant.advance(5)
    keeper.look(0, lambda mark: True)
    keeper._join(time.monotonic() + 5)
    assert kept(claim) == 6


def test_the_last_snapshot_is_exact_if_all_is_safe_and_not_written_if_not(
        claim: Claim, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    plant, encoder, clock = *lived(1), Moments()
    keeper = Keeper(claim, plant, encoder, clock, LOG, lag=LAG)
    keeper.begin(START)
    plant.advance(5)
    keeper.leave(1, lambda mark: False)
    assert kept(claim) == 1
    [record] = caplog.records
    assert "the next start emits them again" in record.getMessage()
    keeper.leave(1, lambda mark: True)
    assert kept(claim) == 6
    assert len(caplog.records) == 1
    assert stat.S_IMODE((claim.folder / "checkpoint").stat().st_mode) == 0o600


def test_a_folder_that_does_not_take_it_is_one_warning_until_it_does(
        claim: Claim, caplog: pytest.LogCaptureFixture) -> None:
    plant, encoder = lived(1)
    keeper = Keeper(claim, plant, encoder, Moments(), LOG)
    (claim.folder / "checkpoint").mkdir(parents=True)
    (claim.folder / "checkpoint" / "in the way").touch()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            keeper.begin(START)
        assert len(caplog.records) == 1
        (claim.folder / "checkpoint" / "in the way").unlink()
        (claim.folder / "checkpoint").rmdir()
        keeper.begin(START)
    assert kept(claim) == 1
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        f"cannot write {claim.folder / 'checkpoint'}", f"the state is written again to {claim.folder}"]


def test_a_disk_that_is_full_ends_no_stream(tmp_path: Path, clpm_execd: list[str]) -> None:
    def no_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    done = subprocess.run([*clpm_execd, "--state", str(tmp_path), "--count", "2"], preexec_fn=no_room,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
    assert (done.returncode, done.stdout.count("\n")) == (0, 10), done.stderr
    assert [line[:2] for line in done.stderr.splitlines() if not line.startswith("I!")] == ["W!"]
    assert not list(tmp_path.glob("checkpoint*"))


@pytest.mark.process
def test_a_process_killed_while_it_writes_leaves_the_old_or_the_new(tmp_path: Path) -> None:
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
