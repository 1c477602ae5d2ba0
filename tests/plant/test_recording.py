"""Recording: values are multiples of their resolution, the nearest double of the decimal number, and held in a band.

The plant runs on what was measured: recording changes nothing but the record.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from still import START, run, still

from clpm_execd.plant.loop_types import LOOP_TYPES, template
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import DisturbanceSpec, LoopSpec, RecordingSpec, Resolution, SensorSpec
from clpm_execd.plant.stages.recording import Recorder

STEPS = [
    "1e-7", "0.001", "0.01", "0.05", "0.1", "0.15", "0.2", "0.25", "0.3", "0.5", "0.7", "1", "2.5", "3", "10", "50",
]


def decimals(values: np.ndarray, step: str) -> list[float]:
    """The doubles nearest to the multiples of the step nearest to the values."""
    exact = Decimal(step)
    return [float(exact * round(Decimal(value) / exact)) for value in values.tolist()]


def lively(**recording: object) -> LoopSpec:
    return still(range=(-200.0, 1200.0), sp=405.0, sensor=SensorSpec(noise=0.3), recording=RecordingSpec(**recording),
                 disturbance=DisturbanceSpec(sigma=2.0))


@pytest.mark.parametrize("step", STEPS)
def test_recorded_values_are_the_decimal_multiples_of_their_resolution(step: str) -> None:
    unrounded = run(lively(), 500)
    pv = run(lively(resolution=Resolution(pv=float(step))), 500)
    assert pv.pv[:, 0].tolist() == decimals(unrounded.pv[:, 0], step)
    assert np.array_equal(pv.op, unrounded.op)
    op = run(lively(resolution=Resolution(op=float(step))), 500)
    assert op.op[:, 0].tolist() == decimals(unrounded.op[:, 0], step)
    assert np.array_equal(op.pv, unrounded.pv)


@given(value=st.floats(-1e5, 1e5), step=st.sampled_from(STEPS))
def test_any_value_is_recorded_within_half_a_step(value: float, step: str) -> None:
    values = np.array([[value]])
    Recorder(np.arange(1), [float(step)], [0.0]).record(values)
    assert abs(values[0, 0] - value) <= float(step) / 2 * (1 + 1e-6)
    again = values.copy()
    Recorder(np.arange(1), [float(step)], [0.0]).record(again)
    assert again[0, 0] == values[0, 0]


@pytest.mark.parametrize("resolution", [0.0, 5e-324, 1e-300, 1e-13])
def test_a_resolution_finer_than_a_doubles_digits_changes_no_value(resolution: float) -> None:
    assert np.array_equal(run(lively(resolution=Resolution(pv=resolution)), 50).pv, run(lively(), 50).pv)


@pytest.mark.parametrize("band", [0.1, 0.5, 2.0])
def test_a_value_that_moved_less_than_the_exception_band_is_held(band: float) -> None:
    unrounded, held = run(lively(), 2000), run(lively(exception=band), 2000)
    for signal, width in (("pv", band * 14.0), ("op", band)):
        true, recorded = getattr(unrounded, signal)[:, 0], getattr(held, signal)[:, 0]
        expected = true.copy()
        for k in range(1, len(true)):
            if abs(true[k] - expected[k - 1]) < width:
                expected[k] = expected[k - 1]
        assert np.array_equal(recorded, expected)
        assert np.abs(recorded - true).max() < width
        assert (np.diff(recorded) == 0).mean() > 0.2 or band < 0.5


def test_a_hold_continues_from_one_run_to_the_next() -> None:
    loop = lively(exception=1.0, resolution=Resolution(pv=0.5, op=0.1))
    plant = Plant([loop], seed=1, start=START)
    parts = np.concatenate([plant.advance(n).pv for n in (1, 7, 92)])
    assert np.array_equal(parts, run(loop, 100).pv)


def test_recording_changes_nothing_but_the_record() -> None:
    unrounded, recorded = run(lively(), 500), run(lively(resolution=Resolution(pv=10.0, op=5.0), exception=2.0), 500)
    assert np.array_equal(unrounded.true_pv, recorded.true_pv)
    assert np.array_equal(unrounded.valve_position, recorded.valve_position)
    assert np.array_equal(unrounded.sp, recorded.sp)


@pytest.mark.parametrize("span", [1e-3, 0.7, 10.0, 120.0, 250.0, 1400.0, 5e4, 1e6])
@pytest.mark.parametrize("kind", LOOP_TYPES)
def test_every_template_records_in_a_round_step_of_its_range(kind: str, span: float) -> None:
    step = template(kind, "LOOP", (0.0, span)).recording.resolution.pv
    assert span / 15000.0 < step <= span / 5000.0 * (1 + 1e-9)
    assert Decimal(repr(step)).normalize().as_tuple().digits in {(1,), (2,), (5,)}


def test_a_template_records_pv_and_op_with_few_digits() -> None:
    block = run(template("flow", "FIC", (0.0, 120.0)), 200)
    assert {len(repr(value).partition(".")[2]) for value in block.pv[:, 0].tolist()} <= {1, 2}
    assert {len(repr(value).partition(".")[2]) for value in block.op[:, 0].tolist()} <= {1, 2}
