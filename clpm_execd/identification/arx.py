"""The laws of a loop, and what they leave unexplained (see plant.learned.model).

Where the loop's own process and its PID controller explain the record about as well as difference equations do, by
Schwarz's criterion (1978), they are the laws: then all of the loop's numbers act. Else each law is a ridge regression
on its own past and that of the others, of as high an order as the record supports: in closed loop the direct method
gives the laws without bias where the order is high enough for the colour of the noise (Ljung, 1999, section 13.4). The
loop of the two is made stable, its poles drawn in where the record, which is finite, put one outside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from clpm_execd.identification.loop_data import Booleans, Signals
from clpm_execd.identification.pid_regression import unexplained
from clpm_execd.identification.process.residuals import Innovations
from clpm_execd.plant.block import Floats
from clpm_execd.plant.kernel.equations import LoopState, simulate_scans
from clpm_execd.plant.kernel.single_loop import single_loop_model
from clpm_execd.plant.learned.model import MAX_BLOCK_SAMPLES, MIN_BLOCK_SAMPLES, LearnedModel, run_lengths
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.plant.stages.state import to_percent

LEAST_ORDER, MOST_ORDER = 4, 20
_SAMPLES_A_LAG = 18
_RIDGE = 1e-4
_POLES = (0.9995, 0.999, 0.998, 0.995, 0.99, 0.98, 0.95, 0.9)  # slowest poles of the loop, a sample, that are tried
_PACE = 0.1  # of the reset: a record slower than that and than the scan of 1 s shows too little of the integral
_NOISE_POLE = 0.995
_TRIAL, _WIDE = 2000, 2.0  # samples that are tried, and of the record's variance
_MARGIN = 0.7  # of the criterion: a factor of 1.4 of each variance, for laws in which all numbers of the loop act
_SWING = 1.5  # of the record's variance: a loop that swings wider has a pole that a short record could not place
_REST_SAMPLES = 30  # between two moves of SP: an operator's SP rests longer most of the time, a master's does not
_LEAST_MOVES = 10  # of SP: with fewer it was stepped


@dataclass(frozen=True, slots=True)
class _Fit:
    process: Floats
    controller: Floats
    setpoint: Floats
    order: int


def wanders(signals: Signals) -> bool:
    """Return whether SP is hardly ever at rest, as that of a cascade's slave; an operator's rests and steps."""
    sp = signals.sp[signals.whole]
    rests = np.diff(np.concatenate([[0], 1 + np.flatnonzero(np.diff(sp) != 0), [len(sp)]]))
    return len(rests) > _LEAST_MOVES and float(rests[rests >= _REST_SAMPLES].sum()) < 0.5 * len(sp)


def laws_of(signals: Signals, rest: tuple[float, float, float], steps: tuple[float, float], settings: Floats,
            loop: LoopSpec, found: Innovations | None) -> LearnedModel | None:
    """The laws of a loop around its rest, (PV, OP, SP); None where the record is too short or too broken for any.

    steps: in which PV and OP were recorded, %. settings: see LearnedModel. loop: whose process and controller may be
    the laws, with the innovations found for them; None where its controller is no PID.
    """
    whole = signals.whole
    x = np.column_stack([signals.pv, signals.op, signals.sp]) - np.array(rest)
    x[~whole] = np.nan
    wandering = wanders(signals)
    automatic = signals.automatic if (signals.automatic & whole).sum() > 0.2 * whole.sum() else np.ones_like(whole)
    fit = _fit(x, automatic, wandering)
    if fit is None:
        return None
    laws = _assembled(fit, x, signals.interval, rest, wandering, settings, _held(signals, steps))
    laws = _tamed(laws, x, automatic)
    own = None if found is None else _own(laws, signals, loop, found)
    if own is not None and _criterion(own) < _criterion(laws) + _MARGIN and _swings_alike(own, loop, x):
        laws = own
    return laws if run_lengths(laws).any() else None


def _own(laws: LearnedModel, signals: Signals, loop: LoopSpec, found: Innovations) -> LearnedModel | None:
    """The laws with the loop's own process and controller; None where these cannot run at the record's pace."""
    reset = loop.controller.reset or 0.0
    if signals.interval > max(1.0, _PACE * reset):
        return None
    left = unexplained(signals, loop.controller)
    before, now = left[:-1], left[1:]
    known = np.isfinite(before) & np.isfinite(now)
    power = float(before[known] @ before[known])
    pole = min(max(float(before[known] @ now[known]) / power, 0.0), _NOISE_POLE) if power > 0 else 0.0
    residuals = laws.residuals.copy()
    residuals[:, 0] = found.errors
    residuals[:, 1] = np.concatenate([[np.nan], now - pole * before])
    usable = np.isfinite(residuals).all(axis=1)
    residuals -= residuals[usable].mean(axis=0) if usable.any() else 0.0
    nothing = np.empty(0)
    return replace(laws, residuals=residuals, process_pv=nothing, process_op=nothing, innovation=found.correction,
                   controller_op=nothing, controller_pv=nothing, controller_sp=nothing,
                   controller_noise=np.array([pole]))


def _swings_alike(laws: LearnedModel, loop: LoopSpec, x: Floats) -> bool:
    """Whether the loop with its own process and controller swings no wider than its record did."""
    if not run_lengths(laws).any():
        return False
    pv, op = swung(laws, replace(loop, learned_model=laws))
    return bool(pv.var() < _WIDE * np.nanvar(x[:, 0]) and op.var() < _WIDE * np.nanvar(x[:, 1]))


def swung(laws: LearnedModel, loop: LoopSpec) -> tuple[Floats, Floats]:
    """PV and OP, %, of the loop run free by its own process and controller, in numbers.

    All but OP's limits is linear: what the laws leave unexplained moves PV as noise does, past the process and through
    it.
    """
    from scipy.signal import lfilter

    of, ring = single_loop_model(loop, laws.interval)
    e, moves = laws.residuals[_drawn(laws)][:, :2].T
    noise = lfilter([1.0], [1.0, -laws.controller_noise[0]], moves)
    pole, first, second, kick = laws.innovation
    load = lfilter([0.0, kick], [1.0, -pole], e)
    flow = np.concatenate([np.zeros(len(ring)), noise])  # behind the dead time, the older held value first
    old, new = flow[:len(noise)], flow[1:len(noise) + 1]
    x1 = lfilter([0.0, 1.0], [1.0, -of.a11], of.b1_new * new + of.b1_old * old + of.b1_load * load + first * e)
    x2 = lfilter([0.0, 1.0], [1.0, -of.a22],
                 of.b2_new * new + of.b2_old * old + of.b2_load * load + second * e + of.a21 * x1)
    sp, still = to_percent(loop.sp, loop.range), [0.0] * len(e)
    begun = LoopState(load=0.0, integral=of.nominal_op - of.kp * (of.setpoint_weight - 1.0) * sp, derivative=0.0,
                      last_pv=sp, position=of.nominal_op, x1=0.0, x2=0.0, delayed_flow=0.0)
    op, pv, true_pv, position = ([*still] for _ in range(4))
    simulate_scans(of._replace(noise_sigma=1.0, is_integrating=False), begun, ring, 0, sp, still, (x2 + e).tolist(), op,
                   pv, true_pv, position)
    return np.array(pv), np.clip(op + noise, 0.0, 100.0)


def _drawn(laws: LearnedModel) -> list[int]:
    """The rows of the record that lie in blocks one after the other, drawn by chance."""
    ahead, chance, rows = run_lengths(laws), np.random.default_rng(0), list[int]()
    starts = np.flatnonzero(ahead)
    while len(rows) < _TRIAL:
        row = int(chance.choice(starts))
        rows += range(row, row + min(int(chance.integers(MIN_BLOCK_SAMPLES, MAX_BLOCK_SAMPLES + 1)), int(ahead[row])))
    return rows[:_TRIAL]


def _criterion(laws: LearnedModel) -> float:
    """Schwarz's, for a sample."""
    usable = np.isfinite(laws.residuals).all(axis=1)
    n = int(usable.sum())
    if n < 2:
        return float("inf")
    spread = np.maximum(laws.residuals[usable, :2].var(axis=0), 1e-12)
    numbers = 10 if laws.innovation.size else 4 * laws.order + 1
    return float(np.log(spread).sum()) + numbers * float(np.log(n)) / n


def _held(signals: Signals, steps: tuple[float, float]) -> Booleans:
    """(T, 2) where the record repeats PV and OP, unless their steps are what repeats them."""
    held = np.zeros((len(signals.pv), 2), dtype=bool)
    for i, (values, step) in enumerate(zip((signals.pv, signals.op), steps, strict=True)):
        moves = np.diff(values)
        # Rounding alone repeats values about half as often as it moves them by one step, up or down.
        by_a_step = int((np.abs(np.abs(moves) - step) < 0.1 * step).sum())
        if (moves == 0).sum() > 2 * by_a_step:
            held[1:, i] = moves == 0
    return held


def _lags(x: Floats, first: int, last: int) -> Floats:
    """(T, last - first + 1) a signal at these lags; NaN before the record."""
    out = np.full((len(x), last - first + 1), np.nan)
    for k in range(first, last + 1):
        out[k:, k - first] = x[:max(len(x) - k, 0)]
    return out


def _inputs(x: Floats, order: int, wandering: bool) -> tuple[Floats, Floats, Floats]:
    """What each law sees; a set point that hardly moves acts through the error alone."""
    pv, op, sp = x.T
    process = np.hstack([_lags(pv, 1, order), _lags(op, 1, order)])
    seen = [_lags(pv, 0, order), _lags(sp, 0, order)] if wandering else [_lags(pv - sp, 0, order)]
    return process, np.hstack([_lags(op, 1, order), *seen]), _lags(sp, 1, order)


def _fit(x: Floats, automatic: Booleans, wandering: bool) -> _Fit | None:
    known = np.isfinite(x).all(axis=1)
    order = int(np.clip((known & automatic).sum() // _SAMPLES_A_LAG, LEAST_ORDER, MOST_ORDER))
    process, controller, setpoint = _inputs(x, order, wandering)
    rows = np.isfinite(controller).all(axis=1) & np.isfinite(process).all(axis=1) & known
    in_law = rows & automatic
    if in_law.sum() < controller.shape[1]:
        return None
    return _Fit(_ridge(process[rows], x[rows, 0]), _ridge(controller[in_law], x[in_law, 1]),
                _ridge(setpoint[rows], x[rows, 2]) if wandering else np.empty(0), order)


def _ridge(inputs: Floats, output: Floats) -> Floats:
    """The coefficients; those of a signal that does not move are nought."""
    size = inputs.std(axis=0)
    used = size > 1e-9
    values = np.zeros(inputs.shape[1])
    if used.any() and float(output.std()) > 1e-9:
        scaled = inputs[:, used] / size[used]
        normal = scaled.T @ scaled
        normal[np.diag_indices_from(normal)] += _RIDGE * len(scaled)
        values[used] = np.linalg.solve(normal, scaled.T @ output) / size[used]
    return values


def _assembled(fit: _Fit, x: Floats, interval: float, rest: tuple[float, float, float], wandering: bool,
               settings: Floats, held: Booleans) -> LearnedModel:
    p, c = fit.order, fit.controller
    pv = c[p:2 * p + 1]
    return LearnedModel(
        interval=interval, offset=rest[0] - rest[2],
        process_pv=fit.process[:p].copy(), process_op=fit.process[p:].copy(), innovation=np.empty(0),
        controller_noise=np.empty(0), controller_op=c[:p].copy(), controller_pv=pv.copy(),
        controller_sp=c[2 * p + 1:].copy() if wandering else -pv, setpoint=fit.setpoint.copy(), drift=np.zeros(4),
        signals=x, residuals=np.full(x.shape, np.nan), is_repeat=held, settings=settings)


def closed_loop(laws: LearnedModel) -> tuple[Floats, Floats]:
    """The two laws in closed loop, SP still, as z(t) = F z(t-1) + G r(t), z being (PV, OP) of the last p samples."""
    p = laws.order
    blocks = np.zeros((2, 2 * p))
    for i in range(p):
        now = np.array([[laws.process_pv[i], laws.process_op[i]],
                        [laws.controller_pv[i + 1], laws.controller_op[i]]])
        now[1] += laws.controller_pv[0] * now[0]  # OP's use of the PV of the same instant
        blocks[:, 2 * i:2 * i + 2] = now
    f, g = np.eye(2 * p, k=-2), np.zeros((2 * p, 2))
    f[:2] = blocks
    g[:2] = [[1.0, 0.0], [laws.controller_pv[0], 1.0]]
    return f, g


def _slowest_pole(laws: LearnedModel) -> float:
    return float(np.abs(np.linalg.eigvals(closed_loop(laws)[0])).max())


def _variance(laws: LearnedModel, residuals: Floats) -> Floats:
    """(2,) that of PV and OP of the laws driven by residuals of this covariance, by doubling."""
    f, g = closed_loop(laws)
    total = g @ residuals @ g.T
    for _ in range(16):
        total = total + f @ total @ f.T
        f = f @ f
    return np.diag(total)[:2]


def _tamed(laws: LearnedModel, x: Floats, automatic: Booleans) -> LearnedModel:
    """The laws and their residuals, so that the loop is stable and swings no wider than its record did."""
    residuals = _residuals(laws, x, automatic)
    usable = np.isfinite(residuals).all(axis=1)
    if usable.sum() < 2:
        return replace(laws, residuals=residuals)
    seen = np.maximum(x[usable, :2].var(axis=0), 1e-12)
    slowest = _slowest_pole(laws)
    for limit in _POLES:
        factor = min(1.0, limit / max(slowest, 1e-9))
        tamed = _drawn_in(laws, factor)
        residuals = _residuals(tamed, x, automatic)
        if (_variance(tamed, np.cov(residuals[usable, :2].T)) < _SWING * seen).all():
            break
    return replace(tamed, residuals=residuals)


def _drawn_in(laws: LearnedModel, factor: float) -> LearnedModel:
    """The laws with every pole of their loop times the factor: each coefficient at lag i times its i-th power."""
    f = factor ** np.arange(laws.order + 1)
    furthest = np.abs(np.roots(np.concatenate([[1.0], -laws.setpoint]))).max(initial=0.0) if laws.setpoint.size else 0.0
    g = min(1.0, _POLES[0] / max(float(furthest), 1e-9)) ** np.arange(1, len(laws.setpoint) + 1)
    return replace(laws, process_pv=laws.process_pv * f[1:], process_op=laws.process_op * f[1:],
                   controller_op=laws.controller_op * f[1:], controller_pv=laws.controller_pv * f,
                   controller_sp=laws.controller_sp * f, setpoint=laws.setpoint * g)


def _residuals(laws: LearnedModel, x: Floats, automatic: Booleans) -> Floats:
    """(T, 3) what the laws leave, without their means; NaN where one does not hold."""
    p = laws.order
    pv, op, sp = (_lags(signal, 0, p) for signal in x.T)
    r = np.column_stack([
        x[:, 0] - pv[:, 1:] @ laws.process_pv - op[:, 1:] @ laws.process_op,
        x[:, 1] - op[:, 1:] @ laws.controller_op - pv @ laws.controller_pv - sp @ laws.controller_sp,
        x[:, 2] - sp[:, 1:] @ laws.setpoint if laws.setpoint.size else np.where(np.isfinite(x[:, 2]), 0.0, np.nan)])
    r[~automatic] = np.nan
    usable = np.isfinite(r).all(axis=1)
    if usable.any():
        r -= r[usable].mean(axis=0)
    return r
