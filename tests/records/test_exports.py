"""What plants export: the oddities of historians and spreadsheets, read or told, by either reader of cells alike."""

from __future__ import annotations

import gzip
from contextlib import suppress
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clpm_execd.plant.block import AUT, CAS, MAN
from clpm_execd.problems import BadInput
from clpm_execd.records import Columns, Record, csv_source, read_record

SECOND = 10**9
START = 1_736_503_200 * SECOND  # 2025-01-10T10:00:00Z


def same(a: Record, b: Record) -> None:
    assert (a.loops, a.interval, a.assumptions) == (b.loops, b.interval, b.assumptions)
    for name in ("times", "pv", "op", "sp", "mode"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def read(tmp_path: Path, text: str | bytes, name: str = "FIC101.csv", columns: Columns | None = None,
         zone: ZoneInfo | None = None) -> Record:
    """The record, by the csv module and by Arrow."""
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    records = []
    for arrow in (False, True):
        try:
            records.append(read_record(path, columns=columns or Columns(), zone=zone, arrow=arrow))
        except BadInput as bad:
            records.append(bad)
    if any(isinstance(record, BadInput) for record in records):
        assert str(records[0]) == str(records[1])
        raise records[0]
    same(*records)
    return records[0]


def said(record: Record) -> str:
    return " | ".join(record.assumptions)


def test_tags_and_values_a_row_each(tmp_path):
    rows = ["U1.FIC1.PV,1.5", "U1.FIC1.OP,50", "U1.FIC1.SP,2", "U1.FIC1.MODE,2", "U1.LIC2.PV,7",
            "U1.LIC2.MODE,0", "X,9"]
    text = "Timestamp,Tag,Value\n" + "".join(f"10-Jan-25 10:00:0{k},{row}\n" for k in range(2) for row in rows)
    record = read(tmp_path, text)
    assert record.loops == ("U1.FIC1", "U1.LIC2")
    assert record.times.tolist() == [START, START + SECOND]
    np.testing.assert_array_equal(record.pv, [[1.5, 7], [1.5, 7]])
    np.testing.assert_array_equal(record.op, [[50, np.nan], [50, np.nan]])
    assert record.mode.tolist() == [[CAS, MAN], [CAS, MAN]]


def test_signals_with_times_of_their_own_hold(tmp_path):
    text = "time,tag,value\n0,A.PV,1\n0.5,A.OP,50\n0.7,A.SP,3\n1,A.PV,2\n2,A.PV,3\n2.5,A.OP,51\n3,A.PV,Bad\n"
    record = read(tmp_path, text)
    np.testing.assert_array_equal(record.pv[:, 0], [1, 1, 1, 2, 3, 3, np.nan])
    np.testing.assert_array_equal(record.op[:, 0], [np.nan, 50, 50, 50, 50, 51, 51])
    assert record.interval == SECOND
    assert "PV, OP, SP have times of their own: each holds until its next value" in said(record)


def test_a_quality_says_which_values_count(tmp_path):
    text = "time,PV,OP,Quality\n0,1,50,192\n1,9999,50,0\n2,3,50,Good\n3,4,50,Bad\n4,5,50,Uncertain\n"
    record = read(tmp_path, text)
    np.testing.assert_array_equal(record.pv[:, 0], [1, np.nan, 3, np.nan, 5])
    assert "2 rows are of bad quality by their own word" in said(record)
    assert "calls nothing good" in said(read(tmp_path, text.replace("192", "0").replace("Good", "0")
                                             .replace("Uncertain", "0")))


@pytest.mark.parametrize(("cells", "values"), [
    (["1.234,5", "1,5", "2,5"], [1234.5, 1.5, 2.5]),
    (["1.234", "1,5", "2,5"], [1234, 1.5, 2.5]),
    (["1,5e-3", "-2,5", ",5"], [0.0015, -2.5, 0.5]),
])
def test_decimal_commas(tmp_path, cells, values):
    record = read(tmp_path, "time;PV\n" + "".join(f"{k};{cell}\n" for k, cell in enumerate(cells)))
    assert record.pv[:, 0].tolist() == values
    assert "numbers have decimal commas" in said(record)
    assert ("have thousands set apart" in said(record)) == (values[0] >= 1000)


def test_quoted_decimal_commas_between_commas(tmp_path):
    record = read(tmp_path, 'time,PV,OP\n0,"1,5","50,25"\n1,"2,5","50,5"\n')
    assert (record.pv[:, 0].tolist(), record.op[:, 0].tolist()) == ([1.5, 2.5], [50.25, 50.5])


def test_thousands_and_a_stray_mark_are_told(tmp_path):
    record = read(tmp_path, 'time,PV\n0,"1,234.5"\n1,"2,345"\n2,7.5\n3,"8,5"\n4,63.5 %\n')
    assert record.pv[:, 0].tolist() == [1234.5, 2345, 7.5, 8.5, 63.5]
    assert "numbers such as 1,234.5 have thousands set apart" in said(record)
    assert "numbers such as 8,5 have another decimal mark than the rest" in said(record)


def test_a_line_that_names_the_separator(tmp_path):
    record = read(tmp_path, "sep=;\ntime;PV\n0;1,5\n1;2,5\n")
    assert record.pv[:, 0].tolist() == [1.5, 2.5]
    assert read(tmp_path, "sep=|\ntime|PV\n0|1.5\n").pv[:, 0].tolist() == [1.5]


def test_rows_that_end_in_a_delimiter(tmp_path):
    record = read(tmp_path, "time,PV,OP\n0,1,2,\n1,3,4,\n")
    assert (record.pv[:, 0].tolist(), record.op[:, 0].tolist()) == ([1, 3], [2, 4])


def test_quoted_cells_as_rfc_4180_has_them(tmp_path):
    text = '"time","loop_id","PV"\r\n"0","FIC ""1"", north","1"\r\n"1","FIC ""1"", north","2"\r\n'
    text += '"2","two\r\nlines","3"\r\n'
    record = read(tmp_path, text)
    assert record.loops == ('FIC "1", north', "two\nlines")
    assert record.pv[:, 0].tolist() == [1, 2, 2]


def test_a_text_of_one_byte_letters(tmp_path):
    record = read(tmp_path, "time,Größe,PV (°C)\n0,x,1.5\n".encode("cp1252"))
    assert record.pv[:, 0].tolist() == [1.5]
    assert "the text is no UTF-8: read as Windows-1252" in said(record)


@pytest.mark.parametrize(("dates", "days", "words"), [
    (["31/01/2025", "01/02/2025"], 1, "the day first"),
    (["01/31/2025", "02/01/2025"], 1, "the month first"),
    (["01/02/2025", "02/02/2025"], 1, "the day first, by how close together they then lie"),
    (["02/01/2025", "02/02/2025"], 1, "the month first, by how close together they then lie"),
    (["2/1/2025", "2/2/2025"], 1, "the month first"),
    (["01/02/2025", "01/02/2025"], 0, "the day first"),
])
def test_the_way_round_of_dates_is_found_and_told(tmp_path, dates, days, words):
    record = read(tmp_path, "time,PV\n" + "".join(f"{date} 0{k}:00,1\n" for k, date in enumerate(dates)))
    assert np.ptp(record.times) == days * 86_400 * SECOND + 3600 * SECOND
    assert f"dates with strokes have {words}" in said(record)


def test_times_of_a_named_zone(tmp_path):
    lines = [f"2025-10-26 0{hour}:{minute:02}:00,{hour}" for hour in (1, 2, 2, 3) for minute in (0, 30)]
    text = "time,PV\n" + "\n".join(lines)
    record = read(tmp_path, text, zone=ZoneInfo("Europe/Berlin"))
    assert (np.diff(record.times) == 1800 * SECOND).all()
    assert "4 times fall into an hour that comes twice as the clocks go back" in said(record)
    assert "UTC" not in said(record)
    assert "2 rows repeat" not in said(record)
    utc = read(tmp_path, text)
    assert "the times have no zone: taken as UTC" in said(utc)


def test_steps_that_vary_are_told(tmp_path):
    text = "time,PV\n" + "".join(f"{10 * k + (k % 3) * 0.9:.1f},{k}\n" for k in range(50))
    assert "samples are 8.2 to 10.9 s apart: taken as 10.9 s" in said(read(tmp_path, text))


def test_a_column_that_stands_there_twice_is_told(tmp_path):
    record = read(tmp_path, "time,PV,PV,OP\n0,1,2,3\n")
    assert record.pv[0, 0] == 1
    assert "the column PV stands there twice: the first counts" in said(record)


def moving(n: int) -> np.ndarray:
    return np.cumsum(np.random.default_rng(7).standard_normal(n))


def test_a_missing_mode_is_manual_where_op_stands_still_while_pv_moves(tmp_path):
    pv, op = moving(1000), 50 + 0.01 * moving(1000)
    op[300:700] = op[300]
    text = "time,PV,OP,SP\n" + "".join(f"{k},{pv[k]:.6f},{op[k]:.6f},0\n" for k in range(1000))
    record = read(tmp_path, text)
    assert "FIC101 has no Mode: MAN where OP stands still while PV moves, 40% of the time, else AUT" in said(record)
    assert (record.mode[310:690] == MAN).all()
    assert (record.mode[:290] == AUT).all()


def test_a_saturated_op_is_not_the_operators(tmp_path):
    pv, op = moving(1000), 50 + 0.01 * moving(1000)
    op[300:700] = 100.0
    text = "time,PV,OP,SP\n" + "".join(f"{k},{pv[k]:.6f},{op[k]:.6f},0\n" for k in range(1000))
    assert (read(tmp_path, text).mode == AUT).all()


LETTERS = ",;\t\n\"0123456789.eE-:TZ aPB"
HEADERS = ["time,PV,OP,SP,Mode\n", "_time,loop_id,_field,_value\n", "time;A.PV;A.OP\n", "time,tag,value,quality\n"]
cell = st.one_of(st.text(LETTERS, max_size=8), st.sampled_from(
    ["1,5", "1.234,5", "1_0", " 1", "nan", "inf", "1e400", "Bad", "A.PV", "PV", "AUT", '"a,b"', '""',
     "2025-01-10T10:00:00Z", "01/02/2025 10:00", "1736503200", "0", "45667.5", "2025-01-10 10:00:00.5+01:00", "",
     "#datatype"]))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(HEADERS), st.lists(st.lists(cell, max_size=6), max_size=8), st.sampled_from(",;"),
       st.integers(5, 200))
def test_both_readers_of_cells_give_the_same(tmp_path, monkeypatch_session, header, rows, delimiter, at_once):
    monkeypatch_session.setattr(csv_source, "CHARACTERS_AT_ONCE", at_once)
    with suppress(BadInput):
        read(tmp_path, header + "\n".join(delimiter.join(row) for row in rows))


@pytest.fixture
def monkeypatch_session():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_a_record_of_many_parts_is_as_of_one(tmp_path, monkeypatch):
    rows = [f"2025-01-10T10:00:{k:02}Z,{loop},{name},{k * 1.5},AUT,control_loops"
            for k in range(60) for loop in "AB" for name in ("PV", "OP", "SP")]
    text = "_time,loop_id,_field,_value,Mode,_measurement\n" + "\n".join(rows)
    whole = read(tmp_path, text)
    monkeypatch.setattr(csv_source, "CHARACTERS_AT_ONCE", 997)
    same(read(tmp_path, text), whole)
    same(read(tmp_path, gzip.compress(text.encode())), whole)
    assert whole.assumptions == ()


def test_loops_without_a_set_point_do_not_make_signals_times_of_their_own(tmp_path):
    record = read(tmp_path, "time,A.PV,A.OP,A.SP,B.PV,B.OP,C.PV,C.OP\n0,1,2,3,4,5,6,7\n1,Bad,2,3,4,5,6,7\n")
    assert np.isnan(record.pv[1, 0])
    assert "times of their own" not in said(record)
