"""Choice of the process model, and identification of process, load and noise as physical parameters.

The parameters are identified where the record determines them. Otherwise they are those of the typical process that
the controller's tuning implies.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np

from clpm_execd.identification.closed_loop.estimator import ClosedLoop
from clpm_execd.identification.closed_loop.pid_regression import SCAN
from clpm_execd.identification.disturbance.oscillation import find_external_oscillation, find_oscillation
from clpm_execd.identification.estimates import QUANTILE, Estimate, Findings, Hypothesis
from clpm_execd.identification.loop_data import Signals
from clpm_execd.identification.process.dead_time_profile import ProcessLaw, estimate_process
from clpm_execd.identification.process.residuals import Innovations, estimate_innovations
from clpm_execd.identification.thresholds import LOOP as LIMITS
from clpm_execd.plant.block import SECOND
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import (
    ControllerSpec,
    DisturbanceSpec,
    LoopSpec,
    OperatorSpec,
    ProcessSpec,
    RecordingSpec,
    SensorSpec,
)
from clpm_execd.plant.tuning import apply_tuning_rule, tune_controller

_MAX_PRIOR_FACTOR = 10.0  # The default process is at most this much slower or stronger than the typical one.
_TRIAL_SAMPLES = 3000  # of the simulation that tests a loop: dozens of resets of most loops
_MODEL_NAMES = {"fopdt": "first order", "sopdt": "second order", "integrator": "an integrator"}
_MAX_STD_PERCENT = 30.0  # % of span, of PV under a load of 1 % of travel: no plant would run such a loop
_MAX_ROUNDING_SHARE = 0.9  # of the noise variance: the record does not show a sensor noise that is smaller than this


def identify_process(loop: LoopSpec, signals: Signals, findings: Findings, law: ProcessLaw | None = None, *,
                     cycles: bool = False
                     ) -> tuple[LoopSpec, Innovations | None]:
    """Return the loop with the identified or the default process, and the residuals of PV for it.

    law: the process where it is already identified. cycles: whether the valve causes a limit cycle; if not, an external
    oscillation is searched for and removed from the fit and from the residuals.
    """
    undriven_findings = Findings()
    plain = _fit_process(loop, signals, undriven_findings, law)
    residuals = estimate_innovations(signals, plain.process)
    if residuals is not None and law is None and not cycles:
        # The line is in the residuals, or in OP where the fitted process has absorbed the oscillation.
        cycle = find_oscillation(signals)
        for series in (residuals.errors, np.where(signals.complete, signals.op, np.nan)):
            period = find_external_oscillation(series, signals.interval, cycle and cycle[0])
            if period is not None:
                driven_findings = Findings()
                other = _fit_process(loop, signals, driven_findings, None, period[0])
                driven = estimate_innovations(signals, other.process, period[0])
                if driven is not None:
                    gain = residuals.cost - driven.cost
                    undriven_findings.hypotheses.append(Hypothesis(
                        f"the load oscillates every {period[0]:.3g} s", -driven.cost / 2.0, gain, LIMITS.period_gain,
                        gain > LIMITS.period_gain))
                if driven is not None and driven.cost < residuals.cost - LIMITS.period_gain:
                    driven_findings.hypotheses += undriven_findings.hypotheses
                    findings.take(driven_findings)
                    _note_external_oscillation(period, driven, findings)
                    return other, driven
    findings.take(undriven_findings)
    return plain, residuals


def _note_external_oscillation(period: tuple[float, float, float], residuals: Innovations, findings: Findings) -> None:
    amplitude, deviation, harmonic = residuals.oscillation_load
    ends = max(amplitude - QUANTILE * deviation, 0.0), amplitude + QUANTILE * deviation
    findings.note("oscillation.period", Estimate.from_interval(period, "s"))
    findings.note("oscillation.amplitude", Estimate.from_interval((amplitude, *ends), "% of travel"))
    findings.note("oscillation.harmonic", Estimate.measured(harmonic, "fraction of the amplitude"))
    findings.warnings.append(f"external oscillation with a period of {period[0]:.3g} s: a load of {amplitude:.2g} % of "
                             "travel")


def _fit_process(loop: LoopSpec, signals: Signals, findings: Findings, law: ProcessLaw | None = None,
                 period: float | None = None) -> LoopSpec:
    """Return the loop with the identified or the default process. period: of the external oscillation, s."""
    prior = process_implied_by_tuning(loop, signals.interval)
    is_tuned_by_rule = loop.controller.action is None  # then the sign and the size of the controller gain are defaults
    sign = 0.0 if is_tuned_by_rule else float(np.sign(prior.gain))
    laws = [law]
    if law is None:
        type_model, *others = _candidate_models(prior)
        laws = [estimate_process(signals, type_model, period)]
        max_bic = inf if laws[0] is None else laws[0].bic + LIMITS.ambiguity_gain
        laws += [estimate_process(signals, other, period, max_bic) for other in others]
    # The model of the loop type is chosen unless another is better by a margin: a narrower interval is no reason.
    bic_limit = min((law.bic - LIMITS.model_gain for law in laws if law is not None and law.model == prior.model),
                    default=inf)
    candidates = [law for law in laws if law is not None and law.gain[0] * sign >= 0
                  and (law.gain_log_std < LIMITS.max_log_std and law.bic < bic_limit if law.model != prior.model
                       else min(law.gain_log_std, law.slope_log_std) < LIMITS.max_log_std)]
    best = min(candidates, key=lambda law: law.bic) if candidates else None
    _compare_models([law for law in laws if law is not None], best, findings)
    if best is not None:
        best = _pool_dead_time(best, [law for law in laws if law is not None])
        fitted_loop = replace(loop, process=spec_of(best))
        if is_tuned_by_rule:
            rule = tune_controller(replace(fitted_loop, controller=ControllerSpec()), min(signals.interval, 1.0))
            fitted_loop = replace(fitted_loop, controller=replace(rule, derivative=0.0))
        if _simulate_std(fitted_loop, signals.interval,
                         min(signals.interval, SCAN) if law else signals.interval) < _MAX_STD_PERCENT:
            _note_process(best, findings)
            return fitted_loop
    why = _why_not_identified(signals)
    findings.warnings.append(f"process not identifiable from this record ({why}): gain, time constant and dead time "
                             "are defaults")
    findings.note("process.gain", Estimate.from_prior(prior.gain, _unit(prior.model)))
    if prior.tau:
        findings.note("process.tau", Estimate.from_prior(prior.tau[0], "s", 5.0))
    findings.note("process.dead_time", Estimate.from_prior(prior.dead_time, "s", 5.0))
    return replace(loop, process=prior)


def _compare_models(laws: list[ProcessLaw], best: ProcessLaw | None, findings: Findings) -> None:
    """Add the process models to the table of hypotheses, that of the loop type first."""
    for law in laws:
        is_types = law is laws[0]
        findings.hypotheses.append(Hypothesis(
            f"the process is {_MODEL_NAMES[law.model]}", law.log_likelihood, laws[0].bic - law.bic,
            0.0 if is_types else LIMITS.model_gain, law is best))


def _why_not_identified(signals: Signals) -> str:
    complete = signals.complete
    if not complete.any() or np.ptp(signals.pv[complete]) == 0.0:
        return "PV never moved"
    if np.ptp(signals.op[complete]) == 0.0:
        return "OP never moved"
    return "SP never moved" if np.ptp(signals.sp[complete]) == 0.0 else "SP moved too little"


def _pool_dead_time(best: ProcessLaw, laws: list[ProcessLaw]) -> ProcessLaw:
    """Return the best law with a dead-time interval that covers those of all models that explain PV about as well."""
    value, *ends = best.dead_time
    for law in laws:
        if law.bic < best.bic + LIMITS.ambiguity_gain:
            ends += law.dead_time[1:]
    return replace(best, dead_time=(value, min(ends), max(ends)))


def _unit(model: str) -> str:
    return "%/s/%" if model == "integrator" else "%/%"


def process_implied_by_tuning(loop: LoopSpec, interval: float) -> ProcessSpec:
    """Return the typical process of the loop's type, scaled in time and gain to what the controller is tuned for."""
    process, controller = loop.process, loop.controller
    gain, reset = controller.gain or 1.0, controller.reset or 0.0
    rule_gain, rule_reset = apply_tuning_rule(loop, min(interval, 1.0))
    time_scale = (min(max(reset / rule_reset, 1.0 / _MAX_PRIOR_FACTOR), _MAX_PRIOR_FACTOR)
                  if reset > 0 and rule_reset > 0 else 1.0)
    gain_scale = 1.0 / time_scale if process.model == "integrator" else 1.0
    process = replace(process, tau=tuple(_rounded(time_scale * tau) for tau in process.tau),
                      dead_time=_rounded(time_scale * process.dead_time), gain=process.gain * gain_scale)
    rule_gain, _ = apply_tuning_rule(replace(loop, process=process), min(interval, 1.0))
    return replace(process,
                   gain=_rounded(process.gain * min(max(rule_gain / gain, 1.0 / _MAX_PRIOR_FACTOR), _MAX_PRIOR_FACTOR)))


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _candidate_models(prior: ProcessSpec) -> list[ProcessSpec]:
    """Return the model of the loop type, and then the one that is most easily mistaken for it."""
    total = sum(prior.tau) or 20.0 * max(prior.dead_time, 1.0)
    if prior.model == "integrator":
        return [prior, ProcessSpec(model="fopdt", gain=prior.gain * total, tau=(total,), dead_time=prior.dead_time)]
    if prior.model == "sopdt":
        return [prior]
    return [prior, ProcessSpec(model="integrator", gain=prior.gain / total, tau=(), dead_time=prior.dead_time)]


def spec_of(law: ProcessLaw) -> ProcessSpec:
    """Return the process as a specification, with rounded parameters."""
    return ProcessSpec(model=law.model, gain=_rounded(min(max(law.gain[0], -1000.0), 1000.0)),
                       tau=tuple(_rounded(min(tau[0], 1e6)) for tau in law.tau),
                       dead_time=_rounded(law.dead_time[0]))


def _note_process(law: ProcessLaw, findings: Findings) -> None:
    low, high = sorted(law.gain[1:])
    findings.note("process.gain", Estimate.from_interval((law.gain[0], low, high), _unit(law.model)))
    for k, tau in enumerate(law.tau):
        findings.note("process.tau" if k == 0 else "process.tau2", Estimate.from_interval(tau, "s"))
    findings.note("process.dead_time", Estimate.from_interval(law.dead_time, "s"))


def _simulate_std(loop: LoopSpec, interval: float, scan: float) -> float:
    """Return the standard deviation of PV, % of span, of the simulated loop under a load of 1 % of travel alone."""
    quiet_loop = replace(
        loop, sensor=SensorSpec(noise=0.0), disturbance=replace(loop.disturbance, sigma=1.0), mode="AUT", pv=None,
        recording=RecordingSpec(), operator=OperatorSpec(), op=50.0, sp=sum(loop.range) / 2.0)
    interval_ns, scan_ns = round(interval * SECOND), round(scan * SECOND)
    block = Plant([quiet_loop], seed=0, start=0, interval=interval_ns,
                  scan=scan_ns if interval_ns % scan_ns == 0 else interval_ns).advance(_TRIAL_SAMPLES)
    return float(block.true_pv[_TRIAL_SAMPLES // 10:, 0].std()) / (loop.range[1] - loop.range[0]) * 100.0


def identify_disturbance(loop: LoopSpec, residuals: Innovations | None, findings: Findings,
                         joint: ClosedLoop | None = None) -> LoopSpec:
    """Return the loop with the load and the sensor noise that the residuals of PV show.

    joint: the estimates at the controller's scans, where these exist. Its load applies to the identified process only.
    """
    if residuals is None:
        return loop
    if joint is not None and findings.estimates["process.gain"].source == "identified":
        load = Estimate.from_interval(joint.load, "% of travel")
        correlated = Estimate.from_interval(joint.correlation, "s")
    else:  # The load estimate depends on the process: a default process needs one of its own.
        load = Estimate.from_log_std(residuals.load, residuals.log_std[0], "% of travel")
        correlated = Estimate.from_log_std(residuals.correlation, residuals.log_std[1], "s")
    if joint is not None:
        noise_estimate = Estimate.from_interval(joint.noise, "% of span")
    else:
        step = loop.recording.resolution.pv / (loop.range[1] - loop.range[0]) * 100.0
        # The part of the noise variance that the rounding of PV does not cause.
        sensor_share = 1.0 - min(step**2 / 12.0 / max(residuals.noise, 1e-9)**2, _MAX_ROUNDING_SHARE)
        noise_estimate = Estimate.from_log_std(residuals.noise * sensor_share**0.5, residuals.log_std[2] / sensor_share,
                                               "% of span")
    sigma, correlation = findings.note("disturbance.sigma", load), findings.note("disturbance.correlation", correlated)
    noise = findings.note("sensor.noise", noise_estimate)
    return replace(loop, sensor=SensorSpec(noise=min(noise, 50.0)), disturbance=DisturbanceSpec(
        sigma=min(sigma, 50.0), correlation=min(max(correlation, 1e-3), 1e6)))
