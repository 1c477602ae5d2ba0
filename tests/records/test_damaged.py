"""A damaged record gives one clear error, or a record that notes the damage: never a traceback, and never silence.

Each damage is done to records of plants and to the same formats written here. Loops are fitted to records that can be
read: in a campaign to each, else to twelve of them.
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
from tiers import CAMPAIGNS

from clpm_execd.identification.learn import learn
from clpm_execd.problems import BadInput
from clpm_execd.records import Record, read_record

pytestmark = pytest.mark.slow

ROWS = 400

Damage = Callable[[bytes, random.Random], bytes]


def _signals() -> list[tuple[float, float, float]]:
    rng = np.random.default_rng(11)
    pv = 75 + 0.3 * np.cumsum(rng.standard_normal(ROWS))
    return [(round(value, 4), round(50 - value / 9, 4), 75.25) for value in pv.tolist()]


def _clock(k: int) -> str:
    return f"2024-11-21 {k // 360:02}:{k // 6 % 60:02}:{k % 6 * 10:02}"


def process_data() -> bytes:
    """Return a PROCESSDATA export of many rows."""
    head = ["PROCESSDATA\tA_FIC101 Data\tyyyy-MM-dd HH:mm:ss", f"8\t10\t{_clock(0)}\t{ROWS}",
            "tagname\tA_FIC101.MV\tA_FIC101.PV\tA_FIC101.SV\tA_FIC101.MODE\tbOpOFL", "desc\t水_OP\t水_PV\t水_SP\tA\tb",
            "fsMax=1.4\tfsMin=0\tL=24"]
    rows = [f"{_clock(k)}\t{op}\t{pv}\t{sp}\t1\t0" for k, (pv, op, sp) in enumerate(_signals())]
    return "\r\n".join([*head, *rows, ""]).encode()


def week() -> bytes:
    """Return an export of a transmitter and a valve, newest row first."""
    rows = [f"{k},{_clock(k).replace(' ', ',')},{pv},{op}" for k, (pv, op, _) in enumerate(_signals())]
    return "\ufeff".encode() + "\n".join(["id,date,time,FT_211,FV_211", *reversed(rows), ""]).encode()


def flux() -> bytes:
    """Return a Flux answer, one value per row."""
    rows = [f",,0,{_clock(k).replace(' ', 'T')}Z,{value},{name},TIC1,AUT" for k, values in enumerate(_signals())
            for name, value in zip(("PV", "OP", "SP"), values, strict=True)]
    return "\n".join([",result,table,_time,_value,_field,loop_id,Mode", *rows, ""]).encode()


def wide() -> bytes:
    """Return an export of two loops side by side, with decimal commas."""
    rows = [f"{_clock(k)};{pv};{op};{sp};{pv + 1};{op}".replace(".", ",") for k, (pv, op, sp) in enumerate(_signals())]
    return "\n".join(["Time;FIC1.PV;FIC1.OP;FIC1.SP;LIC2.PV;LIC2.MV", *rows, ""]).encode()


def of_plants() -> dict[str, Callable[[], bytes]]:
    """Return the first rows of real records, by their name."""
    def head(path: Path) -> Callable[[], bytes]:
        return lambda: b"".join(path.read_bytes().splitlines(keepends=True)[:ROWS])

    paths = plant_records("plant_week/*")[0], plant_records("plant_windows/stiction_data/*FIC20102*")[0]
    return {path.name[:20]: head(path) for path in paths}


SOURCES: dict[str, Callable[[], bytes]] = {"process-data": process_data, "week": week, "flux": flux, "wide": wide}
SOURCES |= of_plants()


def damage(change: Callable[[list[bytes], random.Random], None]) -> Damage:
    """Return a damage that is done to lines; the header's are the first five at most."""
    @wraps(change)
    def apply(file: bytes, rng: random.Random) -> bytes:
        lines = file.splitlines(keepends=True)
        change(lines, rng)
        return b"".join(lines)

    return apply


def choose(lines: list[bytes], rng: random.Random, count: int = 7) -> list[int]:
    """Return the numbers of some lines below the header, in order."""
    return sorted(rng.sample(range(6, len(lines)), count))


def delimiter_of(line: bytes) -> bytes:
    return next(d for d in (b"\t", b";", b",") if d in line)


@damage
def texts_for_values(lines: list[bytes], rng: random.Random) -> None:
    for k in choose(lines, rng):
        lines[k] = re.sub(rb"\d+[.,]\d+", rng.choice([b"Bad", b"I/O Timeout", b"NULL", b"-", b"#VALUE!"]), lines[k])


@damage
def truncated_rows(lines: list[bytes], rng: random.Random) -> None:
    for k in choose(lines, rng):
        lines[k] = lines[k][:rng.randrange(3, 12)] + b"\n"


@damage
def duplicate_rows(lines: list[bytes], rng: random.Random) -> None:
    for k in reversed(choose(lines, rng)):
        lines.insert(k, lines[k])


@damage
def lost_rows(lines: list[bytes], rng: random.Random) -> None:
    first = rng.randrange(10, len(lines) - 60)
    del lines[first:first + 40]


@damage
def shuffled_rows(lines: list[bytes], rng: random.Random) -> None:
    body = lines[6:]
    rng.shuffle(body)
    lines[6:] = body


@damage
def other_delimiters(lines: list[bytes], rng: random.Random) -> None:
    for k in choose(lines, rng, 90):
        lines[k] = lines[k].replace(delimiter_of(lines[k]), b"|")


@damage
def repeated_headers(lines: list[bytes], rng: random.Random) -> None:
    for k in reversed(choose(lines, rng)):
        lines[k:k] = [b"exported by operator 7\n", lines[0]]


@damage
def lost_decimal_marks(lines: list[bytes], rng: random.Random) -> None:
    for k in choose(lines, rng):
        lines[k] = re.sub(rb"(?<=\d)[.,](?=\d{3})", b"", lines[k])


@damage
def the_other_decimal_mark(lines: list[bytes], rng: random.Random) -> None:
    for k in choose(lines, rng, 90):
        mark = b"." if delimiter_of(lines[k]) == b";" else b","
        cell = re.search(rb"\d+[.,]\d{4,}", lines[k])
        if cell:
            quoted = re.sub(rb"[.,]", mark, cell[0])
            lines[k] = lines[k].replace(cell[0], b'"' + quoted + b'"', 1)


@damage
def null_bytes(lines: list[bytes], rng: random.Random) -> None:
    for k in choose(lines, rng):
        place = rng.randrange(len(lines[k]) - 2)
        lines[k] = lines[k][:place] + b"\0\0" + lines[k][place:]


@damage
def a_huge_cell(lines: list[bytes], rng: random.Random) -> None:
    k = choose(lines, rng, 1)[0]
    lines[k] = lines[k].rstrip() + b"9" * 200_000 + b"\n"


@damage
def an_open_quote(lines: list[bytes], rng: random.Random) -> None:
    k = choose(lines, rng, 1)[0]
    delimiter = delimiter_of(lines[k])
    lines[k] = lines[k].replace(delimiter, delimiter + b'"', 1)


@damage
def years_in_the_future(lines: list[bytes], rng: random.Random) -> None:
    for k in choose(lines, rng):
        lines[k] = lines[k].replace(b"2024-", b"2094-")


@damage
def impossible_days(lines: list[bytes], rng: random.Random) -> None:
    for k in choose(lines, rng):
        lines[k] = re.sub(rb"-\d\d-\d\d", b"-13-32", lines[k])


@damage
def numbers_for_missing_values(lines: list[bytes], rng: random.Random) -> None:
    for k in choose(lines, rng):
        lines[k] = re.sub(rb"\d+[.,]\d+", b"-99999", lines[k], count=1)


@damage
def additional_cells(lines: list[bytes], rng: random.Random) -> None:
    for k in choose(lines, rng):
        lines[k] = lines[k].rstrip() + 9 * (delimiter_of(lines[k]) + b"7") + b"\n"


@damage
def no_header(lines: list[bytes], rng: random.Random) -> None:
    del lines[:5]


@damage
def names_without_meaning(lines: list[bytes], rng: random.Random) -> None:
    lines[:5] = [re.sub(rb"PV|FT_211|OP|FV_211|\bMV\b", b"x", line) for line in lines[:5]]


@damage
def a_duplicate_column(lines: list[bytes], rng: random.Random) -> None:
    lines[:5] = [re.sub(rb"OP\b|FV_211|MV\b", b"PV", line).replace(b"FT_211", b"PV") for line in lines[:5]]


def second_half(file: bytes, rng: random.Random) -> bytes:
    return file[len(file) // 2:]


def bytes_of_no_encoding(file: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(file)
    for _ in range(300):
        damaged[rng.randrange(200, len(damaged))] = rng.randrange(128, 256)
    return bytes(damaged)


def utf_16_without_a_mark(file: bytes, rng: random.Random) -> bytes:
    return file.decode("utf-8-sig").encode("utf-16-le")


def flipped_bits(file: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(file)
    for _ in range(60):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(7)
    return bytes(damaged)


def noise(file: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(5000)


def a_truncated_archive(file: bytes, rng: random.Random) -> bytes:
    return gzip.compress(file)[:-200]


def a_damaged_archive(file: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(gzip.compress(file))
    for _ in range(40):
        damaged[rng.randrange(20, len(damaged))] = rng.randrange(256)
    return bytes(damaged)


def a_web_page(file: bytes, rng: random.Random) -> bytes:
    return b"<!doctype html>\n<html><body><h1>401 Unauthorized</h1>\n" + 30 * b"<p>sign in, please</p>\n"


def nothing_but_a_header(file: bytes, rng: random.Random) -> bytes:
    return b"".join(file.splitlines(keepends=True)[:5])[:120]


DAMAGES: list[Damage] = [
    texts_for_values, truncated_rows, duplicate_rows, lost_rows, shuffled_rows, other_delimiters, repeated_headers,
    lost_decimal_marks, the_other_decimal_mark, null_bytes, a_huge_cell, an_open_quote, years_in_the_future,
    impossible_days, numbers_for_missing_values, additional_cells, no_header, names_without_meaning, a_duplicate_column,
    second_half, bytes_of_no_encoding, utf_16_without_a_mark, flipped_bits, noise, a_truncated_archive,
    a_damaged_archive, a_web_page, nothing_but_a_header,
]


def read(path: Path) -> Record | str:
    try:
        return read_record(path)
    except BadInput as bad:
        problems = bad.problems
    assert len(problems) == 1
    assert problems[0].remedy
    assert "\n" not in str(problems[0])
    return str(problems[0])


def is_same(a: Record, b: Record) -> bool:
    return a.loops == b.loops and all(np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True)
                                      for name in ("times", "pv", "op", "sp", "mode"))


@pytest.fixture(scope="session")
def intact(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """Return the records as they are without damage."""
    path = tmp_path_factory.mktemp("records") / "intact.csv"
    records = {}
    for source, make in SOURCES.items():
        path.write_bytes(make())
        records[source] = read_record(path)
    return records


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("change", DAMAGES, ids=lambda change: change.__name__)
def test_a_damaged_record_is_an_error_or_the_damage_is_noted(
        tmp_path: Path, intact: dict[str, Record], source: str, change: Damage) -> None:
    expected = intact[source]
    path = tmp_path / "damaged.csv"
    path.write_bytes(change(SOURCES[source](), random.Random(f"{source} {change.__name__}")))
    record = read(path)
    if isinstance(record, str):
        return
    assumptions = [assumption.replace("damaged", "intact") for assumption in record.assumptions]
    assert is_same(record, expected) or set(assumptions) - set(expected.assumptions), "the damage is not noted"
    is_fitted = CAMPAIGNS or list(SOURCES).index(source) == DAMAGES.index(change) % (3 * len(SOURCES))
    for column in range(len(record.loops)) if is_fitted else ():
        learned = learn(record, column)
        assert np.isfinite([one.value for one in learned.estimates.values()]).all()


def test_there_are_a_hundred_damaged_records() -> None:
    assert len(SOURCES) * len(DAMAGES) >= 100
