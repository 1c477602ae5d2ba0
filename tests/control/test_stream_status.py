"""What `status` says of the faults of a stream: those that are present, and those that will be."""

from __future__ import annotations

from clpm_execd.config.loops import parse_configuration
from clpm_execd.control.controlled_plant import ControlledPlant
from clpm_execd.control.stream_status import describe_loop, describe_stream
from clpm_execd.plant.block import SECOND
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.plant import Plant

START = 1_736_503_500 * SECOND  # 2025-01-10T10:05:00Z


def stream(*loops: dict[str, object]) -> ControlledPlant:
    specs = LoopSet.of(parse_configuration({"loop": loops}).loops)
    return ControlledPlant(Plant(specs, start=START, scan=SECOND), specs)


def faults_after(source: ControlledPlant, samples: int) -> str:
    while samples:
        samples -= len(source.advance(samples))
    return describe_loop(source, "A").split("faults    ")[1].strip()


def test_a_fault_that_returns_is_announced_with_its_next_start() -> None:
    source = stream({"id": "A", "fault": [{"kind": "freeze", "start": "1m", "duration": "30s", "repeat": "2m"}]})
    first = "from 2025-01-10T10:06:00Z until 2025-01-10T10:06:30Z, every 2m"
    assert faults_after(source, 10) == f"freeze {first}"
    assert faults_after(source, 60) == f"freeze {first.replace('from', 'since')}"
    assert faults_after(source, 60) == "freeze from 2025-01-10T10:08:00Z until 2025-01-10T10:08:30Z, every 2m"


def test_a_fault_that_returns_at_drawn_times_has_no_next_start() -> None:
    source = stream({"id": "A", "fault": [{"kind": "freeze", "start": "1m", "duration": "30s", "mean_repeat": "10m"}]})
    assert faults_after(source, 70) == "freeze now, for 30s every 10m on average"
    assert faults_after(source, 60) == "freeze again later, for 30s every 10m on average"


def test_a_fault_that_is_over_is_not_listed() -> None:
    source = stream({"id": "A", "fault": [{"kind": "freeze", "duration": "30s"}]})
    assert faults_after(source, 10) == "freeze since 2025-01-10T10:05:00Z until 2025-01-10T10:05:30Z"
    assert faults_after(source, 30) == "none"


def test_of_many_faults_the_first_are_listed_and_the_others_counted() -> None:
    source = stream({"id": "F{:03d}", "count": 230, "fault": [{"kind": "bias"}]})
    source.advance(1)
    lines = describe_stream(source, "journal").splitlines()
    assert lines[0] == "loops     230, one sample every 1s"
    assert lines[3].startswith("faults    F001 bias since 2025-01-10T10:05:00Z")
    assert (len(lines), lines[-1].strip()) == (3 + 200 + 1, "and 30 more")
