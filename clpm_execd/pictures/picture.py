"""A picture of loops that knows every form it can be given: PNG, SVG, or an HTML page with zoom and hover.

In a notebook it shows itself as PNG; the page is a file of its own, for it carries its library with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clpm_execd.extras import require
from clpm_execd.pictures import matplotlib_image as still
from clpm_execd.pictures import plotly_page as interactive
from clpm_execd.pictures.style import THEMES
from clpm_execd.pictures.trend import Trend, run_of, trends
from clpm_execd.plant.block import SECOND, Block
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.state.durable_file import unwritable, write_all_atomically

FORMS = (".html", ".png", ".svg")


@dataclass(frozen=True, slots=True)
class Picture:
    """Trends over the same stretch of time.

    lead: what a page says of them. theme: "light", "dark", or None: a page follows its reader, a still one is light.
    """

    trends: Sequence[Trend]
    lead: str = ""
    theme: str | None = None

    def data(self, form: str) -> bytes:
        """The content of a file with the suffix `form`, one of FORMS. Raises BadInput without the extra `plots`."""
        if form == ".html":
            return interactive.preview_page(self.trends, self.lead, self.theme).html().encode()
        return still.image(self.trends, THEMES[self.theme or "light"], form.removeprefix("."))

    def save(self, path: str | Path) -> None:
        """Write a file; its suffix says as what. Raises BadInput where that is none of FORMS or cannot be written."""
        write(path, self.data(form_of(path)))

    def _repr_png_(self) -> bytes:
        return self.data(".png")


def picture_of(block: Block, loops: Sequence[str] | None, theme: str | None = None) -> Picture:
    """See `NotebookBlock.plot`."""
    chosen = block.loops if loops is None else tuple(loops)
    for loop in chosen:
        if loop not in block.loops:
            raise KeyError(f"no loop is {loop!r}; {did_you_mean(loop, block.loops)}")
    interval = int(np.diff(block.times).min()) if len(block) > 1 else SECOND
    run = run_of(len(block), points_of(".html", len(chosen)))
    return Picture(trends([block], chosen, interval, run), f"{len(block)} samples of {len(chosen)} loops", theme)


def points_of(form: str, loops: int) -> int:
    """How many points of a line such a picture of so many loops has room for."""
    return interactive.points_of(loops) if form == ".html" else still.points_of(loops)


def ready(form: str | None) -> None:
    """Raise BadInput where the library is missing that draws this form, or for None the terminal's."""
    require("plots", {".html": "plotly", None: "plotille"}.get(form, "matplotlib"))


def form_of(path: str | Path) -> str:
    """The suffix, if it is one of FORMS; else BadInput."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMS:
        what = f"{suffix or 'a name without suffix'} is no form of a picture"
        raise BadInput([Problem(f"--output {path}", what, f"end it in {', '.join(FORMS[:-1])} or {FORMS[-1]}")])
    return suffix


def write(path: str | Path, data: bytes) -> None:
    """Write a file, or raise BadInput."""
    try:
        write_all_atomically({Path(path): data})
    except OSError as error:
        raise unwritable(f"--output {path}", error) from None
