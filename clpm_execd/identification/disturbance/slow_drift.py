"""The slow drift of a loop: what its laws, found in a record that is hardly longer, cannot hold of it.

Least squares draw the slowest pole of a short record in (Kendall, 1954), and residuals in blocks forget what is slower
than a block: a loop of both wanders less within the record's length than the record did. A drift of first order, half
as slow as the record is long, makes up for it: its size is such that the variance within a time as long as the
record's is the record's own (indirect inference: Gourieroux, Monfort and Renault, 1993).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clpm_execd.identification.loop_data import Booleans, Signals
from clpm_execd.plant.block import Floats
from clpm_execd.plant.kernel.equations import SATURATION_HIGH_PERCENT, SATURATION_LOW_PERCENT
from clpm_execd.plant.learned.model import MAX_BLOCK_SAMPLES, MIN_BLOCK_SAMPLES, STATE_LAGS, LearnedModel
from clpm_execd.plant.learned.resampler import BlockLibrary
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.plant.stages.state import to_percent
from clpm_execd.records.forward_fill import forward_fill

_LONGEST = 2000  # samples of a window
_SHORTEST = 128
_SLOWNESS = 0.5  # time of the drift, windows
_RUNS, _PATHS = 32, 64
_SETTLE = 0.5  # windows before those that count
_BEGUN = 0.1  # the same of a loop, which begins as its record might have
_ROOM = 0.4  # of the way to an end of its range: sigma of OP at the most


def drifting(loop: LoopSpec, signals: Signals) -> LoopSpec:
    """The loop, with laws, with the drift that it lacks beside its record."""
    laws = loop.learned_model
    length = min(len(signals.pv), _LONGEST)
    whole = signals.whole & signals.automatic
    if laws is None or laws.innovation.size or loop.mode != "AUT" or whole.sum() < max(_SHORTEST, 0.5 * len(whole)):
        return loop
    wandering = laws.setpoint.size > 0
    x = np.column_stack([signals.pv, signals.op, signals.sp])
    x[~whole] = np.nan
    seen = _within(_plain(x, wandering)[None], length)
    lacking = seen - _within(_plain(lived(loop, laws, length), wandering), length)
    pole = float(np.exp(-1.0 / (_SLOWNESS * length)))
    answer, swing = _answers(laws, pole, length)
    known = seen > 1e-12
    known[2] &= wandering  # else SP is the operator's
    size = _sizes(answer[:, known] / seen[known], np.maximum(lacking[known], 0.0) / seen[known])
    room = _ROOM * min(loop.op, 100.0 - loop.op)
    size *= min(1.0, room / max(float(np.sqrt(size @ swing)), 1e-12))
    return replace(loop, learned_model=replace(laws, drift=np.array([pole, *np.sqrt(size)])))


def _plain(x: Floats, wandering: bool) -> Floats:
    """(..., T, 3) PV, OP and SP, PV and OP without what an operator's SP makes of them."""
    if wandering:
        return x
    pv, op, sp = np.moveaxis(x, -1, 0)
    moved = sp - np.nanmean(sp)
    power = float(np.nansum(moved * moved))
    share = float(np.nansum(moved * (op - np.nanmean(op)))) / power if power > 0 else 0.0
    return np.stack([pv - sp, op - share * sp, sp], axis=-1)


def _within(x: Floats, length: int) -> Floats:
    """(3,) the variance of (runs, T, 3) signals within a window, typically."""
    count = max(1, x.shape[1] // length)
    windows = x[:, :count * length].reshape(-1, length, 3)
    known = np.isfinite(windows).all(axis=2).mean(axis=1) > 0.5
    return _typical(np.nanvar(windows[known] if known.any() else windows, axis=1), axis=0)


def _typical(variances: Floats, axis: int) -> Floats:
    """Their geometric mean: within a window, that of something slow is seldom as large as its mean."""
    return np.asarray(np.exp(np.log(np.maximum(variances, 1e-15)).mean(axis=axis)))


def lived(loop: LoopSpec, laws: LearnedModel, length: int) -> Floats:
    """(runs, length, 3) the loop run free, without its operator, as a historian holds it, %, from where it rests.

    It lives by its laws as a plant has it live (`plant.learned`), all runs at once.
    """
    archive, chance = BlockLibrary(laws), np.random.default_rng(0)
    p, time = max(STATE_LAGS, laws.order), length + int(_BEGUN * length)
    sp = to_percent(loop.sp, loop.range)
    limits = np.array([[SATURATION_LOW_PERCENT, 0.0, 0.0], [SATURATION_HIGH_PERCENT, 100.0, 100.0]])
    low, high = limits - (sp + laws.offset, loop.op, sp)
    row = archive.starts[chance.integers(len(archive.starts), size=_RUNS)]
    x = np.empty((_RUNS, p + time, 3))
    x[:, :p] = laws.signals[row[:, None] + np.arange(-p, 0)]
    if not laws.setpoint.size:  # of the past only: what lies ahead is not written yet
        x[:, :p, 0] -= x[:, :p, 2]
        x[:, :p, 2] = 0.0
    past, pv_now, sp_now = _rows(laws, p)
    left, ends, rows = np.zeros(_RUNS, dtype=np.intp), 0, np.empty((time, _RUNS), dtype=np.intp)
    for t in range(time):
        if t == ends:  # of a block, for all of them; one that breaks off earlier begins another
            ends += int(chance.integers(MIN_BLOCK_SAMPLES, MAX_BLOCK_SAMPLES + 1))
            left[:] = 0
        row += 1
        left -= 1
        over = np.flatnonzero(left < 0)
        if over.size:
            recent = x[over, p + t - STATE_LAGS:p + t][:, ::-1].reshape(len(over), -1)
            row[over] = archive.sample_starts(recent, row[over], chance.random(1 + len(over)))
            left[over] = np.minimum(ends - t, archive.run_length[row[over]]) - 1
        rows[t] = row
        now = x[:, t:t + p].reshape(_RUNS, -1) @ past + laws.residuals[row]
        now[:, 0] = now[:, 0].clip(low[0], high[0])
        now[:, 1] += pv_now * now[:, 0] + sp_now * now[:, 2]
        x[:, p + t] = now.clip(low, high)
    return _kept(x[:, p:], laws.is_repeat[rows.T])[:, -length:]


def _kept(x: Floats, held: Booleans) -> Floats:
    """(runs, T, 3) signals of which PV and OP are held, (runs, T, 2), where the record held them."""
    return np.concatenate([forward_fill(x[..., :2], ~held, axis=1), x[..., 2:]], axis=-1)


def _rows(laws: LearnedModel, order: int) -> tuple[Floats, float, float]:
    """(3 order, 3) from PV, OP and SP of the past, latest last, to those that the laws make of them; and what PV and SP
    of the same instant come to in OP.
    """
    rows, nothing = np.zeros((order, 3, 3)), np.empty(0)
    parts = ((laws.process_pv, laws.process_op, nothing),
             (laws.controller_pv[1:], laws.controller_op, laws.controller_sp[1:]),
             (nothing, nothing, laws.setpoint))
    for law, of in enumerate(parts):
        for signal, part in enumerate(of):
            rows[order - len(part):, signal, law] = part[::-1]
    return rows.reshape(-1, 3), float(laws.controller_pv[0]), float(laws.controller_sp[0])


def _answers(laws: LearnedModel, pole: float, length: int) -> tuple[Floats, Floats]:
    """What drifts of variance 1 at PV's, OP's and SP's law make of the variances of the three within a window, (3, 3)
    from drift to signal, and of OP's altogether, (3,). Of an operator's SP there is nothing.
    """
    from scipy import fft
    from scipy.signal import lfilter

    time = length + int(_SETTLE * length)
    chance = np.random.default_rng(0).standard_normal((_PATHS, time)) * np.sqrt(1.0 - pole * pole)
    chance[:, 0] /= np.sqrt(1.0 - pole * pole)
    size = fft.next_fast_len(2 * time, real=True)
    drift = fft.rfft(lfilter([1.0], [1.0, -pole], chance), size)
    within, swing = np.zeros((3, 3)), np.zeros(3)
    impulses = _impulses(laws, time)
    for k, signal in np.argwhere(impulses.any(axis=2)).tolist():
        moved = fft.irfft(drift * fft.rfft(impulses[k, signal], size), size)[:, time - length:time]
        within[k, signal] = _typical(moved.var(axis=1), axis=0)
        if signal == 1:
            swing[k] = (moved * moved).mean()
    return within, swing


def _impulses(laws: LearnedModel, time: int) -> Floats:
    """(3, 3, time) what an impulse at PV's, OP's and SP's law makes of the three, an operator's SP being none.

    A PV = B OP + 1, C OP = D PV + S SP + 1 and G SP = 1, solved for the three.
    """
    from scipy.signal import lfilter

    a, c, g = (np.append(1.0, -part) for part in (laws.process_pv, laws.controller_op, laws.setpoint))
    b, d, s = np.append(0.0, laws.process_op), laws.controller_pv, laws.controller_sp
    loop = np.convolve(a, c) - np.convolve(b, d)
    tops = {(0, 0): c, (0, 1): d, (1, 0): b, (1, 1): a}
    if laws.setpoint.size:
        tops |= {(2, 0): np.convolve(b, s), (2, 1): np.convolve(a, s)}
    impulse, impulses = np.eye(1, time)[0], np.zeros((3, 3, time))
    for at, top in tops.items():
        impulses[at] = lfilter(top, loop, impulse)
    if laws.setpoint.size:
        impulses[2] = lfilter([1.0], g, impulses[2])
        impulses[2, 2] = lfilter([1.0], g, impulse)
    return np.asarray(np.nan_to_num(impulses.clip(-1e6, 1e6)))


def _sizes(answer: Floats, lacking: Floats) -> Floats:
    """(3,) the variances of the drifts that come nearest to what is lacking; answer: (3, signals)."""
    from scipy.optimize import nnls

    useful = answer.max(axis=1, initial=0.0) > 1e-9
    size = np.zeros(3)
    if useful.any() and len(lacking):
        size[useful] = nnls(answer[useful].T, lacking)[0]
    return size
