"""Detection of valve stiction from OP and PV, and its distinction from an external oscillation.

Three hypotheses are compared, each an ARX model of PV (Ljung, 1999, section 4.2): the flow follows OP; it follows OP
with an additional periodic load of three harmonics; it follows a stem that OP moves by Choudhury's stiction model
(Choudhury, Thornhill and Shah, 2005), as in the Hammerstein methods of Srinivasan et al. (2005) and Jelali (2008). They
are compared over the whole wave by Schwarz's criterion (1978), independently of units and of the time scale. Signals
are averaged over blocks of 1, 2, 4, .. samples. Since a wrong stem can be best at one of these resolutions by chance,
stiction must be best at most of them, or significantly best at one by Vuong's test (1989).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from clpm_execd.identification.closed_loop.pid_regression import long_run_covariance
from clpm_execd.identification.loop_data import Signals, find_runs
from clpm_execd.identification.thresholds import STICTION as LIMITS
from clpm_execd.plant.block import Floats
from clpm_execd.plant.faults.valve import Stiction

Stem = tuple[float, float, float]  # S and J, % of travel, and initial distance from OP, -1 to 1 of the largest

_SIZES = tuple(0.2 * 1.15**k for k in range(12))  # S / range of OP, from a following to a resting stem
_JUMPS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.2)  # J / S
_STARTS = (-1.0, 0.0, 1.0)
_ORDERS = (2, 5)  # of the autoregression: a process with two lags, and one with coloured noise as well
_DELAYS = (0, 1, 2, 4, 7)  # blocks of dead time before the _TAPS blocks in which the input acts
_TAPS = 2
_HARMONICS = 3  # of an external load, such as the filtered limit cycle of another loop
_MAX_BLOCKS, _MIN_BLOCKS = 1500, 90
_MAX_SAMPLES = 20_000  # of the stem simulation
_MIN_SAMPLES = 120


@dataclass(frozen=True, slots=True)
class StictionTest:
    """The comparison of the three hypotheses at one resolution.

    linear, driven, sticky: Schwarz's criteria of the hypotheses. gain: improvement of the sticky one over the better of
    the others. z: Vuong's statistic of that comparison. delay: blocks. sense: sign of the response of PV to the stem.
    """

    block: int
    order: int
    gain: float
    linear: float
    driven: float
    sticky: float
    log_likelihoods: tuple[float, float, float]
    z: float
    stem: Stem
    delay: int
    sense: float


@dataclass(frozen=True, slots=True)
class StictionSearch:
    """The comparisons at all resolutions, and the one that shows stiction best; None where there is no stiction."""

    tests: list[StictionTest] = field(default_factory=list)
    best: StictionTest | None = None

    @property
    def gain(self) -> float:
        """The median gain of stiction over all resolutions."""
        return float(np.median([test.gain for test in self.tests])) if self.tests else 0.0

    @property
    def shown(self) -> StictionTest:
        """The comparison at the deciding resolution, or at that of the largest gain."""
        return self.best or max(self.tests, key=lambda test: test.gain)


def find_stiction(signals: Signals, sense: float) -> StictionSearch:
    """Return the search for stiction. sense: the sign of the process gain, or zero where it is not identified."""
    longest = max(find_runs(signals.complete & signals.automatic, _MIN_SAMPLES), key=lambda s: s.stop - s.start,
                  default=None)
    if longest is None:
        return StictionSearch()
    part = slice(longest.start, min(longest.stop, longest.start + _MAX_SAMPLES))
    pv, op, sp = signals.pv[part], signals.op[part], signals.sp[part]
    width = float(np.quantile(op, 0.98) - np.quantile(op, 0.02))
    if np.ptp(pv) < LIMITS.min_range_percent or width < LIMITS.min_range_percent:
        return StictionSearch()
    stems = [(size * width, jump * size * width, start) for size in _SIZES for jump in _JUMPS for start in _STARTS]
    positions = move_stems(op, stems)
    tests = [_compare(_Blocks(pv, op, sp, positions, block), order, stems)
             for block in _block_lengths(len(pv)) for order in _ORDERS]
    return StictionSearch(tests, _select_decisive_test(tests, sense))


def _block_lengths(samples: int) -> list[int]:
    block, blocks = -(-samples // _MAX_BLOCKS), []
    while samples // block >= _MIN_BLOCKS:
        blocks.append(block)
        block *= 2
    return blocks


def _select_decisive_test(tests: Sequence[StictionTest], sense: float) -> StictionTest | None:
    """Return the test that shows stiction best; None where another hypothesis explains PV as well."""
    candidates = [test for test in tests if test.gain > 0.0 and test.sense * sense >= 0.0]
    if not candidates:
        return None
    best = max(candidates, key=lambda test: test.z)
    is_beyond_chance = best.z > LIMITS.decisive_z and best.gain > LIMITS.gain
    is_at_most_resolutions = (float(np.median([test.gain for test in tests])) > LIMITS.gain
                              and 2 * len(candidates) > len(tests) and best.z > LIMITS.min_z)
    return best if is_beyond_chance or is_at_most_resolutions else None


def move_stems(op: Floats, stems: Sequence[Stem], last: Floats | None = None) -> Floats:
    """Return the stem positions (T, M) of M valves driven by OP, (T,), %. last: (M,) positions before a gap."""
    s, j, start = np.array(stems).T
    half_band = (s + j) / 2.0
    initial = op[0] + start * half_band if last is None else np.clip(last, op[0] - half_band, op[0] + half_band)
    valves = Stiction(initial, np.arange(len(stems)))
    valves.set_parameters(s, j)
    # While OP is constant a stem rests from the second sample on, so that later samples need not be simulated.
    changes = np.append(True, op[1:] != op[:-1])
    changes[1:] |= changes[:-1]
    positions = np.empty((int(changes.sum()), len(stems)))
    for row, target in zip(positions, op[changes].tolist(), strict=True):
        row[:] = valves.step(target)
    return np.asarray(positions[np.cumsum(changes) - 1])


class _Blocks:
    """Averages of PV, SP and the inputs over blocks of `block` samples; the inputs are OP and then the stems.

    SP is (T, 1), or (T, 0) where it is constant.
    """

    def __init__(self, pv: Floats, op: Floats, sp: Floats, positions: Floats, block: int) -> None:
        count = len(pv) // block
        inputs = np.column_stack([op, positions])[:count * block] - op.mean()
        self.pv = pv[:count * block].reshape(count, block).mean(axis=1)
        self.pv = (self.pv - self.pv.mean()) / max(float(self.pv.std()), 1e-12)
        self.inputs = inputs.reshape(count, block, -1).mean(axis=1)
        input_lags = (sp - sp.mean())[:, None] if np.ptp(sp) > 0.0 else np.empty((len(sp), 0))
        self.sp = input_lags[:count * block].reshape(count, block, -1).mean(axis=1)
        self.block = block


@dataclass(frozen=True, slots=True)
class _Fit:
    """The ARX model of one input: the input's index, delay in blocks, residuals, and sign of its static gain."""

    index: int
    delay: int
    residuals: Floats
    sense: float

    @property
    def log_likelihood(self) -> float:
        n, power = len(self.residuals), float(self.residuals @ self.residuals)
        return -n / 2.0 * float(np.log(max(power, 1e-12 * n) / n))

    def bic(self, parameters: int) -> float:
        """Return Schwarz's criterion: lower is better."""
        return parameters * float(np.log(len(self.residuals))) - 2.0 * self.log_likelihood


class _Arx:
    """An autoregression of PV with SP and other regressors, to which inputs are added; all delays use the same samples.

    SP is a regressor because a controller that is faster than the blocks moves PV to SP within one. Without it a stem
    that slips by chance when SP moves, and rests while OP follows the load, would explain that move.
    """

    def __init__(self, blocks: _Blocks, order: int, others: Floats | None = None) -> None:
        self._max_lag = max(order, _DELAYS[-1] + _TAPS)
        regressors = [self._lag(blocks.pv, lag) for lag in range(1, order + 1)]
        regressors.append(self._lag(blocks.sp, 0))
        columns = np.column_stack([*regressors, np.ones(len(regressors[0])),
                                   *([] if others is None else [others[self._max_lag:]])])
        self._q = np.linalg.qr(columns)[0]
        self._inputs, pv = blocks.inputs, blocks.pv[self._max_lag:]
        self._pv = pv - self._q @ (self._q.T @ pv)

    def _lag(self, x: Floats, lag: int) -> Floats:
        return x[self._max_lag - lag:len(x) - lag]

    def best(self, inputs: slice, delays: Sequence[int] = _DELAYS) -> _Fit:
        """Return the fit of the input and delay with the smallest residuals."""
        fits = [self._fit(inputs, delay) for delay in delays]
        return min(fits, key=lambda fit: float(fit.residuals @ fit.residuals))

    def _fit(self, inputs: slice, delay: int) -> _Fit:
        input_lags, normal, moments = self._normal(inputs, delay)
        coefficients = np.linalg.solve(normal, moments[..., None])[..., 0]
        index = int(np.argmax(np.einsum("mb,mb->m", coefficients, moments)))
        residuals = self._pv - coefficients[index] @ input_lags[:, :, index]
        return _Fit(inputs.start + index, delay, residuals, float(np.sign(coefficients[index].sum())))

    def _normal(self, inputs: slice, delay: int) -> tuple[Floats, Floats, Floats]:
        """Return the lagged inputs (taps, n, M) orthogonal to the other regressors, and their normal equations."""
        input_lags = np.stack([self._lag(self._inputs[:, inputs], delay + tap) for tap in range(1, _TAPS + 1)])
        input_lags -= self._q @ (self._q.T @ input_lags)
        normal = np.einsum("bim,cim->mbc", input_lags, input_lags, optimize=True)
        size = np.trace(normal, axis1=1, axis2=2)
        normal += (1e-8 * size + 1e-12)[:, None, None] * np.eye(_TAPS)  # regular for a stem that never moves
        return input_lags, normal, np.einsum("bim,i->mb", input_lags, self._pv, optimize=True)


def _compare(blocks: _Blocks, order: int, stems: Sequence[Stem]) -> StictionTest:
    """Return the comparison of the three hypotheses at one resolution."""
    arx = _Arx(blocks, order)
    linear, sticky = arx.best(slice(0, 1)), arx.best(slice(1, 1 + len(stems)))
    driven = _Arx(blocks, order, _make_harmonics(linear.residuals, len(blocks.pv))).best(slice(0, 1))
    arx_parameters = order + 1 + _TAPS
    criteria = (linear.bic(arx_parameters), driven.bic(arx_parameters + 2 * _HARMONICS + 1),
                sticky.bic(arx_parameters + 3))
    other = linear if criteria[0] < criteria[1] else driven
    return StictionTest(blocks.block, order, min(criteria[:2]) - criteria[2], *criteria,
                        (linear.log_likelihood, driven.log_likelihood, sticky.log_likelihood),
                        _vuong(other.residuals, sticky.residuals), stems[sticky.index - 1], sticky.delay, sticky.sense)


def _vuong(one: Floats, other: Floats) -> float:
    """Return Vuong's statistic: standard normal where both models are equally good, positive where the other is better.

    It is the sum of the differences of the log-likelihoods over its standard deviation (by Newey and West, 1987), so
    that a single disturbance which one of them happens to follow does not decide.
    """
    one_variance, other_variance = max(float(one.var()), 1e-12), max(float(other.var()), 1e-12)
    gain = (np.log(one_variance / other_variance) + one**2 / one_variance - other**2 / other_variance) / 2.0
    spread = long_run_covariance((gain - gain.mean())[:, None], LIMITS.vuong_band)
    return float(gain.sum() / np.sqrt(max(float(spread[0, 0]), 1e-12)))


def _make_harmonics(residuals: Floats, samples: int) -> Floats:
    """Return (T, 2 x harmonics) sines and cosines with the period of the highest line in residuals."""
    n = len(residuals)
    power = np.abs(np.fft.rfft(residuals)) ** 2
    power[:LIMITS.min_periods] = 0.0
    at = int(np.argmax(power))
    frequencies = np.linspace(max(at - 1.0, 0.5), at + 1.0, 41) / n
    heights = np.abs(np.exp(-2j * np.pi * frequencies[:, None] * np.arange(n)) @ residuals)
    angle = 2.0 * np.pi * frequencies[int(np.argmax(heights))] * np.arange(samples)
    return np.column_stack([wave(k * angle) for k in range(1, _HARMONICS + 1) for wave in (np.sin, np.cos)])
