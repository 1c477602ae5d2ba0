"""What a benchmark measured: rates, and each as a ratio of another of the same run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True)
class Result:
    """What was measured of one way, and how many times that is of what another way does."""

    table: str
    way: str
    value: float
    unit: str
    ratio: float | None
    of: str


class Results:
    """All of a run, in the order in which they came."""

    def __init__(self) -> None:
        self.rows: list[Result] = []

    def add(self, table: str, way: str, value: float, unit: str, ratio: float | None = None, of: str = "") -> None:
        self.rows.append(Result(table, way, value, unit, ratio, of))

    def against(self, table: str, unit: str, ours: tuple[str, float], others: dict[str, float]) -> None:
        """Our rate, and how many times the rate of each of the others that is."""
        self.add(table, *ours, unit)
        for way, rate in others.items():
            self.add(table, way, rate, unit, ours[1] / rate, f"{ours[0]} / this")

    def lines(self) -> Iterator[str]:
        for title, rows in groupby(self.rows, key=lambda row: row.table):
            yield f"{title}:"
            for row in rows:
                ratio = "" if row.ratio is None else f"{row.ratio:10.2f} x  {row.of}"
                yield f"  {row.way:<58}{row.value:>14,.4g} {row.unit:<12}{ratio}".rstrip()
