"""Parquet holds the rows of the wide CSV, whatever reads it, with what a faulty data path does to them."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import duckdb
import numpy as np
import pandas
import polars
import pyarrow.parquet
import pytest

from clpm_execd.config.loops import parse_configuration
from clpm_execd.encoding.csv import LongCsv, WideCsv
from clpm_execd.encoding.parquet import ParquetWriter, TruthWriter
from clpm_execd.encoding.truth_rows import TruthRows
from clpm_execd.plant.plant import SECOND, Plant

LOOPS = [{"id": "FIC1", "fault": [{"kind": "stiction", "start": "30s", "duration": "1m"}, {"kind": "bias"}]},
         {"id": "FIC/2", "fault": [{"kind": "late"}, {"kind": "gaps"}, {"kind": "bias", "start": "90s"}]},
         {"id": "3", "mode": "MAN", "fault": [{"kind": "bad-quality"}]}]
FIELDS = {"PV": "pv", "OP": "op", "SP": "sp", "quality": "quality", "seq": "seq"}
MIDNIGHT = 1_736_553_600 * SECOND
COLUMNS = ["time", "loop_id", "Mode", *FIELDS, "fault", "visible"]


def plant() -> Plant:
    return Plant(parse_configuration({"loop": LOOPS}).loops, seed=1, start=MIDNIGHT - 100 * SECOND)


@cache
def csv_text() -> str:
    source = plant()
    encoder = WideCsv(source.loops, fields=FIELDS, truth=True)
    return (encoder.header() + b"".join(encoder.encode(source.advance(100)) for _ in range(3))).decode()


def write_parquet(folder: Path, partition: str | None = None) -> None:
    source = plant()
    files = []

    def open_file(part: str) -> io.BufferedWriter:
        path = folder / part / "samples.parquet"
        path.parent.mkdir(exist_ok=True)
        files.append(path.open("wb"))
        return files[-1]

    with ParquetWriter(open_file, source.loops, fields=FIELDS, has_truth=True, partition=partition) as writer:
        for n in (1, 99, 130, 70):
            writer.write(source.advance(n))
    for file in files:
        file.close()


def in_order(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The rows as the CSV is read, in an order that a reader of several files may have lost."""
    frame = frame[COLUMNS].astype({"loop_id": str, "Mode": object, "fault": object})
    frame["time"] = pandas.to_datetime(frame["time"], utc=True).astype("datetime64[ns, UTC]")
    return frame.sort_values(["loop_id", "time", "seq"], kind="stable", ignore_index=True)


def expected() -> pandas.DataFrame:
    return in_order(pandas.read_csv(io.StringIO(csv_text()), dtype={"loop_id": str}))


def with_pandas(folder: Path, partition: str | None) -> pandas.DataFrame:
    return pandas.read_parquet(folder)


def with_polars(folder: Path, partition: str | None) -> pandas.DataFrame:
    types = {"loop_id": polars.String} if partition == "loop" else None
    return polars.read_parquet(folder / "**/*.parquet", hive_schema=types).to_pandas()


def with_duckdb(folder: Path, partition: str | None) -> pandas.DataFrame:
    types = ", hive_types={'loop_id': VARCHAR}" if partition == "loop" else ""
    with duckdb.connect() as connection:
        return connection.sql(f"FROM read_parquet('{folder}/**/*.parquet'{types})").df()


@pytest.mark.parametrize("partition", [None, "day", "loop"])
def test_the_rows_are_those_of_csv(tmp_path: Path, partition: str | None) -> None:
    write_parquet(tmp_path, partition)
    csv = expected()
    assert set(csv["fault"].dropna()) >= {"bias", "stiction+bias", "late+gaps+bias"}
    assert csv["visible"].any()
    for read in (with_pandas, with_polars, with_duckdb):
        frame = in_order(read(tmp_path, partition))
        assert len(frame) == len(csv) > 700
        pandas.testing.assert_frame_equal(frame, csv, check_dtype=False, rtol=1e-9, atol=0.0)


def test_one_file_has_the_order_of_csv(tmp_path: Path) -> None:
    write_parquet(tmp_path)
    table = pyarrow.parquet.read_table(tmp_path / "samples.parquet")
    rows = [line.split(",")[:2] for line in csv_text().splitlines()[1:]]
    assert [[f"{time.astype('datetime64[s]')}Z", loop] for time, loop in
            zip(table["time"].to_numpy(), table["loop_id"].to_pylist(), strict=True)] == rows


def test_a_partition_has_a_file_for_each_day_or_loop(tmp_path: Path) -> None:
    for partition in ("day", "loop"):
        (tmp_path / partition).mkdir()
        write_parquet(tmp_path / partition, partition)
    assert {path.name for path in (tmp_path / "day").iterdir()} == {"day=2025-01-10", "day=2025-01-11"}
    assert {path.name for path in (tmp_path / "loop").iterdir()} == {"loop_id=FIC1", "loop_id=FIC%2F2", "loop_id=3"}


def test_numbers_are_those_of_the_plant_to_the_last_bit() -> None:
    file = io.BytesIO()
    with ParquetWriter(lambda part: file, ["FIC1"], fields={"PV": "pv", "seq": "seq"}) as writer:
        block = Plant(parse_configuration({"loop": [LOOPS[0]]}).loops, start=MIDNIGHT).advance(1000)
        writer.write(block)
    table = pyarrow.parquet.read_table(io.BytesIO(file.getvalue()))
    assert np.array_equal(table["PV"].to_numpy(), block.pv[:, 0])
    assert table["seq"].type == "int64"


def test_the_file_of_the_ground_truth_has_the_rows_of_the_stream() -> None:
    file, source, rows = io.BytesIO(), plant(), TruthRows()
    with TruthWriter(file) as writer:
        for _ in range(3):
            writer.write(source.advance(100))
    source = plant()
    blocks = [source.advance(100) for _ in range(3)]
    due = [(int(block.times[t]), row) for block in blocks for t, ready in rows.take_due(block) for row in ready]
    table = pyarrow.parquet.read_table(io.BytesIO(file.getvalue()))
    assert [tuple(row.values())[1:] for row in table.to_pylist()] == [
        (row.loop, row.fault, row.present, row.visible, row.severity, row.effect, row.cause or None,
         row.path or None, row.delay if row.path else None, row.control)
        for _, row in due]
    assert table["time"].cast("int64").to_pylist() == [time for time, _ in due]
    assert {"present", "visible", "effect", "cause"} < set(table.column_names)


def test_the_long_form_has_the_rows_of_the_long_csv() -> None:
    file, source = io.BytesIO(), plant()
    with ParquetWriter(lambda part: file, source.loops, fields=FIELDS, is_long=True) as writer:
        for _ in range(3):
            writer.write(source.advance(100))
    source = plant()
    encoder = LongCsv(source.loops, fields=FIELDS)
    csv = "".join(encoder.encode(source.advance(100)).decode() for _ in range(3))
    rows = pyarrow.parquet.read_table(io.BytesIO(file.getvalue())).to_pylist()
    assert [",".join([row["loop_id"], row["field"], f"{row['value']:.10g}", row["Mode"]]) for row in rows] == [
        line.partition(",")[2].rpartition(",")[0] for line in csv.splitlines()]
