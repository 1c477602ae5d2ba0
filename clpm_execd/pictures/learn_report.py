"""The report of fitted loops: recorded and simulated side by side, as a page and as a table for the terminal.

Each loop's free-running simulation is drawn next to its record, on the same axes, with the estimates, their intervals
and sources, and the warnings about what could not be identified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from math import isnan
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from clpm_execd.evaluation.learned_vs_record import MIN_SAMPLES, Comparison, DiscriminatorAuc, LoopFit
from clpm_execd.evaluation.similarity import Distances
from clpm_execd.evaluation.verdict import Verdict
from clpm_execd.identification.estimates import ComparedHypothesis, Estimate
from clpm_execd.pictures.comparison_figure import draw_comparison
from clpm_execd.pictures.page import (
    Link,
    Page,
    render_figure,
    render_list,
    render_paragraph,
    render_table,
)
from clpm_execd.units import describe_count, describe_duration

if TYPE_CHECKING:
    from rich.console import Group

_NAMES = {
    "sp": "set point", "op": "OP at the set point", "controller.gain": "controller gain Kc",
    "controller.reset": "reset time Ti", "controller.derivative": "derivative time Td",
    "controller.setpoint_weight": "set-point weight b", "controller.explained": "OP moves explained by a PID (R²)",
    "process.gain": "process gain", "process.tau": "time constant", "process.tau2": "second time constant",
    "process.dead_time": "dead time", "sensor.noise": "measurement noise, sigma",
    "disturbance.sigma": "load disturbance, sigma", "disturbance.correlation": "load disturbance, correlation time",
    "recording.resolution.pv": "resolution of PV", "recording.resolution.op": "resolution of OP",
    "recording.repeated": "repeated PV values", "operator.interval": "set-point moves, interval",
    "operator.size": "set-point moves, size", "operator.automatic": "mean time in AUT or CAS",
    "operator.manual": "mean time in MAN", "stiction.S": "stiction S", "stiction.J": "slip jump J",
    "oscillation.period": "oscillation, period", "oscillation.amplitude": "external oscillation, amplitude",
    "oscillation.harmonic": "external oscillation, third harmonic",
}
_DEFAULT_MARK = "*"
_SOURCES = {"identified": "identified", "record": "record", "prior": "default (not identified)"}
_DISTANCES = {
    "w1": "values (W1, standard deviations)", "acf": "autocorrelation to lag 60", "psd": "spectrum (decades)",
    "ccf": "cross-correlation of OP and PV to lag 30",
}
# The words for an AUC up to each limit.
_DISTINGUISHES = ((0.6, "can hardly distinguish"), (0.7, "can sometimes distinguish"), (0.8, "can often distinguish"),
                  (2.0, "can distinguish"))
# The words for a novelty ratio from each limit on.
_REPLAYS = ((0.9, "the simulation does not replay the record"), (0.7, "the simulation replays parts of the record"),
            (0.0, "the simulation replays the record"))


# The page


def build_report_page(names: Sequence[str], fits: Sequence[LoopFit], auc: DiscriminatorAuc,
                      verdicts: Sequence[Verdict], assumptions: Sequence[str]) -> Page:
    """Return the page of fitted loops.

    Parameters
    ----------
    names : sequence of str
        The id of each loop in loops.toml.
    fits : sequence of LoopFit
        The loops, with their comparisons.
    auc : DiscriminatorAuc
        How well a random forest distinguishes them from their records.
    verdicts : sequence of Verdict
        What each loop may be used for.
    assumptions : sequence of str
        What was assumed in reading the records, a sentence each.

    Raises
    ------
    BadInput
        The extra `plots` is not installed.
    """
    page = Page("Fitted loops", _describe_fits(fits))
    anchors = []
    for name, fit, loop_auc, verdict in zip(names, fits, auc.per_loop, verdicts, strict=True):
        figure, height = draw_comparison(fit.comparison)
        anchors.append(page.add(
            name, render_paragraph(f"Verdict: {verdict}."), render_paragraph(_describe_record(fit), "muted"),
            _render_warnings(fit),
            f'<div class="scroll"><div class="broad">{render_figure(figure, height)}</div></div>',
            f'<div class="pair">{_estimate_table(fit.learned.estimates)}'
            f'{_render_similarity(fit.comparison, loop_auc)}</div>', _render_hypotheses(fit.learned.hypotheses)))
    rows = [(Link(name, anchor), Path(fit.source).name, *row, len(fit.learned.warnings))
            for name, anchor, fit, row in zip(names, anchors, fits, _build_rows(fits, auc, verdicts), strict=True)]
    page.add("Overview", *_summarize(fits, auc), render_list(_list_reasons(names, verdicts)), _render_medians(fits),
             render_table(("Loop", "Record", *_list_headings(fits, auc), "Warnings"), rows,
                          f"{_DEFAULT_MARK} default, not identified; the sections of the loops have the warnings"))
    page.sections.insert(0, page.sections.pop())
    if assumptions:
        page.add("Assumptions about the records", render_list(assumptions))
    return page


def _describe_fits(fits: Sequence[LoopFit]) -> str:
    files = len({fit.source for fit in fits})
    return (f"{describe_count(len(fits), 'loop')} fitted to {describe_count(files, 'record')}; each free-running "
            "simulation is shown next to its record")


def _describe_record(fit: LoopFit) -> str:
    learned, loop = fit.learned, fit.learned.loop
    low, high = loop.range
    return (f"{fit.source}: {learned.samples} samples, interval {describe_duration(learned.interval)}; {loop.type}, "
            f"range {low:g} to {high:g}")


def _render_warnings(fit: LoopFit) -> str:
    return f'<div class="bad">{render_list(fit.learned.warnings)}</div>' if fit.learned.warnings else ""


def _estimate_table(estimates: Mapping[str, Estimate]) -> str:
    rows = [(_NAMES.get(key, key), _format_number(one.value) if one.value or "resolution" not in key else "none",
             _format_interval(one), one.unit, _SOURCES[one.source]) for key, one in estimates.items()]
    return render_table(("Parameter", "Value", "90 % interval", "Unit", "Source"), rows,
                        "of a default, the interval is the typical range")


def _render_hypotheses(hypotheses: Sequence[ComparedHypothesis]) -> str:
    rows = [(one.name, "" if isnan(one.log_likelihood) else f"{one.log_likelihood:.1f}", _format_number(one.gain),
             _format_number(one.threshold), "yes" if one.is_chosen else "no") for one in hypotheses]
    return render_table(("Hypothesis", "Log-likelihood", "Gain", "Threshold", "Chosen"), rows,
                        "gain: of the criterion, over the simpler hypothesis; of the two that stream the loop, in "
                        "decades of the distance from the record") if rows else ""


def _format_interval(one: Estimate) -> str:
    return "" if one.source == "record" else f"{_format_number(one.low)} to {_format_number(one.high)}"


def _format_number(value: float) -> str:
    """Return a number with four digits, below ten millions without an exponent: 18330, not 1.833e+04."""
    text = f"{value:.4g}"
    return f"{float(text):.0f}" if "e+" in text and abs(value) < 1e7 else text


def _render_similarity(comparison: Comparison, auc: float) -> str:
    distances, baseline = comparison.distances, comparison.baseline
    if distances is None or baseline is None:
        return render_paragraph("The record is too short or too constant to be compared.", "muted")
    rows: list[tuple[object, ...]] = [(name, f"{getattr(distances, key):.2f}", f"{getattr(baseline, key):.2f}")
                                      for key, name in _DISTANCES.items()]
    rows += [("AUC (0.5 = indistinguishable)", _format_two_decimals(auc), ""),
             ("novelty ratio (1 = as new as unseen real data)", _format_two_decimals(comparison.novelty), "")]
    return render_table(("Metric", "Simulated", "Halves of the record"), rows,
                        "distance from the record, 0 = identical")


def _format_two_decimals(number: float) -> str:
    return "" if isnan(number) else f"{number:.2f}"


def _summarize(fits: Sequence[LoopFit], auc: DiscriminatorAuc) -> list[str]:
    """Return whether the loops can be distinguished from their records, and whether they only replay them."""
    if isnan(auc.overall):
        return [render_paragraph("The records are too short for a comparison: they need at least "
                                 f"{MIN_SAMPLES} samples of a PV that changes.")]
    verb = next(words for limit, words in _DISTINGUISHES if auc.overall <= limit)
    loops = len({fit.learned.loop.id for fit in fits})
    windows = "loops" if loops > 1 else "a time range"
    lines = [f"A random forest {verb} simulated from real windows of {windows} it was not trained on: AUC "
             f"{auc.overall:.2f} (0.5 = indistinguishable); between the halves of the records {auc.baseline:.2f}."]
    ratios = [fit.comparison.novelty for fit in fits if not isnan(fit.comparison.novelty)]
    if ratios:
        ratio = median(ratios)
        words = next(words for limit, words in _REPLAYS if ratio >= limit)
        lines.append(f"Median novelty ratio {ratio:.2f}: simulated windows are {ratio:.2f} times as far from the "
                     f"record as unseen real ones, so {words}.")
    return [render_paragraph(line) for line in lines]


def _render_medians(fits: Sequence[LoopFit]) -> str:
    distances = [fit.comparison.distances for fit in fits if fit.comparison.distances is not None]
    baselines = [fit.comparison.baseline for fit in fits if fit.comparison.baseline is not None]
    if not distances or len(fits) == 1:
        return ""
    simulated, real = Distances.median(distances), Distances.median(baselines)
    rows = [(_DISTANCES[item.name], f"{getattr(simulated, item.name):.2f}", f"{getattr(real, item.name):.2f}")
            for item in fields(Distances)]
    return render_table(("Metric", "Simulated", "Halves of the record"), rows,
                        "median distances from the records, 0 = identical")


# The table of the terminal and of the page


def _list_headings(fits: Sequence[LoopFit], auc: DiscriminatorAuc) -> tuple[str, ...]:
    """Return the headings; there is no AUC of single loops where all records are short."""
    return ("Verdict", "Samples", "SP", "Kc %/%", "Ti s", "K %/%", *(("Finding",) if _has_findings(fits) else ()),
            *(("AUC",) if _has_auc(auc) else ()), "Novelty")


def _has_auc(auc: DiscriminatorAuc) -> bool:
    return not all(map(isnan, auc.per_loop))


def _has_findings(fits: Sequence[LoopFit]) -> bool:
    return any(_describe_finding(fit) for fit in fits)


def _describe_finding(fit: LoopFit) -> str:
    """Return the fault that the record of a loop shows, in a word or two."""
    estimates = fit.learned.estimates
    if "stiction.S" in estimates:
        s, j = estimates["stiction.S"].value, estimates["stiction.J"].value
        return f"stiction S {s:.2g}, J {j:.2g} %" if j > 0 else f"deadband {s:.2g} %"
    if "oscillation.period" in estimates:
        words = "external oscillation" if "oscillation.amplitude" in estimates else "oscillates"
        return f"{words}, {estimates['oscillation.period'].value:.3g} s"
    return ""


def _list_reasons(names: Sequence[str], verdicts: Sequence[Verdict]) -> list[str]:
    """Return a sentence for each loop that is not good."""
    return [f"{name}: {verdict}" for name, verdict in zip(names, verdicts, strict=True) if verdict.reasons]


def _build_rows(fits: Sequence[LoopFit], auc: DiscriminatorAuc,
                verdicts: Sequence[Verdict]) -> list[tuple[object, ...]]:
    has_findings, has_auc = _has_findings(fits), _has_auc(auc)
    return [(verdict.level, *_build_row(fit, (_describe_finding(fit),) if has_findings else (),
                                        (_format_two_decimals(loop_auc),) if has_auc else ()))
            for fit, loop_auc, verdict in zip(fits, auc.per_loop, verdicts, strict=True)]


def _build_row(fit: LoopFit, finding: tuple[str, ...], auc: tuple[str, ...]) -> tuple[object, ...]:
    estimates = fit.learned.estimates

    def number(key: str) -> str:
        one = estimates.get(key)
        return "" if one is None else f"{one.value:.3g}{_DEFAULT_MARK if one.source == 'prior' else ''}"

    return (fit.learned.samples, f"{fit.learned.loop.sp:.5g}", number("controller.gain"), number("controller.reset"),
            number("process.gain"), *finding, *auc, _format_two_decimals(fit.comparison.novelty))


def build_report_table(names: Sequence[str], fits: Sequence[LoopFit], auc: DiscriminatorAuc,
                       verdicts: Sequence[Verdict]) -> Group:
    """Return the table of fitted loops for the terminal, a row each; parameters are those of `build_report_page`."""
    from rich import box
    from rich.console import Group
    from rich.table import Table

    overview = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, collapse_padding=True, show_edge=False)
    overview.add_column("Loop", overflow="fold", style="cyan", min_width=12)
    for heading in _list_headings(fits, auc):
        is_text = heading in ("Finding", "Verdict")
        overview.add_column(heading, justify="left" if is_text else "right", no_wrap=not is_text,
                            min_width=13 if heading == "Finding" else 10 if is_text else None)
    rows = _build_rows(fits, auc, verdicts)
    for name, row in zip(names, rows, strict=True):
        overview.add_row(name, *map(str, row))
    notes = _list_reasons(names, verdicts)
    if any(_DEFAULT_MARK in str(cell) for row in rows for cell in row):
        notes.append(f"{_DEFAULT_MARK} default, not identified from the record")
    if not isnan(auc.overall):
        notes.append(f"AUC of all loops {auc.overall:.2f} (0.5 = indistinguishable; record halves {auc.baseline:.2f})")
    return Group(overview, *notes)
