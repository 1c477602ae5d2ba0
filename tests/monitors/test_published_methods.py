"""The methods on signals whose answer can be calculated."""

from __future__ import annotations

import numpy as np
import pytest

from clpm_execd.monitors.cross_correlation import compute_odd_fraction
from clpm_execd.monitors.curve_fit import compute_curve_fit_index
from clpm_execd.monitors.data_rules import compute_repetition, compute_saturation
from clpm_execd.monitors.oscillation_detection import compute_decay_ratio, measure_regularity
from clpm_execd.monitors.performance import compute_harris_index, compute_idle_index
from clpm_execd.monitors.signals import Floats, estimate_noise

PERIOD = 61.7  # samples; no whole number
TIME = np.arange(4000.0)


def sine(period: float = PERIOD, phase: float = 0.3) -> Floats:
    return np.sin(2.0 * np.pi * TIME / period + phase)


def triangle(period: float = PERIOD) -> Floats:
    return 2.0 / np.pi * np.arcsin(sine(period))


def coloured(coefficients: tuple[float, ...], n: int = 20000, seed: int = 3) -> Floats:
    """An autoregression on white noise of sigma 1."""
    x = np.random.default_rng(seed).normal(size=n)
    for t in range(len(coefficients), n):
        x[t] += sum(a * x[t - 1 - i] for i, a in enumerate(coefficients))
    return x


@pytest.mark.parametrize("delay", [1, 3, 8])
@pytest.mark.parametrize("a", [0.0, 0.7, 0.95])
def test_harris_index_of_a_first_order_autoregression(a: float, delay: int) -> None:
    # The best forecast over d samples leaves sigma^2 (1 + a^2 + .. a^(2(d-1))), of a variance sigma^2 / (1 - a^2).
    assert compute_harris_index(coloured((a,)), delay - 1.0, 1.0) == pytest.approx(1.0 - a ** (2 * delay), abs=0.03)


def test_harris_index_of_an_oscillation_is_zero() -> None:
    assert compute_harris_index(sine(), 5.0, 1.0) < 1e-6


def test_a_sine_and_a_triangle_are_regular_and_of_their_period() -> None:
    for wave in (sine(), triangle()):
        r, period = measure_regularity(wave)
        assert r > 10.0
        assert period == pytest.approx(PERIOD, rel=0.01)


def test_an_oscillation_stays_regular_in_noise_and_drift() -> None:
    rng = np.random.default_rng(5)
    r, period = measure_regularity(sine() + rng.normal(size=len(TIME)) + TIME / 2000.0)
    assert r > 1.0
    assert period == pytest.approx(PERIOD, rel=0.02)


@pytest.mark.parametrize("a", [(), (0.9,)])
def test_noise_is_not_regular(a: tuple[float, ...]) -> None:
    is_regular = [measure_regularity(coloured(a, 4000, seed))[0] > 1.0 for seed in range(60)]
    assert np.mean(is_regular) < 0.45


def test_a_record_of_few_periods_is_not_called_regular() -> None:
    assert measure_regularity(sine(period=1000.0))[0] == 0.0


def test_decay_ratio_of_a_lasting_oscillation_is_one() -> None:
    assert compute_decay_ratio(sine()) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("damping", [0.05, 0.1, 0.3])
def test_decay_ratio_falls_with_damping(damping: float) -> None:
    # The autocorrelation of a lightly damped second order has swings that shrink by exp(-pi zeta / sqrt(1 - zeta^2))
    # each half period: q. The first high stands q^2 + (q + q^3)/2 above its base, the first low hangs q + (1 + q^2)/2.
    w = 2.0 * np.pi / 200.0
    pole = np.exp(-damping * w)
    a = (2.0 * pole * np.cos(w * np.sqrt(1.0 - damping**2)), -(pole**2))
    q = np.exp(-np.pi * damping / np.sqrt(1.0 - damping**2))
    ratio = (q**2 + (q + q**3) / 2.0) / (q + (1.0 + q**2) / 2.0)
    assert compute_decay_ratio(coloured(a, 200_000)) == pytest.approx(ratio, rel=0.25)


@pytest.mark.parametrize("phase", [0.0, 0.2, 0.7, 1.2, np.pi / 2])
def test_odd_share_is_the_square_of_the_sine_of_the_phase(phase: float) -> None:
    # The correlation of two sines is cos(w lag + phase), of which sin(phase) sin(w lag) is odd.
    odd = compute_odd_fraction(sine(phase=0.0), sine(phase=phase), PERIOD)
    assert odd == pytest.approx(np.sin(phase) ** 2, abs=0.02)


def test_odd_share_of_a_pi_controller() -> None:
    # OP = -Kc (1 + 1/(i w Ti)) PV: the phase depends on w Ti alone.
    reset, w = 12.0, 2.0 * np.pi / PERIOD
    op = -0.5 * (sine() - np.cos(w * TIME + 0.3) / (w * reset))
    share = 1.0 / (1.0 + (w * reset) ** 2)
    assert compute_odd_fraction(op, sine(), PERIOD) == pytest.approx(share, abs=0.03)


def test_stiction_index_of_triangles_and_of_sines() -> None:
    assert compute_curve_fit_index(triangle(), PERIOD) > 0.9
    assert compute_curve_fit_index(sine(), PERIOD) < 0.1


def test_stiction_index_in_noise_and_drift() -> None:
    level = 0.05 * np.random.default_rng(8).normal(size=len(TIME)) + TIME / 1000.0
    assert compute_curve_fit_index(triangle() + level, PERIOD) > 0.6
    assert compute_curve_fit_index(sine() + level, PERIOD) < 0.4


def test_idle_index_of_a_sluggish_and_of_a_damped_response() -> None:
    # A load step of which PV recovers slowly: OP and PV fall together all the while.
    slow = np.exp(-TIME / 500.0)
    assert compute_idle_index(slow, -slow, 5) == 1.0
    assert compute_idle_index(-slow, -slow, 5) == -1.0
    assert compute_idle_index(-slow, -slow, 5, gain=-2.0) == 1.0
    assert compute_idle_index(sine(), np.roll(sine(), 15), 3) == pytest.approx(0.0, abs=0.1)
    half = np.where(TIME < 2000, 1.0, -1.0) * slow  # OP turns once PV is back
    assert compute_idle_index(half, -slow, 5, least=0.1) == pytest.approx(1.0, abs=0.01)


def test_arithmetic() -> None:
    x = np.array([0.0, 2.0, 2.0, 1.0, 4.0, 100.0, 100.0])
    assert compute_saturation(x) == pytest.approx(3.0 / 7.0)
    assert compute_repetition(x) == pytest.approx(2.0 / 6.0)


def test_noise_on_a_slow_signal() -> None:
    rng = np.random.default_rng(4)
    assert estimate_noise(sine(500.0) + 0.1 * rng.normal(size=len(TIME))) == pytest.approx(0.1, rel=0.05)
