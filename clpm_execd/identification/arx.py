"""The model by which a loop is streamed like its record (see plant.learned.model), and the choice between two.

The plain model is a closed loop of two difference equations: PV on the last values of PV and OP (an ARX model), and the
move of OP on the control error and the last move, so that integral action is exact. Both are ridge regressions on
signals in units of their standard deviations; no unit and no interval enters. In closed loop they are not without
bias, and need not be: what they leave of the record is resampled with them (Ljung, 1999, section 13.4).

The physical model is the loop's own process and PID controller, in which all of its numbers act. It is taken where its
stream is as much like the record as that of the plain one. Both are compared with a part of the record whose residuals
they do not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from clpm_execd.identification.loop_data import Booleans, Signals
from clpm_execd.identification.pid_regression import controller_residuals
from clpm_execd.identification.process.residuals import Innovations
from clpm_execd.plant.block import SECOND, Floats
from clpm_execd.plant.learned.model import LearnedModel, StateMatchedModel, run_lengths
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import FaultSpec, LoopSpec

_ORDER = 4  # of PV's equation; 3 and 5 are as good on 135 records (docs/fitting.md)
_RIDGE = 1e-4  # of the mean square of the regressors; 1e-6 is a little worse on the same records
_MAX_POLE = 1.002  # of the closed loop, a sample: over a block of 20 samples it grows by 4 %
_MAX_LEAK = 0.5  # of OP to its mean, a sample, where the equations let it run away
_SETPOINT_POLE = 1.0 - 1.0 / 64.0  # of a master's SP, whose moves are resampled: what differs from the record decays
_MAX_SAMPLES, _STRETCH_SAMPLES = 20_000, 1000  # of a longer record, stretches of it spread evenly: 1.5 MB of arrays
_SATURATION = 0.02  # share of samples in which OP is exactly at its extreme: no mirror image, which has no such end
_PACE = 0.1  # of the reset: a record slower than that and than the scan of 1 s shows too little of the integral
_MAX_NOISE_POLE = 0.995
_REST_SAMPLES = 30  # between two moves of SP: an operator's SP rests longer most of the time, a master's does not
_MAX_MOVED = 0.2  # of the record, that is left out because SP moved
_LEAST_MOVES = 10  # of SP: with fewer it was stepped
_TRIAL_SAMPLES = 1024  # of a stream that is compared with the record: 0.2 s of processor time
_OFFSET_PARTS = 5  # of a record, over which the mean of PV - SP is compared, as the verdict does
_SEGMENT_SAMPLES = 64  # of Welch's method
_MARGIN = 0.05  # decades of spectral density: for a model in which all of a loop's numbers act


def has_continuous_sp(signals: Signals) -> bool:
    """Return whether SP is hardly ever constant, as that of a cascade's slave; an operator's rests and steps."""
    sp = signals.sp[signals.complete]
    rests = np.diff(np.concatenate([[0], 1 + np.flatnonzero(np.diff(sp) != 0), [len(sp)]]))
    return len(rests) > _LEAST_MOVES and float(rests[rests >= _REST_SAMPLES].sum()) < 0.5 * len(sp)


def fit_learned_model(signals: Signals, rest: tuple[float, float, float], resolutions: tuple[float, float],
                      settings: Floats,
                      loop: LoopSpec, found: Innovations | None, faults: Sequence[FaultSpec],
                      stem: Floats | None = None) -> LearnedModel | None:
    """Return the model of a loop around its rest, (PV, OP, SP); None where the record is too short or too broken.

    steps: in which PV and OP were recorded, %. settings: see LearnedModel. loop: whose process and controller may be
    the model, with the innovations found for them and with these faults; None where its controller is no PID. stem:
    (T,) the position of a valve that sticks, which moves the process in OP's place; the loop then has its faults.
    """
    complete = signals.complete
    x = np.column_stack([signals.pv, signals.op, signals.sp]) - np.array(rest)
    x[~complete] = np.nan
    is_automatic = (signals.automatic if (signals.automatic & complete).sum() > 0.2 * complete.sum()
                    else np.ones_like(complete))
    flow = x[:, 1] if stem is None else stem - rest[1]
    plain = _fit_plain_model(x, flow, is_automatic, has_continuous_sp(signals), _find_repeats(signals, resolutions),
                             signals.interval,
                             rest[0] - rest[2], settings)
    if plain is None:
        return None
    physical = None if found is None else _make_physical_model(plain, signals, loop, found)
    faulty = replace(loop, faults=tuple(faults))
    if physical is not None and _is_as_alike(physical, plain, faulty, loop if stem is None else faulty, x):
        return physical
    return _select_stretches(plain)


def _fit_plain_model(x: Floats, flow: Floats, is_automatic: Booleans, has_master: bool, is_repeat: Booleans,
                     interval: float, offset: float, settings: Floats) -> StateMatchedModel | None:
    scale = np.nanstd(x, axis=0) if np.isfinite(x).any() else np.ones(3)
    scale[2] = scale[0]
    scale[scale < 1e-9] = 1.0
    for ridge in (_RIDGE, 100.0 * _RIDGE, 1.0):
        fit = _fit_equations(x / scale, flow / scale[1], is_automatic, has_master, ridge)
        if fit is None:
            return None
        process, controller, kick = fit
        a, b = process[:_ORDER], process[_ORDER:] * scale[0] / scale[1]
        c = np.array([1.0 + controller[3], -controller[3]])
        s, kick = (part * scale[1] / scale[0] for part in (controller[:3], kick))
        if np.abs(_find_poles(a, b, c, -s)).max(initial=0.0) <= _MAX_POLE:
            break
    c[0] -= _find_leak(a, b, c, -s, len(x))
    op = x[np.isfinite(x).all(axis=1), 1]
    lowest, highest = float(op.min()), float(op.max())
    is_saturated = max(np.mean(op == lowest), np.mean(op == highest)) > _SATURATION
    model = StateMatchedModel(
        interval=interval, offset=offset, process_pv=a, process_op=b, innovation=np.empty(0), controller_op=c,
        controller_pv=-s, controller_sp=s + np.array([kick[0], kick[1] - kick[0], -kick[1]]),
        controller_noise=np.empty(0), setpoint=np.array([_SETPOINT_POLE]) if has_master else np.empty(0),
        drift=np.zeros(4), signals=x, residuals=np.full(x.shape, np.nan), is_repeat=is_repeat, settings=settings,
        mirror=np.empty(0) if is_saturated else np.array([0.0, (lowest + highest) / 2.0, 0.0]))
    model = replace(model, residuals=_find_residuals(model, flow, is_automatic))
    return model if run_lengths(model).any() else None


def _fit_equations(x: Floats, flow: Floats, is_automatic: Booleans, has_master: bool, ridge: float
                   ) -> tuple[Floats, Floats, Floats] | None:
    """Return the coefficients of PV's equation, of OP's, and what moves of SP add to OP's.

    x: (T, 3) and flow: (T,), in units of standard deviations. None where too few samples are complete.
    """
    pv, op, sp = x.T
    move = op - _lag(op, 1)
    lags = range(1, _ORDER + 1)
    process = np.column_stack([*(_lag(pv, k) for k in lags), *(_lag(flow, k) for k in lags),
                               np.ones(len(x))])
    error = sp - pv
    jump = sp - _lag(sp, 1)
    controller = np.column_stack([error, _lag(error, 1), _lag(error, 2), _lag(move, 1), jump, _lag(jump, 1)])
    rows = np.isfinite(process).all(axis=1) & np.isfinite(controller).all(axis=1) & np.isfinite(x).all(axis=1)
    in_automatic = rows & is_automatic
    if in_automatic.sum() < 2 * process.shape[1]:
        return None
    of_pv = _solve_ridge(process[rows], pv[rows], ridge)
    of_op = _solve_ridge(controller[in_automatic], move[in_automatic], ridge)
    return of_pv[:-1], of_op[:4], of_op[4:]


def _solve_ridge(inputs: Floats, output: Floats, ridge: float) -> Floats:
    normal = inputs.T @ inputs
    normal[np.diag_indices_from(normal)] += max(ridge * float(np.trace(normal)) / len(normal), 1e-300)
    return np.asarray(np.linalg.solve(normal, inputs.T @ output))


def _lag(signal: Floats, k: int) -> Floats:
    """Return (T,) the signal k samples before; NaN before the record."""
    return np.concatenate([np.full(min(k, len(signal)), np.nan), signal[:max(len(signal) - k, 0)]])


def _find_poles(a: Floats, b: Floats, c: Floats, d: Floats) -> npt.NDArray[np.complex128]:
    """Return the poles of the two equations in closed loop; see LearnedModel."""
    open_loop = np.convolve(np.append(1.0, -a), np.append(1.0, -c))
    feedback = np.convolve(np.append(0.0, b), d)
    size = max(len(open_loop), len(feedback))
    polynomial = np.pad(open_loop, (0, size - len(open_loop))) - np.pad(feedback, (0, size - len(feedback)))
    return np.asarray(np.roots(polynomial), dtype=np.complex128)


def _find_leak(a: Floats, b: Floats, c: Floats, d: Floats, samples: int) -> float:
    """Return the share of its deviation that OP has to lose with each sample, so that the loop stays where it is.

    In a record that shows no feedback, OP may drive PV away from SP by the equations. A deviation that does not decay
    within the record is no part of it; most loops need no leak, and their integral action is exact.
    """
    leak = 0.0
    while leak < _MAX_LEAK:
        poles = _find_poles(a, b, c - leak * (np.arange(len(c)) == 0), d)
        if poles.real[poles.imag == 0.0].max(initial=0.0) <= 1.0 - 1.0 / samples:
            break
        leak = max(2.0 * leak, 1.0 / samples)
    return leak


def _find_residuals(model: StateMatchedModel, flow: Floats, is_automatic: Booleans) -> Floats:
    """Return (T, 3) what the equations leave; NaN where one does not hold."""
    pv, op, sp = model.signals.T
    process = sum(a * _lag(pv, k) + b * _lag(flow, k)
                  for k, (a, b) in enumerate(zip(model.process_pv, model.process_op, strict=True), start=1))
    controller = sum(c * _lag(op, k) for k, c in enumerate(model.controller_op, start=1)) + sum(
        d * _lag(pv, k) + s * _lag(sp, k)
        for k, (d, s) in enumerate(zip(model.controller_pv, model.controller_sp, strict=True)))
    setpoint = sum((g * _lag(sp, k) for k, g in enumerate(model.setpoint, start=1)), start=sp - sp)
    of_sp = sp - setpoint if model.setpoint.size else setpoint
    residuals = np.column_stack([pv - process, op - controller, of_sp])
    residuals[~is_automatic] = np.nan
    if not model.setpoint.size:  # what else moved PV when the operator moved SP is not repeated where SP rests
        is_moved = np.convolve(np.abs(np.diff(sp, prepend=sp[:1])) > 0, np.ones(_ORDER + 1))[:len(sp)] > 0
        if is_moved.mean() < _MAX_MOVED:
            residuals[is_moved] = np.nan
    return residuals


def _select_stretches(model: StateMatchedModel) -> StateMatchedModel:
    """Return the model with stretches of its record in place of the whole, where that is long."""
    samples = len(model.signals)
    if samples <= _MAX_SAMPLES:
        return model
    begins = np.linspace(0, samples - _STRETCH_SAMPLES, _MAX_SAMPLES // _STRETCH_SAMPLES).astype(np.intp)
    rows = (begins[:, None] + np.arange(_STRETCH_SAMPLES)).ravel()
    residuals = model.residuals[rows]
    residuals[np.arange(len(rows)) % _STRETCH_SAMPLES < model.order] = np.nan  # their past is another stretch
    return replace(model, signals=model.signals[rows], residuals=residuals, is_repeat=model.is_repeat[rows])


def _make_physical_model(plain: StateMatchedModel, signals: Signals, loop: LoopSpec, found: Innovations
                         ) -> LearnedModel | None:
    """Return the model of the loop's own process and controller; None where these cannot run at the record's pace."""
    reset = loop.controller.reset or 0.0
    if signals.interval > max(1.0, _PACE * reset):
        return None
    left = controller_residuals(signals, loop.controller)
    before, now = left[:-1], left[1:]
    is_known = np.isfinite(before) & np.isfinite(now)
    power = float(before[is_known] @ before[is_known])
    pole = min(max(float(before[is_known] @ now[is_known]) / power, 0.0), _MAX_NOISE_POLE) if power > 0 else 0.0
    residuals = plain.residuals.copy()
    residuals[:, 0] = found.errors
    residuals[:, 1] = np.concatenate([[np.nan], now - pole * before])
    usable = np.isfinite(residuals).all(axis=1)
    residuals -= residuals[usable].mean(axis=0) if usable.any() else 0.0
    nothing = np.empty(0)
    model = LearnedModel(
        interval=plain.interval, offset=plain.offset, process_pv=nothing, process_op=nothing,
        innovation=found.pole_and_gain, controller_op=nothing, controller_pv=nothing, controller_sp=nothing,
        controller_noise=np.array([pole]), setpoint=plain.setpoint, drift=plain.drift, signals=plain.signals,
        residuals=residuals, is_repeat=plain.is_repeat, settings=plain.settings)
    return model if run_lengths(model).any() else None


def _is_as_alike(physical: LearnedModel, plain: LearnedModel, faulty: LoopSpec, healthy: LoopSpec, x: Floats) -> bool:
    """Return whether the physical model's stream is as much like the record as the plain one's.

    The residuals of the second half are left out of both; the streams are compared with that half.
    """
    half = len(x) // 2
    if half < _SEGMENT_SAMPLES:  # too short to tell
        return False
    distances = []
    for model, loop in ((physical, faulty), (plain, healthy)):
        residuals = model.residuals.copy()
        residuals[half:] = np.nan
        model = replace(model, residuals=residuals)
        if not run_lengths(model).any():
            return False
        stream = _simulate(replace(loop, learned_model=model))
        distances.append(_spectral_distance(x[half:], stream[:, :2]) + _offset_distance(x, stream, model.offset))
    return distances[0] <= distances[1] + _MARGIN


def _simulate(loop: LoopSpec) -> Floats:
    """Return (T, 3) PV, OP and SP of a loop that runs free, per cent."""
    assert loop.learned_model is not None
    interval = round(loop.learned_model.interval * SECOND)
    loop = replace(loop, mode="AUT", cascade=None)
    block = Plant((loop,), seed=1, start=0, interval=interval, scan=interval).advance(_TRIAL_SAMPLES)
    low, high = loop.range
    op_low, op_high = loop.recording.op_range
    return np.column_stack([(block.pv[:, 0] - low) / (high - low), (block.op[:, 0] - op_low) / (op_high - op_low),
                            (block.sp[:, 0] - low) / (high - low)]) * 100.0


def _spectral_distance(record: Floats, stream: Floats) -> float:
    """Return the mean absolute difference of the decadic logarithms of the spectra, the mean of PV and OP."""
    distances = []
    for ours, theirs in ((_spectrum(record[:, k]), _spectrum(stream[:, k])) for k in (0, 1)):
        least = 1e-6 * max(float(ours.sum()), 1e-12)  # below lies noise of the arithmetic
        distances.append(float(np.abs(np.log10(ours + least) - np.log10(theirs + least)).mean()))
    return float(np.mean(distances))


def _offset_distance(record: Floats, stream: Floats, offset: float) -> float:
    """Return by how many decades the stream is further from SP over a fifth of the record; 0 where it is nearer.

    record: (T, 3) deviations of PV, OP and SP from rest, where PV is `offset` above SP; stream: (N, 3) in per cent.
    """
    samples = min(len(record), len(stream)) // _OFFSET_PARTS
    sizes = []
    for error in (record[:, 0] - record[:, 2] + offset, stream[:, 0] - stream[:, 2]):
        means = np.convolve(error, np.full(samples, 1.0 / samples), mode="valid")
        means = np.abs(means[np.isfinite(means)])
        sizes.append(float(np.quantile(means, 0.95)) if len(means) else 0.0)
    spread = float(np.nanstd(record[:, 0] - record[:, 2]))
    least = max(sizes[0], 0.1 * spread, 1e-12)
    return max(float(np.log10(max(sizes[1], 1e-12) / least)), 0.0)


def _spectrum(signal: Floats) -> Floats:
    """Return the power spectrum of a signal by Welch's method, without its first line."""
    segments = np.lib.stride_tricks.sliding_window_view(signal, _SEGMENT_SAMPLES)[::_SEGMENT_SAMPLES // 2]
    segments = segments[np.isfinite(segments).all(axis=1)]
    if not len(segments):
        return np.zeros(_SEGMENT_SAMPLES // 2)
    centred = (segments - segments.mean(axis=1, keepdims=True)) * np.hanning(_SEGMENT_SAMPLES)
    return np.asarray((np.abs(np.fft.rfft(centred, axis=1)) ** 2).mean(axis=0)[1:])


def _find_repeats(signals: Signals, resolutions: tuple[float, float]) -> Booleans:
    """Return (T, 2) where the record repeats PV and OP, unless their steps are what repeats them."""
    is_repeat = np.zeros((len(signals.pv), 2), dtype=bool)
    for i, (values, step) in enumerate(zip((signals.pv, signals.op), resolutions, strict=True)):
        moves = np.diff(values)
        # Rounding alone repeats values about half as often as it moves them by one step, up or down.
        by_a_step = int((np.abs(np.abs(moves) - step) < 0.1 * step).sum())
        if (moves == 0).sum() > 2 * by_a_step:
            is_repeat[1:, i] = moves == 0
    return is_repeat
