"""`preview`: a plot of loops before they are streamed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from clpm_execd.cli.assembly import build_source, count_samples, load_time_range, skip_to
from clpm_execd.cli.options import SOURCE_OPTIONS, add_command, add_shared_options, add_time_range, parse_output_path
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.runtime.os_signals import Signals

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands
    from clpm_execd.pictures.trend import Trend
    from clpm_execd.plant.block import Block
    from clpm_execd.plant.source import Source
    from clpm_execd.plant.specs import LoopSpec

MAX_LOOPS_UNNAMED = 50  # drawn if no loop is named
_MAX_SUGGESTED = 1000  # loop ids that are searched for one that resembles a mistyped one
_SAMPLES_PER_ADVANCE = 200_000  # of all loops: a fraction of a second, for which a stop waits


def add(commands: Commands) -> None:
    command = add_command(
        commands, "preview", "plot loops before streaming them: PV, SP, OP, modes and faults",
        examples=["clpm-execd preview TIC208030", "clpm-execd preview 'FIC*' --config loops.toml --duration 8h",
                  "clpm-execd preview --demo --output demo.html"])
    add_shared_options(command, "source", *SOURCE_OPTIONS)
    add_shared_options(command, "runtime", "--env-file")
    command.add_argument("loops", metavar="LOOP", nargs="*",
                         help=f"loop ids, or patterns such as 'FIC1*' (default all, at most {MAX_LOOPS_UNNAMED})")
    add_time_range(command)
    group = command.add_argument_group("output")
    group.add_argument("--output", metavar="FILE", type=parse_output_path,
                       help="a file: .html with zoom and hover, .png or .svg (default -, text on stdout)")
    group.add_argument("--theme", choices=("light", "dark"), help="background (default light; HTML follows the "
                                                                  "browser's setting)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Draw the plot; return the exit status."""
    from clpm_execd.config.loop_groups import select_groups
    from clpm_execd.config.output import TRUTH
    from clpm_execd.pictures.picture import check_suffix, require_library

    form = check_suffix(arguments.output) if arguments.output else None
    require_library(form)
    time_range = load_time_range(arguments)
    configuration = time_range.configuration
    if not arguments.replay:
        all_ids = [loop.id for loop in configuration.loops]
        loops = _choose(arguments.loops, all_ids)
        configuration = replace(configuration, loops=select_groups(configuration.loops, loops))
    output = configuration.output  # a picture shows the ground truth, whether or not it is written
    configuration = replace(configuration, output=replace(output, truth=output.truth or TRUTH))
    source = build_source(arguments, configuration).source
    specs = configuration.loops
    if arguments.replay:
        all_ids = list(source.loops)
        loops = _choose(arguments.loops, all_ids)
    if not arguments.loops and len(all_ids) > len(loops):
        print(f"first {len(loops)} of {len(all_ids)} loops; name others, or a pattern such as 'FIC*'", file=sys.stderr)
    skip_to(source, time_range.first, signals)
    samples = count_samples(source, time_range.duration)
    if form is None:
        return _print(arguments, source, samples, loops, specs, signals)
    return _write(arguments, source, samples, loops, specs, form, signals)


def _print(arguments: argparse.Namespace, source: Source, samples: int, loops: Sequence[str],
           specs: Sequence[LoopSpec], signals: Signals) -> int:
    """Draw to stdout: in colour on a terminal, else as plain text."""
    from clpm_execd.cli.terminal import choose_output_width, print_drawing
    from clpm_execd.pictures.style import THEMES
    from clpm_execd.pictures.terminal_plot import choose_loops_per_row, choose_max_points, draw_trends
    from clpm_execd.pictures.trend import label_trends

    width = choose_output_width(sys.stdout)
    max_points = choose_max_points(width // choose_loops_per_row(len(loops), width))
    loop_trends = _simulate_trends(source, samples, loops, max_points, signals)
    loop_trends = label_trends(loop_trends, specs)
    return print_drawing(draw_trends(loop_trends, width, THEMES.get(arguments.theme)), width) if loop_trends else 0


def _write(arguments: argparse.Namespace, source: Source, samples: int, loops: Sequence[str],
           specs: Sequence[LoopSpec], form: str, signals: Signals) -> int:
    """Draw to the file of --output; form: its suffix."""
    from clpm_execd.pictures.picture import Picture, choose_detail_points, choose_max_points
    from clpm_execd.pictures.trend import POINTS_PER_RUN, choose_run, label_trends
    from clpm_execd.units import format_duration

    loop_trends = _simulate_trends(source, samples, loops, choose_detail_points(form, len(loops)), signals)
    if loop_trends:
        run = choose_run(samples, choose_max_points(form, len(loops)))
        lead = f"{len(loop_trends)} {'loops' if loop_trends[1:] else 'loop'}, {format_duration(source.interval)} data"
        if run > POINTS_PER_RUN:
            lead += f", min/max-downsampled {run}:1"
        Picture(label_trends(loop_trends, specs), lead, arguments.theme).save(arguments.output)
    return 0


def _simulate_trends(source: Source, samples: int, loops: Sequence[str], points: int, signals: Signals) -> list[Trend]:
    """Return what is drawn, each line of about so many points at most; nothing if a stop was requested."""
    from clpm_execd.pictures.trend import build_trends, choose_run

    run = choose_run(samples, points)
    part = run * max(1, _SAMPLES_PER_ADVANCE // len(source.loops) // run)
    loop_trends = build_trends(_simulate_blocks(source, samples, part, signals), loops, source.interval, run)
    return [] if signals.should_stop else loop_trends


def _simulate_blocks(source: Source, samples: int, part: int, signals: Signals) -> Iterator[Block]:
    for first in range(0, samples, part):
        if signals.should_stop:
            return
        yield source.advance(min(part, samples - first))


def _choose(patterns: Sequence[str], all_ids: Sequence[str]) -> list[str]:
    """Return the ids that match one of the patterns, in their own order; raise BadInput with bad patterns."""
    if not patterns:
        return list(all_ids[:MAX_LOOPS_UNNAMED])
    problems = [Problem("preview", f"no loop matches {pattern!r}", did_you_mean(pattern, all_ids)
                        if len(all_ids) <= _MAX_SUGGESTED else "give a configured id, or a pattern such as 'FIC1*'")
                for pattern in patterns if not any(fnmatchcase(loop, pattern) for loop in all_ids)]
    if problems:
        raise BadInput(problems)
    return [loop for loop in all_ids if any(fnmatchcase(loop, pattern) for pattern in patterns)]
