"""Samples and a loop sheet that convert themselves to a pandas DataFrame and to a picture, for notebooks.

The plant's Block imports neither pandas nor pictures; the public generator returns this subclass. Its libraries come
with the extra `plots` and are imported when they are first needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from clpm_execd.extras import require
from clpm_execd.plant.block import Block
from clpm_execd.plant.loop_sheet import LoopSheetRow

if TYPE_CHECKING:
    import pandas

    from clpm_execd.pictures.picture import Picture


class NotebookBlock(Block):
    """A Block that converts itself to a pandas DataFrame and to a picture."""

    __slots__ = ()

    @classmethod
    def of(cls, block: Block) -> NotebookBlock:
        """Return the same samples, which are shared and not copied."""
        return cls(**{field.name: getattr(block, field.name) for field in fields(Block)})

    def to_frame(self, form: str = "long") -> pandas.DataFrame:
        """Return the samples as a pandas DataFrame with a UTC index `time`.

        Both forms have `mode` as a category, the signals, and the labels: `fault` (the present ones, joined by `+`),
        `visible` (whether one of them is) and `control` (the negative controls in force).

        Parameters
        ----------
        form : str
            "long" has one row per sample in the order in which samples leave (missing samples have no row, duplicates
            have two, late ones come late), with a column `loop_id`: to group, filter and train on. "wide" has one row
            per instant, before the data path, with columns (loop_id, signal): to plot and correlate.

        Raises
        ------
        BadInput
            The extra `plots` is not installed.
        ValueError
            `form` is neither of the two.
        """
        from clpm_execd.pictures.dataframe import build_frame

        return build_frame(self, form)

    def plot(self, loops: Sequence[str] | str | None = None, theme: str | None = None) -> Picture:
        """Return a picture, which a notebook shows and `.save("x.html")` writes.

        Parameters
        ----------
        loops : sequence of str, or str, optional
            The loops to draw; by default all.
        theme : str, optional
            "light" or "dark". By default an HTML page follows the browser's setting and an image is light.

        Raises
        ------
        BadInput
            The extra `plots` is not installed.
        KeyError
            There is no loop of that name.
        ValueError
            `theme` is neither of the two.
        """
        from clpm_execd.pictures.picture import build_picture

        return build_picture(self, [loops] if isinstance(loops, str) else loops, theme)


class LoopSheet(tuple[LoopSheetRow, ...]):
    """The rows of a loop sheet, one for each loop."""

    __slots__ = ()

    def to_frame(self) -> pandas.DataFrame:
        """Return the sheet as a pandas DataFrame with the index `loop_id`; the tags are dictionaries.

        Raises
        ------
        BadInput
            The extra `plots` is not installed.
        """
        require("plots", "pandas")
        import pandas as pd

        names = [field.name for field in fields(LoopSheetRow)]
        rows = [[getattr(row, name) for name in names] for row in self]
        return pd.DataFrame(rows, columns=names).set_index("loop_id")
