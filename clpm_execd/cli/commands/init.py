"""`init`: a loops.toml to start from."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from clpm_execd.cli.options import (
    add_command,
    parse_fraction,
    parse_non_negative_integer,
    parse_output_path,
    print_text,
    refuse_unused,
)
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.runtime.os_signals import Signals

if TYPE_CHECKING:
    from clpm_execd.cli.options import Commands

MAX_LOOPS = 100_000  # as many as the `count` of a [[loop]] in loops.toml may make


def add(commands: Commands) -> None:
    command = add_command(commands, "init", "write a commented loops.toml to start from",
                          examples=["clpm-execd init > loops.toml",
                                    "clpm-execd init --plant refinery --loops 200 --output refinery.toml"])
    command.add_argument("--plant", metavar="NAME", help="a whole plant: refinery, chemicals, pulp-and-paper or power "
                                                         "(default three loops, with the most used keys explained)")
    command.add_argument("--loops", metavar="N", type=_parse_loop_count,
                         help="number of loops of the plant (default 50)")
    command.add_argument("--faulty", metavar="F", type=parse_fraction,
                         help="fraction of the loops that have a fault, 0 to 1 (default as surveys of real plants "
                              "found: about 0.8)")
    command.add_argument("--seed", metavar="N", type=parse_non_negative_integer, default=argparse.SUPPRESS,
                         help="random seed of the plant (default 42)")
    command.add_argument("--output", metavar="FILE", type=parse_output_path, help="a new file (default -, stdout)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, signals: Signals) -> int:
    """Write the loops.toml; return the exit status."""
    from clpm_execd.config.loops import SEED
    from clpm_execd.config.plants import example, starter
    from clpm_execd.state.durable_file import make_write_error, write_all_atomically

    text = example.STARTER
    if arguments.plant is None and arguments.loops is None:
        refuse_unused(arguments, ["--seed", "--faulty"], "without --plant or --loops")
    else:
        plant = arguments.plant or "refinery"
        if plant not in starter.TYPE_SHARES:
            raise BadInput([Problem("--plant", f"unknown plant {plant[:40]!r}",
                                    did_you_mean(plant, list(starter.TYPE_SHARES)))])
        text = starter.write_plant(plant, arguments.loops or starter.DEFAULT_SIZE,
                                   SEED if arguments.seed is None else arguments.seed, arguments.faulty)
    if arguments.output is None:
        return print_text(text)
    where = f"--output {arguments.output}"
    if os.path.lexists(arguments.output):  # nobody's loops are replaced
        raise BadInput([Problem(where, "already exists", "name a new file")])
    try:
        write_all_atomically({arguments.output: text.encode()})
    except OSError as error:
        raise make_write_error(where, error) from None
    return 0


def _parse_loop_count(text: str) -> int:
    number = parse_non_negative_integer(text)
    if not 1 <= number <= MAX_LOOPS:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 1 and {MAX_LOOPS}")
    return number
