"""Where a sticky stem was is known although OP is recorded in steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated_records import add_sp_moves, record_of, run

from clpm_execd.identification.loop_data import signals_of
from clpm_execd.identification.process.prediction_error import Prediction
from clpm_execd.identification.valve.profile_likelihood import likely
from clpm_execd.identification.valve.slip_refinement import Slipped, Slips
from clpm_execd.identification.valve.stiction_search import stems_of
from clpm_execd.plant.block import Block, Floats
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.specs import FaultSpec, LoopSpec, RecordingSpec, Resolution

pytestmark = pytest.mark.slow

S, J = 5.0, 4.0


def sticky(kind: str, step: float, seed: int) -> tuple[LoopSpec, Block]:
    loop = add_sp_moves(template(kind, "X101", (0.0, 100.0)), 2.0, -2.0, 1.5)
    loop = replace(loop, faults=(FaultSpec(kind="stiction", parameters={"S": S, "J": J}),),
                   recording=RecordingSpec(resolution=Resolution(pv=0.01, op=step)))
    return loop, run(loop, 5400, seed=seed)


def found(kind: str, step: float, seed: int, s: float = S) -> tuple[Slips, Slipped, Floats, Floats]:
    """What is told of a valve of this S; where the stem was, and where OP as recorded would have put it."""
    loop, block = sticky(kind, step, seed)
    signals = signals_of(record_of(block), 0, (0.0, 100.0))
    prediction = Prediction(signals, loop.process)
    slips = Slips(prediction, signals.op, step)
    plain = stems_of(signals, [(s, J, 0.0)])[0]
    fit = prediction.behind(plain).fit(loop.process.dead_time, prediction.starts[0])
    assert fit is not None
    return slips, slips.likeliest((s, J, 0.0), fit), block.valve_position[:, 0], plain


def test_a_stem_that_an_exact_op_moves_is_the_plants() -> None:
    _, told, stem, plain = found("flow", 0.0, 1)
    assert np.array_equal(told.position, plain)
    assert np.abs(told.position - stem).max() < 1e-9


@pytest.mark.parametrize("kind", ["flow", "pressure", "level"])
def test_slips_that_rounding_hides_are_told_by_pv(kind: str) -> None:
    wrong = {"told": 0, "plain": 0}
    for seed in (1, 2, 3, 4):
        _, told, stem, plain = found(kind, 0.05, seed)
        wrong["told"] += int((np.abs(told.position - stem) > 0.5).sum())
        wrong["plain"] += int((np.abs(plain - stem) > 0.5).sum())
    assert wrong["told"] <= wrong["plain"] / 4


def test_the_likeliest_valve_is_found_from_a_near_one_and_its_interval_holds_the_true_one() -> None:
    slips, near, _, _ = found("pressure", 0.01, 1, s=0.99 * S)
    told = likely(slips, [near])
    assert told.s[1] <= S <= told.s[2]
    assert told.j[1] <= J <= told.j[2]
    assert told.s[2] - told.s[1] < 0.05 * S
    assert told.best.fit.cost < near.fit.cost


def test_a_valve_that_slips_too_soon_is_left_for_the_true_one_far_away() -> None:
    slips, near, _, _ = found("pressure", 0.01, 2, s=0.97 * S)
    told = likely(slips, [near])
    assert told.s[1] <= S <= told.s[2]
    assert told.best.fit.cost < near.fit.cost


def test_of_a_slow_process_the_intervals_hold_what_its_few_slips_leave_open() -> None:
    slips, near, _, _ = found("temperature", 0.01, 1, s=1.01 * S)
    told = likely(slips, [near])
    assert told.s[1] <= S <= told.s[2]
    assert told.j[1] <= J <= told.j[2]
    late = template("temperature", "X101", (0.0, 100.0)).process.dead_time
    below, above = told.process[1]
    assert told.best.fit.delay - below - 2.0 <= late <= told.best.fit.delay + above + 2.0


@pytest.mark.parametrize("first", [-0.5, 0.3])
def test_where_a_stem_was_at_first_is_told_by_its_first_slip(first: float) -> None:
    slips, near, stem, _ = found("pressure", 0.01, 1)
    told = slips.likeliest((S, J, first), near.fit)
    assert float(np.mean(np.abs(told.position - stem) > 0.5)) < 0.01


def test_a_gap_and_a_late_start_of_the_record_leave_the_stem_where_it_was() -> None:
    loop, block = sticky("pressure", 0.05, 1)
    op = block.op.copy()
    op[:5], op[2000:2100] = np.nan, np.nan
    signals = signals_of(record_of(replace(block, op=op)), 0, (0.0, 100.0))
    prediction = Prediction(signals, loop.process)
    fit = prediction.fit(loop.process.dead_time, prediction.starts[0])
    assert fit is not None
    told = Slips(prediction, signals.op, 0.05).likeliest((S, J, 0.0), fit)
    assert np.isfinite(told.position).all()
    assert float(np.mean(np.abs(told.position - block.valve_position[:, 0]) > 0.5)) < 0.1
