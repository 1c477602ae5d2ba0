"""Records of one tag are one loop, in whatever files and order they come."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clpm_execd.records import Record
from clpm_execd.records.header.signal_names import strip_date
from clpm_execd.records.merging import merge_records, select_loop

SECOND = 10**9


def record(samples: int = 60, interval: int = SECOND) -> Record:
    values = np.arange(2.0 * samples).reshape(samples, 2)
    times = interval * np.arange(samples, dtype=np.int64)
    return Record(("A", "B"), times, values, values + 1, values + 2, np.ones((samples, 2), np.int8), interval, (),
                  ("mA", "mA"))


def part(whole: Record, start: int, stop: int) -> Record:
    rows = slice(start, stop)
    return replace(whole, times=whole.times[rows], pv=whole.pv[rows], op=whole.op[rows], sp=whole.sp[rows],
                   mode=whole.mode[rows])


@given(st.integers(1, 59), st.booleans(), st.integers(0, 20))
def test_a_record_in_two_files_is_the_record(cut, is_reversed, overlap):
    whole = select_loop(record(), 1, "X")
    parts = [part(whole, 0, cut), part(whole, max(cut - overlap, 0), 60)]
    merged = merge_records(parts[::-1] if is_reversed else parts)
    assert len(merged) == 1
    for name in ("times", "pv", "op", "sp", "mode"):
        np.testing.assert_array_equal(getattr(merged[0], name), getattr(whole, name))
    assert (merged[0].loops, merged[0].op_unit(0)) == (("X",), "mA")


def test_records_at_other_intervals_stay_apart():
    a, b = select_loop(record(), 0, "A"), select_loop(record(interval=5 * SECOND), 0, "A")
    assert [one.interval for one in merge_records([a, b, a])] == [SECOND, 5 * SECOND]


@pytest.mark.parametrize(("name", "plain"), [
    ("FIC-211_20241121~27", "FIC-211"), ("FIC101_2025-01-10", "FIC101"), ("FIC101 2025-01-10 to 2025-01-12", "FIC101"),
    ("FIC101_20250110T101500Z", "FIC101"), ("FIC101-2025_01_10 (2)", "FIC101"), ("2025-01-10 FIC101", "FIC101"),
    ("FIC20250", "FIC20250"), ("TIC208030", "TIC208030"), ("20250110", "20250110"), ("FIC101", "FIC101"),
    ("stic_2411FIC20102_1024", "stic_2411FIC20102_1024"),
])
def test_a_date_in_the_name_of_a_file_is_no_part_of_the_tag(name, plain):
    assert strip_date(name) == plain
