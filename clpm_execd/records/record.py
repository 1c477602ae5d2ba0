"""A record of control loops as a plant exported it, read into arrays.

`read_record` recognises the format by content: wide and long (Flux) CSV, annotated or not, and tab-
separated PROCESSDATA; comma, semicolon (with decimal comma) or tab; oldest or newest first; gzip. It
gives a Record or raises BadInput, never another exception, and what it had to assume is in the Record,
one sentence each. Text is converted in parts, so that memory follows the numbers and not the file.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import SECOND, Floats
from clpm_execd.records.alignment import Grids, grids_of, hold_what_is_absent
from clpm_execd.records.column_roles import OPTION, Columns
from clpm_execd.records.csv_source import bad, no_time
from clpm_execd.records.mode_inference import inferred_modes
from clpm_execd.records.samples import SIGNALS, Samples, read_samples
from clpm_execd.records.text_columns import Integers

FAR = 100.0  # times what most values span: no plant goes there
RECOGNISE = Columns()


@dataclass(frozen=True, slots=True)
class Record:
    """T instants of N loops.

    times: (T,) int64, ns since 1970, strictly increasing. pv, op, sp: (T, N), NaN where there is no value.
    mode: (T, N) int8, index into MODES. interval: the median step, ns.
    assumptions: what the record left open and how it was taken, a sentence each.
    """

    loops: tuple[str, ...]
    times: Integers
    pv: Floats
    op: Floats
    sp: Floats
    mode: npt.NDArray[np.int8]
    interval: int
    assumptions: tuple[str, ...]


def _fill_set_points(samples: Samples, grids: Grids, assumptions: list[str]) -> None:
    sp, pv = grids.values["sp"], grids.values["pv"]
    for i, loop in enumerate(samples.loops):
        known = np.sort(pv[np.isfinite(pv[:, i]), i])
        if len(known) and not np.isfinite(sp[:, i]).any():
            sp[:, i] = known[len(known) // 2]
            assumptions.append(f"{loop} has no SP: the median of its PV, {known[len(known) // 2]:.6g}, stands in")


def _interval(grids: Grids, assumptions: list[str]) -> int:
    """The median step of the loop that is sampled fastest."""
    if len(grids.times) < 2:
        assumptions.append("there is only one instant: 1 s between samples")
        return SECOND
    told = grids.told["pv"]
    same = [grids.times] if told.all() else [grids.times[column] for column in told.T if column.sum() > 1]
    steps = min((np.diff(times) for times in same), key=lambda steps: float(np.median(steps)),
                default=np.diff(grids.times))
    interval = int(np.sort(steps)[len(steps) // 2])
    gaps = steps[steps > interval + interval // 2]
    if len(gaps):
        longest = int(gaps.max()) / SECOND
        assumptions.append(f"{len(gaps)} gaps, the longest of {longest:g} s: the last value holds")
    uneven = int((np.abs(steps - interval) > interval // 100).sum()) - len(gaps)
    if uneven * 20 > len(steps):
        low, high = (float(q) / SECOND for q in np.quantile(steps, (0.1, 0.9)))
        assumptions.append(f"samples are {low:.4g} to {high:.4g} s apart: taken as {interval / SECOND:.4g} s")
    return interval


def _say(samples: Samples, grids: Grids, assumptions: list[str]) -> None:
    if samples.unreadable:
        assumptions.append(f"{samples.unreadable} of {samples.rows} rows have no readable time: left out")
    found = samples.found
    words = f" ({', '.join(found.words)})" if found.words else ""
    for signal in (signal for signal in SIGNALS if signal in samples.seen):
        values = grids.values[signal][:, grids.told[signal].any(axis=0)]
        missing = int((~np.isfinite(values)).sum())
        if missing:
            what = f"{missing} of {values.size} {signal.upper()} values are bad or missing"
            assumptions.append(f"{what}{words}: of bad quality")
        for i, loop in enumerate(samples.loops):
            far = _far_off(grids.values[signal][:, i])
            if len(far):
                what = f"{len(far)} {signal.upper()} values of {loop} are far off the rest, such as {far[0]:.6g}"
                assumptions.append(f"{what}: kept as they are")
    if samples.bad_quality:
        assumptions.append(f"{samples.bad_quality} rows are of bad quality by their own word")
    if samples.no_good_quality:
        assumptions.append("the quality column calls nothing good: not regarded")
    if found.grouped:
        assumptions.append(f"numbers such as {found.grouped} have thousands set apart")
    if found.marked:
        assumptions.append(f"numbers such as {found.marked} have another decimal mark than the rest")
    if "op" not in samples.seen:
        assumptions.append("there is no OP")
    if samples.unknown_modes:
        listed = ", ".join(sorted(samples.unknown_modes)[:5])
        assumptions.append(f"modes that are not known ({listed}): AUT")


def _far_off(values: Floats) -> Floats:
    """The values that lie further from the middle than a hundred times what most of them span: a lost decimal mark, or
    a number that stands for none."""
    known = values[np.isfinite(values)]
    if not len(known):
        return known
    low, middle, high = (float(q) for q in np.quantile(known, (0.05, 0.5, 0.95)))
    reach = FAR * (high - low)
    return known[(known > middle + reach) | (known < middle - reach)] if high > low else known[:0]


def read_record(path: Path, *, columns: Columns = RECOGNISE, zone: tzinfo | None = None,
                arrow: bool | None = None) -> Record:
    """The record in a file; raises BadInput when there is none.

    zone: of times that have none; UTC where it is None. arrow: whether Arrow reads the cells; None: where it is
    installed and the file is large. The Record is the same.
    """
    assumptions: list[str] = []
    try:
        samples = read_samples(path, columns, assumptions, arrow)
    except IsADirectoryError:
        raise bad(path, "this is a folder", "name one file") from None
    except FileNotFoundError:
        raise bad(path, "there is no such file", "check the path") from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise bad(path, "the gzip file is damaged", "copy or compress it again") from None
    except (OSError, UnicodeError) as error:
        raise bad(path, f"cannot be read ({error})", "check the path and its permissions") from None
    except csv.Error as error:
        raise bad(path, f"is no CSV ({error})", "export the record as CSV") from None
    if samples.rows and samples.rows == samples.unreadable:
        raise no_time(path)
    if not samples.loops or not any(np.isfinite(part).any() for part in samples.values["pv"]):
        remedy = f"check the columns, or name them with {OPTION} pv=NAME"
        raise bad(path, "no row has a number for PV", remedy)
    return _record(path, samples, zone, assumptions)


def _record(path: Path, samples: Samples, zone: tzinfo | None, assumptions: list[str]) -> Record:
    grids = grids_of(path, samples, zone, assumptions)
    hold_what_is_absent(samples, grids, assumptions)
    _say(samples, grids, assumptions)
    _fill_set_points(samples, grids, assumptions)
    interval = _interval(grids, assumptions)
    loops = tuple(samples.loops)
    pv, op, sp = (grids.values[signal] for signal in SIGNALS)
    modes = grids.modes
    if "mode" not in samples.seen:
        modes = inferred_modes(loops, pv, op, sp, assumptions)
    return Record(loops, grids.times, pv, op, sp, modes, interval, tuple(assumptions))


def names(records: Iterable[Record]) -> list[str]:
    """The loop ids of several records, in order."""
    return [loop for record in records for loop in record.loops]
