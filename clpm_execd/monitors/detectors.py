"""The monitors: each a paper's method with the paper's limits, from the window of a loop to a finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clpm_execd.monitors import cross_correlation, curve_fit, data_rules, nonlinearity, shape, spectral_envelope
from clpm_execd.monitors.loop_window import ANY, Finding, LoopWindow
from clpm_execd.monitors.oscillation_detection import REGULAR, measure_regularity, oscillates_by_load_disturbances
from clpm_execd.monitors.performance import SLUGGISH, compute_harris_index, compute_idle_index

# Thornhill, Oettinger and Fedenczuk (Refinery-wide control loop performance assessment, J. Process Control 9, 1999)
# take a fixed horizon of about ten samples, since a monitor does not know the dead time of each loop; they call a loop
# poor whose variance is more than twice the best.
_HORIZON_SAMPLES, _POOR = 10, 0.5
_IDLE_SMOOTHING = 40  # slopes are taken over this fraction of a window: noise must not decide their sign
_BICOHERENCE_PERIOD_SAMPLES = 16  # of the series for the bicoherence: the papers resample to periods of this size
_ENVELOPE_SAMPLES = 2048  # of a window for the spectral envelope
_ENVELOPE_MIN_LOOPS = 3  # of a unit: among fewer an oscillation has no root to search for
_SAME_PERIOD = 0.1  # of the period: loops whose periods differ by less oscillate together


@dataclass(frozen=True, slots=True)
class Monitor:
    """A monitor of loops.

    Attributes
    ----------
    name : str
        The name that `benchmark run` takes.
    reference : str
        The paper or the rule.
    faults : tuple of str
        What it can find, in the words of the ground truth; `any` is detection without a diagnosis.
    judge : callable
        Returns the findings for the windows of all loops over one span of time.
    """

    name: str
    reference: str
    faults: tuple[str, ...]
    judge: Callable[[Sequence[LoopWindow]], list[Finding]]


Judge = Callable[[LoopWindow], tuple[str, float] | None]


def _apply_to_each(judge: Judge) -> Callable[[Sequence[LoopWindow]], list[Finding]]:
    """Return a monitor of single loops as one of all of them; loops in manual are left out."""

    def judge_all(windows: Sequence[LoopWindow]) -> list[Finding]:
        return [Finding(window.loop, *answer) for window in windows
                if np.mean(~window.is_automatic) <= data_rules.MANUAL_FRACTION and (answer := judge(window))]

    return judge_all


def _judge_regularity(window: LoopWindow) -> tuple[str, float] | None:
    regularity = measure_regularity(window.error)[0] if window.has_movement else 0.0
    return (ANY, regularity / (1.0 + regularity)) if regularity > REGULAR else None


def _judge_load_disturbances(window: LoopWindow) -> tuple[str, float] | None:
    return (ANY, 1.0) if oscillates_by_load_disturbances(window.error, window.reset, window.interval) else None


def _judge_curve_fit(window: LoopWindow) -> tuple[str, float] | None:
    index = _curve_fit_index(window)
    return ("stiction", index) if index >= curve_fit.STICTION else None


def _curve_fit_index(window: LoopWindow) -> float:
    """Return He's index, 0 for a loop that does not oscillate."""
    period = window.oscillation_period
    if period is None:
        return 0.0
    return curve_fit.compute_curve_fit_index(window.pv if window.is_integrating else window.op, period)


def _judge_cross_correlation(window: LoopWindow) -> tuple[str, float] | None:
    period = window.oscillation_period
    if period is None or window.is_integrating:
        return None
    odd = cross_correlation.compute_odd_fraction(window.op, window.pv, period)
    return ("stiction", odd) if odd > cross_correlation.ODD else ("aggressive", 1.0 - odd)


def _judge_nonlinearity(window: LoopWindow) -> tuple[str, float] | None:
    period = window.oscillation_period
    if period is None:
        return None
    step = max(1, round(period / _BICOHERENCE_PERIOD_SAMPLES))
    length = len(window.error) // step * step
    if not nonlinearity.measure_nonlinearity(window.error[:length].reshape(-1, step).mean(axis=1)).is_nonlinear:
        return None
    stiction = nonlinearity.measure_apparent_stiction(window.op, window.pv, period)
    return ("stiction", stiction / (1.0 + stiction)) if stiction > nonlinearity.LEAST_STICTION_PERCENT else None


def _judge_shape(window: LoopWindow) -> tuple[str, float] | None:
    if window.type != "flow" or not window.has_movement:  # only there is PV the flow through the valve
        return None
    rho1, rho3 = shape.compute_shape_indices(window.op, window.pv)
    return ("stiction", rho3) if min(rho1, rho3) > shape.MIN_STICTION_INDEX else None


def _judge_idle_index(window: LoopWindow) -> tuple[str, float] | None:
    smooth = max(2, len(window.op) // _IDLE_SMOOTHING)
    gain = -np.sign(np.mean((window.op - window.op.mean()) * (window.pv - window.pv.mean())) or -1.0)
    index = compute_idle_index(window.op, window.error, smooth, least=float(window.error.std()), gain=gain)
    return ("sluggish", index) if index > SLUGGISH else None


def _judge_harris(window: LoopWindow) -> tuple[str, float] | None:
    if not window.has_movement:
        return None
    index = compute_harris_index(window.error, _HORIZON_SAMPLES * window.interval, window.interval)
    return (ANY, 1.0 - index) if index < _POOR else None


def _judge_data(windows: Sequence[LoopWindow]) -> list[Finding]:
    return [Finding(window.loop, *answer) for window in windows if (answer := _judge_data_of(window))]


def _judge_data_of(window: LoopWindow) -> tuple[str, float] | None:
    """Return what the rules about data find: of several findings the one that makes the others meaningless."""
    missing, bad = float(np.mean(~window.is_received)), float(np.mean(~window.is_good))
    if max(missing, bad) > data_rules.BAD_FRACTION:
        if missing <= bad:
            return "bad-quality", bad
        return "compression" if missing > data_rules.COMPRESSED_FRACTION else "gaps", missing
    manual = float(np.mean(~window.is_automatic))
    if manual > data_rules.MANUAL_FRACTION:
        return "manual", manual
    repetition = data_rules.compute_repetition(window.pv)
    if data_rules.is_frozen(window.pv, window.op):
        low_fraction = float(np.mean(window.pv < data_rules.LOWEST_PERCENT))
        return ("drop-out", low_fraction) if low_fraction > data_rules.FROZEN_FRACTION else ("freeze", 1.0)
    if repetition > data_rules.REPEATED_FRACTION:
        return "compression", repetition
    saturation = data_rules.compute_saturation(window.op)
    return ("undersized", saturation) if saturation > data_rules.SATURATED_FRACTION else None


def _judge_combination(windows: Sequence[LoopWindow]) -> list[Finding]:
    return [Finding(window.loop, *answer) for window in windows if (answer := _combine(window))]


def _combine(window: LoopWindow) -> tuple[str, float] | None:
    """Return the finding of the rules about data, else the cause of an oscillation, else sluggish tuning.

    Curve fit decides between a sticky valve and the rest, cross-correlation between tuning and a load from elsewhere.
    The oscillation is reported without a cause where neither decides.
    """
    if answer := _judge_data_of(window):
        return answer
    period = window.oscillation_period
    if period is None:
        return _judge_idle_index(window)
    index = _curve_fit_index(window)
    if index >= curve_fit.STICTION:
        return "stiction", index
    odd = 1.0 if window.is_integrating else cross_correlation.compute_odd_fraction(window.op, window.pv, period)
    if odd <= cross_correlation.ODD:
        return "aggressive", 1.0 - odd
    return ("external-oscillation" if index <= curve_fit.NO_STICTION else ANY), 1.0 - index


def _judge_roots(windows: Sequence[LoopWindow]) -> list[Finding]:
    """Return the root of the oscillation that the loops of each unit share, and the loops that it reaches.

    The combination names the fault of the root.
    """
    return [finding for unit in _group_by_area(windows).values() if len(unit) >= _ENVELOPE_MIN_LOOPS
            for finding in _find_roots(unit)]


def _find_roots(unit: Sequence[LoopWindow]) -> Iterator[Finding]:
    step = max(1, len(unit[0].pv) // _ENVELOPE_SAMPLES)
    length = len(unit[0].pv) // step * step
    pv = np.stack([window.pv[:length].reshape(-1, step).mean(axis=1) for window in unit], axis=1)
    contribution = spectral_envelope.find_envelope_peak(pv).contribution
    root = unit[int(np.argmax(contribution))]
    highest, period = float(contribution.max()), root.oscillation_period
    if highest <= spectral_envelope.ROOT_CANDIDATE or period is None:
        return
    fault, _ = _combine(root) or (ANY, 0.0)
    score = highest / (1.0 + highest)
    yield Finding(root.loop, fault, score)
    for window in unit:
        other = window.oscillation_period
        if window is not root and other is not None and abs(other - period) < _SAME_PERIOD * period:
            yield Finding(window.loop, "external-oscillation", score, cause=root.loop)


def _group_by_area(windows: Sequence[LoopWindow]) -> Mapping[str, list[LoopWindow]]:
    """Return the loops of each unit; one whose unit the loop sheet does not say is in none."""
    units: dict[str, list[LoopWindow]] = {}
    for window in windows:
        if window.area:
            units.setdefault(window.area, []).append(window)
    return units


_DATA_FAULTS = ("gaps", "bad-quality", "manual", "drop-out", "freeze", "compression", "undersized")
MONITORS: Mapping[str, Monitor] = {monitor.name: monitor for monitor in (
    Monitor("he", "curve fit: He, Wang, Pottmann and Qin, 2007", ("stiction",), _apply_to_each(_judge_curve_fit)),
    Monitor("horch", "cross-correlation: Horch, 1999", ("stiction", "aggressive"),
            _apply_to_each(_judge_cross_correlation)),
    Monitor("choudhury", "bicoherence and ellipse: Choudhury, Shah, Thornhill and Shook, 2006", ("stiction",),
            _apply_to_each(_judge_nonlinearity)),
    Monitor("yamashita", "shapes of flow loops: Yamashita, 2006", ("stiction",), _apply_to_each(_judge_shape)),
    Monitor("thornhill", "regularity: Thornhill, Huang and Zhang, 2003", (ANY,), _apply_to_each(_judge_regularity)),
    Monitor("haegglund", "load disturbances: Haegglund, 1995", (ANY,), _apply_to_each(_judge_load_disturbances)),
    Monitor("idle", "idle index: Haegglund, 1999", ("sluggish",), _apply_to_each(_judge_idle_index)),
    Monitor("harris", "minimum variance: Harris, 1989", (ANY,), _apply_to_each(_judge_harris)),
    Monitor("envelope", "root by spectral envelope: Jiang, Choudhury and Shah, 2007",
            ("stiction", "aggressive", "external-oscillation", ANY), _judge_roots),
    Monitor("rules", "limits, frozen values, quality and mode", _DATA_FAULTS, _judge_data),
    Monitor("combination", "rules, then curve fit and cross-correlation of loops that oscillate, then idle index",
            (*_DATA_FAULTS, "stiction", "aggressive", "external-oscillation", "sluggish", ANY), _judge_combination),
)}
