"""A picture of loops in one of its formats: PNG, SVG, or an HTML page with zoom and hover.

A notebook shows a picture as PNG; the page is a file, because it contains its drawing library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clpm_execd.extras import require
from clpm_execd.pictures import matplotlib_image, plotly_page
from clpm_execd.pictures.style import THEMES
from clpm_execd.pictures.trend import Trend, build_trends, choose_run
from clpm_execd.plant.block import Block
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.state.durable_file import make_write_error, write_all_atomically
from clpm_execd.units import SECOND

FORMATS = (".html", ".png", ".svg")


@dataclass(frozen=True, slots=True)
class Picture:
    """Trends over the same time range.

    Parameters
    ----------
    trends : sequence of Trend
        The loops.
    lead : str
        The line below the title of a page.
    theme : str, optional
        "light" or "dark". By default an HTML page follows the browser's setting and an image is light.
    """

    trends: Sequence[Trend]
    lead: str = ""
    theme: str | None = None

    def render(self, suffix: str) -> bytes:
        """Return the content of a file with this suffix, one of FORMATS.

        Raises
        ------
        BadInput
            The extra `plots` is not installed.
        """
        if suffix == ".html":
            return plotly_page.build_preview_page(self.trends, self.lead, self.theme).html().encode()
        return matplotlib_image.render_image(self.trends, THEMES[self.theme or "light"], suffix.removeprefix("."))

    def save(self, path: str | Path) -> None:
        """Write a file in the format of its suffix, one of FORMATS.

        Raises
        ------
        BadInput
            The suffix is another one, the file cannot be written, or the extra `plots` is not installed.
        """
        write_picture(path, self.render(check_suffix(path)))

    def _repr_png_(self) -> bytes:
        return self.render(".png")


def build_picture(block: Block, loops: Sequence[str] | None, theme: str | None = None) -> Picture:
    """Return the picture of a Block; see `NotebookBlock.plot`."""
    if theme is not None and theme not in THEMES:
        raise ValueError(f"unknown theme {theme!r}; {did_you_mean(theme, tuple(THEMES))}")
    ids = block.loops if loops is None else tuple(loops)
    for loop in ids:
        if loop not in block.loops:
            raise KeyError(f"no loop is {loop!r}; {did_you_mean(loop, block.loops)}")
    interval = int(np.diff(block.times).min()) if len(block) > 1 else SECOND
    run = choose_run(len(block), choose_detail_points(".html", len(ids)))
    return Picture(build_trends([block], ids, interval, run), f"{len(block)} samples of {len(ids)} loops", theme)


def choose_max_points(suffix: str, loops: int) -> int:
    """Return how many points of a line a picture of so many loops has room for.

    Parameters
    ----------
    suffix : str
        One of FORMATS.
    loops : int
        The number of loops.
    """
    return plotly_page.choose_max_points(loops) if suffix == ".html" else matplotlib_image.choose_max_points(loops)


def choose_detail_points(suffix: str, loops: int) -> int:
    """Return how many points of a line a picture of so many loops has room for when it is zoomed in.

    Parameters
    ----------
    suffix : str
        One of FORMATS; those without a zoom have as many as `choose_max_points` says.
    loops : int
        The number of loops.
    """
    return plotly_page.choose_detail_points(loops) if suffix == ".html" else choose_max_points(suffix, loops)


def require_library(suffix: str | None) -> None:
    """Raise BadInput where the library is missing that draws files of this suffix; a terminal, None, needs none."""
    if suffix is not None:
        require("plots", "plotly" if suffix == ".html" else "matplotlib")


def check_suffix(path: str | Path) -> str:
    """Return the suffix of a file of a picture, or raise BadInput where it is none of FORMATS."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        what = f"unknown picture format {suffix}" if suffix else "the name has no suffix"
        raise BadInput([Problem(f"--output {path}", what, f"use {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")])
    return suffix


def write_picture(path: str | Path, data: bytes) -> None:
    """Write the file of an --output, complete or not at all.

    Parameters
    ----------
    path : str or Path
    data : bytes
        Its contents.

    Raises
    ------
    BadInput
        It cannot be written.
    """
    try:
        write_all_atomically({Path(path): data})
    except OSError as error:
        raise make_write_error(f"--output {path}", error) from None
