"""The report says of each loop what was found, how surely, how alike it is, and what the record did not tell."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import numpy as np
import pytest
from rich.console import Console

from clpm_execd.evaluation.learned_vs_record import Discrimination, Likeness, Study
from clpm_execd.evaluation.similarity import Distances
from clpm_execd.identification.estimates import Estimate
from clpm_execd.identification.learn import Learned
from clpm_execd.pictures.learn_report import loop_figure, report_page, report_table
from clpm_execd.pictures.style import LIGHT
from clpm_execd.plant.loop_types import template

NEAR, FLOOR = Distances(0.5, 0.1, 0.2, 0.3), Distances(0.9, 0.15, 0.3, 0.2)


def study(name: str = "FIC101", samples: int = 800, interval: float = 10.0) -> Study:
    rng = np.random.default_rng(samples)
    real, synthetic = (50 + np.cumsum(rng.standard_normal((samples, 3)), axis=0) for _ in range(2))
    estimates = {
        "controller.gain": Estimate(0.512, 0.48, 0.55, "%/%", "identified"),
        "process.gain": Estimate(1.0, 0.5, 2.0, "%/%", "prior"),
        "recording.resolution.pv": Estimate.read(0.01, "engineering units"),
    }
    learned = Learned(template("flow", name, (0.0, 100.0)), estimates, ("SP never moved",), round(interval * 1e9),
                      samples)
    return Study(f"/data/{name}.csv", learned, Likeness(real, synthetic, interval, NEAR, FLOOR, 0.97))


def test_a_loops_section_has_its_numbers_with_intervals_and_sources_and_its_warnings() -> None:
    page = report_page(["FIC101"], [study()], Discrimination(0.57, 0.54, (0.57,)), ["no zone"]).html()
    for words in ("SP never moved", "controller gain Kc", "0.512", "0.48 to 0.55", "identified", "a prior",
                  "the record", "an AUC of 0.57", "halves apart with 0.54", "0.97 times", "no zone", "/data/FIC101.csv",
                  "10 s"):
        assert words in page


def test_the_overview_comes_first_and_leads_to_every_loop() -> None:
    names = [f"FIC{k}" for k in range(5)]
    page = report_page(names, [study(name) for name in names], Discrimination(0.5, 0.5, (nan,) * 5), [])
    assert [section.title for section in page.sections] == ["Overview", *names]
    for section in page.sections[1:]:
        assert f'<a href="#{section.anchor}">{section.title}</a>' in page.sections[0].html


def test_names_that_are_html_are_text() -> None:
    page = report_page(["<b>&"], [study("<b>&")], Discrimination(nan, nan, (nan,)), ["<i>"]).html()
    assert "<b>&" not in page.replace("<b>PV", "").replace("&lt;", "")
    assert "&lt;b&gt;&amp;" in page
    assert "<i>" not in page


def test_a_figure_has_real_and_learned_in_every_panel_and_units_on_every_axis() -> None:
    drawn, height = loop_figure(study().likeness)
    axes = [axis for axis in drawn.layout if axis.startswith(("xaxis", "yaxis"))]
    assert len(axes) == 24
    for axis in axes:
        title = drawn.layout[axis].title.text
        assert title or axis in ("xaxis", "xaxis2", "yaxis9", "yaxis10"), axis
    for n in range(5, 11):
        colours = [trace.line.color for trace in drawn.data if trace.xaxis == f"x{n}"]
        assert LIGHT.other in colours
        assert any(colour != LIGHT.other for colour in colours)
    left, right = (drawn.layout[axis].range for axis in ("yaxis", "yaxis2"))
    assert left == right, "both are drawn on the same scale"
    assert 600 < height < 1200


@pytest.mark.parametrize("samples", [2, 9, 300, 20_000])
def test_any_length_of_record_is_drawn(samples: int) -> None:
    one = study(samples=samples).likeness
    drawn, _ = loop_figure(one)
    assert max(len(trace.x) for trace in drawn.data) <= 1600
    still = replace(one, real=np.full((samples, 3), 5.0), synthetic=np.full((samples, 3), 5.0))
    assert loop_figure(still)[0].data


def test_what_was_not_compared_says_so() -> None:
    one = study()
    short = replace(one, likeness=replace(one.likeness, distances=None, floor=None, copy=nan))
    page = report_page(["A"], [short], Discrimination(nan, nan, (nan,)), []).html()
    assert "too short, or too still" in page
    assert "too little to tell" in page


def test_the_terminals_table_has_a_row_a_loop_and_marks_priors() -> None:
    console = Console(width=100)
    with console.capture() as drawn:
        console.print(report_table(["FIC101", "FIC102"], [study(), study()], Discrimination(0.57, 0.54, (0.61, nan))))
    rows = drawn.get().splitlines()
    assert rows[2].split() == ["FIC101", "800", "50", "0.512", "1", "(prior)", "0.61", "0.97"]
    assert "AUC of all 0.57" in rows[-1]


def test_the_terminals_table_shows_what_sticks_and_what_swings_where_a_loop_does() -> None:
    ill = {"stiction.S": Estimate.read(5.04, "%"), "stiction.J": Estimate.read(2.0, "%")}
    swung = {"oscillation.period": Estimate.read(187.2, "s"), "oscillation.amplitude": Estimate.read(2.0, "%")}
    studies = [replace(one, learned=replace(one.learned, estimates={**one.learned.estimates, **more}))
               for one, more in ((study(), ill), (study(), swung), (study(), {}))]
    console = Console(width=120)
    with console.capture() as drawn:
        console.print(report_table(["FIC101", "FIC102", "FIC103"], studies, Discrimination(0.5, 0.5, (nan,) * 3)))
    rows = drawn.get().splitlines()
    assert "Shows" in rows[0]
    assert "S 5, J 2 %" in rows[2]
    assert "swung, 187 s" in rows[3]
    assert rows[4].split() == ["FIC103", "800", "50", "0.512", "1", "(prior)", "0.97"]
