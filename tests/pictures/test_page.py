"""A page is one file that needs nothing else, says what it was given, and nothing that it was not."""

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
from clpm_execd.pictures.page import CONTENTS_FROM, Page, figure, legend, table, text
from clpm_execd.pictures.style import DARK, GROUPS, LIGHT, MODES, dark_of_light
from clpm_execd.plant.block import MODES as PLANT_MODES
from clpm_execd.plant.faults import GROUPS as PLANT_GROUPS
from clpm_execd.problems import BadInput


class Document(HTMLParser):
    """What a browser would see: text by element, ids, and every address that would be fetched."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.scripts: dict[str, str] = {}
        self._script: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if tag == "a" else []
        self.fetched += [given[name] for name in ("src", "href") if name in given and tag != "a"]
        self._script = given.get("id", "") if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._script = None


def sample() -> Page:
    page = Page("Loops of <unit> & co", lead="a day")
    page.add("TIC 101 <b>", text("5 < 6"), figure(Figure(Scatter(x=[1.0, 2.0], y=[3.0, 4.0], name="</script>")), 200))
    page.add("TIC 101 <b>", table(["loop", "gain"], [["A&B", 1.5], [None, 2]], "gains"))
    return page


def test_a_page_fetches_nothing_and_holds_the_library_once() -> None:
    document = Document(sample().html())
    assert document.fetched == []
    library = gzip.decompress(base64.b64decode(document.scripts["plotly"])).decode()
    assert library == get_plotlyjs()
    assert len(sample().html()) < 2_100_000


def test_a_page_without_figures_holds_no_library() -> None:
    page = Page("words")
    page.add("only", text("words"))
    assert len(page.html()) < 20_000


def test_what_is_given_is_shown_as_text_and_never_as_markup() -> None:
    html = sample().html()
    assert "<title>Loops of &lt;unit&gt; &amp; co</title>" in html
    assert "5 &lt; 6" in html
    assert "A&amp;B" in html
    assert "</script>\"" not in html


def test_sections_of_one_title_have_addresses_of_their_own_and_all_are_listed() -> None:
    page = Page("many")
    for _ in range(CONTENTS_FROM):
        page.add("Loop #1", text("."))
    document = Document(page.html())
    anchors = [name for name in document.ids if name.startswith("loop")]
    assert len(set(anchors)) == CONTENTS_FROM
    assert document.links == [f"#{anchor}" for anchor in anchors]


def test_a_table_puts_numbers_at_the_right_and_leaves_out_what_is_not_known() -> None:
    html = table(["loop", "gain"], [["A", 1.25], ["B", None]])
    assert html.count("class=number") == 3
    assert "None" not in html
    assert ">1.25<" in html


def test_every_colour_of_a_figure_can_change_over() -> None:
    colours = json.loads(Document(sample().html()).scripts["colours"])
    assert colours == dark_of_light()
    assert len(colours) == len(set(colours.values())) == 11, "two meanings share a colour"
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for pair in colours.items() for colour in pair)


def test_modes_and_groups_of_faults_each_have_a_colour_of_their_own() -> None:
    assert set(MODES) == set(PLANT_MODES)
    assert set(GROUPS) == set(PLANT_GROUPS)
    assert len({*MODES.values(), *GROUPS.values()}) == len(MODES) + len(GROUPS)


def _luminance(colour: str) -> float:
    """Relative luminance of sRGB (WCAG 2.1)."""
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_text_and_lines_stand_out_from_the_page(theme: object) -> None:
    page = theme.page  # type: ignore[attr-defined]
    for name in ("text", "muted", "good", "bad"):
        assert _contrast(getattr(theme, name), page) >= 4.5, name  # WCAG 2.1, text
    for name in ("pv", "sp", "op"):
        assert _contrast(getattr(theme, name), page) >= 3.0, name  # graphics


def test_legends_escape_names() -> None:
    assert "&lt;i&gt;" in legend({"<i>": "#ffffff"})


def test_a_missing_extra_is_one_line_with_the_command_that_installs_it() -> None:
    with pytest.raises(BadInput) as caught:
        extras.require("plots", "json", "no_such_library")
    assert str(caught.value) == \
        "extra 'plots': no_such_library is not installed; pip install 'clpm-execd[plots]'"
    extras.require("plots", "json")
