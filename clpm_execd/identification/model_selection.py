"""The process and the load of a loop as plain numbers: identified where the record tells, else such as its controller
would be tuned for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from math import inf

import numpy as np

from clpm_execd.identification.closed_loop.estimator import ClosedLoop
from clpm_execd.identification.disturbance.load_steps import LOOKS, Step, alike, at_samples, cut_at, load_steps
from clpm_execd.identification.disturbance.oscillation import from_elsewhere, oscillation
from clpm_execd.identification.estimates import QUANTILE, Estimate, Findings, Hypothesis
from clpm_execd.identification.loop_data import Signals
from clpm_execd.identification.pid_regression import SCAN
from clpm_execd.identification.process.dead_time_profile import ProcessLaw, process_law
from clpm_execd.identification.process.residuals import Innovations, innovations
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

_SURE = 0.35  # standard deviation of a logarithm (see ProcessLaw): above this the record does not tell the process
_PERIOD_TELLS = 50.0  # of the log-likelihood, doubled: noise that has one chance in 1e6 of a line gains so much by it
_FAR = 10.0  # times the typical: as far as a prior goes to meet the controller
_TRIAL = 3000  # samples
_UNSTABLE = 30.0  # % of PV by a load of 1 %: no plant would run like this
_ALIKE = 15.0  # of the same: models that near leave it open which is right
_MOST_ROUNDING = 0.9  # of the variance of a sensor's noise: beyond it is not seen
_MARGIN = 20.0  # of Schwarz's criterion: by which another model than the type's must be better


def processed(loop: LoopSpec, signals: Signals, told: Findings, law: ProcessLaw | None = None,
              steps: list[Step] | None = None, *, cycles: bool = False) -> tuple[LoopSpec, Innovations | None]:
    """The loop with the process of its record, or with a prior, and what that leaves unexplained.

    law: of a process that is known already. steps: of the load, as known already, or behind a typical process. cycles:
    it oscillates by itself. Where it does not, steps are looked for, and what oscillates from elsewhere, which is left
    out of both.
    """
    alone = Findings()
    if law is None and not cycles:
        plain, steps, found = _between_steps(loop, signals, alone, steps)
    else:
        plain, steps = _identified(loop, signals, alone, law), steps or []
        found = innovations(signals, plain.process, steps=at_samples(steps))
    if found is not None and law is None and not cycles:
        # A line in what is unexplained; or in OP, where the process was taken for what makes it, unless steps do.
        alone.hypotheses.append(Hypothesis(f"the load steps {len(steps)} times" if steps else "the load does not step",
                                           -found.cost / 2.0, 0.0, 0.0, True))
        cycle = oscillation(signals)
        for series in (found.errors, *([] if steps else [np.where(signals.whole, signals.op, np.nan)])):
            period = from_elsewhere(series, signals.interval, cycle and cycle[0])
            if period is not None:
                told_so = Findings()
                other = _identified(loop, cut_at(steps, signals), told_so, None, period[0])
                less = innovations(signals, other.process, period[0], at_samples(steps))
                if less is not None:
                    gain = found.cost - less.cost
                    alone.hypotheses.append(Hypothesis(
                        f"the load oscillates every {period[0]:.3g} s", -less.cost / 2.0, gain, _PERIOD_TELLS,
                        gain > _PERIOD_TELLS))
                if less is not None and less.cost < found.cost - _PERIOD_TELLS:
                    told_so.hypotheses += alone.hypotheses
                    told.take(told_so)
                    _note_swing(period, less, told)
                    return other, _with_steps(less, signals, other, steps, told, period[0])
    told.take(alone)
    return plain, _with_steps(found, signals, plain, steps, told)


def _with_steps(beside: Innovations | None, signals: Signals, loop: LoopSpec, steps: Sequence[Step], told: Findings,
                period: float | None = None) -> Innovations | None:
    """What is left of a record with the steps of its load, but the load and the noise that it has beside them.

    Its cost is that of either, so that a valve that sticks has to explain PV better than the steps do.
    """
    whole = innovations(signals, loop.process, period) if steps else beside
    if whole is beside or whole is None or beside is None:
        return beside
    _note_steps(steps, told)
    return replace(whole, load=beside.load, correlation=beside.correlation, noise=beside.noise, doubt=beside.doubt,
                   cost=min(whole.cost, beside.cost))


def _between_steps(loop: LoopSpec, signals: Signals, told: Findings, steps: list[Step] | None
                   ) -> tuple[LoopSpec, list[Step], Innovations | None]:
    """The loop with the process, found where the load does not step, the steps, and what both leave unexplained.

    They are looked for behind the typical process first: where there are any, that of the whole record is far off. What
    another process, without any, explains as well are none: behind a wrong one a move of SP passes for a step.
    """
    @cache  # a look may come back to the steps, or to the process, of one before
    def between(these: tuple[Step, ...]) -> tuple[LoopSpec, Findings]:
        told_so = Findings()
        return _identified(loop, cut_at(these, signals), told_so), told_so

    @cache
    def behind(process: ProcessSpec) -> list[Step]:
        return load_steps(signals, process)

    if steps is None:
        steps = behind(tuned_for(loop, signals.interval))
    for _ in range(LOOKS):
        before = steps
        plain, told_so = between(tuple(steps))
        steps = behind(plain.process)
        if alike(steps, before):
            break
    found = innovations(signals, plain.process, steps=at_samples(steps))
    if steps:
        other, alone = between(())
        without = innovations(signals, other.process)
        if without is not None and found is not None and without.cost < found.cost:
            plain, steps, told_so, found = other, [], alone, without
    told.take(told_so)
    return plain, steps, found


def _note_steps(steps: Sequence[Step], told: Findings) -> None:
    if not steps or told.estimates["process.gain"].source == "prior":
        return
    size = float(np.sqrt(np.mean([step.size**2 for step in steps])))
    gain = told.estimates["process.gain"]
    unsure = float(np.sqrt(np.mean([step.doubt**2 for step in steps])))
    doubt = np.hypot(QUANTILE * unsure / len(steps)**0.5, size * (gain.high - gain.low) / 2.0 / abs(gain.value))
    told.note("load.steps", Estimate.measured(len(steps), "in the record"))
    told.note("load.step", Estimate.from_interval((size, max(size - doubt, 0.0), size + doubt), "% of travel"))
    often = "once" if len(steps) == 1 else f"{len(steps)} times"
    told.warnings.append(f"the load stepped {often}, by about {size:.2g} % of travel: the process is identified from "
                         "the samples between the steps")


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
    prior = tuned_for(loop, signals.interval)
    is_tuned_by_rule = loop.controller.action is None  # then neither the gain's sign nor its size is known
    sign = 0.0 if is_tuned_by_rule else float(np.sign(prior.gain))
    laws = [law]
    if law is None:
        likely, *others = _models(prior)
        laws = [process_law(signals, likely, period)]
        worst = inf if laws[0] is None else laws[0].criterion + _ALIKE
        laws += [process_law(signals, other, period, worst) for other in others]
    # The type's model, unless another is better by a margin; that it is the surer one is no reason.
    least = min((law.criterion - _MARGIN for law in laws if law is not None and law.model == prior.model), default=inf)
    known = [law for law in laws if law is not None and law.gain[0] * sign >= 0
             and (law.relative < _SURE and law.criterion < least if law.model != prior.model
                  else min(law.relative, law.faster) < _SURE)]
    if known:
        best = min(known, key=lambda law: law.criterion)
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
        if law.criterion < best.criterion + _ALIKE:
            ends += law.dead_time[1:]
    return replace(best, dead_time=(value, min(ends), max(ends)))


def _unit(model: str) -> str:
    return "%/s/%" if model == "integrator" else "%/%"


def tuned_for(loop: LoopSpec, interval: float) -> ProcessSpec:
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


def loaded(loop: LoopSpec, found: Innovations | None, told: Findings, scans: ClosedLoop | None = None) -> LoopSpec:
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
