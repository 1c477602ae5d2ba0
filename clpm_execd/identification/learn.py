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

from clpm_execd.identification.arx import fit_learned_model
from clpm_execd.identification.closed_loop.controller_hypotheses import NoLaw, PidAtSamples, PidAtScans
from clpm_execd.identification.closed_loop.pid_regression import estimate_pid_law
from clpm_execd.identification.conditioning import condition, excerpt
from clpm_execd.identification.estimates import ComparedHypothesis, Estimate, Findings
from clpm_execd.identification.hypotheses import Fitted, Hypothesis, LoopData, choose
from clpm_execd.identification.loop_data import GAP_SAMPLES, Signals, extract_signals, find_resolution, infer_loop_type
from clpm_execd.identification.operator_habits import estimate_habits
from clpm_execd.identification.oscillation import find_oscillation
from clpm_execd.identification.process.process_hypotheses import OtherModel, PeriodicLoad, TypeModel
from clpm_execd.identification.process.process_law import estimate_process
from clpm_execd.identification.thresholds import LOOP as LIMITS
from clpm_execd.identification.valve.valve_hypotheses import DrivenValve, FollowingValve, StickingValve
from clpm_execd.plant.loop_types import LOOP_TYPES, template
from clpm_execd.plant.specs import LoopSpec, RecordingSpec, Resolution
from clpm_execd.records.gaps import count_long_gaps
from clpm_execd.records.output_range import PERCENT, infer_output_range
from clpm_execd.records.record import Record

HYPOTHESES: tuple[tuple[Hypothesis, ...], ...] = (
    (NoLaw(), PidAtSamples(), PidAtScans()),
    (FollowingValve(), DrivenValve(), StickingValve()),
    (TypeModel(), OtherModel(), PeriodicLoad()),
)
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
    hypotheses : tuple of ComparedHypothesis
        The explanations of OP, the valve and PV that were compared, with the choice.
    """

    loop: LoopSpec
    estimates: Mapping[str, Estimate]
    warnings: tuple[str, ...]
    interval: int
    samples: int
    hypotheses: tuple[ComparedHypothesis, ...] = ()


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
    signals = _read_signals(record, column, span, op_span, findings)
    kind = kind or infer_loop_type(title)
    base = template(kind or "flow", title, signals.span)
    samples = int(signals.complete.sum())
    if samples < _MIN_SAMPLES:
        findings.warnings.append(f"only {samples} samples: the estimates are uncertain")
    loop = _set_levels(base, signals, record, column, findings)
    resolutions = (loop.recording.resolution.pv * 100.0 / (signals.span[1] - signals.span[0]),
                   loop.recording.resolution.op * 100.0 / (signals.op_span[1] - signals.op_span[0]))
    loop = replace(loop, operator=estimate_habits(signals, findings))
    signals, note = excerpt(signals)
    fitted, notes = condition(signals)
    findings.warnings += [note, *notes] if note else notes
    _note_oscillation(fitted, findings)
    data = LoopData(fitted, resolutions, estimate_pid_law(fitted, resolutions))
    if kind is None:
        loop = _choose_type(loop, data, findings)
    chosen = choose(HYPOTHESES, data, Fitted("", loop), findings)
    loop = chosen.loop
    is_controller_identified = findings.estimates["controller.gain"].source == "identified"
    operating_point = (np.array([part[signals.complete].mean() for part in (signals.pv, signals.op, signals.sp)])
                       if samples else np.full(3, 50.0))
    physical_residuals = chosen.residuals if is_controller_identified and fitted is signals else None
    # The stream holds its values between samples, as a record with repeated values does, unless they are too few.
    for streamed in (fitted, signals) if fitted.interval != signals.interval else (signals,):
        loop = fit_learned_model(streamed, operating_point, resolutions, loop, physical_residuals, findings,
                                 chosen.stem if fitted is streamed else None)
        if loop.learned_model is not None:
            break
    if loop.learned_model is None:
        findings.warnings.append("the record is too short or has too many gaps for a learned model: a typical loop at "
                                 "its mean values is used")
    loop = _set_cascade(loop, signals, findings)
    return LearnedLoop(loop, findings.estimates, tuple(findings.warnings), record.interval, samples,
                       tuple(findings.hypotheses))


def _read_signals(record: Record, column: int, span: tuple[float, float] | None,
                     op_span: tuple[float, float] | None, findings: Findings) -> Signals:
    """Return the signals of a loop, and add to the findings what is assumed about ranges and gaps."""
    output = infer_output_range(record.op[:, column], record.op_unit(column))
    signals = extract_signals(record, column, span, output.ends if op_span is None else op_span)
    if span is None:
        low, high = signals.span
        findings.warnings.append(f"the transmitter range is not in the record: {low:g} to {high:g} assumed")
    if op_span is None and output.assumption:
        findings.warnings.append(output.assumption)
    gaps = count_long_gaps(record.times, GAP_SAMPLES * record.interval)
    if gaps:
        findings.warnings.append(f"gaps longer than {GAP_SAMPLES} samples: {gaps}; the {gaps + 1} parts around them "
                                 "are used, and nothing is assumed about the gaps")
    return signals


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


def _choose_type(loop: LoopSpec, data: LoopData, findings: Findings) -> LoopSpec:
    """Return the loop as one of the type whose process explains PV best, or as a flow if a controller is identified.

    The controller's tuning scales the flow's process; without it the type alone says where the search begins.
    """
    kind = None
    if data.law is None or data.law.r_squared < LIMITS.min_r_squared:
        laws = {kind: estimate_process(data.signals, typical.process) for kind, typical in LOOP_TYPES.items()}
        bics = {kind: law.bic for kind, law in laws.items()
                if law is not None and law.gain_log_std < LIMITS.max_log_std}
        kind = min(bics, key=lambda one: bics[one], default=None)
    why = f"{kind} assumed, whose process explains PV best" if kind else "flow assumed"
    findings.warnings.append(f"the name {loop.id} does not show the type of the loop: {why}")
    if kind is None:
        return loop
    typical = LOOP_TYPES[kind]
    return replace(loop, type=kind, process=typical.process, disturbance=typical.disturbance)


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
    op_unit = "%" if signals.op_span == PERCENT else "units of op_range"
    automatic = float(np.mean(signals.automatic[complete]))
    if automatic < 0.5:
        findings.warnings.append(f"the loop was in automatic only {automatic:.0%} of the time")
    repeated = float(np.mean(np.diff(signals.pv[complete]) == 0)) if complete.sum() > 1 else 0.0
    findings.note("recording.repeated", Estimate.measured(repeated, "fraction of PV values"))
    findings.note("sensor.noise", Estimate.from_prior(base.sensor.noise, "% of span"))
    return replace(
        base,
        sp=min(max(findings.note("sp", Estimate.measured(sp, "engineering units"), 7), low), high),
        op=findings.note("op", Estimate.measured(op, "%"), 6), mode="AUT" if automatic >= 0.5 else "MAN",
        recording=RecordingSpec(op_range=signals.op_span, resolution=Resolution(
            pv=findings.note("recording.resolution.pv", Estimate.measured(step_pv, "engineering units"), 12),
            op=findings.note("recording.resolution.op", Estimate.measured(step_op, op_unit), 12))))
