"""The Python interface to the simulation: default or configured loops, as Blocks or line protocol.

The same seed, start and loops give the same values as on the command line.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, SupportsIndex

from clpm_execd.config.cascades import check_cascades, check_couplings, check_faults
from clpm_execd.config.loop import LoopEntry
from clpm_execd.config.loops import Configuration, check_scan, parse_loop, read_configuration, read_interval
from clpm_execd.config.validation import Place, quote, read_integer, read_time
from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.encoding.sheet_formats import SheetPoints
from clpm_execd.notebook import LoopSheet, NotebookBlock
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.loop_sheet import make_loop_sheet
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.problems import BadInput, Problem
from clpm_execd.runtime.pacing import count_samples_per_block
from clpm_execd.units import LAST_TIME, SECOND, TIME_EXAMPLE


class ControlLoopDataGenerator:
    """Simulates control loops and returns their samples, one call after the other.

    Parameters
    ----------
    config : str, Path or Configuration, optional
        The path of a loops.toml, or a configuration; by default the five default loops.
    seed : int, optional
        The random seed, in place of the configuration's.
    start : int, str or datetime, optional
        The time of the first sample: ns since 1970, RFC 3339 text or a datetime with an offset. By default the
        configuration's, or else the latest instant of the grid of sample times. If the configuration has an earlier
        one, the plant begins there.
    interval : float or str, optional
        Time between samples, s or text such as "500ms", in place of the configuration's.
    loops : sequence of mappings or LoopSpec, optional
        The loops in place of the configuration's: `[[loop]]` tables or specifications. Without any the plant has those
        that `add_custom_loop` adds.

    Raises
    ------
    BadInput
        The configuration or one of these values is invalid.
    """

    def __init__(self, config: str | Path | Configuration | None = None, seed: int | None = None,
                 start: int | str | datetime | None = None, interval: float | str | None = None,
                 loops: Sequence[Mapping[str, Any] | LoopSpec] | None = None) -> None:
        problems: list[Problem] = []
        overrides: dict[str, Any] = {}
        if seed is not None:
            overrides["seed"] = read_integer(seed, 0, LAST_TIME, Place("seed", problems))
        first = None if start is None else _read_start(start, Place("start", problems))
        if interval is not None:
            is_number = isinstance(interval, float) or (isinstance(interval, int) and not isinstance(interval, bool))
            seconds = round(interval, 9) if is_number else interval  # type: ignore[arg-type]  # a number
            overrides["interval"] = read_interval(seconds, Place("interval", problems))
        if config is not None and not isinstance(config, str | Path | Configuration):
            Place("config", problems).refuse(f"{quote(config)} is no configuration", "give the path of a loops.toml")
        _raise_if_any(problems)
        if isinstance(config, Configuration):
            config = replace(config, **overrides)
            check_scan(config.scan, config.interval or SECOND, Place("scan", problems))
            _raise_if_any(problems)
        else:
            config = read_configuration(Path(config) if config is not None else None, **overrides)
        if first is not None and (config.start is None or first < config.start):
            config = replace(config, start=first)
        self._configuration, self._first = config, first
        self._loops = list(config.loops if loops is None else _read_loops(loops, config))
        self._plant: Plant | None = None
        self._encoder: LineProtocol | None = None

    @property
    def loops(self) -> tuple[LoopSpec, ...]:
        """The loops that are simulated."""
        return tuple(self._loops)

    def add_custom_loop(self, loop_id: str, base_pv: float | None = None, base_sp: float | None = None,
                        base_op: float | None = None, **loop: Any) -> LoopSpec:
        """Add a loop, before the first sample, and return its specification.

        Parameters
        ----------
        loop_id : str
            The value of its tag loop_id, which no other loop has.
        base_pv : float, optional
            The initial process variable, engineering units; by default base_sp.
        base_sp, base_op : float, optional
            Set point, engineering units, and output, %, at steady state.
        **loop
            Any other key of a `[[loop]]` table. Without `range` the span is twice the set point, so that the set point
            is at mid-range.

        Raises
        ------
        BadInput
            A key is unknown or given twice, a value is outside its limits, or there is a loop with this id.
        ValueError
            Samples have been simulated already.
        """
        if self._plant is not None:
            raise ValueError("add loops before the first advance() or lines()")
        if not isinstance(loop_id, str):
            raise BadInput([Problem("loop_id", f"{quote(loop_id)} is not a text", 'give an id such as "FIC101"')])
        base = {key: value for key, value in (("pv", base_pv), ("sp", base_sp), ("op", base_op)) if value is not None}
        _raise_if_any([Problem(f"loop {loop_id}.{key}", f"is given twice, as base_{key} too", "give one of them")
                       for key in base if key in loop])
        table = {"id": loop_id, **base, **loop}
        middle = table.get("sp", table.get("pv"))
        if "range" not in table and isinstance(middle, int | float) and math.isfinite(middle):
            table["range"] = [0.0, 2.0 * middle] if middle > 0 else [2.0 * middle - 100.0, 100.0]
        spec = parse_loop(table, f"loop {loop_id}", self._configuration.output)
        if any(loop.id == spec.id for loop in self._loops):
            raise BadInput([Problem(f"loop {loop_id}.id", "is already the id of another loop", "give another id")])
        self._loops.append(spec)
        return spec

    def advance(self, n: int = 1) -> NotebookBlock:
        """Return the next n samples of all loops, a Block with `to_frame` and `plot`.

        Raises
        ------
        BadInput
            n is not a positive integer, or a loop that another one names, as its master or otherwise, does not exist.
        """
        return NotebookBlock.of(self._start_plant().advance(_read_count(n)))

    def loop_sheet(self) -> LoopSheet:
        """Return what is known of each loop before its first sample: ranges, units, settings in force, sampling."""
        configuration = self._configuration
        return LoopSheet(make_loop_sheet(self._loops, configuration.interval or SECOND, configuration.scan,
                                         configuration.output.modes))

    def lines(self, n: int = 1) -> bytes:
        """Return the next n samples as line protocol, with the ground truth where the configuration has `truth`.

        Raises
        ------
        BadInput
            n is not a positive integer, or the master of a loop, or a loop that a fault names, does not exist.
        """
        n = _read_count(n)
        plant, output = self._start_plant(), self._configuration.output
        if self._encoder is None:
            sheet = None
            if output.info:
                sheet = SheetPoints(self.loop_sheet(), output.info, output.tags)
            self._encoder = LineProtocol(plant.loops, measurement=output.measurement, fields=output.fields,
                                         mode_tag=output.mode_tag, tags=output.tags, truth=output.truth,
                                         modes=output.modes, loop_tags=LoopSet.of(self._loops).tags_by_id(),
                                         sheet=sheet)
        return self._encoder.encode(plant.advance(n))

    def _start_plant(self) -> Plant:
        """Return the plant, which starts at the first call."""
        if self._plant is None:
            problems: list[Problem] = []
            if not self._loops:
                Place("loops", problems).refuse("there are none", "add one with add_custom_loop()")
            entries = [LoopEntry(Place(f"loop {loop.id}", problems), LoopSet.of([loop])) for loop in self._loops]
            check_cascades(entries)
            check_couplings(entries)
            check_faults(entries)
            _raise_if_any(problems)
            configuration = self._configuration
            interval = configuration.interval or SECOND
            start = time.time_ns() // interval * interval if configuration.start is None else configuration.start
            plant = Plant(self._loops, seed=configuration.seed, start=start, interval=interval, scan=configuration.scan)
            while self._first is not None and plant.next_time < self._first:
                ahead = -(-(self._first - plant.next_time) // interval)
                plant.advance(min(ahead, count_samples_per_block(plant)))
            self._plant = plant
        return self._plant


def _read_start(start: object, place: Place) -> int | None:
    """Return the time of the first sample, ns since 1970."""
    if isinstance(start, datetime) and start.utcoffset() is None:
        place.refuse(f"time {start.isoformat()} has no offset", "give it a tzinfo, such as datetime.timezone.utc")
        return None
    if isinstance(start, str | datetime):
        return read_time(start, place)
    if isinstance(start, bool) or not isinstance(start, SupportsIndex):
        place.refuse(f"invalid time {quote(start)}", f"give ns since 1970, {TIME_EXAMPLE!r} or a datetime")
        return None
    return read_integer(start, 0, LAST_TIME, place)


def _read_loops(loops: object, configuration: Configuration) -> list[LoopSpec]:
    """Return the loops of tables and specifications; raise BadInput with the problems of all."""
    if isinstance(loops, str | Mapping | LoopSpec) or not isinstance(loops, Iterable):
        raise BadInput([Problem("loops", f"{quote(loops)} is not a list", "give a list of [[loop]] tables, or []")])
    specs: list[LoopSpec] = []
    problems: list[Problem] = []
    for number, loop in enumerate(loops, 1):
        try:
            if isinstance(loop, Mapping):
                loop = parse_loop(loop, f"loops[{number}]", configuration.output)
            elif not isinstance(loop, LoopSpec):
                raise BadInput([Problem(f"loops[{number}]", f"{quote(loop)} is not a loop", "give a [[loop]] table")])
            if any(other.id == loop.id for other in specs):
                raise BadInput([Problem(f"loops[{number}].id", "is already the id of another loop", "give another id")])
            specs.append(loop)
        except BadInput as bad:
            problems += bad.problems
    _raise_if_any(problems)
    return specs


def _read_count(n: object) -> int:
    problems: list[Problem] = []
    count = read_integer(n, 1, LAST_TIME, Place("n", problems))
    _raise_if_any(problems)
    assert count is not None
    return count


def _raise_if_any(problems: list[Problem]) -> None:
    if problems:
        raise BadInput(problems)
