"""Samples on a grid: all loops over all instants of the record, with gaps filled forward.

Each value stays at its own instant. What the file leaves open (time zone, order of day and month, order of the rows) is
decided here and noted as an assumption.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import AUT, SECOND, Floats
from clpm_execd.records.cells.text_columns import Booleans, Integers
from clpm_execd.records.cells.time_forms import (
    DATE_ORDERS,
    DAY_S,
    LATEST_NS,
    LEAP_YEAR,
    MINUTES_FIRST,
    NO_YEAR,
    TWO_PARTS,
    UNREADABLE,
    WITH_HOURS,
    YEAR_1980_S,
)
from clpm_execd.records.cells.timestamps import (
    ParsedTimes,
    changes_between,
    continue_runs,
    count_periods,
    load_changing_zones,
    localise_times,
    order_rows,
)
from clpm_execd.records.csv_source import record_error, timestamp_error
from clpm_execd.records.forward_fill import forward_fill
from clpm_execd.records.samples import LOOP_SIGNALS, Modes, Samples
from clpm_execd.units import describe_duration

MAX_GRID_CELLS = 100_000_000  # 2.5 GB for PV, OP, SP and mode; a grid beyond is nearly empty
HOUR_S = 3600
# Of two rows with one timestamp, at least so many differ where timestamps are cut off: copies do not differ, and values
# of a slow loop may be equal.
MIN_DIFFERENT_FRACTION = 0.05
MAX_JUMPS = 20  # in the times of a record, at which a change of clocks is looked for: there are two a year


def _resolve_times(path: Path, samples: Samples, zone: tzinfo | None, assumptions: list[str], place: str
                   ) -> tuple[Integers, Integers, Booleans]:
    """Return the instants and loops of all rows in the file's order, and which of the rows these are."""
    times, codes = ParsedTimes.concatenate(samples.times), np.concatenate(samples.loop_codes)
    instants = _choose_date_order(times, samples.has_decimal_comma, assumptions)
    pv, op, sp = (np.concatenate(samples.present[signal]) for signal in LOOP_SIGNALS)
    # A run of time are the rows of a loop, or of a signal of it where each row is one value.
    has_several = ((pv & op) | (pv & sp) | (op & sp)).any()
    series = codes if has_several else 4 * codes + pv + 2 * op + 3 * sp
    if _is_clock_of_12_hours(instants, series):
        remedy = f"export times of 24 hours, or with AM and PM; {place}"
        raise record_error(path, "the clock goes back from 12 to 1 and has neither 24 hours nor AM and PM", remedy)
    if zone is not None and times.has_no_zone.any():
        local = np.flatnonzero(times.has_no_zone & (instants != UNREADABLE))
        localised = localise_times(instants[local], series[local], zone)
        instants[local] = localised.instants
        if localised.ambiguous:
            assumptions.append(f"timestamps in an hour that occurs twice as the clocks go back: "
                               f"{localised.ambiguous}; resolved by the order of the rows")
        if localised.nonexistent:
            assumptions.append(f"timestamps in an hour that the clocks skip: {localised.nonexistent}; the offset "
                               "before the change is used")
    elif times.has_no_zone.any():
        assumptions.append("timestamps have no time zone: UTC assumed")
        local = np.flatnonzero(times.has_no_zone & (instants != UNREADABLE))
        instants[local] = _undo_changes_of_clocks(instants[local], series[local], assumptions)
    if times.number_system is not None:
        assumptions.append(times.number_system.words)
    if times.clock_forms.any():
        clock = np.flatnonzero((times.clock_forms > 0) & (instants != UNREADABLE))
        instants[clock] = _resolve_clocks(instants[clock], times.clock_forms[clock], series[clock], assumptions)
    readable = np.flatnonzero(instants != UNREADABLE)
    has_no_dates = len(readable) and instants[readable].min() < YEAR_1980_S * SECOND
    if has_no_dates and NO_YEAR not in times.clock_forms and (
            restarts := continue_runs(instants, readable, 4 * codes + pv + 2 * op)):
        assumptions.append(f"the time starts again in {restarts} places: the rows behind follow those before")
    _spread_cut_times(samples, instants, series, assumptions)
    is_usable = (instants >= 0) & (instants < LATEST_NS)
    samples.unreadable_times += int(len(is_usable) - is_usable.sum())
    return instants[is_usable], codes[is_usable], is_usable


def _is_clock_of_12_hours(instants: Integers, series: Integers) -> bool:
    """Return whether times with a date, ns, have no hour but 1 to 12, and go back from 12 to 1."""
    hours = instants // (HOUR_S * SECOND)
    # Nearly every record has other hours too, and need not be sorted.
    if not len(hours) or hours.min() < YEAR_1980_S // HOUR_S or not np.isin(hours % 24, range(1, 13)).all():
        return False
    order, is_same_series = order_rows(instants, series)
    hours = hours[order]
    return bool((is_same_series & (np.diff(hours) == -11) & (hours[1:] % 24 == 1)).any())


def _resolve_clocks(clocks: Integers, forms: npt.NDArray[np.int8], series: Integers, assumptions: list[str]
                    ) -> Integers:
    """Return (T,) clock times without a date as ns since midnight of the first day, whatever parts they have.

    Dates without a year start again after a year. Of `a:b` the first part are minutes where it exceeds 23, or where
    others begin with minutes. A clock that begins with minutes starts again after an hour, others after a day.
    """
    if (forms == NO_YEAR).any():
        assumptions.append(f"timestamps have no year: {LEAP_YEAR} assumed")
        return count_periods(clocks, series, 366 * DAY_S * SECOND)
    has_hours = bool((forms == WITH_HOURS).any())
    two_parts = forms == TWO_PARTS
    has_two_parts = bool(two_parts.any())
    are_minutes = not has_hours and ((forms == MINUTES_FIRST).any() or clocks.max() >= DAY_S * SECOND)
    if has_two_parts:
        words = "minutes and seconds" if are_minutes else "hours and minutes"
        assumptions.append(f"timestamps such as 12:10 are read as {words}")
    if are_minutes:
        clocks = np.where(two_parts, clocks // 60, clocks)
    assumptions.append("timestamps without a date are read as time since midnight of the first day")
    return count_periods(clocks, series, (HOUR_S if are_minutes else DAY_S) * SECOND)


def _undo_changes_of_clocks(clocks: Integers, series: Integers, assumptions: list[str]) -> Integers:
    """Return (T,) wall clocks of an unknown zone, ns, as if they had not changed by an hour.

    They have changed where the steps of a series go back or leave a gap of an hour, and do not in one of the zones.
    """
    order, is_same_series = order_rows(clocks, series)
    steps = np.diff(clocks[order])[is_same_series]
    if not (steps != 0).any():
        return clocks
    typical = int(np.median(np.abs(steps[steps != 0])))

    def find_steps(times: Integers) -> Integers:
        return np.where(is_same_series, np.diff(times[order]), typical)

    def find_jumps(steps: Integers) -> Integers:
        return np.flatnonzero((steps < 0) | (steps > typical + HOUR_S * SECOND // 2))

    jumps = find_jumps(find_steps(clocks))
    ends = np.sort([clocks[order[jumps]], clocks[order[jumps + 1]]], axis=0).T[:MAX_JUMPS].tolist()
    for zone in load_changing_zones() if len(jumps) else ():
        if any(changes_between(start, end, zone) for start, end in ends):
            localised = localise_times(clocks, series, zone)
            left = find_steps(localised.instants)
            if not localised.nonexistent and len(find_jumps(left)) < len(jumps) and (left >= 0).all():
                assumptions.append(f"timestamps jump by an hour as the clocks of {zone} do, which is undone; name "
                                   "their zone with --timezone")
                first = int(np.argmin(localised.instants))
                return localised.instants + int(clocks[first] - localised.instants[first])
    return clocks


def _spread_cut_times(samples: Samples, instants: Integers, series: Integers, assumptions: list[str]) -> None:
    """Spread rows evenly that share a timestamp because its last digits were cut off, as spreadsheets do with seconds.

    They are taken for that where most rows have the timestamp of the row before and another value.
    """
    order, is_same_series = order_rows(instants, series)
    steps = np.diff(instants[order])
    is_same = is_same_series & (steps == 0) & (instants[order][1:] != UNREADABLE)
    if 2 * int(is_same.sum()) < len(order):
        return
    values = np.zeros(len(order))
    for signal in LOOP_SIGNALS:
        values += np.nan_to_num(np.concatenate(samples.values[signal]), posinf=0.0, neginf=0.0)
    differs = (np.diff(values[order]) != 0) & is_same
    unit = int(np.median(np.abs(steps[is_same_series & ~is_same]))) if (is_same_series & ~is_same).any() else 0
    if differs.sum() < MIN_DIFFERENT_FRACTION * is_same.sum() or not unit:
        return
    starts = np.flatnonzero(np.concatenate([[True], ~is_same]))
    counts = np.diff(np.concatenate([starts, [len(order)]]))
    usual = int(np.median(counts))
    place = np.arange(len(order)) - np.repeat(starts, counts)
    # The first run of a series may lack its beginning.
    begins = np.concatenate([[True], ~is_same_series])[starts]
    place += np.repeat(np.where(begins, np.maximum(usual - counts, 0), 0), counts)
    width = np.repeat(np.maximum(counts, usual), counts)
    instants[order] += place * unit // width
    assumptions.append(f"timestamps are cut to {describe_duration(unit)}, and {usual} rows share one: "
                       "they are spread evenly")


def _choose_date_order(times: ParsedTimes, has_decimal_comma: bool, assumptions: list[str]) -> Integers:
    """Return the instants in one of DATE_ORDERS.

    The order is the one in which more dates can be read, else the one in which they span the shorter time, else month
    first where they have AM or PM in a record without decimal commas, else day first.
    """
    if times.is_unique():
        return times.instants[0]

    def badness(order: int) -> tuple[int, int, bool]:
        readable = times.instants[order][times.instants[order] != UNREADABLE]
        span = int(readable.max() - readable.min()) if len(readable) else 0
        return len(times) - len(readable), span, is_american != (DATE_ORDERS[order] == "month")

    is_american = times.has_am_pm and not has_decimal_comma
    best, second, *_ = sorted(range(len(DATE_ORDERS)), key=badness)
    is_by_span = badness(best)[0] == badness(second)[0] and badness(best)[1] < badness(second)[1]
    assumptions.append(f"dates such as 01/02/{'03' if DATE_ORDERS[best] == 'year' else '2025'} are read "
                       f"{DATE_ORDERS[best]} first{', because they then span less time' if is_by_span else ''}")
    return times.instants[best]


def _note_row_order(times: Integers, codes: Integers, assumptions: list[str]) -> None:
    """Note in which order the rows are; each loop has its own, for a file may hold one loop after the other."""
    order = np.argsort(codes, kind="stable")
    differences = np.diff(times[order])[np.diff(codes[order]) == 0]
    backward, forward = int((differences < 0).sum()), int((differences > 0).sum())
    if backward and not forward:
        assumptions.append("rows are newest first: reversed")
    elif backward:
        assumptions.append(f"rows out of order: {backward}; sorted by time")


@dataclass
class Grid:
    """T instants of N loops, ns since 1970: values by signal and modes, (T, N), and where each is present."""

    times: Integers
    values: dict[str, Floats]
    modes: Modes
    present: dict[str, Booleans]


def align(path: Path, samples: Samples, zone: tzinfo | None, assumptions: list[str], place: str) -> Grid:
    """Return the samples on the grid of all their instants; raise BadInput where there are none or too many.

    place: the header, as an error quotes it.
    """
    times, codes, is_usable = _resolve_times(path, samples, zone, assumptions, place)
    if not len(times):
        raise timestamp_error(path)
    _note_row_order(times, codes, assumptions)
    instants, row = np.unique(times, return_inverse=True)
    shape = (len(instants), len(samples.loops))
    if shape[0] * shape[1] > MAX_GRID_CELLS:
        what = f"{shape[1]} loops share few of their {shape[0]} timestamps"
        raise record_error(path, what, "split the record into one file per loop")
    cell = row.reshape(-1) * shape[1] + codes

    def scatter(parts: list[npt.NDArray[Any]], present: Booleans, blank: float, kind: type) -> npt.NDArray[Any]:
        # Assigned in the file's order: of two values for one cell the later one stays.
        grid: npt.NDArray[Any] = np.full(shape[0] * shape[1], blank, kind)
        values = np.concatenate(parts)[is_usable]
        parts.clear()
        grid[cell[present]] = values[present]
        return grid.reshape(shape)

    grids: dict[str, npt.NDArray[Any]] = {}
    present_on_grid: dict[str, Booleans] = {}
    duplicates = conflicts = 0
    for signal, parts in samples.present.items():
        present = np.concatenate(parts)[is_usable]
        present_on_grid[signal] = np.zeros(shape, np.bool_)
        present_on_grid[signal].reshape(-1)[cell[present]] = True
        values, blank, kind = (samples.modes, AUT, np.int8) if signal == "mode" else \
            (samples.values[signal], np.nan, float)
        pv = np.concatenate(values)[is_usable][present] if signal == "pv" else np.zeros(0)
        grids[signal] = scatter(cast("list[npt.NDArray[Any]]", values), present, blank, kind)
        if signal == "pv":
            conflicts = int((grids["pv"].reshape(-1)[cell[present]] != pv)[np.isfinite(pv)].sum())
        if signal != "mode":
            duplicates = max(duplicates, int(present.sum()) - int(present_on_grid[signal].sum()))
    if duplicates > 1 and len(instants) == 1:
        remedy = f"name the column of the time with --columns time=NAME, or the seconds are missing; {place}"
        raise record_error(path, f"all {samples.rows} rows have the same timestamp", remedy)
    if 2 * conflicts > samples.rows:
        remedy = f"name the column that tells them apart with --columns loop=NAME or name=NAME; {place}"
        what = f"{conflicts} of {samples.rows} rows have the timestamp of another row and another PV"
        raise record_error(path, what, remedy)
    if duplicates:
        assumptions.append(f"rows with a duplicate timestamp: {duplicates}; the last one is used")
    modes = grids.pop("mode")
    return Grid(instants, grids, modes, present_on_grid)


def fill_gaps(samples: Samples, grid: Grid, assumptions: list[str]) -> None:
    """Fill values forward: all of a loop where it has no row, or each signal where the signals are asynchronous."""
    signals = [signal for signal in LOOP_SIGNALS if signal in samples.signals]
    has_row = np.logical_or.reduce([*(grid.present[signal] for signal in signals), grid.present["mode"]])
    # A signal that a loop does not have at all does not make the others asynchronous.
    synchronous = np.logical_and.reduce(
        [present | ~present.any(axis=0) for present in (grid.present[signal] for signal in signals)])
    is_asynchronous = bool(synchronous.sum() * 2 < has_row.sum())
    if is_asynchronous:
        assumptions.append(f"{', '.join(signals).upper()} are asynchronous: each value holds until the next one")
    elif not has_row.all():
        assumptions.append("not every loop has a row at every timestamp: its last values hold")
    for signal in signals:
        present = grid.present[signal] if is_asynchronous or signal == "sp" else has_row  # SP holds until it is moved
        if not present.all():
            grid.values[signal] = forward_fill(grid.values[signal], present)
    if not grid.present["mode"].all() and "mode" in samples.signals:
        grid.modes = forward_fill(grid.modes, grid.present["mode"])
