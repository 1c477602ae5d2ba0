"""Whether a loop oscillates, and how fast: by itself or from elsewhere.

The intervals between zero crossings of the autocorrelation of error or OP are alike where it oscillates, and are not
where it is noise: their mean is more than three of their standard deviations (Thornhill, Huang and Zhang, 2003). What
the loop does itself, its process and controller explain. What they leave unexplained has no period: a line in its
periodogram, by far too high for chance (Fisher, 1929), is an oscillation from elsewhere.
"""

from __future__ import annotations

import numpy as np

from clpm_execd.identification.correlation import autocorrelation
from clpm_execd.identification.estimates import QUANTILE
from clpm_execd.identification.loop_data import Signals, find_runs
from clpm_execd.plant.block import Floats

_SHORTEST = 128  # samples
_MOST = 10_000
_CROSSINGS = 11  # of which the ten intervals between are looked at
_AROUND = 40  # frequencies on either side of a line, by which it is judged
_TURNS = 8  # periods of a line in a record, at the least
_CHANCE = 1e-6  # that noise has such a line
_MOST_HARMONIC = 5  # of a limit cycle, that stands out of noise: of a square wave it has a fifth of the amplitude
_HARMONIC_TOLERANCE = 0.04  # of the period, which the crossings of ten half periods tell to a few per cent
_LASTING = 0.3  # of the autocorrelation, a period on: less is no oscillation that one would see


def find_oscillation(signals: Signals) -> tuple[float, float, float] | None:
    """The period of PV around SP, else of OP, s, and its interval of 90 %; None where there is none."""
    longest = max(find_runs(signals.complete & signals.automatic, _SHORTEST), key=lambda s: s.stop - s.start,
                  default=None)
    if longest is None:
        return None
    seen = (_period(part[longest][:_MOST]) for part in (signals.pv - signals.sp, signals.op))
    found = next((period for period in seen if period is not None), None)
    return None if found is None else (found[0] * signals.interval, found[1] * signals.interval,
                                       found[2] * signals.interval)


def _period(x: Floats) -> tuple[float, float, float] | None:
    """Of a signal, in samples."""
    correlated = autocorrelation(x, len(x) // 2)
    above = correlated > 0.0
    crossings = np.flatnonzero(above[1:] != above[:-1])[:_CROSSINGS]
    if len(crossings) < _CROSSINGS:
        return None
    at = crossings + correlated[crossings] / (correlated[crossings] - correlated[crossings + 1])
    half = np.diff(at)
    mean, spread = float(half.mean()), float(half.std(ddof=1))
    lag = round(2.0 * mean) - 1  # the first of them is lag 1
    if mean <= 3.0 * spread or not correlated[max(lag - 1, 0):lag + 2].max() > _LASTING:
        return None
    log_std = 2.0 * QUANTILE * spread / len(half) ** 0.5
    return 2.0 * mean, 2.0 * mean - log_std, 2.0 * mean + log_std


def find_external_oscillation(errors: Floats, interval: float, fundamental: float | None = None
                              ) -> tuple[float, float, float] | None:
    """The period, s, of a line in what a loop leaves unexplained, (T,), and its interval of 90 %; None without one.

    fundamental: the period with which the loop oscillates. What a loop leaves unexplained is whitened, so that a
    harmonic of a wave may stand higher in it than the wave itself: a line at a harmonic counts as the wave's.
    """
    longest = max(find_runs(np.isfinite(errors), _SHORTEST), key=lambda s: s.stop - s.start, default=None)
    if longest is None:
        return None
    x = errors[longest] - errors[longest].mean()
    power = np.abs(np.fft.rfft(x)) ** 2 / len(x)
    lines = range(_TURNS, len(power) // 2)
    if not len(lines):
        return None
    heights = np.array([power[k] / _floor(power, k) for k in lines])
    tallest = lines[int(np.argmax(heights))]
    if heights.max() < np.log(len(lines) / _CHANCE):
        return None
    frequency = _refined(x, tallest / len(x))
    # The amplitude's square is 4 / n of the power; the bound on frequency is that of Rife and Boorstyn (1974).
    log_std = QUANTILE * (6.0 * _floor(power, tallest) / power[tallest]) ** 0.5 / (2.0 * np.pi * len(x))
    share = interval / frequency / fundamental if fundamental else 1.0
    harmonic = round(1.0 / share)
    if 2 <= harmonic <= _MOST_HARMONIC and abs(harmonic * share - 1.0) < _HARMONIC_TOLERANCE:
        frequency, log_std = frequency / harmonic, log_std / harmonic
    return interval / frequency, interval / (frequency + log_std), interval / (frequency - log_std)


def _floor(power: Floats, k: int) -> float:
    """What noise has of power around a line: its mean, by the median, which no other line moves."""
    around = np.concatenate([power[max(k - _AROUND, 1):k - 1], power[k + 2:k + _AROUND]])
    return max(float(np.median(around)) / float(np.log(2.0)), 1e-300)


def _refined(x: Floats, frequency: float) -> float:
    """Where the periodogram is highest, within one of its lines; cycles a sample."""
    from scipy.optimize import minimize_scalar

    t = np.arange(len(x))
    found = minimize_scalar(lambda f: -abs(np.exp(-2j * np.pi * f * t) @ x), method="bounded",
                            bounds=(frequency - 1.0 / len(x), frequency + 1.0 / len(x)),
                            options={"xatol": 1e-4 / len(x)})
    return float(found.x)
