"""The format of a queue file: pinned to the last byte, since files of earlier versions are pending on users' disks."""

from __future__ import annotations

import pytest

from clpm_execd.delivery.queue import Batch
from clpm_execd.delivery.queue_file import (
    MAX_HEADER_BYTES,
    CorruptFile,
    make_file_name,
    parse,
    parse_file_names,
    parse_header,
    serialize,
)

BATCH = Batch(b"m,loop_id=A PV=1 1\nm,loop_id=A PV=2 2\n", 2)
FILE = b"# clpm-execd spool 1: 2 points, 38 bytes, crc32 499813d3\n" + BATCH.body


def test_the_format_does_not_change() -> None:
    assert serialize(BATCH) == FILE
    assert parse(FILE) == BATCH
    assert make_file_name(1764034839123456789) == "1764034839123456789.lp"
    assert make_file_name(1) == "0000000000000000001.lp"


def test_the_header_alone_has_the_number_of_points_and_bytes() -> None:
    assert parse_header(FILE[:MAX_HEADER_BYTES], len(FILE)) == (2, 38)


@pytest.mark.parametrize(("data", "reason"), [
    (FILE.replace(b"spool 1:", b"spool 2:"), "its format version is 2, not 1"),
    (FILE.replace(b"PV=1", b"PV=9"), "its checksum is wrong"),
    (FILE.replace(b"2 points", b"3 points"), "its checksum is wrong"),
    (FILE[:-1], "its checksum is wrong"),
    (b"", "its checksum is wrong"),
])
def test_a_file_that_is_not_as_it_was_written_is_corrupt(data: bytes, reason: str) -> None:
    with pytest.raises(CorruptFile, match=reason):
        parse(data)


def test_a_header_that_does_not_fit_the_file_is_corrupt() -> None:
    with pytest.raises(CorruptFile, match="length is wrong"):
        parse_header(FILE[:MAX_HEADER_BYTES], len(FILE) - 1)
    with pytest.raises(CorruptFile, match="header is incomplete"):
        parse_header(FILE[:20], len(FILE))


def test_other_files_in_the_folder_are_none_of_the_queue() -> None:
    names = ["1764034839123456789.lp", "1764034839123456789.lp.tmp", "notes.txt", "1.lp", "0000000000000000007.lp"]
    assert parse_file_names(names) == [7, 1764034839123456789]
