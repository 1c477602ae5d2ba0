"""`preview`: a picture of loops before they are streamed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import source_of, stretch_of
from clpm_execd.cli.options import add_command, add_loop_options, add_runtime_options, output_file
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.runtime.os_signals import Signals

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands
    from clpm_execd.pictures.trend import Trend
    from clpm_execd.plant.block import Block
    from clpm_execd.plant.source import Source

MOST_UNASKED = 50  # loops; who wants more names them
_AT_ONCE = 200_000  # loop-samples: soon done, for a stop waits for it


def add(commands: Commands) -> None:
    command = add_command(
        commands, "preview", "a picture of loops before they are streamed: PV, SP, OP, modes and faults",
        examples=["clpm-execd preview TIC208030", "clpm-execd preview 'FIC*' --config loops.toml --duration 8h",
                  "clpm-execd preview --demo --output demo.html"])
    add_loop_options(command)
    add_runtime_options(command, "--env-file")
    group = command.add_argument_group("the picture")
    group.add_argument("loops", metavar="LOOP", nargs="*", help="ids, or patterns such as 'FIC1*' "
                                                                f"(default all, of many the first {MOST_UNASKED})")
    group.add_argument("--start", metavar="T", help="first instant, such as 2025-01-10T10:05:00Z (default the start "
                                                    "in loops.toml, else now)")
    group.add_argument("--duration", metavar="D", default="1h", help="how long a stretch (default 1h)")
    group.add_argument("--output", metavar="FILE", type=output_file,
                       help="a file: .html with zoom and hover, .png or .svg (default -, text on stdout)")
    group.add_argument("--theme", choices=("light", "dark"), help="of the background (default light; a page follows "
                                                                  "its reader)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Draw it; the exit status."""
    from clpm_execd.config.loop_groups import select_groups
    from clpm_execd.pictures.picture import form_of, points_of, ready

    form = form_of(arguments.output) if arguments.output else None
    ready(form)
    configuration, duration = stretch_of(arguments)
    if not arguments.replay:
        ids = [loop.id for loop in configuration.loops]
        chosen = _chosen(arguments.loops, ids)
        configuration = replace(configuration, loops=select_groups(configuration.loops, chosen))
    source, _ = source_of(arguments, configuration)
    if arguments.replay:
        ids = list(source.loops)
        chosen = _chosen(arguments.loops, ids)
    if not arguments.loops and len(ids) > len(chosen):
        print(f"the first {len(chosen)} of {len(ids)} loops: name others, or a pattern such as 'FIC*'", file=sys.stderr)
    samples = -(-duration // source.interval)
    if form is None:
        return _show(arguments, source, samples, chosen, signals)
    return _write(arguments, source, samples, chosen, points_of(form, len(chosen)), signals)


def _show(arguments: argparse.Namespace, source: Source, samples: int, chosen: Sequence[str], signals: Signals) -> int:
    """On the terminal, or as plain text to whatever else stdout is."""
    from clpm_execd.cli.terminal import show_picture, width_of
    from clpm_execd.pictures.style import THEMES
    from clpm_execd.pictures.terminal_plot import columns_of, points_of, terminal

    width = width_of(sys.stdout)
    drawn = _trends(source, samples, chosen, points_of(width // columns_of(len(chosen), width)), signals)
    return show_picture(terminal(drawn, width, THEMES.get(arguments.theme)), width) if drawn else 0


def _write(arguments: argparse.Namespace, source: Source, samples: int, chosen: Sequence[str], points: int,
           signals: Signals) -> int:
    from clpm_execd.pictures.picture import Picture
    from clpm_execd.pictures.trend import KEPT, run_of
    from clpm_execd.units import format_duration

    drawn = _trends(source, samples, chosen, points, signals)
    if drawn:
        run = run_of(samples, points)
        lead = f"{len(drawn)} {'loops' if drawn[1:] else 'loop'}, a sample each {format_duration(source.interval)}"
        if run > KEPT:
            lead += f"; of each {run} samples the first, least, greatest and last are drawn"
        Picture(drawn, lead, arguments.theme).save(arguments.output)
    return 0


def _trends(source: Source, samples: int, chosen: Sequence[str], points: int, signals: Signals) -> list[Trend]:
    """What is drawn, each line of about so many points at most; nothing where a stop was asked for."""
    from clpm_execd.pictures.trend import run_of, trends

    run = run_of(samples, points)
    part = run * max(1, _AT_ONCE // len(source.loops) // run)
    found = trends(_blocks(source, samples, part, signals), chosen, source.interval, run)
    return [] if signals.stop_asked else found


def _blocks(source: Source, samples: int, part: int, signals: Signals) -> Iterator[Block]:
    for first in range(0, samples, part):
        if signals.stop_asked:
            return
        yield source.advance(min(part, samples - first))


def _chosen(patterns: Sequence[str], ids: Sequence[str]) -> list[str]:
    """The ids that one of the patterns means, in their own order; BadInput with each pattern that means none."""
    if not patterns:
        return list(ids[:MOST_UNASKED])
    problems = [Problem("preview", f"no loop is {pattern!r}", did_you_mean(pattern, ids) if len(ids) <= 1000 else
                        "give an id of the configuration, or a pattern such as 'FIC1*'")
                for pattern in patterns if not any(fnmatchcase(loop, pattern) for loop in ids)]
    if problems:
        raise BadInput(problems)
    return [loop for loop in ids if any(fnmatchcase(loop, pattern) for pattern in patterns)]
