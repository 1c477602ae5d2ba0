"""Faults over a record: it is changed where and when they are present, to the last bit nowhere else, and labelled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clpm_execd.config.loops import parse_configuration, read_configuration
from clpm_execd.plant.block import SECOND, Block
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import FaultSpec, LoopSpec
from clpm_execd.problems import BadInput
from clpm_execd.records import Record, Replay, read_record
from clpm_execd.records.faulty_replay import FaultyReplay

NOW = 1_800_000_000 * SECOND
STEP, SAMPLES = 10 * SECOND, 720
LEARNED = Path(__file__).parents[1] / "golden" / "learned"


@pytest.fixture(scope="module")
def record() -> Record:
    """Two hours of the default loops and, with a value missing now and then, of one more."""
    loops = parse_configuration({"loop": [{"id": "FIC1"}, {"id": "FIC2"}, {"id": "TIC1", "type": "temperature"}]}).loops
    block = Plant(loops, start=NOW, interval=STEP).advance(SAMPLES)
    pv = block.pv.copy()
    pv[::50, 2] = np.nan
    return Record(block.loops, block.times, pv, block.op, block.sp, block.mode, STEP, ())


def faulty(record: Record, *loops: LoopSpec, **options: object) -> FaultyReplay:
    return FaultyReplay([record], loops, start=NOW, interval=None, seed=1, **options)  # type: ignore[arg-type]


def with_fault(loop: str, kind: str, minutes: tuple[int, int] = (30, 30), **parameters: float) -> LoopSpec:
    start, duration = (60 * SECOND * value for value in minutes)
    return LoopSpec(id=loop, faults=(FaultSpec(kind=kind, parameters=parameters, start=start, duration=duration),))


def test_a_bias_is_in_pv_alone_for_as_long_as_it_is_present_and_labelled(record: Record) -> None:
    block = faulty(record, with_fault("FIC2", "bias", size=4.0)).advance(SAMPLES)
    during = slice(180, 360)
    assert block.pv[during, 1] - record.pv[during, 1] == pytest.approx(4.0)
    untouched = record.pv.copy()
    untouched[during, 1] = block.pv[during, 1]
    np.testing.assert_array_equal(block.pv, untouched)
    np.testing.assert_array_equal(block.op, record.op)
    assert block.truth is not None
    assert (block.truth.loops, block.truth.kinds) == (("FIC2",), ("bias",))
    assert block.truth.present[:, 0].tolist() == [180 <= k < 360 for k in range(SAMPLES)]
    assert block.truth.visible[190:360, 0].all()
    assert not block.truth.visible[:180].any()
    assert block.truth.effect[:180].max() == 0.0


def test_a_frozen_sensor_keeps_the_value_of_the_record(record: Record) -> None:
    block = faulty(record, with_fault("FIC1", "freeze")).advance(SAMPLES)
    assert block.pv[180:360, 0] == pytest.approx(record.pv[179, 0])
    assert block.pv[360, 0] == record.pv[360, 0]


def test_a_missing_value_of_the_record_spoils_no_effect(record: Record) -> None:
    block = faulty(record, with_fault("TIC1", "noise", sigma=2.0)).advance(SAMPLES)
    assert block.truth is not None
    assert block.truth.visible[200:360, 0].all()
    assert np.isnan(block.pv[::50, 2]).all()


def test_samples_are_lost_on_the_data_path(record: Record) -> None:
    block = faulty(record, with_fault("FIC1", "gaps", share=0.5)).advance(SAMPLES)
    assert block.arrivals is not None
    assert 0.3 < 1.0 - np.isin(np.arange(180, 360), block.arrivals.row).mean() < 0.7
    assert np.isin(np.arange(180), block.arrivals.row).all()


@pytest.mark.parametrize("kind", ["noise", "spikes", "drift", "late"])
def test_blocks_of_any_length_and_a_resumed_replay_give_the_same(record: Record, kind: str) -> None:
    loops = with_fault("FIC1", kind)
    whole = faulty(record, loops).advance(SAMPLES)
    source = faulty(record, loops)
    parts = [source.advance(n) for n in (1, 199, 1)]
    resumed = faulty(record, loops, snapshot=source.snapshot())
    assert resumed.resumed_loops == set(record.loops)
    parts.append(resumed.advance(SAMPLES - 201))

    def joined(name: str, blocks: list[Block]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return np.concatenate([getattr(block.arrivals if kind == "late" else block, name) for block in blocks])

    np.testing.assert_array_equal(joined("pv", [whole]), joined("pv", parts))
    np.testing.assert_array_equal(joined("times", [whole]), joined("times", parts))
    assert whole.truth is not None
    np.testing.assert_array_equal(whole.truth.effect, np.concatenate([p.truth.effect for p in parts if p.truth]))


def test_a_replay_with_another_fault_does_not_resume(record: Record) -> None:
    source = faulty(record, with_fault("FIC1", "noise"))
    source.advance(10)
    assert not faulty(record, with_fault("FIC1", "bias"), snapshot=source.snapshot()).resumed_loops


def test_a_valve_of_a_fitted_loop_sticks_over_its_own_record() -> None:
    fitted = read_configuration(LEARNED / "loops.toml").loops[0]
    record = read_record(LEARNED / "record.csv.gz")
    sticky = FaultSpec(kind="stiction", parameters={"S": 8.0, "J": 6.0}, start=900 * SECOND, duration=1200 * SECOND)
    replay = FaultyReplay([record], [replace(fitted, faults=(sticky,))], start=NOW, interval=None, seed=1)
    plain = Replay([record], start=NOW, interval=None)
    n, at = 700, record.loops.index(fitted.id)
    block, original = replay.advance(n), plain.advance(n)
    first, last = 900 * SECOND // replay.interval, 2100 * SECOND // replay.interval
    np.testing.assert_array_equal(block.pv[:first], original.pv[:first])
    assert np.std((block.op - original.op)[first:last, at]) > 1.0
    assert block.op.min() >= 0.0
    assert block.truth is not None
    assert block.truth.visible[first + 60:last, 0].mean() > 0.8
    others = [i for i in range(len(record.loops)) if i != at]
    np.testing.assert_array_equal(block.pv[:, others], original.pv[:, others])


def test_what_cannot_be_laid_over_a_record_is_refused_in_one_error(record: Record) -> None:
    loops = [with_fault("FIC1", "stiction"), with_fault("FIC2", "manual"), with_fault("FIC11", "bias"),
             replace(with_fault("TIC1", "bias"), range=(0.0, 10.0))]
    with pytest.raises(BadInput) as refused:
        faulty(record, *loops)
    text = [str(problem) for problem in refused.value.problems]
    assert len(text) == 4
    assert "fit the loop with `clpm-execd learn`" in text[0]
    assert "'operation' cannot be laid over a record" in text[1]
    assert "did you mean 'FIC1'?" in text[2]
    assert "give the range of its transmitter" in text[3]
