"""A monitor's marks for the eye: tables for the terminal, a page, and rows for other programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clpm_execd.pictures.page import Page, figure, table, text
from clpm_execd.pictures.style import LIGHT
from clpm_execd.plant.block import SECOND
from clpm_execd.score.rules import HEALTHY, NOTHING, Score, Tally
from clpm_execd.version import __version__

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
    from rich.console import Group

BY_EVENTS = ("fault", "events", "found", "alarms", "right", "precision", "recall", "F1", "median delay", "longest")
BY_TIME = ("fault", "named rightly", "named wrongly", "missed", "precision", "recall", "F1")


def mark(value: float | None) -> str:
    """A share with three decimals, or a dash where it cannot be told."""
    return "-" if value is None else f"{value:.3f}"


def time_of(ns: float | None) -> str:
    """A time in the unit that suits it."""
    if ns is None:
        return "-"
    seconds = ns / SECOND
    return next((f"{seconds / size:.3g} {unit}" for unit, size in (("d", 86400), ("h", 3600), ("min", 60))
                 if seconds >= 2 * size), f"{seconds:.3g} s")


def by_events(score: Score) -> list[tuple[str | int, ...]]:
    """The rows under BY_EVENTS, one a fault, and all of them in the last."""
    return [(tally.name, tally.events, tally.found, tally.right + tally.wrong, tally.right, mark(tally.precision),
             mark(tally.recall), mark(tally.f1), time_of(tally.median_delay), time_of(tally.longest_delay))
            for tally in (*score.tallies, score.total)]


def by_time(score: Score) -> list[tuple[str, ...]]:
    """The rows under BY_TIME."""
    return [(tally.name, time_of(tally.true_positive), time_of(tally.false_positive), time_of(tally.false_negative),
             mark(tally.time_precision), mark(tally.time_recall), mark(tally.time_f1))
            for tally in (*score.tallies, score.total)]


def said(score: Score) -> list[str]:
    """What is to be told beside the tables, a sentence a line."""
    target = "present" if score.all_present else "visible"
    rate = "-" if score.false_alarm_rate is None else f"{score.false_alarm_rate:.3g}"
    lines = [f"{score.loops} loops, {score.loop_days:.4g} loop-days; faults that are {target}, by {score.by}; an alarm "
             f"is right from an overlap of {score.overlap:g} on.",
             f"Macro F1 {mark(score.macro_f1)}. False alarms: {score.false_alarms}, {rate} a loop and day. Other wrong "
             f"alarms: {score.mistaken} mistook a fault, {score.on_controls} took a negative control for one."]
    if score.total.unjudged:
        lines.append(f"{score.total.unjudged} alarms only cover time in which the fault is present and does not show: "
                     "not counted.")
    return lines


def confusion_of(score: Score) -> tuple[list[str], list[list[str | int]]]:
    """The confusion matrix: its heading, and a row for each thing that was there."""
    columns = [*(tally.name for tally in score.tallies), NOTHING]
    rows: list[list[str | int]] = [[there, *(counts.get(name, 0) for name in columns)]
                                   for there, counts in score.confusion.items() if there != HEALTHY]
    if HEALTHY in score.confusion:
        rows.append([HEALTHY, *(score.confusion[HEALTHY].get(name, 0) for name in columns)])
    return columns, rows


def score_tables(score: Score) -> Group:
    """The marks as rich shows them."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def drawn(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
        made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False,
                     pad_edge=False, padding=(0, 1))
        for i, name in enumerate(header):
            made.add_column(name, justify="right" if i else "left", overflow="fold")
        for row in rows:
            cells = ["·" if cell == 0 and made.title == "confusion" else str(cell) for cell in row]
            made.add_row(*cells, style="bold" if row[0] == "all" else "")
        return made

    columns, confusion = confusion_of(score)
    tables: list[Any] = [drawn("by events", BY_EVENTS, by_events(score)), "",
                         drawn("by time", BY_TIME, by_time(score)), "", *(Text(line) for line in said(score))]
    if confusion:
        tables += ["", drawn("confusion", ["there \\ said", *columns], confusion)]
    if score.controls:
        rows = [(control.kind, control.stretches, control.alarmed) for control in score.controls]
        tables += ["", drawn("negative controls", ("control", "stretches", "alarmed"), rows)]
    return Group(*tables)


def score_page(score: Score, lead: str = "") -> Page:
    """The marks as a page."""
    page = Page("Score of a monitor", lead)
    page.add("Marks", *(text(line) for line in said(score)), table(BY_EVENTS, by_events(score), "by events"),
             table(BY_TIME, by_time(score), "by time"))
    named = [tally for tally in score.tallies if tally.events]
    if named:
        drawn, height = _bars(named)
        page.add("F1 by fault", figure(drawn, height))
    columns, rows = confusion_of(score)
    if rows:
        drawn, height = _matrix(columns, rows)
        page.add("What was there, and what was said", figure(drawn, height), text(
            "A row of a fault counts its events, of a negative control its stretches, of healthy the false alarms.",
            "muted"))
    if score.controls:
        page.add("Negative controls", table(("control", "stretches", "alarmed"),
                                            [(c.kind, c.stretches, c.alarmed) for c in score.controls]))
    page.add("Rules", *(text(" ".join(part.split())) for part in _rules().split("\n\n")[1:]))
    return page


def _rules() -> str:
    from clpm_execd.score import rules

    return (rules.__doc__ or "").replace("*", "").replace("`", "")


def _bars(tallies: Sequence[Tally]) -> tuple[Figure, int]:
    """F1 by events and by time, a pair of bars a fault."""
    from plotly.graph_objects import Figure

    names = [tally.name for tally in tallies]
    drawn = Figure()
    for name, colour, values in (("by events", LIGHT.pv, [tally.f1 or 0.0 for tally in tallies]),
                                 ("by time", LIGHT.op, [tally.time_f1 or 0.0 for tally in tallies])):
        drawn.add_trace({"type": "bar", "orientation": "h", "name": name, "y": names, "x": values,
                         "marker": {"color": colour}, "hovertemplate": "%{y}: %{x:.3f}"})
    drawn.update_layout(xaxis={"range": [0, 1.02], "title": {"text": "F1"}}, yaxis={"autorange": "reversed"},
                        barmode="group", bargap=0.3)
    return drawn, 110 + 34 * len(tallies)


def _matrix(columns: Sequence[str], rows: Sequence[Sequence[str | int]]) -> tuple[Figure, int]:
    """The confusion matrix; a cell is as full as its share of the row."""
    from plotly.graph_objects import Figure

    counts = [[int(cell) for cell in row[1:]] for row in rows]
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    words = [[str(count) if count else "" for count in row] for row in counts]
    drawn = Figure({"type": "heatmap", "x": list(columns), "y": [str(row[0]) for row in rows], "z": shares,
                    "customdata": counts, "text": words, "texttemplate": "%{text}", "showscale": False, "zmin": 0.0,
                    "zmax": 1.0, "colorscale": [[0.0, LIGHT.page], [1.0, LIGHT.pv]], "xgap": 2, "ygap": 2,
                    "hovertemplate": "there: %{y}<br>said: %{x}<br>%{customdata}<extra></extra>"})
    drawn.update_layout(
        yaxis={"autorange": "reversed", "showgrid": False, "title": {"text": "there"}},
        xaxis={"side": "top", "showgrid": False, "title": {"text": "said"}}, margin={"t": 110, "b": 12})
    return drawn, 130 + 32 * len(rows)


def as_json(score: Score) -> str:
    """The marks for other programs; null is what cannot be told, delays and times are seconds."""
    def tally(each: Tally) -> dict[str, Any]:
        return {
            "fault": each.name, "events": each.events, "found": each.found, "alarms": each.right + each.wrong,
            "right": each.right, "wrong": each.wrong, "unjudged": each.unjudged,
            "precision": each.precision, "recall": each.recall, "f1": each.f1,
            "time_precision": each.time_precision, "time_recall": each.time_recall, "time_f1": each.time_f1,
            "true_positive_s": each.true_positive / SECOND, "false_positive_s": each.false_positive / SECOND,
            "false_negative_s": each.false_negative / SECOND,
            "median_delay_s": None if each.median_delay is None else each.median_delay / SECOND,
            "longest_delay_s": None if each.longest_delay is None else each.longest_delay / SECOND}

    return json.dumps({
        "version": __version__,
        "rules": {"by": score.by, "overlap": score.overlap, "faults": "present" if score.all_present else "visible"},
        "loops": score.loops, "loop_days": score.loop_days, "macro_f1": score.macro_f1,
        "faults": [tally(each) for each in score.tallies], "all": tally(score.total),
        "wrong_alarms": {"mistaken": score.mistaken, "on_controls": score.on_controls, "false": score.false_alarms},
        "false_alarms_per_loop_day": score.false_alarm_rate, "confusion": score.confusion,
        "controls": [{"control": c.kind, "stretches": c.stretches, "alarmed": c.alarmed} for c in score.controls],
    }, indent=2) + "\n"


def as_csv(score: Score) -> str:
    """A row a fault, and one for all; an empty cell is what cannot be told."""
    marks = json.loads(as_json(score))
    out = io.StringIO()
    writer = csv.DictWriter(out, list(marks["all"]), lineterminator="\n")
    writer.writeheader()
    writer.writerows([*marks["faults"], marks["all"]])
    return out.getvalue()
