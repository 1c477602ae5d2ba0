"""What a control-loop monitor computes, each from its paper; the tests ask whether it finds what the plant does.

A signal is a one-dimensional array, evenly sampled. Nothing here knows of the plant.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_AR_ORDER = 30
_PEAKS = np.linspace(0.04, 0.96, 47)[:, None]  # of triangles, in half periods
_CROSSINGS = 11  # of the autocorrelation: ten intervals, as in Thornhill, Huang and Zhang


def harris_index(error: Floats, dead_time: float, interval: float) -> float:
    """Minimum variance over variance, 0 to 1: how near a loop is to the best that its dead time allows.

    The autoregression of order 30 on the past that is at least theta/dt + 1 samples old, by least squares
    (Harris, 1989; Desborough and Harris, 1992). error: SP - PV. dead_time and interval in s.
    """
    delay = round(dead_time / interval) + 1
    first = delay + _AR_ORDER - 1
    now = error[first:]
    past = [error[first - delay - i:len(error) - delay - i] for i in range(_AR_ORDER)]
    regression = np.stack([np.ones(len(now)), *past, now], axis=1)
    # The residual of the last column on the others is the last diagonal element of R, in Q R.
    residual = np.linalg.qr(regression, mode="r")[-1, -1] ** 2 / (len(now) - _AR_ORDER - 1)
    return float(residual / now.var())


def correlation(x: Floats, y: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
    """(lags, r): the correlation of x(t) with y(t + lag), -1 to 1, for lags up to half the record either way."""
    n = len(x)
    size = 1 << (2 * n - 1).bit_length()
    x, y = x - x.mean(), y - y.mean()
    product = np.fft.irfft(np.conj(np.fft.rfft(x, size)) * np.fft.rfft(y, size), size)
    reach = n // 2
    lags = np.arange(-reach, reach + 1)
    scale = np.sqrt((x @ x) * (y @ y))
    return lags, product[lags] / (scale if scale > 0 else 1.0)


def autocorrelation(x: Floats) -> Floats:
    """r at lags 0, 1, .. up to half the record."""
    lags, r = correlation(x, x)
    return r[lags >= 0]


def band(x: Floats, longest: float, shortest: float) -> Floats:
    """What of x has periods between the two, in samples: the ideal filter in the frequency domain."""
    spectrum = np.fft.rfft(x - x.mean())
    frequency = np.fft.rfftfreq(len(x))
    spectrum[(frequency < 1.0 / longest) | (frequency > 1.0 / shortest)] = 0.0
    return np.fft.irfft(spectrum, len(x))


def crossings(x: Floats) -> Floats:
    """Where x crosses nought, in samples, by linear interpolation."""
    at = np.flatnonzero(np.signbit(x[:-1]) != np.signbit(x[1:]))
    return at + x[at] / (x[at] - x[at + 1])


def strongest_period(x: Floats) -> float:
    """The period, in samples, of the highest peak of the spectrum, tapered after Hann."""
    spectrum = np.abs(np.fft.rfft((x - x.mean()) * np.hanning(len(x))))
    peak = int(np.argmax(spectrum[2:])) + 2
    return len(x) / peak


def regularity(x: Floats) -> tuple[float, float]:
    """(r, period in samples): r > 1 is a regular oscillation (Thornhill, Huang and Zhang, 2003).

    r is the mean over three standard deviations of the first ten intervals between zero crossings of the
    autocorrelation; the period is two mean intervals. As in the paper the signal is first filtered to the band of its
    strongest peak, since noise and drift make crossings of their own: here an octave to either side of it. A record
    of fewer than ten intervals is not called regular, r = 0.
    """
    period = strongest_period(x)
    at = crossings(autocorrelation(band(x, 2.0 * period, period / 2.0)))[:_CROSSINGS]
    if len(at) < _CROSSINGS:
        return 0.0, period
    intervals = np.diff(at)
    return float(intervals.mean() / 3.0 / max(intervals.std(ddof=1), 1e-9)), float(2.0 * intervals.mean())


def decay_ratio(x: Floats) -> float:
    """Of the autocorrelation's first two swings; > 0.5 is an oscillation (Miao and Seborg, 1999).

    The height of the first maximum above the line between the first two minima, over the depth of the first minimum
    below the line from lag nought to the first maximum. 0 where it does not swing twice.
    """
    r = autocorrelation(x)
    turns = 1 + np.flatnonzero(np.diff(np.sign(np.diff(r))))  # low, high, low, .. as r begins at its highest
    if len(turns) < 3:
        return 0.0
    low, high, next_low = turns[:3]
    base = np.interp(high, [low, next_low], [r[low], r[next_low]])
    roof = np.interp(low, [0, high], [1.0, r[high]])
    return float((r[high] - base) / (roof - r[low]))


def odd_share(op: Floats, pv: Floats, period: float) -> float:
    """The odd part's share of the energy of the OP-PV correlation, within a period of lag nought (Horch, 1999).

    Odd, 1: a sticky valve, PV a quarter of a period from OP. Even, 0: an oscillation by tuning or from elsewhere.
    period in samples.
    """
    lags, r = correlation(op, pv)
    near = r[np.abs(lags) <= round(period)]
    odd, even = (near - near[::-1]) / 2.0, (near + near[::-1]) / 2.0
    return float((odd @ odd) / (odd @ odd + even @ even))


def horch(op: Floats, pv: Floats, period: float) -> bool:
    """Whether the correlation is more odd than even: the phase is nearer to a quarter than to half a period."""
    return odd_share(op, pv, period) > 0.5


def _sine_error(t: Floats, y: Floats) -> float:
    """Of the best half sine over t in 0 to 1."""
    shape = np.sin(np.pi * t)
    return float(np.mean((y - shape * (shape @ y) / (shape @ shape)) ** 2))


def _triangle_error(t: Floats, y: Floats) -> float:
    """Of the best triangle over t in 0 to 1: two lines from nought at either end, that meet anywhere."""
    shapes = np.minimum(t / _PEAKS, (1.0 - t) / (1.0 - _PEAKS))
    heights = shapes @ y / np.einsum("ij,ij->i", shapes, shapes)
    return float(np.min(np.mean((y - heights[:, None] * shapes) ** 2, axis=1)))


def stiction_index(x: Floats, period: float) -> float:
    """Error of half sines over that of half sines and triangles: >= 0.6 stiction, <= 0.4 none (He et al., 2007).

    x: OP of a self-regulating loop, PV of an integrating one; a controller or a vessel that integrates a square wave
    makes triangles of it. Each half period between two crossings of nought is fitted by itself. The crossings are
    those of the oscillation, without drift and noise, period in samples; halves that are much too short or too long
    for it are left out.
    """
    x = x - _centre(x, period)
    at = crossings(band(x, 2.0 * period, period / 3.0))
    at = at[(at > period / 2.0) & (at < len(x) - period / 2.0)]  # at the ends the level is a guess
    errors = []
    for begin, end in pairwise(at):
        t = np.arange(np.ceil(begin), np.floor(end) + 1)
        if 0.25 * period <= end - begin <= period and len(t) > 4:
            inner = (t - begin) / (end - begin)
            y = x[t.astype(int)]
            errors.append((_sine_error(inner, y), _triangle_error(inner, y)))
    if not errors:
        return 0.5
    sine, triangle = np.mean(errors, axis=0)
    return float(sine / (sine + triangle))


def _centre(x: Floats, period: float) -> Floats:
    """The mean over a period around each sample: the level about which x swings."""
    width = max(1, round(period))
    padded = np.pad(x, (width // 2, width - 1 - width // 2), mode="reflect")
    return np.convolve(padded, np.full(width, 1.0 / width), mode="valid")


def idle_index(op: Floats, error: Floats, smooth: int, least: float = 0.0, gain: float = 1.0) -> float:
    """-1 to 1: near 1 the loop is sluggish after load steps, near 0 well tuned, below it rings (Haegglund, 1999).

    The time in which OP and PV move the same way less that in which they move opposite ways, over both, while SP - PV
    is beyond `least`: as in the paper a loop at rest says nothing. smooth: the samples over which slopes are taken,
    the filter of the paper; gain: of the process, for its sign. SP must rest.
    """
    moves = np.sign(gain) * (op[smooth:] - op[:-smooth]) * (error[:-smooth] - error[smooth:])
    moves = moves[np.abs(error[smooth:]) > least]
    same, opposite = np.count_nonzero(moves > 0), np.count_nonzero(moves < 0)
    return (same - opposite) / max(same + opposite, 1)


def service_factor(automatic: npt.NDArray[np.bool_]) -> float:
    """The share of time in which the controller controls."""
    return float(np.mean(automatic))


def travel(position: Floats) -> float:
    """The way a valve goes, in its unit."""
    return float(np.abs(np.diff(position)).sum())


def reversals(position: Floats) -> int:
    """How often it turns back."""
    ways = np.sign(np.diff(position))
    ways = ways[ways != 0]
    return int(np.count_nonzero(ways[1:] != ways[:-1]))


def saturation(op: Floats, low: float = 0.0, high: float = 100.0) -> float:
    """The share of time at a limit."""
    return float(np.mean((op <= low) | (op >= high)))


def integral_absolute_error(error: Floats, interval: float) -> float:
    """IAE, in the unit of the error times s."""
    return float(np.abs(error).sum() * interval)


def noise(x: Floats) -> float:
    """Sigma of white noise on a smooth signal, from three neighbours (Gasser, Sroka and Jennen-Steinmetz, 1986)."""
    deviation = x[1:-1] - (x[:-2] + x[2:]) / 2.0
    return float(np.sqrt(np.mean(deviation**2) / 1.5))


def repeated(x: Floats) -> float:
    """The share of samples equal to the one before."""
    return float(np.mean(np.diff(x) == 0.0))
