"""The spool: what was put is there after a kill, a flipped bit, a full disk, and leaves in order, each point once."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from parts import ROOT, small_disk

from clpm_execd.delivery.disk_queue import COPIED, FRESH, MERGE_AFTER, Spool, packed, path_of, unpacked
from clpm_execd.delivery.memory_queue import MOST_BYTES, MOST_LINES, Batch, split
from clpm_execd.state.durable_file import TEMPORARY_SUFFIX

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
LOG = logging.getLogger("clpm_execd")


def lines(*values: int) -> bytes:
    return b"".join(b"m,loop_id=A PV=%d %d\n" % (value, value) for value in values)


class Time:
    """A wall clock that goes on by a second at every look."""

    def __init__(self, step: int = SECOND) -> None:
        self.ns, self.step = T0, step

    def __call__(self) -> int:
        self.ns += self.step
        return self.ns


def spool_in(folder: Path, **options: int) -> Spool:
    return Spool(folder, LOG, now=Time(SECOND // 100), **options)


def sent(spool: Spool) -> list[bytes]:
    """All that waits, as a sender would take it."""
    taken: list[bytes] = []
    while (batch := spool.peek()) is not None:
        assert batch.points == batch.body.count(b"\n")
        taken += split(batch.body)
        spool.ack()
    return taken


def stored(folder: Path) -> list[Path]:
    return sorted((folder / "spool").iterdir())


# Waiting


def test_what_is_put_waits_in_order_and_is_gone_once_acknowledged(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.put(lines(1, 2))
    spool.put(lines(3))
    first = spool.peek()
    assert first == Batch(lines(1, 2, 3), 3)
    spool.put(lines(4))
    assert spool.peek() is first
    assert len(stored(tmp_path)) == 3
    spool.ack()
    assert (spool.points, len(stored(tmp_path))) == (1, 1)
    assert sent(spool) == split(lines(4))
    assert (spool.points, spool.size, spool.oldest, stored(tmp_path)) == (0, 0, None, [])


def test_another_process_takes_up_what_waited(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    first = spool_in(tmp_path)
    for value in range(5):
        first.put(lines(value))
    assert first.peek() is not None
    second = spool_in(tmp_path)
    assert caplog.messages == [f"5 points in 5 files wait in {second.folder} since 0 s ago"]
    assert (second.points, second.size) == (first.points, first.size)
    second.put(lines(5))
    assert sent(second) == split(lines(*range(6)))


def test_every_batch_fits_a_request(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.put(lines(*range(25_000)))
    spool.put(lines(25_000) + b"m " + b"x" * 2 * MOST_BYTES + b"\n")
    sizes = []
    while (batch := spool.peek()) is not None:
        sizes.append((batch.points, len(batch.body)))
        spool.ack()
    assert sum(points for points, _ in sizes) == 25_002
    assert all(points <= MOST_LINES and (size <= MOST_BYTES or points == 1) for points, size in sizes)


def test_the_newest_do_not_wait_behind_a_long_backlog_and_each_lane_keeps_its_order(tmp_path: Path) -> None:
    clock = Time(0)
    spool = Spool(tmp_path, LOG, now=clock)
    for start in range(0, 50_000, MOST_LINES):
        spool.put(lines(*range(start, start + MOST_LINES)))
    clock.ns += 2 * FRESH
    batches, live = [], 1_000_000
    while (batch := spool.peek()) is not None:
        batches.append([int(line.rsplit(b" ")[-1]) for line in split(batch.body)])
        spool.ack()
        if live < 1_000_003:
            spool.put(lines(live))
            live += 1
    assert [batch[0] for batch in batches[:6]] == [0, 1_000_000, 10_000, 1_000_001, 20_000, 30_000]
    old = [value for batch in batches for value in batch if value < 1_000_000]
    assert old == list(range(50_000))


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    spool = spool_in(tmp_path / "state")
    spool.put(lines(1))
    for folder in (tmp_path / "state", tmp_path / "state" / "spool"):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert stored(tmp_path / "state")[0].stat().st_mode & 0o777 == 0o600


def test_a_file_is_line_protocol_as_it_stands(tmp_path: Path) -> None:
    spool_in(tmp_path).put(lines(1, 2))
    head, *rest = split(stored(tmp_path)[0].read_bytes())
    assert head.startswith(b"# clpm-execd spool 1: 2 points, ")
    assert b"".join(rest) == lines(1, 2)


def test_a_clock_set_back_does_not_change_the_order(tmp_path: Path) -> None:
    clock = Time(0)
    spool = Spool(tmp_path, LOG, now=clock)
    spool.put(lines(1))
    clock.ns -= 3600 * SECOND
    spool.put(lines(2))
    again = Spool(tmp_path, LOG, now=clock)
    again.put(lines(3))
    assert sent(again) == split(lines(1, 2, 3))


def test_files_that_somebody_else_puts_there_are_taken_up(tmp_path: Path) -> None:
    spool = Spool(tmp_path, LOG, now=Time())
    spool.put(lines(1))
    path_of(spool.folder, T0 - SECOND).write_bytes(packed(Batch(lines(7_000_000), 1)))
    for value in range(2, 40):
        spool.put(lines(value))
    assert sorted(sent(spool)) == sorted(split(lines(*range(1, 40), 7_000_000)))


def test_what_is_deferred_waits_behind_all_others_also_after_a_kill(tmp_path: Path) -> None:
    clock = Time(0)
    spool = Spool(tmp_path, LOG, now=clock)
    for start in range(0, 3 * MOST_LINES, MOST_LINES):
        spool.put(lines(*range(start, start + MOST_LINES)))
        clock.ns += 2 * FRESH
    spool.peek()
    spool.defer(lines(7, 8))
    assert spool.points == 2 * MOST_LINES + 2
    assert sorted(sent(Spool(tmp_path, LOG, now=clock))) == sorted(
        split(lines(7, 8, *range(MOST_LINES, 3 * MOST_LINES)))
    )


def test_what_is_deferred_lets_others_go_first(tmp_path: Path) -> None:
    spool = Spool(tmp_path, LOG, now=Time())
    for start in range(0, 3 * MOST_LINES, MOST_LINES):
        spool.put(lines(*range(start, start + MOST_LINES)))
    for first in (0, MOST_LINES, 2 * MOST_LINES):
        batch = spool.peek()
        assert batch is not None
        assert batch.body.startswith(lines(first))
        spool.defer()
    assert sent(spool) == split(lines(*range(3 * MOST_LINES)))


# Merging


def test_a_long_outage_is_few_files_and_loses_nothing(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    held = spool.peek()
    for value in range(1200):
        spool.put(lines(*range(20 * value, 20 * value + 20)))
        held = held or spool.peek()
    assert len(stored(tmp_path)) < 24_000 / (MOST_LINES / 2) + MERGE_AFTER + 2
    expected = split(lines(*range(24_000)))
    assert sent(Spool(tmp_path, LOG)) == expected
    assert not stored(tmp_path)


def test_a_merge_cut_off_leaves_lines_twice_but_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = spool_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "_unlink", lambda self, entry: None)
        for value in range(MERGE_AFTER):
            spool.put(lines(value))
    assert len(stored(tmp_path)) == MERGE_AFTER
    taken = sent(spool_in(tmp_path))
    assert set(taken) == set(split(lines(*range(MERGE_AFTER))))
    assert taken[:MERGE_AFTER] == split(lines(*range(MERGE_AFTER)))


# Corruption


def test_any_byte_flipped_sets_that_file_aside_and_all_others_are_delivered(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for value in range(3):
        spool.put(lines(value))
    victim = stored(tmp_path)[1]
    good = victim.read_bytes()
    others = {path: path.read_bytes() for path in stored(tmp_path)}
    for at in range(len(good)):
        for bit in (0x01, 0x80, 0xFF):
            for path, data in others.items():
                path.write_bytes(data)
            victim.write_bytes(good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :])
            again = spool_in(tmp_path)
            assert sent(again) == split(lines(0, 2)), (at, bit)
            assert again.set_aside == 1
            assert (again.corrupt / victim.name).read_bytes() != good
            assert (again.points, again.size) == (0, 0)


def test_a_file_flipped_while_it_waits_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = spool_in(tmp_path)
    spool.put(lines(1))
    spool.put(lines(2))
    victim = stored(tmp_path)[0]
    victim.write_bytes(victim.read_bytes().replace(b"PV=1", b"PV=9"))
    assert sent(spool) == split(lines(2))
    assert [path.name for path in spool.corrupt.iterdir()] == [victim.name]
    assert "set aside" in caplog.text


def test_a_disk_that_cannot_be_read_for_a_moment_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = spool_in(tmp_path)
    for value in range(4):
        spool.put(lines(value))
    first, _, third, _ = stored(tmp_path)
    first.write_bytes(b"damaged")
    read = Path.read_bytes

    def busy(path: Path) -> bytes:
        if path == third:
            raise OSError(24, "Too many open files")
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", busy)
        for _ in range(3):
            with pytest.raises(OSError, match="Too many"):
                spool.peek()
    assert sent(spool) == split(lines(1, 2, 3))
    assert (spool.points, spool.size, spool.set_aside) == (0, 0, 1)


def test_a_torn_last_file_is_never_misread(tmp_path: Path) -> None:
    whole = packed(Batch(lines(7, 8), 2))
    for kept in range(len(whole)):
        spool = spool_in(tmp_path / str(kept))
        spool.put(lines(1))
        path_of(spool.folder, T0 + 10**15).write_bytes(whole[:kept])
        again = spool_in(tmp_path / str(kept))
        assert sent(again) == split(lines(1))
        assert again.set_aside == 1


def test_an_unfinished_file_is_delivered_if_it_is_whole_and_else_gone(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.put(lines(1))
    whole = packed(Batch(lines(2), 1))
    (spool.folder / f"{T0 + 10**15}.lp{TEMPORARY_SUFFIX}").write_bytes(whole)
    (spool.folder / f"{T0 + 2 * 10**15}.lp{TEMPORARY_SUFFIX}").write_bytes(whole[:-1])
    again = spool_in(tmp_path)
    assert sent(again) == split(lines(1, 2))
    assert stored(tmp_path) == []
    assert again.set_aside == 0


def test_a_file_of_another_version_is_set_aside_with_this_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = spool_in(tmp_path)
    spool.put(lines(1))
    [path] = stored(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"spool 1:", b"spool 2:"))
    assert sent(spool_in(tmp_path)) == []
    assert "version 2, not 1" in caplog.text


def test_a_file_removed_by_hand_costs_only_its_lines(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for value in range(3):
        spool.put(lines(value))
    stored(tmp_path)[1].unlink()
    assert sent(spool) == split(lines(0, 2))
    assert (spool.points, spool.size) == (0, 0)


def long_lines(value: int) -> bytes:
    """As many as make a file that is worth a copy in memory."""
    return lines(*range(10**9 * value, 10**9 * value + COPIED // 20))


def test_large_files_are_sent_from_memory_and_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = spool_in(tmp_path)
    for value in range(1, 4):
        spool.put(long_lines(value))
    with monkeypatch.context() as patch:
        patch.delattr(Path, "read_bytes")
        assert sent(spool) == split(b"".join(map(long_lines, range(1, 4))))
    assert stored(tmp_path) == []
    assert spool._copies == {}


def test_what_is_in_memory_beside_its_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clpm_execd.delivery.disk_queue.COPIES", 2 * len(long_lines(1)))
    spool = spool_in(tmp_path)
    for value in range(1, 6):
        spool.put(long_lines(value))
    assert sum(map(len, spool._copies.values())) == 2 * len(long_lines(1))
    assert sent(spool) == split(b"".join(map(long_lines, range(1, 6))))


@pytest.mark.parametrize("spoil", [
    Path.unlink,
    lambda path: path.write_bytes(path.read_bytes()[:-1]),
    lambda path: path.write_bytes(b"x" + path.read_bytes()),
], ids=["removed", "cut short", "without its header"])  # fmt: skip
def test_a_file_that_is_no_more_as_it_was_is_not_sent_from_memory(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    spool = spool_in(tmp_path)
    for value in range(1, 4):
        spool.put(long_lines(value))
    spoil(stored(tmp_path)[1])
    assert sent(spool) == split(long_lines(1) + long_lines(3))
    assert (spool.points, spool.size, spool._copies) == (0, 0, {})


def test_a_merged_file_is_not_sent_as_the_first_of_those_that_it_is_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clpm_execd.delivery.disk_queue.COPIED", 1)
    spool = spool_in(tmp_path)
    for value in range(MERGE_AFTER):
        spool.put(lines(value))
    assert len(stored(tmp_path)) == 1
    assert sent(spool) == split(lines(*range(MERGE_AFTER)))


# Bounds


def test_beyond_its_cap_the_oldest_go_first_but_not_what_is_being_sent(tmp_path: Path) -> None:
    tick = len(lines(*range(1000, 2000)))
    spool = spool_in(tmp_path, cap=4 * tick)
    spool.put(lines(*range(1000, 2000)))
    held = spool.peek()
    for start in range(2000, 9000, 1000):
        spool.put(lines(*range(start, start + 1000)))
    assert spool.size <= 4 * tick
    assert spool.dropped == 4000
    assert spool.peek() is held
    spool.ack()
    assert sent(spool) == split(lines(*range(6000, 9000)))


def full_disk(monkeypatch: pytest.MonkeyPatch, room: list[int]) -> None:
    """Writes take what room is left, and then nothing."""
    write = os.write

    def limited(fd: int, data: bytes) -> int:
        if not room or not os.readlink(f"/proc/self/fd/{fd}").endswith(TEMPORARY_SUFFIX):
            return write(fd, data)
        taken = min(len(data), room[0])
        room[0] -= taken
        if not taken:
            raise OSError(28, "No space left on device")
        return write(fd, data[:taken])

    monkeypatch.setattr(os, "write", limited)


def test_a_full_disk_keeps_points_in_memory_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spool = spool_in(tmp_path)
    room = [700]
    full_disk(monkeypatch, room)
    for value in range(100):
        spool.put(lines(value))
        assert all(unpacked(path.read_bytes()) for path in stored(tmp_path))
    assert not spool.safe
    assert spool.points == 100
    assert 0 < len(stored(tmp_path)) < 10
    room.clear()
    spool.put(lines(100))
    assert spool.safe
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]
    assert "No space left" in caplog.records[0].message
    assert "0 points were given up" in caplog.records[1].message
    assert sent(spool_in(tmp_path)) == split(lines(*range(101)))


def test_a_shared_folder_whose_names_cannot_be_synced_is_good_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    spool = spool_in(tmp_path)
    spool.put(lines(1))
    assert spool.safe
    assert sent(spool_in(tmp_path)) == [lines(1)]


def test_what_waits_in_memory_is_sent_in_its_turn_while_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spool = spool_in(tmp_path)
    spool.put(lines(1))
    full_disk(monkeypatch, [10])
    spool.put(lines(2))
    spool.put(lines(3))
    assert sent(spool) == split(lines(1, 2, 3))
    for value in range(4, 20):
        spool.put(lines(value))
        spool.put(b"")
        assert sent(spool) == split(lines(value))
        spool.put(b"")
    assert (spool.points, spool.size, spool.safe) == (0, 0, True)
    assert len(caplog.records) == 1, "told once"


def test_memory_is_bounded_while_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = spool_in(tmp_path, memory=3_000_000)
    spool.put(lines(0))
    full_disk(monkeypatch, [0])
    block = lines(*range(10_000, 20_000))
    for _ in range(30):
        spool.put(block)
    assert 2_000_000 < spool.size <= 3_000_100
    assert spool.dropped == 300_001 - spool.points
    taken = sent(spool)
    assert taken[0] == lines(0)
    assert len(taken) + spool.dropped == 300_001


@pytest.mark.process
def test_a_disk_that_is_really_full_loses_nothing_and_is_used_again(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        spool = spool_in(disk)
        values = iter(range(10**9))
        put: list[int] = []
        while spool.size < 5_000_000:
            some = [next(values) for _ in range(1000)]
            spool.put(lines(*some))
            put += some
        assert not spool.safe
        spool.peek()
        spool.ack()  # removing works where writing does not
        first = spool_in(disk)
        assert first.set_aside == 0
        taken = sent(spool)
        spool.put(lines(next(values)))
        assert spool.safe
        assert len(stored(disk)) == 1
        assert set(taken) <= set(split(lines(*put)))
        assert len(taken) >= len(put) - MOST_LINES
        assert spool.dropped == 0


# Threads and kills


def test_a_thread_that_sends_and_one_that_puts_lose_and_double_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path, LOG)
    taken: list[bytes] = []
    done = threading.Event()

    def send() -> None:
        while not done.is_set() or spool.points:
            if (batch := spool.peek()) is not None:
                taken.extend(split(batch.body))
                spool.ack()
            else:
                time.sleep(0.001)

    sender = threading.Thread(target=send)
    sender.start()
    for value in range(1000):
        spool.put(lines(value))
    done.set()
    sender.join(30)
    assert taken == split(lines(*range(1000)))
    assert stored(tmp_path) == []


WORKER = """
import logging, os, sys, threading
from pathlib import Path
from clpm_execd.delivery import disk_queue as spool_of

spool_of.MERGE_AFTER = 7
spool = spool_of.Spool(Path(sys.argv[1]), logging.getLogger())
taken = open(sys.argv[2], "ab", buffering=0)

def send():
    while True:
        batch = spool.peek()
        if batch is not None and batch.points > 25:
            taken.write(batch.body)
            spool.ack()

threading.Thread(target=send, daemon=True).start()
value = int(sys.argv[3])
while True:
    spool.put(b"m PV=1 %d\\n" % value)
    os.write(1, b"%d\\n" % value)
    value += 1
"""


@pytest.mark.process
def test_kills_lose_nothing_that_was_put(tmp_path: Path) -> None:
    """Put, merged and taken all the while; each life goes on where the last one knew to have put."""
    chance = random.Random(4)
    taken, told = tmp_path / "taken", 0
    for _ in range(12):
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), str(taken), str(told + 1)],
            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert worker.stdout is not None
        first = worker.stdout.readline()
        timer = threading.Timer(chance.uniform(0.0, 0.15), worker.send_signal, [signal.SIGKILL])
        timer.start()
        rest = worker.stdout.read()
        worker.wait()
        worker.stdout.close()
        whole = [int(text) for text in (first + rest).split(b"\n")[:-1]]
        told = whole[-1]
    spool = Spool(tmp_path, LOG)
    delivered = {int(line.split()[-1]) for line in split(taken.read_bytes()) + sent(spool)}
    assert spool.set_aside == 0
    assert delivered >= set(range(1, told + 1))
    assert delivered <= set(range(1, told + 2))
