"""Stiction of the valve, from OP and PV alone: a limit cycle of the loop's own against one that is driven from outside.

Three hypotheses explain PV, each an autoregression with an input (ARX; Ljung, 1999, section 4.2): the flow follows OP;
it follows OP, and a periodic load of three harmonics acts besides; it follows a stem that OP moves by Choudhury's model
of stiction (Choudhury, Thornhill and Shah, 2005), as in the Hammerstein methods of Srinivasan et al. (2005) and Jelali
(2008). The whole wave decides, by Schwarz's criterion (1978), and nothing of it depends on units or seconds. Signals
are averaged over blocks of 1, 2, 4, .. samples, and stiction must explain PV best at most of these resolutions, since
a wrong stem does so at one by chance. Or it does so at one beyond chance, by Vuong's test (1989).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from clpm_execd.identification.estimates import Hypothesis
from clpm_execd.identification.loop_data import Signals, find_runs
from clpm_execd.identification.pid_regression import long_run_covariance
from clpm_execd.identification.thresholds import STICTION as LIMITS
from clpm_execd.plant.block import Floats
from clpm_execd.plant.faults.valve import Stiction

Stem = tuple[float, float, float]  # S and J, % of travel, and how far it is from OP at first, of as far as it can be

_SIZES = tuple(0.2 * 1.15**k for k in range(12))  # S, of the range of OP: with less a stem follows, with more it rests
_JUMPS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.2)  # J, of S
_STARTS = (-1.0, 0.0, 1.0)
_ORDERS = (2, 5)  # of the autoregression: a process with two lags, and one whose noise has a colour of its own
_DELAYS = (0, 1, 2, 4, 7)  # blocks; the input acts over the two that follow
_TAPS = 2
_HARMONICS = 3  # of a load from outside: another loop's limit cycle, filtered
_MOST_BLOCKS, _LEAST_BLOCKS = 1500, 90
_MOST_SAMPLES = 20_000  # that stems are simulated over
_LEAST_SAMPLES = 120


@dataclass(frozen=True, slots=True)
class StictionTest:
    """The three hypotheses at one resolution, compared.

    linear, driven, sticky: by Schwarz's criterion, and log_likelihoods: of the three. gain: by how much the stem is
    better than the better of the others. z: Vuong's statistic of the same comparison. delay: blocks. sense: the sign
    of the answer of PV to the stem.
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
    """What was compared, and the stem, with its delay in s, where stiction explains PV best."""

    tests: list[StictionTest] = field(default_factory=list)
    best: StictionTest | None = None

    @property
    def gain(self) -> float:
        """The median gain of stiction over all resolutions."""
        return float(np.median([test.gain for test in self.tests])) if self.tests else 0.0

    def hypotheses(self) -> list[Hypothesis]:
        """Return the three, as they compare at the resolution that decides, or at which stiction does best."""
        if not self.tests:
            return []
        test = self.best or max(self.tests, key=lambda test: test.gain)
        is_driven = self.best is None and test.driven < test.linear
        linear, driven, sticky = test.log_likelihoods
        return [Hypothesis("PV follows OP", linear, 0.0, 0.0, self.best is None and not is_driven),
                Hypothesis("and a periodic load acts besides", driven, test.linear - test.driven, 0.0, is_driven),
                Hypothesis("PV follows a valve that sticks", sticky, test.gain if self.best else self.gain, LIMITS.gain,
                           self.best is not None)]


def find_stiction(signals: Signals, sense: float) -> StictionSearch:
    """Return whether and how the valve sticks. sense: the sign of the process gain, zero where it is not known."""
    longest = max(find_runs(signals.complete & signals.automatic, _LEAST_SAMPLES), key=lambda s: s.stop - s.start,
                  default=None)
    if longest is None:
        return StictionSearch()
    part = slice(longest.start, min(longest.stop, longest.start + _MOST_SAMPLES))
    pv, op, sp = signals.pv[part], signals.op[part], signals.sp[part]
    width = float(np.quantile(op, 0.98) - np.quantile(op, 0.02))
    if np.ptp(pv) < LIMITS.still_percent or width < LIMITS.still_percent:
        return StictionSearch()
    stems = [(size * width, jump * size * width, start) for size in _SIZES for jump in _JUMPS for start in _STARTS]
    positions = move_stems(op, stems)
    tests = [_compare(_Blocks(pv, op, sp, positions, block), order, stems)
             for block in _blocks(len(pv)) for order in _ORDERS]
    return StictionSearch(tests, _decisive(tests, sense))


def _blocks(samples: int) -> list[int]:
    block, blocks = -(-samples // _MOST_BLOCKS), []
    while samples // block >= _LEAST_BLOCKS:
        blocks.append(block)
        block *= 2
    return blocks


def _decisive(tests: Sequence[StictionTest], sense: float) -> StictionTest | None:
    """Return the test that shows stiction best; None where the others explain PV as well."""
    likely = [test for test in tests if test.gain > 0.0 and test.sense * sense >= 0.0]
    if not likely:
        return None
    best = max(likely, key=lambda test: test.z)
    is_plain = best.z > LIMITS.plain_z and best.gain > LIMITS.gain
    is_steady = (float(np.median([test.gain for test in tests])) > LIMITS.gain
                 and 2 * len(likely) > len(tests) and best.z > LIMITS.least_z)
    return best if is_plain or is_steady else None


def move_stems(op: Floats, stems: Sequence[Stem], last: Floats | None = None) -> Floats:
    """Return (T, M) where the stems of M valves are that OP, (T,), moves; last: (M,) where they were before a gap."""
    s, j, start = np.array(stems).T
    apart = (s + j) / 2.0
    first = op[0] + start * apart if last is None else np.clip(last, op[0] - apart, op[0] + apart)
    valves = Stiction(first, np.arange(len(stems)))
    valves.set_parameters(s, j)
    # Where OP rests a stem sticks from the first sample on, so that the others of a rest need not be stepped through.
    changes = np.append(True, op[1:] != op[:-1])
    changes[1:] |= changes[:-1]
    positions = np.empty((int(changes.sum()), len(stems)))
    for row, wanted in zip(positions, op[changes].tolist(), strict=True):
        row[:] = valves.step(wanted)
    return np.asarray(positions[np.cumsum(changes) - 1])


class _Blocks:
    """PV, OP, SP and stems, averaged over blocks of so many samples; the first input is OP.

    SP is (T, 1), or (T, 0) where it never moves.
    """

    def __init__(self, pv: Floats, op: Floats, sp: Floats, positions: Floats, block: int) -> None:
        count = len(pv) // block
        inputs = np.column_stack([op, positions])[:count * block] - op.mean()
        self.pv = pv[:count * block].reshape(count, block).mean(axis=1)
        self.pv = (self.pv - self.pv.mean()) / max(float(self.pv.std()), 1e-12)
        self.inputs = inputs.reshape(count, block, -1).mean(axis=1)
        moved = (sp - sp.mean())[:, None] if np.ptp(sp) > 0.0 else np.empty((len(sp), 0))
        self.sp = moved[:count * block].reshape(count, block, -1).mean(axis=1)
        self.block = block


@dataclass(frozen=True, slots=True)
class _Fit:
    """The ARX model of the best input: which one, its delay, residuals, and the sum of its input coefficients."""

    which: int
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
    """PV by its own past, SP and other columns, to which inputs are added; lags reach back equally for all delays.

    A controller that is faster than the blocks brings PV to SP within one: without SP, a stem that happens to slip
    when SP moves, and rests while OP follows the load, would pass for the reason.
    """

    def __init__(self, blocks: _Blocks, order: int, others: Floats | None = None) -> None:
        self._reach = max(order, _DELAYS[-1] + _TAPS)
        past = [self._lag(blocks.pv, lag) for lag in range(1, order + 1)]
        past.append(self._lag(blocks.sp, 0))
        columns = np.column_stack([*past, np.ones(len(past[0])), *([] if others is None else [others[self._reach:]])])
        self._q = np.linalg.qr(columns)[0]
        self._inputs, pv = blocks.inputs, blocks.pv[self._reach:]
        self._pv = pv - self._q @ (self._q.T @ pv)

    def _lag(self, x: Floats, lag: int) -> Floats:
        return x[self._reach - lag:len(x) - lag]

    def best(self, inputs: slice, delays: Sequence[int] = _DELAYS) -> _Fit:
        """Return the fit of the input, of these, and the delay of the least errors."""
        fits = [self._fit(inputs, delay) for delay in delays]
        return min(fits, key=lambda fit: float(fit.residuals @ fit.residuals))

    def _fit(self, inputs: slice, delay: int) -> _Fit:
        moved, normal, right = self._normal(inputs, delay)
        coefficients = np.linalg.solve(normal, right[..., None])[..., 0]
        which = int(np.argmax(np.einsum("mb,mb->m", coefficients, right)))
        residuals = self._pv - coefficients[which] @ moved[:, :, which]
        return _Fit(inputs.start + which, delay, residuals, float(np.sign(coefficients[which].sum())))

    def _normal(self, inputs: slice, delay: int) -> tuple[Floats, Floats, Floats]:
        """Return (taps, n, M) the inputs free of the other columns, and the normal equations of each, (M, ..)."""
        moved = np.stack([self._lag(self._inputs[:, inputs], delay + tap) for tap in range(1, _TAPS + 1)])
        moved -= self._q @ (self._q.T @ moved)
        normal = np.einsum("bim,cim->mbc", moved, moved, optimize=True)
        size = np.trace(normal, axis1=1, axis2=2)
        normal += (1e-8 * size + 1e-12)[:, None, None] * np.eye(_TAPS)  # a stem that never moves has no equations
        return moved, normal, np.einsum("bim,i->mb", moved, self._pv, optimize=True)


def _compare(blocks: _Blocks, order: int, stems: Sequence[Stem]) -> StictionTest:
    """Return the three hypotheses at one resolution, compared."""
    arx = _Arx(blocks, order)
    linear, sticky = arx.best(slice(0, 1)), arx.best(slice(1, 1 + len(stems)))
    driven = _Arx(blocks, order, _waves(linear.residuals, len(blocks.pv))).best(slice(0, 1))
    own = order + 1 + _TAPS
    criteria = linear.bic(own), driven.bic(own + 2 * _HARMONICS + 1), sticky.bic(own + 3)
    other = linear if criteria[0] < criteria[1] else driven
    return StictionTest(blocks.block, order, min(criteria[:2]) - criteria[2], *criteria,
                        (linear.log_likelihood, driven.log_likelihood, sticky.log_likelihood),
                        _vuong(other.residuals, sticky.residuals), stems[sticky.which - 1], sticky.delay, sticky.sense)


def _vuong(one: Floats, other: Floats) -> float:
    """Return Vuong's statistic: normal where both models are as near the truth, positive where the other is nearer.

    The sum of the differences of the log-likelihoods over its standard deviation (by Newey and West, 1987), so that a
    single disturbance that one of them happens to follow does not decide.
    """
    one_variance, other_variance = max(float(one.var()), 1e-12), max(float(other.var()), 1e-12)
    gain = (np.log(one_variance / other_variance) + one**2 / one_variance - other**2 / other_variance) / 2.0
    spread = long_run_covariance((gain - gain.mean())[:, None], LIMITS.vuong_band)
    return float(gain.sum() / np.sqrt(max(float(spread[0, 0]), 1e-12)))


def _waves(residuals: Floats, samples: int) -> Floats:
    """Return (T, 2 x harmonics) sines and cosines with the period of the highest line in residuals."""
    n = len(residuals)
    power = np.abs(np.fft.rfft(residuals)) ** 2
    power[:LIMITS.least_periods] = 0.0
    at = int(np.argmax(power))
    frequencies = np.linspace(max(at - 1.0, 0.5), at + 1.0, 41) / n
    heights = np.abs(np.exp(-2j * np.pi * frequencies[:, None] * np.arange(n)) @ residuals)
    angle = 2.0 * np.pi * frequencies[int(np.argmax(heights))] * np.arange(samples)
    return np.column_stack([wave(k * angle) for k in range(1, _HARMONICS + 1) for wave in (np.sin, np.cos)])
