"""A value of JSON, rewritten as a table: a row for each innermost object or list, with what stands around it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterator
from itertools import permutations
from typing import Any

SECONDS_SINCE_1970 = 100_000_000  # of two numbers without names, one as large as this, the year 1973, is a time

Cells = dict[str, Any]


def rewrite_json(text: str) -> str:
    """Return a table with tabs between its cells; raise ValueError where a text is no JSON, or has no rows."""
    try:
        try:
            value = json.loads(text)
        except ValueError:
            value = [json.loads(line) for line in text.splitlines() if line.strip()]
        rows = [*_find_rows(value, {})]
    except RecursionError:
        raise ValueError("too many brackets") from None
    names = list(dict.fromkeys(name for row in rows for name in row))
    if len(names) < 2:
        raise ValueError("no rows")
    table = io.StringIO()
    writer = csv.writer(table, delimiter="\t", lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_write_cell(row.get(name)) for name in names] for row in rows)
    return table.getvalue()


def _write_cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value)


def _find_rows(value: Any, around: Cells) -> Iterator[Cells]:
    """Yield the rows of a value; around: the cells that all of them have."""
    if isinstance(value, list):
        if value and not any(isinstance(item, (dict, list)) for item in value):
            yield {**around, **_name_numbers(value)}
        else:
            for item in value:
                yield from _find_rows(item, around)
    elif isinstance(value, dict):
        yield from _find_rows_of_object(value, around)


def _name_numbers(values: list[Any]) -> Cells:
    """Return the values of a list by names: time and value, in either order, or their numbers."""
    for time, value in permutations(values) if len(values) == 2 else ():
        if isinstance(time, (int, float)) and time > SECONDS_SINCE_1970:
            return {"time": time, "value": value}
    return {f"#{i}": value for i, value in enumerate(values, 1)}


def _find_rows_of_object(value: Cells, around: Cells) -> Iterator[Cells]:
    names, data, used = _find_columns(value)
    cells: Cells = {**around}
    inner: Cells = {}
    for name, item in value.items():
        if name in used:
            continue
        if isinstance(item, list):
            inner[name] = item
        elif not isinstance(item, dict):
            cells[name] = item
        elif name in item and not isinstance(item[name], (dict, list)):  # a digital state in the place of a value
            cells[name] = None
        elif any(isinstance(one, (dict, list)) for one in item.values()):
            inner[name] = item
        else:
            cells |= item
    if data:
        for row in data:
            yield {**cells, **dict(zip(names, row, strict=False))}
    elif inner:
        for name, item in inner.items():
            yield from _find_rows(item, cells if len(inner) == 1 else {"name": name, **cells})
    else:
        yield cells


def _find_columns(value: Cells) -> tuple[list[str], list[list[Any]], Collection[str]]:
    """Return the columns that an object is, as names and rows, and the keys that they have in it; else nothing.

    They are lists of equal length, objects of the same keys, or names and rows themselves, as databases and pandas
    write a frame.
    """
    lists = {name: item for name, item in value.items() if isinstance(item, list) and item}
    for (first, head), (second, data) in permutations(lists.items(), 2):
        names = [one.get("name") if isinstance(one, dict) else one for one in head]
        if all(isinstance(name, str) for name in names) and all(
                isinstance(row, list) and len(row) == len(names) for row in data):
            return [*map(str, names)], data, {first, second}
    columns = {name: item for name, item in value.items() if isinstance(item, list) and not any(
        isinstance(one, (dict, list)) for one in item)}
    if len(value) > 1 and all(isinstance(item, dict) for item in value.values()):
        keys = list(next(iter(value.values())))
        if all(list(item) == keys for item in value.values()):
            by_key = [[name, *item.values()] for name, item in value.items()]
            if len(keys) <= len(value):
                return ["", *keys], by_key, value
            return ["", *value], [[*row] for row in zip(keys, *(row[1:] for row in by_key), strict=True)], value
    if len(columns) > 1 and len({len(item) for item in columns.values()}) == 1:
        return list(columns), [[*row] for row in zip(*columns.values(), strict=True)], columns
    return [], [], ()
