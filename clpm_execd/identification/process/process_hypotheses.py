"""Hypotheses about PV: the model of the loop type behind OP or behind the stem, another model, and a periodic load.

Parameters are identified where the record determines them. Otherwise they are those of the typical process that the
controller's tuning implies. Load and sensor noise are those of the residuals.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np

from clpm_execd.identification.closed_loop.pid_regression import SCAN
from clpm_execd.identification.estimates import QUANTILE, Estimate, Findings, Interval, rounded, within_limits
from clpm_execd.identification.hypotheses import Fitted, LoopData
from clpm_execd.identification.loop_data import rounding_variance
from clpm_execd.identification.oscillation import find_external_oscillation, find_oscillation
from clpm_execd.identification.process.process_law import ProcessLaw, estimate_noise, estimate_process
from clpm_execd.identification.process.typical_process import other_model, process_implied_by_tuning, tune_by_rule
from clpm_execd.identification.thresholds import LOOP as LIMITS
from clpm_execd.plant.specs import ControllerSpec, DisturbanceSpec, FaultSpec, LoopSpec, ProcessSpec, SensorSpec

_MODEL_NAMES = {"fopdt": "first order", "sopdt": "second order", "integrator": "an integrator"}
_MAX_ROUNDING_SHARE = 0.9  # of the noise variance: the record does not show a sensor noise that is smaller than this


class TypeModel:
    """PV follows the process model of the loop's type, with a load and sensor noise."""

    def fit(self, data: LoopData, prior: Fitted) -> Fitted:
        """Return the loop with the identified process, or with the typical one if the record does not determine it."""
        typical = process_implied_by_tuning(prior.loop, data.signals.interval)
        law = (prior.joint.process if prior.joint is not None else
               estimate_process(data.signals.driven_by(prior.stem), typical))
        name, bic = f"the process is {_MODEL_NAMES[typical.model]}", inf if law is None else law.bic
        log_likelihood = -inf if law is None else law.log_likelihood
        if law is not None and min(law.gain_log_std, law.slope_log_std) < LIMITS.max_log_std and _has_sign(law, prior):
            return _fitted(name, data, prior, law)
        findings = Findings()
        findings.warnings.append("process not identifiable from this record, in which PV, OP or SP move too little: "
                                 "gain, time constant and dead time are defaults")
        gain = findings.note("process.gain", Estimate.from_prior(typical.gain, _unit(typical.model)))
        if typical.tau:
            findings.note("process.tau", Estimate.from_prior(typical.tau[0], "s", 5.0))
        dead_time = findings.note("process.dead_time", Estimate.from_prior(typical.dead_time, "s", 5.0))
        process = within_limits(replace(typical, gain=gain, tau=tuple(map(rounded, typical.tau)), dead_time=dead_time))
        loop, residuals = _with_residuals(data, prior, replace(prior.loop, process=process), None, findings)
        return replace(prior, name=name, loop=loop, log_likelihood=log_likelihood, bic=bic, residuals=residuals,
                       findings=findings)


class OtherModel:
    """PV follows the model that is most easily mistaken for that of the loop's type."""

    def fit(self, data: LoopData, prior: Fitted) -> Fitted | None:
        """Return the loop with that model, if the record determines its gain."""
        other = other_model(process_implied_by_tuning(prior.loop, data.signals.interval))
        if other is None or prior.joint is not None:
            return None
        law = estimate_process(data.signals.driven_by(prior.stem), other, max_bic=prior.bic)
        if law is None or law.gain_log_std >= LIMITS.max_log_std or not _has_sign(law, prior):
            return None
        return _fitted(f"the process is {_MODEL_NAMES[other.model]}", data, prior, law, LIMITS.model_gain)


class PeriodicLoad:
    """A load from outside acts on the process that is chosen so far, with one period and its third harmonic."""

    def fit(self, data: LoopData, prior: Fitted) -> Fitted | None:
        """Return the loop with the most likely line in the residuals, or in OP: the fit may have absorbed it.

        A limit cycle of a sticking valve is no load from outside.
        """
        if prior.residuals is None or prior.stem is not None:
            return None
        if prior.joint is not None:
            return None if prior.joint.period is None else self._fit_period(data, prior, prior.joint.period)
        cycle, signals = find_oscillation(data.signals), data.signals
        periods = (find_external_oscillation(series, signals.interval, cycle and cycle[0])
                   for series in (prior.residuals.errors, np.where(signals.complete, signals.op, np.nan)))
        fits = [self._fit_period(data, prior, period) for period in periods if period is not None]
        return max((fit for fit in fits if fit is not None), key=lambda fit: fit.gain, default=None)

    def _fit_period(self, data: LoopData, prior: Fitted, period: Interval) -> Fitted | None:
        process = prior.loop.process
        law = estimate_process(data.signals, process, period[0]) if prior.joint is None else prior.joint.process
        if law is None or law.gain_log_std >= LIMITS.max_log_std or not _has_sign(law, prior):
            return None
        fit = _fitted(f"the process has a periodic load, every {period[0]:.3g} s", data, prior, law,
                      LIMITS.period_gain, period[0])
        if fit.residuals is None:
            return None
        amplitude, deviation, harmonic = fit.residuals.oscillation_load
        ends = max(amplitude - QUANTILE * deviation, 0.0), amplitude + QUANTILE * deviation
        fit.findings.note("oscillation.period", Estimate.from_interval(period, "s"))
        fit.findings.note("oscillation.amplitude", Estimate.from_interval((amplitude, *ends), "% of travel"))
        fit.findings.note("oscillation.harmonic", Estimate.measured(harmonic, "fraction of the amplitude"))
        loop = replace(fit.loop, faults=(FaultSpec(kind="external-oscillation", parameters={
            "amplitude": min(rounded(amplitude), 50.0), "period": rounded(period[0]),
            "harmonic": min(rounded(harmonic), 1.0)}),))
        fit.findings.warnings.append(f"external oscillation with a period of {period[0]:.3g} s: a load of "
                                     f"{amplitude:.2g} % of travel")
        return replace(fit, loop=loop, gain=fit.gain if prior.joint is None else prior.joint.cycle_gain)


def _has_sign(law: ProcessLaw, prior: Fitted) -> bool:
    """Return whether the process has the sign that the controller's action asks for, where that is identified."""
    action = prior.loop.controller.action
    return action is None or (law.gain[0] > 0) == (action == "reverse")


def _fitted(name: str, data: LoopData, prior: Fitted, law: ProcessLaw, threshold: float = 0.0,
            period: float | None = None) -> Fitted:
    """Return the loop with an identified process; a controller that is tuned by the rule is tuned for it."""
    findings = Findings()
    low, high = sorted(law.gain[1:])
    findings.note("process.gain", Estimate.from_interval((law.gain[0], low, high), _unit(law.model)))
    for k, tau in enumerate(law.tau):
        findings.note("process.tau" if k == 0 else "process.tau2", Estimate.from_interval(tau, "s"))
    dead_time, interval = law.dead_time, data.signals.interval
    if prior.stem is not None and interval > SCAN:
        # Where S is off by OP's travel in an interval, as its own interval admits, all slips are off by an interval.
        value, early, late = dead_time
        dead_time = value, max(min(early, value - interval), 0.0), max(late, value + interval)
    findings.note("process.dead_time", Estimate.from_interval(dead_time, "s"))
    loop = replace(prior.loop, process=within_limits(ProcessSpec(
        model=law.model, gain=rounded(law.gain[0]), tau=tuple(rounded(tau[0]) for tau in law.tau),
        dead_time=rounded(law.dead_time[0]))))
    if loop.controller.action is None:
        loop = tune_by_rule(replace(loop, controller=ControllerSpec()), data.signals.interval, findings)
    loop, residuals = _with_residuals(data, prior, loop, law, findings, period)
    return replace(prior, name=name, loop=loop, log_likelihood=law.log_likelihood, bic=law.bic,
                   gain=prior.bic - law.bic if threshold else 0.0, threshold=threshold, residuals=residuals,
                   findings=findings)


def _with_residuals(data: LoopData, prior: Fitted, loop: LoopSpec, law: ProcessLaw | None, findings: Findings,
                    period: float | None = None) -> tuple[LoopSpec, ProcessLaw | None]:
    """Return the loop with the load and the sensor noise of a law, and the law with its residuals.

    A default process, without a law, needs a load of its own; the law of a slow record needs residuals at its
    samples.
    """
    residuals = law
    if law is None or not len(law.errors):
        residuals = estimate_noise(data.signals.driven_by(prior.stem), loop.process, period)
    if residuals is None:
        return loop, None
    law, (value, _, high) = law or residuals, (law or residuals).noise
    # The rounding of PV causes a part of the variance of noise at the samples.
    sensor_share = 1.0 - (min(rounding_variance(data.resolutions[0]) / max(value, 1e-9)**2, _MAX_ROUNDING_SHARE)
                          if law is residuals else 0.0)
    noise = Estimate.from_factor(value * sensor_share**0.5, (high / value)**(1.0 / sensor_share), "% of span")
    sigma = findings.note("disturbance.sigma", Estimate.from_interval(law.load, "% of travel"))
    correlation = findings.note("disturbance.correlation", Estimate.from_interval(law.correlation, "s"))
    return replace(loop, sensor=within_limits(SensorSpec(noise=findings.note("sensor.noise", noise))),
                   disturbance=within_limits(DisturbanceSpec(sigma=sigma, correlation=correlation))), residuals


def _unit(model: str) -> str:
    return "%/s/%" if model == "integrator" else "%/%"
