"""The report shows the estimates of each loop, their intervals, its similarity to the record, and the warnings."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import numpy as np
import pytest
from rich.console import Console

from clpm_execd.evaluation.learned_vs_record import Comparison, DiscriminatorAuc, LoopFit
from clpm_execd.evaluation.similarity import Distances
from clpm_execd.evaluation.verdict import Verdict
from clpm_execd.identification.estimates import Estimate
from clpm_execd.identification.learn import LearnedLoop
from clpm_execd.pictures.comparison_figure import draw_comparison
from clpm_execd.pictures.learn_report import build_report_page, build_report_table
from clpm_execd.pictures.style import LIGHT
from clpm_execd.plant.loop_types import template

GOOD = Verdict("good")
DISTANCES, BASELINE = Distances(0.5, 0.1, 0.2, 0.3), Distances(0.9, 0.15, 0.3, 0.2)


def fit_of(name: str = "FIC101", samples: int = 800, interval: float = 10.0) -> LoopFit:
    rng = np.random.default_rng(samples)
    recorded, simulated = (50 + np.cumsum(rng.standard_normal((samples, 3)), axis=0) for _ in range(2))
    estimates = {
        "controller.gain": Estimate(0.512, 0.48, 0.55, "%/%", "identified"),
        "process.gain": Estimate(1.0, 0.5, 2.0, "%/%", "prior"),
        "recording.resolution.pv": Estimate.measured(0.01, "engineering units"),
    }
    learned = LearnedLoop(template("flow", name, (0.0, 100.0)), estimates, ("SP never moved",), round(interval * 1e9),
                          samples)
    return LoopFit(f"/data/{name}.csv", learned, Comparison(recorded, simulated, interval, DISTANCES, BASELINE, 0.97))


def test_the_section_of_a_loop_has_its_estimates_with_intervals_and_sources_and_its_warnings() -> None:
    page = build_report_page(["FIC101"], [fit_of()], DiscriminatorAuc(0.57, 0.54, (0.57,)),
                             [Verdict("usable with care", ("it moves too little",))], ["no zone"]).html()
    for words in ("Verdict: usable with care: it moves too little.", "SP never moved",
                  "controller gain Kc", "0.512", "0.48 to 0.55", "identified",
                  "default (not identified)", "<td>record</td>", "AUC 0.57", "halves of the records 0.54", "0.97 times",
                  "no zone", "/data/FIC101.csv", "10 s"):
        assert words in page


def test_the_overview_comes_first_and_links_to_every_loop() -> None:
    names = [f"FIC{k}" for k in range(5)]
    page = build_report_page(names, [fit_of(name) for name in names], DiscriminatorAuc(0.5, 0.5, (nan,) * 5),
                             [GOOD] * 5, [])
    assert [section.title for section in page.sections] == ["Overview", *names]
    for section in page.sections[1:]:
        assert f'<a href="#{section.anchor}">{section.title}</a>' in page.sections[0].html


def test_names_that_look_like_html_are_shown_as_text() -> None:
    page = build_report_page(["<b>&"], [fit_of("<b>&")], DiscriminatorAuc(nan, nan, (nan,)), [GOOD], ["<i>"]).html()
    assert "<b>&" not in page.replace("<b>PV", "").replace("&lt;", "")
    assert "&lt;b&gt;&amp;" in page
    assert "<i>" not in page


def test_every_panel_has_both_loops_and_every_axis_a_unit() -> None:
    figure, height = draw_comparison(fit_of().comparison)
    axes = [axis for axis in figure.layout if axis.startswith(("xaxis", "yaxis"))]
    assert len(axes) == 24
    for axis in axes:
        title = figure.layout[axis].title.text
        assert title or axis in ("xaxis", "xaxis2", "yaxis9", "yaxis10"), axis
    for n in range(5, 11):
        colours = [trace.line.color for trace in figure.data if trace.xaxis == f"x{n}"]
        assert LIGHT.other in colours
        assert any(colour != LIGHT.other for colour in colours)
    left, right = (figure.layout[axis].range for axis in ("yaxis", "yaxis2"))
    assert left == right, "both are drawn on the same scale"
    assert 600 < height < 1200


@pytest.mark.parametrize("samples", [2, 9, 300, 20_000])
def test_any_length_of_record_is_drawn(samples: int) -> None:
    one = fit_of(samples=samples).comparison
    figure, _ = draw_comparison(one)
    assert max(len(trace.x) for trace in figure.data) <= 1600
    constant = replace(one, recorded=np.full((samples, 3), 5.0), simulated=np.full((samples, 3), 5.0))
    assert draw_comparison(constant)[0].data


def test_the_report_says_where_a_record_cannot_be_compared() -> None:
    one = fit_of()
    short = replace(one, comparison=replace(one.comparison, distances=None, baseline=None, novelty=nan))
    page = build_report_page(["A"], [short], DiscriminatorAuc(nan, nan, (nan,)), [GOOD], []).html()
    assert "too short or too constant" in page
    assert "too short for a comparison" in page


def test_the_table_has_a_row_per_loop_and_marks_defaults() -> None:
    console = Console(width=100)
    with console.capture() as output:
        console.print(build_report_table(["FIC101", "FIC102"], [fit_of(), fit_of()],
                                         DiscriminatorAuc(0.57, 0.54, (0.61, nan)),
                                         [GOOD, Verdict("do not use", ("it swings", "so"))]))
    rows = output.get().splitlines()
    assert rows[0].split()[:2] == ["Loop", "Verdict"]
    assert "FIC102: do not use: it swings; so" in output.get()
    assert rows[2].split() == ["FIC101", "good", "800", "50", "0.512", "1*", "0.61", "0.97"]
    assert "AUC of all loops 0.57" in rows[-1]


def test_the_table_shows_stiction_and_oscillation_where_a_loop_has_them() -> None:
    sticky = {"stiction.S": Estimate.measured(5.04, "%"), "stiction.J": Estimate.measured(2.0, "%")}
    oscillating = {"oscillation.period": Estimate.measured(187.2, "s"),
                   "oscillation.amplitude": Estimate.measured(2.0, "%")}
    fits = [replace(one, learned=replace(one.learned, estimates={**one.learned.estimates, **more}))
            for one, more in ((fit_of(), sticky), (fit_of(), oscillating), (fit_of(), {}))]
    console = Console(width=120)
    with console.capture() as output:
        console.print(build_report_table(["FIC101", "FIC102", "FIC103"], fits,
                                         DiscriminatorAuc(0.5, 0.5, (nan,) * 3), [GOOD] * 3))
    rows = output.get().splitlines()
    assert "Finding" in rows[0]
    assert "S 5, J 2 %" in rows[2]
    assert "external oscillation, 187 s" in rows[3]
    assert rows[4].split() == ["FIC103", "good", "800", "50", "0.512", "1*", "0.97"]
