"""What a person at a terminal sees instead of plain text: the same words, aligned in colour.

Only where stdout (of problems, stderr) is a terminal and NO_COLOR is not set; a pipe, a file and Telegraf get the plain
form, which is the documented one. The library that draws is imported when something is drawn.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress
    from rich.table import Table

    from clpm_execd.config.descriptions import Catalogue, Section
    from clpm_execd.plant.specs import LoopSpec
    from clpm_execd.problems import Problem

_BLANKS = " \u2800"  # the second is a braille pattern without dots
_REDRAWN = 0.1  # s between two drawings of a bar
MOST_LOOPS = 20  # of a table; a plant of 500 would scroll away what is said above it


def coloured(stream: TextIO | None) -> bool:
    """Whether a person looks at it who has not asked for plain text."""
    try:
        return stream is not None and stream.isatty() and not os.environ.get("NO_COLOR") \
            and os.environ.get("TERM") != "dumb"
    except ValueError:  # closed
        return False


def show_catalogue(catalogue: Catalogue) -> int:
    """The sections on stdout; the exit status."""
    console = _console(sys.stdout)
    if catalogue.head:
        console.print(catalogue.head)
    for section in catalogue.sections:
        _show_section(console, section)
    return 0


def _show_section(console: Console, section: Section) -> None:
    from rich.syntax import Syntax
    from rich.text import Text

    console.print(Text(section.name, "bold cyan"))
    console.print(Text.assemble((f"{section.group}: ", "bold"), section.meaning), "", sep="\n")
    if section.rows:
        table = _table("parameter", "meaning", "range", "default")
        for row in section.rows:
            table.add_row(row.name, row.meaning, row.range, row.default.removeprefix("default "))
        console.print(table, "", sep="\n")
    if section.note:
        console.print(section.note, "", sep="\n")
    # Text, not the Syntax itself: that pads each line to the width, which would be pasted along. Of the themes this one
    # can be read on light and on dark.
    console.print(Syntax(section.example, "toml", theme="ansi_light").highlight(section.example))


def show_loops(loops: Sequence[LoopSpec]) -> None:
    """The loops of a configuration on stdout, as they will run."""
    table = _table("loop", "type", "range", "SP", "OP %", "mode", "faults")
    for loop in loops[:MOST_LOOPS]:
        low, high = loop.range
        mode = f"CAS of {loop.cascade}" if loop.mode == "CAS" else loop.mode
        table.add_row(loop.id, loop.type, f"{low:g} to {high:g}", f"{loop.sp:g}", f"{loop.op:g}", mode,
                      ", ".join(fault.kind for fault in loop.faults))
    console = _console(sys.stdout)
    console.print(table)
    if len(loops) > MOST_LOOPS:
        console.print(f"and {len(loops) - MOST_LOOPS} more", style="dim")


def show_problems(problems: Sequence[Problem]) -> None:
    """Problems on stderr, each with its remedy."""
    table = _table("where", "what is wrong", "what would be right")
    table.columns[1].style, table.columns[2].style = "red", "green"
    for problem in problems:
        table.add_row(problem.where, problem.what, problem.remedy)
    _console(sys.stderr).print(table)


def width_of(stream: TextIO | None) -> int:
    """Of the terminal in characters; what is no terminal is as wide as COLUMNS, else 100."""
    return _console(stream).width if coloured(stream) or os.environ.get("COLUMNS") else 100


def show_picture(picture: RenderableType, width: int) -> int:
    """What rich can draw, on stdout, without colour where nobody sees it; the exit status."""
    from clpm_execd.outputs.generate import stdout

    with stdout() as out:
        console = _console(sys.stdout)
        console.width = width
        with console.capture() as drawn:
            console.print(picture)
        out.write("".join(f"{line.rstrip(_BLANKS)}\n" for line in drawn.get().splitlines()).encode())
    return 0


class Bar:
    """How far a long work has come."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._task = progress.add_task("", total=total) if progress else None

    def expect(self, more: int) -> None:
        """There is more to do than was known."""
        self._total += more
        if self._progress and self._task is not None:
            self._progress.update(self._task, total=self._total)

    def say(self, words: str) -> None:
        """What is being done."""
        if self._progress and self._task is not None:
            self._progress.update(self._task, description=words)

    def done(self) -> None:
        """One more of the total is."""
        if self._progress and self._task is not None:
            self._progress.advance(self._task)


@contextmanager
def progress_bar(total: int) -> Iterator[Bar]:
    """A bar on stderr where a person looks at it, gone in the end; elsewhere nothing."""
    if not coloured(sys.stderr):
        yield Bar(None, total)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=_console(sys.stderr), transient=True) as progress:
        yield Bar(progress, total)


class PastBar(logging.Handler):
    """How far a past that is filled in has got, on stderr; what is logged meanwhile stands above it."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        super().__init__()
        self._drawn = Progress(TextColumn("filling in"), BarColumn(), TaskProgressColumn(),
                               TextColumn("{task.description}"), console=_console(sys.stderr), transient=True,
                               auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._task = self._drawn.add_task("", total=1.0)
        self._shown = 0.0

    def show(self, share: float, text: str) -> None:
        if not self._shown:
            self._drawn.start()
            logging.getLogger().handlers.insert(0, self)
        if time.monotonic() - self._shown > _REDRAWN:
            self._shown = time.monotonic()
            self._drawn.update(self._task, completed=share, description=text, refresh=True)

    def emit(self, record: logging.LogRecord) -> None:
        """The line is to be written where the bar stands, which is drawn again below it."""
        self._drawn.console.file.write("\r\x1b[K")
        self._drawn.console.file.flush()

    def close(self) -> None:
        if self._shown:
            self._shown = 0.0
            logging.getLogger().removeHandler(self)
            self._drawn.stop()
        super().close()


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", style="cyan" if number == 0 else "")
    return table


def _console(stream: TextIO | None) -> Console:
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False)
