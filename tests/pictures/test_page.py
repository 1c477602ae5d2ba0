"""A page is one file that needs no other, and shows its text as text."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser

import pytest
from plotly.graph_objects import Figure, Scatter
from plotly.offline import get_plotlyjs

from clpm_execd import extras
from clpm_execd.pictures.page import (
    MIN_SECTIONS_FOR_CONTENTS,
    Page,
    render_figure,
    render_legend,
    render_paragraph,
    render_table,
)
from clpm_execd.pictures.style import DARK, GROUP_COLOURS, LIGHT, MODE_COLOURS, map_light_to_dark
from clpm_execd.plant.block import AFFECTED, MODES
from clpm_execd.plant.faults import GROUPS
from clpm_execd.problems import BadInput


class Document(HTMLParser):
    """A page as a browser sees it: its scripts, ids, links, and every address that would be fetched."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.scripts: dict[str, str] = {}
        self._script: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes["href"]] if tag == "a" else []
        self.fetched += [attributes[name] for name in ("src", "href") if name in attributes and tag != "a"]
        self._script = attributes.get("id", "") if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._script = None


def example_page() -> Page:
    page = Page("Loops of <unit> & co", lead="a day")
    figure = Figure(Scatter(x=[1.0, 2.0], y=[3.0, 4.0], name="</script>"))
    page.add("TIC 101 <b>", render_paragraph("5 < 6"), render_figure(figure, 200))
    page.add("TIC 101 <b>", render_table(["loop", "gain"], [["A&B", 1.5], [None, 2]], "gains"))
    return page


def test_a_page_fetches_nothing_and_contains_the_drawing_library_once() -> None:
    document = Document(example_page().html())
    assert document.fetched == []
    library = gzip.decompress(base64.b64decode(document.scripts["plotly"])).decode()
    assert library == get_plotlyjs()
    assert len(example_page().html()) < 2_100_000


def test_a_page_without_figures_does_not_contain_the_drawing_library() -> None:
    page = Page("words")
    page.add("only", render_paragraph("words"))
    assert len(page.html()) < 20_000


def test_all_text_is_escaped() -> None:
    html = example_page().html()
    assert "<title>Loops of &lt;unit&gt; &amp; co</title>" in html
    assert "5 &lt; 6" in html
    assert "A&amp;B" in html
    assert "</script>\"" not in html


def test_sections_with_the_same_title_have_different_anchors_in_the_contents() -> None:
    page = Page("many")
    for _ in range(MIN_SECTIONS_FOR_CONTENTS):
        page.add("Loop #1", render_paragraph("."))
    document = Document(page.html())
    anchors = [name for name in document.ids if name.startswith("loop")]
    assert len(set(anchors)) == MIN_SECTIONS_FOR_CONTENTS
    assert document.links == [f"#{anchor}" for anchor in anchors]


def test_a_table_aligns_numbers_right_and_shows_none_as_an_empty_cell() -> None:
    html = render_table(["loop", "gain"], [["A", 1.25], ["B", None]])
    assert html.count("class=number") == 3
    assert "None" not in html
    assert ">1.25<" in html


def test_every_colour_of_the_light_theme_has_a_dark_one() -> None:
    colours = json.loads(Document(example_page().html()).scripts["colours"])
    assert colours == map_light_to_dark()
    assert len(colours) == len(set(colours.values())) == 11, "two meanings share a colour"
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for pair in colours.items() for colour in pair)


def test_each_mode_and_group_of_faults_has_a_colour_of_its_own() -> None:
    assert set(MODE_COLOURS) == set(MODES)
    assert set(GROUP_COLOURS) == {*GROUPS, AFFECTED}
    assert len({*MODE_COLOURS.values(), *GROUP_COLOURS.values()}) == len(MODES) + len(GROUPS) + 1


def _luminance(colour: str) -> float:
    """Return the relative luminance of an sRGB colour (WCAG 2.1)."""
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_text_and_lines_have_enough_contrast_with_the_page(theme: object) -> None:
    page = theme.page  # type: ignore[attr-defined]
    for name in ("text", "muted", "good", "bad"):
        assert _contrast(getattr(theme, name), page) >= 4.5, name  # WCAG 2.1, text
    for name in ("pv", "sp", "op"):
        assert _contrast(getattr(theme, name), page) >= 3.0, name  # graphics


def test_the_names_of_a_legend_are_escaped() -> None:
    assert "&lt;i&gt;" in render_legend({"<i>": "#ffffff"})


def test_the_error_of_a_missing_extra_names_the_command_that_installs_it() -> None:
    with pytest.raises(BadInput) as caught:
        extras.require("plots", "json", "no_such_library")
    assert str(caught.value) == \
        "extra 'plots': no_such_library is not installed; pip install 'clpm-execd[plots]'"
    extras.require("plots", "json")
