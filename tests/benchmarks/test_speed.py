"""How fast values become lines, beside the usual ways to make them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from baselines import START, as_points, by_hand, quickest, sines
from results import Results
from tiers import CAMPAIGNS

from clpm_execd.encoding import line_protocol
from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.plant.defaults import default_loops
from clpm_execd.plant.kernel import single_loop
from clpm_execd.plant.plant import Plant
from clpm_execd.runtime.pacing import count_samples_per_block

LINES = 50_000 if CAMPAIGNS else 12_000
SIZES = (5, 50, 1000, 100_000 if CAMPAIGNS else 5000)


def plant(loops: int) -> Plant:
    """The default loops again and again, until there are as many."""
    five = default_loops()
    return Plant([replace(five[i % 5], id=f"TIC{208000 + i}") for i in range(loops)], start=START)


def generated(source: Plant, encoder: LineProtocol, ticks: int) -> bytes:
    """In parts as large as `generate` makes them."""
    part = count_samples_per_block(source)
    return b"".join(encoder.encode(source.advance(min(part, ticks - result))) for result in range(0, ticks, part))


@pytest.mark.parametrize("loops", SIZES)
def test_values_to_lines(loops: int, results: Results) -> None:
    ticks = max(2, LINES // loops)
    source, encoder = plant(loops), LineProtocol(plant(loops).loops)
    block, few = source.advance(ticks), plant(loops).advance(1)
    expected = generated(plant(loops), encoder, ticks)
    assert encoder.encode(block) == expected
    assert expected.startswith(as_points(few))
    spent = quickest({
        "plant and encoder": lambda: generated(source, encoder, ticks),
        "the plant alone": lambda: source.advance(ticks),
        "the encoder alone": lambda: encoder.encode(block),
        "Point(..).to_line_protocol(), no plant": lambda: as_points(few),
        "sines and noise in plain Python, no plant": lambda: sines(max(1, 5000 // loops), loops),
    })
    lines = [ticks * loops] * 3 + [loops, max(1, 5000 // loops) * loops]
    rates = {way: n / seconds for n, (way, seconds) in zip(lines, spent.items(), strict=True)}
    ours = rates.pop("plant and encoder")
    results.against(f"{loops:,} loops, in one process", "lines/s", ("plant and encoder", ours), rates)


@pytest.mark.parametrize("loops", [5, 50, 100, 200])
def test_live_tick(loops: int, results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two ways to encode one sample of each loop; a live stream takes the quicker one (line_protocol.FEW_LINES)."""
    ticks = 2000 if CAMPAIGNS else 100
    source = plant(loops)
    blocks = [source.advance(1) for _ in range(ticks)]
    encoder = LineProtocol(source.loops)

    def encode(few_lines: int) -> bytes:
        monkeypatch.setattr(line_protocol, "FEW_LINES", few_lines)
        return b"".join([encoder.encode(block) for block in blocks])

    assert encode(0) == encode(loops)
    spent = quickest({"one sample after another": lambda: encode(loops), "many rows at once": lambda: encode(0)})
    rates = {way: ticks / seconds for way, seconds in spent.items()}
    results.against(f"{loops} loops, encoding a live tick", "ticks/s",
                    ("one sample after another", rates.pop("one sample after another")), rates)


@pytest.mark.parametrize("loops", SIZES)
def test_generate_whole(loops: int, clpm_execd: list[str], tmp_path: Path, results: Results) -> None:
    """The command with its start and all; beside it the ways that make no plant."""
    (tmp_path / "loops.toml").write_text("".join(
        f'[[loop]]\nid = "{kind}-{{:06d}}"\ntype = "{kind}"\ncount = {loops // 5}\n'
        for kind in ("flow", "pressure", "level", "temperature", "composition")))
    ticks = max(2, (10_000_000 if CAMPAIGNS else 60_000) // loops // (10 if loops == 5 else 1))

    def generate(processors: set[int]) -> Callable[[], object]:
        command = [*clpm_execd, "generate", "--config", "loops.toml", "--duration", f"{ticks}s", "--output", os.devnull]
        return lambda: subprocess.run(command, check=True, cwd=tmp_path,
                                      preexec_fn=lambda: os.sched_setaffinity(0, processors))

    cores = os.sched_getaffinity(0)
    block = plant(5).advance(400)
    ours = {"generate": generate(cores), "generate on one core": generate({min(cores)})}
    spent = quickest({
        **ours, "Point(..).to_line_protocol(), no plant": lambda: as_points(block),
        "sines and noise in plain Python, no plant": lambda: sines(400, 5),
    })
    others = {way: 2000 / seconds for way, seconds in spent.items() if way not in ours}
    for way in ours:
        results.against(f"{loops:,} loops, {way} whole", "lines/s", (way, ticks * loops / spent[way]), others)


def test_few_loops_over_a_long_time(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra `fast` and with it, compiled before it is timed."""
    ticks = 20_000 if CAMPAIGNS else 500
    ours = {"the plant of five loops, compiled": plant(5), "the plant of five loops": plant(5)}
    for source, proven in zip(ours.values(), (0, 10**18), strict=True):
        monkeypatch.setattr(single_loop, "MIN_LOOP_SCANS_TO_COMPILE", proven)
        source.advance(ticks)

    def advance(way: str) -> Callable[[], object]:
        return lambda: ours[way].advance(ticks)

    spent = quickest({**{way: advance(way) for way in ours},
                      "a script of the same physics by hand": lambda: by_hand(ticks, 5)})
    rates = {way: 5 * ticks / seconds for way, seconds in spent.items()}
    others = {way: rate for way, rate in rates.items() if way not in ours} | homeostat(5 * ticks)
    for way in ours:
        results.against(f"{way}, over a long time", "samples/s", (way, rates[way]), others)


def homeostat(samples: int) -> dict[str, float]:
    """Homeostat's rate, where `pip install --pre 'homeostat[fast]'` has been done; compiled before it is timed."""
    try:
        import homeostat
    except ImportError:
        return {}
    units = [{"id": f"TIC-10{i}", "template": "temperature_loop"} for i in range(5)]
    plan = {"seed": 42, "duration": f"{samples // 5}s", "dt": "1s", "library": "process@1", "units": units}
    homeostat.simulate(plan)
    spent = quickest({"homeostat": lambda: homeostat.simulate(plan)})
    return {"Homeostat with numba, warm": samples / spent["homeostat"]}


def test_first_line(clpm_execd: list[str], tmp_path: Path, results: Results) -> None:
    def first_line() -> None:
        with subprocess.Popen(
            clpm_execd, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            bufsize=0,
        ) as stream:
            assert stream.stdout is not None
            assert os.read(stream.stdout.fileno(), 20).startswith(b"control_loops,Mode=")
            stream.kill()

    numpy = [sys.executable, "-c", "import numpy"]
    spent = quickest({"clpm-execd": first_line, "numpy": lambda: subprocess.run(numpy, check=True)})
    table = "from nothing to the first line"
    results.add(table, "python -c 'import numpy'", spent["numpy"], "s")
    results.add(table, "clpm-execd", spent["clpm-execd"], "s", spent["clpm-execd"] / spent["numpy"], "this / numpy")
