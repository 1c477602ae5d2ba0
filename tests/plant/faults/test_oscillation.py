"""An oscillation from elsewhere is a filtered limit cycle; one from a loop of the plant is that loop's own."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from clpm_execd.plant.block import SECOND, Block
from clpm_execd.plant.faults.external_oscillation import limit_cycle_wave
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import DisturbanceSpec, FaultSpec, LoopSpec, SensorSpec

START = 1_700_000_000 * SECOND
SECONDS = 3600


def quiet(loop_id: str, *faults: FaultSpec) -> LoopSpec:
    """A flow loop that moves by its faults alone."""
    return replace(template("flow", loop_id, (0.0, 100.0)), faults=faults, sensor=SensorSpec(noise=0.0),
                   disturbance=DisturbanceSpec(sigma=0.0))


def oscillation(**parameters: float | str) -> FaultSpec:
    return FaultSpec(kind="external-oscillation", parameters=parameters)


def run(*loops: LoopSpec) -> Block:
    plant = Plant(loops, start=START)
    plant.advance(600)
    return plant.advance(SECONDS)


def rises(signal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The instants at which the signal rises through its mean, interpolated, s."""
    x = signal - signal.mean()
    at = np.flatnonzero((x[:-1] < 0.0) & (x[1:] >= 0.0))
    return at - x[at] / (x[at + 1] - x[at])


@pytest.mark.parametrize("third", [0.15, 0.25, 0.33])
def test_a_wave_has_the_third_harmonic_and_others_that_fall_off(third: float) -> None:
    amplitudes = np.abs(np.fft.rfft(limit_cycle_wave(third)[:-1])) / 256.0
    assert amplitudes[1] == pytest.approx(1.0)
    assert amplitudes[3] == pytest.approx(third)
    assert 0.09 < amplitudes[2] < 0.16
    assert 0.03 < amplitudes[5] < amplitudes[3]
    assert amplitudes[0] == pytest.approx(0.0, abs=1e-9)


def test_period_and_amplitude_wander_by_some_per_cent_and_not_at_all_without_wander() -> None:
    def periods_and_heights(wander: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        op = run(quiet("FIC1", oscillation(period=60.0, wander=wander))).op[:, 0]
        at = rises(op)
        heights = [np.ptp(op[int(a):int(b)]) for a, b in pairwise(at)]
        return np.diff(at), np.array(heights)

    periods, heights = periods_and_heights(0.04)
    assert periods.mean() == pytest.approx(60.0, rel=0.01)
    assert 0.02 < periods.std() / 60.0 < 0.06
    assert 0.04 < heights.std() / heights.mean() < 0.12
    periods, heights = periods_and_heights(0.0)
    assert periods.std() / 60.0 < 0.002


def test_one_oscillation_reaches_several_loops_with_one_period_that_wanders_alike() -> None:
    loops = [quiet(f"FIC{i}", oscillation(period=60.0, phase=-40.0 * i, amplitude=3.0 - i)) for i in range(2)]
    first, second = (rises(op) for op in run(*loops).op.T)
    delay = second[:50] - first[:50]
    assert delay.mean() % 60.0 == pytest.approx(40.0 / 360.0 * 60.0, abs=0.5)
    assert delay.std() < 1.0


def test_oscillations_of_other_harmonics_do_not_change_one() -> None:
    faults = [oscillation(period=50.0 + i, harmonic=harmonic) for i, harmonic in enumerate((0.15, 0.25, 0.33))]
    loops = [quiet(f"FIC{i}", fault) for i, fault in enumerate(faults)]
    together = run(*loops).op
    for i, loop in enumerate(loops):
        assert np.array_equal(run(loop).op[:, 0], together[:, i])


def test_an_oscillation_from_another_loop_is_that_loops_limit_cycle_and_comes_later() -> None:
    root = quiet("FIC1", FaultSpec(kind="stiction", parameters={"S": 6.0, "J": 4.0}),
                 FaultSpec(kind="load-step", parameters={"size": 3.0}))
    path = [quiet(f"FIC{i}", oscillation(**{"from": f"FIC{i - 1}", "gain": 0.8, "lag": 2.0})) for i in range(2, 6)]
    op = run(root, *path).op
    periods = [np.diff(rises(column)).mean() for column in op.T]
    assert periods == pytest.approx([periods[0]] * 5, rel=0.02)
    assert op.std(axis=0).min() > 0.1
    assert (np.diff(op.std(axis=0)) < 0.0).all(), "each farther one is moved less"
    still = run(replace(root, faults=()), *path)
    assert still.op.std(axis=0).max() < 1e-6
