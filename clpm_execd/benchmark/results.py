"""The results of the reference monitors on the suites: a JSON file in the package, and tables of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from clpm_execd.benchmark.judging import Row, Value
from clpm_execd.units import SECOND, describe_duration

RESULTS = Path(__file__).parent / "results.json"
COLUMNS = ("monitor", "F1 by event", "F1 by time", "F1 of detection", "balanced accuracy for stiction",
           "false alarms per loop-day", "median delay", "F1 of root causes")


def read_results() -> Mapping[str, Sequence[Row]]:
    """Return the rows of the reference monitors by suite."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "{}"
    return {suite: [Row.from_table(row) for row in rows] for suite, rows in json.loads(text).items()}


def write_results(results: Mapping[str, Iterable[Row]]) -> None:
    """Replace the results in the package."""
    table = {suite: [row.to_table() for row in rows] for suite, rows in results.items()}
    RESULTS.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def format_cells(row: Row) -> tuple[str, ...]:
    """Return the cells of a row under COLUMNS."""
    delay = "-" if row.delay_s is None else describe_duration(row.delay_s * SECOND)
    return (row.monitor, str(row.f1), str(row.time_f1), str(row.detection_f1), str(row.stiction_accuracy),
            str(row.false_alarms), delay, str(row.root_cause_f1))


def format_text(rows: Sequence[Row]) -> str:
    """Return rows as aligned text under COLUMNS, without that of root causes where no monitor names any."""
    columns = len(COLUMNS) - all(row.root_cause_f1 == Value(None) for row in rows)
    table = [cells[:columns] for cells in (COLUMNS, *map(format_cells, rows))]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "".join("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() + "\n"
                   for cells in table)
