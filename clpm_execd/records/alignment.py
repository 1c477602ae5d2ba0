"""Samples on a grid: all loops over all instants of the record, each at its own places, and what had to be decided."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import AUT, Floats
from clpm_execd.records.csv_source import bad, no_time
from clpm_execd.records.forward_fill import forward_fill
from clpm_execd.records.samples import SIGNALS, Modes, Samples
from clpm_execd.records.text_columns import Booleans, Integers
from clpm_execd.records.timestamps import LATEST, UNREADABLE, Times, of_zone

CELLS_AT_MOST = 100_000_000


def _instants(samples: Samples, zone: tzinfo | None, assumptions: list[str]) -> tuple[Integers, Integers, Booleans]:
    """(R,) instants and loops of all rows, in the file's order, and which rows count of those that were read."""
    times, codes = Times.concatenate(samples.times), np.concatenate(samples.codes)
    clocks = _right_way_round(times, assumptions)
    if zone is not None and times.zoneless.any():
        own = np.flatnonzero(times.zoneless & (clocks != UNREADABLE))
        zoned = of_zone(clocks[own], codes[own], zone)
        clocks[own] = zoned.instants
        if zoned.twice:
            assumptions.append(f"{zoned.twice} times fall into an hour that comes twice as the clocks go back: told "
                               "apart by their order")
        if zoned.never:
            assumptions.append(f"{zoned.never} times fall into an hour that the clocks leave out: taken as before it")
    elif times.zoneless.any():
        assumptions.append("the times have no zone: taken as UTC")
    if times.excel:
        assumptions.append("times are numbers that look like days of a spreadsheet, since 1899-12-30: taken as such")
    counts = (clocks >= 0) & (clocks < LATEST)
    samples.unreadable += int(len(counts) - counts.sum())
    return clocks[counts], codes[counts], counts


def _right_way_round(times: Times, assumptions: list[str]) -> Integers:
    """The dates, day or month first: as more of them can be read, else as they lie closer together, else day first."""
    if times.month_first is times.instants:
        return times.instants

    def oddness(instants: Integers) -> tuple[int, int]:
        read = instants[instants != UNREADABLE]
        return len(instants) - len(read), int(read.max() - read.min()) if len(read) else 0

    day, month = oddness(times.instants), oddness(times.month_first)
    month_first = month < day or (month == day and times.american)
    sure = day[0] != month[0]
    said = f"dates with strokes have the {'month' if month_first else 'day'} first"
    assumptions.append(said + ("" if sure else ", by how close together they then lie" if day != month else ""))
    return times.month_first if month_first else times.instants


def _order(times: Integers, codes: Integers, assumptions: list[str]) -> None:
    """Say how the rows stood; each loop has its own order, for a file may hold one loop after the other."""
    order = np.argsort(codes, kind="stable")
    steps = np.diff(times[order])[np.diff(codes[order]) == 0]
    back, on = int((steps < 0).sum()), int((steps > 0).sum())
    if back and not on:
        assumptions.append("the newest row is first: turned round")
    elif back:
        assumptions.append(f"{back} rows stand before an older one: sorted by time")


@dataclass
class Grids:
    """T instants of N loops: values by signal and modes, (T, N), and where each has a cell of its own."""

    times: Integers
    values: dict[str, Floats]
    modes: Modes
    told: dict[str, Booleans]


def grids_of(path: Path, samples: Samples, zone: tzinfo | None, assumptions: list[str]) -> Grids:
    times, codes, counts = _instants(samples, zone, assumptions)
    if not len(times):
        raise no_time(path)
    _order(times, codes, assumptions)
    instants, row = np.unique(times, return_inverse=True)
    shape = (len(instants), len(samples.loops))
    if shape[0] * shape[1] > CELLS_AT_MOST:
        what = f"{shape[1]} loops share few of their {shape[0]} instants"
        raise bad(path, what, "split the record into one file for each loop")
    cell = row.reshape(-1) * shape[1] + codes

    def scatter(parts: list[npt.NDArray[Any]], told: Booleans, blank: float, kind: type) -> npt.NDArray[Any]:
        # Assigned in the file's order: of two values for one cell the later one stays.
        grid: npt.NDArray[Any] = np.full(shape[0] * shape[1], blank, kind)
        whole = np.concatenate(parts)[counts]
        parts.clear()
        grid[cell[told]] = whole[told]
        return grid.reshape(shape)

    grids: dict[str, npt.NDArray[Any]] = {}
    where: dict[str, Booleans] = {}
    repeated = 0
    for signal, parts in samples.told.items():
        told = np.concatenate(parts)[counts]
        where[signal] = np.zeros(shape, np.bool_)
        where[signal].reshape(-1)[cell[told]] = True
        of, blank, kind = (samples.modes, AUT, np.int8) if signal == "mode" else (samples.values[signal], np.nan, float)
        grids[signal] = scatter(cast("list[npt.NDArray[Any]]", of), told, blank, kind)
        if signal != "mode":
            repeated = max(repeated, int(told.sum()) - int(where[signal].sum()))
    if repeated:
        assumptions.append(f"{repeated} rows repeat an instant: the last one counts")
    modes = grids.pop("mode")
    return Grids(instants, grids, modes, where)


def hold_what_is_absent(samples: Samples, grids: Grids, assumptions: list[str]) -> None:
    """Let values hold: all of a loop where it has no row, each signal where the signals have times of their own."""
    own = [signal for signal in SIGNALS if signal in samples.seen]
    row = np.logical_or.reduce([*(grids.told[signal] for signal in own), grids.told["mode"]])
    # A loop without a signal does not wait for it.
    together = np.logical_and.reduce([told | ~told.any(axis=0) for told in (grids.told[signal] for signal in own)])
    apart = bool(together.sum() * 2 < row.sum())
    if apart:
        assumptions.append(f"{', '.join(own).upper()} have times of their own: each holds until its next value")
    elif not row.all():
        assumptions.append("not every loop has a row at every instant: its last one holds")
    for signal in own:
        told = grids.told[signal] if apart else row
        if not told.all():
            grids.values[signal] = forward_fill(grids.values[signal], told)
    if not grids.told["mode"].all() and "mode" in samples.seen:
        grids.modes = forward_fill(grids.modes, grids.told["mode"])
