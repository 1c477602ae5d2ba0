"""Parquet holds the rows of CSV, in both layouts and with what a faulty data path does to them."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timezone

import pyarrow.parquet
import pytest

from clpm_execd.config.loops import parse_configuration
from clpm_execd.encoding.csv import LongCsv, WideCsv
from clpm_execd.encoding.parquet import ParquetWriter
from clpm_execd.plant.plant import SECOND, Plant

LOOPS = [{"id": "FIC1"}, {"id": "FIC2", "fault": [{"kind": "late"}, {"kind": "gaps"}]},
         {"id": "FIC3", "mode": "MAN", "fault": [{"kind": "bad-quality"}]}]


def plant() -> Plant:
    return Plant(parse_configuration({"loop": LOOPS}).loops, seed=1, start=1_736_503_500 * SECOND)


@pytest.mark.parametrize("is_long", [False, True])
def test_rows_are_those_of_csv(is_long: bool) -> None:
    file, source = io.BytesIO(), plant()
    writer = ParquetWriter(file, source.loops, is_long=is_long)
    for _ in range(3):
        writer.write(source.advance(100))
    writer.close()
    rows = pyarrow.parquet.read_table(io.BytesIO(file.getvalue())).to_pylist()
    source = plant()
    encoder = LongCsv(source.loops) if is_long else WideCsv(source.loops)
    text = encoder.header() + b"".join(encoder.encode(source.advance(100)) for _ in range(3))
    renamed = {"_time": "time", "_field": "field", "_value": "value"}
    expected = [{renamed.get(name, name): cell for name, cell in row.items() if name != "_measurement"}
                for row in csv.DictReader(io.StringIO(text.decode()))]
    assert len(rows) == len(expected) > 700
    for row, cells in zip(rows, expected, strict=True):
        assert set(row) == set(cells)
        for name, cell in cells.items():
            assert as_text(row[name]) == cell if name in ("time", "loop_id", "Mode", "field") else \
                row[name] == (pytest.approx(float(cell), rel=1e-9) if cell else None)


def as_text(value: object) -> str:
    if not isinstance(value, datetime):
        return str(value)
    text = value.astimezone(timezone.utc).replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"
