"""The CSV forms are what csv readers and the historical files expect."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from clpm_execd.encoding.csv import LongCsv, WideCsv, format_rfc3339
from clpm_execd.plant.block import Block
from clpm_execd.problems import BadInput

T0 = 1_736_503_500_000_000_000


def block(loops: tuple[str, ...] = ("TIC208030",), interval: int = 1_000_000_000, **signals: object) -> Block:
    pv = np.asarray(signals.get("pv", [[405.2694502] * len(loops)]), dtype=float)
    shape = pv.shape
    return Block(
        loops=loops,
        times=T0 + np.arange(shape[0], dtype=np.int64) * interval,
        pv=pv,
        op=np.broadcast_to(np.asarray(signals.get("op", 63.5), dtype=float), shape),
        sp=np.broadcast_to(np.asarray(signals.get("sp", 405.41), dtype=float), shape),
        mode=np.broadcast_to(np.asarray(signals.get("mode", 1), dtype=np.int8), shape),
        valve_position=np.full(shape, 62.25),
        true_pv=np.full(shape, 405.0),
        quality=np.full(shape, 192, np.int16),
    )


def test_the_long_form_is_that_of_the_historical_files() -> None:
    encoder = LongCsv(["TIC208030"])
    assert (encoder.header() + encoder.encode(block())).decode().splitlines() == [
        "_time,loop_id,_field,_value,Mode,_measurement",
        "2025-01-10T10:05:00Z,TIC208030,PV,405.2694502,AUT,control_loops",
        "2025-01-10T10:05:00Z,TIC208030,OP,63.5,AUT,control_loops",
        "2025-01-10T10:05:00Z,TIC208030,SP,405.41,AUT,control_loops",
    ]


def test_the_wide_form_has_a_row_per_sample_and_a_column_per_field() -> None:
    fields = {"PV": "pv", "OP": "op", "SP": "sp", "quality": "quality", "travel %": "valve_position"}
    encoder = WideCsv(["A", "B"], fields=fields)
    text = encoder.header() + encoder.encode(block(("A", "B"), pv=[[1, 2], [3, 4]], mode=[[1, 1], [0, 2]]))
    assert text.decode().splitlines() == [
        "time,loop_id,Mode,PV,OP,SP,quality,travel %",
        "2025-01-10T10:05:00Z,A,AUT,1,63.5,405.41,192,62.25",
        "2025-01-10T10:05:00Z,B,AUT,2,63.5,405.41,192,62.25",
        "2025-01-10T10:05:01Z,A,MAN,3,63.5,405.41,192,62.25",
        "2025-01-10T10:05:01Z,B,CAS,4,63.5,405.41,192,62.25",
    ]


def test_a_missing_value_is_no_row_in_long_and_an_empty_cell_in_wide() -> None:
    samples = block(("A", "B"), pv=[[np.nan, 2], [np.nan, 4]], op=[[5, 5], [np.nan, 5]], sp=[[6, 6], [np.inf, 6]])
    assert WideCsv(["A", "B"]).encode(samples).decode().splitlines() == [
        "2025-01-10T10:05:00Z,A,AUT,,5,6",
        "2025-01-10T10:05:00Z,B,AUT,2,5,6",
        "2025-01-10T10:05:01Z,B,AUT,4,5,6",
    ]
    long = LongCsv(["A", "B"]).encode(samples).decode().splitlines()
    assert [row.split(",")[1:4] for row in long] == [
        ["A", "OP", "5"], ["A", "SP", "6"],
        ["B", "PV", "2"], ["B", "OP", "5"], ["B", "SP", "6"],
        ["B", "PV", "4"], ["B", "OP", "5"], ["B", "SP", "6"],
    ]


@pytest.mark.parametrize("name", ['a,b', 'say "x"', "50%", "%s%d", "line\nfeed", "carriage\rreturn", "漢", " "])
def test_names_that_need_quotes_read_back(name: str) -> None:
    samples = block((name,))
    wide = WideCsv([name], fields={name: "pv"})
    [header, row] = csv.reader(io.StringIO((wide.header() + wide.encode(samples)).decode(), newline=""))
    assert (header[3], row[1]) == (name, name)
    long = LongCsv([name], fields={name: "pv"}, measurement=name)
    [header, row] = csv.reader(io.StringIO((long.header() + long.encode(samples)).decode(), newline=""))
    assert row[1:] == [name, name, "405.2694502", "AUT", name]


def test_times_have_the_decimals_they_need() -> None:
    times = np.array([0, 250_000_000, 1, 10_000_000_000, T0 + 500_000_000], dtype=np.int64)
    assert format_rfc3339(times) == [
        b"1970-01-01T00:00:00Z",
        b"1970-01-01T00:00:00.25Z",
        b"1970-01-01T00:00:00.000000001Z",
        b"1970-01-01T00:00:10Z",
        b"2025-01-10T10:05:00.5Z",
    ]


def test_an_unknown_signal_is_an_error() -> None:
    with pytest.raises(BadInput, match="did you mean"):
        WideCsv(["A"], fields={"PV": "pvv"})
