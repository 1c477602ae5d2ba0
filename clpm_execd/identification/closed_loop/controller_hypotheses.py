"""Hypotheses about OP: an operator or another law moves it, a PID controller at the samples, or one at its own scans.

A controller that is not identified is tuned by the rule for the typical process of the loop's type.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf, log

import numpy as np

from clpm_execd.identification.closed_loop.estimator import estimate_closed_loop
from clpm_execd.identification.closed_loop.pid_regression import SCAN, PidLaw
from clpm_execd.identification.estimates import Estimate, Findings, rounded, within_limits
from clpm_execd.identification.hypotheses import Fitted, LoopData
from clpm_execd.identification.loop_data import TINY, Signals
from clpm_execd.identification.process.typical_process import process_implied_by_tuning, tune_by_rule
from clpm_execd.identification.thresholds import LOOP as LIMITS
from clpm_execd.plant.specs import ControllerSpec, SensorSpec
from clpm_execd.plant.tuning import apply_tuning_rule

_MAX_WEIGHT_WIDTH = 0.5  # of the interval of the set-point weight, which is between 0 and 1: a wider one says nothing


class NoLaw:
    """OP follows no PID law: the controller is tuned by a rule."""

    def fit(self, data: LoopData, prior: Fitted) -> Fitted:
        """Return the loop with a controller that is tuned for the typical process."""
        findings, law = Findings(), data.law if data.law is not None and not data.law.is_hidden else None
        if law is not None:
            findings.note("controller.explained", Estimate.measured(law.r_squared, "fraction of variance"))
        r_squared = f" (R² = {law.r_squared:.2f})" if law is not None else ""
        findings.warnings.append(f"OP is not explained by a PID law{r_squared}: tuning set by rule")
        loop = tune_by_rule(prior.loop, data.signals.interval, findings)
        return Fitted("OP follows no PID law", loop, _log_likelihood(data.signals, 0.0), findings=findings)


class PidAtSamples:
    """OP is that of a PID controller that scans at the samples."""

    def fit(self, data: LoopData, prior: Fitted) -> Fitted | None:
        """Return the loop with the controller of the regression."""
        if data.law is None or data.law.is_hidden:
            return None
        samples = int(data.signals.controlled.sum())
        # R2 itself is the criterion: that a law is significant does not make it the controller's.
        return _fitted("a PID controller sets OP at the samples", data.law, data, prior,
                       -samples * log(max(1.0 - data.law.r_squared, TINY)),
                       -samples * log(1.0 - LIMITS.min_r_squared))


class PidAtScans:
    """OP is that of a PID controller with several scans between two samples."""

    def fit(self, data: LoopData, prior: Fitted) -> Fitted | None:
        """Return the loop with the controller of the joint identification of controller and process."""
        signals, law = data.signals, data.law
        if law is None and signals.interval <= SCAN:
            return None
        if law is not None and not law.is_hidden and law.r_squared < LIMITS.min_r_squared:
            return None
        loop = prior.loop
        if law is None or law.reset[0] <= 0:  # The slow record does not show it: the search starts from a tuning rule.
            gain, reset = apply_tuning_rule(replace(loop, sensor=SensorSpec(noise=0.0)), min(signals.interval, SCAN))
            gain *= _ratio_of_movement(signals)
            law = PidLaw(gain=(gain,) * 3, reset=(reset,) * 3, is_hidden=True)
        controller = ControllerSpec(action="reverse", gain=abs(law.gain[0]), reset=law.reset[0], derivative=0.0)
        process = process_implied_by_tuning(replace(loop, controller=controller), signals.interval)
        joint = estimate_closed_loop(signals, law, replace(process, gain=abs(process.gain)), data.resolutions[0])
        if joint is None or joint.law.r_squared < LIMITS.min_r_squared:
            return None
        return replace(_fitted("a PID controller sets OP at scans between the samples", joint.law, data, prior,
                               -joint.samples * joint.log_var_ratio, -joint.samples * LIMITS.regression_gain),
                       joint=joint)


def _ratio_of_movement(signals: Signals) -> float:
    """Return the standard deviation of OP over that of PV: with it a tuning rule does not depend on their ranges."""
    controlled = signals.controlled
    pv, op = (float(part[controlled].std()) if controlled.any() else 0.0 for part in (signals.pv, signals.op))
    return op / pv if pv > 0.0 and op > 0.0 else 1.0


def _fitted(name: str, law: PidLaw, data: LoopData, prior: Fitted, gain: float, threshold: float) -> Fitted:
    """Return the loop with the controller of an identified law."""
    findings, loop = Findings(), prior.loop
    findings.note("controller.explained", Estimate.measured(law.r_squared, "fraction of variance"))
    if law.gain[0] < 0:
        loop = replace(loop, process=replace(loop.process, gain=-abs(loop.process.gain)))
    loop = replace(loop, controller=_make_controller(law, data.signals, findings))
    return Fitted(name, loop, _log_likelihood(data.signals, law.r_squared), gain, threshold, findings=findings)


def _log_likelihood(signals: Signals, r_squared: float) -> float:
    """Return the log-likelihood of OP's moves in automatic where a law explains this share of their variance."""
    moves = np.diff(signals.op)[signals.controlled[1:]]
    moves = moves[np.isfinite(moves)]
    unexplained = float(np.mean(moves**2)) * (1.0 - r_squared) if len(moves) else 0.0
    return -len(moves) / 2.0 * log(unexplained) if unexplained > 0.0 else inf


def _make_controller(law: PidLaw, signals: Signals, findings: Findings) -> ControllerSpec:
    low, high = sorted(abs(end) for end in law.gain[1:])
    gain = findings.note("controller.gain", Estimate.from_interval((abs(law.gain[0]), low, high), "%/%"))
    reset = 0.0
    if law.reset[0] > 0:
        reset = findings.note("controller.reset", Estimate.from_interval(law.reset, "s"))
    else:
        findings.warnings.append("OP shows no integral action")
    derivative = 0.0
    if law.derivative[0] > 0:
        derivative = findings.note("controller.derivative", Estimate.from_interval(law.derivative, "s"))
    weight = 1.0
    if (np.ptp(signals.sp[signals.complete]) > 0 and not signals.has_continuous_sp
            and law.weight[2] - law.weight[1] < _MAX_WEIGHT_WIDTH):
        weight = findings.note("controller.setpoint_weight", Estimate.from_interval(law.weight, ""))
        weight = next((plain for plain in (1.0, 0.0) if law.weight[1] <= plain <= law.weight[2]), weight)
    return within_limits(ControllerSpec(action="reverse" if law.gain[0] > 0 else "direct", gain=gain, reset=reset,
                                        derivative=derivative, setpoint_weight=weight,
                                        derivative_filter=rounded(law.filter)))
