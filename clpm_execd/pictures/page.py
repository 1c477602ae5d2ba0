"""One self-contained HTML page: sections of text, tables and figures, that opens without a network.

A page follows the reader's light or dark setting and has a switch, prints in light, lists its sections, and draws
each figure when it comes into sight. Figures are plotly's, made in the colours of `style.LIGHT`; the page turns them
into the dark ones. The drawing library is packed into a page once (1.5 MB), and only where there is a figure. All text
that is given is escaped.
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
from clpm_execd.pictures.style import DARK, LIGHT, THEMES, dark_of_light
from clpm_execd.version import __version__

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_NUMBER = re.compile(r"-|[-+−]?\d[\d.,]*(e[-+]?\d+)?( ?\S{1,5})?")
CONTENTS_FROM = 4  # sections: fewer are seen at once


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of a page; wide: across all columns."""

    title: str
    html: str
    anchor: str
    wide: bool


@dataclass(frozen=True, slots=True)
class Link:
    """A cell of a table that leads to a section."""

    words: str
    anchor: str


@dataclass(slots=True)
class Page:
    """A page that grows section by section.

    title, lead: text. columns: 1 to 3 beside each other where the window is wide enough. theme: "light", "dark", or
    None for the reader's.
    """

    title: str
    lead: str = ""
    columns: int = 1
    theme: str | None = None
    sections: list[Section] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.theme not in (None, *THEMES) or not 1 <= self.columns <= 3:
            raise ValueError("a page has the theme light, dark or None, and 1 to 3 columns")

    def add(self, title: str, *parts: str, wide: bool = False) -> str:
        """Add a section of parts that are HTML: what `text`, `table`, `figure` and `legend` give; its anchor."""
        stem = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
        taken = {section.anchor for section in self.sections}
        anchor = next(name for n in range(len(taken) + 1) if (name := f"{stem}-{n}" if n else stem) not in taken)
        self.sections.append(Section(title, "\n".join(parts), anchor, wide))
        return anchor

    def html(self) -> str:
        """The whole page."""
        sections = [
            f'<section id="{section.anchor}"{" class=wide" if section.wide else ""}>\n'
            f"<h2>{escape(section.title)}</h2>\n{section.html}\n</section>"
            for section in self.sections]
        body = "\n".join(sections)
        return Template(_file("page.html")).substitute(
            title=escape(self.title), lead=escape(self.lead), theme=json.dumps(self.theme), style=_style(),
            contents=self._contents(), sections=body, footer=f"clpm-execd {escape(__version__)}",
            drawing=_drawing('class="figure"' in body)).replace("<main>", f'<main class="columns-{self.columns}">', 1)

    def _contents(self) -> str:
        if len(self.sections) < CONTENTS_FROM:
            return ""
        items = "".join(f'<li><a href="#{section.anchor}">{escape(section.title)}</a></li>'
                        for section in self.sections)
        return f"<nav><details open><summary>Contents</summary><ul>{items}</ul></details></nav>"


def text(words: str, kind: str = "") -> str:
    """A paragraph; kind: a class of page.css, such as muted."""
    return f'<p class="{kind}">{escape(words)}</p>' if kind else f"<p>{escape(words)}</p>"


def table(header: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """A table; columns of numbers, also as text and with a unit, stand at the right. None is an empty cell."""
    shown = [tuple(row) for row in rows]
    right = [bool(shown) and all(_is_number(row[i]) for row in shown) for i in range(len(header))]

    def cell(tag: str, value: object, i: int) -> str:
        words = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        if isinstance(value, Link):
            return f'<{tag}><a href="#{value.anchor}">{escape(value.words)}</a></{tag}>'
        return f"<{tag}{' class=number' if right[i] else ''}>{escape(words)}</{tag}>"

    lines = ["".join(cell("th", name, i) for i, name in enumerate(header))]
    lines += ["".join(cell("td", value, i) for i, value in enumerate(row)) for row in shown]
    head = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{head}' + "".join(f"<tr>{line}</tr>\n" for line in lines) + "</table></div>"


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, int | float) or _NUMBER.fullmatch(str(value)) is not None


def listing(items: Iterable[str]) -> str:
    """A list of sentences; nothing where there is none."""
    lines = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<ul>{lines}</ul>" if lines else ""


def legend(colours: Mapping[str, str]) -> str:
    """What fills mean: their names beside their colours."""
    keys = (f'<span class="key"><i style="background:{colour}"></i>{escape(name)}</span>'
            for name, colour in colours.items())
    return f"<p>{''.join(keys)}</p>"


def figure(drawn: Figure, height: int) -> str:
    """A plotly figure, `height` px high and as wide as its section, on the page's ground and in its letters."""
    drawn.update_layout(template=_template(), height=height)
    # An ending tag or a comment inside of a script would end or hide it.
    data = drawn.to_json().replace("<", "\\u003c")
    return (f'<div class="figure" style="--height:{height}px"></div>'
            f'<script type="application/json">{data}</script>')


def _template() -> dict[str, Any]:
    """What figures have in common, in the colours of the light theme."""
    axis = {"gridcolor": LIGHT.grid, "linecolor": LIGHT.muted, "zerolinecolor": LIGHT.grid, "automargin": True}
    return {"layout": {
        "paper_bgcolor": LIGHT.page, "plot_bgcolor": LIGHT.page, "margin": {"l": 56, "r": 12, "t": 36, "b": 32},
        "font": {"color": LIGHT.text, "size": 12, "family": "system-ui, Segoe UI, Roboto, Liberation Sans, sans-serif"},
        "colorway": [LIGHT.pv, LIGHT.op, LIGHT.sp, LIGHT.other, LIGHT.good], "xaxis": axis, "yaxis": axis,
        "hoverlabel": {"bgcolor": LIGHT.surface, "font": {"color": LIGHT.text}},
        "modebar": {"bgcolor": LIGHT.page, "color": LIGHT.muted, "activecolor": LIGHT.pv},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0.0}}}


def _drawing(has_figures: bool) -> str:
    colours = f'<script type="application/json" id="colours">{json.dumps(dict(dark_of_light()))}</script>'
    library = f'<script type="application/octet-stream" id="plotly">{_plotly()}</script>\n' if has_figures else ""
    return f"{colours}\n{library}<script>\n{_file('page.js')}</script>"


@cache
def _plotly() -> str:
    """plotly.js, gzipped, as base64."""
    require("plots", "plotly")
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


def _style() -> str:
    colours = {f"{name}_{key}": value for name, theme in (("light", LIGHT), ("dark", DARK))
               for key, value in asdict(theme).items()}
    return Template(_file("page.css")).substitute(colours)


@cache
def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
