"""What the monitors compute of single signals: correlations, filters, zero crossings and noise.

A signal is a one-dimensional array, evenly sampled, without missing values. Periods are in samples.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def correlate(x: Floats, y: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
    """Return (lags, r): the correlation of x(t) with y(t + lag), -1 to 1, for lags up to half the record either way."""
    n = len(x)
    size = 1 << (2 * n - 1).bit_length()
    x, y = x - x.mean(), y - y.mean()
    product = np.fft.irfft(np.conj(np.fft.rfft(x, size)) * np.fft.rfft(y, size), size)
    max_lag = n // 2
    lags = np.arange(-max_lag, max_lag + 1)
    scale = np.sqrt((x @ x) * (y @ y))
    return lags, product[lags] / (scale if scale > 0 else 1.0)


def autocorrelate(x: Floats) -> Floats:
    """Return the autocorrelation at lags 0, 1, .. up to half the record."""
    lags, r = correlate(x, x)
    return r[lags >= 0]


def filter_band(x: Floats, longest: float, shortest: float) -> Floats:
    """Return the part of x with periods between the two: the ideal filter in the frequency domain."""
    spectrum = np.fft.rfft(x - x.mean())
    frequency = np.fft.rfftfreq(len(x))
    spectrum[(frequency < 1.0 / longest) | (frequency > 1.0 / shortest)] = 0.0
    return np.fft.irfft(spectrum, len(x))


def find_zero_crossings(x: Floats) -> Floats:
    """Return where x crosses zero, in samples, by linear interpolation."""
    before = np.flatnonzero(np.signbit(x[:-1]) != np.signbit(x[1:]))
    return before + x[before] / (x[before] - x[before + 1])


def find_strongest_period(x: Floats) -> float:
    """Return the period of the highest peak of the spectrum, with a Hann window."""
    spectrum = np.abs(np.fft.rfft((x - x.mean()) * np.hanning(len(x))))
    peak = int(np.argmax(spectrum[2:])) + 2
    return len(x) / peak


def compute_moving_mean(x: Floats, period: float) -> Floats:
    """Return the mean over a period around each sample: the level about which x oscillates."""
    width = max(1, round(period))
    long_x = np.pad(x, (width // 2, width - 1 - width // 2), mode="reflect")
    return np.convolve(long_x, np.full(width, 1.0 / width), mode="valid")


def estimate_noise(x: Floats) -> float:
    """Return the standard deviation of white noise on a smooth signal, from three neighbours.

    References: Gasser, Sroka and Jennen-Steinmetz, Residual variance and residual pattern in nonlinear regression,
    Biometrika 73, 1986.
    """
    deviation = x[1:-1] - (x[:-2] + x[2:]) / 2.0
    return float(np.sqrt(np.mean(deviation**2) / 1.5))
