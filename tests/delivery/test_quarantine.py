"""Rejected lines: readable, complete, each once per incident, bounded, and ready to be written again."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from clpm_execd.delivery.quarantine import INCIDENT_GAP_S, MAX_FILE_BYTES, Quarantine, read_incidents
from clpm_execd.stored_names import TEMPORARY_SUFFIX

LOG = logging.getLogger("clpm_execd")
MESSAGE = 'HTTP status 422: input field "PV" is type string, already exists as type float'


class Time:
    """A wall clock that stands still; files have its time."""

    def __init__(self, folder: Path) -> None:
        self.seconds = 1_700_000_000.25
        self.folder = folder / "quarantine"

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        for path in self.folder.iterdir():
            os.utime(path, (self.seconds, self.seconds))
        self.seconds += seconds


@pytest.fixture
def clock(tmp_path: Path) -> Time:
    return Time(tmp_path)


@pytest.fixture
def quarantine(tmp_path: Path, clock: Time) -> Quarantine:
    return Quarantine(tmp_path, LOG, now=clock)


def line(value: int) -> bytes:
    return b'm,loop_id=A PV="%d" %d\n' % (value, value)


def test_an_incident_holds_the_servers_messages_and_below_them_the_lines(
    quarantine: Quarantine, clock: Time, tmp_path: Path
) -> None:
    quarantine({MESSAGE: [line(1), line(2)]})
    clock.advance(60)
    quarantine({MESSAGE: [line(3)]})
    clock.advance(60)
    quarantine({"HTTP status 400: unable\nto parse": [b"nonsense\n"]})
    [path] = quarantine.folder.iterdir()
    assert path.name == "2023-11-14T221320.250000Z.lp"
    assert path.stat().st_mode & 0o777 == 0o600
    assert quarantine.folder.stat().st_mode & 0o777 == 0o700
    assert path.read_text() == (
        f"# 2023-11-14T22:13:20+00:00 {MESSAGE}\n" + "".join(line(k).decode() for k in (1, 2, 3))
        + "# 2023-11-14T22:15:20+00:00 HTTP status 400: unable to parse\nnonsense\n"
    )
    [incident] = read_incidents(tmp_path)
    assert incident.since == "2023-11-14T22:13:20+00:00"
    assert incident.messages == (MESSAGE, "HTTP status 400: unable to parse")
    assert incident.lines == (line(1), line(2), line(3), b"nonsense\n")


def test_lines_rejected_together_are_each_below_the_servers_message_about_it(quarantine: Quarantine) -> None:
    quarantine({"type conflict": [line(1), line(3)], "beyond retention": [line(2), line(1)]})
    quarantine({"beyond retention": [line(4)], "type conflict": [line(2), line(5)]})
    [path] = quarantine.folder.iterdir()
    head = b"# 2023-11-14T22:13:20+00:00 "
    assert path.read_bytes() == (
        head + b"type conflict\n" + line(1) + line(3) + head + b"beyond retention\n" + line(2) + line(4)
        + head + b"type conflict\n" + line(5)
    )


def test_a_line_is_in_an_incident_once_however_often_it_is_sent(quarantine: Quarantine, tmp_path: Path) -> None:
    for _ in range(3):
        quarantine({MESSAGE: [line(1), line(2), line(1)]})
    assert [incident.lines for incident in read_incidents(tmp_path)] == [(line(1), line(2))]


def test_an_incident_ends_when_it_is_quiet_or_its_file_is_full(
    quarantine: Quarantine, clock: Time, tmp_path: Path
) -> None:
    quarantine({MESSAGE: [line(1)]})
    clock.advance(INCIDENT_GAP_S)
    quarantine({MESSAGE: [line(k) for k in range(MAX_FILE_BYTES // 20)]})
    clock.advance(1)
    quarantine({MESSAGE: [line(2)]})
    sizes = [len(incident.lines) for incident in read_incidents(tmp_path)]
    assert sizes == [1, MAX_FILE_BYTES // 20, 1]


def test_beyond_its_limit_the_oldest_incident_is_deleted(
    tmp_path: Path, clock: Time, caplog: pytest.LogCaptureFixture
) -> None:
    quarantine = Quarantine(tmp_path, LOG, max_bytes=3 * MAX_FILE_BYTES, now=clock)
    for start in range(6):
        quarantine({MESSAGE: [line(start * 100_000 + k) for k in range(MAX_FILE_BYTES // 20)]})
        clock.advance(INCIDENT_GAP_S)
    remaining = list(read_incidents(tmp_path))
    assert sum(incident.path.stat().st_size for incident in remaining) <= 3 * MAX_FILE_BYTES
    assert remaining[-1].lines[0] == line(500_000)
    assert caplog.text.count("deleting oldest incident") == 6 - len(remaining)


def test_the_newest_incident_stays_however_large_it_is(tmp_path: Path, clock: Time) -> None:
    quarantine = Quarantine(tmp_path, LOG, max_bytes=1, now=clock)
    for number in (1, 2):
        quarantine({MESSAGE: [line(number)]})
        clock.advance(INCIDENT_GAP_S)
    assert [incident.lines for incident in read_incidents(tmp_path)] == [(line(2),)]


def test_a_full_disk_leaves_the_quarantine_unchanged(quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch) -> None:
    quarantine({MESSAGE: [line(1)]})
    [path] = quarantine.folder.iterdir()
    before = path.read_bytes()

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            quarantine({MESSAGE: [line(2)]})
    assert path.read_bytes() == before
    assert not list(quarantine.folder.glob(f"*{TEMPORARY_SUFFIX}"))


def test_after_an_incident_was_removed_a_new_one_starts(quarantine: Quarantine, tmp_path: Path) -> None:
    quarantine({MESSAGE: [line(1)]})
    [path] = quarantine.folder.iterdir()
    path.unlink()
    quarantine({MESSAGE: [line(2)]})
    assert [incident.lines for incident in read_incidents(tmp_path)] == [(line(2),)]


def test_its_count_is_what_it_holds_also_after_a_restart_and_once_lines_are_taken_out(
    quarantine: Quarantine, clock: Time, tmp_path: Path
) -> None:
    assert quarantine.points == 0
    quarantine({MESSAGE: [line(1), line(2)]})
    clock.advance(INCIDENT_GAP_S)
    quarantine({MESSAGE: [line(1), line(3)], "no": [line(4)]})
    assert quarantine.points == Quarantine(tmp_path, LOG).points == 5
    quarantine({MESSAGE: [line(3)]})
    assert quarantine.points == 5
    next(iter(read_incidents(tmp_path))).path.unlink()
    assert quarantine.points == 3
