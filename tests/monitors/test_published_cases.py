"""Each method on a case like its paper's, whose answer can be calculated."""

from __future__ import annotations

import numpy as np
import pytest

from clpm_execd.monitors import data_rules
from clpm_execd.monitors.nonlinearity import measure_apparent_stiction, measure_nonlinearity
from clpm_execd.monitors.oscillation_detection import oscillates_by_load_disturbances
from clpm_execd.monitors.shape import MIN_STICTION_INDEX, compute_shape_indices
from clpm_execd.monitors.signals import Floats
from clpm_execd.monitors.spectral_envelope import find_envelope_peak

TIME = np.arange(4096.0)


def sine(frequency: float, phase: float = 0.0) -> Floats:
    return np.sin(2.0 * np.pi * frequency * TIME + phase)


def noise(size: float, seed: int = 1) -> Floats:
    return size * np.random.default_rng(seed).normal(size=len(TIME))


def test_a_square_of_two_sines_is_nonlinear_and_their_sum_is_not() -> None:
    # As in Choudhury, Shah and Thornhill (2004): the square of sines of 0.12 and 0.18 adds their difference, 0.06.
    linear = sine(0.12, 0.4) + sine(0.18, 1.3)
    assert not measure_nonlinearity(noise(1.0)).is_nonlinear
    assert not measure_nonlinearity(linear + noise(0.2)).is_nonlinear
    coupled = measure_nonlinearity(linear + 0.8 * linear**2 + noise(0.2))
    assert coupled.is_nonlinear
    assert coupled.frequencies == pytest.approx((0.06, 0.12), abs=0.01)


@pytest.mark.parametrize("phase", [0.3, 0.8, np.pi / 2])
def test_the_width_of_the_ellipse_is_that_of_the_sines(phase: float) -> None:
    # Where PV is at its mean, OP of amplitude 3 that leads by a phase is at 3 sin(phase), above or below.
    pv, op = 2.0 * sine(1 / 50) + noise(0.1), 3.0 * sine(1 / 50, phase) + noise(0.1, 2)
    assert measure_apparent_stiction(op, pv, 50.0) == pytest.approx(6.0 * np.sin(phase), rel=0.03)


def test_signals_in_phase_have_no_apparent_stiction() -> None:
    assert measure_apparent_stiction(sine(1 / 50), -2.0 * sine(1 / 50), 50.0) < 0.01


def test_a_flow_that_stands_while_op_moves_is_stiction() -> None:
    # OP goes up and down in ramps; the flow of a sticking valve follows in one step at each end.
    op = np.abs((TIME % 40) - 20.0) + noise(0.01)
    stuck = np.where((TIME + 2) % 40 < 20, 10.0, 0.0) + noise(0.01, 2)
    assert min(compute_shape_indices(op, stuck)) > MIN_STICTION_INDEX
    assert min(compute_shape_indices(sine(1 / 40), sine(1 / 40, -0.1))) < MIN_STICTION_INDEX
    assert min(compute_shape_indices(noise(1.0), noise(1.0, 2))) < MIN_STICTION_INDEX


def test_a_loop_in_which_nothing_moves_does_not_look_like_stiction() -> None:
    assert compute_shape_indices(np.full(TIME.size, 40.0), np.full(TIME.size, 7.0)) == (0.0, 0.0)


def test_an_oscillation_of_more_than_one_per_cent_of_span_is_detected() -> None:
    # Haegglund (1995): half periods count from the integral of a sine of 1 % with the integral time as its period.
    for amplitude, is_detected in ((0.9, False), (1.1, True)):
        assert oscillates_by_load_disturbances(amplitude * sine(1 / 20.3, 0.2), 20.0, 1.0) == is_detected
    assert not oscillates_by_load_disturbances(noise(0.5), 20.0, 1.0)
    assert not oscillates_by_load_disturbances(3.0 * sine(1 / 20.3), 0.0, 1.0)


def test_ten_disturbances_are_no_oscillation_unless_they_follow_each_other() -> None:
    seldom = np.where(TIME % 400 < 30, 5.0, -0.4) + noise(0.01)
    assert not oscillates_by_load_disturbances(seldom, 20.0, 1.0)


def test_the_loop_that_oscillates_most_purely_contributes_most_to_the_envelope() -> None:
    sizes = [0.0, 0.0, 3.0, 0.8, 0.5, 0.0, 0.0, 0.0]
    pv = np.stack([size * sine(1 / 64, 0.7 * i) + noise(1.0, i) for i, size in enumerate(sizes)], axis=1)
    envelope = find_envelope_peak(pv)
    assert envelope.frequency == pytest.approx(1 / 64, rel=0.02)
    assert int(np.argmax(envelope.contribution)) == 2
    assert envelope.contribution[2] > 1.0 > envelope.contribution[0]


def test_the_rules_about_data_measure_runs_and_fractions() -> None:
    assert data_rules.find_longest_run(np.array([False, True, True, False, True])) == 2
    assert data_rules.find_longest_run(np.zeros(4, dtype=bool)) == 0
    frozen = noise(1.0)
    frozen[1000:1600] = frozen[1000]
    assert data_rules.is_frozen(frozen, noise(1.0, 2))
    assert not data_rules.is_frozen(frozen, np.full(len(TIME), 50.0))
    assert not data_rules.is_frozen(noise(1.0), noise(1.0, 2))
