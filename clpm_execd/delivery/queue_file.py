"""The format of a file of the disk queue: one batch that is read exactly as it was written, or not at all.

A file is named by its time, ns since 1970 in 19 digits: `1764034839123456789.lp`. Its first line is a comment with
version, number of points, size and checksum, so that the file is line protocol. Nothing here reads or writes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable

from clpm_execd.delivery.queue import Batch
from clpm_execd.stored_names import QUEUE_FILE_TITLE

FORMAT_VERSION = 1
MAX_HEADER_BYTES = 160  # the longest header that the pattern allows has 75

_NAME = re.compile(r"(\d{19})\.lp")
_HEADER = re.compile(
    QUEUE_FILE_TITLE.encode() + rb" (\d{1,4}): (\d{1,9}) points, (\d{1,12}) bytes, crc32 [0-9a-f]{8}\n")


class CorruptFile(Exception):  # noqa: N818 - what the file is, not what the program did wrong
    """A file that does not hold what was written to it."""


def make_file_name(time: int) -> str:
    """Return the name of the file of this time, ns since 1970."""
    return f"{time:019d}.lp"


def parse_file_names(names: Iterable[str]) -> list[int]:
    """Return the times of those names that are a queue file's, ns since 1970, the oldest first."""
    return sorted(int(match[1]) for match in map(_NAME.fullmatch, names) if match)


def make_header(batch: Batch) -> bytes:
    """Return what stands before the lines in the file of a batch."""
    # CRC-32 finds what disks do, any one changed byte included. It fends off no forger: that would take five times as
    # long, and a user who can write to the folder can write any points.
    check = zlib.crc32(batch.body)
    text = f"{QUEUE_FILE_TITLE} {FORMAT_VERSION}: {batch.points} points, {len(batch.body)} bytes, crc32 {check:08x}\n"
    return text.encode()


def serialize(batch: Batch) -> bytes:
    """Return the contents of the file of a batch."""
    return make_header(batch) + batch.body


def parse(data: bytes) -> Batch:
    """Return the batch of a file with these contents; CorruptFile if one bit is not as it was written."""
    start = data.find(b"\n") + 1
    body = data[start:]
    batch = Batch(body, body.count(b"\n"))
    if data[:start] == make_header(batch):
        return batch
    header = _HEADER.match(data)
    if header and int(header[1]) != FORMAT_VERSION:
        raise CorruptFile(f"its format version is {int(header[1])}, not {FORMAT_VERSION}")
    raise CorruptFile("its checksum is wrong")


def parse_header(start: bytes, file_size: int) -> tuple[int, int]:
    """Return the points and the bytes of lines in a file by its first bytes; CorruptFile if some are missing."""
    header = _HEADER.match(start)
    if not header:
        raise CorruptFile("its header is incomplete")
    if file_size != header.end() + int(header[3]):
        raise CorruptFile("its length is wrong")
    return int(header[2]), int(header[3])
