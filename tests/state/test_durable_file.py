"""A file that is written is complete under its name, or it is as it was before."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from clpm_execd.state.durable_file import open_atomically, unwritable, write_all_atomically


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


def test_a_full_disk_is_reported_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        write_all_atomically({Path("/dev/full"): b"lost"})
    assert str(unwritable("--output x", caught.value)) == (
        "--output x: cannot be written: No space left on device; free some space, or name a file on another disk")
