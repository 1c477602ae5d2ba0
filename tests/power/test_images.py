"""The power is cut under real file systems: ext4, XFS and btrfs on a disk that forgets what it was not asked to flush.

The file system is in an image, behind a loop device, on the disk of the tests' own; what the kernel writes and flushes
is recorded beside what the server is asked for. At a cut any of the writes since the last flush may be missing. The
image is mounted again, so that the file system replays its journal, and the files are read.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from power.judges import Promises, find_defects_of_files, time_of
from power.recording import INTERVAL, FileSystem, HttpServer, Life, Stream, direct, record
from power.volatile_disk import Operation, VolatileDisk, write_at

from clpm_execd.delivery.queue import split_lines

CUTS = 150  # of each file system, half of them at a flush
# Small images, so that one can be made for each cut; XFS does not make one of less than 300 MB unless it is forced to.
FILE_SYSTEMS = {
    "ext4": (["mkfs.ext4", "-q", "-F"], 16, ""), "xfs": (["mkfs.xfs", "-q", "-f", "--unsupported"], 32, "nouuid"),
    "btrfs": (["mkfs.btrfs", "-q", "-f", "-M"], 32, "")}


def run(*words: str | Path) -> str:
    result = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{words}: {result.stderr}"
    return result.stdout.strip()


def make_image(kind: str, folder: Path) -> bytes:
    """Return an empty file system with a folder for its owner."""
    command, megabytes, _ = FILE_SYSTEMS[kind]
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    path = folder / "empty"
    path.write_bytes(bytes(megabytes << 20))
    run(*command, path)
    return path.read_bytes()


@contextmanager
def image_mounted(kind: str, image: Path, folder: Path, options: str = "") -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    device = run("losetup", "-f", "--show", image)
    try:
        options = ",".join(filter(None, [options, FILE_SYSTEMS[kind][2]])) or "defaults"
        run("mount", "-t", kind, "-o", options, device, folder)
        try:
            yield folder
        finally:
            run("umount", folder)
    finally:
        run("losetup", "-d", device)


def file_system(kind: str, folder: Path) -> FileSystem:
    return lambda mount: image_mounted(kind, mount / "image", folder)


def images_after_cuts(
        disk: VolatileDisk, chosen: set[int], rng: random.Random) -> Iterator[tuple[int, bytes, Promises]]:
    """Yield the image as a cut after so many operations may leave it, with the promises by then."""
    number = disk.inodes[1].entries["image"]
    flushed, promises = bytearray(disk.start[number].data), Promises()
    unflushed: list[Operation] = []
    for count, operation in enumerate(disk.log):
        if count in chosen:
            image = bytearray(flushed)
            fraction = rng.choice((0.0, 0.5, 0.9, 1.0))
            for write in unflushed:
                if rng.random() < fraction:
                    write_at(image, write.offset, write.data)
            yield count, bytes(image), promises
        if operation.kind == "event":
            lines = promises.requested if operation.name == "request" else promises.accepted
            lines.update(split_lines(operation.data))
        elif operation.kind == "write":
            unflushed.append(operation)
        elif operation.kind == "sync":
            for write in unflushed:
                write_at(flushed, write.offset, write.data)
            unflushed = []


def choose_cuts(log: Sequence[Operation], rng: random.Random) -> set[int]:
    flushes = [count for count, operation in enumerate(log) if operation.kind == "sync"]
    return {*rng.sample(flushes, min(CUTS // 2, len(flushes))), *rng.sample(range(len(log)), min(CUTS // 2, len(log)))}


def read_files(folder: Path) -> dict[str, bytes]:
    return {f"{path.relative_to(folder)}{'/' if path.is_dir() else ''}": path.read_bytes() if path.is_file() else b""
            for path in folder.rglob("*") if path.is_dir() or path.is_file()}


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", FILE_SYSTEMS)
def test_under_a_real_file_system_a_power_cut_loses_no_file_that_was_promised(kind: str, tmp_path: Path) -> None:
    rng = random.Random(1)
    with closing(HttpServer()) as server:
        stream = Stream(tmp_path / "stream", server.url)
        stream.prepare()
        lives = [Life(direct(110), outage=(0.2, 1.8)), Life(direct(30))]
        disk = record(stream, server, lives, tmp_path / "disk", {"image": make_image(kind, tmp_path)},
                      file_system=file_system(kind, tmp_path / "mounted")).disk
    lines = [line for event in disk.log if event.kind == "event" for line in split_lines(event.data)]
    generated = stream.generate(min(map(time_of, lines)), max(map(time_of, lines)) + INTERVAL)
    found, cuts = {}, choose_cuts(disk.log, rng)
    for count, image, promises in images_after_cuts(disk, cuts, rng):
        (tmp_path / "image").write_bytes(image)
        with image_mounted(kind, tmp_path / "image", tmp_path / "mounted") as folder:
            tree = read_files(folder)
        if defects := find_defects_of_files(tree, promises, generated, tmp_path / "judge"):
            found[count] = defects
    print(f"{kind}: {len(disk.log)} operations, {len(cuts)} cuts")
    assert found == {}
