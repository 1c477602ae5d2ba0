"""Operators: a move shows at its instant exactly, by step or by ramp, and only where the operator has the say.

An SP is not taken in CAS, nor an OP outside MAN. Habits move the set point at human times, and take loops into MAN.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import sqrt

import numpy as np
import pytest
from still import START, move, ns, run, still

from clpm_execd.plant.block import AUT, CAS, MAN, SECOND, Block
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import FaultSpec, LoopSpec, Move, OperatorSpec


def at(block: Block, seconds: float) -> int:
    """The sample at so many seconds from the start."""
    return int(np.searchsorted(block.times, block.times[0] + ns(seconds)))


@pytest.mark.parametrize("scan", [0.1, 1.0, 5.0])
def test_a_step_shows_at_its_instant_and_not_before(scan: float) -> None:
    block = run(still(range=(0.0, 200.0), sp=80.0, moves=(move(20, sp=96.5),)), 400, scan)
    assert (block.sp[: at(block, 20), 0] == 80.0).all()
    assert (block.sp[at(block, 20):, 0] == 96.5).all()
    block = run(still(mode="MAN", moves=(move(20, op=61.25),)), 400, scan)
    assert (block.op[: at(block, 20), 0] == 50.0).all()
    assert (block.op[at(block, 20):, 0] == 61.25).all()


def test_a_move_between_two_scans_shows_at_the_next() -> None:
    block = run(still(moves=(move(20.3, sp=60.0),)), 40)
    assert block.sp[19:23, 0].tolist() == [50.0, 50.0, 60.0, 60.0]


def test_a_move_may_be_given_as_a_time() -> None:
    moves = (Move(at=START + ns(20), from_start=False, sp=60.0),)
    assert np.array_equal(run(still(moves=moves), 40).sp, run(still(moves=(move(20, sp=60.0),)), 40).sp)


def test_what_the_operator_did_before_the_start_is_done_in_order() -> None:
    moves = (Move(at=START - ns(10), from_start=False, sp=70.0), Move(at=START - ns(60), from_start=False, sp=60.0))
    assert (run(still(moves=moves), 5).sp == 70.0).all()


@pytest.mark.parametrize("late", [0.0, 0.25, 0.999])
def test_moves_count_from_the_start_wherever_that_lies(late: float) -> None:
    loop = still(moves=(move(0, sp=55.0), move(7, sp=60.0), Move(at=START + ns(late + 9), from_start=False, sp=65.0)))
    sp = Plant([loop], start=START + ns(late)).advance(12).sp[:, 0]
    assert sp == pytest.approx([55.0] * 7 + [60.0] * 2 + [65.0] * 3, abs=1e-9)


@pytest.mark.parametrize("scan", [0.1, 1.0, 5.0])
@pytest.mark.parametrize(("signal", "mode"), [("sp", "AUT"), ("op", "MAN")])
def test_a_ramp_is_a_straight_line_from_its_instant_to_its_end(signal: str, mode: str, scan: float) -> None:
    block = run(still(mode=mode, moves=(move(20, ramp=60, **{signal: 74.0}),)), round(120 / scan), scan)
    values = getattr(block, signal)[:, 0]
    since = (block.times - block.times[0]) / 1e9 - 20.0
    assert np.abs(values - np.clip(50.0 + 24.0 * since / 60.0, 50.0, 74.0)).max() < 1e-9
    assert values[at(block, 80)] == 74.0


def test_a_later_move_takes_over_from_a_ramp() -> None:
    sp = run(still(moves=(move(10, ramp=100, sp=70.0), move(60, sp=40.0))), 200).sp[:, 0]
    assert sp[59] == pytest.approx(50.0 + 20.0 * 0.49)
    assert (sp[60:] == 40.0).all()


def test_mode_and_op_at_one_instant_act_in_the_order_given() -> None:
    block = run(still(moves=(move(10, mode="MAN"), move(10, op=70.0), move(20, op=20.0), move(20, mode="AUT"))), 25)
    assert block.op[[9, 10, 19, 20], 0].tolist() == [50.0, 70.0, 70.0, 20.0]
    assert block.mode[[9, 10, 19, 20], 0].tolist() == [AUT, MAN, MAN, AUT]


def test_op_is_not_the_operators_outside_man() -> None:
    calm = run(still(), 60)
    assert np.array_equal(run(still(moves=(move(10, op=70.0), move(20, ramp=10, op=20.0))), 60).op, calm.op)


def test_a_ramp_ends_where_the_controller_takes_over() -> None:
    moves = (move(10, ramp=100, op=90.0), move(30, mode="AUT"), move(40, mode="MAN"))
    block = run(still(mode="MAN", moves=moves), 120)
    assert block.op[30, 0] == block.op[29, 0] == pytest.approx(50.0 + 40.0 * 0.19)
    assert (block.op[40:, 0] == block.op[39, 0]).all()


def test_sp_is_not_the_operators_in_cas() -> None:
    master = still("MASTER", moves=(move(5, sp=60.0),))

    def slave(*moves: Move) -> LoopSpec:
        return still("SLAVE", cascade="MASTER", mode="CAS", moves=moves)

    ignored = run([master, slave(move(10, sp=90.0), move(30, ramp=10, sp=20.0))], 60)
    assert np.array_equal(ignored.sp, run([master, slave()], 60).sp)


def habitual(loops: int, interval: float, days: int) -> Block:
    """Days of loops in steps of a minute, with moves of SP by habit."""
    each = [still(f"L{i}", operator=OperatorSpec(interval=interval, size=8.0)) for i in range(loops)]
    return Plant(each, seed=5, start=START, interval=ns(60), scan=ns(60)).advance(days * 1440)


@pytest.mark.slow
def test_habits_keep_their_mean_interval_their_size_and_their_distance() -> None:
    loops, interval, days = 20, 4 * 3600.0, 20
    block = habitual(loops, interval, days)
    moves = np.diff(block.sp, axis=0) != 0
    quarters, chance = loops * days * 96, 900.0 / interval
    assert abs(moves.sum() - quarters * chance) < 5.0 * sqrt(quarters * chance) + quarters * chance * 0.01
    for moved in moves.T:
        assert np.diff(np.flatnonzero(moved)).min() >= 5  # min
    assert block.sp.min() >= 50.0 - 2.0 * 8.0 - 0.05
    assert block.sp.max() <= 50.0 + 2.0 * 8.0 + 0.05
    assert np.array_equal(block.sp, np.round(block.sp, 1))
    # A normal draw cut at two sigmas has a standard deviation of 0.95 sigma.
    targets = block.sp[1:][moves]
    assert np.std(targets) == pytest.approx(0.953 * 8.0, rel=5.0 / sqrt(2 * len(targets)))


def test_no_two_operators_move_at_the_same_times() -> None:
    block = habitual(6, 3600.0, 5)
    moves = (np.diff(block.sp, axis=0) != 0).astype(float)
    together = np.corrcoef(moves.T)[np.triu_indices(6, 1)]
    assert np.abs(together).max() < 5.0 / sqrt(len(moves))


@pytest.mark.parametrize("scan", [0.1, 1.0, 5.0])
def test_a_wave_is_a_sine_around_sp_that_begins_at_the_start(scan: float) -> None:
    block = run(still(range=(0.0, 200.0), sp=90.0, operator=OperatorSpec(wave=4.0, period=300.0)), 900, scan)
    since = np.arange(900) * scan
    assert np.abs(block.sp[:, 0] - (90.0 + 8.0 * np.sin(2.0 * np.pi * since / 300.0))).max() < 1e-9


@pytest.mark.slow
def test_operators_move_more_by_day_than_by_night() -> None:
    block = habitual(loops=30, interval=3600.0, days=20)
    moved = (np.diff(block.sp, axis=0) != 0).sum(axis=1)
    hour = block.times[1:] // ns(3600) % 24
    day, night = (int(moved[of].sum()) for of in ((hour >= 6) & (hour < 18), (hour < 6) | (hour >= 18)))
    # 14,400 moves in all: the share by day has a standard deviation of 0.4 %.
    assert day / (day + night) == pytest.approx(0.65, abs=0.02)


def test_the_day_may_have_any_shape() -> None:
    each = [still(f"L{i}", operator=OperatorSpec(interval=3600.0, size=8.0, day=(0.0, 0.0, 3.0))) for i in range(10)]
    block = Plant(each, seed=5, start=START, interval=ns(60), scan=ns(60)).advance(10 * 1440)
    moved = (np.diff(block.sp, axis=0) != 0).sum(axis=1)
    assert not moved[block.times[1:] // ns(3600) % 24 < 16].any()
    assert moved.sum() == pytest.approx(2400, rel=0.1)  # an hour apart on average, whatever the shape


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["AUT", "MAN"])
def test_a_habit_of_man_keeps_its_mean_times_and_nobody_is_there_and_back_at_once(mode: str) -> None:
    habit = OperatorSpec(automatic=3600.0, manual=900.0)
    block = Plant([still(f"L{i}", operator=habit, mode=mode) for i in range(40)], seed=5, start=START,
                  interval=ns(10), scan=ns(10)).advance(2 * 8640)
    assert (block.mode[0] == (MAN if mode == "MAN" else AUT)).all()
    stays: dict[int, list[int]] = {AUT: [], MAN: []}
    for modes in block.mode.T:
        at = np.flatnonzero(np.diff(modes)) + 1
        for begin, end in pairwise(at):
            stays[int(modes[begin])].append(10 * (end - begin))
    for of, mean in ((AUT, 3600.0), (MAN, 900.0)):
        assert np.mean(stays[of]) == pytest.approx(mean, rel=5.0 * 0.8 / sqrt(len(stays[of])))
        assert min(stays[of]) >= 0.2 * mean - 10.0


def test_a_slave_goes_back_into_cascade_by_habit() -> None:
    slave = still("SLAVE", cascade="MASTER", mode="CAS", operator=OperatorSpec(automatic=60.0, manual=60.0))
    block = run([still("MASTER"), slave], 1000)
    assert set(block.mode[:, block.loops.index("SLAVE")].tolist()) == {CAS, MAN}


def test_in_manual_the_operator_moves_op_a_few_times_a_shift_and_sp_rests() -> None:
    typical = template("temperature", "TIC", (0.0, 100.0))
    habits = OperatorSpec(interval=2.0 * 3600.0, size=2.0)
    load = FaultSpec(kind="load-step", parameters={"size": 6.0})
    plant = [replace(typical, id=f"TIC{i}", mode="MAN", operator=habits, faults=(load,)) for i in range(20)]
    block = Plant(plant, start=0, interval=60 * SECOND, scan=10 * SECOND).advance(24 * 60)
    moves = (np.diff(block.op, axis=0) != 0.0).sum(axis=0)
    assert np.ptp(block.sp) == 0.0
    assert 2 <= np.median(moves) <= 12
    first_hour, last_hour = (np.abs(block.pv[at] - block.sp[at]).mean() for at in (slice(30, 90), slice(-60, None)))
    assert last_hour < 0.5 * first_hour, "OP brings PV back"
    np.testing.assert_array_equal(block.op, np.round(block.op * 2.0) / 2.0)
