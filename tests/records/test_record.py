"""A record is read alike from every format, row order and encoding; a file without a record is one Problem."""

from __future__ import annotations

import gzip
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiers import examples

from clpm_execd.paths import load_zstd
from clpm_execd.plant.block import AUT, CAS, MAN
from clpm_execd.problems import BadInput
from clpm_execd.records import Columns, Record, parse_columns, read_record

SECOND = 10**9
AUTO_DETECT = Columns()
START = 1_736_503_200 * SECOND  # 2025-01-10T10:00:00Z

many = settings(max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(tmp_path: Path, text: str | bytes, name: str = "FIC101.csv", columns: Columns = AUTO_DETECT) -> Record:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_record(path, columns=columns)


def read_error(tmp_path: Path, text: str | bytes, columns: Columns = AUTO_DETECT) -> str:
    with pytest.raises(BadInput) as caught:
        read(tmp_path, text, columns=columns)
    assert len(caught.value.problems) == 1
    return str(caught.value)


WIDE = """time,PV,OP,SP,Mode
2025-01-10T10:00:00Z,1.5,50,2,AUT
2025-01-10T10:00:01Z,1.6,51,2,MAN
2025-01-10T10:00:02Z,1.7,52,2,CAS
"""


def assert_is_the_wide_record(record: Record, loop: str = "FIC101") -> None:
    assert record.loops == (loop,)
    assert record.times.tolist() == [START, START + SECOND, START + 2 * SECOND]
    assert record.pv[:, 0].tolist() == [1.5, 1.6, 1.7]
    assert record.op[:, 0].tolist() == [50, 51, 52]
    assert record.sp[:, 0].tolist() == [2, 2, 2]
    assert record.mode[:, 0].tolist() == [AUT, MAN, CAS]
    assert record.interval == SECOND


def test_a_wide_csv_is_read_without_assumptions(tmp_path):
    record = read(tmp_path, WIDE)
    assert_is_the_wide_record(record)
    assert record.assumptions == ()
    assert (record.mode.dtype, record.times.dtype, record.pv.shape) == (np.int8, np.int64, (3, 1))


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace(",", "\t").encode(),
        lambda text: text.replace(",", ";").replace(".", ",").encode(),
        lambda text: gzip.compress(text.encode()),
        lambda text: load_zstd().compress(text.encode()),
        lambda text: text.replace("time,PV,OP,SP,Mode", " Time , PV (m3/h),MV [%], SetPoint ,MODE").encode(),
        lambda text: ("Plant export\n\n" + text).encode(),
        lambda text: ("# exported\n#" + text).encode(),
        lambda text: text.replace("T1", " 1").replace("Z", "+00:00").encode(),
        lambda text: text.replace("T10:", "T18:").replace("Z", "+08:00").encode(),
        lambda text: text.replace("2025-01-10T", "10.01.2025 ").encode(),
        lambda text: text.replace("AUT", "1").replace("MAN", "0").replace("CAS", "RCas").encode(),
        lambda text: text.replace("AUT", "Auto").replace("MAN", "Manual").replace("CAS", "2.0").encode(),
    ],
)
def test_encodings_delimiters_and_names_of_columns_are_detected(tmp_path, rewrite):
    assert_is_the_wide_record(read(tmp_path, rewrite(WIDE)))


@pytest.mark.parametrize("unit", [1, 1000, 10**6, 10**9])
def test_the_unit_of_epoch_times_is_detected_by_their_size(tmp_path, unit):
    text = WIDE
    for k in range(3):
        text = text.replace(f"2025-01-10T10:00:0{k}Z", str((START // SECOND + k) * unit))
    assert_is_the_wide_record(read(tmp_path, text))


def test_fractions_of_a_second_are_exact(tmp_path):
    text = "time,PV\n1736503200.25,1\n2025-01-10T10:00:00.500000001Z,2\n2025-01-10 10:00:01,3\n"
    record = read(tmp_path, text)
    assert (record.times - START).tolist() == [SECOND // 4, SECOND // 2 + 1, SECOND]
    assert "timestamps have no time zone: UTC assumed" in record.assumptions


def test_rows_that_are_newest_first_are_reversed(tmp_path):
    head, *rows = WIDE.splitlines()
    record = read(tmp_path, "\n".join([head, *reversed(rows)]))
    assert_is_the_wide_record(record)
    assert record.assumptions == ("rows are newest first: reversed",)


def test_rows_out_of_order_are_sorted_and_the_last_of_duplicates_is_used(tmp_path):
    head, a, b, c = WIDE.splitlines()
    record = read(tmp_path, "\n".join([head, a, c, b.replace("1.6", "9.9"), b]))
    assert_is_the_wide_record(record)
    assert record.assumptions == (
        "rows out of order: 1; sorted by time",
        "rows with a duplicate timestamp: 1; the last one is used",
    )


@pytest.mark.parametrize("bad", ["Bad", "NaN", "I/O Timeout", "", "NULL", "inf", "[-11059] No Good Data"])
def test_a_text_in_the_place_of_a_value_is_read_as_nan(tmp_path, bad):
    record = read(tmp_path, WIDE.replace("1.6", bad))
    assert np.isnan(record.pv[1, 0])
    assert record.op[1, 0] == 51
    example = "" if bad in ("", "NaN", "inf") else f" ({bad})"
    assert record.assumptions == (f"bad or missing PV values: 1 of 3{example}; marked as bad quality",)


def test_every_assumption_about_a_missing_column_or_a_gap_is_listed(tmp_path):
    record = read(tmp_path, "time,PV\n0,1\n1,5\n2,3\n9,3\n10,3\n11,x\n")
    assert record.sp[:, 0].tolist() == [3.0] * 6
    assert np.isnan(record.op).all()
    assert (record.mode == AUT).all()
    assumptions = " | ".join(record.assumptions)
    assert "no OP column" in assumptions
    assert "no mode column; AUT assumed" in assumptions
    assert "FIC101 has no SP: the median of its PV, 3," in assumptions
    assert "gaps: 1, the longest 7 s" in assumptions


def test_an_unknown_mode_is_read_as_automatic(tmp_path):
    record = read(tmp_path, WIDE.replace("CAS", "PROGRAM"))
    assert record.mode[2, 0] == AUT
    assert record.assumptions == ("unknown modes (PROGRAM): AUT assumed",)


def test_the_last_values_of_a_short_row_are_missing(tmp_path):
    record = read(tmp_path, "time,PV,OP\n0,1,2\n1,5\n2,3,4\n")
    assert np.isnan(record.op[1, 0])
    assert record.pv[1, 0] == 5


def test_a_wide_csv_may_hold_many_loops(tmp_path):
    record = read(
        tmp_path,
        "time,loop_id,Mode,PV,OP,SP\n0,A,AUT,1,2,3\n0,B,MAN,4,5,6\n"
        "1,A,AUT,7,8,9\n1,B,CAS,10,11,12\n2,A,AUT,0,0,0\n",
    )
    assert record.loops == ("A", "B")
    np.testing.assert_equal(record.pv, [[1, 4], [7, 10], [0, 10]])
    assert record.mode.tolist() == [[AUT, MAN], [AUT, CAS], [AUT, CAS]]
    assert record.assumptions == ("not every loop has a row at every timestamp: its last values hold",)


def test_loops_side_by_side_are_named_by_their_tags(tmp_path):
    head = "time,U.1_FIC1.PV,U.1_FIC1.OP,U.1_FIC1.SP,TIC2.SV,TIC2.MODE,TIC2.MV,TIC2.PV\n"
    record = read(tmp_path, head + "0,1,2,3,4,0,5,6\n")
    assert record.loops == ("U.1_FIC1", "TIC2")
    assert (record.pv.tolist(), record.op.tolist(), record.sp.tolist()) == ([[1, 6]], [[2, 5]], [[3, 4]])
    assert record.mode.tolist() == [[AUT, MAN]]


def test_a_processdata_export_is_read(tmp_path):
    text = (
        "PROCESSDATA\tA.B_FIC1 Data\tyyyy-MM-dd HH:mm:ss\r\n8\t10\t2024-11-13 21:55:00\t751\r\n"
        "tagname\tA.B_FIC1.MV\tA.B_FIC1.PV\tA.B_FIC1.SV\tA.B_FIC1.MODE\tbOpOFL\r\n"
        "desc\t水_OP\t水_PV\t水_SP\tAut\tbOpOFL\r\nfsMax=1.4\tfsMin=0\tL=24\r\n"
        "2025-01-10 10:00:00\t50\t1.5\t2\t1\t0\r\n2025-01-10 10:00:01\t51\t1.6\t2\t0\t0\r\n"
        "2025-01-10 10:00:02\t52\t1.7\t2\t2\t0\r\n"
    )
    assert_is_the_wide_record(read(tmp_path, text, "x.txt"), "A.B_FIC1")


def long_rows(loop: str = "FIC101") -> list[str]:
    rows = []
    for line in WIDE.splitlines()[1:]:
        time, pv, op, sp, mode = line.split(",")
        fields = (("PV", pv), ("OP", op), ("SP", sp))
        rows += [f"{time},{loop},{field},{value},{mode},control_loops" for field, value in fields]
    return rows


def test_rows_of_ground_truth_in_a_long_csv_are_ignored(tmp_path):
    truth = "2025-01-10T10:00:00.5Z,FIC101,present,true,,control_loops_truth"
    text = "\n".join(["_time,loop_id,_field,_value,Mode,_measurement", *long_rows(), truth])
    assert_is_the_wide_record(read(tmp_path, text, "history.csv"))


def test_an_annotated_flux_answer_of_several_tables_is_one_record(tmp_path):
    notes = "#datatype,string,long,dateTime:RFC3339,string,string,double,string,string\n"
    notes += "#group,false,false,false,true,true,false,true,true\n#default,_result,,,,,,,\n"
    rows = long_rows("TIC 1")
    tables = []
    for name in ("PV", "OP", "SP"):
        own = "".join(f",,0,{row}\n" for row in rows if f",{name}," in row)
        tables.append(notes + ",result,table,_time,loop_id,_field,_value,Mode,_measurement\n" + own)
    assert_is_the_wide_record(read(tmp_path, "\r\n\r\n".join(tables)), "TIC 1")


def test_each_table_of_a_flux_answer_has_its_own_header(tmp_path):
    first = "_time,loop_id,_field,_value\n0,A,PV,1\n1,A,PV,2\n"
    second = "_value,_field,loop_id,_time\n3,OP,A,0\n4,OP,A,1\n"
    record = read(tmp_path, first + "\n" + second)
    assert (record.pv[:, 0].tolist(), record.op[:, 0].tolist()) == ([1, 2], [3, 4])


WEEK = "id,date,time,FT_211,FV_211\n3,2025-01-10,10:01:00,3,40\n2,2025-01-10,10:00:00,2,41\n"


def test_transmitter_and_valve_are_recognised_by_their_isa_letters(tmp_path):
    record = read(tmp_path, WEEK.encode("utf-8-sig"), "FIC-211_2025~27.csv")
    assert record.loops == ("FIC-211_2025~27",)
    assert (record.pv[:, 0].tolist(), record.op[:, 0].tolist()) == ([2, 3], [41, 40])
    assert record.times.tolist() == [START, START + 60 * SECOND]
    assert record.assumptions[0] == "PV = FT_211 (transmitter tag), OP = FV_211 (valve tag)"


def test_names_of_columns_from_the_user_take_precedence(tmp_path):
    record = read(tmp_path, WEEK, columns=Columns(pv="FV_211", op="ft_211"))
    assert record.pv[:, 0].tolist() == [41, 40]
    assert record.op[:, 0].tolist() == [2, 3]


def test_a_time_column_of_another_name_needs_the_option(tmp_path):
    text = "Nr,PV,OP\n1736503200,1,50\n1736503201,2,51\n"
    error = read_error(tmp_path, text)
    assert "no time column; the header (line 1) is Nr, PV, OP: name it with --columns time=NAME or time=#1" in error
    for name in ("nr", "#1"):
        assert read(tmp_path, text, columns=Columns(time=name)).times.tolist() == [START, START + SECOND]


def test_a_column_whose_cells_are_times_is_the_time(tmp_path):
    record = read(tmp_path, WIDE.replace("time", "Meldung"))
    assert record.assumptions == ("time = Meldung, whose cells are times",)
    assert_is_the_wide_record(replace(record, assumptions=()))


def test_two_transmitters_need_the_option(tmp_path):
    error = read_error(tmp_path, WEEK.replace("FV_211", "FT_212"))
    assert "--columns pv=NAME" in error
    assert "FT_211, FT_212" in error


def test_a_long_record_may_have_field_names_of_its_own(tmp_path):
    text = "_time,loop_id,_field,_value\n0,A,flow,1\n0,A,valve,2\n1,A,flow,3\n1,A,valve,4\n"
    record = read(tmp_path, text, columns=Columns(pv="flow", op="valve"))
    assert (record.pv[:, 0].tolist(), record.op[:, 0].tolist()) == ([1, 3], [2, 4])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\ufeff\n \n", "the file is empty"),
        (b"\x7fELF\x00\x01\x02", "the file is not text"),
        (b"\x1f\x8b\x08nonsense", "the compressed file is damaged"),
        (gzip.compress(WIDE.encode(), mtime=0)[:40], "the compressed file is damaged"),
        (load_zstd().compress(WIDE.encode())[:-5], "the compressed file is damaged"),
        ("A,B,C\n1,2,3\n", "no time column"),
        ("1,2,3\n4,5,6\n", "no time column"),
        ("time,a,b\n1,2,3\n", "no column is recognised as PV"),
        ("time,PV\n", "no row has a number for PV"),
        ("time,PV\n1,Bad\n", "no row has a number for PV"),
        ("time,PV\nyesterday,1\n31/31/2025 10:00:00,1\n", "no row has a readable timestamp"),
        ('time,PV\n1,"' + 200_000 * "x" + '"\n', "is not CSV"),
    ],
)
def test_a_file_without_a_record_is_one_problem(tmp_path, text, message):
    assert message in read_error(tmp_path, text)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(BadInput, match="there is no such file"):
        read_record(tmp_path / "none.csv")
    with pytest.raises(BadInput, match="this is a folder"):
        read_record(tmp_path)


def test_the_closest_column_is_suggested_for_a_wrong_name(tmp_path):
    assert "did you mean 'FT_211'" in read_error(tmp_path, WEEK, Columns(pv="FT211"))


def test_columns_are_parsed_from_the_command_line():
    assert parse_columns("pv=FT_211, OP = FV_211") == Columns(pv="FT_211", op="FV_211")
    with pytest.raises(BadInput) as caught:
        parse_columns("mod=a,op,sp=,pv=a,pv=b")
    assert len(caught.value.problems) == 4
    assert "did you mean 'mode'" in str(caught.value)


LETTERS = ",;\t\n\r#\"0123456789.eE-:TZPVOS"
header = st.sampled_from(
    [
        "",
        "time,PV,OP,SP,Mode\n",
        "_time,loop_id,_field,_value\n",
        "PROCESSDATA\tA\n1\ntagname\tA.PV\tA.MV\n\n\n",
        "date;time;X.PV;Y.PV;loop_id\n",
    ]
)


@many
@given(header, st.one_of(st.binary(max_size=300), st.text(LETTERS, max_size=300).map(str.encode)))
def test_any_bytes_are_a_record_or_bad_input(tmp_path, head, body):
    with suppress(BadInput):
        record = read(tmp_path, head.encode() + body)
        assert (np.diff(record.times) > 0).all()
        assert record.pv.shape == (len(record.times), len(record.loops))
        assert record.interval > 0


numbers = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.just(float("nan")))
sample = st.tuples(numbers, numbers, st.sampled_from(["MAN", "AUT", "CAS"]))
samples = st.lists(sample, min_size=1, max_size=20)


def timestamp(k: int) -> str:
    return datetime.fromtimestamp(START // SECOND + k, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.slow
@many
@given(samples, st.booleans(), st.booleans(), st.sampled_from([",", ";", "\t"]), st.booleans())
def test_a_written_record_is_read_back(tmp_path, rows, is_long, newest_first, delimiter, has_byte_order_mark):
    rows[0] = (1.0, *rows[0][1:])
    lines = []
    for k, (pv, op, mode) in enumerate(rows):
        texts = [repr(number) if np.isfinite(number) else "" for number in (pv, op, 7.5)]
        if delimiter != ",":
            texts = [text.replace(".", ",") for text in texts]
        if is_long:
            named = zip(("PV", "OP", "SP"), texts, strict=True)
            lines += [(timestamp(k), "A", name, text, mode) for name, text in named]
        else:
            lines.append((timestamp(k), "A", mode, *texts))
    names = "_time loop_id _field _value Mode" if is_long else "time loop_id Mode PV OP SP"
    lines = [tuple(names.split()), *(reversed(lines) if newest_first else lines)]
    text = "\n".join(delimiter.join(line) for line in lines)
    record = read(tmp_path, text.encode("utf-8-sig" if has_byte_order_mark else "utf-8"))
    assert record.loops == ("A",)
    assert record.times.tolist() == [START + k * SECOND for k in range(len(rows))]
    np.testing.assert_array_equal(record.pv[:, 0], [pv for pv, _, _ in rows])
    np.testing.assert_array_equal(record.op[:, 0], [op for _, op, _ in rows])
    assert (record.sp == 7.5).all()
    assert record.mode[:, 0].tolist() == [("MAN", "AUT", "CAS").index(mode) for _, _, mode in rows]
