"""The plant for programs: the five default loops, loops of one's own, Blocks or line protocol.

The same seed, start and loops give the same values as the command line does.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from clpm_execd.config.cascades import check_cascades, check_faults
from clpm_execd.config.loop import LoopEntry
from clpm_execd.config.loops import Configuration, check_scan, parse_loop, read_configuration, read_interval
from clpm_execd.config.validation import Place, read_integer
from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.notebook import NotebookBlock
from clpm_execd.plant.block import SECOND
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.problems import BadInput, Problem
from clpm_execd.units import LAST_TIME


class ControlLoopDataGenerator:
    """Control loops as an iterator of Blocks.

    config: path of a loops.toml, or a Configuration; without it the five default loops. seed and interval (s)
    override it. start: ns since 1970; by default the configuration's, else the latest instant of the grid. Raises
    BadInput on a configuration that is wrong.
    """

    def __init__(self, config: str | Path | Configuration | None = None, seed: int | None = None,
                 start: int | None = None, interval: float | None = None) -> None:
        problems: list[Problem] = []
        given: dict[str, Any] = {}
        if seed is not None:
            given["seed"] = read_integer(seed, 0, LAST_TIME, Place("seed", problems))
        if start is not None:
            given["start"] = read_integer(start, 0, LAST_TIME, Place("start", problems))
        if interval is not None:
            given["interval"] = read_interval(round(interval, 9), Place("interval", problems))
        _raise(problems)
        if isinstance(config, Configuration):
            config = replace(config, **given)
            check_scan(config.scan, config.interval or SECOND, Place("scan", problems))
            _raise(problems)
        else:
            config = read_configuration(Path(config) if config is not None else None, **given)
        self._configuration = config
        self._loops = list(config.loops)
        self._plant: Plant | None = None
        self._encoder: LineProtocol | None = None

    @property
    def loops(self) -> tuple[LoopSpec, ...]:
        """The loops as they are simulated."""
        return tuple(self._loops)

    def add_custom_loop(self, loop_id: str, base_pv: float | None = None, base_sp: float | None = None,
                        base_op: float | None = None, **loop: Any) -> LoopSpec:
        """Add a loop that starts at base_pv and rests at (base_sp, base_op); `loop` takes any key of `[[loop]]`.

        Without a range the span is twice the set point, so that the loop rests mid-range. Raises BadInput on an
        unknown key, a value out of range or an id that is taken, ValueError once the plant runs.
        """
        if self._plant is not None:
            raise ValueError("loops are added before the first advance()")
        given = {"pv": base_pv, "sp": base_sp, "op": base_op}
        table = {"id": loop_id, **{key: value for key, value in given.items() if value is not None}, **loop}
        level = table.get("sp", table.get("pv"))
        if "range" not in table and isinstance(level, int | float) and math.isfinite(level):
            table["range"] = [0.0, 2.0 * level] if level > 0 else [2.0 * level - 100.0, 100.0]
        spec = parse_loop(table, f"loop {loop_id}")
        if any(loop.id == spec.id for loop in self._loops):
            _raise([Problem(f"loop {loop_id}.id", "is taken", "give every loop an id of its own")])
        self._loops.append(spec)
        return spec

    def advance(self, n: int = 1) -> NotebookBlock:
        """Return the next n samples of all loops, with `to_frame` and `plot`.

        Raises
        ------
        BadInput
            The master of a loop is missing.
        """
        return NotebookBlock.of(self._running().advance(n))

    def lines(self, n: int = 1) -> bytes:
        """The next n samples as line protocol, and the truth beside them where the configuration asks for it."""
        plant, output = self._running(), self._configuration.output
        if self._encoder is None:
            self._encoder = LineProtocol(plant.loops, measurement=output.measurement, fields=output.fields,
                                         mode_tag=output.mode_tag, tags=output.tags, truth=output.truth)
        return self._encoder.encode(plant.advance(n))

    def _running(self) -> Plant:
        if self._plant is None:
            problems: list[Problem] = []
            entries = [LoopEntry(Place(f"loop {loop.id}", problems), LoopSet.of([loop])) for loop in self._loops]
            check_cascades(entries)
            check_faults(entries)
            _raise(problems)
            given = self._configuration
            interval = given.interval or SECOND
            latest = time.time_ns() // interval * interval
            self._plant = Plant(self._loops, seed=given.seed, start=latest if given.start is None else given.start,
                                interval=interval, scan=given.scan)
        return self._plant


def _raise(problems: list[Problem]) -> None:
    if problems:
        raise BadInput(problems)
