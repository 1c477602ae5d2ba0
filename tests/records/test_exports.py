"""The oddities of exports by historians and spreadsheets are read, and noted."""

from __future__ import annotations

import gzip
from contextlib import suppress
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiers import examples

from clpm_execd.plant.block import AUT, CAS, MAN
from clpm_execd.problems import BadInput
from clpm_execd.records import Columns, Record, csv_source, read_record

SECOND = 10**9
START = 1_736_503_200 * SECOND  # 2025-01-10T10:00:00Z


def assert_same(a: Record, b: Record) -> None:
    assert (a.loops, a.interval, a.assumptions) == (b.loops, b.interval, b.assumptions)
    for name in ("times", "pv", "op", "sp", "mode"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def read(tmp_path: Path, text: str | bytes, name: str = "FIC101.csv", columns: Columns | None = None,
         zone: ZoneInfo | None = None) -> Record:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_record(path, columns=columns or Columns(), zone=zone)


def assumptions_of(record: Record) -> str:
    return " | ".join(record.assumptions)


def test_rows_of_a_tag_and_a_value_are_read(tmp_path):
    rows = ["U1.FIC1.PV,1.5", "U1.FIC1.OP,50", "U1.FIC1.SP,2", "U1.FIC1.MODE,2", "U1.LIC2.PV,7",
            "U1.LIC2.MODE,0", "X,9"]
    text = "Timestamp,Tag,Value\n" + "".join(f"10-Jan-25 10:00:0{k},{row}\n" for k in range(2) for row in rows)
    record = read(tmp_path, text)
    assert record.loops == ("U1.FIC1", "U1.LIC2")
    assert record.times.tolist() == [START, START + SECOND]
    np.testing.assert_array_equal(record.pv, [[1.5, 7], [1.5, 7]])
    np.testing.assert_array_equal(record.op, [[50, np.nan], [50, np.nan]])
    assert record.mode.tolist() == [[CAS, MAN], [CAS, MAN]]


def test_asynchronous_signals_are_held_until_their_next_value(tmp_path):
    text = "time,tag,value\n0,A.PV,1\n0.5,A.OP,50\n0.7,A.SP,3\n1,A.PV,2\n2,A.PV,3\n2.5,A.OP,51\n3,A.PV,Bad\n"
    record = read(tmp_path, text)
    np.testing.assert_array_equal(record.pv[:, 0], [1, 1, 1, 2, 3, 3, np.nan])
    np.testing.assert_array_equal(record.op[:, 0], [np.nan, 50, 50, 50, 50, 51, 51])
    assert record.interval == SECOND
    assert "PV, OP, SP are asynchronous: each value holds until the next one" in assumptions_of(record)


def test_values_marked_bad_in_the_quality_column_are_missing(tmp_path):
    text = "time,PV,OP,Quality\n0,1,50,192\n1,9999,50,0\n2,3,50,Good\n3,4,50,Bad\n4,5,50,Uncertain\n"
    record = read(tmp_path, text)
    np.testing.assert_array_equal(record.pv[:, 0], [1, np.nan, 3, np.nan, 5])
    assert "rows marked bad in the quality column: 2" in assumptions_of(record)
    assert "marks no value as good" in assumptions_of(read(tmp_path, text.replace("192", "0").replace("Good", "0")
                                                           .replace("Uncertain", "0")))


@pytest.mark.parametrize(("cells", "values"), [
    (["1.234,5", "1,5", "2,5"], [1234.5, 1.5, 2.5]),
    (["1.234", "1,5", "2,5"], [1234, 1.5, 2.5]),
    (["1,5e-3", "-2,5", ",5"], [0.0015, -2.5, 0.5]),
])
def test_decimal_commas_are_detected(tmp_path, cells, values):
    record = read(tmp_path, "time;PV\n" + "".join(f"{k};{cell}\n" for k, cell in enumerate(cells)))
    assert record.pv[:, 0].tolist() == values
    assert "numbers have decimal commas" in assumptions_of(record)
    assert ("have thousands separators" in assumptions_of(record)) == (values[0] >= 1000)


def test_quoted_decimal_commas_between_commas_are_read(tmp_path):
    record = read(tmp_path, 'time,PV,OP\n0,"1,5","50,25"\n1,"2,5","50,5"\n')
    assert (record.pv[:, 0].tolist(), record.op[:, 0].tolist()) == ([1.5, 2.5], [50.25, 50.5])


def test_thousands_separators_and_another_decimal_mark_are_noted(tmp_path):
    record = read(tmp_path, 'time,PV\n0,"1,234.5"\n1,"2,345"\n2,7.5\n3,"8,5"\n4,63.5 %\n')
    assert record.pv[:, 0].tolist() == [1234.5, 2345, 7.5, 8.5, 63.5]
    assert "numbers such as 1,234.5 have thousands separators" in assumptions_of(record)
    assert "numbers such as 8,5 have another decimal mark than most" in assumptions_of(record)


def test_a_line_may_name_the_separator(tmp_path):
    record = read(tmp_path, "sep=;\ntime;PV\n0;1,5\n1;2,5\n")
    assert record.pv[:, 0].tolist() == [1.5, 2.5]
    assert read(tmp_path, "sep=|\ntime|PV\n0|1.5\n").pv[:, 0].tolist() == [1.5]


def test_rows_may_end_in_a_delimiter(tmp_path):
    record = read(tmp_path, "time,PV,OP\n0,1,2,\n1,3,4,\n")
    assert (record.pv[:, 0].tolist(), record.op[:, 0].tolist()) == ([1, 3], [2, 4])


def test_cells_are_quoted_as_in_rfc_4180(tmp_path):
    text = '"time","loop_id","PV"\r\n"0","FIC ""1"", north","1"\r\n"1","FIC ""1"", north","2"\r\n'
    text += '"2","two\r\nlines","3"\r\n'
    record = read(tmp_path, text)
    assert record.loops == ('FIC "1", north', "two\nlines")
    assert record.pv[:, 0].tolist() == [1, 2, 2]


def test_a_file_in_windows_1252_is_read(tmp_path):
    record = read(tmp_path, "time,Größe,PV (°C)\n0,x,1.5\n".encode("cp1252"))
    assert record.pv[:, 0].tolist() == [1.5]
    assert "the file is not UTF-8: read as Windows-1252" in assumptions_of(record)


@pytest.mark.parametrize(("dates", "days", "words"), [
    (["31/01/2025", "01/02/2025"], 1, "day first"),
    (["01/31/2025", "02/01/2025"], 1, "month first"),
    (["01/02/2025", "02/02/2025"], 1, "day first, because they then span less time"),
    (["02/01/2025", "02/02/2025"], 1, "month first, because they then span less time"),
    (["2/1/2025", "2/2/2025"], 1, "month first"),
    (["01/02/2025", "01/02/2025"], 0, "day first"),
])
def test_the_order_of_day_and_month_is_detected_and_noted(tmp_path, dates, days, words):
    record = read(tmp_path, "time,PV\n" + "".join(f"{date} 0{k}:00,1\n" for k, date in enumerate(dates)))
    assert np.ptp(record.times) == days * 86_400 * SECOND + 3600 * SECOND
    assert f"dates such as 01/02/2025 are read {words}" in assumptions_of(record)


def test_times_without_a_zone_are_read_in_the_named_zone(tmp_path):
    lines = [f"2025-10-26 0{hour}:{minute:02}:00,{hour}" for hour in (1, 2, 2, 3) for minute in (0, 30)]
    text = "time,PV\n" + "\n".join(lines)
    record = read(tmp_path, text, zone=ZoneInfo("Europe/Berlin"))
    assert (np.diff(record.times) == 1800 * SECOND).all()
    assert "timestamps in an hour that occurs twice as the clocks go back: 4" in assumptions_of(record)
    assert "UTC" not in assumptions_of(record)
    assert "duplicate timestamp" not in assumptions_of(record)
    utc = read(tmp_path, text)
    assert "timestamps have no time zone: UTC assumed" in assumptions_of(utc)


def test_an_irregular_interval_is_noted(tmp_path):
    text = "time,PV\n" + "".join(f"{10 * k + (k % 3) * 0.9:.1f},{k}\n" for k in range(50))
    assert "irregular interval, mostly 8.2 to 10.9 s: 10.9 s assumed" in assumptions_of(read(tmp_path, text))


def test_a_duplicate_column_is_noted(tmp_path):
    record = read(tmp_path, "time,PV,PV,OP\n0,1,2,3\n")
    assert record.pv[0, 0] == 1
    assert "duplicate column PV: the first one is used" in assumptions_of(record)


def random_walk(n: int) -> np.ndarray:
    return np.cumsum(np.random.default_rng(7).standard_normal(n))


def test_without_a_mode_column_a_loop_is_in_manual_where_op_is_constant_while_pv_moves(tmp_path):
    pv, op = random_walk(1000), 50 + 0.01 * random_walk(1000)
    op[300:700] = op[300]
    text = "time,PV,OP,SP\n" + "".join(f"{k},{pv[k]:.6f},{op[k]:.6f},0\n" for k in range(1000))
    record = read(tmp_path, text)
    assumption = "no mode column: MAN assumed for FIC101 where OP is constant while PV moves, 40% of the time, else AUT"
    assert assumption in assumptions_of(record)
    assert (record.mode[310:690] == MAN).all()
    assert (record.mode[:290] == AUT).all()


def test_a_saturated_op_is_not_manual(tmp_path):
    pv, op = random_walk(1000), 50 + 0.01 * random_walk(1000)
    op[300:700] = 100.0
    text = "time,PV,OP,SP\n" + "".join(f"{k},{pv[k]:.6f},{op[k]:.6f},0\n" for k in range(1000))
    assert (read(tmp_path, text).mode == AUT).all()


LETTERS = ",;\t\n\"0123456789.eE-:TZ aPB"
HEADERS = ["time,PV,OP,SP,Mode\n", "_time,loop_id,_field,_value\n", "time;A.PV;A.OP\n", "time,tag,value,quality\n"]
cell = st.one_of(st.text(LETTERS, max_size=8), st.sampled_from(
    ["1,5", "1.234,5", "1_0", " 1", "nan", "inf", "1e400", "Bad", "A.PV", "PV", "AUT", '"a,b"', '""',
     "2025-01-10T10:00:00Z", "01/02/2025 10:00", "1736503200", "0", "45667.5", "2025-01-10 10:00:00.5+01:00", "",
     "#datatype"]))


@pytest.mark.slow
@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(HEADERS), st.lists(st.lists(cell, max_size=6), max_size=8), st.sampled_from(",;"),
       st.integers(5, 200))
def test_any_cells_in_chunks_of_any_size_are_a_record_or_bad_input(
        tmp_path, monkeypatch_session, header, rows, delimiter, chunk):
    monkeypatch_session.setattr(csv_source, "CHUNK_CHARACTERS", chunk)
    with suppress(BadInput):
        record = read(tmp_path, header + "\n".join(delimiter.join(row) for row in rows))
        assert (np.diff(record.times) > 0).all()
        assert np.isfinite(record.pv).any()


@pytest.fixture
def monkeypatch_session():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_a_record_read_in_many_chunks_is_the_same(tmp_path, monkeypatch):
    rows = [f"2025-01-10T10:00:{k:02}Z,{loop},{name},{k * 1.5},AUT,control_loops"
            for k in range(60) for loop in "AB" for name in ("PV", "OP", "SP")]
    text = "_time,loop_id,_field,_value,Mode,_measurement\n" + "\n".join(rows)
    in_one = read(tmp_path, text)
    monkeypatch.setattr(csv_source, "CHUNK_CHARACTERS", 997)
    assert_same(read(tmp_path, text), in_one)
    assert_same(read(tmp_path, gzip.compress(text.encode())), in_one)
    assert in_one.assumptions == ()


def test_a_loop_without_a_set_point_does_not_make_the_signals_asynchronous(tmp_path):
    record = read(tmp_path, "time,A.PV,A.OP,A.SP,B.PV,B.OP,C.PV,C.OP\n0,1,2,3,4,5,6,7\n1,Bad,2,3,4,5,6,7\n")
    assert np.isnan(record.pv[1, 0])
    assert "asynchronous" not in assumptions_of(record)
