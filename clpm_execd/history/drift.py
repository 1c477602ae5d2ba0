"""The slow drift of a loop: what its laws, found in a record that is hardly longer, cannot hold of it.

Least squares draw the slowest pole of a short record in (Kendall, 1954), and residuals in blocks forget what is slower
than a block: a loop of both wanders less within the record's length than the record did. A drift of first order, half
as slow as the record is long, makes up for it: its size is such that the variance within a time as long as the
record's is the record's own (indirect inference: Gourieroux, Monfort and Renault, 1993).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clpm_execd.history.signals import Signals, percent_of
from clpm_execd.plant.block import SECOND, Floats
from clpm_execd.plant.laws import Laws
from clpm_execd.plant.loop import LoopSpec, OperatorSpec
from clpm_execd.plant.plant import Plant

_LONGEST = 2000  # samples of a window
_SHORTEST = 128
_SLOWNESS = 0.5  # time of the drift, windows
_RUNS, _PATHS = 16, 64
_SETTLE = 0.5  # windows before those that count
_BEGUN = 0.1  # the same of a loop, which begins as its record might have
_ROOM = 0.4  # of the way to an end of its range: sigma of OP at the most


def drifting(loop: LoopSpec, signals: Signals) -> LoopSpec:
    """The loop, with laws, with the drift that it lacks beside its record."""
    laws = loop.laws
    length = min(len(signals.pv), _LONGEST)
    whole = signals.whole & signals.automatic
    if laws is None or laws.innovation.size or loop.mode != "AUT" or whole.sum() < max(_SHORTEST, 0.5 * len(whole)):
        return loop
    wandering = laws.setpoint.size > 0
    x = np.column_stack([signals.pv, signals.op, signals.sp])
    x[~whole] = np.nan
    seen = _within(_plain(x, wandering)[None], length)
    lacking = seen - _within(_plain(_lived(loop, length), wandering), length)
    pole = float(np.exp(-1.0 / (_SLOWNESS * length)))
    answer, swing = _answers(laws, pole, length)
    known = seen > 1e-12
    if not wandering:  # SP is the operator's
        known[2], answer[2] = False, 0.0
    size = _sizes(answer[:, known] / seen[known], np.maximum(lacking[known], 0.0) / seen[known])
    room = _ROOM * min(loop.op, 100.0 - loop.op)
    size *= min(1.0, room / max(float(np.sqrt(size @ swing)), 1e-12))
    return replace(loop, laws=replace(laws, drift=np.array([pole, *np.sqrt(size)])))


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


def _lived(loop: LoopSpec, length: int) -> Floats:
    """(runs, length, 3) the loop run free, without its operator, per cent."""
    assert loop.laws is not None
    alone = [replace(loop, id=f"{loop.id} {k}", operator=OperatorSpec()) for k in range(_RUNS)]
    step = round(loop.laws.interval * SECOND)
    block = Plant(alone, seed=0, start=0, interval=step, scan=step).advance(length + int(_BEGUN * length))
    parts = (percent_of(block.pv, loop.range), percent_of(block.op, loop.recording.op_range),
             percent_of(block.sp, loop.range))
    return np.stack([part[-length:].T for part in parts], axis=-1)


def _answers(laws: Laws, pole: float, length: int) -> tuple[Floats, Floats]:
    """What drifts of variance 1 at PV's, OP's and SP's law make of the variances of the three within a window, (3, 3)
    from drift to signal, and of OP's altogether, (3,).
    """
    from scipy.signal import fftconvolve, lfilter

    time = length + int(_SETTLE * length)
    chance = np.random.default_rng(0).standard_normal((time, _PATHS)) * np.sqrt(1.0 - pole * pole)
    chance[0] /= np.sqrt(1.0 - pole * pole)
    drift = np.asarray(lfilter([1.0], [1.0, -pole], chance, axis=0))
    impulse = _impulse(laws, time)
    within, swing = np.empty((3, 3)), np.empty(3)
    for k in range(3):
        for signal in range(3):
            moved = fftconvolve(drift, impulse[:, k, signal, None], axes=0)[time - length:time]
            within[k, signal] = _typical(moved.var(axis=0), axis=0)
            if signal == 1:
                swing[k] = (moved * moved).mean()
    return within, swing


def _impulse(laws: Laws, time: int) -> Floats:
    """(time, 3, 3) what an impulse at PV's, OP's and SP's law makes of the three."""
    p = laws.order
    past = np.zeros((time + p, 3, 3))  # time, impulse, signal
    at_once = laws.controller_pv[0], laws.controller_sp[0]
    pv, op, sp = (np.zeros((p, 3)) for _ in range(3))  # coefficients, latest last, of PV, OP and SP in the laws
    nothing = np.empty(0)
    laws_of: tuple[tuple[Floats, tuple[Floats, ...]], ...] = (
        (pv, (laws.process_pv, laws.process_op, nothing)),
        (op, (laws.controller_pv[1:], laws.controller_op, laws.controller_sp[1:])),
        (sp, (nothing, nothing, laws.setpoint)))
    for law, parts in laws_of:
        for signal, part in enumerate(parts):
            law[p - len(part):, signal] = part[::-1]
    rows = np.stack([pv, op, sp]).reshape(3, -1)
    for t in range(time):
        now = past[t:t + p].transpose(1, 0, 2).reshape(3, -1) @ rows.T
        if t == 0:
            now += np.eye(3)
        now[:, 1] += at_once[0] * now[:, 0] + at_once[1] * now[:, 2]
        past[t + p] = np.clip(now, -1e6, 1e6)
    return past[p:]


def _sizes(answer: Floats, lacking: Floats) -> Floats:
    """(3,) the variances of the drifts that come nearest to what is lacking; answer: (3, signals)."""
    from scipy.optimize import nnls

    useful = answer.max(axis=1, initial=0.0) > 1e-9
    size = np.zeros(3)
    if useful.any() and len(lacking):
        size[useful] = nnls(answer[useful].T, lacking)[0]
    return size
