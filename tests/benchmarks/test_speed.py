"""How fast values become lines, beside the usual ways to make them: one table (`pytest -s`), no speed is asserted."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from influxdb_client import Point

from clpm_execd.plant.block import MODES, Block
from clpm_execd.plant.defaults import default_loops
from clpm_execd.plant.plant import Plant
from clpm_execd.stream.line_protocol import LineProtocol

SECOND = 1_000_000_000
START = 1_736_503_500 * SECOND
MANY = 1000
TICKS = 60
POINTS = MANY * TICKS
ROUNDS = 3

Result = TypeVar("Result")


def plant(loops: int) -> Plant:
    """The default loops again and again, until there are as many."""
    five = default_loops()
    return Plant([replace(five[i % 5], id=f"TIC{208000 + i}") for i in range(loops)], start=START)


def encoder(source: Plant) -> LineProtocol:
    return LineProtocol(source.loops)


def generated() -> bytes:
    source = plant(MANY)
    encode = encoder(source).encode
    return b"".join(encode(source.advance(5)) for _ in range(TICKS // 5))  # parts as large as `generate` makes them


def points(block: Block) -> bytes:
    """The values of a Block as Point objects, as influxdb-client's own documentation writes them."""
    return b"".join(
        Point("control_loops").tag("loop_id", loop).tag("Mode", MODES[block.mode[t, i]])
        .field("PV", float(f"{block.pv[t, i]:.10g}")).field("OP", float(f"{block.op[t, i]:.10g}"))
        .field("SP", float(f"{block.sp[t, i]:.10g}")).time(int(block.times[t])).to_line_protocol().encode() + b"\n"
        for t in range(len(block)) for i, loop in enumerate(block.loops)
    )  # fmt: skip


def sines() -> bytes:
    """What a plain script does: no process, no controller, a sine and noise in an f-string."""
    lines = []
    for t in range(TICKS):
        for i in range(MANY):
            sp = 405.41
            pv = sp + math.sin((t + i) / 60.0) + random.gauss(0.0, 0.1)
            op = min(100.0, max(0.0, 63.5 + 0.5 * (sp - pv) + random.gauss(0.0, 0.1)))
            lines.append(
                f"control_loops,Mode=AUT,loop_id=TIC{208000 + i} OP={op:.10g},PV={pv:.10g},SP={sp} {START + t * SECOND}"
            )
    return ("\n".join(lines) + "\n").encode()


def fastest(work: Callable[[], Result]) -> tuple[Result, float]:
    """What the work gave, and the seconds of its quickest round: others may use the machine too."""
    seconds = math.inf
    for _ in range(ROUNDS):
        start = time.perf_counter()
        result = work()
        seconds = min(seconds, time.perf_counter() - start)
    return result, seconds


def show(title: str, rows: list[tuple[str, str, str]]) -> None:
    print(f"\n{title}")
    for name, figure, ratio in rows:
        print(f"  {name:<52}{figure:>20}{ratio:>16}")


def per_second(count: int, seconds: float, what: str) -> str:
    return f"{count / seconds:,.0f} {what}/s"


def test_values_to_lines() -> None:
    lines, ours = fastest(generated)
    assert lines.count(b"\n") == POINTS

    block = plant(MANY).advance(TICKS)
    encode = encoder(plant(MANY)).encode
    encoded, encoding = fastest(lambda: encode(block))
    assert encoded == lines

    few = plant(MANY).advance(3)
    made, as_points = fastest(lambda: points(few))
    assert made == encode(few)
    as_points *= TICKS / 3

    plain, as_sines = fastest(sines)
    assert plain.count(b"\n") == POINTS
    show(
        f"{MANY} loops, {TICKS} samples: points a second, and how many times as long as simulated and encoded",
        [
            ("simulated and encoded (generate)", per_second(POINTS, ours, "points"), "1.0 x"),
            ("encoded alone", per_second(POINTS, encoding, "points"), f"{encoding / ours:.2f} x"),
            ("encoded alone, by Point(..).to_line_protocol()", per_second(POINTS, as_points, "points"),
             f"{as_points / ours:.1f} x"),
            ("no plant: sines and noise in an f-string", per_second(POINTS, as_sines, "points"),
             f"{as_sines / ours:.1f} x"),
        ],
    )  # fmt: skip


def test_plant_alone() -> None:
    rows = []
    for loops, scans in ((5, 3600), (MANY, 300)):
        block, seconds = fastest(lambda loops=loops, scans=scans: plant(loops).advance(scans))  # type: ignore[misc]
        assert block.pv.shape == (scans, loops)
        each = f"{seconds / scans / loops * 1e6:.2f} us/loop"
        rows.append((f"{loops} loops", per_second(scans, seconds, "scans"), each))
    show("The plant alone", rows)


def test_first_line(clpm_execd: list[str], tmp_path: Path) -> None:
    def first_line() -> bytes:
        with subprocess.Popen(
            clpm_execd, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            bufsize=0,
        ) as stream:  # fmt: skip
            assert stream.stdout is not None
            first = os.read(stream.stdout.fileno(), 20)
            stream.kill()
        return first

    first, ours = fastest(first_line)
    assert first.startswith(b"control_loops,Mode=")
    _, numpy = fastest(lambda: subprocess.run([sys.executable, "-c", "import numpy"], check=True))
    show("From nothing to the first line", [
        ("python -c 'import numpy'", f"{numpy * 1000:.0f} ms", "1.0 x"),
        ("clpm-execd", f"{ours * 1000:.0f} ms", f"{ours / numpy:.1f} x"),
    ])  # fmt: skip
