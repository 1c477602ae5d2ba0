"""The suites of the benchmark as loops.toml files, and their table of contents.

`python tests/write_suites.py` writes the drafts again, `python tests/write_suites.py results [SUITE ...]` runs the
reference monitors on them, and `python tests/write_suites.py freeze [SUITE ...]` writes the sha256 of a suite's samples
and truth into the table of contents. A frozen suite is never written again: a better one is a new suite with the next
number. `python tests/doc_tables.py` writes the results into the documentation.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import tomli

from clpm_execd.benchmark.dataset import write_dataset
from clpm_execd.benchmark.judging import Row, evaluate, run_monitor
from clpm_execd.benchmark.results import read_results, write_results
from clpm_execd.benchmark.suite import CATALOGUE, SUITES_FOLDER, load_suite
from clpm_execd.benchmark.suite_recording import record
from clpm_execd.config.loops import parse_configuration
from clpm_execd.config.plants.starter import write_plant
from clpm_execd.monitors.detectors import MONITORS
from clpm_execd.monitors.loop_window import ANY
from clpm_execd.monitors.oscillation_detection import measure_regularity
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.plant import Plant

Table = dict[str, Any]
START = "2025-01-10T00:00:00Z"

DAY_SECONDS = 86_400.0

# Faults of drift-1: slow, each over days.
SLOW_FAULTS: Mapping[str, Table] = {
    "fouling": {"over": 7 * DAY_SECONDS}, "drift": {"over": 7 * DAY_SECONDS, "size": 8.0},
    "stiction": {"S": 6.0, "J": 3.0, "ramp": "7d"},
    "deadband": {"width": 5.0, "ramp": "7d"},
    "gain-change": {"factor": 2.5, "ramp": "5d"}, "lag-change": {"factor": 4.0, "ramp": "5d"},
    "slow-actuator": {"ramp": "5d"}}
# Of the plant of refinery-1 and quiet-1. In a plant of 200 loops 28 valves stick, so that the accuracy of a monitor
# depends on it: curve fit finds 35, 25 and 32 % of the time of stiction with the seeds 1, 2 and 3. The hardest was
# taken, since real loops are harder still (docs/benchmark.md).
REFINERY_SEED = 2
DATA_PATH_FAULTS: Sequence[Table] = (
    {"kind": "gaps"}, {"kind": "late"}, {"kind": "duplicates"}, {"kind": "bad-quality"}, {"kind": "clock-skew"},
    {"kind": "compression"}, {"kind": "compression", "exception": 0.3, "deviation": 0.6}, {"kind": "quantization"},
    {"kind": "freeze"}, {"kind": "drop-out"}, {"kind": "spikes"}, {"kind": "range-clip"})


def pairs(per_class: int) -> list[Table]:
    """Stiction, aggressive tuning and an external oscillation of the stiction's own period, in loops that are alike.

    It is an easy suite: the external oscillation is nearly a sine, and the valves stick enough to make a limit cycle.
    """
    loops: list[Table] = []
    for name, make in (("FIC1", _typical_flow), ("FIC2", _slower_flow), ("PIC3", _delayed_pressure),
                       ("FIC4", _any_flow)):
        drawn = [make(Random(f"{name} {i}")) for i in range(per_class)]
        sticky = [{**loop, "id": f"{name}{i:02d}A", "fault": [stiction]} for i, (loop, stiction) in enumerate(drawn)]
        periods = _measure_periods(sticky)
        loops += sticky
        loops += [{**loop, "id": f"{name}{i:02d}B", "fault": [{"kind": "aggressive"}]}
                  for i, (loop, _) in enumerate(drawn)]
        loops += [{**loop, "id": f"{name}{i:02d}C", "fault": [
            {"kind": "external-oscillation", "period": round(period, 1), "amplitude": round(stiction["S"] / 2.0, 2),
             "harmonic": 0.1, "wander": 0.01}]}
            for i, ((loop, stiction), period) in enumerate(zip(drawn, periods, strict=True))]
    return loops


def _typical_flow(rng: Random) -> tuple[Table, Table]:
    return {"type": "flow"}, {"kind": "stiction", "S": 4.0, "J": 2.0}


def _slower_flow(rng: Random) -> tuple[Table, Table]:
    process = {"gain": 1.1, "tau": 5.0, "dead_time": 2.0}
    return {"type": "flow", "process": process}, {"kind": "stiction", "S": 5.0, "J": 5.0}


def _delayed_pressure(rng: Random) -> tuple[Table, Table]:
    process = {"gain": 1.2, "tau": 10.0, "dead_time": 5.0}
    return {"type": "pressure", "range": [0.0, 16.0], "process": process}, {"kind": "stiction", "S": 5.0, "J": 3.0}


def _any_flow(rng: Random) -> tuple[Table, Table]:
    def draw(low: float, high: float) -> float:
        return round(rng.uniform(low, high), 2)

    s = draw(3.0, 8.0)
    return ({"type": "flow", "process": {"gain": draw(0.8, 1.5), "tau": draw(1.0, 5.0), "dead_time": draw(0.5, 2.0)},
             "sensor": {"noise": draw(0.05, 0.12)},
             "disturbance": {"sigma": draw(0.3, 1.0), "correlation": draw(5.0, 30.0)}},
            {"kind": "stiction", "S": s, "J": round(s * rng.uniform(0.5, 1.0), 2)})


def _measure_periods(loops: Sequence[Table]) -> list[float]:
    """The period of each loop's limit cycle, s."""
    plant = Plant(parse_configuration({"loop": list(loops)}).loops, start=0)
    plant.advance(1200)
    return [measure_regularity(pv)[1] for pv in plant.advance(7200).pv.T.copy()]


def refinery(count: int) -> list[Table]:
    """A refinery as `init --plant` draws it, with the prevalence of published surveys."""
    loops: list[Table] = tomli.loads(write_plant("refinery", count, REFINERY_SEED))["loop"]
    return loops


def quiet(count: int) -> list[Table]:
    """The loops of that refinery without faults and maintenance: only the negative controls stay."""
    loops = refinery(count)
    for loop in loops:
        loop["fault"] = [fault for fault in loop.get("fault", ())
                         if FAULTS[fault["kind"]].is_control and fault["kind"] != "maintenance"]
        loop.pop("move", None)
    return loops


def plantwide(units: int) -> list[Table]:
    """Units with one root each, a sticky valve or an aggressive controller, that other loops of the unit feel."""
    loops: list[Table] = []
    for unit in range(1, units + 1):
        rng = Random(f"unit {unit}")
        types = ["flow", "pressure", "level", "flow", "temperature", "flow", "pressure", "flow"]
        members: list[Table] = [
            {"id": f"{kind[0].upper()}IC{unit:02d}{i}", "type": kind, "area": f"Unit {unit}",
             **({"process": {"gain": round(rng.uniform(0.7, 1.4), 2), "tau": [round(rng.uniform(60.0, 120.0)), 20.0],
                             "dead_time": round(rng.uniform(8.0, 20.0))}, "controller": {"tuning": "lambda"}}
                if kind == "temperature" else {})} for i, kind in enumerate(types)]
        root = rng.choice([member for member in members if member["type"] in ("flow", "pressure")])
        s = round(rng.uniform(4.0, 8.0), 1)
        root["fault"] = [{"kind": "aggressive"} if unit % 5 == 0 else
                         {"kind": "stiction", "S": s, "J": round(s * rng.uniform(0.4, 1.0), 1)}]
        for member in rng.sample([member for member in members if member is not root], rng.randint(3, 6)):
            member["fault"] = [{"kind": "external-oscillation", "from": root["id"],
                                "gain": round(rng.choice((-1, 1)) * rng.uniform(0.4, 1.0), 2),
                                "lag": round(rng.uniform(3.0, 20.0), 1)}]
        loops += members
    return loops


def data_path(per_fault: int) -> list[Table]:
    """Every fault between the transmitter and the monitor, healthy loops, and sticky valves behind a good data path."""
    loops: list[Table] = []
    types = ("flow", "pressure", "level", "temperature")
    for i, fault in enumerate((*DATA_PATH_FAULTS, None, None, {"kind": "stiction", "S": 6.0, "J": 4.0})):
        for j in range(per_fault):
            kind = types[j % len(types)] if fault is None or fault["kind"] != "stiction" else "flow"
            loop: Table = {"id": f"{kind[0].upper()}IC{i + 1:02d}{j:02d}", "type": kind}
            loops.append(loop if fault is None else {**loop, "fault": [
                {**fault, "start": "1h", "duration": "2h", "repeat": "5h"}]})
    return loops


def drift(per_fault: int) -> list[Table]:
    """Faults that grow over days in loops that are slow enough for a sample each minute, and as many healthy ones."""
    loops: list[Table] = []
    types = ("temperature", "level", "pressure", "composition")
    for i, (fault, size) in enumerate(SLOW_FAULTS.items()):
        for j in range(2 * per_fault):
            kind = types[j % len(types)]
            if (fault, kind) in (("lag-change", "level"), ("fouling", "level")):
                kind = "temperature"
            rng = Random(f"{fault} {j}")
            process = {"pressure": {"gain": 1.1, "tau": 45.0, "dead_time": 5.0}}.get(kind)
            loop: Table = {"id": f"{kind[0].upper()}IC{i + 1}{j:02d}", "type": kind,
                           "operator": {"interval": 3600.0 * rng.randint(8, 30),
                                        "size": round(rng.uniform(0.5, 1.5), 2)},
                           **({"process": process} if process else {})}
            start = f"{rng.randint(24, 120)}h"
            loops.append(loop if j % 2 else {**loop, "fault": [{"kind": fault, **size, "start": start}]})
    return loops


# The throughput moves all loops of a refinery.
REFINERY: Table = {"interval": "10s", "unit": tomli.loads(write_plant("refinery", 1, 1))["unit"]}

# By name: title, duration, window that the reference monitors judge at a time, keys of the file, and its loops.
SUITES: Mapping[str, tuple[str, str, str, Table, Callable[[], list[Table]]]] = {
    "pairs-1": ("stiction, aggressive tuning and external oscillation of one period: easy", "3h", "3h",
                {"interval": "1s"}, lambda: pairs(25)),
    "pairs-1-small": ("pairs-1 with 24 loops", "2h", "2h", {"interval": "1s"}, lambda: pairs(2)),
    "refinery-1": ("200 loops of a refinery, faults as surveys count them", "24h", "4h", REFINERY,
                   lambda: refinery(200)),
    "refinery-1-small": ("30 loops of a refinery", "8h", "4h", REFINERY, lambda: refinery(30)),
    "plantwide-1": ("50 units of eight loops with one root of oscillation each", "6h", "6h", {"interval": "5s"},
                    lambda: plantwide(50)),
    "plantwide-1-small": ("4 units of plantwide-1", "3h", "3h", {"interval": "5s"}, lambda: plantwide(4)),
    "datapath-1": ("faults between transmitter and monitor: gaps, quality, compression, clocks", "12h", "1h",
                   {"interval": "5s"}, lambda: data_path(8)),
    "datapath-1-small": ("datapath-1 with 15 loops", "4h", "1h", {"interval": "5s"}, lambda: data_path(1)),
    "drift-1": ("faults that grow over days, one sample per minute", "14d", "2d", {"interval": "1m", "scan": "5s"},
                lambda: drift(4)),
    "drift-1-small": ("drift-1 with 14 loops", "8d", "2d", {"interval": "1m", "scan": "10s"}, lambda: drift(1)),
    "quiet-1": ("200 healthy loops with negative controls: every alarm is false", "24h", "4h", REFINERY,
                lambda: quiet(200)),
    "quiet-1-small": ("30 healthy loops", "4h", "4h", REFINERY, lambda: quiet(30)),
}


COMMENTS: Mapping[str, str] = {  # the line after the title of a suite
    "refinery-1": "# Faults are as frequent as surveys found (docs/physics.md); throughput moves all loops of a unit.",
    "quiet-1": "# The plant of refinery-1 without its faults."}


def to_toml(name: str, title: str, root: Table, loops: Sequence[Table]) -> str:
    """The text of a loops.toml, a table of a loop in a few lines."""
    lines = [f"# Suite {name}: {title}. Written by tests/write_suites.py.",
             *filter(None, [COMMENTS.get(name.removesuffix("-small"))]),
             f"seed = {_seed_of(name)}", f'start = "{START}"',
             *(f"{key} = {_value(value)}" for key, value in root.items()), "", "[output]", "truth = true"]
    for loop in loops:
        lines += ["", "[[loop]]", *(f"{key} = {_value(value)}" for key, value in loop.items() if key != "fault")]
        if loop.get("fault"):
            lines.append(f"fault = [{', '.join(map(_value, loop['fault']))}]")
    return "\n".join(lines) + "\n"


def _seed_of(name: str) -> int:
    """A small suite has the seed of the large one, so that a loop of both is the same."""
    return sum(name.removesuffix("-small").encode())


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)


def read_catalogue() -> dict[str, Table]:
    return tomli.loads(CATALOGUE.read_text()) if CATALOGUE.exists() else {}


def write_catalogue(catalogue: Mapping[str, Table]) -> None:
    text = "# The suites of the benchmark. One with hashes is frozen; the others are drafts, which may still change.\n"
    for name, entry in catalogue.items():
        text += f"\n[{name}]\n" + "".join(f"{key} = {_value(value)}\n" for key, value in entry.items())
    CATALOGUE.write_text(text)


def write_drafts() -> None:
    catalogue = read_catalogue()
    for name, (title, duration, window, root, make) in SUITES.items():
        if "sha256" in catalogue.get(name, {}):
            print(f"{name} is frozen")
            continue
        (SUITES_FOLDER / f"{name}.toml").write_text(to_toml(name, title, root, make()))
        catalogue[name] = {"title": title, "duration": duration, "window": window}
    write_catalogue(catalogue)


def freeze(names: Sequence[str]) -> None:
    catalogue = read_catalogue()
    if frozen := [name for name in names if "sha256" in catalogue[name]]:
        sys.exit(f"{', '.join(frozen)}: frozen, so a better one is a new suite with the next number")
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            manifest = write_dataset(load_suite(name), Path(folder))
        catalogue[name]["sha256"] = {"samples": manifest.samples_sha256, "truth": manifest.truth_sha256}
        write_catalogue(catalogue)
        print(name, manifest.samples_sha256, flush=True)


def run_monitors(name: str) -> list[Row]:
    """The reference monitors on a suite."""
    suite = load_suite(name)
    recording = record(suite)
    return [evaluate(monitor.name, name, recording.truth,
                     [each.alarm for each in run_monitor(monitor, recording, suite.window)],
                     names_kinds=monitor.faults != (ANY,))
            for monitor in MONITORS.values()]


def write_all_results(names: Sequence[str]) -> None:
    results = dict(read_results())
    for name in names:
        results[name] = run_monitors(name)
        write_results(results)
        print(name, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["freeze"]:
        freeze(sys.argv[2:] or list(SUITES))
    elif sys.argv[1:2] == ["results"]:
        write_all_results(sys.argv[2:] or list(SUITES))
    else:
        write_drafts()
