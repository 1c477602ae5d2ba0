"""Fits a loop to its record: estimates with 90 % intervals, warnings, and a loop that can be simulated.

Every number is an Estimate with its source: identified from the signals, read from the record, or a default where the
record does not show it, for which there is a warning. Controllers and processes are identified by direct
prediction-error methods with a noise model, which are consistent on closed-loop data (Ljung, 1999, section 13.4;
Forssell and Ljung, 1999).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from clpm_execd.identification.arx import fit_learned_model, has_continuous_sp
from clpm_execd.identification.closed_loop.estimator import ClosedLoop, estimate_closed_loop
from clpm_execd.identification.closed_loop.pid_regression import SCAN, PidLaw, estimate_pid_law
from clpm_execd.identification.conditioning import condition, excerpt
from clpm_execd.identification.disturbance.oscillation import find_oscillation
from clpm_execd.identification.estimates import Estimate, Findings, Hypothesis, rounded
from clpm_execd.identification.loop_data import GAP_SAMPLES, Signals, extract_signals, find_resolution, infer_loop_type
from clpm_execd.identification.operator_habits import estimate_habits
from clpm_execd.identification.process.process_hypotheses import (
    identify_disturbance,
    identify_process,
    process_implied_by_tuning,
)
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

_MIN_SAMPLES = 300  # A warning is given for fewer: at 1 s they are five minutes, a few resets of a flow loop.


@dataclass(frozen=True, slots=True)
class LearnedLoop:
    """A loop that was fitted to a record.

    Parameters
    ----------
    loop : LoopSpec
        The loop as it can be simulated, with numbers rounded as they are written to loops.toml. It has no learned model
        where the record is too short or has too many gaps.
    estimates : mapping of str to Estimate
        The estimates by their keys in loops.toml, such as `controller.gain`, or by another name where there is no such
        key (`controller.explained`, `stiction.S`, `oscillation.period`).
    warnings : tuple of str
        What could not be identified and what was assumed instead, one sentence each.
    interval : int
        The sampling interval, ns.
    samples : int
        The number of samples with PV, OP and SP.
    hypotheses : tuple of Hypothesis
        The explanations of PV that were compared, with the choice.
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
        The loop type, such as "flow"; by default it is inferred from the letters of the loop's name.
    loop_id : str, optional
        The id of the fitted loop; by default the record's.

    References
    ----------
    Ljung, L. (1999). System Identification: Theory for the User. 2nd ed.
    Forssell, U. and Ljung, L. (1999). Closed-loop identification revisited. Automatica 35(7).
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):  # the matrices are small: threads would only wait for each other
        return _learn(record, column, span, op_span, kind, loop_id)


def _learn(record: Record, column: int, span: tuple[float, float] | None, op_span: tuple[float, float] | None,
           kind: str | None, loop_id: str | None) -> LearnedLoop:
    findings = Findings()
    title = record.loops[column] if loop_id is None else loop_id
    output = infer_output_range(record.op[:, column], record.op_unit(column))
    signals = extract_signals(record, column, span, output.ends if op_span is None else op_span)
    complete = signals.complete
    if span is None:
        low, high = signals.span
        findings.warnings.append(f"the transmitter range is not in the record: {low:g} to {high:g} assumed")
    if op_span is None and output.assumption:
        findings.warnings.append(output.assumption)
    gaps = count_long_gaps(record.times, GAP_SAMPLES * record.interval)
    if gaps:
        findings.warnings.append(f"gaps longer than {GAP_SAMPLES} samples: {gaps}; the {gaps + 1} parts around them "
                                 "are used, and nothing is assumed about the gaps")
    kind = _choose_type(kind or infer_loop_type(title), title, findings)
    base = template(kind, title, signals.span)
    samples = int(complete.sum())
    if samples < _MIN_SAMPLES:
        findings.warnings.append(f"only {samples} samples: the estimates are uncertain")
    loop = _set_levels(base, signals, record, column, findings)
    resolutions = (loop.recording.resolution.pv * 100.0 / (signals.span[1] - signals.span[0]),
                   loop.recording.resolution.op * 100.0 / (signals.op_span[1] - signals.op_span[0]))
    loop = replace(loop, operator=estimate_habits(signals, findings))
    signals, note = excerpt(signals)
    fitted, notes = condition(signals)
    findings.warnings += [note, *notes] if note else notes
    complete = signals.complete
    _note_oscillation(fitted, findings)
    law = estimate_pid_law(fitted, resolutions)
    valve = _identify_stiction(loop, fitted, law, findings)
    identified = _identify_loop(loop, fitted, resolutions, law, valve)
    findings.take(identified.findings)
    loop, residuals = identify_disturbance(identified.loop, identified.residuals, findings,
                                           identified.joint), identified.residuals
    is_controller_identified = findings.estimates["controller.gain"].source == "identified"
    operating_point = tuple(float(np.mean(part[complete])) if samples else 50.0
                            for part in (signals.pv, signals.op, signals.sp))
    controller = loop.controller
    settings = np.array([controller.gain, controller.reset, controller.derivative, loop.process.gain,
                         sum(loop.process.tau), loop.process.dead_time], dtype=np.float64)
    # The stream holds its values between samples, as a record with repeated values does.
    streamed = fitted if fitted.interval != signals.interval else signals
    physical_residuals = residuals if is_controller_identified and fitted is signals else None
    model = fit_learned_model(streamed, (operating_point[0], operating_point[1], operating_point[2]), resolutions,
                              settings, loop, physical_residuals, _list_faults(findings),
                              valve.stem if valve is not None and fitted is streamed else None)
    if model is None:
        findings.warnings.append("the record is too short or has too many gaps for a learned model: a typical loop at "
                                 "its mean values is used")
    if model is None or model.innovation.size or valve is not None:  # The plain model includes the faults' effects.
        loop = replace(loop, faults=_list_faults(findings))
    loop = _set_cascade(replace(loop, learned_model=model), signals, findings)
    return LearnedLoop(loop, findings.estimates, tuple(findings.warnings), record.interval, samples,
                       tuple(findings.hypotheses))


def _set_cascade(loop: LoopSpec, signals: Signals, findings: Findings) -> LoopSpec:
    """Return the loop in CAS where its record mostly is; a model of the recorded SP then replaces its master."""
    cascaded = signals.cascaded[signals.complete & signals.automatic]
    if loop.mode != "AUT" or not len(cascaded) or float(np.mean(cascaded)) < 0.5:
        return loop
    if loop.learned_model is None or not loop.learned_model.setpoint.size:
        findings.warnings.append("the record is in CAS, but its SP could not be modelled: AUT assumed")
        return loop
    findings.warnings.append("the record is in CAS: a model of the recorded SP takes the place of its master")
    return replace(loop, mode="CAS")


def _note_oscillation(signals: Signals, findings: Findings) -> None:
    period = find_oscillation(signals)
    if period is not None:
        findings.note("oscillation.period", Estimate.from_interval(period, "s"))
        findings.warnings.append(f"the loop oscillates with a period of about {period[0]:.3g} s")


@dataclass(frozen=True, slots=True)
class _IdentifiedLoop:
    """The loop with identified controller and process, the residuals of PV, and the findings.

    joint: the estimates at the controller's scans, where controller and process were identified together.
    """

    loop: LoopSpec
    residuals: Innovations | None
    joint: ClosedLoop | None
    findings: Findings


def _identify_loop(loop: LoopSpec, signals: Signals, resolutions: tuple[float, float], law: PidLaw | None,
                   valve: StickyValve | None = None) -> _IdentifiedLoop:
    """Return the loop with identified controller and process.

    valve: the sticking valve whose stem drives the process; without it the valve follows OP.
    """
    findings = Findings()
    joint = _identify_at_scans(loop, signals, resolutions, law)
    if joint is None and law is not None and law.is_hidden:
        law = None
    loop = _identify_controller(loop, signals, law if joint is None else joint.law, findings)
    valve_signals = signals
    if valve is not None:
        valve_signals, joint = replace(signals, op=valve.stem), None
    loop, residuals = identify_process(loop, valve_signals, findings, None if joint is None else joint.process,
                                       cycles=valve is not None)
    return _IdentifiedLoop(loop, residuals, joint, findings)


def _identify_stiction(loop: LoopSpec, signals: Signals, law: PidLaw | None, findings: Findings) -> StickyValve | None:
    controlled = _identify_controller(loop, signals, law, Findings())
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


def _list_faults(findings: Findings) -> tuple[FaultSpec, ...]:
    """Return the faults that the estimates show."""
    values = {name: rounded(estimate.value) for name, estimate in findings.estimates.items()}
    faults = []
    if values.get("stiction.J", 0.0) > 0:
        faults.append(FaultSpec(kind="stiction", parameters={
            name: min(values[f"stiction.{name}"], 100.0) for name in ("S", "J")}))
    elif "stiction.S" in values:
        faults.append(FaultSpec(kind="deadband", parameters={"width": min(values["stiction.S"], 100.0)}))
    if "oscillation.amplitude" in values:
        faults.append(FaultSpec(kind="external-oscillation", parameters={
            "amplitude": min(values["oscillation.amplitude"], 50.0), "period": values["oscillation.period"],
            "harmonic": min(values["oscillation.harmonic"], 1.0)}))
    return tuple(faults)


def _choose_type(kind: str | None, title: str, findings: Findings) -> str:
    if kind is None:
        findings.warnings.append(f"the name {title} does not show the type of the loop: flow assumed")
    return kind or "flow"


def _set_levels(base: LoopSpec, signals: Signals, record: Record, column: int, findings: Findings) -> LoopSpec:
    """Return the loop with the mean levels, the mode and the resolution of its record."""
    complete = signals.complete
    low, high = signals.span
    if not complete.any():
        findings.warnings.append("no sample has both PV and OP")
        return base
    sp = float(np.mean(signals.sp[complete])) * (high - low) / 100.0 + low
    op = float(np.clip(np.mean(signals.op[complete]), 0.0, 100.0))
    step_pv, step_op = find_resolution(record.pv[:, column]), find_resolution(record.op[:, column])
    automatic = float(np.mean(signals.automatic[complete]))
    if automatic < 0.5:
        findings.warnings.append(f"the loop was in automatic only {automatic:.0%} of the time")
    repeated = float(np.mean(np.diff(signals.pv[complete]) == 0)) if complete.sum() > 1 else 0.0
    findings.note("recording.repeated", Estimate.measured(repeated, "fraction of PV values"))
    noise = findings.note("sensor.noise",
                          Estimate.from_prior(estimate_white_noise(signals.pv[complete]), "% of span", 1.5))
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
    """Return the standard deviation of white noise, % of span: the level of the spectrum at the highest frequencies."""
    if len(pv) < 16:
        return 0.0
    # Third differences remove a smooth signal and have twenty times the variance of white noise.
    return float(np.median(np.abs(np.diff(pv, 3))) / 0.6745 / np.sqrt(20.0))


def _identify_at_scans(loop: LoopSpec, signals: Signals, resolutions: tuple[float, float], law: PidLaw | None
                       ) -> ClosedLoop | None:
    """Return controller and process identified together, where the controller scans faster than the record samples."""
    if law is None and signals.interval <= SCAN:
        return None
    if law is not None and not law.is_hidden and law.r_squared < LIMITS.min_r_squared:
        return None
    if law is None or law.reset[0] <= 0:  # The slow record does not show it: the search starts from a tuning rule.
        gain, reset = apply_tuning_rule(loop, min(signals.interval, 1.0))
        law = PidLaw(gain=(gain,) * 3, reset=(reset,) * 3, derivative=(0.0,) * 3, weight=(1.0,) * 3, filter=10.0,
                     r_squared=0.0, is_exact=False, is_hidden=True)
    controller = ControllerSpec(gain=abs(law.gain[0]), reset=law.reset[0], derivative=0.0)
    process = process_implied_by_tuning(replace(loop, controller=controller), signals.interval)
    return estimate_closed_loop(signals, law, replace(process, gain=abs(process.gain)), resolutions[0])


def _identify_controller(loop: LoopSpec, signals: Signals, law: PidLaw | None, findings: Findings) -> LoopSpec:
    """Return the loop with the identified controller, or with one that is tuned by a rule."""
    is_identified = law is not None and law.r_squared >= LIMITS.min_r_squared
    if law is not None:
        findings.note("controller.explained", Estimate.measured(law.r_squared, "fraction of variance"))
    if law is None or not is_identified:
        r_squared = f" (R² = {law.r_squared:.2f})" if law is not None else ""
        findings.warnings.append(f"OP is not explained by a PID law{r_squared}: tuning set by rule")
        return _tune_by_rule(loop, signals.interval, findings)
    action = "reverse" if law.gain[0] > 0 else "direct"
    if law.gain[0] < 0:
        loop = replace(loop, process=replace(loop.process, gain=-loop.process.gain))
    return replace(loop, controller=_make_controller(law, action, loop, signals, findings))


def _make_controller(law: PidLaw, action: str, loop: LoopSpec, signals: Signals, findings: Findings) -> ControllerSpec:
    low, high = sorted(abs(end) for end in law.gain[1:])
    gain = findings.note("controller.gain", Estimate.from_interval((abs(law.gain[0]), low, high), "%/%"))
    reset = 0.0
    if law.reset[0] > 0:
        reset = findings.note("controller.reset", Estimate.from_interval(law.reset, "s"))
    else:
        findings.warnings.append("OP shows no integral action")
    derivative = findings.note("controller.derivative", Estimate.from_interval(law.derivative, "s"))
    weight = 1.0
    if (np.ptp(signals.sp[signals.complete]) > 0 and not has_continuous_sp(signals)
            and law.weight[2] - law.weight[1] < 0.5):
        weight = min(max(findings.note("controller.setpoint_weight", Estimate.from_interval(law.weight, "")), 0.0), 1.0)
        weight = next((plain for plain in (1.0, 0.0) if law.weight[1] <= plain <= law.weight[2]), weight)
    return ControllerSpec(action=action, gain=min(gain, 1e4), reset=min(reset, 1e7), derivative=min(derivative, 1e6),
                          setpoint_weight=weight, derivative_filter=rounded(law.filter))


def _tune_by_rule(loop: LoopSpec, interval: float, findings: Findings) -> LoopSpec:
    rule = tune_controller(loop, min(interval, 1.0))
    gain = findings.note("controller.gain", Estimate.from_prior(rule.gain or 1.0, "%/%", 5.0))
    reset = findings.note("controller.reset", Estimate.from_prior(rule.reset or 0.0, "s", 5.0))
    return replace(loop, controller=ControllerSpec(gain=gain, reset=reset, derivative=0.0))
