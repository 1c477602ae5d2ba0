"""The queue on disk: points outlive kills, changed bytes and full disks, and leave in order, each of them once."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from parts import ROOT, small_disk

from clpm_execd.delivery.disk_queue import MERGE_EVERY_PUTS, MIN_COPY_BYTES, DiskQueue
from clpm_execd.delivery.queue import MAX_BATCH_BYTES, MAX_BATCH_LINES, Batch, split_lines
from clpm_execd.delivery.queue_file import parse, serialize
from clpm_execd.delivery.queue_folder import QueueFolder
from clpm_execd.delivery.queue_order import MAX_LIVE_AGE_NS
from clpm_execd.state import durable_file
from clpm_execd.state.folder_lock import FolderLock
from clpm_execd.stored_names import TEMPORARY_SUFFIX

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
LOG = logging.getLogger("clpm_execd")


def lines(*values: int) -> bytes:
    return b"".join(b"m,loop_id=A PV=%d %d\n" % (value, value) for value in values)


class Time:
    """A wall clock that advances by a second whenever it is read."""

    def __init__(self, step: int = SECOND) -> None:
        self.ns, self.step = T0, step

    def __call__(self) -> int:
        self.ns += self.step
        return self.ns


def queue_in(folder: Path, **options: int) -> DiskQueue:
    return DiskQueue(folder, LOG, now=Time(SECOND // 100), **options)


def take_all(queue: DiskQueue) -> list[bytes]:
    """Take all pending lines as a sender does."""
    received: list[bytes] = []
    while (batch := queue.peek()) is not None:
        assert batch.points == batch.body.count(b"\n")
        received += split_lines(batch.body)
        queue.ack()
    return received


def files_in(folder: Path) -> list[Path]:
    return sorted((folder / "spool").iterdir())


# Order


def test_lines_leave_in_order_and_are_removed_when_acknowledged(tmp_path: Path) -> None:
    queue = queue_in(tmp_path)
    queue.put(lines(1, 2))
    queue.put(lines(3))
    first = queue.peek()
    assert first == Batch(lines(1, 2, 3), 3)
    queue.put(lines(4))
    assert queue.peek() is first
    assert len(files_in(tmp_path)) == 3
    queue.ack()
    assert (queue.points, len(files_in(tmp_path))) == (1, 1)
    assert take_all(queue) == split_lines(lines(4))
    assert (queue.points, queue.size, queue.oldest, files_in(tmp_path)) == (0, 0, None, [])


def test_another_process_takes_over_pending_points(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    first = queue_in(tmp_path)
    for value in range(5):
        first.put(lines(value))
    assert first.peek() is not None
    second = queue_in(tmp_path)
    assert caplog.messages == [f"5 points pending in 5 files in {second.folder.path}, the oldest for 0 s"]
    assert (second.points, second.size) == (first.points, first.size)
    second.put(lines(5))
    assert take_all(second) == split_lines(lines(*range(6)))


def test_every_batch_fits_a_request(tmp_path: Path) -> None:
    queue = queue_in(tmp_path)
    queue.put(lines(*range(25_000)))
    queue.put(lines(25_000) + b"m " + b"x" * 2 * MAX_BATCH_BYTES + b"\n")
    sizes = []
    while (batch := queue.peek()) is not None:
        sizes.append((batch.points, len(batch.body)))
        queue.ack()
    assert sum(points for points, _ in sizes) == 25_002
    assert all(points <= MAX_BATCH_LINES and (size <= MAX_BATCH_BYTES or points == 1) for points, size in sizes)


def test_live_points_do_not_wait_behind_a_long_backlog_and_each_queue_keeps_its_order(tmp_path: Path) -> None:
    clock = Time(0)
    queue = DiskQueue(tmp_path, LOG, now=clock)
    for start in range(0, 50_000, MAX_BATCH_LINES):
        queue.put(lines(*range(start, start + MAX_BATCH_LINES)))
    clock.ns += 2 * MAX_LIVE_AGE_NS
    batches, live = [], 1_000_000
    while (batch := queue.peek()) is not None:
        batches.append([int(line.rsplit(b" ")[-1]) for line in split_lines(batch.body)])
        queue.ack()
        if live < 1_000_003:
            queue.put(lines(live))
            live += 1
    assert [batch[0] for batch in batches[:6]] == [0, 1_000_000, 10_000, 1_000_001, 20_000, 30_000]
    old = [value for batch in batches for value in batch if value < 1_000_000]
    assert old == list(range(50_000))


def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    queue = queue_in(tmp_path / "state")
    queue.put(lines(1))
    for folder in (tmp_path / "state", tmp_path / "state" / "spool"):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert files_in(tmp_path / "state")[0].stat().st_mode & 0o777 == 0o600


def test_a_file_is_valid_line_protocol(tmp_path: Path) -> None:
    queue_in(tmp_path).put(lines(1, 2))
    head, *others = split_lines(files_in(tmp_path)[0].read_bytes())
    assert head.startswith(b"# clpm-execd spool 1: 2 points, ")
    assert b"".join(others) == lines(1, 2)


def test_a_clock_set_back_does_not_change_the_order(tmp_path: Path) -> None:
    clock = Time(0)
    queue = DiskQueue(tmp_path, LOG, now=clock)
    queue.put(lines(1))
    clock.ns -= 3600 * SECOND
    queue.put(lines(2))
    again = DiskQueue(tmp_path, LOG, now=clock)
    again.put(lines(3))
    assert take_all(again) == split_lines(lines(1, 2, 3))


def test_files_of_another_process_are_picked_up(tmp_path: Path) -> None:
    queue = DiskQueue(tmp_path, LOG, now=Time())
    queue.put(lines(1))
    queue.folder.path_of(T0 - SECOND).write_bytes(serialize(Batch(lines(7_000_000), 1)))
    for value in range(2, 40):
        queue.put(lines(value))
    assert sorted(take_all(queue)) == sorted(split_lines(lines(*range(1, 40), 7_000_000)))


def test_the_remaining_lines_of_a_nack_outlive_a_kill(tmp_path: Path) -> None:
    clock = Time(0)
    queue = DiskQueue(tmp_path, LOG, now=clock)
    for start in range(0, 3 * MAX_BATCH_LINES, MAX_BATCH_LINES):
        queue.put(lines(*range(start, start + MAX_BATCH_LINES)))
        clock.ns += 2 * MAX_LIVE_AGE_NS
    queue.peek()
    queue.nack(lines(7, 8))
    assert queue.points == 2 * MAX_BATCH_LINES + 2
    assert sorted(take_all(DiskQueue(tmp_path, LOG, now=clock))) == sorted(
        split_lines(lines(7, 8, *range(MAX_BATCH_LINES, 3 * MAX_BATCH_LINES)))
    )


def test_after_a_nack_others_go_first(tmp_path: Path) -> None:
    queue = DiskQueue(tmp_path, LOG, now=Time())
    for start in range(0, 3 * MAX_BATCH_LINES, MAX_BATCH_LINES):
        queue.put(lines(*range(start, start + MAX_BATCH_LINES)))
    for first in (0, MAX_BATCH_LINES, 2 * MAX_BATCH_LINES):
        batch = queue.peek()
        assert batch is not None
        assert batch.body.startswith(lines(first))
        queue.nack()
    assert take_all(queue) == split_lines(lines(*range(3 * MAX_BATCH_LINES)))


# Merging


@pytest.mark.slow
def test_a_long_outage_is_few_files_and_loses_nothing(tmp_path: Path) -> None:
    queue = queue_in(tmp_path)
    in_flight = queue.peek()
    for value in range(1200):
        queue.put(lines(*range(20 * value, 20 * value + 20)))
        in_flight = in_flight or queue.peek()
    assert len(files_in(tmp_path)) < 24_000 / (MAX_BATCH_LINES / 2) + MERGE_EVERY_PUTS + 2
    expected = split_lines(lines(*range(24_000)))
    assert take_all(DiskQueue(tmp_path, LOG)) == expected
    assert not files_in(tmp_path)


def test_an_interrupted_merge_repeats_lines_but_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = queue_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(QueueFolder, "remove", lambda self, time: None)
        for value in range(MERGE_EVERY_PUTS):
            queue.put(lines(value))
    assert len(files_in(tmp_path)) == MERGE_EVERY_PUTS
    taken = take_all(queue_in(tmp_path))
    assert set(taken) == set(split_lines(lines(*range(MERGE_EVERY_PUTS))))
    assert taken[:MERGE_EVERY_PUTS] == split_lines(lines(*range(MERGE_EVERY_PUTS)))


# Corruption


def test_any_changed_byte_makes_its_file_corrupt_and_all_others_are_delivered(tmp_path: Path) -> None:
    queue = queue_in(tmp_path)
    for value in range(3):
        queue.put(lines(value))
    victim = files_in(tmp_path)[1]
    good = victim.read_bytes()
    others = {path: path.read_bytes() for path in files_in(tmp_path)}
    for at in range(len(good)):
        for bit in (0x01, 0x80, 0xFF):
            for path, data in others.items():
                path.write_bytes(data)
            victim.write_bytes(good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :])
            again = queue_in(tmp_path)
            assert take_all(again) == split_lines(lines(0, 2)), (at, bit)
            assert again.corrupt_files == 1
            assert (again.folder.corrupt_path / victim.name).read_bytes() != good
            assert (again.points, again.size) == (0, 0)


def test_a_file_that_changes_while_it_is_pending_is_corrupt(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    queue = queue_in(tmp_path)
    queue.put(lines(1))
    queue.put(lines(2))
    victim = files_in(tmp_path)[0]
    victim.write_bytes(victim.read_bytes().replace(b"PV=1", b"PV=9"))
    assert take_all(queue) == split_lines(lines(2))
    assert [path.name for path in queue.folder.corrupt_path.iterdir()] == [victim.name]
    assert "moved to" in caplog.text


def test_a_disk_that_is_unreadable_for_a_moment_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = queue_in(tmp_path)
    for value in range(4):
        queue.put(lines(value))
    first, _, third, _ = files_in(tmp_path)
    first.write_bytes(b"damaged")
    read_bytes = Path.read_bytes

    def busy(path: Path) -> bytes:
        if path == third:
            raise OSError(24, "Too many open files")
        return read_bytes(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", busy)
        for _ in range(3):
            with pytest.raises(OSError, match="Too many"):
                queue.peek()
    assert take_all(queue) == split_lines(lines(1, 2, 3))
    assert (queue.points, queue.size, queue.corrupt_files) == (0, 0, 1)


def test_a_torn_last_file_is_never_misread(tmp_path: Path) -> None:
    contents = serialize(Batch(lines(7, 8), 2))
    for length in range(len(contents)):
        queue = queue_in(tmp_path / str(length))
        queue.put(lines(1))
        queue.folder.path_of(T0 + 10**15).write_bytes(contents[:length])
        again = queue_in(tmp_path / str(length))
        assert take_all(again) == split_lines(lines(1))
        assert again.corrupt_files == 1


def test_an_unfinished_file_is_delivered_if_it_is_complete_and_else_removed(tmp_path: Path) -> None:
    queue = queue_in(tmp_path)
    queue.put(lines(1))
    contents = serialize(Batch(lines(2), 1))
    (queue.folder.path / f"{T0 + 10**15}.lp{TEMPORARY_SUFFIX}").write_bytes(contents)
    (queue.folder.path / f"{T0 + 2 * 10**15}.lp{TEMPORARY_SUFFIX}").write_bytes(contents[:-1])
    again = queue_in(tmp_path)
    assert take_all(again) == split_lines(lines(1, 2))
    assert files_in(tmp_path) == []
    assert again.corrupt_files == 0


def test_an_unfinished_file_is_durable_before_it_gets_its_name(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill may have come before it was synced, and a power cut after its rename would leave it empty."""
    queue = queue_in(tmp_path)
    queue.put(lines(1))
    (queue.folder.path / f"{T0 + 10**15}.lp{TEMPORARY_SUFFIX}").write_bytes(serialize(Batch(lines(2), 1)))
    events: list[str] = []
    rename = os.replace
    monkeypatch.setattr(durable_file, "_sync_data", lambda fd: events.append("sync"))
    monkeypatch.setattr(os, "fsync", lambda fd: events.append("sync folder"))

    def note_rename(old: Path, new: Path) -> None:
        events.append("rename")
        rename(old, new)

    monkeypatch.setattr(os, "replace", note_rename)
    queue_in(tmp_path)
    assert events == ["sync", "rename", "sync folder"]


def test_a_file_of_another_version_is_logged_as_corrupt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    queue = queue_in(tmp_path)
    queue.put(lines(1))
    [path] = files_in(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"spool 1:", b"spool 2:"))
    assert take_all(queue_in(tmp_path)) == []
    assert "version is 2, not 1" in caplog.text


def test_a_file_removed_by_hand_loses_only_its_lines(tmp_path: Path) -> None:
    queue = queue_in(tmp_path)
    for value in range(3):
        queue.put(lines(value))
    files_in(tmp_path)[1].unlink()
    assert take_all(queue) == split_lines(lines(0, 2))
    assert (queue.points, queue.size) == (0, 0)


def long_lines(value: int) -> bytes:
    """Return as many lines as make a file that is worth a copy in memory."""
    return lines(*range(10**9 * value, 10**9 * value + MIN_COPY_BYTES // 20))


def test_large_files_are_sent_from_memory_and_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = queue_in(tmp_path)
    for value in range(1, 4):
        queue.put(long_lines(value))
    with monkeypatch.context() as patch:
        patch.delattr(Path, "read_bytes")
        assert take_all(queue) == split_lines(b"".join(map(long_lines, range(1, 4))))
    assert files_in(tmp_path) == []
    assert queue._copies == {}


def test_copies_of_files_in_memory_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clpm_execd.delivery.disk_queue.MAX_COPIES_BYTES", 2 * len(long_lines(1)))
    queue = queue_in(tmp_path)
    for value in range(1, 6):
        queue.put(long_lines(value))
    assert sum(map(len, queue._copies.values())) == 2 * len(long_lines(1))
    assert take_all(queue) == split_lines(b"".join(map(long_lines, range(1, 6))))


@pytest.mark.parametrize("spoil", [
    Path.unlink,
    lambda path: path.write_bytes(path.read_bytes()[:-1]),
    lambda path: path.write_bytes(b"x" + path.read_bytes()),
], ids=["removed", "cut short", "without its header"])
def test_a_file_that_was_changed_is_not_sent_from_memory(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    queue = queue_in(tmp_path)
    for value in range(1, 4):
        queue.put(long_lines(value))
    spoil(files_in(tmp_path)[1])
    assert take_all(queue) == split_lines(long_lines(1) + long_lines(3))
    assert (queue.points, queue.size, queue._copies) == (0, 0, {})


def test_a_merged_file_is_not_sent_from_the_copy_of_its_first_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clpm_execd.delivery.disk_queue.MIN_COPY_BYTES", 1)
    queue = queue_in(tmp_path)
    for value in range(MERGE_EVERY_PUTS):
        queue.put(lines(value))
    assert len(files_in(tmp_path)) == 1
    assert take_all(queue) == split_lines(lines(*range(MERGE_EVERY_PUTS)))


# A folder that cannot be used


UNUSABLE = ["a file", "a device", "a loop of links", "a long name", "a file as spool"]


def make_unusable(what: str, folder: Path) -> Path:
    """Return the path of a state folder that cannot be used."""
    if what == "a device":
        return Path(os.devnull)
    if what == "a long name":
        return folder / ("x" * 300)
    path = folder / "state"
    if what == "a file":
        path.touch()
    elif what == "a loop of links":
        path.symlink_to(path)
    else:
        path.mkdir()
        (path / "spool").touch()
    return path


@contextmanager
def without_permission(folder: Path) -> Iterator[None]:
    """Take from this process all permissions for a folder."""
    folder.chmod(0)
    user = os.geteuid()
    if not user:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o700)


@pytest.mark.parametrize("what", UNUSABLE)
def test_without_a_usable_folder_the_queue_is_in_memory(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = make_unusable(what, tmp_path)
    lock = FolderLock(state, LOG)
    lock.try_acquire()
    queue = DiskQueue(state, LOG, lock=lock, now=Time(SECOND))
    for value in range(100):
        queue.put(lines(value))
    assert not queue.is_durable
    assert take_all(queue) == split_lines(lines(*range(100)))
    assert len(caplog.records) == 1, caplog.text


def test_a_folder_that_becomes_usable_is_used_with_the_files_in_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    queue_in(tmp_path).put(lines(1))
    with without_permission(tmp_path):
        lock = FolderLock(tmp_path, LOG)
        assert not lock.try_acquire()
        queue = DiskQueue(tmp_path, LOG, lock=lock, now=Time())
        queue.put(lines(2))
    queue.put(lines(3))
    assert queue.is_durable
    assert sorted(take_all(queue)) == split_lines(lines(1, 2, 3))
    assert files_in(tmp_path) == []
    assert [record.message.partition(": ")[0].replace(str(tmp_path), "X") for record in caplog.records] == [
        "cannot use the state folder X", "the state folder X can be used again",
        "writing the queue to X/spool resumed after 4 s; 0 points dropped"]


def test_the_folder_is_not_touched_while_another_process_holds_it(tmp_path: Path) -> None:
    queue_in(tmp_path).put(lines(1))
    owner, lock = FolderLock(tmp_path, LOG), FolderLock(tmp_path, LOG)
    assert owner.try_acquire()
    queue = DiskQueue(tmp_path, LOG, lock=lock, now=Time())
    queue.put(lines(2))
    assert take_all(queue) == [lines(2)]
    assert len(files_in(tmp_path)) == 1


def test_a_folder_that_is_unusable_for_a_while_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    queue = DiskQueue(tmp_path, LOG, now=Time())
    for value in range(20):
        queue.put(lines(value))
    with without_permission(tmp_path):
        assert take_all(queue) == []
        for value in range(20, 100):
            queue.put(lines(value))
        assert take_all(queue) == split_lines(lines(*range(20, 100)))
        queue.put(lines(100))
    for value in range(101, 140):
        queue.put(lines(value))
    assert sorted(take_all(queue)) == sorted(split_lines(lines(*range(20), *range(100, 140))))
    assert (files_in(tmp_path), queue.points, queue.corrupt_files) == ([], 0, 0)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR", "WARNING"]


def test_written_points_whose_files_cannot_be_deleted_are_not_sent_again_and_deleted_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system")

    queue = DiskQueue(tmp_path, LOG, now=Time())
    for value in range(5):
        queue.put(lines(value))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        assert take_all(queue) == split_lines(lines(*range(5)))
        assert len(files_in(tmp_path)) == 5
    for value in range(5, 50):
        queue.put(lines(value))
        assert take_all(queue) == [lines(value)]
    assert files_in(tmp_path) == []
    assert len(caplog.records) == 1


# Bounds


def test_beyond_the_limit_the_oldest_points_are_dropped_but_not_those_in_flight(tmp_path: Path) -> None:
    tick = len(lines(*range(1000, 2000)))
    queue = queue_in(tmp_path, max_bytes=4 * tick)
    queue.put(lines(*range(1000, 2000)))
    in_flight = queue.peek()
    for start in range(2000, 9000, 1000):
        queue.put(lines(*range(start, start + 1000)))
    assert queue.size <= 4 * tick
    assert queue.points_dropped == 4000
    assert queue.peek() is in_flight
    queue.ack()
    assert take_all(queue) == split_lines(lines(*range(6000, 9000)))


def test_drop_removes_the_oldest_file_that_is_not_in_flight(tmp_path: Path) -> None:
    queue = queue_in(tmp_path)
    for start in (0, MAX_BATCH_LINES, 2 * MAX_BATCH_LINES):
        queue.put(lines(*range(start, start + MAX_BATCH_LINES)))
    in_flight = queue.peek()
    assert queue.drop() == MAX_BATCH_LINES
    assert queue.peek() is in_flight
    assert len(files_in(tmp_path)) == 2
    queue.ack()
    assert take_all(queue) == split_lines(lines(*range(2 * MAX_BATCH_LINES, 3 * MAX_BATCH_LINES)))
    assert queue.drop() == 0
    assert queue.points_dropped == MAX_BATCH_LINES


def full_disk(monkeypatch: pytest.MonkeyPatch, room: list[int]) -> None:
    """Let writes take the bytes that are left in `room`, and then nothing."""
    write = os.write

    def limited(fd: int, data: bytes) -> int:
        if not room or not os.readlink(f"/proc/self/fd/{fd}").endswith(TEMPORARY_SUFFIX):
            return write(fd, data)
        count = min(len(data), room[0])
        room[0] -= count
        if not count:
            raise OSError(28, "No space left on device")
        return write(fd, data[:count])

    monkeypatch.setattr(os, "write", limited)


def test_a_full_disk_keeps_points_in_memory_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    queue = queue_in(tmp_path)
    room = [700]
    full_disk(monkeypatch, room)
    for value in range(100):
        queue.put(lines(value))
        assert all(parse(path.read_bytes()) for path in files_in(tmp_path))
    assert not queue.is_durable
    assert queue.points == 100
    assert 0 < len(files_in(tmp_path)) < 10
    room.clear()
    queue.put(lines(100))
    assert queue.is_durable
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]
    assert "No space left" in caplog.records[0].message
    assert "0 points dropped" in caplog.records[1].message
    assert take_all(queue_in(tmp_path)) == split_lines(lines(*range(101)))


def test_a_network_folder_that_cannot_be_synced_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    queue = queue_in(tmp_path)
    queue.put(lines(1))
    assert queue.is_durable
    assert take_all(queue_in(tmp_path)) == [lines(1)]


def test_lines_that_are_in_flight_from_memory_are_written_once_there_is_room(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = [0]
    full_disk(monkeypatch, room)
    queue = queue_in(tmp_path)
    queue.put(lines(1))
    assert queue.peek() is not None
    assert not queue.is_durable
    room[0] = 10**6
    queue.put(lines(2))
    assert queue.is_durable
    assert sorted(take_all(queue_in(tmp_path))) == split_lines(lines(1, 2))


def test_a_pipe_with_the_name_of_a_queue_file_is_ignored(tmp_path: Path) -> None:
    queue = queue_in(tmp_path)
    queue.put(lines(1))
    os.mkfifo(queue.folder.path_of(T0))
    assert take_all(queue_in(tmp_path)) == split_lines(lines(1))


def test_lines_in_memory_are_sent_in_their_turn_while_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    queue = queue_in(tmp_path)
    queue.put(lines(1))
    full_disk(monkeypatch, [10])
    queue.put(lines(2))
    queue.put(lines(3))
    assert take_all(queue) == split_lines(lines(1, 2, 3))
    for value in range(4, 20):
        queue.put(lines(value))
        queue.put(b"")
        assert take_all(queue) == split_lines(lines(value))
        queue.put(b"")
    assert (queue.points, queue.size, queue.is_durable) == (0, 0, True)
    assert len(caplog.records) == 1, "logged once"


def test_memory_is_bounded_while_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = queue_in(tmp_path, max_memory_bytes=3_000_000)
    queue.put(lines(0))
    full_disk(monkeypatch, [0])
    block = lines(*range(10_000, 20_000))
    for _ in range(30):
        queue.put(block)
    assert 2_000_000 < queue.size <= 3_000_100
    assert queue.points_dropped == 300_001 - queue.points
    taken = take_all(queue)
    assert taken[0] == lines(0)
    assert len(taken) + queue.points_dropped == 300_001


@pytest.mark.process
def test_a_disk_that_is_really_full_loses_nothing_and_is_used_again(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        queue = queue_in(disk)
        values = iter(range(10**9))
        put: list[int] = []
        while queue.size < 5_000_000:
            some = [next(values) for _ in range(1000)]
            queue.put(lines(*some))
            put += some
        assert not queue.is_durable
        queue.peek()
        queue.ack()  # removing works where writing does not
        first = queue_in(disk)
        assert first.corrupt_files == 0
        taken = take_all(queue)
        queue.put(lines(next(values)))
        assert queue.is_durable
        assert len(files_in(disk)) == 1
        assert set(taken) <= set(split_lines(lines(*put)))
        assert len(taken) >= len(put) - MAX_BATCH_LINES
        assert queue.points_dropped == 0


# Threads and kills


@pytest.mark.slow
def test_one_thread_that_puts_and_one_that_sends_lose_and_repeat_nothing(tmp_path: Path) -> None:
    queue = DiskQueue(tmp_path, LOG)
    taken: list[bytes] = []
    result = threading.Event()

    def send() -> None:
        while not result.is_set() or queue.points:
            if (batch := queue.peek()) is not None:
                taken.extend(split_lines(batch.body))
                queue.ack()
            else:
                time.sleep(0.001)

    sender = threading.Thread(target=send)
    sender.start()
    for value in range(1000):
        queue.put(lines(value))
    result.set()
    sender.join(30)
    assert taken == split_lines(lines(*range(1000)))
    assert files_in(tmp_path) == []


WORKER = """
import logging, os, sys, threading
from pathlib import Path
from clpm_execd.delivery import disk_queue

disk_queue.MERGE_EVERY_PUTS = 7
queue = disk_queue.DiskQueue(Path(sys.argv[1]), logging.getLogger())
taken = open(sys.argv[2], "ab", buffering=0)

def send():
    while True:
        batch = queue.peek()
        if batch is not None and batch.points > 25:
            taken.write(batch.body)
            queue.ack()

threading.Thread(target=send, daemon=True).start()
value = int(sys.argv[3])
while True:
    queue.put(b"m PV=1 %d\\n" % value)
    os.write(1, b"%d\\n" % value)
    value += 1
"""


@pytest.mark.process
def test_kills_lose_no_point_for_which_put_has_returned(tmp_path: Path) -> None:
    """Lines are put, merged and sent all the while; each process continues after the last line that was put."""
    rng = random.Random(4)
    taken, last_put = tmp_path / "taken", 0
    for _ in range(12):
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), str(taken), str(last_put + 1)],
            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert worker.stdout is not None
        first = worker.stdout.readline()
        timer = threading.Timer(rng.uniform(0.0, 0.15), worker.send_signal, [signal.SIGKILL])
        timer.start()
        output = first + worker.stdout.read()
        worker.wait()
        worker.stdout.close()
        last_put = int(output.split(b"\n")[-2])
    queue = DiskQueue(tmp_path, LOG)
    delivered = {int(line.split()[-1]) for line in split_lines(taken.read_bytes()) + take_all(queue)}
    assert queue.corrupt_files == 0
    assert delivered >= set(range(1, last_put + 1))
    assert delivered <= set(range(1, last_put + 2))
