"""What was learned from records: real and learned loops side by side, as a page and as a table for the terminal.

A loop that streams is drawn beside the record it was learned from, with the numbers that were found, how sure they
are, and in words what the record did not tell. Nothing is scaled to flatter: both have the same axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import isnan
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from clpm_execd.evaluation.learned_vs_record import Discrimination, Likeness, Study
from clpm_execd.evaluation.similarity import Distances
from clpm_execd.extras import require
from clpm_execd.identification.correlation import autocorrelation, cross_correlation
from clpm_execd.identification.estimates import Estimate
from clpm_execd.pictures.page import Link, Page, figure, listing, table, text
from clpm_execd.pictures.style import LIGHT
from clpm_execd.plant.block import Floats
from clpm_execd.units import SECOND, human_duration, largest_unit

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
    from rich.table import Table

_POINTS = 1500  # of a line
_LAGS = 60
_CROSS_LAGS = 30
_BINS = 40
_GAP_X, _GAP_Y = 0.055, 66  # share of the width, px
_ROWS = (150, 110, 190, 190)  # px
_TOP, _BOTTOM = 60, 44

_MEANING = {
    "sp": "set point", "op": "OP at that set point", "controller.gain": "controller gain Kc",
    "controller.reset": "reset time Ti", "controller.derivative": "derivative time Td",
    "controller.setpoint_weight": "set-point weight b", "controller.explained": "OP's moves that a PID explains",
    "process.gain": "process gain", "process.tau": "process lag", "process.dead_time": "dead time",
    "sensor.noise": "measurement noise, sigma", "disturbance.sigma": "load disturbance, sigma",
    "disturbance.correlation": "correlation time of the load", "recording.resolution.pv": "resolution of PV",
    "recording.resolution.op": "resolution of OP", "recording.repeated": "PV values that repeat",
    "operator.interval": "between set-point moves", "operator.size": "size of set-point moves",
    "operator.automatic": "mean time out of MAN", "operator.manual": "mean time in MAN",
    "stiction.S": "stiction S", "stiction.J": "slip jump J", "oscillation.period": "period of the oscillation",
    "oscillation.amplitude": "amplitude of what oscillates elsewhere",
    "oscillation.harmonic": "its third harmonic", "load.steps": "steps of the load", "load.step": "their size, rms",
}
_SOURCES = {"identified": "identified", "record": "the record", "prior": "a prior"}
_DISTANCES = {
    "w1": "values (W1, standard deviations)", "acf": "autocorrelation to lag 60", "psd": "spectrum (decades)",
    "ccf": "cross-correlation of OP and PV to lag 30",
}


# the page


def report_page(names: Sequence[str], studies: Sequence[Study], score: Discrimination, told: Sequence[str]) -> Page:
    """The page of these loops. names: of each as in loops.toml. told: what was assumed in reading the records."""
    page = Page("Learned loops", _lead(studies))
    anchors = []
    for name, study, auc in zip(names, studies, score.each, strict=True):
        drawn, height = loop_figure(study.likeness)
        anchors.append(page.add(
            name, text(_origin(study), "muted"), _warnings(study),
            f'<div class="scroll"><div class="broad">{figure(drawn, height)}</div></div>',
            f'<div class="pair">{_numbers(study.learned.estimates)}{_comparison(study.likeness, auc)}</div>'))
    rows = [(Link(name, anchor), Path(study.source).name, *row, len(study.learned.warnings))
            for name, anchor, study, row in zip(names, anchors, studies, _rows(studies, score), strict=True)]
    page.add("Overview", *_verdict(studies, score), _medians(studies),
             table(("Loop", "Record", *_columns(studies, score), "Warnings"), rows,
                   "each loop's section has its warnings in words"))
    page.sections.insert(0, page.sections.pop())
    if told:
        page.add("What was assumed in reading", listing(told))
    return page


def _lead(studies: Sequence[Study]) -> str:
    files = len({study.source for study in studies})
    return f"{_some(len(studies), 'loop')} learned from {_some(files, 'record')}, each run free beside its record"


def _some(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' if count != 1 else ''}"


def _origin(study: Study) -> str:
    learned, loop = study.learned, study.learned.loop
    low, high = loop.range
    return (f"{study.source}: {learned.samples} samples, one each {human_duration(learned.interval)}; {loop.type}, "
            f"range {low:g} to {high:g}")


def _axis_unit(seconds: float) -> tuple[float, str]:
    """The unit of an axis of this length, in s, and its symbol."""
    size, symbol = largest_unit(seconds * SECOND)
    return size / SECOND, symbol


def _warnings(study: Study) -> str:
    return f'<div class="bad">{listing(study.learned.warnings)}</div>' if study.learned.warnings else ""


def _numbers(estimates: Mapping[str, Estimate]) -> str:
    rows = [(_MEANING.get(key, key), f"{one.value:.4g}" if one.value or "resolution" not in key else "none",
             _interval(one), one.unit, _SOURCES[one.source]) for key, one in estimates.items()]
    return table(("", "Value", "90 % interval", "Unit", "Where from"), rows,
                 "what was found; a prior where the record does not tell")


def _interval(one: Estimate) -> str:
    return "" if one.source == "record" else f"{one.low:.4g} to {one.high:.4g}"


def _comparison(likeness: Likeness, auc: float) -> str:
    near, floor = likeness.distances, likeness.floor
    if near is None or floor is None:
        return text("The record is too short, or too still, to be compared with.", "muted")
    rows: list[tuple[object, ...]] = [(words, f"{getattr(near, key):.2f}", f"{getattr(floor, key):.2f}")
                                      for key, words in _DISTANCES.items()]
    rows += [("told apart (AUC; 0.5 is not)", _two(auc), ""), ("copy ratio (1 is as new as the plant)",
                                                                _two(likeness.copy), "")]
    return table(("", "Learned", "Halves of the record"), rows, "how far from the record; 0 is the same")


def _two(number: float) -> str:
    return "" if isnan(number) else f"{number:.2f}"


def _verdict(studies: Sequence[Study], score: Discrimination) -> list[str]:
    """In words, whether the loops can be told from their records and whether they only replay."""
    if isnan(score.auc):
        return [text("There is too little to tell real from learned by: records of at least 256 samples that move.")]
    ease = next(words for limit, words in ((0.6, "hardly"), (0.7, "with some success"), (0.8, "often"), (2.0, "mostly"))
                if score.auc <= limit)
    loops = len({study.learned.loop.id for study in studies})
    held = "windows of loops it has never seen" if loops > 1 else "windows of a stretch of time it has never seen"
    lines = [f"A random forest, shown {held}, tells learned from real {ease}: an AUC of {score.auc:.2f}, where 0.5 is "
             f"not at all and 1 always. It tells the records' own halves apart with {score.floor:.2f}."]
    copies = [study.likeness.copy for study in studies if not isnan(study.likeness.copy)]
    if copies:
        ratio = median(copies)
        says = next(words for least, words in ((0.9, "they do not replay it"), (0.7, "some of it is replayed"),
                                               (0.0, "they replay it")) if ratio >= least)
        lines.append(f"Learned windows lie {ratio:.2f} times as far from their record as new ones of the plant do "
                     f"(median): {says}.")
    return [text(line) for line in lines]


def _medians(studies: Sequence[Study]) -> str:
    near = [study.likeness.distances for study in studies if study.likeness.distances is not None]
    floor = [study.likeness.floor for study in studies if study.likeness.floor is not None]
    if not near or len(studies) == 1:
        return ""
    ours, theirs = Distances.median(near), Distances.median(floor)
    rows = [(_DISTANCES[item.name], f"{getattr(ours, item.name):.2f}", f"{getattr(theirs, item.name):.2f}")
            for item in fields(Distances)]
    return table(("", "Learned", "Halves of the record"), rows, "how far from the records, medians; 0 is the same")


# the table of the terminal, and of the page


def _columns(studies: Sequence[Study], score: Discrimination) -> tuple[str, ...]:
    """Their headings; of loops by themselves there is no AUC where all records are short."""
    return ("Samples", "SP", "Kc %/%", "Ti s", "K %/%", *(("Shows",) if _ill(studies) else ()),
            *(("AUC",) if _asked(score) else ()), "Copy")


def _asked(score: Discrimination) -> bool:
    return not all(map(isnan, score.each))


def _ill(studies: Sequence[Study]) -> bool:
    return any(_shows(study) for study in studies)


def _shows(study: Study) -> str:
    """What a loop has that it should not, in a word or two."""
    of = study.learned.estimates
    if "stiction.S" in of:
        s, j = of["stiction.S"].value, of["stiction.J"].value
        return f"S {s:.2g}, J {j:.2g} %" if j > 0 else f"play {s:.2g} %"
    if "oscillation.period" in of:
        swung = "swung" if "oscillation.amplitude" in of else "swings"
        return f"{swung}, {of['oscillation.period'].value:.3g} s"
    return ""


def _rows(studies: Sequence[Study], score: Discrimination) -> list[tuple[object, ...]]:
    ill, asked = _ill(studies), _asked(score)
    return [_row(study, (_shows(study),) if ill else (), (_two(auc),) if asked else ())
            for study, auc in zip(studies, score.each, strict=True)]


def _row(study: Study, shows: tuple[str, ...], auc: tuple[str, ...]) -> tuple[object, ...]:
    of = study.learned.estimates

    def number(key: str) -> str:
        one = of.get(key)
        return "" if one is None else f"{one.value:.3g}{' (prior)' if one.source == 'prior' else ''}"

    return (study.learned.samples, f"{study.learned.loop.sp:.5g}", number("controller.gain"),
            number("controller.reset"), number("process.gain"), *shows, *auc, _two(study.likeness.copy))


def report_table(names: Sequence[str], studies: Sequence[Study], score: Discrimination) -> Table:
    """The loops, a row each, and what holds for all."""
    from rich import box
    from rich.table import Table

    drawn = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False, caption_justify="left")
    drawn.add_column("Loop", overflow="fold", style="cyan", min_width=12)
    for column in _columns(studies, score):
        drawn.add_column(column, justify="right", no_wrap=True)
    for name, row in zip(names, _rows(studies, score), strict=True):
        drawn.add_row(name, *map(str, row))
    if not isnan(score.auc):
        drawn.caption = f"AUC of all {score.auc:.2f} (0.5: not told from real; the records' halves {score.floor:.2f})"
    return drawn


# the figure of a loop


@dataclass
class _Panels:
    """A figure of panels: axes with places of their own, in rows of as many columns as each needs."""

    rows: Sequence[int]
    traces: list[dict[str, Any]] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)
    titles: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0

    @property
    def inner(self) -> int:
        return sum(self.rows) + _GAP_Y * (len(self.rows) - 1)

    def add(self, row: int, place: int, of: int, title: str, x: dict[str, Any], y: dict[str, Any],
            *lines: dict[str, Any]) -> None:
        """A panel at a place of so many in a row, with its lines."""
        self.count += 1
        n = str(self.count) if self.count > 1 else ""
        width = (1.0 - _GAP_X * (of - 1)) / of
        left = place * (width + _GAP_X)
        top = 1.0 - (sum(self.rows[:row]) + _GAP_Y * row) / self.inner
        self.layout[f"xaxis{n}"] = {"domain": [left, left + width], "anchor": f"y{n}", "showline": True, **x}
        self.layout[f"yaxis{n}"] = {"domain": [max(top - self.rows[row] / self.inner, 0.0), top], "anchor": f"x{n}",
                                    "nticks": 6, **y}
        self.traces += [{"xaxis": f"x{n}", "yaxis": f"y{n}", **line} for line in lines]
        self.titles.append({"text": f"<b>{title}</b>", "x": left, "y": top, "xref": "paper", "yref": "paper",
                            "xanchor": "left", "yanchor": "bottom", "showarrow": False, "yshift": 2})

    def figure(self) -> tuple[Figure, int]:
        require("plots", "plotly")
        from plotly.graph_objects import Figure

        drawn = Figure(self.traces)
        drawn.update_layout(self.layout, annotations=self.titles, hovermode="closest", dragmode="zoom",
                            margin={"t": _TOP, "b": _BOTTOM, "l": 64, "r": 14},
                            legend={"y": 1.0 + 24.0 / self.inner, "x": 0.0, "xanchor": "left", "yanchor": "bottom"})
        return drawn, self.inner + _TOP + _BOTTOM


def loop_figure(likeness: Likeness) -> tuple[Figure, int]:
    """Real and learned: time, spectrum, distribution, autocorrelation, cross-correlation, plane; and the height, px."""
    panels = _Panels(_ROWS)
    _draw_time(panels, likeness)
    for place, (column, name) in enumerate(((0, "PV"), (1, "OP"))):
        _draw_spectrum(panels, place, likeness, column, name)
        _draw_distribution(panels, 2 + place, likeness, column, name)
    _draw_correlations(panels, likeness)
    _draw_planes(panels, likeness)
    return panels.figure()


def _pair(likeness: Likeness, colour: str) -> tuple[tuple[str, Floats, dict[str, Any]], ...]:
    """Record and learned loop with their line styles."""
    return (("record", likeness.real, {"color": colour, "width": 1.4}),
            ("learned", likeness.synthetic, {"color": LIGHT.other, "width": 1.4, "dash": "4px,2px"}))


def _line(name: str, x: Floats, y: Floats, style: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "scatter", "mode": "lines", "name": name, "showlegend": False, "line": dict(style),
            "x": x.astype(np.float32), "y": y.astype(np.float32), **more}


def _draw_time(panels: _Panels, likeness: Likeness) -> None:
    """PV with SP, and OP: the record at the left, the learned loop at the right, on the same axes."""
    whole = len(likeness.real) * likeness.interval
    scale, unit = _axis_unit(whole)
    for row, (columns, title, axis) in enumerate((((2, 0), "PV, SP", "eng. units"), ((1,), "OP", "%"))):
        both = np.concatenate([likeness.real[:, columns], likeness.synthetic[:, columns]])
        span = _span(both)
        for place, (whose, signals) in enumerate((("record", likeness.real), ("learned", likeness.synthetic))):
            lines = []
            for column in columns:
                at, values = _thinned(signals[:, column])
                name, colour, dash = (("PV", LIGHT.pv, "solid"), ("OP", LIGHT.op, "solid"), ("SP", LIGHT.sp, "5px,3px")
                                      )[column]
                colour = LIGHT.other if place and name != "SP" else colour
                lines.append(_line(f"{name}, {whose}", at * likeness.interval / scale, values,
                                   {"color": colour, "width": 1.1, "dash": dash}, showlegend=name != "SP" or not place))
            panels.add(row, place, 2, f"{title} of the {'learned loop' if place else 'record'}",
                       {"title": _title(unit if row else ""), "range": [0.0, whole / scale]},
                       {"title": {"text": axis}, "range": span}, *lines)


def _title(words: str) -> dict[str, Any]:
    """Of an x axis, close to its numbers."""
    return {"text": words, "standoff": 3}


def _span(values: Floats) -> list[float]:
    low, high = float(values.min()), float(values.max())
    edge = 0.05 * (high - low) or max(abs(high), 1.0) * 0.01
    return [low - edge, high + edge]


def _thinned(values: Floats) -> tuple[Floats, Floats]:
    """Places and values to draw: of many, the least and the greatest of each run, in their order."""
    run = -(-2 * len(values) // _POINTS)
    if run < 3:
        return np.arange(len(values), dtype=np.float64), values
    whole = values[:len(values) // run * run].reshape(-1, run)
    rows = np.sort(np.stack([whole.argmin(axis=1), whole.argmax(axis=1)], axis=1), axis=1)
    at = (np.arange(len(whole))[:, None] * run + rows).ravel()
    return at.astype(np.float64), values[at]


def _draw_spectrum(panels: _Panels, place: int, likeness: Likeness, column: int, name: str) -> None:
    from scipy.signal import welch

    lines = []
    for whose, signals, style in _pair(likeness, LIGHT.op if column else LIGHT.pv):
        values = signals[:, column]
        at, power = welch(values, 1.0 / likeness.interval, nperseg=min(256, len(values)))
        seen = (at > 0) & (power > 0)
        lines.append(_line(f"{name}, {whose}", at[seen], power[seen], style))
    panels.add(2, place, 4, f"Spectrum of {name}", {"title": _title("Hz"), "type": "log", "dtick": 1},
               {"title": {"text": "%²/Hz" if column else "(eng. units)²/Hz"}, "type": "log", "exponentformat": "power",
                "dtick": 1}, *lines)


def _draw_distribution(panels: _Panels, place: int, likeness: Likeness, column: int, name: str) -> None:
    pair = _pair(likeness, LIGHT.op if column else LIGHT.pv)
    low, high = _span(np.concatenate([signals[:, column] for _, signals, _ in pair]))
    edges = np.linspace(low, high, _BINS + 1)
    middle = (edges[1:] + edges[:-1]) / 2.0
    lines = [_line(f"{name}, {whose}", middle, np.histogram(signals[:, column], edges)[0] * 100.0 / len(signals),
                   {**style, "shape": "hvh"}) for whose, signals, style in pair]
    panels.add(2, place, 4, f"Distribution of {name}", {"title": _title("%" if column else "eng. units")},
               {"title": {"text": "% of samples"}, "rangemode": "tozero"}, *lines)


def _draw_correlations(panels: _Panels, likeness: Likeness) -> None:
    scale, unit = _axis_unit(_LAGS * likeness.interval)
    step = np.float64(likeness.interval / scale)
    count = min(_LAGS, len(likeness.real) - 1)
    at = step * np.arange(1, count + 1, dtype=np.float64)
    lines = [_line(f"{name}, {whose}", at, autocorrelation(signals[:, column], count),
                   {**style, "color": LIGHT.op} if column and whose == "record" else style)
             for column, name in ((0, "PV"), (1, "OP")) for whose, signals, style in _pair(likeness, LIGHT.pv)]
    y = {"range": [-1.05, 1.05], "zeroline": True}
    panels.add(3, 0, 4, "Autocorrelation", {"title": _title(f"lag, {unit}")}, y, *lines)
    count = min(_CROSS_LAGS, len(likeness.real) - 1)
    at = step * np.arange(-count, count + 1, dtype=np.float64)
    lines = [_line(whose, at, cross_correlation(signals[:, :2], count), style)
             for whose, signals, style in _pair(likeness, LIGHT.sp)]
    panels.add(3, 1, 4, "OP with PV", {"title": _title(f"lag of PV, {unit}")}, y, *lines)


def _draw_planes(panels: _Panels, likeness: Likeness) -> None:
    both = np.concatenate([likeness.real, likeness.synthetic])
    x, y = _span(both[:, 1]), _span(both[:, 0])
    for place, (whose, signals, style) in enumerate(_pair(likeness, LIGHT.pv)):
        some = signals[::-(-len(signals) // _POINTS)]
        points = _line(whose, some[:, 1], some[:, 0], style,
                       mode="markers", marker={"size": 3, "color": style["color"], "opacity": 0.6})
        panels.add(3, 2 + place, 4, f"PV over OP, {whose}", {"title": _title("OP, %"), "range": x},
                   {"title": {"text": "PV, eng. units"}, "range": y}, points)
