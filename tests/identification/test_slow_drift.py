"""What drifts more slowly than a record is long drifts as far in the loop learned from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated_records import START, flow, record_of, run

from clpm_execd.identification.disturbance.slow_drift import lived
from clpm_execd.identification.learn import LearnedLoop, learn
from clpm_execd.plant.block import Block
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import DisturbanceSpec, LoopSpec

pytestmark = pytest.mark.slow

SAMPLES = 400  # 10 s each: a fifth of the time in which the load turns


@pytest.fixture(scope="module")
def learned() -> list[tuple[Block, LearnedLoop]]:
    """Records of a flow loop under a slow load, and what was learned from each."""
    loop = replace(flow(), disturbance=DisturbanceSpec(sigma=6.0, correlation=20_000.0))
    records = [run(loop, SAMPLES, interval=10.0, seed=seed) for seed in (2, 4, 5, 6)]
    return [(block, learn(record_of(block), span=(0.0, 100.0))) for block in records]


def wandered(loop: LoopSpec) -> float:
    """How far OP of the loop, run free, typically wanders within the time of a record: a standard deviation, %."""
    loops = [replace(loop, id=f"{loop.id} {k}") for k in range(16)]
    block = Plant(loops, seed=5, start=START, interval=10**10, scan=10**10).advance(3 * SAMPLES)
    return float(np.median(block.op.reshape(3, SAMPLES, -1).std(axis=1)))


def share(block: Block, loop: LoopSpec) -> float:
    return wandered(loop) / float(block.op.std())


def test_op_wanders_as_far_within_the_time_of_the_record(learned: list[tuple[Block, LearnedLoop]]) -> None:
    assert np.mean([share(block, one.loop) for block, one in learned]) == pytest.approx(1.0, abs=0.15)


def test_without_the_drift_it_would_not(learned: list[tuple[Block, LearnedLoop]]) -> None:
    for block, one in learned:
        assert one.loop.learned_model is not None
        bare = replace(one.loop, learned_model=replace(one.loop.learned_model, drift=np.zeros(4)))
        assert share(block, bare) < share(block, one.loop)


def test_what_it_is_sized_by_wanders_as_the_plant_does(learned: list[tuple[Block, LearnedLoop]]) -> None:
    def spread(op: np.ndarray) -> float:
        return float(np.log(op.std(axis=0)).mean())

    for _, one in learned:
        assert one.loop.learned_model is not None
        bare = replace(one.loop, learned_model=replace(one.loop.learned_model, drift=np.zeros(4)))
        loops = [replace(bare, id=f"{bare.id} {k}") for k in range(64)]
        block = Plant(loops, seed=7, start=START, interval=10**10, scan=10**10).advance(SAMPLES + SAMPLES // 10)
        free = lived(bare, one.loop.learned_model, SAMPLES)
        assert spread(free[..., 1].T) == pytest.approx(spread(block.op[-SAMPLES:]), abs=0.25)


def test_it_stays_near_for_ever(learned: list[tuple[Block, LearnedLoop]]) -> None:
    for block, one in learned:
        later = Plant([one.loop], seed=6, start=START, interval=10**10, scan=10**10).advance(30 * SAMPLES)
        assert np.abs(later.op - block.op.mean()).max() < 10.0 * block.op.std()
