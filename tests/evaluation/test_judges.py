"""Streams of fitted loops are hardly distinguished from their records, by three judges, on two populations of loops.

The floor is what the judges make of the second halves of the same records.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from judges import JUDGES, Case, evaluate, swinging_loops
from plant_records import plant_records
from simulated_records import START, run

from clpm_execd.evaluation.similarity import novelty_ratio
from clpm_execd.identification.learn import learn
from clpm_execd.plant.block import AUT, SECOND, Floats
from clpm_execd.records.record import Record, read_record

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(3600)]

TIMES = 10  # the stream is so many times as long as the record
OFFSET_PARTS = 5
HOLD_SAMPLES = 3
EVERY = 3  # of the windows that are fitted in other units, one in three
ABOVE_FLOOR = {64: 0.05, 256: 0.06}  # by samples of a window
SAME_WITHIN = 0.04  # of a copy, over the record itself: with so few windows boosting varies by it with the last digits


def plant_windows() -> Iterator[Case]:
    for path in plant_records("plant_windows/*/*.txt", least=80):
        record = read_record(path)
        signals = np.column_stack([record.pv, record.op, record.sp])
        if record.interval == 10 * SECOND and np.ptp(record.pv) > 0.0 and np.isfinite(signals).all():
            half = len(signals) // 2
            yield Case(signals[:half], signals[half:], 10.0, re.split(r"_(?:\d{4}|\d{8})_", path.name)[0])


def stream_of(case: Case) -> Floats:
    """Return (T, 3) PV, OP and SP of the loop that is fitted to the first half, free-running."""
    signals = case.first
    interval = round(case.interval * SECOND)
    record = Record((case.loop,), START + interval * np.arange(len(signals)), *np.hsplit(signals, 3),
                    np.full((len(signals), 1), AUT, dtype=np.int8), interval, ())
    block = run(learn(record).loop, TIMES * len(signals), interval=case.interval)
    return np.column_stack([block.pv, block.op, block.sp])


def scale(signals: Floats, pv: tuple[float, float], op: tuple[float, float]) -> Floats:
    """Return signals times a factor plus an offset; SP is in the unit of PV."""
    factors, offsets = np.transpose([pv, op, pv])
    return signals * factors + offsets


def unscale(signals: Floats, pv: tuple[float, float], op: tuple[float, float]) -> Floats:
    factors, offsets = np.transpose([pv, op, pv])
    return (signals - offsets) / factors


def standardisation(signals: Floats) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the factors and offsets that give PV and OP a mean of 0 and a deviation of 1."""
    means, deviations = signals.mean(axis=0), np.maximum(signals.std(axis=0), 1e-9)
    return ((1.0 / deviations[0], -means[0] / deviations[0]), (1.0 / deviations[1], -means[1] / deviations[1]))


def in_unit(pv: tuple[float, float], op: tuple[float, float]) -> Callable[[Case], Floats]:
    """Return what fits a record in another unit and gives its stream in the record's unit."""
    return lambda case: unscale(stream_of(replace(case, first=scale(case.first, pv, op))), pv, op)


def standardised(case: Case) -> Floats:
    return in_unit(*standardisation(case.first))(case)


def with_another_interval(case: Case) -> Floats:
    return stream_of(replace(case, interval=60.0))


def with_values_held(case: Case) -> Floats:
    return stream_of(replace(case, first=np.repeat(case.first, HOLD_SAMPLES, axis=0)))[::HOLD_SAMPLES]


def with_op_late(case: Case) -> Floats:
    late = case.first.copy()
    late[1:, 1] = case.first[:-1, 1]
    stream = stream_of(replace(case, first=late))
    return np.column_stack([stream[:-1, 0], stream[1:, 1], stream[:-1, 2]])


def offset(signals: Floats, samples: int) -> float:
    """Return the 95 % point of |mean of PV - SP| over so many samples."""
    means = np.convolve(signals[:, 0] - signals[:, 2], np.full(samples, 1.0 / samples), "valid")
    return float(np.quantile(np.abs(means), 0.95))


@pytest.mark.parametrize("population", [plant_windows, swinging_loops])
def test_streams_are_as_hard_to_distinguish_as_second_halves(population: Callable[[], Iterator[Case]]) -> None:
    cases = list(population())
    streams = [stream_of(case) for case in cases]
    loops, firsts, seconds = zip(*((case.loop, case.first, case.second) for case in cases), strict=True)
    novelty = np.nanmedian([novelty_ratio(case.first[:, :2], stream[:, :2], case.second[:, :2])
                            for case, stream in zip(cases, streams, strict=True)])
    fifths = [len(case.first) // OFFSET_PARTS for case in cases]
    ratios = np.array([offset(stream, fifth) / max(offset(case.first, fifth), 1e-9)
                       for case, stream, fifth in zip(cases, streams, fifths, strict=True)])
    within = float(np.mean(ratios <= 2.0))
    print(f"\n{len(cases)} records: novelty {novelty:.2f}, offset within twice the record's in {within:.0%}")
    for length in (64, 256):
        floor, fitted = (evaluate(firsts, others, loops, length) for others in (seconds, streams))
        for name, low, high in zip(JUDGES, floor, fitted, strict=True):
            print(f"{length} samples, {name}: second halves {low:.3f}, streams {high:.3f}")
            assert high <= max(low, 0.5) + ABOVE_FLOOR[length]
    assert novelty >= 0.95
    assert within >= 0.93


@pytest.mark.parametrize("copy", [
    in_unit((1.0, 0.0), (0.01, 0.0)), in_unit((1.0, 0.0), (0.16, 4.0)), in_unit((1.0, 0.0), (2.0, -100.0)),
    in_unit((1.0, 0.0), (-1.0, 100.0)), in_unit((1.8, 32.0), (1.0, 0.0)), standardised, with_another_interval,
    with_values_held, with_op_late,
], ids=["OP as fraction", "OP in mA", "OP from -100 to 100", "OP reversed", "PV in another unit", "standardised",
        "another interval", "values held", "OP late"])
def test_a_transformed_copy_is_as_hard_to_distinguish(copy: Callable[[Case], Floats]) -> None:
    cases = list(plant_windows())[::EVERY]
    loops, firsts = [case.loop for case in cases], [case.first for case in cases]
    plain, other = (evaluate(firsts, [stream(case) for case in cases], loops, 64) for stream in (stream_of, copy))
    for name, one, two in zip(JUDGES, plain, other, strict=True):
        print(f"{name}: {one:.3f}, transformed {two:.3f}")
        assert two <= max(one, 0.5) + SAME_WITHIN
