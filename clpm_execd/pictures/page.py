"""A self-contained HTML page of text, tables and figures, which opens without a network.

A page follows the browser's light or dark setting and has a switch, prints in light, lists its sections, and draws
each figure when it scrolls into view. Figures are plotly's, in the colours of `style.LIGHT`, which the page maps to the
dark ones. The drawing library is in the page once (1.5 MB), and only where there is a figure. All text is escaped.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

from clpm_execd.extras import require
from clpm_execd.pictures.style import DARK, LIGHT, THEMES, map_light_to_dark
from clpm_execd.version import __version__

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_NUMBER = re.compile(r"-|[-+−]?\d[\d.,]*(e[-+]?\d+)?( ?\S{1,5})?")
MIN_SECTIONS_FOR_CONTENTS = 4  # fewer fit on a screen
MIN_SECTIONS_FOR_FILTER = 6  # fewer are found at a glance


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page with a title. is_wide: whether it spans all columns."""

    title: str
    html: str
    anchor: str
    is_wide: bool


@dataclass(frozen=True, slots=True)
class Link:
    """A cell of a table that links to a section."""

    label: str
    anchor: str


@dataclass(slots=True)
class Page:
    """A page that grows section by section.

    Parameters
    ----------
    title, lead : str
        The heading, and the line below it.
    columns : int
        1 to 3 columns of sections, where the window is wide enough.
    theme : str, optional
        "light" or "dark"; by default the browser's setting.
    has_common_time : bool
        Whether a zoom in time holds for all figures.

    Raises
    ------
    ValueError
        There is no such theme, or another number of columns.
    """

    title: str
    lead: str = ""
    columns: int = 1
    theme: str | None = None
    sections: list[Section] = field(default_factory=list)
    has_common_time: bool = False

    def __post_init__(self) -> None:
        if self.theme not in (None, *THEMES) or not 1 <= self.columns <= 3:
            raise ValueError("a page has the theme light, dark or None, and 1 to 3 columns")

    def add(self, title: str, *parts: str, is_wide: bool = False) -> str:
        """Add a section of parts in HTML, as the `render_` functions return them, and return its anchor."""
        stem = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
        anchors = {section.anchor for section in self.sections}
        anchor = next(name for n in range(len(anchors) + 1) if (name := f"{stem}-{n}" if n else stem) not in anchors)
        self.sections.append(Section(title, "\n".join(parts), anchor, is_wide))
        return anchor

    def html(self) -> str:
        """Return the page."""
        sections = [
            f'<section id="{section.anchor}"{" class=wide" if section.is_wide else ""}>\n'
            f"<h2>{escape(section.title)}</h2>\n{section.html}\n</section>"
            for section in self.sections]
        body = "\n".join(sections)
        return Template(_read_asset("page.html")).substitute(
            title=escape(self.title), lead=escape(self.lead), theme=json.dumps(self.theme), style=_render_style(),
            contents=self._render_filter() + self._render_contents(), sections=body,
            footer=f"clpm-execd {escape(__version__)}", drawing=_render_drawing('class="figure"' in body)
        ).replace("<main>", f'<main class="columns-{self.columns}"{" data-common-time" * self.has_common_time}>', 1)

    def _render_filter(self) -> str:
        if not self.has_common_time or len(self.sections) < MIN_SECTIONS_FOR_FILTER:
            return ""
        return ('<p><input id="filter" type="search" aria-label="filter" placeholder="filter by name, description or '
                'fault"> <span id="matches" class="muted"></span></p>')

    def _render_contents(self) -> str:
        if len(self.sections) < MIN_SECTIONS_FOR_CONTENTS:
            return ""
        items = "".join(f'<li><a href="#{section.anchor}">{escape(section.title)}</a></li>'
                        for section in self.sections)
        return f"<nav><details open><summary>Contents</summary><ul>{items}</ul></details></nav>"


def render_paragraph(text: str, css_class: str = "") -> str:
    """Return a paragraph; css_class: one of page.css, such as muted."""
    return f'<p class="{css_class}">{escape(text)}</p>' if css_class else f"<p>{escape(text)}</p>"


def render_table(header: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """Return a table in which columns of numbers are aligned right.

    Parameters
    ----------
    header : sequence of str
        The headings of the columns.
    rows : iterable of sequences
        The cells: numbers, texts, also of numbers with a unit, Links, or None for an empty cell.
    caption : str
        The line above the table.
    """
    all_rows = [tuple(row) for row in rows]
    is_numeric = [bool(all_rows) and all(_is_number(row[i]) for row in all_rows) for i in range(len(header))]

    def render_cell(tag: str, value: object, i: int) -> str:
        text = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        if isinstance(value, Link):
            return f'<{tag}><a href="#{value.anchor}">{escape(value.label)}</a></{tag}>'
        return f"<{tag}{' class=number' if is_numeric[i] else ''}>{escape(text)}</{tag}>"

    lines = ["".join(render_cell("th", name, i) for i, name in enumerate(header))]
    lines += ["".join(render_cell("td", value, i) for i, value in enumerate(row)) for row in all_rows]
    head = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{head}' + "".join(f"<tr>{line}</tr>\n" for line in lines) + "</table></div>"


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, int | float) or _NUMBER.fullmatch(str(value)) is not None


def render_list(items: Iterable[str]) -> str:
    """Return a list of sentences, or nothing where there is none."""
    lines = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<ul>{lines}</ul>" if lines else ""


def render_legend(colours: Mapping[str, str]) -> str:
    """Return a legend of names and their colours."""
    keys = (f'<span class="key"><i style="background:{colour}"></i>{escape(name)}</span>'
            for name, colour in colours.items())
    return f"<p>{''.join(keys)}</p>"


def render_figure(figure: Figure, height_px: int, details: bytes | None = None) -> str:
    """Return a plotly figure, as wide as its section, with the page's background and font.

    details: the first traces with more points, which are shown when it is zoomed in; see `plotly_page.pack_details`.
    """
    figure.update_layout(template=_build_layout_template(), height=height_px)
    # A closing tag or a comment inside a script would end or hide it.
    data = figure.to_json().replace("<", "\\u003c")
    return (f'<div class="figure" style="--height:{height_px}px"></div>'
            f'<script type="application/json">{data}</script>' + (_render_details(details) if details else ""))


def _render_details(details: bytes) -> str:
    text = base64.b64encode(gzip.compress(details, 6, mtime=0)).decode()
    return f'<script type="application/octet-stream" class="details">{text}</script>'


def _build_layout_template() -> dict[str, Any]:
    """Return the layout that all figures share, in the colours of the light theme."""
    axis = {"gridcolor": LIGHT.grid, "linecolor": LIGHT.muted, "zerolinecolor": LIGHT.grid, "automargin": True}
    return {"layout": {
        "paper_bgcolor": LIGHT.page, "plot_bgcolor": LIGHT.page, "margin": {"l": 56, "r": 12, "t": 36, "b": 32},
        "font": {"color": LIGHT.text, "size": 12, "family": "system-ui, Segoe UI, Roboto, Liberation Sans, sans-serif"},
        "colorway": [LIGHT.pv, LIGHT.op, LIGHT.sp, LIGHT.other, LIGHT.good], "xaxis": axis, "yaxis": axis,
        "hoverlabel": {"bgcolor": LIGHT.surface, "font": {"color": LIGHT.text}},
        "modebar": {"bgcolor": LIGHT.page, "color": LIGHT.muted, "activecolor": LIGHT.pv},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0.0}}}


def _render_drawing(has_figures: bool) -> str:
    colours = f'<script type="application/json" id="colours">{json.dumps(dict(map_light_to_dark()))}</script>'
    library = f'<script type="application/octet-stream" id="plotly">{_pack_plotly()}</script>\n' if has_figures else ""
    return f"{colours}\n{library}<script>\n{_read_asset('page.js')}</script>"


@cache
def _pack_plotly() -> str:
    """Return plotly.js, gzipped, in base64."""
    require("plots", "plotly")
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


def _render_style() -> str:
    colours = {f"{name}_{key}": value for name, theme in (("light", LIGHT), ("dark", DARK))
               for key, value in asdict(theme).items()}
    return Template(_read_asset("page.css")).substitute(colours)


@cache
def _read_asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
