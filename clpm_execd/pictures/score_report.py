"""The score of a detector: tables for the terminal, an HTML page, and JSON and CSV for other programs.

Keys of JSON and columns of CSV are those of 0.1.0: programs read them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from clpm_execd.pictures.page import Page, render_figure, render_paragraph, render_table
from clpm_execd.pictures.style import LIGHT
from clpm_execd.score.precision_recall import Point, compute_average_precision
from clpm_execd.score.result import Mistake, Score, Tally
from clpm_execd.score.rules import HEALTHY, NO_ALARM
from clpm_execd.units import SECOND, describe_count, describe_duration, format_time
from clpm_execd.version import __version__

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
    from rich.console import Group

EVENT_COLUMNS = ("fault", "events", "detected", "alarms", "correct", "precision", "recall", "F1", "median delay",
                 "longest delay")
TIME_COLUMNS = ("fault", "TP time", "FP time", "FN time", "precision", "recall", "F1")
CONTROL_COLUMNS = ("control", "occurrences", "with alarm")
MISTAKE_COLUMNS = ("loop", "start", "end", "actual", "predicted")
_MATCHES = {"kind": "that fault", "group": "a fault of that group", "any": "any fault"}
_CONFUSION = "confusion matrix"
_TOOLS_AND_LEGEND_PX = 64  # plotly's buttons at the top right, and the legend below them
_MAX_MISTAKES = 20  # of each kind in the terminal; the HTML report and JSON have all


def format_score(value: float | None) -> str:
    """Return a score with three decimals, or a dash if it is undefined."""
    return "-" if value is None else f"{value:.3f}"


def _format_duration(ns: float | None) -> str:
    return "-" if ns is None else describe_duration(ns)


def make_event_rows(score: Score) -> list[tuple[str | int, ...]]:
    """Return the rows under EVENT_COLUMNS, one per fault, and all faults together in the last."""
    return [(tally.name, tally.events, tally.detected_events, tally.judged_alarms, tally.correct_alarms,
             format_score(tally.precision), format_score(tally.recall), format_score(tally.f1),
             _format_duration(tally.median_delay), _format_duration(tally.longest_delay))
            for tally in (*score.tallies, score.total)]


def make_time_rows(score: Score) -> list[tuple[str, ...]]:
    """Return the rows under TIME_COLUMNS, one per fault, and all faults together in the last."""
    return [(tally.name, _format_duration(tally.true_positive), _format_duration(tally.false_positive),
             _format_duration(tally.false_negative), format_score(tally.time_precision),
             format_score(tally.time_recall), format_score(tally.time_f1)) for tally in (*score.tallies, score.total)]


def make_control_rows(score: Score) -> list[tuple[str | int, ...]]:
    """Return the rows under CONTROL_COLUMNS, one per kind of negative control."""
    return [(control.kind, control.occurrences, control.with_alarm) for control in score.controls]


def make_mistake_rows(mistakes: Sequence[Mistake]) -> list[tuple[str, ...]]:
    """Return the rows under MISTAKE_COLUMNS."""
    return [(each.loop, format_time(each.start), format_time(each.end), each.actual, each.predicted)
            for each in mistakes]


def describe_score(score: Score, curve: Sequence[Point] = ()) -> list[str]:
    """Return what the tables do not show, a paragraph each. curve: precision and recall by the detector's score."""
    target = "present" if score.all_present else "visible"
    rate = "-" if score.false_alarm_rate is None else f"{score.false_alarm_rate:.3g}"
    share = f"for at least {100 * score.overlap:g} % of its time" if score.overlap else "at any time of it"
    lines = [f"{describe_count(score.loops, 'loop')}, {score.loop_days:.4g} loop-days. An alarm is correct if "
             f"{_MATCHES[score.by]} is {target} {share}.",
             f"Macro F1 {format_score(score.macro_f1)}. False alarms: {score.false_alarms}, {rate} per loop-day. Other "
             f"wrong alarms: {score.misclassifications} on another fault, {score.control_alarms} on negative controls."]
    if score.total.unjudged_alarms:
        lines.append(f"{describe_count(score.total.unjudged_alarms, 'alarm')} only in time in which the fault is "
                     "present but not visible; not counted.")
    if score.unobserved_alarms:
        lines.append(f"{describe_count(score.unobserved_alarms, 'alarm')} outside of the time that the ground truth "
                     "covers; not counted.")
    if curve:
        lines.append(f"Average precision {format_score(compute_average_precision(curve))}, over the limits of the "
                     "detector's score.")
    return lines


def make_confusion_matrix(score: Score) -> tuple[list[str], list[list[str | int]]]:
    """Return the predicted names, and for each actual name a row of it and its counts."""
    columns = [*(tally.name for tally in score.tallies), NO_ALARM]
    rows: list[list[str | int]] = [[actual, *(counts.get(name, 0) for name in columns)]
                                   for actual, counts in score.confusion.items() if actual != HEALTHY]
    if HEALTHY in score.confusion:
        rows.append([HEALTHY, *(score.confusion[HEALTHY].get(name, 0) for name in columns)])
    return columns, rows


def score_tables(score: Score, curve: Sequence[Point] = ()) -> Group:
    """Return the score as rich tables.

    Parameters
    ----------
    score : Score
    curve : sequence of Point
        Precision and recall at each limit of the detector's own score; empty if its alarms have none.
    """
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def build_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
        grid = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False,
                     pad_edge=False, padding=(0, 1))
        for i, name in enumerate(header):
            grid.add_column(name, justify="right" if i else "left", overflow="fold")
        for row in rows:
            cells = ["·" if cell == 0 and title == _CONFUSION else str(cell) for cell in row]
            grid.add_row(*cells, style="bold" if row[0] == "all" else "")
        return grid

    columns, confusion = make_confusion_matrix(score)
    tables: list[Any] = [build_table("by event", EVENT_COLUMNS, make_event_rows(score)), "",
                         build_table("by time", TIME_COLUMNS, make_time_rows(score)), "",
                         *(Text(line) for line in describe_score(score, curve))]
    if confusion:
        tables += ["", build_table(_CONFUSION, ["actual \\ predicted", *columns], confusion)]
    if score.controls:
        tables += ["", build_table("negative controls", CONTROL_COLUMNS, make_control_rows(score))]
    for title, mistakes in (("false positives", score.false_positives), ("false negatives", score.false_negatives)):
        if mistakes:
            more = len(mistakes) - _MAX_MISTAKES
            heading = f"{title} (and {more} more: see --output score.html)" if more > 0 else title
            tables += ["", build_table(heading, MISTAKE_COLUMNS, make_mistake_rows(mistakes[:_MAX_MISTAKES]))]
    return Group(*tables)


def score_page(score: Score, lead: str = "", curve: Sequence[Point] = ()) -> Page:
    """Return the score as an HTML page.

    lead: the line below its title. curve: precision and recall by the detector's score.
    """
    page = Page("Detector score", lead, columns=2)
    page.add("Scores", *(render_paragraph(line) for line in describe_score(score, curve)),
             f'<div class="pair">{render_table(EVENT_COLUMNS, make_event_rows(score), "by event")}'
             f'{render_table(TIME_COLUMNS, make_time_rows(score), "by time")}</div>', is_wide=True)
    with_events = [tally for tally in score.tallies if tally.events]
    if with_events:
        plot, height = _draw_f1(with_events)
        page.add("F1 by fault", render_figure(plot, height))
    columns, rows = make_confusion_matrix(score)
    if rows:
        plot, height = _draw_confusion(columns, rows)
        page.add("Confusion matrix", render_figure(plot, height), render_paragraph(
            "The row of a fault counts its events, that of a negative control its occurrences, and the row healthy the "
            "false alarms.", "muted"))
    if curve:
        page.add("Precision and recall", render_figure(*_draw_precision_recall(curve)))
    for title, mistakes in (("False positives", score.false_positives), ("False negatives", score.false_negatives)):
        if mistakes:
            page.add(title, render_table(MISTAKE_COLUMNS, make_mistake_rows(mistakes)), is_wide=True)
    if score.controls:
        page.add("Negative controls", render_table(CONTROL_COLUMNS, make_control_rows(score)))
    page.add("Rules", *(render_paragraph(" ".join(part.split())) for part in _render_rules().split("\n\n")[1:]),
             is_wide=True)
    return page


def _render_rules() -> str:
    from clpm_execd.score import rules

    return (rules.__doc__ or "").replace("*", "").replace("`", "")


def _draw_f1(tallies: Sequence[Tally]) -> tuple[Figure, int]:
    """Draw F1 by event and by time, two bars per fault; return the figure and its height in px."""
    from plotly.graph_objects import Figure

    names = [tally.name for tally in tallies]
    plot = Figure()
    for name, colour, values in (("by event", LIGHT.pv, [tally.f1 or 0.0 for tally in tallies]),
                                 ("by time", LIGHT.op, [tally.time_f1 or 0.0 for tally in tallies])):
        plot.add_trace({"type": "bar", "orientation": "h", "name": name, "y": names, "x": values,
                        "marker": {"color": colour}, "hovertemplate": "%{y}: %{x:.3f}"})
    plot.update_layout(xaxis={"range": [0, 1.02], "title": {"text": "F1"}}, yaxis={"autorange": "reversed"},
                       barmode="group", bargap=0.3, margin={"t": _TOOLS_AND_LEGEND_PX})
    return plot, 74 + _TOOLS_AND_LEGEND_PX + 34 * len(tallies)


def _draw_precision_recall(curve: Sequence[Point]) -> tuple[Figure, int]:
    """Draw precision over recall; return the figure and its height in px."""
    from plotly.graph_objects import Figure

    plot = Figure({"type": "scatter", "mode": "lines+markers", "x": [point.recall for point in curve],
                   "y": [point.precision for point in curve], "line": {"color": LIGHT.pv},
                   "customdata": [point.threshold for point in curve],
                   "hovertemplate": "recall %{x:.3f}, precision %{y:.3f}<br>score from %{customdata:.3g}"
                                    "<extra></extra>"})
    plot.update_layout(xaxis={"range": [0, 1.02], "title": {"text": "recall"}},
                       yaxis={"range": [0, 1.02], "title": {"text": "precision"}})
    return plot, 360


def _draw_confusion(columns: Sequence[str], rows: Sequence[Sequence[str | int]]) -> tuple[Figure, int]:
    """Draw the confusion matrix, coloured by the fraction of the row; return the figure and its height in px."""
    from plotly.graph_objects import Figure

    counts = [[int(cell) for cell in row[1:]] for row in rows]
    fractions = [[count / max(1, sum(row)) for count in row] for row in counts]
    labels = [[str(count) if count else "" for count in row] for row in counts]
    plot = Figure({"type": "heatmap", "x": list(columns), "y": [str(row[0]) for row in rows], "z": fractions,
                   "customdata": counts, "text": labels, "texttemplate": "%{text}", "showscale": False, "zmin": 0.0,
                   "zmax": 1.0, "colorscale": [[0.0, LIGHT.page], [1.0, LIGHT.pv]], "xgap": 2, "ygap": 2,
                   "hovertemplate": "actual: %{y}<br>predicted: %{x}<br>%{customdata}<extra></extra>"})
    plot.update_layout(
        yaxis={"autorange": "reversed", "showgrid": False, "title": {"text": "actual"}},
        xaxis={"side": "top", "showgrid": False, "title": {"text": "predicted"}}, margin={"t": 140, "b": 12})
    return plot, 160 + 32 * len(rows)


def to_json(score: Score, curve: Sequence[Point] = ()) -> str:
    """Return the score as JSON; null is a score that is undefined, delays and times are in seconds."""
    def tally(each: Tally) -> dict[str, Any]:
        return {
            "fault": each.name, "events": each.events, "found": each.detected_events, "alarms": each.judged_alarms,
            "right": each.correct_alarms, "wrong": each.wrong_alarms, "unjudged": each.unjudged_alarms,
            "precision": each.precision, "recall": each.recall, "f1": each.f1,
            "time_precision": each.time_precision, "time_recall": each.time_recall, "time_f1": each.time_f1,
            "true_positive_s": each.true_positive / SECOND, "false_positive_s": each.false_positive / SECOND,
            "false_negative_s": each.false_negative / SECOND,
            "median_delay_s": None if each.median_delay is None else each.median_delay / SECOND,
            "longest_delay_s": None if each.longest_delay is None else each.longest_delay / SECOND}

    def mistakes(each: Sequence[Mistake]) -> list[dict[str, str]]:
        return [dict(zip(MISTAKE_COLUMNS, row, strict=True)) for row in make_mistake_rows(each)]

    return json.dumps({
        "version": __version__,
        "rules": {"by": score.by, "overlap": score.overlap, "faults": "present" if score.all_present else "visible"},
        "loops": score.loops, "loop_days": score.loop_days, "macro_f1": score.macro_f1,
        "faults": [tally(each) for each in score.tallies], "all": tally(score.total),
        "wrong_alarms": {"mistaken": score.misclassifications, "on_controls": score.control_alarms,
                         "false": score.false_alarms},
        "alarms_outside": score.unobserved_alarms,
        "false_alarms_per_loop_day": score.false_alarm_rate, "confusion": score.confusion,
        "controls": [{"control": c.kind, "stretches": c.occurrences, "alarmed": c.with_alarm} for c in score.controls],
        "false_positives": mistakes(score.false_positives), "false_negatives": mistakes(score.false_negatives),
        "average_precision": compute_average_precision(curve),
        "precision_recall": [asdict(point) for point in curve],
    }, indent=2) + "\n"


def to_csv(score: Score) -> str:
    """Return the score as CSV, one row per fault and one for all; an empty cell is a score that is undefined."""
    scores = json.loads(to_json(score))
    out = io.StringIO()
    writer = csv.DictWriter(out, list(scores["all"]), lineterminator="\n")
    writer.writeheader()
    writer.writerows([*scores["faults"], scores["all"]])
    return out.getvalue()
