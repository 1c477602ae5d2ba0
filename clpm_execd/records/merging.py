"""Several records of one tag as one loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from clpm_execd.records.record import Record

MAX_INTERVAL_DIFFERENCE_FRACTION = 0.01  # of the intervals of records that are one loop's: clocks drift by less


def select_loop(record: Record, column: int, loop_id: str) -> Record:
    """Return one loop of a record under an id."""
    one = slice(column, column + 1)
    return replace(record, loops=(loop_id,), pv=record.pv[:, one], op=record.op[:, one], sp=record.sp[:, one],
                   mode=record.mode[:, one], op_units=(record.op_unit(column),))


def merge_records(records: Sequence[Record]) -> list[Record]:
    """Return the records of one loop as one, or as several where their intervals differ.

    Parameters
    ----------
    records : sequence of Record
        Of one loop each. Where two have the same instant, the later one in the sequence is used.

    Returns
    -------
    list of Record
        A record for each interval, in the order of the first of each.
    """
    groups: list[list[Record]] = []
    for record in records:
        group = next((group for group in groups if _are_alike(group[0], record)), None)
        if group is None:
            groups.append([record])
        else:
            group.append(record)
    return [group[0] if len(group) == 1 else _join(group) for group in groups]


def _are_alike(a: Record, b: Record) -> bool:
    return abs(a.interval - b.interval) <= MAX_INTERVAL_DIFFERENCE_FRACTION * a.interval


def _join(records: Sequence[Record]) -> Record:
    times = np.concatenate([record.times for record in records])
    # Of equal instants the last one in the sequence comes first when reversed, and unique keeps the first.
    distinct, reverse_index = np.unique(times[::-1], return_index=True)
    rows = len(times) - 1 - reverse_index
    return replace(records[0], times=distinct,
                   pv=np.concatenate([record.pv for record in records])[rows],
                   op=np.concatenate([record.op for record in records])[rows],
                   sp=np.concatenate([record.sp for record in records])[rows],
                   mode=np.concatenate([record.mode for record in records])[rows])
