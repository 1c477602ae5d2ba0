"""What is learned from a record: numbers that hold, each with where it comes from, and a loop that lives on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from recorded import flow, moved, record_of, run

from clpm_execd.history import fidelity
from clpm_execd.history.learned import Learned, learn
from clpm_execd.plant.block import Block
from clpm_execd.plant.loop import ControllerSpec
from clpm_execd.plant.tuning import tuned


@pytest.fixture(scope="module")
def day() -> Block:
    """Two hours of a flow loop whose set point is moved three times."""
    return run(moved(flow(), 3.0, -2.0, 2.5), 7200)


@pytest.fixture(scope="module")
def learned(day: Block) -> Learned:
    return learn(record_of(day), span=(0.0, 100.0))


def test_levels_and_resolution_are_read_off_the_record(day: Block, learned: Learned) -> None:
    assert learned.estimates["sp"].value == pytest.approx(day.sp.mean())
    assert learned.estimates["op"].value == pytest.approx(day.op.mean())
    assert learned.loop.recording.resolution.pv == 0.02
    assert learned.loop.recording.resolution.op == 0.01
    assert learned.estimates["recording.resolution.pv"].source == "record"


def test_the_controller_is_found_within_a_per_cent(learned: Learned) -> None:
    truth = tuned(flow(), 1.0)
    for key, value in (("gain", truth.gain), ("reset", truth.reset)):
        found = learned.estimates[f"controller.{key}"]
        assert found.source == "identified"
        assert found.value == pytest.approx(value, rel=0.01)
        assert found.low <= value <= found.high


def test_a_derivative_is_found_and_none_where_there_is_none(learned: Learned) -> None:
    controller = ControllerSpec(gain=2.0, reset=60.0, derivative=12.0, derivative_filter=8.0)
    loop = replace(flow("TIC101"), type="temperature", controller=controller,
                   process=replace(flow().process, tau=(60.0,), dead_time=5.0))
    found = learn(record_of(run(moved(loop, 2.0, -3.0), 7200)), span=(0.0, 100.0)).loop.controller
    assert found.derivative == pytest.approx(12.0, rel=0.1)
    assert learned.loop.controller.derivative == 0.0


def test_a_controller_that_acts_directly_is_known(day: Block) -> None:
    loop = moved(replace(flow(), process=replace(flow().process, gain=-1.1)), 3.0, -2.0)
    found = learn(record_of(run(loop, 3600)), span=(0.0, 100.0)).loop
    assert found.controller.action == "direct"
    assert found.process.gain < 0


def test_the_learned_loop_lives_on_like_its_record(day: Block, learned: Learned) -> None:
    later = run(learned.loop, 14_400, seed=2)
    real, synthetic = (np.column_stack([block.pv[:, 0], block.op[:, 0]]) for block in (day, later))
    apart = fidelity.distances(real, synthetic)
    assert apart.acf < 0.15
    assert apart.psd < 0.15
    assert apart.ccf < 0.1
    assert fidelity.copy_ratio(real[:3600], synthetic, real[3600:]) > 0.9


def test_a_record_of_nothing_is_a_typical_loop_with_words(day: Block) -> None:
    record = record_of(day)
    nothing = replace(record, pv=np.full_like(record.pv, np.nan))
    found = learn(nothing)
    assert found.loop.laws is None
    assert any("no sample" in warning for warning in found.warnings)
