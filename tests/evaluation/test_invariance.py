"""`learn` gives the same loop for a record in other units, with OP reversed or late, or with held values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from simulated_records import START, add_sp_moves, flow, record_of, run

from clpm_execd.identification.learn import LearnedLoop, learn
from clpm_execd.plant.block import Floats
from clpm_execd.records.record import Record

pytestmark = pytest.mark.slow

SAMPLES = 1500
HOLD_SAMPLES = 3


@pytest.fixture(scope="module")
def record() -> Record:
    return record_of(run(add_sp_moves(flow(), 4.0), SAMPLES))


@pytest.fixture(scope="module")
def plain(record: Record) -> LearnedLoop:
    return learn(record, span=(0.0, 100.0))


def in_other_units(record: Record) -> Record:
    return replace(record, pv=2000.0 * record.pv - 5e4, sp=2000.0 * record.sp - 5e4, op=4.0 + 0.16 * record.op)


def with_op_reversed(record: Record) -> Record:
    return replace(record, op=100.0 - record.op)


def with_op_late(record: Record) -> Record:
    return replace(record, op=np.roll(record.op, 1, axis=0))


def with_values_held(record: Record) -> Record:
    pv, op, sp, mode = (np.repeat(part, HOLD_SAMPLES, axis=0)
                        for part in (record.pv, record.op, record.sp, record.mode))
    times = START + record.interval * np.arange(len(pv))
    return replace(record, times=times, pv=pv, op=op, sp=sp, mode=mode)


def move_within_windows(signal: Floats) -> float:
    windows = signal[:len(signal) // 60 * 60].reshape(-1, 60)
    return float(np.median(windows.std(axis=1)))


@pytest.mark.parametrize(("change", "span", "op_span", "time", "tolerance"), [
    (in_other_units, (-5e4, 1.5e5), (4.0, 20.0), 1, 0.01), (with_op_reversed, (0.0, 100.0), (0.0, 100.0), 1, 0.01),
    (with_op_late, (0.0, 100.0), (0.0, 100.0), 1, 0.02),
    (with_values_held, (0.0, 100.0), (0.0, 100.0), HOLD_SAMPLES, 0.05),
])
def test_a_changed_record_is_the_same_loop(
        record: Record, plain: LearnedLoop, change: Callable[[Record], Record], span: tuple[float, float],
        op_span: tuple[float, float], time: int, tolerance: float) -> None:
    changed = learn(change(record), span=span, op_span=op_span)
    controller, other = plain.loop.controller, changed.loop.controller
    assert other.gain == pytest.approx(controller.gain, rel=tolerance)
    assert other.reset == pytest.approx(time * (controller.reset or 0.0), rel=tolerance)
    sign = -1.0 if change is with_op_reversed else 1.0
    assert (other.action == controller.action) == (sign > 0.0)
    process, moved = plain.loop.process, changed.loop.process
    assert moved.gain == pytest.approx(sign * process.gain, rel=max(tolerance, 0.03))
    assert moved.tau[0] == pytest.approx(time * process.tau[0], rel=0.1)
    assert changed.loop.faults == plain.loop.faults == ()
    stream = run(changed.loop, 3000 * time)
    for name, unit in (("pv", (span[1] - span[0]) / 100.0), ("op", (op_span[1] - op_span[0]) / 100.0)):
        streamed, recorded = getattr(stream, name)[::time, 0] / unit, getattr(record, name)[:, 0]
        assert 0.6 < move_within_windows(streamed) / move_within_windows(recorded) < 1.5
    assert (np.diff(stream.pv[:, 0]) == 0.0).mean() >= 1.0 - 1.0 / time - 0.01
