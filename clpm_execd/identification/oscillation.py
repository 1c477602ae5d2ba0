"""Detection of oscillations and of their period, whether they arise in the loop or are external.

A loop oscillates where the intervals between zero crossings of the autocorrelation of error or OP are regular: their
mean is more than three of their standard deviations (Thornhill, Huang and Zhang, 2003). Process and controller explain
an oscillation that arises in the loop, so that the residuals have no period. A spectral line in their periodogram that
is significant by Fisher's test (1929) is an external oscillation.
"""

from __future__ import annotations

import numpy as np

from clpm_execd.identification.estimates import QUANTILE, Interval
from clpm_execd.identification.loop_data import TINY, Signals, find_runs
from clpm_execd.identification.signal_statistics import autocorrelation
from clpm_execd.plant.block import Floats

_MIN_SAMPLES = 128  # samples
_MAX_SAMPLES = 10_000
_MIN_REGULARITY = 3.0  # mean of the half periods over their deviation (Thornhill, Huang and Zhang, 2003)
_CROSSINGS = 11  # zero crossings, which have ten half periods between them
_FLOOR_LINES = 40  # lines of the periodogram on either side, from which the noise floor is estimated
_MIN_PERIODS = 8  # of an oscillation in the record: fewer are drift
_FALSE_ALARM_PROBABILITY = 1e-6  # of a significant line in noise
_MAX_HARMONIC = 5  # visible above the noise in a limit cycle: in a square wave it has a fifth of the amplitude
_HARMONIC_TOLERANCE = 0.04  # relative, of the period, which ten half periods determine to a few per cent
_MIN_AUTOCORRELATION = 0.3  # at the lag of one period: below it no oscillation is visible in the trend


def find_oscillation(signals: Signals) -> Interval | None:
    """Return the period, s, of SP - PV or else of OP, with its 90 % interval; None without an oscillation."""
    longest = max(find_runs(signals.complete & signals.automatic, _MIN_SAMPLES), key=lambda s: s.stop - s.start,
                  default=None)
    if longest is None:
        return None
    periods = (_find_period(part[longest][:_MAX_SAMPLES]) for part in (signals.pv - signals.sp, signals.op))
    period = next((period for period in periods if period is not None), None)
    return None if period is None else (period[0] * signals.interval, period[1] * signals.interval,
                                        period[2] * signals.interval)


def _find_period(x: Floats) -> Interval | None:
    """Return the period of a signal and its 90 % interval, samples; None without an oscillation."""
    acf = autocorrelation(x, len(x) // 2)
    above = acf > 0.0
    crossings = np.flatnonzero(above[1:] != above[:-1])[:_CROSSINGS]
    if len(crossings) < _CROSSINGS:
        return None
    crossing_lags = crossings + acf[crossings] / (acf[crossings] - acf[crossings + 1])
    half_periods = np.diff(crossing_lags)
    mean, deviation = float(half_periods.mean()), float(half_periods.std(ddof=1))
    lag = round(2.0 * mean) - 1  # the first of them is lag 1
    if mean <= _MIN_REGULARITY * deviation or not acf[max(lag - 1, 0):lag + 2].max() > _MIN_AUTOCORRELATION:
        return None
    log_std = 2.0 * QUANTILE * deviation / len(half_periods) ** 0.5
    return 2.0 * mean, 2.0 * mean - log_std, 2.0 * mean + log_std


def find_external_oscillation(errors: Floats, interval: float, fundamental: float | None = None) -> Interval | None:
    """Return the period, s, of a spectral line in residuals (T,), and its ends half a line away; None without one.

    fundamental: the period, s, of the loop's oscillation. Residuals are whitened, so that a harmonic may be higher in
    them than the fundamental: a line at a harmonic is taken as one of the fundamental.
    """
    from scipy.ndimage import median_filter

    longest = max(find_runs(np.isfinite(errors), _MIN_SAMPLES), key=lambda s: s.stop - s.start, default=None)
    if longest is None:
        return None
    x = errors[longest] - errors[longest].mean()
    power = np.abs(np.fft.rfft(x)) ** 2
    # The median of exponentially distributed lines is log 2 of their mean, and robust to the line itself.
    noise_floor = median_filter(power, 2 * _FLOOR_LINES + 1) / np.log(2.0)
    heights = (power / np.maximum(noise_floor, TINY))[_MIN_PERIODS:len(power) // 2]
    if not len(heights) or heights.max() < np.log(len(heights) / _FALSE_ALARM_PROBABILITY):
        return None
    frequency = refine_frequency(x, (_MIN_PERIODS + int(np.argmax(heights))) / len(x))
    half_line = 0.5 / len(x)  # An exactly periodic wave has a narrower bound, but no plant has such a wave.
    period_ratio = interval / frequency / fundamental if fundamental else 1.0
    harmonic = round(1.0 / period_ratio)
    if 2 <= harmonic <= _MAX_HARMONIC and abs(harmonic * period_ratio - 1.0) < _HARMONIC_TOLERANCE:
        frequency, half_line = frequency / harmonic, half_line / harmonic
    return interval / frequency, interval / (frequency + half_line), interval / (frequency - half_line)


def refine_frequency(x: Floats, frequency: float) -> float:
    """Return the frequency, cycles per sample, of the maximum of the periodogram within one line of `frequency`."""
    from scipy.optimize import minimize_scalar

    t = np.arange(len(x))
    result = minimize_scalar(lambda f: -abs(np.exp(-2j * np.pi * f * t) @ x), method="bounded",
                             bounds=(frequency - 1.0 / len(x), frequency + 1.0 / len(x)),
                             options={"xatol": 1e-4 / len(x)})
    return float(result.x)
