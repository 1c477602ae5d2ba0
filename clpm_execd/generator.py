"""The Python interface to the simulation: default or configured loops, as Blocks or line protocol.

The same seed, start and loops give the same values as on the command line.
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
from clpm_execd.encoding.sheet_formats import SheetPoints
from clpm_execd.notebook import NotebookBlock
from clpm_execd.plant.block import SECOND
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.loop_sheet import make_loop_sheet
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.problems import BadInput, Problem
from clpm_execd.units import LAST_TIME


class ControlLoopDataGenerator:
    """Simulates control loops and returns their samples, one call after the other.

    Parameters
    ----------
    config : str, Path or Configuration, optional
        The path of a loops.toml, or a configuration; by default the five default loops.
    seed : int, optional
        The random seed, in place of the configuration's.
    start : int, optional
        The time of the first sample, ns since 1970; by default the configuration's, or else the latest instant of the
        grid of sample times.
    interval : float, optional
        Between samples, s, in place of the configuration's.

    Raises
    ------
    BadInput
        The configuration or one of these values is invalid.
    """

    def __init__(self, config: str | Path | Configuration | None = None, seed: int | None = None,
                 start: int | None = None, interval: float | None = None) -> None:
        problems: list[Problem] = []
        overrides: dict[str, Any] = {}
        if seed is not None:
            overrides["seed"] = read_integer(seed, 0, LAST_TIME, Place("seed", problems))
        if start is not None:
            overrides["start"] = read_integer(start, 0, LAST_TIME, Place("start", problems))
        if interval is not None:
            overrides["interval"] = read_interval(round(interval, 9), Place("interval", problems))
        _raise_if_any(problems)
        if isinstance(config, Configuration):
            config = replace(config, **overrides)
            check_scan(config.scan, config.interval or SECOND, Place("scan", problems))
            _raise_if_any(problems)
        else:
            config = read_configuration(Path(config) if config is not None else None, **overrides)
        self._configuration = config
        self._loops = list(config.loops)
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
            A key is unknown, a value is outside its limits, or there is a loop with this id.
        ValueError
            Samples have been simulated already.
        """
        if self._plant is not None:
            raise ValueError("add loops before the first advance() or lines()")
        base = {"pv": base_pv, "sp": base_sp, "op": base_op}
        table = {"id": loop_id, **{key: value for key, value in base.items() if value is not None}, **loop}
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
            The master of a loop, or a loop that a fault names, does not exist.
        """
        return NotebookBlock.of(self._started_plant().advance(n))

    def lines(self, n: int = 1) -> bytes:
        """Return the next n samples as line protocol, with the ground truth where the configuration has `truth`.

        Raises
        ------
        BadInput
            The master of a loop, or a loop that a fault names, does not exist.
        """
        plant, output = self._started_plant(), self._configuration.output
        if self._encoder is None:
            sheet = None
            if output.info:
                rows = make_loop_sheet(self._loops, plant.interval, self._configuration.scan, output.modes)
                sheet = SheetPoints(rows, output.info, output.tags)
            self._encoder = LineProtocol(plant.loops, measurement=output.measurement, fields=output.fields,
                                         mode_tag=output.mode_tag, tags=output.tags, truth=output.truth,
                                         modes=output.modes, loop_tags=LoopSet.of(self._loops).tags_by_id(),
                                         sheet=sheet)
        return self._encoder.encode(plant.advance(n))

    def _started_plant(self) -> Plant:
        """Return the plant, which starts at the first call."""
        if self._plant is None:
            problems: list[Problem] = []
            entries = [LoopEntry(Place(f"loop {loop.id}", problems), LoopSet.of([loop])) for loop in self._loops]
            check_cascades(entries)
            check_faults(entries)
            _raise_if_any(problems)
            configuration = self._configuration
            interval = configuration.interval or SECOND
            start = time.time_ns() // interval * interval if configuration.start is None else configuration.start
            self._plant = Plant(self._loops, seed=configuration.seed, start=start, interval=interval,
                                scan=configuration.scan)
        return self._plant


def _raise_if_any(problems: list[Problem]) -> None:
    if problems:
        raise BadInput(problems)
