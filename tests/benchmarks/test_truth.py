"""What the ground truth costs: a twin of each faulty loop, in time and memory, beside the plant alone."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import process_time

import pytest
import tomli
from baselines import START, in_pairs
from results import Results
from tiers import CAMPAIGNS

from clpm_execd.config.loops import parse_configuration
from clpm_execd.config.plants.starter import write_plant
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import FaultSpec, LoopSpec

LOOPS = 1000
LIVE_RATIO = 1.9  # at most so many times the time of the plant alone


def sticky_flows(loops: int) -> list[LoopSpec]:
    sticky = (FaultSpec(kind="stiction", parameters={"S": 4.0, "J": 2.0}),)
    return [replace(template("flow", f"FIC{i}", (0.0, 100.0)), faults=sticky) for i in range(loops)]


def cascades(loops: int) -> list[LoopSpec]:
    """Sticky slaves, each with its master, which it affects."""
    slaves = [replace(loop, cascade=f"TIC{i}", mode="CAS") for i, loop in enumerate(sticky_flows(loops // 2))]
    return [*slaves, *(template("temperature", f"TIC{i}", (0.0, 100.0)) for i in range(loops // 2))]


def refinery(loops: int) -> list[LoopSpec]:
    """Loops of `init --plant refinery`: there are 2.3 copies for each, since faults reach other loops."""
    return list(parse_configuration(tomli.loads(write_plant("refinery", loops, 1))).loops)


def kilobytes(loops: Sequence[LoopSpec], *, truth: bool) -> float:
    """The memory of a plant that has streamed for two minutes, for each loop."""
    tracemalloc.start()
    try:
        plant = Plant(loops, start=START, measures_truth=truth)
        for _ in range(130):
            plant.advance(1)
        gc.collect()  # garbage in circles is there or not by chance
        return tracemalloc.get_traced_memory()[0] / len(loops) / 1000.0
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("make", "samples"), [(sticky_flows, 1), (sticky_flows, 60), (cascades, 1)])
def test_the_truth_of_a_thousand_sticky_loops(
        make: Callable[[int], list[LoopSpec]], samples: int, results: Results) -> None:
    loops = make(LOOPS)
    with_truth, without = (Plant(loops, start=START, measures_truth=truth) for truth in (True, False))
    ticks = 60 if CAMPAIGNS else 20

    def seconds(plant: Plant) -> float:
        start = process_time()
        for _ in range(max(1, ticks // samples)):
            plant.advance(samples)
        return process_time() - start

    own, other, quicker = in_pairs(lambda: seconds(with_truth), lambda: seconds(without), 15 if CAMPAIGNS else 3)
    values = max(ticks, samples) * LOOPS
    results.against(f"{LOOPS:,} loops: {make.__name__}, {samples} samples at a time", "samples/s",
                    ("with truth", values / own), {"without": values / other})
    if samples == 1 and CAMPAIGNS:  # few rounds beside other tests do not show it
        assert 1.0 / quicker < LIVE_RATIO


@pytest.mark.parametrize(("make", "most"), [(sticky_flows, 1.4), (cascades, 1.45), (refinery, 3.7)])
def test_the_truth_needs_little_memory(
        make: Callable[[int], list[LoopSpec]], most: float, results: Results) -> None:
    loops = make(LOOPS // 4)
    Plant(loops, start=START).advance(1)  # what is imported, and computed once for loops that are alike, is not theirs
    without, with_truth = (kilobytes(loops, truth=truth) for truth in (False, True))
    results.add(f"memory of {len(loops)} loops: {make.__name__}", "the plant alone", without, "kB a loop")
    results.add(f"memory of {len(loops)} loops: {make.__name__}", "with truth", with_truth, "kB a loop")
    assert with_truth - without < most  # kB a loop
