"""A loop fitted to its record: estimates with their intervals, warnings, and a loop that can be simulated.

Every number is an Estimate that says where it comes from: identified from the signals, read from the record, or a
default where the record does not show it, which a warning says in words. Controllers and processes are identified by
direct prediction-error methods with a noise model, which are consistent on closed-loop data (Ljung, 1999, section 13.4;
Forssell and Ljung, 1999). Intervals are of 90 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from clpm_execd.identification.arx import fit_learned_model, has_continuous_sp
from clpm_execd.identification.closed_loop.estimator import ClosedLoop, estimate_closed_loop
from clpm_execd.identification.conditioning import condition, excerpt
from clpm_execd.identification.disturbance.oscillation import find_oscillation
from clpm_execd.identification.estimates import Estimate, Findings, Hypothesis, rounded
from clpm_execd.identification.loop_data import GAP_SAMPLES, Signals, extract_signals, find_resolution, infer_loop_type
from clpm_execd.identification.model_selection import identify_disturbance, identify_process, process_implied_by_tuning
from clpm_execd.identification.operator_habits import estimate_habits
from clpm_execd.identification.pid_regression import SCAN, PidLaw, estimate_pid_law
from clpm_execd.identification.process.residuals import Innovations
from clpm_execd.identification.thresholds import LOOP as LIMITS
from clpm_execd.identification.valve.stiction import find_stiction
from clpm_execd.identification.valve.stiction_size import StickyValve, size_stiction
from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.specs import (
    ControllerSpec,
    FaultSpec,
    LoopSpec,
    RecordingSpec,
    Resolution,
    SensorSpec,
)
from clpm_execd.plant.tuning import apply_tuning_rule, tune_controller
from clpm_execd.records.gaps import count_long_gaps
from clpm_execd.records.output_range import PERCENT, infer_output_range
from clpm_execd.records.record import Record

_SHORT = 300  # samples: fewer tell little of a loop


@dataclass(frozen=True, slots=True)
class LearnedLoop:
    """A loop that was fitted to a record.

    Parameters
    ----------
    loop : LoopSpec
        The loop as it can be simulated, with numbers rounded as they are written to loops.toml. It has no learned model
        where the record is too short or has too many gaps.
    estimates : mapping of str to Estimate
        By their keys in loops.toml, such as `controller.gain`, or by a name of their own where they are no key there
        (`controller.explained`, `stiction.S`, `oscillation.period`).
    warnings : tuple of str
        What could not be identified, and what was assumed instead, a sentence each.
    interval : int
        Between samples, ns.
    samples : int
        How many samples have PV, OP and SP.
    hypotheses : tuple of Hypothesis
        The explanations of PV that were compared, and which were chosen.
    """

    loop: LoopSpec
    estimates: Mapping[str, Estimate]
    warnings: tuple[str, ...]
    interval: int
    samples: int
    hypotheses: tuple[Hypothesis, ...] = ()


def learn(record: Record, column: int = 0, *, span: tuple[float, float] | None = None,
          op_span: tuple[float, float] | None = None, kind: str | None = None, loop_id: str | None = None
          ) -> LearnedLoop:
    """Fit a loop to a column of a record, and return it.

    Parameters
    ----------
    record : Record
        The record.
    column : int
        The index of the loop in it.
    span : tuple of float, optional
        The transmitter range, low and high in engineering units; by default round numbers that fit the values.
    op_span : tuple of float, optional
        The recorded values of OP at 0 and 100 %; by default `records.output_range.infer_output_range` of the record.
    kind : str, optional
        The loop type, such as "flow"; by default the one that the letters of the loop's name say.
    loop_id : str, optional
        The id of the fitted loop; by default the record's.

    References
    ----------
    Ljung, L. (1999). System Identification: Theory for the User. 2nd ed.
    Forssell, U. and Ljung, L. (1999). Closed-loop identification revisited. Automatica 35(7).
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):  # the matrices are small: threads would only wait for each other
        return _learned(record, column, span, op_span, kind, loop_id)


def _learned(record: Record, column: int, span: tuple[float, float] | None, op_span: tuple[float, float] | None,
             kind: str | None, loop_id: str | None) -> LearnedLoop:
    findings = Findings()
    title = record.loops[column] if loop_id is None else loop_id
    output = infer_output_range(record.op[:, column], record.op_unit(column))
    signals = extract_signals(record, column, span, output.ends if op_span is None else op_span)
    whole = signals.whole
    if span is None:
        low, high = signals.span
        findings.warnings.append(f"the transmitter range is not in the record: {low:g} to {high:g} assumed")
    if op_span is None and output.assumption:
        findings.warnings.append(output.assumption)
    gaps = count_long_gaps(record.times, GAP_SAMPLES * record.interval)
    if gaps:
        findings.warnings.append(f"gaps longer than {GAP_SAMPLES} samples: {gaps}; the {gaps + 1} parts around them "
                                 "are used, and nothing is assumed about the gaps")
    kind = _kind(kind or infer_loop_type(title), title, findings)
    base = template(kind, title, signals.span)
    samples = int(whole.sum())
    if samples < _SHORT:
        findings.warnings.append(f"only {samples} samples: the estimates are uncertain")
    loop = _levels(base, signals, record, column, findings)
    steps = (loop.recording.resolution.pv * 100.0 / (signals.span[1] - signals.span[0]),
             loop.recording.resolution.op * 100.0 / (signals.op_span[1] - signals.op_span[0]))
    loop = replace(loop, operator=estimate_habits(signals, findings))
    signals, note = excerpt(signals)
    fitted, notes = condition(signals)
    findings.warnings += [note, *notes] if note else notes
    whole = signals.whole
    _oscillates(fitted, findings)
    law = estimate_pid_law(fitted, steps)
    stuck = _sticks(loop, fitted, law, findings)
    known = _explained(loop, fitted, steps, law, stuck)
    findings.take(known.findings)
    loop, found = identify_disturbance(known.loop, known.left, findings, known.scans), known.left
    tuned_as_found = findings.estimates["controller.gain"].source == "identified"
    rest = tuple(float(np.mean(part[whole])) if samples else 50.0 for part in (signals.pv, signals.op, signals.sp))
    controller = loop.controller
    settings = np.array([controller.gain, controller.reset, controller.derivative, loop.process.gain,
                         sum(loop.process.tau), loop.process.dead_time], dtype=np.float64)
    # Between its samples a stream holds its values, as such a record does.
    streamed = fitted if fitted.interval != signals.interval else signals
    own = found if tuned_as_found and fitted is signals else None
    laws = fit_learned_model(streamed, (rest[0], rest[1], rest[2]), steps, settings, loop, own, _faults(findings),
                             stuck.stem if stuck is not None and fitted is streamed else None)
    if laws is None:
        findings.warnings.append("the record is too short or has too many gaps for a learned model: a typical loop at "
                                 "its mean values is used")
    if laws is None or laws.innovation.size or stuck is not None:  # else the equations have them in themselves
        loop = replace(loop, faults=_faults(findings))
    loop = _in_cascade(replace(loop, learned_model=laws), signals, findings)
    return LearnedLoop(loop, findings.estimates, tuple(findings.warnings), record.interval, samples,
                       tuple(findings.hypotheses))


def _in_cascade(loop: LoopSpec, signals: Signals, findings: Findings) -> LoopSpec:
    """The loop in CAS where its record mostly is; its SP then has the course of its master's OP as learned."""
    cascaded = signals.cascaded[signals.whole & signals.automatic]
    if loop.mode != "AUT" or not len(cascaded) or float(np.mean(cascaded)) < 0.5:
        return loop
    if loop.learned_model is None or not loop.learned_model.setpoint.size:
        findings.warnings.append("the record is in CAS, but its SP could not be modelled: AUT assumed")
        return loop
    findings.warnings.append("the record is in CAS: a model of the recorded SP takes the place of its master")
    return replace(loop, mode="CAS")


def _oscillates(signals: Signals, findings: Findings) -> None:
    period = find_oscillation(signals)
    if period is not None:
        findings.note("oscillation.period", Estimate.from_interval(period, "s"))
        findings.warnings.append(f"the loop oscillates with a period of about {period[0]:.3g} s")


@dataclass(frozen=True, slots=True)
class _Explained:
    """The loop with the controller and the process of its record, what they leave of PV, and the findings.

    scans: the loop at its scans, where it was found so.
    """

    loop: LoopSpec
    left: Innovations | None
    scans: ClosedLoop | None
    findings: Findings


def _explained(loop: LoopSpec, signals: Signals, steps: tuple[float, float], law: PidLaw | None,
               stuck: StickyValve | None = None) -> _Explained:
    """stuck: of a valve that sticks; else it follows OP. The controller is the same behind either."""
    findings = Findings()
    joint = _at_scans(loop, signals, steps, law)
    if joint is None and law is not None and law.hidden:
        law = None
    loop = _controlled(loop, signals, law if joint is None else joint.law, findings)
    moved = signals
    if stuck is not None:
        moved, joint = replace(signals, op=stuck.stem), None
    loop, left = identify_process(loop, moved, findings, None if joint is None else joint.process,
                                  cycles=stuck is not None)
    return _Explained(loop, left, joint, findings)


def _sticks(loop: LoopSpec, signals: Signals, law: PidLaw | None, findings: Findings) -> StickyValve | None:
    controlled = _controlled(loop, signals, law, Findings())
    is_known = controlled.controller.action is not None
    search = find_stiction(signals, float(np.sign(controlled.process.gain)) if is_known else 0.0)
    findings.hypotheses += search.hypotheses()
    if search.best is None:
        return None
    valve = size_stiction(signals, process_implied_by_tuning(controlled, signals.interval), search.best.stem,
                          max(search.gain, search.best.gain))
    if valve is not None:
        findings.note("stiction.S", Estimate.from_interval(valve.s, "% of travel"))
        findings.note("stiction.J", Estimate.from_interval(valve.j, "% of travel"))
        findings.warnings.append(
            f"valve stiction: S about {valve.s[0]:.3g} %, J about {valve.j[0]:.3g} % of travel" if valve.j[0] > 0 else
            f"valve deadband, or stiction without a visible slip jump: about {valve.s[0]:.3g} % of travel")
    return valve


def _faults(findings: Findings) -> tuple[FaultSpec, ...]:
    """Those that the record shows."""
    known = {name: rounded(estimate.value) for name, estimate in findings.estimates.items()}
    faults = []
    if known.get("stiction.J", 0.0) > 0:
        faults.append(FaultSpec(kind="stiction", parameters={
            name: min(known[f"stiction.{name}"], 100.0) for name in ("S", "J")}))
    elif "stiction.S" in known:
        faults.append(FaultSpec(kind="deadband", parameters={"width": min(known["stiction.S"], 100.0)}))
    if "oscillation.amplitude" in known:
        faults.append(FaultSpec(kind="external-oscillation", parameters={
            "amplitude": min(known["oscillation.amplitude"], 50.0), "period": known["oscillation.period"],
            "harmonic": min(known["oscillation.harmonic"], 1.0)}))
    return tuple(faults)


def _kind(kind: str | None, title: str, findings: Findings) -> str:
    if kind is None:
        findings.warnings.append(f"the name {title} does not show the type of the loop: flow assumed")
    return kind or "flow"


def _levels(base: LoopSpec, signals: Signals, record: Record, column: int, findings: Findings) -> LoopSpec:
    """The loop where it rests, as it was recorded."""
    whole = signals.whole
    low, high = signals.span
    if not whole.any():
        findings.warnings.append("no sample has both PV and OP")
        return base
    sp = float(np.mean(signals.sp[whole])) * (high - low) / 100.0 + low
    op = float(np.clip(np.mean(signals.op[whole]), 0.0, 100.0))
    step_pv, step_op = find_resolution(record.pv[:, column]), find_resolution(record.op[:, column])
    automatic = float(np.mean(signals.automatic[whole]))
    if automatic < 0.5:
        findings.warnings.append(f"the loop was in automatic only {automatic:.0%} of the time")
    repeated = float(np.mean(np.diff(signals.pv[whole]) == 0)) if whole.sum() > 1 else 0.0
    findings.note("recording.repeated", Estimate.measured(repeated, "fraction of PV values"))
    noise = findings.note("sensor.noise",
                          Estimate.from_prior(estimate_white_noise(signals.pv[whole]), "% of span", 1.5))
    return replace(
        base,
        sp=min(max(findings.note("sp", Estimate.measured(sp, "engineering units"), 7), low), high),
        op=findings.note("op", Estimate.measured(op, "%"), 6), mode="AUT" if automatic >= 0.5 else "MAN",
        sensor=SensorSpec(noise=min(noise, 50.0)),
        recording=RecordingSpec(op_range=signals.op_span, resolution=Resolution(
            pv=findings.note("recording.resolution.pv", Estimate.measured(step_pv, "engineering units"), 12),
            op=findings.note("recording.resolution.op", Estimate.measured(step_op, _op_unit(signals.op_span)), 12))))


def _op_unit(ends: tuple[float, float]) -> str:
    return "%" if ends == PERCENT else "units of op_range"


def estimate_white_noise(pv: Floats) -> float:
    """Sigma of the noise that is white: the floor of the spectrum at its upper end. What moves as fast counts too."""
    if len(pv) < 16:
        return 0.0
    # Third differences leave of a smooth signal nothing, of white noise twenty times its variance.
    return float(np.median(np.abs(np.diff(pv, 3))) / 0.6745 / np.sqrt(20.0))


def _at_scans(loop: LoopSpec, signals: Signals, steps: tuple[float, float], law: PidLaw | None
              ) -> ClosedLoop | None:
    """Controller and process at the controller's scans, where the record has not all of them."""
    if law is None and signals.interval <= SCAN:
        return None
    if law is not None and not law.hidden and law.explained < LIMITS.explained:
        return None
    if law is None or law.reset[0] <= 0:  # not seen in a record as slow as that: looked for from what a rule would give
        gain, reset = apply_tuning_rule(loop, min(signals.interval, 1.0))
        law = PidLaw(gain=(gain,) * 3, reset=(reset,) * 3, derivative=(0.0,) * 3, weight=(1.0,) * 3, filter=10.0,
                     explained=0.0, exact=False, hidden=True)
    tuned_so = ControllerSpec(gain=abs(law.gain[0]), reset=law.reset[0], derivative=0.0)
    process = process_implied_by_tuning(replace(loop, controller=tuned_so), signals.interval)
    return estimate_closed_loop(signals, law, replace(process, gain=abs(process.gain)), steps[0])


def _controlled(loop: LoopSpec, signals: Signals, law: PidLaw | None, findings: Findings) -> LoopSpec:
    """The loop with the controller that its record shows, else with one tuned by rule."""
    known = law is not None and law.explained >= LIMITS.explained
    if law is not None:
        findings.note("controller.explained", Estimate.measured(law.explained, "fraction of variance"))
    if law is None or not known:
        r_squared = f" (R² = {law.explained:.2f})" if law is not None else ""
        findings.warnings.append(f"OP is not explained by a PID law{r_squared}: tuning set by rule")
        return _by_rule(loop, signals.interval, findings)
    action = "reverse" if law.gain[0] > 0 else "direct"
    if law.gain[0] < 0:
        loop = replace(loop, process=replace(loop.process, gain=-loop.process.gain))
    return replace(loop, controller=_pid(law, action, loop, signals, findings))


def _pid(law: PidLaw, action: str, loop: LoopSpec, signals: Signals, findings: Findings) -> ControllerSpec:
    low, high = sorted(abs(end) for end in law.gain[1:])
    gain = findings.note("controller.gain", Estimate.from_interval((abs(law.gain[0]), low, high), "%/%"))
    reset = 0.0
    if law.reset[0] > 0:
        reset = findings.note("controller.reset", Estimate.from_interval(law.reset, "s"))
    else:
        findings.warnings.append("OP shows no integral action")
    derivative = findings.note("controller.derivative", Estimate.from_interval(law.derivative, "s"))
    weight = 1.0
    if np.ptp(signals.sp[signals.whole]) > 0 and not has_continuous_sp(signals) and law.weight[2] - law.weight[1] < 0.5:
        weight = min(max(findings.note("controller.setpoint_weight", Estimate.from_interval(law.weight, "")), 0.0), 1.0)
        weight = next((plain for plain in (1.0, 0.0) if law.weight[1] <= plain <= law.weight[2]), weight)
    return ControllerSpec(action=action, gain=min(gain, 1e4), reset=min(reset, 1e7), derivative=min(derivative, 1e6),
                          setpoint_weight=weight, derivative_filter=rounded(law.filter))


def _by_rule(loop: LoopSpec, interval: float, findings: Findings) -> LoopSpec:
    rule = tune_controller(loop, min(interval, 1.0))
    gain = findings.note("controller.gain", Estimate.from_prior(rule.gain or 1.0, "%/%", 5.0))
    reset = findings.note("controller.reset", Estimate.from_prior(rule.reset or 0.0, "s", 5.0))
    return replace(loop, controller=ControllerSpec(gain=gain, reset=reset, derivative=0.0))
