"""The throughput of a unit moves its loops over hours and days, and nothing in the short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tomli

from clpm_execd.config.loops import parse_configuration
from clpm_execd.plant.block import SECOND
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import DisturbanceSpec, LoopSpec, SensorSpec, ThroughputSpec

START = 1_700_000_000 * SECOND
MINUTE = 60 * SECOND
HOURS = 24


def loops(count: int, unit: str, **throughput: Any) -> list[LoopSpec]:
    """Pressures without noise and load, so that OP shows the throughput alone."""
    return [replace(template("pressure", f"{unit}{i}", (0.0, 100.0)), sensor=SensorSpec(noise=0.0),
                    disturbance=DisturbanceSpec(sigma=0.0), throughput=ThroughputSpec(unit=unit, **throughput))
            for i in range(count)]


def hourly_op(plant: Sequence[LoopSpec]) -> npt.NDArray[np.float64]:
    """(hours, N) means of OP; scans of 10 s are enough for a slow load."""
    op = Plant(plant, start=START, interval=MINUTE, scan=10 * SECOND).advance(60 * HOURS).op
    return op.reshape(HOURS, 60, -1).mean(axis=1)


def test_op_moves_over_a_day_by_some_per_cent_and_hardly_within_minutes() -> None:
    op = Plant(loops(8, "A", sigma=3.0), start=START, interval=MINUTE, scan=10 * SECOND).advance(60 * HOURS).op
    assert 0.5 < np.median(op.std(axis=0)) < 4.0
    assert np.abs(np.diff(op, axis=0)).max() < 1.0
    assert np.median(np.abs(np.diff(op, axis=0))) < 0.05


def test_a_loop_starts_in_balance() -> None:
    op = Plant(loops(3, "A", sigma=10.0, ambient=5.0), start=START).advance(60).op
    assert np.abs(op - op[0]).max() < 0.2


def test_loops_of_a_unit_move_together_and_those_of_others_by_themselves() -> None:
    op = hourly_op([*loops(10, "A", sigma=3.0, gain=1.0), *loops(10, "B", sigma=3.0, gain=1.0)])
    correlation = np.corrcoef(op.T)
    within = correlation[:10, :10][np.triu_indices(10, 1)]
    assert np.median(within) > 0.4
    assert np.median(within) > np.median(np.abs(correlation[:10, 10:])) + 0.1


def test_other_loops_of_the_plant_change_nothing() -> None:
    together = Plant([*loops(2, "A", sigma=3.0), *loops(2, "B", sigma=2.0)], start=START).advance(900)
    alone = Plant(loops(2, "A", sigma=3.0)[1:], start=START).advance(900)
    np.testing.assert_array_equal(together.op[:, 1], alone.op[:, 0])


def test_a_gain_has_its_sign_and_a_loop_without_throughput_is_as_before() -> None:
    still, up, down = loops(3, "A", sigma=3.0)
    still = replace(still, throughput=ThroughputSpec())
    up, down = (replace(loop, id="X", throughput=ThroughputSpec(unit="A", sigma=3.0, gain=gain, lag=0.0))
                for loop, gain in ((up, 1.0), (down, -1.0)))
    op = [hourly_op([loop])[:, 0] for loop in (still, up, down)]
    assert np.ptp(op[0]) < 1e-9
    np.testing.assert_allclose(op[1] - 50.0, 50.0 - op[2], atol=0.05)


def test_the_noise_of_a_flow_follows_the_throughput() -> None:
    flows = [replace(template("flow", f"FIC{i}", (0.0, 100.0)), throughput=ThroughputSpec(unit="A", sigma=30.0))
             for i in range(30)]
    plant = Plant(flows, start=START, interval=10 * SECOND, scan=10 * SECOND)
    noises = []
    for _ in range(2):
        block = plant.advance(120)
        noises.append((block.pv - block.true_pv).std(axis=0))
        plant.advance(1800)
    ratio = noises[1] / noises[0]
    assert ratio.max() > 1.2
    assert ratio.min() < 0.8


@pytest.mark.parametrize("parts", [(900,), (1, 400, 1, 498)])
def test_every_length_of_a_block_gives_the_same_samples(parts: tuple[int, ...]) -> None:
    plant = loops(3, "A", sigma=3.0)
    whole = Plant(plant, start=START).advance(900).pv
    source = Plant(plant, start=START)
    np.testing.assert_array_equal(whole, np.concatenate([source.advance(n).pv for n in parts]))


def test_a_plant_resumes_with_the_same_throughput() -> None:
    plant = loops(3, "A", sigma=3.0)
    source = Plant(plant, start=START)
    source.advance(500)
    resumed = Plant(plant, start=source.next_time, snapshot=source.snapshot())
    np.testing.assert_array_equal(resumed.advance(400).op, source.advance(400).op)


def test_unit_sets_the_throughput_of_all_loops_by_their_area() -> None:
    text = '[unit]\nsigma = 3\n[[loop]]\nid = "F1"\narea = "crude"\n' \
           '[[loop]]\nid = "F2"\nthroughput = { sigma = 1, unit = "naphtha" }'
    first, second = parse_configuration(tomli.loads(text)).loops
    assert first.throughput == ThroughputSpec(unit="crude", sigma=3.0)
    assert second.throughput == ThroughputSpec(unit="naphtha", sigma=1.0)


def test_all_users_of_a_utility_feel_its_pressure_at_once_and_alike() -> None:
    users = [*loops(4, "A", utility="steam", utility_sigma=2.0), *loops(4, "B", utility="steam", utility_sigma=2.0)]
    op = hourly_op([*users, *loops(4, "C", utility="cooling water", utility_sigma=2.0)])
    correlation = np.corrcoef(op.T)
    assert correlation[:8, :8].min() > 0.99
    assert np.abs(correlation[:8, 8:]).max() < 0.8
    assert 0.3 < np.median(op.std(axis=0)) < 4.0


def test_a_utility_moves_nobody_who_does_not_name_it() -> None:
    alone = Plant(loops(2, "A"), start=START).advance(900)
    np.testing.assert_array_equal(Plant(loops(2, "A", utility_sigma=2.0), start=START).advance(900).op, alone.op)
