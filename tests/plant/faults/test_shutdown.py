"""A unit that is shut down and started up again, loop by loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from faulty_loops import START, fault, loop, run

from clpm_execd.plant.block import AUT, CAS, MAN, Block
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import LoopSpec, OperatorSpec

HOUR = 360  # samples of 10 s
SHUTDOWN = fault("shutdown", 3600.0, 5 * 3600.0, over=3600.0)  # from 1 h on; still from 2 to 5 h; over at 6 h


def unit() -> list[LoopSpec]:
    flows = [loop(SHUTDOWN, loop_id=f"FIC10{k}", operator=OperatorSpec(interval=900.0)) for k in range(4)]
    slave = loop(SHUTDOWN, loop_id="FIC200", cascade="TIC200", mode="CAS")
    return [*flows, loop(SHUTDOWN, loop_id="TIC200", kind="temperature"), slave,
            loop(SHUTDOWN, loop_id="LIC300", kind="level")]


@pytest.fixture(scope="module")
def block() -> Block:
    return run(*unit(), samples=8 * HOUR, interval=10.0)


def changes(mode: npt.NDArray[np.int8]) -> list[int]:
    """Return the samples at which a mode changes."""
    return (np.flatnonzero(np.diff(mode)) + 1).tolist()


def test_loops_go_to_manual_one_after_another_and_return_one_after_another(block: Block) -> None:
    times = [changes(block.mode[:, i]) for i in range(4)]
    assert all(len(each) == 2 for each in times)
    for which, first, last in ((0, 1 * HOUR, 2 * HOUR), (1, 5 * HOUR, 6 * HOUR)):
        at = [each[which] for each in times]
        assert len(set(at)) == 4
        assert first < min(at) <= max(at) < last
    assert (block.mode[-1, :4] == AUT).all()
    assert block.mode[-1, 5] == CAS


def test_the_unit_stands_still_with_closed_valves_and_nothing_in_its_pipes(block: Block) -> None:
    still = slice(2 * HOUR + 60, 5 * HOUR)
    flows = [0, 1, 2, 3, 5]
    assert (block.mode[still][:, flows] == MAN).all()
    assert (block.op[still][:, flows] == 0.0).all()
    assert np.abs(block.pv[still][:, [*flows, 4]]).max() < 2.0


def test_a_level_stays_in_automatic_where_it_is(block: Block) -> None:
    assert (block.mode[:, 6] == AUT).all()
    assert np.abs(block.pv[:, 6] - block.sp[:, 6]).max() < 5.0


def test_after_the_start_up_all_is_as_before(block: Block) -> None:
    assert np.abs(block.pv[7 * HOUR:].mean(axis=0) - block.pv[:HOUR].mean(axis=0)).max() < 2.0


def test_a_shutdown_is_no_fault_and_nothing_is_visible_in_it(block: Block) -> None:
    truth = block.truth
    assert truth is not None
    assert set(truth.kinds) == {"shutdown"}
    assert all(truth.control)
    assert not truth.present.any()
    assert not truth.visible.any()
    assert np.array_equal(truth.severity[:, 0] > 0, (np.arange(8 * HOUR) >= HOUR) & (np.arange(8 * HOUR) < 6 * HOUR))


@pytest.mark.slow
def test_a_plant_that_is_stopped_while_it_is_shut_down_goes_on_as_if_it_was_not() -> None:
    sticky = [replace(each, faults=(*each.faults, fault("stiction"))) for each in unit()[:2]]
    whole = Plant(sticky, start=START, interval=10 * 10**9)
    whole.advance(600)
    for samples in (900, 400, 400):  # cut as it closes, stands still and opens
        second = Plant(sticky, start=whole.next_time, interval=10 * 10**9, snapshot=whole.snapshot())
        resumed, expected = second.advance(samples), whole.advance(samples)
        for signal in ("pv", "op", "sp", "mode"):
            assert np.array_equal(getattr(resumed, signal), getattr(expected, signal))


def test_maintenance_is_a_time_in_manual_that_is_no_fault() -> None:
    block = run(loop(fault("maintenance", 600.0, 1200.0)), samples=2400)
    assert block.truth is not None
    assert not block.truth.present.any()
    assert np.array_equal(block.mode[:, 0] == MAN, block.truth.severity[:, 0] > 0)
    assert block.mode[1000, 0] == MAN
