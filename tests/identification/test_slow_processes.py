"""Processes so slow that a record is short for them: what it does not tell is a prior, and said to be one.

With CLPM_LONG=1 the population is large and the shares are printed; otherwise it is one loop.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated_records import record_of, run
from test_recovery import SAMPLES, SP_MOVE_SAMPLES, draw_around, report_share
from tiers import CAMPAIGNS

from clpm_execd.identification.learn import LearnedLoop, learn
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.specs import LoopSpec, Move
from clpm_execd.plant.tuning import tune_controller

pytestmark = pytest.mark.slow

SEEDS = range(20) if CAMPAIGNS else range(1)


def composition(seed: int) -> LoopSpec:
    """An analyser's loop whose process and tuning are drawn around the typical ones, three moves of SP in two hours."""
    chance = np.random.default_rng([seed, 5])
    loop = template("composition", f"AIC{seed}", (0.0, 100.0))
    process = replace(loop.process, gain=draw_around(chance, loop.process.gain, 0.3),
                      tau=tuple(draw_around(chance, tau, 0.4) for tau in loop.process.tau),
                      dead_time=round(draw_around(chance, loop.process.dead_time, 0.4), 2))
    loop = replace(loop, process=process)
    rule = tune_controller(loop, 1.0)
    sizes = chance.choice([-1.0, 1.0], 3) * chance.uniform(1.0, 4.0, 3)
    moves = tuple(Move(at=at * 10**9, sp=50.0 + size) for at, size in zip(SP_MOVE_SAMPLES, sizes.tolist(), strict=True))
    return replace(loop, moves=moves, controller=replace(rule, gain=draw_around(chance, rule.gain or 1.0, 0.2),
                                                         reset=draw_around(chance, rule.reset or 1.0, 0.2)))


def learned(loop: LoopSpec, seed: int, interval: float = 1.0) -> LearnedLoop:
    block = run(loop, round(SAMPLES / interval), interval=interval, seed=seed)
    return learn(record_of(block), span=(0.0, 100.0))


@pytest.mark.parametrize("interval", [1.0, 10.0])
def test_an_analyser_whose_set_point_moves_is_no_integrator_and_its_intervals_hold(interval: float) -> None:
    loops = [composition(seed) for seed in SEEDS]
    results = [learned(loop, seed, interval) for seed, loop in zip(SEEDS, loops, strict=True)]
    assert report_share("of the type's model", [one.loop.process.model == "fopdt" for one in results]) >= 0.95
    for key in ("gain", "dead_time"):
        is_covered = [one.estimates[f"process.{key}"].low <= getattr(loop.process, key) <= one.estimates[
            f"process.{key}"].high for one, loop in zip(results, loops, strict=True)]
        assert report_share(f"interval of the process's {key} holds", is_covered) >= 0.8


def test_the_process_of_an_analyser_whose_set_point_never_moves_is_reported_as_a_default() -> None:
    for seed in SEEDS:
        loop = replace(composition(seed), moves=())
        results = learned(loop, seed)
        assert results.loop.process.model == "fopdt"
        gain = results.estimates["process.gain"]
        if gain.source == "prior":
            assert any("not identifiable" in warning for warning in results.warnings)
        assert gain.low <= loop.process.gain <= gain.high
