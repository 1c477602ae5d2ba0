"""A damaged record is one clear error or a record with what was assumed: never a traceback, and never silence.

Each damage is done to records of plants, and to the same formats made here; what is left is read
by both readers of cells, and what can be read is learned.
"""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import numpy as np
import pytest
from plant_records import plant_records

from clpm_execd.identification.learn import learn
from clpm_execd.problems import BadInput
from clpm_execd.records import Record, read_record

ROWS = 400

Damage = Callable[[bytes, random.Random], bytes]


def _signals() -> list[tuple[float, float, float]]:
    rng = np.random.default_rng(11)
    pv = 75 + 0.3 * np.cumsum(rng.standard_normal(ROWS))
    return [(round(value, 4), round(50 - value / 9, 4), 75.25) for value in pv.tolist()]


def _clock(k: int) -> str:
    return f"2024-11-21 {k // 360:02}:{k // 6 % 60:02}:{k % 6 * 10:02}"


def process_data() -> bytes:
    """As tests of the reader have it, of many rows."""
    head = ["PROCESSDATA\tA_FIC101 Data\tyyyy-MM-dd HH:mm:ss", f"8\t10\t{_clock(0)}\t{ROWS}",
            "tagname\tA_FIC101.MV\tA_FIC101.PV\tA_FIC101.SV\tA_FIC101.MODE\tbOpOFL", "desc\t水_OP\t水_PV\t水_SP\tA\tb",
            "fsMax=1.4\tfsMin=0\tL=24"]
    rows = [f"{_clock(k)}\t{op}\t{pv}\t{sp}\t1\t0" for k, (pv, op, sp) in enumerate(_signals())]
    return "\r\n".join([*head, *rows, ""]).encode()


def week() -> bytes:
    """Transmitter and valve, the newest row first."""
    rows = [f"{k},{_clock(k).replace(' ', ',')},{pv},{op}" for k, (pv, op, _) in enumerate(_signals())]
    return "\ufeff".encode() + "\n".join(["id,date,time,FT_211,FV_211", *reversed(rows), ""]).encode()


def flux() -> bytes:
    """One value a row."""
    rows = [f",,0,{_clock(k).replace(' ', 'T')}Z,{value},{name},TIC1,AUT" for k, values in enumerate(_signals())
            for name, value in zip(("PV", "OP", "SP"), values, strict=True)]
    return "\n".join([",result,table,_time,_value,_field,loop_id,Mode", *rows, ""]).encode()


def wide() -> bytes:
    """Two loops side by side, with decimal commas."""
    rows = [f"{_clock(k)};{pv};{op};{sp};{pv + 1};{op}".replace(".", ",") for k, (pv, op, sp) in enumerate(_signals())]
    return "\n".join(["Time;FIC1.PV;FIC1.OP;FIC1.SP;LIC2.PV;LIC2.MV", *rows, ""]).encode()


def of_plants() -> dict[str, Callable[[], bytes]]:
    """The beginnings of real records."""
    def head(path: Path) -> Callable[[], bytes]:
        return lambda: b"".join(path.read_bytes().splitlines(keepends=True)[:ROWS])

    some = plant_records("plant_week/*")[0], plant_records("plant_windows/stiction_data/*FIC20102*")[0]
    return {path.name[:20]: head(path) for path in some}


SOURCES: dict[str, Callable[[], bytes]] = {"process-data": process_data, "week": week, "flux": flux, "wide": wide}
SOURCES |= of_plants()


def damage(of: Callable[[list[bytes], random.Random], None]) -> Damage:
    """A damage that is done to lines; the header's are the first five at most."""
    @wraps(of)
    def done(whole: bytes, rng: random.Random) -> bytes:
        lines = whole.splitlines(keepends=True)
        of(lines, rng)
        return b"".join(lines)

    return done


def some(lines: list[bytes], rng: random.Random, count: int = 7) -> list[int]:
    return sorted(rng.sample(range(6, len(lines)), count))


def delimiter_of(line: bytes) -> bytes:
    return next(d for d in (b"\t", b";", b",") if d in line)


@damage
def cells_of_bad_quality(lines: list[bytes], rng: random.Random) -> None:
    for k in some(lines, rng):
        lines[k] = re.sub(rb"\d+[.,]\d+", rng.choice([b"Bad", b"I/O Timeout", b"NULL", b"-", b"#VALUE!"]), lines[k])


@damage
def cut_off_rows(lines: list[bytes], rng: random.Random) -> None:
    for k in some(lines, rng):
        lines[k] = lines[k][:rng.randrange(3, 12)] + b"\n"


@damage
def doubled_rows(lines: list[bytes], rng: random.Random) -> None:
    for k in reversed(some(lines, rng)):
        lines.insert(k, lines[k])


@damage
def lost_rows(lines: list[bytes], rng: random.Random) -> None:
    begin = rng.randrange(10, len(lines) - 60)
    del lines[begin:begin + 40]


@damage
def shuffled_rows(lines: list[bytes], rng: random.Random) -> None:
    body = lines[6:]
    rng.shuffle(body)
    lines[6:] = body


@damage
def other_delimiters(lines: list[bytes], rng: random.Random) -> None:
    for k in some(lines, rng, 90):
        lines[k] = lines[k].replace(delimiter_of(lines[k]), b"|")


@damage
def repeated_headers(lines: list[bytes], rng: random.Random) -> None:
    for k in reversed(some(lines, rng)):
        lines[k:k] = [b"exported by operator 7\n", lines[0]]


@damage
def lost_decimal_marks(lines: list[bytes], rng: random.Random) -> None:
    for k in some(lines, rng):
        lines[k] = re.sub(rb"(?<=\d)[.,](?=\d{3})", b"", lines[k])


@damage
def the_other_decimal_mark(lines: list[bytes], rng: random.Random) -> None:
    for k in some(lines, rng, 90):
        mark = b"." if delimiter_of(lines[k]) == b";" else b","
        cell = re.search(rb"\d+[.,]\d{4,}", lines[k])
        if cell:
            quoted = re.sub(rb"[.,]", mark, cell[0])
            lines[k] = lines[k].replace(cell[0], b'"' + quoted + b'"', 1)


@damage
def nuls(lines: list[bytes], rng: random.Random) -> None:
    for k in some(lines, rng):
        place = rng.randrange(len(lines[k]) - 2)
        lines[k] = lines[k][:place] + b"\0\0" + lines[k][place:]


@damage
def a_huge_cell(lines: list[bytes], rng: random.Random) -> None:
    k = some(lines, rng, 1)[0]
    lines[k] = lines[k].rstrip() + b"9" * 200_000 + b"\n"


@damage
def an_open_quote(lines: list[bytes], rng: random.Random) -> None:
    k = some(lines, rng, 1)[0]
    delimiter = delimiter_of(lines[k])
    lines[k] = lines[k].replace(delimiter, delimiter + b'"', 1)


@damage
def years_to_come(lines: list[bytes], rng: random.Random) -> None:
    for k in some(lines, rng):
        lines[k] = lines[k].replace(b"2024-", b"2094-")


@damage
def days_that_are_none(lines: list[bytes], rng: random.Random) -> None:
    for k in some(lines, rng):
        lines[k] = re.sub(rb"-\d\d-\d\d", b"-13-32", lines[k])


@damage
def numbers_that_stand_for_none(lines: list[bytes], rng: random.Random) -> None:
    for k in some(lines, rng):
        lines[k] = re.sub(rb"\d+[.,]\d+", b"-99999", lines[k], count=1)


@damage
def more_cells(lines: list[bytes], rng: random.Random) -> None:
    for k in some(lines, rng):
        lines[k] = lines[k].rstrip() + 9 * (delimiter_of(lines[k]) + b"7") + b"\n"


@damage
def no_header(lines: list[bytes], rng: random.Random) -> None:
    del lines[:5]


@damage
def names_without_meaning(lines: list[bytes], rng: random.Random) -> None:
    lines[:5] = [re.sub(rb"PV|FT_211|OP|FV_211|\bMV\b", b"x", line) for line in lines[:5]]


@damage
def a_column_twice(lines: list[bytes], rng: random.Random) -> None:
    lines[:5] = [re.sub(rb"OP\b|FV_211|MV\b", b"PV", line).replace(b"FT_211", b"PV") for line in lines[:5]]


def half(whole: bytes, rng: random.Random) -> bytes:
    return whole[len(whole) // 2:]


def letters_of_no_encoding(whole: bytes, rng: random.Random) -> bytes:
    found = bytearray(whole)
    for _ in range(300):
        found[rng.randrange(200, len(found))] = rng.randrange(128, 256)
    return bytes(found)


def two_bytes_a_letter(whole: bytes, rng: random.Random) -> bytes:
    return whole.decode("utf-8-sig").encode("utf-16-le")


def turned_bits(whole: bytes, rng: random.Random) -> bytes:
    found = bytearray(whole)
    for _ in range(60):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(7)
    return bytes(found)


def noise(whole: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(5000)


def an_archive_cut_off(whole: bytes, rng: random.Random) -> bytes:
    return gzip.compress(whole)[:-200]


def damaged_archive(whole: bytes, rng: random.Random) -> bytes:
    found = bytearray(gzip.compress(whole))
    for _ in range(40):
        found[rng.randrange(20, len(found))] = rng.randrange(256)
    return bytes(found)


def a_web_page(whole: bytes, rng: random.Random) -> bytes:
    return b"<!doctype html>\n<html><body><h1>401 Unauthorized</h1>\n" + 30 * b"<p>sign in, please</p>\n"


def nothing_but_a_header(whole: bytes, rng: random.Random) -> bytes:
    return b"".join(whole.splitlines(keepends=True)[:5])[:120]


DAMAGES: list[Damage] = [
    cells_of_bad_quality, cut_off_rows, doubled_rows, lost_rows, shuffled_rows, other_delimiters, repeated_headers,
    lost_decimal_marks, the_other_decimal_mark, nuls, a_huge_cell, an_open_quote, years_to_come, days_that_are_none,
    numbers_that_stand_for_none, more_cells, no_header, names_without_meaning, a_column_twice, half,
    letters_of_no_encoding, two_bytes_a_letter, turned_bits, noise, an_archive_cut_off, damaged_archive, a_web_page,
    nothing_but_a_header,
]


def read(path: Path, arrow: bool) -> Record | str:
    try:
        return read_record(path, arrow=arrow)
    except BadInput as bad:
        problems = bad.problems
    assert len(problems) == 1
    assert problems[0].remedy
    assert "\n" not in str(problems[0])
    return str(problems[0])


def same(a: Record, b: Record) -> bool:
    return a.loops == b.loops and all(np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True)
                                      for name in ("times", "pv", "op", "sp", "mode"))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("done", DAMAGES, ids=lambda done: done.__name__)
def test_a_damaged_record_is_an_error_or_said(tmp_path: Path, source: str, done: Damage) -> None:
    whole = tmp_path / "whole.csv"
    whole.write_bytes(SOURCES[source]())
    sound = read_record(whole)
    path = tmp_path / "damaged.csv"
    path.write_bytes(done(whole.read_bytes(), random.Random(f"{source} {done.__name__}")))
    found, again = (read(path, arrow) for arrow in (False, True))
    if isinstance(found, str) or isinstance(again, str):
        assert found == again
        return
    assert same(found, again)
    assert found.assumptions == again.assumptions
    plain = [said.replace("damaged", "whole") for said in found.assumptions]
    assert same(found, sound) or set(plain) - set(sound.assumptions), "it is silent"
    for column in range(len(found.loops)):
        learned = learn(found, column)
        assert np.isfinite([one.value for one in learned.estimates.values()]).all()


def test_there_are_a_hundred() -> None:
    assert len(SOURCES) * len(DAMAGES) >= 100
