"""The plant for programs: the five default loops, loops of one's own, Blocks or line protocol.

The same seed, start and loops give the same values as the command line does.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from clpm_execd.config.loops import Configuration, parse_loop, read_configuration
from clpm_execd.plant.block import Block
from clpm_execd.plant.loop import LoopSpec
from clpm_execd.plant.plant import SECOND, Plant
from clpm_execd.stream.line_protocol import LineProtocol


class ControlLoopDataGenerator:
    """Control loops as an iterator of Blocks.

    config: path of a loops.toml, or a Configuration; without it the five default loops. seed and interval (s)
    override it. start: ns since 1970; by default the configuration's, else the latest instant of the grid. Raises
    BadInput on a configuration that is wrong.
    """

    def __init__(self, config: str | Path | Configuration | None = None, seed: int | None = None,
                 start: int | None = None, interval: float | None = None) -> None:
        if not isinstance(config, Configuration):
            config = read_configuration(Path(config) if config is not None else None)
        self._configuration = config
        self._loops = list(config.loops)
        self._seed = config.seed if seed is None else seed
        given = config.interval if interval is None else round(interval * SECOND)
        self._interval = SECOND if given is None else given
        self._start = config.start if start is None else start
        self._plant: Plant | None = None

    @property
    def loops(self) -> tuple[LoopSpec, ...]:
        """The loops as they are simulated."""
        return tuple(self._loops)

    def add_custom_loop(self, loop_id: str, base_pv: float | None = None, base_sp: float | None = None,
                        base_op: float | None = None, **loop: Any) -> LoopSpec:
        """Add a loop that starts at base_pv and rests at (base_sp, base_op); `loop` takes any key of `[[loop]]`.

        Without a range the span is twice the set point, so that the loop rests mid-range. Raises BadInput on an
        unknown key or a value out of range, ValueError once the plant runs.
        """
        if self._plant is not None:
            raise ValueError("loops are added before the first advance()")
        given = {"pv": base_pv, "sp": base_sp, "op": base_op}
        table = {"id": loop_id, **{key: value for key, value in given.items() if value is not None}, **loop}
        level = table.get("sp", table.get("pv"))
        if "range" not in table and level is not None:
            table["range"] = [0.0, 2.0 * level] if level > 0 else [2.0 * level - 100.0, 100.0]
        spec = parse_loop(table, f"loop {loop_id}")
        self._loops.append(spec)
        return spec

    def advance(self, n: int = 1) -> Block:
        """The next n samples of all loops."""
        return self._running().advance(n)

    def lines(self, n: int = 1) -> bytes:
        """The next n samples as line protocol."""
        plant, output = self._running(), self._configuration.output
        encoder = LineProtocol(plant.loops, measurement=output.measurement, fields=output.fields,
                               mode_tag=output.mode_tag, tags=output.tags)
        return encoder.encode(plant.advance(n))

    def _running(self) -> Plant:
        if self._plant is None:
            latest = time.time_ns() // self._interval * self._interval
            self._plant = Plant(self._loops, seed=self._seed, start=latest if self._start is None else self._start,
                                interval=self._interval, scan=self._configuration.scan)
        return self._plant
