"""The process and the load of a loop as plain numbers: identified where the record tells, else such as its controller
would be tuned for.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np

from clpm_execd.identification.closed_loop.estimator import ClosedLoop
from clpm_execd.identification.disturbance.oscillation import find_external_oscillation, find_oscillation
from clpm_execd.identification.estimates import QUANTILE, Estimate, Findings, Hypothesis
from clpm_execd.identification.loop_data import Signals
from clpm_execd.identification.pid_regression import SCAN
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

_FAR = 10.0  # times the typical: as far as a prior goes to meet the controller
_TRIAL = 3000  # samples
_MODEL_NAMES = {"fopdt": "first order", "sopdt": "second order", "integrator": "an integrator"}
_UNSTABLE = 30.0  # % of PV by a load of 1 %: no plant would run like this
_MOST_ROUNDING = 0.9  # of the variance of a sensor's noise: beyond it is not seen


def identify_process(loop: LoopSpec, signals: Signals, told: Findings, law: ProcessLaw | None = None, *,
                     cycles: bool = False
                     ) -> tuple[LoopSpec, Innovations | None]:
    """The loop with the process of its record, or with a prior, and what that leaves unexplained.

    law: of a process that is known already. cycles: it oscillates by itself. Where it does not, an oscillation from
    elsewhere is looked for, which is left out of both.
    """
    alone = Findings()
    plain = _identified(loop, signals, alone, law)
    found = estimate_innovations(signals, plain.process)
    if found is not None and law is None and not cycles:
        # A line in what is unexplained; or in OP, where the process was taken for what makes it.
        cycle = find_oscillation(signals)
        for series in (found.errors, np.where(signals.whole, signals.op, np.nan)):
            period = find_external_oscillation(series, signals.interval, cycle and cycle[0])
            if period is not None:
                told_so = Findings()
                other = _identified(loop, signals, told_so, None, period[0])
                less = estimate_innovations(signals, other.process, period[0])
                if less is not None:
                    gain = found.cost - less.cost
                    alone.hypotheses.append(Hypothesis(
                        f"the load oscillates every {period[0]:.3g} s", -less.cost / 2.0, gain, LIMITS.period_gain,
                        gain > LIMITS.period_gain))
                if less is not None and less.cost < found.cost - LIMITS.period_gain:
                    told_so.hypotheses += alone.hypotheses
                    told.take(told_so)
                    _note_swing(period, less, told)
                    return other, less
    told.take(alone)
    return plain, found


def _note_swing(period: tuple[float, float, float], found: Innovations, told: Findings) -> None:
    amplitude, spread, harmonic = found.swing
    ends = max(amplitude - QUANTILE * spread, 0.0), amplitude + QUANTILE * spread
    told.note("oscillation.period", Estimate.from_interval(period, "s"))
    told.note("oscillation.amplitude", Estimate.from_interval((amplitude, *ends), "% of travel"))
    told.note("oscillation.harmonic", Estimate.measured(harmonic, "fraction of the amplitude"))
    told.warnings.append(f"external oscillation with a period of {period[0]:.3g} s: a load of {amplitude:.2g} % of "
                         "travel")


def _identified(loop: LoopSpec, signals: Signals, told: Findings, law: ProcessLaw | None = None,
                period: float | None = None) -> LoopSpec:
    """The loop with the process; period: s, of an oscillation that comes from elsewhere."""
    prior = process_implied_by_tuning(loop, signals.interval)
    is_tuned_by_rule = loop.controller.action is None  # then neither the gain's sign nor its size is known
    sign = 0.0 if is_tuned_by_rule else float(np.sign(prior.gain))
    laws = [law]
    if law is None:
        likely, *others = _models(prior)
        laws = [estimate_process(signals, likely, period)]
        worst = inf if laws[0] is None else laws[0].criterion + LIMITS.alike
        laws += [estimate_process(signals, other, period, worst) for other in others]
    # The type's model, unless another is better by a margin; that it is the surer one is no reason.
    least = min((law.criterion - LIMITS.model_gain for law in laws if law is not None and law.model == prior.model),
                default=inf)
    known = [law for law in laws if law is not None and law.gain[0] * sign >= 0
             and (law.relative < LIMITS.sure and law.criterion < least if law.model != prior.model
                  else min(law.relative, law.faster) < LIMITS.sure)]
    best = min(known, key=lambda law: law.criterion) if known else None
    _compare_models([law for law in laws if law is not None], best, told)
    if best is not None:
        best = _as_any(best, [law for law in laws if law is not None])
        found = replace(loop, process=spec_of(best))
        if is_tuned_by_rule:
            rule = tune_controller(replace(found, controller=ControllerSpec()), min(signals.interval, 1.0))
            found = replace(found, controller=replace(rule, derivative=0.0))
        if _swing(found, signals.interval, min(signals.interval, SCAN) if law else signals.interval) < _UNSTABLE:
            _note(best, told)
            return found
    why = _why_not_identified(signals)
    told.warnings.append(f"process not identifiable from this record ({why}): gain, time constant and dead time are "
                         "defaults")
    told.note("process.gain", Estimate.from_prior(prior.gain, _unit(prior.model)))
    if prior.tau:
        told.note("process.tau", Estimate.from_prior(prior.tau[0], "s", 5.0))
    told.note("process.dead_time", Estimate.from_prior(prior.dead_time, "s", 5.0))
    return replace(loop, process=prior)


def _compare_models(laws: list[ProcessLaw], best: ProcessLaw | None, told: Findings) -> None:
    """Add the models of the process to the table of hypotheses, the type's first."""
    for law in laws:
        is_types = law is laws[0]
        told.hypotheses.append(Hypothesis(
            f"the process is {_MODEL_NAMES[law.model]}", law.log_likelihood, laws[0].criterion - law.criterion,
            0.0 if is_types else LIMITS.model_gain, law is best))


def _why_not_identified(signals: Signals) -> str:
    whole = signals.whole
    if not whole.any() or np.ptp(signals.pv[whole]) == 0.0:
        return "PV never moved"
    if np.ptp(signals.op[whole]) == 0.0:
        return "OP never moved"
    return "SP never moved" if np.ptp(signals.sp[whole]) == 0.0 else "SP moved too little"


def _as_any(best: ProcessLaw, laws: list[ProcessLaw]) -> ProcessLaw:
    """The best law, its dead time as little sure as other models leave it that explain the record about as well."""
    value, *ends = best.dead_time
    for law in laws:
        if law.criterion < best.criterion + LIMITS.alike:
            ends += law.dead_time[1:]
    return replace(best, dead_time=(value, min(ends), max(ends)))


def _unit(model: str) -> str:
    return "%/s/%" if model == "integrator" else "%/%"


def process_implied_by_tuning(loop: LoopSpec, interval: float) -> ProcessSpec:
    """The typical process of the loop's type, as slow and as strong as the controller would have been tuned for."""
    process, controller = loop.process, loop.controller
    gain, reset = controller.gain or 1.0, controller.reset or 0.0
    rule_gain, rule_reset = apply_tuning_rule(loop, min(interval, 1.0))
    slower = min(max(reset / rule_reset, 1.0 / _FAR), _FAR) if reset > 0 and rule_reset > 0 else 1.0
    strength = 1.0 / slower if process.model == "integrator" else 1.0
    process = replace(process, tau=tuple(_rounded(slower * tau) for tau in process.tau),
                      dead_time=_rounded(slower * process.dead_time), gain=process.gain * strength)
    rule_gain, _ = apply_tuning_rule(replace(loop, process=process), min(interval, 1.0))
    return replace(process, gain=_rounded(process.gain * min(max(rule_gain / gain, 1.0 / _FAR), _FAR)))


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _models(prior: ProcessSpec) -> list[ProcessSpec]:
    """The type's model first, and the one it is most easily taken for."""
    total = sum(prior.tau) or 20.0 * max(prior.dead_time, 1.0)
    if prior.model == "integrator":
        return [prior, ProcessSpec(model="fopdt", gain=prior.gain * total, tau=(total,), dead_time=prior.dead_time)]
    if prior.model == "sopdt":
        return [prior]
    return [prior, ProcessSpec(model="integrator", gain=prior.gain / total, tau=(), dead_time=prior.dead_time)]


def spec_of(law: ProcessLaw) -> ProcessSpec:
    """The process in plain numbers."""
    return ProcessSpec(model=law.model, gain=_rounded(min(max(law.gain[0], -1000.0), 1000.0)),
                       tau=tuple(_rounded(min(tau[0], 1e6)) for tau in law.tau),
                       dead_time=_rounded(law.dead_time[0]))


def _note(law: ProcessLaw, told: Findings) -> None:
    low, high = sorted(law.gain[1:])
    told.note("process.gain", Estimate.from_interval((law.gain[0], low, high), _unit(law.model)))
    for k, tau in enumerate(law.tau):
        told.note("process.tau" if k == 0 else "process.tau2", Estimate.from_interval(tau, "s"))
    told.note("process.dead_time", Estimate.from_interval(law.dead_time, "s"))


def _swing(loop: LoopSpec, interval: float, scan: float) -> float:
    """Sigma of PV, % of span, of the loop in plain numbers with a load of 1 % and nothing else."""
    bare = replace(
        loop, sensor=SensorSpec(noise=0.0), disturbance=replace(loop.disturbance, sigma=1.0), mode="AUT", pv=None,
        recording=RecordingSpec(), operator=OperatorSpec(), op=50.0, sp=sum(loop.range) / 2.0)
    step, scans = round(interval * SECOND), round(scan * SECOND)
    block = Plant([bare], seed=0, start=0, interval=step, scan=scans if step % scans == 0 else step).advance(_TRIAL)
    return float(block.true_pv[_TRIAL // 10:, 0].std()) / (loop.range[1] - loop.range[0]) * 100.0


def identify_disturbance(loop: LoopSpec, found: Innovations | None, told: Findings,
                         scans: ClosedLoop | None = None) -> LoopSpec:
    """The loop with the load and the noise that its process leaves of PV; scans: as they are at the scans, if known."""
    if found is None:
        return loop
    if scans is not None and told.estimates["process.gain"].source == "identified":
        load = Estimate.from_interval(scans.load, "% of travel")
        correlated = Estimate.from_interval(scans.correlation, "s")
    else:  # a load belongs to its process
        load = Estimate.from_log_std(found.load, found.doubt[0], "% of travel")
        correlated = Estimate.from_log_std(found.correlation, found.doubt[1], "s")
    if scans is not None:
        white = Estimate.from_interval(scans.noise, "% of span")
    else:
        step = loop.recording.resolution.pv / (loop.range[1] - loop.range[0]) * 100.0
        own = 1.0 - min(step**2 / 12.0 / max(found.noise, 1e-9)**2, _MOST_ROUNDING)  # what rounding does not make of it
        white = Estimate.from_log_std(found.noise * own**0.5, found.doubt[2] / own, "% of span")
    sigma, correlation = told.note("disturbance.sigma", load), told.note("disturbance.correlation", correlated)
    noise = told.note("sensor.noise", white)
    return replace(loop, sensor=SensorSpec(noise=min(noise, 50.0)), disturbance=DisturbanceSpec(
        sigma=min(sigma, 50.0), correlation=min(max(correlation, 1e-3), 1e6)))
