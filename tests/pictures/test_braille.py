"""A canvas of braille has a dot where a line goes, and nothing beyond its edges."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import examples

from clpm_execd.pictures.braille import BrailleCanvas


def drawn(canvas: BrailleCanvas) -> list[str]:
    return [line.plain for line in canvas.lines()]


def test_a_dot_at_each_corner_is_in_the_corner_of_the_text() -> None:
    canvas = BrailleCanvas(2, 2, 0.0, 3.0, 0.0, 7.0)
    canvas.draw_points(np.array([0.0, 3.0, 0.0, 3.0]), np.array([0.0, 0.0, 7.0, 7.0]), "")
    assert drawn(canvas) == ["⠁⠈", "⡀⢀"]


def test_a_diagonal_has_a_dot_in_every_column_and_row() -> None:
    canvas = BrailleCanvas(4, 2, 0.0, 7.0, 0.0, 7.0)
    canvas.draw_line(np.array([0.0, 7.0]), np.array([0.0, 7.0]), "")
    assert drawn(canvas) == ["⠀⠀⡠⠊", "⡠⠊⠀⠀"]


def test_a_line_breaks_where_a_value_is_missing_and_is_cut_at_the_edges() -> None:
    canvas = BrailleCanvas(3, 1, 0.0, 5.0, 0.0, 3.0)
    canvas.draw_line(np.arange(6.0), np.array([0.0, 0.0, np.nan, 0.0, 0.0, 1e9]), "")
    assert drawn(canvas)[0][0] == "⣀"
    assert drawn(canvas)[0][1] == "⢀"
    assert drawn(canvas)[0][2] != "⠀"


def test_a_dotted_line_has_one_dot_in_each_character() -> None:
    canvas = BrailleCanvas(5, 1, 0.0, 9.0, 0.0, 3.0)
    canvas.draw_dots(np.array([0.0, 9.0]), np.array([0.0, 0.0]), "")
    assert drawn(canvas) == ["⡀" * 5]


def test_a_character_has_the_colour_of_what_was_drawn_last() -> None:
    canvas = BrailleCanvas(2, 1, 0.0, 3.0, 0.0, 3.0)
    canvas.draw_line(np.array([0.0, 3.0]), np.array([0.0, 0.0]), "#112233")
    canvas.draw_points(np.array([3.0]), np.array([3.0]), "#445566")
    [line] = canvas.lines()
    assert [str(span.style) for span in line.spans] == ["#112233", "#445566"]


@settings(max_examples=examples(30))
@given(st.lists(st.tuples(st.floats(-1e12, 1e12), st.one_of(st.floats(-1e12, 1e12), st.just(float("nan")))), min_size=1,
                max_size=20))
def test_any_points_can_be_drawn(points: list[tuple[float, float]]) -> None:
    x, y = np.sort(np.array([point[0] for point in points])), np.array([point[1] for point in points])
    canvas = BrailleCanvas(10, 3, -1.0, 1.0, -1.0, 1.0)
    for draw in (canvas.draw_points, canvas.draw_line, canvas.draw_dots):
        draw(x, y, "")
    assert [len(line) for line in drawn(canvas)] == [10, 10, 10]
