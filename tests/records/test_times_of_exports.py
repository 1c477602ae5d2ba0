"""Times as exports have them: without a date, cut off, or of clocks that go back; each row keeps its place in time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from clpm_execd.problems import BadInput
from clpm_execd.records import parse_columns, read_record

SECOND = 10**9
START = datetime(2025, 1, 10, 8)
COUNT = 120
PV = 50.0 + np.round(np.sin(np.arange(COUNT) / 7.0), 2)
OP = 40.0 + np.round(np.cos(np.arange(COUNT) / 7.0), 2)


def at(k, form, step=1.0):
    return (START + timedelta(seconds=k * step)).strftime(form)


def read(tmp_path, time, *, mark=".", delimiter=",", name="Time"):
    rows = [delimiter.join([time(k), *(f"{x:.2f}".replace(".", mark) for x in (PV[k], OP[k]))]) for k in range(COUNT)]
    path = tmp_path / "FIC101.csv"
    path.write_text("\n".join([delimiter.join([name, "PV", "OP"]), *rows]) + "\n")
    return read_record(path)


FORMS = {
    "an ISO duration": (lambda k: f"PT{k // 60}M{k % 60}.0S", 1.0),
    "a duration in words": (lambda k: f"{k // 60} min {k % 60} s", 1.0),
    "a day of the year": (lambda k: at(k, "%Y-%jT%H:%M:%SZ"), 1.0),
    "a day of the year between colons": (lambda k: at(k, "%Y:%j:%H:%M:%S"), 1.0),
    "hours and minutes": (lambda k: at(k, "%H:%M", 60.0), 60.0),
    "minutes and seconds": (lambda k: f"{k * 20 // 60:02d}:{k * 20 % 60:02d}", 20.0),
    "minutes and seconds as spreadsheets show them, over an hour": (lambda k: at(k, "%M:%S.0", 45.0), 45.0),
    "a date whose seconds a spreadsheet has cut off": (lambda k: at(k + 40, "%d/%m/%Y %H:%M", 3.0), 3.0),
    "whole seconds of two rows each": (lambda k: at(k // 2, "%Y-%m-%d %H:%M:%S"), 0.5),
    "newest first, cut to the minute": (lambda k: at(COUNT - 1 - k, "%Y-%m-%d %H:%M", 3.0), 3.0),
    "morning in Chinese": (lambda k: at(k, "%Y/%m/%d ") + "上午" + at(k, "%I:%M:%S"), 1.0),
    "two digits of the year first": (lambda k: at(k, "%y/%m/%d %H:%M", 3600.0), 3600.0),
    "twelve digits": (lambda k: at(k, "%Y%m%d%H%M", 60.0), 60.0),
    "parts of a day": (lambda k: f"{(28_800 + 5 * k) / 86_400:.10f}", 5.0),
    "thousands of seconds": (lambda k: f'"{50 * k:,}"', 50.0),
    "32 bits": (lambda k: str((2**32 - 1000 + 20 * k) % 2**32), 20.0),
    "s of 16 bits": (lambda k: str((2**16 - 300 + 5 * k) % 2**16), 5.0),
    "a counter that a PLC shows with a sign": (lambda k: str(5 * k - 300), 5.0),
    "seconds of the day over midnight": (lambda k: str((86_100 + 5 * k) % 86_400), 5.0),
    "a clock of 12 hours without a date": (lambda k: at(k + 3550, "%I:%M:%S", 5.0), 5.0),
    "24:00:00 at the end of a day": (
        lambda k: "2025-01-10 24:00:00" if k == 60 else at(k, "%Y-%m-%d %H:%M:%S", 960.0), 960.0),
    "a date without a year": (lambda k: at(k - 11_000, "%d.%m. %H:%M:%S", 79.0), 79.0),
    "a day and month in a word without a year": (lambda k: at(k, "%d-%b %H:%M:%S"), 1.0),
    "two numbers without a year": (lambda k: at(k, "%m-%d %H:%M:%S.000"), 1.0),
    "a month and day without a year, as logs have them": (lambda k: at(k, "%b %d %H:%M:%S"), 1.0),
    "Julian dates": (lambda k: f"{2_460_685.5 + 5 * k / 86_400:.8f}", 5.0),
    "constants of IEC 61131": (lambda k: at(k, "DT#%Y-%m-%d-%H:%M:%S"), 1.0),
    "durations of IEC 61131": (lambda k: f"T#{k // 60}m{k % 60}s", 1.0),
    "dates of .NET in JSON": (lambda k: f"/Date({1_736_496_000_000 + 1000 * k})/", 1.0),
    "a clock with dashes": (lambda k: at(k, "%Y-%m-%d_%H-%M-%S"), 1.0),
    "a sign between date and clock": (lambda k: at(k, '"%b %d, %Y @ %H:%M:%S"'), 1.0),
    "cells that a spreadsheet keeps as text": (lambda k: at(k, '="%Y-%m-%d %H:%M:%S"'), 1.0),
    "exponents of Fortran": (lambda k: f"{k:.6e}".replace("e", "D"), 1.0),
    "an hour that occurs twice": (
        lambda k: (datetime(2024, 10, 27, 2) + timedelta(seconds=(40 * k) % 3600)).strftime("%Y-%m-%d %H:%M:%S"), 40.0),
}


def in_zone(zone, start, step):
    return lambda k: (start + timedelta(seconds=k * step)).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize(("zone", "start", "step"), [
    ("Europe/Berlin", datetime(2025, 3, 30, 0, 30, tzinfo=timezone.utc), 60.0),
    ("Europe/Rome", datetime(2025, 10, 26, tzinfo=timezone.utc), 60.0),
    ("Europe/Lisbon", datetime(2025, 3, 29, tzinfo=timezone.utc), 3600.0),
    ("America/New_York", datetime(2024, 11, 3, 3, tzinfo=timezone.utc), 300.0),
])
def test_clocks_that_change_are_recognised_by_their_zone(tmp_path, zone, start, step, newest_first):
    clock = in_zone(zone, start, step)
    record = read(tmp_path, lambda k: clock(COUNT - 1 - k if newest_first else k))
    assert record.times - record.times[0] == pytest.approx(np.arange(COUNT) * step * SECOND)
    assert "do, which is undone; name their zone with --timezone" in " ".join(record.assumptions)
    assert "gaps" not in " ".join(record.assumptions)


def test_a_gap_of_an_hour_at_another_time_is_a_gap(tmp_path):
    record = read(tmp_path, lambda k: at(k + 60 * (k > 50), "%Y-%m-%d %H:%M:%S", 60.0))
    assert "gaps: 1, the longest 3660 s" in record.assumptions


@pytest.mark.parametrize("form", FORMS)
def test_each_row_keeps_its_place_in_time(tmp_path, form):
    time, step = FORMS[form]
    record = read(tmp_path, time)
    assert record.times - record.times[0] == pytest.approx(np.arange(COUNT) * step * SECOND, abs=2)
    pv = PV[::-1] if form.startswith("newest first") else PV
    assert record.pv[:, 0].tolist() == pv.tolist()


@pytest.mark.parametrize(("time", "mark", "message"), [
    (lambda k: "2025-01-10", ".", "all 120 rows have the same timestamp"),
    (lambda k: str(k) if k < 50 else "later", ".", "only 50 of 120 rows have a readable timestamp, such as 'later'"),
    (str, ",", "rows with more cells than the header: 120"),
], ids=["one day for all", "mostly unreadable", "decimal commas between commas"])
def test_a_record_whose_times_or_cells_say_too_little_is_refused_with_its_header(tmp_path, time, mark, message):
    with pytest.raises(BadInput) as error:
        read(tmp_path, time, mark=mark)
    assert message in str(error.value)
    assert "the header (line 1) is Time, PV, OP" in str(error.value)


@pytest.mark.parametrize("name", ["millis", "Time [ms]"])
@pytest.mark.parametrize("sign_from", [2**31, 2**32])
@pytest.mark.parametrize("start", [2**31 - 300_000, 2**32 - 300_000])
def test_a_counter_of_ms_goes_on_with_or_without_a_sign(tmp_path, name, sign_from, start):
    counts = [(start + 5000 * k) % 2**32 for k in range(COUNT)]
    record = read(tmp_path, lambda k: str(counts[k] - 2**32 * (counts[k] >= sign_from)), name=name)
    assert (np.diff(record.times) == 5 * SECOND).all()


def test_a_clock_of_12_hours_with_dates_is_refused(tmp_path):
    with pytest.raises(BadInput, match="goes back from 12 to 1 and has neither 24 hours nor AM and PM; export"):
        read(tmp_path, lambda k: at(k + 3550, "%Y-%m-%d %I:%M:%S", 5.0))


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_run_that_starts_again_follows_the_one_before_after_a_pause(tmp_path, newest_first):
    order = (lambda k: COUNT - 1 - k) if newest_first else (lambda k: k)
    record = read(tmp_path, lambda k: f"{order(k) % 50 * 5} s")
    steps = np.diff(record.times) / SECOND
    assert [*np.flatnonzero(steps != 5.0)] == [49, 99]
    assert steps.max() == 50.0
    assert record.pv[:, 0].tolist() == (PV[::-1] if newest_first else PV).tolist()
    assert "the time starts again in 2 places" in " ".join(record.assumptions)


@pytest.mark.parametrize("time", [lambda k: f"{(k ^ 1) * 5} s", lambda k: at((k + 60) % COUNT, "%Y-%m-%d %H:%M:%S")])
def test_rows_out_of_order_or_with_dates_are_no_new_runs(tmp_path, time):
    assert "starts again" not in " ".join(read(tmp_path, time).assumptions)


def test_decimal_commas_between_commas_are_refused_without_a_header_too(tmp_path):
    path = tmp_path / "FIC101.csv"
    path.write_text("".join(f"{k},50,{k:02d}\n" for k in range(20)))
    with pytest.raises(BadInput, match="cells such as '00' look like digits behind a decimal comma"):
        read_record(path, columns=parse_columns("time=#1,pv=#2"))


def test_rows_of_several_loops_that_nothing_tells_apart_are_refused(tmp_path):
    path = tmp_path / "FIC101.csv"
    path.write_text("Time,PV\n" + "".join(f"{at(k % 40, '%Y-%m-%d %H:%M:%S')},{k}\n" for k in range(120)))
    with pytest.raises(BadInput, match=r"80 of 120 rows have the timestamp of another row .*; the header"):
        read_record(path)
