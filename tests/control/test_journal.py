"""The journal: a line is durable before it is acknowledged, and what was never acknowledged does not count."""

from __future__ import annotations

import errno
import logging
import os
import stat
from pathlib import Path

import pytest

from clpm_execd.control.journal import Journal, JournalContents, JournalEntry, read_journal, read_journal_or_start_anew
from clpm_execd.problems import BadInput

AT = 1_736_503_500_250_000_000
ENTRY = JournalEntry(AT, {"set": {"loop": "FIC1", "sp": 60.5}})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def write(path: Path, *entries: JournalEntry) -> None:
    try:
        contents = read_journal(path)
    except FileNotFoundError:
        contents = JournalContents()
    journal = Journal(path, contents, start=AT - 10**9)
    for entry in entries:
        journal.append(entry)


def test_a_journal_is_lines_that_a_person_can_read(path: Path) -> None:
    write(path, ENTRY)
    assert path.read_text() == (
        '# clpm-execd journal 1\n{"at": "2025-01-10T10:04:59.25Z", "start": true}\n'
        '{"at": "2025-01-10T10:05:00.25Z", "set": {"loop": "FIC1", "sp": 60.5}}\n')
    assert read_journal(path) == JournalContents((ENTRY,), AT - 10**9)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_start_of_a_plant_stands_there_once(path: Path) -> None:
    for _ in range(3):
        write(path, ENTRY)
    assert path.read_text().count("start") == 1


def test_the_start_is_that_of_the_last_plant(path: Path) -> None:
    write(path, ENTRY)
    Journal(path, read_journal(path), start=AT).append(ENTRY)
    assert read_journal(path) == JournalContents((ENTRY, ENTRY), AT)


def test_a_line_without_an_end_does_not_count_and_is_overwritten(path: Path) -> None:
    write(path, ENTRY)
    whole = path.read_text()
    for size in range(len(whole) - 70, len(whole)):
        path.write_text(whole[:size])
        assert read_journal(path).entries == ()
        write(path, ENTRY)
        assert read_journal(path).entries == (ENTRY,)


@pytest.mark.parametrize(("text", "answer"), [
    ("x\n", "is not a journal; name the file `journal` in a state folder"),
    ("# clpm-execd journal 2\n", "has the format version 2, not 1; name the file `journal` in a state folder"),
    ("# clpm-execd journal 1\n{\n", "line 2: is damaged; correct or remove it; the plant was changed by it"),
    ('# clpm-execd journal 1\n{"at": 5, "set": {}}\n', "line 2: is damaged; correct or remove it; the plant was "
                                                       "changed by it"),
])
def test_a_damaged_journal_is_one_error(path: Path, text: str, answer: str) -> None:
    path.write_text(text)
    with pytest.raises(BadInput) as bad:
        read_journal(path)
    assert str(bad.value) == f"{path}: {answer}"


def test_a_stream_moves_a_damaged_journal_away_and_continues(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text("x\n")
    corrupt = path.parent / "corrupt"
    assert read_journal_or_start_anew(path, corrupt, logging.getLogger()) == JournalContents()
    assert [file.read_text() for file in corrupt.iterdir()] == ["x\n"]
    assert len(caplog.records) == 1
    write(path, ENTRY)
    assert read_journal_or_start_anew(path, corrupt, logging.getLogger()).entries == (ENTRY,)


def test_a_full_disk_leaves_the_journal_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, ENTRY)
    before = path.read_bytes()

    def fail(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write(path, ENTRY)
    assert path.read_bytes() == before
