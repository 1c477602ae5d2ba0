"""A file that is written is complete under its name, or it is as it was before."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

import pytest
from command import run_command

from clpm_execd.control.journal import Journal, JournalContents, JournalEntry
from clpm_execd.delivery.disk_queue import DiskQueue
from clpm_execd.delivery.quarantine import Quarantine
from clpm_execd.state import durable_file
from clpm_execd.state.durable_file import make_folder, make_write_error, open_atomically, write_all_atomically

LOG = logging.getLogger("test.durable_file")


def test_files_that_belong_together_are_written_all_or_none(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "no" / "other"
    one.write_bytes(b"before")
    with pytest.raises(FileNotFoundError):
        write_all_atomically({one: b"after", other: b"after"})
    assert one.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["one"]
    other.parent.mkdir()
    write_all_atomically({one: b"after", other: b"too"})
    assert (one.read_bytes(), other.read_bytes()) == (b"after", b"too")


def test_a_file_that_is_cut_short_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with open_atomically(path) as file:
        file.write(b"before")
    with suppress(KeyboardInterrupt), open_atomically(path) as file:
        file.write(b"aft")
        raise KeyboardInterrupt
    with open_atomically(path, lambda: False) as file:
        file.write(b"aft")
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["file"]


def test_a_pipe_is_written_directly(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_all_atomically({pipe: b"passed on"})
    assert os.read(reader, 100) == b"passed on"
    os.close(reader)
    assert pipe.is_fifo()


def test_a_symbolic_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    """/dev/stdout is a link to a link: replacing it would take stdout from every program of the machine."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    target = folder / "target"
    for link, destination in (("link", "elsewhere/target"), ("outer", "link")):
        (tmp_path / link).symlink_to(destination)
    for contents in (b"new", b"newer"):  # at first there is no target
        write_all_atomically({tmp_path / "outer": contents})
        assert target.read_bytes() == contents
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "outer").is_symlink()
    assert os.listdir(folder) == ["target"]


def test_a_link_to_a_pipe_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_all_atomically({tmp_path / "link": b"passed on"})
    assert os.read(reader, 100) == b"passed on"
    os.close(reader)
    assert (tmp_path / "link").is_symlink()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there are no names of descriptors here")
def test_a_link_to_an_open_descriptor_writes_to_it(tmp_path: Path) -> None:
    """As /dev/stdout in `(echo header; clpm-execd generate --output /dev/stdout) > file`."""
    with open(tmp_path / "file", "wb", buffering=0) as shared:
        shared.write(b"header ")
        (tmp_path / "link").symlink_to(f"/proc/self/fd/{shared.fileno()}")
        write_all_atomically({tmp_path / "link": b"body "})
        shared.write(b"footer")
    assert (tmp_path / "file").read_bytes() == b"header body footer"
    assert (tmp_path / "link").is_symlink()


def test_a_loop_of_links_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("other")
    (tmp_path / "other").symlink_to("one")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        write_all_atomically({tmp_path / "one": b"lost"})
    assert (tmp_path / "one").is_symlink()


def test_a_full_disk_is_reported_with_its_remedy() -> None:
    with pytest.raises(OSError) as caught:
        write_all_atomically({Path("/dev/full"): b"lost"})
    assert str(make_write_error("--output x", caught.value)) == (
        "--output x: cannot be written: No space left on device; free some space, or name a file on another disk")


def test_of_files_that_belong_together_none_takes_its_name_if_one_cannot_be_written(tmp_path: Path) -> None:
    for paths in ((Path("/dev/full"), tmp_path / "one"), (tmp_path / "one", Path("/dev/full"))):
        with pytest.raises(OSError, match="No space left"):
            write_all_atomically(dict.fromkeys(paths, b"contents"))
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_inspected_does_not_recurse_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent of `.` is `.`: where nobody may look at it, there is no end of parents to make."""
    monkeypatch.setattr(durable_file, "is_folder", lambda path: False)
    monkeypatch.setattr(Path, "mkdir", lambda path, mode: None)
    monkeypatch.setattr(durable_file, "sync_folder", lambda path: None)
    make_folder(Path("a/b"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize("user", [0, 65534])
def test_what_root_makes_in_a_state_folder_belongs_to_the_owner_of_the_folder(tmp_path: Path, user: int) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, user, user)
    assert run_command("--count", "1", "--state", "state", folder=tmp_path).returncode == 0
    DiskQueue(state, LOG).put(b"m v=1 1\n")
    Quarantine(state, LOG)({"unprocessable": [b"m v=x 1\n"]})
    Journal(state / "journal", JournalContents(), 0).append(JournalEntry(0, {"clear": {"loop": "A"}}))
    made = list(state.rglob("*"))
    assert {path.name for path in made} >= {"lock", "checkpoint", "spool", "quarantine", "journal"}
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in made} == {(user, user)}
