"""loops.toml becomes a Configuration that the plant can run as it is, or one BadInput with all that is wrong.

No other exception leaves this module, whatever the file holds. Limits, units and choices are those of the
specs in `plant.loop`; what a table does not give is the typical loop's of its type. Places count from 1:
`loop[2]` is the second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from clpm_execd.config.learned_arrays import check_pace
from clpm_execd.config.output import MEASUREMENT, Output, read_measurement, read_output
from clpm_execd.config.validation import Place, duration, instant, shown, table, tables, unknown_keys, whole
from clpm_execd.plant.defaults import default_loops
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.problems import BadInput, Problem
from clpm_execd.units import LAST_TIME, MS, SECOND, format_duration

SEED = 42
SHORTEST_INTERVAL = MS
MOST_NEIGHBOURS = 1000  # of a file that is not there, among which its like is sought
KEYS = ("seed", "interval", "scan", "start", "output", "loop")


@dataclass(frozen=True, slots=True)
class Configuration:
    """Loops and how to run them; None is what nobody chose.

    start: ns since 1970, None for now. interval: between samples, ns, None for 1 s. scan: between controller
    executions, ns, a divisor of the interval, None for the plant's own choice.
    """

    loops: Sequence[LoopSpec]
    seed: int = SEED
    start: int | None = None
    interval: int | None = None
    scan: int | None = None
    output: Output = field(default_factory=Output)


def read_configuration(path: Path | None, *, seed: int | None = None, interval: int | None = None,
                       start: int | None = None, measurement: str | None = None) -> Configuration:
    """The configuration of a file, or without one the default; what is given here overrides the file."""
    mapping = {} if path is None else _read_toml(path)
    over = {"seed": seed, "interval": interval, "start": start, "measurement": measurement}
    return _configuration(mapping, str(path or "options"), over)


def parse_configuration(mapping: Mapping[str, Any], where: str = "loops.toml") -> Configuration:
    """The configuration of a table as TOML gives it; `where` begins the place of every problem.

    Files that it names lie where `where` does.
    """
    return _configuration(mapping, where, {})


def parse_loop(mapping: Mapping[str, Any], where: str) -> LoopSpec:
    """One loop of a `[[loop]]` table; whether its master exists is for who knows the others."""
    from clpm_execd.config.loop import read_loop

    problems: list[Problem] = []
    place = Place(where, problems)
    if "count" in mapping:
        place.at("count").refuse("one loop has no count", "give the loops one by one, or in loops.toml")
    loop = read_loop(mapping, place)
    if problems:
        raise BadInput(problems)
    return loop


def _configuration(mapping: Mapping[str, Any], where: str, over: Mapping[str, Any]) -> Configuration:
    problems: list[Problem] = []
    root = Place(where, problems, ": ")
    unknown_keys(mapping, KEYS, root)
    over = {key: value for key, value in over.items() if value is not None}
    seed = whole(mapping["seed"], 0, LAST_TIME, root.at("seed")) if "seed" in mapping else SEED
    if "seed" in over:
        seed = whole(over["seed"], 0, LAST_TIME, Place("--seed", problems))
    start = _start(mapping["start"], root.at("start")) if "start" in mapping else None
    interval = read_interval(mapping["interval"], root.at("interval")) if "interval" in mapping else None
    scan = read_interval(mapping["scan"], root.at("scan")) if "scan" in mapping else None
    interval = over.get("interval", interval)
    check_scan(scan, interval or SECOND, root.at("scan"))
    output_table = table(mapping.get("output", {}), root.at("output")) or {}
    if "measurement" in over:
        measurement = read_measurement(over["measurement"], Place("INFLUXDB_MEASUREMENT", problems))
        output_table = {**output_table, "measurement": measurement or MEASUREMENT}
    output = read_output(output_table, root.at("output"))
    loops = _loops(mapping["loop"], root.at("loop"), Path(where).parent) if "loop" in mapping else default_loops()
    check_pace(loops, scan, root.at("scan"))
    if problems:
        raise BadInput(dict.fromkeys(problems))
    assert seed is not None
    return Configuration(loops, seed, over.get("start", start), interval, scan, output)


def _loops(given: object, place: Place, folder: Path) -> Sequence[LoopSpec]:
    given = tables(given, "loop", place)
    if not given:
        return default_loops()
    # The default loops start without these.
    from clpm_execd.config.cascades import check_cascades, check_faults, check_unique
    from clpm_execd.config.loop import COUNT, LoopEntry, read_entry
    from clpm_execd.plant.loop_set import Loops

    entries: list[LoopEntry] = []
    for number, item in enumerate(given, 1):
        here = Place(f"{place.path}[{number}]", place.problems)
        inner = table(item, here)
        if inner is not None:
            entries.append(read_entry(inner, here, folder))
    total = sum(len(entry.loops) for entry in entries)
    if total > COUNT:
        place.refuse(f"{total} loops are too many", f"give up to {COUNT} in all")
    check_unique(entries)
    check_cascades(entries)
    check_faults(entries)
    return Loops.joined(entry.loops for entry in entries)


def read_interval(value: object, place: Place) -> int | None:
    """ns between samples."""
    ns = duration(value, place)
    if ns is not None and ns < SHORTEST_INTERVAL:
        place.refuse(f"{shown(value)} is too short", f"give at least {format_duration(SHORTEST_INTERVAL)}")
        return None
    return ns


def check_scan(scan: int | None, interval: int, place: Place) -> None:
    if scan is not None and interval % scan:
        place.refuse(f"{format_duration(scan)} does not divide the interval {format_duration(interval)}",
                     "give a divisor of the interval, or leave scan out")


def _start(value: object, place: Place) -> int | None:
    """ns since 1970; None is now, and also what could not be read."""
    return None if isinstance(value, str) and value.strip().lower() == "now" else instant(value, place)


def _read_toml(path: Path) -> dict[str, Any]:
    import tomli  # only where there is a file: a stream of the default loops starts without it

    try:
        if "\0" in str(path):
            raise OSError(0, "the name has a null in it")
        return tomli.loads(path.read_bytes().decode("utf-8-sig"))
    except (OSError, RecursionError, ValueError) as error:
        problem = Problem(str(path), *_unreadable(path, error))
    raise BadInput([problem])


def _unreadable(path: Path, error: Exception) -> tuple[str, str]:
    """What is wrong with a file and what would be right."""
    if isinstance(error, IsADirectoryError):
        return f"cannot be read: {error.strerror}", "name a file, such as loops.toml in it"
    if isinstance(error, PermissionError):
        return f"cannot be read: {error.strerror}", "let this user read it"
    if isinstance(error, OSError):
        from difflib import get_close_matches

        near = get_close_matches(path.name, _neighbours(path), n=1)
        remedy = f"did you mean {str(path.with_name(near[0]))!r}?" if near else \
            "name a file that exists, `clpm-execd init > loops.toml` makes one, or none for the default loops"
        return f"cannot be read: {error.strerror}", remedy
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 (byte {error.start})", "save it as UTF-8"
    if isinstance(error, RecursionError):
        return "is nested too deeply", "write fewer brackets in brackets"
    remedy = "give a record of a plant by --replay" if path.suffix == ".csv" else "correct the place that is named"
    return f"is not TOML: {' '.join(str(error).split())[:300]}", remedy


def _neighbours(path: Path) -> list[str]:
    """The names of what lies where a file was looked for; none where nobody can tell."""
    try:
        return [entry.name for entry in islice(path.parent.iterdir(), MOST_NEIGHBOURS)]
    except (OSError, ValueError):
        return []
