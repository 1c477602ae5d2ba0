"""The model from which a loop is simulated (see plant.learned.model): an ARX model or the physical one.

The plain model is a closed loop of two difference equations: PV on the last values of PV and OP (an ARX model), and the
move of OP on the control error and the last move, so that integral action is exact. Both are ridge regressions on
signals in units of their standard deviations, independent of units and interval. Their bias in closed loop does no
harm, since their residuals are resampled with them (Ljung, 1999, section 13.4).

The physical model is the identified process and PID controller, so that all physical parameters act in it. Behind a
sticking valve the plain model can have the position of the stem as its input, so that the fault acts in it. The first
of these whose stream resembles the record as closely as that of the plain model of PV and OP is chosen. They are
compared with a part of the record whose residuals they do not contain.
"""

from __future__ import annotations

from dataclasses import replace
from math import nan

import numpy as np
import numpy.typing as npt

from clpm_execd.identification.closed_loop.pid_regression import controller_residuals
from clpm_execd.identification.estimates import ComparedHypothesis, Findings
from clpm_execd.identification.loop_data import ROUNDING, TINY, Booleans, Signals
from clpm_execd.identification.process.process_law import ProcessLaw
from clpm_execd.identification.signal_statistics import largest_mean
from clpm_execd.plant.block import SECOND, Floats
from clpm_execd.plant.learned.model import LearnedModel, StateMatchedModel, run_lengths
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import LoopSpec

_ORDER = 4  # of PV's equation; 3 and 5 are as good on 135 records (docs/fitting.md)
_RIDGE = 1e-4  # of the mean square of the regressors; 1e-6 is a little worse on the same records
_MAX_POLE = 1.002  # of the closed loop, per sample: over a block of 20 samples it grows by 4 %
_MAX_REMAINDER = 0.3  # of a wave of the closed loop after a period, or a block: with more its amplitude wanders
_BLOCK_SAMPLES = 16  # of residuals, on average
_CONTRACTION, _MIN_CONTRACTION = 0.98, 0.1  # of the poles of PV's equation: a step of the search, and its end
_VALVE_CONTRACTION = 0.3  # of PV's equation behind a valve in which a limit cycle dies out: the residuals then hold it
_MAX_LEAK = 0.5  # of OP to its mean, per sample, where the equations are unstable
_SETPOINT_POLE = 1.0 - 1.0 / 64.0  # of a master's SP, whose moves are resampled: deviations from the record decay
_MAX_SAMPLES, _STRETCH_SAMPLES = 20_000, 1000  # of a longer record, evenly spaced stretches are kept: 1.5 MB of arrays
_SATURATION = 0.02  # of samples with OP exactly at its extreme, from which the record is not mirrored
_MIN_SWINGS = 8  # of OP, from which the record falls as it rises: mirrored, an asymmetric wave would run backwards
_MAX_INTERVAL_SHARE = 0.1  # of the reset: in a slower record, unless of 1 s, the integral is inexact
_MAX_NOISE_POLE = 0.995
_MIN_AUTOMATIC_SHARE = 0.2  # of a record, below which OP's equation is fitted to all of it
_MAX_MOVED = 0.2  # of the record that is excluded because SP moved
_TRIAL_SAMPLES = 1024  # of a stream that is compared with the record: 0.2 s of processor time
_OFFSET_PARTS = 5  # of a record, over which the mean of PV - SP is compared, as in the verdict
_OFFSET_FLOOR = 0.1  # of the standard deviation of PV - SP, below which an offset is not visible
_SEGMENT_SAMPLES = 64  # of Welch's method
_SPECTRUM_FLOOR = 1e-6  # of its sum: below it is numerical noise, as in the figures of similarity
_MARGIN = 0.05  # decades of spectral density by which a stream with all parameters may be worse
_VALVE_MARGIN = 0.25  # for the last one with the valve's fault, which stays in 23 of 24 sticking loops; in 19 with 0.05


def fit_learned_model(signals: Signals, operating_point: Floats, resolutions: tuple[float, float], loop: LoopSpec,
                      residual_model: ProcessLaw | None, findings: Findings, stem: Floats | None = None) -> LoopSpec:
    """Return the loop with its model, and without faults where the model has them in its residuals.

    It is returned as it is where the record is too short or has too many gaps.

    operating_point: (3,) mean PV, OP and SP, %. resolutions: of PV and OP, %. loop: process, controller and faults of
    the physical model, with their innovations (residual_model; None where the controller is no PID). findings: to which
    the comparison of the models is added. stem: (T,) position of a sticking valve, %: a second plain model has it as
    the process input instead of OP.
    """
    complete = signals.complete
    x = np.column_stack([signals.pv, signals.op, signals.sp]) - operating_point
    x[~complete] = np.nan
    is_automatic = (signals.automatic if (signals.automatic & complete).sum() > _MIN_AUTOMATIC_SHARE * complete.sum()
                    else np.ones_like(complete))
    has_master, is_repeat = signals.has_continuous_sp, _find_repeats(signals, resolutions)
    controller, process = loop.controller, loop.process
    settings = np.array([controller.gain, controller.reset, controller.derivative, process.gain, sum(process.tau),
                         process.dead_time], dtype=np.float64)

    def fit_plain_model(flow: Floats, contraction: float = 1.0) -> StateMatchedModel | None:
        return _fit_plain_model(x, flow, is_automatic, has_master, is_repeat, signals.interval,
                                float(operating_point[0] - operating_point[2]), settings, contraction)

    plain = fit_plain_model(x[:, 1])
    if plain is None:
        return loop
    rivals: list[tuple[str, LearnedModel | None, float]] = [
        ("the process and the PID controller",
         None if residual_model is None else _make_physical_model(plain, signals, loop, residual_model), _MARGIN)]
    if stem is not None:
        flow = stem - operating_point[1]
        rivals += [("the valve and ARX equations", fit_plain_model(flow), _MARGIN),
                   ("the valve and contracted ARX equations", fit_plain_model(flow, _VALVE_CONTRACTION), _VALVE_MARGIN)]
    healthy = replace(loop, faults=(), learned_model=plain)
    chosen, rows = healthy, [ComparedHypothesis("ARX equations stream PV and OP", nan, 0.0, 0.0, True)]
    for name, model, margin in rivals:
        rival = replace(loop, learned_model=model)
        gain = None if model is None else _similarity_gain(rival, healthy, x)
        if gain is None:
            continue
        rows.append(ComparedHypothesis(f"{name} stream PV and OP", nan, gain, -margin, gain >= -margin))
        if rows[-1].is_chosen:
            chosen, rows[0] = rival, replace(rows[0], is_chosen=False)
            break
    findings.hypotheses += rows
    return replace(chosen, learned_model=_select_stretches(chosen.learned_model))


def _fit_plain_model(x: Floats, flow: Floats, is_automatic: Booleans, has_master: bool, is_repeat: Booleans,
                     interval: float, offset: float, settings: Floats, contraction: float) -> StateMatchedModel | None:
    scale = np.nanstd(x, axis=0) if np.isfinite(x).any() else np.ones(3)
    scale[2] = scale[0]
    scale[scale < ROUNDING] = 1.0
    fit = _fit_equations(x / scale, flow / scale[1], is_automatic)
    if fit is None:
        return None
    process, controller, sp_gain = fit
    a, b = process[:_ORDER], process[_ORDER:] * scale[0] / scale[1]
    c = np.array([1.0 + controller[-1], -controller[-1]])
    s, sp_gain = (part * scale[1] / scale[0] for part in (controller[:-1], sp_gain))
    a, b = _contract(a, b, c, -s, contraction)
    c[0] -= _find_leak(a, b, c, -s, len(x))
    op = x[np.isfinite(x).all(axis=1), 1]
    lowest, highest = float(op.min()), float(op.max())
    is_saturated = max(np.mean(op == lowest), np.mean(op == highest)) > _SATURATION
    model = StateMatchedModel(
        interval=interval, offset=offset, process_pv=a, process_op=b, innovation=np.empty(0), controller_op=c,
        controller_pv=-s, controller_sp=s + np.array([sp_gain[0], sp_gain[1] - sp_gain[0], -sp_gain[1]]),
        controller_noise=np.empty(0), setpoint=np.array([_SETPOINT_POLE]) if has_master else np.empty(0),
        drift=np.zeros(4), signals=x, residuals=np.full(x.shape, np.nan), is_repeat=is_repeat, settings=settings,
        mirror=(np.empty(0) if is_saturated or _count_swings(op) >= _MIN_SWINGS
                else np.array([0.0, (lowest + highest) / 2.0, 0.0])))
    residuals = _find_residuals(model, flow, is_automatic)
    pole, residuals[:, 1] = _fit_op_noise(residuals[:, 1])
    model = replace(model, residuals=residuals, controller_noise=np.array([pole]))
    return model if run_lengths(model).any() else None


def _count_swings(signal: Floats) -> int:
    """Return how often a signal goes from above its mean to below it or back, by half a standard deviation each."""
    deviations = signal - signal.mean()
    sides = np.sign(deviations[np.abs(deviations) > 0.5 * deviations.std()])
    return int((np.diff(sides) != 0).sum())


def _fit_equations(x: Floats, flow: Floats, is_automatic: Booleans) -> tuple[Floats, Floats, Floats] | None:
    """Return the coefficients of PV's equation, of OP's, and those of SP moves in OP's.

    x: (T, 3) and flow: (T,) in units of standard deviations. None where too few samples are complete.
    """
    pv, op, sp = x.T
    op_move, sp_move = (signal - _lag(signal, 1) for signal in (op, sp))
    process = np.column_stack([_lags(pv, 1, _ORDER), _lags(flow, 1, _ORDER), np.ones(len(x))])
    controller = np.column_stack([_lags(sp - pv, 0, 2), _lag(op_move, 1), _lags(sp_move, 0, 1)])
    rows = np.isfinite(process).all(axis=1) & np.isfinite(controller).all(axis=1) & np.isfinite(x).all(axis=1)
    in_automatic = rows & is_automatic
    if in_automatic.sum() < 2 * process.shape[1]:
        return None
    pv_coefficients = _solve_ridge(process[rows], pv[rows])
    op_coefficients = _solve_ridge(controller[in_automatic], op_move[in_automatic])
    return pv_coefficients[:-1], op_coefficients[:-2], op_coefficients[-2:]


def _solve_ridge(inputs: Floats, output: Floats) -> Floats:
    normal = inputs.T @ inputs
    normal[np.diag_indices_from(normal)] += max(_RIDGE * float(np.trace(normal)) / len(normal), TINY)
    return np.asarray(np.linalg.solve(normal, inputs.T @ output))


def _lag(signal: Floats, k: int) -> Floats:
    """Return (T,) the signal k samples before; NaN before the record."""
    return np.concatenate([np.full(min(k, len(signal)), np.nan), signal[:max(len(signal) - k, 0)]])


def _lags(signal: Floats, first: int, last: int) -> Floats:
    """Return (T, K) the signal `first` to `last` samples before."""
    return np.column_stack([_lag(signal, k) for k in range(first, last + 1)])


def _find_poles(a: Floats, b: Floats, c: Floats, d: Floats) -> npt.NDArray[np.complex128]:
    """Return the poles of the two equations in closed loop; see LearnedModel."""
    open_loop = np.convolve(np.append(1.0, -a), np.append(1.0, -c))
    feedback = np.convolve(np.append(0.0, b), d)
    size = max(len(open_loop), len(feedback))
    polynomial = np.pad(open_loop, (0, size - len(open_loop))) - np.pad(feedback, (0, size - len(feedback)))
    return np.asarray(np.roots(polynomial), dtype=np.complex128)


def _contract(a: Floats, b: Floats, c: Floats, d: Floats, factor: float) -> tuple[Floats, Floats]:
    """Return the coefficients of PV's equation, contracted until the closed loop sustains no wave by itself.

    A regular wave from elsewhere is fitted as a resonance of the closed loop. There the wave of the stream would have
    an amplitude that wanders, because a deviation from the record's hardly decays. Contracted, it decays, and the
    residuals hold the wave. factor: at which the search starts.
    """
    lags = np.arange(1, len(a) + 1)
    while factor > _MIN_CONTRACTION:
        poles = _find_poles(a * factor**lags, b * factor**lags, c, d)
        waves = poles[poles.imag > 0.0]
        samples = np.maximum(2.0 * np.pi / np.angle(waves), _BLOCK_SAMPLES)
        if (np.abs(waves)**samples).max(initial=0.0) <= _MAX_REMAINDER and np.abs(poles).max(initial=0.0) <= _MAX_POLE:
            break
        factor *= _CONTRACTION
    return a * factor**lags, b * factor**lags


def _find_leak(a: Floats, b: Floats, c: Floats, d: Floats, samples: int) -> float:
    """Return the leak of OP to its mean, per sample, that makes the simulated loop stable.

    The equations can be unstable where the record shows no feedback: a deviation must decay within its length. Most
    loops need no leak, so that their integral action is exact.
    """
    leak = 0.0
    while leak < _MAX_LEAK:
        poles = _find_poles(a, b, c - leak * (np.arange(len(c)) == 0), d)
        if poles.real[poles.imag == 0.0].max(initial=0.0) <= 1.0 - 1.0 / samples:
            break
        leak = max(2.0 * leak, 1.0 / samples)
    return leak


def _find_residuals(model: StateMatchedModel, flow: Floats, is_automatic: Booleans) -> Floats:
    """Return the residuals (T, 3) of PV, OP and SP; NaN where an equation does not apply."""
    pv, op, sp = model.signals.T
    process = _lags(pv, 1, _ORDER) @ model.process_pv + _lags(flow, 1, _ORDER) @ model.process_op
    controller = (_lags(op, 1, 2) @ model.controller_op + _lags(pv, 0, 2) @ model.controller_pv
                  + _lags(sp, 0, 2) @ model.controller_sp)
    setpoint = model.setpoint[0] * _lag(sp, 1) if model.setpoint.size else sp
    residuals = np.column_stack([pv - process, op - controller, sp - setpoint])
    residuals[~is_automatic] = np.nan
    if not model.setpoint.size:  # Residuals around an operator's SP moves are excluded.
        is_moved = np.convolve(np.abs(np.diff(sp, prepend=sp[:1])) > 0, np.ones(_ORDER + 1))[:len(sp)] > 0
        if is_moved.mean() < _MAX_MOVED:
            residuals[is_moved] = np.nan
    return residuals


def _fit_op_noise(moves: Floats) -> tuple[float, Floats]:
    """Return the pole of the noise of OP, whose moves are the residuals of OP's equation, and (T,) its innovations.

    Integral action brings the mean of PV - SP to 0 only as far as this noise is bounded. The sum of residuals from
    blocks in another order is not: PV would wander around SP.
    """
    noise = np.cumsum(np.nan_to_num(moves))
    noise -= noise.mean()
    previous = np.concatenate([[0.0], noise[:-1]])
    pole = min(_fit_pole(previous, noise), 1.0)
    return pole, moves + (1.0 - pole) * previous


def _fit_pole(previous: Floats, current: Floats) -> float:
    """Return the pole of a first-order noise by least squares; 0 where it is negative or the noise is 0."""
    power = float(previous @ previous)
    return max(float(previous @ current) / power, 0.0) if power > 0.0 else 0.0


def _select_stretches(model: LearnedModel | None) -> LearnedModel | None:
    """Return the model with evenly spaced stretches of a long record, where its blocks start by the loop's state."""
    if not isinstance(model, StateMatchedModel) or len(model.signals) <= _MAX_SAMPLES:
        return model
    samples = len(model.signals)
    starts = np.linspace(0, samples - _STRETCH_SAMPLES, _MAX_SAMPLES // _STRETCH_SAMPLES).astype(np.intp)
    rows = (starts[:, None] + np.arange(_STRETCH_SAMPLES)).ravel()
    residuals = model.residuals[rows]
    residuals[np.arange(len(rows)) % _STRETCH_SAMPLES < model.order] = np.nan  # Their lags are in another stretch.
    return replace(model, signals=model.signals[rows], residuals=residuals, is_repeat=model.is_repeat[rows])


def _make_physical_model(plain: StateMatchedModel, signals: Signals, loop: LoopSpec, residual_model: ProcessLaw
                         ) -> LearnedModel | None:
    """Return the model of the identified process and controller.

    It is None where the record's interval is too long, and where SP has a model: its blocks start anywhere, so that SP
    would lose its waves and ramps.
    """
    reset = loop.controller.reset or 0.0
    if plain.setpoint.size or signals.interval > max(1.0, _MAX_INTERVAL_SHARE * reset):
        return None
    op_residuals = controller_residuals(signals, loop.controller)
    previous, current = op_residuals[:-1], op_residuals[1:]
    is_usable = np.isfinite(previous) & np.isfinite(current)
    pole = min(_fit_pole(previous[is_usable], current[is_usable]), _MAX_NOISE_POLE)
    residuals = plain.residuals.copy()
    residuals[:, 0] = residual_model.errors
    residuals[:, 1] = np.concatenate([[np.nan], current - pole * previous])
    usable = np.isfinite(residuals).all(axis=1)
    residuals -= residuals[usable].mean(axis=0) if usable.any() else 0.0
    empty = np.empty(0)
    model = LearnedModel(
        interval=plain.interval, offset=plain.offset, process_pv=empty, process_op=empty,
        innovation=residual_model.pole_and_gain, controller_op=empty, controller_pv=empty, controller_sp=empty,
        controller_noise=np.array([pole]), setpoint=plain.setpoint, drift=plain.drift, signals=plain.signals,
        residuals=residuals, is_repeat=plain.is_repeat, settings=plain.settings)
    return model if run_lengths(model).any() else None


def _similarity_gain(rival: LoopSpec, plain: LoopSpec, x: Floats) -> float | None:
    """Return by how many decades the stream of a loop is closer to the record than that with the plain model, if known.

    Both models have only the residuals of the first half, and the streams are compared with the second half.
    """
    half = len(x) // 2
    if half < _SEGMENT_SAMPLES:  # too short to tell
        return None
    distances = []
    for loop in (rival, plain):
        assert loop.learned_model is not None
        residuals = loop.learned_model.residuals.copy()
        residuals[half:] = np.nan
        model = replace(loop.learned_model, residuals=residuals)
        if not run_lengths(model).any():
            return None
        stream = _simulate(replace(loop, learned_model=model))
        distances.append(_spectral_distance(x[half:], stream[:, :2]) + _offset_distance(x, stream, model.offset))
    return distances[1] - distances[0]


def _simulate(loop: LoopSpec) -> Floats:
    """Return PV, OP and SP (T, 3) of a free-running loop, %."""
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
    for record_spectrum, stream_spectrum in ((_spectrum(record[:, k]), _spectrum(stream[:, k])) for k in (0, 1)):
        floor = max(_SPECTRUM_FLOOR * float(record_spectrum.sum()), TINY)
        distances.append(float(np.abs(np.log10(record_spectrum + floor) - np.log10(stream_spectrum + floor)).mean()))
    return float(np.mean(distances))


def _offset_distance(record: Floats, stream: Floats, offset: float) -> float:
    """Return by how many decades the stream's mean offset from SP exceeds the record's; 0 where it is smaller.

    The means are over a fifth of the record. record: (T, 3) deviations of PV, OP and SP from the operating point, at
    which PV - SP is `offset`. stream: (N, 3) PV, OP and SP, %.
    """
    samples = min(len(record), len(stream)) // _OFFSET_PARTS
    error = record[:, 0] - record[:, 2]
    usual = max(largest_mean(error + offset, samples), _OFFSET_FLOOR * float(np.nanstd(error)), ROUNDING)
    return max(float(np.log10(max(largest_mean(stream[:, 0] - stream[:, 2], samples), ROUNDING) / usual)), 0.0)


def _spectrum(signal: Floats) -> Floats:
    """Return the power spectrum of a signal by Welch's method, without its first line."""
    segments = np.lib.stride_tricks.sliding_window_view(signal, _SEGMENT_SAMPLES)[::_SEGMENT_SAMPLES // 2]
    segments = segments[np.isfinite(segments).all(axis=1)]
    if not len(segments):
        return np.zeros(_SEGMENT_SAMPLES // 2)
    centred = (segments - segments.mean(axis=1, keepdims=True)) * np.hanning(_SEGMENT_SAMPLES)
    return np.asarray((np.abs(np.fft.rfft(centred, axis=1)) ** 2).mean(axis=0)[1:])


def _find_repeats(signals: Signals, resolutions: tuple[float, float]) -> Booleans:
    """Return the mask (T, 2) of repeated values of PV and OP, unless their resolution explains the repetition."""
    is_repeat = np.zeros((len(signals.pv), 2), dtype=bool)
    for i, (values, step) in enumerate(zip((signals.pv, signals.op), resolutions, strict=True)):
        moves = np.diff(values)
        # Rounding alone repeats values about half as often as it moves them by one step, up or down.
        moves_by_one_step = int((np.abs(np.abs(moves) - step) < 0.1 * step).sum())
        if (moves == 0).sum() > 2 * moves_by_one_step:
            is_repeat[1:, i] = moves == 0
    return is_repeat
