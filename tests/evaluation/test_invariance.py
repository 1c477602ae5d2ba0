"""`learn` gives the same loop for a record in other units, with OP reversed or late, held values, or in two files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from plant_records import plant_records
from simulated_records import SECOND, START, add_sp_moves, flow, record_of, run

from clpm_execd.identification.learn import LearnedLoop, learn
from clpm_execd.plant.block import Floats
from clpm_execd.records.merging import merge_records
from clpm_execd.records.record import Record, read_record

pytestmark = pytest.mark.slow

SAMPLES = 1500
HOLD_SAMPLES = 3
REFINERY_STEP = 6  # of the records, one in so many
PERCENT = (0.0, 100.0)
FAHRENHEIT, MILLIAMPERES = (1.8, 32.0), (0.16, 4.0)  # factor and offset of a unit over per cent
POWERS = {  # of the factor of PV and of that of OP, for estimates that have a unit
    "sp": (1, 0), "sensor.noise": (1, 0), "operator.size": (1, 0), "recording.resolution.pv": (1, 0),
    "op": (0, 1), "disturbance.sigma": (0, 1), "oscillation.amplitude": (0, 1), "stiction.S": (0, 1),
    "stiction.J": (0, 1), "recording.resolution.op": (0, 1), "controller.gain": (-1, 1), "process.gain": (1, -1)}


def flow_record(interval: float, samples: int = SAMPLES) -> Record:
    return record_of(run(add_sp_moves(flow(), 4.0), samples, interval=interval, scan=1.0))


@pytest.fixture(scope="module")
def record() -> Record:
    return flow_record(1.0)


@pytest.fixture(scope="module")
def plain(record: Record) -> LearnedLoop:
    return learn(record, span=PERCENT)


def with_units(record: Record, pv: tuple[float, float], op: tuple[float, float]) -> Record:
    return replace(record, pv=pv[0] * record.pv + pv[1], sp=pv[0] * record.sp + pv[1], op=op[0] * record.op + op[1])


def in_units_of_the_record(learned: LearnedLoop) -> dict[str, float]:
    """Return the sizes of the estimates, those of PV and OP in the units in which these are recorded."""
    (low, high), (op_low, op_high) = learned.loop.range, learned.loop.recording.op_range
    per_cent = (high - low) / 100.0, (op_high - op_low) / 100.0
    sizes = {}
    for key, estimate in learned.estimates.items():
        recorded = key in ("sp", "op") or key.startswith("recording.")
        powers = (0, 0) if recorded else POWERS.get(key, (0, 0))
        sizes[key] = abs(estimate.value) * per_cent[0]**powers[0] * per_cent[1]**powers[1]
    return sizes


def with_op_late(record: Record) -> Record:
    return replace(record, op=np.roll(record.op, 1, axis=0))


def with_values_held(record: Record) -> Record:
    pv, op, sp, mode = (np.repeat(part, HOLD_SAMPLES, axis=0)
                        for part in (record.pv, record.op, record.sp, record.mode))
    times = START + record.interval * np.arange(len(pv))
    return replace(record, times=times, pv=pv, op=op, sp=sp, mode=mode)


@pytest.mark.parametrize("unit_of_op", [MILLIAMPERES, (-0.01, 1.0)], ids=["mA", "fraction closed"])
def test_a_record_in_other_units_is_the_same_loop_to_a_millionth(
        record: Record, plain: LearnedLoop, unit_of_op: tuple[float, float]) -> None:
    assert_same_to_a_millionth(plain, learn(with_units(record, FAHRENHEIT, unit_of_op)), FAHRENHEIT, unit_of_op)


def test_a_slow_record_in_other_units_is_the_same_loop_to_a_millionth() -> None:
    record = flow_record(10.0, 600)
    assert_same_to_a_millionth(learn(record), learn(with_units(record, FAHRENHEIT, MILLIAMPERES)), FAHRENHEIT,
                               MILLIAMPERES)


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_refinery_records_in_other_units_are_the_same_loops() -> None:
    """A fit may end by its tolerance, and streams of a sticking valve part: neither counts."""
    for path in plant_records("plant_windows/*/*.txt", least=80)[::REFINERY_STEP]:
        record = read_record(path)
        if np.ptp(record.pv) > 0.0:
            plain, copy = learn(record), learn(with_units(record, FAHRENHEIT, MILLIAMPERES))
            assert explanations(copy) == explanations(plain)
            assert_same_estimates(plain, copy, FAHRENHEIT, MILLIAMPERES, 0.01)


def explanations(learned: LearnedLoop) -> list[str]:
    """Return the hypotheses that are chosen, without the one about the model that streams the loop."""
    return [one.name for one in learned.hypotheses if one.is_chosen and not one.name.endswith("stream PV and OP")]


def assert_same_to_a_millionth(plain: LearnedLoop, copy: LearnedLoop, pv: tuple[float, float],
                               op: tuple[float, float]) -> None:
    """Assert the same choices and estimates. The ranges are not in the records, and the assumed ones differ."""
    assert [one.name for one in copy.hypotheses if one.is_chosen] == [
        one.name for one in plain.hypotheses if one.is_chosen]
    assert_same_estimates(plain, copy, pv, op, 1e-6)


def assert_same_estimates(plain: LearnedLoop, copy: LearnedLoop, pv: tuple[float, float], op: tuple[float, float],
                          tolerance: float) -> None:
    expected = {}
    for key, size in in_units_of_the_record(plain).items():
        powers = POWERS.get(key, (0, 0))
        expected[key] = size * abs(pv[0])**powers[0] * abs(op[0])**powers[1]
    del expected["sp"], expected["op"]  # levels, which have an offset
    sizes = in_units_of_the_record(copy)
    assert {key: sizes[key] for key in expected} == pytest.approx(expected, rel=tolerance, abs=1e-9), plain.loop.id
    assert {key: one.source for key, one in copy.estimates.items()} == {
        key: one.source for key, one in plain.estimates.items()}


def test_rows_in_another_order_and_in_two_files_are_the_same_record(record: Record, tmp_path: Path) -> None:
    rows = [f"{time // SECOND},{pv!r},{op!r},{sp!r}\n" for time, pv, op, sp in zip(
        record.times.tolist(), record.pv[:, 0].tolist(), record.op[:, 0].tolist(), record.sp[:, 0].tolist(),
        strict=True)]

    def read(name: str, part: Sequence[str]) -> Record:
        path = tmp_path / f"{name}.csv"
        path.write_text("time,FIC1.PV,FIC1.OP,FIC1.SP\n" + "".join(part), encoding="utf-8")
        return read_record(path)

    whole, half = read("whole", rows), SAMPLES // 2
    [joined] = merge_records([read("second", rows[half:]), read("first", rows[:half])])
    for other in (read("reversed", rows[::-1]), joined):
        for name in ("times", "pv", "op", "sp", "mode", "interval", "loops"):
            assert np.array_equal(getattr(other, name), getattr(whole, name))


in_other_units = partial(with_units, pv=(2000.0, -5e4), op=MILLIAMPERES)
with_op_reversed = partial(with_units, pv=(1.0, 0.0), op=(-1.0, 100.0))


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
