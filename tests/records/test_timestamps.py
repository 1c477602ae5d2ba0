"""A timestamp is the same instant in every form that plants write, and no hour is lost as clocks change."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clpm_execd.problems import BadInput
from clpm_execd.records.cells.text_columns import TextColumn
from clpm_execd.records.cells.time_forms import EXCEL_DAYS, UNREADABLE
from clpm_execd.records.cells.timestamps import (
    SECOND,
    continue_runs,
    count_periods,
    localise_times,
    parse_times,
    parse_zone,
)

WHEN = 1_736_500_300 * SECOND  # 2025-01-10T09:11:40Z
BERLIN = ZoneInfo("Europe/Berlin")


def instant(text: str) -> int:
    """Return the instant of a text, with the year first where this can be read."""
    orders = [int(instants[0]) for instants in parse_times(TextColumn([text])).instants]
    return orders[0] if orders[-1] == UNREADABLE else orders[-1]


@pytest.mark.parametrize("text", [
    "2025-01-10T09:11:40Z", "2025-01-10 09:11:40", "2025/01/10 09:11:40", "2025-1-10 9:11:40", "2025.01.10 09:11:40",
    "10.01.2025 09:11:40", "10.01.25 09:11:40", "10-Jan-25 09:11:40", "10-Jan-2025 09:11:40",
    "10 January 2025 09:11:40",
    "Jan 10, 2025 9:11:40 AM", "Jan. 10 2025 09:11:40", "20250110 091140", "20250110T091140Z", "20250110091140",
    "2025-01-10 09:11:40 UTC", "2025-01-10T09:11:40z", "2025-01-10T17:11:40+08:00", "2025-01-10T17:11:40+0800",
    "2025-01-10T17:11:40+08", "2025-01-10 03:41:40-05:30", " 2025-01-10 09:11:40 ", "2025-01-10T09:11:40.000Z",
    "2025-01-10 09:11:40,0", "1736500300", "1736500300000", "1736500300000000", "1736500300000000000", "1.7365003e9",
    "2025-01-10T09:11:40.0000000001Z", "2025-01-10_09:11:40", "2025-01-10-09:11:40", "2025/01/10:09:11:40",
    "20250110T091140.000Z", "10 01 2025 09:11:40", "2025 01 10 09:11:40", "2025-01-10 09:11:40:000",
    "09:11:40 10.01.2025", "Fri Jan 10 09:11:40 2025", "Fri Jan 10 10:11:40 CET 2025",
    "Fri, 10 Jan 2025 09:11:40 GMT", "Fri Jan 10 2025 10:11:40 GMT+0100 (CET)",
    "2025-01-10T10:11:40+01:00[Europe/Berlin]",
    "2025-01-10 10:11:40 CET", "2025-01-10 04:11:40 EST", "2025-01-10 10:11:40 UTC+1", "10-Janv.-2025 09:11:40",
    "10/Jan/2025 09:11:40", "Jan 10, 2025 9:11:40 a. m.", "1736500300,0", "1736500300000,0", "3819345100",
    "638720971000000000", "133809739000000000", "10/01/2025 09:11:40 π.μ.", "10.01.2025 09:11:40 ÖÖ",
    "10/01/2025 09:11:40;000", "10.Oca.2025 09:11:40", "10 sty 2025 09:11:40", "25/01/10 09:11:40",
])
def test_every_form_of_a_timestamp_is_the_same_instant(text):
    assert instant(text) == WHEN


@pytest.mark.parametrize("text", [
    "", "yesterday", "2025-02-30T00:00:00Z", "2025-13-01 00:00:00", "2025-01-10T24:00:01Z", "2025-01-10T09:60:00Z",
    "2025-01-10T09:11:40.Z", "2025-01-10T09:11:40+8:00", "20250110091199", "31-Foo-25 09:11:40", "13:00 PM",
    "--1", "nan", "10-01 0800", "30 Feb 08:00:00", "1/2 08",
    "9e99", "2025-01-10T13:11:40 PM", "١٢٣", "2025-01-10T09:11:40Zulu", "1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z",
])
def test_a_text_that_is_no_time_is_unreadable(text):
    assert instant(text) == UNREADABLE


@pytest.mark.parametrize(("text", "number"), [
    ("10-Mär-25", 3), ("10-Mrz-25", 3), ("10 mai 2025", 5), ("10-Okt-25", 10), ("10-déc-25", 12), ("10 juin 2025", 6),
    ("10 juillet 2025", 7), ("10-ago-25", 8), ("10-Dez-25", 12), ("10 février 2025", 2), ("10-ENE-25", 1),
])
def test_months_are_read_in_several_languages(text, number):
    assert instant(f"{text} 09:11:40") == instant(f"2025-{number:02d}-10 09:11:40")


@pytest.mark.parametrize(("text", "seconds"), [
    ("07:12:10", 25_930), ("07:12", 25_920), ("0:00:01.25", 1.25), ("00:00:01,250", 1.25), ("26:00:00", 93_600),
    ("1.02:00:00", 93_600), ("1 day, 2:00:00", 93_600), ("0 days 00:00:01.500000", 1.5), ("12:10.5", 730.5),
    ("12:01:05 AM", 65), ("1:00:00 pm", 46_800), ("0,06", 0.06), ("0.06", 0.06), ("12,", 12),
])
def test_clock_times_durations_and_decimal_commas_count_from_zero(text, seconds):
    assert instant(text) == round(seconds * SECOND)


@pytest.mark.parametrize("text", ["202501100911", "20250110 0911", "2025-01-10 0911"])
def test_a_clock_time_may_have_four_digits(text):
    assert instant(text) == WHEN - 40 * SECOND


@pytest.mark.parametrize("text", ["04/07/16 09", "04/07/16 9 AM", "04/07/16T09", "4.7.2016 09"])
def test_an_hour_may_stand_alone_behind_a_date(text):
    assert parse_times(TextColumn([text])).instants[0][0] == 1_467_622_800 * SECOND


def test_clock_times_continue_after_midnight_in_either_order_of_rows():
    texts = [f"{k // 3600 % 24:02d}:{k // 60 % 60:02d}" for k in range(82_800, 280_000, 1800)]
    clocks = parse_times(TextColumn(texts)).instants[0]
    days = count_periods(np.concatenate([clocks, clocks]), np.repeat([0, 1], len(texts)))
    assert (np.diff(days.reshape(2, -1)) == 1800 * SECOND).all()
    assert (np.diff(count_periods(clocks[::-1].copy(), np.zeros(len(texts), np.int64))) == -1800 * SECOND).all()


def test_a_unit_scales_numbers_that_do_not_count_from_1970():
    assert parse_times(TextColumn(["0", "250"]), 10**6).instants[0].tolist() == [0, SECOND // 4]
    assert parse_times(TextColumn(["1736500300000"]), 10**6).instants[0][0] == WHEN
    assert parse_times(TextColumn(["0", "0,5"]), 60 * SECOND).instants[0].tolist() == [0, 30 * SECOND]


def test_days_of_matlab_are_read():
    times = parse_times(TextColumn(["739627.38310185", "739627.3831134259"]))
    assert times.instants[0].tolist() == [WHEN, WHEN + SECOND]


@given(st.sampled_from([2**16, 2**32]), st.integers(1, 50), st.integers(10, 200), st.booleans())
def test_a_counter_that_turns_over_goes_on_by_its_step(size, step, before, newest_first):
    counts = (size - 1 - before * step + step * np.arange(400)) % size
    times = (counts[::-1] if newest_first else counts) * 10**6
    assert continue_runs(times, np.arange(400), np.zeros(400, np.int64)) == 1
    assert (np.diff(times) == (-step if newest_first else step) * 10**6).all()


@given(st.lists(st.integers(0, 2**62 - 1), min_size=1, max_size=4), st.integers(1, 60))
def test_any_times_without_a_date_can_start_again(starts, rows):
    times = np.array([min(start + k, 2**62 - 1) for start in starts for k in range(rows)], np.int64)
    assert 0 <= continue_runs(times, np.arange(len(times)), np.zeros(len(times), np.int64)) < len(starts)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_unreadable(text):
    assert -1 <= instant(text) < 2**62


def test_noon_and_midnight_are_read_with_am_and_pm():
    times = parse_times(TextColumn(["1/10/2025 12:00:00 AM", "1/10/2025 12:00:00 PM", "1/10/2025 1:05 pm"]))
    hours = (times.instants[1] - times.instants[1][0]) / SECOND / 3600
    assert hours.tolist() == [0, 12, 13 + 5 / 60]
    assert times.has_am_pm


def test_a_date_with_slashes_has_two_instants_until_its_order_is_decided():
    times = parse_times(TextColumn(["01/02/2025 00:00:00", "2025-01-02T00:00:00Z", "25/12/2025 00:00:00"]))
    jan_2 = 1_735_776_000 * SECOND
    assert times.instants[1][:2].tolist() == [jan_2, jan_2]
    assert times.instants[0][0] == jan_2 + 30 * 86_400 * SECOND  # 1 February
    assert times.instants[1][2] == UNREADABLE
    assert times.has_no_zone.tolist() == [True, False, True]


def test_days_of_a_spreadsheet_are_read():
    times = parse_times(TextColumn(["45667.38310185", "45667.3831134259", "45667"]))
    assert times.number_system is EXCEL_DAYS
    assert times.instants[0].tolist() == [WHEN, WHEN + SECOND, WHEN - (9 * 3600 + 11 * 60 + 40) * SECOND]


def test_parts_of_a_day_are_clock_times_of_a_spreadsheet_and_rounder_numbers_seconds():
    seconds = [28_800, 28_805, 28_810]
    times = parse_times(TextColumn([f"{second / 86_400:.10f}" for second in seconds]))
    assert times.instants[0].tolist() == [second * SECOND for second in seconds]
    assert parse_times(TextColumn(["0.125000", "0.250000"])).instants[0].tolist() == [SECOND // 8, SECOND // 4]


def test_seconds_that_start_at_zero_are_not_days_of_a_spreadsheet():
    times = parse_times(TextColumn(["40000.5", "40001.5", "20000"]))
    assert times.number_system is None
    assert times.instants[0][0] == 40_000_500_000_000


moments = st.datetimes(datetime(1970, 1, 2), datetime(2116, 1, 1))
offsets = st.sampled_from(["Z", "", "+01:00", "-0930", "+14:00"])


@given(st.lists(st.tuples(moments, st.integers(0, 9), offsets, st.sampled_from("T ")), min_size=1, max_size=6))
def test_the_fast_parser_agrees_with_the_standard_library(cells):
    texts, expected = [], []
    for moment, decimals, zone, between in cells:
        fraction = f"{moment.microsecond:06d}000"[:decimals]
        texts.append(f"{moment:%Y-%m-%d}{between}{moment:%H:%M:%S}{'.' if fraction else ''}{fraction}{zone}")
        offset = {"+01:00": 3600, "-0930": -34_200, "+14:00": 50_400}.get(zone, 0)
        seconds = (moment.replace(microsecond=0) - datetime(1970, 1, 1)) // timedelta(seconds=1) - offset
        expected.append(seconds * SECOND + int(fraction.ljust(9, "0")))
    times = parse_times(TextColumn(texts))
    assert times.instants[0].tolist() == [e if e >= 0 else UNREADABLE for e in expected]
    assert times.has_no_zone.tolist() == [zone == "" for _, _, zone, _ in cells]


def wall_clocks(instants: list[int]) -> np.ndarray:
    """Return what clocks in Berlin show, as if that were UTC."""
    shown = [datetime.fromtimestamp(i // SECOND, BERLIN).replace(tzinfo=timezone.utc) for i in instants]
    return np.array([int(moment.timestamp()) * SECOND for moment in shown], np.int64)


AUTUMN = 1_761_438_600 * SECOND  # 2025-10-26T00:30:00Z: the clocks go back at 01:00Z
SPRING = 1_743_294_600 * SECOND  # 2025-03-30T00:30:00Z: the clocks go forward at 01:00Z


@pytest.mark.parametrize("start", [AUTUMN, SPRING, AUTUMN - 86_400 * SECOND, SPRING - 3600 * SECOND])
@pytest.mark.parametrize("newest_first", [False, True])
def test_no_hour_is_lost_or_doubled_as_clocks_change(start, newest_first):
    instants = [start + 60 * SECOND * k for k in range(200)]
    if newest_first:
        instants.reverse()
    clocks = wall_clocks(instants)
    localised = localise_times(clocks, np.zeros(len(clocks), np.int64), BERLIN)
    assert localised.instants.tolist() == instants
    assert localised.ambiguous == (90 if start == AUTUMN else 0)  # from 02:30, and all of the second hour
    assert localised.nonexistent == 0


def test_each_loop_has_its_own_second_hour_as_clocks_go_back():
    instants = [AUTUMN + 600 * SECOND * k for k in range(12)]
    clocks = np.concatenate([wall_clocks(instants), wall_clocks(instants)])
    localised = localise_times(clocks, np.repeat([0, 1], 12), BERLIN)
    assert localised.instants.tolist() == 2 * instants


def test_a_time_in_a_skipped_hour_is_counted():
    clocks = np.array([SPRING + 5400 * SECOND], np.int64)  # 02:00 of that night
    localised = localise_times(clocks, np.zeros(1, np.int64), BERLIN)
    assert localised.nonexistent == 1
    assert localised.instants[0] == SPRING + 1800 * SECOND


def test_the_closest_zone_is_suggested_for_an_unknown_one():
    assert str(parse_zone("Europe/Berlin")) == "Europe/Berlin"
    for name in ("Europe/Berlim", "../etc/passwd", "", "Mars", "/etc/localtime"):
        with pytest.raises(BadInput, match="--timezone"):
            parse_zone(name)
    with pytest.raises(BadInput, match="did you mean 'Europe/Berlin'"):
        parse_zone("Europe/Berlim")
