"""loops.toml becomes a Configuration that the plant can run unchanged, or one BadInput with every problem.

No other exception leaves this module, whatever the file holds. Limits, units and choices are those of `plant.specs`; a
value that a table does not give is that of the loop's type. Places count from 1: `loop[2]` is the second.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from clpm_execd.config.learned_arrays import check_scan_of_learned
from clpm_execd.config.output import MEASUREMENT, Output, read_measurement, read_output
from clpm_execd.config.validation import (
    Place,
    quote,
    read_duration,
    read_integer,
    read_table,
    read_table_array,
    read_time,
    refuse_unknown_keys,
    update_spec,
)
from clpm_execd.paths import read_bounded
from clpm_execd.plant.defaults import default_loops
from clpm_execd.plant.specs import LoopSpec, ThroughputSpec
from clpm_execd.problems import BadInput, Problem
from clpm_execd.units import LAST_TIME, MS, SECOND, format_duration

SEED = 42  # any fixed number: two streams without a seed of their own are alike
MIN_INTERVAL = MS  # ns; a shorter one is more likely a mistyped unit than a plant, whose fastest scan is some 10 ms
_MAX_BYTES = 100_000_000  # of a loops.toml: a hundred thousand loops with all their keys
_MAX_NEIGHBOURS = 1000  # names of files that are compared with a misspelt one; more would delay the error message
_KEYS = ("seed", "interval", "scan", "start", "output", "unit", "loop")


@dataclass(frozen=True, slots=True)
class Configuration:
    """Loops and how to run them; None is a value that is not set.

    Parameters
    ----------
    loops : sequence of LoopSpec
    seed : int
        The seed of all random numbers.
    start : int, optional
        ns since 1970; None for now.
    interval : int, optional
        Time between samples, ns; None for 1 s.
    scan : int, optional
        Time between controller executions, ns, a divisor of the interval; None for the plant's default.
    output : Output
        Names of measurements, fields and tags.
    """

    loops: Sequence[LoopSpec]
    seed: int = SEED
    start: int | None = None
    interval: int | None = None
    scan: int | None = None
    output: Output = field(default_factory=Output)


def read_configuration(path: Path | None, *, seed: int | None = None, interval: int | None = None,
                       start: int | None = None, measurement: str | None = None) -> Configuration:
    """Return the configuration of a file, or without one the default.

    Parameters
    ----------
    path : Path, optional
        A loops.toml.
    seed, interval, start, measurement : optional
        Values that override those of the file; interval and start in ns.

    Raises
    ------
    BadInput
        The file or one of these values is invalid.
    """
    table = {} if path is None else _read_toml(path)
    overrides = {"seed": seed, "interval": interval, "start": start, "measurement": measurement}
    return _read_root(table, str(path or "options"), overrides)


def parse_configuration(table: Mapping[str, Any]) -> Configuration:
    """Return the configuration of a table as TOML gives it, as if the file loops.toml of the working folder held it.

    Parameters
    ----------
    table : mapping
        The parsed TOML.

    Raises
    ------
    BadInput
        The table is invalid.
    """
    return _read_root(table, "loops.toml", {})


def parse_loop(table: Mapping[str, Any], where: str, output: Output | None = None) -> LoopSpec:
    """Return the loop of one `[[loop]]` table, whose master is not looked for.

    Parameters
    ----------
    table : mapping
        The keys of the loop.
    where : str
        How each problem begins.
    output : Output, optional
        Names that a tag of the loop may not have; by default those of the default output.

    Raises
    ------
    BadInput
        The table is invalid.
    """
    from clpm_execd.config.loop import read_loop

    problems: list[Problem] = []
    place = Place(where, problems)
    if "count" in table:
        place.at("count").refuse("one loop cannot have a count", "give the loops one by one, or in loops.toml")
    loop = read_loop(table, place, output=output)
    if problems:
        raise BadInput(problems)
    return loop


def _read_root(table: Mapping[str, Any], where: str, overrides: Mapping[str, Any]) -> Configuration:
    problems: list[Problem] = []
    root = Place(where, problems, ": ")
    refuse_unknown_keys(table, _KEYS, root)
    overrides = {key: value for key, value in overrides.items() if value is not None}
    seed = read_integer(table["seed"], 0, LAST_TIME, root.at("seed")) if "seed" in table else SEED
    if "seed" in overrides:
        seed = read_integer(overrides["seed"], 0, LAST_TIME, Place("--seed", problems))
    start = _read_start(table["start"], root.at("start")) if "start" in table else None
    interval = read_interval(table["interval"], root.at("interval")) if "interval" in table else None
    scan = read_interval(table["scan"], root.at("scan")) if "scan" in table else None
    interval = overrides.get("interval", interval)
    check_scan(scan, interval or SECOND, root.at("scan"))
    output_table = read_table(table.get("output", {}), root.at("output")) or {}
    if "measurement" in overrides:
        measurement = read_measurement(overrides["measurement"], Place("INFLUXDB_MEASUREMENT", problems))
        output_table = {**output_table, "measurement": measurement or MEASUREMENT}
    output = read_output(output_table, root.at("output"))
    unit = read_table(table.get("unit", {}), root.at("unit")) or {}
    throughput = _read_throughput(unit, root.at("unit"))
    loops: Sequence[LoopSpec] = default_loops(**throughput)
    if "loop" in table:
        loops = _read_loops(table["loop"], root.at("loop"), Path(where).parent, output, throughput)
    if "shutdown" in unit:
        from clpm_execd.config.fault import add_shutdowns

        loops = add_shutdowns(loops, unit["shutdown"], root.at("unit"))
    check_scan_of_learned(loops, scan, root.at("scan"))
    if problems:
        raise BadInput(dict.fromkeys(problems))
    assert seed is not None
    return Configuration(loops, seed, overrides.get("start", start), interval, scan, output)


def _read_throughput(unit: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """Return the defaults of each loop's `throughput` in [unit]; none where one is invalid."""
    table = {key: value for key, value in unit.items() if key != "shutdown"}
    known_problems = len(place.problems)
    update_spec(ThroughputSpec(), table, place)
    return table if len(place.problems) == known_problems else {}


def _read_loops(value: object, place: Place, folder: Path, output: Output,
                unit: Mapping[str, Any]) -> Sequence[LoopSpec]:
    items = read_table_array(value, "loop", place)
    if not items:
        return default_loops(**unit)
    # The default loops start without importing these modules.
    from clpm_execd.config.cascades import check_cascades, check_couplings, check_faults, check_unique
    from clpm_execd.config.loop import MAX_LOOPS, LoopEntry, read_entry
    from clpm_execd.plant.loop_set import LoopSet

    entries: list[LoopEntry] = []
    for number, item in enumerate(items, 1):
        here = Place(f"{place.path}[{number}]", place.problems)
        table = read_table(item, here)
        if table is not None:
            if unit and isinstance(table.get("throughput", {}), Mapping):
                table = {**table, "throughput": {**unit, **table.get("throughput", {})}}
            entries.append(read_entry(table, here, folder, output))
    total = sum(len(entry.loops) for entry in entries)
    if total > MAX_LOOPS:
        place.refuse(f"{total} loops are too many", f"give at most {MAX_LOOPS} in all")
    check_unique(entries)
    check_cascades(entries)
    check_couplings(entries)
    check_faults(entries)
    return LoopSet.concatenate(entry.loops for entry in entries)


def read_interval(value: object, place: Place) -> int | None:
    """Return the time between two samples, ns; None where the value is invalid.

    Parameters
    ----------
    value : object
        A duration, as TOML gives it.
    place : Place
        Its place, where a problem is added.
    """
    ns = read_duration(value, place)
    if ns is not None and ns < MIN_INTERVAL:
        place.refuse(f"{quote(value)} is too short", f"give at least {format_duration(MIN_INTERVAL)}")
        return None
    return ns


def check_scan(scan: int | None, interval: int, place: Place) -> None:
    """Add a problem where the scan does not divide the interval; both ns.

    Parameters
    ----------
    scan : int or None
        Time between controller executions, ns; None for the default, which divides any interval.
    interval : int
        Time between samples, ns.
    place : Place
        The place of the scan.
    """
    if scan is not None and interval % scan:
        place.refuse(f"{format_duration(scan)} does not divide the interval {format_duration(interval)}",
                     "give a divisor of the interval, or remove scan")


def _read_start(value: object, place: Place) -> int | None:
    """Return ns since 1970; None for now, and also for an invalid time."""
    return None if isinstance(value, str) and value.strip().lower() == "now" else read_time(value, place)


def _read_toml(path: Path) -> dict[str, Any]:
    import tomli  # imported only where there is a file: a stream of the default loops starts without it

    try:
        if "\0" in str(path):
            raise OSError(0, "the name has a null character")
        return tomli.loads(read_bounded(path, _MAX_BYTES).decode("utf-8-sig"))
    except (OSError, RecursionError, ValueError) as error:
        problem = Problem(str(path), *_describe_error(path, error))
    raise BadInput([problem])


def _describe_error(path: Path, error: Exception) -> tuple[str, str]:
    """Return what is wrong with a file that cannot be read, and what would be right."""
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return f"cannot be read: {error.strerror}", "name a loops.toml"
    if isinstance(error, IsADirectoryError):
        return f"cannot be read: {error.strerror}", "name a file, such as loops.toml in it"
    if isinstance(error, PermissionError):
        return f"cannot be read: {error.strerror}", "let this user read it"
    if isinstance(error, OSError):
        from difflib import get_close_matches

        close = get_close_matches(path.name, [name for name in _list_neighbours(path) if name != path.name], n=1)
        remedy = f"did you mean {str(path.with_name(close[0]))!r}?" if close else \
            "name an existing file, create one with `clpm-execd init > loops.toml`, or give none for the default loops"
        return f"cannot be read: {error.strerror}", remedy
    if isinstance(error, UnicodeDecodeError):
        line = error.object.count(b"\n", 0, error.start) + 1
        return f"is not UTF-8 (line {line}, byte {error.start})", "save it as UTF-8"
    if isinstance(error, RecursionError):
        return "is nested too deeply", "nest fewer brackets"
    remedy = "give historian data with --replay" if path.suffix == ".csv" else "correct that line"
    return f"is not TOML: {' '.join(str(error).split())[:300]}", remedy


def _list_neighbours(path: Path) -> list[str]:
    """Return the names of the files in the folder of a missing one; none where they cannot be listed."""
    try:
        return [entry.name for entry in islice(path.parent.iterdir(), _MAX_NEIGHBOURS)]
    except (OSError, ValueError):
        return []
