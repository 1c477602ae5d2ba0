"""The figure of a fitted loop: the record and its free-running simulation on the same axes, in panels, by plotly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from clpm_execd.evaluation.learned_vs_record import Comparison
from clpm_execd.extras import require
from clpm_execd.identification.signal_statistics import autocorrelation, cross_correlation
from clpm_execd.pictures.style import LIGHT
from clpm_execd.pictures.trend import choose_run, downsample
from clpm_execd.plant.block import Floats
from clpm_execd.units import SECOND, choose_largest_unit

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_MAX_POINTS = 1500  # of a line: its panel is some 800 px wide
_LAGS = 60  # those of the ACF distance
_CROSS_LAGS = 30  # those of the CCF distance
_BINS = 40  # of a distribution
_WELCH_SAMPLES = 256  # of a segment of Welch's method: a panel has room for a finer spectrum than the distance's
_GAP_X_FRACTION, _GAP_Y_PX = 0.07, 66  # a page of 1,200 px has 70 px for the numbers and the title of an axis
_ROWS_PX = (150, 110, 190, 190)
_TOP_PX, _BOTTOM_PX, _LEFT_PX, _RIGHT_PX = 60, 44, 64, 14


@dataclass
class _Panels:
    """A figure of panels in rows, each row with as many panels as it needs; rows: their heights, px."""

    rows: Sequence[int]
    traces: list[dict[str, Any]] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)
    titles: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0

    @property
    def inner_height(self) -> int:
        return sum(self.rows) + _GAP_Y_PX * (len(self.rows) - 1)

    def add(self, row: int, column: int, columns: int, title: str, x: dict[str, Any], y: dict[str, Any],
            *lines: dict[str, Any]) -> None:
        """Add a panel in a column of a row of so many columns, with its axes and lines."""
        self.count += 1
        n = str(self.count) if self.count > 1 else ""
        width = (1.0 - _GAP_X_FRACTION * (columns - 1)) / columns
        left = column * (width + _GAP_X_FRACTION)
        top = 1.0 - (sum(self.rows[:row]) + _GAP_Y_PX * row) / self.inner_height
        self.layout[f"xaxis{n}"] = {"domain": [left, left + width], "anchor": f"y{n}", "showline": True, **x}
        self.layout[f"yaxis{n}"] = {"domain": [max(top - self.rows[row] / self.inner_height, 0.0), top],
                                    "anchor": f"x{n}", "nticks": 6, **y}
        self.traces += [{"xaxis": f"x{n}", "yaxis": f"y{n}", **line} for line in lines]
        self.titles.append({"text": f"<b>{title}</b>", "x": left, "y": top, "xref": "paper", "yref": "paper",
                            "xanchor": "left", "yanchor": "bottom", "showarrow": False, "yshift": 2})

    def figure(self) -> tuple[Figure, int]:
        require("plots", "plotly")
        from plotly.graph_objects import Figure

        figure = Figure(self.traces)
        figure.update_layout(self.layout, annotations=self.titles, hovermode="closest", dragmode="zoom",
                             margin={"t": _TOP_PX, "b": _BOTTOM_PX, "l": _LEFT_PX, "r": _RIGHT_PX},
                             legend={"y": 1.0 + 24.0 / self.inner_height, "x": 0.0, "xanchor": "left",
                                     "yanchor": "bottom"})
        return figure, self.inner_height + _TOP_PX + _BOTTOM_PX


def draw_comparison(comparison: Comparison) -> tuple[Figure, int]:
    """Return the figure of a recorded and a simulated loop, and its height in px.

    Its panels are the signals over time, their spectra, distributions, autocorrelations and cross-correlation, and PV
    over OP.
    """
    panels = _Panels(_ROWS_PX)
    _draw_time(panels, comparison)
    for k, (signal, name) in enumerate(((0, "PV"), (1, "OP"))):
        _draw_spectrum(panels, k, comparison, signal, name)
        _draw_distribution(panels, 2 + k, comparison, signal, name)
    _draw_correlations(panels, comparison)
    _draw_planes(panels, comparison)
    return panels.figure()


def _choose_axis_unit(seconds: float) -> tuple[float, str]:
    """Return the unit, in s, of an axis of this length, and its symbol."""
    size, symbol = choose_largest_unit(seconds * SECOND)
    return size / SECOND, symbol


def _pair_signals(comparison: Comparison, colour: str) -> tuple[tuple[str, Floats, dict[str, Any]], ...]:
    """Return the recorded and the simulated signals with their line styles."""
    return (("recorded", comparison.recorded, {"color": colour, "width": 1.4}),
            ("simulated", comparison.simulated, {"color": LIGHT.other, "width": 1.4, "dash": "4px,2px"}))


def _build_line(name: str, x: Floats, y: Floats, style: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "scatter", "mode": "lines", "name": name, "showlegend": False, "line": dict(style),
            "x": x.astype(np.float32), "y": y.astype(np.float32), **more}


def _draw_time(panels: _Panels, comparison: Comparison) -> None:
    """Draw PV with SP, and OP: the record at the left, the simulation at the right, on the same axes."""
    duration = len(comparison.recorded) * comparison.interval
    scale, unit = _choose_axis_unit(duration)
    for row, (columns, title, y_title) in enumerate((((2, 0), "PV, SP", "PV, SP"), ((1,), "OP", "OP, %"))):
        both = np.concatenate([comparison.recorded[:, columns], comparison.simulated[:, columns]])
        limits = _find_axis_limits(both)
        sources = (("recorded", comparison.recorded), ("simulated", comparison.simulated))
        for k, (source, signals) in enumerate(sources):
            lines = []
            for column in columns:
                index, values = downsample(
                    np.arange(len(signals)), signals[:, column], choose_run(len(signals), _MAX_POINTS))
                name, colour, dash = (("PV", LIGHT.pv, "solid"), ("OP", LIGHT.op, "solid"), ("SP", LIGHT.sp, "5px,3px")
                                      )[column]
                colour = LIGHT.other if k and name != "SP" else colour
                lines.append(_build_line(f"{name}, {source}", np.float64(comparison.interval / scale) * index, values,
                                   {"color": colour, "width": 1.1, "dash": dash}, showlegend=name != "SP" or not k))
            panels.add(row, k, 2, f"{title}, {source}",
                       {"title": _build_axis_title(unit if row else ""), "range": [0.0, duration / scale]},
                       {"title": {"text": y_title}, "range": limits}, *lines)


def _build_axis_title(words: str) -> dict[str, Any]:
    """Return the title of an x axis, close to its numbers."""
    return {"text": words, "standoff": 3}


def _find_axis_limits(values: Floats) -> list[float]:
    """Return the ends of an axis: those of the values, and 5 % beyond."""
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or max(abs(high), 1.0) * 0.01
    return [low - margin, high + margin]


def _draw_spectrum(panels: _Panels, column: int, comparison: Comparison, signal: int, name: str) -> None:
    from scipy.signal import welch

    lines = []
    for source, signals, style in _pair_signals(comparison, LIGHT.op if signal else LIGHT.pv):
        values = signals[:, signal]
        frequency, power = welch(values, 1.0 / comparison.interval, nperseg=min(_WELCH_SAMPLES, len(values)))
        is_drawable = (frequency > 0) & (power > 0)  # on logarithmic axes
        lines.append(_build_line(f"{name}, {source}", frequency[is_drawable], power[is_drawable], style))
    panels.add(2, column, 4, f"Spectrum of {name}", {"title": _build_axis_title("Hz"), "type": "log", "dtick": 1},
               {"title": {"text": "%²/Hz" if signal else "PV²/Hz"}, "type": "log", "exponentformat": "power",
                "dtick": 1}, *lines)


def _draw_distribution(panels: _Panels, column: int, comparison: Comparison, signal: int, name: str) -> None:
    pair = _pair_signals(comparison, LIGHT.op if signal else LIGHT.pv)
    low, high = _find_axis_limits(np.concatenate([signals[:, signal] for _, signals, _ in pair]))
    edges = np.linspace(low, high, _BINS + 1)
    middle = (edges[1:] + edges[:-1]) / 2.0
    lines = [_build_line(f"{name}, {source}", middle, np.histogram(signals[:, signal], edges)[0] * 100.0 / len(signals),
                   {**style, "shape": "hvh"}) for source, signals, style in pair]
    panels.add(2, column, 4, f"Distribution of {name}", {"title": _build_axis_title("OP, %" if signal else "PV")},
               {"title": {"text": "% of samples"}, "rangemode": "tozero"}, *lines)


def _draw_correlations(panels: _Panels, comparison: Comparison) -> None:
    scale, unit = _choose_axis_unit(_LAGS * comparison.interval)
    step = np.float64(comparison.interval / scale)
    count = min(_LAGS, len(comparison.recorded) - 1)
    lags = step * np.arange(1, count + 1, dtype=np.float64)
    lines = [_build_line(f"{name}, {source}", lags, autocorrelation(signals[:, signal], count),
                   {**style, "color": LIGHT.op} if signal and source == "recorded" else style)
             for signal, name in ((0, "PV"), (1, "OP"))
             for source, signals, style in _pair_signals(comparison, LIGHT.pv)]
    y = {"range": [-1.05, 1.05], "zeroline": True}
    panels.add(3, 0, 4, "Autocorrelation", {"title": _build_axis_title(f"lag, {unit}")}, y, *lines)
    count = min(_CROSS_LAGS, len(comparison.recorded) - 1)
    lags = step * np.arange(-count, count + 1, dtype=np.float64)
    lines = [_build_line(source, lags, cross_correlation(signals[:, :2], count), style)
             for source, signals, style in _pair_signals(comparison, LIGHT.sp)]
    panels.add(3, 1, 4, "Cross-correlation of OP and PV", {"title": _build_axis_title(f"lag of PV, {unit}")}, y, *lines)


def _draw_planes(panels: _Panels, comparison: Comparison) -> None:
    """Draw PV over OP, in which a sticky valve shows as a loop."""
    both = np.concatenate([comparison.recorded, comparison.simulated])
    x, y = _find_axis_limits(both[:, 1]), _find_axis_limits(both[:, 0])
    for k, (source, signals, style) in enumerate(_pair_signals(comparison, LIGHT.pv)):
        sample = signals[::-(-len(signals) // _MAX_POINTS)]
        points = _build_line(source, sample[:, 1], sample[:, 0], style,
                       mode="markers", marker={"size": 3, "color": style["color"], "opacity": 0.6})
        panels.add(3, 2 + k, 4, f"PV over OP, {source}", {"title": _build_axis_title("OP, %"), "range": x},
                   {"title": {"text": "PV"}, "range": y}, points)
