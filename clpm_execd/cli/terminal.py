"""What a person at a terminal sees in place of plain text: the same words, aligned and in colour.

Only where stdout (for errors, stderr) is a terminal and NO_COLOR is not set. A pipe, a file and Telegraf get the plain
form, which is the documented one. The drawing library rich is imported when something is drawn.
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

    from clpm_execd.config.descriptions import Catalogue, CatalogueSection
    from clpm_execd.plant.specs import LoopSpec
    from clpm_execd.problems import Problem

DEFAULT_WIDTH = 100  # characters, where neither a terminal nor COLUMNS says
MAX_WIDTH = 1000  # characters: three screens of small letters; a mistaken COLUMNS must not fill the memory
MAX_LOOPS_SHOWN = 20  # in a table; the 500 loops of a plant would scroll away the lines above it
_BLANKS = " \u2800"  # the second is a braille pattern without dots, of which plots consist
_REDRAW_INTERVAL_SECONDS = 0.1  # of a bar: fluent to the eye


def is_colour_terminal(stream: TextIO | None) -> bool:
    """Whether the stream is a terminal of a person who has not asked for plain text."""
    try:
        return stream is not None and stream.isatty() and not os.environ.get("NO_COLOR") \
            and os.environ.get("TERM") != "dumb"
    except ValueError:  # closed
        return False


def print_catalogue(catalogue: Catalogue) -> int:
    """Print the sections to stdout; return the exit status."""
    console = _build_console(sys.stdout)
    if catalogue.introduction:
        console.print(catalogue.introduction)
    for section in catalogue.sections:
        _print_section(console, section)
    return 0


def _print_section(console: Console, section: CatalogueSection) -> None:
    from rich.syntax import Syntax
    from rich.text import Text

    console.print(Text(section.name, "bold cyan"))
    console.print(Text.assemble((f"{section.group}: ", "bold"), section.description), "", sep="\n")
    if section.parameters:
        table = _build_table("parameter", "description", "limits", "default")
        for row in section.parameters:
            table.add_row(row.name, row.description, row.limits, row.default)
        console.print(table, "", sep="\n")
    if section.note:
        console.print(section.note, "", sep="\n")
    # As text, because Syntax pads each line to the width, and the padding would be copied with it. This theme is
    # legible on a light and on a dark background.
    console.print(Syntax(section.example, "toml", theme="ansi_light").highlight(section.example))


def print_loops(loops: Sequence[LoopSpec]) -> None:
    """Print the loops of a configuration to stdout, as they will run."""
    table = _build_table("loop", "type", "range", "SP", "OP %", "mode", "faults")
    for loop in loops[:MAX_LOOPS_SHOWN]:
        low, high = loop.range
        mode = f"CAS of {loop.cascade}" if loop.mode == "CAS" else loop.mode
        table.add_row(loop.id, loop.type, f"{low:g} to {high:g}", f"{loop.sp:g}", f"{loop.op:g}", mode,
                      ", ".join(fault.kind for fault in loop.faults))
    console = _build_console(sys.stdout)
    console.print(table)
    if len(loops) > MAX_LOOPS_SHOWN:
        console.print(f"and {len(loops) - MAX_LOOPS_SHOWN} more", style="dim")


def print_problems(problems: Sequence[Problem]) -> None:
    """Print problems to stderr, each with its remedy."""
    table = _build_table("where", "what is wrong", "what would be right")
    table.columns[1].style, table.columns[2].style = "red", "green"
    for problem in problems:
        table.add_row(problem.where, problem.what, problem.remedy)
    _build_console(sys.stderr).print(table)


def choose_output_width(stream: TextIO | None) -> int:
    """Return the width of a terminal in characters, MAX_WIDTH at most; without one COLUMNS, else DEFAULT_WIDTH."""
    width = _build_console(stream).width if is_colour_terminal(stream) or os.environ.get("COLUMNS") else 0
    return min(width, MAX_WIDTH) if width > 0 else DEFAULT_WIDTH  # a terminal that was not asked for its size says 0


def print_drawing(drawing: RenderableType, width: int) -> int:
    """Print what rich can draw to stdout, in colour on a terminal only; return the exit status."""
    from clpm_execd.outputs.generate import open_stdout

    with open_stdout() as out:
        console = _build_console(sys.stdout)
        console.width = width
        with console.capture() as capture:
            console.print(drawing)
        out.write("".join(f"{line.rstrip(_BLANKS)}\n" for line in capture.get().splitlines()).encode(errors="replace"))
    return 0


class ProgressBar:
    """A bar that counts the parts of a long task; without a rich Progress it shows nothing."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._task = progress.add_task("", total=total) if progress else None

    def add_parts(self, parts: int) -> None:
        """Raise the total: there are more parts than were expected."""
        self._total += parts
        if self._progress and self._task is not None:
            self._progress.update(self._task, total=self._total)

    def describe(self, activity: str) -> None:
        """Show what is being done."""
        if self._progress and self._task is not None:
            self._progress.update(self._task, description=activity)

    def advance(self) -> None:
        """Count one part as done."""
        if self._progress and self._task is not None:
            self._progress.advance(self._task)


@contextmanager
def progress_bar(total: int) -> Iterator[ProgressBar]:
    """Show a bar on stderr if it is a terminal, and remove it in the end."""
    if not is_colour_terminal(sys.stderr):
        yield ProgressBar(None, total)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=_build_console(sys.stderr), transient=True) as progress:
        yield ProgressBar(progress, total)


class TaskBar(logging.Handler):
    """The progress of a task on stderr, without a thread; lines that are logged meanwhile appear above it."""

    def __init__(self, task: str) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        super().__init__()
        self._progress = Progress(TextColumn(task), BarColumn(), TaskProgressColumn(),
                                  TextColumn("{task.description}"), console=_build_console(sys.stderr), transient=True,
                                  auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._task = self._progress.add_task("", total=1.0)
        self._last_draw_time = 0.0  # monotonic, s; 0 while the bar is hidden

    def show(self, share: float, text: str) -> None:
        """Draw the bar at this share, 0 to 1, with a text beside it."""
        if not self._last_draw_time:
            self._progress.start()
            logging.getLogger().handlers.insert(0, self)
        if time.monotonic() - self._last_draw_time > _REDRAW_INTERVAL_SECONDS:
            self._last_draw_time = time.monotonic()
            self._progress.update(self._task, completed=share, description=text, refresh=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Clear the line of the bar: the next handler writes the record there, and the bar is drawn again below it."""
        self._progress.console.file.write("\r\x1b[K")
        self._progress.console.file.flush()

    def close(self) -> None:
        """Remove the bar."""
        if self._last_draw_time:
            self._last_draw_time = 0.0
            logging.getLogger().removeHandler(self)
            self._progress.stop()
        super().close()


def _build_table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", style="cyan" if number == 0 else "")
    return table


def _build_console(stream: TextIO | None) -> Console:
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False)
